"""LATINO-PRO: gradients of SAPG's loss by the text through autograd, and whole runs by an independent PyTorch script with the
same random numbers. Operators, the prior and LATINO's steps are those of latino.py; random weights those of model.py."""
import math
import pathlib

import numpy as np
import torch
from PIL import Image
from golden import load

ROOT = pathlib.Path(__file__).resolve().parents[2]
# name, degradation of the program, sigma in [0, 1], prompt: tests/test_pro.c has the same list with the solvers' words
RUNS = [("matched", "mask", .05, "a photo of a dog", dict(rule="matched", rounds=3, times=[999, 666, 333], step=.16, radius=1.3, momentum=1)),
        ("paper", "identity", .3, "a photo of the sea", dict(rule="discrepancy", rounds=3, times=[999, 749, 499, 249], step=.08, radius=15,
                                                              momentum=1)),
        ("samples", "down", .05, "", dict(rule="matched", rounds=2, times=[999, 500], step=.4, radius=8, momentum=0, samples=2))]
FROZEN, LAST = 4, 2


def sapg_gradient(f, ab, ab_next, z, z_next, c):
    """d/dc of -1/2 |z_next - sqrt(ab_next) f(z, c)|^2 / (1 - ab_next)"""
    c = c.detach().clone().requires_grad_()
    loss = -.5 * ((z_next - ab_next ** .5 * f(z, c)) ** 2).sum() / (1 - ab_next)
    loss.backward()
    return c.grad


def gradients(L, M, p):
    """The whole UNet of the small prior at 999 -> 749, and Stable Diffusion's topology in small, epsilon prediction, at 519 -> 300."""
    z, z_next = M.values("z", (1, 32, 16, 16)), M.values("z_next", (1, 32, 16, 16))
    c = p.embed("a photo of the sea").detach()
    yield "grad.prior", sapg_gradient(lambda z, c: p.f(z, 999, c), p.a(999), p.a(749), z, z_next, c)
    config, shape, _, _ = M.UNETS["unet_sd"]
    unet = M.UNet2DConditionModel(**config).eval()
    unet.load_state_dict({k: M.weight(k, v.shape) for k, v in unet.state_dict().items()})
    ab = torch.cumprod(1 - torch.linspace(.00085 ** .5, .012 ** .5, 1000, dtype=torch.float64) ** 2, 0)
    a = ab[519].item()
    def f(z, c): return (z - (1 - a) ** .5 * unet(z, 519, c).sample) / a ** .5
    z, z_next, c = M.values("z", shape), M.values("z_next", shape), M.values("text", (1, 77, 24))
    yield "grad.sd", sapg_gradient(f, a, ab[300].item(), z, z_next, c)


class Matched:
    """latino.py's matched rule, step by step."""
    def __init__(self, L, p, y, op, sigma, w, n):
        self.L, self.p, self.y, self.op, self.sigma, self.w, self.n = L, p, y, op, sigma, w, op.clear(n)
        self.floor, self.m, self.zero = max(sigma ** 2, 1e-9), op.m(y), torch.zeros(w.shape)
        self.gain = L.sq(op.A(w)) / self.m
        self.x, self.z0 = L.prox(op, self.zero, y, .25 / max(sigma ** 2, 1e-6)), None
        for _ in range(40):
            u = L.smooth(self.x)
            r2 = max(self.residual(u), 1e-5)
            self.x = L.prox(op, u, y, r2 / self.floor)
        self.e2 = self.carried(r2)

    def residual(self, u):
        return (self.L.sq(self.op.A(u) - self.y) / self.m - self.sigma ** 2) / self.gain

    def carried(self, r2):
        g, px, s2 = r2 / self.floor, self.w.numel(), self.sigma ** 2
        return (r2 * self.L.sq(self.L.prox(self.op, self.w, torch.zeros_like(self.y), g))
                + s2 * self.L.sq(self.L.prox(self.op, self.zero, self.n, g))) / px

    @torch.no_grad()
    def step(self, c):
        e = math.sqrt(max(self.e2, 1e-6))
        t = self.p.time_of(e)
        latent = self.p.E(self.x) if self.z0 is None else self.z0 + self.p.E(self.x) - self.p.E(self.u)
        self.z0 = self.p.f(self.p.a(t) ** .5 * latent, t, c)
        self.u = self.p.D(self.z0)
        r2 = max(self.residual(self.u), self.p.rho2(e))
        self.x = self.L.prox(self.op, self.u, self.y, r2 / self.floor)
        self.e2 = min(self.e2, self.carried(r2))


