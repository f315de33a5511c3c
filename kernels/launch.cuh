#pragma once
/// \file
/// What every kernel header needs: element access, reductions over a warp and a block in a fixed order, checked launches.
/// Compiled by nvcc it is CUDA. Compiled by another compiler after tests/kernels/simulated_grid.hpp the same kernels run on the
/// CPU, thread by thread, which is how their index arithmetic is tested where there is no GPU.
/// Types   T is float or bfloat16; arithmetic is float.
/// Errors  DeviceError for a launch that fails, naming the kernel.

#include <cmath>
#include <compare>
#include <cstdint>
#include <linden/core/error.hpp>
#include <linden/graph/op.hpp>
#include <type_traits>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#endif

/// The library on NVIDIA GPUs.
namespace linden::cuda {

using Stream = cudaStream_t;  ///< where kernels are started, in order

/// What tells matrix products apart; strides in elements from row to row.
struct ProductShape {
  long m = 0, n = 0, k = 0;                         ///< C [m, n] = A [m, k] B [k, n]
  long stride_a = 0, stride_b = 0, stride_c = 0;    ///< of A, B and C
  bool transposed_a = false, transposed_b = false;  ///< used as its transpose
  bool narrow = false;                              ///< A and B are bfloat16, else float
  bool wide_c = false;                              ///< C is float, else as A and B
  bool accumulate = false;                          ///< added to C instead of assigned

  auto operator<=>(const ProductShape&) const = default;
};

class Products;        // kernels/cublas.cuh
class FusedAttention;  // kernels/cudnn_attention.hpp

/// Where kernels are started: in order on one stream, with memory that the call may use while it runs.
struct Queue {
  Stream stream{};                  ///< everything is started on it
  Products* products = nullptr;     ///< cuBLASLt's
  float* scratch = nullptr;         ///< as many floats as the operation's Kernel asked for, 256-byte aligned
  FusedAttention* fused = nullptr;  ///< takes over where it serves
};

/// How an operation runs on a device: specialised beside its kernels with
///
///     template <class T> static void run(const Call<T>& call, const Queue& queue);      // T float or bfloat16
///     template <class T> static long scratch(const Call<T>& call, const Queue& queue);  // optional: floats of scratch
///
/// All pointers of the call are the device's; empty tensors are allowed. Results whose `data` is null are not wanted.
template <class Operation>
struct Kernel;

inline constexpr int warp_size = 32;  ///< threads that run together

// ---- elements ---

__device__ inline float to_float(float x) { return x; }  ///< the same
/// Exact.
__device__ inline float to_float(bfloat16 x) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(static_cast<unsigned>(x.bits) << 16U);
#else
  return float(x);
#endif
}

/// Rounded to the nearest where T is narrower.
template <class T>
__device__ inline T from_float(float x) {
  if constexpr (sizeof(T) == 4) {
    return x;
  } else {
#ifdef __CUDA_ARCH__
    T rounded;
    rounded.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
    return rounded;
#else
    return T(x);
#endif
  }
}

/// e^x by the device's exponential unit: relative error below 2^-21 + |x| 2^-22.
__device__ inline float fast_exp(float x) {
#ifdef __CUDA_ARCH__
  return __expf(x);
#else
  return expf(x);
#endif
}

/// 2^x by the device's exponential unit: relative error below 2^-21; 0 where the result is below 2^-126.
__device__ inline float fast_exp2(float x) {
#ifdef __CUDA_ARCH__
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
#else
  return exp2f(x);
#endif
}

/// Writes or adds, as the operand asks.
template <class T>
__device__ inline void put(T* to, float value, bool accumulate) {
  *to = from_float<T>(accumulate ? to_float(*to) + value : value);
}

/// Neighbouring elements, moved in one access.
template <class T, int Width>
struct alignas(sizeof(T) * Width) Pack {
  T at[Width];  ///< in order
};
/// Elements of T in 16 bytes, the widest access.
template <class T>
inline constexpr int pack_size = 16 / static_cast<int>(sizeof(T));

