#define BOOST_TEST_MODULE bad_input
#include "examples/bad_input.hpp"
//
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <iostream>
#include <limits>

// Whatever a program is given: one line that says what is wrong and where, status 2 for the command line and 1 for the data, nothing
// written. Every row here is such an input; what a reader refuses in detail is tested, and fuzzed, with the reader.
namespace {
using namespace linden::test;
using nlohmann::json;

const std::string demo = std::string(LINDEN_TEST_DIR) + "/../examples/demo";

/// Good input, made once.
const TemporaryFolder& good() {
  static const TemporaryFolder folder;
  static const bool made = [] {
    std::filesystem::copy(demo, folder.path() / "model");
    const std::string rows = R"({"question": "Tom has 3 apples and buys 4. How many?", "answer": "3 + 4 = 7\n#### 7"}
{"question": "Ann has 9 pens and loses 2. How many?", "answer": "9 - 2 = 7\n#### 7"}
)";
    for (const char* name : {"train.jsonl", "gsm8k/train.jsonl", "gsm8k/test.jsonl"}) folder.file(name, rows);
    for (const char* name : {"arc/train.jsonl", "arc/test.jsonl"})
      folder.file(name, R"({"id": "1", "question": "Which?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"})");
    folder.file("ids.json", R"({"input_ids": [[1, 5, 6]], "labels": [[-100, 5, 6]]})");
    folder.file("p.json", R"({"p": [1, 0.5]})");
    folder.file("evaluation.json", R"({"metric": "exact_match", "ranks": [1, 2], "values": [0.5, 0.75], "base": 0.25, "aurac": 0.6, "log_aurac": 0.6})");
    const auto at = [](const char* name) { return (folder.path() / name).string(); };
    for (const auto& [rates, output] : {std::pair("1e-3", "adapter"), std::pair("1e-3,2e-3", "sweep")}) {
      const Ended ended = run_program({"finetune", "--model", at("model"), "--data", at("train.jsonl"), "--rank", "2", "--steps", "1",
                                       "--batch", "2", "--accumulate", "1", "--lr", rates, "--output", at(output)});
      BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.err);
    }
    return true;
  }();
  BOOST_REQUIRE(made);
  return folder;
}

/// A command that works. '@' stands for the input's folder.
Options command(const std::string& program) {
  static const std::map<std::string, Options> commands{
      {"finetune", {{"--model", "@model"}, {"--data", "@train.jsonl"}, {"--output", "@out"}, {"--rank", "2"}, {"--steps", "1"},
                    {"--batch", "2"}, {"--accumulate", "1"}}},
      {"evaluate", {{"--model", "@model"}, {"--adapter", "@adapter"}, {"--data", "@train.jsonl"}, {"--json", "@out.json"}}},
      {"generate", {{"--model", "@model"}, {"--adapter", "@adapter"}, {"--prompt", "Tom"}, {"--max-tokens", "2"}, {"--greedy", ""}}},
      {"export_adapter", {{"--model", "@model"}, {"--adapter", "@adapter"}, {"--rank", "1"}, {"--format", "peft"}, {"--output", "@out"}}},
      {"gradients", {{"--model", "@model"}, {"--adapter", "@adapter"}, {"--ids", "@ids.json"}, {"--weighting", "@p.json"},
                     {"--output", "@out.safetensors"}}},
      {"report", {{"--curve", "A=@evaluation.json"}, {"--json", "@out.json"}}},
      {"problems", {{"--count", "2"}, {"--output", "@out.jsonl"}}},
      {"pretrain", {{"--output", "@out"}, {"--steps", "1"}, {"--problems", "2"}}}};
  return commands.at(program);
}

struct Case {
  std::string program;
  Options options;  ///< instead of the command's own, or besides them
  int status;
  std::vector<std::string> says;
  std::function<void(const Input&)> spoil = [](const Input&) {};
  bool prints = false;  ///< its results on the standard output, before it fails to write them
};

Ended run(const Case& c, const Input& input) {
  Options options = command(c.program);
  for (const auto& [name, value] : c.options) {
    const auto same = std::ranges::find(options, name, &Options::value_type::first);
    if (same == options.end())
      options.emplace_back(name, value);
    else
      same->second = value;
  }
  std::vector<std::string> words{c.program};
  for (const auto& [name, value] : options) {
    if (value == nullptr) continue;
    words.push_back(name);
    std::string word = value;
    if (const auto place = word.find('@'); place != word.npos) word.replace(place, 1, input.at(""));
    if (!word.empty()) words.push_back(word);
  }
  return run_program(words);
}

