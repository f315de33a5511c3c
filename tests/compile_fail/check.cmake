# cmake -DCOMPILER=... -DINCLUDES=a:b -DSOURCE=file.cpp -P check.cmake
# The source must be refused, and the compiler must say the text of each of its lines `// expected: text`. The same
# source with LINDEN_FIXED defined must compile: so the refusal has the reason the file names and no other.
cmake_minimum_required(VERSION 3.24)
set(ENV{LC_ALL} C)  # plain quotes in GCC's messages
cmake_path(GET SOURCE FILENAME name)
string(REPLACE ":" ";-I" includes "-I${INCLUDES}")

# result_variable is the compiler's exit status, output_variable all it printed
function(compile result_variable output_variable)
  execute_process(COMMAND ${COMPILER} -std=c++20 -fsyntax-only ${includes} ${ARGN} ${SOURCE}
                  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  set(${result_variable} ${result} PARENT_SCOPE)
  set(${output_variable} "${output}" PARENT_SCOPE)
endfunction()

file(STRINGS ${SOURCE} lines REGEX "^// expected: .")
if(NOT lines)
  message(FATAL_ERROR "${name} has no line `// expected: ...`")
endif()

compile(result output)
if(result EQUAL 0)
  message(FATAL_ERROR "${name} compiles, and should not")
endif()
foreach(line IN LISTS lines)
  string(REGEX REPLACE "^// expected: " "" text "${line}")
  string(FIND "${output}" "${text}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "${name} is refused without saying: ${text}\n${output}")
  endif()
endforeach()

compile(result output -DLINDEN_FIXED)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${name} is refused with LINDEN_FIXED defined too:\n${output}")
endif()
