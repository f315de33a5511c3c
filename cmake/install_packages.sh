#!/usr/bin/env bash
# install_packages.sh PACKAGE...
# Makes sure that these Debian packages are installed. Installs what is missing where it may (root, or sudo that asks
# no password); elsewhere prints the command that does, and fails. On another system it names what is needed and
# fails only when one of the tools cannot be found; libraries are then CMake's to find.
set -euo pipefail

if ! command -v dpkg-query >/dev/null; then
  echo "This is not Debian or Ubuntu. What is needed, by its Debian names: $*" >&2
  for package in "$@"; do
    case $package in
      g++ | cmake | ccache | doxygen) tool=$package ;;
      clang) tool=clang++ ;;
      ninja-build) tool=ninja ;;
      gnuplot-nox) tool=gnuplot ;;
      *) continue ;;
    esac
    command -v "$tool" >/dev/null || { echo "$tool was not found; install it first" >&2; exit 1; }
  done
  exit 0
fi

missing=()
for package in "$@"; do
  dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if [[ $EUID -ne 0 ]]; then
  if ! sudo -n true 2>/dev/null; then
    echo "sudo apt-get install --no-install-recommends ${missing[*]}"
    exit 1
  fi
  as_root=(sudo)
fi
echo "Installing ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
