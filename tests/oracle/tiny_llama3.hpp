#pragma once
/// \file
/// The checkpoint that random_checkpoint.py --config tiny-llama3 writes: every feature of Llama 3 (grouped heads,
/// rescaled rotary frequencies of all three kinds, a head of its own) in a size that is computed in double.

#include <linden/model/llama_config.hpp>

namespace linden {

struct TinyLlama3 {
  static constexpr const char* name = "tiny-llama3";
  static constexpr long hidden = 64, intermediate = 96, layers = 2;
  static constexpr long heads = 4, kv_heads = 2, head_size = 16;
  static constexpr long vocabulary = 384, positions = 512;
  static constexpr double epsilon = 1e-5, theta = 500000;
  static constexpr bool tied = false;
  static constexpr RotaryScaling scaling{8, 1, 4, 256};
};

}  // namespace linden
