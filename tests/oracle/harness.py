"""Compares linden's evaluation tasks with the package lm_eval, document by document.

    harness.py prompts --program P --data D             every prompt: gsm8k at 3 and 8 shots, arc_challenge at 25,
                                                        hellaswag at 10 (a file of random rows made here)
    harness.py scores  --program P --data D             scores of made-up answers to every question
    harness.py tokens  --program P --data D --model M   token ids of prompts and choices, cut to the model's context
    harness.py model   --task T --shots K --data D --model M --documents F [--rank R] [--limit N] [--tolerance X]
                                                        what `evaluate --json` wrote beside its result about the model (rank R;
                                                        0 is the model without adapter) against the harness's own run

    harness.py hellaswag --data D                       writes the random rows to D/hellaswag

P is tests/oracle/harness_prompts.cpp, compiled. D holds gsm8k/ and arc_challenge/ with train.jsonl and test.jsonl, and
for `model` also the task's own folder. Every comparison prints `oracle | what | compared items | largest difference`;
the exit status is 1 if any difference is beyond its tolerance. Needs lm_eval 0.4.9 or later, torch and transformers.
"""

import argparse
import json
import logging
import math
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

# Scripts beside this one may have the names of packages.
sys.path = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")

import datasets
import lm_eval
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.utils import postprocess_generated_text

try:
    from lm_eval.tasks._yaml_loader import load_yaml
except ImportError:  # before 0.4.10
    from lm_eval.utils import load_yaml_config

    def load_yaml(path):
        return load_yaml_config(yaml_path=str(path), mode="full")


FILES = {
    "gsm8k": ("gsm8k/gsm8k.yaml", {"train": "train.jsonl", "test": "test.jsonl"}),
    "arc_challenge": ("arc/arc_challenge.yaml", {"train": "train.jsonl", "test": "test.jsonl"}),
    "hellaswag": ("hellaswag/hellaswag.yaml", {"train": "train.jsonl", "validation": "validation.jsonl"}),
}
EOS = "</s>"
differs = False


def report(what, items, difference, tolerance=0.0):
    global differs
    bad = items == 0 or not difference <= tolerance
    differs = differs or bad
    print(f"oracle | {what} | {items} | {difference:g}{'  DIFFERS' if bad else ''}", flush=True)


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def harness_task(name, folder, shots):
    """The harness's own task object, with rows from local files."""
    yaml, files = FILES[name]
    config = dict(load_yaml(Path(lm_eval.__file__).parent / "tasks" / yaml))
    config.update(dataset_path=None, dataset_name=None, num_fewshot=shots)
    config["custom_dataset"] = lambda **_: {
        split: datasets.Dataset.from_list(read_lines(Path(folder) / file)) for split, file in files.items()
    }
    task = ConfigurableTask(config=config)
    task.set_fewshot_seed(1234)
    return task


def requests_of(task, limit=None):
    """Per document: its requests, in the order of the choices."""
    task.build_all_requests(limit=limit, rank=0, world_size=1)
    documents = {}
    for instance in task.instances:
        documents.setdefault(instance.doc_id, []).append(instance)
    return documents


