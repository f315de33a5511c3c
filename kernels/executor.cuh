#pragma once
/// \file
/// Runs plans on a GPU: the same steps as backend/executor.hpp, each started on one stream. After the first call with the
/// largest sizes nothing is allocated and nothing waits for the device.
/// Errors  as backend/binding.hpp; DeviceError for what the device refuses.

#include <linden/backend/binding.hpp>

#include "cudnn_attention.hpp"
#include "loop.cuh"
#include "product.cuh"
#include "replay.cuh"
#include "rows.cuh"

namespace linden::cuda {

/// One GPU's stream and what the work on it shares. Plans that are run on the same memory again are replayed (replay.cuh).
class Device {
 public:
  /// Device `number` of this machine. Throws DeviceError where there is none.
  explicit Device(int number = 0) {
    use_device(number);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cannot make a stream");
    products_ = std::make_unique<Products>();
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device() {
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }

  [[nodiscard]] Stream stream() const { return stream_; }  ///< on which everything is started
  /// A queue whose scratch memory holds `floats`.
  [[nodiscard]] Queue queue(long floats) {
    if (static_cast<std::size_t>(floats) > scratch_.size()) {
      replays_.clear();  // they know the old memory
      scratch_.reserve(static_cast<std::size_t>(floats));
    }
    return {stream_, products_.get(), scratch_.data(), fused_.get()};
  }
  /// Attention by `fused` where it serves, from now on; null: all of it by our own kernel, as at first.
  void set_attention(std::unique_ptr<FusedAttention> fused) {
    wait();
    replays_.clear();
    fused_ = std::move(fused);
  }
  [[nodiscard]] Staging& staging() { return staging_; }  ///< the way of the host's data to the device
  [[nodiscard]] Replays& replays() { return replays_; }  ///< what is replayed
  /// Waits for everything that was started.
  void wait() const { check(cudaStreamSynchronize(stream_), "the GPU's work failed"); }

 private:
  Stream stream_ = nullptr;
  std::unique_ptr<Products> products_;
  std::unique_ptr<FusedAttention> fused_;
  Buffer<float> scratch_;
  Staging staging_;
  Replays replays_;
};

/// The scratch memory plans run in on a device; T is float or bfloat16.
template <class T>
class Workspace {
 public:
  /// No memory is taken yet.
  explicit Workspace(Device& device) : device_(&device) {}
  [[nodiscard]] Device& device() const { return *device_; }  ///< where it is
  /// The first of `count` elements; what was there is lost when the memory grows.
  T* reserve(std::size_t count) {
    memory_.reserve(count);
    return memory_.data();
  }

 private:
  Device* device_;
  Buffer<T> memory_;
};

/// A device as passes use it; the members are those of Host (backend/host.hpp). Refers to a Device, which must outlive it.
class OnDevice {
 public:
  template <class T>
  using Buffer = cuda::Buffer<T>;  ///< memory for elements on the device

  /// Refers to `device`.
  explicit OnDevice(Device& device) : device_(&device) {}

  /// Scratch memory for plans; empty at first.
  template <class T>
  [[nodiscard]] Workspace<T> workspace() const {
    return Workspace<T>(*device_);
  }
  /// A copy on the device, until the next call with this buffer.
  template <class T>
  const T* place(std::span<const T> elements, Buffer<T>& buffer) const {
    buffer.reserve(elements.size());
    device_->staging().upload(elements, buffer.data(), device_->stream());
    return buffer.data();
  }
  /// Sets `count` elements to zero, in stream order.
  template <class T>
  void clear(T* data, std::size_t count) const {
    check(cudaMemsetAsync(data, 0, count * sizeof(T), device_->stream()), "cannot clear memory");
  }
  /// to = from, both on the device, in stream order.
  template <class T>
  void copy(const T* from, std::size_t count, T* to) const {
    check(cudaMemcpyAsync(to, from, count * sizeof(T), cudaMemcpyDeviceToDevice, device_->stream()), "cannot copy on the GPU");
  }
  /// Row i of `from` becomes row places[i] of `to`, in stream order.
  template <class T>
  void scatter_rows(const T* from, const std::int32_t* places, long rows, long columns, T* to) const {
    cuda::scatter_rows(from, places, rows, columns, to, device_->stream());
  }
  /// The first of the highest elements of every row of n. Waits for the device.
  void best_columns(const float* elements, long n, std::span<std::int32_t> columns) const {
    const Queue queue = device_->queue(static_cast<long>(columns.size()));
    auto* const best = reinterpret_cast<std::int32_t*>(queue.scratch);
    cuda::best_columns(elements, static_cast<long>(columns.size()), n, best, queue.stream);
    fetch(best, columns);
  }
  /// Waits for the device, then brings what its kernels wrote.
  template <class T>
  void fetch(const T* from, std::span<T> to) const {
    download(from, to, device_->stream());
  }
  [[nodiscard]] Device& device() const { return *device_; }  ///< what it refers to

