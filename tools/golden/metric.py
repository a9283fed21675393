"""Metrics of random pictures by torchmetrics (PSNR, SSIM, MS-SSIM) and piq (GMSD, HaarPSI), computed in double.
Writes metric.safetensors."""
import os

SHAPES = [(3, 24, 31), (1, 11, 6), (3, 6, 40), (1, 48, 48), (3, 7, 7), (3, 45, 50), (1, 176, 177)]
BETAS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def make(out):
    import piq
    import torch
    import torchmetrics
    from safetensors.torch import save_file
    from torchmetrics.functional.image import (multiscale_structural_similarity_index_measure as ms_ssim,
                                               peak_signal_noise_ratio as psnr,
                                               structural_similarity_index_measure as ssim)

    torch.set_num_threads(1)
    g = torch.Generator().manual_seed(7)
    tensors = {}
    for k, (c, h, w) in enumerate(SHAPES):
        smooth = torch.nn.functional.interpolate(torch.rand(1, c, 5, 5, generator=g), (h, w), mode="bicubic")
        a = (smooth + 0.05 * torch.randn(1, c, h, w, generator=g)).float()
        b = (0.9 * smooth + 0.03 + (0.02 + 0.05 * k) * torch.randn(1, c, h, w, generator=g)).float()
        if k == 3:
            b[:, :, :20] = a[:, :, :20]
        if k > 4:
            a, b = a.clamp(0, 1).half().float(), b.clamp(0, 1).half().float()
        x, y = a.double(), b.double()
        found = {"psnr": psnr(x, y, data_range=1.0), "ssim": ssim(x, y, data_range=1.0)}
        if k > 4:  # piq takes pictures in [0, 1] alone
            found |= {"gmsd": piq.gmsd(x, y), "haarpsi": piq.haarpsi(x, y)}
            for scales in range(1, 6):
                betas = BETAS if scales == 5 else tuple(v / sum(BETAS[:scales]) for v in BETAS[:scales])
                if min(h, w) // max(1, scales - 1) ** 2 > 10:
                    found[f"ms_ssim:scales={scales}"] = ms_ssim(x, y, data_range=1.0, betas=betas)
        half = k > 4
        tensors |= {f"a{k}": a[0].half() if half else a[0], f"b{k}": b[0].half() if half else b[0]}
        tensors |= {f"{k} {name}": v.double().reshape(1) for name, v in found.items()}
    save_file({k: v.contiguous() for k, v in tensors.items()}, os.path.join(out, "metric.safetensors"),
              metadata={"torchmetrics": torchmetrics.__version__, "piq": piq.__version__, "torch": torch.__version__,
                        "seed": "7"})
