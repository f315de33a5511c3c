#define BOOST_TEST_MODULE generate
#include <linden/model/generate.hpp>
//
#include <linden/model/checkpoint.hpp>
#include <linden/model/llama_adapter.hpp>
#include <linden/train/llama_pass.hpp>
#include <numeric>

#include "support/golden.hpp"
#include "support/small_llama.hpp"

namespace {
using namespace linden;
using namespace linden::test;
namespace utf = boost::unit_test;
const auto here = utf::precondition(needs_shared("models/stories260K"));

nlohmann::json base_golden() {
  std::ifstream file(shared_folder() / "golden/stories260k_base.json");
  return nlohmann::json::parse(file);
}

/// The base model alone: rank 0 of any adapter.
template <class T>
struct Base {
  Llama<Stories260K, T> model = load_llama<Stories260K, T>(shared_folder() / "models/stories260K");
  LlamaAdapter<Stories260K, T> adapter{AdapterDescription{}};
};

Sample whole_text(const std::vector<std::int32_t>& ids) {
  Sample sample{ids, ids, 0};
  sample.labels[0] = Sample::ignored;
  return sample;
}

/// Logits of every position, one token at a time through the cache or all at once, against the golden file.
template <class T>
void check_logits(double tolerance) {
  const auto golden = base_golden();
  Base<T> base;
  const auto& w = base.model.weights();
  using Head = LlamaHead<Stories260K>;
  using Layer = LlamaLayer<Stories260K>;
  for (const auto& text_case : golden.at("logits")) {
    const auto ids = text_case.at("ids").get<std::vector<std::int32_t>>();
    const long n = static_cast<long>(ids.size());
    std::vector<std::int32_t> positions(ids.size());
    std::iota(positions.begin(), positions.end(), 0);
    const std::vector<std::int32_t> spans{0, static_cast<std::int32_t>(n), 0, static_cast<std::int32_t>(n)};
    PackedInputs<Stories260K, T> inputs;
    inputs.set(positions, spans);
    auto x = compile(typename Head::Embed{})(w.embedding, TensorView<const std::int32_t, Shape<tokens>>(ids.data(), n));
    for (const auto& layer : w.layers) x = compile(typename Layer::FullBlock{})(x, layer, inputs.angles(), inputs.spans());
    const auto logits = compile(typename Head::Logits{})(x, w.norm, w.head);
    const auto first = text_case.at("first32").get<std::vector<std::vector<double>>>();
    const auto best = text_case.at("argmax").get<std::vector<long>>();
    double worst = 0;
    for (long t = 0; t < n; ++t) {
      for (long j = 0; j < 32; ++j)
        worst = std::max(worst, std::abs(double(logits(t, j)) - first[std::size_t(t)][std::size_t(j)]));
      const T* row = &logits(t, 0);
      BOOST_TEST(std::max_element(row, row + 512) - row == best[std::size_t(t)]);
    }
    BOOST_TEST(worst < tolerance);
    BOOST_TEST_MESSAGE("largest difference of a logit: " << worst);
  }
}

template <class T>
void check_cross_entropy(double tolerance) {
  const auto golden = base_golden();
  Base<T> base;
  AdapterPass<Stories260K, T> pass;
  for (const auto& c : golden.at("cross_entropy")) {
    Batch batch;
    batch.append(whole_text(c.at("ids").get<std::vector<std::int32_t>>()), 512);
    std::vector<T> losses(batch.tokens()), correct(batch.tokens());
    pass.score(base.model, base.adapter.factors(), RankRows<T>(), batch, losses, correct);
    const double mean = std::accumulate(losses.begin(), losses.end(), 0.0) / double(batch.counted);
    BOOST_TEST(relative_error(mean, c.at("mean_cross_entropy").get<double>()) < tolerance);
  }
}

template <class T>
void check_greedy() {
  const auto golden = base_golden();
  Base<T> base;
  Generator<Stories260K, T> generator(base.model, base.adapter);
  std::vector<Prompt> prompts;
  std::vector<std::vector<std::int32_t>> expected;
  for (const auto& c : golden.at("greedy")) {
    const auto ids = c.at("ids").get<std::vector<std::int32_t>>();
    const auto length = c.at("prompt_tokens").get<std::ptrdiff_t>();
    prompts.push_back({{ids.begin(), ids.begin() + length}, 0});
    expected.emplace_back(ids.begin() + length, ids.end());
  }
  // One by one, and all together: a prompt's text does not depend on its neighbours.
  GenerateOptions options;
  std::size_t longest = 0;
  for (const auto& e : expected) longest = std::max(longest, e.size());
  options.max_tokens = longest;
  const auto together = generator.run(prompts, options);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    options.max_tokens = expected[i].size();
    const auto alone = generator.run(std::span(&prompts[i], 1), options);
    BOOST_TEST(alone[0] == expected[i], boost::test_tools::per_element());
    BOOST_TEST(std::equal(alone[0].begin(), alone[0].end(), together[i].begin()));
  }
}
}  // namespace

BOOST_AUTO_TEST_CASE(logits_in_double, *here) { check_logits<double>(1e-8); }
BOOST_AUTO_TEST_CASE(logits_in_float, *here) { check_logits<float>(1e-4); }
BOOST_AUTO_TEST_CASE(cross_entropy_in_double, *here) { check_cross_entropy<double>(1e-10); }
BOOST_AUTO_TEST_CASE(cross_entropy_in_float, *here) { check_cross_entropy<float>(1e-5); }
BOOST_AUTO_TEST_CASE(greedy_text_in_float, *here) { check_greedy<float>(); }
BOOST_AUTO_TEST_CASE(greedy_text_in_double, *here) { check_greedy<double>(); }

