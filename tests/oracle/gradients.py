"""Compares linden's loss and adapter gradients with PyTorch's autograd through transformers, in double precision.

    gradients.py --programs DIR --models DIR [DIR ...] [--seed N] [--tolerance X]

The adapter's term (x A * p) B is added to every projection by a hook, for the p of LoRA, MatryoshkaLoRA in the three
scalings, and a drawn rank of DyLoRA. DIR holds the program gradients; the models are small. Where transformers computes
in float32 whatever the model's type is (norms, rotary angles, loss), double takes its place here. Every comparison
prints `oracle | what | compared | largest difference | tolerance`; the exit status is 1 if one is beyond it.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file
from transformers.models.llama import modeling_llama

RANK, RANKS = 8, (1, 2, 4, 8)
differs = False


def report(what, compared, difference, tolerance):
    global differs
    bad = compared == 0 or not difference <= tolerance
    differs = differs or bad
    print(f"oracle | {what} | {compared} | {difference:.3g} | {tolerance:g}{'  DIFFERS' if bad else ''}", flush=True)


def rms_norm(self, x):
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


def frequencies(config):
    """Rotary frequencies in double: transformers' rule for rope_type llama3."""
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    plain = config["rope_theta"] ** -(torch.arange(0, head, 2, dtype=torch.float64) / head)
    rope = config.get("rope_scaling")
    if rope is None:
        return plain
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    turns = rope["original_max_position_embeddings"] * plain / (2 * math.pi)
    blend = ((turns - low) / (high - low)).clamp(0, 1)
    counts = [(blend == 0).sum().item(), ((blend > 0) & (blend < 1)).sum().item(), (blend == 1).sum().item()]
    assert min(counts) > 0, f"divided, blended and kept frequencies: {counts}, not all three occur"
    return (1 - blend) * plain / factor + blend * plain


class RotaryAngles(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.frequencies = frequencies(config)

    def forward(self, x, position_ids):
        angles = position_ids[..., None].double() * self.frequencies
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()


def load_in_double(path):
    modeling_llama.LlamaRMSNorm.forward = rms_norm
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64, attn_implementation="sdpa")
    model.model.rotary_emb = RotaryAngles(json.loads((path / "config.json").read_text()))
    return model.eval().requires_grad_(False)


def projections(model):
    return {name: module for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and name != "lm_head"}


def random_factors(model, seed):
    random = np.random.default_rng(seed)
    return {f"base_model.model.{name}.lora_{factor}.weight": random.normal(0, 0.1, shape).astype(np.float32)
            for name, module in projections(model).items()
            for factor, shape in (("A", (RANK, module.in_features)), ("B", (module.out_features, RANK)))}


def write_adapter(directory, factors):
    save_file(factors, directory / "adapter_model.safetensors", {"format": "pt"})
    (directory / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "r": RANK, "lora_alpha": RANK,
        "target_modules": sorted({name.split(".")[-3] for name in factors})}))


def diagonals():
    """p of Algorithm 1, from its definition, and of the other kinds."""
    scale = {"none": lambda r: 1.0, "rank": lambda r: 1 / r, "sqrt": lambda r: r**-0.5}
    yield "LoRA", [1.0] * RANK
    for name, s in scale.items():
        yield f"MatryoshkaLoRA, scaling {name}", [sum(s(r) for r in RANKS if r > i) for i in range(RANK)]
    yield "DyLoRA, rank 4", [0.25] * 4 + [0.0] * (RANK - 4)


def autograd(model, factors, p, samples):
    """Loss and gradients: sum of the cross-entropies over their number."""
    leaves = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in factors.items()}
    diagonal = torch.tensor(p, dtype=torch.float64)

    def hook_of(name):
        a, b = (leaves[f"base_model.model.{name}.lora_{factor}.weight"] for factor in "AB")
        return lambda module, inputs, output: output + ((inputs[0] @ a.T) * diagonal) @ b.T

    hooks = [module.register_forward_hook(hook_of(name)) for name, module in projections(model).items()]
    total, count = 0, 0
    for ids, labels in samples:
        logits = model(torch.tensor([ids])).logits[0, :-1]
        targets = torch.tensor(labels[1:])
        assert logits.dtype == torch.float64
        total = total + torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100, reduction="sum")
        count += int((targets != -100).sum())
    (total / count).backward()
    for hook in hooks:
        hook.remove()
    return (total / count).item(), {name: leaf.grad.numpy() for name, leaf in leaves.items()}


def random_samples(config, seed):
    random = np.random.default_rng(seed)
    samples = []
    for length, prompt in ((300, 20), (2, 0), (41, 30)):
        ids = random.integers(3, config["vocab_size"], length).tolist()
        samples.append((ids, [-100] * prompt + ids[prompt:]))
    return samples


def check(path, programs, work, arguments):
    model = load_in_double(path)
    factors = random_factors(model, arguments.seed)
    samples = random_samples(json.loads((path / "config.json").read_text()), arguments.seed)
    write_adapter(work, factors)
    (work / "ids.json").write_text(json.dumps({"input_ids": [ids for ids, _ in samples],
                                               "labels": [labels for _, labels in samples]}))
    for what, p in diagonals():
        (work / "p.json").write_text(json.dumps({"p": p}))
        subprocess.run([programs / "gradients", "--model", path, "--adapter", work, "--ids", work / "ids.json",
                        "--weighting", work / "p.json", "--double", "--output", work / "out.safetensors"], check=True,
                       stdout=subprocess.DEVNULL)
        ours = load_file(work / "out.safetensors")
        loss, gradients = autograd(model, factors, p, samples)
        report(f"{path.name}: loss, {what}, relative", 1, abs(ours["loss"].item() - loss) / loss, arguments.tolerance)
        worst = 0
        for name, expected in gradients.items():
            worst = max(worst, np.linalg.norm(ours[name] - expected) / np.linalg.norm(expected))
        report(f"{path.name}: gradients, {what}, relative L2", len(gradients), worst, arguments.tolerance)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, type=lambda path: Path(path).resolve())
    parser.add_argument("--models", required=True, nargs="+", type=lambda path: Path(path).resolve())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tolerance", type=float, default=1e-10)
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for path in arguments.models:
        with tempfile.TemporaryDirectory() as work:
            check(path, arguments.programs, Path(work), arguments)
    sys.exit(differs)


if __name__ == "__main__":
    main()
