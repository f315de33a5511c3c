# linden::cuda, the GPU backend: kernels/ compiled by nvcc, products by cuBLASLt. Users of the target compile CUDA themselves.
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "linden: LINDEN_CUDA needs nvcc, which was not found; put it on the PATH or set CMAKE_CUDA_COMPILER")
endif()
enable_language(CUDA)
find_package(CUDAToolkit 12.0 REQUIRED)

add_library(linden_cuda INTERFACE)
add_library(linden::cuda ALIAS linden_cuda)
target_include_directories(linden_cuda INTERFACE ${PROJECT_SOURCE_DIR})
# Operations' constexpr functions run on devices. 1301: the friends behind operation_of are meant. 20012: Eigen's annotations.
# 554: a conversion of a view to itself. 186: a loop over no extents. (The standard is a flag, since CMake 3.25 does not know nvcc 13's.)
target_compile_options(linden_cuda INTERFACE
                       "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--expt-relaxed-constexpr;-diag-suppress=1301,20012,554,186>")
target_link_libraries(linden_cuda INTERFACE linden::linden CUDA::cudart CUDA::cublasLt)

# linden::cudnn, optional: cuDNN's attention, one translation unit (kernels/cudnn_attention.cpp).
set_property(CACHE LINDEN_CUDNN PROPERTY STRINGS AUTO ON OFF)
if(LINDEN_CUDNN)
  find_package(CUDNN 9.25 QUIET)
  if(CUDNN_FOUND)
    add_library(linden_cudnn STATIC ${PROJECT_SOURCE_DIR}/kernels/cudnn_attention.cpp)
    add_library(linden::cudnn ALIAS linden_cudnn)
    target_include_directories(linden_cudnn PUBLIC ${PROJECT_SOURCE_DIR})
    target_link_libraries(linden_cudnn PUBLIC linden::linden PRIVATE CUDNN::cudnn CUDA::cudart)
    # The front end's one reference to NVRTC. As a target it would bring the driver, which programs start without.
    target_link_libraries(linden_cudnn PRIVATE $<TARGET_FILE:CUDA::nvrtc>)
    target_compile_options(linden_cudnn PRIVATE -O0)  # what is slow is the front end's templates; the work is cuDNN's
  elseif(LINDEN_CUDNN STREQUAL "AUTO")
    message(STATUS "linden: no cuDNN attention, ${CUDNN_MISSING}")
  else()
    message(FATAL_ERROR "linden: LINDEN_CUDNN=${LINDEN_CUDNN}, but ${CUDNN_MISSING}")
  endif()
endif()
