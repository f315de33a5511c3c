#pragma once
/// \file
/// The ranks a nested adapter is trained or evaluated at: strictly ascending positive integers, at least one.
/// One type for both worlds: built from a command line at run time, or a constant and even a template argument.
/// Errors  UsageError for an empty, unsorted, repeated or non-positive rank; in a constant it does not compile,
///         and the compiler names the function that states the rule.

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <initializer_list>
#include <linden/core/error.hpp>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace linden {

namespace detail {

// Not constexpr on purpose: reaching one of these in a constant is the compile error, and its name the message.

[[noreturn]] inline void a_rank_set_needs_at_least_one_rank() {
  throw UsageError("rank set: it is empty; expected at least one rank, such as 1,2,4,8");
}

[[noreturn]] inline void a_rank_set_needs_a_rank_up_to_the_largest(int smallest, int largest) {
  throw UsageError(text("rank set: its smallest rank is ", smallest, "; expected one rank at least that is not above ", largest));
}

[[noreturn]] inline void a_rank_set_holds_at_most_32_ranks(std::size_t count) {
  throw UsageError(text("rank set: ", count, " ranks were given; at most 32 are supported"));
}

[[noreturn]] inline void ranks_must_be_positive_and_strictly_ascending(std::span<const int> ranks, std::size_t i) {
  std::string list;
  for (const int rank : ranks) list += (list.empty() ? "" : ",") + std::to_string(rank);
  throw UsageError(ranks[i] <= 0
                       ? text("rank set ", list, ": item ", i + 1, " is ", ranks[i], "; ranks must be positive")
                       : text("rank set ", list, ": item ", i + 1, " is ", ranks[i], " after ", ranks[i - 1],
                              "; ranks must be strictly ascending"));
}

}  // namespace detail

/// Strictly ascending positive ranks, 1 to 32 of them. Structural, so a value can be a template argument.
/// A contiguous range of int: converts to std::span<const int>.
struct RankSet {
  static constexpr std::size_t capacity = 32;  ///< ranks, at most

  std::array<int, capacity> members{};  ///< the ranks, then zeros; public only because a structural type must be
  std::size_t count = 0;                ///< how many members are ranks

  /// `RankSet{1, 2, 4}`.
  constexpr RankSet(std::initializer_list<int> ranks) : RankSet(std::span(ranks.begin(), ranks.size())) {}

  /// From any contiguous ints, in the order given.
  constexpr explicit RankSet(std::span<const int> ranks) {
    if (ranks.empty()) detail::a_rank_set_needs_at_least_one_rank();
    if (ranks.size() > capacity) detail::a_rank_set_holds_at_most_32_ranks(ranks.size());
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      if (ranks[i] <= (i == 0 ? 0 : ranks[i - 1])) detail::ranks_must_be_positive_and_strictly_ascending(ranks, i);
      members[i] = ranks[i];
    }
    count = ranks.size();
  }

  /// 1, 2, 4, ... up to and including `largest_rank`.
  [[nodiscard]] static constexpr RankSet powers_of_two(int largest_rank) {
    std::array<int, capacity> powers{};
    std::size_t n = 0;
    for (long power = 1; power <= largest_rank; power *= 2) powers[n++] = static_cast<int>(power);
    return RankSet(std::span<const int>(powers.data(), n));
  }

  /// "1,2,4"; blanks around an item are allowed.
  [[nodiscard]] static RankSet parse(std::string_view list) {
    std::array<int, capacity> ranks{};
    std::size_t n = 0;
    for (std::size_t begin = 0; begin <= list.size(); ++n) {
      const std::size_t end = std::min(list.find(',', begin), list.size());
      if (n == capacity)
        detail::a_rank_set_holds_at_most_32_ranks(static_cast<std::size_t>(std::count(list.begin(), list.end(), ',')) +
                                                  1);
      ranks[n] = parse_item(list, list.substr(begin, end - begin), n);
      begin = end + 1;
    }
    return RankSet(std::span<const int>(ranks.data(), n));
  }

  [[nodiscard]] constexpr std::size_t size() const { return count; }  ///< how many ranks
  /// Rank number i, from 0, ascending.
  [[nodiscard]] constexpr int operator[](std::size_t i) const { return members[i]; }
  [[nodiscard]] constexpr const int* begin() const { return members.data(); }        ///< the smallest rank
  [[nodiscard]] constexpr const int* end() const { return members.data() + count; }  ///< one past the largest
  [[nodiscard]] constexpr int largest() const { return members[count - 1]; }         ///< the largest rank
  /// Whether `rank` is one of them.
  [[nodiscard]] constexpr bool contains(int rank) const { return std::find(begin(), end(), rank) != end(); }

  /// The members that an adapter of full rank R has: those above R are dropped. None left is refused.
  [[nodiscard]] constexpr RankSet up_to(int R) const {
    const auto kept = static_cast<std::size_t>(std::upper_bound(begin(), end(), R) - begin());
    if (kept == 0) detail::a_rank_set_needs_a_rank_up_to_the_largest(members[0], R);
    return RankSet(std::span<const int>(members.data(), kept));
  }

  friend constexpr bool operator==(const RankSet&, const RankSet&) = default;

 private:
  static int parse_item(std::string_view list, std::string_view item, std::size_t position) {
    const std::size_t first = item.find_first_not_of(" \t");
    const std::size_t last = item.find_last_not_of(" \t");
    const std::string_view word = first == std::string_view::npos ? "" : item.substr(first, last - first + 1);
    int rank = 0;
    const auto [stop, failure] = std::from_chars(word.data(), word.data() + word.size(), rank);
    if (word.empty() || failure != std::errc{} || stop != word.data() + word.size())
      throw UsageError(text("rank set \"", list, "\": item ", position + 1, " is \"", word,
                            "\"; expected a positive whole number, as in 1,2,4,8"));
    return rank;
  }
};

/// "1,2,4": what RankSet::parse reads.
[[nodiscard]] inline std::string to_string(const RankSet& ranks) {
  std::string list;
  for (const int rank : ranks) list += (list.empty() ? "" : ",") + std::to_string(rank);
  return list;
}

}  // namespace linden