/// Reads Width elements; `from` must be aligned to all of them.
template <int Width, class T>
__device__ inline Pack<std::remove_const_t<T>, Width> load(T* from) {
  return *reinterpret_cast<const Pack<std::remove_const_t<T>, Width>*>(from);
}
/// Writes a pack in one access; `to` is aligned to it.
template <class T, int Width>
__device__ inline void store(T* to, const Pack<T, Width>& pack) {
  *reinterpret_cast<Pack<T, Width>*>(to) = pack;
}

/// Whether all rows of x are whole, aligned packs of 16 bytes.
template <class T>
bool fits_packs(const Operand<T>& x) {
  return x.columns % pack_size<T> == 0 && x.stride % pack_size<T> == 0 && reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0;
}

/// Calls `body.operator()<Width>()` with the widest pack that fits all operands, or 1.
template <class T, class Body, class... More>
void with_width(Body&& body, const Operand<T>& first, const More&... more) {
  if (fits_packs(first) && (fits_packs(more) && ...))
    body.template operator()<pack_size<T>>();
  else
    body.template operator()<1>();
}

/// What an operand holds as float whatever T is (log-sum-exps, losses). Null: a result that is not wanted.
template <class T>
float* floats(const Operand<T>& x) {
  if constexpr (std::is_same_v<T, float>)
    return x.data;
  else
    return x.wide;
}

// ---- reductions ---

/// a + b.
struct Plus {
  /// a + b.
  template <class Value>
  __device__ Value operator()(Value a, Value b) const {
    return a + b;
  }
  static constexpr float neutral = 0;  ///< changes nothing
};
/// The larger one.
struct Max {
  /// The larger one; b where a is not a number.
  __device__ float operator()(float a, float b) const { return a > b ? a : b; }
  static constexpr float neutral = -__builtin_huge_valf();  ///< changes nothing
};

/// Joins the values (float or double) of `Lanes` neighbouring lanes, a power of two, in a fixed order; each of them gets
/// the result. All 32 lanes of the warp must call it.
template <int Lanes = warp_size, class Value, class Join>
__device__ inline Value warp_reduce(Value value, Join join) {
  for (int lane = Lanes / 2; lane > 0; lane /= 2) value = join(value, __shfl_xor_sync(0xffffffffU, value, lane));
  return value;
}

/// Joins the values of a block's threads in a fixed order; every thread gets the result. All threads must call it, and
/// blocks must be whole warps of one dimension.
template <class Value, class Join>
__device__ inline Value block_reduce(Value value, Join join) {
  __shared__ Value of_warp[warp_size];
  const unsigned lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, warps = blockDim.x / warp_size;
  value = warp_reduce(value, join);
  __syncthreads();  // of_warp may still be read from the call before
  if (lane == 0) of_warp[warp] = value;
  __syncthreads();
  value = lane < warps ? of_warp[lane] : Join::neutral;
  return warp_reduce(value, join);
}

// ---- launches ---

/// Blocks of a grid. Each extent may be 0: then nothing runs.
struct Grid {
  long x = 1, y = 1, z = 1;  ///< its extents
};

/// Blocks of `size` that cover `count`.
constexpr long blocks_for(long count, long size) { return (count + size - 1) / size; }

/// Threads for rows of `columns` elements: whole warps, at most 1024.
constexpr int threads_for(long columns, long per_thread) {
  const long wanted = blocks_for(columns, per_thread);
  return static_cast<int>((wanted < 32 ? 32 : wanted > 1024 ? 1024 : blocks_for(wanted, 32) * 32));
}

#ifdef __CUDACC__
/// Runs kernel(arguments...) on the stream; `name` is for the error.
template <class... P, class... A>
void launch(const char* name, Grid grid, int threads, Stream stream, void (*kernel)(P...), A... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  kernel<<<dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z)),
           static_cast<unsigned>(threads), 0, stream>>>(static_cast<P>(arguments)...);
  if (const cudaError_t status = cudaGetLastError(); status != cudaSuccess)
    throw DeviceError(text("linden: the kernel ", name, " could not be started with ", grid.x, " x ", grid.y, " x ",
                           grid.z, " blocks of ", threads, " threads: ", cudaGetErrorString(status)));
}
#endif

}  // namespace linden::cuda
