"""Medians of Google Benchmark's JSON files as Markdown: python3 results_table.py FOLDER MACHINE COMMAND.

A rate is also shown as a share of the ceiling measured in the same run: the benchmarks `peak`, `copy` and `read` on a CPU, `copy` and
`product/bfloat16` (`product/float` where there is no other) on a GPU. peer-<model>-<kind>.json in the folder is what a PyTorch
program said of the same training step on a GPU; what step_vs_torch.sh printed on a CPU is steps-*.md.
"""
import json
import pathlib
import sys

UNITS = ("tokens/s", "tokens/s/rank", "GB/s", "GB/s read", "TFLOP/s", "GFLOP/s", "MB/s", "MB")
STEPS = {"1b": "step/Llama32_1B", "8b": "step/Llama31_8B"}
CPU_STEPS = ("tiny", "mid", "block_r32", "1b_bf16_r32", "1b_bf16")
RATIOS = (  # of times: what, of, over
    ("9 ranks in one pass / 1 rank, generation", "generate/nine_ranks_in_one_pass", "generate/one_rank"),
    ("9 ranks in one pass / 1 rank, scoring", "score/nine_ranks_in_one_pass", "score/one_rank"),
    *((f"LoRA / frozen base alone, step {c}", f"step/{c}/lora", f"step/{c}/base") for c in CPU_STEPS),
    *((f"MatryoshkaLoRA / LoRA, step {c}", f"step/{c}/matryoshka", f"step/{c}/lora") for c in CPU_STEPS),
)


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
            name = b["run_name"].split("/iterations:")[0].removesuffix("/manual_time").removesuffix("/real_time")
            rates = {u: b[u] for u in UNITS if u in b}
            if "bytes_per_second" in b:
                rates["MB/s"] = b["bytes_per_second"] * 1e-6
            found[name] = (b["real_time"] * scale, rates)
    return dict(sorted(found.items()))


def first(found, unit, *names):
    return next((found[n][1][unit] for n in names if n in found and unit in found[n][1]), None)


def products_beside_libraries(found):
    """For every product the rate of ours, of each library, and ours over the best of them."""
    rows = []
    for name, (_, rates) in found.items():
        libraries = {l: found[f"{name}/{l}"][1] for l in ("openblas", "onednn") if f"{name}/{l}" in found}
        unit = next(iter(rates), None)
        if name.startswith("product/") and unit and libraries:
            best = max(their[unit] for their in libraries.values())
            shown = ", ".join(f"{l} {their[unit]:,.1f}" for l, their in libraries.items())
            rows.append(f"| {name} | {rates[unit]:,.1f} {unit} | {shown} | {rates[unit] / best:.2f} |")
    return rows


def main():
    folder, machine, command = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    found = medians(folder)
    ceilings = {"GB/s": first(found, "GB/s", "copy"), "GB/s read": first(found, "GB/s read", "read"),
                "TFLOP/s": first(found, "TFLOP/s", "product/bfloat16", "product/float"), "GFLOP/s": first(found, "GFLOP/s", "peak")}
    print(f"# {machine}\n\n`{command}`; medians. Shares are of the ceilings measured in the same run.\n")
    for path in sorted(folder.glob("steps-*.md")):
        print(path.read_text())
    ratios = [(what, found[a][0] / found[b][0]) for what, a, b in RATIOS if a in found and b in found]
    if ratios:
        print("| ratio of times | |\n|---|---|")
        for what, ratio in ratios:
            print(f"| {what} | {ratio:.2f} |")
        print()
    products = products_beside_libraries(found)
    if products:
        print("| product | linden | libraries | linden / the best library |\n|---|---|---|---|")
        print("\n".join(products) + "\n")
    print("| benchmark | ms | rate | share of ceiling |\n|---|---|---|---|")
    for name, (ms, rates) in found.items():
        if name.endswith(("/openblas", "/onednn")):
            continue
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
