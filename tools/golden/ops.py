"""Values of every operation's examples by PyTorch, in double: tests/golden/ops.safetensors, which tests/test_ops.c reads.

Inputs are not stored: pattern() here and in the test are one formula. Of long results every stride-th value is stored.
"""
import math
import os

import numpy as np
import safetensors
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

LIMIT = 500  # values stored of one result


def pattern(name, *dims):
    i = np.arange(math.prod(dims), dtype=np.float64)
    if name.startswith("ids"):
        v = i % 3
    else:
        v = np.sin(1.618 * i + sum((k + 1) * ord(c) for k, c in enumerate(name)))
        v = 1 + v / 2 if name.startswith("positive") else 3 * v
    return torch.from_numpy(v.astype(np.float32).astype(np.float64)).reshape(dims)


def chw(x):
    return x.permute(0, 3, 1, 2)


def hwc(x):
    return x.permute(0, 2, 3, 1)


# ---- Products ----

CONVOLUTIONS = [  # x, w, stride, top, left, bottom, right, bias
    ((1, 5, 6, 3), (4, 3, 3, 3), 1, 1, 1, 1, 1, True),
    ((2, 7, 9, 17), (19, 17, 3, 3), 2, 0, 0, 1, 1, True),
    ((1, 6, 7, 5), (2, 5, 3, 2), 2, 1, 0, 2, 1, False),
    ((2, 16, 16, 32), (48, 32, 3, 3), 1, 1, 1, 1, 1, True),
    ((1, 12, 31, 64), (16, 64, 1, 1), 1, 0, 0, 0, 0, True),
    ((1, 32, 32, 64), (3, 64, 3, 3), 1, 1, 1, 1, 1, True),
    ((1, 17, 16, 64), (64, 64, 3, 3), 2, 1, 1, 1, 1, False),
    ((2, 15, 13, 16), (32, 16, 3, 3), 1, 1, 0, 0, 2, True),
    ((1, 23, 26, 3), (8, 3, 11, 11), 4, 2, 2, 2, 2, True),
]


def convolve(x, w, bias, stride, top, left, bottom, right):
    return hwc(F.conv2d(F.pad(chw(x), (left, right, top, bottom)), w, bias, stride))


def conv2d(x, w, stride, top, left, bottom, right, bias):
    b = pattern("bias", w[0]) if bias else None
    return convolve(pattern("x", *x), pattern("w", *w), b, stride, top, left, bottom, right)


def conv2d_gradient(which, x, w, stride, top, left, bottom, right, bias):
    src = {"x": pattern("x", *x).requires_grad_(), "w": pattern("w", *w).requires_grad_()}
    y = convolve(src["x"], src["w"], None, stride, top, left, bottom, right)
    return torch.autograd.grad(y, src[which], pattern("dy", *y.shape))[0]


def linear(x, w, bias):
    out = w[2] if w[0] == 1 else w[0]
    return F.linear(pattern("x", *x), pattern("w", *w).reshape(out, -1), pattern("bias", out) if bias else None)


def matmul(a, b, ta, tb):
    a, b = pattern("a", *a), pattern("b", *b)
    return (a.mT if ta else a) @ (b.mT if tb else b)


ATTENTIONS = [(2, 5, 7, 6, 2, False), (1, 9, 9, 8, 2, True), (1, 6, 6, 5, 1, False), (1, 210, 150, 80, 2, False),
              (2, 150, 150, 40, 1, True), (1, 200, 200, 32, 2, True)]


def attend(q, k, v, heads, causal):
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)


def attention_sources(n, t, s, c):
    return [pattern(name, n, m, c) for name, m in (("q", t), ("k", s), ("v", s))]


def log_sums(q, k, heads, causal):
    q, k = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k))
    score = q @ k.transpose(2, 3) / q.shape[3] ** 0.5
    return (score + torch.full(score.shape[2:], -torch.inf).triu(1) if causal else score).logsumexp(3)


def attention(n, t, s, c, heads, causal):
    q, k, v = attention_sources(n, t, s, c)
    return torch.cat([attend(q, k, v, heads, causal).flatten(), log_sums(q, k, heads, causal).flatten()])


def attention_dx(wanted, sums, n, t, s, c, heads, causal):
    src = [x.requires_grad_() for x in attention_sources(n, t, s, c)]
    y, cotangents = [attend(*src, heads, causal)], [pattern("dy", n, t, c)]
    if sums:
        y.append(log_sums(*src[:2], heads, causal))
        cotangents.append(pattern("dl", n, heads, t))
    grad = torch.autograd.grad(y, src, cotangents)
    return torch.cat([g.flatten() for k, g in enumerate(grad) if wanted >> k & 1])


# ---- Norms ----

def norm_sources(dims, k):
    c = dims[3]
    return pattern("x", *dims), pattern("w", c) if k != 1 else None, pattern("b", c) if k != 2 else None


def group_norm(dims, groups, k):
    x, w, b = norm_sources(dims, k)
    return hwc(F.group_norm(chw(x), groups, w, b, 1e-5))


