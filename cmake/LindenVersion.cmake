# The version is written twice, for CMake and for the preprocessor: refuse to configure when the two differ.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS include/linden/version.hpp)
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
