"""Compares linden's tokenizers with Hugging Face tokenizers and transformers, tiktoken and sentencepiece.

    python tests/oracle/tokenizers_oracle.py --bin DIR --shared DIR [--count 20000] [--vocabulary 8000] [--keep DIR]

--bin holds the program `encode` (tests/oracle/encode.cpp). A byte-level tokenizer with the layout of Llama 3 is trained on
GSM8K, written as tokenizer.json and as a tiktoken file, and used by both sides; the SentencePiece side is the stories260K
model in its three formats. Texts are all of GSM8K and random Unicode. One line per comparison; exit status 1 on any
difference. Meta's own vocabulary is not here: its published ids (tests/data/byte_level_test.cpp) need its file.
"""

import argparse
import base64
import json
import random
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import sentencepiece
import tiktoken
import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BOS, EOS = "<|begin_of_text|>", "<|eot_id|>"


def special_tokens():
    named = {0: BOS, 1: "<|end_of_text|>", 4: "<|finetune_right_pad_id|>", 6: "<|start_header_id|>",
             7: "<|end_header_id|>", 8: "<|eom_id|>", 9: EOS, 10: "<|python_tag|>"}
    reserved = (f"<|reserved_special_token_{i}|>" for i in range(256))
    return [named.get(i) or next(reserved) for i in range(256)]


# ---- texts ----------------------------------------------------------------------------

def gsm8k(shared):
    texts = []
    for split in ("train", "test"):
        for line in (shared / "data" / "gsm8k" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            texts += [row["question"], row["answer"], f"Question: {row['question']}\nAnswer: "]
    return texts


def random_texts(count, seed=20240607):
    """Mixtures of scripts, marks, emoji, controls, digits, contractions and runs of white space."""
    draw = random.Random(seed)
    # The engines know different versions of Unicode; what all of them know is assigned in this one's.
    assigned = [c for c in range(0x110000)
                if not 0xD800 <= c < 0xE000 and unicodedata.category(chr(c)) != "Cn"]
    by_category = {}
    for c in assigned:
        by_category.setdefault(unicodedata.category(chr(c)), []).append(chr(c))
    spaces = [" ", "  ", "\t", "\n", "\r", "\r\n", "\n\n", " \n", "\v", "\f", "\x1c", "\x85", "\u00a0", "\u1680",
              "\u180e", "\u2028", "\u2029", "\u200b", "\u202f", "\u205f", "\u3000", "\ufeff", "   \n  ", "\n \n"]
    endings = ["'s", "'S", "'\u017f", "'t", "'RE", "'ve", "'vE", "'m", "'ll", "'LL", "'d", "'", "''s", "\u2019s", "'\u212a"]
    words = ["I", "don", "it", "Kelvin", "\u212a", "stra\u00dfe", "\u4f60\u597d", "\u0928\u092e\u0938\u094d\u0924\u0947",
             "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "e\u0301", "12345",
             "\u0663\u0664\u0665\u0666", "\u216b", "\u00bd", "_x", "#", "####", "$12.50", "<<3+4=7>>", "</s>", "<s>", "<|eot_id|>",
             "<|eot_id", "<0x0A>", "\u2581", "\ufffd", "\x00", "\x7f"]

    def part():
        kind = draw.random()
        if kind < 0.25:
            return draw.choice(spaces) * draw.choice([1, 1, 2, 5])
        if kind < 0.45:
            return draw.choice(words)
        if kind < 0.6:
            return draw.choice(endings)
        if kind < 0.7:
            return str(draw.randrange(10 ** draw.randrange(1, 12)))
        if kind < 0.85:
            return "".join(draw.choice(draw.choice(list(by_category.values()))) for _ in range(draw.randrange(1, 6)))
        return "".join(chr(draw.choice(assigned)) for _ in range(draw.randrange(1, 8)))

    return ["".join(part() for _ in range(draw.randrange(0, 24))) for _ in range(count)]


# ---- tokenizers -----------------------------------------------------------------------

def pre_tokenizer():
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])


def train(texts, vocabulary):
    """Tokens in the order of their ranks, the 256 bytes first, in the byte-level alphabet."""
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizer()
    learner.train_from_iterator(texts, trainer)
    ids = learner.get_vocab()
    return sorted(ids, key=ids.get)


def merges_of(tokens):
    """The list of merges Llama 3's tokenizer.json has: by token, all splits into two tokens, by the ranks of both."""
    rank = {t: i for i, t in enumerate(tokens)}
    merges = []
    for token in tokens:
        splits = [(token[:i], token[i:]) for i in range(1, len(token)) if token[:i] in rank and token[i:] in rank]
        merges += sorted(splits, key=lambda pair: (rank[pair[0]], rank[pair[1]]))
    return merges


def write_json_folder(tokens, folder):
    ids = {t: i for i, t in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges_of(tokens), ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special_tokens())
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1",
                                      special_tokens=[(BOS, tokenizer.token_to_id(BOS))]),
    ])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_config(folder)
    return tokenizer


def write_config(folder):
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": BOS, "eos_token": EOS, "clean_up_tokenization_spaces": True,
         "tokenizer_class": "PreTrainedTokenizerFast"}))


