#pragma once
/// \file
/// Which rank is trained when: DyLoRA's draw per micro-batch, and the stratified assignment of ranks to sequences.
/// Units   probabilities in [0, 1], summing to 1; the rank axis is linear (aurac) or log2 (log-aurac).
/// Errors  UsageError for a weighting that cannot be read or does not fit its rank set.
/// Source  DyLoRA, arXiv:2210.07558 (the draw); systematic sampling: Madow, Madow 1944.

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <linden/adapter/rank_set.hpp>
#include <linden/core/error.hpp>
#include <linden/core/names.hpp>
#include <linden/core/random.hpp>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace linden {

/// How often each rank of a set is trained.
struct RankWeighting {
  /// Where the weights come from.
  enum class Kind {
    uniform,    ///< every rank alike
    aurac,      ///< trapezoid weights on the linear rank axis: the expected loss is AURAC's mean
    log_aurac,  ///< trapezoid weights on the log2 rank axis
    list,       ///< as given, one weight a rank
  };

  Kind kind = Kind::uniform;      ///< where the weights come from
  std::vector<double> weights{};  ///< Kind::list only; need not sum to 1

  /// "uniform", "aurac", "log-aurac", or one weight a rank such as "0.1,0.2,0.7".
  [[nodiscard]] static RankWeighting parse(std::string_view name);

  friend bool operator==(const RankWeighting&, const RankWeighting&) = default;
};

namespace detail {

inline constexpr std::array<Named<RankWeighting::Kind>, 4> rank_weighting_names{
    {{RankWeighting::Kind::uniform, "uniform"},
     {RankWeighting::Kind::aurac, "aurac"},
     {RankWeighting::Kind::log_aurac, "log-aurac"},
     {RankWeighting::Kind::list, "list"}}};

/// Blanks are no part of a number.
inline double parse_weight(std::string_view list, std::string_view item, std::size_t position) {
  while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
  while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
  double weight = 0;
  const auto [stop, failure] = std::from_chars(item.data(), item.data() + item.size(), weight);
  if (item.empty() || failure != std::errc{} || stop != item.data() + item.size())
    throw UsageError(text("rank weighting \"", list, "\": item ", position + 1, " is \"", item,
                          "\"; expected uniform, aurac, log-aurac, or one number a rank, as in 0.1,0.2,0.7"));
  return weight;
}

/// The trapezoid rule's weights at the points axis(r), divided by their range; a single point has weight 1.
template <class Axis>
std::vector<double> trapezoid_weights(const RankSet& ranks, Axis axis) {
  const std::size_t n = ranks.size();
  if (n == 1) return {1.0};
  const double range = axis(ranks[n - 1]) - axis(ranks[0]);
  std::vector<double> weights(n);
  for (std::size_t i = 0; i < n; ++i) {
    const int left = ranks[i == 0 ? 0 : i - 1];
    const int right = ranks[i + 1 == n ? i : i + 1];
    weights[i] = (axis(right) - axis(left)) / (2.0 * range);
  }
  return weights;
}

inline std::vector<double> listed_weights(const RankSet& ranks, const std::vector<double>& list) {
  if (list.size() != ranks.size())
    throw UsageError(text("rank weighting: ", list.size(), " weights for the ", ranks.size(), " ranks ",
                          to_string(ranks), "; expected one weight a rank"));
  double sum = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!std::isfinite(list[i]) || list[i] < 0)
      throw UsageError(text("rank weighting: the weight of rank ", ranks[i], " is ", list[i],
                            "; expected a finite number that is not negative"));
    sum += list[i];
  }
  if (!(sum > 0) || !std::isfinite(sum))
    throw UsageError(text("rank weighting: the weights sum to ", sum, "; expected a positive, finite sum"));
  std::vector<double> weights(list);
  for (double& weight : weights) weight /= sum;
  return weights;
}

}  // namespace detail

