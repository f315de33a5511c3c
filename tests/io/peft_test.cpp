#define BOOST_TEST_MODULE peft
#include <linden/io/peft.hpp>
// (first: it must stand alone)
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
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

/// Rank 2 on two modules of different sizes.
PeftAdapter small_adapter() {
  PeftAdapter adapter;
  adapter.r = 2;
  adapter.lora_alpha = 1;
  adapter.use_rslora = true;
  adapter.base_model = "some/base";
  adapter.targets.names = {"q_proj", "layers.0.mlp.up_proj"};
  adapter.metadata = {{"train_ranks", "1,2"}};
  adapter.modules = {{"model.layers.0.self_attn.q_proj", 3, 4, {1, 2, 3, 4, 5, 6}, {7, 8, 9, 10, 11, 12, 13, 14}},
                     {"model.layers.0.mlp.up_proj", 1, 2, {-1, -2}, {-3, -4, -5, -6}}};
  return adapter;
}

std::vector<ExpectedModule> modules_of(const PeftAdapter& adapter) {
  std::vector<ExpectedModule> list;
  for (const auto& module : adapter.modules) list.push_back({module.path, module.in, module.out});
  return list;
}

/// A saved small_adapter() whose config can be changed.
struct Saved {
  TemporaryFolder folder;
  std::filesystem::path directory = folder.path() / "adapter";
  std::vector<ExpectedModule> expected = modules_of(small_adapter());

  Saved() { save_peft(directory, small_adapter()); }

  [[nodiscard]] json config() const { return json::parse(content_of(directory / "adapter_config.json")); }
  void set(const std::string& key, const json& value) const {
    auto changed = config();
    changed[key] = value;
    folder.file("adapter/adapter_config.json", changed.dump());
  }
  void remove(const std::string& key) const {
    auto changed = config();
    changed.erase(key);
    folder.file("adapter/adapter_config.json", changed.dump());
  }
  [[nodiscard]] PeftAdapter load() const { return load_peft(directory, expected); }
};

void check_equal(const PeftAdapter& found, const PeftAdapter& expected) {
  BOOST_TEST(found.r == expected.r);
  BOOST_TEST(found.lora_alpha == expected.lora_alpha);
  BOOST_TEST(found.use_rslora == expected.use_rslora);
  BOOST_TEST(found.base_model == expected.base_model);
  BOOST_TEST((found.targets == expected.targets));
  BOOST_TEST((found.rank_pattern == expected.rank_pattern));
  BOOST_TEST((found.alpha_pattern == expected.alpha_pattern));
  BOOST_REQUIRE_EQUAL(found.modules.size(), expected.modules.size());
  for (std::size_t i = 0; i < found.modules.size(); ++i) {
    BOOST_TEST(found.modules[i].path == expected.modules[i].path);
    BOOST_TEST((found.modules[i].in == expected.modules[i].in && found.modules[i].out == expected.modules[i].out));
    BOOST_TEST((found.modules[i].lora_a == expected.modules[i].lora_a));
    BOOST_TEST((found.modules[i].lora_b == expected.modules[i].lora_b));
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(peft)

BOOST_AUTO_TEST_CASE(scale_follows_alpha_and_rank) {
  PeftAdapter adapter;
  BOOST_TEST(adapter.scale("q") == 1.0);
  adapter.r = 16;
  adapter.lora_alpha = 8;
  BOOST_TEST(adapter.scale("q") == 0.5);
  adapter.use_rslora = true;
  BOOST_TEST(adapter.scale("q") == 2.0);
  adapter.rank_pattern = {{"q", 4}};
  BOOST_TEST((adapter.rank("q") == 4 && adapter.scale("q") == 4.0 && adapter.scale("k") == 2.0));
  adapter.alpha_pattern = {{"q", 1}};
  BOOST_TEST((adapter.scale("q") == 0.5 && adapter.scale("k") == 2.0));
}

BOOST_AUTO_TEST_CASE(what_is_saved_loads) {
  const Saved saved;
  const auto found = saved.load();
  check_equal(found, small_adapter());
  BOOST_TEST((found.metadata == std::map<std::string, std::string>{{"format", "pt"}, {"train_ranks", "1,2"}}));
  const auto settings = read_peft_config(saved.directory);
  BOOST_TEST((settings.r == 2 && settings.modules.empty() && settings.targets == found.targets));
  BOOST_TEST(saved.folder.entries() == 1);  // no temporary directory stays
}

BOOST_AUTO_TEST_CASE(config_has_exactly_the_keys_of_peft) {
  const Saved saved;
  const std::string expected = R"({
  "alpha_pattern": {},
  "auto_mapping": null,
  "base_model_name_or_path": "some/base",
  "bias": "none",
  "fan_in_fan_out": false,
  "inference_mode": true,
  "init_lora_weights": true,
  "layers_pattern": null,
  "layers_to_transform": null,
  "lora_alpha": 1,
  "lora_dropout": 0.0,
  "modules_to_save": null,
  "peft_type": "LORA",
  "r": 2,
  "rank_pattern": {},
  "revision": null,
  "target_modules": [
    "q_proj",
    "layers.0.mlp.up_proj"
  ],
  "task_type": "CAUSAL_LM",
  "use_dora": false,
  "use_rslora": true
}
)";
  BOOST_TEST(content_of(saved.directory / "adapter_config.json") == expected);
}