int cases = 0;

void check(const Case& c) {
  ++cases;
  const Input input(good().path());
  c.spoil(input);
  const Listing before = list(input.path());
  const Ended ended = run(c, input);
  std::string shown = c.program;
  for (const auto& [name, value] : c.options) shown += " " + name + " " + (value == nullptr ? "(none)" : value);
  BOOST_TEST_CONTEXT(shown << "\n  says: " << ended.err) {
    if (std::getenv("SHOW")) std::cerr << "## " << shown << " -> " << ended.status << ": " << ended.err;
    BOOST_TEST(ended.status == c.status);
    BOOST_TEST(ended.err.starts_with(c.program + ": "));
    BOOST_TEST(std::count(ended.err.begin(), ended.err.end(), '\n') == 1);
    BOOST_TEST(ended.out.empty() != c.prints);
    for (const std::string& part : c.says) BOOST_TEST(ended.err.find(part) != std::string::npos, part);
    BOOST_TEST((list(input.path()) == before), "nothing is written");
  }
}
}  // namespace

BOOST_AUTO_TEST_CASE(the_commands_work_with_good_input) {
  for (const char* program : {"finetune", "evaluate", "generate", "export_adapter", "gradients", "report", "problems"}) {
    const Input input(good().path());
    const Ended ended = run({program, {}, 0, {}}, input);
    BOOST_TEST(ended.status == 0, program << ": " << ended.err);
  }
}

