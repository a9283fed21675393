"""Operations of the small prior's parts, in millions, as PyTorch's own counter (torch.utils.flop_counter) finds them in diffusers'
and transformers' networks: matrix products, convolutions and attention."""
import pathlib

import diffusers
import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from torch.utils.flop_counter import FlopCounterMode
from golden import load

ROOT = pathlib.Path(__file__).resolve().parents[2]


def count(f):
    with FlopCounterMode(display=False) as c:
        f()
    return np.array([c.get_total_flops() / 1e6], np.float32)


@torch.no_grad()
def make(out):
    torch.set_num_threads(1)
    latino = load("latino")
    p = latino.Prior(ROOT / "models/prior")
    x, c = torch.zeros(1, 3, 128, 128), p.embed("")
    z = torch.zeros(1, 32, 16, 16)

    def by_text():
        with torch.enable_grad():
            text = c.clone().requires_grad_()
            p.unet(z, 500, text).sample.sum().backward()

    for w in p.unet.parameters():
        w.requires_grad_(False)
    counts = {"text": count(lambda: p.embed("")), "unet": count(lambda: p.unet(z, 500, c)), "unet-by-text": count(by_text),
              "encode": count(lambda: p.vae.encode(x)), "decode": count(lambda: p.vae.decode(z))}
    print(counts)
    save_file(counts, out / "bench.safetensors", {"torch": torch.__version__, "diffusers": diffusers.__version__,
                                                  "transformers": transformers.__version__})
