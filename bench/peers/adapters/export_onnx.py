#!/usr/bin/python3
"""A Llama folder as an ONNX graph for onnxruntime.mjs: model.onnx, its weights in model.bin, and shape.json.

Debian's python3-onnx suffices. The graph uses ONNX Runtime's own operations (domain com.microsoft) where its CPU
provider has fast ones: GroupQueryAttention with rotary embedding and caches that are written in place,
SkipSimplifiedLayerNormalization, DynamicQuantizeMatMul, MatMulNBits. It gives the most likely token after the last one.
"""

import argparse
import json
import os
import shutil
import sys

sys.dont_write_bytecode = True
try:
    import numpy as np
    from onnx import TensorProto, helper
except ImportError as missing:
    sys.exit(f"export_onnx.py: {missing}: install python3-onnx, and run this with that package's Python")
from llama_folder import FolderError, LlamaFolder  # noqa: E402

TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int8): TensorProto.INT8,
         np.dtype(np.uint8): TensorProto.UINT8}
OPSET, IR_VERSION = 17, 8
ALIGNMENT = 4096  # so that the weights can be mapped where they lie


def pack_blocks(weight, bits, block):
    """[outputs, inputs] as MatMulNBits has it: codes around 2^(bits-1), the first of two in the lower half of a byte."""
    outputs, inputs = weight.shape
    blocks = np.pad(weight, ((0, 0), (0, -inputs % block))).reshape(outputs, -1, block)
    middle = 1 << (bits - 1)
    scales = np.abs(blocks).max(-1, keepdims=True) / np.float32(middle - 1)
    codes = np.rint(blocks / np.where(scales == 0, 1, scales)) + middle
    codes = codes.astype(np.uint8)
    if bits == 4:
        codes = codes[..., 0::2] | codes[..., 1::2] << 4
    return codes, scales[..., 0]


