# The target documentation: Doxygen's pages of the headers, the README and the guides, in documentation/html of the build folder.
# It fails where a public name is not documented. LINDEN_DOCUMENTATION is its command, which the test of that name runs, too.
find_package(Doxygen 1.9 QUIET)
if(NOT DOXYGEN_FOUND)
  message(STATUS "linden: no documentation, Doxygen was not found (Debian: doxygen)")
  return()
endif()
# Other versions read C++ in other ways: what they miss is only printed.
set(LINDEN_DOCUMENTATION_ERRORS NO)
if(DOXYGEN_VERSION VERSION_LESS 1.10)
  set(LINDEN_DOCUMENTATION_ERRORS FAIL_ON_WARNINGS)
endif()
set(LINDEN_DOCUMENTATION_FOLDER ${PROJECT_BINARY_DIR}/documentation)
file(MAKE_DIRECTORY ${LINDEN_DOCUMENTATION_FOLDER})
configure_file(cmake/Doxyfile.in ${LINDEN_DOCUMENTATION_FOLDER}/Doxyfile @ONLY)
set(LINDEN_DOCUMENTATION ${DOXYGEN_EXECUTABLE} ${LINDEN_DOCUMENTATION_FOLDER}/Doxyfile)
add_custom_target(documentation COMMAND ${LINDEN_DOCUMENTATION} COMMENT "Doxygen's pages in ${LINDEN_DOCUMENTATION_FOLDER}/html")
