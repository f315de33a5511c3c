#!/usr/bin/env bash
# One training step of linden beside the same step in PyTorch, in turn, with the same weights and tokens.
#
#   bash bench/peers/step_vs_torch.sh PEER.py [tiny|mid|1b|1b_bf16] [THREADS] [ROUNDS]
#
# PEER.py prints one JSON object with tok_per_s, peak_rss_mib and losses (a PyTorch program that makes its inputs by the hash
# documented in bench/train/step_bench.cpp). Prints, as Markdown, tokens/s of both in every round and their ratio, the median ratio,
# the peak memory of both, and how far the losses of the first steps lie apart. 1b_bf16: linden holds the frozen weights rounded to
# bfloat16, as checkpoints of that size store them; PyTorch computes with floats, and holds floats.
set -euo pipefail
(($# >= 1)) || { sed -n '4,9s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
peer=$(realpath "$1") config=${2:-tiny} threads=${3:-1} rounds=${4:-5}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export OPENBLAS_NUM_THREADS=$threads OMP_NUM_THREADS=$threads
cmake --preset release --log-level=WARNING >/dev/null
cmake --build --preset release --target bench_train_step >/dev/null

measured=$(mktemp -d)
trap 'rm -rf "$measured"' EXIT
ours() { build/release/bin/bench/train_step --benchmark_filter="$1" --benchmark_format=json >"$measured/$2" 2>/dev/null; }
steps=8
[[ $config == 1b* ]] && steps=3
ours "step/$config/first_losses" losses.json
for ((round = 1; round <= rounds; ++round)); do
  ours "step/$config/lora" "linden-$round.json"
  # PyTorch's threads would spin against OpenBLAS's: without this it is two to three times slower.
  OMP_WAIT_POLICY=passive /usr/bin/python3 "$peer" --config "${config%_bf16}" --threads "$threads" --steps "$steps" --warmup 1 >"$measured/torch-$round.json"
done

/usr/bin/python3 - "$measured" "$config" "$threads" <<'EOF'
import json, pathlib, statistics, sys
folder, config, threads = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
read = lambda name: json.loads((folder / name).read_text())
rounds = range(1, 1 + len(list(folder.glob("torch-*.json"))))
ours = [read(f"linden-{k}.json")["benchmarks"][0] for k in rounds]
theirs = [read(f"torch-{k}.json") for k in rounds]
ratios = [a["tokens/s"] / b["tok_per_s"] for a, b in zip(ours, theirs)]
print(f"| step {config}, {threads} threads | linden, tokens/s | PyTorch, tokens/s | ratio |\n|---|---|---|---|")
for k, (a, b, ratio) in enumerate(zip(ours, theirs, ratios)):
    print(f"| round {k + 1} | {a['tokens/s']:,.1f} | {b['tok_per_s']:,.1f} | {ratio:.2f} |")
losses = read("losses.json")["benchmarks"][0]
apart = max(abs(losses[f"loss{k}"] / loss - 1) for k, loss in enumerate(theirs[0]["losses"][:3]))
mb = [max(a["MB"] for a in ours), max(b["peak_rss_mib"] for b in theirs) * 1.048576]
print(f"| median ratio | | | **{statistics.median(ratios):.2f}** |")
print(f"| peak memory, MB | {mb[0]:,.0f} | {mb[1]:,.0f} | {mb[0] / mb[1]:.2f} |\n")
print(f"The first three losses differ by {apart:.1e} (relative) at most.\n")
EOF