def ours(program, *arguments, text=None):
    command = [program, *map(str, arguments)]
    run = subprocess.run(command, input=text, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return [json.loads(line) for line in run.stdout.split("\n") if line]  # splitlines() would split inside strings


def make_hellaswag(folder, rows=400, seed=7):
    """Rows of the original layout with everything that cleaning has to deal with; some examples repeat a question. No
    prompt begins with a space: versions of transformers do not agree about the tokens of that."""
    rng = random.Random(seed)
    words = ["he", "She", "PUTS", "a", "wok", "café", "ÉCOLE", "Über", "Ζεύς", "ЖУК", "naïve", "10", "[header]",
             "[title]", "[step]", "[substeps]", "[", "]", "[a [b]", "...", ",", "", "", "\u00a0", "\n", "\u2003",
             "’s"]

    def text(most):
        chosen = [rng.choice(words) for _ in range(rng.randint(0, most))]
        return " ".join(chosen) + rng.choice(["", "", " ", "  ", " [step]"])

    def row(index):
        endings = [f"{text(4)}{rng.choice(words)}wok {text(4)}" for _ in range(4)]
        return {"ind": index, "activity_label": "Wok" + text(3), "ctx_a": text(12), "ctx_b": rng.choice(["", text(6)]),
                "ctx": "", "endings": endings, "split": "x", "label": str(rng.randrange(4))}

    questions = [row(i) for i in range(rows)]
    examples = questions[: rows // 8] + [row(rows + i) for i in range(rows // 4)]
    rng.shuffle(examples)
    for name, content in (("validation", questions), ("train", examples)):
        with open(Path(folder) / f"{name}.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in content)


def compare_prompts(a):
    with tempfile.TemporaryDirectory() as hellaswag:
        make_hellaswag(hellaswag)
        for name, shots, folder in (("gsm8k", 3, f"{a.data}/gsm8k"), ("gsm8k", 8, f"{a.data}/gsm8k"),
                                    ("gsm8k", 0, f"{a.data}/gsm8k"), ("arc_challenge", 25, f"{a.data}/arc_challenge"),
                                    ("hellaswag", 10, hellaswag), ("hellaswag", 0, hellaswag)):
            task = harness_task(name, folder, shots)
            documents = requests_of(task)
            lines = ours(a.program, "prompts", name, folder, shots)
            wrong = abs(len(lines) - len(documents))
            for line, requests in zip(lines, documents.values()):
                wrong += line["prompt"] != requests[0].args[0]
                if task.OUTPUT_TYPE == "multiple_choice":
                    wrong += [" " + choice for choice in line["choices"]] != [r.args[1] for r in requests]
                    wrong += line["gold"] != task.doc_to_target(requests[0].doc)
                else:
                    wrong += line["target"] != task.doc_to_target(requests[0].doc)
            report(f"{name} prompts, {shots} shots (different)", len(lines), wrong)


def made_up_response(rng, gold):
    number = gold.split("#### ")[-1]
    pieces = [number, f"#### {number}", f"#### {number}.", f"${number}", f"#### {number}.0", "####", "#### ", " ",
              "\n", "-", ".", ",", "$", "...", "7", "1,0", "1,000.50", "-3", "Question:", EOS, "<|im_end|>", "so", "٣",
              "é", "\n#### 12", number.replace(",", ""), "#### -", "#### $5", "##### 6"]
    weights = [6, 8, 6, 4] + [1] * (len(pieces) - 4)
    return "".join(rng.choices(pieces, weights)[0] + rng.choice(["", " "]) for _ in range(rng.randint(0, 7)))


def standard_error(values):
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def harness_generation_scores(task, requests, response):
    """{"strict", "flexible"} of text that is already cut."""
    requests[0].resps = [response]
    scores = {}
    for key, ensemble in (("strict", "strict-match"), ("flexible", "flexible-extract")):
        chosen = next(f for f in task._filters if f.name == ensemble)
        chosen.apply(requests[:1])
        scores[key] = task.process_results(requests[0].doc, [requests[0].filtered_resps[ensemble]])["exact_match"]
    return scores


def compare_scores(a):
    rng = random.Random(3)
    task = harness_task("gsm8k", f"{a.data}/gsm8k", 0)
    documents = requests_of(task)
    answers = [{"doc": d, "response": made_up_response(rng, r[0].doc["answer"])}
               for d, r in documents.items() for _ in range(3)]
    stops = [*task.config.generation_kwargs["until"], EOS]
    expected = []
    for answer in answers:
        cut = postprocess_generated_text(answer["response"], stops, None)
        expected.append({"response": cut} | harness_generation_scores(task, documents[answer["doc"]], cut))
    compare_score_lines("gsm8k", f"{a.data}/gsm8k", a, answers, expected, ("strict", "flexible"), task)

    with tempfile.TemporaryDirectory() as hellaswag:
        make_hellaswag(hellaswag)
        for name, folder in (("arc_challenge", f"{a.data}/arc_challenge"), ("hellaswag", hellaswag)):
            task = harness_task(name, folder, 0)
            task._metric_fn_list["acc_bytes"] = None  # part of the harness, not of these tasks
            documents = requests_of(task)
            answers = [{"doc": d, "log_likelihoods": [-rng.choice([rng.uniform(1, 60), rng.randint(1, 6)]) for _ in r]}
                       for d, r in documents.items()]
            expected = [task.process_results(documents[x["doc"]][0].doc, [(v, False) for v in x["log_likelihoods"]])
                        for x in answers]
            compare_score_lines(name, folder, a, answers, expected, ("acc", "acc_norm", "acc_bytes"), task)


def compare_score_lines(name, folder, a, answers, expected, metrics, task):
    text = "".join(json.dumps(answer) + "\n" for answer in answers)
    *lines, summary = ours(a.program, "score", name, folder, EOS, text=text)
    if name == "gsm8k":
        report("gsm8k responses, cut (different)", len(lines),
               sum(line["response"] != e["response"] for line, e in zip(lines, expected)))
    for metric in metrics:
        values = [float(e[metric]) for e in expected]
        wrong = abs(len(lines) - len(expected)) + sum(line[metric] != v for line, v in zip(lines, values))
        report(f"{name} {metric} (different; mean {sum(values) / len(values):.3f})", len(lines), wrong)
        mean, error = summary[metric]
        report(f"{name} {metric}: mean and standard error", 2,
               max(abs(mean - sum(values) / len(values)), abs(error - standard_error(values))), 1e-12)


def harness_model(a):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=a.model, device="cpu", dtype="float32", batch_size=a.batch)


def expected_tokens(lm, task, requests):
    """What the harness feeds and sums for one document, as the program prints it."""
    if task.OUTPUT_TYPE == "generate_until":
        ids, _ = lm.tok_batch_encode([requests[0].args[0]], left_truncate_len=lm.max_length - 256)
        return {"ids": ids[0].tolist()}
    choices = []
    for request in requests:
        context, continuation = lm._encode_pair(*request.args)
        ids = (context + continuation)[-(lm.max_length + 1):]
        choices.append({"ids": ids, "labels": [-100] * (len(ids) - len(continuation)) + continuation})
    return {"choices": choices}


def compare_tokens(a):
    lm = harness_model(a)
    with tempfile.TemporaryDirectory() as hellaswag:
        make_hellaswag(hellaswag)
        for name, shots, folder in (("gsm8k", 0, f"{a.data}/gsm8k"), ("gsm8k", 8, f"{a.data}/gsm8k"),
                                    ("arc_challenge", 0, f"{a.data}/arc_challenge"),
                                    ("arc_challenge", 25, f"{a.data}/arc_challenge"),
                                    ("hellaswag", 0, hellaswag), ("hellaswag", 10, hellaswag)):
            task = harness_task(name, folder, shots)
            documents = requests_of(task, a.limit)
            lines = ours(a.program, "tokens", name, folder, shots, a.model, lm.max_length, a.limit)
            wrong = abs(len(lines) - len(documents))
            for line, requests in zip(lines, documents.values()):
                wrong += {key: line[key] for key in line if key != "doc"} != expected_tokens(lm, task, requests)
            report(f"{name} tokens, {shots} shots (different)", len(lines), wrong)


def compare_model(a):
    lines = {line["doc"]: line for line in read_lines(a.documents)
             if "doc" in line and line["rank"] == a.rank}
    lm = harness_model(a)
    task = harness_task(a.task, f"{a.data}/{a.task}", a.shots)
    documents = requests_of(task, a.limit)
    missing = [d for d in documents if d not in lines]
    report(f"{a.task} documents that are not in the file", len(documents), len(missing))
    documents = {d: r for d, r in documents.items() if d in lines}
    flat = [instance for requests in documents.values() for instance in requests]
    if task.OUTPUT_TYPE == "generate_until":
        texts = lm.generate_until(flat, disable_tqdm=True)
        scores = [harness_generation_scores(task, r, text) for r, text in zip(documents.values(), texts)]
        report(f"{a.task} responses (different)", len(texts),
               sum(lines[d]["response"] != text for d, text in zip(documents, texts)))
        metrics = ("strict", "flexible")
    else:
        answers = iter(lm.loglikelihood(flat, disable_tqdm=True))
        results = [[next(answers) for _ in requests] for requests in documents.values()]
        scores = [task.process_results(r[0].doc, result) for r, result in zip(documents.values(), results)]
        found = [lines[d]["log_likelihoods"] for d in documents]
        gaps = [abs(x - y[0]) if len(f) == len(result) else math.inf
                for f, result in zip(found, results) for x, y in zip(f, result)]
        report(f"{a.task} log-likelihoods, nats", len(gaps), max(gaps, default=0.0), a.tolerance)
        metrics = ("acc", "acc_norm")
    for metric in metrics:
        report(f"{a.task} {metric} (different; mean {sum(s[metric] for s in scores) / max(len(scores), 1):.3f})",
               len(scores), sum(lines[d][metric] != s[metric] for d, s in zip(documents, scores)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["prompts", "scores", "tokens", "model", "hellaswag"])
    parser.add_argument("--program", help="harness_prompts.cpp, compiled")
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", help="Hugging Face model folder")
    parser.add_argument("--task", choices=list(FILES))
    parser.add_argument("--shots", type=int)
    parser.add_argument("--documents", help="JSON lines written by evaluate")
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tolerance", type=float, default=2e-3)
    a = parser.parse_args()
    needed = {"prompts": ["program"], "scores": ["program"], "tokens": ["program", "model"],
              "model": ["task", "shots", "documents", "model"], "hellaswag": []}[a.what]
    for name in needed:
        if getattr(a, name) is None:
            parser.error(f"{a.what} needs --{name}")
    if a.what == "hellaswag":
        os.makedirs(f"{a.data}/hellaswag")
        make_hellaswag(f"{a.data}/hellaswag")
        return
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    {"prompts": compare_prompts, "scores": compare_scores, "tokens": compare_tokens, "model": compare_model}[a.what](a)
    sys.exit(1 if differs else 0)


if __name__ == "__main__":
    main()
