#define BOOST_TEST_MODULE gemm
#include <linden/ops/gemm.hpp>
//
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <vector>

// Sizes around the register tiles, the panels packed together, the stretches of k and the pieces of the partition; every
// kind of tile, whichever of them gemm would choose.
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
  /// What lies between the rows is nobody's: a factor's kernels may not use it.
  void poison_padding() {
    for (std::size_t i = 0; i < data.size(); ++i)
      if (long(i) % stride >= columns) data[i] = std::numeric_limits<T>::quiet_NaN();
  }
  T& operator()(long i, long j) { return data[std::size_t(i * stride + j)]; }
};

/// The product of those given, by gemm or in tiles of one kind.
template <class T>
struct Gemm {
  void operator()(auto... product) const { gemm<T>(product...); }
};
template <class T, class Tile>
struct InTiles {
  void operator()(long m, long n, long k, Factor<T> a, Factor<T> b, T* c, long stride, bool accumulate) const {
    if (k == 0) return gemm<T>(m, n, k, a, b, c, stride, accumulate);
    detail::TiledProduct<T, Tile>{m, n, k, a, b, c, stride, accumulate}.run();
  }
};

/// The largest distance from sums in double. B is stored as bfloat16 if `half` (its elements are rounded first).
template <class T, class Product = Gemm<T>>
double error_of(long m, long n, long k, bool ta, bool tb, bool accumulate, bool half = false) {
  Matrix<T> a(ta ? k : m, ta ? m : k, 3, 1), b(tb ? n : k, tb ? k : n, 1, 2), c(m, n, 2, 3);
  a.poison_padding();
  b.poison_padding();
  const Matrix<T> before = c;
  std::vector<bfloat16> halves;
  for (T& element : b.data)
    if (half) element = T(float(halves.emplace_back(float(element))));
  Product{}(m, n, k, Factor<T>{a.data.data(), a.stride, ta},
            Factor<T>{half ? nullptr : b.data.data(), b.stride, tb, half ? halves.data() : nullptr}, c.data.data(),
            c.stride, accumulate);
  double worst = 0;
  for (long i = 0; i < m; ++i) {
    for (long j = 0; j < n; ++j) {
      double sum = accumulate ? double(before.data[std::size_t(i * c.stride + j)]) : 0;
      for (long l = 0; l < k; ++l) sum += double(ta ? a(l, i) : a(i, l)) * double(tb ? b(j, l) : b(l, j));
      const double error = std::abs(sum - double(c(i, j)));
      if (std::isnan(error)) return std::numeric_limits<double>::infinity();
      worst = std::max(worst, error);
    }
    for (long j = n; j < c.stride; ++j)  // between the rows lies somebody else's memory
      if (c(i, j) != before.data[std::size_t(i * c.stride + j)]) return std::numeric_limits<double>::infinity();
  }
  return worst;
}

template <class T, class Product = Gemm<T>>
void check_all_forms(double tolerance, bool half = false) {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true})
      for (const bool accumulate : {false, true}) {
        const auto error = [&](long m, long n, long k) {
          return error_of<T, Product>(m, n, k, ta, tb, accumulate, half);
        };
        for (const long m : {1L, 3L, 8L, 9L, 11L, 47L, 48L, 97L})
          for (const long n : {1L, 15L, 50L, 70L})
            for (const long k : {0L, 1L, 31L, 70L}) BOOST_TEST(error(m, n, k) < tolerance);
        BOOST_TEST(error(10, 1100, 50) < tolerance);       // few rows, several panels of columns
        BOOST_TEST(error(9, 70, 2100) < 5 * tolerance);    // the same, two stretches of k
        BOOST_TEST(error(300, 170, 130) < tolerance);      // several pieces of rows
        BOOST_TEST(error(70, 500, 190) < tolerance);       // several pieces of columns
        BOOST_TEST(error(100, 300, 530) < 5 * tolerance);  // two stretches of k, by rows; sums of more
        BOOST_TEST(error(20, 530, 1100) < 5 * tolerance);  // three, by columns
        BOOST_TEST(error(300, 800, 520) < 5 * tolerance);  // rows in two blocks, panels packed in groups
        BOOST_TEST(error(1040, 20, 40) < tolerance);       // many rows of few columns, whose transpose fills wide tiles
        BOOST_TEST(error(40, 1060, 90) < tolerance);       // wide tiles for any number of registers, narrower ones at the end
      }
}
}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_loops_in_double) { check_all_forms<double>(1e-12); }
BOOST_AUTO_TEST_CASE(agrees_with_loops_in_float) { check_all_forms<float>(2e-4); }
BOOST_AUTO_TEST_CASE(a_factor_in_bfloat16_is_widened) {
  check_all_forms<double>(1e-12, true);
  check_all_forms<float>(2e-4, true);
}
BOOST_AUTO_TEST_CASE(every_width_of_tile_agrees) {
  check_all_forms<float, InTiles<float, detail::FmaTile<float, 1>>>(2e-4);
  check_all_forms<float, InTiles<float, detail::FmaTile<float, 2>>>(2e-4);
  check_all_forms<float, InTiles<float, detail::FmaTile<float, detail::widest_tile>>>(2e-4);
  check_all_forms<float, InTiles<float, detail::FmaTile<float, detail::widest_tile>>>(2e-4, true);
}

BOOST_AUTO_TEST_CASE(more_rows_than_are_packed_at_once) {
  for (const bool ta : {false, true}) {
    BOOST_TEST(error_of<float>(3080, 530, 500, ta, true, true) < 1e-3);
    using Tile = detail::FmaTile<float, detail::widest_tile>;
    BOOST_TEST((error_of<float, InTiles<float, Tile>>(3080, 530, 500, ta, true, true) < 1e-3));
  }
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
