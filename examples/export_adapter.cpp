// How do I use an adapter, at the rank of my choice, in programs that know nothing of linden?
//   cmake --build build/release --target export_adapter
//   build/release/bin/export_adapter --model DIR --adapter DIR --rank 8 --format peft --output DIR
// peft    the prefix of that rank as a PEFT directory: transformers, vLLM; with --llama-cpp also for its converter
// merged  base model plus adapter as a checkpoint of its own
// linden  the prefix with its metadata, to go on with here
// What was written is read back and compared before the program says so.
#include <linden/io/merge_peft.hpp>
#include <linden/model/llama_adapter.hpp>
#include <linden/model/select.hpp>
#include <map>

#include "support/cli.hpp"
#include "support/instances.hpp"

namespace {
using namespace linden;
using linden::examples::parse_list;

struct Arguments {
  std::string model, adapter, rank, format, output, inference = "prefix", dtype;
  PeftExport peft;
  MergeOptions merge;
};

void declare(CLI::App& app, Arguments& a) {
  app.add_option("--model", a.model, "Hugging Face model directory")->required();
  app.add_option("--adapter", a.adapter, "PEFT directory")->required();
  app.add_option("--rank", a.rank, "rank to cut to, a list of ranks, or all: every train rank")->required();
  app.add_option("--format", a.format, "peft, merged or linden")
      ->required()
      ->check(CLI::IsMember({"peft", "merged", "linden"}));
  app.add_option("--output", a.output, "directory; several ranks go to rank-R in it")->required();
  app.add_option("--inference", a.inference,
                 "drop MatryoshkaLoRA's p as the paper does (prefix), or keep it (weighted)")
      ->capture_default_str()
      ->check(CLI::IsMember({"prefix", "weighted"}));
  app.add_flag("--llama-cpp", a.peft.one_alpha,
               "of peft: one lora_alpha and no rslora, as llama.cpp's converter expects");
  app.add_option("--dtype", a.dtype, "of merged weights, f32 or bf16 (default: the model's)")
      ->check(CLI::IsMember({"f32", "bf16"}));
}

void check_options(Arguments& a) {
  if (!a.dtype.empty() && a.format != "merged") throw UsageError("--dtype is for --format merged");
  if (a.peft.one_alpha && a.format != "peft") throw UsageError("--llama-cpp is for --format peft");
  if (a.inference == "weighted" && a.format == "linden")
    throw UsageError("--inference weighted is for --format peft and merged; linden keeps the train ranks, which say p");
  if (a.inference == "weighted") a.peft.inference = Inference::weighted;
  if (!a.dtype.empty()) a.merge.dtype = a.dtype == "f32" ? Dtype::F32 : Dtype::BF16;
}

/// Where each rank goes.
std::map<int, std::filesystem::path> outputs(const Arguments& a, const RankSet& train_ranks) {
  const std::vector<int> ranks =
      a.rank == "all" ? std::vector<int>(train_ranks.begin(), train_ranks.end()) : parse_list<int>(a.rank);
  std::map<int, std::filesystem::path> list;
  const bool is_one = a.rank != "all" && ranks.size() == 1;
  const std::filesystem::path output = (std::filesystem::path(a.output) / "").parent_path();
  for (const int r : ranks) list[r] = is_one ? output : output / text("rank-", r);
  for (const auto& [r, directory] : list)
    if (file_exists(directory) && !std::filesystem::is_empty(directory))
      throw UsageError(text(directory.string(), ": is not empty"));
  return list;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(std::as_bytes(std::span(a)), std::as_bytes(std::span(b)));
}

/// What the directory holds must be `written`, bit for bit.
void check_peft(const PeftAdapter& written, const std::filesystem::path& directory,
                std::span<const ExpectedModule> modules) {
  const PeftAdapter found = load_peft(directory, modules);
  if (found.modules.size() != written.modules.size())
    throw DataError(text(directory.string(), ": holds other modules"));
  for (std::size_t i = 0; i < found.modules.size(); ++i) {
    const PeftModule &a = found.modules[i], &b = written.modules[i];
    if (a.path != b.path || found.scale(a.path) != written.scale(b.path) || !same_bits(a.lora_a, b.lora_a) ||
        !same_bits(a.lora_b, b.lora_b))
      throw DataError(text(directory.string(), ": '", a.path, "' is not what was written"));
  }
}

template <class C>
void export_rank(const Arguments& a, const LlamaAdapter<C, float>& adapter, int r, const std::string& base_model,
                 const std::filesystem::path& directory) {
  const auto modules = LlamaAdapter<C, float>::modules();
  if (a.format == "linden") {
    const auto prefix = adapter.prefix(r);
    prefix.save(directory, base_model);
    check_peft(prefix.peft(r, base_model), directory, modules);
    if (peft_metadata(LlamaAdapter<C, float>::load(directory).description()) != peft_metadata(prefix.description()))
      throw DataError(text(directory.string(), ": its metadata are not what was written"));
    return;
  }
  const PeftAdapter file = adapter.peft(r, base_model, a.peft);
  if (a.format == "peft") {
    save_peft(directory, file);
    check_peft(file, directory, modules);
  } else {
    merge_peft(a.model, file, directory, a.merge);
    check_merged(a.model, file, directory, a.merge);
  }
}

template <class C>
void export_adapter(Arguments& a) {
  check_options(a);
  const auto adapter = LlamaAdapter<C, float>::load(a.adapter);
  const std::string named = read_peft_config(a.adapter).base_model, base_model = named.empty() ? a.model : named;
  const AdapterDescription& description = adapter.description();
  const auto list = outputs(a, description.train_ranks);
  for (const auto& [r, directory] : list) (void)peft_settings(description, r);  // refuses before anything is written
  for (const auto& [r, directory] : list) {
    export_rank<C>(a, adapter, r, base_model, directory);
    std::cout << "rank " << r << " of " << description.full_rank << ": " << directory.string()
              << ", read back and equal\n";
  }
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Writes an adapter at one or more of its ranks for other programs.");
  Arguments a;
  declare(app, a);
  return linden::examples::run_program(argc, argv, app, [&] {
    with_configuration<CompiledConfigurations>(a.model, [&]<class C>(C) { export_adapter<C>(a); });
  });
}