namespace {
/// Few positions, so that generation reaches the last.
struct Short : Small {
  static constexpr long positions = 12;
  static constexpr bool tied = false;
};
struct SmallBase {
  Llama<Short, double> model = Llama<Short, double>::random(7, 0.5);
  LlamaAdapter<Short, double> adapter{AdapterDescription{}};
  Generator<Short, double> generator{model, adapter};
  auto run(const std::vector<std::vector<std::int32_t>>& ids, const GenerateOptions& options) {
    std::vector<Prompt> prompts;
    for (const auto& prompt : ids) prompts.push_back({prompt, 0});
    return generator.run(prompts, options);
  }
};
}  // namespace

BOOST_AUTO_TEST_CASE(ends_at_the_last_position) {
  SmallBase base;
  BOOST_TEST(base.run({{1, 2, 3}}, {}).at(0).size() == 10U);  // 12 positions hold 3 + 9; the tenth new token is the last read off
}

BOOST_AUTO_TEST_CASE(stop_ids_and_callbacks_end_a_prompt) {
  SmallBase base;
  GenerateOptions options;
  options.max_tokens = 6;
  const auto free_running = base.run({{1, 2}}, options).at(0);
  options.stop = {free_running[2]};
  const auto stopped = base.run({{1, 2}}, options).at(0);
  BOOST_TEST(stopped.size() <= 2U);
  BOOST_TEST(std::equal(stopped.begin(), stopped.end(), free_running.begin()));
  options.stop.clear();
  options.on_token = [n = 0](std::size_t, std::int32_t) mutable { return ++n < 4; };
  BOOST_TEST(base.run({{1, 2}}, options).at(0).size() == 4U);
}

BOOST_AUTO_TEST_CASE(sampling_repeats_with_its_seed_and_follows_the_temperature) {
  SmallBase base;
  GenerateOptions options;
  options.max_tokens = 8;
  const auto greedy = base.run({{5}}, options);
  options.temperature = 1e-6;
  BOOST_TEST((base.run({{5}}, options) == greedy));
  options.temperature = 3;
  const auto sampled = base.run({{5}}, options);
  BOOST_TEST((base.run({{5}}, options) == sampled));
  options.seed = 43;
  BOOST_TEST((base.run({{5}}, options) != sampled));
}

BOOST_AUTO_TEST_CASE(refuses_prompts_that_cannot_be) {
  SmallBase base;
  BOOST_CHECK_EXCEPTION(base.run({{}}, {}), UsageError, [](const UsageError& e) {
    return std::string(e.what()).find("prompt 0 has 0 tokens, expected 1 to 12") != std::string::npos;
  });
  BOOST_CHECK_THROW(base.run({std::vector<std::int32_t>(13, 1)}, {}), UsageError);
  BOOST_CHECK_THROW(base.run({{1, 19}}, {}), ShapeError);  // an id outside the vocabulary
  GenerateOptions none;
  none.max_tokens = 0;
  BOOST_CHECK_THROW(base.run({{1}}, none), UsageError);
  const std::vector<Prompt> prompt{{{1}, 9}};
  BOOST_CHECK_THROW(base.generator.run(prompt, {}), UsageError);  // the adapter's rank is 8
}

// Prompts of many lengths and ranks through a cache that holds few of them, read in small pieces: each is as it is alone.
BOOST_AUTO_TEST_CASE(continuous_batching_changes_nothing) {
  const Llama<Short, double> model = Llama<Short, double>::random(7, 0.5);
  LlamaAdapter<Short, double> adapter({.kind = AdapterKind::dylora, .full_rank = 4, .train_ranks = RankSet{1, 2, 4}});
  NormalRandom normal(3);
  for (double& parameter : adapter.parameters()) parameter = 0.4 * normal();
  Generator<Short, double> generator(model, adapter);
  GenerateOptions options;
  options.max_tokens = 4;
  std::vector<Prompt> prompts;
  std::vector<std::vector<std::int32_t>> alone;
  PythonRandom random(5);
  for (int p = 0; p < 12; ++p) {
    Prompt prompt{{}, static_cast<int>(random.below(5))};
    for (std::uint64_t length = 1 + random.below(8); length > 0; --length)
      prompt.ids.push_back(static_cast<std::int32_t>(random.below(19)));
    prompts.push_back(prompt);
    alone.push_back(generator.run(std::span(&prompts.back(), 1), options)[0]);
  }
  std::vector<std::size_t> ended;
  options.on_end = [&](std::size_t p, const std::vector<std::int32_t>& ids) {
    ended.push_back(p);
    BOOST_TEST(ids == alone[p], boost::test_tools::per_element());
  };
  for (const std::size_t rows : {12U, 30U, 1000U})
    for (const std::size_t chunk : {1U, 3U, 64U}) {
      options.cache_bytes = rows * CachedForward<Short, double>::bytes_per_token;
      options.chunk = chunk;
      ended.clear();
      BOOST_TEST((generator.run(prompts, options) == alone), "cache of " << rows << " rows, chunks of " << chunk);
      std::ranges::sort(ended);
      BOOST_TEST(ended.size() == prompts.size());
      BOOST_TEST((std::ranges::adjacent_find(ended) == ended.end()));
    }
}
