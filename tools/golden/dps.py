"""dps and psld end to end: an independent PyTorch script, gradients by autograd through network, decoder, encoder and operator,
with the same random numbers. Results are 8-bit PNG pictures, tests/golden/dps_*.png; versions stand in their text chunks."""
import math

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from golden import load

base = load("latino")
# name, degradation, sigma in [0, 1], steps, zeta or None, pull, eta, gamma (of psld; None: dps): as in tests/test_scripts.c
CASES = [("sr", "down", .05, 6, None, .5, 1., None),
         ("inpaint", "mask", .05, 8, 1.5, None, .5, None),
         ("psld_sr", "down", .05, 6, 3., None, 1., .1),
         ("psld_inpaint", "mask", .05, 8, None, .5, 1., .3)]


def posterior_sample(y, op, sigma, c, p, steps, zeta, pull, eta, gamma):
    times = [999 - 1000 * k // steps for k in range(steps)]
    z = base.normals(77, base.STEP, 1, 32, 16, 16)
    trace = (op.A(base.normals(3, base.PROBE, 1, 3, 128, 128)) ** 2).sum().item()
    goal = math.sqrt(op.m(y) * sigma ** 2 + p.r2(0) * trace)
    for k, t in enumerate(times):
        at = z.clone().requires_grad_()
        z0 = p.f(at, t, c)
        x = p.D(z0)
        norm = torch.linalg.vector_norm(op.A(x) - y)
        loss = norm
        if gamma is not None:
            v = x + op.At(op.solve(y - op.A(x), sigma ** 2 / p.r2(0)))
            loss = norm + gamma * torch.linalg.vector_norm(z0 - p.E(v))
        g, = torch.autograd.grad(loss, at)
        with torch.no_grad():
            length = zeta if zeta else pull * max(norm.item() - goal, 0) / (g ** 2).sum().item()
            ab, to = p.a(t), p.a(times[k + 1]) if k + 1 < steps else 1.
            s = eta * math.sqrt((1 - to) / (1 - ab) * (1 - ab / to))
            toward = (z - math.sqrt(ab) * z0) / math.sqrt(1 - ab)
            z = math.sqrt(to) * z0 + math.sqrt(max(1 - to - s * s, 0)) * toward - length * g
            z = z + s * base.normals(77, base.STEP + k + 1, 1, 32, 16, 16) if s > 0 else z
    return p.D(z)


def make(out):
    torch.set_num_threads(1)
    p = base.Prior(base.ROOT / "models/prior")
    for part in (p.unet, p.vae, p.text):
        part.requires_grad_(False)
    truth = torch.from_numpy(np.asarray(Image.open(out / "cat128.png")).astype(np.float32) / 255).permute(2, 0, 1)[None]
    ops, c = {"mask": base.Mask(), "down": base.Downsample()}, p.embed("a photo of a cat")
    notes = PngImagePlugin.PngInfo()
    notes.add_text("versions", f"torch {torch.__version__}, diffusers {__import__('diffusers').__version__}")
    for name, kind, sigma, steps, zeta, pull, eta, gamma in CASES:
        op = ops[kind]
        y = op.A(truth)
        y = op.clear(2 * (y + sigma * base.normals(5, base.NOISE, *y.shape)) - 1)
        x = posterior_sample(y, op, 2 * sigma, c, p, steps, zeta, pull, eta, gamma).detach()
        x = ((x + 1) / 2).clamp(0, 1)
        print(f"  {name}: PSNR {-10 * math.log10(((x - truth) ** 2).mean().item()):.3f} dB", flush=True)
        Image.fromarray((x[0].permute(1, 2, 0).numpy() * 255 + .5).astype(np.uint8)).save(out / f"dps_{name}.png", pnginfo=notes)