def write_tiktoken_folder(tokens, folder):
    byte_of = {c: b for b, c in zip(sorted(range(256), key=alphabet_order), sorted(pre_tokenizers.ByteLevel.alphabet()))}
    ranks = {bytes(byte_of[c] for c in token): rank for rank, token in enumerate(tokens)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_text(
        "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items()))
    write_config(folder)
    return tiktoken.Encoding(name="trained", pat_str=PATTERN, mergeable_ranks=ranks,
                             special_tokens={t: len(ranks) + i for i, t in enumerate(special_tokens())})


def alphabet_order(byte):
    """Printable bytes stand for themselves; the others follow from U+0100."""
    printable = 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte
    return (not printable, byte)


# ---- comparisons ----------------------------------------------------------------------

class Linden:
    def __init__(self, program, failures):
        self.program, self.failures = program, failures

    def run(self, path, requests, *options):
        lines = "".join(json.dumps(r) + "\n" for r in requests)
        done = subprocess.run([self.program, "--tokenizer", path, *options], input=lines, text=True, encoding="utf-8",
                              capture_output=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{self.program}: {done.stderr}")
        return [json.loads(line) for line in done.stdout.split("\n")[:-1]]

    def compare(self, what, texts, expected, found):
        different = [i for i, (e, f) in enumerate(zip(expected, found, strict=True)) if e != f]
        print(f"oracle | {what} | {len(texts)} | {len(different)}", flush=True)
        for i in different[:5]:
            print(f"  {texts[i]!r}\n    expected {expected[i]}\n    found    {found[i]}")
        self.failures += bool(different)
        return self.failures


def byte_level(linden, sets, folder, vocabulary):
    tokens = train(sets["GSM8K"], vocabulary)
    hf = write_json_folder(tokens, folder / "json")
    openai = write_tiktoken_folder(tokens, folder / "tiktoken")
    # From version 5 on transformers ignores the request of Llama 3's own configuration unless it is forced.
    forced = {"clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": True}
    fast = PreTrainedTokenizerFast(tokenizer_file=str(folder / "json" / "tokenizer.json"), bos_token=BOS, eos_token=EOS,
                                   clean_up_tokenization_spaces=True, **forced)
    for name, texts in sets.items():
        encodings = hf.encode_batch(texts)
        requests = [{"text": t} for t in texts]
        ours = linden.run(folder / "json", requests, "--bos")
        linden.compare(f"byte-level tokenizer.json, ids with bos, {name}", texts, [e.ids for e in encodings],
                       [o["ids"] for o in ours])
        linden.compare(f"byte-level decode with clean-up (transformers), {name}", texts,
                       [fast.decode(e.ids, skip_special_tokens=True, clean_up_tokenization_spaces=True)
                        for e in encodings], [o["decoded"] for o in ours])
        ours = linden.run(folder / "tiktoken", requests)
        linden.compare(f"tiktoken file against tiktoken, {name}", texts,
                       [openai.encode(t, allowed_special="all") for t in texts], [o["ids"] for o in ours])
        linden.compare(f"tiktoken file against tokenizer.json, {name}", texts, [e.ids[1:] for e in encodings],
                       [o["ids"] for o in ours])
    draw = random.Random(5)
    rows = [[draw.randrange(hf.get_vocab_size()) for _ in range(draw.randrange(1, 30))] for _ in range(20000)]
    plain = folder / "plain"  # without the configuration nothing is cleaned up
    plain.mkdir(exist_ok=True)
    hf.save(str(plain / "tokenizer.json"))
    ours = linden.run(plain, [{"ids": r} for r in rows])
    linden.compare("byte-level decode of random ids (invalid UTF-8)", rows, hf.decode_batch(rows),
                   [o["decoded"] for o in ours])


def sentencepiece_kind(linden, sets, model):
    hf = Tokenizer.from_file(str(model / "tokenizer.json"))
    spm = sentencepiece.SentencePieceProcessor(model_file=str(model / "tokenizer.model"))
    for name, texts in sets.items():
        requests = [{"text": t} for t in texts]
        encodings = hf.encode_batch(texts)
        ours = linden.run(model / "tokenizer.json", requests, "--bos")
        linden.compare(f"SentencePiece-style tokenizer.json, ids, {name}", texts, [e.ids for e in encodings],
                       [o["ids"] for o in ours])
        linden.compare(f"SentencePiece-style tokenizer.json, decode, {name}", texts,
                       hf.decode_batch([e.ids for e in encodings]), [o["decoded"] for o in ours])
        found = linden.run(model / "tokenizer.model", requests)
        linden.compare(f"tokenizer.model against sentencepiece, ids, {name}", texts, spm.encode(texts),
                       [o["ids"] for o in found])
        linden.compare(f"tokenizer.model against sentencepiece, decode, {name}", texts,
                       [spm.decode(o["ids"]) for o in found], [o["decoded"] for o in found])
        plain = [i for i, t in enumerate(texts) if not any(s in t for s in ("<s>", "</s>", "<unk>"))]
        found = linden.run(model / "tok512.bin", requests, "--bos")
        linden.compare(f"tokenizer.bin against tokenizer.json, {name}", [texts[i] for i in plain],
                       [ours[i] for i in plain], [found[i] for i in plain])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, required=True, help="folder of the program `encode`")
    parser.add_argument("--shared", type=Path, required=True, help="folder with data/gsm8k and models/stories260K")
    parser.add_argument("--count", type=int, default=20000, help="random texts")
    parser.add_argument("--vocabulary", type=int, default=8000, help="size of the trained vocabulary")
    parser.add_argument("--keep", type=Path, help="write the trained tokenizer here")
    options = parser.parse_args()
    sets = {"GSM8K": gsm8k(options.shared), "random Unicode": random_texts(options.count)}
    linden = Linden(options.bin / "encode", 0)
    print(f"tokenizers {tokenizers.__version__}, tiktoken {tiktoken.__version__}, "
          f"sentencepiece {sentencepiece.__version__}, Unicode {unicodedata.unidata_version}")
    with tempfile.TemporaryDirectory() as folder:
        byte_level(linden, sets, options.keep or Path(folder), options.vocabulary)
    sentencepiece_kind(linden, sets, options.shared / "models" / "stories260K")
    sys.exit(1 if linden.failures else 0)


if __name__ == "__main__":
    main()