BOOST_AUTO_TEST_CASE(tensors_have_the_names_and_shapes_of_peft) {
  const Saved saved;
  const SafeTensors file(saved.directory / "adapter_model.safetensors");
  BOOST_TEST(
      (file.names() == std::vector<std::string>{"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight",
                                                "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight",
                                                "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
                                                "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"}));
  const auto& a = file.entry("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
  const auto& b = file.entry("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight");
  BOOST_TEST((a.dtype == Dtype::F32 && a.shape == std::vector<std::uint64_t>{2, 3}));
  BOOST_TEST((b.dtype == Dtype::F32 && b.shape == std::vector<std::uint64_t>{4, 2}));
}

BOOST_AUTO_TEST_CASE(alpha_stays_a_fraction_where_it_is_one) {
  const TemporaryFolder folder;
  auto adapter = small_adapter();
  adapter.lora_alpha = std::sqrt(2.0);
  adapter.use_rslora = false;
  adapter.base_model.clear();
  adapter.targets = {};
  save_peft(folder.path() / "deep/adapter/", adapter);  // parents are made, a trailing slash is fine
  check_equal(load_peft(folder.path() / "deep/adapter", modules_of(adapter)), adapter);
  const auto written = json::parse(content_of(folder.path() / "deep/adapter/adapter_config.json"));
  BOOST_TEST((written["target_modules"] == "all-linear" && written["base_model_name_or_path"].is_null()));
}

BOOST_AUTO_TEST_CASE(saving_again_replaces_the_two_files_only) {
  const Saved saved;
  saved.folder.file("adapter/README.md", "mine");
  auto adapter = small_adapter();
  adapter.modules[0].lora_a[0] = 99;
  save_peft(saved.directory, adapter);
  check_equal(saved.load(), adapter);
  BOOST_TEST(content_of(saved.directory / "README.md") == "mine");
}

BOOST_AUTO_TEST_CASE(expected_order_is_kept_and_half_precision_read) {
  Saved saved;
  std::swap(saved.expected[0], saved.expected[1]);
  BOOST_TEST(saved.load().modules[0].path == "model.layers.0.mlp.up_proj");
  const SafeTensors file(saved.directory / "adapter_model.safetensors");
  std::vector<std::vector<bfloat16>> values;
  std::vector<StoredTensor> tensors;
  for (const auto& name : file.names()) {
    const auto& stored = file.entry(name);
    auto& value = values.emplace_back(stored.bytes.size() / 4);
    file.read<bfloat16>(name, stored.shape, value);
    tensors.push_back(stored_tensor<bfloat16>(name, stored.shape, value));
  }
  write_safetensors(saved.directory / "adapter_model.safetensors", tensors);
  std::swap(saved.expected[0], saved.expected[1]);
  check_equal(saved.load(), small_adapter());  // its numbers are small integers, exact in bfloat16
}

BOOST_AUTO_TEST_CASE(absent_settings_get_the_defaults_of_peft) {
  const Saved saved;
  for (const auto* key :
       {"r", "lora_alpha", "use_rslora", "bias", "use_dora", "base_model_name_or_path", "rank_pattern"})
    saved.remove(key);
  const auto adapter = read_peft_config(saved.directory);
  BOOST_TEST((adapter.r == 8 && adapter.lora_alpha == 8 && !adapter.use_rslora && adapter.base_model.empty()));
  saved.set("an_unknown_key", 3);
  saved.set("exclude_modules", json::array());
  saved.set("init_lora_weights", "gaussian");
  BOOST_TEST(read_peft_config(saved.directory).r == 8);
}

/// Two layers of q_proj and v_proj.
std::vector<ExpectedModule> two_layers() {
  return {{"model.layers.0.self_attn.q_proj", 3, 4},
          {"model.layers.0.self_attn.v_proj", 3, 2},
          {"model.layers.1.self_attn.q_proj", 3, 4},
          {"model.layers.1.self_attn.v_proj", 3, 2}};
}

BOOST_AUTO_TEST_CASE(modules_have_ranks_and_scales_of_their_own) {
  const TemporaryFolder folder;
  PeftAdapter adapter{.r = 2, .lora_alpha = 4, .base_model = "some/base"};
  adapter.targets.names = {"q_proj", "v_proj"};
  adapter.rank_pattern = {{"layers.1.self_attn.q_proj", 1}, {"v_proj", 3}};
  adapter.alpha_pattern = {{"v_proj", 6}};
  for (const auto& [path, in, out] : two_layers()) {
    const auto rank = static_cast<std::size_t>(adapter.rank(path));
    adapter.modules.push_back({path, in, out, std::vector<float>(rank * static_cast<std::size_t>(in), 1.0F),
                               std::vector<float>(static_cast<std::size_t>(out) * rank, 2.0F)});
  }
  save_peft(folder.path(), adapter);
  const auto found = load_peft(folder.path(), two_layers());
  check_equal(found, adapter);
  BOOST_TEST((found.rank(two_layers()[0].path) == 2 && found.scale(two_layers()[0].path) == 2.0));
  BOOST_TEST((found.rank(two_layers()[1].path) == 3 && found.scale(two_layers()[1].path) == 2.0));
  BOOST_TEST((found.rank(two_layers()[2].path) == 1 && found.scale(two_layers()[2].path) == 4.0));
  const auto written = json::parse(content_of(folder.path() / "adapter_config.json"));
  BOOST_TEST((written["rank_pattern"] == json{{"layers.1.self_attn.q_proj", 1}, {"v_proj", 3}}));
  BOOST_TEST((written["alpha_pattern"] == json{{"v_proj", 6}}));
}

BOOST_AUTO_TEST_CASE(some_modules_and_layers_only) {
  const auto loads = [](const PeftTargets& targets, std::vector<std::size_t> chosen) {
    const TemporaryFolder folder;
    PeftAdapter adapter{.r = 1, .lora_alpha = 1};
    adapter.targets = targets;
    for (const std::size_t i : chosen) {
      const auto [path, in, out] = two_layers()[i];
      adapter.modules.push_back({path, in, out, std::vector<float>(static_cast<std::size_t>(in), 1.0F),
                                 std::vector<float>(static_cast<std::size_t>(out), 2.0F)});
    }
    save_peft(folder.path(), adapter);
    check_equal(load_peft(folder.path(), two_layers()), adapter);
  };
  loads({.names = {"v_proj"}}, {1, 3});
  loads({.names = {"v_proj", "layers.0.self_attn.q_proj"}}, {0, 1, 3});
  loads({.expression = R"(model\.layers\.1\..*)"}, {2, 3});
  loads({.names = {"q_proj"}, .layers = {1}}, {2});
  loads({.names = {"q_proj"}, .layers = {0, 1, 7}, .layer_patterns = {"blocks", "layers"}}, {0, 2});
  loads({}, {0, 1, 2, 3});
}

BOOST_AUTO_TEST_CASE(settings_not_computed_here_are_refused) {
  const std::vector<std::tuple<std::string, json, std::string>> cases{
      {"peft_type", "LOHA", "'peft_type': found \"LOHA\", expected \"LORA\""},
      {"peft_type", nullptr, "'peft_type': found null"},
      {"use_dora", true, "'use_dora': found true, expected false"},
      {"bias", "all", "'bias': found \"all\", expected \"none\""},
      {"lora_bias", true, "'lora_bias': found true"},
      {"modules_to_save", json::array({"lm_head"}), "'modules_to_save': found [\"lm_head\"], expected null"},
      {"fan_in_fan_out", true, "'fan_in_fan_out': found true, expected false"},
      {"target_modules", "(q_proj", "'target_modules': found \"(q_proj\", expected regular expressions"},
      {"target_modules", "q_proj", "'target_modules': found \"q_proj\", which is no module of the model"},
      {"target_modules", nullptr, "'target_modules': found null, expected a list of module names"},
      {"target_modules", json::array(), "'target_modules': found []"},
      {"target_modules", json::array({1}), "'target_modules': found [1]"},
      {"target_modules", json::array({"v_proj"}), "found [\"v_proj\"], which is no module of the model"},
      {"rank_pattern", {{"q_proj", 0}}, "'rank_pattern.q_proj': found 0, expected an integer from 1"},
      {"rank_pattern", {{"q(", 1}}, "'rank_pattern': found {\"q(\":1}, expected regular expressions"},
      {"rank_pattern", 4, "'rank_pattern': found 4, expected an object"},
      {"alpha_pattern", {{"q_proj", "4"}}, "'alpha_pattern.q_proj': found \"4\", expected a finite number"},
      {"layers_to_transform", -1, "'layers_to_transform': found -1, expected a layer's number"},
      {"layers_to_transform", 1, "found [\"q_proj\",\"layers.0.mlp.up_proj\"], which is no module of the model"},
      {"layers_pattern", json::array({0}), "'layers_pattern': found [0]"},
      {"exclude_modules", "q_proj", "'exclude_modules': found \"q_proj\", expected null"},
      {"use_bdlora", json{{"nblocks", 2}}, "'use_bdlora': found {\"nblocks\":2}, expected null"},
      {"layer_replication", json::array({json::array({0, 4})}), "'layer_replication': found [[0,4]]"},
      {"init_lora_weights", "pissa", "'init_lora_weights': found \"pissa\""},
      {"r", 0, "'r': found 0, expected an integer from 1"},
      {"r", 2.0, "'r': found 2.0"},
      {"lora_alpha", "8", "'lora_alpha': found \"8\", expected a finite number"},
      {"use_rslora", 1, "'use_rslora': found 1, expected true or false"},
      {"base_model_name_or_path", 1, "'base_model_name_or_path': found 1"},
  };
  for (const auto& [key, value, fragment] : cases) {
    const Saved saved;
    saved.set(key, value);
    BOOST_TEST_CONTEXT(key << " = " << value)
    expect_refusal<DataError>([&] { (void)saved.load(); }, (saved.directory / "adapter_config.json").string(),
                              fragment);
  }
}

BOOST_AUTO_TEST_CASE(tensors_must_be_exactly_the_expected_ones) {
  Saved saved;
  const auto weights = (saved.directory / "adapter_model.safetensors").string();
  const auto load = [&] { (void)saved.load(); };
  const auto expected = saved.expected;

  saved.expected.push_back({"model.layers.1.self_attn.q_proj", 3, 4});
  expect_refusal<DataError>(load, weights,
                            "'base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight' is missing");
  saved.expected = {expected[1]};
  expect_refusal<DataError>(load, weights, "q_proj.lora_A.weight' is unknown", "of the 1 modules");
  saved.expected = {expected[1], {"model.layers.9.self_attn.q_proj", 3, 4}};  // misspelt: both are told
  expect_refusal<DataError>(load, "layers.9.self_attn.q_proj.lora_A.weight' is missing",
                            "layers.0.self_attn.q_proj.lora_A.weight' is unknown");
  saved.expected = expected;
  saved.expected[0].in = 5;
  expect_refusal<DataError>(load, weights, "q_proj.lora_A.weight': found shape [2, 3], expected [2, 5]");
  saved.expected = expected;
  saved.expected[1].out = 3;
  expect_refusal<DataError>(load, weights, "up_proj.lora_B.weight': found shape [2, 2], expected [3, 2]");
  saved.expected = expected;
  saved.set("r", 4);
  expect_refusal<DataError>(load, weights, "q_proj.lora_A.weight': found shape [2, 3], expected [4, 3]");
}

BOOST_AUTO_TEST_CASE(missing_files_are_told) {
  const Saved saved;
  const auto weights = saved.directory / "adapter_model.safetensors";
  std::filesystem::remove(weights);
  expect_refusal<DataError>([&] { (void)saved.load(); }, weights.string(), "cannot be opened");
  saved.folder.file("adapter/adapter_model.bin", "pickle");
  expect_refusal<DataError>([&] { (void)saved.load(); }, weights.string(), "adapter_model.bin (a pickle) is not read");
  std::filesystem::remove(saved.directory / "adapter_config.json");
  expect_refusal<DataError>([&] { (void)saved.load(); }, "adapter_config.json", "cannot be opened");
}

BOOST_AUTO_TEST_CASE(weights_that_are_not_finite_are_refused) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    const Saved saved;
    auto adapter = small_adapter();
    adapter.modules[1].lora_b[2] = bad;
    expect_refusal<DataError>([&] { save_peft(saved.directory, adapter); }, "up_proj.lora_B.weight'", "at element 2");
    check_equal(saved.load(), small_adapter());
    detail::write_peft_files(saved.directory, adapter);
    expect_refusal<DataError>([&] { (void)saved.load(); }, "adapter_model.safetensors", "up_proj.lora_B.weight'",
                              "at element 2", "expected finite values");
  }
}

