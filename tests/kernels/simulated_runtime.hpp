#pragma once
/// \file
/// The few functions of the CUDA runtime and of cuBLASLt's wrapper that linden calls, on the CPU, for tests without a GPU:
/// device memory is host memory, filled with bytes that make NaN of every float, and streams do everything at once.

#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

enum cudaError_t { cudaSuccess, cudaErrorMemoryAllocation };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
using cudaStream_t = int*;
inline constexpr unsigned cudaStreamNonBlocking = 1;
struct cudaDeviceProp {
  char name[32] = "a simulated grid";
  int major = 9, minor = 0;
  std::size_t totalGlobalMem = std::size_t(1) << 34U;
};
struct cudaFuncAttributes {};

namespace linden::cuda::simulated {
inline std::size_t free_memory = std::size_t(1) << 34U;  ///< tests make it small
}

inline cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  if (bytes > linden::cuda::simulated::free_memory) return cudaErrorMemoryAllocation;
  *data = ::operator new(bytes, std::align_val_t(256));
  std::memset(*data, 0xff, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* data) {
  ::operator delete(data, std::align_val_t(256));
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = linden::cuda::simulated::free_memory;
  *total = std::size_t(1) << 34U;
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  return cudaMemcpy(to, from, bytes, kind);
}
inline cudaError_t cudaMemset2DAsync(void* to, std::size_t pitch, int value, std::size_t width, std::size_t height, cudaStream_t) {
  for (std::size_t row = 0; row < height; ++row) std::memset(static_cast<char*>(to) + row * pitch, value, width);
  return cudaSuccess;
}
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  return cudaSuccess;
}
inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, void (*)()) { return cudaSuccess; }
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t status) { return status == cudaSuccess ? "no error" : "out of memory"; }

#include "../../kernels/launch.cuh"

namespace linden::cuda {

/// Products by loops, sums in double.
class Products {
 public:
  void run(const ProductShape& shape, const void* a, const void* b, void* c, Stream) {
    if (shape.narrow && shape.wide_c)
      loops(shape, static_cast<const bfloat16*>(a), static_cast<const bfloat16*>(b), static_cast<float*>(c));
    else if (shape.narrow)
      loops(shape, static_cast<const bfloat16*>(a), static_cast<const bfloat16*>(b), static_cast<bfloat16*>(c));
    else
      loops(shape, static_cast<const float*>(a), static_cast<const float*>(b), static_cast<float*>(c));
  }

 private:
  template <class T, class C>
  static void loops(const ProductShape& s, const T* a, const T* b, C* c) {
    for (long i = 0; i < s.m; ++i)
      for (long j = 0; j < s.n; ++j) {
        double sum = s.accumulate ? static_cast<double>(static_cast<float>(c[i * s.stride_c + j])) : 0;
        for (long l = 0; l < s.k; ++l) {
          const float x = static_cast<float>(s.transposed_a ? a[l * s.stride_a + i] : a[i * s.stride_a + l]);
          const float y = static_cast<float>(s.transposed_b ? b[j * s.stride_b + l] : b[l * s.stride_b + j]);
          sum += static_cast<double>(x) * static_cast<double>(y);
        }
        c[i * s.stride_c + j] = static_cast<C>(static_cast<float>(sum));
      }
  }
};

}  // namespace linden::cuda
