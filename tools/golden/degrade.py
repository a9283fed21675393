"""Degradations by deepinv (circular), PIL (resampling), SciPy (mirror borders) and plain numpy; total variation by
scikit-image."""
import importlib.metadata
import warnings

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from scipy import ndimage
from skimage import color, data, restoration

warnings.simplefilter("ignore")
import deepinv as dinv  # noqa: E402
from deepinv.physics import functional as dF  # noqa: E402

PIL_FILTERS = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR, "box": Image.BOX, "lanczos": Image.LANCZOS,
               "none": Image.NEAREST}


def planes(f, x):
    return np.stack([f(c) for c in x]).astype(np.float32)


def pil(x, factor, name):
    size = tuple(-(-n // factor) for n in (x.shape[2], x.shape[1]))
    return planes(lambda c: np.asarray(Image.fromarray(c, "F").resize(size, PIL_FILTERS[name])), x)


def gradient(x):
    g = np.zeros((2,) + x.shape)
    g[0, :, :, :-1] = np.diff(x, axis=2)
    g[1, :, :-1] = np.diff(x, axis=1)
    return g


def gradient_adjoint(p):
    x = np.zeros(p.shape[1:])
    x[:, :, :-1] -= p[0, :, :, :-1]
    x[:, :, 1:] += p[0, :, :, :-1]
    x[:, :-1] -= p[1, :, :-1]
    x[:, 1:] += p[1, :, :-1]
    return x


def total_variation(A, At, y, weight, steps=20000):
    """argmin 1/2 |A x - y|^2 + weight sum |grad x|, colours coupled, by Condat's and Vu's method: no prox of the data."""
    x = At(y)
    p = gradient(x) * 0
    tau, sigma = 0.5, 0.125
    for _ in range(steps):
        new = x - tau * (At(A(x) - y) + gradient_adjoint(p))
        p += sigma * gradient(2 * new - x)
        p /= np.maximum(1, np.sqrt((p**2).sum((0, 1))) / weight)
        x = new
    return x


def make(out):
    torch.set_num_threads(2)
    x = np.random.default_rng(5).random((3, 48, 40), dtype=np.float32)
    u = np.random.default_rng(6).random((3, 48, 40), dtype=np.float32)
    odd = np.random.default_rng(7).random((1, 53, 37), dtype=np.float32)
    k = np.random.default_rng(8).random((6, 5)).astype(np.float32)
    t = {"x": x, "u": u, "odd": odd, "kernel": k}
    for name in PIL_FILTERS:
        t["pil_" + name] = pil(x, 4, name)
        t["pil_odd_" + name] = pil(odd, 3, name)
    tx, tu, kn = torch.tensor(x)[None], torch.tensor(u)[None], torch.tensor(k / k.sum())[None, None]
    for name in ("bicubic", "bilinear", "gaussian", None):
        p = dinv.physics.Downsampling(img_size=(3, 48, 40), filter=name, factor=4, padding="circular")
        y = p.A(tx)
        t[f"deepinv_{name}"] = y[0].numpy()
        if name == "bicubic":
            t["deepinv_bicubic_prox"] = p.prox_l2(tu, y, gamma=3.0)[0].numpy()
            t["deepinv_bicubic_adjoint"] = p.A_adjoint(y)[0].numpy()
    # deepinv before 0.4: torch's correlation, with one more pixel in front than behind.
    k16 = dF.bicubic_filter(4)
    padded = torch.nn.functional.pad(tx, (8, 7, 8, 7), mode="circular")
    t["correlation_bicubic"] = torch.nn.functional.conv2d(padded[0][:, None], k16, stride=4)[:, 0].numpy()
    p = dinv.physics.BlurFFT(img_size=(3, 48, 40), filter=dF.gaussian_blur(sigma=(2.0, 2.0), dtype=torch.float64)).double()
    y = p.A(tx.double())
    t["blur"] = y[0].numpy()
    t["blur_prox"] = p.prox_l2(tu.double(), y.float().double(), gamma=100.0)[0].numpy()
    for pad in ("circular", "valid"):
        t[f"kernel_{pad}"] = dF.conv2d(tx, kn, padding=pad)[0].numpy()
        t[f"kernel_{pad}_correlation"] = dF.conv2d(tx, kn, padding=pad, correlation=True)[0].numpy()
    t["kernel_mirror"] = planes(lambda c: ndimage.convolve(c.astype(np.float64), k / k.sum(), mode="reflect"), x)
    g = dF.gaussian_blur(sigma=(2.0, 2.0))[0, 0].numpy().astype(np.float64)
    t["blur_mirror"] = planes(lambda c: ndimage.convolve(c.astype(np.float64), g, mode="reflect"), x)
    # deepinv rounds the weight of red to 0.2989; scikit-image has BT.601's.
    t["grey"] = color.rgb2yuv(x.astype(np.float64), channel_axis=0)[:1]
    t["tv_clean"] = data.astronaut()[60:92, 200:232].transpose(2, 0, 1).astype(np.float32) / 255
    t["tv_noisy"] = (t["tv_clean"] + 0.1 * np.random.default_rng(9).standard_normal((3, 32, 32))).astype(np.float32)
    t["tv_grey"] = restoration.denoise_tv_chambolle(t["tv_noisy"][0].astype(np.float64), weight=0.08, eps=1e-12,
                                                    max_num_iter=20000).astype(np.float32)
    mask = np.ones((32, 32))
    mask[8:14, 10:20] = 0
    half = lambda z: z.reshape(3, 16, 2, 16, 2).mean((2, 4))  # noqa: E731
    double = lambda z: np.repeat(np.repeat(z, 2, 1), 2, 2) / 4  # noqa: E731
    g = dF.gaussian_blur(sigma=(1.0, 1.0))[0, 0].numpy().astype(np.float64)
    blur = lambda z: np.stack([ndimage.convolve(c, g, mode="wrap") for c in z])  # noqa: E731
    same = lambda z: z  # noqa: E731
    hide = lambda z: z * mask  # noqa: E731
    for name, A, At, weight in (("identity", same, same, 0.08), ("inpaint", hide, hide, 0.02), ("blur", blur, blur, 0.002),
                                ("downsample", half, double, 0.01)):
        t["tv_" + name + "_y"] = A(t["tv_noisy"].astype(np.float64))
        t["tv_" + name] = total_variation(A, At, t["tv_" + name + "_y"], weight)
    face = Image.fromarray(data.astronaut()[0:256, 96:352]).resize((128, 128), Image.BICUBIC)
    photo = np.ascontiguousarray(np.asarray(face).transpose(2, 0, 1)) / 255
    used = ("deepinv", "torch", "pillow", "scipy", "scikit-image", "numpy")
    t = {n: np.ascontiguousarray(v, dtype=np.float32) for n, v in t.items()}
    t["photo"] = photo.astype(np.float16)
    save_file(t, str(out / "degrade.safetensors"),
              metadata={n: importlib.metadata.version(n) for n in used})
