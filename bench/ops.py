"""Runs bench_ops, then the same operations in PyTorch; prints milliseconds and PyTorch's over ours.

Usage: ops.py PATH/TO/bench_ops [threads]. Pictures are channels last in both.
"""
import subprocess
import sys
import time

import torch
import torch.nn.functional as F


def builders(x):
    c = x.shape[3]
    w, b, y = torch.randn(c), torch.randn(c), torch.randn_like(x)
    planes, other = x.permute(0, 3, 1, 2), y.permute(0, 3, 1, 2)

    def group_norm_gradient():
        v = planes.detach().requires_grad_()
        return torch.autograd.grad(F.group_norm(v, 32, w, b), v, other)

    return {
        "group_norm_silu": lambda: F.silu(F.group_norm(planes, 32, w, b), inplace=True),
        "group_norm": lambda: F.group_norm(planes, 32, w, b),
        "group_norm_gradient": group_norm_gradient,
        "layer_norm": lambda: F.layer_norm(x, (c,), w, b),
        "geglu": lambda: x[..., : c // 2] * F.gelu(x[..., c // 2 :]),
        "silu": lambda: F.silu(x), "gelu": lambda: F.gelu(x), "quick_gelu": lambda: x * torch.sigmoid(1.702 * x),
        "relu": lambda: F.relu(x), "tanh": lambda: torch.tanh(x), "softmax": lambda: x.softmax(3),
        "add": lambda: x + y, "add_channels": lambda: x + w, "concat": lambda: torch.cat([planes, other], 1),
        "upsample": lambda: F.interpolate(planes, scale_factor=2), "to_planes": lambda: planes.contiguous(),
        "sum_pixels": lambda: x.sum((0, 1, 2)),
    }


def fastest(f, seconds=0.5):
    f()
    best, end = 1e9, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        f()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best


def main(program, threads="2"):
    torch.set_num_threads(int(threads))
    ours = subprocess.run([program, threads], check=True, capture_output=True, text=True).stdout
    print(f"{'operation':20} {'shape':20} {'ours':>9} {'PyTorch':>9} {'ratio':>6}")
    for line in ours.splitlines():
        name, *dims, ms = line.split()
        with torch.set_grad_enabled(name.endswith("gradient")):
            other = fastest(builders(torch.randn([int(d) for d in dims]))[name])
        print(f"{name:20} {' x '.join(dims):20} {float(ms):9.3f} {other:9.3f} {other / float(ms):6.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
