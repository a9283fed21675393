#!/usr/bin/env python3
"""Speed of a restoration beside a PyTorch script of the same steps: same windows, same batches, f32, both warm and in turn.

peer.py LATINO-PROGRAM [ROUNDS]        needs torch, diffusers, transformers, numpy, Pillow

Denoising (sigma 0.1) with the default rule at 128 x 128, and at 1,024 x 768; prints the seconds of both and their ratio
(ours / PyTorch, medians). Ours is the program's own count (--json), which includes making the plans; PyTorch's is the loop alone."""
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools/golden"))
import latino  # noqa: E402

THREADS = 2
torch.set_num_threads(THREADS)


class Windowed(latino.Prior):
    """The UNet on overlapping 16 x 16 windows of the latent, at most 8 at a time, blended by tents."""

    def starts(self, n):
        count = -(-(n - 16) // 12) + 1
        return [0] if count == 1 else [(k * (n - 16) + (count - 1) // 2) // (count - 1) for k in range(count)]

    def f(self, z, t, c):
        ys, xs = self.starts(z.shape[2]), self.starts(z.shape[3])
        at = [(i, j) for i in ys for j in xs]
        ramp = torch.arange(16).minimum(15 - torch.arange(16)).float() + 1
        w = (ramp if len(ys) > 1 else torch.ones(16))[:, None] * (ramp if len(xs) > 1 else torch.ones(16))[None, :]
        out, total = torch.zeros_like(z), torch.zeros(z.shape[2:])
        batch = -(-len(at) // -(-len(at) // 8))
        for k in range(0, len(at), batch):
            part = at[k:k + batch]
            zz = torch.cat([z[:, :, i:i + 16, j:j + 16] for i, j in part])
            p = super().f(zz, t, c.expand(len(part), -1, -1))
            for (i, j), v in zip(part, p):
                out[0, :, i:i + 16, j:j + 16] += w * v
                total[i:i + 16, j:j + 16] += w
        return out / total


@torch.no_grad()
def main():
    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    folder = pathlib.Path(tempfile.mkdtemp())
    picture = Image.open(ROOT / "tests/golden/cat128.png")
    p = Windowed(ROOT / "models/prior")
    for channels_last in (False, True):
        if channels_last:
            p.vae.to(memory_format=torch.channels_last)
            p.unet.to(memory_format=torch.channels_last)
        for w, h in ((128, 128), (1024, 768)):
            x = np.asarray(picture.resize((w, h), Image.BICUBIC)).astype(np.float32) / 255
            noisy = (x + .1 * np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)).transpose(2, 0, 1)
            np.save(folder / "y.npy", noisy)
            y = torch.from_numpy(2 * noisy - 1)[None].contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
            probes = torch.randn_like(y), torch.randn_like(y)
            ours, theirs, whole = [], [], []
            for k in range((rounds if w == 128 else 1) + 1):
                t = time.perf_counter()
                subprocess.run([program, "restore", folder / "y.npy", "-o", folder / "x.npy", "--degradation", "identity", "--sigma", "0.1", "--model",
                                ROOT / "models/prior", "--threads", str(THREADS), "--json", folder / "r.json"], check=True, capture_output=True)
                whole.append(time.perf_counter() - t)
                ours.append(json.load(open(folder / "r.json"))["seconds"])
                t = time.perf_counter()
                latino.latino_matched(y, latino.Identity(), .2, p.embed(""), p, *probes)
                theirs.append(time.perf_counter() - t)
            o, q, s = (statistics.median(v[1:]) for v in (ours, theirs, whole))
            print(f"{w} x {h}, PyTorch {'channels_last' if channels_last else 'contiguous'}: ours {o:.2f} s (whole command {s:.2f} s), "
                  f"PyTorch {q:.2f} s, ratio {o / q:.2f}", flush=True)


main()
