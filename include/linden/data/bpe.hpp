#pragma once
/// \file
/// Byte-pair merging: which two neighbouring tokens become one, and in which order.
/// Units   token ids; ranks order the merges, 0 is applied first.
/// Errors  none; the readers of tokenizer files check the merges.
/// Source  Sennrich, Haddow, Birch 2016, "Neural Machine Translation of Rare Words with Subword Units".

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <queue>
#include <span>
#include <utility>
#include <vector>

namespace linden {

/// A hash table from pairs of token ids to `Value`: open addressing, so that a look-up is one or two cache lines.
template <class Value>
class PairTable {
 public:
  /// \return false, and nothing is added, when the pair is there already.
  bool add(std::int32_t left, std::int32_t right, const Value& value) {
    if (2 * (size_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[place_of(slots_, left, right)];
    if (slot.left != empty) return false;
    slot = {left, right, value};
    ++size_;
    return true;
  }

  /// \return the value of a pair, or nullptr.
  [[nodiscard]] const Value* find(std::int32_t left, std::int32_t right) const {
    const Slot& slot = slots_[place_of(slots_, left, right)];
    return slot.left == empty ? nullptr : &slot.value;
  }

  [[nodiscard]] std::size_t size() const { return size_; }  ///< pairs there are

  /// Calls `visit(left, right, value)` for every pair, in no particular order.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const Slot& slot : slots_)
      if (slot.left != empty) visit(slot.left, slot.right, slot.value);
  }

 private:
  static constexpr std::int32_t empty = -1;
  struct Slot {
    std::int32_t left = empty;
    std::int32_t right = 0;
    Value value{};
  };

  /// Where the pair is, or else the free slot where it belongs. The number of slots is a power of two.
  static std::size_t place_of(const std::vector<Slot>& slots, std::int32_t left, std::int32_t right) {
    const std::uint64_t key =
        std::uint64_t{static_cast<std::uint32_t>(left)} << 32U | static_cast<std::uint32_t>(right);
    const std::size_t mask = slots.size() - 1;
    auto at = static_cast<std::size_t>((key ^ key >> 29U) * 0x9E3779B97F4A7C15ULL >> 20U) & mask;
    while (slots[at].left != empty && (slots[at].left != left || slots[at].right != right)) at = (at + 1) & mask;
    return at;
  }

  void grow() {
    std::vector<Slot> larger(2 * slots_.size());
    for (const Slot& slot : slots_)
      if (slot.left != empty) larger[place_of(larger, slot.left, slot.right)] = slot;
    slots_ = std::move(larger);
  }

  std::vector<Slot> slots_ = std::vector<Slot>(16);
  std::size_t size_ = 0;
};

/// The merges of a byte-pair encoding, looked up by the pair they join.
class MergeTable {
 public:
  /// What a pair becomes, and how early.
  struct Merge {
    std::int32_t rank;    ///< low ranks are merged first
    std::int32_t result;  ///< the token that the pair becomes
  };

  /// Appends a merge with the next rank. \return false, and nothing is added, when the pair has a merge already.
  bool add(std::int32_t left, std::int32_t right, std::int32_t result) {
    return add(left, right, result, static_cast<std::int32_t>(merges_.size()));
  }
  /// The same with a rank of choice; merges of equal rank apply leftmost first.
  bool add(std::int32_t left, std::int32_t right, std::int32_t result, std::int32_t rank) {
    return merges_.add(left, right, {rank, result});
  }

  [[nodiscard]] std::size_t size() const { return merges_.size(); }  ///< merges there are

  /// \return the merge of two tokens, or nullptr.
  [[nodiscard]] const Merge* find(std::int32_t left, std::int32_t right) const { return merges_.find(left, right); }

  /// Calls `visit(left, right, merge)` for every merge, in no particular order.
  template <class Visit>
  void for_each(Visit visit) const {
    merges_.for_each(visit);
  }

  /// Applies merges to `symbols[first..]`, lowest rank first and leftmost among equals, until none applies:
  /// O(n log n), and without allocating for the length of a word.
  void apply(std::vector<std::int32_t>& symbols, std::size_t first = 0) const {
    const std::span<std::int32_t> tail = std::span(symbols).subspan(first);
    if (tail.size() < 2) return;
    symbols.resize(first +
                   (tail.size() <= Word::capacity ? Word(tail, *this).merge_all() : Chain(tail, *this).merge_all()));
  }

