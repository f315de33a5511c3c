#define BOOST_TEST_MODULE print
#include <linden/graph/print.hpp>
//
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <fstream>
#include <linden/adapter/closed_form.hpp>
#include <linden/ops/norm.hpp>
#include <set>
#include <sstream>

#include "io/temporary_folder.hpp"

namespace {
using namespace linden;
using namespace linden::test;

using Adapted = ClosedForm<64, 32, 8>;
using X = Expr<Shape<tokens, 16>>;

constexpr auto gate = [](X a, X b) { return hadamard(silu(a), 0.5 * b) + hadamard(silu(a), silu(a)); };
constexpr auto twice = [](X a) {
  const auto y = 2.0 * a;
  return std::tuple(y, y, a);
};
constexpr auto normed = [](X x, Expr<Shape<16>> w, Expr<Shape<16, rank>> A) { return rms_norm(x, w, 1e-5) * A; };

std::string printed(auto f, const PrintOptions& options = {}) {
  std::ostringstream out;
  print(out, f, options);
  return out.str();
}
std::string drawn(auto f, const PrintOptions& options = {}) {
  std::ostringstream out;
  print_graphviz(out, f, options);
  return out.str();
}

/// A line with its runs of blanks made one.
std::string squeezed(const std::string& line) {
  std::istringstream in(line);
  std::string word, out;
  while (in >> word) out += (out.empty() ? "" : " ") + word;
  return out;
}
bool has_line(const std::string& all, const std::string& wanted) {
  std::istringstream in(all);
  for (std::string line; std::getline(in, line);)
    if (squeezed(line) == wanted) return true;
  return false;
}
void expect_lines(const std::string& all, std::initializer_list<std::string> lines) {
  for (const auto& line : lines) BOOST_TEST(has_line(all, line), "no line '" << line << "' in\n" << all);
}

/// Braces and quotes close, every edge joins vertices that are declared once, no vertex is left alone.
void check_dot(const std::string& dot) {
  std::set<std::string> vertices, joined;
  std::istringstream in(dot);
  int depth = 0;
  for (std::string line; std::getline(in, line);) {
    bool quoted = false;
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '\\')
        ++i;
      else if (line[i] == '"')
        quoted = !quoted;
      else if (!quoted)
        depth += line[i] == '{' ? 1 : line[i] == '}' ? -1 : 0;
    }
    BOOST_TEST(!quoted);
    std::istringstream words(line);
    std::string first, arrow, second;
    words >> first >> arrow >> second;
    if (arrow == "->")
      joined.insert({first, second.substr(0, second.find(';'))});
    else if (first != "node" && arrow.starts_with("[label="))
      BOOST_TEST(vertices.insert(first).second, first << " is declared twice");
  }
  BOOST_TEST(depth == 0);
  BOOST_TEST(vertices == joined);
}
}  // namespace

BOOST_AUTO_TEST_CASE(adapted_layer) {
  BOOST_TEST(printed(Adapted::Layer{}, {.names = {"x", "W", "A", "p", "B"}}) ==
             R"(inputs
  x            [tokens, 64]
  W            [64, 32]
  A            [64, 8]
  p            [1, 8]
  B            [8, 32]
steps
   1  kernel      %5 = matmul(x, W)                            [tokens, 32]  result 0
   2  kernel      %6 = matmul(x, A)                            [tokens, 8]  workspace per token, columns 0-7
   3  loop        %7 = hadamard(p, %6)                         [tokens, 8]  workspace per token, columns 0-7
   4  accumulate  %9 = %5 + matmul(%7, B)                      [tokens, 32]  result 0
saved      none
workspace  32 bytes per token (8 columns)
)");
}

