"""P2L and TReg end to end: independent PyTorch scripts with autograd and torch's Adam, the same noise.

Operators, random numbers and the prior are those of latino.py. Results are 8-bit PNG pictures,
tests/golden/p2l_*.png and treg_*.png."""
import math

import numpy as np
import torch
from PIL import Image
from golden import load

base = load("latino")

# name, degradation, sigma in [0, 1], options, prompt: tests/test_scripts.c has the same list
P2L = [("p2l_sr", "down", .05, dict(steps=5, inner=2, rate=.02, every=3, weight=.5, zeta=.7), ""),
       ("p2l_inpaint", "mask", .05, dict(steps=6, inner=1, rate=.05, every=2, weight=1., zeta=1.2),
        "a photo of a cat")]
TREG = [("treg_denoise", "identity", .1, dict(steps=8, guidance=3., negation=.05, every=2, weight=1.,
                                             zeta=0.), "a photo of a cat"),
        ("treg_blur", "blur", .02, dict(steps=7, guidance=1.5, negation=.02, every=3, weight=2., zeta=.6),
         "a photo of the sea")]


def noise(k):
    return base.normals(77, base.STEP + k, 1, 32, 16, 16)


def grid(p, steps):
    t = [999 - k * 1000 // steps for k in range(steps)]
    return zip(range(steps), t, [p.a(v) for v in t], [p.a(v) for v in t[1:]] + [1.])


def data_step(u, y, op, sigma, p, t, weight):
    gamma = max(p.r2(t) / sigma ** 2, base.gamma_discrepancy(op, u, y, sigma))
    return base.prox(op, u, y, weight * gamma)


def pull(z, t, c, y, op, sigma, p, zeta):
    """The prediction, its picture, and Polyak's step from z towards a misfit of the noise's size."""
    z = z.clone().requires_grad_()
    z0 = p.f(z, t, c)
    u = p.D(z0)
    misfit = torch.linalg.vector_norm(op.A(u) - y)
    g, = torch.autograd.grad(misfit, z)
    rho = zeta * max(misfit.item() - sigma * math.sqrt(op.m(y)), 0) / (g ** 2).sum()
    return z0.detach(), u.detach(), -rho * g


def p2l(y, op, sigma, c, p, steps, inner, rate, every, weight, zeta):
    c = c.clone().requires_grad_()
    optimiser = torch.optim.Adam([c], lr=rate)
    z = noise(0)
    for k, t, ab, after in grid(p, steps):
        for _ in range(inner):
            optimiser.zero_grad()
            (((op.A(p.D(p.f(z, t, c))) - y) ** 2).sum() / 2).backward()
            optimiser.step()
        z0, u, shift = pull(z, t, c.detach(), y, op, sigma, p, zeta)
        clean = z0
        with torch.no_grad():
            if k == steps - 1 or k % every == 0:
                x = data_step(u, y, op, sigma, p, t, weight)
                clean = p.E(x)
        z = after ** .5 * clean + (1 - after) ** .5 * (z - ab ** .5 * z0) / (1 - ab) ** .5 + shift
    return x


def treg(y, op, sigma, c, p, steps, guidance, negation, every, weight, zeta):
    null = p.embed("").clone().requires_grad_()
    optimiser = torch.optim.Adam([null], lr=negation, maximize=True)
    z, draws = noise(0), 1
    for k, t, ab, after in grid(p, steps):
        between = k < steps - 1 and k % every
        if between and zeta:
            z0, _, shift = pull(z, t, c, y, op, sigma, p, zeta)
            z = after ** .5 * z0 + (1 - after) ** .5 * (z - ab ** .5 * z0) / (1 - ab) ** .5 + shift
            continue
        away = p.f(z, t, null)
        with torch.no_grad():
            z0 = away + guidance * (p.f(z, t, c) - away)
            e = (z - ab ** .5 * z0) / (1 - ab) ** .5
            if between:
                z = after ** .5 * z0 + (1 - after) ** .5 * e
                continue
            x = data_step(p.D(z0), y, op, sigma, p, t, weight)
            clean = p.E(x)
            z = after ** .5 * (after * clean + (1 - after) * z0) + (1 - after) * e
            if k < steps - 1:
                z = z + (after * (1 - after)) ** .5 * noise(draws)
                draws += 1
        optimiser.zero_grad()
        (((away - clean) ** 2).sum() / 2).backward()
        optimiser.step()
    return x


def make(out):
    torch.set_num_threads(1)
    p = base.Prior(base.ROOT / "models/prior")
    for part in p.vae, p.unet, p.text:
        part.requires_grad_(False)
    truth = np.asarray(Image.open(out / "cat128.png")).astype(np.float32) / 255
    truth = torch.from_numpy(truth).permute(2, 0, 1)[None]
    ops = {"identity": base.Identity(), "mask": base.Mask(), "down": base.Downsample(), "blur": base.Blur()}
    for solver, cases in (p2l, P2L), (treg, TREG):
        for name, kind, sigma, options, prompt in cases:
            op, c = ops[kind], p.embed(prompt)
            y = op.A(truth)
            y = op.clear(2 * (y + sigma * base.normals(5, base.NOISE, *y.shape)) - 1)
            x = ((solver(y, op, 2 * sigma, c, p, **options) + 1) / 2).clamp(0, 1)
            print(f"  {name}: PSNR {-10 * math.log10(((x - truth) ** 2).mean().item()):.3f} dB")
            pixels = (x[0].permute(1, 2, 0).numpy() * 255 + .5).astype(np.uint8)
            Image.fromarray(pixels).save(out / f"{name}.png")