class Graph:
    """Nodes one after the other; constants go to a file beside the graph as they come."""

    def __init__(self, mode, block, data):
        self.mode, self.block, self.data = mode, block, data
        self.nodes, self.constants = [], []

    def constant(self, name, array):
        self.data.write(b"\0" * (-self.data.tell() % ALIGNMENT))
        tensor = TensorProto(name=name, dims=array.shape, data_type=TYPES[array.dtype],
                             data_location=TensorProto.EXTERNAL)
        for key, value in (("location", os.path.basename(self.data.name)), ("offset", self.data.tell()),
                           ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self.data.write(np.ascontiguousarray(array))
        self.constants.append(tensor)
        return name

    def small(self, name, array):
        """A constant within the graph, for what decides shapes."""
        self.constants.append(helper.make_tensor(name, TensorProto.INT64, array.shape, array.tobytes(), raw=True))
        return name

    def node(self, operation, inputs, outputs, domain="com.microsoft", **attributes):
        self.nodes.append(helper.make_node(operation, inputs, outputs, outputs[0], domain=domain, **attributes))
        return outputs[0]

    def linear(self, name, x, weight):
        outputs, inputs = weight.shape
        if self.mode == "float32":
            return self.node("MatMul", [x, self.constant(name + ".weight", weight.T)], [name], domain="")
        if self.mode == "int8":
            scales = np.abs(weight).max(1) / np.float32(127)
            codes = np.rint(weight / np.where(scales == 0, 1, scales)[:, None]).astype(np.int8)
            return self.node("DynamicQuantizeMatMul", [x, self.constant(name + ".codes", codes.T),
                                                       self.constant(name + ".scales", scales)], [name])
        bits = {"int8-blocks": 8, "int4": 4}[self.mode]
        codes, scales = pack_blocks(weight, bits, self.block)
        # Accuracy level 4: inputs are rounded to int8, which is the fastest way that it has.
        return self.node("MatMulNBits", [x, self.constant(name + ".codes", codes),
                                         self.constant(name + ".scales", scales)], [name],
                         K=inputs, N=outputs, bits=bits, block_size=self.block, accuracy_level=4)


def build(graph, folder):
    c = folder.config
    cosines, sines = (graph.constant(name, table)
                      for name, table in zip(("cosines", "sines"), c.rotation(c.positions)))
    x = graph.node("Gather", [graph.constant("embedding", folder.embedding()), "ids"], ["x"], domain="")
    caches_in, caches_out = [], []

    def norm(name, weight, added):
        """The norm of the stream, to which `added` comes first."""
        nonlocal x
        gamma = graph.constant(name + ".weight", weight)
        if added is None:
            return graph.node("SimplifiedLayerNormalization", [x, gamma], [name], domain="", axis=-1,
                              epsilon=c.epsilon)
        total = name + ".x"
        graph.node("SkipSimplifiedLayerNormalization", [x, added, gamma], [name, "", "", total], epsilon=c.epsilon)
        x = total
        return name

    added = None
    for index in range(c.layers):
        weights, at = folder.layer(index), f"layer{index}."
        h = norm(at + "attention_norm", weights["attention_norm"], added)
        qkv = graph.linear(at + "qkv", h, weights["qkv"])
        past = [f"past_key{index}", f"past_value{index}"]
        present = [f"present_key{index}", f"present_value{index}"]
        mixed = graph.node("GroupQueryAttention",
                           [qkv, "", "", *past, "last_positions", "total_length", cosines, sines],
                           [at + "attention", *present], num_heads=c.heads, kv_num_heads=c.kv_heads, do_rotary=1,
                           scale=c.head_dim**-0.5)
        caches_in += past
        caches_out += present
        h = norm(at + "mlp_norm", weights["mlp_norm"], graph.linear(at + "o", mixed, weights["o"]))
        gate = graph.linear(at + "gate", h, weights["gate"])
        # x · sigmoid(x)
        gate = graph.node("QuickGelu", [gate], [at + "silu"], alpha=1.0)
        product = graph.node("Mul", [gate, graph.linear(at + "up", h, weights["up"])], [at + "product"], domain="")
        added = graph.linear(at + "down", product, weights["down"])
    h = norm("last_norm", folder.last_norm(), added)
    last = graph.node("Gather", [h, graph.small("minus_one", np.array(-1))], ["last"], domain="", axis=1)
    logits = graph.linear("logits", last, folder.head())
    graph.node("ArgMax", [logits], ["token"], domain="", axis=-1, keepdims=1)

    cache = [1, c.kv_heads, "context", c.head_dim]
    value = helper.make_tensor_value_info
    inputs = [value("ids", TensorProto.INT64, [1, "tokens"]), value("last_positions", TensorProto.INT32, [1]),
              value("total_length", TensorProto.INT32, [])]
    inputs += [value(name, TensorProto.FLOAT, cache) for name in caches_in]
    outputs = [value("token", TensorProto.INT64, [1, 1])] + [
        value(name, TensorProto.FLOAT, cache) for name in caches_out]
    made = helper.make_graph(graph.nodes, "llama", inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION)


def write(folder, out, mode, block):
    with open(os.path.join(out, "model.bin"), "wb") as data:
        model = build(Graph(mode, block, data), folder)
    with open(os.path.join(out, "model.onnx"), "wb") as file:
        file.write(model.SerializeToString())
    c = folder.config
    shape = {"mode": mode, "layers": c.layers, "kv_heads": c.kv_heads, "head_dim": c.head_dim, "vocab": c.vocab,
             "positions": c.positions}
    with open(os.path.join(out, "shape.json"), "w", encoding="utf-8") as file:
        json.dump(shape, file)


def main():
    parser = argparse.ArgumentParser(description="Writes a Llama folder as an ONNX graph for onnxruntime.mjs.")
    parser.add_argument("model", metavar="MODEL", help="folder with config.json and float weights in safetensors")
    parser.add_argument("out", metavar="OUT", help="folder to write; must not exist")
    parser.add_argument("--mode", choices=("float32", "int8", "int8-blocks", "int4"), default="float32",
                        help="int8: weights a row, inputs a tensor (DynamicQuantizeMatMul); int8-blocks and int4: "
                             "weights in blocks (MatMulNBits)")
    parser.add_argument("--block", type=int, choices=(16, 32, 64, 128, 256), default=128,
                        help="inputs that share a scale, of int8-blocks and int4 (default: 128)")
    flags = parser.parse_args()
    try:
        folder = LlamaFolder(flags.model)
        os.mkdir(flags.out)
        try:
            write(folder, flags.out, flags.mode, flags.block)
        except BaseException:  # half a folder is worse than none, whatever ended it
            shutil.rmtree(flags.out)
            raise
    except OSError as error:
        sys.exit(f"export_onnx.py: {error.filename}: {error.strerror}")
    except FolderError as error:
        sys.exit(f"export_onnx.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


main()
