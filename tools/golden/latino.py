"""LATINO end to end: an independent PyTorch script of the paper's loop and of the matched rule, with the same random numbers.

Random numbers are Philox 4x32-10 and Box-Muller, written here once more; the operators are circular, in closed form by FFT
(the downsampling as deepinv's bicubic). Results are written as 8-bit PNG pictures, tests/golden/latino_*.png."""
import json
import math
import re

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

ROOT = __import__("pathlib").Path(__file__).resolve().parents[2]
TIMES = [999, 874, 749, 624, 499, 374, 249, 124]
BIG, TINY = 1e9, 1e-9
NOISE, MASK, PROBE, STEP = 1, 2, 4, 100
# name, degradation of the program, sigma in [0, 1], rule, prompt: tests/test_scripts.c has the same list
CASES = [("denoise", "identity", .2, "matched", "a photo of a cat"),
         ("inpaint", "mask", 0., "matched", "a photo of a cat"),
         ("sr", "down", .05, "matched", ""),
         ("sr_discrepancy", "down", .01, "discrepancy", "a photo of a cat"),
         ("blur_bayes", "blur", .01, "bayes", ""),
         ("inpaint_discrepancy", "mask", .05, "discrepancy", "a photo of a cat")]


def philox(seed, stream, n):
    """Words (n, 4) of the counters 0 .. n - 1."""
    i = np.arange(n, dtype=np.uint64)
    low = np.uint64(0xFFFFFFFF)
    a, b = i & low, i >> np.uint64(32)
    c = np.full(n, stream & 0xFFFFFFFF, np.uint64)
    d = np.full(n, stream >> 32, np.uint64)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p, q = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = (q >> np.uint64(32)) ^ b ^ np.uint64(k0), q & low, (p >> np.uint64(32)) ^ d ^ np.uint64(k1), p & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([a, b, c, d], 1)


def unit(hi, lo):
    return ((hi << np.uint64(32) | lo) >> np.uint64(11)).astype(np.float64) * 2.0 ** -53


def uniforms(seed, stream, n):
    w = philox(seed, stream, n)
    return unit(w[:, 0], w[:, 1])


