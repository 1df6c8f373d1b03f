"""A Hugging Face folder of the Llama family, read with numpy alone: config.json and safetensors.

Only what all of the family's plain models share. Anything else in config.json is an error, since a peer that
computes something else would be compared with what it is not.
"""

import json
import mmap
import os

import numpy as np


class FolderError(Exception):
    """What is wrong with the folder, and in which file."""


def _read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise FolderError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(found, dict):
        raise FolderError(f"{path}: expected an object")
    return found


class Config:
    def __init__(self, path):
        fields = _read_json(path)

        def number(name, fallback=None, kind=int):
            value = fields.get(name)
            value = fallback if value is None else value
            if not isinstance(value, (int, float) if kind is float else int) or not 0 < value < 2**31:
                raise FolderError(f"{path}: {name}: expected a number above 0, found {value!r}")
            return kind(value)

        def only(name, *allowed):
            if fields.get(name) not in allowed:
                shown = repr(fields.get(name))[:60]
                raise FolderError(f"{path}: {name}: this adapter computes {allowed[0]} only, found {shown}")

        only("model_type", "llama")
        only("hidden_act", "silu", None)
        for name in ("rope_scaling", "rope_parameters", "quantization_config"):
            only(name, None)
        for name in ("attention_bias", "mlp_bias"):
            only(name, False, None)
        self.hidden = number("hidden_size")
        self.layers = number("num_hidden_layers")
        self.heads = number("num_attention_heads")
        self.kv_heads = number("num_key_value_heads", self.heads)
        self.head_dim = number("head_dim", self.hidden // self.heads)
        self.mlp = number("intermediate_size")
        self.vocab = number("vocab_size")
        self.positions = number("max_position_embeddings")
        self.epsilon = number("rms_norm_eps", kind=float)
        self.theta = number("rope_theta", 10000.0, kind=float)
        self.tied = fields.get("tie_word_embeddings") is True
        if self.heads % self.kv_heads or self.head_dim % 2:
            raise FolderError(f"{path}: heads that are no multiple of the key/value heads, or of odd size")

    def rotation(self, positions):
        """Cosines and sines of the rotary embedding, [positions, head_dim / 2]."""
        steps = np.arange(0, self.head_dim, 2, dtype=np.float64) / self.head_dim
        angles = np.outer(np.arange(positions, dtype=np.float64), self.theta**-steps)
        return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


class _Shard:
    _types = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}

    def __init__(self, path):
        self.path = path
        try:
            with open(path, "rb") as file:
                self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            length = int.from_bytes(self.bytes[:8], "little")
            self.start = 8 + length
            if self.start > len(self.bytes):
                raise ValueError("its header is longer than the file")
            self.header = json.loads(self.bytes[8 : self.start])
            if not isinstance(self.header, dict):
                raise ValueError("its header is no object")
        except (OSError, ValueError, RecursionError) as error:
            raise FolderError(f"{path}: {getattr(error, 'strerror', None) or error}") from None

    def tensor(self, name):
        try:
            entry = self.header[name]
            kind, shape, (begin, end) = self._types[entry["dtype"]], entry["shape"], entry["data_offsets"]
            if not 0 <= begin <= end <= len(self.bytes) - self.start:
                raise ValueError("lies outside the file")
            values = np.frombuffer(self.bytes, kind, (end - begin) // kind.itemsize, self.start + begin)
            values = values.reshape(shape)
        except (KeyError, TypeError, ValueError) as error:
            raise FolderError(f"{self.path}: tensor {name!r}: {error}") from None
        if entry["dtype"] == "BF16":  # the upper half of a float32
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32)


class LlamaFolder:
    """`config`, and the weights by name as float32."""

    def __init__(self, folder):
        self.folder = folder
        self.config = Config(os.path.join(folder, "config.json"))
        names = sorted(name for name in os.listdir(folder) if name.endswith(".safetensors"))
        if not names:
            raise FolderError(f"{folder}: no .safetensors in it")
        self._shards = [_Shard(os.path.join(folder, name)) for name in names]

    def tensor(self, name, *shape):
        for shard in self._shards:
            if name in shard.header:
                found = shard.tensor(name)
                if found.shape != shape:
                    raise FolderError(f"{shard.path}: tensor {name!r}: shape {found.shape}, expected {shape}")
                return found
        raise FolderError(f"{self.folder}: no tensor {name!r}")

    def embedding(self):
        return self.tensor("model.embed_tokens.weight", self.config.vocab, self.config.hidden)

    def head(self):
        if self.config.tied:
            return self.embedding()
        return self.tensor("lm_head.weight", self.config.vocab, self.config.hidden)

    def last_norm(self):
        return self.tensor("model.norm.weight", self.config.hidden)

    def layer(self, index):
        """Of one layer: the two norms, and the linears as [outputs, inputs]; q, k and v are one, in this order."""
        c, prefix = self.config, f"model.layers.{index}."

        def linear(name, outputs, inputs):
            return self.tensor(f"{prefix}{name}_proj.weight", outputs, inputs)

        queries, keys = c.heads * c.head_dim, c.kv_heads * c.head_dim
        qkv = [linear(f"self_attn.{name}", size, c.hidden) for name, size in zip("qkv", (queries, keys, keys))]
        return {
            "attention_norm": self.tensor(prefix + "input_layernorm.weight", c.hidden),
            "mlp_norm": self.tensor(prefix + "post_attention_layernorm.weight", c.hidden),
            "qkv": np.concatenate(qkv),
            "o": linear("self_attn.o", c.hidden, queries),
            "gate": linear("mlp.gate", c.mlp, c.hidden),
            "up": linear("mlp.up", c.mlp, c.hidden),
            "down": linear("mlp.down", c.hidden, c.mlp),
        }
