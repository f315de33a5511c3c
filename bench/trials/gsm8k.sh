#!/usr/bin/env bash
# Every adapter kind fine-tuned on GSM8K (loss on the answers), measured by next-token accuracy on the test answers at every rank.
#
#   bash bench/trials/gsm8k.sh MODEL_DIR GSM8K_DIR [SEEDS] [STEPS]
#
# Rank 16, ranks 1,2,4,8,16, micro-batches of 8, learning rates 2e-3 and 5e-3 (the better one by AURAC is reported, per seed).
# Runs one process per core. Writes build/trials/gsm8k and prints the table of every seed.
set -euo pipefail
(($# >= 2)) || { sed -n '4,7s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
model=$(realpath "$1") data=$(realpath "$2") seeds=${3:-"1 2 3"} steps=${4:-150}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cmake --preset release --log-level=WARNING >/dev/null
cmake --build --preset release --target finetune evaluate report >/dev/null
bin=build/release/bin out=build/trials/gsm8k
mkdir -p "$out"

measure() { # RUN INFERENCE JSON
  "$bin/evaluate" --model "$model" --adapter "$1" --data "$data/test.jsonl" --limit 100 --ranks 1,2,4,8,16 --inference "$2" \
    --json "$3" >/dev/null 2>"$3.log" || { cat "$3.log" >&2; return 1; }
}
try() { # KIND RATE SEED
  local run=$out/$1-lr$2-seed$3
  "$bin/finetune" --model "$model" --data "$data/train.jsonl" --adapter "$1" --rank 16 --train-ranks 1,2,4,8,16 --lr "$2" \
    --steps "$steps" --batch 8 --accumulate 1 --seed "$3" --output "$run" 2>"$run.log" ||
    { cat "$run.log" >&2; return 1; }
  measure "$run" prefix "$run.prefix.json"
  if [[ $1 == matryoshka ]]; then measure "$run" weighted "$run.weighted.json"; fi
}
export -f try measure
export bin model data out steps
export OMP_NUM_THREADS=1

for seed in $seeds; do
  for kind in lora dylora matryoshka stratified; do for rate in 2e-3 5e-3; do echo "$kind $rate $seed"; done; done
done | xargs -P "$(nproc)" -L 1 bash -c 'try "$0" "$1" "$2"'
for seed in $seeds; do
  curves=()
  for kind in lora dylora matryoshka stratified; do
    curves+=(--curve "$kind=$("$bin/report" --best "$out/$kind"-lr*-seed"$seed".prefix.json)")
  done
  curves+=(--curve "p kept=$("$bin/report" --best "$out"/matryoshka-lr*-seed"$seed".weighted.json)")
  echo "seed $seed"
  "$bin/report" "${curves[@]}" --svg "$out/curves-$seed.svg"
done
