"""ReSample and RED-diff end to end: independent PyTorch scripts with autograd,
the same random numbers, and for RED-diff torch's Adam.

Operators, random numbers and the prior are those of latino.py. Results are 8-bit PNG pictures,
tests/golden/resample_*.png and red_diff_*.png."""
import math

import numpy as np
import torch
from PIL import Image
from golden import load

base = load("latino")

STEPS = 6
# name, degradation, sigma in [0, 1], options, prompt: tests/test_scripts.c has the same list
RESAMPLE = [("resample_sr", "down", .05, dict(interval=1, pixel=.34, latent=.67, inner=3, tau=1., gamma=40.), ""),
            ("resample_inpaint", "mask", .05, dict(interval=2, pixel=.17, latent=1., inner=3, tau=.9, gamma=1.),
             "a photo of a cat")]
RED = [("red_diff_blur", "blur", 0., dict(weight=30., power=1., rate=.05), "a photo of a cat"),
       ("red_diff_denoise", "identity", .1, dict(weight=20., power=.5, rate=.1), "")]


def noise(k):
    return base.normals(77, base.STEP + k, 1, 32, 16, 16)


def times(steps):
    return [999 - k * 1000 // steps for k in range(steps)]


def pixel_consistency(z0, y, op, sigma, p):
    u = p.D(z0)
    x = base.prox(op, u, y, base.gamma_discrepancy(op, u, y, sigma))
    return x, p.E(x)


def latent_consistency(z0, y, op, sigma, p, inner):
    """Gradient descent: Polyak's step, then Barzilai and Borwein's second, cut where its parabola meets the noise."""
    z, before, a = z0.clone(), None, 0.
    enough = max(sigma, 1e-3) * math.sqrt(op.m(y))
    for k in range(inner + 1):
        z.requires_grad_()
        x = p.D(z)
        loss = ((op.A(x) - y) ** 2).sum() / 2
        if (2 * loss.item()) ** .5 <= enough or k == inner:
            return x.detach(), z.detach()
        g, = torch.autograd.grad(loss, z)
        drop = loss.item() - enough ** 2 / 2
        moved, bend = (-a * before, g - before) if k else (g, -g)
        along = (moved.double() * bend.double()).sum().item()
        if along > 0:
            a = along / base.sq(bend)
            inside = 1 - 2 * drop / (a * base.sq(g))    # loss - a' |g|^2 + a'^2 |g|^2 / (2 a) = enough^2 / 2
            a = a * (1 - math.sqrt(inside)) if inside > 0 else a
        else:
            a = drop / base.sq(g)
        z, before = z.detach() - a * g, g


def resample(y, op, sigma, c, p, interval, pixel, latent, inner, tau, gamma):
    t = times(STEPS)
    begin, switch, draws = int(STEPS * pixel), int(STEPS * latent), 1
    z = noise(0)
    for k in range(STEPS):
        ab, after = p.a(t[k]), p.a(t[k + 1]) if k + 1 < STEPS else 1.
        with torch.no_grad():
            z0 = p.f(z, t[k], c)
        e = (z - ab ** .5 * z0) / (1 - ab) ** .5
        z = after ** .5 * z0 + (1 - after) ** .5 * e
        if k + 1 < STEPS and (k < begin or (k - begin) % interval):
            continue
        if k < switch:
            with torch.no_grad():
                x, z0 = pixel_consistency(z0, y, op, tau * sigma, p)
        else:
            x, z0 = latent_consistency(z0, y, op, tau * sigma, p, inner)
        if k + 1 < STEPS:
            s2 = gamma * (1 - after) / ab * (1 - ab / after)
            z = (s2 * after ** .5 * z0 + (1 - after) * z) / (s2 + 1 - after)
            z += (s2 * (1 - after) / (s2 + 1 - after)) ** .5 * noise(draws)
            draws += 1
    return x


def red_diff(y, op, sigma, c, p, weight, power, rate):
    with torch.no_grad():
        mu = p.E(y)
    mu.requires_grad_()
    optimiser = torch.optim.Adam([mu], lr=rate, betas=(.9, .99))
    for k, t in enumerate(times(STEPS)):
        ab, eps, s = p.a(t), noise(k), max(sigma, .01)
        with torch.no_grad():
            z = ab ** .5 * mu + (1 - ab) ** .5 * eps
            e = (z - ab ** .5 * p.f(z, t, c)) / (1 - ab) ** .5
        w = weight * ((1 - ab) ** .5 / ab ** .5) ** power
        loss = ((op.A(p.D(mu)) - y) ** 2).sum() / (2 * s * s) + w * ((e - eps) * mu).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return p.D(mu)


def make(out):
    torch.set_num_threads(1)
    p = base.Prior(base.ROOT / "models/prior")
    for part in p.vae, p.unet, p.text:
        part.requires_grad_(False)
    truth = torch.from_numpy(np.asarray(Image.open(out / "cat128.png")).astype(np.float32) / 255).permute(2, 0, 1)[None]
    ops = {"identity": base.Identity(), "mask": base.Mask(), "down": base.Downsample(), "blur": base.Blur()}
    for solver, cases in (resample, RESAMPLE), (red_diff, RED):
        for name, kind, sigma, options, prompt in cases:
            op, c = ops[kind], p.embed(prompt)
            y = op.A(truth)
            y = op.clear(2 * (y + sigma * base.normals(5, base.NOISE, *y.shape)) - 1)
            x = ((solver(y, op, 2 * sigma, c, p, **options) + 1) / 2).clamp(0, 1)
            print(f"  {name}: PSNR {-10 * math.log10(((x - truth) ** 2).mean().item()):.3f} dB")
            Image.fromarray((x[0].permute(1, 2, 0).numpy() * 255 + .5).astype(np.uint8)).save(out / f"{name}.png")
