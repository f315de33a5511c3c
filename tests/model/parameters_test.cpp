#define BOOST_TEST_MODULE parameters
#include <linden/model/parameters.hpp>
//
#include <boost/test/unit_test.hpp>
#include <map>
#include <numeric>

#include "io/temporary_folder.hpp"

namespace {
using namespace linden;
using namespace linden::test;

/// Element number of a view's first element in the buffer, which holds 0, 1, 2, ...
std::vector<double> counted(long count) {
  std::vector<double> flat(static_cast<std::size_t>(count));
  std::iota(flat.begin(), flat.end(), 0.0);
  return flat;
}

struct Untied : WordProblems {
  static constexpr bool tied = false;
};
}  // namespace

BOOST_AUTO_TEST_CASE(counts_are_the_models) {
  BOOST_TEST((LlamaWeights<Stories260K, float>::count()) == 260032);
  BOOST_TEST((AdapterFactors<Stories260K, float>::count(1)) == 5780);
  BOOST_TEST((AdapterFactors<Stories260K, float>::count(8)) == 8 * 5780);
  BOOST_TEST((LlamaWeights<Untied, float>::count() - LlamaWeights<WordProblems, float>::count()) == 512 * 96);
}

template <class C>
void check_weights() {
  using Weights = LlamaWeights<C, double>;
  auto flat = counted(Weights::count());
  Weights weights(flat.data());
  std::map<std::string, std::vector<long>> shapes;
  double next = 0;
  weights.for_each([&](const std::string& name, auto view) {
    BOOST_TEST(view(0, 0) == next, name << " does not follow the tensor before it");
    BOOST_TEST(view.stride() == view.columns());
    next += static_cast<double>(view.size());
    BOOST_TEST((shapes.insert({name, {view.rows(), view.columns()}}).second));
  });
  BOOST_TEST(next == static_cast<double>(Weights::count()));  // every element belongs to one tensor
  BOOST_TEST(shapes.size() == static_cast<std::size_t>(9 * C::layers + (C::tied ? 2 : 3)));
  BOOST_TEST((shapes.at("model.layers.3.mlp.down_proj.weight") == std::vector<long>{C::hidden, C::intermediate}));
  BOOST_TEST((shapes.at("model.layers.0.self_attn.k_proj.weight") ==
              std::vector<long>{C::kv_heads * C::head_size, C::hidden}));
  BOOST_TEST((shapes.at("model.norm.weight") == std::vector<long>{1, C::hidden}));
  BOOST_TEST((weights.head.data() == weights.embedding.data()) == C::tied);
  BOOST_TEST(shapes.contains("lm_head.weight") == !C::tied);
}

BOOST_AUTO_TEST_CASE(weights_fill_the_buffer_in_order) {
  check_weights<Stories260K>();
  check_weights<Untied>();
}

BOOST_AUTO_TEST_CASE(factors_fill_the_buffer_in_order) {
  using Factors = AdapterFactors<Stories260K, double>;
  auto flat = counted(Factors::count(3));
  Factors factors(flat.data(), 3);
  double next = 0;
  int tensors = 0;
  factors.for_each([&](const std::string& name, auto view) {
    BOOST_TEST(view(0, 0) == next, name);
    next += static_cast<double>(view.size());
    BOOST_TEST((name.ends_with(".lora_A") ? view.columns() : view.rows()) == 3, name);
    ++tensors;
  });
  BOOST_TEST(next == static_cast<double>(Factors::count(3)));
  BOOST_TEST(tensors == 70);
}

BOOST_AUTO_TEST_CASE(prefixes_are_views_of_the_leading_ranks) {
  using Factors = AdapterFactors<Stories260K, double>;
  auto flat = counted(Factors::count(8));
  const Factors factors(flat.data(), 8);
  for (const long r : {1L, 3L, 8L}) {
    const auto cut = factors.layer(2, r);
    const auto& whole = factors.layers[2];
    BOOST_TEST(cut.down.A.rows() == 172);
    BOOST_TEST(cut.down.A.columns() == r);
    BOOST_TEST(cut.down.A.stride() == 8);
    BOOST_TEST(cut.down.B.rows() == r);
    BOOST_TEST(cut.down.B.columns() == 64);
    for (long j = 0; j < r; ++j) {
      BOOST_TEST(&cut.down.A(171, j) == &whole.down.A(171, j));
      BOOST_TEST(&cut.down.B(j, 63) == &whole.down.B(j, 63));
    }
    BOOST_TEST(std::string(cut.down.A.name()) == "mlp.down_proj.lora_A");
  }
  BOOST_TEST(factors.layers[2].down.A.columns() == 8);  // the whole stays whole
}

BOOST_AUTO_TEST_CASE(prefixes_of_other_ranks_are_refused) {
  using Factors = AdapterFactors<Stories260K, double>;
  auto flat = counted(Factors::count(8));
  const Factors factors(flat.data(), 8);
  for (const long r : {9L, -1L})
    expect_refusal<UsageError>([&] { (void)factors.layer(0, r); }, "rank " + std::to_string(r), "8");
}
