#pragma once
/// \file
/// One Llama block as functions the compiler traces: with adapters on its seven projections (base frozen), and without (every
/// weight trainable). Compiled once, run for every layer.
/// Shapes  x [tokens, hidden], packed sequences; spans [sequences, 4] as in ops/attention.hpp.
/// Source  transformers, modeling_llama (eager path).

#include <linden/adapter/low_rank.hpp>
#include <linden/model/llama_config.hpp>
#include <linden/model/module_kinds.hpp>
#include <linden/ops/attention.hpp>
#include <linden/ops/cross_entropy.hpp>
#include <linden/ops/embedding.hpp>
#include <linden/ops/norm.hpp>

namespace linden {

/// The parts and the whole of one block of the model C, as functions to trace.
template <LlamaConfiguration C>
struct LlamaLayer {
  static constexpr long query_columns = C::heads * C::head_size;  ///< columns of all query heads
  static constexpr long kv_columns = C::kv_heads * C::head_size;  ///< columns of all heads of keys, and of values
  using Hidden = Expr<Shape<tokens, C::hidden>>;                  ///< x
  using Spans = Ids<Shape<sequences, 4>>;                         ///< first query, queries, first key, keys of every sequence
  using Rows = ModuleRows<Symbolic>;                              ///< P of every kind

  /// The layer's weights, [out, in] each; names follow "model.layers.N." in Hugging Face checkpoints.
  template <class Mode>
  struct Weights {
    template <long... E>
    using Leaf = typename Mode::template tensor<Shape<E...>>;       ///< a weight of these extents
    Leaf<C::hidden> input_norm{"input_layernorm.weight"};           ///< of the RMSNorm before attention
    Leaf<query_columns, C::hidden> q{"self_attn.q_proj.weight"};    ///< queries
    Leaf<kv_columns, C::hidden> k{"self_attn.k_proj.weight"};       ///< keys
    Leaf<kv_columns, C::hidden> v{"self_attn.v_proj.weight"};       ///< values
    Leaf<C::hidden, query_columns> o{"self_attn.o_proj.weight"};    ///< attention's output
    Leaf<C::hidden> post_norm{"post_attention_layernorm.weight"};   ///< of the RMSNorm before the feed-forward network
    Leaf<C::intermediate, C::hidden> gate{"mlp.gate_proj.weight"};  ///< what SiLU is applied to
    Leaf<C::intermediate, C::hidden> up{"mlp.up_proj.weight"};      ///< what the gate is multiplied with
    Leaf<C::hidden, C::intermediate> down{"mlp.down_proj.weight"};  ///< the feed-forward network's output
  };

  /// The layer's adapters, each kind with a rank of its own; names follow "model.layers.N." and precede ".weight" in PEFT
  /// files (transposed there).
  template <class Mode>
  struct Adapters {
    template <long In, long Out, ModuleKind Kind>
    using Factors = typename LowRank<In, Out, rank_of(Kind)>::template Factors<Mode>;  ///< A and B of a module of this kind
    Factors<C::hidden, query_columns, ModuleKind::q> q{{"self_attn.q_proj.lora_A"}, {"self_attn.q_proj.lora_B"}};  ///< queries
    Factors<C::hidden, kv_columns, ModuleKind::k> k{{"self_attn.k_proj.lora_A"}, {"self_attn.k_proj.lora_B"}};     ///< keys
    Factors<C::hidden, kv_columns, ModuleKind::v> v{{"self_attn.v_proj.lora_A"}, {"self_attn.v_proj.lora_B"}};     ///< values
    /// Attention's output.
    Factors<query_columns, C::hidden, ModuleKind::o> o{{"self_attn.o_proj.lora_A"}, {"self_attn.o_proj.lora_B"}};
    Factors<C::hidden, C::intermediate, ModuleKind::gate> gate{{"mlp.gate_proj.lora_A"}, {"mlp.gate_proj.lora_B"}};  ///< the gate
    /// What the gate is multiplied with.
    Factors<C::hidden, C::intermediate, ModuleKind::up> up{{"mlp.up_proj.lora_A"}, {"mlp.up_proj.lora_B"}};
    /// The feed-forward network's output.
    Factors<C::intermediate, C::hidden, ModuleKind::down> down{{"mlp.down_proj.lora_A"}, {"mlp.down_proj.lora_B"}};
  };

  /// What all layers of a batch share: the angles of every token.
  template <class Mode>
  struct Angles {
    typename Mode::template tensor<Shape<tokens, C::head_size / 2>> cosine{"cosine"};  ///< of every token's angles
    typename Mode::template tensor<Shape<tokens, C::head_size / 2>> sine{"sine"};      ///< of every token's angles
  };

  /// A projection of the frozen base with its adapter.
  struct Adapted {
    Adapters<Symbolic> a;  ///< the block's adapters
    Rows P;                ///< P of every kind
    /// x w^T + ((x A) ⊙ P) B, with the A, B and P of a kind.
    template <class X, class W, class F, class R>
    constexpr auto operator()(X x, W w, F Adapters<Symbolic>::*adapter, R Rows::*rows) const {
      return adapted_linear(x, w, a.*adapter, P.*rows);
    }
  };
  /// A projection of the base alone.
  struct Plain {
    /// x w^T.
    template <class X, class W>
    constexpr auto operator()(X x, W w, auto, auto) const {
      return x * transpose(w);
    }
  };

