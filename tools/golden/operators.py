"""What pictures become in cameras and scanners: MATLAB's downsampling, space-varying blur, mosaics and masked Fourier by
deepinv, mixtures by SciPy, projections by scikit-image, JPEG by Pillow, the rest by numpy."""
import importlib.metadata
import io
import warnings

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from scipy import fft, linalg, ndimage
from skimage import transform

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


def uniform(seed, stream, n):
    """The library's random numbers: Philox 4x32-10 (Salmon et al. 2011), 53 bits of the first two words."""
    i = np.arange(n, dtype=np.uint64)
    low = np.uint64(0xFFFFFFFF)
    word = [i, 0 * i, np.full(n, stream, dtype=np.uint64), 0 * i]
    key = [np.uint64(seed), np.uint64(0)]
    for _ in range(10):
        p, q = np.uint64(0xD2511F53) * word[0], np.uint64(0xCD9E8D57) * word[2]
        word = [(q >> np.uint64(32)) ^ word[1] ^ key[0], q & low, (p >> np.uint64(32)) ^ word[3] ^ key[1], p & low]
        key = [(key[0] + np.uint64(0x9E3779B9)) & low, (key[1] + np.uint64(0xBB67AE85)) & low]
    return ((word[0] << np.uint64(32) | word[1]) >> np.uint64(11)).astype(np.float64) * 2.0**-53


MASK, KERNEL = 2, 3  # streams


def compressed(x, ratio, mix, seed=0):
    n = x[0].size
    known, sign = uniform(seed, MASK, n) < ratio, np.where(uniform(seed, KERNEL, n) < 0.5, -1.0, 1.0)
    return np.stack([(mix((c.ravel() * sign).reshape(c.shape)).ravel() * known).reshape(c.shape) for c in x.astype(float)])


def radon(x, angles, span, circle):
    theta = np.arange(angles) * span / angles
    return np.stack([transform.radon(c.astype(float), theta, circle=circle).T / c.shape[0] for c in x])


def iradon(y, angles, span, circle, side):
    theta = np.arange(angles) * span / angles
    return np.stack([transform.iradon(c.T * side, theta, circle=circle, output_size=side) * span / 180 for c in y])


def scan(x, mask):
    """deepinv's pictures are complex: two channels."""
    out = []
    for c in x:
        z = torch.tensor(np.stack([c, 0 * c]))[None]
        out += list(dinv.physics.MRI(mask=torch.tensor(mask, dtype=torch.float32), img_size=c.shape).A(z)[0].numpy())
    return np.stack(out)


def phase(x, masks, seed=0):
    sign = np.where(uniform(seed, MASK, masks * x[0].size) < 0.5, -1.0, 1.0).reshape(masks, *x.shape[1:])
    f = lambda z: np.fft.fftshift(np.fft.fft2(z, norm="ortho"))  # noqa: E731
    return np.stack([np.abs(f(m * c)) / np.sqrt(masks) for c in x for m in sign])


def amid_zeros(x, oversample):
    """Zeros on all sides, as DPS lays them; deepinv's phase retrieval has squares."""
    h, w = x.shape[1:]
    height, width = int(oversample * h + 0.5), int(oversample * w + 0.5)
    top, left = (height - h) // 2, (width - w) // 2
    f = lambda z: torch.fft.fftshift(torch.fft.fft2(z, norm="ortho"), dim=(-2, -1))  # noqa: E731
    pad = lambda z: torch.nn.functional.pad(z, (left, width - w - left, top, height - h - top))  # noqa: E731
    p = dinv.physics.PhaseRetrieval(dinv.physics.LinearPhysics(A=lambda z, **_: f(pad(z))))
    return p.A(torch.tensor(x, dtype=torch.float64)[None])[0].sqrt().numpy()