BOOST_AUTO_TEST_CASE(options_that_make_no_sense) {
  for (const char* program : {"finetune", "evaluate", "generate", "export_adapter", "gradients", "report", "problems", "pretrain"}) {
    check({program, {{"--wings", "2"}}, 2, {"--wings", "--help"}});
    check({program, {{"stray", ""}}, 2, {"stray"}});
  }
  const std::vector<Case> table{
      {"finetune", {{"--model", nullptr}}, 2, {"--model is required"}},
      {"finetune", {{"--data", nullptr}}, 2, {"--data is required"}},
      {"finetune", {{"--output", nullptr}}, 2, {"--output is required"}},
      {"finetune", {{"--rank", "0"}}, 2, {"--rank", "0"}},
      {"finetune", {{"--rank", "4097"}}, 2, {"--rank", "4097", "4096"}},
      {"finetune", {{"--rank", "-1"}}, 2, {"--rank", "-1"}},
      {"finetune", {{"--rank", "two"}}, 2, {"--rank", "two"}},
      {"finetune", {{"--rank", "1.5"}}, 2, {"--rank", "1.5"}},
      {"finetune", {{"--rank", "99999999999999999999"}}, 2, {"--rank", "99999999999999999999"}},
      {"finetune", {{"--train-ranks", "0,1"}}, 2, {"0,1", "ranks must be positive"}},
      {"finetune", {{"--train-ranks", "2,1"}}, 2, {"2,1", "strictly ascending"}},
      {"finetune", {{"--train-ranks", "1,1"}}, 2, {"1,1", "strictly ascending"}},
      {"finetune", {{"--train-ranks", "4"}}, 2, {"smallest rank is 4", "not above 2"}},
      {"finetune", {{"--train-ranks", "1,,2"}}, 2, {"--train-ranks", "\"\" in \"1,,2\""}},
      {"finetune", {{"--train-ranks", "1;2"}}, 2, {"--train-ranks", "1;2"}},
      {"finetune", {{"--adapter", "dora"}}, 2, {"dora", "matryoshka"}},
      {"finetune", {{"--scaling", "half"}}, 2, {"half", "sqrt"}},
      {"finetune", {{"--init", "zero"}}, 2, {"zero", "reference"}},
      {"finetune", {{"--precision", "fp16"}}, 2, {"--precision", "fp16", "bf16-reference"}},
      {"finetune", {{"--rank-weights", "steep"}, {"--adapter", "stratified"}}, 2, {"steep"}},
      {"finetune", {{"--rank-weights", "1,2,3"}, {"--adapter", "stratified"}}, 2, {"3 weights", "2"}},
      {"finetune", {{"--rank-weights", "1,-2"}, {"--adapter", "stratified"}}, 2, {"-2"}},
      {"finetune", {{"--rank-weights", "0,0"}, {"--adapter", "stratified"}}, 2, {"weights"}},
      {"finetune", {{"--rank-weights", "nan,1"}, {"--adapter", "stratified"}}, 2, {"nan"}},
      {"finetune", {{"--lr", "0"}}, 2, {"--lr", "0"}},
      {"finetune", {{"--lr", "-1e-3"}}, 2, {"--lr", "-0.001"}},
      {"finetune", {{"--lr", "nan"}}, 2, {"--lr", "nan"}},
      {"finetune", {{"--lr", "inf"}}, 2, {"--lr", "inf"}},
      {"finetune", {{"--lr", "1e-3,1e-3"}}, 2, {"--lr", "twice"}},
      {"finetune", {{"--lr", "fast"}}, 2, {"--lr", "fast"}},
      {"finetune", {{"--seed", "-1"}}, 2, {"--seed", "-1"}},
      {"finetune", {{"--seed", "1,1"}}, 2, {"--seed", "twice"}},
      {"finetune", {{"--seed", "9223372036854775808"}}, 2, {"--seed", "9223372036854775808"}},
      {"finetune", {{"--batch", "0"}}, 2, {"--batch"}},
      {"finetune", {{"--batch", "-2"}}, 2, {"--batch", "-2"}},
      {"finetune", {{"--accumulate", "0"}}, 2, {"--accumulate"}},
      {"finetune", {{"--epochs", "0"}}, 2, {"--epochs"}},
      {"finetune", {{"--epochs", "nan"}}, 2, {"--epochs", "nan"}},
      {"finetune", {{"--epochs", "1e300"}, {"--steps", nullptr}}, 2, {"epochs"}},
      {"finetune", {{"--steps", "-1"}}, 2, {"--steps", "-1"}},
      {"finetune", {{"--limit", "0"}}, 2, {"--limit"}},
      {"finetune", {{"--max-length", "0"}}, 2, {"--max-length"}},
      {"finetune", {{"--max-length", "1"}}, 2, {"--max-length", "from 2"}},
      {"finetune", {{"--bad-steps", "0"}}, 2, {"--bad-steps"}},
      {"finetune", {{"--save-every", "-1"}}, 2, {"--save-every", "-1"}},
      {"finetune", {{"--resume", "yes"}}, 2, {"yes"}},
      {"finetune", {{"--target", "k_projection"}}, 2, {"--target", "k_projection", "k_proj"}},
      {"finetune", {{"--target", "q_proj,q_proj"}}, 2, {"--target", "twice"}},
      {"finetune", {{"--module", "q_proj"}}, 2, {"--module q_proj", "KIND=RANK"}},
      {"finetune", {{"--module", "q_proj=3"}}, 2, {"--module q_proj=3", "1 to 2"}},
      {"finetune", {{"--module", "q_proj=0"}}, 2, {"--module q_proj=0", "1 to 2"}},
      {"finetune", {{"--module", "q_proj=2:2,1"}}, 2, {"2,1", "strictly ascending"}},
      {"finetune", {{"--module", "q_proj=1:2"}}, 2, {"smallest rank is 2", "not above 1"}},
      {"finetune", {{"--target", "v_proj"}, {"--module", "q_proj=1"}}, 2, {"--module q_proj=1", "no target"}},
      {"finetune", {{"--device", "tpu"}}, 2, {"--device", "tpu"}},
      {"finetune", {{"--keep", "nothing"}}, 2, {"--keep", "nothing"}},
      {"finetune", {{"--keep", "everything"}}, 2, {"fewer choices"}},
      {"finetune", {{"--compute", "fp8"}}, 2, {"--compute", "fp8"}},
      {"evaluate", {{"--model", nullptr}}, 2, {"--model is required"}},
      {"evaluate", {{"--adapter", nullptr}}, 2, {"--adapter is required"}},
      {"evaluate", {{"--ranks", "0"}}, 2, {"ranks must be positive"}},
      {"evaluate", {{"--ranks", "3"}}, 2, {"rank 3", "1 to 2"}},
      {"evaluate", {{"--ranks", "2,1"}}, 2, {"strictly ascending"}},
      {"evaluate", {{"--ranks", ""}}, 2, {"--ranks"}},
      {"evaluate", {{"--metric", "bleu"}}, 2, {"--metric", "bleu", "exact_match"}},
      {"evaluate", {{"--inference", "full"}}, 2, {"--inference", "full"}},
      {"evaluate", {{"--limit", "-5"}}, 2, {"--limit", "-5"}},
      {"evaluate", {{"--max-length", "0"}}, 2, {"--max-length", "from 2"}},
      {"evaluate", {{"--max-length", "-7"}}, 2, {"--max-length", "-7"}},
      {"evaluate", {{"--max-tokens", "0"}}, 2, {"--max-tokens"}},
      {"evaluate", {{"--cache", "0"}}, 2, {"--cache"}},
      {"evaluate", {{"--batch-tokens", "0"}}, 2, {"--batch-tokens"}},
      {"evaluate", {{"--task", "gsm8k"}}, 2, {"--task", "--data"}},
      {"evaluate", {{"--data", nullptr}, {"--task", "mmlu"}, {"--task-data", "@gsm8k"}}, 2, {"mmlu", "gsm8k"}},
      {"evaluate", {{"--data", nullptr}, {"--task", "gsm8k"}}, 2, {"--task-data"}},
      {"evaluate", {{"--data", nullptr}, {"--task-data", "@gsm8k"}}, 2, {"--task"}},
      {"evaluate", {{"--data", nullptr}, {"--task", "gsm8k"}, {"--task-data", "@gsm8k"}, {"--shots", "-1"}}, 2, {"--shots", "-1"}},
      {"evaluate", {{"--data", nullptr}, {"--task", "gsm8k"}, {"--task-data", "@gsm8k"}, {"--shots", "9"}}, 2, {"9"}},
      {"evaluate", {{"--adapter", "@sweep"}}, 2, {"--json", "--name"}},
      {"generate", {{"--model", nullptr}}, 2, {"--model is required"}},
      {"generate", {{"--prompt", nullptr}}, 2, {"--prompt is required"}},
      {"generate", {{"--rank", "3"}}, 2, {"rank 3", "1 to 2"}},
      {"generate", {{"--rank", "-1"}}, 2, {"-1"}},
      {"generate", {{"--adapter", nullptr}, {"--rank", "1"}}, 2, {"--rank", "--adapter"}},
      {"generate", {{"--temperature", "0"}}, 2, {"--temperature"}},
      {"generate", {{"--temperature", "nan"}}, 2, {"--temperature"}},
      {"generate", {{"--max-tokens", "-1"}}, 2, {"--max-tokens", "-1"}},
      {"generate", {{"--seed", "x"}}, 2, {"--seed", "x"}},
      {"export_adapter", {{"--rank", "0"}}, 2, {"rank 0", "1 to 2"}},
      {"export_adapter", {{"--rank", "3"}}, 2, {"rank 3", "1 to 2"}},
      {"export_adapter", {{"--rank", "1,9"}}, 2, {"rank 9", "1 to 2"}},
      {"export_adapter", {{"--rank", "one"}}, 2, {"one"}},
      {"export_adapter", {{"--format", "gguf"}}, 2, {"--format", "gguf"}},
      {"export_adapter", {{"--dtype", "f32"}}, 2, {"--dtype", "merged"}},
      {"export_adapter", {{"--format", "merged"}, {"--llama-cpp", ""}}, 2, {"--llama-cpp", "peft"}},
      {"export_adapter", {{"--format", "linden"}, {"--inference", "weighted"}}, 2, {"--inference", "linden"}},
      {"export_adapter", {{"--format", "merged"}, {"--dtype", "f16"}}, 2, {"--dtype", "f16"}},
      {"export_adapter", {{"--output", "@gsm8k"}}, 2, {"gsm8k", "not empty"}},
      {"gradients", {{"--ids", nullptr}}, 2, {"--ids is required"}},
      {"gradients", {{"--double", "really"}}, 2, {"really"}},
      {"report", {{"--curve", nullptr}, {"--json", nullptr}}, 2, {"nothing to do"}},
      {"report", {{"--curve", "@evaluation.json"}}, 2, {"LABEL="}},
      {"report", {{"--curve", nullptr}, {"--sweep", "@sweep"}, {"--svg", "@out.svg"}}, 2, {"--svg", "--curve"}},
      {"report", {{"--best", "@evaluation.json"}}, 2, {"--best", "--curve"}},
      {"problems", {{"--count", "0"}}, 2, {"--count"}},
      {"problems", {{"--count", "many"}}, 2, {"--count", "many"}},
      {"problems", {{"--kind", "riddle"}}, 2, {"riddle"}},
      {"problems", {{"--split", "dev"}}, 2, {"--split", "dev"}},
      {"problems", {{"--skip", "-1"}}, 2, {"--skip", "-1"}},
      {"problems", {{"--seed", "-1"}}, 2, {"--seed", "-1"}},
      {"problems", {{"--count", "18446744073709551615"}, {"--skip", "2"}}, 2, {"--count"}},
      {"pretrain", {{"--output", nullptr}}, 2, {"--output is required"}},
      {"pretrain", {{"--steps", "0"}}, 2, {"--steps"}},
      {"pretrain", {{"--batch", "-3"}}, 2, {"--batch", "-3"}},
      {"pretrain", {{"--learning-rate", "0"}}, 2, {"--learning-rate"}},
      {"pretrain", {{"--problems", "0"}}, 2, {"--problems"}},
  };
  for (const Case& c : table) check(c);
}

