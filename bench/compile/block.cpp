// One block of Llama-3.2-1B with adapters on its seven projections, forward and backward, in float. Runs in 0.7 GB.
#include <linden/backend/executor.hpp>
#include <linden/model/llama_block.hpp>
#include <linden/ops/rotary.hpp>
#include <list>

namespace {
using namespace linden;
using Layer = LlamaLayer<Llama32_1B>;
using Block = decltype(pullback<Keep::costly, 0, 2>(Layer::AdaptedBlock{}));
using Hidden = TensorView<float, Shape<tokens, Llama32_1B::hidden>>;

/// Memory for tensors and records, each element 0.01.
class Pieces {
 public:
  explicit Pieces(const Sizes& sizes) : sizes_(sizes) {}
  template <class Record>
  Record take() {
    Record record{};
    for_each_leaf(record, [&]<class L>(L& leaf) {
      const long rows = sizes_.of(L::shape::row_count), columns = sizes_.of(L::shape::column_count);
      memory_.emplace_back(static_cast<std::size_t>(rows * columns), 0.01F);
      leaf = L::strided(memory_.back().data(), rows, columns, columns);
    });
    return record;
  }

 private:
  Sizes sizes_;
  std::list<std::vector<float>> memory_;
};
}  // namespace

int main() {
  const std::array<std::int32_t, 4> span{0, 8, 0, 8};
  ModuleRanks ranks;
  ranks.of.fill(16);
  Sizes sizes;
  ranks.bind(sizes.set(tokens, 8));
  Pieces pieces(sizes);
  const auto x = pieces.take<Hidden>(), y = pieces.take<Hidden>(), dy = pieces.take<Hidden>(), dx = pieces.take<Hidden>();
  const auto weights = pieces.take<Layer::Weights<Bound<float>>>();
  const auto adapters = pieces.take<Layer::Adapters<Bound<float>>>(), gradients = pieces.take<Layer::Adapters<Bound<float>>>();
  const auto rows = pieces.take<ModuleRows<Bound<float>>>();
  const auto angles = pieces.take<Layer::Angles<Bound<float>>>();
  const TensorView<const std::int32_t, Shape<sequences, 4>> spans(span.data(), 1);

  Workspace<float> workspace;
  std::vector<float> saved(static_cast<std::size_t>(Block::kept.pools.elements(sizes)));
  run_forward(Block{}, workspace, saved.data(), y, x, weights, adapters, rows, angles, spans);
  run_backward(Block{}, workspace, saved.data(), std::tuple(dx, Accumulate{gradients}), dy, x, weights, adapters, rows, angles, spans);
  return dx(0, 0) == dx(0, 0) ? 0 : 1;
}
