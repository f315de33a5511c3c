#pragma once
/// \file
/// What a pass over packed tokens reads beside the weights, where the kernels of a backend read it: ids, targets, rotary angles,
/// the sequences' places, the rows of P, adapter factors.
/// Types   T is what kernels compute with. On the CPU nothing is copied; on a device everything is, rounded to T.
/// Errors  ShapeError for a position, an id or a target the model does not have: devices do not look.

#include <linden/backend/host.hpp>
#include <limits>
#include <linden/model/llama.hpp>
#include <span>
#include <vector>

namespace linden {

namespace detail {

/// What numbers are on the CPU that kernels compute with as T.
template <class T>
using Arithmetic = std::conditional_t<narrow<T>, float, T>;

/// Elements for kernels: rounded to T where they are not of it, and where the backend reads them.
template <class T, class Backend>
class Placed {
 public:
  void set(const Backend& backend, std::span<const Arithmetic<T>> elements) {
    if constexpr (std::is_same_v<T, Arithmetic<T>>) {
      data_ = backend.place(elements, buffer_);
    } else {
      rounded_.clear();
      for (const Arithmetic<T> element : elements) rounded_.push_back(static_cast<T>(element));
      data_ = backend.place(std::span<const T>(rounded_), buffer_);
    }
  }
  [[nodiscard]] const T* data() const { return data_; }

 private:
  typename Backend::template Buffer<T> buffer_;
  std::vector<T> rounded_;
  const T* data_ = nullptr;
};

/// Packed tokens and the P of each.
template <LlamaConfiguration C, class T, class Backend>
class PlacedBatch {
 public:
  /// ids, targets (may be empty) and positions [tokens]; spans [sequences, 4]; all but the positions must outlive the pass.
  void set(const Backend& backend, std::span<const std::int32_t> ids, std::span<const std::int32_t> targets,
           std::span<const std::int32_t> positions, std::span<const std::int32_t> spans, const RankRows<Arithmetic<T>>& rows) {
    inputs_.set(positions, spans);
    check_vocabulary(ids, "id", 0);
    check_vocabulary(targets, "target", std::numeric_limits<std::int32_t>::min());  // negative: none
    ids_ = backend.place(ids, id_buffer_);
    targets_ = backend.place(targets, target_buffer_);
    spans_ = backend.place(spans, span_buffer_);
    sequences_ = static_cast<long>(spans.size()) / 4;
    cosine_.set(backend, inputs_.angles().cosine.span());
    sine_.set(backend, inputs_.angles().sine.span());
    rows_ = place_rows(backend, rows);
  }
  [[nodiscard]] long token_count() const { return inputs_.token_count(); }
  [[nodiscard]] auto ids() const { return Tokens(ids_, token_count()).named("ids"); }
  [[nodiscard]] auto targets() const { return Tokens(targets_, token_count()).named("targets"); }
  [[nodiscard]] auto spans() const {
    return TensorView<const std::int32_t, Shape<sequences, 4>>(spans_, sequences_).named("spans");
  }
  [[nodiscard]] auto angles() const {
    using View = TensorView<const T, Shape<tokens, C::head_size / 2>>;
    typename LlamaLayer<C>::template Angles<Bound<const T>> record;
    record.cosine = View(cosine_.data(), token_count()).named("cosine");
    record.sine = View(sine_.data(), token_count()).named("sine");
    return record;
  }
  [[nodiscard]] ModuleRows<Bound<const T>> rows() const { return rows_.view(token_count()); }

 private:
  using Tokens = TensorView<const std::int32_t, Shape<tokens>>;
  using Ids = typename Backend::template Buffer<std::int32_t>;

  static void check_vocabulary(std::span<const std::int32_t> ids, const char* what, std::int32_t lowest) {
    for (const std::int32_t id : ids)
      if (id < lowest || id >= C::vocabulary)
        throw ShapeError(text("linden: ", what, " ", id, " lies outside the vocabulary of ", C::vocabulary, " of ", C::name));
  }

  /// Kinds that share their rows go on doing so.
  RankRows<T> place_rows(const Backend& backend, const RankRows<Arithmetic<T>>& rows) {
    std::array<typename RankRows<T>::Rows, module_kinds> placed;
    for (std::size_t kind = 0; kind < module_kinds; ++kind) {
      const auto& from = rows.of(kind);
      std::size_t same = 0;
      while (rows.of(same) != from) ++same;
      const long elements = from.stride == 0 ? from.active_rank : token_count() * from.stride;
      if (same == kind) row_elements_[kind].set(backend, std::span(from.data, static_cast<std::size_t>(elements)));
      placed[kind] = {row_elements_[same].data(), from.active_rank, from.stride};
    }
    return RankRows<T>(placed);
  }

  PackedInputs<C, Arithmetic<T>> inputs_;
  Ids id_buffer_, target_buffer_, span_buffer_;
  const std::int32_t *ids_ = nullptr, *targets_ = nullptr, *spans_ = nullptr;
  long sequences_ = 0;
  Placed<T, Backend> cosine_, sine_;
  std::array<Placed<T, Backend>, module_kinds> row_elements_;
  RankRows<T> rows_;
};

}  // namespace detail

}  // namespace linden
