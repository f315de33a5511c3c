// Which adapter is best at which rank, and which learning rate? Tables and a picture of what `evaluate --json` wrote.
//   cmake --build build/release --target report
//   build/release/bin/report --curve "LoRA=lora.json" --curve "DyLoRA=dylora.json" --svg curves.svg
//   build/release/bin/report --best one.json two.json three.json    prints the file with the best AURAC
//   build/release/bin/report --sweep DIR                            compares the learning rates of a sweep of
//   `finetune` build/release/bin/report --curve "LoRA=DIR" --svg curves.svg    the sweep's best learning rate, mean
//   over its seeds
// In a sweep the evaluations lie with the adapters: evaluate --adapter DIR/RUN --json DIR/RUN/evaluation.json ...
#include <iostream>
#include <linden/io/json_file.hpp>

#include "support/cli.hpp"
#include "support/curve.hpp"
#include "support/gnuplot.hpp"
#include "support/sweep_summary.hpp"
#include "support/table.hpp"

namespace {
using namespace linden;
using examples::Curve;
using examples::SweepSummary;

struct Arguments {
  std::vector<std::string> curves, sweeps, candidates;
  std::string evaluation = "evaluation.json", svg, json;
};

void declare(CLI::App& app, Arguments& a) {
  const auto once_each = [](CLI::Option* option) {
    option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    return option;
  };
  auto* curve = once_each(app.add_option("--curve", a.curves,
                                         "LABEL=FILE of an evaluation or LABEL=DIR of a sweep, once for each adapter"));
  auto* sweep =
      once_each(app.add_option("--sweep", a.sweeps, "compare the learning rates of the sweep in this folder"));
  app.add_option("--evaluation", a.evaluation, "the evaluation's file in each folder of a sweep")
      ->capture_default_str();
  app.add_option("--svg", a.svg, "draw the curves here (needs gnuplot)")->needs(curve);
  auto* json = app.add_option("--json", a.json, "also write the results here");
  app.add_option("--best", a.candidates, "print the one of these files with the best AURAC")
      ->excludes(curve)
      ->excludes(sweep)
      ->excludes(json);
}

/// 0.412, or 0.412 ± 0.010 of a mean.
std::string value_text(double value, double deviation) {
  const std::string mean = examples::fixed(value, 3);
  return std::isfinite(deviation) ? text(mean, " ± ", examples::fixed(deviation, 3)) : mean;
}

/// A file's curve, or that of a sweep's best learning rate, which is named in `notes`.
Curve read_item(const std::string& label, const std::string& path, const std::string& evaluation, std::string& notes) {
  if (!std::filesystem::is_directory(path)) return examples::read_curve(label, path);
  const SweepSummary summary = examples::summarise_sweep(path, evaluation);
  const examples::RateSummary& best = summary.rates[summary.best];
  notes += text(label, ": lr ", examples::shortest(best.learning_rate), ", the best of ", summary.rates.size(),
                "; mean ± standard deviation of ", best.seeds.size(), best.seeds.size() == 1 ? " seed\n" : " seeds\n");
  for (const std::string& line : summary.missing) notes += text(label, ": left out: ", line, "\n");
  return examples::best_curve(summary, label);
}

std::vector<Curve> read_curves(const Arguments& a, std::string& notes) {
  std::vector<Curve> curves;
  for (const std::string& item : a.curves) {
    const auto equals = item.find('=');
    if (equals == std::string::npos) throw UsageError(text("--curve ", item, ": expected LABEL=FILE or LABEL=DIR"));
    curves.push_back(read_item(item.substr(0, equals), item.substr(equals + 1), a.evaluation, notes));
    if (curves.back().ranks != curves.front().ranks || curves.back().metric != curves.front().metric)
      throw UsageError(text("--curve ", item, ": other ranks or another metric than the first curve's"));
  }
  return curves;
}

void print_curves(const std::vector<Curve>& curves) {
  std::vector<std::string> header{"rank", "base"};
  for (const Curve& curve : curves) header.push_back(curve.label);
  examples::Table table(header);
  const auto add = [&](const std::string& name, const std::string& base, auto cell) {
    std::vector<std::string> row{name, base};
    for (const Curve& curve : curves) row.push_back(cell(curve));
    table.add(row);
  };
  for (std::size_t i = 0; i < curves[0].ranks.size(); ++i)
    add(std::to_string(curves[0].ranks[i]), examples::fixed(curves[0].base, 3), [i](const Curve& c) {
      return c.deviations.empty() ? examples::fixed(c.values[i], 3) : value_text(c.values[i], c.deviations[i]);
    });
  add("AURAC", "", [](const Curve& c) { return value_text(c.aurac, c.aurac_deviation); });
  add("log-AURAC", "", [](const Curve& c) { return value_text(c.log_aurac, c.log_aurac_deviation); });
  std::cout << table;
}

/// Two rows a learning rate: mean and standard deviation over its seeds.
void print_sweep(const SweepSummary& summary) {
  const Curve& first = summary.rates.front().mean;
  std::vector<std::string> header{"lr", "seeds", first.metric};
  for (const int rank : first.ranks) header.push_back(text("rank ", rank));
  header.insert(header.end(), {"AURAC", "log-AURAC", ""});
  examples::Table table(header);
  const auto add = [&](std::vector<std::string> row, std::vector<double> values, std::initializer_list<double> areas,
                       const char* mark) {
    values.insert(values.end(), areas);
    for (const double value : values) row.push_back(std::isfinite(value) ? examples::fixed(value, 4) : "-");
    row.emplace_back(mark);
    table.add(std::move(row));
  };
  for (const examples::RateSummary& rate : summary.rates) {
    const Curve& mean = rate.mean;
    const bool best = &rate == &summary.rates[summary.best];
    add({examples::shortest(rate.learning_rate), std::to_string(rate.seeds.size()), "mean"}, mean.values,
        {mean.aurac, mean.log_aurac}, best ? "best" : "");
    add({"", "", "deviation"}, mean.deviations, {mean.aurac_deviation, mean.log_aurac_deviation}, "");
  }
  std::cout << table << "base model: " << examples::fixed(first.base, 4)
            << "; best learning rate by mean AURAC: " << examples::shortest(summary.rates[summary.best].learning_rate)
            << "\n";
  for (const std::string& line : summary.missing) std::cout << "left out: " << line << "\n";
}

void print_best(const std::vector<std::string>& files) {
  const auto best = std::ranges::min_element(
      files, [](const Curve& a, const Curve& b) { return examples::is_better(a.metric, a.aurac, b.aurac); },
      [](const std::string& file) { return examples::read_curve("", file); });
  std::cout << *best << "\n";
}

void report(const Arguments& a) {
  if (a.curves.empty() && a.sweeps.empty() && a.candidates.empty())
    throw UsageError("nothing to do: give --curve, --sweep or --best");
  if (!a.candidates.empty()) return print_best(a.candidates);
  nlohmann::json json;
  for (const std::string& folder : a.sweeps) {
    const SweepSummary summary = examples::summarise_sweep(folder, a.evaluation);
    if (a.sweeps.size() > 1) std::cout << "== " << folder << "\n";
    print_sweep(summary);
    json["sweeps"].push_back(examples::summary_json(summary));
  }
  if (!a.curves.empty()) {
    std::string notes;
    const auto curves = read_curves(a, notes);
    print_curves(curves);
    std::cout << notes;
    for (const Curve& curve : curves) {
      json["curves"].push_back(examples::curve_json(curve));
      json["curves"].back()["label"] = curve.label;
    }
    if (!a.svg.empty()) examples::draw(curves, a.svg);
  }
  if (!a.json.empty()) write_json(a.json, json);
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Compares evaluated adapters.");
  Arguments a;
  declare(app, a);
  return linden::examples::run_program(argc, argv, app, [&] { report(a); });
}
