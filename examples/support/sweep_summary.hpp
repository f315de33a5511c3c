#pragma once
/// \file
/// What a sweep found: for every learning rate the mean curve over its seeds, and which learning rate is best.
/// Best    by the mean AURAC (the lowest, where the metric is the loss); of equals the lowest learning rate.
/// Units   those of the metric; deviations are of the sample (n - 1).
/// Errors  DataError for a folder without evaluated runs, and for runs or evaluations that cannot be compared.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <linden/core/error.hpp>  // DataError, text
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/curve.hpp"
#include "support/runs.hpp"
#include "support/statistics.hpp"
#include "support/sweep.hpp"

namespace linden::examples {

/// One learning rate.
struct RateSummary {
  double learning_rate = 0;
  std::vector<std::uint64_t> seeds{};
  Curve mean{};
};

struct SweepSummary {
  std::filesystem::path folder;
  std::vector<RateSummary> rates{};    ///< with an evaluated run, ascending
  std::size_t best = 0;                ///< in `rates`
  std::vector<std::string> missing{};  ///< "FOLDER: not finished": runs that do not count
};

namespace detail {

/// A run and its evaluation.
struct EvaluatedRun {
  RunRecord run;
  Curve curve;
};

/// Runs of one sweep differ in learning rate and seed, and in nothing else.
inline void refuse_other_runs(const std::vector<RunRecord>& runs) {
  const auto shared = [](const RunRecord& run) {
    nlohmann::json settings = run.settings;
    settings.erase("learning_rate");
    settings.erase("seed");
    return settings;
  };
  for (std::size_t i = 1; i < runs.size(); ++i) {
    const std::string pair = text(runs[i].folder.string(), " and ", runs[i - 1].folder.string());
    const std::string differences = differing_settings(shared(runs[i - 1]), shared(runs[i]));
    if (!differences.empty()) throw DataError(text(pair, ": are not of one sweep: ", differences));
    if (runs[i].learning_rate == runs[i - 1].learning_rate && runs[i].seed == runs[i - 1].seed)
      throw DataError(text(pair, ": have the same learning rate and seed"));
  }
}

/// The mean of the curves of `runs`, of which there is at least one.
inline RateSummary summarise_rate(std::span<const EvaluatedRun> runs) {
  const auto statistic = [&](auto value) {
    std::vector<double> values;
    for (const EvaluatedRun& run : runs) values.push_back(value(run.curve));
    return statistic_of(values);
  };
  RateSummary summary{.learning_rate = runs.front().run.learning_rate};
  for (const EvaluatedRun& run : runs) summary.seeds.push_back(run.run.seed);
  Curve& mean = summary.mean;
  mean.metric = runs.front().curve.metric;
  mean.ranks = runs.front().curve.ranks;
  for (std::size_t i = 0; i < mean.ranks.size(); ++i) {
    const Statistic at_rank = statistic([i](const Curve& curve) { return curve.values[i]; });
    mean.values.push_back(at_rank.mean);
    mean.deviations.push_back(at_rank.deviation);
  }
  const Statistic area = statistic([](const Curve& curve) { return curve.aurac; });
  const Statistic log_area = statistic([](const Curve& curve) { return curve.log_aurac; });
  mean.base = statistic([](const Curve& curve) { return curve.base; }).mean;
  mean.aurac = area.mean, mean.aurac_deviation = area.deviation;
  mean.log_aurac = log_area.mean, mean.log_aurac_deviation = log_area.deviation;
  return summary;
}

/// The finished runs with an evaluation, in the order of `runs`; the others are named in `missing`.
inline std::vector<EvaluatedRun> evaluated_runs(const std::vector<RunRecord>& runs, const std::string& evaluation,
                                                std::vector<std::string>& missing) {
  std::vector<EvaluatedRun> list;
  for (const RunRecord& run : runs) {
    const auto file = run.folder / evaluation;
    if (!run.finished || !file_exists(file)) {
      missing.push_back(text(run.folder.string(), run.finished ? ": has no " + evaluation : ": not finished"));
      continue;
    }
    list.push_back({run, read_curve(run.folder.string(), file)});
    const Curve &first = list.front().curve, &last = list.back().curve;
    if (first.ranks != last.ranks || first.metric != last.metric)
      throw DataError(text(file.string(), ": has other ranks or another metric than ", first.label, "/", evaluation));
  }
  return list;
}

}  // namespace detail

/// Reads every run of the sweep in `folder` and the file `evaluation` in each run's folder.
[[nodiscard]] inline SweepSummary summarise_sweep(const std::filesystem::path& folder, const std::string& evaluation) {
  const std::vector<RunRecord> runs = list_runs(folder);
  if (runs.empty()) throw DataError(text(folder.string(), ": no run.json in it or in one of its folders"));
  detail::refuse_other_runs(runs);
  SweepSummary summary{.folder = folder};
  const auto list = detail::evaluated_runs(runs, evaluation, summary.missing);
  if (list.empty())
    throw DataError(
        text(folder.string(), ": none of its ", runs.size(), " runs is finished and has a file ", evaluation));
  for (std::size_t begin = 0, end = 0; begin < list.size(); begin = end) {
    while (end < list.size() && list[end].run.learning_rate == list[begin].run.learning_rate) ++end;
    summary.rates.push_back(detail::summarise_rate(std::span(list).subspan(begin, end - begin)));
    const Curve &last = summary.rates.back().mean, &best = summary.rates[summary.best].mean;
    if (is_better(last.metric, last.aurac, best.aurac)) summary.best = summary.rates.size() - 1;
  }
  return summary;
}

/// The best learning rate's mean curve, under this label.
[[nodiscard]] inline Curve best_curve(const SweepSummary& summary, std::string label) {
  Curve curve = summary.rates[summary.best].mean;
  curve.label = std::move(label);
  return curve;
}

/// A curve for machines. What is not known (a single seed's deviation) is null.
[[nodiscard]] inline nlohmann::json curve_json(const Curve& curve) {
  nlohmann::json json{{"metric", curve.metric}, {"ranks", curve.ranks}, {"values", curve.values},
                      {"base", curve.base},     {"aurac", curve.aurac}, {"log_aurac", curve.log_aurac}};
  if (curve.deviations.empty()) return json;
  const auto number = [](double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); };
  for (const double deviation : curve.deviations) json["deviations"].push_back(number(deviation));
  json["aurac_deviation"] = number(curve.aurac_deviation);
  json["log_aurac_deviation"] = number(curve.log_aurac_deviation);
  return json;
}

/// A sweep for machines: each learning rate is its mean curve, with "learning_rate" and "seeds".
[[nodiscard]] inline nlohmann::json summary_json(const SweepSummary& summary) {
  nlohmann::json rates = nlohmann::json::array();
  for (const RateSummary& rate : summary.rates) {
    rates.push_back(curve_json(rate.mean));
    rates.back()["learning_rate"] = rate.learning_rate;
    rates.back()["seeds"] = rate.seeds;
  }
  return {{"sweep", summary.folder.string()},
          {"learning_rates", rates},
          {"best_learning_rate", summary.rates[summary.best].learning_rate},
          {"missing", summary.missing}};
}

}  // namespace linden::examples
