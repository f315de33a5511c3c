"""Writes a randomly initialised checkpoint in the layout of a Hugging Face Llama repository.

    random_checkpoint.py --config llama-3.2-1b --output DIR [--dtype bf16|f32] [--shard-bytes N] [--seed N]
                         [--layers N] [--text FILE ...]

config.json, generation_config.json, model.safetensors or model-0000x-of-0000y.safetensors with their index, and for the
Llama-3 shapes a tokenizer in Llama 3's layout: byte-level BPE trained on the text files (of .jsonl every string),
special tokens with their real ids, and placeholders for the ids in between. Matrices are drawn from normal(0, sigma),
each from the seed and its own name, and written one by one, so that the largest needs little memory.
"""

import argparse
import json
import sys
import zlib
from pathlib import Path

import numpy as np

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def llama3(hidden, intermediate, layers, heads, head_dim, factor, tied, **other):
    """The numbers of a Llama 3.1 or 3.2 model; head_dim None leaves the field out, as 3.1's file does."""
    shape = dict(hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers,
                 num_attention_heads=heads, num_key_value_heads=8, head_dim=head_dim, vocab_size=128256,
                 max_position_embeddings=131072, rope_theta=500000.0, tie_word_embeddings=tied,
                 bos_token_id=128000, eos_token_id=128001)
    shape["rope_scaling"] = dict(factor=factor, high_freq_factor=4.0, low_freq_factor=1.0,
                                 original_max_position_embeddings=8192, rope_type="llama3")
    return shape | other


CONFIGS = {
    "llama-3.2-1b": llama3(2048, 8192, 16, 32, 64, 32.0, True),
    "llama-3.2-3b": llama3(3072, 8192, 28, 24, 128, 32.0, True),
    "llama-3.1-8b": llama3(4096, 14336, 32, 32, None, 8.0, False),
    "stories15m": dict(hidden_size=288, intermediate_size=768, num_hidden_layers=6, num_attention_heads=6,
                       num_key_value_heads=6, head_dim=48, vocab_size=32000, max_position_embeddings=256,
                       rope_theta=10000.0, rope_scaling=None, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2),
    # Small enough to compute in double. Of its 8 rotary frequencies 0-1 are kept, 2 is blended, 3-7 are divided.
    "tiny-llama3": llama3(64, 96, 2, 4, 16, 8.0, False, num_key_value_heads=2, vocab_size=384,
                          max_position_embeddings=512, bos_token_id=368, eos_token_id=369),
}
CONFIGS["tiny-llama3"]["rope_scaling"]["original_max_position_embeddings"] = 256
# Weights of 0.02 would leave a model this narrow close to the identity.
DEVIATION = {"tiny-llama3": (0.15, 0.1)}  # of matrices, of norms around 1


def hf_config(shape, dtype):
    fixed = dict(architectures=["LlamaForCausalLM"], attention_bias=False, attention_dropout=0.0, hidden_act="silu",
                 initializer_range=0.02, mlp_bias=False, model_type="llama", pretraining_tp=1, rms_norm_eps=1e-05,
                 torch_dtype={"bf16": "bfloat16", "f32": "float32"}[dtype], transformers_version="4.45.0",
                 use_cache=True)
    given = {key: value for key, value in shape.items() if (key, value) != ("head_dim", None)}
    return dict(sorted((fixed | given).items()))


def tensors(shape):
    """Names and shapes of the checkpoint, in the order of the model."""
    hidden, intermediate = shape["hidden_size"], shape["intermediate_size"]
    head_dim = shape["head_dim"] or hidden // shape["num_attention_heads"]
    q, kv = shape["num_attention_heads"] * head_dim, shape["num_key_value_heads"] * head_dim
    yield "model.embed_tokens.weight", (shape["vocab_size"], hidden)
    for layer in range(shape["num_hidden_layers"]):
        parts = {"self_attn.q_proj": (q, hidden), "self_attn.k_proj": (kv, hidden), "self_attn.v_proj": (kv, hidden),
                 "self_attn.o_proj": (hidden, q), "mlp.gate_proj": (intermediate, hidden),
                 "mlp.up_proj": (intermediate, hidden), "mlp.down_proj": (hidden, intermediate),
                 "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,)}
        for part, size in parts.items():
            yield f"model.layers.{layer}.{part}.weight", size
    yield "model.norm.weight", (hidden,)
    if not shape["tie_word_embeddings"]:
        yield "lm_head.weight", (shape["vocab_size"], hidden)


def bf16_bits(values):
    """The upper halves of float32 numbers, rounded to nearest even."""
    bits = values.view(np.uint32)
    return ((bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16).astype(np.uint16)


def chunks(name, size, args):
    """The bytes of a tensor, a piece at a time."""
    of_matrix, of_norm = DEVIATION.get(args.config, (0.02, 0.0))
    random = np.random.Generator(np.random.SFC64([args.seed, zlib.crc32(name.encode())]))
    left = int(np.prod(size))
    while left > 0:
        count = min(left, 1 << 22)
        values = random.standard_normal(count, dtype=np.float32)
        values *= np.float32(of_matrix if len(size) == 2 else of_norm)
        if len(size) == 1:
            values += np.float32(1)
        yield (bf16_bits(values) if args.dtype == "bf16" else values).tobytes()
        left -= count


def write_shard(path, members, args):
    """A safetensors file; of one dtype, so in the order of the names."""
    item = {"bf16": 2, "f32": 4}[args.dtype]
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, size in sorted(members):
        begin, end = end, end + item * int(np.prod(size))
        header[name] = dict(dtype={"bf16": "BF16", "f32": "F32"}[args.dtype], shape=size, data_offsets=[begin, end])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, size in sorted(members):
            for chunk in chunks(name, size, args):
                file.write(chunk)


def write_weights(shape, args):
    item = {"bf16": 2, "f32": 4}[args.dtype]
    shards, total = [[]], 0
    filled = 0
    for name, size in tensors(shape):
        count = item * int(np.prod(size))
        if filled > 0 and filled + count > args.shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append((name, size))
        filled += count
        total += count
    if len(shards) == 1:
        return write_shard(args.output / "model.safetensors", shards[0], args)
    weight_map = {}
    for index, members in enumerate(shards):
        file = f"model-{index + 1:05}-of-{len(shards):05}.safetensors"
        write_shard(args.output / file, members, args)
        weight_map |= {name: file for name, _ in members}
    write_json(args.output / "model.safetensors.index.json",
               {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))})


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def training_texts(files):
    for file in files:
        with open(file, encoding="utf-8") as lines:
            for line in lines:
                yield from strings(json.loads(line)) if file.suffix == ".jsonl" else [line]


