"""What it costs to compile linden, as Markdown: python3 bench/compile/measure.py [--repeat 3] [COMPILER...]

Compiles the units beside it one at a time, each --repeat times, with each compiler (g++ and clang++ unless others are named), and
prints medians: seconds on the clock, seconds of CPU, and the peak memory of the largest process of a compilation in MB (10^6 bytes).
A compiler that is not found is said in one line. Flags are -std=c++20 -O2; headers of Eigen where pkg-config finds them.
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

UNITS = {"include": "`linden.hpp` alone", "gradient": "gradient test of a small function",
         "block": "Llama-3.2-1B block with adapters, forward and backward", "step": "whole training step of Llama-3.2-1B"}
HERE = pathlib.Path(__file__).resolve().parent
FLAGS = ["-std=c++20", "-O2"]


def eigen():
    """The folder that holds Eigen's headers."""
    try:
        found = subprocess.run(["pkg-config", "--cflags-only-I", "eigen3"], capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        found = []
    return found[0].removeprefix("-I") if found else "/usr/include/eigen3"


def compile_once(compiler, unit, output):
    """(seconds, CPU seconds, MB) of one compilation with all its processes."""
    command = [compiler, *FLAGS, f"-I{HERE.parents[1] / 'include'}", "-isystem", eigen(), "-c", str(HERE / f"{unit}.cpp"), "-o", output]
    start = time.monotonic()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    seconds = time.monotonic() - start
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"bench/compile/measure.py: {' '.join(command)} failed")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024e-6


def version(compiler):
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("compilers", nargs="*", default=["g++", "clang++"], metavar="COMPILER")
    arguments = parser.parse_args()
    present = [c for c in arguments.compilers if shutil.which(c)]
    for compiler in arguments.compilers:
        print(f"- `{compiler}`: {version(compiler) if compiler in present else 'not found, its rows are left out'}")
    print(f"\n`{' '.join(FLAGS)}`, one compiler at a time; medians of {arguments.repeat}.\n")
    print("| unit | what | compiler | s | CPU s | peak MB |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for unit, what in UNITS.items():
            for compiler in present:
                runs = [compile_once(compiler, unit, f"{folder}/{unit}.o") for _ in range(arguments.repeat)]
                seconds, cpu, memory = (statistics.median(column) for column in zip(*runs))
                print(f"| {unit} | {what} | `{compiler}` | {seconds:.1f} | {cpu:.1f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