 private:
  /// A short row of symbols: the best merge is found by looking at all of them.
  class Word {
   public:
    static constexpr std::size_t capacity = 48;

    Word(std::span<std::int32_t> symbols, const MergeTable& table) : symbols_(symbols), table_(table) {
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) look_up(i);
    }

    /// \return the number of symbols left; they are the first ones.
    std::size_t merge_all() {
      std::size_t size = symbols_.size();
      while (size > 1) {
        const auto end = pairs_.begin() + static_cast<std::ptrdiff_t>(size - 1);
        const auto best = std::min_element(pairs_.begin(), end, [](Merge a, Merge b) { return a.rank < b.rank; });
        if (best->rank == never) break;
        const auto at = static_cast<std::size_t>(best - pairs_.begin());
        symbols_[at] = best->result;
        std::copy(best + 1, end, best);
        const auto joined = symbols_.begin() + static_cast<std::ptrdiff_t>(at + 1);
        std::copy(joined + 1, symbols_.begin() + static_cast<std::ptrdiff_t>(size), joined);
        --size;
        if (at + 1 < size) look_up(at);
        if (at > 0) look_up(at - 1);
      }
      return size;
    }

   private:
    static constexpr std::int32_t never = std::numeric_limits<std::int32_t>::max();

    void look_up(std::size_t left) {
      const Merge* merge = table_.find(symbols_[left], symbols_[left + 1]);
      pairs_[left] = merge == nullptr ? Merge{never, 0} : *merge;
    }

    std::span<std::int32_t> symbols_;
    const MergeTable& table_;
    std::array<Merge, capacity> pairs_;  // [i] what symbols i and i + 1 become
  };

  /// A long row of symbols: a doubly linked list, with the possible merges in a queue.
  class Chain {
   public:
    Chain(std::span<std::int32_t> symbols, const MergeTable& table)
        : symbols_(symbols), table_(table), next_(symbols.size()), previous_(symbols.size()) {
      for (std::size_t i = 0; i < symbols.size(); ++i) next_[i] = i + 1, previous_[i] = i == 0 ? none : i - 1;
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) offer(i);
    }

    /// \return the number of symbols left; they are the first ones.
    std::size_t merge_all() {
      while (!queue_.empty()) {
        const Candidate best = queue_.top();
        queue_.pop();
        if (still_stands(best)) join(best);
      }
      std::size_t kept = 0;
      for (std::size_t i = 0; i < next_.size(); i = next_[i]) symbols_[kept++] = symbols_[i];
      return kept;
    }

   private:
    static constexpr std::size_t none = static_cast<std::size_t>(-1);
    static constexpr std::int32_t gone = -1;

    struct Candidate {
      std::int32_t rank;
      std::int32_t result;
      std::size_t left;
      bool operator>(const Candidate& other) const {
        return rank != other.rank ? rank > other.rank : left > other.left;
      }
    };

    void offer(std::size_t left) {
      if (const Merge* merge = table_.find(symbols_[left], symbols_[next_[left]]))
        queue_.push({merge->rank, merge->result, left});
    }

    /// Candidates are not withdrawn when a neighbour is merged away; the pair there now must give the same token.
    [[nodiscard]] bool still_stands(const Candidate& c) const {
      if (symbols_[c.left] == gone || next_[c.left] == next_.size()) return false;
      const Merge* merge = table_.find(symbols_[c.left], symbols_[next_[c.left]]);
      return merge != nullptr && merge->result == c.result;
    }

    void join(const Candidate& c) {
      const std::size_t right = next_[c.left];
      symbols_[c.left] = c.result;
      symbols_[right] = gone;
      next_[c.left] = next_[right];
      if (next_[c.left] < next_.size()) previous_[next_[c.left]] = c.left, offer(c.left);
      if (previous_[c.left] != none) offer(previous_[c.left]);
    }

    std::span<std::int32_t> symbols_;
    const MergeTable& table_;
    std::vector<std::size_t> next_;      // next_[i] == next_.size() ends the chain
    std::vector<std::size_t> previous_;  // none at its start
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue_;
  };

  PairTable<Merge> merges_;
};

}  // namespace linden
