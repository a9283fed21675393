"""One measurement of peers.py, in a process of its own: `peers_work.py TASK`, TASK in JSON; prints the result as its last line, in JSON.

TASK: row, peer, model (a folder), size (of the picture), threads, calls, folder (for what can be kept), build (ours), out (an .npy file
for what was computed). Result: seconds (a list), cpu (processor seconds of all threads, likewise); or a list by row."""
import ctypes
import importlib.util
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
T = 499  # the time step of the UNet calls
STREAM = 16  # of a solver's random numbers in its first step
SIGMA, PROMPT = .1, "a photo of a cat"


def config(model, part):
    return json.loads((pathlib.Path(model) / part / "config.json").read_text())


def inputs(task):
    """The same numbers for everyone, as diffusers lays them out. SDXL's pooled text is the last of 78 rows, and zeros."""
    rng, unet, vae = np.random.default_rng(1), config(task["model"], "unet"), config(task["model"], "vae")
    side, c, d = task["size"] // 2 ** (len(vae["block_out_channels"]) - 1), unet["in_channels"], unet["cross_attention_dim"]
    normal = lambda *shape: rng.standard_normal(shape, np.float32)
    latent, text, cotangent, picture = normal(1, c, side, side), normal(1, 77, d), normal(1, c, side, side), normal(1, 3, task["size"], task["size"])
    if unet.get("addition_embed_type"):
        pooled = np.zeros((1, 1, d), np.float32)
        pooled[..., :1280] = normal(1, 1, 1280)
        text = np.concatenate([text, pooled], 1)
    return {"unet": (latent, text), "unet-xl": (latent, text), "by-text": (latent, text, cotangent), "decode": (latent,),
            "encode": (np.clip(picture / 2, -1, 1),)}[task["row"]]


def timed(call, calls, sync=lambda out: out):
    """One call to warm up, then the seconds of each."""
    out, seconds, cpu = sync(call()), [], []
    for _ in range(calls):
        wall, processor = time.perf_counter(), time.process_time()
        out = sync(call())
        seconds.append(time.perf_counter() - wall)
        cpu.append(time.process_time() - processor)
    return out, {"seconds": seconds, "cpu": cpu}


# ---- Ours ----

class Options(ctypes.Structure):  # ltn_options; what the library adds to its end is zero
    _fields_ = [("device", ctypes.c_char_p), ("threads", ctypes.c_int), ("more", ctypes.c_void_p * 16)]


class Array(ctypes.Structure):  # ltn_array
    _fields_ = [("rank", ctypes.c_int), ("dim", ctypes.c_int64 * 8), ("data", ctypes.POINTER(ctypes.c_float))]


def as_array(x):
    return Array(x.ndim, (ctypes.c_int64 * 8)(*x.shape), x.ctypes.data_as(ctypes.POINTER(ctypes.c_float)))


def ours(task):
    if task["row"] == "by-text":
        return ours_by_text(task)
    lib = ctypes.CDLL(str(pathlib.Path(task["build"]) / "liblatino.so"))
    lib.ltn_error.restype = ctypes.c_char_p
    lib.ltn_model_unet.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_double, ctypes.c_void_p, ctypes.c_void_p]
    ctx, model, out = ctypes.c_void_p(), ctypes.c_void_p(), Array()

    def check(status):
        if status:
            sys.exit(lib.ltn_error(ctx).decode())

    check(lib.ltn_open(ctypes.byref(ctx), ctypes.byref(Options(None, task["threads"]))))
    check(lib.ltn_model_open(ctx, str(task["model"]).encode(), ctypes.byref(model)))
    arrays = inputs(task)
    x = [ctypes.byref(as_array(a)) for a in arrays]

    def call():
        lib.ltn_array_free(ctx, ctypes.byref(out))
        if len(x) == 2:
            check(lib.ltn_model_unet(model, x[0], T, x[1], ctypes.byref(out)))
        else:
            check(getattr(lib, "ltn_model_" + task["row"])(model, x[0], ctypes.byref(out)))

    _, result = timed(call, task["calls"])
    np.save(task["out"], np.ctypeslib.as_array(out.data, tuple(out.dim[:out.rank])))
    return result


