#define BOOST_TEST_MODULE parallel_pass
#include <linden/train/parallel_pass.hpp>
//
#include <boost/test/unit_test.hpp>

#include "train/adapted_model.hpp"
#ifdef _OPENMP
#include <omp.h>
#endif

namespace {
using namespace linden;
using namespace linden::test;

/// Small, with a context long enough for several parts.
struct Long : Tiny {
  static constexpr long positions = 512;
};
using Adapted_ = Adapted<Long, double>;

/// Loss and gradients of both kinds of pass agree on this batch and these rows.
void check_against_one_part(const Batch& batch, const RankRows<double>& rows) {
  Adapted_ f;
  ParallelPass<Long, double> parallel;
  const double expected = f.pass.run(f.model, f.factors, rows, f.gradients, batch, 0.01);
  const std::vector<double> gradient = f.flat_gradient;
  std::ranges::copy(f.flat, f.flat_gradient.begin());  // what was there is added to
  const double loss = parallel.run(f.model, f.factors, rows, f.gradients, batch, 0.01);
  BOOST_TEST(std::abs(loss - expected) < 1e-12 * std::abs(expected));
  BOOST_TEST(relative_l2(f.flat_gradient, gradient) < 1e-12);
}

const Batch& several_parts() {
  static const Batch batch = batch_of({400, 3, 300, 512, 1, 200, 511}, Long::vocabulary);
  return batch;
}
}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_one_part) {
  const std::vector<double> p{0.5, 2, -1};
  constexpr long v = Long::vocabulary;
  for (const Batch& batch : {batch_of({5}, v), batch_of({512, 512}, v), batch_of({512, 512, 512}, v),
                             batch_of({300, 300, 300, 300}, v), batch_of({1, 512, 511}, v)})
    check_against_one_part(batch, {p.data(), R, 0});
  check_against_one_part(several_parts(), {p.data(), R, 0});
}

BOOST_AUTO_TEST_CASE(each_part_has_its_tokens_rows) {
  const std::vector<double> rows = values<double>(several_parts().tokens() * std::size_t(R), 9, 2);
  check_against_one_part(several_parts(), {rows.data(), R, R});
}

BOOST_AUTO_TEST_CASE(a_prefix_of_the_ranks) {
  const std::vector<double> p{0.5};
  check_against_one_part(several_parts(), {p.data(), 1, 0});
}

BOOST_AUTO_TEST_CASE(errors_reach_the_caller) {
  Adapted_ f;
  ParallelPass<Long, double> parallel;
  Batch batch = several_parts();
  batch.ids.back() = Long::vocabulary;  // of the last part
  BOOST_CHECK_EXCEPTION(parallel.run(f.model, f.factors, {f.p.data(), R, 0}, f.gradients, batch, 1), ShapeError,
                        [](const ShapeError& e) { return std::string(e.what()).find("id 7 lies outside") != std::string::npos; });
}

#ifdef _OPENMP
// Two threads run parts, nine the operations inside them: there are four parts.
BOOST_AUTO_TEST_CASE(the_same_bits_for_any_number_of_threads) {
  Adapted<Stories260K, float> f;
  const Batch batch = batch_of({400, 300, 500, 200, 511, 90, 250}, Stories260K::vocabulary);
  ParallelPass<Stories260K, float> parallel;
  const auto run = [&](int threads) {
    omp_set_num_threads(threads);
    std::ranges::fill(f.flat_gradient, 0.0F);
    return parallel.run(f.model, f.factors, {f.p.data(), R, 0}, f.gradients, batch, 0.01);
  };
  const int before = omp_get_max_threads();
  const double loss = run(1);
  const std::vector<float> gradient = f.flat_gradient;
  for (const int threads : {2, 3, 9}) {
    BOOST_TEST(run(threads) == loss);
    BOOST_TEST((f.flat_gradient == gradient), "gradients differ with " << threads << " threads");
  }
  omp_set_num_threads(before);
}
#endif
