"""Solvers on a diffusion in pixels: independent PyTorch scripts of ddrm, ddnm, diffpir, pigdm, dps and red-diff with the tiny
guided-diffusion network of pixel.py and the same random numbers. y is what A makes of a picture of the formula, and noise."""
import math
import pathlib

import torch
from safetensors.torch import save_file
from golden import load


pixel, latino = load("pixel"), load("latino")
SIDE = 32  # what a network of three levels is taken to be trained at
# name, degradation, sigma in [-1, 1], solver, steps, options: tests/test_pixel.c has the same list
CASES = [("ddrm_mask", "mask", .1, "ddrm", 6, dict(eta=.85, b=1.)), ("ddrm_blur", "blur", .1, "ddrm", 8, dict(eta=.5, b=.8)),
         ("ddrm_exact", "mask", 0., "ddrm", 5, dict(eta=.85, b=1.)),
         ("ddnm_exact", "mask", 0., "ddnm", 6, dict(eta=.85)), ("ddnm_noise", "blur", .1, "ddnm", 6, dict(eta=.85)),
         ("diffpir_blur", "blur", .1, "diffpir", 6, dict(lam=7., zeta=.3)), ("diffpir_mask", "mask", .1, "diffpir", 5, dict(lam=3., zeta=.8)),
         ("pigdm_blur", "blur", .1, "pigdm", 6, dict(eta=1.)), ("pigdm_mask", "mask", 0., "pigdm", 6, dict(eta=.5)),
         ("dps_blur", "blur", .1, "dps", 6, dict(zeta=.7)), ("red_diff_blur", "blur", .1, "red-diff", 5, dict(lam=10., rate=.03))]


class Net:
    def __init__(self):
        self.m = pixel.Guided(*pixel.GUIDED["guided_ffhq"][0])
        self.m.load_state_dict({k: pixel.base.weight(k, tuple(v.shape)) for k, v in self.m.state_dict().items()})
        self.m.requires_grad_(False)
        self.ab = torch.cumprod(1 - torch.linspace(1e-4, .02, 1000, dtype=torch.float64), 0)

    def a(self, t): return self.ab[t].item()

    def __call__(self, z, t):
        ab = self.a(t)
        return ((z - math.sqrt(1 - ab) * self.m(z, t)[:, :3]) / math.sqrt(ab)).clamp(-1, 1)


def draw(k):
    return latino.normals(77, latino.STEP + k, 1, 3, SIDE, SIDE)


class Diagonal:
    """A with what ddrm needs: a unitary map to coefficients, where A is a multiplication; Fourier's is unitary over the reals in
    effect, for the multipliers of a symmetric kernel are real and even."""
    def __init__(self, kind):
        self.mask = kind == "mask"
        self.op = latino.Mask(SIDE) if self.mask else latino.Blur(1.5, SIDE)
        self.h = self.op.mask if self.mask else self.op.H.real[None, None]

    def to(self, x): return x if self.mask else torch.fft.fft2(x, norm="ortho")
    def back(self, c): return c if self.mask else torch.fft.ifft2(c, norm="ortho").real


def ddrm(net, op, y, sigma, steps, times, eta, b=1., ddnm=False):
    h = op.h.expand(1, 3, SIDE, SIDE)
    seen = h.abs() > 1e-3 * h.abs().max()
    safe = torch.where(seen, h, torch.ones_like(h))
    data, e = op.to(y) / safe, sigma / safe.abs()
    ab = net.a(times[0])
    l = math.sqrt((1 - ab) / ab)
    c = l * op.to(draw(0))
    if not ddnm:
        c = torch.where(seen & (l >= e), data + (l * l - e * e).clamp(min=0).sqrt() * op.to(draw(0)), c)
    for k, t in enumerate(times):
        ab, to = net.a(t), net.a(times[k + 1]) if k + 1 < steps else 1.
        l, l1 = math.sqrt((1 - ab) / ab), math.sqrt((1 - to) / to)
        c0 = op.to(net(math.sqrt(ab) * op.back(c), t))
        n = op.to(draw(k + 1)) if k + 1 < steps else 0 * c0
        keep = math.sqrt(1 - eta * eta)
        unseen = c0 + keep * l1 * (c - c0) / l + eta * l1 * n
        weak = c0 + keep * l1 * (data - c0) / (e + 1e-30) + eta * l1 * n
        strong = (1 - b) * c0 + b * data + (l1 * l1 - e * e * b * b).clamp(min=0).sqrt() * n
        c = torch.where(seen, torch.where(l1 < e, weak, strong), unseen)
    return op.back(c)


