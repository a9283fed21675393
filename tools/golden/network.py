"""LPIPS and FID with networks of a formula: AlexNet and VGG16 of few channels, and AlexNet in full with the heads that
were learned (../shared/data/lpips/alex.pth). Weights and pictures are value(seed, i) here and in tests/test_network.c;
the oracle is PyTorch with torchmetrics' parts. Writes network.safetensors."""
import os

import numpy as np

KERNELS = {"alex": [(0, 11), (3, 5), (6, 3), (8, 3), (10, 3)],
           "vgg": [(i, 3) for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]}
WIDTHS = {"alex": [8, 12, 16, 10, 6], "vgg": [4, 4, 6, 6, 8, 8, 8, 8, 8, 8, 6, 6, 6]}
FULL = [64, 192, 384, 256, 256]


def value(seed, n):
    i = np.arange(n, dtype=np.float64)
    return np.sin(0.37 * (i * i) + seed)


def make(out):
    import torch
    import torchmetrics
    from safetensors.torch import save_file
    from torch import nn
    from torchmetrics.functional.image.lpips import NetLinLayer, ScalingLayer, _normalize_tensor, _spatial_average
    from torchmetrics.image.fid import _compute_fid

    torch.set_num_threads(1)

    def tensor(seed, *shape):
        return torch.from_numpy(value(seed, int(np.prod(shape))).astype(np.float32).astype(np.float64)).reshape(shape)

    def alexnet(c):
        return nn.Sequential(nn.Conv2d(3, c[0], 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(c[0], c[1], 5, 1, 2),
                             nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(c[1], c[2], 3, 1, 1), nn.ReLU(),
                             nn.Conv2d(c[2], c[3], 3, 1, 1), nn.ReLU(), nn.Conv2d(c[3], c[4], 3, 1, 1), nn.ReLU()), \
            (1, 4, 7, 9, 11)

    def vgg16(c):
        layers, before, k = [], 3, 0
        for count in (2, 2, 3, 3, 3):
            for _ in range(count):
                layers += [nn.Conv2d(before, c[k], 3, 1, 1), nn.ReLU()]
                before, k = c[k], k + 1
            layers.append(nn.MaxPool2d(2, 2))
        return nn.Sequential(*layers[:-1]), (3, 8, 15, 22, 29)

    def network(name, widths):
        net, taps = (alexnet if name == "alex" else vgg16)(widths)
        net = net.double()
        for index, kernel in KERNELS[name]:
            w = net[index].weight
            scale = np.float32(2 / np.sqrt(w[0].numel()))
            w.data = (tensor(index, *w.shape).float() * scale).double()
            net[index].bias.data = (tensor(index + 50, len(w)).float() * np.float32(0.1)).double()

        def maps(x):
            found = []
            for k, layer in enumerate(net):
                x = layer(x)
                if k in taps:
                    found.append(x)
            return found
        return maps

    def picture(seed, h, w):
        return (tensor(seed, 1, 3, h, w).float() * np.float32(0.5) + np.float32(0.5)).double()

    def lpips(maps, heads, a, b):
        prepare = ScalingLayer().double()
        total = 0
        for fa, fb, head in zip(maps(prepare(2 * a - 1)), maps(prepare(2 * b - 1)), heads):
            layer = NetLinLayer(head.shape[1]).double()
            layer.model[-1].weight.data = head.double()
            total = total + _spatial_average(layer((_normalize_tensor(fa) - _normalize_tensor(fb)) ** 2))
        return total.detach().reshape(1).double()

    results = {}
    for name, (h, w) in [("alex", (47, 40)), ("vgg", (24, 21))]:
        maps = network(name, WIDTHS[name])
        channels = [m.shape[1] for m in maps(picture(1, h, w))]
        heads = [(tensor(k + 80, 1, c, 1, 1).abs().float()).double() for k, c in enumerate(channels)]
        results[f"lpips.{name}"] = lpips(maps, heads, picture(1, h, w), picture(2, h, w))
    full = torch.load(os.path.join(os.path.dirname(__file__), "../../../shared/data/lpips/alex.pth"), map_location="cpu")
    results["lpips.full"] = lpips(network("alex", FULL), [full[f"lin{k}.model.1.weight"] for k in range(5)],
                                  picture(1, 47, 40), picture(2, 47, 40))
    maps, normalise = network("alex", WIDTHS["alex"]), ScalingLayer().double()
    for layer, counts in [(5, (14, 20)), (2, (5, 8))]:  # fewer pictures than features, too
        sets = []
        for s, count in enumerate(counts):
            f = torch.cat([maps(normalise(2 * picture(100 * (s + 1) + k, 47, 40) - 1))[layer - 1].mean((2, 3)) for k in range(count)])
            sets.append((f.mean(0).detach(), torch.cov(f.T.detach())))
        results[f"fid.{layer}"] = _compute_fid(*sets[0], *sets[1]).reshape(1).double()
    save_file(results, os.path.join(out, "network.safetensors"),
              metadata={"torch": torch.__version__, "torchmetrics": torchmetrics.__version__})