BOOST_AUTO_TEST_CASE(what_would_not_load_is_not_saved) {
  const TemporaryFolder folder;
  const auto directory = folder.path() / "adapter";
  const auto refuse = [&](auto change, const auto&... fragments) {
    auto adapter = small_adapter();
    change(adapter);
    expect_refusal<UsageError>([&] { save_peft(directory, adapter); }, directory.string(), fragments...);
    BOOST_TEST(folder.entries() == 0);
  };
  refuse([](auto& adapter) { adapter.r = 0; }, "rank 0");
  refuse([](auto& adapter) { adapter.r = 3; }, "q_proj", "lora_a has 6 elements, expected [3, 3]");
  refuse([](auto& adapter) { adapter.modules[1].lora_b.pop_back(); }, "lora_b has 3 elements, expected [2, 2]");
  refuse([](auto& adapter) { adapter.modules.clear(); }, "no modules");
  refuse([](auto& adapter) { adapter.modules[0].in = 0; }, "has size 4 x 0");
  refuse([](auto& adapter) { adapter.lora_alpha = std::nan(""); }, "lora_alpha is nan");
  refuse([](auto& adapter) { adapter.targets.names = {"q_proj"}; }, "up_proj'", "is not named by target_modules");
  refuse(
      [](auto& adapter) {
        adapter.rank_pattern = {{"up_proj", 3}};
      },
      "up_proj'", "lora_a has 2 elements, expected [3, 1]");
  refuse([](auto& adapter) { adapter.rank_pattern = {{"up_proj", 0}}; }, "rank 0");
  refuse([](auto& adapter) { adapter.alpha_pattern = {{"up_proj", std::nan("")}}; }, "lora_alpha is nan");
  refuse(
      [](auto& adapter) {
        adapter.alpha_pattern = {{"up_proj", 3}, {".*", 4}};
      },
      "up_proj'", "matches several patterns");
  refuse([](auto& adapter) { adapter.modules.push_back(adapter.modules[0]); }, "is given twice");
  refuse([](auto& adapter) { adapter.base_model = "\xff"; }, "adapter_config.json", "cannot be written as JSON");
  refuse([](auto& adapter) { adapter.metadata["k"] = "\xff"; }, "adapter_model", "cannot be written as JSON");
  const auto file = folder.file("adapter", "a file in the way");
  expect_refusal<DataError>([&] { save_peft(file, small_adapter()); }, file.string(), "cannot be created");
  expect_refusal<DataError>([&] { save_peft(file / "sub", small_adapter()); }, file.string(), "cannot be created");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(peft_golden)

/// The seven projections of every layer of stories260K, in the order of the golden formula.
std::vector<ExpectedModule> stories_modules() {
  const std::vector<ExpectedModule> layer{{"self_attn.q_proj", 64, 64}, {"self_attn.k_proj", 64, 32},
                                          {"self_attn.v_proj", 64, 32}, {"self_attn.o_proj", 64, 64},
                                          {"mlp.gate_proj", 64, 172},   {"mlp.up_proj", 64, 172},
                                          {"mlp.down_proj", 172, 64}};
  std::vector<ExpectedModule> all;
  for (int number = 0; number < 5; ++number)
    for (const auto& [path, in, out] : layer) all.push_back({text("model.layers.", number, ".", path), in, out});
  return all;
}

/// 0.05 sin(1.7 i + 0.3 j + t) and 0.05 cos(0.9 i - 0.7 j + t), rounded to float; t numbers the module. The rounding
/// may fall the other way where two libraries' sines differ in the last bit, hence one float step (2^-24 of 0.05 or
/// less).
void check_formula(const PeftModule& module, long rank, double t) {
  constexpr double tolerance = 0.05 * 0x1p-23;
  double worst = 0;
  for (long i = 0; i < rank; ++i)
    for (long j = 0; j < module.in; ++j) {
      const double expected = 0.05 * std::sin(1.7 * static_cast<double>(i) + 0.3 * static_cast<double>(j) + t);
      worst = std::max(worst, std::abs(module.lora_a[static_cast<std::size_t>(i * module.in + j)] - expected));
    }
  for (long i = 0; i < module.out; ++i)
    for (long j = 0; j < rank; ++j) {
      const double expected = 0.05 * std::cos(0.9 * static_cast<double>(i) - 0.7 * static_cast<double>(j) + t);
      worst = std::max(worst, std::abs(module.lora_b[static_cast<std::size_t>(i * rank + j)] - expected));
    }
  BOOST_TEST_CONTEXT(module.path) BOOST_TEST(worst <= tolerance);
}

BOOST_AUTO_TEST_CASE(stories260k_adapter, *boost::unit_test::precondition(needs_shared("golden/adapter_stories260k"))) {
  const auto directory = shared_folder() / "golden/adapter_stories260k";
  const auto expected = stories_modules();
  const auto adapter = load_peft(directory, expected);
  BOOST_TEST((adapter.r == 8 && adapter.scale("any") == 1.0 && adapter.base_model == "stories260K"));
  BOOST_REQUIRE_EQUAL(adapter.modules.size(), 35U);
  for (std::size_t t = 0; t < adapter.modules.size(); ++t) check_formula(adapter.modules[t], 8, static_cast<double>(t));

  const TemporaryFolder folder;
  save_peft(folder.path() / "again", adapter);
  check_equal(load_peft(folder.path() / "again", expected), adapter);
  BOOST_TEST((content_of(folder.path() / "again/adapter_model.safetensors") ==
              content_of(directory / "adapter_model.safetensors")));
  auto written = json::parse(content_of(folder.path() / "again/adapter_config.json"));
  const auto original = json::parse(content_of(directory / "adapter_config.json"));
  for (const auto& item : original.items())
    BOOST_TEST_CONTEXT(item.key()) BOOST_TEST((written[item.key()] == item.value()));
}

BOOST_AUTO_TEST_SUITE_END()
