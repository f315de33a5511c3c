// Which adapter is best at which rank? One table, one picture, from what `evaluate --json` wrote.
//   cmake --build build/release --target report
//   build/release/bin/report --curve "LoRA=lora.json" --curve "DyLoRA=dylora.json" --svg curves.svg
//   build/release/bin/report --best one.json two.json three.json      prints the file with the highest AURAC
#include <cstdio>
#include <linden/io/json_file.hpp>
#include <linden/io/mapped_file.hpp>
#include <memory>

#include "support/cli.hpp"
#include "support/table.hpp"

namespace {
using namespace linden;

/// One evaluated adapter.
struct Curve {
  std::string label, metric{};
  std::vector<int> ranks{};
  std::vector<double> values{};
  double base = 0, aurac = 0, log_aurac = 0;
};

Curve read_curve(const std::string& label, const std::string& file) {
  const auto json = read_json(file);
  Curve curve{.label = label};
  try {
    json.at("metric").get_to(curve.metric);
    json.at("ranks").get_to(curve.ranks);
    json.at("values").get_to(curve.values);
    json.at("base").get_to(curve.base);
    json.at("aurac").get_to(curve.aurac);
    json.at("log_aurac").get_to(curve.log_aurac);
  } catch (const nlohmann::json::exception& error) {
    throw DataError(text(file, ": not written by evaluate: ", error.what()));
  }
  if (curve.ranks.size() != curve.values.size())
    throw DataError(text(file, ": ", curve.ranks.size(), " ranks but ", curve.values.size(), " values"));
  return curve;
}

std::vector<Curve> read_curves(const std::vector<std::string>& given) {
  std::vector<Curve> curves;
  for (const std::string& item : given) {
    const auto equals = item.find('=');
    if (equals == std::string::npos) throw UsageError(text("--curve ", item, ": expected LABEL=FILE"));
    curves.push_back(read_curve(item.substr(0, equals), item.substr(equals + 1)));
    if (curves.back().ranks != curves.front().ranks || curves.back().metric != curves.front().metric)
      throw UsageError(text("--curve ", item, ": other ranks or another metric than the first curve's"));
  }
  return curves;
}

void print_table(const std::vector<Curve>& curves) {
  std::vector<std::string> header{"rank", "base"};
  for (const Curve& curve : curves) header.push_back(curve.label);
  examples::Table table(header);
  const auto add = [&](const std::string& name, const std::string& base, auto value) {
    std::vector<std::string> row{name, base};
    for (const Curve& curve : curves) row.push_back(examples::fixed(value(curve), 3));
    table.add(row);
  };
  for (std::size_t i = 0; i < curves[0].ranks.size(); ++i)
    add(std::to_string(curves[0].ranks[i]), examples::fixed(curves[0].base, 3), [i](const Curve& c) { return c.values[i]; });
  add("AURAC", "", [](const Curve& c) { return c.aurac; });
  add("log-AURAC", "", [](const Curve& c) { return c.log_aurac; });
  std::cout << table;
}

/// Draws the curves with gnuplot, which must be installed.
void draw(const std::vector<Curve>& curves, const std::string& svg) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> gnuplot(popen("gnuplot", "w"), pclose);
  if (!gnuplot) throw Error("gnuplot could not be started");
  std::string plot = text("set terminal svg size 720,440 background 'white'\nset output '", svg,
                          "'\nset logscale x 2\nset key outside right\nset grid\nset xlabel 'rank'\nset ylabel '",
                          curves[0].metric, "' noenhanced\nplot ");
  plot += text(curves[0].base, " with lines dashtype 2 linecolor 'gray' title 'base'");
  for (const Curve& curve : curves) plot += text(", '-' with linespoints title '", curve.label, "'");
  plot += "\n";
  for (const Curve& curve : curves) {
    for (std::size_t i = 0; i < curve.ranks.size(); ++i) plot += text(curve.ranks[i], " ", curve.values[i], "\n");
    plot += "e\n";
  }
  std::fputs(plot.c_str(), gnuplot.get());
}

void print_best(const std::vector<std::string>& files) {
  const auto best = std::ranges::max_element(
      files, {}, [](const std::string& file) { return read_curve("", file).aurac; });
  std::cout << *best << "\n";
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Compares evaluated adapters.");
  std::vector<std::string> curves, candidates;
  std::string svg;
  auto* curve = app.add_option("--curve", curves, "LABEL=FILE, once for each adapter")->expected(1);
  curve->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--svg", svg, "draw the curves here (needs gnuplot)")->needs(curve);
  app.add_option("--best", candidates, "print the one of these files with the highest AURAC")->excludes(curve);
  return linden::examples::run_program(argc, argv, app, [&] {
    if (curves.empty() && candidates.empty()) throw linden::UsageError("nothing to do: give --curve or --best");
    if (!candidates.empty()) return print_best(candidates);
    const auto read = read_curves(curves);
    print_table(read);
    if (!svg.empty()) draw(read, svg);
  });
}
