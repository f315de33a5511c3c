#define BOOST_TEST_MODULE amx_tile
#include <linden/ops/gemm.hpp>
//
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <utility>
#include <vector>

// The matrix unit's products against the vector unit's, and both against double. That every size and form is right is
// tested with gemm, which uses this tile where it can.
#ifdef LINDEN_AMX
namespace {
using namespace linden;
using Fma = detail::FmaTile<float, detail::widest_tile>;
using Amx = detail::AmxTile;

boost::test_tools::assertion_result may_use(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result here = detail::may_use_amx();
  here.message() << "SKIPPED: the system does not let this process use the matrix unit (AMX)";
  return here;
}
const auto allowed = boost::unit_test::precondition(may_use);

struct Problem {
  long m, n, k;
  std::vector<float> a;
  std::vector<bfloat16> b;

  template <class Draw>
  Problem(long rows, long columns, long depth, Draw&& draw)
      : m(rows), n(columns), k(depth), a(std::size_t(m * k)), b(std::size_t(k * n)) {
    for (float& x : a) x = draw();
    for (bfloat16& x : b) x = bfloat16(draw());
  }
  template <class Tile>
  [[nodiscard]] std::vector<float> product() const {
    std::vector<float> c(std::size_t(m * n));
    detail::TiledProduct<float, Tile>{m, n, k, {a.data(), k}, {nullptr, n, false, b.data()}, c.data(), n, false}.run();
    return c;
  }
  /// Root mean square of the errors, each relative to the sum of its terms' magnitudes.
  template <class Tile>
  [[nodiscard]] double error() const {
    const auto c = product<Tile>();
    double squares = 0;
    for (long i = 0; i < m; ++i)
      for (long j = 0; j < n; ++j) {
        double sum = 0, magnitude = 0;
        for (long l = 0; l < k; ++l) {
          const double term = double(a[std::size_t(i * k + l)]) * double(float(b[std::size_t(l * n + j)]));
          sum += term;
          magnitude += std::abs(term);
        }
        const double error = (double(c[std::size_t(i * n + j)]) - sum) / magnitude;
        squares += error * error;
      }
    return std::sqrt(squares / double(m * n));
  }
};
}  // namespace

BOOST_AUTO_TEST_CASE(is_nearer_to_the_true_product_than_floats_are, *allowed) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> positive(0.5F, 1.0F);
  for (const long k : {64L, 512L}) {
    const Problem of_any_sign(48, 80, k, [&] { return normal(random); });
    BOOST_TEST(of_any_sign.error<Amx>() < of_any_sign.error<Fma>());
    const Problem of_one_sign(48, 80, k, [&] { return positive(random); });
    BOOST_TEST(of_one_sign.error<Amx>() < of_one_sign.error<Fma>());
    const Problem of_any_size(48, 80, k, [&] { return normal(random) * std::exp(3 * normal(random)); });
    BOOST_TEST(of_any_size.error<Amx>() < of_any_size.error<Fma>());
  }
}

BOOST_AUTO_TEST_CASE(one_term_is_exact_where_a_float_can_hold_it, *allowed) {
  // 24 bits times one: every bit of all three parts arrives, at both ends of the exponents.
  for (const float x : {0x1.fffffep0F, -0x1.555554p-3F, 0x1.000002p100F, 0x1.fffffep127F, 0x1.fffffep-90F}) {
    Problem one(1, 1, 1, [&, first = true]() mutable { return std::exchange(first, false) ? x : 1.0F; });
    BOOST_TEST(one.product<Amx>()[0] == x);
  }
}

BOOST_AUTO_TEST_CASE(what_is_not_finite_stays_so, *allowed) {
  constexpr float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const float x : {infinity, -infinity, nan}) {
    Problem one(20, 40, 70, [] { return 1.0F; });
    one.a[75] = x;  // row 1
    const auto c = one.product<Amx>();
    BOOST_TEST(!std::isfinite(c[40 + 39]));
    BOOST_TEST(c[0] == 70.0F);
    BOOST_TEST(c[2 * 40] == 70.0F);
  }
}
#else
BOOST_AUTO_TEST_CASE(products_on_the_matrix_unit, *boost::unit_test::precondition([](boost::unit_test::test_unit_id) {
                       boost::test_tools::assertion_result here = false;
                       here.message() << "SKIPPED: compiled for a processor without AMX";
                       return here;
                     })) {}
#endif
