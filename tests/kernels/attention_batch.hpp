#pragma once
/// \file
/// Packed batches for tests of attention on devices.

#include <linden/ops/attention.hpp>

#include "kernels/kernel_test.hpp"

namespace linden::test {

/// Heads and the rows of a packed batch.
struct Batch {
  long heads, kv_heads, size;
  std::vector<std::int32_t> spans;
  long queries, keys, gap = 0;

  [[nodiscard]] Values of_queries(std::uint32_t seed) const {
    return Values::random(queries, heads * size, seed, 1, gap);
  }
  [[nodiscard]] Values of_keys(std::uint32_t seed) const { return Values::random(keys, kv_heads * size, seed, 1, gap); }
  [[nodiscard]] Values ids() const { return Values::of_ids(static_cast<long>(spans.size()) / 4, 4, spans); }
  [[nodiscard]] Case forward() const {
    return {{of_queries(1), of_keys(2), of_keys(3), ids()},
            {Values::result(queries, heads * size, gap), Values::result(queries, heads).as_float()},
            {static_cast<double>(heads), static_cast<double>(kv_heads)}};
  }
  /// With the o and log-sum-exp that the CPU finds.
  template <class T>
  [[nodiscard]] Case backward() const {
    const Case c = forward();
    const auto found = detail::on_cpu<Attention, T>(c);
    Values o = c.results[0], lse = c.results[1];
    std::copy(found[0].begin(), found[0].end(), o.data.begin());
    std::copy(found[1].begin(), found[1].end(), lse.data.begin());
    return {{c.inputs[0], c.inputs[1], c.inputs[2], o, lse, of_queries(4), ids()},
            {Values::result(queries, heads * size, gap), Values::result(keys, kv_heads * size, gap),
             Values::result(keys, kv_heads * size, gap)},
            c.attributes};
  }
};

/// Sequences of these lengths, one after the other.
inline Batch training(long heads, long kv_heads, long size, const std::vector<int>& lengths, long gap = 0) {
  Batch batch{heads, kv_heads, size, {}, 0, 0, gap};
  int row = 0;
  for (const int length : lengths) {
    batch.spans.insert(batch.spans.end(), {row, length, row, length});
    row += length;
  }
  batch.queries = batch.keys = row;
  return batch;
}

}  // namespace linden::test