class Ascent:
    """c and how it moves: normalised sums with momentum, or Adam; then the projection."""
    def __init__(self, c, o):
        self.c0, self.c, self.o, self.sum, self.j = c.clone(), c.clone(), o, torch.zeros_like(c), 0
        self.m = self.v = torch.zeros_like(c)

    def add(self, g):
        if "samples" not in self.o:
            g = g / g.norm(dim=-1, keepdim=True)
        g[:, :FROZEN] = 0
        self.sum = self.sum + g

    def move(self):
        step, self.j = self.o["step"], self.j + 1
        if "samples" in self.o:
            g = -self.sum
            self.m, self.v = .9 * self.m + .1 * g, .999 * self.v + .001 * g ** 2
            rate = step / self.c.shape[-1] ** .5
            self.c = self.c - rate * (self.m / (1 - .9 ** self.j)) / ((self.v / (1 - .999 ** self.j)).sqrt() + 1e-8)
        else:
            self.c = self.c + step * self.sum
        d = self.c - self.c0
        far = d.norm(dim=-1, keepdim=True).clamp(min=1e-15)
        self.c = self.c0 + d * (self.o["radius"] / far).clamp(max=1)
        self.sum = self.sum * self.o["momentum"] if "samples" not in self.o else 0 * self.sum


def learn_matched(L, p, y, op, sigma, a, o, start):
    k = 0
    for _ in range(o["rounds"]):
        for _ in range(o.get("samples", 1)):
            start.step(a.c)
            for t in o["times"]:
                with torch.no_grad():
                    clean = p.E(start.x)
                    z = p.a(t) ** .5 * clean + (1 - p.a(t)) ** .5 * L.normals(77, 100 + k, 1, 32, 16, 16)
                k += 1
                c = a.c.clone().requires_grad_()
                z0 = p.f(z, t, c)
                loss = ((op.A(p.D(z0)) - y) ** 2).sum() if "samples" in o else ((clean - z0) ** 2).sum()
                (-loss / 2).backward()
                a.add(c.grad)
        a.move()


def learn_paper(L, p, y, op, sigma, a, o, x):
    k, last = 0, None
    for _ in range(o["rounds"]):
        for i, t in enumerate(o["times"]):
            with torch.no_grad():
                z = p.a(t) ** .5 * p.E(x) + (1 - p.a(t)) ** .5 * L.normals(77, 100 + k, 1, 32, 16, 16)
                k += 1
            if i:
                a.add(sapg_gradient(lambda z, c: p.f(z, o["times"][i - 1], c), 0, p.a(t), last, z, a.c))
            with torch.no_grad():
                last, u = z, p.D(p.f(z, t, a.c))
                x = L.prox(op, u, y, L.gamma_discrepancy(op, u, y, sigma))
        a.move()


def make(out):
    from safetensors.torch import save_file
    torch.set_num_threads(1)
    L, M = load("latino"), load("model")
    p = L.Prior(ROOT / "models/prior")
    for part in (p.vae, p.unet, p.text):
        part.requires_grad_(False)
    arrays = {k: v[0].contiguous() for k, v in gradients(L, M, p)}
    truth = torch.from_numpy(np.asarray(Image.open(out / "cat128.png")).astype(np.float32) / 255).permute(2, 0, 1)[None]
    ops = {"mask": L.Mask(missing=.9), "down": L.Downsample(), "identity": L.Identity()}
    for name, kind, sigma, prompt, o in RUNS:
        op, a, s = ops[kind], Ascent(p.embed(prompt).detach(), o), 2 * sigma
        y = op.A(truth)
        y = op.clear(2 * (y + sigma * L.normals(5, L.NOISE, *y.shape)) - 1)
        def begin(): return Matched(L, p, y, op, s, L.normals(3, L.PROBE, 1, 3, 128, 128), L.normals(3, L.PROBE + 1, *y.shape))
        if o["rule"] == "matched":
            learn_matched(L, p, y, op, s, a, o, begin())
        else:
            learn_paper(L, p, y, op, s, a, o, y)
        last = begin()
        for _ in range(LAST):
            last.step(a.c)
        x = ((last.x + 1) / 2).clamp(0, 1)
        moved = (a.c - a.c0).norm(dim=-1).mean().item()
        print(f"  {name}: PSNR {-10 * math.log10(((x - truth) ** 2).mean().item()):.3f} dB, tokens moved by {moved:.3f}")
        arrays[name + ".text"] = a.c[0].contiguous()
        Image.fromarray((x[0].permute(1, 2, 0).numpy() * 255 + .5).astype(np.uint8)).save(out / f"pro_{name}.png")
    import diffusers
    import transformers
    versions = {"torch": torch.__version__, "diffusers": diffusers.__version__, "transformers": transformers.__version__}
    save_file(arrays, out / "pro.safetensors", metadata=versions)
