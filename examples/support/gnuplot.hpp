#pragma once
/// \file
/// Rank-accuracy curves as an SVG picture, drawn by gnuplot, which must be installed. The rank axis is logarithmic; a
/// mean over seeds has error bars of one standard deviation.
/// Errors  UsageError for a file name gnuplot cannot be told; Error when gnuplot fails: a picture that was there stays.

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <linden/core/error.hpp>  // Error, UsageError, text
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "support/curve.hpp"

namespace linden::examples {

/// `words` as a gnuplot string: nothing in it is a command, an escape or a variable. Control characters, which could
/// end the line, become spaces. To be shown as they are, texts also need `noenhanced`.
[[nodiscard]] inline std::string gnuplot_string(std::string_view words) {
  std::string quoted = "'";
  for (const char c : words) {
    if (c == '\'') quoted += '\'';
    quoted += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return quoted + "'";
}

/// The commands that draw `curves` (at least one, of one metric) into `svg`.
[[nodiscard]] inline std::string gnuplot_commands(const std::vector<Curve>& curves, const std::filesystem::path& svg) {
  const auto has_bars = [](const Curve& curve) {
    return std::ranges::any_of(curve.deviations, [](double deviation) { return std::isfinite(deviation); });
  };
  std::string commands =
      text("set terminal svg size 720,440 background 'white'\nset output ", gnuplot_string(svg.string()),
           "\nset logscale x 2\nset key outside right noenhanced\nset grid\nset bars 0.6\n",
           "set xlabel 'rank'\nset ylabel ", gnuplot_string(curves.at(0).metric), " noenhanced\nplot ", curves[0].base,
           " with lines dashtype 2 linecolor 'gray' title 'base'");
  for (const Curve& curve : curves)
    commands += text(", '-' with ", has_bars(curve) ? "yerrorlines" : "linespoints", " title ",
                     gnuplot_string(curve.label), " noenhanced");
  commands += "\n";
  for (const Curve& curve : curves) {
    for (std::size_t i = 0; i < curve.ranks.size(); ++i) {
      commands += text(curve.ranks[i], " ", curve.values[i]);
      if (has_bars(curve)) commands += text(" ", curve.deviations[i]);
      commands += "\n";
    }
    commands += "e\n";
  }
  return commands;
}

/// Draws `curves` into `svg`, which appears when it is complete.
inline void draw(const std::vector<Curve>& curves, const std::filesystem::path& svg) {
  const std::string name = svg.string();
  if (std::ranges::any_of(name, [](char c) { return static_cast<unsigned char>(c) < ' '; }))
    throw UsageError("the picture's file name has a control character, which gnuplot cannot be told");
  std::filesystem::path part = svg;
  part += ".part";
  const auto old_handler = std::signal(SIGPIPE, SIG_IGN);       // a gnuplot that ends early is told by its status
  std::FILE* const gnuplot = popen("gnuplot >/dev/null", "w");  // what it cannot put into the file is not for us
  if (gnuplot == nullptr) throw Error("gnuplot could not be started");
  std::fputs(gnuplot_commands(curves, part).c_str(), gnuplot);
  const int status = pclose(gnuplot);
  std::signal(SIGPIPE, old_handler);
  std::error_code failure;
  if (status == 0) std::filesystem::rename(part, svg, failure);
  if (status == 0 && !failure) return;
  std::error_code ignored;
  std::filesystem::remove(part, ignored);
  throw Error(text(name, ": gnuplot could not draw it (is gnuplot installed, the folder writable?)"));
}

}  // namespace linden::examples
