#define BOOST_TEST_MODULE score
#include <linden/eval/score.hpp>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "data/small_tokenizer.hpp"

using namespace linden;
using linden::test::refused;
using Values = std::vector<double>;

namespace {

TaskDocument no_rows(const JsonObject&) { return {}; }

Task task_of(TaskKind kind, std::vector<TaskDocument> documents) {
  const TaskDescription description{"t", kind, 0, false, {"", ""}, {"", ""}, no_rows};
  return Task(description, std::move(documents), {}, 0);
}

Task choosing(std::vector<std::string> choices, std::size_t gold) {
  const std::string target = choices.at(gold);
  return task_of(TaskKind::multiple_choice,
                 {{.text = "q", .target = target, .choices = std::move(choices), .gold = gold}});
}

}  // namespace

BOOST_AUTO_TEST_CASE(scores_text_as_the_table_of_the_task) {
  const Task task =
      task_of(TaskKind::generation, {{.text = "q", .target = "so\n#### 72"}, {.text = "q", .target = "#### 1,072"}});
  const auto scores = [&](std::size_t document, const std::string& response) {
    return score_response(task, document, response).metrics;
  };
  BOOST_TEST(scores(0, " 48/2 = 24. 48+24 = 72\n#### 72") == (Values{1, 1}), boost::test_tools::per_element());
  BOOST_TEST(scores(0, " The answer is $72.") == (Values{0, 1}), boost::test_tools::per_element());
  BOOST_TEST(scores(1, " #### 1,072.") == (Values{1, 1}), boost::test_tools::per_element());
  BOOST_TEST(scores(0, " #### 72.0") == (Values{0, 0}), boost::test_tools::per_element());
  BOOST_TEST(scores(0, " #### 7 then #### 72") == (Values{0, 1}), boost::test_tools::per_element());
  BOOST_TEST(to_json(score_response(task, 1, "caf\u00E9 1072")).dump() ==
             "{\"doc\":1,\"response\":\"caf\u00E9 1072\",\"strict\":0.0,\"flexible\":1.0}");
  refused<UsageError>([&] { return score_response(task, 2, ""); }, {"t: there is no question 2"});
}

BOOST_AUTO_TEST_CASE(chooses_by_likelihood_per_nothing_character_and_byte) {
  const Task first = choosing({"aaaa", "bb"}, 0);
  BOOST_TEST(score_choices(first, 0, {-4.0, -3.0}).metrics == (Values{0, 1, 1}), boost::test_tools::per_element());
  BOOST_TEST(score_choices(first, 0, {-2.0, -3.0}).metrics == (Values{1, 1, 1}), boost::test_tools::per_element());
  // e-acute is one character and two bytes: -4/4 against -5/4 by characters, -4/4 against -5/8 by bytes
  const Task bytes = choosing({"aaaa", "\u00E9\u00E9\u00E9\u00E9"}, 1);
  BOOST_TEST(score_choices(bytes, 0, {-4.0, -5.0}).metrics == (Values{0, 0, 1}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(takes_the_first_of_equals) {
  BOOST_TEST(score_choices(choosing({"a", "b", "c"}, 1), 0, {-2.0, -1.0, -1.0}).metrics[0] == 1.0);
  BOOST_TEST(score_choices(choosing({"a", "b", "c"}, 2), 0, {-2.0, -1.0, -1.0}).metrics[0] == 0.0);
  BOOST_TEST(score_choices(choosing({"", "b"}, 1), 0, {-1.0, -9.0}).metrics[1] == 1.0);  // -1/0 is minus infinity
}

BOOST_AUTO_TEST_CASE(writes_likelihoods_exactly) {
  const double ll = -12.345678901234567;
  const auto line = nlohmann::json::parse(to_json(score_choices(choosing({"a", "b"}, 0), 0, {ll, -20.0})).dump());
  BOOST_TEST(line.at("doc") == 0);
  BOOST_TEST(line.at("log_likelihoods").at(0).get<double>() == ll);
  BOOST_TEST(line.at("acc") == 1.0);
  BOOST_TEST(line.contains("acc_norm"));
  BOOST_TEST(line.contains("acc_bytes"));
  BOOST_TEST(!line.contains("response"));
}

BOOST_AUTO_TEST_CASE(refuses_likelihoods_that_do_not_fit) {
  const Task task = choosing({"a", "b"}, 0);
  refused<UsageError>([&] { return score_choices(task, 0, {-1.0}); },
                      {"t, question 0: 1 log-likelihoods for 2 choices"});
  refused<UsageError>([&] { return score_choices(task, 0, {-1.0, std::nan("")}); }, {"question 0", "not finite"});
  refused<UsageError>(
      [&] {
        return score_choices(task, 0, {-std::numeric_limits<double>::infinity(), -1.0});
      },
      {"not finite"});
}

BOOST_AUTO_TEST_CASE(summarizes_with_the_standard_error_of_the_sample) {
  std::vector<DocumentResult> results;
  for (std::size_t i = 0; i < 5; ++i) results.push_back({TaskKind::generation, i, {i < 2 ? 1.0 : 0.0, 1.0}});
  const auto summaries = summarize(results);
  BOOST_TEST(summaries.at(0).mean == 0.4);
  BOOST_TEST(summaries.at(0).standard_error == std::sqrt((2 * 0.36 + 3 * 0.16) / 4 / 5),
             boost::test_tools::tolerance(1e-14));
  BOOST_TEST(summaries.at(1).standard_error == 0.0);
  BOOST_TEST(std::isnan(summarize(std::vector<DocumentResult>{results.at(0)}).at(0).standard_error));
  refused<UsageError>([] { return summarize({}); }, {"no question was answered"});
}
