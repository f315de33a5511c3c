#define BOOST_TEST_MODULE checkpoint
#include <linden/model/checkpoint.hpp>
//
#include <linden/model/llama_adapter.hpp>
#include <linden/model/save_llama.hpp>
#include <linden/train/llama_pass.hpp>

#include "io/temporary_folder.hpp"
#include "support/expect_gradient.hpp"
#include "support/golden.hpp"
#include "support/small_llama.hpp"

namespace {
using namespace linden;
using namespace linden::test;

/// The model as a checkpoint whose matrices are stored as `matrices` says and whose norms are bfloat16, in one or two files.
template <class E>
void save_as(Llama<Small, float>& model, const std::filesystem::path& folder, bool sharded) {
  save_llama(model, folder);
  std::vector<std::vector<E>> kept;
  std::vector<StoredTensor> shards[2];
  model.weights().for_each([&]<class View>(const std::string& name, View view) {
    auto& values = kept.emplace_back();
    for (const float element : view.span()) values.push_back(static_cast<E>(element));
    shards[sharded && kept.size() % 2 == 0].push_back(
        stored_tensor<E>(name, linden::detail::stored_shape<typename View::shape>(), values));
  });
  if (!sharded) return write_safetensors(folder / "model.safetensors", shards[0], {{"format", "pt"}});
  std::filesystem::remove(folder / "model.safetensors");
  nlohmann::json map;
  for (const int shard : {0, 1}) {
    const std::string file = text("model-0000", shard + 1, "-of-00002.safetensors");
    write_safetensors(folder / file, shards[shard], {{"format", "pt"}});
    for (const StoredTensor& tensor : shards[shard]) map[tensor.name] = file;
  }
  write_json(folder / "model.safetensors.index.json", {{"metadata", {{"total_size", 0}}}, {"weight_map", map}});
}

/// Loss and gradients of a fixed batch and adapter.
std::vector<float> gradients_of(const FrozenLlama<Small, float>& model) {
  LlamaAdapter<Small, float> adapter(AdapterDescription{}), gradients(AdapterDescription{});
  NormalRandom normal(4);
  for (float& parameter : adapter.parameters()) parameter = 0.2F * static_cast<float>(normal());
  Batch batch;
  Sample sample{{1, 4, 7, 18, 3, 3, 9}, {}, 0};
  sample.labels = sample.ids;
  batch.append(sample, 32);
  const std::vector<float> p(8, 0.5F);
  AdapterPass<Small, float> pass;
  std::vector<float> all{static_cast<float>(
      pass.run(model, adapter.factors(), {p.data(), 8, 0}, gradients.factors(), batch, 1.0))};
  all.insert(all.end(), gradients.parameters().begin(), gradients.parameters().end());
  return all;
}
}  // namespace

// Weights that are used as bfloat16 where they lie compute what weights that were widened first do.
BOOST_AUTO_TEST_CASE(an_open_checkpoint_computes_what_a_loaded_one_does) {
  for (const bool sharded : {false, true}) {
    const TemporaryFolder folder;
    auto model = Llama<Small, float>::random(3, 0.4);
    save_as<bfloat16>(model, folder.path(), sharded);
    const auto open = open_llama<Small, float>(folder.path());
    BOOST_TEST(open.weights().layers[1].down.half() != nullptr);
    BOOST_TEST(open.weights().layers[1].input_norm.data() != nullptr);
    BOOST_TEST((open.weights().head.half() == open.weights().embedding.half()));
    const auto loaded = load_llama<Small, float>(folder.path());
    BOOST_TEST(relative_l2(gradients_of(open), gradients_of(loaded)) < 1e-6);
    BOOST_TEST(relative_l2(gradients_of(open), gradients_of(model)) > 1e-4);  // bfloat16 did round
  }
}