 private:
  Device* device_;
};

/// Refuses a step's own result that is wide and not bound as float where T is narrower.
template <class T>
void check_widths(const Program& p, int node, const Operand<T>& operand) {
  const bool bound = operand.data != nullptr || operand.wide != nullptr;
  if (linden::detail::narrow<T> && bound && p.graph.wide(node) && operand.wide == nullptr)
    throw ShapeError(text("linden: a result of ", p.graph[node].op->name, " is float on every device; bind a tensor of floats"));
}

/// Starts an operation's kernels, with the scratch memory they ask for.
template <class Operation, class T>
void run_kernel(const Call<T>& call, Device& device) {
  long floats = 0;
  if constexpr (requires { Kernel<Operation>::template scratch<T>(call, Queue()); })
    floats = Kernel<Operation>::template scratch<T>(call, device.queue(0));
  Kernel<Operation>::template run<T>(call, device.queue(floats));
}

/// Starts step S of a plan.
template <class Code, int S, class T>
void run_step(const linden::detail::Binding<T>& binding, const linden::detail::Operands<T>& operands, Device& device) {
  static constexpr const Step& step = Code::plan.steps[S];
  if constexpr (step.kind == Step::Kind::loop) {
    run_loop<Code, S>(operands, device.queue(0), std::make_integer_sequence<int, step.count>{});
  } else if constexpr (step.kind == Step::Kind::copy) {
    copy_operand(operands[step.node], binding.results[step.result], device.queue(0));
  } else {
    constexpr bool adds = step.kind == Step::Kind::accumulate;
    check_widths(Code::program, step.node, operands[step.node]);
    run_kernel<linden::detail::OperationOf<Code, S>>(
        linden::detail::make_call(Code::program, adds ? step.summand : step.node, step.node, adds, operands), device);
  }
}

/// What a run of a plan depends on, beside the contents of memory.
template <class Code, class T>
Replays::Key replay_key(const linden::detail::Binding<T>& binding, const T* saved, const T* memory) {
  Replays::Key key;
  const auto add = [&key](auto word) {
    if constexpr (std::is_pointer_v<decltype(word)>)
      key.push_back(reinterpret_cast<std::uintptr_t>(word));
    else
      key.push_back(static_cast<std::uintptr_t>(word));
  };
  for (const void* const address : {static_cast<const void*>(&Code::plan), static_cast<const void*>(saved), static_cast<const void*>(memory)})
    add(address);
  const auto add_operands = [&](const auto& operands, int count) {
    for (int k = 0; k < count; ++k) {
      const Operand<T>& x = operands[static_cast<std::size_t>(k)];
      add(x.data), add(x.ids), add(x.wide), add(x.rows), add(x.columns), add(x.stride), add(x.accumulate);
    }
  };
  add_operands(binding.inputs, binding.input_count);
  add_operands(binding.results, binding.result_count);
  return key;
}

/// Starts a plan on bound tensors; `saved` is the saved buffer (null if the plan has none).
template <class Code, class T>
void run_plan(const linden::detail::Binding<T>& binding, const Pools& saved_pools, T* saved, Workspace<T>& workspace) {
  T* const memory = workspace.reserve(static_cast<std::size_t>(Code::plan.workspace.elements(binding.sizes)));
  Device& device = workspace.device();
  device.replays().run(replay_key<Code>(binding, saved, memory), device.stream(), [&] {
    linden::detail::Operands<T> operands;
    linden::detail::find_operands(Code::program, Code::plan, saved_pools, binding, saved, memory, operands);
    [&]<int... S>(std::integer_sequence<int, S...>) {
      (run_step<Code, S>(binding, operands, device), ...);
    }(std::make_integer_sequence<int, Code::plan.step_count>{});
  });
}

}  // namespace linden::cuda
