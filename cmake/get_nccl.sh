#!/usr/bin/env bash
# NCCL for CUDA 13, from its package for Python, where the system has none.
#   get_nccl.sh FOLDER    unpacks include/ and lib/ into FOLDER, unless they are there; status 1 and a reason where it cannot
set -euo pipefail
folder=$1
[[ -f $folder/include/nccl.h && -f $folder/lib/libnccl.so.2 ]] && exit
python3 -m pip --version >/dev/null 2>&1 || { echo "python3-pip was not found"; exit 1; }
fetched=$(mktemp -d)
trap 'rm -rf "$fetched"' EXIT
python3 -m pip download --quiet --no-deps --disable-pip-version-check --dest "$fetched" nvidia-nccl-cu13 >"$fetched/log" 2>&1 ||
  { echo "NCCL could not be fetched: $(tail -n 1 "$fetched/log")"; exit 1; }
python3 -m zipfile -e "$fetched"/nvidia_nccl*.whl "$fetched/unpacked"
mkdir -p "$(dirname "$folder")"
rm -rf "$folder"
mv "$fetched/unpacked/nvidia/nccl" "$folder"
