#pragma once
/// \file
/// A Llama from a Hugging Face model directory. (Writing one: model/save_llama.hpp.)
/// Errors  DataError when a checkpoint is not of this configuration, naming every field that differs.

#include <algorithm>
#include <atomic>
#include <bit>
#include <filesystem>
#include <limits>
#include <linden/core/parallel.hpp>
#include <linden/io/hf_config.hpp>
#include <linden/io/hf_weights.hpp>
#include <linden/model/llama.hpp>
#include <memory>
#include <vector>

namespace linden {

/// config.json of a configuration.
template <LlamaConfiguration C>
[[nodiscard]] HfConfig hf_config() {
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
template <LlamaConfiguration C>
void check_config(const HfConfig& found, const std::filesystem::path& where) {
  const HfConfig expected = hf_config<C>();
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

namespace detail {

/// The shape a checkpoint must give the tensor of a view: a row has one axis there.
template <class S>
std::vector<std::uint64_t> stored_shape() {
  std::vector<std::uint64_t> shape{static_cast<std::uint64_t>(S::column_count)};
  if (S::axes == 2) shape.insert(shape.begin(), static_cast<std::uint64_t>(S::row_count));
  return shape;
}

/// What a FrozenLlama's weights refer to: mapped files, and the tensors that could not be used as they are stored.
template <Real T>
struct OpenCheckpoint {
  HfWeights files;
  std::vector<AlignedBuffer<T>> converted{};
};

template <class E>
bool is_aligned(std::span<const std::byte> bytes) {
  return reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(E) == 0;
}

/// Points `leaf` at the stored elements if their type allows, else at a converted copy.
template <Real T, class Leaf>
void bind_stored(Leaf& leaf, const std::string& name, OpenCheckpoint<T>& checkpoint) {
  using S = typename Leaf::shape;
  constexpr long rows = S::row_count, columns = S::column_count;
  const char* const label = leaf.name();
  const StoredTensor& stored = checkpoint.files.entry(name);
  if (stored.shape != stored_shape<S>())
    throw DataError(text(checkpoint.files.path().string(), ": tensor '", name, "': found shape ", shown(stored.shape),
                         ", expected ", shown(stored_shape<S>())));
  if constexpr (std::is_same_v<Leaf, StoredView<T, S>>)
    if (stored.dtype == Dtype::BF16 && is_aligned<bfloat16>(stored.bytes)) {
      const auto* const elements = reinterpret_cast<const bfloat16*>(stored.bytes.data());
      leaf = TensorView<const bfloat16, S>::strided(elements, rows, columns, columns).named(label);
      return;
    }
  const T* elements = nullptr;
  if (stored.dtype == dtype_of<T> && is_aligned<T>(stored.bytes)) {
    elements = reinterpret_cast<const T*>(stored.bytes.data());
  } else {
    AlignedBuffer<T>& copy = checkpoint.converted.emplace_back(static_cast<std::size_t>(rows * columns));
    checkpoint.files.read(name, stored.shape, copy.span());
    elements = copy.data();
  }
  leaf = TensorView<const T, S>::strided(elements, rows, columns, columns).named(label);
}

}  // namespace detail

/// The weights of a Hugging Face model directory, copied and converted to T.
template <LlamaConfiguration C, Real T>
[[nodiscard]] Llama<C, T> load_llama(const std::filesystem::path& directory) {
  check_config<C>(read_hf_config(directory), directory);
  const HfWeights file(directory);
  Llama<C, T> model;
  model.weights().for_each([&]<class View>(const std::string& name, View view) {
    file.read(name, detail::stored_shape<typename View::shape>(), view.span());
  });
  return model;
}

/// The model of a Hugging Face directory for reading only. Matrices stored as bfloat16 or as T are used where they lie in the
/// mapped files: nothing is read before it is needed, and processes share the pages. Others are converted to T.
template <LlamaConfiguration C, Real T>
[[nodiscard]] FrozenLlama<C, T> open_llama(const std::filesystem::path& directory) {
  check_config<C>(read_hf_config(directory), directory);
  auto checkpoint = std::make_shared<detail::OpenCheckpoint<T>>(detail::OpenCheckpoint<T>{HfWeights(directory)});
  FrozenWeights<C, T> weights;
  weights.for_each([&](const std::string& name, auto& leaf) { detail::bind_stored(leaf, name, *checkpoint); });
  if (C::tied) weights.head = weights.embedding;
  return {std::move(weights), std::move(checkpoint)};
}

namespace detail {

/// NaN or infinite: the exponent's bits, those of infinity, are all set. (A test of bits is a loop that compilers vectorise.)
template <class E>
[[nodiscard]] constexpr bool is_not_finite(E element) {
  using Bits = std::conditional_t<sizeof(E) == 2, std::uint16_t, std::conditional_t<sizeof(E) == 4, std::uint32_t, std::uint64_t>>;
  constexpr auto exponent = std::bit_cast<Bits>(E(std::numeric_limits<float>::infinity()));
  return (std::bit_cast<Bits>(element) & exponent) == exponent;
}

/// The place of the first element that is not finite, or `size`.
template <class E>
[[nodiscard]] long find_not_finite(const E* elements, long size) {
  std::atomic<long> first = size;
  parallel_for(size, 1, [&](long begin, long end) {
    bool any = false;
    for (long i = begin; i < end; ++i) any |= is_not_finite(elements[i]);
    if (!any) return;
    const long found = std::find_if(elements + begin, elements + end, is_not_finite<E>) - elements;
    for (long known = first; found < known && !first.compare_exchange_weak(known, found);) {}
  });
  return first;
}

}  // namespace detail

/// Refuses a model, opened from `directory`, with weights that are not finite, naming the first of them: nothing could be computed
/// with it. Reads every weight once.
template <LlamaConfiguration C, Real T>
void check_finite(const FrozenLlama<C, T>& model, const std::filesystem::path& directory) {
  FrozenWeights<C, T> weights = model.weights();
  weights.for_each([&]<class Leaf>(const std::string& name, const Leaf& leaf) {
    const auto refuse = [&](auto elements) {
      const long size = leaf.rows() * leaf.columns(), at = detail::find_not_finite(elements, size);
      if (at == size) return;
      throw DataError(text(directory.string(), ": tensor '", name, "': element [", at / leaf.columns(), ", ", at % leaf.columns(), "] is ",
                           double(elements[at]), ", expected a finite number"));
    };
    if constexpr (requires { leaf.half(); })
      if (leaf.half() != nullptr) return refuse(leaf.half());
    refuse(leaf.data());
  });
}

}  // namespace linden
