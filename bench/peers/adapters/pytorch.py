#!/usr/bin/python3
"""PyTorch as a peer of whittle_compare_peers: a Llama decoder with a KV cache, greedy, one sequence.

Debian's python3-torch suffices. float32 multiplies by the BLAS that is installed: take libopenblas0-openmp, as the
reference BLAS is many times slower. bfloat16 goes to oneDNN, and int8 where FBGEMM is missing.
"""

import argparse
import json
import os
import sys
import time

sys.dont_write_bytecode = True


def arguments():
    parser = argparse.ArgumentParser(description="Times a Llama decoder in PyTorch; prints the figures as JSON.")
    parser.add_argument("model", metavar="MODEL", help="folder with config.json and float weights in safetensors")
    parser.add_argument("--mode", choices=("float32", "bfloat16", "int8"), default="float32",
                        help="int8: dynamic quantization, weights a row, inputs a tensor")
    parser.add_argument("--prompt-tokens", type=int, default=512, metavar="N")
    parser.add_argument("--gen-tokens", type=int, default=64, metavar="N")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N")
    parser.add_argument("--ids", metavar="1,2,3", help="print the greedy continuation of this prompt, and time nothing")
    flags = parser.parse_args()
    if min(flags.prompt_tokens, flags.gen_tokens, flags.threads) < 1:
        parser.error("--prompt-tokens, --gen-tokens and --threads are at least 1")
    try:
        flags.ids = [int(text) for text in flags.ids.split(",")] if flags.ids else None
    except ValueError:
        parser.error(f"--ids: expected numbers with commas, found {flags.ids!r}")
    return flags


FLAGS = arguments()
# Read when the libraries are loaded.
os.environ["OMP_NUM_THREADS"] = str(FLAGS.threads)
try:
    import torch
    import torch.nn.functional as F
except ImportError as missing:
    sys.exit(f"pytorch.py: {missing}: install python3-torch, and run this with that package's Python")
from llama_folder import FolderError, LlamaFolder  # noqa: E402

# Fastest first. "x86" is FBGEMM and oneDNN; Debian's PyTorch has the latter two.
ENGINES = ("x86", "fbgemm", "onednn", "qnnpack")


def float32_linear(weight):
    """BLAS has a faster way for one row than the product of matrices."""
    return lambda x: torch.mv(weight, x[0])[None] if len(x) == 1 else F.linear(x, weight)


def bfloat16_linear(weight):
    weight = weight.bfloat16()
    return lambda x: F.linear(x, weight)


def int8_linear(weight):
    module = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    module.weight = torch.nn.Parameter(weight, requires_grad=False)
    kind = {torch.nn.Linear: torch.quantization.per_channel_dynamic_qconfig}
    # With oneDNN a module is fast for the number of rows that it was first called with: one for steps, one for prompts.
    one, many = (torch.quantization.quantize_dynamic(torch.nn.Sequential(module), kind)[0] for _ in range(2))
    return lambda x: (one if len(x) == 1 else many)(x)


LINEARS = {"float32": float32_linear, "bfloat16": bfloat16_linear, "int8": int8_linear}


