#!/usr/bin/env bash
# Builds linden and runs its tests, from a bare Debian or Ubuntu on. Works from any folder.
#
#   bash tests/run.sh [--quick]
#
#   --quick    the release build and its tests only
#
# Everything is compiled with g++ (release build, all tests); programs, graph and operations are also checked with clang++;
# the tests of memory and files run under its address and undefined-behaviour sanitizers. Warnings are errors everywhere. The
# last lines are ctest's summary of the release tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sanitized_folders=(core io data backend)
quick=false

usage() { sed -n '4,6s/^# *//p' tests/run.sh; }

while (($#)); do
  case $1 in
    --quick) quick=true ;;
    -h | --help) usage; exit 0 ;;
    *)
      echo "tests/run.sh: unknown option $1" >&2
      usage >&2
      exit 2
      ;;
  esac
  shift
done

bash cmake/install_packages.sh g++ cmake ninja-build libeigen3-dev libboost-test-dev nlohmann-json3-dev libpcre2-dev libcli11-dev \
  libbenchmark-dev clang libclang-rt-dev libomp-dev ccache gnuplot-nox pkg-config

# One compiler per core: Ninja alone would start more, and they need up to 1.5 GB each.
jobs=$(nproc)
labels="^($(IFS='|'; echo "${sanitized_folders[*]}"))$"

heading() { printf '\n== %s\n' "$*"; }

# build PRESET TARGET...
build() {
  cmake --preset "$1" --log-level=WARNING >/dev/null
  cmake --build --preset "$1" --parallel "$jobs" --target "${@:2}"
}

# The programs, the largest model's instance and the tests of graph, ops and adapters through clang++'s front end, constant
# evaluation and all. (Other folders are built with clang++ for the sanitizers; the programs include the rest.)
check_with_clang() {
  local eigen flags generated=build/release/examples/generated
  cmake --preset release --log-level=WARNING >/dev/null
  eigen=$(pkg-config --variable=prefix eigen3 2>/dev/null || echo /usr)/include/eigen3
  flags="-std=c++20 -fsyntax-only -Wall -Wextra -Wconversion -Wshadow -Werror -Iinclude -Itests -Iexamples -I$generated -isystem $eigen"
  flags+=" -DBOOST_TEST_DYN_LINK -DLINDEN_TEST_DIR=\"tests\""
  find examples bench tests/graph tests/ops tests/adapter "$generated/Llama31_8B.cpp" -name '*.cpp' -print0 |
    xargs -0 -P "$jobs" -n 1 clang++ $flags
}

# Lets ctest's output through, and prints the tests that skipped cases just before the summary.
skipped_before_summary() {
  awk '
    /^[0-9]+% tests passed/ { summary = 1 }
    summary { held = held $0 "\n"; next }
    { print; fflush() }
    END {
      command = "sed -n \"s/.*Test [a-z]* \\\"\\(.*\\)\\\" is skipped.*SKIPPED: /SKIPPED \\1: /p\" " \
                "build/tests/Testing/Temporary/LastTest.log | sort -u"
      while ((command | getline line) > 0) print line
      printf "%s", held
    }'
}

if ! $quick; then
  heading "clang++: warnings everywhere"
  check_with_clang

  heading "clang++: sanitizers, ${sanitized_folders[*]}"
  build sanitize "${sanitized_folders[@]/#/tests_}"
  ctest --preset sanitize --parallel 2 --label-regex "$labels"
fi

heading "release: everything"
build tests all
ctest --preset tests --parallel 2 | skipped_before_summary
