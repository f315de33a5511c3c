#define BOOST_TEST_MODULE kernels_llama_golden
#include <linden/io/safetensors.hpp>
#include <linden/model/checkpoint.hpp>
#include <linden/model/generate.hpp>
#include <linden/model/llama_config.hpp>
#include <linden/train/llama_pass.hpp>

#include "../../kernels/llama.cuh"
#include "kernels/kernel_test.hpp"
#include "support/golden.hpp"

using namespace linden;
using namespace linden::test;

// The real pretrained checkpoint on a device against numbers from an independent float64 implementation.
namespace {
using C = Stories260K;
const auto here = boost::unit_test::precondition(needs_shared("models/stories260K"));

nlohmann::json shared_json(const std::string& name) {
  std::ifstream file(shared_folder() / "golden" / name);
  return nlohmann::json::parse(file);
}
FrozenLlama<C, float> checkpoint() { return open_llama<C, float>(shared_folder() / "models/stories260K"); }

/// Loss of the golden batch and every element of its gradients, with MatryoshkaLoRA's p: relative errors of the loss, of all
/// gradients together, of the worst factor's.
template <class T>
void check_gradients(double loss_tolerance, double all_tolerance, double worst_tolerance) {
  const auto golden = shared_json("stories260k_adapter.json");
  const auto& c = golden.at("train_cases")[0];
  const SafeTensors expected(shared_folder() / "golden/stories260k_adapter_grads.safetensors");
  const auto adapter = LlamaAdapter<C, float>::load(shared_folder() / "golden/adapter_stories260k");
  Batch batch;
  for (const auto& s : golden.at("batch"))
    batch.append({s.at("input_ids").get<std::vector<std::int32_t>>(), s.at("labels").get<std::vector<std::int32_t>>(), 0}, 512);

  cuda::Device device;
  const cuda::OnDevice backend(device);
  const cuda::DeviceLlama<C, T> model(checkpoint(), device);
  const std::vector<T> factors(adapter.parameters().begin(), adapter.parameters().end());
  cuda::Buffer<T> factor_memory;
  backend.place(std::span<const T>(factors), factor_memory);
  cuda::Buffer<float> gradient_memory(factors.size());
  backend.clear(gradient_memory.data(), factors.size());
  const auto p = c.at("p").get<std::vector<float>>();
  AdapterPass<C, T, Keep::costly, cuda::OnDevice, cuda::DeviceLlama<C, T>> pass(backend);
  const double loss = pass.run(model, {factor_memory.data(), 8}, {p.data(), 8, 0}, {gradient_memory.data(), 8}, batch,
                               1.0 / static_cast<double>(batch.counted));
  BOOST_TEST(test::relative_error(loss, c.at("loss").get<double>()) < loss_tolerance);

  std::vector<float> flat(factors.size());
  backend.fetch(gradient_memory.data(), std::span(flat));
  double worst = 0;
  std::vector<double> all(flat.size());
  AdapterFactors<C, double> all_views(all.data(), 8);
  std::vector<double*> next;
  all_views.for_each([&](const std::string&, auto view) { next.push_back(view.data()); });
  auto at = next.begin();
  AdapterFactors<C, float>(flat.data(), 8).for_each([&](const std::string& name, auto view) {
    std::vector<double> stored(view.size()), reference;
    expected.read("base_model.model." + name + ".weight",
                  {static_cast<std::uint64_t>(view.columns()), static_cast<std::uint64_t>(view.rows())}, std::span<double>(stored));
    for (long i = 0; i < view.rows(); ++i)
      for (long j = 0; j < view.columns(); ++j) reference.push_back(stored[static_cast<std::size_t>(j * view.rows() + i)]);
    std::ranges::copy(reference, *at++);
    worst = std::max(worst, test::relative_error(std::span<const float>(view.span()), std::span<const double>(reference)));
  });
  BOOST_TEST(worst < worst_tolerance);
  BOOST_TEST(test::relative_error(std::span<const float>(flat), std::span<const double>(all)) < all_tolerance);
}

/// Logits of every position of the golden texts, by the cache as generation has them: the worst difference, and the relative
/// error of all.
template <class T>
void check_logits(double worst_tolerance, double all_tolerance) {
  const auto golden = shared_json("stories260k_base.json");
  cuda::Device device;
  const cuda::OnDevice backend(device);
  const LlamaAdapter<C, float> none{AdapterDescription{}};
  using Forward = CachedForward<C, T, cuda::OnDevice, cuda::DeviceLlama<C, T>>;
  Forward forward(cuda::DeviceLlama<C, T>(checkpoint(), device), none, Inference::prefix, backend);
  for (const auto& text_case : golden.at("logits")) {
    const auto ids = text_case.at("ids").get<std::vector<std::int32_t>>();
    const long n = static_cast<long>(ids.size());
    forward.reserve(n);
    const std::vector<CachedTokens> sequence{{.ids = ids}};
    cuda::Buffer<float> memory(static_cast<std::size_t>(n * C::vocabulary));
    forward.logits(forward.run(sequence), typename Forward::Logits(memory.data(), n));
    std::vector<float> logits(memory.size()), first;
    backend.fetch(memory.data(), std::span(logits));
    std::vector<double> expected;
    for (std::size_t t = 0; t < ids.size(); ++t)
      for (std::size_t j = 0; j < 32; ++j) {
        first.push_back(logits[t * C::vocabulary + j]);
        expected.push_back(text_case.at("first32").at(t).at(j).get<double>());
        BOOST_TEST(std::abs(static_cast<double>(first.back()) - expected.back()) < worst_tolerance);
      }
    BOOST_TEST(test::relative_error(std::span<const float>(first), std::span<const double>(expected)) < all_tolerance);
    std::vector<std::int32_t> found(ids.size());
    backend.best_columns(memory.data(), C::vocabulary, std::span(found));
    if (sizeof(T) == sizeof(float))
      BOOST_TEST(found == text_case.at("argmax").get<std::vector<std::int32_t>>(), boost::test_tools::per_element());
  }
}
}  // namespace

BOOST_AUTO_TEST_CASE(loss_and_every_gradient_in_float, *here) { check_gradients<float>(1e-5, 1e-4, 1e-4); }
BOOST_AUTO_TEST_CASE(loss_and_every_gradient_in_bfloat16, *here) { check_gradients<bfloat16>(1e-2, 3e-2, 0.12); }
BOOST_AUTO_TEST_CASE(logits_in_float, *here) { check_logits<float>(1e-4, 1e-5); }
BOOST_AUTO_TEST_CASE(logits_in_bfloat16, *here) { check_logits<bfloat16>(0.5, 1e-2); }
