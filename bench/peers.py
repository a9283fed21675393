#!/usr/bin/env python3
"""Ours beside its peers, in turn, on the same threads and the same random weights; prints Markdown tables.

peers.py BUILD [ROW]... [--folder F] [--venv V] [--model NAME=DIR]... [--size N] [--threads 2] [--rounds N] [--calls 2] [--only PEER,...]

BUILD is a build folder of latino. Without ROW all rows that have a ratio to reach are run, see ROWS. F keeps the virtual environment
(unless V is given), random models (made by ../shared/tools/make_random_sd.py), what the peers convert, and results.json: an
interrupted run goes on where it stopped; remove the file to measure anew. Each measurement is a process (peers_work.py): a call to
warm up, then CALLS calls. Peers take turns, ROUNDS times; one that is wrong, or 1.5 times as slow as the fastest, has a single turn.
Seconds are medians of the calls; errors are relative L2 distances from what PyTorch computes in f32; memory is the largest resident
set of the process."""
import argparse
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ["torch", "diffusers", "transformers", "safetensors", "numpy", "pillow", "onnx", "onnxruntime", "openvino",
            "stable-diffusion-cpp-python"]
TORCH = ["torch f32", "torch channels_last"]
PARTS = TORCH + ["torch compile", "torch bf16", "onnxruntime f32", "openvino f32", "openvino bf16", "sd.cpp f16"]
# name: what, model, size of the picture, peers, rounds, the ratio to reach
ROWS = {
    "unet": ("UNet call", "sd15", 512, PARTS, 2, .6),
    "decode": ("VAE decode", "sd15", 512, PARTS, 2, .5),
    "encode": ("VAE encode", "sd15", 512, PARTS, 2, .5),
    "by-text": ("UNet, and its gradient by the text", "sd15", 512, TORCH, 1, .6),
    "latino": ("LATINO, 8 steps, whole command", "sd15", 512, TORCH, 1, .5),
    "latino-taesd": ("the same with TAESD's autoencoder", "sd15-taesd", 512, TORCH, 1, .6),
    "small": ("small prior, whole command", "prior", 128, TORCH, 3, .15),
    "small-photo": ("small prior, 1024 x 768, whole command", "prior", 1024, TORCH, 1, None),
    "unet-xl": ("SDXL's UNet call", "sdxl", 1024, ["torch f32"], 1, .6),
}
COMMAND = {"latino": "latino:rule=discrepancy,start=adjoint,times=999/874/749/624/499/374/249/124", "small": "latino"}
SEED, BOUND, LIMIT = 7, 1e-3, 1500  # LIMIT: seconds of one measurement; torch.compile has 300


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("rows", nargs="*", default=[r for r in ROWS if ROWS[r][5]], metavar="ROW")
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    p.add_argument("--folder", type=pathlib.Path, default=pathlib.Path(cache) / "latino-peers")
    p.add_argument("--venv", type=pathlib.Path)
    p.add_argument("--model", action="append", default=[], metavar="NAME=DIR", help="sd15=DIR: this folder in place of a random one")
    p.add_argument("--size", type=int, help="of the picture, in place of each row's own")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, help="in place of each row's own")
    p.add_argument("--calls", type=int, default=2)
    p.add_argument("--only", help="these peers alone, separated by commas; ours always runs")
    o = p.parse_args()
    if wrong := set(o.rows) - set(ROWS):
        p.error(f"no row {wrong.pop()}; there are {', '.join(ROWS)}")
    o.folder, o.build = o.folder.resolve(), o.build.resolve()
    o.venv = (o.venv or o.folder / "venv").resolve()
    o.models = dict(m.split("=", 1) for m in o.model)
    return o


def install(o):
    """Go on inside the virtual environment, which is made when it is missing."""
    python = o.venv / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", o.venv], check=True)
    if not (o.venv / "latino-peers").exists():
        env = os.environ | {"CMAKE_ARGS": "-DGGML_NATIVE=ON", "CMAKE_BUILD_PARALLEL_LEVEL": "1"}
        subprocess.run([python, "-m", "pip", "install", *PACKAGES], env=env, check=True)
        (o.venv / "latino-peers").touch()
    if pathlib.Path(sys.prefix).resolve() != o.venv:
        os.execv(python, [python, __file__, *sys.argv[1:]])


# ---- Models ----

def random_taesd(folder):
    """TAESD's shape; weights of variance 2 / fan-in keep the values of its relu layers in their range."""
    code = ("import sys, torch, diffusers; torch.manual_seed(0); m = diffusers.AutoencoderTiny()\n"
            "for p in m.parameters():\n"
            "    torch.nn.init.kaiming_normal_(p) if p.ndim == 4 else torch.nn.init.zeros_(p)\n"
            "    p.data *= .5 if p.ndim == 4 and p.shape[2] == 3 else 1\n"
            "m.save_pretrained(sys.argv[1])")
    subprocess.run([sys.executable, "-c", code, folder], check=True)


