// What are the loss and every gradient of an adapter on given tokens? Written as tensors, to compare with another
// framework.
//     cmake --build build/release --target gradients
//     gradients --model DIR --adapter DIR --ids ids.json --weighting p.json --double --output gradients.safetensors
// ids.json        {"input_ids": [[1, 403, 407]], "labels": [[-100, 403, 407]]}   labels as in transformers, -100: not
// learned p.json          {"p": [4, 3, 2, 2, 1, 1, 1, 1]}                                one weight for each of the
// adapter's ranks the output      `loss` (shape [], the mean over the labels that count) and a tensor for each PEFT
// weight, under its name and
//                 in its shape, F32 or (--double) F64
#include <iostream>
#include <linden/io/safetensors.hpp>

#include "support/cli.hpp"
#include "support/instances.hpp"
#include "support/token_file.hpp"

namespace {
using namespace linden;
using namespace linden::examples;

struct Options {
  std::filesystem::path model, adapter, ids, weighting, output;
  bool in_double = false;
};

/// The tensors of one output file; PEFT stores the transpose of what is in memory.
template <class T>
class GradientFile {
 public:
  template <class View>
  void add(const std::string& name, View view) {
    Stored stored{"base_model.model." + name + ".weight", {}, {}};
    for (long j = 0; j < view.columns(); ++j)
      for (long i = 0; i < view.rows(); ++i) stored.values.push_back(view(i, j));
    stored.shape = {static_cast<std::uint64_t>(view.columns()), static_cast<std::uint64_t>(view.rows())};
    tensors_.push_back(std::move(stored));
  }
  void write(const std::filesystem::path& path, double loss) const {
    const T value = static_cast<T>(loss);
    std::vector<StoredTensor> list{stored_tensor<T>("loss", {}, std::span(&value, 1))};
    for (const Stored& s : tensors_) list.push_back(stored_tensor<T>(s.name, s.shape, s.values));
    write_safetensors(path, list);
  }

 private:
  struct Stored {
    std::string name;
    std::vector<std::uint64_t> shape;
    std::vector<T> values;
  };
  std::vector<Stored> tensors_;
};

/// Models small enough that their weights are looked at in double.
template <class C>
inline constexpr bool small = C::hidden <= 128;

template <class C, class T>
void compute(const Options& options) {
  const auto model = open_llama<C, T>(options.model);
  check_finite(model, options.model);
  auto adapter = LlamaAdapter<C, T>::load(options.adapter);
  const int R = adapter.description().full_rank;
  const Batch batch = read_token_file(options.ids, C::vocabulary, C::positions);
  const std::vector<T> p = read_weighting_file<T>(options.weighting, R);

  LlamaAdapter<C, T> zeros(adapter.description());  // gradients have the adapter's layout and are added to
  AdapterPass<C, T> pass;
  const double loss = pass.run(model, adapter.factors(), RankRows<T>{p.data(), R, /*stride=*/0}, zeros.factors(), batch,
                               1.0 / static_cast<double>(batch.counted));

  GradientFile<T> file;
  AdapterFactors<C, T> gradients = zeros.factors();
  gradients.for_each([&](const std::string& name, auto view) { file.add(name, view); });
  file.write(options.output, loss);
  std::cout.precision(std::numeric_limits<T>::max_digits10);
  std::cout << "loss " << loss << "  labels " << batch.counted << "  written to " << options.output.string() << '\n';
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Loss and adapter gradients on given token ids, as a safetensors file.");
  Options options;
  app.add_option("--model", options.model, "Hugging Face model directory")->required();
  app.add_option("--adapter", options.adapter, "PEFT adapter directory")->required();
  app.add_option("--ids", options.ids, "JSON file with input_ids and labels")->required();
  app.add_option("--weighting", options.weighting, "JSON file with p, one weight a rank")->required();
  app.add_option("--output", options.output, "safetensors file to write")->required();
  app.add_flag("--double", options.in_double, "compute and write in double precision");
  return run_program(argc, argv, app, [&] {
    with_configuration<CompiledConfigurations>(options.model, [&]<class C>(C) {
      if (!options.in_double) return compute<C, float>(options);
      if constexpr (small<C>)
        compute<C, double>(options);
      else
        throw UsageError(text("--double: ", C::name, " has ", C::hidden, " hidden columns, double is for 128 at most"));
    });
  });
}
// prints one line, for the golden batch of the tests with --double:
//     loss 9.8752272421322864  labels 47  written to gradients.safetensors
