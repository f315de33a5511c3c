#pragma once
/// \file
/// What the command lines of the programs share, over CLI11: comma lists, and one way to end.
/// A program ends with  0  done, or help was asked for
///                      1  something failed: a file, its contents, memory
///                      2  the command line made no sense
/// and in the last two cases with one line on stderr, "program: what is wrong".

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <limits>
#include <linden/core/error.hpp>  // Error, UsageError, text
#include <linden/train/process_group.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace linden::examples {

namespace detail {

/// Reads all of `text`. \return false: it is no number of this type, or out of its range.
template <class Number>
[[nodiscard]] bool read_number(std::string_view text, Number& value) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && stop == text.data() + text.size();
}

/// A check of one number; `expected` says which are allowed.
template <class Number, class Allowed>
[[nodiscard]] CLI::Validator number_check(std::string expected, Allowed allowed) {
  const auto check = [expected = std::move(expected), allowed](const std::string& given) {
    Number value{};
    return read_number(given, value) && allowed(value) ? std::string() : text("found ", given, ", expected ", expected);
  };
  return {check, ""};
}

/// Reads the command line. \return the exit status where it only asked for help, which goes to `out` if there is one.
[[nodiscard]] inline std::optional<int> parse(int argc, const char* const* argv, CLI::App& app, const std::string& program, std::ostream* out) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) throw UsageError(text(error.what(), " (see ", program, " --help)"));
    if (out != nullptr) return app.exit(error, *out, *out);  // --help, --version
    return 0;
  }
  return std::nullopt;
}

}  // namespace detail

/// A check of a whole number from `low` to `high`. CLI11 alone would read -1 as the largest unsigned number.
[[nodiscard]] inline CLI::Validator whole_number(long low, long high = 1'000'000'000) {
  return detail::number_check<long>(text("a whole number from ", low, " to ", high), [=](long value) { return value >= low && value <= high; });
}
/// A check of a seed.
[[nodiscard]] inline CLI::Validator seed_number() { return whole_number(0, std::numeric_limits<long>::max()); }
/// A check of a number above 0 that is finite.
[[nodiscard]] inline CLI::Validator positive_number() {
  return detail::number_check<double>("a number above 0", [](double value) { return value > 0 && std::isfinite(value); });
}

/// "4,8,16" -> {4, 8, 16}.
/// \throw UsageError naming the item that is not a number of this type; an empty item is none.
template <class Number>
requires std::integral<Number> || std::floating_point<Number>
[[nodiscard]] std::vector<Number> parse_list(std::string_view list) {
  std::vector<Number> values;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const std::string_view item = list.substr(begin, end - begin);
    Number value{};
    const auto [stop, error] = std::from_chars(item.data(), item.data() + item.size(), value);
    if (error != std::errc{} || stop != item.data() + item.size()) {
      throw UsageError(text('"', item, "\" in \"", list, "\" is not ",
                            std::integral<Number> ? "a whole number" : "a number",
                            error == std::errc::result_out_of_range ? " in range" : ""));
    }
    values.push_back(value);
    begin = end + 1;
  }
  return values;
}

/// An option that takes one list, "--ranks 4,8,16", into `values`, whose contents are the default. Unlike CLI11's own
/// lists it never swallows the arguments behind it, and it refuses an empty item.
template <class Number>
CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<Number>& values, const std::string& help) {
  const auto read = [name, &values](const CLI::results_t& given) {
    try {
      values = parse_list<Number>(given.back());
    } catch (const UsageError& error) {
      throw CLI::ValidationError(name, error.what());
    }
    return true;
  };
  std::ostringstream standard;
  for (std::size_t i = 0; i < values.size(); ++i) standard << (i == 0 ? "" : ",") << values[i];
  return app.add_option(name, read, help)->expected(1)->type_name("N,N,...")->default_str(standard.str());
}

/// The message on one line, whatever it held.
[[nodiscard]] inline std::string one_line(std::string message) {
  for (char& c : message) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return message;
}

/// Reads the command line into `app` and runs `body()` or `body(group)`, which returns nothing or an exit status. Where several
/// processes run the program, one of them says what went wrong for all; what went wrong for one alone ends all.
/// \return the program's exit status; messages go to `err`, help to `out`.
template <class Body>
[[nodiscard]] int run_program(int argc, const char* const* argv, CLI::App& app, Body&& body, std::ostream& out = std::cout,
                              std::ostream& err = std::cerr, const std::function<ProcessGroup&()>& processes = one_process) {
  const std::string program = argc > 0 ? std::filesystem::path(argv[0]).filename().string() : "program";
  ProcessGroup* group = &one_process();
  const auto fails = [&](int status, const std::exception& error) {
    const bool agreed = group->size() == 1 || dynamic_cast<const AgreedError*>(&error) != nullptr;
    if (!agreed || group->index() == 0)
      err << program << ": " << (agreed ? "" : group->name(group->index()) + ": ") << one_line(error.what()) << std::endl;
    if (!agreed) group->end_all(status);
    return status;
  };
  try {
    group = &processes();
    std::optional<int> help;
    together(*group, [&] { help = detail::parse(argc, argv, app, program, group->index() == 0 ? &out : nullptr); });
    if (help) return *help;
    const auto run = [&] {
      if constexpr (std::invocable<Body, ProcessGroup&>)
        return std::forward<Body>(body)(*group);
      else
        return std::forward<Body>(body)();
    };
    if constexpr (std::is_void_v<decltype(run())>)
      return run(), 0;
    else
      return run();
  } catch (const UsageError& error) {
    return fails(2, error);
  } catch (const std::exception& error) {  // linden::Error and everything else
    return fails(1, error);
  }
}

}  // namespace linden::examples
