#define BOOST_TEST_MODULE hellaswag
#include <linden/eval/hellaswag.hpp>

#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "data/small_tokenizer.hpp"

using namespace linden;
using linden::test::refused;

namespace {

nlohmann::json row() {
  return {{"activity_label", "Roof shingle removal"},
          {"ctx_a", "A man is sitting on a roof."},
          {"ctx_b", "he"},
          {"ctx", "A man is sitting on a roof. he"},
          {"endings", {"is using wrap [step] to wrap.", " is ripping  tiles. ", "[header] holds.", "starts."}},
          {"label", 3}};
}

TaskDocument document(const nlohmann::json& value) { return hellaswag_document(JsonObject(value, "f, line 1")); }

TaskDocument with(const std::string& key, const nlohmann::json& value) {
  nlohmann::json changed = row();
  changed[key] = value;
  return document(changed);
}

TaskDocument without(const std::string& key) {
  nlohmann::json changed = row();
  changed.erase(key);
  return document(changed);
}

}  // namespace

// Expected values: strip, replace, re.sub(r"\[.*?\]", "", t), replace in CPython 3.11.
BOOST_AUTO_TEST_CASE(cleans_as_the_harness) {
  BOOST_TEST(hellaswag_clean(" How to cook [title] First [step] Boil.  Stir. ") == "How to cook. First Boil. Stir.");
  BOOST_TEST(hellaswag_clean("[title] First") == " First");  // without a space in front it is a mark like others
  BOOST_TEST(hellaswag_clean("Then wait. [substeps]") == "Then wait. ");  // the space stays: it was stripped before
  BOOST_TEST(hellaswag_clean("a [b [c] d] e") == "a d] e");
  BOOST_TEST(hellaswag_clean("a [b\nc] [d] e") == "a [b\nc] e");
  BOOST_TEST(hellaswag_clean("a ] [ b") == "a ] [ b");
  BOOST_TEST(hellaswag_clean("a   b") == "a  b");
  BOOST_TEST(hellaswag_clean("a    b") == "a  b");
  BOOST_TEST(hellaswag_clean("\u00A0a\u2003") == "a");
  BOOST_TEST(hellaswag_clean("") == "");
}

BOOST_AUTO_TEST_CASE(builds_the_question_from_both_halves) {
  const TaskDocument read = document(row());
  BOOST_TEST(read.text == "Roof shingle removal: A man is sitting on a roof. He");
  BOOST_TEST(
      read.choices == (std::vector<std::string>{"is using wrap to wrap.", "is ripping tiles.", " holds.", "starts."}),
      boost::test_tools::per_element());
  BOOST_TEST(read.gold == 3U);
  BOOST_TEST(read.target == "starts.");
  BOOST_TEST(with("label", "1").target == "is ripping tiles.");
  BOOST_TEST(with("label", 0).gold == 0U);
  BOOST_TEST(with("ctx_b", "the Lady WALKS").text ==
             "Roof shingle removal: A man is sitting on a roof. The lady walks");
  BOOST_TEST(with("ctx_b", "").text == "Roof shingle removal: A man is sitting on a roof.");
  BOOST_TEST(without("ctx_b").text == "Roof shingle removal: A man is sitting on a roof.");
}

BOOST_AUTO_TEST_CASE(refuses_rows_that_do_not_fit) {
  refused<DataError>([] { return without("ctx_a"); },
                     {"f, line 1: field 'ctx_a': found nothing", "joined as 'ctx'", "capitalises", "rowanz/hellaswag"});
  refused<DataError>([] { return without("activity_label"); }, {"field 'activity_label': found nothing"});
  refused<DataError>([] { return without("endings"); },
                     {"field 'endings': found nothing, expected an array of strings"});
  refused<DataError>([] { return without("label"); }, {"field 'label': found nothing, expected 0 to 3"});
  refused<DataError>([] { return with("label", 4); }, {"field 'label': found 4, expected 0 to 3"});
  refused<DataError>([] { return with("label", ""); }, {"field 'label': found \"\", expected 0 to 3"});
  refused<DataError>([] { return with("label", -1); }, {"found -1"});
  refused<DataError>([] { return with("ctx_b", 1); }, {"field 'ctx_b': found 1, expected a string"});
}
