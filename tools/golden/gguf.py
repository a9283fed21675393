"""Weights in blocks and in eight bits: a GGUF file of every type, written by the package gguf, and the values that the same
package (for fp8: torch) reads from it.

Blocks of 256 are random bytes with sane scales, for the package cannot write those; the others it quantises itself."""
import os

import gguf
import numpy as np
import torch
from importlib.metadata import version
from safetensors.torch import save_file

T = gguf.GGMLQuantizationType


def blocks(rng, kind, count):
    size = gguf.GGML_QUANT_SIZES[kind][1]
    b = rng.integers(0, 256, (count, size), dtype=np.uint8)
    scale = rng.uniform(1e-4, 1e-2, (count, 2)).astype(np.float16).view(np.uint8)
    if kind == T.Q6_K:
        b[:, 208:210] = scale[:, :2]
    else:
        b[:, :4] = scale
    return b


def make(out):
    rng = np.random.default_rng(6)
    path = os.path.join(out, "file", "types.gguf")
    w = gguf.GGUFWriter(path, "none")
    w.add_string("general.name", "every type")
    w.add_array("some.list", ["a", "b"])
    want = {}
    for kind in [T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1]:
        x = rng.normal(size=(3, 64)).astype(np.float32)
        q = x.astype(np.float16) if kind == T.F16 else x if kind == T.F32 else gguf.quantize(x, kind)
        name = kind.name.lower()
        w.add_tensor(name, q, raw_dtype=None if kind in (T.F32, T.F16) else kind)
        want[name] = torch.tensor(gguf.dequantize(q, kind).astype(np.float32))
    for kind in [T.Q4_K, T.Q5_K, T.Q6_K]:
        b = blocks(rng, kind, 4).reshape(2, -1)
        name = kind.name.lower()
        w.add_tensor(name, b, raw_dtype=kind)
        want[name] = torch.tensor(gguf.dequantize(b, kind).astype(np.float32))
    x = rng.normal(size=(8, 8, 3, 3)).astype(np.float32)  # rows of 3 are no whole blocks
    q = gguf.quantize(x.reshape(-1, 64), T.Q8_0)
    w.add_array("comfy.gguf.orig_shape.conv", [8, 8, 3, 3])
    w.add_tensor("conv", q, raw_dtype=T.Q8_0)
    want["conv"] = torch.tensor(gguf.dequantize(q, T.Q8_0)).reshape(8, 8, 3, 3)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    every = torch.arange(256).to(torch.uint8)
    fp8 = {k: every.clone().view(t) for k, t in [("f8_e4m3", torch.float8_e4m3fn), ("f8_e5m2", torch.float8_e5m2)]}
    save_file(fp8, os.path.join(out, "file", "fp8.safetensors"))
    want.update({k: v.float() for k, v in fp8.items()})
    save_file({k: v.contiguous() for k, v in want.items()}, os.path.join(out, "gguf.safetensors"),
              metadata={"gguf": version("gguf"), "torch": torch.__version__, "numpy": np.__version__, "seed": "6"})
