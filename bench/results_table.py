"""Medians of Google Benchmark's JSON files as Markdown: python3 results_table.py FOLDER MACHINE COMMAND.

A rate in GB/s or TFLOP/s is also shown as a share of the ceiling measured in the same run: the benchmarks `copy` and
`product/bfloat16` (`product/float` where there is no other). peer-<model>-<kind>.json in the folder is what a PyTorch program said
of the same training step.
"""
import json
import pathlib
import sys

UNITS = ("tokens/s", "tokens/s/rank", "GB/s", "TFLOP/s", "GFLOP/s", "MB/s")
STEPS = {"1b": "step/Llama32_1B", "8b": "step/Llama31_8B"}


def medians(folder):
    """{benchmark: (milliseconds, {rate: value})}"""
    found = {}
    for path in sorted(folder.glob("*.json")):
        if path.name.startswith("peer-"):
            continue
        for b in json.loads(path.read_text()).get("benchmarks", []):
            if b.get("aggregate_name") != "median" or b.get("error_occurred"):
                continue
            scale = {"ns": 1e-6, "us": 1e-3, "ms": 1, "s": 1e3}[b["time_unit"]]
            name = b["run_name"].removesuffix("/manual_time").removesuffix("/real_time")
            found[name] = (b["real_time"] * scale, {u: b[u] for u in UNITS if u in b})
    return found


def first(found, unit, *names):
    return next((found[n][1][unit] for n in names if n in found and unit in found[n][1]), None)


def main():
    folder, machine, command = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    found = medians(folder)
    ceilings = {"GB/s": first(found, "GB/s", "copy"), "TFLOP/s": first(found, "TFLOP/s", "product/bfloat16", "product/float")}
    print(f"# {machine}\n\n`{command}`; medians of five runs. Shares are of the ceilings measured in the same run.\n")
    print("| benchmark | ms | rate | share of ceiling |\n|---|---|---|---|")
    for name, (ms, rates) in found.items():
        shown = ", ".join(f"{value:,.1f} {unit}" for unit, value in rates.items())
        shares = [f"{value / ceilings[unit]:.0%}" for unit, value in rates.items() if ceilings.get(unit)]
        print(f"| {name} | {ms:.3f} | {shown} | {', '.join(shares)} |")
    peers = sorted(folder.glob("peer-*.json"))
    if peers:
        print("\n| step | linden, tokens/s | PyTorch, tokens/s | ratio |\n|---|---|---|---|")
    for path in peers:
        _, model, kind = path.stem.split("-")
        theirs = json.loads(path.read_text().splitlines()[-1])["tokens_per_s"]
        ours = next((rates["tokens/s"] for name, (_, rates) in found.items() if name.startswith(f"{STEPS[model]}/{kind}/")), None)
        if ours:
            print(f"| {model} {kind} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} |")


main()
