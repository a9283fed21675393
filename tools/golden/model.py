"""Random tiny models of diffusers and transformers, and the small prior: what they answer.

Weights and inputs follow a formula that tests/test_model.c repeats, so only names, shapes and answers are stored. All values
are small multiples of powers of two: exact in f16, bf16 and f32."""
import json
import os
import pathlib

import diffusers
import numpy as np
import torch
import transformers
from diffusers import (AutoencoderKL, AutoencoderTiny, DDIMScheduler, EulerDiscreteScheduler, LCMScheduler, PNDMScheduler,
                       UNet2DConditionModel)
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from diffusers.models.upsampling import Upsample2D
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

STRIDE = 7  # of long answers only every seventh value is kept


def noise(name, n):
    """n whole numbers in [-128, 127] that depend on the name."""
    h = 2166136261
    for c in name.encode():
        h = ((h ^ c) * 16777619) & 0xffffffff
    x = (np.arange(n, dtype=np.uint64) * 2654435761 + h) & 0xffffffff
    x ^= x >> 16
    x = (x * 0x7feb352d) & 0xffffffff
    x ^= x >> 15
    x = (x * 0x846ca68b) & 0xffffffff
    x ^= x >> 16
    return (x >> 24).astype(np.int64) - 128


def weight(name, shape):
    k = noise(name, int(np.prod(shape)))
    if len(shape) == 1:
        v = 1 + (k >> 2) / 128 if name.endswith(".weight") else k / 512
    elif "embedding.weight" in name:
        v = k / 128
    else:
        v = k / 128 * 2.0 ** np.floor(0.5 * np.log2(3 / np.prod(shape[1:])) + 0.5)
    if "conv_in." in name:
        v = v / 64  # so faint that the epsilon of the first norm shows
    return torch.tensor(v.reshape(shape), dtype=torch.float32)


def values(name, shape, scale=2.0):
    return torch.tensor((noise(name, int(np.prod(shape))) / 128 * scale).reshape(shape), dtype=torch.float32)


def picture(n, h, w):
    c, y, x = np.meshgrid(np.arange(3), np.arange(h), np.arange(w), indexing="ij")
    p = 0.8 * np.sin(0.07 * y * (c + 1) + 0.05 * x) * np.cos(0.11 * x - 0.3 * c)
    return torch.tensor(np.repeat(p[None], n, 0), dtype=torch.float32)


class Golden:
    def __init__(self, out):
        self.folder = os.path.join(out, "model")
        self.file = os.path.join(out, "model.safetensors")
        self.arrays = {}
        os.makedirs(self.folder, exist_ok=True)

    def keep(self, name, t):
        t = t.detach().float().flatten()
        self.arrays[name] = (t[::STRIDE] if t.numel() > 4096 else t).contiguous()

    def model(self, name, m, config=None):
        """Fills m by the formula; writes its names and shapes, and its configuration."""
        state = {k: weight(k, tuple(v.shape)) for k, v in m.state_dict().items() if v.is_floating_point()}
        m.load_state_dict(state, strict=False)
        m.eval()
        with open(os.path.join(self.folder, name + ".names"), "w") as f:
            for k, v in state.items():
                f.write(" ".join([k] + [str(d) for d in v.shape]) + "\n")
        if config is not None:
            self.config(name, config)
        return m

    def config(self, name, config):
        with open(os.path.join(self.folder, name + ".json"), "w") as f:
            config = {k: v for k, v in config.items() if k != "_use_default_values"}  # whose order varies
            json.dump(config, f, indent=1, sort_keys=True, default=str)
            f.write("\n")


def blocks(g):
    x = values("x", (2, 16, 6, 10))
    emb = values("emb", (2, 20))
    text = values("text", (2, 5, 12))
    m = g.model("resnet", ResnetBlock2D(in_channels=16, out_channels=24, temb_channels=20, groups=4, eps=1e-5))
    g.keep("resnet", m(x, emb))
    m = g.model("resnet_plain", ResnetBlock2D(in_channels=16, out_channels=16, temb_channels=None, groups=4, eps=1e-6))
    g.keep("resnet_plain", m(x, None))
    m = g.model("transformer", Transformer2DModel(4, 4, in_channels=16, num_layers=2, norm_num_groups=8, cross_attention_dim=12))
    g.keep("transformer", m(x / 128, encoder_hidden_states=text).sample)
    m = g.model("down", Downsample2D(16, use_conv=True, out_channels=20, padding=1, name="op"))
    g.keep("down", m(x))
    m = Downsample2D(16, use_conv=True, out_channels=20, padding=0, name="op")
    g.keep("down_asymmetric", g.model("down", m)(x))
    m = g.model("up", Upsample2D(16, use_conv=True, out_channels=20))
    g.keep("up", m(x))
    m = g.model("tiny_block", AutoencoderTinyBlock(16, 16, "relu"))
    g.keep("tiny_block", m(x))


