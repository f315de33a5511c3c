#!/usr/bin/env bash
# What the compiler says of every kernel: registers, shared memory, spills.
#   bash bench/kernels/resources.sh [ARCHITECTURE]        default: sm_90
# Compiles each header of kernels as its test instantiates them and writes bench/results/kernels_<architecture>.md. Needs nvcc, no GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
architecture=${1:-sm_90}
table=bench/results/kernels_$architecture.md
report=$(mktemp)
trap 'rm -f "$report"' EXIT
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
eigen=$(pkg-config --variable=prefix eigen3 2>/dev/null || echo /usr)/include/eigen3

for kernels in kernels/*.cuh; do
  test=tests/$(dirname "$kernels")/$(basename "$kernels" .cuh)_test.cpp
  [[ -f $test && $kernels != kernels/executor.cuh ]] || continue  # those of plans are nothing but loops
  echo "$test" >&2
  "$nvcc" -x cu -std=c++20 -O0 -arch="$architecture" --expt-relaxed-constexpr -diag-suppress=1301,20012,554,186 -Xptxas -v -cubin -o /dev/null \
    -I. -Iinclude -Itests -isystem "$eigen" -DBOOST_TEST_DYN_LINK "$test" 2>>"$report"
done

{
  echo "# Kernels on $architecture"
  echo
  echo "\`bash bench/kernels/resources.sh $architecture\`, $("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/nvcc \1/p'): as the tests instantiate them; loops of plans are left out."
  echo
  echo "| kernel | registers | shared bytes | spilled bytes |"
  echo "|---|---|---|---|"
  c++filt <"$report" | awk '
    /Compiling entry function/ { sub(/.*entry function ./, ""); sub(/. for .sm_.*/, ""); name = $0 }
    /bytes spill stores/ { match($0, /[0-9]+ bytes spill stores/); spilled = substr($0, RSTART, RLENGTH) + 0 }
    /Used [0-9]+ registers/ {
      match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
      shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH) + 0 : 0
      sub(/^void /, "", name); gsub(/linden::(cuda::)?/, "", name)
      depth = 0; for (i = 1; i <= length(name); ++i) {   # up to the parameters
        c = substr(name, i, 1)
        if (c == "<") ++depth; else if (c == ">") --depth; else if (c == "(" && depth == 0) break
      }
      name = substr(name, 1, i - 1)  # nothing is left of what tests have of their own
      if (name != "" && name !~ /^loop_rows/) print "| `" name "` | " registers " | " shared " | " spilled " |"
    }' | sort -u
} >"$table"
echo "$table" >&2
