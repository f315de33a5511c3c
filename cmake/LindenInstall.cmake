# Headers, the CMake package and the pkg-config file: the same files on every architecture.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
set(package_folder ${CMAKE_INSTALL_DATADIR}/cmake/linden)

install(TARGETS linden EXPORT linden-targets FILE_SET HEADERS)
install(TARGETS linden_io EXPORT linden-io-targets FILE_SET HEADERS)
install(EXPORT linden-targets NAMESPACE linden:: DESTINATION ${package_folder})
install(EXPORT linden-io-targets NAMESPACE linden:: DESTINATION ${package_folder})

configure_package_config_file(cmake/linden-config.cmake.in linden-config.cmake INSTALL_DESTINATION ${package_folder}
                              NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(linden-config-version.cmake COMPATIBILITY SameMajorVersion ARCH_INDEPENDENT)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/linden-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/linden-config-version.cmake
              cmake/FindPCRE2.cmake
        DESTINATION ${package_folder})

configure_file(cmake/linden.pc.in linden.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/linden.pc DESTINATION ${CMAKE_INSTALL_DATADIR}/pkgconfig)
