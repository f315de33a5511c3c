# A stand-in for what vcpkg gives a port: the parts of its functions that linden's portfile is about. Included with CURRENT_PACKAGES_DIR,
# PORT, FEATURES and GENERATOR set.
function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 port "" SOURCE_PATH OPTIONS)
  must(${CMAKE_COMMAND} -G ${GENERATOR} -S ${port_SOURCE_PATH} -B ${CURRENT_PACKAGES_DIR}-build -DCMAKE_BUILD_TYPE=Release
       -DCMAKE_INSTALL_PREFIX=${CURRENT_PACKAGES_DIR} -DCMAKE_CXX_COMPILER=${COMPILER} ${port_OPTIONS})
endfunction()

function(vcpkg_cmake_install)
  must(${CMAKE_COMMAND} --build ${CURRENT_PACKAGES_DIR}-build --target install)
endfunction()

# The package moves to share/PORT, one folder up, and what counts folders to the prefix is told so.
function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 port "" CONFIG_PATH "")
  set(from ${CURRENT_PACKAGES_DIR}/${port_CONFIG_PATH})
  file(RENAME ${from} ${CURRENT_PACKAGES_DIR}/share/${PORT})
  cmake_path(GET from PARENT_PATH parent)
  file(REMOVE_RECURSE ${parent})
  set(up "get_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)\n")
  file(GLOB files ${CURRENT_PACKAGES_DIR}/share/${PORT}/*.cmake)
  foreach(file IN LISTS files)
    file(READ ${file} text)
    string(REPLACE "${up}${up}${up}" "${up}${up}" text "${text}")
    string(REPLACE "_DIR}/../../../\"" "_DIR}/../../\"" text "${text}")
    file(WRITE ${file} "${text}")
  endforeach()
endfunction()

# Every requirement of a module must be there.
function(vcpkg_fixup_pkgconfig)
  file(GLOB_RECURSE files ${CURRENT_PACKAGES_DIR}/*.pc)
  foreach(file IN LISTS files)
    must(${PKG_CONFIG} --print-errors --exists ${file})
  endforeach()
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 port "" "" FILE_LIST)
  file(INSTALL ${port_FILE_LIST} DESTINATION ${CURRENT_PACKAGES_DIR}/share/${PORT} RENAME copyright)
endfunction()
