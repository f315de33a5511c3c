#pragma once
/// \file
/// A GPU, memory on it, and the way there.
/// Errors  DeviceError: no device, a device this program holds no code for, memory exhausted (bytes asked for, bytes free), a
///         failed copy. Nothing is changed then.

#include <algorithm>
#include <array>
#include <cstring>
#include <linden/core/element.hpp>
#include <span>
#include <utility>

#include "launch.cuh"

namespace linden::cuda {

/// Throws DeviceError where the runtime refused `what`.
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

/// Bytes of the current GPU that nobody has.
inline std::size_t free_memory() {
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cannot ask for the GPU's memory");
  return free;
}

/// Elements on the device. Not cleared.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  /// Memory for `count` elements, whose values are not set. Throws DeviceError where it does not suffice.
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
  /// Takes the memory over.
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  /// Changes places with the other.
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
  [[nodiscard]] T* data() const { return static_cast<T*>(data_); }  ///< the first element, or null
  [[nodiscard]] std::size_t size() const { return count_; }         ///< elements there is room for

 private:
  void* data_ = nullptr;
  std::size_t count_ = 0;
};

/// Device to host; waits for the stream's work.
template <class T>
void download(const T* from, std::span<T> to, Stream stream) {
  check(cudaMemcpyAsync(to.data(), from, to.size_bytes(), cudaMemcpyDeviceToHost, stream), "cannot copy from the GPU");
  check(cudaStreamSynchronize(stream), "the GPU's work failed");
}

/// Pinned memory through which data goes to a device: the host fills one piece while others are on their way. It waits only
/// where all pieces are.
class Staging {
 public:
  Staging() = default;
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  ~Staging() {
    for (Piece& piece : pieces_) {
      if (piece.left != nullptr) cudaEventDestroy(piece.left);
      if (piece.data != nullptr) cudaFreeHost(piece.data);
    }
  }

  /// Copies `count` elements to the device, which fill(elements, first, n) writes in order, n of them from `first` on.
  template <class T, class Fill>
  void upload(std::size_t count, T* to, Stream stream, Fill&& fill) {
    constexpr std::size_t at_a_time = piece_bytes / sizeof(T);
    for (std::size_t first = 0; first < count; first += at_a_time) {
      const std::size_t n = std::min(count - first, at_a_time);
      T* const elements = static_cast<T*>(take(n * sizeof(T), stream));
      fill(elements, first, n);
      check(cudaMemcpyAsync(to + first, elements, n * sizeof(T), cudaMemcpyHostToDevice, stream), "cannot copy to the GPU");
    }
  }
  /// Copies elements, which may be reused at once.
  template <class T>
  void upload(std::span<const T> from, T* to, Stream stream) {
    upload(from.size(), to, stream,
           [&](T* elements, std::size_t first, std::size_t n) { std::memcpy(elements, from.data() + first, n * sizeof(T)); });
  }

  static constexpr std::size_t piece_bytes = std::size_t(8) << 20U;  ///< bytes sent at a time, at most

 private:
  struct Piece {
    void* data = nullptr;
    cudaEvent_t left = nullptr;  ///< everything in the piece has been copied
  };

  /// Room for so many bytes until the stream has copied them.
  void* take(std::size_t bytes, Stream stream) {
    if (pieces_[current_].data == nullptr) make(pieces_[current_]);
    if (used_ + bytes > piece_bytes) {
      check(cudaEventRecord(pieces_[current_].left, stream), "cannot mark a copy");
      current_ = (current_ + 1) % pieces_.size();
      used_ = 0;
      if (pieces_[current_].data == nullptr) make(pieces_[current_]);
      check(cudaEventSynchronize(pieces_[current_].left), "the GPU's work failed");
    }
    void* const room = static_cast<std::byte*>(pieces_[current_].data) + used_;
    used_ += (bytes + 255) / 256 * 256;
    return room;
  }
  static void make(Piece& piece) {
    check(cudaEventCreateWithFlags(&piece.left, cudaEventDisableTiming), "cannot make an event");
    check(cudaMallocHost(&piece.data, piece_bytes), "cannot pin memory");
  }

  std::array<Piece, 4> pieces_{};
  std::size_t current_ = 0, used_ = 0;
};

}  // namespace linden::cuda