def special_names(count):
    """Llama 3's special tokens in the order of their ids, as many as there is room for."""
    names = ["begin_of_text", "end_of_text", "reserved_special_token_0", "reserved_special_token_1",
             "finetune_right_pad_id", "reserved_special_token_2", "start_header_id", "end_header_id", "eom_id",
             "eot_id", "python_tag"]
    names += [f"reserved_special_token_{i}" for i in range(3, 3 + max(0, count - len(names)))]
    return [f"<|{name}|>" for name in names[:count]]


def train_bpe(size, texts):
    """Vocabulary and merges of a byte-level BPE; the single bytes are 0..255, as in Llama 3."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=[], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    if [token for token, id in sorted(model["vocab"].items(), key=lambda item: item[1])][:256] != alphabet:
        sys.exit("random_checkpoint.py: this version of tokenizers does not number the single bytes first")
    return model["vocab"], [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]


def tokenizer_json(vocabulary, merges, specials, first_special):
    bos = specials[0]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [dict(id=first_special + i, content=name, single_word=False, lstrip=False, rstrip=False,
                              normalized=False, special=True) for i, name in enumerate(specials)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": LLAMA3_SPLIT}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
        "post_processor": {"type": "Sequence", "processors": [
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
            {"type": "TemplateProcessing",
             "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
             "pair": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                      {"SpecialToken": {"id": bos, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
             "special_tokens": {bos: {"id": bos, "ids": [first_special], "tokens": [bos]}}}]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
                  "vocab": vocabulary, "merges": merges},
    }


def write_tokenizer(shape, args):
    first_special = shape["bos_token_id"]
    specials = special_names(shape["vocab_size"] - first_special)
    vocabulary, merges = train_bpe(min(args.trained, first_special), training_texts(args.text))
    # No text reaches a placeholder: the pattern never keeps letters and digits together, and no merge makes one.
    vocabulary |= {f"<|placeholder_{id}|>": id for id in range(len(vocabulary), first_special)}
    write_json(args.output / "tokenizer.json", tokenizer_json(vocabulary, merges, specials, first_special))
    token = dict(lstrip=False, normalized=False, rstrip=False, single_word=False)
    decoder = {str(first_special + i): dict(content=name, **token, special=True) for i, name in enumerate(specials)}
    write_json(args.output / "tokenizer_config.json", dict(
        added_tokens_decoder=decoder, bos_token=specials[0], clean_up_tokenization_spaces=True, eos_token=specials[1],
        model_input_names=["input_ids", "attention_mask"], model_max_length=shape["max_position_embeddings"],
        tokenizer_class="PreTrainedTokenizerFast"))
    write_json(args.output / "special_tokens_map.json", dict(
        bos_token=dict(content=specials[0], **token), eos_token=dict(content=specials[1], **token)))


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, choices=CONFIGS)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--shard-bytes", type=int, default=5_000_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, help="number of layers, if not the model's")
    parser.add_argument("--text", nargs="*", type=Path, default=[], help="what the tokenizer is trained on")
    parser.add_argument("--trained", type=int, default=8192, help="tokens to train, the single bytes among them")
    args = parser.parse_args()
    if args.output.exists() and any(args.output.iterdir()):
        parser.error(f"{args.output} is not empty")
    args.output.mkdir(parents=True, exist_ok=True)
    shape = dict(CONFIGS[args.config])
    if args.layers is not None:
        shape["num_hidden_layers"] = args.layers
    write_weights(shape, args)
    if shape["rope_scaling"]:
        write_tokenizer(shape, args)
    write_json(args.output / "generation_config.json", dict(
        _from_model_config=True, bos_token_id=shape["bos_token_id"], do_sample=True, eos_token_id=shape["eos_token_id"],
        temperature=0.6, top_p=0.9, transformers_version="4.45.0"))
    write_json(args.output / "config.json", hf_config(shape, args.dtype))


if __name__ == "__main__":
    main()
