"""Diffusions in pixels: random tiny models of diffusers' UNet2DModel, and guided-diffusion's UNet written here once more from its
paper and its files' names. Weights and inputs follow the formula of model.py."""
import math
import pathlib

import diffusers
import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from safetensors.torch import save_file
from torch import nn
from golden import load

base = load("model")

DDPMS = {
    # As the old pixel models of 256 x 256 are: sines first, asymmetric padding, one head of all channels.
    "ddpm_old": (dict(sample_size=16, block_out_channels=(16, 32, 32), norm_num_groups=8, norm_eps=1e-6, layers_per_block=2,
                      attention_head_dim=None, downsample_padding=0, flip_sin_to_cos=False, freq_shift=1,
                      down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
                      up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D")), (2, 3, 16, 12), 519),
    "ddpm_heads": (dict(sample_size=16, block_out_channels=(16, 24), norm_num_groups=4, layers_per_block=1, attention_head_dim=4,
                        mid_block_scale_factor=1.5, down_block_types=("AttnDownBlock2D", "AttnDownBlock2D"),
                        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D"), downsample_type="resnet", upsample_type="resnet"),
                   (1, 3, 16, 16), 37),
    "ddpm_scaled": (dict(sample_size=16, block_out_channels=(16, 32, 32), norm_num_groups=8, layers_per_block=1, attention_head_dim=8,
                         resnet_time_scale_shift="scale_shift", down_block_types=("ResnetDownsampleBlock2D",) * 2 + ("DownBlock2D",),
                         up_block_types=("UpBlock2D",) + ("ResnetUpsampleBlock2D",) * 2), (1, 3, 8, 16), 999),
}


class Residual(nn.Module):
    def __init__(self, c, out, emb, scales, by=0):
        super().__init__()
        self.by, self.scales = by, scales
        self.in_layers = nn.Sequential(nn.GroupNorm(32, c), nn.SiLU(), nn.Conv2d(c, out, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, 2 * out if scales else out))
        self.out_layers = nn.Sequential(nn.GroupNorm(32, out), nn.SiLU(), nn.Identity(), nn.Conv2d(out, out, 3, padding=1))
        self.skip_connection = nn.Conv2d(c, out, 1) if c != out else nn.Identity()

    def sized(self, x):
        return F.interpolate(x, scale_factor=2) if self.by > 0 else F.avg_pool2d(x, 2) if self.by < 0 else x

    def forward(self, x, emb):
        h = self.in_layers[2](self.sized(F.silu(self.in_layers[0](x))))
        e = self.emb_layers(emb)[..., None, None]
        if self.scales:
            scale, shift = e.chunk(2, 1)
            h = self.out_layers[0](h) * (1 + scale) + shift
        else:
            h = self.out_layers[0](h + e)
        return self.skip_connection(self.sized(x)) + self.out_layers[3](F.silu(h))


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads = c // 64
        self.norm, self.qkv, self.proj_out = nn.GroupNorm(32, c), nn.Conv1d(c, 3 * c, 1), nn.Conv1d(c, c, 1)

    def forward(self, x, emb):
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x.reshape(n, c, -1))).reshape(n * self.heads, 3 * c // self.heads, -1).chunk(3, 1)
        a = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / math.sqrt(c // self.heads), -1)
        return x + self.proj_out(torch.einsum("bts,bcs->bct", a, v).reshape(n, c, -1)).reshape(x.shape)


class Resize(nn.Module):
    def __init__(self, c, up):
        super().__init__()
        self.up = up
        if up:
            self.conv = nn.Conv2d(c, c, 3, padding=1)
        else:
            self.op = nn.Conv2d(c, c, 3, stride=2, padding=1)

    def forward(self, x, emb):
        return self.conv(F.interpolate(x, scale_factor=2)) if self.up else self.op(x)


class Plain(nn.Conv2d):
    def forward(self, x, emb):
        return super().forward(x)


class Guided(nn.Module):
    """channels, their multiples by level, residual blocks a level, levels with attention."""
    def __init__(self, c, mult, layers, attends, resblock_updown, scales, out):
        super().__init__()
        self.c, e = c, 4 * c
        self.time_embed = nn.Sequential(nn.Linear(c, e), nn.SiLU(), nn.Linear(e, e))
        blocks, width, at = [nn.ModuleList([Plain(3, c, 3, padding=1)])], [c], c
        for level, m in enumerate(mult):
            for _ in range(layers):
                blocks.append(nn.ModuleList([Residual(at, m * c, e, scales)] + ([Attention(m * c)] if level in attends else [])))
                at = m * c
                width.append(at)
            if level < len(mult) - 1:
                blocks.append(nn.ModuleList([Residual(at, at, e, scales, -1) if resblock_updown else Resize(at, False)]))
                width.append(at)
        self.input_blocks = nn.ModuleList(blocks)
        self.middle_block = nn.ModuleList([Residual(at, at, e, scales), Attention(at), Residual(at, at, e, scales)])
        blocks = []
        for level in reversed(range(len(mult))):
            for i in range(layers + 1):
                b = [Residual(at + width.pop(), mult[level] * c, e, scales)]
                at = mult[level] * c
                b += [Attention(at)] if level in attends else []
                if level and i == layers:
                    b.append(Residual(at, at, e, scales, 1) if resblock_updown else Resize(at, True))
                blocks.append(nn.ModuleList(b))
        self.output_blocks = nn.ModuleList(blocks)
        self.out = nn.Sequential(nn.GroupNorm(32, at), nn.SiLU(), nn.Conv2d(at, out, 3, padding=1))

    def forward(self, x, t):
        f = t * torch.exp(-math.log(10000) * torch.arange(self.c // 2) / (self.c // 2))
        emb = self.time_embed(torch.cat([f.cos(), f.sin()])[None])
        skips = []
        for b in self.input_blocks:
            for layer in b:
                x = layer(x, emb)
            skips.append(x)
        for layer in self.middle_block:
            x = layer(x, emb)
        for b in self.output_blocks:
            x = torch.cat([x, skips.pop()], 1)
            for layer in b:
                x = layer(x, emb)
        return self.out(x)


GUIDED = {
    # FFHQ's of DPS in small: resblock_updown, scale and shift, one block a level, learned variance.
    "guided_ffhq": ((32, (1, 2, 4), 1, (2,), True, True, 6), (1, 3, 16, 16), 519),
    # Convolutions between the levels, two blocks a level, attention on two of them.
    "guided_conv": ((32, (1, 2, 2), 2, (1, 2), False, False, 3), (2, 3, 8, 16), 37),
}


def make(out):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    g = base.Golden(out)
    models = [(n, UNet2DModel(**c), s, t) for n, (c, s, t) in DDPMS.items()] + \
             [(n, Guided(*c), s, t) for n, (c, s, t) in GUIDED.items()]
    for name, m, shape, t in models:
        g.model(name, m, dict(m.config, _class_name="UNet2DModel") if hasattr(m, "config") else None)
        x = base.values("sample", shape).requires_grad_()
        y = m(x, t)
        y = (y.sample if hasattr(y, "sample") else y)[:, :3]
        g.keep(name, y)
        y.backward(base.values("cotangent", y.shape))
        g.keep(name + ".grad", x.grad)
    save_file(g.arrays, str(pathlib.Path(out) / "pixel.safetensors"),
              metadata={"torch": torch.__version__, "diffusers": diffusers.__version__})
