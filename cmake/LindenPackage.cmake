# `cpack` in the build folder makes linden-dev_VERSION_all.deb: headers, the CMake package and the pkg-config files. No programs:
# they are compiled for the models and the machine of who builds them.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_CONTACT "the linden authors")
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(CPACK_DEBIAN_PACKAGE_NAME linden-dev)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libeigen3-dev (>= ${linden_eigen_version})")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS  # for linden::llama
    "nlohmann-json3-dev (>= ${linden_json_version}), libpcre2-dev (>= ${linden_pcre2_version})")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS  # for linden::cuda
    "cmake (>= ${CMAKE_MINIMUM_REQUIRED_VERSION}), pkg-config, nvidia-cuda-toolkit (>= ${linden_cuda_version})")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "A header-only C++20 library: tensors with shapes that the compiler knows, functions that it
differentiates, and Llama models with nested low-rank adapters (LoRA, DyLoRA, MatryoshkaLoRA),
trained and evaluated at every rank on the CPU and on NVIDIA GPUs.")

# Debian wants the licence elsewhere, and under another name.
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/linden-dev RENAME copyright COMPONENT debian EXCLUDE_FROM_ALL)
set(CPACK_INSTALL_CMAKE_PROJECTS "${PROJECT_BINARY_DIR};linden;Unspecified;/;${PROJECT_BINARY_DIR};linden;debian;/")
include(CPack)
