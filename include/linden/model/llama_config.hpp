#pragma once
/// \file
/// Llama configurations as compile-time constants. Adding one is one struct; its numbers are those of config.json.

#include <linden/ops/rotary.hpp>  // RotaryScaling

namespace linden {

/// A model every number of which the compiler knows.
template <class C>
concept LlamaConfiguration = requires {
  C::name;
  C::hidden;
  C::intermediate;
  C::layers;
  C::heads;
  C::kv_heads;
  C::head_size;
  C::vocabulary;
  C::positions;
  C::epsilon;
  C::theta;
  C::tied;
  C::scaling;
};

/// karpathy/llama2.c's smallest story teller: 260,032 parameters.
struct Stories260K {
  static constexpr const char* name = "stories260K";
  static constexpr long hidden = 64, intermediate = 172, layers = 5;
  static constexpr long heads = 8, kv_heads = 4, head_size = 8;
  static constexpr long vocabulary = 512, positions = 512;
  static constexpr double epsilon = 1e-5, theta = 10000;
  static constexpr bool tied = true;
  static constexpr RotaryScaling scaling{};
};

/// The demo model of the quickstart: trained from scratch by examples/pretrain on generated word problems.
struct WordProblems {
  static constexpr const char* name = "word-problems";
  static constexpr long hidden = 96, intermediate = 256, layers = 4;
  static constexpr long heads = 6, kv_heads = 3, head_size = 16;
  static constexpr long vocabulary = 512, positions = 256;
  static constexpr double epsilon = 1e-5, theta = 10000;
  static constexpr bool tied = true;
  static constexpr RotaryScaling scaling{};
};

}  // namespace linden
