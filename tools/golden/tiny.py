"""Tiny autoencoders of all families, written here in PyTorch after their description: stacks of blocks, numbered as in the files
{encoder,decoder}.pth. Random ones by model.py's formula, and (where they are to be had) the real TAEF2 and TAESANA."""
import os
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn
from golden import load

here = pathlib.Path(__file__)
base = load("model")
REAL = here.resolve().parents[3] / "shared/data/taef2"


class Own(base.Golden):
    def __init__(self, out):
        super().__init__(out)
        self.file = os.path.join(out, "tiny.safetensors")


def conv(a, b, stride=1, bias=True):
    return nn.Conv2d(a, b, 3, stride, 1, bias=bias)


class Block(nn.Module):
    def __init__(self, n, pooled):
        super().__init__()
        self.conv = nn.Sequential(conv(n, n), nn.ReLU(), conv(n, n), nn.ReLU(), conv(n, n))
        if pooled:
            self.pool = nn.Sequential(nn.Conv2d(n, 4 * n, 1, bias=False), nn.GroupNorm(4, 4 * n), nn.ReLU(), nn.Conv2d(4 * n, n, 1, bias=False))
        self.pooled = pooled

    def forward(self, x):
        x = x + self.pool(x) if self.pooled else x
        return torch.relu(x + self.conv(x))


class Soft(nn.Module):
    def forward(self, x):
        return 3 * torch.tanh(x / 3)


def encoder(n, latent, pooled=False):
    blocks = lambda p=False: [Block(n, p) for _ in range(3)]
    return nn.Sequential(conv(3, n), Block(n, False), conv(n, n, 2, False), *blocks(), conv(n, n, 2, False), *blocks(),
                         conv(n, n, 2, False), *blocks(pooled), conv(n, latent))


def decoder(n, latent, pooled=False):
    blocks = lambda p=False: [Block(n, p) for _ in range(3)]
    up = lambda: [nn.Upsample(scale_factor=2), conv(n, n, 1, False)]
    return nn.Sequential(Soft(), conv(latent, n), nn.ReLU(), *blocks(pooled), *up(), *blocks(), *up(), *blocks(), *up(), Block(n, False),
                         conv(n, 3))


def encoder32(n, latent):
    blocks = lambda: [Block(n, False) for _ in range(3)]
    return nn.Sequential(conv(3, n // 2, 2), nn.ReLU(), conv(n // 2, n, 2), nn.ReLU(), Block(n, False), conv(n, n, 2, False), *blocks(),
                         conv(n, n, 2, False), *blocks(), conv(n, n, 2, False), *blocks(), conv(n, latent))


def decoder32(n, latent):
    """Widths fall on the way up: 4 n, 2 n, n, n, n, n."""
    out, width = [Soft(), conv(latent, 4 * n), nn.ReLU()], [4 * n, 2 * n, n, n, n, n]
    for a, b in zip(width, width[1:]):
        out += [*(Block(a, False) for _ in range(3)), nn.Upsample(scale_factor=2), conv(a, b, 1, False)]
    return nn.Sequential(*out, Block(n, False), conv(n, 3))


SIZE, CODE = (64, 96), (2, 3)  # a picture, and a latent of 32 pixels


def answer(g, name, m, latent):
    with torch.no_grad():
        if "encode" in name:
            g.keep(name, m((base.picture(1, *SIZE) + 1) / 2))
        else:
            g.keep(name, 2 * m(base.values("latent", (1, latent, *CODE), 1.)) - 1)


def make(out):
    torch.set_num_threads(1)
    g = Own(out)
    for name, m, latent in (("tiny_encoder", encoder(8, 16), 16), ("tiny_decoder", decoder(8, 16), 16),
                            ("tiny_pooled_encoder", encoder(8, 6, True), 6), ("tiny_pooled_decoder", decoder(8, 6, True), 6),
                            ("tiny_32_encoder", encoder32(8, 5), 5), ("tiny_32_decoder", decoder32(8, 5), 5)):
        answer(g, name, g.model(name, m), latent)
    for name, m in (("taef2_encoder", encoder(64, 32, True)), ("taef2_decoder", decoder(64, 32, True)), ("taesana_encoder", encoder32(64, 32))):
        m.load_state_dict({k: v.float() for k, v in torch.load(REAL / (name + ".pth"), weights_only=True).items()})
        answer(g, name, m.eval(), 32)
    save_file(g.arrays, g.file, metadata={"torch": torch.__version__})
