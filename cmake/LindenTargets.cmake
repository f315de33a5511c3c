# linden::linden  the library: C++20, Eigen, and OpenMP where it is found
# linden::io      the parts that read and write files as well (io, data, and the folders built on them): JSON, PCRE2
# Headers need no list: a new file under include/ belongs to one of the two by its folder.
if(NOT TARGET Eigen3::Eigen)
  find_package(Eigen3 3.4 REQUIRED NO_MODULE)
endif()
if(NOT TARGET nlohmann_json::nlohmann_json)
  find_package(nlohmann_json 3.10 QUIET)
endif()
if(NOT TARGET PCRE2::8BIT)
  find_package(PCRE2 QUIET)
endif()
if(LINDEN_OPENMP)
  find_package(OpenMP QUIET COMPONENTS CXX)
endif()

file(GLOB_RECURSE linden_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/*.hpp)
set(linden_io_headers ${linden_headers})
list(FILTER linden_io_headers INCLUDE REGEX "/include/linden/(io|data|model|train|eval)/")
list(FILTER linden_io_headers EXCLUDE REGEX "/eval/aurac\\.hpp$")  # numbers in, numbers out
list(REMOVE_ITEM linden_headers ${linden_io_headers})

add_library(linden INTERFACE)
add_library(linden::linden ALIAS linden)
target_compile_features(linden INTERFACE cxx_std_20)
target_sources(linden INTERFACE FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${linden_headers})
target_link_libraries(linden INTERFACE Eigen3::Eigen)
if(LINDEN_OPENMP AND OpenMP_CXX_FOUND)
  # An installed linden looks for its user's OpenMP instead (linden-config.cmake).
  target_link_libraries(linden INTERFACE $<BUILD_INTERFACE:OpenMP::OpenMP_CXX>)
endif()

add_library(linden_io INTERFACE)
add_library(linden::io ALIAS linden_io)
set_target_properties(linden_io PROPERTIES EXPORT_NAME io)
target_sources(linden_io INTERFACE FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${linden_io_headers})
target_link_libraries(linden_io INTERFACE linden nlohmann_json::nlohmann_json PCRE2::8BIT)
