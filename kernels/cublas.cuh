#pragma once
/// \file
/// cuBLASLt behind the matrix products of plans. float products use no TF32.
/// Order   an algorithm is chosen once for every shape and kept, and its workspace is ours: the same bits every time.
/// Errors  DeviceError naming the product's sizes and what cuBLASLt answered.

#include <cublasLt.h>

#include <compare>
#include <map>
#include <memory>

#include "memory.cuh"

namespace linden::cuda {

/// Throws DeviceError, with the product's extents, for what failed.
inline void check(cublasStatus_t status, const ProductShape& shape, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(text("linden: the product [", shape.m, ", ", shape.k, "] * [", shape.k, ", ", shape.n, "] in ",
                         shape.narrow ? "bfloat16" : "float", ": ", what, ": ", cublasLtGetStatusString(status)));
}

/// One product as cuBLASLt knows it. It thinks in columns, so it is asked for C^T = op(B)^T op(A)^T.
class PreparedProduct {
 public:
  /// Asks cuBLASLt for its algorithm, with so many bytes of workspace.
  PreparedProduct(cublasLtHandle_t handle, const ProductShape& shape, std::size_t workspace) : shape_(shape) {
    const cudaDataType_t type = shape.narrow ? CUDA_R_16BF : CUDA_R_32F, type_c = shape.wide_c ? CUDA_R_32F : type;
    check(cublasLtMatmulDescCreate(&description_, CUBLAS_COMPUTE_32F, CUDA_R_32F), shape, "description");
    set(CUBLASLT_MATMUL_DESC_TRANSA, shape.transposed_b);
    set(CUBLASLT_MATMUL_DESC_TRANSB, shape.transposed_a);
    lay_out(b_, type, shape.transposed_b ? shape.k : shape.n, shape.transposed_b ? shape.n : shape.k, shape.stride_b);
    lay_out(a_, type, shape.transposed_a ? shape.m : shape.k, shape.transposed_a ? shape.k : shape.m, shape.stride_a);
    lay_out(c_, type_c, shape.n, shape.m, shape.stride_c);
    choose(handle, workspace);
  }
  PreparedProduct(const PreparedProduct&) = delete;
  PreparedProduct& operator=(const PreparedProduct&) = delete;
  ~PreparedProduct() {
    for (cublasLtMatrixLayout_t layout : {a_, b_, c_})
      if (layout != nullptr) cublasLtMatrixLayoutDestroy(layout);
    if (description_ != nullptr) cublasLtMatmulDescDestroy(description_);
  }

  /// Starts the product on the stream.
  void run(cublasLtHandle_t handle, const void* a, const void* b, void* c, void* workspace, std::size_t bytes,
           Stream stream) const {
    const float alpha = 1, beta = shape_.accumulate ? 1 : 0;
    check(cublasLtMatmul(handle, description_, &alpha, b, b_, a, a_, &beta, c, c_, c, c_, &algorithm_, workspace, bytes, stream),
          shape_, "start");
  }

 private:
  void set(cublasLtMatmulDescAttributes_t attribute, bool transposed) {
    const cublasOperation_t operation = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    check(cublasLtMatmulDescSetAttribute(description_, attribute, &operation, sizeof(operation)), shape_, "transpose");
  }
  void lay_out(cublasLtMatrixLayout_t& layout, cudaDataType_t type, long rows, long columns, long stride) {
    check(cublasLtMatrixLayoutCreate(&layout, type, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns), stride),
          shape_, "layout");
  }
  void choose(cublasLtHandle_t handle, std::size_t workspace) {
    cublasLtMatmulPreference_t preference = nullptr;
    check(cublasLtMatmulPreferenceCreate(&preference), shape_, "preference");
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof(workspace));
    // What rows begin at is a multiple of 16 bytes only where strides are.
    const auto alignment = [this](long stride, bool half) -> std::uint32_t { return stride % (half ? 8 : 4) == 0 ? 16 : half ? 2 : 4; };
    const std::uint32_t of_a = alignment(shape_.stride_a, shape_.narrow), of_b = alignment(shape_.stride_b, shape_.narrow),
                        of_c = alignment(shape_.stride_c, shape_.narrow && !shape_.wide_c);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &of_b, sizeof(of_b));
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &of_a, sizeof(of_a));
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &of_c, sizeof(of_c));
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &of_c, sizeof(of_c));
    cublasLtMatmulHeuristicResult_t best{};
    int found = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle, description_, b_, a_, c_, c_, preference, 1, &best, &found);
    cublasLtMatmulPreferenceDestroy(preference);
    check(status == CUBLAS_STATUS_SUCCESS && found == 0 ? CUBLAS_STATUS_NOT_SUPPORTED : status, shape_, "no algorithm");
    algorithm_ = best.algo;
  }

  ProductShape shape_;
  cublasLtMatmulDesc_t description_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, c_ = nullptr;
  cublasLtMatmulAlgo_t algorithm_{};
};

/// cuBLASLt, its workspace, and every product that was asked for so far.
class Products {
 public:
  /// Takes the workspace, on the current device.
  explicit Products(std::size_t workspace_bytes = std::size_t(32) << 20U) : workspace_(workspace_bytes) {
    check(cublasLtCreate(&handle_), {}, "cuBLASLt cannot be started");
  }
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;
  ~Products() { cublasLtDestroy(handle_); }

  /// C = or += op(A) op(B), in stream order; a shape seen for the first time is prepared.
  void run(const ProductShape& shape, const void* a, const void* b, void* c, Stream stream) {
    auto& prepared = prepared_[shape];
    if (prepared == nullptr) prepared = std::make_unique<PreparedProduct>(handle_, shape, workspace_.size());
    prepared->run(handle_, a, b, c, workspace_.data(), workspace_.size(), stream);
  }

 private:
  cublasLtHandle_t handle_ = nullptr;
  Buffer<char> workspace_;
  std::map<ProductShape, std::unique_ptr<PreparedProduct>> prepared_;
};

}  // namespace linden::cuda
