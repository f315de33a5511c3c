#pragma once
/// \file
/// A Llama whose numbers the compiler knows, with its weights in memory, and the passes through it.
/// Shapes  a batch is packed: ids, positions, targets [tokens], spans [sequences, 4].
/// Memory  activations: hidden states of every layer boundary, what each block keeps for backward, one workspace for all.
/// Errors  DataError when a checkpoint is not of this configuration, naming every field that differs.

#include <filesystem>
#include <linden/backend/executor.hpp>
#include <linden/core/random.hpp>
#include <linden/io/hf_config.hpp>
#include <linden/io/hf_weights.hpp>
#include <linden/model/parameters.hpp>

namespace linden {

/// A model's weights in one flat buffer.
template <LlamaConfiguration C, Real T>
class Llama {
 public:
  using configuration = C;
  using element = T;

  Llama() : memory_(static_cast<std::size_t>(LlamaWeights<C, T>::count())), weights_(memory_.data()) {}

  /// The weights of a Hugging Face model directory.
  static Llama load(const std::filesystem::path& directory) {
    check_config(read_hf_config(directory), directory);
    const HfWeights file(directory);
    Llama model;
    model.weights_.for_each([&](const std::string& name, auto view) {
      std::vector<std::uint64_t> shape{static_cast<std::uint64_t>(view.columns())};
      if (decltype(view)::shape::axes == 2) shape.insert(shape.begin(), static_cast<std::uint64_t>(view.rows()));
      file.read(name, shape, view.span());
    });
    return model;
  }

  /// Random weights: normal with the given standard deviation, norms 1.
  static Llama random(std::uint64_t seed, double deviation = 0.02) {
    Llama model;
    NormalRandom normal(seed);
    model.weights_.for_each([&](const std::string&, auto view) {
      for (T& element : view.span())
        element = decltype(view)::shape::axes == 1 ? T(1) : static_cast<T>(deviation * normal());
    });
    return model;
  }

  [[nodiscard]] LlamaWeights<C, T>& weights() { return weights_; }
  [[nodiscard]] const LlamaWeights<C, T>& weights() const { return weights_; }
  [[nodiscard]] std::span<T> parameters() { return memory_.span(); }

  /// config.json of this configuration.
  static HfConfig config() {
    HfConfig c;
    c.hidden_size = C::hidden;
    c.intermediate_size = C::intermediate;
    c.num_hidden_layers = C::layers;
    c.num_attention_heads = C::heads;
    c.num_key_value_heads = C::kv_heads;
    c.head_dim = C::head_size;
    c.vocab_size = C::vocabulary;
    c.max_position_embeddings = C::positions;
    c.rms_norm_eps = C::epsilon;
    c.rope_theta = C::theta;
    c.tie_word_embeddings = C::tied;
    if (C::scaling.factor != 1)
      c.rope_scaling = RopeScaling{C::scaling.factor, C::scaling.low_frequency_factor, C::scaling.high_frequency_factor,
                                   C::scaling.original_positions};
    return c;
  }

  /// Refuses a config.json of another model, naming each field that differs with both values.
  static void check_config(const HfConfig& found, const std::filesystem::path& where) {
    const HfConfig expected = config();
    std::string differences;
    const auto compare = [&differences](const char* field, auto f, auto e) {
      if (f != e) differences += text(differences.empty() ? "" : "; ", field, " is ", f, ", expected ", e);
    };
    compare("hidden_size", found.hidden_size, expected.hidden_size);
    compare("intermediate_size", found.intermediate_size, expected.intermediate_size);
    compare("num_hidden_layers", found.num_hidden_layers, expected.num_hidden_layers);
    compare("num_attention_heads", found.num_attention_heads, expected.num_attention_heads);
    compare("num_key_value_heads", found.num_key_value_heads, expected.num_key_value_heads);
    compare("head_dim", found.head_dim, expected.head_dim);
    compare("vocab_size", found.vocab_size, expected.vocab_size);
    compare("rms_norm_eps", found.rms_norm_eps, expected.rms_norm_eps);
    compare("rope_theta", found.rope_theta, expected.rope_theta);
    compare("tie_word_embeddings", found.tie_word_embeddings, expected.tie_word_embeddings);
    const auto factor = [](const HfConfig& c) { return c.rope_scaling ? c.rope_scaling->factor : 1.0; };
    compare("rope_scaling.factor", factor(found), factor(expected));
    if (found.rope_scaling && expected.rope_scaling && !(*found.rope_scaling == *expected.rope_scaling))
      differences += text(differences.empty() ? "" : "; ", "rope_scaling differs");
    if (!differences.empty())
      throw DataError(text((where / "config.json").string(), ": not the compiled configuration ", C::name, ": ", differences));
  }

 private:
  AlignedBuffer<T> memory_;
  LlamaWeights<C, T> weights_;
};

/// The inputs all layers share for one packed batch: angles per token and the sequences' places.
template <LlamaConfiguration C, Real T>
class PackedInputs {
 public:
  /// positions [tokens]; spans [sequences, 4], row-major.
  void set(std::span<const std::int32_t> positions, std::span<const std::int32_t> spans) {
    tokens_ = static_cast<long>(positions.size());
    constexpr long half = C::head_size / 2;
    for (const std::int32_t p : positions)
      if (p < 0 || p >= C::positions)
        throw ShapeError(text("linden: position ", p, " lies outside the ", C::positions, " positions of ", C::name));
    angles_.reserve(static_cast<std::size_t>(2 * tokens_ * half));
    rotary_angles<T>(positions, C::head_size, C::theta, C::scaling, cosine(), sine());
    spans_ = TensorView<const std::int32_t, Shape<sequences, 4>>(spans.data(), static_cast<long>(spans.size()) / 4)
                 .named("spans");
  }
  [[nodiscard]] auto angles() const {
    using View = TensorView<T, Shape<tokens, C::head_size / 2>>;
    typename LlamaLayer<C>::template Angles<Bound<T>> record;
    record.cosine = View(cosine(), tokens_).named("cosine");
    record.sine = View(sine(), tokens_).named("sine");
    return record;
  }
  [[nodiscard]] auto spans() const { return spans_; }
  [[nodiscard]] long token_count() const { return tokens_; }

 private:
  [[nodiscard]] T* cosine() const { return angles_.data(); }
  [[nodiscard]] T* sine() const { return angles_.data() + tokens_ * (C::head_size / 2); }

  AlignedBuffer<T> angles_;
  TensorView<const std::int32_t, Shape<sequences, 4>> spans_;
  long tokens_ = 0;
};

}  // namespace linden
