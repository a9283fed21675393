"""Weight files as torch writes them, of both kinds, and what a weight file should never be; each with the same
tensors in safetensors where they can be read. Writes files into tests/golden/file, pickle_*.pth."""
import collections
import os
import pickle
import zipfile


class Call:
    def __reduce__(self):
        return os.system, ("true",)


def make(out):
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    g = torch.Generator().manual_seed(5)
    folder = os.path.join(out, "file")

    def normal(*shape):
        return torch.randn(*shape, generator=g)

    shared = normal(40)
    state = collections.OrderedDict([
        ("conv.weight", normal(4, 3, 2, 2)),
        ("conv.half", normal(5).half()),
        ("conv.bfloat", normal(2, 3).bfloat16()),
        ("double", normal(3).double()),
        ("scalar", torch.tensor(2.5)),
        ("count", torch.tensor(7)),  # int64: no weight
        ("flag", torch.tensor([True, False])),
        ("turned", normal(4, 5).t()),
        ("last", normal(2, 3, 4, 5).to(memory_format=torch.channels_last)),
        ("part", shared[8:20].view(3, 4)),
        ("whole", shared),
        ("same", shared),
        ("spread", normal(1, 3).expand(1, 3)),
        ("parameter", torch.nn.Parameter(normal(2, 2))),
    ])
    nested = {"epoch": 3, "rate": 0.5, "note": "a\nb", "list": [1, normal(2)], "none": None,
              "model": state, "ema": {"deep": {1: normal(3)}}}

    def flat(d, prefix=""):
        for k, v in d.items():
            if isinstance(v, dict):
                yield from flat(v, f"{prefix}{k}.")
            elif isinstance(v, torch.Tensor) and v.is_floating_point():
                yield f"{prefix}{k}", v.detach().clone(memory_format=torch.contiguous_format)

    for name, what in [("plain", state), ("nested", nested)]:
        save_file(dict(flat(what)), os.path.join(folder, f"pickle_{name}.safetensors"), metadata={"torch": torch.__version__})
        for zipped in [False, True]:
            torch.save(what, os.path.join(folder, f"pickle_{name}_{'new' if zipped else 'old'}.pth"),
                       _use_new_zipfile_serialization=zipped)
    torch.save(state, os.path.join(folder, "pickle_protocol4.pth"), pickle_protocol=4)
    torch.save({"x": Call()}, os.path.join(folder, "pickle_call.pth"), _use_new_zipfile_serialization=False)
    torch.save([normal(2)], os.path.join(folder, "pickle_list.pth"))
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {"moment": normal(2)}}, os.path.join(folder, "pickle_training.ckpt"))
    with zipfile.ZipFile(os.path.join(folder, "pickle_packed.pth"), "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("x/data.pkl", pickle.dumps({}, 2) * 20)
    with zipfile.ZipFile(os.path.join(folder, "pickle_other.pth"), "w") as z:
        z.writestr("x/readme.txt", "no weights here")