UNETS = {
    # Stable Diffusion 1.5 in small: four levels, three of them with cross-attention, two layers each.
    "unet_sd": (dict(block_out_channels=(32, 64, 64, 64), norm_num_groups=16, cross_attention_dim=24, attention_head_dim=4,
                     sample_size=16), (1, 4, 16, 16), 11, 519.0),
    # Other depths, widths, heads; linear projections; an odd time embedding; guidance as an input, as LCM has it.
    "unet_other": (dict(in_channels=3, out_channels=5, block_out_channels=(16, 48, 32), norm_num_groups=8, norm_eps=1e-6,
                        layers_per_block=[1, 2, 1], attention_head_dim=[2, 3, 8], cross_attention_dim=20,
                        transformer_layers_per_block=[1, 2, 3], use_linear_projection=True, flip_sin_to_cos=False, freq_shift=1,
                        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), mid_block_scale_factor=1.5,
                        time_cond_proj_dim=32, time_embedding_dim=40, conv_in_kernel=5, conv_out_kernel=1, sample_size=12,
                        downsample_padding=0),
                   (2, 3, 12, 20), 9, 37.0),
    # As small UNets come: no middle at all.
    "unet_hollow": (dict(block_out_channels=(16, 32), norm_num_groups=8, layers_per_block=1, attention_head_dim=4,
                         cross_attention_dim=24, mid_block_type=None, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                         up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), sample_size=8), (1, 4, 8, 8), 6, 999.0),
}


def guidance_embedding(w, dim):
    """As the pipeline of latent consistency models computes it."""
    f = torch.exp(torch.arange(dim // 2, dtype=torch.float32) * -(torch.log(torch.tensor(10000.0)) / (dim // 2 - 1)))
    e = torch.tensor([w * 1000.0])[:, None] * f[None]
    return torch.cat([torch.sin(e), torch.cos(e)], dim=1)


def unets(g):
    for name, (config, shape, tokens, t) in UNETS.items():
        m = UNet2DConditionModel(**config)
        g.model(name, m, dict(m.config, _class_name="UNet2DConditionModel"))
        sample = values("sample", shape)
        text = values("text", (shape[0], tokens, config["cross_attention_dim"])).requires_grad_()
        cond = guidance_embedding(7.5, 32).repeat(shape[0], 1) if config.get("time_cond_proj_dim") else None
        out = m(sample, t, text, timestep_cond=cond).sample
        g.keep(name, out)
        if name != "unet_hollow":
            out.backward(values("cotangent", out.shape))
            g.keep(name + ".grad", text.grad)


def autoencoders(g):
    kl = dict(block_out_channels=(16, 32, 32), norm_num_groups=8, layers_per_block=1, latent_channels=4, sample_size=32,
              down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3)
    tiny = dict(encoder_block_out_channels=(16, 16, 16), decoder_block_out_channels=(16, 16, 16), num_encoder_blocks=(1, 2, 1),
                num_decoder_blocks=(2, 1, 1), latent_channels=6)
    for name, m in [("kl", AutoencoderKL(**kl)),
                    ("kl_bare", AutoencoderKL(**kl, use_quant_conv=False, use_post_quant_conv=False, mid_block_add_attention=False,
                                              scaling_factor=0.7, shift_factor=0.3)),
                    ("tiny", AutoencoderTiny(**tiny)),
                    ("tiny_scaled", AutoencoderTiny(**tiny, scaling_factor=1.25, shift_factor=-0.2))]:
        g.model(name, m, dict(m.config, _class_name=type(m).__name__))
        scale, shift = m.config.scaling_factor, m.config.shift_factor or 0.0
        e = m.encode(picture(1, 24, 16))
        mean = e.latent_dist.mean if hasattr(e, "latent_dist") else e.latents
        g.keep(name + ".encode", (mean - shift) * scale)
        z = values("latent", (1, m.config.latent_channels, 6, 5), 1.0).requires_grad_()
        out = m.decode(z / scale + shift).sample
        g.keep(name + ".decode", out)
        out.backward(values("cotangent", out.shape))
        g.keep(name + ".grad", z.grad)


def clips(g):
    # The third goes with unet_sd and the small prior's tokenizer into whole folders.
    for name, act, eps, width, words, length in [("clip", "quick_gelu", 1e-5, 32, 99, 20), ("clip_gelu", "gelu", 1e-2, 32, 99, 20),
                                                 ("clip_77", "quick_gelu", 1e-5, 24, 1114, 77)]:
        c = CLIPTextConfig(vocab_size=words, hidden_size=width, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
                           max_position_embeddings=length, hidden_act=act, layer_norm_eps=eps)
        m = CLIPTextModel(c)
        keep = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
                "max_position_embeddings", "hidden_act", "layer_norm_eps"]
        g.model(name, m, dict({k: getattr(c, k) for k in keep}, architectures=["CLIPTextModel"]))
        ids = torch.tensor((noise("ids", 2 * 13) + 128) % 99).reshape(2, 13)
        g.keep(name, m(ids).last_hidden_state)


SCHEDULES = {
    "lcm": LCMScheduler(),
    "lcm_v": LCMScheduler(prediction_type="v_prediction", timestep_scaling=0.002, original_inference_steps=40),
    "ddim_sd": DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                             set_alpha_to_one=False, steps_offset=1),
    "ddim": DDIMScheduler(prediction_type="sample"),
    "ddim_trailing": DDIMScheduler(timestep_spacing="trailing", prediction_type="v_prediction", rescale_betas_zero_snr=True,
                                   beta_schedule="scaled_linear", clip_sample_range=0.5),
    "ddim_linspace": DDIMScheduler(timestep_spacing="linspace", beta_schedule="squaredcos_cap_v2", clip_sample=False),
    "pndm": PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, skip_prk_steps=True),
    "euler": EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
}


