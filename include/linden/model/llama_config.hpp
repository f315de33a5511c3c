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

/// karpathy/llama2.c's stories15M: 15,191,712 parameters.
struct Stories15M {
  static constexpr const char* name = "stories15M";
  static constexpr long hidden = 288, intermediate = 768, layers = 6;
  static constexpr long heads = 6, kv_heads = 6, head_size = 48;
  static constexpr long vocabulary = 32000, positions = 256;
  static constexpr double epsilon = 1e-5, theta = 10000;
  static constexpr bool tied = true;
  static constexpr RotaryScaling scaling{};
};

/// Llama-3.2-1B and -1B-Instruct: 1,235,814,400 parameters.
struct Llama32_1B {
  static constexpr const char* name = "Llama-3.2-1B";
  static constexpr long hidden = 2048, intermediate = 8192, layers = 16;
  static constexpr long heads = 32, kv_heads = 8, head_size = 64;
  static constexpr long vocabulary = 128256, positions = 131072;
  static constexpr double epsilon = 1e-5, theta = 500000;
  static constexpr bool tied = true;
  static constexpr RotaryScaling scaling{32, 1, 4, 8192};
};

/// Llama-3.2-3B and -3B-Instruct: 3,212,749,824 parameters.
struct Llama32_3B {
  static constexpr const char* name = "Llama-3.2-3B";
  static constexpr long hidden = 3072, intermediate = 8192, layers = 28;
  static constexpr long heads = 24, kv_heads = 8, head_size = 128;
  static constexpr long vocabulary = 128256, positions = 131072;
  static constexpr double epsilon = 1e-5, theta = 500000;
  static constexpr bool tied = true;
  static constexpr RotaryScaling scaling{32, 1, 4, 8192};
};

/// Llama-3.1-8B and -8B-Instruct: 8,030,261,248 parameters.
struct Llama31_8B {
  static constexpr const char* name = "Llama-3.1-8B";
  static constexpr long hidden = 4096, intermediate = 14336, layers = 32;
  static constexpr long heads = 32, kv_heads = 8, head_size = 128;
  static constexpr long vocabulary = 128256, positions = 131072;
  static constexpr double epsilon = 1e-5, theta = 500000;
  static constexpr bool tied = false;
  static constexpr RotaryScaling scaling{8, 1, 4, 8192};
};

}  // namespace linden
