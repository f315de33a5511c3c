#!/usr/bin/env bash
# Builds linden and runs its tests, from a bare Debian or Ubuntu on. Works from any folder.
#
#   bash tests/run.sh [--quick] [--clang-targets "TARGET ..."]
#
#   --quick            the release build and its tests only
#   --clang-targets    build these with clang++ instead of everything (e.g. "tests_core tests_io")
#
# Three builds, in build/: clang (everything, warnings are errors), sanitize (the light tests under the address and
# undefined-behaviour sanitizers), release (all tests). The last lines are ctest's summary of the release tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

light_folders=(core io data adapter eval train examples)
quick=false
clang_targets=(all)

usage() { sed -n '4,7s/^# *//p' tests/run.sh; }

while (($#)); do
  case $1 in
    --quick) quick=true ;;
    --clang-targets)
      (($# >= 2)) || { echo "tests/run.sh: --clang-targets needs a list of targets" >&2; exit 2; }
      read -r -a clang_targets <<<"$2"
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *)
      echo "tests/run.sh: unknown option $1" >&2
      usage >&2
      exit 2
      ;;
  esac
  shift
done

bash cmake/install_packages.sh g++ cmake ninja-build libeigen3-dev libboost-test-dev nlohmann-json3-dev libcli11-dev \
  libbenchmark-dev clang libomp-dev ccache gnuplot-nox

# One compiler per core: Ninja alone would start more, and they need up to 1.5 GB each.
jobs=$(nproc)
labels="^($(IFS='|'; echo "${light_folders[*]}"))$"

heading() { printf '\n== %s\n' "$*"; }

# build PRESET TARGET...
build() {
  cmake --preset "$1" --log-level=WARNING >/dev/null
  cmake --build --preset "$1" --parallel "$jobs" --target "${@:2}"
}

# The light folders that have tests, as CMake targets.
light_targets() {
  local folder
  for folder in "${light_folders[@]}"; do
    if compgen -G "tests/$folder/*_test.cpp" >/dev/null; then echo "tests_$folder"; fi
  done
}

# Lets ctest's output through, and prints the tests that skipped cases just before the summary.
skipped_before_summary() {
  awk '
    /^[0-9]+% tests passed/ { summary = 1 }
    summary { held = held $0 "\n"; next }
    { print; fflush() }
    END {
      command = "sed -n \"s/.*Test [a-z]* \\\"\\(.*\\)\\\" is skipped.*SKIPPED: /SKIPPED \\1: /p\" " \
                "build/release/Testing/Temporary/LastTest.log | sort -u"
      while ((command | getline line) > 0) print line
      printf "%s", held
    }'
}

if ! $quick; then
  heading "clang++: ${clang_targets[*]}"
  build clang "${clang_targets[@]}"

  mapfile -t targets < <(light_targets)
  heading "sanitizers: ${targets[*]}"
  build sanitize "${targets[@]}"
  ctest --preset sanitize --parallel 2 --label-regex "$labels"
fi

heading "release: everything"
build release all
ctest --preset release --parallel 2 | skipped_before_summary
