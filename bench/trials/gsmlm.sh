#!/usr/bin/env bash
# A trial of all adapter kinds as language models of GSM8K: which is best at which rank?
#
#   bash bench/trials/gsmlm.sh MODEL_DIR GSM8K_DIR [SEEDS]
#
# MODEL_DIR holds stories260K, GSM8K_DIR train.jsonl and test.jsonl. Rank 16, ranks 1,2,4,8,16, 300 steps of 8 sequences cut to
# 96 tokens, loss on all tokens; next-token accuracy on the first 40 test rows. Writes build/trials/gsmlm and prints the table
# of every seed.
set -euo pipefail
(($# >= 2)) || { sed -n '4,8s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
model=$(realpath "$1") data=$(realpath "$2") seeds=${3:-"1 2 3"}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cmake --preset release --log-level=WARNING >/dev/null
cmake --build --preset release --target finetune evaluate report >/dev/null
bin=build/release/bin out=build/trials/gsmlm
mkdir -p "$out"
for split in train:3000 test:40; do
  head -n "${split#*:}" "$data/${split%:*}.jsonl" | python3 -c '
import json, sys
for line in sys.stdin:
    row = json.loads(line)
    print(json.dumps({"text": "Question: " + row["question"] + "\nAnswer: " + row["answer"]}))' >"$out/${split%:*}.jsonl"
done
measure() { # RUN JSON [INFERENCE]
  "$bin/evaluate" --model "$model" --adapter "$1" --data "$out/test.jsonl" --max-length 96 --ranks 1,2,4,8,16 \
    --inference "${3:-prefix}" --json "$2" >/dev/null 2>"$2.log" || { cat "$2.log" >&2; return 1; }
}
for seed in $seeds; do
  curves=()
  for entry in lora:5e-3: dylora:5e-3: matryoshka:2e-3: stratified:5e-3:aurac stratified:5e-3:uniform; do
    IFS=: read -r kind rate weights <<<"$entry"
    run=$out/$kind${weights:+-$weights}-$seed
    "$bin/finetune" --model "$model" --data "$out/train.jsonl" --adapter "$kind" --rank-weights "${weights:-aurac}" --rank 16 \
      --train-ranks 1,2,4,8,16 --lr "$rate" --steps 300 --batch 8 --accumulate 1 --seed "$seed" --max-length 96 --output "$run" \
      2>"$run.log" || { cat "$run.log" >&2; exit 1; }
    measure "$run" "$run.json"
    curves+=(--curve "$kind${weights:+ $weights}=$run.json")
    if [[ $kind == matryoshka ]]; then
      measure "$run" "$run-p-kept.json" weighted
      curves+=(--curve "p kept=$run-p-kept.json")
    fi
  done
  echo "seed $seed"
  "$bin/report" "${curves[@]}" --svg "$out/curves-$seed.svg"
done