def model(o, name):
    folder = pathlib.Path(o.models.get(name, ROOT / "models/prior" if name == "prior" else o.folder / name)).resolve()
    if (folder / "model_index.json").exists():
        return folder
    if name == "sd15-taesd":
        base = model(o, "sd15")
        folder.mkdir(parents=True)
        for part in ("unet", "text_encoder", "tokenizer", "scheduler"):
            (folder / part).symlink_to(base / part)
        random_taesd(folder / "vae")
        index = json.loads((base / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps(index | {"vae": ["diffusers", "AutoencoderTiny"]}))
    else:
        subprocess.run([sys.executable, ROOT.parent / "shared/tools/make_random_sd.py", name, folder], check=True)
        for tokenizer in ("tokenizer", "tokenizer_2")[:1 + (name == "sdxl")]:
            shutil.copytree(ROOT / "models/prior/tokenizer", folder / tokenizer)
    return folder


def noisy_picture(o, row, size):
    import numpy as np
    from PIL import Image
    height = size * 3 // 4 if row == "small-photo" else size
    path = o.folder / f"noisy-{size}x{height}.npy"
    if not path.exists():
        x = np.asarray(Image.open(ROOT / "tests/golden/cat128.png").convert("RGB").resize((size, height), Image.BICUBIC)) / 255
        np.save(path, (x + .1 * np.random.default_rng(0).standard_normal(x.shape)).transpose(2, 0, 1).astype(np.float32))
    return path


# ---- Measuring ----

class Failed(Exception):
    pass


def run_process(command, limit, log):
    """Standard output, wall seconds, peak resident MB."""
    start = time.time()
    with open(log, "w") as err:
        p = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=err, text=True)
        alarm = subprocess.Popen(["sh", "-c", f"sleep {limit}; kill {p.pid}"], start_new_session=True)
        out = p.stdout.read()
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = status
        os.killpg(alarm.pid, 15)
        alarm.wait()
    wall = time.time() - start
    if status:
        lines = pathlib.Path(log).read_text().strip().splitlines() or ["no message"]
        raise Failed(f"took more than {limit} s" if wall > limit else lines[-1][:200])
    return out, wall, usage


def whole_command(o, task):
    solver = COMMAND[task["row"].split("-")[0]]
    command = [o.build / "cmd/latino", "restore", task["noisy"], "-o", task["out"], "--degradation", "identity", "--sigma", "0.1", "--model", task["model"],
               "--threads", o.threads, "--seed", SEED, "--prompt", "a photo of a cat", "--solver", solver]
    _, wall, usage = run_process(command, LIMIT, o.folder / "log/ours.txt")
    return {"seconds": [wall], "cpu": [usage.ru_utime + usage.ru_stime], "peak_mb": usage.ru_maxrss / 1024}


def measure(o, row, peer, round_):
    """{row: result} of one process; stable-diffusion.cpp's has all its rows."""
    _, name, size, *_ = ROWS[row]
    size = o.size or size
    task = {"row": row, "peer": peer, "model": str(model(o, name)), "size": size, "threads": o.threads, "calls": o.calls,
            "folder": str(o.folder), "build": str(o.build), "out": str(o.folder / f"out/{row}-{peer.replace(' ', '-')}.npy"), "seed": SEED}
    whole = row.startswith(("latino", "small"))
    if whole:
        task["noisy"] = str(noisy_picture(o, row, size))
    if whole and peer == "ours":
        return {row: whole_command(o, task)}
    log = o.folder / f"log/{row}-{peer.replace(' ', '-')}.txt"
    if peer.startswith(("onnxruntime", "openvino")):
        run_process([sys.executable, ROOT / "bench/peers_work.py", json.dumps(task | {"convert": True})], LIMIT, log)
    out, _, usage = run_process([sys.executable, ROOT / "bench/peers_work.py", json.dumps(task | {"started": time.time()})],
                                300 if peer == "torch compile" else LIMIT, log)
    result = json.loads(out)
    return {r: v | {"peak_mb": usage.ru_maxrss / 1024} for r, v in result.get("rows", {row: result}).items()}


def worth_repeating(o, results, row, peer):
    first = {p: results.get(f"{row}/{p}/0", {}).get("seconds", [math.inf]) for p in ROWS[row][3]}
    if peer in ("ours", TORCH[0]):
        return True
    e = error(o, row, peer)
    return e is not None and e <= BOUND and min(first[peer]) <= 1.5 * min(min(s) for s in first.values())


