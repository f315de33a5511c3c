#define BOOST_TEST_MODULE document_results
#include "support/document_results.hpp"
//
#include <boost/test/unit_test.hpp>

#include "io/temporary_folder.hpp"

using namespace linden;
using namespace linden::examples;
using namespace linden::test;

BOOST_FIXTURE_TEST_CASE(what_was_written_is_found_by_the_next_run, TemporaryFolder) {
  const nlohmann::json settings{{"model", "a"}, {"shots", 3}};
  const auto file = path() / "r.jsonl";
  const std::vector<int> ranks{0, 4};
  {
    DocumentResults results(file, settings);
    BOOST_TEST(results.add({{"doc", 7}, {"rank", 4}, {"acc", 1}}));
    BOOST_TEST(!results.add({{"doc", 7}, {"rank", 4}, {"acc", 0}}));  // known already
    results.add({{"doc", 7}, {"rank", 0}, {"acc", 0}});
    results.add({{"doc", 6}, {"rank", 4}, {"acc", 0.5}});
    BOOST_TEST(results.has_all(7, 8, ranks));
    BOOST_TEST(!results.has_all(6, 8, ranks));
  }
  DocumentResults again(file, settings);
  BOOST_TEST(again.has_all(7, 8, ranks));
  BOOST_TEST(!again.has_all(6, 7, ranks));
  BOOST_TEST(again.find(6, 4)->at("acc").get<double>() == 0.5);
  BOOST_TEST(again.find(7, 4)->at("acc").get<double>() == 1);
  BOOST_TEST(again.find(6, 0) == nullptr);
  again.add({{"doc", 6}, {"rank", 0}, {"acc", 1}});
  BOOST_TEST(DocumentResults(file, settings).has_all(6, 8, ranks));
  BOOST_TEST(content_of(file).starts_with("{\"settings\":"));
}

BOOST_FIXTURE_TEST_CASE(a_line_cut_off_by_a_killed_run_is_computed_again, TemporaryFolder) {
  const nlohmann::json settings{{"model", "a"}};
  const auto cut = file("r.jsonl", "{\"settings\":{\"model\":\"a\"}}\n{\"doc\":1,\"rank\":2,\"acc\":1}\n{\"doc\":2,\"ra");
  {
    DocumentResults results(cut, settings);
    BOOST_TEST(results.find(1, 2) != nullptr);
    BOOST_TEST(results.find(2, 2) == nullptr);
    results.add({{"doc", 2}, {"rank", 2}, {"acc", 0}});
  }
  DocumentResults again(cut, settings);
  BOOST_TEST(again.find(1, 2) != nullptr);
  BOOST_TEST(again.find(2, 2) != nullptr);
  const auto empty = file("e.jsonl", "{\"settings\":{\"mo");  // killed while the first line was written
  BOOST_TEST(DocumentResults(empty, settings).find(1, 2) == nullptr);
}

BOOST_FIXTURE_TEST_CASE(results_of_other_settings_are_refused, TemporaryFolder) {
  const auto other = file("r.jsonl", "{\"settings\":{\"model\":\"a\",\"shots\":3}}\n");
  expect_refusal<UsageError>([&] { DocumentResults results(other, {{"model", "a"}, {"shots", 8}}); }, "r.jsonl",
                             "shots 3 there, 8 here");
  BOOST_TEST(content_of(other) == "{\"settings\":{\"model\":\"a\",\"shots\":3}}\n");
  const auto foreign = file("f.jsonl", "{\"question\": \"?\"}\n");
  expect_refusal<DataError>([&] { DocumentResults results(foreign, {{"model", "a"}}); }, "f.jsonl, line 1",
                            "expected the settings");
  const auto bad = file("b.jsonl", "{\"settings\":{\"model\":\"a\"}}\n{\"doc\":-1,\"rank\":2}\n");
  expect_refusal<DataError>([&] { DocumentResults results(bad, {{"model", "a"}}); }, "line 2", "doc");
}

BOOST_AUTO_TEST_CASE(without_a_file_results_are_kept_in_memory) {
  DocumentResults results;
  results.add({{"doc", 0}, {"rank", 1}, {"acc", 1}});
  BOOST_TEST(results.find(0, 1) != nullptr);
}
