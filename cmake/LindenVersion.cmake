# The version is written for CMake, for the preprocessor and for vcpkg: refuse to configure when they differ.
set(port cmake/packaging/vcpkg/linden/vcpkg.json)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS include/linden/version.hpp ${port})
file(READ ${PROJECT_SOURCE_DIR}/include/linden/version.hpp header)
foreach(part MAJOR MINOR PATCH)
  if(NOT header MATCHES "#define LINDEN_VERSION_${part} ([0-9]+)")
    message(FATAL_ERROR "include/linden/version.hpp does not define LINDEN_VERSION_${part}")
  endif()
  if(NOT CMAKE_MATCH_1 EQUAL PROJECT_VERSION_${part})
    message(FATAL_ERROR "include/linden/version.hpp: LINDEN_VERSION_${part} is ${CMAKE_MATCH_1}, "
                        "the project in CMakeLists.txt has ${PROJECT_VERSION_${part}}")
  endif()
endforeach()

file(READ ${PROJECT_SOURCE_DIR}/${port} text)
string(JSON version GET ${text} version)
if(NOT version STREQUAL PROJECT_VERSION)
  message(FATAL_ERROR "${port}: the version is ${version}, the project in CMakeLists.txt has ${PROJECT_VERSION}")
endif()