def ours_by_text(task):
    names = []
    for name, a in zip(("sample", "text", "cotangent"), inputs(task)):
        names.append(os.path.join(task["folder"], f"by-text-{name}.npy"))
        np.save(names[-1], a)
    program = pathlib.Path(task["build"]) / "bench/by_text"
    out = subprocess.run([program, task["model"], str(task["threads"]), str(task["calls"]), str(T), *names, task["out"]],
                         check=True, stdout=subprocess.PIPE).stdout
    halves = json.loads(out)["seconds"]
    return {"seconds": [a + b for a, b in halves], "back": [b for _, b in halves]}


# ---- PyTorch ----

def torch_part(task, dtype=None):
    """The part as a module of its inputs alone."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    dtype = dtype or torch.float32

    class UNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = UNet2DConditionModel.from_pretrained(task["model"], subfolder="unet", torch_dtype=dtype)

        def forward(self, sample, text):
            more = None
            if text.shape[1] == 78:
                side = torch.tensor([[task["size"]] * 2 + [0] * 2 + [task["size"]] * 2], dtype=text.dtype)
                more, text = {"text_embeds": text[:, 77, :1280], "time_ids": side}, text[:, :77]
            return self.net(sample, torch.tensor([T]), text, added_cond_kwargs=more, return_dict=False)[0]

    class Autoencoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = AutoencoderKL.from_pretrained(task["model"], subfolder="vae", torch_dtype=dtype)
            self.scale = self.net.config.scaling_factor

        def forward(self, x):
            if task["row"] == "decode":
                return self.net.decode(x / self.scale, return_dict=False)[0]
            return self.net.encode(x).latent_dist.mean * self.scale

    part = (Autoencoder if task["row"] in ("decode", "encode") else UNet)().eval().requires_grad_(False)
    return part, tuple(torch.from_numpy(a).to(dtype) for a in inputs(task))


def torch_call(task):
    import torch
    torch.set_num_threads(task["threads"])
    if task["row"] in RESTORATIONS:
        return torch_restore(task)
    setting = task["peer"].removeprefix("torch ")
    part, x = torch_part(task, torch.bfloat16 if setting == "bf16" else torch.float32)
    if setting == "channels_last":
        part = part.to(memory_format=torch.channels_last)
        x = tuple(a.contiguous(memory_format=torch.channels_last) if a.ndim == 4 else a for a in x)
    if setting == "compile":
        import torch._inductor.config
        torch._inductor.config.freezing = True
        part = torch.compile(part)
    if task["row"] == "by-text":
        return torch_by_text(task, part, *x)
    with torch.no_grad():
        out, result = timed(lambda: part(*x), task["calls"])
    np.save(task["out"], out.float().numpy())
    return result


def torch_by_text(task, part, sample, text, cotangent):
    import torch
    back = []

    def call():
        c = text.clone().requires_grad_()
        out = part(sample, c)
        start = time.perf_counter()
        (grad,) = torch.autograd.grad(out, c, cotangent)
        back.append(time.perf_counter() - start)
        return grad

    out, result = timed(call, task["calls"])
    np.save(task["out"], out.float().numpy())
    return result | {"back": back[1:]}


# ---- Whole restorations by a PyTorch script of the same steps ----

def golden():
    spec = importlib.util.spec_from_file_location("latino", ROOT / "tools/golden/latino.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_prior(L, model, channels_last):
    import torch
    import diffusers
    from transformers import CLIPTextModel

    class Prior(L.Prior):
        """latino.py's with either autoencoder and prediction; the UNet on overlapping windows of its training size, at most 8 at a
        time, blended by tents."""
        def __init__(self):
            kind = getattr(diffusers, config(model, "vae")["_class_name"])
            self.vae = kind.from_pretrained(model / "vae", torch_dtype=torch.float32).eval()
            self.unet = diffusers.UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.float32).eval()
            self.text = CLIPTextModel.from_pretrained(model / "text_encoder", torch_dtype=torch.float32).eval()
            if channels_last:
                self.vae.to(memory_format=torch.channels_last)
                self.unet.to(memory_format=torch.channels_last)
            self.scale, self.window = self.vae.config.scaling_factor, self.unet.config.sample_size
            self.epsilon = json.loads((model / "scheduler/scheduler_config.json").read_text())["prediction_type"] == "epsilon"
            self.ab = torch.cumprod(1 - torch.linspace(.00085 ** .5, .012 ** .5, 1000, dtype=torch.float64) ** 2, 0)
            self.vocab = json.loads((model / "tokenizer/vocab.json").read_text())
            lines = (model / "tokenizer/merges.txt").read_text().split("\n")[1:]
            self.rank = {tuple(line.split()): i for i, line in enumerate(lines) if line}
            if (model / "latino.json").exists():
                self.table = json.loads((model / "latino.json").read_text())

        def E(self, x):
            out = self.vae.encode(x)
            return (out.latents if hasattr(out, "latents") else out.latent_dist.mean) * self.scale

        def starts(self, n):
            count = max(-(-(n - self.window) // (self.window * 3 // 4)), 0) + 1
            return [0] if count == 1 else [(k * (n - self.window) + (count - 1) // 2) // (count - 1) for k in range(count)]

        def predict(self, z, t, c):
            if not self.epsilon:
                return super().f(z, t, c)
            x0 = (z - (1 - self.a(t)) ** .5 * self.unet(z, torch.tensor([t]), c).sample) / self.a(t) ** .5
            s = 10. * t
            return .25 / (s * s + .25) * z + s / (s * s + .25) ** .5 * x0

        def f(self, z, t, c):
            n, (ys, xs) = self.window, map(self.starts, z.shape[2:])
            at = [(i, j) for i in ys for j in xs]
            if len(at) == 1:
                return self.predict(z, t, c)
            ramp = torch.arange(n).minimum(n - 1 - torch.arange(n)).float() + 1
            flat = torch.ones(n)
            w = (ramp if len(ys) > 1 else flat)[:, None] * (ramp if len(xs) > 1 else flat)[None, :]
            out, total = torch.zeros_like(z), torch.zeros(z.shape[2:])
            batch = -(-len(at) // -(-len(at) // 8))
            for k in range(0, len(at), batch):
                part = at[k:k + batch]
                p = self.predict(torch.cat([z[:, :, i:i + n, j:j + n] for i, j in part]), t, c.expand(len(part), -1, -1))
                for (i, j), v in zip(part, p):
                    out[0, :, i:i + n, j:j + n] += w * v
                    total[i:i + n, j:j + n] += w
            return out / total

    return Prior()


def denoise_paper(L, y, sigma, c, p, seed):
    """LATINO with the discrepancy rule for A = 1: |x - y| = sigma sqrt(m) gives x = y + s (u - y) at once."""
    x = y.clamp(-1, 1)
    for k, t in enumerate(L.TIMES):
        clean = p.E(x)
        _, n, h, w = clean.shape
        eps = L.normals(seed, STREAM + k, 1, h, w, n).permute(0, 3, 1, 2)  # drawn channels last
        z = p.a(t) ** .5 * clean + (1 - p.a(t)) ** .5 * eps
        u = p.D(p.f(z, t, c))
        x = y + min(1, sigma * (y.numel() / L.sq(u - y)) ** .5) * (u - y)
    return x


def denoise_matched(L, y, sigma, c, p, seed):
    probes = L.normals(seed, L.PROBE, *y.shape), L.normals(seed, L.PROBE + 1, *y.shape)
    return L.latino_matched(y, L.Identity(), sigma, c, p, L.Matched(y, L.Identity(), sigma, p, *probes))


RESTORATIONS = {"latino": denoise_paper, "latino-taesd": denoise_paper, "small": denoise_matched, "small-photo": denoise_matched}


def torch_restore(task):
    """Start-up is everything before the loop, from the start of the process; small models' loop is taken warm."""
    import torch
    L = golden()
    p = make_prior(L, pathlib.Path(task["model"]), "channels_last" in task["peer"])
    y = torch.from_numpy(2 * np.load(task["noisy"]) - 1)[None]
    if "channels_last" in task["peer"]:
        y = y.contiguous(memory_format=torch.channels_last)
    before = time.time() - task["started"]
    loop = RESTORATIONS[task["row"]]
    with torch.no_grad():
        for _ in range(2 if task["row"] == "small" else 1):
            start, processor = time.perf_counter(), time.process_time()
            x = loop(L, y, 2 * SIGMA, p.embed(PROMPT), p, task["seed"])
            np.save(task["out"], ((x + 1) / 2)[0].contiguous().numpy())
            seconds, cpu = time.perf_counter() - start, time.process_time() - processor
    return {"seconds": [before + seconds], "cpu": [cpu], "loop": [seconds]}


