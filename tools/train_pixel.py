#!/usr/bin/env python3
"""Train the small pixel-space prior, models/pixel, with PyTorch and diffusers.

train_pixel.py load | train | export      in this order; train resumes from OUT/state.pt and may be stopped at any time

Environment: DATA (the folder that holds prior128: train/*.tar of 128 x 128 pictures), OUT (a work folder), MINUTES (of this
run of train by the clock, at whose end the learning rate is near 0), THREADS, BATCH, LR.
Result: OUT/pixel, a folder that diffusers opens as a DDPMPipeline: UNet2DModel and scheduler, f16.
"""
import io, json, math, os, signal, sys, tarfile, time
import numpy as np
import torch
from PIL import Image

DATA, OUT = os.environ["DATA"], os.environ["OUT"]
MINUTES = float(os.environ.get("MINUTES", "80"))
BATCH, LR = int(os.environ.get("BATCH", "16")), float(os.environ.get("LR", "1e-3"))
SIDE, T = 64, 1000
os.makedirs(OUT, exist_ok=True)
torch.set_num_threads(int(os.environ.get("THREADS", "1")))
torch.set_flush_denormal(True)


def small(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((SIDE, SIDE), Image.BICUBIC))


def load():
    """Every training picture once, at 64 x 64: OUT/x.npy (n, 64, 64, 3) uint8."""
    xs, d = [], f"{DATA}/prior128/train"
    for t in sorted(f for f in os.listdir(d) if f.endswith(".tar")):
        with tarfile.open(f"{d}/{t}") as tf:
            xs += [small(tf.extractfile(m).read()) for m in tf if m.isfile()]
    np.save(f"{OUT}/x.npy", np.stack(xs))
    print(len(xs))


def net():
    from diffusers import UNet2DModel
    return UNet2DModel(sample_size=SIDE, block_out_channels=(16, 32, 64, 128), layers_per_block=1, attention_head_dim=32,
                       down_block_types=("DownBlock2D",) * 3 + ("AttnDownBlock2D",),
                       up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * 3, norm_num_groups=8)


def scheduler():
    from diffusers import DDPMScheduler
    return DDPMScheduler(num_train_timesteps=T, beta_schedule="linear", prediction_type="v_prediction", clip_sample=True)


def learning_rate(part):
    """A short warm-up, then down a cosine."""
    return LR * min(1, part / 0.02) * (0.495 * (1 + math.cos(math.pi * min(1, part))) + 0.01)


def batch(x, rng, ab):
    """Pictures, halves of them mirrored, noised to random times: x_t, t, v, and the weight of each error by min(SNR, 5)."""
    x0 = torch.from_numpy(x[np.sort(rng.integers(0, len(x), BATCH))]).permute(0, 3, 1, 2).float() / 127.5 - 1
    x0 = torch.where(torch.rand(BATCH, 1, 1, 1) < .5, x0.flip(3), x0)
    t, e = torch.randint(0, T, (BATCH,)), torch.randn_like(x0)
    a, snr = ab[t].view(-1, 1, 1, 1), ab[t] / (1 - ab[t])
    return a.sqrt() * x0 + (1 - a).sqrt() * e, t, a.sqrt() * e - (1 - a).sqrt() * x0, 0.25 + snr.clamp(max=5) / (snr + 1)


def train():
    """v prediction, products in bf16; the average of the weights over the last 200 steps or so is kept beside them."""
    torch.manual_seed(int(time.time()))
    m, at, before = net(), 0, 0.0
    opt = torch.optim.AdamW(m.parameters(), LR, betas=(.9, .99), weight_decay=1e-2)
    ema = {k: v.clone() for k, v in m.state_dict().items()}
    if os.path.exists(f"{OUT}/state.pt"):
        s = torch.load(f"{OUT}/state.pt", weights_only=True)
        m.load_state_dict(s["model"]), opt.load_state_dict(s["opt"])
        ema, at, before = s["ema"], s["at"], s["seconds"]
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    print(sum(p.numel() for p in m.parameters()), "parameters", flush=True)
    x, ab, run = np.load(f"{OUT}/x.npy", mmap_mode="r"), scheduler().alphas_cumprod, []
    weights, averages, first = list(m.state_dict().values()), list(ema.values()), at
    rng, begin, saved = np.random.default_rng(), time.time(), time.time()

    def save():
        torch.save({"model": m.state_dict(), "opt": opt.state_dict(), "ema": ema, "at": at, "seconds": before + time.time() - begin},
                   f"{OUT}/state.new")
        os.replace(f"{OUT}/state.new", f"{OUT}/state.pt")
        print(f"{(time.time() - begin) / 60:.1f} min, step {at}, {at * BATCH / len(x):.2f} passes, "
              f"{(at - first) * BATCH / (time.time() - begin):.1f} pictures/s, loss {np.mean(run[-500:]):.4f}", flush=True)

    while time.time() - begin < 60 * MINUTES and not stop:
        for g in opt.param_groups:
            g["lr"] = learning_rate((time.time() - begin) / (60 * MINUTES))
        xt, t, v, weight = batch(x, rng, ab)
        with torch.autocast("cpu", torch.bfloat16):
            out = m(xt, t).sample
        loss = (((out.float() - v) ** 2).mean((1, 2, 3)) * weight).mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        at += 1
        run.append(loss.item())
        if at % 5 == 0:
            torch._foreach_lerp_(averages, weights, 1 - .995 ** 5)
        if time.time() - saved > 120:
            saved = time.time()
            save()
    save()


def export():
    """OUT/pixel: model_index.json, unet, scheduler; what diffusers' DDPMPipeline.from_pretrained opens."""
    from diffusers import DDPMPipeline
    s, m = torch.load(f"{OUT}/state.pt", weights_only=True), net()
    m.load_state_dict(s["ema"])
    DDPMPipeline(m.half(), scheduler()).save_pretrained(f"{OUT}/pixel")
    print("steps", s["at"], "minutes", s["seconds"] / 60)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
