#pragma once
/// \file
/// A warp's products on tensor cores: mma.sync.m16n8k16 of bfloat16 with float sums, and ldmatrix, which reads its
/// operands from shared memory. All 32 lanes must call.
/// Fragments  With g = lane / 4 and t = lane % 4, a lane holds of
///            A [16, 16]: a[0] = row g, columns 2t and 2t + 1; a[1] = row g + 8, the same columns;
///                        a[2] = row g, columns 2t + 8 and 2t + 9; a[3] = row g + 8, those columns.
///            B [16, 8]:  b[0] = rows 2t and 2t + 1, column g; b[1] = rows 2t + 8 and 2t + 9, column g.
///            C [16, 8]:  c[0], c[1] = row g, columns 2t and 2t + 1; c[2], c[3] = row g + 8, the same columns.
///            The first element of a pair is in the low half of its 32 bits.
/// Simulation Under another compiler than nvcc the lanes exchange what they give and each computes its own part of C.
/// Source     PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type" and "ldmatrix".

#include <bit>

#include "launch.cuh"

namespace linden::cuda {

/// Two bfloat16 in 32 bits.
using Pair = std::uint32_t;

/// Both rounded to the nearest; `low` in the lower 16 bits.
__device__ inline Pair pair_of(float low, float high) {
#ifdef __CUDA_ARCH__
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return static_cast<Pair>(__bfloat16_as_ushort(pair.x)) | static_cast<Pair>(__bfloat16_as_ushort(pair.y)) << 16U;
#else
  return static_cast<Pair>(from_float<bfloat16>(low).bits) | static_cast<Pair>(from_float<bfloat16>(high).bits) << 16U;
#endif
}

/// Four 8 by 8 matrices of bfloat16 from shared memory: lane i gives the address of row i % 8 of matrix i / 8, aligned
/// to 16 bytes. A lane gets of every matrix row g, columns 2t and 2t + 1; if Transposed column g, rows 2t and 2t + 1.
template <bool Transposed>
__device__ inline void load_matrices(const bfloat16* row, Pair (&to)[4]) {
#ifdef __CUDA_ARCH__
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
#elif !defined(__CUDACC__)
  static const bfloat16* rows[1024];
  const unsigned lane = threadIdx.x % 32, first = threadIdx.x - lane, g = lane / 4, t = lane % 4;
  rows[threadIdx.x] = row;
  __syncwarp();
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    const bfloat16* const* const of = rows + first + matrix * 8;
    const bfloat16 low = Transposed ? of[2 * t][g] : of[g][2 * t];
    const bfloat16 high = Transposed ? of[2 * t + 1][g] : of[g][2 * t + 1];
    to[matrix] = static_cast<Pair>(low.bits) | static_cast<Pair>(high.bits) << 16U;
  }
  __syncwarp();
#endif
}

/// c += a b.
__device__ inline void multiply_add(float& c0, float& c1, float& c2, float& c3, const Pair (&a)[4], Pair b0, Pair b1) {
#ifdef __CUDA_ARCH__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#elif !defined(__CUDACC__)
  struct Given {
    Pair a[4], b[2];
  };
  static Given given[1024];
  const unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const Given* const of_lane = given + (threadIdx.x - lane);
  given[threadIdx.x] = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
  __syncwarp();
  const auto half = [](Pair pair, unsigned k) {
    return std::bit_cast<float>(k % 2 == 0 ? pair << 16U : pair & 0xffff0000U);
  };
  const auto product = [&](unsigned row, unsigned column) {
    float sum = 0;
    for (unsigned k = 0; k < 16; ++k)
      sum += half(of_lane[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2], k) *
             half(of_lane[column * 4 + k % 8 / 2].b[k / 8], k);
    return sum;
  };
  c0 += product(g, 2 * t);
  c1 += product(g, 2 * t + 1);
  c2 += product(g + 8, 2 * t);
  c3 += product(g + 8, 2 * t + 1);
  __syncwarp();
#endif
}

}  // namespace linden::cuda