# ---- ONNX Runtime, OpenVINO: each is given the network once, by a process whose memory does not count ----

def converted(task):
    kind = "openvino.xml" if "openvino" in task["peer"] else "model.onnx"
    return pathlib.Path(task["folder"]) / f"{pathlib.Path(task['model']).name}-{task['row']}-{task['size']}" / kind


def convert(task):
    path = converted(task)
    if path.exists():
        return {}
    import torch
    path.parent.mkdir(exist_ok=True)  # large weights are written beside it
    part, x = torch_part(task)
    with torch.no_grad():
        if path.suffix == ".xml":
            import openvino
            model = openvino.convert_model(part, example_input=x, input=[a.shape for a in x])
            openvino.save_model(model, path, compress_to_fp16=False)
        else:
            torch.onnx.export(part, x, str(path), input_names=["x", "text"][:len(x)], output_names=["y"], opset_version=17, dynamo=False)
    return {}


def onnxruntime_call(task):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = task["threads"], 1
    session = onnxruntime.InferenceSession(converted(task), options, providers=["CPUExecutionProvider"])
    feed = {i.name: a for i, a in zip(session.get_inputs(), inputs(task))}
    out, result = timed(lambda: session.run(None, feed)[0], task["calls"])
    np.save(task["out"], out)
    return result


