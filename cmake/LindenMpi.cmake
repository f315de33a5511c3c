# linden::distributed, training by several processes (what it is: LindenTargets.cmake), with the MPI that it needs.
set(MPI_CXX_SKIP_MPICXX TRUE)  # MPI's C++ bindings left the standard with 3.0
find_package(MPI ${linden_mpi_version} COMPONENTS CXX)
if(NOT MPI_CXX_FOUND)
  message(FATAL_ERROR "linden: LINDEN_MPI needs an MPI ${linden_mpi_version}, which was not found (Debian: libopenmpi-dev, openmpi-bin)")
endif()
add_library(linden::distributed ALIAS linden_distributed)
