# CUDNN::cudnn, NVIDIA's cuDNN and its header-only front end, looked for in CUDNN_ROOT (a list of folders; the packages for
# Python will do) and the CUDA toolkit. CUDNN_MISSING says what was not found.
find_path(CUDNN_INCLUDE_DIR cudnn_version.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_path(CUDNN_FRONTEND_INCLUDE_DIR cudnn_frontend.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 NAMES_PER_DIR HINTS ${CUDNN_INCLUDE_DIR}/.. ${CUDAToolkit_LIBRARY_DIR}
             PATH_SUFFIXES lib)  # that beside the header, if there are several
mark_as_advanced(CUDNN_INCLUDE_DIR CUDNN_FRONTEND_INCLUDE_DIR CUDNN_LIBRARY)

set(CUDNN_VERSION "")
if(CUDNN_INCLUDE_DIR)
  file(STRINGS ${CUDNN_INCLUDE_DIR}/cudnn_version.h numbers REGEX "define CUDNN_(MAJOR|MINOR|PATCHLEVEL) +[0-9]+")
  string(REGEX MATCHALL "[0-9]+" numbers "${numbers}")
  list(JOIN numbers "." CUDNN_VERSION)
endif()

set(missing "")
if(NOT CUDNN_INCLUDE_DIR)
  list(APPEND missing "cudnn_version.h")
elseif(CUDNN_FIND_VERSION AND CUDNN_VERSION VERSION_LESS CUDNN_FIND_VERSION)
  list(APPEND missing "cuDNN ${CUDNN_FIND_VERSION} or later (${CUDNN_INCLUDE_DIR} holds ${CUDNN_VERSION})")
endif()
if(NOT CUDNN_LIBRARY)
  list(APPEND missing "libcudnn")
endif()
if(NOT CUDNN_FRONTEND_INCLUDE_DIR)
  list(APPEND missing "cudnn_frontend.h")
endif()
list(JOIN missing ", " missing)
set(CUDNN_MISSING "not found: ${missing}; set CUDNN_ROOT to the folders that hold their include/ and lib/")

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CUDNN REQUIRED_VARS CUDNN_LIBRARY CUDNN_INCLUDE_DIR CUDNN_FRONTEND_INCLUDE_DIR
                                  VERSION_VAR CUDNN_VERSION)
if(CUDNN_FOUND AND NOT TARGET CUDNN::cudnn)
  add_library(CUDNN::cudnn UNKNOWN IMPORTED)
  set_target_properties(CUDNN::cudnn PROPERTIES IMPORTED_LOCATION "${CUDNN_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES
                                                "${CUDNN_INCLUDE_DIR};${CUDNN_FRONTEND_INCLUDE_DIR}")
endif()
