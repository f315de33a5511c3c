#pragma once
/// \file
/// Samples packed one after the other, without padding, for attention that is told where each one begins.
/// Shapes  ids, targets, positions: [T], T the tokens of all sequences; offsets: [sequences + 1], from 0 to T.
/// Units   targets are shifted: targets[t] is what should follow ids[t], Sample::ignored where that is not learned and at
///         the last position of each sequence. counted is the number of targets that are learned.
/// Errors  UsageError for a sample that is empty, longer than allowed or inconsistent; the batch is left as it was.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <linden/core/error.hpp>
#include <linden/data/sample.hpp>
#include <vector>

namespace linden {

/// A packed batch. Its vectors keep their memory over clear(), so a batch in use allocates no more once it has seen (or
/// was reserved for) the largest content.
struct Batch {
  std::vector<std::int32_t> ids;         ///< tokens of all sequences, one after the other
  std::vector<std::int32_t> targets;     ///< what should follow each token, or Sample::ignored
  std::vector<std::int32_t> positions;   ///< 0..n-1 in each sequence
  std::vector<std::int32_t> offsets{0};  ///< sequence s is [offsets[s], offsets[s + 1])
  long counted = 0;                      ///< targets that are learned

  [[nodiscard]] std::size_t tokens() const { return ids.size(); }             ///< tokens in all
  [[nodiscard]] std::size_t sequences() const { return offsets.size() - 1; }  ///< sequences packed

  /// Makes room for so many tokens and sequences in all.
  void reserve(std::size_t tokens, std::size_t sequences) {
    for (auto* column : {&ids, &targets, &positions}) column->reserve(tokens);
    offsets.reserve(sequences + 1);
  }

  /// Empties the batch and keeps its memory.
  void clear() {
    for (auto* column : {&ids, &targets, &positions}) column->clear();
    offsets.resize(1);
    counted = 0;
  }

  /// Becomes the sequences [first, last) of another batch.
  void assign(const Batch& whole, std::size_t first, std::size_t last) {
    clear();
    const std::int32_t begin = whole.offsets[first], end = whole.offsets[last];
    for (auto column : {&Batch::ids, &Batch::targets, &Batch::positions})
      (this->*column).assign((whole.*column).begin() + begin, (whole.*column).begin() + end);
    for (std::size_t s = first; s < last; ++s) offsets.push_back(whole.offsets[s + 1] - begin);
    counted = std::ranges::count_if(targets, [](std::int32_t target) { return target != Sample::ignored; });
  }

  /// Adds one sequence of at most `max_length` tokens (the context of the model).
  void append(const Sample& sample, std::size_t max_length) {
    check(sample, max_length);
    const std::size_t n = sample.ids.size();
    make_room(n);
    ids.insert(ids.end(), sample.ids.begin(), sample.ids.end());
    targets.insert(targets.end(), sample.labels.begin() + 1, sample.labels.end());
    targets.push_back(Sample::ignored);
    for (std::size_t t = 0; t < n; ++t) positions.push_back(static_cast<std::int32_t>(t));
    for (std::size_t t = 1; t < n; ++t) counted += sample.labels[t] != Sample::ignored;
    offsets.push_back(static_cast<std::int32_t>(ids.size()));
  }

 private:
  void check(const Sample& sample, std::size_t max_length) const {
    const std::size_t n = sample.ids.size();
    if (n == 0) throw UsageError(text("linden::Batch::append: the sample of row ", sample.row, " is empty"));
    if (n != sample.labels.size())
      throw UsageError(text("linden::Batch::append: the sample of row ", sample.row, " has ", n, " ids but ",
                            sample.labels.size(), " labels"));
    if (n > max_length)
      throw UsageError(text("linden::Batch::append: the sample of row ", sample.row, " has ", n,
                            " tokens, expected at most ", max_length));
    if (tokens() + n > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
      throw UsageError(text("linden::Batch::append: ", tokens(), " + ", n, " tokens are more than a batch can count"));
  }

  /// All allocation happens here, before anything is changed; sizes at least double, so it happens rarely.
  void make_room(std::size_t n) {
    for (auto* column : {&ids, &targets, &positions})
      if (column->size() + n > column->capacity()) column->reserve(2 * (column->size() + n));
    if (offsets.size() == offsets.capacity()) offsets.reserve(2 * offsets.size());
  }
};

}  // namespace linden
