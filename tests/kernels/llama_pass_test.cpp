#define BOOST_TEST_MODULE kernels_llama_pass
#include <linden/adapter/weighting.hpp>
#include <linden/model/llama_adapter.hpp>
#include <linden/train/llama_pass.hpp>

#include "../../kernels/llama.cuh"
#include "kernels/kernel_test.hpp"
#include "support/small_llama.hpp"

using namespace linden;
using namespace linden::test;

namespace {

template <class T>
std::vector<T> stored(std::span<const double> values) {
  std::vector<T> out;
  for (const double value : values) out.push_back(static_cast<T>(static_cast<float>(value)));
  return out;
}
/// `values` as T has them.
template <class T>
void round_to(std::span<double> values) {
  for (double& value : values) value = static_cast<double>(static_cast<float>(static_cast<T>(static_cast<float>(value))));
}

/// Loss, gradients and scores of one packed batch, with a rank per sequence: the device against the CPU in double.
template <class T>
void check(double tolerance) {
  Llama<Small, double> model = Llama<Small, double>::random(3, 0.3);
  LlamaAdapter<Small, double> adapter({.kind = AdapterKind::stratified, .full_rank = 4, .train_ranks = RankSet{1, 2, 4}});
  NormalRandom normal(4);
  for (double& parameter : adapter.parameters()) parameter = 0.3 * normal();
  round_to<T>(model.parameters());
  round_to<T>(adapter.parameters());
  Batch batch;
  batch.append({{1, 5, 7, 2, 9}, {Sample::ignored, 5, 7, 2, 9}, 0}, Small::positions);
  batch.append({{3, 3, 8}, {Sample::ignored, Sample::ignored, 8}, 1}, Small::positions);
  const std::vector<int> ranks{4, 2};

  WeightingRows<double> rows(adapter.description());
  rows.set(ranks, batch.offsets);
  std::vector<double> gradients(adapter.parameters().size(), 0.25);
  AdapterPass<Small, double> pass;
  const double loss = pass.run(model, adapter.factors(), rows.rows(), {gradients.data(), 4}, batch, 0.5);
  std::vector<double> losses(batch.tokens()), correct(batch.tokens());
  pass.score(model, adapter.factors(), rows.rows(), batch, losses, correct);

  cuda::Device device;
  Llama<Small, float> in_float;
  std::ranges::copy(model.parameters(), in_float.parameters().begin());
  const cuda::DeviceLlama<Small, T> there(in_float, device);
  const std::vector<T> factors = stored<T>(adapter.parameters());
  cuda::Buffer<T> factor_memory(factors.size());
  device.staging().upload(std::span<const T>(factors), factor_memory.data(), device.stream());
  const std::vector<float> before(gradients.size(), 0.25F);
  cuda::Buffer<float> gradient_memory(before.size());
  device.staging().upload(std::span<const float>(before), gradient_memory.data(), device.stream());
  WeightingRows<float> float_rows(adapter.description());
  float_rows.set(ranks, batch.offsets);
  AdapterPass<Small, T, Keep::costly, cuda::OnDevice, cuda::DeviceLlama<Small, T>> on_device{cuda::OnDevice(device)};
  const AdapterFactors<Small, T> at(factor_memory.data(), 4);
  const double found_loss = on_device.run(there, at, float_rows.rows(), {gradient_memory.data(), 4}, batch, 0.5);
  std::vector<float> found(before.size()), found_losses(batch.tokens()), found_correct(batch.tokens());
  cuda::download(gradient_memory.data(), std::span<float>(found), device.stream());
  on_device.score(there, at, float_rows.rows(), batch, found_losses, found_correct);

  BOOST_TEST(std::abs(found_loss - loss) < tolerance * std::abs(loss));
  BOOST_TEST(relative_error(found, gradients) < tolerance);
  BOOST_TEST(relative_error(found_losses, losses) < tolerance);
  for (std::size_t t = 0; t < correct.size(); ++t) BOOST_TEST(static_cast<double>(found_correct[t]) == correct[t]);
}
}  // namespace

BOOST_AUTO_TEST_CASE(loss_gradients_and_scores_in_float) { check<float>(float_tolerance); }
BOOST_AUTO_TEST_CASE(loss_gradients_and_scores_in_bfloat16) { check<bfloat16>(3e-2); }
