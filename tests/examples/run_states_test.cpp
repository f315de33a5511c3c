#define BOOST_TEST_MODULE run_states
#include "support/run_states.hpp"
//
#include <boost/test/unit_test.hpp>

#include "io/temporary_folder.hpp"

namespace {
using namespace linden;
using namespace linden::examples;
using linden::test::content_of;
using linden::test::TemporaryFolder;

std::vector<std::string> names(const RunStates& states) {
  std::vector<std::string> list;
  for (const auto& file : states.newest_first()) list.push_back(file.filename().string());
  return list;
}
}  // namespace

BOOST_FIXTURE_TEST_CASE(the_last_two_states_are_kept, TemporaryFolder) {
  const RunStates states(path());
  BOOST_TEST(states.newest_first().empty());
  for (const std::size_t steps : {9U, 10U, 100U})
    states.save(steps, [](const std::filesystem::path& to) { write_atomically(to, std::string_view("x")); });
  const std::vector<std::string> expected{"step-000000000100.safetensors", "step-000000000010.safetensors"};
  BOOST_TEST(names(states) == expected, boost::test_tools::per_element());
  // A write that fails leaves them as they are; what it began is not taken for a state.
  BOOST_CHECK_THROW(states.save(200, [](const std::filesystem::path&) { throw DataError("disk full"); }), DataError);
  write_atomically(path() / "state" / ".step-000000000200.safetensors.1.0.tmp", std::string_view("half"));
  BOOST_TEST(names(states) == expected, boost::test_tools::per_element());
  states.remove_all();
  BOOST_TEST(!std::filesystem::exists(path() / "state"));
}

BOOST_FIXTURE_TEST_CASE(metrics_are_shortened_to_the_steps_before_a_state, TemporaryFolder) {
  const auto metrics = file("metrics.jsonl", "{\"step\":1,\"loss\":2}\n{\"step\":2,\"loss\":null}\n{\"step\":3}\n{\"st");
  BOOST_TEST(keep_metrics(metrics, 3).size() == 3U);
  const auto kept = keep_metrics(metrics, 2);
  BOOST_TEST(kept.size() == 2U);
  BOOST_TEST(kept[1].at("step") == 2);
  BOOST_TEST(content_of(metrics) == "{\"step\":1,\"loss\":2}\n{\"step\":2,\"loss\":null}\n");
  BOOST_CHECK_EXCEPTION(static_cast<void>(keep_metrics(metrics, 3)), DataError, [&](const DataError& error) {
    BOOST_TEST(std::string(error.what()).find("metrics.jsonl: line 3 is not the record of step 3") != std::string::npos);
    return true;
  });
  BOOST_TEST(content_of(metrics) == "{\"step\":1,\"loss\":2}\n{\"step\":2,\"loss\":null}\n");  // nothing was lost
  BOOST_TEST(keep_metrics(metrics, 0).empty());
  BOOST_TEST(content_of(metrics).empty());
}