def group_norm_dx(dims, groups, k):
    x, w, _ = norm_sources(dims, k)
    x.requires_grad_()
    return torch.autograd.grad(F.group_norm(chw(x), groups, w, None, 1e-5), x, chw(pattern("dy", *dims)))[0]


def layer_norm(dims, k):
    x, w, b = norm_sources(dims, k)
    return F.layer_norm(x, (dims[3],), w, b, 1e-5)


def layer_norm_dx(dims, k):
    x, w, _ = norm_sources(dims, k)
    x.requires_grad_()
    return torch.autograd.grad(F.layer_norm(x, (dims[3],), w, None, 1e-5), x, pattern("dy", *dims))[0]


# ---- Gradients of functions of x ----

def gradient(f, *dims):
    x = pattern("x", *dims).requires_grad_()
    y = f(x)
    return torch.autograd.grad(y, x, pattern("dy", *y.shape))[0]


def geglu(x):
    a, b = x.chunk(2, 3)
    return a * F.gelu(b)


# ---- Shape ----

def slice_(dims, axis, first, count):
    return pattern("x", *dims).narrow(axis, first, count)


def place(dims, axis, first, count):
    out = torch.zeros([count if k == axis else n for k, n in enumerate(dims)], dtype=torch.float64)
    out.narrow(axis, first, dims[axis]).copy_(pattern("x", *dims))
    return out


def concat(a, axis, more):
    b = [n + more * (k == axis) for k, n in enumerate(a)]
    return torch.cat([pattern("a", *a), pattern("b", *b)], axis)


POOLS = [((1, 2, 2, 1), 2, 2), ((2, 5, 7, 3), 2, 2), ((1, 9, 8, 3), 3, 2), ((1, 6, 5, 4), 2, 3), ((1, 17, 33, 64), 3, 2)]


def maxpool(dims, size, stride):
    return hwc(F.max_pool2d(chw(pattern("apart", *dims)), size, stride))


def maxpool_dx(dims, size, stride):
    x = pattern("apart", *dims).requires_grad_()
    y = hwc(F.max_pool2d(chw(x), size, stride))
    return torch.autograd.grad(y, x, pattern("dy", *y.shape))[0]


def gather(rows, c, n, t):
    ids = pattern("ids", n, 1, t, 1).long().reshape(n, 1, t)
    return F.embedding(ids.clamp(max=rows - 1), pattern("table", rows, c)) * (ids < rows)[..., None]


def scatter(rows, c, n, t):
    ids, x = pattern("ids", n * t).long(), pattern("x", n * t, c)
    return torch.zeros(rows, c, dtype=torch.float64).index_add(0, ids[ids < rows], x[ids < rows]).reshape(1, 1, rows, c)


def each(f, cases):
    return [lambda case=case: f(*case) for case in cases]


