#define BOOST_TEST_MODULE examples_gnuplot
#include "support/gnuplot.hpp"

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <limits>

#include "io/temporary_folder.hpp"

namespace {
using namespace linden;
using namespace linden::examples;
using namespace linden::test;

Curve curve(const std::string& label, std::vector<double> deviations = {}) {
  return {.label = label,
          .metric = "exact_match",
          .ranks = {1, 2},
          .values = {0.25, 0.5},
          .deviations = std::move(deviations),
          .base = 0.125};
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

auto needs_gnuplot = [](boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result here = std::system("gnuplot --version >/dev/null 2>&1") == 0;
  here.message() << "SKIPPED: gnuplot is not installed";
  return here;
};
const auto installed = boost::unit_test::precondition(needs_gnuplot);
}  // namespace

BOOST_AUTO_TEST_CASE(strings_hold_no_commands) {
  BOOST_TEST(gnuplot_string("p kept") == "'p kept'");
  BOOST_TEST(gnuplot_string("LoRA's") == "'LoRA''s'");
  BOOST_TEST(gnuplot_string(R"("q" a_b \n `ls`)") == R"('"q" a_b \n `ls`')");
  BOOST_TEST(gnuplot_string("a\nset output 'x'") == "'a set output ''x'''");
}

BOOST_AUTO_TEST_CASE(means_have_error_bars_and_single_curves_none) {
  const double none = std::numeric_limits<double>::quiet_NaN();
  const auto commands =
      gnuplot_commands({curve("one"), curve("many", {0.01, 0.02}), curve("seed", {none, none})}, "x.svg");
  BOOST_TEST(contains(commands, "set output 'x.svg'\n"));
  BOOST_TEST(contains(commands, "set ylabel 'exact_match' noenhanced\n"));
  BOOST_TEST(contains(commands, "plot 0.125 with lines"));
  BOOST_TEST(contains(commands, "'-' with linespoints title 'one' noenhanced"));
  BOOST_TEST(contains(commands, "'-' with yerrorlines title 'many' noenhanced"));
  BOOST_TEST(contains(commands, "'-' with linespoints title 'seed' noenhanced"));
  BOOST_TEST(contains(commands, "\n1 0.25\n2 0.5\ne\n1 0.25 0.01\n2 0.5 0.02\ne\n1 0.25\n2 0.5\ne\n"));
}

BOOST_AUTO_TEST_CASE(labels_are_shown_as_they_are, *installed) {
  const TemporaryFolder folder;
  const auto svg = folder.path() / "it's a_picture.svg";
  draw({curve("LoRA's {a}_b^c \"q\" & @x"), curve("mean", {0.01, 0.02})}, svg);
  const std::string picture = content_of(svg);
  BOOST_TEST(contains(picture, "</svg>"));
  BOOST_TEST(contains(picture, "LoRA's {a}_b^c \"q\" &amp; @x"));
  BOOST_TEST(contains(picture, ">exact_match<"));
  BOOST_TEST(folder.entries() == 1);
}

BOOST_AUTO_TEST_CASE(a_picture_that_cannot_be_drawn_leaves_the_old_one) {
  const TemporaryFolder folder;
  const auto svg = folder.file("curves.svg", "old");
  Curve broken = curve("no numbers");
  broken.values = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN()};
  broken.base = std::numeric_limits<double>::quiet_NaN();
  expect_refusal<Error>([&] { draw({broken}, svg); }, "curves.svg: gnuplot could not draw it");
  BOOST_TEST(content_of(svg) == "old");
  BOOST_TEST(folder.entries() == 1);
  expect_refusal<Error>([&] { draw({curve("a")}, folder.path() / "none/curves.svg"); }, "gnuplot could not draw it");
  expect_refusal<UsageError>([&] { draw({curve("a")}, folder.path() / "a\nb.svg"); }, "has a control character");
}
