#pragma once
/// \file
/// The few functions of the CUDA runtime and of cuBLASLt's wrapper that linden calls, on the CPU, for tests without a GPU:
/// device memory is host memory, filled with bytes that make NaN of every float. As on a device, what is started on a stream
/// happens later: only when the host waits for it. Pinned memory is read then, other memory when the copy is asked for.

#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <new>
#include <string>
#include <utility>
#include <vector>

enum cudaError_t { cudaSuccess, cudaErrorMemoryAllocation, cudaErrorNoKernelImageForDevice };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };
using cudaStream_t = int*;
using cudaEvent_t = int*;
inline constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;
struct cudaDeviceProp {
  char name[32] = "a simulated grid";
  int major = 9, minor = 0;
  std::size_t totalGlobalMem = std::size_t(1) << 34U;
};
struct cudaFuncAttributes {};

namespace linden::cuda::simulated {

using Work = std::function<void()>;

inline std::size_t free_memory = std::size_t(1) << 34U;  ///< tests make it small
inline int devices = 1;
inline bool has_code = true;  ///< for the device
inline std::size_t allocations = 0, waits = 0, launches = 0, replays = 0;  ///< counted for tests
inline std::deque<Work> waiting;                         ///< started, not done yet
inline std::vector<Work>* captured = nullptr;            ///< where it goes instead while a graph is captured
inline std::map<const void*, std::size_t> pinned;

inline void start(Work work) {
  ++launches;
  captured != nullptr ? captured->push_back(std::move(work)) : waiting.push_back(std::move(work));
}
inline void finish() {
  while (!waiting.empty()) {
    const Work work = std::move(waiting.front());
    waiting.pop_front();
    work();
  }
}
inline bool is_pinned(const void* data) {
  const auto next = pinned.upper_bound(data);
  if (next == pinned.begin()) return false;
  const auto& [first, bytes] = *std::prev(next);
  return static_cast<const char*>(data) < static_cast<const char*>(first) + bytes;
}

}  // namespace linden::cuda::simulated

/// The graph owns its work; an executable graph is the same.
using cudaGraph_t = std::vector<linden::cuda::simulated::Work>*;
using cudaGraphExec_t = std::vector<linden::cuda::simulated::Work>*;

inline cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  ++linden::cuda::simulated::allocations;
  if (bytes > linden::cuda::simulated::free_memory) return cudaErrorMemoryAllocation;
  *data = ::operator new(bytes, std::align_val_t(256));
  std::memset(*data, 0xff, bytes);
  return cudaSuccess;
}
/// Waits, as the device's does.
inline cudaError_t cudaFree(void* data) {
  if (data != nullptr) linden::cuda::simulated::finish();
  ::operator delete(data, std::align_val_t(256));
  return cudaSuccess;
}
inline cudaError_t cudaMallocHost(void** data, std::size_t bytes) {
  *data = ::operator new(bytes);
  linden::cuda::simulated::pinned[*data] = bytes;
  return cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* data) {
  linden::cuda::simulated::finish();
  linden::cuda::simulated::pinned.erase(data);
  ::operator delete(data);
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = linden::cuda::simulated::free_memory;
  *total = std::size_t(1) << 34U;
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  linden::cuda::simulated::finish();
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  using namespace linden::cuda::simulated;
  if (bytes == 0) return cudaSuccess;
  if (kind != cudaMemcpyHostToDevice || is_pinned(from)) {
    start([=] { std::memcpy(to, from, bytes); });
  } else {
    const auto* const first = static_cast<const char*>(from);
    start([to, read = std::vector<char>(first, first + bytes)] { std::memcpy(to, read.data(), read.size()); });
  }
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  linden::cuda::simulated::start([=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaMemset2DAsync(void* to, std::size_t pitch, int value, std::size_t width, std::size_t height, cudaStream_t) {
  linden::cuda::simulated::start([=] {
    for (std::size_t row = 0; row < height; ++row) std::memset(static_cast<char*>(to) + row * pitch, value, width);
  });
  return cudaSuccess;
}
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = linden::cuda::simulated::devices;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  return cudaSuccess;
}
inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, void (*)()) {
  return linden::cuda::simulated::has_code ? cudaSuccess : cudaErrorNoKernelImageForDevice;
}
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  ++linden::cuda::simulated::waits;
  linden::cuda::simulated::finish();
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t) {
  linden::cuda::simulated::finish();
  return cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new int(0);
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
/// 1: recorded, so that waiting for it means something.
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  *event = 1;
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (*event == 1) linden::cuda::simulated::finish();
  return cudaSuccess;
}
inline cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  linden::cuda::simulated::captured = new std::vector<linden::cuda::simulated::Work>;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = std::exchange(linden::cuda::simulated::captured, nullptr);
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned) {
  *executable = new std::vector<linden::cuda::simulated::Work>(*graph);
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  linden::cuda::simulated::finish();
  delete executable;
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  ++linden::cuda::simulated::replays;
  linden::cuda::simulated::start([executable] {
    for (const auto& work : *executable) work();
  });
  return cudaSuccess;
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t status) {
  return status == cudaSuccess ? "no error" : status == cudaErrorMemoryAllocation ? "out of memory" : "no kernel image";
}

#include "../../kernels/launch.cuh"

namespace linden::cuda {

/// Products by loops, sums in double.
class Products {
 public:
  void run(const ProductShape& shape, const void* a, const void* b, void* c, Stream) {
    simulated::start([=] { run_now(shape, a, b, c); });
  }

 private:
  static void run_now(const ProductShape& shape, const void* a, const void* b, void* c) {
    if (shape.narrow && shape.wide_c)
      loops(shape, static_cast<const bfloat16*>(a), static_cast<const bfloat16*>(b), static_cast<float*>(c));
    else if (shape.narrow)
      loops(shape, static_cast<const bfloat16*>(a), static_cast<const bfloat16*>(b), static_cast<bfloat16*>(c));
    else
      loops(shape, static_cast<const float*>(a), static_cast<const float*>(b), static_cast<float*>(c));
  }

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
