# cmake -DWAY=find_package|add_subdirectory -DFOLDER=... -P check.cmake: builds and runs the project of a user.
cmake_minimum_required(VERSION 3.24)
file(REMOVE_RECURSE ${FOLDER})

function(must)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

if(WAY STREQUAL find_package)
  must(${CMAKE_COMMAND} --install ${LINDEN_BUILD} --prefix ${FOLDER}/prefix)
  # moved after the install: nothing in it may name the folder it was made in
  file(RENAME ${FOLDER}/prefix ${FOLDER}/moved)
  set(place -DCMAKE_PREFIX_PATH=${FOLDER}/moved)

  file(GLOB_RECURSE written RELATIVE ${LINDEN_SOURCE}/include ${LINDEN_SOURCE}/include/*.hpp)
  file(GLOB_RECURSE installed RELATIVE ${FOLDER}/moved/include ${FOLDER}/moved/include/*.hpp)
  list(REMOVE_ITEM written ${installed})
  if(written)
    message(FATAL_ERROR "not installed: ${written}")
  endif()
else()
  set(place -DLINDEN_SOURCE=${LINDEN_SOURCE})
endif()

must(${CMAKE_COMMAND} -G ${GENERATOR} -S ${CMAKE_CURRENT_LIST_DIR}/project -B ${FOLDER}/build
     -DCMAKE_CXX_COMPILER=${COMPILER} ${place})
must(${CMAKE_COMMAND} --build ${FOLDER}/build)
must(${FOLDER}/build/core)
must(${FOLDER}/build/files)
