#define BOOST_TEST_MODULE select
#include <linden/model/select.hpp>
//
#include <boost/test/unit_test.hpp>

#include "io/temporary_folder.hpp"
#include "support/golden.hpp"

namespace {
using namespace linden;
using namespace linden::test;

using Both = Configurations<Stories260K, WordProblems>;

std::string chosen(const std::filesystem::path& directory) {
  return with_configuration<Both>(directory, [](auto configuration) { return std::string(decltype(configuration)::name); });
}

/// A folder with the config.json of C after `change`.
template <class C>
void write_config(const TemporaryFolder& folder, auto change) {
  HfConfig config = hf_config<C>();
  change(config);
  write_hf_config(folder.path() / "config.json", config);
}

/// What the struct that configuration_code writes for the small model below is.
struct MyLlama {
  static constexpr const char* name = "mine";
  static constexpr long hidden = 32, intermediate = 48, layers = 3;
  static constexpr long heads = 4, kv_heads = 2, head_size = 8;
  static constexpr long vocabulary = 300, positions = 64;
  static constexpr double epsilon = 1e-06, theta = 500000;
  static constexpr bool tied = false;
  static constexpr RotaryScaling scaling{8, 1, 4, 8192};
};
}  // namespace

BOOST_AUTO_TEST_CASE(finds_each_compiled_configuration) {
  const TemporaryFolder folder;
  write_config<WordProblems>(folder, [](HfConfig&) {});
  BOOST_TEST(chosen(folder.path()) == "word-problems");
  write_config<Stories260K>(folder, [](HfConfig&) {});
  BOOST_TEST(chosen(folder.path()) == "stories260K");
}

BOOST_AUTO_TEST_CASE(finds_the_real_checkpoint, *boost::unit_test::precondition(needs_shared("models/stories260K"))) {
  BOOST_TEST(chosen(shared_folder() / "models/stories260K") == "stories260K");
}

BOOST_AUTO_TEST_CASE(the_visitor_may_return_nothing) {
  const TemporaryFolder folder;
  write_config<WordProblems>(folder, [](HfConfig&) {});
  long hidden = 0;
  with_configuration<Both>(folder.path(), [&]<class C>(C) { hidden = C::hidden; });
  BOOST_TEST(hidden == 96);
}

BOOST_AUTO_TEST_CASE(no_match_says_what_differs_and_what_to_add) {
  const TemporaryFolder folder;
  write_config<MyLlama>(folder, [](HfConfig&) {});
  expect_refusal<DataError>(
      [&] { chosen(folder.path()); }, (folder.path() / "config.json").string() + ": no compiled configuration",
      "not the compiled configuration stories260K: hidden_size is 32, expected 64",
      "not the compiled configuration word-problems: hidden_size is 32, expected 96", "struct MyLlama {",
      "static constexpr long hidden = 32, intermediate = 48, layers = 3;",
      "static constexpr long heads = 4, kv_heads = 2, head_size = 8;",
      "static constexpr long vocabulary = 300, positions = 64;",
      "static constexpr double epsilon = 1e-06, theta = 5e+05;", "static constexpr bool tied = false;",
      "static constexpr RotaryScaling scaling{8, 1, 4, 8192};", "its name to LINDEN_CONFIGURATIONS");
  const auto name = with_configuration<Configurations<Stories260K, MyLlama>>(  // a list of one's own
      folder.path(), [](auto configuration) { return std::string(decltype(configuration)::name); });
  BOOST_TEST(name == "mine");
}

BOOST_AUTO_TEST_CASE(names_cannot_break_the_code) {
  const std::string code = configuration_code(hf_config<Stories260K>(), "a\"b\\c\n");
  BOOST_TEST(code.find("name = \"a_b_c_\";") != std::string::npos, code);
  BOOST_TEST(code.find("RotaryScaling scaling{};") != std::string::npos, code);
}

BOOST_AUTO_TEST_CASE(every_field_that_differs_is_named) {
  const auto refuses = [](auto change, const std::string& message) {
    const TemporaryFolder folder;
    write_config<Stories260K>(folder, change);
    expect_refusal<DataError>(
        [&] { check_config<Stories260K>(read_hf_config(folder.path()), folder.path()); },
        (folder.path() / "config.json").string(), "not the compiled configuration stories260K", message);
  };
  refuses([](HfConfig& c) { c.hidden_size = 128; }, "hidden_size is 128, expected 64");
  refuses([](HfConfig& c) { c.intermediate_size = 173; }, "intermediate_size is 173, expected 172");
  refuses([](HfConfig& c) { c.num_hidden_layers = 6; }, "num_hidden_layers is 6, expected 5");
  refuses([](HfConfig& c) { c.num_attention_heads = 16; }, "num_attention_heads is 16, expected 8");
  refuses([](HfConfig& c) { c.num_key_value_heads = 8; }, "num_key_value_heads is 8, expected 4");
  refuses([](HfConfig& c) { c.head_dim = 16; }, "head_dim is 16, expected 8");
  refuses([](HfConfig& c) { c.vocab_size = 513; }, "vocab_size is 513, expected 512");
  refuses([](HfConfig& c) { c.rms_norm_eps = 1e-6; }, "rms_norm_eps is 1e-06, expected 1e-05");
  refuses([](HfConfig& c) { c.rope_theta = 500000; }, "rope_theta is 500000, expected 10000");
  refuses([](HfConfig& c) { c.tie_word_embeddings = false; }, "tie_word_embeddings is 0, expected 1");
  refuses([](HfConfig& c) { c.rope_scaling = RopeScaling{}; }, "rope_scaling.factor is 8, expected 1");
  refuses([](HfConfig& c) { c.hidden_size = 128, c.vocab_size = 32000; },
          "hidden_size is 128, expected 64; vocab_size is 32000");
}

BOOST_AUTO_TEST_CASE(a_folder_without_a_config_is_refused) {
  const TemporaryFolder folder;
  expect_refusal<DataError>([&] { chosen(folder.path()); }, "config.json");
}
