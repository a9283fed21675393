"""Floors without a network: the posterior means of wiener and tikhonov by dense linear algebra on a small picture.

A and the differences are matrices, made by acting on every unit picture; the cosines are SciPy's orthonormal DCT-II."""
import importlib.metadata

import numpy as np
from safetensors.numpy import save_file
from scipy import fft, ndimage

H, W, SIGMA, WEIGHT, POWER, EXPONENT = 12, 16, .1, 40., .002, 1.7


def blurred(x):
    """Circular, a Gaussian of deviation 1 cut at int(1 / 0.3 + 1) = 4."""
    k = np.exp(-np.arange(-4, 5) ** 2 / 2)
    k /= k.sum()
    return ndimage.convolve1d(ndimage.convolve1d(x, k, axis=0, mode="wrap"), k, axis=1, mode="wrap")


def holed(x):
    y = x.copy()
    y[4:8, 5:11] = 0
    return y


def matrix(f):
    return np.stack([f(e.reshape(H, W)).ravel() for e in np.eye(H * W)], 1)


OPERATORS = {"identity": lambda x: x, "blur": blurred, "inpaint": holed,
             "downsample": lambda x: x.reshape(H // 2, 2, W // 2, 2).mean((1, 3))}


def make(out):
    rng = np.random.default_rng(11)
    truth = np.clip(.5 + .2 * np.cumsum(np.cumsum(rng.standard_normal((3, H, W)), 1), 2) / 6, 0, 1)
    gradient = np.concatenate([matrix(lambda x: np.diff(x, axis=0)), matrix(lambda x: np.diff(x, axis=1))])
    stiff = WEIGHT * gradient.T @ gradient
    cosines = matrix(lambda x: fft.dctn(x, norm="ortho"))
    f2 = (np.arange(H)[:, None] / (2 * H)) ** 2 + (np.arange(W) / (2 * W)) ** 2
    law = cosines.T @ (f2.reshape(-1, 1) ** (EXPONENT / 2) / POWER * cosines)
    t = {"truth": truth}
    for name, f in OPERATORS.items():
        A = matrix(f)
        y = np.stack([f(c) for c in truth])
        y = y + SIGMA * rng.standard_normal(y.shape)
        y = np.stack([holed(c) for c in y]) if name == "inpaint" else y
        t[name + "_y"] = y = y.astype(np.float32)
        for solver, precision in (("tikhonov", stiff), ("wiener", law)):
            x = np.linalg.solve(A.T @ A / SIGMA ** 2 + precision, A.T @ y.reshape(3, -1).T.astype(np.float64) / SIGMA ** 2)
            t[f"{name}_{solver}"] = x.T.reshape(3, H, W)
    save_file({n: np.ascontiguousarray(v, dtype=np.float32) for n, v in t.items()}, str(out / "floors.safetensors"),
              metadata={n: importlib.metadata.version(n) for n in ("numpy", "scipy")})
