# linden::linden      the library: C++20, Eigen, and OpenMP where it is found
# linden::llama       models, training, evaluation and their files as well (model, train, eval, io, data): JSON, PCRE2
# linden_distributed  training by several processes (distributed): MPI. linden::distributed where it was asked for, LindenMpi.cmake
# linden_cuda         all but that on NVIDIA GPUs (kernels): CUDA. linden::cuda where the toolkit was asked for, LindenCuda.cmake
# Headers need no list: a new file belongs to one of the four by its folder.

# The oldest versions that will do; installed packages ask for the same.
set(linden_eigen_version 3.4)
set(linden_json_version 3.10)
set(linden_pcre2_version 10.40)
set(linden_cuda_version 12.0)
set(linden_mpi_version 3.1)  # of the standard

if(NOT TARGET Eigen3::Eigen)
  find_package(Eigen3 ${linden_eigen_version} REQUIRED NO_MODULE)
endif()
if(NOT TARGET nlohmann_json::nlohmann_json)
  find_package(nlohmann_json ${linden_json_version} QUIET)
endif()
if(NOT TARGET PCRE2::8BIT)
  find_package(PCRE2 ${linden_pcre2_version} QUIET)
endif()
if(LINDEN_OPENMP)
  find_package(OpenMP QUIET COMPONENTS CXX)
endif()

file(GLOB_RECURSE linden_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/*.hpp)
set(linden_llama_headers ${linden_headers})
list(FILTER linden_llama_headers INCLUDE REGEX "/include/linden/(io|data|model|train|eval|core/regular_expression\\.hpp$)")
list(FILTER linden_llama_headers EXCLUDE REGEX "/eval/aurac\\.hpp$")  # numbers in, numbers out
set(linden_distributed_headers ${linden_headers})
list(FILTER linden_distributed_headers INCLUDE REGEX "/include/linden/distributed/")
list(REMOVE_ITEM linden_headers ${linden_llama_headers} ${linden_distributed_headers})
file(GLOB linden_cuda_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.cuh ${PROJECT_SOURCE_DIR}/kernels/*.hpp)

add_library(linden INTERFACE)
add_library(linden::linden ALIAS linden)
target_compile_features(linden INTERFACE cxx_std_20)
target_sources(linden INTERFACE FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${linden_headers})
target_link_libraries(linden INTERFACE Eigen3::Eigen)
if(LINDEN_OPENMP AND OpenMP_CXX_FOUND)
  # An installed linden looks for its user's OpenMP instead (linden-config.cmake).
  target_link_libraries(linden INTERFACE $<BUILD_INTERFACE:OpenMP::OpenMP_CXX>)
endif()

add_library(linden_llama INTERFACE)
add_library(linden::llama ALIAS linden_llama)
set_target_properties(linden_llama PROPERTIES EXPORT_NAME llama)
target_sources(linden_llama INTERFACE FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${linden_llama_headers})
target_link_libraries(linden_llama INTERFACE linden nlohmann_json::nlohmann_json PCRE2::8BIT)

add_library(linden_distributed INTERFACE)
set_target_properties(linden_distributed PROPERTIES EXPORT_NAME distributed)
target_sources(linden_distributed INTERFACE FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${linden_distributed_headers})
target_link_libraries(linden_distributed INTERFACE linden_llama MPI::MPI_CXX)

# Users of the GPU backend compile CUDA themselves: <kernels/...> from the base folder, products by cuBLASLt.
add_library(linden_cuda INTERFACE)
set_target_properties(linden_cuda PROPERTIES EXPORT_NAME cuda)
target_sources(linden_cuda INTERFACE FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${linden_cuda_headers})
# Operations' constexpr functions run on devices. 1301: the friends behind operation_of are meant. 20012: Eigen's annotations.
# 554: a conversion of a view to itself. 186: a loop over no extents. (The standard is a flag, since CMake 3.25 does not know nvcc 13's.)
target_compile_options(linden_cuda INTERFACE
                       "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--expt-relaxed-constexpr;-diag-suppress=1301,20012,554,186>")
target_link_libraries(linden_cuda INTERFACE linden_llama CUDA::cudart CUDA::cublasLt)
