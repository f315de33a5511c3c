#define BOOST_TEST_MODULE llama_full_pass
#include <linden/train/llama_pass.hpp>
//
#include <boost/test/unit_test.hpp>

#include "train/adapted_model.hpp"

namespace {
using namespace linden;
using namespace linden::test;
}  // namespace

BOOST_AUTO_TEST_CASE(gradients_of_every_weight_match_central_differences) {
  const auto check = []<class C>(C) {
    Llama<C, double> model = Llama<C, double>::random(3, 0.3);
    std::vector<double> flat(model.parameters().size(), 0.0);
    LlamaWeights<C, double> gradients(flat.data());
    FullPass<C, double> pass;
    const Batch batch = batch_of({4, 1, 3}, C::vocabulary);
    const auto run = [&] {
      std::ranges::fill(flat, 0.0);
      return pass.run(model, gradients, batch, 0.5);
    };
    run();
    const std::vector<double> gradient = flat;
    BOOST_TEST(error_of_gradient(model.parameters(), gradient, run) < 1e-6);
  };
  check(Tiny{});
  check(TinyTied{});
}
