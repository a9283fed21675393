"""What pictures become in cameras and scanners: MATLAB's downsampling, space-varying blur and mosaics by deepinv and SciPy."""
import importlib.metadata
import warnings

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from scipy import ndimage

warnings.simplefilter("ignore")
import deepinv as dinv  # noqa: E402
from deepinv.physics import functional as dF  # noqa: E402

PATTERNS = {"rggb": [[0, 1], [1, 2]], "bggr": [[2, 1], [1, 0]], "grbg": [[1, 0], [2, 1]], "gbrg": [[1, 2], [0, 1]]}


def varying(x, kernels, place, padding="circular"):
    """Hat functions between neighbours; deepinv takes kernels of one size. padding=valid: place is the result's size."""
    n = len(kernels)
    w = np.stack([np.maximum(1 - np.abs(place * (n - 1) - k), 0) for k in range(n)])
    p = dinv.physics.SpaceVaryingBlur(filters=torch.tensor(np.stack(kernels), dtype=torch.float64)[None, None],
                                      multipliers=torch.tensor(w, dtype=torch.float64)[None, None], padding=padding,
                                      mask_first=False)
    return p.A(torch.tensor(x, dtype=torch.float64)[None])[0].numpy()


def distance(h, w):
    i, j = np.mgrid[:h, :w]
    return np.hypot(i - (h - 1) / 2, j - (w - 1) / 2) / np.hypot((h - 1) / 2, (w - 1) / 2)


def gaussian(sigma, size):
    return dF.gaussian_blur(psf_size=(size, size), sigma=(sigma, sigma), dtype=torch.float64)[0, 0].numpy()


def mosaic(x, pattern):
    y = np.zeros(x.shape[1:])
    f = np.array(PATTERNS[pattern])
    for i in range(2):
        for j in range(2):
            y[i::2, j::2] = x[f[i, j], i::2, j::2]
    return y


def bilinear(y, pattern):
    """Each colour's samples by a 3 x 3 tent, over the same of their mask."""
    tent = np.outer([1, 2, 1], [1, 2, 1]) / 4.0
    out = []
    for c in range(3):
        mask = mosaic(np.stack([np.full(y.shape, k == c) for k in range(3)]).astype(float), pattern)
        mean = ndimage.convolve(y * mask, tent, mode="constant") / ndimage.convolve(mask, tent, mode="constant")
        out.append(np.where(mask > 0, y, mean))
    return np.stack(out)


def make(out):
    torch.set_num_threads(2)
    given = load_file(str(out / "degrade.safetensors"))
    x = given["x"]
    h, w = x.shape[1:]
    rng = np.random.default_rng(11)
    t = {"kernel2": rng.random(given["kernel"].shape), "map": rng.random((h, w))}
    t["map"] = t["map"].astype(np.float32)
    # deepinv names the deviation along columns first, and turns the other way.
    t["anisotropic"] = dinv.physics.BlurFFT(
        img_size=x.shape, filter=dF.gaussian_blur(sigma=(1.0, 3.0), angle=-30.0, dtype=torch.float64)
    ).double().A(torch.tensor(x, dtype=torch.float64)[None])[0].numpy()
    side = 2 * int(2 / 0.3 + 1) + 1
    t["varying"] = varying(x, [gaussian(s, side) for s in (0.5, 1.25, 2)], distance(h, w))
    t["varying_map"] = varying(x, [given["kernel"] / given["kernel"].sum(), t["kernel2"] / t["kernel2"].sum()], t["map"])
    side = 2 * int(1 / 0.3 + 1) + 1
    cut = distance(h, w)[side // 2:-(side // 2), side // 2:-(side // 2)]
    t["varying_valid"] = varying(x, [gaussian(s, side) for s in (0.5, 0.75, 1)], cut, "valid")
    for name, from_, factor in (("matlab", "x", 4), ("matlab_odd", "odd", 3)):
        t[name] = dinv.physics.DownsamplingMatlab(factor=factor).A(torch.tensor(given[from_], dtype=torch.float64)[None])[0].numpy()
    for name in PATTERNS:
        t["mosaic_" + name] = mosaic(x, name)
    deepinv = dinv.physics.Demosaicing(img_size=x.shape).A(torch.tensor(x)[None])[0].sum(0).numpy()
    assert np.array_equal(deepinv, t["mosaic_bggr"].astype(np.float32))
    t["bilinear_rggb"] = bilinear(t["mosaic_rggb"], "rggb")
    used = ("deepinv", "torch", "scipy", "numpy")
    save_file({n: np.ascontiguousarray(v, dtype=np.float32) for n, v in t.items()}, str(out / "operators.safetensors"),
              metadata={n: importlib.metadata.version(n) for n in used})