BOOST_AUTO_TEST_CASE(floats_are_used_where_they_lie_and_other_types_converted) {
  const TemporaryFolder folder;
  auto model = Llama<Small, float>::random(3, 0.4);
  save_as<float>(model, folder.path(), false);
  const auto open = open_llama<Small, float>(folder.path());
  BOOST_TEST(open.weights().embedding.data() != nullptr);
  BOOST_TEST(gradients_of(open) == gradients_of(model), boost::test_tools::per_element());
  save_as<float16>(model, folder.path(), false);
  const auto converted = open_llama<Small, float>(folder.path());
  BOOST_TEST(converted.weights().embedding(2, 3) == float(float16(model.weights().embedding(2, 3))));
  BOOST_TEST(gradients_of(converted) == gradients_of(load_llama<Small, float>(folder.path())), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_files_outlive_the_call_and_copies_share_them) {
  const TemporaryFolder folder;
  auto model = Llama<Small, float>::random(3, 0.4);
  save_as<bfloat16>(model, folder.path(), false);
  const auto copy = [&] { return FrozenLlama<Small, float>(open_llama<Small, float>(folder.path())); }();
  BOOST_TEST(relative_l2(gradients_of(copy), gradients_of(load_llama<Small, float>(folder.path()))) < 1e-6);
}

BOOST_AUTO_TEST_CASE(missing_and_misshapen_tensors_are_refused) {
  const TemporaryFolder folder;
  auto model = Llama<Small, float>::random(3, 0.4);
  save_llama(model, folder.path());
  const std::vector<float> values(16 * 16);
  const auto only = [&](const char* name, std::uint64_t rows) {
    const std::vector<StoredTensor> one{
        stored_tensor<float>(name, {rows, 16}, std::span(values).first(static_cast<std::size_t>(rows * 16)))};
    write_safetensors(folder.path() / "model.safetensors", one);
  };
  only("model.norm.weight", 1);
  expect_refusal<DataError>([&] { (void)open_llama<Small, float>(folder.path()); }, "'model.embed_tokens.weight' is missing");
  only("model.embed_tokens.weight", 16);
  expect_refusal<DataError>([&] { (void)open_llama<Small, float>(folder.path()); }, "model.embed_tokens.weight",
                            "found shape [16, 16], expected [19, 16]");
}

BOOST_AUTO_TEST_CASE(weights_that_are_not_finite_are_named) {
  const auto find = []<class E>(std::vector<E> values) { return linden::detail::find_not_finite(values.data(), std::ssize(values)); };
  constexpr float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> many(200000, std::numeric_limits<float>::max());
  BOOST_TEST(find(many) == 200000);
  for (const std::size_t at : {199999U, 123456U, 0U}) {
    many[at] = at % 2 == 0 ? nan : -infinity;
    BOOST_TEST(find(many) == static_cast<long>(at));
  }
  BOOST_TEST(find(std::vector<double>{1e300, -1e308, 0, nan}) == 3);
  BOOST_TEST(find(std::vector{bfloat16(3e38F), bfloat16(-0.0F), bfloat16(-infinity)}) == 2);

  const TemporaryFolder folder;
  auto model = Llama<Small, float>::random(3, 0.4);
  check_finite(FrozenLlama<Small, float>(model), folder.path());
  model.weights().norm(0, 5) = infinity;
  const auto refused = [&](const char* where) {
    expect_refusal<DataError>([&] { check_finite(open_llama<Small, float>(folder.path()), folder.path()); }, folder.path().string(), where);
  };
  save_as<float>(model, folder.path(), false);
  refused("'model.norm.weight': element [0, 5] is inf");
  model.weights().embedding(7, 2) = nan;
  save_as<bfloat16>(model, folder.path(), false);
  refused("'model.embed_tokens.weight': element [7, 2] is nan");
}

BOOST_AUTO_TEST_CASE(elements_of_float_are_not_read_from_bfloat16) {
  constexpr auto twice = compile([](Expr<Shape<2, 3>> x) { return x + x; });
  const std::vector<bfloat16> half(6, bfloat16(1.0F));
  const StoredView<float, Shape<2, 3>> stored(TensorView<const bfloat16, Shape<2, 3>>(half.data()).named("x"));
  expect_refusal<ShapeError>([&] { (void)twice(stored); }, "stored as bfloat16");
}
