#pragma once
/// \file
/// A Llama small enough for double and for many runs, with grouped heads and two layers.

#include <linden/model/llama_config.hpp>

namespace linden::test {

struct Small {
  static constexpr const char* name = "small";
  static constexpr long hidden = 16, intermediate = 24, layers = 2, heads = 4, kv_heads = 2, head_size = 4;
  static constexpr long vocabulary = 19, positions = 32;
  static constexpr double epsilon = 1e-5, theta = 10000;
  static constexpr bool tied = true;
  static constexpr RotaryScaling scaling{};
};

}  // namespace linden::test
