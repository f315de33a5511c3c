#pragma once
/// \file
/// Rotary position embedding on a device, a block per token; a thread turns a pack of pairs. y may be x.
/// Shapes   as in ops/rotary.hpp. Cosine and sine are of T, or float (Operand::wide), both alike.
/// Traffic  reads x and writes y once; a token's angles are read from memory once and by its other heads from a cache.

#include <linden/ops/rotary.hpp>

#include "launch.cuh"

namespace linden::cuda {

/// Width angles as floats, read in accesses of at most 16 bytes.
template <int Width, class Angle>
__device__ inline Pack<float, Width> load_angles(const Angle* from) {
  constexpr int step = Width < pack_size<Angle> ? Width : pack_size<Angle>;
  Pack<float, Width> angles;
  for (int first = 0; first < Width; first += step) {
    const auto part = load<step>(from + first);
    for (int e = 0; e < step; ++e) angles.at[first + e] = to_float(part.at[e]);
  }
  return angles;
}

/// Head by head: (low, high) -> (low c - high s, high c + low s); `sign` -1 turns back.
template <int Width, class T, class Angle>
__global__ void rotary(Operand<T> x, Operand<const Angle> cosine, Operand<const Angle> sine, Operand<T> y, float sign) {
  const T* const in = x.row(blockIdx.x);
  T* const out = y.row(blockIdx.x);
  const int half = static_cast<int>(cosine.columns), packs_of_head = half / Width;
  const int packs = static_cast<int>(x.columns / 2) / Width;
  for (int pack = static_cast<int>(threadIdx.x); pack < packs; pack += static_cast<int>(blockDim.x)) {
    const int head = pack / packs_of_head, k = (pack - head * packs_of_head) * Width, at = 2 * head * half + k;
    auto low = load<Width>(in + at), high = load<Width>(in + at + half);
    const auto c = load_angles<Width>(cosine.row(blockIdx.x) + k), s = load_angles<Width>(sine.row(blockIdx.x) + k);
    for (int e = 0; e < Width; ++e) {
      const float a = to_float(low.at[e]), b = to_float(high.at[e]);
      low.at[e] = from_float<T>(a * c.at[e] - sign * b * s.at[e]);
      high.at[e] = from_float<T>(b * c.at[e] + sign * a * s.at[e]);
    }
    store(out + at, low);
    store(out + at + half, high);
  }
}

template <>
struct Kernel<Rotary> {
  template <class T>
  static void run(const Call<T>& call, const Queue& queue) {
    if (call.inputs[1].wide != nullptr)
      turn(call, call.inputs[1].wide, call.inputs[2].wide, queue);
    else
      turn(call, call.inputs[1].data, call.inputs[2].data, queue);
  }

 private:
  template <class T, class Angle>
  static void turn(const Call<T>& call, const Angle* cosine, const Angle* sine, const Queue& queue) {
    const Operand<T>&x = call.inputs[0], &y = call.results[0];
    const auto of_half_heads = [&](const Angle* data, long stride) {
      Operand<const Angle> angles;
      angles.data = data;
      angles.rows = x.rows;
      angles.columns = static_cast<long>(call.attributes[0]) / 2;
      angles.stride = stride;
      return angles;
    };
    const Operand<const Angle> c = of_half_heads(cosine, call.inputs[1].stride),
                               s = of_half_heads(sine, call.inputs[2].stride);
    if (c.columns == 0) return;
    Operand<T> half_head = x;  // packs must not cross the middle of a head
    half_head.columns = c.columns;
    with_width(
        [&]<int Width>() {
          launch("rotary", {x.rows}, threads_for(x.columns / 2, Width), queue.stream, &rotary<Width, T, Angle>, x, c, s,
                 y, static_cast<float>(call.attributes[1]));
        },
        half_head, c, s, y);
  }
};

}  // namespace linden::cuda
