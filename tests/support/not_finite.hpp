#pragma once
/// \file
/// What every backend's optimiser must do with gradients that are not finite, for its tests.

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <linden/train/fine_tune.hpp>

namespace linden::test {

/// Steps of AdamW, and of the published arithmetic, whose gradients are not finite change nothing and do not count.
template <LlamaConfiguration C, class T, class Backend>
void expect_no_update_where_not_finite(const Backend& backend) {
  using Number = linden::detail::Arithmetic<T>;
  const AdapterDescription description{.kind = AdapterKind::matryoshka, .full_rank = 4, .train_ranks = RankSet{1, 2, 4}};
  for (const bool as_reference : {false, true}) {
    LlamaAdapter<C, Number> adapter(description);
    adapter.initialise(Initialisation::reference, 1);
    round_to_bf16(adapter.parameters());
    const std::vector<Number> before(adapter.parameters().begin(), adapter.parameters().end());
    TrainedParameters<T, Backend> trained(adapter.parameters(), backend);
    ReferenceTraining<C, T, Backend> reference(trained, description, backend);
    const auto update = [&](Number last) {
      std::vector<Number> gradients(before.size(), Number(0.25));
      gradients.back() = last;
      typename Backend::template Buffer<Number> placed;
      backend.copy(backend.place(std::span<const Number>(gradients), placed), gradients.size(), trained.gradients());
      const double norm = as_reference ? reference.update(1e-2, {}, 1.0) : trained.update(1e-2, {}, 1.0);
      trained.read();
      return norm;
    };
    for (const Number bad : {std::numeric_limits<Number>::quiet_NaN(), std::numeric_limits<Number>::infinity()}) {
      BOOST_TEST(!std::isfinite(update(bad)));
      BOOST_TEST(std::ranges::equal(before, adapter.parameters()));
    }
    BOOST_TEST(std::isfinite(update(Number(0.25))));
    // The first step that counts: AdamW's is as long as the learning rate.
    BOOST_TEST(std::abs(adapter.parameters()[0] - before[0] + Number(1e-2)) < Number(1e-3));
  }
}

}  // namespace linden::test
