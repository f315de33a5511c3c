#pragma once
/// \file
/// Sums between GPUs by NCCL, one GPU a process: MpiGroup's processes find each other, and their gradients need not pass the host.
/// Order   NCCL's, which is the same in every run of as many processes on machines that are connected alike.
/// Streams a sum runs on a stream of its own, behind what was on the caller's when it was started: backward goes on meanwhile.
/// Errors  DeviceError with NCCL's words; also when a sum does not end.
/// Source  NCCL 2 (docs.nvidia.com/deeplearning/nccl).

#include <cuda_runtime.h>
#include <nccl.h>

#include <chrono>
#include <cstring>
#include <linden/train/process_group.hpp>
#include <thread>

namespace linden {

namespace detail {

/// \throw DeviceError with NCCL's words.
inline void check_nccl(ncclResult_t result, const char* what, ncclComm_t communicator = nullptr) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  throw DeviceError(text("linden: NCCL, ", what, ": ", ncclGetErrorString(result), " (", ncclGetLastError(communicator), ")"));
}
/// \throw DeviceError with CUDA's words.
inline void check_cuda(cudaError_t result, const char* what) {
  if (result != cudaSuccess) throw DeviceError(text("linden: ", what, ": ", cudaGetErrorString(result)));
}

}  // namespace detail

/// The sums of a group whose processes each have a GPU of their own; the group offers them as long as this lives.
class NcclSums final : public DeviceSums {
 public:
  using Seconds = std::chrono::duration<double>;  ///< how waiting is measured

  /// For the calling thread's current GPU. All processes of the group make one together, and all fail if one does. `patience`: how long
  /// finish() waits for sums that all have started.
  explicit NcclSums(ProcessGroup& group, Seconds patience = Seconds(60)) : group_(group), patience_(patience) {
    ncclUniqueId id{};
    together(group, [&] {
      make_streams();
      if (group.index() == 0) detail::check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    });
    const std::string bytes = from_first(group, std::string(id.internal, sizeof id.internal));
    std::memcpy(id.internal, bytes.data(), sizeof id.internal);
    together(group, [&] {
      detail::check_nccl(ncclCommInitRank(&communicator_, group.size(), id, group.index()), "ncclCommInitRank");
    });
    group.set_device_sums(this);
  }
  ~NcclSums() override {
    group_.set_device_sums(nullptr);
    if (communicator_ != nullptr) ncclCommAbort(communicator_);  // waits for nobody
    if (ready_ != nullptr) cudaEventDestroy(ready_);
    if (done_ != nullptr) cudaEventDestroy(done_);
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }

  void start(float* values, std::size_t count, void* stream) override {
    detail::check_cuda(cudaEventRecord(ready_, static_cast<cudaStream_t>(stream)), "cannot mark the gradients");
    detail::check_cuda(cudaStreamWaitEvent(stream_, ready_, 0), "cannot wait for the gradients");
    detail::check_nccl(ncclAllReduce(values, values, count, ncclFloat, ncclSum, communicator_, stream_), "ncclAllReduce", communicator_);
    bytes_sent_ += 2.0 * (group_.size() - 1) / group_.size() * static_cast<double>(count * sizeof(float));
  }
  void finish() override {
    detail::check_cuda(cudaEventRecord(done_, stream_), "cannot mark the sums");
    const auto begin = std::chrono::steady_clock::now();
    for (cudaError_t state = cudaEventQuery(done_); state != cudaSuccess; state = cudaEventQuery(done_)) {
      if (state != cudaErrorNotReady) detail::check_cuda(state, "the sums of the gradients failed");
      ncclResult_t later = ncclSuccess;  // what happened since a call returned
      detail::check_nccl(ncclCommGetAsyncError(communicator_, &later), "ncclCommGetAsyncError", communicator_);
      detail::check_nccl(later, "a sum between GPUs", communicator_);
      if (std::chrono::steady_clock::now() - begin > patience_)
        throw DeviceError(text("linden: a sum between GPUs did not end in ", patience_.count(), " seconds"));
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }
  [[nodiscard]] double bytes_sent() const override { return bytes_sent_; }

 private:
  void make_streams() {
    detail::check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cannot make a stream for sums between GPUs");
    for (cudaEvent_t* const event : {&ready_, &done_})
      detail::check_cuda(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "cannot make an event");
  }

  ProcessGroup& group_;
  Seconds patience_;
  ncclComm_t communicator_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t ready_ = nullptr, done_ = nullptr;
  double bytes_sent_ = 0;
};

}  // namespace linden