BOOST_AUTO_TEST_CASE(files_that_are_not_there_or_no_files) {
  struct Place {
    const char* program;
    const char* name;
    Options options{};
  };
  const Options gsm8k{{"--data", nullptr}, {"--task", "gsm8k"}, {"--task-data", "@gsm8k"}, {"--shots", "1"}};
  const Options sweep{{"--curve", "A=@sweep"}};
  const std::vector<Place> places{{"finetune", "model/config.json"},       {"generate", "model/model.safetensors"},
                                  {"generate", "model/tokenizer.json"},    {"finetune", "train.jsonl"},
                                  {"evaluate", "train.jsonl"},             {"evaluate", "gsm8k/test.jsonl", gsm8k},
                                  {"evaluate", "gsm8k/train.jsonl", gsm8k}, {"generate", "adapter/adapter_config.json"},
                                  {"export_adapter", "adapter/adapter_model.safetensors"},
                                  {"gradients", "ids.json"},               {"gradients", "p.json"},
                                  {"report", "evaluation.json"}};
  for (const Place& place : places) {
    const std::string name = place.name;
    const std::string stem = std::filesystem::path(name).parent_path().string();
    check({place.program, place.options, 1, {stem}, [&](const Input& input) { input.remove(name); }});
    check({place.program, place.options, 1, {stem}, [&](const Input& input) { input.make_directory(name); }});
    check({place.program, place.options, 1, {stem}, [&](const Input& input) { input.make_loop(name); }});
    check({place.program, place.options, 1, {name}, [&](const Input& input) { input.put(name, ""); }});
    check({place.program, place.options, 1, {name}, [&](const Input& input) { input.put(name, std::string("\xEF\xBB\xBF\xFF\xFE{") + '\0'); }});
  }
}