def ddnm(net, op, y, sigma, steps, times, eta):
    if sigma:
        return ddrm(net, op, y, sigma, steps, times, eta, ddnm=True)
    z, inverse = draw(0), op.h  # of a mask
    for k, t in enumerate(times):
        ab, to = net.a(t), net.a(times[k + 1]) if k + 1 < steps else 1.
        x0 = net(z, t)
        toward = (z - math.sqrt(ab) * x0) / math.sqrt(1 - ab)
        x = x0 + op.back(inverse * op.to(y - op.op.A(x0)))
        if k + 1 < steps:
            z = math.sqrt(to) * x + math.sqrt(1 - to) * (eta * draw(k + 1) + math.sqrt(1 - eta * eta) * toward)
    return x


def diffpir(net, op, y, sigma, steps, times, lam, zeta):
    z = draw(0)
    for k, t in enumerate(times):
        ab, to = net.a(t), net.a(times[k + 1]) if k + 1 < steps else 1.
        rho = lam * sigma ** 2 * ab / (1 - ab)
        x = op.back((op.h * op.to(y) + rho * op.to(net(z, t))) / (op.h ** 2 + rho))
        if k + 1 < steps:
            toward = (z - math.sqrt(ab) * x) / math.sqrt(1 - ab)
            z = math.sqrt(to) * x + math.sqrt(1 - to) * (math.sqrt(1 - zeta) * toward + math.sqrt(zeta) * draw(k + 1))
    return x


def guided(net, op, y, sigma, steps, times, gradient, eta):
    z = draw(0)
    for k, t in enumerate(times):
        ab, to = net.a(t), net.a(times[k + 1]) if k + 1 < steps else 1.
        at = z.clone().requires_grad_()
        x0 = net(at, t)
        change = gradient(at, x0, ab, to)
        with torch.no_grad():
            s = eta * math.sqrt((1 - to) / (1 - ab) * (1 - ab / to))
            toward = (z - math.sqrt(ab) * x0) / math.sqrt(1 - ab)
            z = math.sqrt(to) * x0 + math.sqrt(max(1 - to - s * s, 0)) * toward + change
            z = z + s * draw(k + 1) if s > 0 else z
    return z.detach()


def pigdm(net, op, y, sigma, steps, times, eta):
    def gradient(at, x0, ab, to):
        r2 = 1 - ab
        h = op.h
        c = op.to(y - op.op.A(x0.detach()))
        v = op.back(torch.where(h.abs() > 0, h * c / (r2 * h ** 2 + sigma ** 2), 0 * c))
        return math.sqrt(ab * to) * r2 * torch.autograd.grad((v * x0).sum(), at)[0]
    return guided(net, op, y, sigma, steps, times, gradient, eta)


def dps(net, op, y, sigma, steps, times, zeta):
    def gradient(at, x0, ab, to):
        return -zeta * torch.autograd.grad(torch.linalg.vector_norm(op.op.A(x0) - y), at)[0]
    return guided(net, op, y, sigma, steps, times, gradient, 1.)


def red_diff(net, op, y, sigma, steps, times, lam, rate):
    mu = y.clone().requires_grad_()
    opt = torch.optim.Adam([mu], rate, betas=(.9, .99))
    for k, t in enumerate(times):
        ab = net.a(t)
        eps = draw(k)
        z = math.sqrt(ab) * mu.detach() + math.sqrt(1 - ab) * eps
        hat = (z - math.sqrt(ab) * net(z, t)) / math.sqrt(1 - ab)
        w = lam * math.sqrt(1 - ab) / math.sqrt(ab)
        loss = ((op.op.A(mu) - y) ** 2).sum() / (2 * sigma ** 2) + w * ((hat - eps) * mu).sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
    return mu.detach()


def make(out):
    torch.set_num_threads(1)
    net, arrays = Net(), {}
    truth = pixel.base.picture(1, SIDE, SIDE)
    solvers = dict(ddrm=ddrm, ddnm=ddnm, diffpir=diffpir, pigdm=pigdm, dps=dps, **{"red-diff": red_diff})
    for name, kind, sigma, solver, steps, options in CASES:
        op = Diagonal(kind)
        y = op.op.clear(op.op.A(truth) + sigma * latino.normals(5, latino.NOISE, 1, 3, SIDE, SIDE))
        times = [999 - 1000 * k // steps for k in range(steps)]
        arrays[name] = solvers[solver](net, op, y, sigma, steps, times, **options).flatten().contiguous()
        print(f"  {name}: {arrays[name].std().item():.4f}", flush=True)
    save_file(arrays, str(pathlib.Path(out) / "pixel_solvers.safetensors"), metadata={"torch": torch.__version__})