def normals(seed, stream, *shape):
    n = int(np.prod(shape))
    w = philox(seed, stream, (n + 1) // 2)
    r, t = np.sqrt(-2 * np.log(1 - unit(w[:, 0], w[:, 1]))), 2 * np.pi * unit(w[:, 2], w[:, 3])
    return torch.from_numpy(np.stack([r * np.cos(t), r * np.sin(t)], 1).ravel()[:n].reshape(shape).astype(np.float32))


class Identity:
    def A(self, x): return x
    def At(self, y): return y
    def solve(self, r, lam): return r / (1 + lam)
    def m(self, y): return y.numel()
    def clear(self, n): return n


class Mask(Identity):
    """Known pixels are 1; values in the hole are 0."""
    def __init__(self, N=128, missing=.5, seed=7):
        self.mask = torch.from_numpy((uniforms(seed, MASK, N * N) >= missing).astype(np.float32)).view(1, 1, N, N)
    def A(self, x): return x * self.mask
    At = clear = A
    def solve(self, r, lam): return r / (1 + lam) * self.mask
    def m(self, y): return self.mask.sum().item() * y.shape[1]


class Blur(Identity):
    """Circular convolution with a Gaussian cut at int(sigma / 0.3 + 1)."""
    def __init__(self, sigma=3., N=128):
        c = int(sigma / 0.3 + 1)
        k = torch.arange(-c, c + 1).double()
        g = torch.exp(-k ** 2 / (2 * sigma ** 2))
        H = torch.fft.fft(torch.zeros(N).double().index_add_(0, k.long() % N, g / g.sum()))
        self.H = (H[:, None] * H[None, :]).to(torch.complex64)
    def A(self, x): return torch.fft.ifft2(torch.fft.fft2(x) * self.H).real
    def At(self, y): return torch.fft.ifft2(torch.fft.fft2(y) * self.H.conj()).real
    def solve(self, r, lam): return torch.fft.ifft2(torch.fft.fft2(r) / (self.H.abs() ** 2 + lam)).real


class Downsample(Identity):
    """y[i] = sum_k h[k] x[i f - 2 f + k], separable, circular, h the bicubic (a = -1/2) of 4 f taps."""
    def __init__(self, f=4, N=128):
        t = (torch.arange(4 * f).double() + .5 - 2 * f).abs() / f
        a = -.5
        w = torch.where(t <= 1, (a + 2) * t ** 3 - (a + 3) * t ** 2 + 1,
                        torch.where(t < 2, a * (t ** 3 - 5 * t ** 2 + 8 * t - 4), 0 * t))
        H = torch.fft.fft(torch.zeros(N).double().index_add_(0, (torch.arange(4 * f) - 2 * f) % N, w / w.sum())).conj()
        self.H, self.f, self.N = (H[:, None] * H[None, :]).to(torch.complex64), f, N
        self.q = (self.H.abs() ** 2).view(f, N // f, f, N // f).sum((0, 2)) / f ** 2
    def A(self, x): return torch.fft.ifft2(torch.fft.fft2(x) * self.H).real[..., ::self.f, ::self.f]
    def At(self, y):
        u = torch.zeros(*y.shape[:-2], self.N, self.N)
        u[..., ::self.f, ::self.f] = y
        return torch.fft.ifft2(torch.fft.fft2(u) * self.H.conj()).real
    def solve(self, r, lam): return torch.fft.ifft2(torch.fft.fft2(r) / (self.q + lam)).real


def prox(op, u, y, gamma):
    """argmin_x gamma/2 |A x - y|^2 + 1/2 |x - u|^2 = u + A^T (A A^T + 1/gamma)^-1 (y - A u)."""
    return u + op.At(op.solve(y - op.A(u), 1 / min(max(gamma, 1e-30), BIG)))


def sq(v):
    return (v.double() ** 2).sum().item()


class Prior:
    def __init__(self, folder):
        from diffusers import AutoencoderTiny, UNet2DConditionModel
        from transformers import CLIPTextModel
        self.vae = AutoencoderTiny.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval()
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).eval()
        self.text = CLIPTextModel.from_pretrained(folder / "text_encoder", torch_dtype=torch.float32).eval()
        self.scale = self.vae.config.scaling_factor
        self.ab = torch.cumprod(1 - torch.linspace(0.00085 ** .5, 0.012 ** .5, 1000, dtype=torch.float64) ** 2, 0)
        self.vocab = json.load(open(folder / "tokenizer/vocab.json"))
        lines = open(folder / "tokenizer/merges.txt").read().split("\n")[1:]
        self.rank = {tuple(l.split()): i for i, l in enumerate(lines) if l}
        self.table = json.load(open(folder / "latino.json"))

    def word(self, w):
        t = list(w[:-1]) + [w[-1] + "</w>"]
        while len(t) > 1:
            r, (a, b) = min((self.rank.get(p, 1 << 30), p) for p in zip(t, t[1:]))
            if r == 1 << 30:
                break
            o, i = [], 0
            while i < len(t):
                hit = i + 1 < len(t) and (t[i], t[i + 1]) == (a, b)
                o.append(a + b if hit else t[i])
                i += 2 if hit else 1
            t = o
        return t

    def embed(self, s):
        ids = [self.vocab["<|startoftext|>"]]
        ids += [self.vocab[x] for w in re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", s.lower()) for x in self.word(w)]
        return self.text(torch.tensor([(ids[:76] + [self.vocab["<|endoftext|>"]] * 77)[:77]])).last_hidden_state

    def E(self, x): return self.vae.encode(x).latents * self.scale
    def D(self, z): return self.vae.decode(z / self.scale).sample
    def a(self, t): return self.ab[t].item()

    def f(self, z, t, c):
        """LCM's consistency map of a v-prediction network."""
        v = self.unet(z, torch.tensor([t]), c).sample
        x0 = self.a(t) ** .5 * z - (1 - self.a(t)) ** .5 * v
        s = 10. * t
        return .25 / (s * s + .25) * z + s / (s * s + .25) ** .5 * x0

    def r2(self, t):
        k, v = np.array(self.table["one_step_error"]).T
        return math.exp(np.interp(t, k, np.log(v)))

    def time_of(self, e):
        k, t, _ = np.array(self.table["noisy_picture"]).T
        return int(min(max(round(float(np.interp(math.log(e), np.log(k), t))), 1), 999))

    def rho2(self, e):
        k, _, r = np.array(self.table["noisy_picture"]).T
        return math.exp(np.interp(math.log(e), np.log(k), np.log(r)))


def smooth(x):
    """Gaussian of deviation 1, nine taps, reflected at the border without repeating the edge."""
    k = torch.exp(-torch.arange(-4, 5).float() ** 2 / 2)
    k, shape = k / k.sum(), x.shape
    x = F.conv2d(F.pad(x.flatten(0, 1)[:, None], (4, 4, 0, 0), mode="reflect"), k.view(1, 1, 1, -1))
    return F.conv2d(F.pad(x, (0, 0, 4, 4), mode="reflect"), k.view(1, 1, -1, 1)).view(shape)


def gamma_discrepancy(op, u, y, sigma):
    """The gamma at which |A prox(u) - y|^2 = m sigma^2, by bisection; A prox - y = lam (A A^T + lam)^-1 (A u - y)."""
    r, goal = op.A(u) - y, op.m(y) * sigma ** 2
    if sigma == 0:
        return BIG
    if sq(r) <= goal:
        return 0.
    lo, hi = math.log(1e-6), math.log(1e8)
    for _ in range(60):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if sq(op.solve(r, math.exp(-mid)) * math.exp(-mid)) > goal else (lo, mid)
    return math.exp((lo + hi) / 2)


@torch.no_grad()
def latino_paper(y, op, sigma, rule, c, p):
    x = op.At(y).clamp(-1, 1)
    for k, t in enumerate(TIMES):
        eps = normals(77, STEP + k, 1, 32, 16, 16)
        u = p.D(p.f(p.a(t) ** .5 * p.E(x) + (1 - p.a(t)) ** .5 * eps, t, c))
        gamma = gamma_discrepancy(op, u, y, sigma) if rule == "discrepancy" else p.r2(t) / max(sigma ** 2, TINY)
        x = prox(op, u, y, gamma)
    return x


class Matched:
    """The rule of doc/rule.md; w, n: the probes, white noise like a picture and like a measurement."""
    @torch.no_grad()
    def __init__(self, y, op, sigma, p, w, n):
        self.y, self.op, self.p, self.w, self.n = y, op, p, w, op.clear(n)
        self.s2, self.floor, self.m = sigma ** 2, max(sigma ** 2, TINY), op.m(y)
        self.gain = sq(op.A(w)) / self.m
        x = prox(op, torch.zeros(w.shape), y, .25 / max(self.s2, 1e-6))
        for _ in range(40):
            u = smooth(x)
            r2 = max(self.residual(u), 1e-5)
            x = prox(op, u, y, r2 / self.floor)
        self.start, self.e2 = x, self.carried(r2, r2 / self.floor)

    def residual(self, u): return (sq(self.op.A(u) - self.y) / self.m - self.s2) / self.gain

    def carried(self, r2, g):
        on_x = prox(self.op, self.w, torch.zeros_like(self.y), g)
        on_y = prox(self.op, torch.zeros(self.w.shape), self.n, g)
        return (r2 * sq(on_x) + self.s2 * sq(on_y)) / self.w.numel()

    def e(self): return math.sqrt(max(self.e2, 1e-6))

    def time(self): return self.p.time_of(self.e())

    @torch.no_grad()
    def gamma(self, u):
        r2 = max(self.residual(u), self.p.rho2(self.e()))
        self.e2 = min(self.e2, self.carried(r2, r2 / self.floor))
        return r2 / self.floor


def probed(y, op, sigma, p):
    """With the probes that latino draws of seed 3."""
    return Matched(y, op, sigma, p, normals(3, PROBE, 1, 3, 128, 128), normals(3, PROBE + 1, *y.shape))


@torch.no_grad()
def latino_matched(y, op, sigma, c, p, rule):
    x, u, z0 = rule.start, None, None
    for k in range(8):
        t = rule.time()
        latent = p.E(x) if z0 is None else z0 + p.E(x) - p.E(u)
        z0 = p.f(p.a(t) ** .5 * latent, t, c)
        u = p.D(z0)
        x = prox(op, u, y, rule.gamma(u))
    return torch.where(op.mask > 0, y, x) if sigma == 0 else x


def make(out):
    p = Prior(ROOT / "models/prior")
    truth = torch.from_numpy(np.asarray(Image.open(out / "cat128.png")).astype(np.float32) / 255).permute(2, 0, 1)[None]
    ops = {"identity": Identity(), "mask": Mask(), "down": Downsample(), "blur": Blur()}
    for name, kind, sigma, rule, prompt in CASES:
        op, c = ops[kind], p.embed(prompt)
        y = op.A(truth)
        y = op.clear(2 * (y + sigma * normals(5, NOISE, *y.shape)) - 1)
        if rule == "matched":
            x = latino_matched(y, op, 2 * sigma, c, p, probed(y, op, 2 * sigma, p))
        else:
            x = latino_paper(y, op, 2 * sigma, rule, c, p)
        x = ((x + 1) / 2).clamp(0, 1)
        print(f"  {name}: PSNR {-10 * math.log10(((x - truth) ** 2).mean().item()):.3f} dB")
        Image.fromarray((x[0].permute(1, 2, 0).numpy() * 255 + .5).astype(np.uint8)).save(out / f"latino_{name}.png")
