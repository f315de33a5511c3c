#define BOOST_TEST_MODULE merge_peft
#include <linden/io/merge_peft.hpp>
// (first: it must stand alone)
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <string>
#include <vector>

#include "io/temporary_folder.hpp"

using namespace linden;
using namespace linden::test;

namespace {

/// Two adapted matrices and what is not adapted, stored as T.
template <Element T>
struct Base {
  TemporaryFolder folder;
  std::filesystem::path model = folder.path() / "model";
  std::vector<T> q, up, norm;

  Base() {
    for (int i = 0; i < 12; ++i) q.push_back(T(static_cast<float>(std::sin(i))));
    for (int i = 0; i < 6; ++i) up.push_back(T(static_cast<float>(std::cos(i))));
    norm = {T(1.0F), T(2.0F), T(-3.0F)};
    folder.file("model/config.json", "{ \"hidden_size\": 3,\n \"torch_dtype\": \"float32\", \"z\": 1, \"a\": 2 }");
    folder.file("model/tokenizer.json", "{}");
    folder.file("model/generation_config.json", "{\"eos_token_id\": 2}");
    folder.file("model/notes.txt", "mine");
    const std::vector<StoredTensor> tensors{stored_tensor<T>("x.q_proj.weight", {4, 3}, q),
                                            stored_tensor<T>("x.up_proj.weight", {2, 3}, up),
                                            stored_tensor<T>("x.norm.weight", {3}, norm)};
    write_safetensors(model / "model.safetensors", tensors, {{"format", "pt"}});
  }
};

/// Rank 2 and scale 3 on q_proj, rank 1 and scale -0.5 on up_proj.
PeftAdapter small_adapter() {
  PeftAdapter adapter{.r = 2, .lora_alpha = 6};
  adapter.targets.names = {"q_proj", "up_proj"};
  adapter.rank_pattern = {{"up_proj", 1}};
  adapter.alpha_pattern = {{"up_proj", -0.5}};
  adapter.modules = {{"x.q_proj", 3, 4, {1, 2, 3, 4, 5, 6}, {7, 8, 9, 10, 11, 12, 13, 14}},
                     {"x.up_proj", 3, 2, {0.25F, -1, 8}, {-3, 1}}};
  return adapter;
}

double expected_q(double base, std::size_t o, std::size_t i) {
  const PeftModule m = small_adapter().modules[0];
  return base +
         3 * (double(m.lora_b[2 * o]) * double(m.lora_a[i]) + double(m.lora_b[2 * o + 1]) * double(m.lora_a[3 + i]));
}

template <Element T>
void check_types() {
  const Base<T> base;
  const auto output = base.folder.path() / "merged";
  merge_peft(base.model, small_adapter(), output);
  check_merged(base.model, small_adapter(), output);
  const HfWeights merged(output);
  std::vector<T> q(12), up(6), norm(3);
  merged.read("x.q_proj.weight", {4, 3}, std::span(q));
  merged.read("x.up_proj.weight", {2, 3}, std::span(up));
  merged.read("x.norm.weight", {3}, std::span(norm));
  for (std::size_t o = 0; o < 4; ++o)
    for (std::size_t i = 0; i < 3; ++i)
      BOOST_TEST((q[3 * o + i] == T(static_cast<float>(expected_q(double(float(base.q[3 * o + i])), o, i)))));
  BOOST_TEST((up[5] == T(static_cast<float>(double(float(base.up[5])) - 0.5 * 8))));
  BOOST_TEST((norm == base.norm));
  BOOST_TEST((merged.entry("x.q_proj.weight").dtype == dtype_of<T>));
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_type_is_summed_in_double_and_rounded_once) {
  check_types<float>();
  check_types<bfloat16>();
  check_types<float16>();
}

BOOST_AUTO_TEST_CASE(the_files_of_the_model_come_along) {
  const Base<float> base;
  const auto output = base.folder.path() / "merged";
  std::filesystem::create_directory(output);  // an empty directory is no obstacle
  merge_peft(base.model, small_adapter(), output);
  for (const char* name : {"config.json", "tokenizer.json", "generation_config.json"})
    BOOST_TEST(content_of(output / name) == content_of(base.model / name));
  BOOST_TEST(!std::filesystem::exists(output / "notes.txt"));
  BOOST_TEST(base.folder.entries() == 2);
}

BOOST_AUTO_TEST_CASE(another_type_is_told_in_the_config) {
  const Base<float> base;
  const auto output = base.folder.path() / "merged";
  const MergeOptions options{.dtype = Dtype::BF16};
  merge_peft(base.model, small_adapter(), output, options);
  check_merged(base.model, small_adapter(), output, options);
  const HfWeights merged(output);
  std::vector<bfloat16> up(6), norm(3);
  merged.read("x.up_proj.weight", {2, 3}, std::span(up));
  merged.read("x.norm.weight", {3}, std::span(norm));
  BOOST_TEST((up[0] == bfloat16(static_cast<float>(1 + 1.5 * 0.25))));
  BOOST_TEST((float(norm[2]) == -3 && merged.entry("x.norm.weight").dtype == Dtype::BF16));
  const auto config = nlohmann::ordered_json::parse(content_of(output / "config.json"));
  BOOST_TEST(config["torch_dtype"] == "bfloat16");
  BOOST_TEST(config.begin().key() == "hidden_size");  // the order is kept
}

BOOST_AUTO_TEST_CASE(large_models_are_cut_into_shards) {
  const Base<float> base;
  const auto output = base.folder.path() / "merged";
  const MergeOptions options{.shard_bytes = 40};  // 12, 48 and 24 bytes
  merge_peft(base.model, small_adapter(), output, options);
  check_merged(base.model, small_adapter(), output, options);
  const auto index = nlohmann::json::parse(content_of(output / "model.safetensors.index.json"));
  BOOST_TEST(index["metadata"]["total_size"] == 84);
  BOOST_TEST((index["weight_map"] == nlohmann::json{{"x.norm.weight", "model-00001-of-00003.safetensors"},
                                                    {"x.q_proj.weight", "model-00002-of-00003.safetensors"},
                                                    {"x.up_proj.weight", "model-00003-of-00003.safetensors"}}));
  const auto again = base.folder.path() / "again";  // sharded in, whole out
  merge_peft(output, small_adapter(), again);
  check_merged(output, small_adapter(), again);
  BOOST_TEST(std::filesystem::exists(again / "model.safetensors"));
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  const Base<float> base;
  const auto output = base.folder.path() / "merged";
  const auto refuse = [&](auto change, const auto&... fragments) {
    PeftAdapter adapter = small_adapter();
    change(adapter);
    expect_refusal<DataError>([&] { merge_peft(base.model, adapter, output); }, fragments...);
    BOOST_TEST(base.folder.entries() == 1);
  };
  refuse([](auto& adapter) { adapter.modules[0].path = "y.q_proj"; }, "tensor 'y.q_proj.weight' is missing");
  refuse([](auto& adapter) { std::swap(adapter.modules[0].in, adapter.modules[0].out); },
         "found shape [4, 3], expected [3, 4]");
  const std::vector<std::int32_t> ids(12);
  write_safetensors(base.model / "model.safetensors",
                    std::vector{stored_tensor<std::int32_t>("x.q_proj.weight", {4, 3}, ids),
                                stored_tensor<float>("x.up_proj.weight", {2, 3}, base.up)});
  refuse([](auto&) {}, "tensor 'x.q_proj.weight': found dtype I32, expected F32, F64, BF16 or F16");
  base.folder.file("merged/mine", "");
  expect_refusal<DataError>([&] { merge_peft(base.model, PeftAdapter{}, output); }, "cannot be put in place");
}

BOOST_AUTO_TEST_CASE(the_check_sees_changes) {
  const Base<float> base;
  const auto output = base.folder.path() / "merged";
  merge_peft(base.model, small_adapter(), output);
  const auto refuse = [&](const char* name, std::size_t at, const std::string& message) {
    const HfWeights written(output);
    std::vector<std::vector<float>> values;
    std::vector<StoredTensor> tensors;
    for (const auto& tensor : written.names()) {
      const StoredTensor& entry = written.entry(tensor);
      auto& value = values.emplace_back(entry.bytes.size() / 4);
      written.read(tensor, entry.shape, std::span(value));
      if (tensor == name) value[at] = std::nextafter(value[at] * 1.0001F, 1e9F);
      tensors.push_back(stored_tensor<float>(tensor, entry.shape, value));
    }
    write_safetensors(base.folder.file("changed/model.safetensors", ""), tensors);
    expect_refusal<DataError>([&] { check_merged(base.model, small_adapter(), base.folder.path() / "changed"); },
                              message);
  };
  refuse("x.norm.weight", 1, "tensor 'x.norm.weight' is not the base model's");
  refuse("x.q_proj.weight", 0, "tensor 'x.q_proj.weight' has ");
  refuse("x.up_proj.weight", 3 + 7919 % 3, "tensor 'x.up_proj.weight' has ");
  PeftAdapter other = small_adapter();
  other.lora_alpha = 6.01;
  expect_refusal<DataError>([&] { check_merged(base.model, other, output); }, "'x.q_proj.weight' has ");
  expect_refusal<DataError>([&] { check_merged(base.model, small_adapter(), output, {.dtype = Dtype::BF16}); },
                            "has another type or shape");
}
