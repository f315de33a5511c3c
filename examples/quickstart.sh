#!/usr/bin/env bash
# Fine-tunes a small Llama four ways on a kind of word problem it has never seen, and measures each at every rank.
# Works from any folder, on a bare Debian or Ubuntu: installs what is missing, builds, trains, evaluates, draws.
#
#   bash examples/quickstart.sh [SEED]
#
# The base model is examples/demo (made by the program `pretrain`). Rank 16, ranks 1, 2, 4, 8, 16 measured by exact match of
# generated answers. Each method's learning rate is the best of one small grid on problems kept aside; the table is measured on
# unseen problems. Results go to build/quickstart/seed-SEED: adapters, curves.svg, and one JSON per curve.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seed=${1:-1}
[[ $seed =~ ^[0-9]+$ ]] || { echo "examples/quickstart.sh: SEED must be a whole number, got '$seed'" >&2; exit 2; }

bash cmake/install_packages.sh g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev libpcre2-dev libcli11-dev gnuplot-nox
# The programs, for this one model only.
programs=build/quickstart/programs
cmake --preset release -B "$programs" -DLINDEN_CONFIGURATIONS=WordProblems -DLINDEN_TESTS=OFF -DLINDEN_BENCH=OFF \
  --log-level=WARNING >/dev/null
cmake --build "$programs" --parallel "$(nproc)" --target finetune evaluate problems report

bin=$programs/bin
model=examples/demo
out=build/quickstart/seed-$seed
rates=(3e-3 6e-3 1.2e-2)
steps=300
mkdir -p "$out"
echo "== A problem of the kind that is learned"
"$bin/problems" --split train --count 3000 --seed "$seed" --output "$out/train.jsonl"
"$bin/problems" --split train --skip 3000 --count 100 --seed "$seed" --output "$out/choose.jsonl" >/dev/null
"$bin/problems" --split test --count 400 --seed 1 --output "$out/test.jsonl" >/dev/null

measure() { # ADAPTER DATA JSON [INFERENCE]
  rm -f "${3%.json}.documents.jsonl" # of an earlier quickstart
  "$bin/evaluate" --model "$model" --adapter "$1" --data "$2" --metric exact_match --max-tokens 40 \
    --inference "${4:-prefix}" --json "$3" >/dev/null 2>"$3.log" || { cat "$3.log" >&2; return 1; }
}

# One method with one learning rate, on one core: the kernels give the same bits on any number.
try() { # METHOD RATE
  local run=$out/$1-lr$2
  OMP_NUM_THREADS=1 "$bin/finetune" --model "$model" --data "$out/train.jsonl" --adapter "$1" --rank 16 --lr "$2" \
    --steps "$steps" --batch 16 --accumulate 1 --seed "$seed" --output "$run" 2>"$run.log" ||
    { cat "$run.log" >&2; return 1; }
  OMP_NUM_THREADS=1 measure "$run" "$out/choose.jsonl" "$run.choose.json"
  echo "   $1, learning rate $2: done"
}
export -f try measure
export bin model out steps seed

echo "== Training LoRA, DyLoRA, MatryoshkaLoRA and stratified with learning rates ${rates[*]}"
for method in lora dylora matryoshka stratified; do for rate in "${rates[@]}"; do echo "$method $rate"; done; done |
  xargs -P "$(nproc)" -L 1 bash -c 'try "$0" "$1"'

echo "== Measuring the best of each on unseen problems"
curves=()
for entry in lora:LoRA dylora:DyLoRA matryoshka:MatryoshkaLoRA stratified:stratified; do
  method=${entry%%:*} label=${entry##*:}
  best=$("$bin/report" --best "$out/$method"-lr*.choose.json)
  best=${best%.choose.json}
  echo "   $label: ${best##*-lr}"
  measure "$best" "$out/test.jsonl" "$out/$method.json"
  curves+=(--curve "$label=$out/$method.json")
  if [[ $method == matryoshka ]]; then
    measure "$best" "$out/test.jsonl" "$out/matryoshka-p-kept.json" weighted
    curves+=(--curve "p kept=$out/matryoshka-p-kept.json")
  fi
done
echo "== Exact match on unseen problems, seed $seed"
"$bin/report" "${curves[@]}" --svg "$out/curves.svg" | tee "$out/table.txt"
echo "The curves are drawn in $out/curves.svg"
