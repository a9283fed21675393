"""A model of full size beside diffusers and transformers in f32: python bench/full_size.py BUILD MODEL [--unet FILE] [PART ...]

MODEL is a diffusers folder of SD1.5's, SD2's or SDXL's kind; random weights will do. --unet: a file of the UNet's weights alone
under diffusers' names, as torch.save writes it (DMD2), in the place of the folder's. Every part (text, unet, encode, decode,
latino) runs in two processes, one after the other, so that each one's memory is its own; printed are the relative L2 distance,
for latino the mean difference of the restored pictures in units of 1/255, and what each process held at most.
Needs torch, diffusers, transformers; tests do not run it."""
import argparse
import ctypes
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve()
T, SEED, SIGMA = 499, 7, .1
PROMPT = "a photo of a cat in the snow, 35mm"
PARTS = ["text", "unet", "encode", "decode", "latino"]
SOLVER = "latino:rule=discrepancy,start=adjoint,times=999/874/749/624/499/374/249/124"


def peers_work():
    spec = importlib.util.spec_from_file_location("peers_work", HERE.with_name("peers_work.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("parts", nargs="*", default=PARTS, metavar="PART")
    p.add_argument("--unet")
    p.add_argument("--size", type=int, help="of the picture; without it the model's own")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("full-size"), help="for the arrays in between")
    p.add_argument("--work", choices=["ours", "torch"], help=argparse.SUPPRESS)
    o = p.parse_args()
    o.config = json.loads((o.model / "unet/config.json").read_text())
    o.xl = bool(o.config.get("addition_embed_type"))
    o.size = o.size or 8 * o.config["sample_size"]
    return o


def inputs(o, part):
    rng, side, d = np.random.default_rng(1), o.size // 8, o.config["cross_attention_dim"]
    normal = lambda *shape: rng.standard_normal(shape, np.float32)
    text = normal(1, 77, d)
    if o.xl:
        pooled = np.zeros((1, 1, d), np.float32)
        pooled[..., :1280] = normal(1, 1, 1280)
        text = np.concatenate([text, pooled], 1)
    return {"unet": (normal(1, 4, side, side), text), "encode": (np.clip(normal(1, 3, o.size, o.size) / 2, -1, 1),),
            "decode": (normal(1, 4, side, side),), "text": ()}[part]


def noisy(o):
    """A measurement (c, h, w) in [0, 1]: a photograph that comes with the tests, and noise."""
    path = o.folder / f"noisy-{o.size}.npy"
    if not path.exists():
        from PIL import Image
        x = Image.open(HERE.parents[1] / "tests/golden/cat128.png").convert("RGB").resize((o.size, o.size), Image.BICUBIC)
        x = np.asarray(x) / 255
        np.save(path, (x + SIGMA * np.random.default_rng(0).standard_normal(x.shape)).transpose(2, 0, 1).astype(np.float32))
    return path


# ---- Ours ----

class ModelOptions(ctypes.Structure):  # ltn_model_options
    _fields_ = [(k, ctypes.c_char_p) for k in ("unet", "vae", "tokenizer", "prediction")] + \
               [("lora", ctypes.c_void_p), ("loras", ctypes.c_int), ("more", ctypes.c_void_p * 16)]


def ours(o, part):
    w = peers_work()
    if part == "latino":
        command = [o.build / "cmd/latino", "restore", noisy(o), "-o", o.folder / "latino-ours.npy", "--degradation", "identity",
                   "--sigma", SIGMA, "--model", o.model, "--threads", o.threads, "--seed", SEED, "--prompt", w.PROMPT,
                   "--solver", SOLVER] + (["--unet", o.unet] if o.unet else [])
        os.execv(command[0], [str(c) for c in command])
    lib = ctypes.CDLL(str(o.build / "liblatino.so"))
    lib.ltn_error.restype = ctypes.c_char_p
    lib.ltn_model_unet.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_double, ctypes.c_void_p, ctypes.c_void_p]
    ctx, model, out = ctypes.c_void_p(), ctypes.c_void_p(), w.Array()

    def check(status):
        if status:
            sys.exit(lib.ltn_error(ctx).decode())

    check(lib.ltn_open(ctypes.byref(ctx), ctypes.byref(w.Options(None, o.threads))))
    more = ModelOptions(o.unet.encode() if o.unet else None)
    check(lib.ltn_model_open_with(ctx, str(o.model).encode(), ctypes.byref(more), ctypes.byref(model)))
    arrays = inputs(o, part)  # kept while their addresses are
    x = [ctypes.byref(w.as_array(a)) for a in arrays]
    start = time.time()
    if part == "text":
        check(lib.ltn_model_text(model, PROMPT.encode(), ctypes.byref(out)))
    elif part == "unet":
        check(lib.ltn_model_unet(model, x[0], T, x[1], ctypes.byref(out)))
    else:
        check(getattr(lib, "ltn_model_" + part)(model, x[0], ctypes.byref(out)))
    print(f"  ours: {time.time() - start:.1f} s", file=sys.stderr)
    np.save(o.folder / f"{part}-ours.npy", np.ctypeslib.as_array(out.data, tuple(out.dim[:out.rank])))


