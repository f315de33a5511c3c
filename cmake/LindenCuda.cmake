# linden::cuda, the GPU backend (what it is: LindenTargets.cmake), with the compiler and the toolkit that it needs.
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "linden: LINDEN_CUDA needs nvcc, which was not found; put it on the PATH or set CMAKE_CUDA_COMPILER")
endif()
enable_language(CUDA)
find_package(CUDAToolkit ${linden_cuda_version} REQUIRED)
add_library(linden::cuda ALIAS linden_cuda)

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