inline RankWeighting RankWeighting::parse(std::string_view name) {
  for (const auto& entry : detail::rank_weighting_names)
    if (entry.name == name && entry.value != Kind::list) return {entry.value, {}};
  RankWeighting weighting{Kind::list, {}};
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find(',', begin), name.size());
    weighting.weights.push_back(detail::parse_weight(name, name.substr(begin, end - begin), weighting.weights.size()));
    begin = end + 1;
  }
  return weighting;
}

/// What RankWeighting::parse reads; weights are written so that they read back exactly.
[[nodiscard]] inline std::string to_string(const RankWeighting& weighting) {
  if (weighting.kind != RankWeighting::Kind::list)
    return std::string(name_of(weighting.kind, detail::rank_weighting_names));
  std::string list;
  for (const double weight : weighting.weights) {
    std::array<char, 32> digits{};
    const auto written = std::to_chars(digits.data(), digits.data() + digits.size(), weight);
    list += list.empty() ? "" : ",";
    list.append(digits.data(), written.ptr);
  }
  return list;
}

/// The probability of each rank of `ranks`, in its order; they sum to 1 up to rounding.
[[nodiscard]] inline std::vector<double> rank_probabilities(const RankSet& ranks, const RankWeighting& weighting) {
  switch (weighting.kind) {
    case RankWeighting::Kind::aurac:
      return detail::trapezoid_weights(ranks, [](int rank) { return static_cast<double>(rank); });
    case RankWeighting::Kind::log_aurac:
      return detail::trapezoid_weights(ranks, [](int rank) { return std::log2(static_cast<double>(rank)); });
    case RankWeighting::Kind::list:
      return detail::listed_weights(ranks, weighting.weights);
    case RankWeighting::Kind::uniform:
      break;
  }
  return std::vector<double>(ranks.size(), 1.0 / static_cast<double>(ranks.size()));
}

/// DyLoRA's ranks: one uniform draw a micro-batch, shared by all layers. Seeded as Python's `random` is by a run.
class UniformRanks {
 public:
  /// The draws of `seed`.
  UniformRanks(const RankSet& ranks, std::uint64_t seed) : ranks_(ranks), random_(seed) {}

  /// The rank of the next micro-batch.
  [[nodiscard]] int next() { return ranks_[random_.below(ranks_.size())]; }

 private:
  RankSet ranks_;
  PythonRandom random_;
};

/// Ranks for the sequences of a batch, stratified: of n sequences, floor(n w) or ceil(n w) get a rank of probability w,
/// and each sequence alone gets it with probability w exactly.
class StratifiedRanks {
 public:
  /// The draws of `seed`; throws UsageError where the weighting does not fit the ranks.
  StratifiedRanks(const RankSet& ranks, const RankWeighting& weighting, std::uint64_t seed)
      : ranks_(ranks), random_(seed) {
    const std::vector<double> probabilities = rank_probabilities(ranks, weighting);
    double sum = 0;
    for (std::size_t k = 0; k < ranks.size(); ++k) {
      sum += probabilities[k];
      cumulative_[k] = sum;
      if (probabilities[k] > 0) last_ = k;
    }
  }

  /// Assigns every element of `assigned`, one a sequence; allocates nothing.
  void next(std::span<int> assigned) {
    const double offset = random_.random();
    const auto n = static_cast<double>(assigned.size());
    std::size_t k = 0;
    for (std::size_t i = 0; i < assigned.size(); ++i) {
      const double quantile = (static_cast<double>(i) + offset) / n;
      while (k < last_ && quantile >= cumulative_[k]) ++k;  // stops at the last rank whatever the sum rounded to
      assigned[i] = ranks_[k];
    }
    random_.shuffle(assigned);
  }

 private:
  RankSet ranks_;
  std::array<double, RankSet::capacity> cumulative_{};
  std::size_t last_ = 0;  // the last rank with a positive probability
  PythonRandom random_;
};

}  // namespace linden
