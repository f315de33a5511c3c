#define BOOST_TEST_MODULE peft_modules
#include <linden/io/peft_modules.hpp>
// (first: it must stand alone)
#include <boost/test/unit_test.hpp>
#include <string>

#include "io/temporary_folder.hpp"

using namespace linden;
using namespace linden::test;

namespace {
const std::string q0 = "model.layers.0.self_attn.q_proj", q1 = "model.layers.1.self_attn.q_proj",
                  q10 = "model.layers.10.self_attn.q_proj", up0 = "model.layers.0.mlp.up_proj";
}  // namespace

BOOST_AUTO_TEST_CASE(names_match_whole_endings) {
  const PeftTargets targets{.names = {"q_proj", "layers.0.mlp.up_proj", "lm_head"}};
  BOOST_TEST((targets.match(q0) && targets.match(up0) && targets.match("lm_head")));
  BOOST_TEST((!targets.match("model.layers.1.mlp.up_proj") && !targets.match("model.layers.0.self_attn.xq_proj")));
  BOOST_TEST(PeftTargets{}.match("anything"));
  BOOST_TEST(!PeftTargets{.names = {"all-linear"}}.match("anything"));  // in a list, a name like any other
}

BOOST_AUTO_TEST_CASE(expressions_match_whole_paths) {
  const PeftTargets targets{.expression = R"(.*\.(0|10)\..*(q_proj|up_proj))"};
  BOOST_TEST((targets.match(q0) && targets.match(q10) && targets.match(up0)));
  BOOST_TEST((!targets.match(q1) && !targets.match(q0 + "2")));
}

BOOST_AUTO_TEST_CASE(layers_are_numbered_parts_of_paths) {
  const PeftTargets targets{.names = {"q_proj", up0}, .layers = {1, 10}};
  BOOST_TEST((!targets.match(q0) && targets.match(q1) && targets.match(q10)));
  BOOST_TEST(targets.match(up0));            // a whole path is meant whatever its layer
  BOOST_TEST(!targets.match("0.1.q_proj"));  // a number needs a part with a dot on either side before it
  BOOST_TEST(targets.match("model.layers.1.experts.0.q_proj"));  // the first number counts
  const PeftTargets behind{.names = {"q_proj"}, .layers = {0}, .layer_patterns = {"blocks", "experts"}};
  BOOST_TEST(behind.match("model.layers.1.experts.0.q_proj"));
  BOOST_TEST((!behind.match(q0) && behind.match("blocks.0.q_proj")));
}

BOOST_AUTO_TEST_CASE(the_first_pattern_that_matches_an_ending_counts) {
  const PeftPattern<long> pattern{
      {"layers.0.*q_proj", 3}, {"q_proj", 4}, {"^model.layers.0.mlp.up_proj", 5}, {"a|up_proj", 6}};
  BOOST_TEST((pattern_value(pattern, q0) == 3 && pattern_value(pattern, q1) == 4));
  BOOST_TEST(pattern_value(pattern, up0).value() == 5);  // "^" matches where the prefix is empty
  BOOST_TEST(pattern_value(pattern, "model.layers.1.mlp.up_proj").value() == 6);
  BOOST_TEST(!pattern_value(pattern, "model.layers.1.self_attn.xq_proj").has_value());
  BOOST_TEST(!pattern_value(pattern, q0 + ".base").has_value());
}
