#define BOOST_TEST_MODULE save_llama
#include <linden/model/save_llama.hpp>
// (first: it must stand alone)
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "io/temporary_folder.hpp"

using namespace linden;
using namespace linden::test;

namespace {

/// All numbers differ, so that no two extents can be confused.
struct Small {
  static constexpr const char* name = "small";
  static constexpr long hidden = 12, intermediate = 20, layers = 3;
  static constexpr long heads = 4, kv_heads = 2, head_size = 6;
  static constexpr long vocabulary = 37, positions = 16;
  static constexpr double epsilon = 1e-5, theta = 5000;
  static constexpr bool tied = true;
  static constexpr RotaryScaling scaling{};
};
struct SmallUntied : Small {
  static constexpr bool tied = false;
};

template <class C, class T>
void check_round_trip() {
  const TemporaryFolder folder;
  auto model = Llama<C, T>::random(7);
  for (T& x : model.parameters()) x += T(0.125);  // the norms too are no longer all 1
  save_llama(model, folder.path() / "new" / "model");
  auto read = load_llama<C, T>(folder.path() / "new" / "model");
  const auto written = model.parameters(), found = read.parameters();
  BOOST_REQUIRE_EQUAL(found.size(), written.size());
  BOOST_TEST(std::memcmp(found.data(), written.data(), written.size_bytes()) == 0);
}

}  // namespace

BOOST_AUTO_TEST_CASE(load_reads_back_every_bit) {
  check_round_trip<Small, float>();
  check_round_trip<Small, double>();
  check_round_trip<SmallUntied, float>();
}

BOOST_AUTO_TEST_CASE(files_are_those_of_transformers) {
  const TemporaryFolder folder;
  save_llama(Llama<Small, float>::random(7), folder.path(), {.bos = 3, .eos = 5});
  BOOST_TEST(folder.entries() == 3);
  const SafeTensors file(folder.path() / "model.safetensors");
  BOOST_TEST(file.metadata().at("format") == "pt");
  BOOST_TEST(file.names().size() == 2U + 9U * 3U);
  BOOST_TEST(!file.contains("lm_head.weight"));  // tied: the embedding is the head
  const auto shape_of = [&](const std::string& name) { return file.entry(name).shape; };
  using Shape = std::vector<std::uint64_t>;
  BOOST_TEST((shape_of("model.embed_tokens.weight") == Shape{37, 12}));
  BOOST_TEST((shape_of("model.layers.2.self_attn.k_proj.weight") == Shape{12, 12}));
  BOOST_TEST((shape_of("model.layers.2.self_attn.q_proj.weight") == Shape{24, 12}));
  BOOST_TEST((shape_of("model.layers.0.mlp.down_proj.weight") == Shape{12, 20}));
  BOOST_TEST((shape_of("model.norm.weight") == Shape{12}));
  BOOST_TEST((file.entry("model.norm.weight").dtype == Dtype::F32));
  const HfConfig config = read_hf_config(folder.path());
  BOOST_TEST(config.hidden_size == 12);
  BOOST_TEST(config.max_position_embeddings == 16);
  BOOST_TEST(config.rope_theta == 5000);
  BOOST_TEST(config.bos_token_id.value() == 3);
  BOOST_TEST((read_eos_ids(folder.path()) == std::vector<int>{5}));
  std::filesystem::remove(folder.path() / "generation_config.json");
  BOOST_TEST((read_eos_ids(folder.path()) == std::vector<int>{5}));  // config.json says it too
}

BOOST_AUTO_TEST_CASE(replaces_a_model_and_leaves_other_files) {
  const TemporaryFolder folder;
  folder.file("tokenizer.json", "{}");
  auto second = Llama<Small, float>::random(2);
  save_llama(Llama<Small, float>::random(1), folder.path());
  save_llama(second, folder.path());
  auto read = load_llama<Small, float>(folder.path());
  BOOST_TEST(std::ranges::equal(read.parameters(), second.parameters()));
  BOOST_TEST(folder.entries() == 4);
}

BOOST_AUTO_TEST_CASE(refusals) {
  const TemporaryFolder folder;
  const auto model = Llama<Small, float>::random(1);
  const auto target = folder.path() / "model";
  expect_refusal<UsageError>([&] { save_llama(model, target, {.bos = 1, .eos = 37}); }, "eos is 37", "0 to 36");
  expect_refusal<UsageError>([&] { save_llama(model, target, {.bos = -1, .eos = 2}); }, "bos is -1");
  BOOST_TEST(folder.entries() == 0);  // nothing was begun
  const auto file = folder.file("taken", "x");
  expect_refusal<DataError>([&] { save_llama(model, file / "model"); }, file.string(), "cannot be made");
  save_llama(model, target);
  expect_refusal<DataError>([&] { (void)load_llama<SmallUntied, float>(target); }, "tie_word_embeddings");
}
