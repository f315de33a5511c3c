#pragma once
/// \file
/// The small adapted layer of tests/golden/linear.json: x [4, 6], W [5, 6], A [6, 8], B [8, 5], G [4, 5], and
/// comparisons with its cases.

#include <algorithm>
#include <cmath>
#include <linden/core/tensor.hpp>
#include <vector>

#include "support/golden.hpp"

namespace linden::test {

/// Nested lists as a tensor; the numbers of named extents are the lists' own.
template <class T, class S>
Tensor<T, S> matrix(const nlohmann::json& rows) {
  auto out = Tensor<T, S>::sized(static_cast<long>(rows.size()), static_cast<long>(rows.at(0).size()));
  BOOST_REQUIRE(S::row_count < 0 || S::row_count == out.rows());
  BOOST_REQUIRE(S::column_count < 0 || S::column_count == out.columns());
  for (long i = 0; i < out.rows(); ++i)
    for (long j = 0; j < out.columns(); ++j)
      out(i, j) = rows.at(static_cast<std::size_t>(i)).at(static_cast<std::size_t>(j)).get<T>();
  return out;
}

template <class To, class T, class S>
Tensor<T, To> transposed(const Tensor<T, S>& a) {
  auto out = Tensor<T, To>::sized(a.columns(), a.rows());
  for (long i = 0; i < a.rows(); ++i)
    for (long j = 0; j < a.columns(); ++j) out(j, i) = a(i, j);
  return out;
}

/// Golden files are float64: 1e-12 is rounding in another order, 1e-5 the same in float.
template <class T>
inline constexpr double layer_tolerance = sizeof(T) == 8 ? 1e-12 : 1e-5;

/// Largest difference over the largest expected magnitude (at least 1).
template <class Found>
void check_close(const Found& found, const nlohmann::json& expected) {
  using T = std::remove_const_t<typename Found::element>;
  BOOST_REQUIRE_EQUAL(found.rows(), static_cast<long>(expected.size()));
  double worst = 0, largest = 1;
  for (long i = 0; i < found.rows(); ++i) {
    const auto row = expected.at(static_cast<std::size_t>(i)).get<std::vector<double>>();
    BOOST_REQUIRE_EQUAL(found.columns(), static_cast<long>(row.size()));
    for (long j = 0; j < found.columns(); ++j) {
      const double e = row[static_cast<std::size_t>(j)];
      worst = std::max(worst, std::abs(static_cast<double>(found(i, j)) - e));
      largest = std::max(largest, std::abs(e));
    }
  }
  BOOST_TEST(worst <= layer_tolerance<T> * largest);
}

template <class T>
struct GoldenLayer {
  nlohmann::json file = golden("linear.json");
  Tensor<T, Shape<tokens, 6>> x = matrix<T, Shape<tokens, 6>>(file.at("x"));
  Tensor<T, Shape<5, 6>> W = matrix<T, Shape<5, 6>>(file.at("W"));
  Tensor<T, Shape<6, 8>> A = matrix<T, Shape<6, 8>>(file.at("A"));
  Tensor<T, Shape<8, 5>> B = matrix<T, Shape<8, 5>>(file.at("B"));
  Tensor<T, Shape<tokens, 5>> G = matrix<T, Shape<tokens, 5>>(file.at("G"));
};

}  // namespace linden::test
