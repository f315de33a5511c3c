#!/usr/bin/env bash
# One training step of linden beside the same step in PyTorch, in turn, with the same weights and tokens.
#
#   bash bench/peers/step_vs_torch.sh PEER.py [tiny|mid] [THREADS] [ROUNDS]
#
# PEER.py prints one JSON object with tok_per_s and losses (a PyTorch program that makes its inputs by the hash documented in
# bench/train/step_bench.cpp). Prints tokens/s of both in every round, their ratio, and the median ratio.
set -euo pipefail
(($# >= 1)) || { sed -n '4,7s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
peer=$(realpath "$1") config=${2:-tiny} threads=${3:-1} rounds=${4:-5}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=$threads OMP_NUM_THREADS=$threads
cmake --preset release --log-level=WARNING >/dev/null
cmake --build --preset release --target bench_train_step >/dev/null

ratios=()
for ((round = 1; round <= rounds; ++round)); do
  ours=$(build/release/bin/bench/train_step --benchmark_filter="step/$config/lora" --benchmark_format=json 2>/dev/null |
    /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["benchmarks"][0]["tokens/s"])')
  theirs=$(/usr/bin/python3 "$peer" --config "$config" --threads "$threads" --steps 5 --warmup 1 |
    /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["tok_per_s"])')
  ratio=$(awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%.2f", a / b }')
  printf 'round %d: linden %.0f tokens/s, PyTorch %.0f, ratio %s\n' "$round" "$ours" "$theirs" "$ratio"
  ratios+=("$ratio")
done
printf 'median ratio %s\n' "$(printf '%s\n' "${ratios[@]}" | sort -g | sed -n "$(((rounds + 1) / 2))p")"