def jpeg(x, quality, subsampling):
    file = io.BytesIO()
    bytes_ = (x.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
    Image.fromarray(bytes_.squeeze()).save(file, "JPEG", quality=quality, subsampling=subsampling)
    y = np.asarray(Image.open(file)).reshape(bytes_.shape)
    return bytes_.transpose(2, 0, 1), y.transpose(2, 0, 1)


def own_tables(out, picture):
    """Files whose quantisation tables no quality has: natural order, steeper along rows than along columns. Stored turned,
    with EXIF's word for it (6), the last one: what is read is the picture turned by a quarter, and so are its tables."""
    ramp = np.add.outer(3 * np.arange(8), 7 * np.arange(8)).ravel()
    picture = Image.fromarray((picture.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, n, subsampling, more in (("420", 2, 2, {}), ("444", 3, 0, {}), ("turned", 1, 0, {"exif": exif})):
        tables = [(12 + k + ramp).tolist() for k in range(n)]
        file = out / f"jpeg_own_{name}.jpg"
        picture.save(file, "JPEG", qtables=tables, subsampling=subsampling, **more)
        assert [v for _, v in sorted(Image.open(file).quantization.items())] == tables


def make(out):
    torch.set_num_threads(2)
    given = load_file(str(out / "degrade.safetensors"))
    x = given["x"]
    odd = given["odd"]
    h, w = odd.shape[1:]
    rng = np.random.default_rng(11)
    t = {"kernel2": rng.random(given["kernel"].shape), "map": rng.random((h, w))}
    t["map"] = t["map"].astype(np.float32)
    # deepinv names the deviation along columns first, and turns the other way.
    t["anisotropic"] = dinv.physics.BlurFFT(
        img_size=odd.shape, filter=dF.gaussian_blur(sigma=(1.0, 3.0), angle=-30.0, dtype=torch.float64)
    ).double().A(torch.tensor(odd, dtype=torch.float64)[None])[0].numpy()
    side = 2 * int(2 / 0.3 + 1) + 1
    t["varying"] = varying(odd, [gaussian(s, side) for s in (0.5, 1.25, 2)], distance(h, w))
    t["varying_map"] = varying(odd, [given["kernel"] / given["kernel"].sum(), t["kernel2"] / t["kernel2"].sum()], t["map"])
    side = 2 * int(1 / 0.3 + 1) + 1
    cut = distance(h, w)[side // 2:-(side // 2), side // 2:-(side // 2)]
    t["varying_valid"] = varying(odd, [gaussian(s, side) for s in (0.5, 0.75, 1)], cut, "valid")
    for name, from_, factor in (("matlab", "x", 4), ("matlab_odd", "odd", 3)):
        t[name] = dinv.physics.DownsamplingMatlab(factor=factor).A(torch.tensor(given[from_], dtype=torch.float64)[None])[0].numpy()
    for name in PATTERNS:
        t["mosaic_" + name] = mosaic(x, name)
    deepinv = dinv.physics.Demosaicing(img_size=x.shape).A(torch.tensor(x)[None])[0].sum(0).numpy()
    assert np.array_equal(deepinv, t["mosaic_bggr"].astype(np.float32))
    t["bilinear_rggb"] = bilinear(t["mosaic_rggb"], "rggb")
    t["mask"] = (rng.random(x.shape[1:]) < 0.4).astype(np.float32)
    t["scan"] = scan(x, t["mask"])
    t["cosines"] = compressed(odd, 0.3, lambda z: fft.dctn(z, norm="ortho"), seed=5)
    t["square"] = x[:1, :32, :32]
    t["odd_square"] = given["odd"][:, :37, :37]
    walsh = linalg.hadamard(32) / np.sqrt(32)
    t["walsh"] = compressed(t["square"], 0.3, lambda z: walsh @ z @ walsh, seed=5)
    t["projections"] = radon(t["odd_square"], 20, 180, False)
    t["back"] = iradon(t["projections"].astype(np.float32), 20, 180, False, 37)
    inside = t["square"] * (np.hypot(*(np.mgrid[:32, :32] - 16)) < 15)
    t["inside"] = inside.astype(np.float32)
    t["limited"] = radon(t["inside"], 15, 90, True)
    t["magnitudes"] = phase(odd, 3, seed=5)
    t["amid_zeros"], t["amid_zeros_odd"] = amid_zeros(t["odd_square"], 2), amid_zeros(odd, 1.5)
    t["clipped"] = np.clip(3 * (odd - 0.4) + 0.4, 0, 1)
    exact = {}
    photo = given["photo"].astype(np.float32)[:, 20:84, 30:110]
    for name, picture, quality, subsampling in (("420_10", photo, 10, 2), ("420_60", photo, 60, 2), ("444_30", photo, 30, 0),
                                                ("odd_20", photo[:, :53, :47], 20, 2), ("grey_20", photo[:1], 20, 0)):
        exact["jpeg_from_" + name], exact["jpeg_" + name] = jpeg(picture, quality, subsampling)
    own_tables(out, photo)
    used = ("deepinv", "torch", "scipy", "scikit-image", "pillow", "numpy")
    t = {n: np.ascontiguousarray(v, dtype=np.float32) for n, v in t.items()}
    # Bytes as halves, which hold them.
    t.update({n: np.ascontiguousarray(v, dtype=np.float16) for n, v in exact.items()})
    save_file(t, str(out / "operators.safetensors"),
              metadata={n: importlib.metadata.version(n) for n in used})