  /// The block's first half: normed x -> q and k turned by the angles, and v.
  template <class Project>
  static constexpr auto queries_keys_values(Hidden x, const Weights<Symbolic>& w, const Angles<Symbolic>& angles,
                                            Project project) {
    using A = Adapters<Symbolic>;
    const Hidden normed = rms_norm(x, w.input_norm, C::epsilon);
    const auto q = rotary<C::head_size>(project(normed, w.q, &A::q, &Rows::q), angles.cosine, angles.sine);
    const auto k = rotary<C::head_size>(project(normed, w.k, &A::k, &Rows::k), angles.cosine, angles.sine);
    const auto v = project(normed, w.v, &A::v, &Rows::v);
    return std::tuple(q, k, v);
  }

  /// The block's second half: attention over the keys, then the feed-forward network, each added to what went in.
  template <class Keys, class Project>
  static constexpr Hidden after_keys(Hidden x, Expr<Shape<tokens, query_columns>> q, Keys k, Keys v, Spans spans,
                                     const Weights<Symbolic>& w, Project project) {
    using A = Adapters<Symbolic>;
    const auto attended = attention<C::heads, C::kv_heads>(q, k, v, spans);
    const Hidden h = x + project(attended, w.o, &A::o, &Rows::o);
    const Hidden normed = rms_norm(h, w.post_norm, C::epsilon);
    const auto gate = project(normed, w.gate, &A::gate, &Rows::gate);
    const auto gated = hadamard(silu(gate), project(normed, w.up, &A::up, &Rows::up));
    return h + project(gated, w.down, &A::down, &Rows::down);
  }

  /// Both halves, with the batch's own keys.
  template <class Project>
  static constexpr Hidden whole(Hidden x, const Weights<Symbolic>& w, const Angles<Symbolic>& angles, Spans spans,
                                Project project) {
    const auto [q, k, v] = queries_keys_values(x, w, angles, project);
    return after_keys(x, q, k, v, spans, w, project);
  }

  /// x -> block(x), base frozen, adapters trainable.
  struct AdaptedBlock {
    /// block(x) [tokens, hidden].
    constexpr Hidden operator()(Hidden x, Frozen<Weights<Symbolic>> w, Adapters<Symbolic> a, Frozen<Rows> P,
                                Frozen<Angles<Symbolic>> angles, Spans spans) const {
      return whole(x, w, angles, spans, Adapted{a, P});
    }
  };

  /// x -> block(x), every weight trainable.
  struct FullBlock {
    /// block(x) [tokens, hidden].
    constexpr Hidden operator()(Hidden x, Weights<Symbolic> w, Frozen<Angles<Symbolic>> angles, Spans spans) const {
      return whole(x, w, angles, spans, Plain{});
    }
  };

  /// Generation, first half: x -> q, k, v of the new tokens, ready to be put into a cache.
  struct AdaptedKeys {
    /// q, k, v.
    constexpr auto operator()(Hidden x, Frozen<Weights<Symbolic>> w, Frozen<Adapters<Symbolic>> a,
                              Frozen<Rows> P, Frozen<Angles<Symbolic>> angles) const {
      return queries_keys_values(x, w, angles, Adapted{a, P});
    }
  };
  /// Generation, second half: x, q and the cache -> block(x).
  struct AdaptedAfterKeys {
    using Cache = Expr<Shape<cached, kv_columns>>;  ///< keys, or values, of a sequence so far and of the new tokens
    /// block(x) [tokens, hidden].
    constexpr Hidden operator()(Hidden x, Expr<Shape<tokens, query_columns>> q, Cache k, Cache v,
                                Frozen<Weights<Symbolic>> w, Frozen<Adapters<Symbolic>> a, Frozen<Rows> P,
                                Spans spans) const {
      return after_keys(x, q, k, v, spans, w, Adapted{a, P});
    }
  };
};

/// What lies around the blocks.
template <LlamaConfiguration C>
struct LlamaHead {
  using Hidden = Expr<Shape<tokens, C::hidden>>;        ///< hidden states
  using Norm = Expr<Shape<C::hidden>>;                  ///< weights of the last RMSNorm
  using Table = Expr<Shape<C::vocabulary, C::hidden>>;  ///< embedding and head
  using Targets = Ids<Shape<tokens>>;                   ///< negative: none

  /// Token ids -> the first hidden states.
  struct Embed {
    /// Row ids[t] of the table.
    constexpr Hidden operator()(Table table, Ids<Shape<tokens>> ids) const { return embedding(table, ids); }
  };
  /// scale * sum of the cross-entropies of the tokens that have a target.
  struct Loss {
    /// The scaled sum.
    constexpr Expr<Shape<>> operator()(Hidden x, Norm norm, Table head, Targets targets, Frozen<Expr<Shape<>>> scale) const {
      return head_cross_entropy(rms_norm(x, norm, C::epsilon), head, targets, scale);
    }
  };
  /// Per token: cross-entropy, and whether the target has the highest logit.
  struct Scores {
    /// Two columns, [tokens, 1] each.
    constexpr auto operator()(Hidden x, Norm norm, Table head, Targets targets) const {
      return head_scores(rms_norm(x, norm, C::epsilon), head, targets);
    }
  };
  /// Last hidden states -> logits [tokens, vocabulary].
  struct Logits {
    /// The logits.
    constexpr auto operator()(Hidden x, Norm norm, Table head) const {
      return rms_norm(x, norm, C::epsilon) * transpose(head);
    }
  };
};

}  // namespace linden