def schedules(g):
    z, net = values("z", (1, 4, 5, 5)), values("net", (1, 4, 5, 5))
    for name, s in SCHEDULES.items():
        g.config(name, dict(s.config, _class_name=type(s).__name__))
        g.keep(name + ".alpha_bar", s.alphas_cumprod[::41])
        if name in ("pndm", "euler"):
            continue
        for n in (1, 3, 4, 8, 20, 40):
            s.set_timesteps(n)
            g.keep(f"{name}.steps{n}", s.timesteps)
        s.set_timesteps(4)
        for t in (s.timesteps[0], s.timesteps[2]):
            r = s.step(net, int(t), z)
            g.keep(f"{name}.predict{int(t)}", r.denoised if hasattr(r, "denoised") else r.pred_original_sample)


PROMPTS = ["", "a photo of a cat", "A red FOX, in the snow; 35mm & f/1.8 -- it's late"]


def prior(g, folder):
    text = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=torch.float32).eval()
    vae = AutoencoderTiny.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float32).eval()
    for i, p in enumerate(PROMPTS):
        ids = tokenizer(p, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        hidden = text(ids).last_hidden_state
        g.keep(f"prior.text{i}", hidden)
        t = (999, 499, 19)[i]
        g.keep(f"prior.unet{i}", unet(values("sample", (1, 32, 16, 16)), t, hidden).sample)
    z = vae.encode(picture(1, 128, 128)).latents * vae.config.scaling_factor
    g.keep("prior.encode", z)
    z = values("latent", (1, 32, 16, 16), 1.0)
    g.keep("prior.decode", vae.decode(z / vae.config.scaling_factor).sample)


def make(out):
    torch.set_num_threads(2)
    torch.manual_seed(0)
    g = Golden(out)
    blocks(g)
    unets(g)
    with torch.enable_grad():
        autoencoders(g)
    clips(g)
    schedules(g)
    with torch.no_grad():
        prior(g, pathlib.Path(__file__).resolve().parents[2] / "models" / "prior")
    versions = {"torch": torch.__version__, "diffusers": diffusers.__version__, "transformers": transformers.__version__}
    save_file(g.arrays, g.file, metadata=versions)
