#define BOOST_TEST_MODULE gemm
#include <linden/ops/gemm.hpp>
//
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <vector>

// Sizes around the register tiles, the panels packed together, the stretches of k and the pieces of the partition.
namespace {
using namespace linden;

template <class T>
struct Matrix {
  long rows, columns, stride;
  std::vector<T> data;
  Matrix(long m, long n, long pad, double seed)
      : rows(m), columns(n), stride(n + pad), data(std::size_t(m * (n + pad) + 1)) {
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = T(std::sin(seed + 1.7 * double(i)));
  }
  T& operator()(long i, long j) { return data[std::size_t(i * stride + j)]; }
};

template <class T>
double error_of_gemm(long m, long n, long k, bool ta, bool tb, bool accumulate) {
  Matrix<T> a(ta ? k : m, ta ? m : k, 3, 1), b(tb ? n : k, tb ? k : n, 1, 2), c(m, n, 2, 3);
  const Matrix<T> before = c;
  gemm<T>(m, n, k, {a.data.data(), a.stride, ta}, {b.data.data(), b.stride, tb}, c.data.data(), c.stride, accumulate);
  double worst = 0;
  for (long i = 0; i < m; ++i) {
    for (long j = 0; j < n; ++j) {
      double sum = accumulate ? double(before.data[std::size_t(i * c.stride + j)]) : 0;
      for (long l = 0; l < k; ++l) sum += double(ta ? a(l, i) : a(i, l)) * double(tb ? b(j, l) : b(l, j));
      worst = std::max(worst, std::abs(sum - double(c(i, j))));
    }
    for (long j = n; j < c.stride; ++j)  // between the rows lies somebody else's memory
      if (c(i, j) != before.data[std::size_t(i * c.stride + j)]) return std::numeric_limits<double>::infinity();
  }
  return worst;
}

template <class T>
void check_all_forms(double tolerance) {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true})
      for (const bool accumulate : {false, true}) {
        for (const long m : {1L, 3L, 8L, 9L, 11L, 47L, 48L, 97L})
          for (const long n : {1L, 15L, 50L, 70L})
            for (const long k : {0L, 1L, 31L, 70L})
              BOOST_TEST(error_of_gemm<T>(m, n, k, ta, tb, accumulate) < tolerance);
        BOOST_TEST(error_of_gemm<T>(10, 1100, 50, ta, tb, accumulate) <
                   tolerance);  // few rows, several panels of columns
        BOOST_TEST(error_of_gemm<T>(300, 170, 130, ta, tb, accumulate) < tolerance);  // several pieces of rows
        BOOST_TEST(error_of_gemm<T>(70, 500, 190, ta, tb, accumulate) < tolerance);   // several pieces of columns
        const double longer = 5 * tolerance;                                        // sums of more
        BOOST_TEST(error_of_gemm<T>(100, 300, 530, ta, tb, accumulate) < longer);  // two stretches of k, by rows
        BOOST_TEST(error_of_gemm<T>(20, 530, 1100, ta, tb, accumulate) < longer);  // three, by columns
      }
}
/// The second factor stored as bfloat16 against its widened elements: sums may be contracted differently, no more.
template <class T>
double error_of_half(long m, long n, long k, bool tb, bool accumulate) {
  Matrix<T> a(m, k, 3, 1), b(tb ? n : k, tb ? k : n, 1, 2), expected(m, n, 2, 3), c = expected;
  std::vector<bfloat16> half;
  for (T& element : b.data) element = T(float(half.emplace_back(float(element))));
  gemm<T>(m, n, k, {a.data.data(), a.stride}, {b.data.data(), b.stride, tb}, expected.data.data(), expected.stride,
          accumulate);
  gemm<T>(m, n, k, {a.data.data(), a.stride}, {nullptr, b.stride, tb, half.data()}, c.data.data(), c.stride,
          accumulate);
  double worst = 0;
  for (std::size_t i = 0; i < c.data.size(); ++i)
    worst = std::max(worst, std::abs(double(c.data[i]) - double(expected.data[i])));
  return worst;
}
}  // namespace

BOOST_AUTO_TEST_CASE(a_factor_in_bfloat16_is_widened) {
  for (const bool tb : {false, true})
    for (const bool accumulate : {false, true})
      for (const long m : {1L, 2L, 7L, 11L, 12L, 97L, 300L})
        for (const long n : {1L, 15L, 50L, 170L})
          for (const long k : {0L, 1L, 31L, 130L}) {
            BOOST_TEST(error_of_half<float>(m, n, k, tb, accumulate) < 2e-5);
            BOOST_TEST(error_of_half<double>(m, n, k, tb, accumulate) < 1e-13);
          }
}

BOOST_AUTO_TEST_CASE(agrees_with_loops_in_double) { check_all_forms<double>(1e-12); }
BOOST_AUTO_TEST_CASE(agrees_with_loops_in_float) { check_all_forms<float>(2e-4); }

BOOST_AUTO_TEST_CASE(more_rows_than_are_packed_at_once) {
  for (const bool ta : {false, true}) BOOST_TEST(error_of_gemm<float>(3080, 530, 500, ta, true, true) < 1e-3);
}

BOOST_AUTO_TEST_CASE(nothing_to_do_touches_nothing) {
  double c = 7;
  gemm<double>(0, 5, 5, {nullptr, 5}, {nullptr, 5}, &c, 5, false);
  gemm<double>(5, 0, 5, {nullptr, 5}, {nullptr, 5}, &c, 5, false);
  BOOST_TEST(c == 7);
  gemm<double>(1, 1, 0, {nullptr, 1}, {nullptr, 1}, &c, 1, true);
  BOOST_TEST(c == 7);
  gemm<double>(1, 1, 0, {nullptr, 1}, {nullptr, 1}, &c, 1, false);
  BOOST_TEST(c == 0);
}
