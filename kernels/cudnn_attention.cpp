// cuDNN's fused attention behind FusedAttention: the only translation unit that includes cuDNN and its front end. It is
// host code and needs no nvcc: g++ takes 35 s and 1.1 GB for it, nvcc 70 s and 1.8 GB, most of it the front end's.
//
// Seen       with cuDNN 9.28 and front end 1.32: it compiles and links, its graphs are valid, and for the properties of
//            an H200 cuDNN finds kernels for heads of 16 to 128 columns. None was loaded or run, for want of a GPU.
// Order      backward is asked for its deterministic algorithm. Forward has no such switch; the tests on a device run
//            everything twice and compare the bits.
// Memory     on compute capability 9 that algorithm would keep a matrix of scores for every sequence and head, unless
//            an environment variable tells the front end to keep none, which cuDNN can do since 9.25. What it needs
//            then grows with the tokens: about three float matrices of the size of q.
// Sequences  ragged offsets say where each one's rows begin, lengths where they end; no padding is moved or computed.

#include "cudnn_attention.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>  // before the front end, which uses it and does not include it
#include <linden/core/error.hpp>
#include <map>

#define CUDNN_FRONTEND_SKIP_JSON_LIB  // graphs are not written to files
#include <cudnn_frontend.h>

namespace linden::cuda {

namespace {

namespace fe = cudnn_frontend;
using Attributes = fe::graph::Tensor_attributes;
using Tensor = std::shared_ptr<Attributes>;

constexpr std::size_t oldest = 92500;

constexpr std::size_t number(FusedTensor t) { return static_cast<std::size_t>(t); }

// What cuDNN calls the tensors of a graph.
constexpr std::int64_t tensor_id(std::size_t t) { return static_cast<std::int64_t>(1 + t); }
constexpr std::int64_t offset_id(std::size_t t) { return static_cast<std::int64_t>(1 + fused_tensors + t); }
constexpr std::int64_t queries_id = 1 + 2 * fused_tensors, keys_id = queries_id + 1;

[[noreturn]] void refuse(const FusedShape& shape, const char* what, const std::string& answer) {
  throw DeviceError(text("linden: cuDNN's attention, ", shape.backward() ? "backward" : "forward", ", of at most ",
                         shape.sequences, " sequences and ", shape.tokens, " tokens, ", shape.heads, " heads over ",
                         shape.kv_heads, " of size ", shape.size, ": ", what, ": ", answer));
}
void check(fe::error_t status, const FusedShape& shape, const char* what) {
  if (status.is_bad()) refuse(shape, what, status.get_message());
}
void check(cudnnStatus_t status, const FusedShape& shape, const char* what) {
  if (status != CUDNN_STATUS_SUCCESS) refuse(shape, what, cudnnGetErrorString(status));
}

/// One call as cuDNN knows it: [sequences, heads, tokens, columns] with a ragged third axis.
class Description {
 public:
  Description(const FusedShape& shape, int capability) : shape_(shape) {
    graph_.set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT)
        .set_sm_version(capability);
    shape.backward() ? add_backward() : add_forward();
    check(graph_.validate(), shape_, "not supported");
  }

  [[nodiscard]] fe::graph::Graph& graph() { return graph_; }

 private:
  [[nodiscard]] Attributes layout(FusedTensor t) const {
    const bool log_sums = t == FusedTensor::log_sums;
    const long stride = shape_.stride(t), size = log_sums ? 1 : shape_.size;
    Attributes tensor;
    tensor.set_uid(tensor_id(number(t)))
        .set_dim({shape_.sequences, of_keys(t) ? shape_.kv_heads : shape_.heads, shape_.tokens, size})
        .set_stride({shape_.tokens * stride, size, stride, 1})
        .set_data_type(log_sums ? fe::DataType_t::FLOAT : fe::DataType_t::BFLOAT16);
    return tensor;
  }
  /// An integer for every sequence, or `count` of them.
  Tensor integers(std::int64_t id, long count, fe::DataType_t type) {
    return graph_.tensor(
        Attributes().set_uid(id).set_dim({count, 1, 1, 1}).set_stride({1, 1, 1, 1}).set_data_type(type));
  }
  Tensor offsets(FusedTensor t) { return integers(offset_id(number(t)), shape_.sequences + 1, fe::DataType_t::INT64); }
  Tensor input(FusedTensor t) { return graph_.tensor(layout(t).set_ragged_offset(offsets(t))); }
  void output(const Tensor& result, FusedTensor t) {
    const Attributes as = layout(t);
    result->set_output(true)
        .set_uid(as.get_uid())
        .set_dim(as.get_dim())
        .set_stride(as.get_stride())
        .set_data_type(as.get_data_type())
        .set_ragged_offset(offsets(t));
  }
  /// What forward and backward have in common.
  template <class Options>
  Options options() {
    Options all;
    all.set_attn_scale(1.0F / std::sqrt(static_cast<float>(shape_.size)))
        .set_diagonal_alignment(fe::DiagonalAlignment_t::BOTTOM_RIGHT)
        .set_diagonal_band_right_bound(0)
        .set_padding_mask(true)
        .set_seq_len_q(integers(queries_id, shape_.sequences, fe::DataType_t::INT32))
        .set_seq_len_kv(integers(keys_id, shape_.sequences, fe::DataType_t::INT32))
        .set_max_total_seq_len_q(shape_.tokens)
        .set_max_total_seq_len_kv(shape_.tokens);
    return all;
  }
  void add_forward() {
    const bool wants_sums = shape_.has(FusedTensor::log_sums);
    const auto [o, sums] = graph_.sdpa(input(FusedTensor::q), input(FusedTensor::k), input(FusedTensor::v),
                                       options<fe::graph::SDPA_attributes>().set_generate_stats(wants_sums));
    output(o, FusedTensor::o);
    if (wants_sums) output(sums, FusedTensor::log_sums);
  }
  void add_backward() {
    const auto [dq, dk, dv] =
        graph_.sdpa_backward(input(FusedTensor::q), input(FusedTensor::k), input(FusedTensor::v), input(FusedTensor::o),
                             input(FusedTensor::upstream), input(FusedTensor::log_sums),
                             options<fe::graph::SDPA_backward_attributes>().set_deterministic_algorithm(true));
    output(dq, FusedTensor::dq);
    output(dk, FusedTensor::dk);
    output(dv, FusedTensor::dv);
  }