# ---- Theirs ----

def torch_text(o):
    import torch
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
    ids = lambda k: CLIPTokenizer.from_pretrained(o.model, subfolder="tokenizer" + k)(
        PROMPT, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    one = CLIPTextModel.from_pretrained(o.model, subfolder="text_encoder", dtype=torch.float32).eval()
    if not o.xl:
        return one(ids("")).last_hidden_state
    first = one(ids(""), output_hidden_states=True).hidden_states[-2]
    two = CLIPTextModelWithProjection.from_pretrained(o.model, subfolder="text_encoder_2", dtype=torch.float32).eval()
    second = two(ids("_2"), output_hidden_states=True)
    hidden = torch.cat([first, second.hidden_states[-2]], 2)
    pooled = torch.nn.functional.pad(second.text_embeds, (0, hidden.shape[2] - second.text_embeds.shape[1]))
    return torch.cat([hidden, pooled[:, None]], 1)


def torch_unet(o, sample, text):
    import torch
    from diffusers import UNet2DConditionModel
    if o.unet:
        with torch.device("meta"):
            net = UNet2DConditionModel.from_config(o.config)
        weights = torch.load(o.unet, map_location="cpu", mmap=True, weights_only=True)
        net.load_state_dict({k: v.float() for k, v in weights.items()}, assign=True)
    else:
        net = UNet2DConditionModel.from_pretrained(o.model, subfolder="unet", torch_dtype=torch.float32)
    more = None
    if o.xl:
        more = {"text_embeds": text[:, 77, :1280], "time_ids": torch.tensor([[o.size] * 2 + [0] * 2 + [o.size] * 2], dtype=torch.float32)}
        text = text[:, :77]
    return net.eval()(sample, torch.tensor([T]), text, added_cond_kwargs=more).sample


def torch_coder(o, part, x):
    import torch
    from diffusers import AutoencoderKL
    net = AutoencoderKL.from_pretrained(o.model, subfolder="vae", torch_dtype=torch.float32).eval()
    scale = net.config.scaling_factor
    return net.decode(x / scale).sample if part == "decode" else net.encode(x).latent_dist.mean * scale


def theirs(o, part):
    import torch
    torch.set_num_threads(o.threads)
    out, start = o.folder / f"{part}-torch.npy", time.time()
    if part == "latino":
        peers_work().torch_restore({"model": o.model, "peer": "torch f32", "row": "latino", "noisy": noisy(o), "seed": SEED, "out": out,
                                    "started": start})
        return
    x = [torch.from_numpy(a) for a in inputs(o, part)]
    with torch.no_grad():
        y = torch_text(o) if part == "text" else torch_unet(o, *x) if part == "unet" else torch_coder(o, part, *x)
    print(f"  torch: {time.time() - start:.1f} s", file=sys.stderr)
    np.save(out, y.numpy())


# ---- Both ----

def compare(o, part):
    peak = []
    for who in ("ours", "torch"):
        command = [sys.executable, HERE, o.build, o.model, part, "--work", who, "--size", o.size, "--threads", o.threads, "--folder", o.folder]
        p = subprocess.Popen([str(c) for c in command + (["--unet", o.unet] if o.unet else [])])
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = status
        if status:
            sys.exit(f"{part}, {who}: failed")
        peak.append(usage.ru_maxrss / 2 ** 20)
    x, r = (np.load(o.folder / f"{part}-{who}.npy").astype(np.float64) for who in ("ours", "torch"))
    if part == "latino":
        e = f"mean difference {255 * np.abs(x.clip(0, 1) - r.clip(0, 1)).mean():.4f} / 255"
    else:
        e = f"relative L2 {np.linalg.norm(x - r) / np.linalg.norm(r):.2e}"
    print(f"{part}, {o.size} x {o.size}: {e}; {peak[0]:.2f} GB, PyTorch {peak[1]:.2f} GB", flush=True)


def main():
    o = options()
    o.folder.mkdir(parents=True, exist_ok=True)
    for part in o.parts:
        compare(o, part) if not o.work else ours(o, part) if o.work == "ours" else theirs(o, part)


main()
