#!/usr/bin/env bash
# Builds linden and runs its tests, from a bare Debian or Ubuntu on. Works from any folder.
#
#   bash tests/run.sh [--quick | --cuda | --sanitize]
#
#   --quick    the release build and its tests only
#   --sanitize every test and program under the address and undefined-behaviour sanitizers, what uses threads under the thread
#              sanitizer, one program under valgrind: an hour
#   --cuda     the GPU backend only, on the GPU of this machine: for its architecture, all tests of it
#
# Everything is compiled with g++ (release build, all tests); programs, graph and operations are also checked with clang++;
# the tests of memory and files run under its address and undefined-behaviour sanitizers, and every reader of files is offered
# hostile input for 20 seconds. Where nvcc is found, the GPU backend is compiled as well; its tests run on a simulated grid
# everywhere, and are reported as skipped on devices where there is none.
# Warnings are errors everywhere. The last lines are ctest's summary of the release tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sanitized_folders=(core io data backend fuzz)
quick=false cuda=false sanitize=false

usage() { sed -n '4,9s/^# *//p' tests/run.sh; }

while (($#)); do
  case $1 in
    --quick) quick=true ;;
    --cuda) cuda=true ;;
    --sanitize) sanitize=true ;;
    -h | --help) usage; exit 0 ;;
    *)
      echo "tests/run.sh: unknown option $1" >&2
      usage >&2
      exit 2
      ;;
  esac
  shift
done

bash cmake/install_packages.sh g++ cmake ninja-build libeigen3-dev libboost-test-dev libboost-context-dev nlohmann-json3-dev libpcre2-dev libcli11-dev \
  libbenchmark-dev clang libclang-rt-dev libomp-dev ccache gnuplot-nox pkg-config doxygen libopenmpi-dev openmpi-bin iproute2 procps

# One compiler per core: Ninja alone would start more, and they need up to 1.5 GB each.
jobs=$(nproc)
labels="^($(IFS='|'; echo "${sanitized_folders[*]}"))$"

heading() { printf '\n== %s\n' "$*"; }

# build PRESET TARGET...
build() {
  cmake --preset "$1" --log-level=WARNING >/dev/null
  cmake --build --preset "$1" --parallel "$jobs" --target "${@:2}"
}

# The programs, the largest model's instance and the tests of graph through clang++'s front end, constant evaluation and all.
# (Other folders are built with clang++ for the sanitizers; the programs and the instance include the rest.)
check_with_clang() {
  local eigen flags generated=build/release/examples/generated
  cmake --preset release --log-level=WARNING >/dev/null
  eigen=$(pkg-config --variable=prefix eigen3 2>/dev/null || echo /usr)/include/eigen3
  flags="-std=c++20 -fsyntax-only -Wall -Wextra -Wconversion -Wshadow -Werror -Iinclude -Itests -Iexamples -Ibench -I$generated -isystem $eigen"
  flags+=" -DBOOST_TEST_DYN_LINK -DLINDEN_TEST_DIR=\"tests\""
  flags+=" -DLINDEN_MPI -DOMPI_SKIP_MPICXX $(pkg-config --cflags-only-I ompi | sed 's/-I/-isystem /g')"
  find examples bench tests/graph "$generated/Llama31_8B.cpp" -name '*.cpp' -not -path 'bench/kernels/*' -print0 |
    xargs -0 -P "$jobs" -n 1 clang++ $flags
  # Kernels written for one kind of vector unit, whichever this machine has.
  printf -- '-march=%s\n' x86-64-v3 x86-64-v4 sapphirerapids | xargs -P "$jobs" -n 1 clang++ $flags tests/ops/amx_tile_test.cpp tests/ops/gemm_test.cpp
}

# Lets the output of PRESET's ctest through, and prints the tests that skipped cases just before the summary.
skipped_before_summary() {
  awk -v log_file="build/$1/Testing/Temporary/LastTest.log" '
    /^[0-9]+% tests passed/ { summary = 1 }
    summary { held = held $0 "\n"; next }
    { print; fflush() }
    END {
      command = "sed -n \"s/.*Test [a-z]* \\\"\\(.*\\)\\\" is skipped.*SKIPPED: /SKIPPED \\1: /p; /^SKIPPED /p\" " \
                log_file " | sort -u"
      while ((command | getline line) > 0) print line
      printf "%s", held
    }'
}

