#define BOOST_TEST_MODULE hf_config
#include <linden/io/hf_config.hpp>
// (first: it must stand alone)
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "io/temporary_folder.hpp"
#include "support/golden.hpp"

using namespace linden;
using namespace linden::test;
using nlohmann::json;

namespace {

/// The fields no file may lack.
json smallest() {
  return json::parse(R"({"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
                         "num_attention_heads": 32, "vocab_size": 128256, "max_position_embeddings": 131072})");
}

json llama3_scaling() {
  return json::parse(R"({"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 8192})");
}

HfConfig read(const TemporaryFolder& folder, const json& content) {
  return read_hf_config(folder.file("config.json", content.dump()));
}

/// Reads the smallest file with `key` set to `value`.
HfConfig read_with(const std::string& key, const json& value) {
  const TemporaryFolder folder;
  auto content = smallest();
  content[key] = value;
  return read(folder, content);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(hf_config)

BOOST_AUTO_TEST_CASE(absent_fields_get_the_class_defaults) {
  const TemporaryFolder folder;
  const auto config = read(folder, smallest());
  HfConfig expected;
  expected.hidden_size = 2048;
  expected.intermediate_size = 8192;
  expected.num_hidden_layers = 16;
  expected.num_attention_heads = expected.num_key_value_heads = 32;
  expected.head_dim = 64;
  expected.vocab_size = 128256;
  expected.max_position_embeddings = 131072;
  expected.rms_norm_eps = 1e-6;
  expected.rope_theta = 10000;
  BOOST_TEST((config == expected));
  BOOST_TEST((!config.rope_scaling && !config.tie_word_embeddings && !config.bos_token_id));
  BOOST_TEST(config.eos_token_ids.empty());
  BOOST_TEST((read_hf_config(folder.path()) == config));  // the directory will do
}

BOOST_AUTO_TEST_CASE(llama_3_2_1b) {
  const TemporaryFolder folder;
  auto content = smallest();
  content.update(
      json::parse(R"({"num_key_value_heads": 8, "head_dim": 64, "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
      "tie_word_embeddings": true, "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu",
      "attention_bias": false, "mlp_bias": false, "torch_dtype": "bfloat16", "something_new": [1]})"));
  content["rope_scaling"] = llama3_scaling();
  const auto config = read(folder, content);
  BOOST_TEST(config.num_key_value_heads == 8);
  BOOST_TEST(config.rms_norm_eps == 1e-5);
  BOOST_TEST(config.rope_theta == 500000.0);
  BOOST_TEST((config.rope_scaling == RopeScaling{32, 1, 4, 8192}));
  BOOST_TEST(config.tie_word_embeddings);
  BOOST_TEST((config.bos_token_id == 128000));
  BOOST_TEST((config.eos_token_ids == std::vector<int>{128001, 128008, 128009}));
}

BOOST_AUTO_TEST_CASE(every_rope_layout) {
  BOOST_TEST((read_with("rope_scaling", nullptr).rope_scaling == std::nullopt));
  BOOST_TEST((read_with("rope_scaling", json::object()).rope_scaling == std::nullopt));
  BOOST_TEST((read_with("rope_scaling", {{"rope_type", "default"}}).rope_scaling == std::nullopt));
  auto older = llama3_scaling();
  older["type"] = older["rope_type"];
  older.erase("rope_type");
  BOOST_TEST((read_with("rope_scaling", older).rope_scaling == RopeScaling{32, 1, 4, 8192}));
  const auto plain = read_with("rope_parameters", {{"rope_theta", 500000}, {"rope_type", "default"}});
  BOOST_TEST((plain.rope_theta == 500000 && !plain.rope_scaling));
  auto newer = llama3_scaling();
  newer["rope_theta"] = 500000.0;
  const auto scaled = read_with("rope_parameters", newer);
  BOOST_TEST((scaled.rope_theta == 500000 && scaled.rope_scaling == RopeScaling{32, 1, 4, 8192}));
  const TemporaryFolder folder;
  auto both = smallest();
  both.update({{"rope_theta", 500000}, {"rope_scaling", llama3_scaling()}, {"rope_parameters", newer}});
  BOOST_TEST((read(folder, both) == scaled));
}

BOOST_AUTO_TEST_CASE(rope_places_that_disagree_are_refused) {
  const TemporaryFolder folder;
  auto content = smallest();
  content.update({{"rope_theta", 10000}, {"rope_parameters", {{"rope_theta", 500000}}}});
  expect_refusal<DataError>([&] { (void)read(folder, content); }, "'rope_parameters.rope_theta': found 500000",
                            "(10000)");
  content = smallest();
  content.update({{"rope_scaling", llama3_scaling()}, {"rope_parameters", {{"rope_theta", 500000}}}});
  expect_refusal<DataError>([&] { (void)read(folder, content); }, "'rope_parameters'", "the same scaling");
}

BOOST_AUTO_TEST_CASE(every_wrong_field_is_named) {
  const auto scaling_with = [](const std::string& key, const json& value) {
    auto scaling = llama3_scaling();
    scaling[key] = value;
    return scaling;
  };
  const std::vector<std::tuple<std::string, json, std::string>> cases{
      {"model_type", "mistral", "'model_type': found \"mistral\", expected \"llama\""},
      {"model_type", nullptr, "'model_type': found null, expected \"llama\""},
      {"model_type", 3, "'model_type': found 3, expected a string"},
      {"hidden_act", "gelu", "'hidden_act': found \"gelu\", expected \"silu\""},
      {"attention_bias", true, "'attention_bias': found true, expected false"},
      {"mlp_bias", true, "'mlp_bias': found true, expected false"},
      {"mlp_bias", 0, "'mlp_bias': found 0, expected true or false"},
      {"hidden_size", nullptr, "'hidden_size': found null, expected an integer from 1"},
      {"hidden_size", 0, "'hidden_size': found 0, expected an integer from 1"},
      {"hidden_size", 2048.0, "'hidden_size': found 2048.0, expected an integer"},
      {"hidden_size", "2048", "'hidden_size': found \"2048\", expected an integer"},
      {"hidden_size", 2050, "'hidden_size': found 2050, expected a multiple of num_attention_heads (32)"},
      {"hidden_size", 4294967296, "'hidden_size': found 4294967296, expected an integer from 1 to 2147483647"},
      {"intermediate_size", -1, "'intermediate_size': found -1"},
      {"num_hidden_layers", 18446744073709551615U, "'num_hidden_layers': found 18446744073709551615"},
      {"num_attention_heads", true, "'num_attention_heads': found true"},
      {"num_key_value_heads", 5, "'num_key_value_heads': found 5, expected a divisor of num_attention_heads (32)"},
      {"head_dim", 7, "'head_dim': found 7, expected an even number"},
      {"vocab_size", json::array({1}), "'vocab_size': found [1]"},
      {"max_position_embeddings", 0, "'max_position_embeddings': found 0"},
      {"rms_norm_eps", 0.0, "'rms_norm_eps': found 0.0, expected a number above 0"},
      {"rms_norm_eps", "1e-5", "'rms_norm_eps': found \"1e-5\", expected a finite number"},
      {"rope_theta", -1, "'rope_theta': found -1, expected a number above 0"},
      {"tie_word_embeddings", "yes", "'tie_word_embeddings': found \"yes\", expected true or false"},
      {"bos_token_id", -1, "'bos_token_id': found -1, expected an integer from 0"},
      {"bos_token_id", json::array({1}), "'bos_token_id': found [1]"},
      {"eos_token_id", "2", "'eos_token_id': found \"2\", expected a token id or a list"},
      {"eos_token_id", json::array({1, -2}), "'eos_token_id': found [1,-2]"},
      {"rope_scaling", 8, "'rope_scaling': found 8, expected an object"},
      {"rope_scaling",
       {{"type", "linear"}, {"factor", 2}},
       "'rope_scaling.type': found \"linear\", expected \"llama3\""},
      {"rope_scaling", {{"rope_type", "yarn"}}, "'rope_scaling.rope_type': found \"yarn\""},
      {"rope_scaling", {{"factor", 2.0}}, "'rope_scaling.rope_type': found nothing"},
      {"rope_parameters", {{"rope_type", "dynamic"}}, "'rope_parameters.rope_type': found \"dynamic\""},
      {"rope_parameters", {{"rope_theta", 0}}, "'rope_parameters.rope_theta': found 0"},
      {"rope_scaling", scaling_with("factor", 0.5),
       "'rope_scaling.factor': found 0.5, expected a number of at least 1"},
      {"rope_scaling", scaling_with("factor", nullptr), "'rope_scaling.factor': found null"},
      {"rope_scaling", scaling_with("low_freq_factor", 0), "'rope_scaling.low_freq_factor': found 0"},
      {"rope_scaling", scaling_with("high_freq_factor", 1),
       "'rope_scaling.high_freq_factor': found 1, expected a number above"},
      {"rope_scaling", scaling_with("original_max_position_embeddings", 0.5),
       "'rope_scaling.original_max_position_embeddings': found 0.5"},
  };
  for (const auto& [key, value, fragment] : cases) BOOST_TEST_CONTEXT(key << " = " << value)
  expect_refusal<DataError>([&, &key = key, &value = value] { (void)read_with(key, value); }, "config.json: field ",
                            fragment);
  const auto required = smallest();
  for (const auto& item : required.items()) {
    const TemporaryFolder folder;
    auto content = smallest();
    content.erase(item.key());
    expect_refusal<DataError>([&] { (void)read(folder, content); }, "'" + item.key() + "': found nothing");
  }
}

BOOST_AUTO_TEST_CASE(files_that_are_no_configuration) {
  const TemporaryFolder folder;
  expect_refusal<DataError>([&] { (void)read_hf_config(folder.path()); }, "config.json", "cannot be opened");
  const auto refuse = [&](const std::string& content, const std::string& fragment) {
    const auto path = folder.file("config.json", content);
    expect_refusal<DataError>([&] { (void)read_hf_config(path); }, path.string(), fragment);
  };
  refuse("", "file is empty");
  refuse("{\"model_type\": ", "not JSON");
  refuse("[1]", "found [1], expected an object");
  refuse("{\"model_type\": NaN}", "not JSON");
  refuse("{\"rms_norm_eps\": 1e999}", "not JSON");
  refuse("{\"model_type\": \"llama\", \"model_type\": \"llama\"}", "key 'model_type' appears twice");
}

BOOST_AUTO_TEST_CASE(what_is_written_reads_back) {
  const TemporaryFolder folder;
  HfConfig config{.hidden_size = 288,
                  .intermediate_size = 768,
                  .num_hidden_layers = 6,
                  .num_attention_heads = 6,
                  .num_key_value_heads = 3,
                  .head_dim = 32,
                  .vocab_size = 32000,
                  .max_position_embeddings = 256,
                  .rms_norm_eps = 1e-5,
                  .rope_theta = 1234.5,
                  .rope_scaling = RopeScaling{8, 1.5, 4.25, 1024},
                  .tie_word_embeddings = true,
                  .bos_token_id = 1,
                  .eos_token_ids = {2, 5}};
  const auto file = folder.path() / "config.json";
  write_hf_config(file, config);
  BOOST_TEST((read_hf_config(file) == config));
  const auto written = json::parse(content_of(file));
  BOOST_TEST((written["architectures"] == json::array({"LlamaForCausalLM"}) && written["model_type"] == "llama"));
  BOOST_TEST((written["rope_scaling"]["rope_type"] == "llama3" && written["eos_token_id"] == json::array({2, 5})));
  BOOST_TEST(content_of(file).starts_with("{\n  \"architectures\": ["));

  config.rope_scaling.reset();
  config.bos_token_id.reset();
  config.eos_token_ids = {2};
  write_hf_config(file, config);
  BOOST_TEST((read_hf_config(file) == config));
  BOOST_TEST((json::parse(content_of(file))["eos_token_id"] == 2));
  config.eos_token_ids.clear();
  write_hf_config(file, config);
  BOOST_TEST((read_hf_config(file) == config));

  config.rms_norm_eps = std::nan("");
  expect_refusal<DataError>([&] { write_hf_config(file, config); }, file.string(), "'rms_norm_eps'");
  config.rms_norm_eps = 1e-5;
  config.num_key_value_heads = 4;
  expect_refusal<DataError>([&] { write_hf_config(file, config); }, "'num_key_value_heads': found 4");
  BOOST_TEST(read_hf_config(file).num_key_value_heads == 3);
  BOOST_TEST(folder.entries() == 1);
}

BOOST_AUTO_TEST_CASE(generation_ids_come_from_generation_config_first) {
  const TemporaryFolder folder;
  auto content = smallest();
  content["eos_token_id"] = 7;
  folder.file("config.json", content.dump());
  BOOST_TEST((read_eos_ids(folder.path()) == std::vector<int>{7}));
  folder.file("generation_config.json", R"({"do_sample": true})");
  BOOST_TEST((read_eos_ids(folder.path()) == std::vector<int>{7}));
  folder.file("generation_config.json", R"({"eos_token_id": [8, 9]})");
  BOOST_TEST((read_eos_ids(folder.path()) == std::vector<int>{8, 9}));
  BOOST_TEST((read_hf_config(folder.path()).eos_token_ids == std::vector<int>{7}));
  const auto bad = folder.file("generation_config.json", R"({"eos_token_id": [8, null]})");
  expect_refusal<DataError>([&] { (void)read_eos_ids(folder.path()); }, bad.string(), "'eos_token_id': found [8,null]");
}

BOOST_AUTO_TEST_CASE(stories260k, *boost::unit_test::precondition(needs_shared("models/stories260K"))) {
  const auto directory = shared_folder() / "models/stories260K";
  const HfConfig expected{.hidden_size = 64,
                          .intermediate_size = 172,
                          .num_hidden_layers = 5,
                          .num_attention_heads = 8,
                          .num_key_value_heads = 4,
                          .head_dim = 8,
                          .vocab_size = 512,
                          .max_position_embeddings = 512,
                          .rms_norm_eps = 1e-5,
                          .rope_theta = 10000,
                          .rope_scaling = {},
                          .tie_word_embeddings = true,
                          .bos_token_id = 1,
                          .eos_token_ids = {2}};
  BOOST_TEST((read_hf_config(directory) == expected));
  BOOST_TEST((read_hf_config(directory / "config.json") == expected));
  BOOST_TEST((read_eos_ids(directory) == std::vector<int>{1, 2}));
}

BOOST_AUTO_TEST_SUITE_END()