def openvino_call(task):
    import openvino
    compiled = openvino.Core().compile_model(converted(task), "CPU", {
        "INFERENCE_PRECISION_HINT": task["peer"].removeprefix("openvino "), "INFERENCE_NUM_THREADS": task["threads"],
        "PERFORMANCE_HINT": "LATENCY"})
    x = inputs(task)
    out, result = timed(lambda: compiled(x)[0], task["calls"])
    np.save(task["out"], out)
    return result


# ---- stable-diffusion.cpp: one picture to picture run of one step times all three parts, by its log ----

def sdcpp(task):
    import contextlib
    from PIL import Image
    from stable_diffusion_cpp import StableDiffusion
    _, weights, *direct = task["peer"].split()
    log = io.StringIO()
    noise = np.random.default_rng(1).integers(0, 256, (task["size"], task["size"], 3), np.uint8)
    with contextlib.redirect_stderr(log), contextlib.suppress(ValueError):  # no picture: the log says why
        sd = StableDiffusion(model_path=str(task["model"]), n_threads=task["threads"], wtype=weights, vae_decode_only=False,
                             diffusion_conv_direct=bool(direct), vae_conv_direct=bool(direct), verbose=True)
        sd.generate_image(prompt=PROMPT, init_image=Image.fromarray(noise), strength=1., width=task["size"], height=task["size"],
                          sample_steps=1, cfg_scale=1., sample_method="euler", seed=1)
    log = log.getvalue()
    print(log, file=sys.stderr)
    found = {row: re.search(name + r" completed, taking ([\d.]+)s", log)
             for row, name in (("unet", "sampling"), ("decode", "decode_first_stage"), ("encode", "encode_first_stage"))}
    if not all(found.values()):
        sys.exit("no picture")
    return {"rows": {row: {"seconds": [float(m[1])]} for row, m in found.items()}}


CALL = {"ours": ours, "torch": torch_call, "onnxruntime": onnxruntime_call, "openvino": openvino_call, "sd.cpp": sdcpp}


def main():
    task = json.loads(sys.argv[1])
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    os.write(answer, json.dumps((convert if task.get("convert") else CALL[task["peer"].split()[0]])(task)).encode())


if __name__ == "__main__":
    main()
