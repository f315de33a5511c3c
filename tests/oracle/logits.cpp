// What are the logits of every token of some sequences? For peft_export.py, which compares them with transformers'.
//     logits --model DIR [--adapter DIR [--rank R] [--inference prefix|weighted]] --ids ids.json --output
//     logits.safetensors
// ids.json    {"input_ids": [[1, 403]], "labels": [[1, 403]]}: labels are not used
// the output  one tensor `logits` [tokens of all sequences, vocabulary], F32
#include <linden/model/cached_forward.hpp>
#include <linden/model/checkpoint.hpp>
#include <linden/model/select.hpp>
#include <map>

#include "support/cli.hpp"
#include "support/token_file.hpp"
#include "tiny_llama3.hpp"

namespace {
using namespace linden;

struct Arguments {
  std::filesystem::path model, adapter, ids, output;
  int rank = 0;
  Inference inference = Inference::prefix;
};

template <class C>
void compute(const Arguments& a) {
  const auto model = open_llama<C, float>(a.model);
  const auto adapter = a.adapter.empty() ? LlamaAdapter<C, float>({}) : LlamaAdapter<C, float>::load(a.adapter);
  const int full_rank = a.adapter.empty() ? 0 : adapter.description().full_rank, rank = a.rank > 0 ? a.rank : full_rank;
  const Batch batch = examples::read_token_file(a.ids, C::vocabulary, C::positions);

  std::vector<CachedTokens> sequences;
  for (std::size_t s = 0; s + 1 < batch.offsets.size(); ++s) {
    const auto first = static_cast<std::size_t>(batch.offsets[s]),
               last = static_cast<std::size_t>(batch.offsets[s + 1]);
    sequences.push_back({std::span(batch.ids).subspan(first, last - first), batch.offsets[s], 0, rank});
  }
  const auto count = static_cast<std::size_t>(batch.offsets.back());
  CachedForward<C, float> forward(model, adapter, a.inference);
  forward.reserve(static_cast<long>(count));
  std::vector<float> logits(count * static_cast<std::size_t>(C::vocabulary));
  forward.logits(forward.run(sequences),
                 TensorView<float, Shape<tokens, C::vocabulary>>(logits.data(), static_cast<long>(count)));
  const std::vector<std::uint64_t> shape{count, static_cast<std::uint64_t>(C::vocabulary)};
  write_safetensors(a.output, std::vector{stored_tensor<float>("logits", shape, logits)});
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Logits of every token, as a safetensors file.");
  Arguments a;
  app.add_option("--model", a.model, "Hugging Face model directory")->required();
  auto* adapter = app.add_option("--adapter", a.adapter, "PEFT directory");
  app.add_option("--rank", a.rank, "rank to read the adapter at (default: its full rank)")->needs(adapter);
  const std::map<std::string, Inference> inferences{{"prefix", Inference::prefix}, {"weighted", Inference::weighted}};
  app.add_option("--inference", a.inference, "how the adapter is read")->transform(CLI::CheckedTransformer(inferences));
  app.add_option("--ids", a.ids, "JSON file with input_ids and labels")->required();
  app.add_option("--output", a.output, "safetensors file to write")->required();
  return examples::run_program(argc, argv, app, [&] {
    with_configuration<Configurations<Stories260K, TinyLlama3>>(a.model, [&]<class C>(C) { compute<C>(a); });
  });
}
