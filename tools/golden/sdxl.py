"""A tiny SDXL: what diffusers' pipeline makes of prompts and sizes, and what its UNet answers.

Weights and inputs follow model.py's formula; the vocabulary is the small prior's."""
import os
import pathlib

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from golden import load

base = load("model")
PROMPTS, values = base.PROMPTS, base.values

PRIOR = pathlib.Path(__file__).resolve().parents[2] / "models" / "prior" / "tokenizer"
FACTOR, MARK = 4, 839  # of the autoencoder "kl"; the id of "cat</w>"


class Own(base.Golden):
    def __init__(self, out):
        super().__init__(out)
        self.file = os.path.join(out, "sdxl.safetensors")


def encoder(g, name, kind, **config):
    c = CLIPTextConfig(vocab_size=1114, num_attention_heads=4, num_hidden_layers=3, max_position_embeddings=77, **config)
    keep = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
            "max_position_embeddings", "hidden_act", "layer_norm_eps", "projection_dim", "eos_token_id"]
    return g.model(name, kind(c), dict({k: getattr(c, k) for k in keep}, architectures=[kind.__name__]))


def pipeline(g):
    unet = UNet2DConditionModel(
        block_out_channels=(16, 32, 32), norm_num_groups=8, attention_head_dim=[2, 4, 8], cross_attention_dim=56,
        transformer_layers_per_block=[1, 2, 3], use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 20, sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"))
    g.model("unet_xl", unet, dict(unet.config, _class_name="UNet2DConditionModel"))
    vae = AutoencoderKL(block_out_channels=(16, 32, 32), norm_num_groups=8, layers_per_block=1,
                        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3)
    one = encoder(g, "clip_xl", CLIPTextModel, hidden_size=24, intermediate_size=80, hidden_act="quick_gelu")
    two = encoder(g, "clip_xl_2", CLIPTextModelWithProjection, hidden_size=32, intermediate_size=72, hidden_act="gelu",
                  projection_dim=20, eos_token_id=2)
    return StableDiffusionXLPipeline(vae, one, two, CLIPTokenizer.from_pretrained(PRIOR),
                                    CLIPTokenizer.from_pretrained(PRIOR, pad_token="!"), unet,
                                    EulerDiscreteScheduler())


def rows(hidden, pooled):
    """The tokens' hidden states, and the pooled text in a row of its own."""
    return torch.cat([hidden, torch.nn.functional.pad(pooled, (0, hidden.shape[2] - pooled.shape[1]))[:, None]], 1)


def answer(p, sample, t, text, sizes):
    n = sample.shape[0]
    ids = p._get_add_time_ids(*sizes, torch.float32, text_encoder_projection_dim=20).repeat(n, 1)
    return p.unet(sample, t, text[:, :77], added_cond_kwargs={"text_embeds": text[:, 77, :20], "time_ids": ids}).sample


def make(out):
    torch.set_num_threads(1)
    g = Own(out)
    p = pipeline(g)
    with torch.no_grad():
        for i, prompt in enumerate(PROMPTS):
            hidden, none, pooled, none_pooled = p.encode_prompt(prompt, device="cpu", num_images_per_prompt=1)
            g.keep(f"text{i}", rows(hidden, pooled))
        g.keep("none", rows(none, none_pooled))
        p.text_encoder_2.text_model.eos_token_id = p.text_encoder_2.config.eos_token_id = MARK
        hidden, _, pooled, _ = p.encode_prompt("a cat in the snow, another cat!", device="cpu", num_images_per_prompt=1)
        g.keep("mark", rows(hidden, pooled))
    sample = values("sample", (2, 4, 8, 12)).requires_grad_()
    text = values("text", (2, 78, 56)).requires_grad_()
    size = (8 * FACTOR, 12 * FACTOR)
    y = answer(p, sample, 519, text, (size, (0, 0), size))
    g.keep("unet", y)
    y.backward(values("cotangent", y.shape))
    g.keep("unet.d_text", text.grad)
    g.keep("unet.d_sample", sample.grad)
    with torch.no_grad():
        g.keep("unet.window", answer(p, sample, 519, text, ((96, 160), (32, 64), (40, 48))))
    versions = {"torch": torch.__version__, "diffusers": diffusers.__version__, "transformers": transformers.__version__}
    save_file(g.arrays, g.file, metadata=versions)
