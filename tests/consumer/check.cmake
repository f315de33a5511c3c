# cmake -DWAY=... -DCOMPILER=... -DSTANDARD=... -DFOLDER=... -P check.cmake: takes linden in as a user does, builds and runs
# project/.
#   WAY         find_package   from an install that was moved
#               deb            the same from the Debian package, unpacked
#               vcpkg          the same as vcpkg's port installs it, with a stand-in for vcpkg
#               cuda           the component for GPUs, installed
#               distributed    the component for several processes, installed; alone and as two
#               add_subdirectory, fetch_content
#               pkg_config     from an install below DESTDIR, without CMake
#   EVERYTHING  ON: every public header, too; TWICE: in two translation units
cmake_minimum_required(VERSION 3.24)
file(REMOVE_RECURSE ${FOLDER})

function(must)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

foreach(tool COMPILER PKG_CONFIG DPKG_DEB MPIEXEC NVCC)
  if(DEFINED ${tool} AND NOT ${tool})
    message("Test case \"consumer/${WAY}\" is skipped because SKIPPED: its ${tool} was not found")
    return()
  endif()
endforeach()

# consume(PROGRAMS OPTION...): configured with these options of CMake, its PROGRAMS built and run
function(consume programs)
  must(${CMAKE_COMMAND} -G ${GENERATOR} -S ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/project -B ${FOLDER}/build -DWAY=${WAY}
       -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_CXX_STANDARD=${STANDARD} -DEVERYTHING=${EVERYTHING} ${ARGN})
  must(${CMAKE_COMMAND} --build ${FOLDER}/build --parallel 1 --target ${programs})
  foreach(program IN LISTS programs)
    must(${FOLDER}/build/${program})
  endforeach()
endfunction()

if(WAY STREQUAL "find_package")
  must(${CMAKE_COMMAND} --install ${LINDEN_BUILD} --prefix ${FOLDER}/prefix)
  file(RENAME ${FOLDER}/prefix ${FOLDER}/moved)
  set(folders include kernels)
  set(installed_folders include include/linden-cuda/kernels)
  foreach(from to IN ZIP_LISTS folders installed_folders)
    file(GLOB_RECURSE written RELATIVE ${LINDEN_SOURCE}/${from} ${LINDEN_SOURCE}/${from}/*.hpp ${LINDEN_SOURCE}/${from}/*.cuh)
    file(GLOB_RECURSE installed RELATIVE ${FOLDER}/moved/${to} ${FOLDER}/moved/${to}/*)
    list(REMOVE_ITEM written ${installed})
    if(written)
      message(FATAL_ERROR "not installed: ${written}")
    endif()
  endforeach()
  consume("core;llama" -DCMAKE_PREFIX_PATH=${FOLDER}/moved)

elseif(WAY STREQUAL "deb")
  must(${CMAKE_CPACK_COMMAND} --config ${LINDEN_BUILD}/CPackConfig.cmake -B ${FOLDER})
  file(GLOB package ${FOLDER}/linden-dev_*_all.deb)
  must(${DPKG_DEB} --extract ${package} ${FOLDER}/root)
  if(NOT EXISTS ${FOLDER}/root/usr/share/doc/linden-dev/copyright)
    message(FATAL_ERROR "${package} holds no licence")
  endif()
  consume("core;llama" -DWAY=find_package -DCMAKE_PREFIX_PATH=${FOLDER}/root/usr)

elseif(WAY STREQUAL "vcpkg")
  set(PORT linden)
  set(FEATURES core)
  set(CURRENT_PACKAGES_DIR ${FOLDER}/linden)
  include(${CMAKE_CURRENT_LIST_DIR}/vcpkg.cmake)
  include(${LINDEN_SOURCE}/cmake/packaging/vcpkg/linden/portfile.cmake)
  foreach(file include/linden/linden.hpp share/linden/copyright)
    if(NOT EXISTS ${CURRENT_PACKAGES_DIR}/${file})
      message(FATAL_ERROR "the port does not install ${file}")
    endif()
  endforeach()
  consume(core -DWAY=find_package -DCMAKE_PREFIX_PATH=${CURRENT_PACKAGES_DIR})

elseif(WAY STREQUAL "cuda")
  must(${CMAKE_COMMAND} --install ${LINDEN_BUILD} --prefix ${FOLDER}/prefix)
  consume(cuda -DWAY=find_package -DCUDA=ON -DCMAKE_CUDA_COMPILER=${NVCC} -DCMAKE_CUDA_ARCHITECTURES=90
          -DCMAKE_PREFIX_PATH=${FOLDER}/prefix)

elseif(WAY STREQUAL "distributed")
  must(${CMAKE_COMMAND} --install ${LINDEN_BUILD} --prefix ${FOLDER}/prefix)
  consume(distributed -DWAY=find_package -DDISTRIBUTED=ON -DCMAKE_PREFIX_PATH=${FOLDER}/prefix)
  foreach(allowed OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM OMPI_MCA_rmaps_base_oversubscribe)
    set(ENV{${allowed}} 1)
  endforeach()
  must(${MPIEXEC} -n 2 ${FOLDER}/build/distributed)

elseif(WAY STREQUAL "pkg_config")
  set(ENV{DESTDIR} ${FOLDER}/root)
  must(${CMAKE_COMMAND} --install ${LINDEN_BUILD} --prefix /usr)
  set(ENV{PKG_CONFIG_PATH} ${FOLDER}/root/usr/share/pkgconfig)
  foreach(program core llama)
    string(REPLACE "core" "linden" module ${program})
    string(REPLACE "llama" "linden-llama" module ${module})
    execute_process(COMMAND ${PKG_CONFIG} --cflags --libs ${module} OUTPUT_VARIABLE flags COMMAND_ERROR_IS_FATAL ANY)
    separate_arguments(flags UNIX_COMMAND "${flags}")
    must(${COMPILER} -std=c++${STANDARD} ${CMAKE_CURRENT_LIST_DIR}/project/${program}.cpp ${flags} -o ${FOLDER}/${program})
    must(${FOLDER}/${program})
  endforeach()

else()
  consume("core;llama" -DLINDEN_SOURCE=${LINDEN_SOURCE})
endif()
