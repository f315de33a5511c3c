#define BOOST_TEST_MODULE weighting
#include <linden/adapter/weighting.hpp>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <vector>

#include "support/golden.hpp"

using namespace linden;

namespace {

constexpr double exact_sums = 1e-12;  // a few additions of doubles in another order

template <std::size_t R>
constexpr std::array<double, R> weights_of(const RankSet& ranks, Scaling scaling) {
  std::array<double, R> p{};
  matryoshka_weights(p, ranks, scaling);
  return p;
}
static_assert(weights_of<8>({1, 2, 4, 8}, Scaling::none) == std::array<double, 8>{4, 3, 2, 2, 1, 1, 1, 1});
static_assert(weights_of<8>({1, 2, 4}, Scaling::rank) == std::array<double, 8>{1.75, .75, .25, .25, 0, 0, 0, 0});
static_assert(weights_of<16>({4}, Scaling::sqrt)[3] == 0.5 && weights_of<16>({4}, Scaling::sqrt)[4] == 0);
static_assert(scale(Scaling::none, 7) == 1 && scale(Scaling::rank, 8) == 0.125 && scale(Scaling::sqrt, 16) == 0.25);

template <std::size_t R, int... Ranks>
concept HasWeights = requires {
  typename std::bool_constant<(weights_of<R>({Ranks...}, Scaling::none)[0] > 0)>;
};
static_assert(HasWeights<8, 1, 8> && !HasWeights<8, 1, 9>);

bool says(const Error& error, const std::string& part) {
  return std::string(error.what()).find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(square_root_scaling_is_correctly_rounded) {
  for (int r = 1; r <= 4096; ++r) BOOST_REQUIRE_EQUAL(scale(Scaling::sqrt, r), 1.0 / std::sqrt(static_cast<double>(r)));
  for (const std::uint32_t n : {65535U, 65536U, 16777217U, 2147483647U, 4294836225U, 4294967295U})
    BOOST_TEST(detail::square_root(n) == std::sqrt(static_cast<double>(n)));
  BOOST_TEST(detail::square_root(0) == 0.0);
}

BOOST_AUTO_TEST_CASE(algorithm_1_agrees_with_the_reference) {
  const auto file = test::golden("p_vectors.json");
  BOOST_REQUIRE(file["cases"].size() == 45);
  for (const auto& c : file["cases"]) {
    const RankSet ranks(c["train_ranks"].get<std::vector<int>>());
    const Scaling scaling = parse_scaling(c["scaling"].get<std::string>());
    const auto R = c["R"].get<std::size_t>();
    std::vector<double> p(R, -1.0);
    std::vector<float> p_float(R, -1.0F);
    matryoshka_weights(p, ranks, scaling);
    matryoshka_weights(std::span(p_float), ranks, scaling);
    for (std::size_t i = 0; i < R; ++i) {
      BOOST_CHECK_SMALL(p[i] - c["p"][i].get<double>(), exact_sums);
      BOOST_CHECK_EQUAL(p_float[i], c["p_float32"][i].get<float>());
      BOOST_CHECK_SMALL(p[i] / static_cast<double>(ranks.size()) - c["p_binary"][i].get<double>(), exact_sums);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_diagonal_is_the_sum_of_the_scaled_prefixes) {
  const RankSet ranks{2, 3, 7, 11};
  for (const Scaling scaling : {Scaling::none, Scaling::rank, Scaling::sqrt}) {
    std::vector<double> p(12);
    matryoshka_weights(p, ranks, scaling);
    std::vector<double> sum(12);
    std::vector<double> prefix(12, -1.0);
    for (const int r : ranks) {
      dylora_weights(prefix, r, scaling);
      for (std::size_t i = 0; i < 12; ++i) sum[i] += prefix[i];
    }
    for (std::size_t i = 0; i < 12; ++i) BOOST_CHECK_SMALL(p[i] - sum[i], exact_sums);
  }
}

BOOST_AUTO_TEST_CASE(lora_is_the_set_of_the_full_rank) {
  for (const Scaling scaling : {Scaling::none, Scaling::rank, Scaling::sqrt}) {
    std::vector<float> lora(6, -1.0F);
    std::vector<float> nested(6, -1.0F);
    lora_weights(lora, scaling);
    matryoshka_weights(nested, RankSet{6}, scaling);
    BOOST_CHECK_EQUAL_COLLECTIONS(lora.begin(), lora.end(), nested.begin(), nested.end());
  }
}

BOOST_AUTO_TEST_CASE(dylora_cuts_at_the_active_rank) {
  std::array<double, 5> p{};
  dylora_weights(p, 2, Scaling::rank);
  const std::array<double, 5> expected{0.5, 0.5, 0, 0, 0};
  BOOST_CHECK_EQUAL_COLLECTIONS(p.begin(), p.end(), expected.begin(), expected.end());
  const auto refusal = [](const char* part) { return [part](const UsageError& e) { return says(e, part); }; };
  BOOST_CHECK_EXCEPTION(dylora_weights(p, 6, Scaling::none), UsageError, refusal("rank 6 is not in 1..5"));
  BOOST_CHECK_EXCEPTION(dylora_weights(p, 0, Scaling::none), UsageError, refusal("rank 0 is not in 1..5"));
  BOOST_CHECK_EXCEPTION(matryoshka_weights(p, RankSet{1, 6}, Scaling::none), UsageError,
                        refusal("rank 6 is not in 1..5"));
  BOOST_CHECK_EXCEPTION((void)scale(Scaling::none, 0), UsageError, refusal("scale(0)"));
}

BOOST_AUTO_TEST_CASE(names_read_back) {
  for (const char* name : {"none", "rank", "sqrt"}) BOOST_TEST(to_string(parse_scaling(name)) == name);
  for (const char* name : {"lora", "dylora", "matryoshka", "stratified"})
    BOOST_TEST(to_string(parse_adapter_kind(name)) == name);
  BOOST_CHECK_EXCEPTION((void)parse_scaling("rslora"), UsageError, [](const UsageError& e) {
    return says(e, "scaling \"rslora\" is unknown; expected one of: none, rank, sqrt");
  });
  BOOST_CHECK_EXCEPTION((void)parse_adapter_kind("LoRA"), UsageError, [](const UsageError& e) {
    return says(e, "adapter kind \"LoRA\" is unknown; expected one of: lora, dylora, matryoshka, stratified");
  });
}
