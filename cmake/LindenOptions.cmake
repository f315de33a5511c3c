# linden_options: how our own programs, tests and benchmarks are compiled. Users of linden never see it.
if(PROJECT_IS_TOP_LEVEL AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(LINDEN_CCACHE ccache)
  if(LINDEN_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${LINDEN_CCACHE})
  endif()
endif()

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)

add_library(linden_options INTERFACE)
set(cxx "$<COMPILE_LANGUAGE:CXX>")  # nvcc has words of its own
target_compile_options(linden_options INTERFACE "$<${cxx}:-Wall;-Wextra;-Wconversion;-Wshadow>")
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms: every `"text" + string` (GCC bug 105651), AVX-512 intrinsics inside Eigen (GCC bug 105593).
  target_compile_options(linden_options INTERFACE "$<${cxx}:-Wno-restrict;-Wno-maybe-uninitialized;-Wno-uninitialized>")
endif()
if(LINDEN_WERROR)
  target_compile_options(linden_options INTERFACE "$<${cxx}:-Werror>" "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>")
endif()
if(LINDEN_NATIVE)
  target_compile_options(linden_options INTERFACE "$<${cxx}:-march=native>")
endif()