BOOST_AUTO_TEST_CASE(files_cut_short) {
  const auto cut = [](const char* program, const std::string& name, std::size_t bytes) {
    check({program, {}, 1, {name}, [&](const Input& input) { input.cut(name, bytes); }});
  };
  // JSON: behind every field.
  for (const auto& [program, name] : {std::pair("generate", "model/config.json"), std::pair("generate", "adapter/adapter_config.json"),
                                      std::pair("gradients", "ids.json"), std::pair("report", "evaluation.json")}) {
    const std::string content = content_of(good().path() / name);
    for (std::size_t at = content.find(':'); at != content.npos; at = content.find(':', at + 1)) cut(program, name, at + 1);
  }
  // Tensors: inside the size, the header, behind it, inside and at the end of the last tensor.
  for (const auto& [program, name] : {std::pair("generate", "model/model.safetensors"), std::pair("export_adapter", "adapter/adapter_model.safetensors")}) {
    const std::string content = content_of(good().path() / name);
    std::uint64_t header = 0;
    std::memcpy(&header, content.data(), sizeof header);
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{9}, 8 + header / 2, 8 + header, 12 + header, content.size() - 1})
      cut(program, name, bytes);
  }
  const std::size_t tokenizer = content_of(good().path() / "model/tokenizer.json").size();
  for (const std::size_t part : {1U, 2U, 3U, 4U, 5U}) cut("generate", "model/tokenizer.json", tokenizer * part / 6);
  cut("finetune", "train.jsonl", 30);
  cut("evaluate", "train.jsonl", content_of(good().path() / "train.jsonl").size() - 5);
}

