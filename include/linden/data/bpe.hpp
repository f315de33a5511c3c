#pragma once
/// \file
/// Byte-pair merging: which two neighbouring tokens become one, and in which order.
/// Units   token ids; ranks count merges, 0 is the first learned and the first applied.
/// Errors  none; the reader of the tokenizer file checks the merges.
/// Source  Sennrich, Haddow, Birch 2016, "Neural Machine Translation of Rare Words with Subword Units".

#include <cstddef>
#include <cstdint>
#include <queue>
#include <unordered_map>
#include <vector>

namespace linden {

/// The merges of a byte-pair encoding, looked up by the pair they join.
class MergeTable {
 public:
  /// What a pair becomes, and how early.
  struct Merge {
    std::int32_t rank;
    std::int32_t result;
  };

  /// Appends a merge with the next rank. \return false, and nothing is added, when the pair has a merge already.
  bool add(std::int32_t left, std::int32_t right, std::int32_t result) {
    return merges_.try_emplace(key(left, right), Merge{static_cast<std::int32_t>(merges_.size()), result}).second;
  }

  [[nodiscard]] std::size_t size() const { return merges_.size(); }

  /// \return the merge of two tokens, or nullptr.
  [[nodiscard]] const Merge* find(std::int32_t left, std::int32_t right) const {
    const auto found = merges_.find(key(left, right));
    return found == merges_.end() ? nullptr : &found->second;
  }

  /// Applies merges to `symbols`, lowest rank first and leftmost among equals, until none applies: O(n log n).
  void apply(std::vector<std::int32_t>& symbols) const {
    if (symbols.size() < 2 || merges_.empty()) return;
    Chain chain(symbols, *this);
    chain.merge_all();
  }

 private:
  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32U | static_cast<std::uint32_t>(right);
  }

  /// Ids in ascending order differ in their low bits only: mix them (the finaliser of SplitMix64).
  struct Mix {
    std::size_t operator()(std::uint64_t x) const {
      x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9ULL;
      x = (x ^ (x >> 27U)) * 0x94d049bb133111ebULL;
      return static_cast<std::size_t>(x ^ (x >> 31U));
    }
  };

  /// The symbols as a doubly linked list, with the possible merges in a queue.
  class Chain {
   public:
    Chain(std::vector<std::int32_t>& symbols, const MergeTable& table)
        : symbols_(symbols), table_(table), next_(symbols.size()), previous_(symbols.size()) {
      for (std::size_t i = 0; i < symbols.size(); ++i) next_[i] = i + 1, previous_[i] = i == 0 ? none : i - 1;
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) offer(i);
    }

    void merge_all() {
      while (!queue_.empty()) {
        const Candidate best = queue_.top();
        queue_.pop();
        if (still_stands(best)) join(best);
      }
      std::size_t kept = 0;
      for (std::size_t i = 0; i < next_.size(); i = next_[i]) symbols_[kept++] = symbols_[i];
      symbols_.resize(kept);
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

    std::vector<std::int32_t>& symbols_;
    const MergeTable& table_;
    std::vector<std::size_t> next_;      // next_[i] == next_.size() ends the chain
    std::vector<std::size_t> previous_;  // none at its start
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue_;
  };

  std::unordered_map<std::uint64_t, Merge, Mix> merges_;
};

}  // namespace linden
