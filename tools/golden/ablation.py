"""latino-gradient and latino-ddim end to end: an independent PyTorch script, gradients by autograd, with the same random
numbers; the paper's loop starts from the naive inverse, which is y itself for these operators. Results are 8-bit PNG pictures,
tests/golden/ablation_*.png; versions stand in their text chunks."""
import math

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from golden import load

base = load("latino")


def draw(k):
    return base.normals(77, base.STEP + k, 1, 32, 16, 16)


def by_gradient(y, op, sigma, c, p, steps, pull, loop):
    times = [999 - 1000 * k // steps for k in range(steps)]
    trace = (op.A(base.normals(3, base.PROBE, 1, 3, 128, 128)) ** 2).sum().item()
    goal = math.sqrt(op.m(y) * sigma ** 2 + p.r2(0) * trace)
    rule = base.probed(y, op, sigma, p)
    latent = p.E(rule.start if loop == "matched" else y)
    for k, t in enumerate(times):
        if loop == "matched":
            t = rule.time()
            z = (math.sqrt(p.a(t)) * latent).requires_grad_()
        else:
            z = (math.sqrt(p.a(t)) * latent + math.sqrt(1 - p.a(t)) * draw(k)).requires_grad_()
        z0 = p.f(z, t, c)
        u = p.D(z0)
        norm = torch.linalg.vector_norm(op.A(u) - y)
        g0, g = torch.autograd.grad(norm, (z0, z))
        excess = max(norm.item() - goal, 0)
        latent = z0.detach() - pull * excess / g0.norm() * g / g.norm()
        rule.gamma(u.detach())
    return p.D(latent)


@torch.no_grad()
def by_ddim(y, op, sigma, c, p, steps, eta, rule, moved):
    if rule == "matched":
        matched = base.probed(y, op, sigma, p)
        top = matched.time()
        z = math.sqrt(p.a(top)) * p.E(matched.start)
    else:
        top = 999
        z = math.sqrt(p.a(top)) * p.E(y) + math.sqrt(1 - p.a(top)) * draw(0)
    draws = 0 if rule == "matched" else 1
    times = [top - (top + 1) * k // steps for k in range(steps)]
    for k, t in enumerate(times):
        ab = p.a(t)
        z0 = p.f(z, t, c)
        u = p.D(z0)
        if rule == "matched":
            gamma = matched.gamma(u)
        else:
            gamma = p.r2(t) / sigma ** 2 if rule == "bayes" else base.gamma_discrepancy(op, u, y, sigma)
        x = base.prox(op, u, y, gamma)
        if k + 1 == steps:
            return x
        to = p.a(times[k + 1])
        s = eta * math.sqrt((1 - to) / (1 - ab) * (1 - ab / to))
        noise = (z - math.sqrt(ab) * z0) / math.sqrt(1 - ab)
        clean = z0 + p.E(x) - p.E(u) if moved else p.E(x)
        z = math.sqrt(to) * clean + math.sqrt(1 - to - s * s) * noise + s * draw(k + draws)


# name, operator, solver, its settings: as in tests/test_scripts.c
CASES = [("gradient", "blur", by_gradient, {"steps": 8, "pull": 1.5, "loop": "renoised"}),
         ("gradient_matched", "blur", by_gradient, {"steps": 8, "pull": 1, "loop": "matched"}),
         ("ddim_matched", "blur", by_ddim, {"steps": 6, "eta": .5, "rule": "matched", "moved": True}),
         ("ddim_bayes", "identity", by_ddim, {"steps": 10, "eta": .5, "rule": "bayes", "moved": True}),
         ("ddim_discrepancy", "blur", by_ddim, {"steps": 8, "eta": 0, "rule": "discrepancy", "moved": False})]
SIGMA = .05


def make(out):
    torch.set_num_threads(1)
    p = base.Prior(base.ROOT / "models/prior")
    for part in (p.unet, p.vae, p.text):
        part.requires_grad_(False)
    truth = torch.from_numpy(np.asarray(Image.open(out / "cat128.png")).astype(np.float32) / 255).permute(2, 0, 1)[None]
    ops, c = {"identity": base.Identity(), "blur": base.Blur()}, p.embed("a photo of a cat")
    notes = PngImagePlugin.PngInfo()
    notes.add_text("versions", f"torch {torch.__version__}, diffusers {__import__('diffusers').__version__}")
    for name, kind, solver, settings in CASES:
        y = ops[kind].A(truth)
        y = 2 * (y + SIGMA * base.normals(5, base.NOISE, *y.shape)) - 1
        x = solver(y, ops[kind], 2 * SIGMA, c, p, **settings)
        x = ((x + 1) / 2).clamp(0, 1)
        print(f"  {name}: PSNR {-10 * math.log10(((x - truth) ** 2).mean().item()):.3f} dB", flush=True)
        Image.fromarray((x[0].permute(1, 2, 0).numpy() * 255 + .5).astype(np.uint8)).save(out / f"ablation_{name}.png", pnginfo=notes)
