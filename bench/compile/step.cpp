// A whole training step: Llama-3.2-1B frozen, adapters on all projections, loss, gradients, AdamW, in float. Runs in 6 GB.
#include <linden/train/adamw.hpp>
#include <linden/train/llama_pass.hpp>

int main() {
  using namespace linden;
  using C = Llama32_1B;
  constexpr int R = 16;
  const Llama<C, float> model = Llama<C, float>::random(1);
  const auto size = static_cast<std::size_t>(AdapterFactors<C, float>::count(R));
  std::vector<float> parameters(size, 0.01F), gradients(size), m(size), v(size);
  const std::vector<float> p(R, 2.0F);
  const AdapterFactors<C, float> factors(parameters.data(), R), slopes(gradients.data(), R);
  Batch batch;
  batch.ids = {1, 2, 3, 4};
  batch.targets = {2, 3, 4, 5};
  batch.positions = {0, 1, 2, 3};
  batch.offsets = {0, 4};
  batch.counted = 4;
  AdapterPass<C, float> pass;
  const double loss = pass.run(model, factors, {p.data(), R, 0}, slopes, batch, 0.25);
  adamw_step<float>(parameters, gradients, m, v, 1, 1e-4);
  return loss > 0 ? 0 : 1;
}