  FusedShape shape_;
  fe::graph::Graph graph_;
};

/// A call that can be started: cuDNN's kernels are chosen and loaded.
class Plan {
 public:
  Plan(cudnnHandle_t handle, const FusedShape& shape, int capability) : shape_(shape), description_(shape, capability) {
    check(graph().build_operation_graph(handle), shape_, "graph");
    check(graph().create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK}), shape_, "no kernel");
    check(graph().check_support(), shape_, "no kernel");
    check(graph().build_plans(), shape_, "kernel");
    std::int64_t bytes = 0;
    check(graph().get_workspace_size(bytes), shape_, "workspace");
    workspace_ = static_cast<std::size_t>(bytes);
  }
  [[nodiscard]] std::size_t workspace() const { return workspace_; }
  void run(cudnnHandle_t handle, const FusedCall& call) {
    for (std::size_t t = 0; t < fused_tensors; ++t) {
      if (shape_.strides[t] == 0) continue;
      pointers_[tensor_id(t)] = call.data[t];
      pointers_[offset_id(t)] = address(call.offsets + static_cast<long>(t) * (shape_.sequences + 1));
    }
    pointers_[queries_id] = address(call.lengths);
    pointers_[keys_id] = address(call.lengths + shape_.sequences);
    check(graph().execute(handle, pointers_, call.workspace), shape_, "start");
  }

 private:
  /// cuDNN takes what it only reads as void*, too.
  template <class T>
  static void* address(const T* data) {
    return const_cast<T*>(data);
  }
  [[nodiscard]] fe::graph::Graph& graph() { return description_.graph(); }

  FusedShape shape_;
  Description description_;
  std::size_t workspace_ = 0;
  std::unordered_map<std::int64_t, void*> pointers_;  ///< kept, so that a step does not allocate them
};

/// cuDNN on one device, and every call that was asked for so far.
class CudnnAttention final : public FusedAttention {
 public:
  CudnnAttention() {
    if (const std::size_t found = cudnnGetVersion(); found < oldest)
      throw DeviceError(text("linden: cuDNN ", found, " was found, attention needs 9.25 (", oldest, ") or later"));
    setenv("CUDNN_FRONTEND_ATTN_DP_WORKSPACE_LIMIT", "0", /*overwrite=*/0);
    check(cudnnCreate(&handle_), {}, "cuDNN cannot be started");
    int device = 0, major = 0, minor = 0;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess)
      throw DeviceError("linden: cannot ask for the GPU's compute capability");
    capability_ = 10 * major + minor;
  }
  ~CudnnAttention() override { cudnnDestroy(handle_); }

  [[nodiscard]] int capability() const override { return capability_; }
  std::size_t workspace(const FusedShape& shape) override { return plan(shape).workspace(); }
  void run(const FusedShape& shape, const FusedCall& call, void* stream) override {
    check(cudnnSetStream(handle_, static_cast<cudaStream_t>(stream)), shape, "stream");
    plan(shape).run(handle_, call);
  }

 private:
  Plan& plan(const FusedShape& shape) {
    auto& found = plans_[shape];
    if (found == nullptr) found = std::make_unique<Plan>(handle_, shape, capability_);
    return *found;
  }

  cudnnHandle_t handle_ = nullptr;
  int capability_ = 0;
  std::map<FusedShape, std::unique_ptr<Plan>> plans_;
};

}  // namespace

std::unique_ptr<FusedAttention> make_cudnn_attention() { return std::make_unique<CudnnAttention>(); }

void validate_cudnn_attention(const FusedShape& shape, int capability) { const Description valid(shape, capability); }

}  // namespace linden::cuda
