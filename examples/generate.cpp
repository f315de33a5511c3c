// What does the model say, with its adapter at a rank of my choice?
//   cmake --build build/release --target generate
//   build/release/bin/generate --model DIR [--adapter DIR --rank R] --prompt "Once upon a time" --max-tokens 60 --greedy
#include <linden/io/hf_config.hpp>

#include "support/device_options.hpp"
#include "support/model_tokenizer.hpp"

namespace {
using namespace linden;

struct Arguments {
  examples::EngineOptions engine;
  std::string adapter, prompt;
  int rank = 0;
  std::size_t max_tokens = 128;
  bool greedy = false;
  double temperature = 1;
  std::uint64_t seed = 42;
};

void declare(CLI::App& app, Arguments& a) {
  app.add_option("--model", a.engine.model, "Hugging Face model directory")->required();
  auto* adapter = app.add_option("--adapter", a.adapter, "PEFT directory");
  app.add_option("--rank", a.rank, "rank to read the adapter at (default: its full rank)")->needs(adapter)->check(examples::whole_number(1));
  app.add_option("--prompt", a.prompt, "text to continue")->required();
  app.add_option("--max-tokens", a.max_tokens, "new tokens, at most")->capture_default_str()->check(examples::whole_number(0));
  app.add_flag("--greedy", a.greedy, "always the most likely token");
  app.add_option("--temperature", a.temperature, "of sampling")->capture_default_str()->check(examples::positive_number());
  app.add_option("--seed", a.seed, "of sampling")->capture_default_str()->check(examples::seed_number());
  examples::add_device_options(app, a.engine);
}

void generate(const Arguments& a) {
  const auto engine = examples::make_engine(a.engine);
  const auto tokenizer = examples::load_tokenizer(a.engine, *engine);
  const auto model = engine->adapted(a.adapter, {});
  const int r = a.adapter.empty() ? 0 : a.rank > 0 ? a.rank : model->description().full_rank;
  examples::check_ranks(std::vector{r}, model->description());

  const std::vector<std::vector<std::int32_t>> prompts{tokenizer.encode(a.prompt, true)};
  GenerateOptions options{.max_tokens = a.max_tokens, .stop = read_eos_ids(a.engine.model)};
  options.stop.push_back(tokenizer.eos());
  options.temperature = a.greedy ? 0 : a.temperature;
  options.seed = a.seed;
  std::vector<std::int32_t> ids = prompts[0];
  std::string shown = tokenizer.decode(ids);
  std::cout << shown << std::flush;
  options.on_token = [&](std::size_t, std::int32_t id) {  // shows the text as it grows
    ids.push_back(id);
    const std::string longer = tokenizer.decode(ids);
    std::cout << longer.substr(std::min(shown.size(), longer.size())) << std::flush;
    shown = longer;
    return true;
  };
  model->generate(prompts, std::vector{r}, options, [](std::size_t, std::size_t, const std::vector<std::int32_t>&) {});
  std::cout << "\n";
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Continues a text.");
  Arguments a;
  declare(app, a);
  return linden::examples::run_program(argc, argv, app, [&] { generate(a); });
}