def cases():
    maps = [(1, 1, 1, 7), (2, 3, 5, 4), (1, 9, 11, 33), (1, 17, 31, 33)]
    pairs = [((2, 3, 5, 7), (2, 3, 5, 7)), ((2, 3, 5, 7), (1, 1, 1, 7)), ((1, 3, 1, 7), (2, 1, 5, 1)), ((1, 1, 1, 1), (2, 9, 3, 5)),
             ((2, 5, 3, 4), (2, 1, 3, 1)), ((1, 33, 17, 40), (1, 33, 17, 1)), ((1, 1, 1, 3), (1, 1, 1, 1))]
    large = [(2, 3, 5, 7)] * 4 + [(1, 40, 30, 70), (2, 9, 16, 10)]
    small = [(1, 1, 1, 1), (1, 3, 1, 7), (2, 1, 5, 1), (2, 3, 5, 1), (1, 1, 1, 70), (2, 1, 16, 1)]
    orders = [(0, 2, 3, 1), (0, 3, 1, 2), (0, 2, 1, 3), (3, 2, 1, 0), (1, 0, 3, 2), (3, 0, 1, 2), (2, 0, 3, 1)]

    groups = [((1, 1, 1, 4), 1, 0), ((2, 3, 5, 12), 4, 1), ((1, 9, 8, 15), 5, 2), ((2, 13, 11, 320), 32, 3), ((1, 3, 3, 6), 6, 4)]

    rows = [((1, 1, 3, 7), 0), ((2, 1, 5, 33), 1), ((1, 2, 3, 12), 2), ((1, 1, 77, 320), 3)]
    gates = [(1, 1, 1, 2), (2, 1, 5, 14), (1, 1, 77, 514)]

    def unary(f, name="x"):
        return [lambda d=d: f(pattern(name, *d)) for d in maps]

    def binary(f):
        return each(lambda a, b: f(pattern("a", *a), pattern("b", *b)), pairs)

    def on_x(f, dims):
        return [lambda d=d: f(pattern("x", *d)) for d in dims]

    return {
        "conv2d": each(conv2d, CONVOLUTIONS),
        "conv2d_dx": each(conv2d_gradient, [("x", *c) for c in CONVOLUTIONS]),
        "conv2d_dw": each(conv2d_gradient, [("w", *c) for c in CONVOLUTIONS]),
        "linear": each(linear, [((1, 1, 5, 7), (1, 1, 3, 7), True), ((2, 3, 5, 17), (33, 17, 1, 1), False),
                                ((2, 1, 77, 64), (1, 1, 48, 64), True)]),
        "matmul": each(matmul, [((2, 3, 5, 7), (2, 3, 7, 4), False, False), ((1, 2, 7, 5), (1, 2, 7, 4), True, False),
                                ((1, 1, 50, 33), (1, 1, 17, 33), False, True), ((2, 1, 9, 18), (2, 1, 20, 9), True, True)]),
        "attention": each(attention, ATTENTIONS),
        "attention_dx": each(attention_dx, [(wanted, k == 8, *ATTENTIONS[k % 6]) for k, wanted in enumerate((7, 7, 6, 1, 2, 7, 4, 5, 7))]),
        "add": binary(torch.add), "sub": binary(torch.sub), "mul": binary(torch.mul),
        "affine": [lambda k=k, d=d: (k - 1.5) * pattern("x", *d) + 0.25 * k for k, d in enumerate(maps)],
        "silu": unary(F.silu), "relu": unary(F.relu), "gelu": unary(F.gelu),
        "gelu_tanh": unary(lambda x: F.gelu(x, approximate="tanh")),
        "quick_gelu": unary(lambda x: x * torch.sigmoid(1.702 * x)),
        "sigmoid": unary(torch.sigmoid), "tanh": unary(torch.tanh), "exp": unary(torch.exp), "erf": unary(torch.erf),
        "step": unary(lambda x: (x > 0).double()), "rsqrt": unary(torch.rsqrt, "positive"),
        "geglu": on_x(geglu, gates), "geglu_dx": each(gradient, [(geglu, *d) for d in gates]),
        "group_norm": each(group_norm, groups), "group_norm_dx": each(group_norm_dx, groups),
        "layer_norm": each(layer_norm, rows), "layer_norm_dx": each(layer_norm_dx, rows),
        "silu_dx": each(gradient, [(F.silu, *d) for d in maps]),
        "relu_dx": [lambda d=d: pattern("dy", *d) * (pattern("of", *d) > 0) for d in maps],
        "softmax": on_x(lambda x: x.softmax(3), [(1, 1, 1, 1), (2, 1, 5, 14), (2, 3, 7, 77), (1, 4, 40, 129)]),
        "reshape": [lambda: pattern("x", 1, 2, 3, 1), lambda: pattern("x", 1, 1, 24, 5)],
        "excerpt": [lambda: pattern("x", 4), lambda: pattern("x", 118)[3:], lambda: pattern("x", 120)[100:]],
        "permute": [lambda k=k, p=p: pattern("x", *((2, 3, 17, 20) if k else (1, 35, 19, 33))).permute(p)
                    for k, p in enumerate(orders)],
        "concat": each(concat, [((2, 3, 4, 5), k, k - 1) for k in range(4)] + [((1, 20, 20, 30), 3, 3)]),
        "slice": each(slice_, [((3, 4, 5, 6), k, 1, k + 1) for k in range(4)] + [((1, 20, 20, 96), 3, 32, 64)]),
        "place": each(place, [((3, 4, 5, 6), k, k, 9 + k) for k in range(4)] + [((1, 20, 20, 64), 3, 32, 96)]),
        "sum_to": each(lambda a, b: pattern("x", *a).sum_to_size(b), zip(large, small)),
        "expand": each(lambda a, b: pattern("x", *b).expand(a), zip(large, small)),
        "upsample": each(lambda f, *d: hwc(F.interpolate(chw(pattern("x", *d)), scale_factor=f)),
                         [(2, 1, 1, 1, 1), (3, 2, 3, 5, 7), (2, 1, 9, 10, 64)]),
        "downsum": each(lambda f, *d: hwc(F.avg_pool2d(chw(pattern("x", *d)), f)) * f * f,
                        [(2, 1, 2, 2, 1), (3, 2, 6, 9, 7), (2, 1, 18, 20, 64)]),
        "maxpool": each(maxpool, POOLS), "maxpool_dx": each(maxpool_dx, POOLS),
        "gather": each(gather, [(5, 7, 2, 4), (2, 3, 1, 3)]),
        "scatter": each(scatter, [(5, 7, 2, 4), (2, 7, 1, 3)]),
    }


def make(out):
    arrays = {}
    for name, builders in cases().items():
        for k, build in enumerate(builders):
            flat = build().detach().contiguous().numpy().reshape(-1)
            arrays[f"{name}.{k}"] = flat[:: -(-len(flat) // LIMIT)].astype(np.float32)
    save_file(arrays, os.path.join(out, "ops.safetensors"),
              {"torch": torch.__version__, "numpy": np.__version__, "safetensors": safetensors.__version__})


if __name__ == "__main__":
    make(os.path.join(os.path.dirname(__file__), "../../tests/golden"))
