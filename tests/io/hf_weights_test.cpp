#define BOOST_TEST_MODULE hf_weights
#include <linden/io/hf_weights.hpp>
// (first: it must stand alone)
#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "io/temporary_folder.hpp"
#include "support/golden.hpp"

using namespace linden;
using namespace linden::test;

namespace {

void put(const std::filesystem::path& path, const std::string& name, float value) {
  const std::vector<float> values{value};
  write_safetensors(path, std::vector{stored_tensor<float>(name, {1}, values)});
}

float value_of(const HfWeights& weights, const std::string& name) {
  std::vector<float> out(1);
  weights.read<float>(name, {1}, out);
  return out[0];
}

/// Two shards holding a and b, with an index of this weight map.
void put_shards(const TemporaryFolder& folder, const std::string& weight_map) {
  put(folder.path() / "s-1.safetensors", "a", 1);
  put(folder.path() / "s-2.safetensors", "b", 2);
  folder.file("model.safetensors.index.json", R"({"metadata":{"total_size":8},"weight_map":)" + weight_map + "}");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(hf_weights)

BOOST_AUTO_TEST_CASE(one_file) {
  const TemporaryFolder folder;
  put(folder.path() / "model.safetensors", "a", 7);
  const HfWeights weights(folder.path());
  BOOST_TEST((weights.names() == std::vector<std::string>{"a"}));
  BOOST_TEST((weights.contains("a") && !weights.contains("b")));
  BOOST_TEST(value_of(weights, "a") == 7);
  BOOST_TEST(weights.path() == folder.path());
}

BOOST_AUTO_TEST_CASE(shards_win_over_one_file) {
  const TemporaryFolder folder;
  put(folder.path() / "model.safetensors", "a", 7);
  put_shards(folder, R"({"b":"s-2.safetensors","a":"s-1.safetensors"})");
  const HfWeights weights(folder.path());
  BOOST_TEST((weights.names() == std::vector<std::string>{"a", "b"}));
  BOOST_TEST(value_of(weights, "a") == 1);
  BOOST_TEST(value_of(weights, "b") == 2);
  BOOST_TEST((weights.entry("b").shape == std::vector<std::uint64_t>{1}));
}

BOOST_AUTO_TEST_CASE(refusals) {
  const TemporaryFolder folder;
  const auto open = [&] { HfWeights weights(folder.path()); };
  expect_refusal<DataError>(open, folder.path().string(), "holds neither model.safetensors nor");
  const auto refuse = [&](const std::string& weight_map, const auto&... fragments) {
    put_shards(folder, weight_map);
    expect_refusal<DataError>(open, fragments...);
  };
  refuse(R"({"a":"s-2.safetensors"})", "s-2.safetensors", "tensor 'a' is missing");
  refuse(R"({"a":"s-3.safetensors"})", "s-3.safetensors", "cannot be opened");
  for (const std::string name : {"../s-1.safetensors", "/etc/x", "sub\\\\x", "..", ".", "", "a\\u0000"})
    refuse("{\"a\":\"" + name + "\"}", "index.json", "'weight_map.a'", "expected the plain name of a file");
  refuse(R"({"a":1})", "'weight_map.a': found 1, expected a string");
  refuse(R"({"a":"s-1.safetensors","a":"s-2.safetensors"})", "key 'a' appears twice");
  refuse("[]", "'weight_map': found [], expected an object");
  folder.file("model.safetensors.index.json", "{}");
  expect_refusal<DataError>(open, "'weight_map': found nothing");
}

BOOST_AUTO_TEST_CASE(missing_tensors_and_wrong_shapes_are_named) {
  const TemporaryFolder folder;
  put_shards(folder, R"({"b":"s-2.safetensors"})");
  const HfWeights weights(folder.path());
  BOOST_TEST(!weights.contains("a"));  // in a shard nobody listed
  expect_refusal<DataError>([&] { (void)weights.entry("a"); }, folder.path().string(), "tensor 'a' is missing");
  std::vector<float> out(2);
  expect_refusal<DataError>([&] { weights.read<float>("b", {2}, out); }, "s-2.safetensors", "found shape [1]");
}

BOOST_AUTO_TEST_CASE(stories260k, *boost::unit_test::precondition(needs_shared("models/stories260K"))) {
  const HfWeights weights(shared_folder() / "models/stories260K");
  BOOST_TEST(weights.names().size() == 47U);
  std::vector<double> embedding(512 * 64);
  weights.read<double>("model.embed_tokens.weight", {512, 64}, embedding);
}

BOOST_AUTO_TEST_SUITE_END()
