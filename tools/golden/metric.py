"""PSNR and SSIM of random pictures by torchmetrics, computed in double. Writes metric.safetensors."""
import os

SHAPES = [(3, 24, 31), (1, 11, 6), (3, 6, 40), (1, 48, 48), (3, 7, 7)]


def make(out):
    import torch
    import torchmetrics
    from safetensors.torch import save_file
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    torch.set_num_threads(1)
    g = torch.Generator().manual_seed(7)
    tensors = {}
    for k, (c, h, w) in enumerate(SHAPES):
        smooth = torch.nn.functional.interpolate(torch.rand(1, c, 5, 5, generator=g), (h, w), mode="bicubic")
        a = (smooth + 0.05 * torch.randn(1, c, h, w, generator=g)).float()
        b = (0.9 * smooth + 0.03 + (0.02 + 0.05 * k) * torch.randn(1, c, h, w, generator=g)).float()
        if k == 3:
            b[:, :, :20] = a[:, :, :20]
        x, y = a.double(), b.double()
        tensors |= {f"a{k}": a[0], f"b{k}": b[0],
                    f"psnr{k}": peak_signal_noise_ratio(x, y, data_range=1.0).float().reshape(1),
                    f"ssim{k}": structural_similarity_index_measure(x, y, data_range=1.0).float().reshape(1)}
    save_file({k: v.contiguous() for k, v in tensors.items()}, os.path.join(out, "metric.safetensors"),
              metadata={"torchmetrics": torchmetrics.__version__, "torch": torch.__version__, "seed": "7"})
