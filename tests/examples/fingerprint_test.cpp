#define BOOST_TEST_MODULE examples_fingerprint
#include "support/fingerprint.hpp"

#include <boost/test/unit_test.hpp>

#include "io/temporary_folder.hpp"

namespace {
using namespace linden;
using namespace linden::test;
using examples::Fingerprint;
using examples::fingerprint_of;
using examples::fingerprint_of_model;

std::string of(std::vector<Sample> samples) { return fingerprint_of(samples); }
}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_the_published_hashes) {
  BOOST_TEST(Fingerprint().hex() == "cbf29ce484222325");
  BOOST_TEST(Fingerprint().add("a").hex() == "af63dc4c8601ec8c");
  BOOST_TEST(Fingerprint().add("foo").add("bar").hex() == "85944171f73967e8");
}

BOOST_AUTO_TEST_CASE(a_number_is_eight_bytes_lowest_first) {
  using namespace std::string_view_literals;
  BOOST_TEST(Fingerprint().add(0x6261).hex() == Fingerprint().add("ab\0\0\0\0\0\0"sv).hex());
  BOOST_TEST(Fingerprint().add(-1).hex() == Fingerprint().add("\xff\xff\xff\xff\xff\xff\xff\xff").hex());
}

BOOST_AUTO_TEST_CASE(samples_count_with_ids_labels_order_and_borders) {
  const auto print = of({{{1, 2}, {-100, 2}, 0}, {{3}, {3}, 1}});
  BOOST_TEST(print == of({{{1, 2}, {-100, 2}, 5}, {{3}, {3}, 6}}));  // the row is not learned from
  BOOST_TEST(print != of({{{1, 2}, {1, 2}, 0}, {{3}, {3}, 1}}));
  BOOST_TEST(print != of({{{3}, {3}, 1}, {{1, 2}, {-100, 2}, 0}}));
  BOOST_TEST(print != of({{{1, 2}, {-100, 2}, 0}}));
  BOOST_TEST(of({{{1, 1}, {1, 1}, 0}}) != of({{{1}, {1}, 0}, {{1}, {1}, 0}}));
}

BOOST_AUTO_TEST_CASE(a_model_counts_with_its_configuration_and_the_ends_of_its_weights) {
  const TemporaryFolder folder;
  std::string weights(std::size_t{3} << 20, 'w');
  folder.file("config.json", "{}");
  folder.file("model.safetensors", weights);
  const auto print = fingerprint_of_model(folder.path());
  folder.file("notes.txt", "not part of it");
  BOOST_TEST(fingerprint_of_model(folder.path()) == print);
  weights.back() = 'v';
  folder.file("model.safetensors", weights);
  BOOST_TEST(fingerprint_of_model(folder.path()) != print);
  weights.back() = 'w';
  weights.front() = 'v';
  folder.file("model.safetensors", weights);
  BOOST_TEST(fingerprint_of_model(folder.path()) != print);
  weights.front() = 'w';
  folder.file("model.safetensors", weights);
  BOOST_TEST(fingerprint_of_model(folder.path()) == print);
  folder.file("config.json", "{ }");
  BOOST_TEST(fingerprint_of_model(folder.path()) != print);
}

BOOST_AUTO_TEST_CASE(what_is_no_model_is_refused) {
  const TemporaryFolder folder;
  const auto refuses = [&](const std::filesystem::path& path, const char* message) {
    expect_refusal<DataError>([&] { (void)fingerprint_of_model(path); }, message);
  };
  refuses(folder.path() / "none", "none: is not a directory");
  refuses(folder.path(), "has no *.safetensors");
  folder.file("model.safetensors", "");
  refuses(folder.path(), "config.json: cannot be opened");
  folder.file("config.json", "{}");
  BOOST_TEST(fingerprint_of_model(folder.path()).size() == 16U);  // an empty file is for the model's reader to refuse
}
