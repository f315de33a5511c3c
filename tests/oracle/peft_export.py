"""Compares adapters written and read by linden with the packages peft and transformers, by the logits of random tokens.

    peft_export.py --programs DIR --models DIR [DIR ...] [--seed N]

Written by linden: a nested adapter of rank 32 in all three scalings, exported at ranks 1, 3, 8 and 32 as a PEFT
directory (both inferences, and as llama.cpp wants it) and as a merged checkpoint. Written by peft: adapters on some
modules and layers, with ranks and alphas of their own. DIR holds the programs export_adapter and logits. All is
computed in float32. Every comparison prints `oracle | what | compared | largest difference | tolerance`; the exit
status is 1 if one is beyond it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import peft
import torch
import transformers
from safetensors.numpy import load_file, save_file

RANKS = (1, 3, 8, 32)
LOGITS = 1e-4  # float32 sums in another order, over logits of about 10
differs = False


def report(what, compared, difference, tolerance):
    global differs
    bad = compared == 0 or not difference <= tolerance
    differs = differs or bad
    print(f"oracle | {what} | {compared} | {difference:.3g} | {tolerance:g}{'  DIFFERS' if bad else ''}", flush=True)


class Model:
    """A base model, token ids, and both programs' logits for them."""

    def __init__(self, path, programs, work, seed):
        self.path, self.programs, self.work = path, programs, work
        self.config = json.loads((path / "config.json").read_text())
        self.ids = work / "ids.json"
        random = np.random.default_rng(seed)
        longest = min(400, self.config["max_position_embeddings"])
        self.sequences = [random.integers(3, self.config["vocab_size"], n).tolist() for n in (1, 7, 60, longest)]
        self.ids.write_text(json.dumps({"input_ids": self.sequences, "labels": self.sequences}))
        self.base = self.load(path)

    @staticmethod
    def load(path):
        return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()

    def run(self, program, *arguments):
        command = [self.programs / program, "--model", self.path, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{program} {' '.join(map(str, arguments))}: {done.stderr}")

    def ours(self, *arguments):
        output = self.work / "logits.safetensors"
        self.run("logits", "--ids", self.ids, "--output", output, *arguments)
        return load_file(output)["logits"]

    def theirs(self, model):
        with torch.no_grad():
            return np.concatenate([model(torch.tensor([ids])).logits[0].numpy() for ids in self.sequences])

    def with_adapter(self, adapter):
        model = peft.PeftModel.from_pretrained(self.load(self.path), adapter)
        return self.theirs(model.eval())

    def compare(self, what, ours, theirs):
        report(f"{self.path.name}: {what}", ours.size, float(np.abs(ours - theirs).max()), LOGITS)


def projections(config):
    """Name, input and output size of the projections of a layer."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    q, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    return [("self_attn.q_proj", hidden, q), ("self_attn.k_proj", hidden, kv), ("self_attn.v_proj", hidden, kv),
            ("self_attn.o_proj", q, hidden), ("mlp.gate_proj", hidden, inner), ("mlp.up_proj", hidden, inner),
            ("mlp.down_proj", inner, hidden)]


# Of the factors' elements, so that logits change by about their own size: with far larger ones the rounding of float32
# is all that shows.
DEVIATION = {"prefix": {"none": 0.1, "sqrt": 0.12, "rank": 0.12},
             "weighted": {"none": 0.05, "sqrt": 0.06, "rank": 0.06}}


def write_nested_adapter(directory, config, scaling, inference, seed, rank=RANKS[-1]):
    """A MatryoshkaLoRA adapter of random factors, as linden writes it."""
    random = np.random.default_rng(seed)
    size = DEVIATION[inference][scaling]
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for name, rows, columns in projections(config):
            path = f"base_model.model.model.layers.{layer}.{name}"
            tensors[path + ".lora_A.weight"] = random.normal(0, size, (rank, rows)).astype(np.float32)
            tensors[path + ".lora_B.weight"] = random.normal(0, size, (columns, rank)).astype(np.float32)
    directory.mkdir()
    save_file(tensors, directory / "adapter_model.safetensors", {
        "format": "pt", "linden.kind": "matryoshka", "linden.scaling": scaling,
        "linden.train_ranks": ",".join(map(str, RANKS))})
    alpha = rank if scaling == "none" else 1
    (directory / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": None, "r": rank, "lora_alpha": alpha,
        "use_rslora": scaling == "sqrt", "target_modules": [name.split(".")[1] for name, _, _ in projections(config)]}))


def check_export(model, scaling, inference, seed):
    folder = model.work / f"{scaling}-{inference}"
    folder.mkdir()
    adapter = folder / "adapter"
    write_nested_adapter(adapter, model.config, scaling, inference, seed)
    ours = [model.ours("--adapter", adapter, "--rank", rank, "--inference", inference) for rank in RANKS]
    base = model.theirs(model.base)
    if min(np.abs(logits - base).max() for logits in ours) < 0.1:
        sys.exit(f"{adapter}: the adapter changes nothing, so nothing is compared")
    exports = {"PEFT directory": ["--format", "peft"], "merged checkpoint": ["--format", "merged", "--dtype", "f32"]}
    exports["PEFT directory for llama.cpp"] = ["--format", "peft", "--llama-cpp"]
    for number, (what, options) in enumerate(exports.items()):
        output = folder / str(number)
        model.run("export_adapter", "--adapter", adapter, "--rank", ",".join(map(str, RANKS)), "--inference", inference,
                  "--output", output, *options)
        folders = [output / f"rank-{rank}" for rank in RANKS]
        theirs = [model.theirs(model.load(exported)) if "merged" in options else model.with_adapter(exported)
                  for exported in folders]
        model.compare(f"{what}, scaling {scaling}, {inference}, ranks {', '.join(map(str, RANKS))}",
                      np.concatenate(ours), np.concatenate(theirs))


def peft_adapters(layers):
    """Adapters as the package peft makes them."""
    attention = ["q_proj", "v_proj"]
    return {
        "q_proj and v_proj": dict(r=4, lora_alpha=16, target_modules=attention),
        "rslora, ranks by module": dict(r=4, lora_alpha=2, use_rslora=True, target_modules=attention + ["down_proj"],
                                        rank_pattern={"down_proj": 9, "v_proj": 2}),
        "ranks and alphas by layer": dict(
            r=4, lora_alpha=4, target_modules=["q_proj", "k_proj", "up_proj"],
            rank_pattern={r"layers\.1\..*q_proj": 7, "up_proj": 2}, alpha_pattern={r".*\.0\..*": 3, "k_proj": 10}),
        "regular expression": dict(r=3, lora_alpha=3,
                                   target_modules=r"model\.layers\.\d*[02468]\.mlp\.(gate|down)_proj"),
        "all-linear": dict(r=5, lora_alpha=1, target_modules="all-linear"),
        "some layers": dict(r=6, lora_alpha=12, target_modules=["o_proj", "gate_proj"],
                            layers_to_transform=[0, layers - 1]),
    }


def check_import(model):
    for number, (what, settings) in enumerate(peft_adapters(model.config["num_hidden_layers"]).items()):
        folder = model.work / f"import{number}"
        settings = peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **settings)
        torch.manual_seed(number)
        made = peft.get_peft_model(model.load(model.path), settings).eval()
        made.save_pretrained(folder)
        theirs = model.theirs(made)
        if np.abs(theirs - model.theirs(model.base)).max() < 0.1:
            sys.exit(f"{what}: the adapter changes nothing, so nothing is compared")
        model.compare(f"adapter by peft, {what}", model.ours("--adapter", folder), theirs)
        check_again(model, what, folder, theirs)


def check_again(model, what, adapter, theirs):
    """What linden has read and written again is still the same adapter, and its prefixes are what they are here."""
    weights = load_file(adapter / "adapter_model.safetensors")
    rank = max(len(tensor) for name, tensor in weights.items() if "lora_A" in name)
    out = {name: adapter.with_name(adapter.name + name) for name in ("linden", "merged", "prefix")}
    model.run("export_adapter", "--adapter", adapter, "--rank", rank, "--format", "linden", "--output", out["linden"])
    model.compare(f"written again, {what}", model.with_adapter(out["linden"]), theirs)
    model.compare(f"written and read again, {what}", model.ours("--adapter", out["linden"]), theirs)
    model.run("export_adapter", "--adapter", adapter, "--rank", rank, "--format", "merged", "--dtype", "f32",
              "--output", out["merged"])
    model.compare(f"merged, {what}", model.theirs(model.load(out["merged"])), theirs)
    model.run("export_adapter", "--adapter", adapter, "--rank", rank - 1, "--format", "peft", "--output", out["prefix"])
    model.compare(f"prefix of rank {rank - 1}, {what}", model.ours("--adapter", adapter, "--rank", rank - 1),
                  model.with_adapter(out["prefix"]))


def check_merged_bf16(model, seed):
    """Merged weights in bfloat16 are the double sums, rounded."""
    adapter, output = model.work / "none-prefix" / "adapter", model.work / "bf16"
    model.run("export_adapter", "--adapter", adapter, "--rank", 8, "--format", "merged", "--dtype", "bf16",
              "--output", output)
    merged = transformers.AutoModelForCausalLM.from_pretrained(output).state_dict()
    factors = load_file(adapter / "adapter_model.safetensors")
    worst = count = 0
    for name, weight in model.base.state_dict().items():
        path = f"base_model.model.{name.removesuffix('.weight')}."
        expected = weight.double()
        if path + "lora_A.weight" in factors:
            a, b = (torch.tensor(factors[path + f"lora_{f}.weight"]).double() for f in "AB")
            expected = expected + b[:, :8] @ a[:8]
        difference = (merged[name].double() - expected.to(torch.bfloat16).double()).abs()
        difference /= expected.abs().clamp(min=1e-6)
        assert merged[name].dtype == torch.bfloat16
        worst, count = max(worst, difference.max().item()), count + weight.numel()
    # A sum in another order may fall on the other side of a tie: one unit in the last place.
    report(f"{model.path.name}: merged weights in bfloat16, relative", count, worst, 2**-7)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, type=lambda path: Path(path).resolve())
    parser.add_argument("--models", required=True, nargs="+", type=lambda path: Path(path).resolve())
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for path in arguments.models:
        with tempfile.TemporaryDirectory() as work:
            model = Model(path, arguments.programs, Path(work), arguments.seed)
            model.compare("base model", model.ours(), model.theirs(model.base))
            for scaling in ("none", "rank", "sqrt"):
                for inference in ("prefix", "weighted"):
                    check_export(model, scaling, inference, arguments.seed)
            check_merged_bf16(model, arguments.seed)
            check_import(model)
    sys.exit(differs)


if __name__ == "__main__":
    main()
