#pragma once
/// \file
/// Rotary position embedding, half-split as in Hugging Face: element i of a head turns with element i + d/2.
/// Shapes  x [tokens, heads * d], cosine and sine [tokens, d/2] (one row per token's position) -> [tokens, heads * d].
/// Source  Su et al. 2021, arXiv:2104.09864; llama3 frequency scaling as in transformers' modeling_rope_utils.

#include <cmath>
#include <linden/ops/elementwise.hpp>
#include <span>

namespace linden {

/// attributes: {head size d, +1 to turn forward or -1 to turn back}.
struct Rotary {
  static constexpr const char* name = "rotary";
  static constexpr int arity = 3;

  template <class T>
  static void cpu(const Call<T>& call) {
    const Operand<T>&x = call.inputs[0], &cosine = call.inputs[1], &sine = call.inputs[2], &y = call.results[0];
    const long d = static_cast<long>(call.attributes[0]), half = d / 2;
    const T sign = static_cast<T>(call.attributes[1]);
    parallel_for(x.rows, 4 * x.columns, [&](long first, long last) {
      for (long i = first; i < last; ++i) {
        const T *c = cosine.row(i), *s = sine.row(i);
        for (long head = 0; head < x.columns; head += d) {
          const T *low = x.row(i) + head, *high = low + half;
          T* out = y.row(i) + head;
          LINDEN_INDEPENDENT
          for (long k = 0; k < half; ++k) {
            out[k] = low[k] * c[k] - sign * high[k] * s[k];
            out[k + half] = high[k] * c[k] + sign * low[k] * s[k];
          }
        }
      }
    });
  }
  static constexpr void vjp(Vjp& v) {
    if (v.wants(1) || v.wants(2)) throw "linden::rotary: cosine and sine have no gradient; declare them Frozen";
    const Node& n = v.node();
    v.gradient(0, symbolic::apply<Rotary>(n.rows, n.columns, {v.attribute(0), -v.attribute(1)}, v.upstream(), v.input(1),
                                          v.input(2)));
  }
};

/// Turns every head of size `HeadSize` in x by its token's angles.
template <long HeadSize, long M, long N>
constexpr Expr<Shape<M, N>> rotary(Expr<Shape<M, N>> x, Expr<Shape<M, HeadSize / 2>> cosine,
                                   Expr<Shape<M, HeadSize / 2>> sine) {
  static_assert(HeadSize % 2 == 0 && N % HeadSize == 0, "linden::rotary: x must hold whole heads of an even size");
  return Expr<Shape<M, N>>(
      symbolic::apply<Rotary>(M, N, {static_cast<double>(HeadSize), 1.0}, x, cosine, sine));
}

/// How Llama 3.1 and later stretch the rotary frequencies; factor 1 leaves them alone.
struct RotaryScaling {
  double factor = 1, low_frequency_factor = 1, high_frequency_factor = 4;  ///< as in config.json's rope_scaling
  long original_positions = 8192;                                          ///< positions the model was first trained for
};

/// Angle per position of pair i, 0 <= i < head_size / 2, in radians. In float as in transformers, which forms the plain
/// frequency in float32; in double exactly.
template <class T = float>
[[nodiscard]] T rotary_frequency(long i, long head_size, double theta, const RotaryScaling& scaling) {
  const T plain = T(1) / static_cast<T>(std::pow(theta, static_cast<T>(2 * i) / static_cast<T>(head_size)));
  if (scaling.factor == 1) return plain;
  const double wavelength = 2 * 3.14159265358979323846 / plain, context = static_cast<double>(scaling.original_positions);
  if (wavelength < context / scaling.high_frequency_factor) return plain;
  if (wavelength > context / scaling.low_frequency_factor) return static_cast<T>(plain / scaling.factor);
  const double s = (context / wavelength - scaling.low_frequency_factor) /
                   (scaling.high_frequency_factor - scaling.low_frequency_factor);
  return static_cast<T>((1 - s) * plain / scaling.factor + s * plain);
}

/// Cosine and sine rows for the given positions: [positions.size(), head_size / 2] each, row-major.
/// Frequencies and angles are formed in T.
template <class T>
void rotary_angles(std::span<const std::int32_t> positions, long head_size, double theta, const RotaryScaling& scaling,
                   T* cosine, T* sine) {
  const long half = head_size / 2;
  for (long i = 0; i < half; ++i) {
    const T frequency = rotary_frequency<T>(i, head_size, theta, scaling);
    for (std::size_t t = 0; t < positions.size(); ++t) {
      const T angle = static_cast<T>(positions[t]) * frequency;
      cosine[static_cast<long>(t) * half + i] = std::cos(angle);
      sine[static_cast<long>(t) * half + i] = std::sin(angle);
    }
  }
}

}  // namespace linden