BOOST_AUTO_TEST_CASE(files_with_other_content) {
  const auto set = [](const char* program, const char* name, const char* field, const json& value, std::vector<std::string> says, const Options& options = {}) {
    says.emplace_back(name);
    check({program, options, 1, std::move(says), [&](const Input& input) { input.set(name, field, value); }});
  };
  const auto put = [](const char* program, const char* name, const std::string& content, std::vector<std::string> says, const Options& options = {}) {
    check({program, options, 1, std::move(says), [&](const Input& input) { input.put(name, content); }});
  };
  const char* config = "model/config.json";
  set("generate", config, "/hidden_size", 95, {"hidden_size"});
  set("generate", config, "/hidden_size", -96, {"hidden_size", "-96"});
  set("generate", config, "/hidden_size", 1e99, {"hidden_size"});
  set("generate", config, "/hidden_size", "96", {"hidden_size", "\"96\""});
  set("generate", config, "/hidden_size", nullptr, {"hidden_size", "null"});
  set("generate", config, "/num_hidden_layers", 5000000000, {"num_hidden_layers", "5000000000"});
  set("generate", config, "/num_key_value_heads", 4, {"num_key_value_heads"});
  set("generate", config, "/vocab_size", 0, {"vocab_size", "0"});
  set("generate", config, "/rms_norm_eps", "small", {"rms_norm_eps"});
  set("generate", config, "/rope_theta", -1, {"rope_theta", "-1"});
  set("generate", config, "/rope_scaling", {{"rope_type", "yarn"}}, {"yarn"});
  set("generate", config, "/hidden_act", "gelu", {"hidden_act", "gelu"});
  set("generate", config, "/model_type", "mistral", {"model_type", "mistral"});
  set("generate", config, "/attention_bias", true, {"attention_bias"});
  set("generate", "model/generation_config.json", "/eos_token_id", "two", {"eos_token_id"});
  put("generate", config, "[]", {config});
  put("generate", config, R"({"hidden_size": 96, "hidden_size": 96})", {config, "twice"});
  put("generate", config, std::string(200, '['), {config});

  const char* tokenizer = "model/tokenizer.json";
  set("generate", tokenizer, "/model/type", "WordPiece", {"/model/type", "WordPiece"});
  set("generate", tokenizer, "/model/vocab/<unk>", 1, {"id"});
  set("generate", tokenizer, "/model/vocab/<unk>", -1, {"-1"});
  set("generate", tokenizer, "/model/vocab/<unk>", 4000000000, {"4000000000"});
  for (const char* program : {"generate", "evaluate", "finetune"})
    check({program, {}, 1, {"the tokenizer has 513 tokens, expected at most 512"}, [&](const Input& input) {
             input.set(tokenizer, "/model/vocab/extra", 512);
           }});
  set("generate", tokenizer, "/model/merges/0", "a b c", {"/model/merges/0"});
  set("generate", tokenizer, "/added_tokens/0/id", 77, {"/added_tokens/0/id", "77"});
  set("generate", tokenizer, "/normalizer", {{"type", "NFC"}}, {"/normalizer"});
  set("generate", "model/tokenizer_config.json", "/eos_token", "<stop>", {"eos_token", "<stop>"});
  set("generate", "model/tokenizer_config.json", "/add_eos_token", true, {"add_eos_token"});

  const auto header = [](const char* program, const char* name, std::vector<std::string> says, const std::function<void(json&)>& change) {
    says.emplace_back(std::filesystem::path(name).parent_path().string());
    check({program, {}, 1, std::move(says), [&](const Input& input) { edit_header(input, name, change); }});
  };
  const char *model = "model/model.safetensors", *norm = "model.norm.weight";
  header("generate", model, {norm, "missing"}, [&](json& h) { h["other"] = h[norm], h.erase(norm); });
  header("generate", model, {norm, "[48, 2]", "[96]"}, [&](json& h) { h[norm]["shape"] = {48, 2}; });
  header("generate", model, {norm, "I32"}, [&](json& h) { h[norm]["dtype"] = "I32"; });
  header("generate", model, {norm, "F33"}, [&](json& h) { h[norm]["dtype"] = "F33"; });
  header("generate", model, {norm, "384", "192"}, [&](json& h) { h[norm]["dtype"] = "BF16"; });
  header("generate", model, {norm, "overflows"}, [&](json& h) { h[norm]["shape"] = {1UL << 63U, 96}; });
  header("generate", model, {norm}, [&](json& h) { h[norm]["shape"] = {-96}; });
  header("generate", model, {norm}, [&](json& h) { h[norm]["data_offsets"][1] = 1UL << 62U; });
  header("generate", model, {"an overlap"}, [&](json& h) { h[norm]["data_offsets"] = {0, 384}; });
  header("generate", model, {norm, "data_offsets"}, [&](json& h) { h[norm].erase("data_offsets"); });
  header("generate", model, {"__metadata__"}, [&](json& h) { h["__metadata__"]["format"] = 1; });
  const auto overwrite = [](const char* program, const char* name, float value, std::vector<std::string> says) {
    check({program, {}, 1, std::move(says), [&](const Input& input) {
             input.edit(name, [&](std::string& content) { std::memcpy(content.data() + content.size() - 4, &value, 4); });
           }});
  };
  for (const char* program : {"finetune", "evaluate", "generate", "gradients"})
    overwrite(program, model, std::numeric_limits<float>::quiet_NaN(), {"model: tensor 'model.norm.weight': element [0, 95] is nan"});
  overwrite("generate", model, -std::numeric_limits<float>::infinity(), {"model: tensor 'model.norm.weight'", "-inf"});
  const auto huge = [](const Input& input) {
    input.edit("model/model.safetensors", [](std::string& content) { content.replace(0, 8, 8, '\x7F'); });
  };
  check({"generate", {}, 1, {"model.safetensors", "header of 9187201950435737471 bytes"}, huge});
  put("generate", "model/model.safetensors.index.json", R"({"weight_map": {"model.norm.weight": "../train.jsonl"}})", {"model.norm.weight", "same directory"});
  put("generate", "model/model.safetensors.index.json", R"({"weight_map": {"model.norm.weight": "none.safetensors"}})", {"none.safetensors"});
  put("generate", "model/model.safetensors.index.json", R"({"weight_map": {"x": "model.safetensors"}})", {"'x' is missing"});

  const char *adapter = "adapter/adapter_config.json", *factors = "adapter/adapter_model.safetensors";
  set("evaluate", adapter, "/r", 0, {"'r'", "0"});
  check({"evaluate", {}, 1, {factors, "found shape [2, 96], expected [3, 96]"}, [&](const Input& input) { input.set(adapter, "/r", 3); }});
  set("evaluate", adapter, "/r", 1L << 40U, {"'r'"});
  set("evaluate", adapter, "/peft_type", "IA3", {"peft_type", "IA3"});
  set("evaluate", adapter, "/use_dora", true, {"use_dora"});
  set("evaluate", adapter, "/lora_alpha", "much", {"lora_alpha"});
  set("evaluate", adapter, "/target_modules", {"c_attn"}, {"target_modules", "c_attn"});
  set("evaluate", adapter, "/target_modules", "(", {"target_modules"});
  set("evaluate", adapter, "/rank_pattern", {{"q_proj", 0}}, {"rank_pattern"});
  const std::string factor = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight";
  header("export_adapter", factors, {factor, "missing"}, [&](json& h) { h["other"] = h[factor], h.erase(factor); });
  header("export_adapter", factors, {"linden.train_ranks"}, [](json& h) { h["__metadata__"]["linden.train_ranks"] = "2,1"; });
  header("export_adapter", factors, {"linden.kind"}, [](json& h) { h["__metadata__"]["linden.kind"] = "mystery"; });
  overwrite("export_adapter", factors, std::numeric_limits<float>::infinity(), {"inf"});

  const auto row = [&](const std::string& line, std::vector<std::string> says) {
    says.emplace_back("train.jsonl, line 2");
    put("finetune", "train.jsonl", R"({"question": "q", "answer": "a"})" "\r\n" + line + "\n", std::move(says));
  };
  row("{\"question\": \"q\"", {"not JSON"});
  row("[1]", {"array", "object"});
  row(R"({"question": "q"})", {"question"});
  row(R"({"question": 3, "answer": "a"})", {"question", "number", "string"});
  row(R"({"question": null, "answer": "a"})", {"question", "null"});
  row(R"({"text": "t"})", {"another kind"});
  row("{\"question\": \"q\xFF\", \"answer\": \"a\"}", {"not JSON"});
  row(R"({"question": "\ud800", "answer": "a"})", {"not JSON"});
  row(std::string(1000, '['), {"not JSON"});
  row(std::string("{\"question\": \"q\0\", \"answer\": \"a\"}", 33), {"not JSON"});
  put("finetune", "train.jsonl", "\n \n\r\n", {"train.jsonl", "no rows"});
  put("evaluate", "train.jsonl", "\n", {"train.jsonl", "no rows"});

  const Options gsm8k{{"--data", nullptr}, {"--task", "gsm8k"}, {"--task-data", "@gsm8k"}, {"--shots", "1"}};
  put("evaluate", "gsm8k/test.jsonl", "{\"question\": \"q\", \"answer\": 7}\n", {"gsm8k/test.jsonl, line 1", "answer", "7"}, gsm8k);
  put("evaluate", "gsm8k/train.jsonl", "{}\n", {"gsm8k/train.jsonl, line 1", "question"}, gsm8k);
  const Options arc{{"--data", nullptr}, {"--task", "arc_challenge"}, {"--task-data", "@arc"}, {"--shots", "1"}};
  put("evaluate", "arc/test.jsonl", R"({"question": "q", "choices": {"text": ["a"], "label": ["A", "B"]}, "answerKey": "A"})", {"arc/test.jsonl, line 1", "choices"}, arc);
  put("evaluate", "arc/test.jsonl", R"({"question": "q", "choices": {"text": ["a"], "label": ["A"]}, "answerKey": "Z"})", {"arc/test.jsonl, line 1", "Z"}, arc);

  put("gradients", "ids.json", R"({"input_ids": [[1, 512]], "labels": [[-100, 2]]})", {"input_ids[0][1]", "512", "511"});
  put("gradients", "ids.json", R"({"input_ids": [[1, -1]], "labels": [[-100, 2]]})", {"input_ids[0][1]", "-1"});
  put("gradients", "ids.json", R"({"input_ids": [[1, 2]], "labels": [[-100, -5]]})", {"labels[0][1]", "-5"});
  put("gradients", "ids.json", R"({"input_ids": [[1, 2]], "labels": [[-100]]})", {"labels[0]", "1 labels for 2 ids"});
  put("gradients", "ids.json", R"({"input_ids": [[]], "labels": [[]]})", {"input_ids[0]", "0 tokens"});
  put("gradients", "ids.json", R"({"input_ids": [], "labels": []})", {"input_ids"});
  put("gradients", "ids.json", R"({"input_ids": [[1, 2]], "labels": [[-100, -100]]})", {"no label counts"});
  put("gradients", "ids.json", json({{"input_ids", {std::vector<int>(257, 1)}}, {"labels", {std::vector<int>(257, 1)}}}).dump(), {"257 tokens", "256"});
  put("gradients", "p.json", R"({"p": [1]})", {"1 weights", "2"});
  put("gradients", "p.json", R"({"p": [1, 1e999]})", {"p.json"});
  put("gradients", "p.json", R"({"p": [1, "x"]})", {"p[1]", "\"x\""});
  put("gradients", "p.json", R"({"p": [1, 2], "q": 1})", {"'q'"});

  set("report", "evaluation.json", "/ranks", {2, 1}, {"2,1"});
  set("report", "evaluation.json", "/ranks", {1}, {"values"});
  set("report", "evaluation.json", "/values", {0.5, "x"}, {"values"});
  set("report", "evaluation.json", "/aurac", nullptr, {"aurac"});
  put("report", "sweep/lr0.001-seed42/run.json", R"({"settings": {"learning_rate": -1, "seed": 1}})", {"lr0.001-seed42/run.json", "learning_rate"}, {{"--curve", "A=@sweep"}});
  put("report", "sweep/lr0.001-seed42/run.json", "{", {"lr0.001-seed42/run.json"}, {{"--curve", "A=@sweep"}});
  check({"report", {{"--curve", "A=@sweep"}}, 1, {"sweep"}});  // runs without evaluations
}