BOOST_AUTO_TEST_CASE(gradients_of_the_adapted_layer) {
  BOOST_TEST(printed(vjp(Adapted::Layer{}), {.names = {"x", "W", "A", "p", "B", "G"}, .element_size = 8}) ==
             R"(inputs
  x            [tokens, 64]
  W            [64, 32]
  A            [64, 8]
  p            [1, 8]
  B            [8, 32]
  G            [tokens, 32]
steps
   1  kernel      %7 = matmul(x, A)                            [tokens, 8]  workspace per token, columns 0-7
   2  loop        %8 = hadamard(p, %7)                         [tokens, 8]  workspace per token, columns 0-7
   3  kernel      %11 = matmul(G, B')                          [tokens, 8]  workspace per token, columns 8-15
   4  kernel      %12 = matmul(%8', G)                         [8, 32]  result 2
   5  loop        %13 = hadamard(p, %11)                       [tokens, 8]  workspace per token, columns 8-15
   6  kernel      %14 = matmul(%13, A')                        [tokens, 64]  result 0
   7  kernel      %15 = matmul(x', %13)                        [64, 8]  result 1
   8  accumulate  %17 = %14 + matmul(G, W')                    [tokens, 64]  result 0
saved      none
workspace  128 bytes per token (16 columns)
)");
}

BOOST_AUTO_TEST_CASE(a_loop_shows_what_is_inlined_and_what_is_stored) {
  const std::string plan = printed(gate);
  expect_lines(plan, {"in0 [tokens, 16]",  // no name was given
                      "1 loop %2 = silu(in0) [tokens, 16] workspace per token, columns 0-15",
                      "%7 = add(hadamard(%2, hadamard(in1, 0.5)), hadamard(%2, %2)) [tokens, 16] result 0"});
}

BOOST_AUTO_TEST_CASE(results_that_are_shared_are_copied) {
  expect_lines(printed(twice), {"2 copy result 0 = %2 [tokens, 16]", "3 copy result 1 = %2 [tokens, 16]",
                                "4 copy result 2 = in0 [tokens, 16]"});
}

BOOST_AUTO_TEST_CASE(pullback_prints_both_plans_and_what_is_kept) {
  const PrintOptions options{.names = {"x", "w", "A", "G"}};
  const std::string kept = printed(pullback<Keep::everything>(normed), options);
  expect_lines(kept,
               {"forward", "1 kernel %4 = rms_norm{1e-05}(x, w) [tokens, 16] saved per token, columns 0-15",
                "saved 64 bytes per token (16 columns)", "backward", "2 kernel %7 = matmul(%4', G) [16, rank] result 2",
                "%9 = its result 1 [1, 16] workspace fixed, columns 0-15"});
  const std::string rebuilt = printed(pullback<Keep::costly>(normed), options);
  BOOST_TEST(rebuilt.find("saved per") == std::string::npos);
  expect_lines(rebuilt,
               {"saved none", "2 kernel %4 = rms_norm{1e-05}(x, w) [tokens, 16] workspace per token, columns 16-31"});
}

BOOST_AUTO_TEST_CASE(pools_of_every_kind) {
  constexpr auto f = [](Expr<Shape<tokens, 4>> x, Expr<Shape<4, rank>> A, Expr<Shape<rank, 4>> B) {
    return x * (A * B) + x * A * B;
  };
  expect_lines(printed(f), {"workspace 64 bytes fixed, 4 bytes per token x rank (1 column)"});
}

BOOST_AUTO_TEST_CASE(more_names_than_inputs_are_refused) {
  std::ostringstream out;
  expect_refusal<UsageError>([&] { print(out, gate, {.names = {"a", "b", "c"}}); }, "3 names for 2 inputs");
  BOOST_TEST(out.str().empty());
}

BOOST_AUTO_TEST_CASE(graphviz_has_every_node_once_and_loops_framed) {
  const std::string dot = drawn(gate, {.names = {"a", "\"b\""}});
  BOOST_TEST(dot.starts_with("digraph plan {\n"));
  BOOST_TEST(dot.find("subgraph cluster_step1 {\n    label=\"1 loop\"") != std::string::npos);
  BOOST_TEST(dot.find("    n5 [label=\"%5 hadamard [tokens, 16]\"];") != std::string::npos);  // inlined: in the frame
  BOOST_TEST(dot.find("  n1 [label=\"\\\"b\\\" [tokens, 16]\", shape=ellipse];") != std::string::npos);
  BOOST_TEST(dot.find("  n2 -> n5;\n") != std::string::npos);
  check_dot(dot);
  check_dot(drawn(twice));
  check_dot(drawn(vjp(Adapted::Layer{})));
  using P = decltype(pullback<Keep::everything>(normed));
  std::ostringstream out;
  print_graphviz(out, P::traced, P::backward_plan);
  BOOST_TEST(out.str().find("n4 [label=\"%4 rms_norm [tokens, 16]\", style=filled]") != std::string::npos);
  check_dot(out.str());
}

BOOST_AUTO_TEST_CASE(graphviz_is_accepted_by_dot, *boost::unit_test::precondition([](boost::unit_test::test_unit_id) {
                       boost::test_tools::assertion_result installed = std::system("dot -V >/dev/null 2>&1") == 0;
                       installed.message() << "SKIPPED: Graphviz' dot is not installed";
                       return installed;
                     })) {
  const TemporaryFolder folder;
  const auto file = folder.file("plan.dot", drawn(vjp(Adapted::Layer{})));
  BOOST_TEST(std::system(("dot -Tsvg '" + file.string() + "' >/dev/null").c_str()) == 0);
}
