# Headers, the CMake package and the pkg-config files: the same files on every architecture, and none names the folder it lies in.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
set(package_folder ${CMAKE_INSTALL_DATADIR}/cmake/linden)
set(pkgconfig_folder ${CMAKE_INSTALL_DATADIR}/pkgconfig)

install(TARGETS linden EXPORT linden-targets FILE_SET HEADERS)
install(TARGETS linden_llama EXPORT linden-llama-targets FILE_SET HEADERS)
install(TARGETS linden_distributed EXPORT linden-distributed-targets FILE_SET HEADERS)
# In a folder of their own, which linden::cuda adds to its users' include path: <kernels/...> as in the source tree, while
# include/kernels would be a name that others may want.
install(TARGETS linden_cuda EXPORT linden-cuda-targets FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/linden-cuda)
foreach(targets linden-targets linden-llama-targets linden-distributed-targets linden-cuda-targets)
  install(EXPORT ${targets} NAMESPACE linden:: DESTINATION ${package_folder})
endforeach()

configure_package_config_file(cmake/linden-config.cmake.in linden-config.cmake INSTALL_DESTINATION ${package_folder}
                              NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(linden-config-version.cmake COMPATIBILITY SameMajorVersion ARCH_INDEPENDENT)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/linden-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/linden-config-version.cmake
              cmake/FindPCRE2.cmake
        DESTINATION ${package_folder})

set(to_prefix ${CMAKE_INSTALL_PREFIX})
cmake_path(RELATIVE_PATH to_prefix BASE_DIRECTORY ${CMAKE_INSTALL_FULL_DATADIR}/pkgconfig)
set(includedir "\${prefix}")
cmake_path(APPEND includedir ${CMAKE_INSTALL_INCLUDEDIR})  # an absolute folder replaces the prefix
foreach(module linden linden-llama)
  configure_file(cmake/${module}.pc.in ${module}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${module}.pc DESTINATION ${pkgconfig_folder})
endforeach()

install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT licence)
if(PROJECT_IS_TOP_LEVEL)
  include(LindenPackage)
endif()
