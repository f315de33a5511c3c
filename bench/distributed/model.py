#!/usr/bin/env python3
"""A model of a training step shared out between N processes, fitted to measurements, and what it predicts.

  python3 bench/distributed/model.py ONE.json TWO.json

ONE, TWO: of `mpirun -np 1` and `-np 2 bin/bench/distributed_step --benchmark_format=json`. Prints Markdown. The model:

  step(N)  = compute / N + update + exposed + meetings
  compute    forward and backward of the global batch on one process, sequences of equal length
  update     AdamW, which every process does for all parameters
  sums       2 (N - 1) / N gradients of 4 bytes over the bandwidth, and 2 (N - 1) messages for every piece
  exposed    of the sums what the backward pass of the layers below does not hide: at least the last piece
  meetings   the sums of the loss and of the signal to stop: two latencies each
"""
import json
import sys

GB, MICRO = 1e9, 1e-6
MODELS = {  # name: parameters in products, elements of an adapter's layer for each rank, layers, GFLOP a token (2048 a sequence)
    "1B": (1.236e9, 44_032, 16, 5.35),
    "8B": (7.505e9, 81_920, 32, 31.6),
}
PIECE = 128 * 1024  # bytes to every process before a sum is started


class Network:
    def __init__(self, name, processes, bandwidth, latency, message):
        """bandwidth: bytes a second that a process sends; latency: seconds of a meeting; message: seconds to post one more."""
        self.name, self.processes, self.bandwidth, self.latency, self.message = name, processes, bandwidth, latency, message

    def sums(self, gradient_bytes, pieces):
        n = self.processes
        return 2 * (n - 1) / n * gradient_bytes / self.bandwidth + pieces * 2 * (self.latency + (n - 2) * self.message)


def step(compute, update, gradient_bytes, layers, network, overlap=True):
    n = network.processes
    if n == 1:
        return compute + update
    pieces = max(1, min(layers, int(gradient_bytes / (PIECE * n))))
    sums = network.sums(gradient_bytes, pieces)
    hidden = compute / n / 2 * (pieces - 1) / pieces if overlap else 0  # forward takes as long as backward: weights have no gradients
    return compute / n + update + max(sums - hidden, sums / pieces) + 4 * network.latency


def fit(sums):
    """t = latency + bytes / bandwidth, by least squares of the relative error; large sums give one, small ones the other."""
    rows = [(1.0 / t, b / t) for b, t in sums]
    aa, ab, bb = (sum(p[i] * p[j] for p in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    a, b = sum(p[0] for p in rows), sum(p[1] for p in rows)
    det = aa * bb - ab * ab
    return (a * bb - b * ab) / det, det / (aa * b - ab * a)


def read(path):
    with open(path) as file:
        return {b["name"].split("/iterations")[0]: b for b in json.load(file)["benchmarks"]}


def main():
    one, two = read(sys.argv[1]), read(sys.argv[2])
    unit = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
    seconds = lambda b: b["real_time"] * unit[b["time_unit"]]
    latency, bandwidth = fit([(int(name.split("/")[1]), seconds(b)) for name, b in two.items() if name.startswith("sum/")])
    print(f"Fitted to the sums of two processes on this machine: {latency / MICRO:.0f} us and {bandwidth / GB:.2f} GB/s.\n")
    here = Network("here", 2, bandwidth, latency / 2, 0)
    print("| step | one process, ms | two, predicted | two, seen | speed-up predicted | seen |\n|---|---|---|---|---|---|")
    for name in ("step/tiny/8", "step/mid/4"):
        alone, both = seconds(one[name]), seconds(two[name])
        gradient = two[name]["least"] * 1e6
        layers = {"tiny": 5, "mid": 6}[name.split("/")[1]]
        # On one machine the cores that compute also copy: nothing is hidden.
        predicted = step(alone, 0, gradient, layers, here, overlap=False)
        print(f"| {name.split('/')[1]} | {alone * 1e3:.1f} | {predicted * 1e3:.1f} | {both * 1e3:.1f} | {alone / predicted:.2f} | {alone / both:.2f} |")

    gpu_flops, gpu_bytes = 400e12, 4.0e12
    networks = [Network("8 GPUs of a host, NVLink", 8, 350 * GB, 15 * MICRO, 0),
                Network("64 hosts, 100 Gbit/s", 64, 0.85 * 12.5 * GB, 10 * MICRO, 1 * MICRO),
                Network("64 hosts, 400 Gbit/s", 64, 0.85 * 50 * GB, 10 * MICRO, 1 * MICRO)]
    print("\n| model, rank | gradients, MB | tokens a step |", " | ".join(n.name for n in networks), "|")
    print("|---|---|---|" + "---|" * len(networks))
    for model, (_, elements, layers, gflop) in MODELS.items():
        for rank in (16, 256):
            parameters = elements * layers * rank
            for tokens in (64 * 512, 256 * 2048):
                compute = tokens * (gflop * 1e9 + 6 * parameters) / gpu_flops
                update = 28 * parameters / gpu_bytes  # gradient read twice, parameter and two moments read and written
                alone = step(compute, update, 0, layers, Network("", 1, 1, 0, 0))
                cells = []
                for network in networks:
                    time = step(compute, update, 4 * parameters, layers, network)
                    without = step(compute, update, 4 * parameters, layers, network, overlap=False)
                    n = network.processes
                    cells.append(f"{time * 1e3:.1f} ms, {100 * alone / n / time:.0f} % ({100 * alone / n / without:.0f} %)")
                print(f"| {model}, {rank} | {4 * parameters / 1e6:.0f} | {tokens} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
