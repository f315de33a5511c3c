#pragma once
/// \file
/// A grid of runs over learning rates and seeds, each in a folder of its own: OUTPUT/lr5e-05-seed42.
/// One rate and one seed are no grid: the run goes straight into OUTPUT.
/// Errors  UsageError for values that are not allowed or repeated, and for a folder that holds a run where a grid is to
///         go, or a grid where a run is to go.

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <linden/core/error.hpp>  // UsageError, text
#include <string>
#include <vector>

#include "support/runs.hpp"

namespace linden::examples {

/// The fewest digits that read back as `value`: 5e-05, 0.002.
[[nodiscard]] inline std::string shortest(double value) {
  std::array<char, 32> digits{};
  const auto written = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  return {digits.data(), written.ptr};
}

/// One run of a grid.
struct SweepRun {
  double learning_rate;
  std::uint64_t seed;
  std::filesystem::path folder;

  /// "lr 5e-05 seed 42"
  [[nodiscard]] std::string title() const { return text("lr ", shortest(learning_rate), " seed ", seed); }
};

namespace detail {

template <class Value>
void refuse_repeated(const char* option, const std::vector<Value>& values) {
  if (values.empty()) throw UsageError(text(option, ": expected at least one value"));
  for (std::size_t i = 0; i < values.size(); ++i)
    if (std::find(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(i), values[i]) !=
        values.begin() + static_cast<std::ptrdiff_t>(i))
      throw UsageError(text(option, ": ", values[i], " is given twice"));
}

/// One folder never holds both a run of its own and runs in its sub-folders.
inline void refuse_mixture(const std::filesystem::path& output, bool grid) {
  if (!std::filesystem::is_directory(output)) return;
  const bool single = holds_run(output);
  if (grid && single) throw UsageError(text(output.string(), ": holds a single run, not a sweep; give another folder"));
  if (grid || single) return;
  const auto runs = list_runs(output);
  if (!runs.empty())
    throw UsageError(text(output.string(), ": holds a sweep, of which one run is ",
                          runs.front().folder.filename().string(),
                          "; to add to it, name all its learning rates and seeds again, or give another folder"));
}

}  // namespace detail

/// All runs, in the order they are made: every learning rate with the first seed, then with the second, and so on.
[[nodiscard]] inline std::vector<SweepRun> sweep_runs(const std::vector<double>& learning_rates,
                                                      const std::vector<long>& seeds,
                                                      const std::filesystem::path& output) {
  for (const double rate : learning_rates)
    if (!(rate > 0) || !std::isfinite(rate)) throw UsageError(text("--lr: ", rate, " is not a number above 0"));
  for (const long seed : seeds)
    if (seed < 0) throw UsageError(text("--seed: ", seed, " is negative"));
  detail::refuse_repeated("--lr", learning_rates);
  detail::refuse_repeated("--seed", seeds);
  const bool grid = learning_rates.size() * seeds.size() > 1;
  detail::refuse_mixture(output, grid);
  std::vector<SweepRun> runs;
  for (const long seed : seeds)
    for (const double rate : learning_rates)
      runs.push_back(
          {rate, static_cast<std::uint64_t>(seed), grid ? output / text("lr", shortest(rate), "-seed", seed) : output});
  return runs;
}

}  // namespace linden::examples
