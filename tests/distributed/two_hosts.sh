#!/usr/bin/env bash
# The programs on two hosts over TCP: two network namespaces of this machine, with addresses and names of their own.
#   two_hosts.sh MPIEXEC PROGRAM_DIR
# Started by mpirun as on two machines, except that its remote shell is a step into the other namespace. Status 77: cannot be tried here.
set -euo pipefail
mpiexec=$1 programs=$2
model=${LINDEN_SHARED:-$(dirname "${BASH_SOURCE[0]}")/../../../shared}/models/stories260K

skip() { echo "SKIPPED two_hosts: $*"; exit 77; }
fail() { echo "two_hosts.sh: $*" >&2; exit 1; }
[[ -d $model ]] || skip "models/stories260K is not in the shared folder (set LINDEN_SHARED)"
[[ $(id -u) == 0 ]] || skip "network namespaces need root"
command -v ip >/dev/null || skip "there is no ip (Debian: iproute2)"

here=$(mktemp -d) id=$$
hosts=("linden-a-$id" "linden-b-$id") addresses=(10.77.0.1 10.77.0.2)
clean_up() {
  for host in "${hosts[@]}"; do
    ip netns pids "$host" 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true
    ip netns del "$host" 2>/dev/null || true
  done
  rm -rf "$here"
}
trap clean_up EXIT
ip netns add "${hosts[0]}" 2>"$here/why" && ip netns add "${hosts[1]}" || skip "no network namespaces: $(cat "$here/why")"
ip link add "la$id" netns "${hosts[0]}" type veth peer name "lb$id" netns "${hosts[1]}" 2>"$here/why" || skip "no virtual network: $(cat "$here/why")"
links=("la$id" "lb$id")
for k in 0 1; do
  ip -n "${hosts[k]}" address add "${addresses[k]}/24" dev "${links[k]}"
  ip -n "${hosts[k]}" link set "${links[k]}" up
  ip -n "${hosts[k]}" link set lo up
done

# What mpirun takes for ssh: on the host with this address, under a name of its own.
cat >"$here/shell" <<END
#!/bin/sh
case \$1 in ${addresses[0]}) host=${hosts[0]} ;; *) host=${hosts[1]} ;; esac
shift
exec ip netns exec \$host unshare --uts sh -c "hostname \$host && \$*"
END
chmod +x "$here/shell"
"$here/shell" "${addresses[0]}" true 2>"$here/why" || skip "no step into a namespace: $(cat "$here/why")"
on_hosts() { # LIST_OF_HOSTS PROGRAM...
  local list=$1
  shift
  "$here/shell" "${addresses[0]}" "$mpiexec" --host "$list" --mca plm_rsh_agent "$here/shell" --mca orte_tmpdir_base "$here" --mca btl tcp,self \
    --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 "$@"
}

for k in $(seq 1 40); do echo "{\"text\": \"Once there were $k girls and $((k * 7 % 13)) dogs who loved the big red ball.\"}"; done >"$here/data.jsonl"
train() { echo "$programs/finetune" --model "$model" --data "$here/data.jsonl" --adapter stratified --rank 4 --batch 5 --accumulate 2 --output "$here/$1" "${@:2}"; }
score() { echo "$programs/evaluate" --model "$model" --adapter "$here/hosts" --data "$here/data.jsonl" --metric loss --json "$here/$1.json"; }

# Four processes, two on each host, compute what four processes of one host compute.
on_hosts "${addresses[0]}:2,${addresses[1]}:2" $(train hosts --steps 20 --timings) >"$here/timings"
"$mpiexec" -np 4 $(train one --steps 20)
cmp "$here/hosts/adapter_model.safetensors" "$here/one/adapter_model.safetensors"
for host in "${hosts[@]}"; do
  [[ $(grep -c "of 4 (on $host)" "$here/timings") == 2 ]] || fail "two processes on $host expected, found: $(cat "$here/timings")"
done
on_hosts "${addresses[0]}:1,${addresses[1]}:1" $(score hosts) >/dev/null
$(score alone) >/dev/null
cmp "$here/hosts.json" "$here/alone.json"

# The network fails: both processes end and say who is not heard of any more, and nothing is half-written. (mpirun itself would wait
# for its other half as long as there is no network.)
on_hosts "${addresses[0]}:1,${addresses[1]}:1" $(train cut --steps 1000000 --patience 2 --save-every 5) 2>"$here/errors" &
steps() { cat "$here/cut/metrics.jsonl" 2>/dev/null | wc -l; }
until (($(steps) > 20)); do sleep 0.1; done
ip -n "${hosts[1]}" link set "${links[1]}" down
begin=$SECONDS
while pgrep -f "^$programs/finetune .*output $here/cut" >/dev/null && ((SECONDS - begin < 60)); do sleep 0.1; done
((SECONDS - begin < 60)) || fail "a run went on without a network"
pkill -KILL -f "mpiexec.*output $here/cut" || true
cat "$here/errors"
grep -q "process 1 of 2 (on ${hosts[1]}) gave no sign of life" "$here/errors" || fail "process 1 is not named"
compgen -G "$here/cut/state/step-*.safetensors" >/dev/null || fail "no state is left"
[[ -z $(find "$here/cut" -name '*.tmp*') ]] || fail "something is half-written"
resumed=$(($(steps) + 5))
"$mpiexec" -np 2 $(train cut --steps 1000000 --save-every 5 --resume) 2>/dev/null &
until (($(steps) > resumed)); do sleep 0.1; done
pkill -USR1 -f "^$mpiexec -np 2 .*output $here/cut"
wait $! || (($? == 4)) || fail "the run did not go on"
echo "two hosts: the same bits as on one"
