# The source is the tree that this port lies in. In a registry: vcpkg_from_github(OUT_SOURCE_PATH SOURCE_PATH ...)
cmake_path(ABSOLUTE_PATH CMAKE_CURRENT_LIST_DIR NORMALIZE OUTPUT_VARIABLE port)
cmake_path(SET SOURCE_PATH NORMALIZE ${port}/../../../..)
set(VCPKG_BUILD_TYPE release)  # headers only

vcpkg_cmake_configure(SOURCE_PATH ${SOURCE_PATH} OPTIONS -DLINDEN_TESTS=OFF -DLINDEN_EXAMPLES=OFF -DLINDEN_BENCH=OFF)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH share/cmake/linden)
if(NOT "llama" IN_LIST FEATURES)  # its requirements are then not there, which vcpkg_fixup_pkgconfig() would refuse
  file(REMOVE ${CURRENT_PACKAGES_DIR}/share/pkgconfig/linden-llama.pc)
endif()
vcpkg_fixup_pkgconfig()
file(REMOVE_RECURSE ${CURRENT_PACKAGES_DIR}/share/doc)
vcpkg_install_copyright(FILE_LIST ${SOURCE_PATH}/LICENSE)
