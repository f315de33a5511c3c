// Encoding and decoding speed on GSM8K (question and answer of every row, one text each), one thread, and the time to
// load.
//   LINDEN_SHARED          folder with data/gsm8k and models/stories260K (SentencePiece-style, 512 tokens)
//   LINDEN_LLAMA3_TOKENIZER  a byte-level tokenizer: a Llama 3 model folder, its tokenizer.json or tokenizer.model
// A benchmark whose files are absent says so and is skipped.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <linden/data/tokenizer.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace {
using namespace linden;

std::filesystem::path from_environment(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

/// GSM8K, some 4.7 MB.
const std::vector<std::string>& texts() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> list;
    for (const char* split : {"train.jsonl", "test.jsonl"}) {
      std::ifstream file(from_environment("LINDEN_SHARED") / "data" / "gsm8k" / split);
      for (std::string line; std::getline(file, line);) {
        const auto row = nlohmann::json::parse(line);
        for (const char* key : {"question", "answer"}) list.push_back(row.at(key).get<std::string>());
      }
    }
    return list;
  }();
  return all;
}

bool skipped(benchmark::State& state, const std::filesystem::path& tokenizer) {
  const bool absent = tokenizer.empty() || !std::filesystem::exists(tokenizer) || texts().empty();
  if (absent) state.SkipWithError("set LINDEN_SHARED and LINDEN_LLAMA3_TOKENIZER");
  return absent;
}

void encode(benchmark::State& state, const std::filesystem::path& path) {
  if (skipped(state, path)) return;
  const auto tokenizer = Tokenizer::load(path);
  std::size_t bytes = 0, tokens = 0;
  for (auto _ : state)
    for (const std::string& text : texts()) {
      tokens += tokenizer.encode(text, true).size();
      bytes += text.size();
    }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
  state.counters["bytes/token"] = static_cast<double>(bytes) / static_cast<double>(tokens);
}

void decode(benchmark::State& state, const std::filesystem::path& path) {
  if (skipped(state, path)) return;
  const auto tokenizer = Tokenizer::load(path);
  std::vector<std::vector<std::int32_t>> all;
  for (const std::string& text : texts()) all.push_back(tokenizer.encode(text, true));
  std::size_t bytes = 0;
  for (auto _ : state)
    for (const auto& ids : all) bytes += tokenizer.decode(ids).size();
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}

void load(benchmark::State& state, const std::filesystem::path& path) {
  if (skipped(state, path)) return;
  for (auto _ : state) benchmark::DoNotOptimize(Tokenizer::load(path).size());
}

const std::filesystem::path small = from_environment("LINDEN_SHARED") / "models" / "stories260K";
const std::filesystem::path llama3 = from_environment("LINDEN_LLAMA3_TOKENIZER");
}  // namespace

BENCHMARK_CAPTURE(encode, byte_level, llama3)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, sentencepiece, small)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(decode, byte_level, llama3)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(decode, sentencepiece, small)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(load, byte_level, llama3)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(load, sentencepiece, small)->Unit(benchmark::kMillisecond);