BOOST_AUTO_TEST_CASE(output_that_cannot_be_written) {
  const auto blocked = [](const char* program, const char* option, const char* place, bool prints = false) {
    check({program, {{option, place}}, 1, {"train.jsonl"}, [](const Input&) {}, prints});  // a file where a folder is due
  };
  blocked("finetune", "--output", "@train.jsonl/out");
  blocked("finetune", "--output", "@train.jsonl");
  blocked("evaluate", "--json", "@train.jsonl/out.json");
  blocked("export_adapter", "--output", "@train.jsonl/out");
  blocked("gradients", "--output", "@train.jsonl/out");
  blocked("problems", "--output", "@train.jsonl/out");
  blocked("report", "--json", "@train.jsonl/out", true);
  check({"gradients", {{"--output", "@none/out.safetensors"}}, 1, {"none"}});
  check({"gradients", {{"--output", "@model"}}, 1, {"model"}});
  check({"problems", {{"--output", "@none/out.jsonl"}}, 1, {"none"}});
  check({"problems", {{"--output", "@model"}}, 1, {"model"}});
  check({"report", {{"--json", "@none/out.json"}}, 1, {"none"}, [](const Input&) {}, true});
  check({"finetune", {{"--output", "@gsm8k/train.jsonl"}}, 1, {"gsm8k/train.jsonl"}});
}

BOOST_AUTO_TEST_CASE(there_were_many) {
  std::cout << cases << " bad inputs\n";
  BOOST_TEST(cases >= 150);
}