# The compiler for GPUs; empty where there is none.
nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || true)

# build_and_test_cuda ARCHITECTURES TARGETS LABELS [CMAKE_OPTION...]: the GPU backend and its programs, and their tests.
build_and_test_cuda() {
  local nccl=() reason
  python3 -m pip --version >/dev/null 2>&1 || bash cmake/install_packages.sh python3-pip
  if reason=$(bash cmake/get_nccl.sh build/nccl); then
    nccl=(-DLINDEN_MPI=ON -DLINDEN_NCCL=ON -DNCCL_ROOT="$PWD/build/nccl")
  else
    echo "SKIPPED sums between GPUs: $reason"
  fi
  cmake --preset cuda --log-level=WARNING -DCMAKE_CUDA_COMPILER="$nvcc" -DCMAKE_CUDA_ARCHITECTURES="$1" \
    -DLINDEN_CONFIGURATIONS=WordProblems "${nccl[@]}" "${@:4}" >/dev/null
  cmake --build --preset cuda --parallel "$jobs" --target $2
  ctest --preset cuda --label-regex "$3" | skipped_before_summary cuda
}

if $cuda; then
  [[ -n $nvcc ]] || { echo "tests/run.sh: nvcc was not found; --cuda needs the CUDA Toolkit" >&2; exit 1; }
  heading "nvcc: the GPU backend on this machine"
  build_and_test_cuda native "tests_cuda tests_cuda_large finetune evaluate" '^cuda'
  exit
fi

if $sanitize; then
  bash cmake/install_packages.sh libomp-dev valgrind
  heading "clang++: every test under the address and undefined-behaviour sanitizers"
  build sanitize-all all
  ctest --preset sanitize-all --parallel 2 --label-exclude '^(fuzz|consumer|docs|compile_cost)$' | skipped_before_summary sanitize-all

  # GCC's and clang's own run-time libraries are not instrumented; archer tells the sanitizer what OpenMP orders.
  heading "clang++: what uses threads under the thread sanitizer"
  archer=$(find /usr/lib/llvm-*/lib -name libarcher.so 2>/dev/null | head -n 1)
  [[ -n $archer ]] || { echo "tests/run.sh: libarcher.so was not found; it comes with clang's OpenMP" >&2; exit 1; }
  build threads tests_{core,ops,backend,train}
  OMP_NUM_THREADS=4 OMP_TOOL_LIBRARIES=$archer TSAN_OPTIONS=ignore_noninstrumented_modules=1 \
    ctest --preset threads --label-regex '^(core|ops|backend|train)$'

  heading "valgrind: closed_form"
  cmake --preset release --log-level=WARNING -DLINDEN_NATIVE=OFF -B build/valgrind -DLINDEN_CONFIGURATIONS=WordProblems >/dev/null
  cmake --build build/valgrind --parallel "$jobs" --target closed_form
  valgrind --error-exitcode=1 --leak-check=full --show-leak-kinds=definite build/valgrind/bin/closed_form >/dev/null
  exit
fi

if ! $quick; then
  if [[ -n $nvcc ]]; then
    heading "nvcc: the GPU backend"
    build_and_test_cuda 90 tests_cuda '^cuda$' -DCMAKE_CUDA_FLAGS_RELEASE=-O0 -DCMAKE_CXX_FLAGS_RELEASE=-O0  # code for CPUs hardly runs here
  else
    heading "SKIPPED the GPU backend: nvcc was not found"
  fi

  heading "clang++: warnings everywhere"
  check_with_clang

  heading "clang++: sanitizers, ${sanitized_folders[*]}"
  build sanitize "${sanitized_folders[@]/#/tests_}"
  ctest --preset sanitize --parallel 2 --label-regex "$labels" --label-exclude '^fuzz$'
  ctest --preset sanitize --parallel 3 --label-regex '^fuzz$'
fi

heading "release: everything"
build tests all
ctest --preset tests --parallel 2 | skipped_before_summary tests