def measure_all(o, results):
    for row in o.rows:
        peers = ["ours"] + [p for p in ROWS[row][3] if not o.only or p in o.only.split(",")]
        for k in range(o.rounds or ROWS[row][4]):
            for peer in peers:
                if "seconds" in results.get(f"{row}/{peer}/{k}", {}) or (k and not worth_repeating(o, results, row, peer)):
                    continue
                load = os.getloadavg()[0]
                try:
                    found = measure(o, row, peer, k)
                except Failed as e:
                    found = {row: {"failed": str(e)}}
                for r, v in found.items():
                    results[f"{r}/{peer}/{k}"] = v | {"load": load}
                    said = f"{statistics.median(v['seconds']):.3f} s, {v['peak_mb']:.0f} MB" if "seconds" in v else v["failed"]
                    print(f"{r}, {peer}, round {k + 1}: {said}", file=sys.stderr, flush=True)
                (o.folder / "results.json").write_text(json.dumps(results, indent=1))


# ---- Tables ----

def error(o, row, peer):
    import numpy as np
    at = [o.folder / f"out/{row}-{p.replace(' ', '-')}.npy" for p in (peer, "torch f32")]
    if not all(p.exists() for p in at):
        return None
    x, r = (np.load(p).astype(np.float64) for p in at)
    return float(np.linalg.norm(x - r) / np.linalg.norm(r))


def gather(o, results):
    """[(row, peer, {seconds, cpu, back, loop: medians; peak_mb, error} or {failed})]"""
    out = []
    for row in o.rows:
        for peer in ["ours"] + ROWS[row][3]:
            runs = [results[k] for k in results if k.startswith(f"{row}/{peer}/")]
            good = [r for r in runs if "seconds" in r]
            if not good:
                out += [(row, peer, r) for r in runs[:1]]
                continue
            v = {k: statistics.median(sum((r[k] for r in good), [])) for k in ("seconds", "cpu", "back", "loop") if k in good[0]}
            out.append((row, peer, v | {"peak_mb": max(r["peak_mb"] for r in good), "error": error(o, row, peer)}))
    return out


def number(x, form):
    return "" if x is None or math.isnan(x) else format(x, form)


def tables(o, found):
    print("\n| work | setting | seconds | ours / its | cpu s | back, s | loop, s | error | peak MB |\n|---|---|---|---|---|---|---|---|---|")
    for row, peer, v in found:
        own = next((w for r, p, w in found if r == row and p == "ours"), {})
        if "failed" in v:
            print(f"| {row} | {peer} | {v['failed']} |")
            continue
        ratio = own.get("seconds", math.nan) / v["seconds"]
        print(f"| {row} | {peer} | {v['seconds']:.3f} | {number(ratio, '.2f')} | {number(v.get('cpu'), '.2f')} | {number(v.get('back'), '.2f')} | "
              f"{number(v.get('loop'), '.2f')} | {number(v['error'], '.1e')} | {v['peak_mb']:.0f} |")
    print(f"\n| work | ours, s | error | fastest peer within {BOUND:g}, s | ours / its | to reach | stable-diffusion.cpp, s | ours / its | peak MB, ours | peer's |\n"
          "|---|---|---|---|---|---|---|---|---|---|")
    for row in o.rows:
        own = next((v for r, p, v in found if r == row and p == "ours" and "seconds" in v), None)
        equal = [(v["seconds"], p, v) for r, p, v in found if r == row and p != "ours" and v.get("error") is not None and v["error"] <= BOUND]
        slow = next((v for r, p, v in found if r == row and p.startswith("sd.cpp") and "seconds" in v), None)
        if not own or not equal:
            continue
        seconds, peer, v = min(equal, key=lambda e: e[0])
        print(f"| {ROWS[row][0]} | {own['seconds']:.2f} | {number(own['error'], '.1e')} | {seconds:.2f} ({peer}) | {own['seconds'] / seconds:.2f} | "
              f"{ROWS[row][5] or ''} | {number(slow and slow['seconds'], '.1f')} | {number(slow and own['seconds'] / slow['seconds'], '.2f')} | "
              f"{own['peak_mb']:.0f} | {v['peak_mb']:.0f} |")


def versions():
    from importlib.metadata import PackageNotFoundError, version
    for name in ("torch", "diffusers", "onnxruntime", "openvino", "stable-diffusion-cpp-python"):
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            pass


def main():
    o = options()
    install(o)
    for name in ("out", "log"):
        (o.folder / name).mkdir(parents=True, exist_ok=True)
    subprocess.run(["ninja", "-C", o.build, "cmd/latino", "bench/by_text"], check=True, stdout=subprocess.DEVNULL)
    path = o.folder / "results.json"
    setting = {"threads": o.threads, "size": o.size, "models": o.models}
    results = json.loads(path.read_text()) if path.exists() else {"setting": setting}
    if results["setting"] != setting:
        sys.exit(f"{path} is of other options: {results['setting']}")
    measure_all(o, results)
    loads = [v["load"] for v in results.values() if "load" in v]
    print(f"{o.threads} threads; {', '.join(versions())}; load of the machine before each measurement: median {statistics.median(loads):.1f}, "
          f"largest {max(loads):.1f}")
    tables(o, gather(o, results))


main()
