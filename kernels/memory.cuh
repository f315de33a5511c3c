#pragma once
/// \file
/// A GPU and memory on it.
/// Errors  DeviceError: no device, a device this program holds no code for, memory exhausted (bytes asked for, bytes free), a
///         failed copy. Nothing is changed then.

#include <linden/core/element.hpp>
#include <span>
#include <utility>

#include "launch.cuh"

namespace linden::cuda {

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw DeviceError(text("linden: ", what, ": ", cudaGetErrorString(status)));
}

/// How many GPUs there are; 0 without a driver, too.
inline int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();  // is answered, not kept
    return 0;
  }
  return count;
}

/// \return what is printed about a GPU, such as "NVIDIA H200 (compute capability 9.0, 139 GiB)".
inline std::string device_name(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cannot ask for the GPU's properties");
  return text(properties.name, " (compute capability ", properties.major, ".", properties.minor, ", ",
              properties.totalGlobalMem >> 30U, " GiB)");
}

/// Does nothing; whether it can be found tells whether the program holds code for the device.
static __global__ void probe() {}

/// Makes `device` the calling thread's, and checks that the program holds code for it.
inline void use_device(int device = 0) {
  const int count = device_count();
  if (count == 0) throw DeviceError("linden: no GPU was found (is the NVIDIA driver loaded?); run on the CPU instead");
  if (device < 0 || device >= count) throw DeviceError(text("linden: GPU ", device, " was asked for, there are ", count));
  check(cudaSetDevice(device), "cannot use the GPU");
  cudaFuncAttributes attributes{};
  if (const auto status = cudaFuncGetAttributes(&attributes, probe); status != cudaSuccess)
    throw DeviceError(text("linden: this program was not compiled for ", device_name(device),
                           "; add its architecture to CMAKE_CUDA_ARCHITECTURES (", cudaGetErrorString(status), ")"));
}

/// Elements on the device. Not cleared.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t count) : count_(count) {
    if (count == 0) return;
    const cudaError_t status = cudaMalloc(&data_, count * sizeof(T));
    if (status == cudaSuccess) return;
    cudaGetLastError();  // an allocation that failed leaves the device usable
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw DeviceError(text("linden: ", count * sizeof(T), " bytes were needed on the GPU, ", free, " of ", total, " are free (",
                           cudaGetErrorString(status), "); a smaller batch or more recomputation needs less"));
  }
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }
  ~Buffer() { cudaFree(data_); }

  /// Makes room for `count` elements; what was in the buffer is lost when it grows. Never shrinks.
  void reserve(std::size_t count) {
    if (count <= count_) return;
    *this = Buffer();  // first give back, then ask
    *this = Buffer(count);
  }
  [[nodiscard]] T* data() const { return static_cast<T*>(data_); }
  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  void* data_ = nullptr;
  std::size_t count_ = 0;
};

/// Host to device, in order with the stream's work. The source may be reused at once.
template <class T>
void upload(std::span<const T> from, T* to, Stream stream) {
  check(cudaMemcpyAsync(to, from.data(), from.size_bytes(), cudaMemcpyHostToDevice, stream), "cannot copy to the GPU");
}
/// Device to host; waits for the stream's work.
template <class T>
void download(const T* from, std::span<T> to, Stream stream) {
  check(cudaMemcpyAsync(to.data(), from, to.size_bytes(), cudaMemcpyDeviceToHost, stream), "cannot copy from the GPU");
  check(cudaStreamSynchronize(stream), "the GPU's work failed");
}

}  // namespace linden::cuda