class Decoder:
    def __init__(self, folder, mode, context):
        self.config = c = folder.config
        self.dtype = torch.bfloat16 if mode == "bfloat16" else torch.float32

        def floats(array):
            return torch.from_numpy(array).to(self.dtype)

        def linear(array):
            return LINEARS[mode](torch.from_numpy(array))

        self.embedding = floats(folder.embedding())
        self.layers = []
        for index in range(c.layers):
            weights = folder.layer(index)
            self.layers.append({name: floats(weights[name]) if name.endswith("norm") else linear(weights[name])
                                for name in weights})
        self.last_norm = floats(folder.last_norm())
        self.head = linear(folder.head())
        # Both halves of a head turn by the same angles.
        cosines, sines = (torch.from_numpy(table) for table in c.rotation(context))
        self.cosines = torch.cat([cosines, cosines], 1).to(self.dtype)
        self.sines = torch.cat([-sines, sines], 1).to(self.dtype)
        self.caches = [torch.zeros(2, c.kv_heads, context, c.head_dim, dtype=self.dtype) for _ in self.layers]
        self.future = torch.full((context, context), float("-inf"), dtype=self.dtype).triu(1)

    def norm(self, x, weight):
        x = x.float()
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.config.epsilon)
        return x.to(self.dtype) * weight

    def rotate(self, x, begin, end):
        """[heads, tokens, head_dim]"""
        half = self.config.head_dim // 2
        turned = torch.cat([x[..., half:], x[..., :half]], -1)
        return x * self.cosines[begin:end] + turned * self.sines[begin:end]

    def attention(self, qkv, cache, begin, end):
        """Queries that share keys and values are rows of one product, so that nothing is copied for them."""
        c, tokens, group = self.config, end - begin, self.config.heads // self.config.kv_heads
        q, k, v = (
            part.reshape(tokens, -1, c.head_dim).transpose(0, 1)
            for part in qkv.split([c.heads * c.head_dim, c.kv_heads * c.head_dim, c.kv_heads * c.head_dim], -1)
        )
        cache[0, :, begin:end] = self.rotate(k, begin, end)
        cache[1, :, begin:end] = v
        q = self.rotate(q, begin, end).reshape(c.kv_heads, group * tokens, c.head_dim)
        mask = self.future[begin:end, :end].repeat(group, 1)
        scores = torch.baddbmm(mask, q, cache[0, :, :end].transpose(1, 2), alpha=c.head_dim**-0.5)
        mixed = torch.bmm(torch.softmax(scores, -1), cache[1, :, :end])
        return mixed.reshape(c.heads, tokens, c.head_dim).transpose(0, 1).reshape(tokens, -1)

    def forward(self, ids, begin):
        """The most likely token after `ids`, of which the first stands at position `begin`."""
        end = begin + len(ids)
        x = self.embedding[torch.tensor(ids)]
        for layer, cache in zip(self.layers, self.caches):
            qkv = layer["qkv"](self.norm(x, layer["attention_norm"]))
            x = x + layer["o"](self.attention(qkv, cache, begin, end))
            h = self.norm(x, layer["mlp_norm"])
            x = x + layer["down"](F.silu(layer["gate"](h)) * layer["up"](h))
        return int(self.head(self.norm(x[-1:], self.last_norm)).argmax())


def generate(decoder, ids, steps):
    """The tokens after the prompt, the seconds of the prompt, and those of the steps."""
    start = time.perf_counter()
    tokens = [decoder.forward(ids, 0)]
    prompt_end = time.perf_counter()
    for step in range(steps):
        tokens.append(decoder.forward(tokens[-1:], len(ids) + step))
    return tokens, prompt_end - start, time.perf_counter() - prompt_end


def main():
    folder = LlamaFolder(FLAGS.model)
    vocab = folder.config.vocab
    ids = FLAGS.ids or [(7919 * i + 1) % vocab for i in range(FLAGS.prompt_tokens)]
    if max(ids) >= vocab or min(ids) < 0:
        raise FolderError(f"--ids: the model has the ids 0 to {vocab - 1}")
    context = len(ids) + FLAGS.gen_tokens
    if context > folder.config.positions:
        raise FolderError(f"{FLAGS.model}: {context} tokens, and max_position_embeddings is {folder.config.positions}")
    torch.set_num_threads(FLAGS.threads)
    known = torch.backends.quantized.supported_engines
    torch.backends.quantized.engine = next(name for name in ENGINES if name in known)
    with torch.inference_mode():
        decoder = Decoder(folder, FLAGS.mode, context)
        if FLAGS.ids:
            print(json.dumps({"ids": generate(decoder, ids, FLAGS.gen_tokens - 1)[0]}))
            return
        generate(decoder, ids, 1)  # warm-up
        _, prompt_seconds, step_seconds = generate(decoder, ids, FLAGS.gen_tokens)
    print(json.dumps({
        "program": f"PyTorch {torch.__version__}",
        "mode": FLAGS.mode,
        "prefill_tokens_per_s": len(ids) / prompt_seconds,
        "decode_tokens_per_s": FLAGS.gen_tokens / step_seconds,
    }))


try:
    main()
except FolderError as error:
    sys.exit(f"pytorch.py: {error}")
