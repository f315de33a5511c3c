#pragma once
/// \file
/// A rank-accuracy curve: of one adapter, as `evaluate --json` wrote it, or the mean over the seeds of a sweep.
/// Units   those of the metric: fractions for accuracies, nats per target for the loss.
/// Errors  DataError for a file that `evaluate` did not write.

#include <filesystem>
#include <limits>
#include <linden/adapter/rank_set.hpp>
#include <linden/core/error.hpp>    // DataError, text
#include <linden/io/json_file.hpp>  // read_json, JsonObject
#include <string>
#include <utility>
#include <vector>

namespace linden::examples {

struct Curve {
  std::string label, metric{};
  std::vector<int> ranks{};
  std::vector<double> values{};      ///< one a rank
  std::vector<double> deviations{};  ///< of a mean: one a rank, NaN where there is a single seed; else empty
  double base = 0, aurac = 0, log_aurac = 0;
  double aurac_deviation = std::numeric_limits<double>::quiet_NaN();
  double log_aurac_deviation = std::numeric_limits<double>::quiet_NaN();
};

[[nodiscard]] inline Curve read_curve(const std::string& label, const std::filesystem::path& file) {
  const auto json = read_json(file);
  Curve curve{.label = label};
  const JsonObject fields(json, file.string());
  const auto read = [&](const char* field, auto& value, const char* expected) {
    try {
      json.at(field).get_to(value);
    } catch (const nlohmann::json::exception&) {
      fields.fail(field, expected);
    }
  };
  read("metric", curve.metric, "a string");
  read("ranks", curve.ranks, "a list of ranks");
  read("values", curve.values, "a list of numbers, one a rank");
  for (const auto& [field, value] : {std::pair("base", &curve.base), std::pair("aurac", &curve.aurac), std::pair("log_aurac", &curve.log_aurac)})
    read(field, *value, "a number");
  try {
    static_cast<void>(RankSet(curve.ranks));
  } catch (const UsageError& error) {
    throw DataError(text(file.string(), ": field 'ranks': ", error.what()));
  }
  if (curve.ranks.size() != curve.values.size())
    throw DataError(text(file.string(), ": ", curve.ranks.size(), " ranks but ", curve.values.size(), " values"));
  return curve;
}

/// True when `a` is the better area (or value) of this metric: accuracies should be high, a loss low.
[[nodiscard]] inline bool is_better(const std::string& metric, double a, double b) {
  return metric == "loss" ? a < b : a > b;
}

}  // namespace linden::examples
