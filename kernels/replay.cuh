#pragma once
/// \file
/// Work that was started before on the same memory, replayed as one CUDA graph: the host then starts a whole block instead of
/// each of its kernels, which is what few tokens at a time wait for.
/// Order    the graph is the stream's order, so results are the same bits.
/// Errors   DeviceError where the device cannot capture or start a graph.

#include <map>
#include <vector>

#include "memory.cuh"

namespace linden::cuda {

/// A captured piece of a stream.
class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() {
    if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
  }
  [[nodiscard]] bool captured() const { return executable_ != nullptr; }  ///< there is something to start

  /// Captures what `body` starts on the stream, without running it.
  template <class Body>
  void capture(Stream stream, Body&& body) {
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cannot begin a graph");
    cudaGraph_t graph = nullptr;
    try {
      body();
    } catch (...) {
      cudaStreamEndCapture(stream, &graph);
      cudaGraphDestroy(graph);
      throw;
    }
    check(cudaStreamEndCapture(stream, &graph), "cannot end a graph");
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "cannot make a graph");
  }
  /// Starts what was captured, in stream order.
  void start(Stream stream) const { check(cudaGraphLaunch(executable_, stream), "cannot start a graph"); }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

/// Graphs by what the work depends on.
class Replays {
 public:
  /// Everything that the started kernels are given: addresses, extents, which work it is.
  using Key = std::vector<std::uintptr_t>;

  /// Runs `body` when it sees the key for the first time; captures it the second time; replays it from then on.
  template <class Body>
  void run(Key key, Stream stream, Body&& body) {
    const auto found = graphs_.find(key);
    if (found == graphs_.end()) {
      body();
      if (graphs_.size() == largest) graphs_.clear();  // batches of ever new sizes: old ones hardly come again
      graphs_.try_emplace(std::move(key));
      return;
    }
    if (!found->second.captured()) found->second.capture(stream, body);
    found->second.start(stream);
  }
  /// Forgets all: memory they use has moved.
  void clear() { graphs_.clear(); }

 private:
  static constexpr std::size_t largest = 1024;
  std::map<Key, Graph> graphs_;
};

}  // namespace linden::cuda
