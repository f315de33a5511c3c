#!/usr/bin/env bash
# Compares linden with the packages it must agree with, and prints every comparison as one table.
#     tests/oracle/run.sh [SHARED]
# SHARED             folder with data/gsm8k, data/arc_challenge, models/stories260K and golden/adapter_stories260k
#                    (default: $LINDEN_SHARED, or shared/ beside the repository)
# LINDEN_ORACLE_ENV  Python environment to use (default: linden-oracle in the user's cache; made if it is not there)
# Exit status 1 if any comparison fails, 2 if one could not be made.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
shared=$(cd "${1:-${LINDEN_SHARED:-$root/../shared}}" && pwd) || exit 2
environment=${LINDEN_ORACLE_ENV:-${XDG_CACHE_HOME:-$HOME/.cache}/linden-oracle}
python=$environment/bin/python
build=$root/build/oracle
programs=$build/bin

[ -x "$python" ] || python3 -m venv "$environment" || exit 2
has_requirements() {
  "$python" - "$here/requirements.txt" <<'PYTHON'
import importlib.metadata as metadata, sys
for line in open(sys.argv[1]):
    name, _, version = line.strip().partition("==")
    try:
        if metadata.version(name).partition("+")[0] != version:
            print(f"{name} is {metadata.version(name)}, the comparisons were written for {version}", file=sys.stderr)
    except metadata.PackageNotFoundError:
        sys.exit(f"{name} is missing")
PYTHON
}
has_requirements || "$python" -m pip install --requirement "$here/requirements.txt" || exit 2

cmake -S "$root" -B "$build" --preset release -DLINDEN_BENCH=OFF "-DLINDEN_CONFIGURATIONS=Stories260K;TinyLlama3" \
      "-DLINDEN_CONFIGURATION_HEADER=$here/tiny_llama3.hpp" > /dev/null || exit 2
cmake --build "$build" --target linden_oracle --parallel 2 || exit 2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# compare NAME SCRIPT ARGUMENTS...: the script's lines go to the terminal and to the table.
compare() {
  local name=$1 script=$2
  shift 2
  echo "== $name"
  "$python" "$here/$script" "$@" 2> "$work/$name.messages" | tee "$work/$name.lines"
  if [ "${PIPESTATUS[0]}" -ne 0 ]; then
    cat "$work/$name.messages" >&2
    failed=1
  fi
  grep -q '^oracle |' "$work/$name.lines" || failed=1
}

stories=$shared/models/stories260K
"$python" "$here/random_checkpoint.py" --config tiny-llama3 --dtype f32 --output "$work/tiny-llama3" \
          --text "$shared/data/gsm8k/train.jsonl" || exit 2

compare tokenizers tokenizers_oracle.py --bin "$programs" --shared "$shared"
for what in prompts scores tokens; do
  compare "harness-$what" harness.py $what --program "$programs/harness_prompts" --data "$shared/data" \
          --model "$stories"
done
# What evaluate says of every document, without adapter and at rank 4, against the harness with the model and with one that the
# adapter was merged into. At 25 shots most prompts are longer than the context.
adapter=$shared/golden/adapter_stories260k
"$programs/export_adapter" --model "$stories" --adapter "$adapter" --rank 4 --format merged --output "$work/merged" || exit 2
"$python" "$here/harness.py" hellaswag --data "$work" || exit 2
for entry in "gsm8k 3 10" "arc_challenge 0 40" "arc_challenge 25 10" "hellaswag 0 20" "hellaswag 10 10"; do
  read -r task shots limit <<< "$entry"
  [ "$task" = hellaswag ] && data=$work || data=$shared/data
  result=$work/$task-$shots
  "$programs/evaluate" --model "$stories" --adapter "$adapter" --ranks 1,4,8 --task "$task" --task-data "$data/$task" \
                       --shots "$shots" --limit "$limit" --json "$result.json" > /dev/null 2>&1 || exit 2
  for rank in 0 4; do
    [ $rank -eq 0 ] && model=$stories || model=$work/merged
    compare "harness-model-$task-$shots-rank-$rank" harness.py model --task "$task" --shots "$shots" --data "$data" \
            --model "$model" --documents "$result.documents.jsonl" --rank $rank --limit "$limit"
  done
done
compare adapters peft_export.py --programs "$programs" --models "$stories" "$work/tiny-llama3"
compare gradients gradients.py --programs "$programs" --models "$stories" "$work/tiny-llama3"

echo
cat "$work"/*.lines | grep '^oracle |' | sed 's/^oracle | //' | column -t -s '|' -N what,compared,difference,tolerance
[ $failed -eq 0 ] && echo "all agree" || echo "NOT ALL AGREE"
exit $failed
