"""What diffusers' pipelines draw with the tiny models of model.py and sdxl.py: from a prompt, with guidance and a negative prompt,
and from a picture. The noise is model.py's formula; the picture is kept before it is clipped to [0, 1]."""
import os
import pathlib

import diffusers
import torch
import transformers
from diffusers import (AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler,
                       EulerDiscreteScheduler, LCMScheduler, PNDMScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline,
                       StableDiffusionXLImg2ImgPipeline, UNet2DConditionModel, UniPCMultistepScheduler)
from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_img2img as img2img
from diffusers.pipelines.stable_diffusion_xl import pipeline_stable_diffusion_xl_img2img as xl_img2img
from diffusers.schedulers import scheduling_ddim as ddim
from diffusers.schedulers import scheduling_euler_ancestral_discrete as ancestral
from diffusers.schedulers import scheduling_lcm as lcm
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from golden import load


base, sdxl = load("model"), load("sdxl")
PRIOR = pathlib.Path(__file__).resolve().parents[2] / "models" / "prior" / "tokenizer"
PROMPT, NEGATIVE = "a photo of a cat", "a dog in the snow"
FACTOR = 4


def filled(m):
    m.load_state_dict({k: base.weight(k, tuple(v.shape)) for k, v in m.state_dict().items() if v.is_floating_point()}, strict=False)
    return m.eval()


def parts(unet):
    vae = filled(AutoencoderKL(block_out_channels=(16, 32, 32), norm_num_groups=8, layers_per_block=1, latent_channels=4,
                               sample_size=32, down_block_types=("DownEncoderBlock2D",) * 3,
                               up_block_types=("UpDecoderBlock2D",) * 3))
    text = filled(CLIPTextModel(CLIPTextConfig(
        vocab_size=1114, hidden_size=24, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=77, hidden_act="quick_gelu", layer_norm_eps=1e-5)))
    return dict(vae=vae, text_encoder=text, tokenizer=CLIPTokenizer.from_pretrained(PRIOR), unet=filled(unet),
                scheduler=base.SCHEDULES["ddim_sd"], safety_checker=None, feature_extractor=None, requires_safety_checker=False)


class Noise:
    """In place of randn_tensor: draw after draw."""

    def __init__(self):
        self.k = 0

    def __call__(self, shape, *a, **b):
        self.k += 1
        return base.values(f"noise{self.k - 1}", tuple(shape))


def picture(p, latents):
    return p.vae.decode(latents / p.vae.config.scaling_factor).sample / 2 + 0.5


def encoded(p, height, width):
    return p.vae.encode(base.picture(1, height, width)).latent_dist.mode() * p.vae.config.scaling_factor


def draw(p, width, height, image=False, **call):
    noise = Noise()
    lcm.randn_tensor = ddim.randn_tensor = ancestral.randn_tensor = img2img.randn_tensor = xl_img2img.randn_tensor = noise
    if image:
        call["image"] = encoded(p, height, width)
    else:
        call.update(width=width, height=height, latents=noise((1, 4, height // FACTOR, width // FACTOR)))
    return picture(p, p(prompt=PROMPT, output_type="latent", **call).images)


def make(out):
    torch.set_num_threads(1)
    g = base.Golden(out)
    g.file = os.path.join(out, "generate.safetensors")
    p = StableDiffusionPipeline(**parts(UNet2DConditionModel(**base.UNETS["unet_sd"][0])))
    i = StableDiffusionImg2ImgPipeline(**p.components, requires_safety_checker=False)
    xl = sdxl.pipeline(sdxl.Own(out))
    filled(xl.vae)
    xl.scheduler = EulerDiscreteScheduler(**base.SCHEDULES["euler"].config)
    xi = StableDiffusionXLImg2ImgPipeline(**xl.components)
    own = {k: v for k, v in p.scheduler.config.items() if k[0] != "_"}  # as its file has it
    unet = UNet2DConditionModel(block_out_channels=(16, 32), norm_num_groups=8, layers_per_block=1, attention_head_dim=4,
                                cross_attention_dim=24, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), sample_size=8, time_cond_proj_dim=16)
    g.model("unet_lcm", unet, dict(unet.config, _class_name="UNet2DConditionModel"))
    told = StableDiffusionPipeline(**dict(parts(unet), scheduler=LCMScheduler()))
    for q in (p, i, xl, xi, told):
        q.set_progress_bar_config(disable=True)
    with torch.no_grad():
        g.keep("plain", draw(p, 64, 64, num_inference_steps=4, guidance_scale=1))
        g.keep("negative", draw(p, 64, 64, num_inference_steps=4, guidance_scale=7.5, negative_prompt=NEGATIVE))
        g.keep("eta", draw(p, 64, 64, num_inference_steps=3, guidance_scale=2, eta=0.5))
        p.scheduler = UniPCMultistepScheduler.from_config(own)
        g.keep("wide", draw(p, 96, 64, num_inference_steps=5, guidance_scale=3))
        p.scheduler = EulerAncestralDiscreteScheduler.from_config(own, timestep_spacing="trailing")
        g.keep("ancestral", draw(p, 64, 32, num_inference_steps=4, guidance_scale=1))
        g.keep("image", draw(i, 64, 64, image=True, num_inference_steps=5, strength=0.6, guidance_scale=5, negative_prompt=NEGATIVE))
        i.scheduler = DPMSolverMultistepScheduler.from_config(own, use_karras_sigmas=True)
        g.keep("image.dpm", draw(i, 96, 64, image=True, num_inference_steps=6, strength=0.5, guidance_scale=1))
        i.scheduler = PNDMScheduler.from_config(own, skip_prk_steps=True)
        g.keep("image.pndm", draw(i, 64, 64, image=True, num_inference_steps=6, strength=0.7, guidance_scale=1))
        g.keep("xl", draw(xl, 48, 32, num_inference_steps=4, guidance_scale=5))
        g.keep("xl.negative", draw(xl, 48, 32, num_inference_steps=3, guidance_scale=5, negative_prompt=NEGATIVE))
        g.keep("xl.image", draw(xi, 48, 32, image=True, num_inference_steps=4, strength=0.5, guidance_scale=5))
        g.keep("told", draw(told, 32, 32, num_inference_steps=4, guidance_scale=8.5))
        g.keep("told.little", draw(told, 32, 32, num_inference_steps=2, guidance_scale=3))
    versions = {"torch": torch.__version__, "diffusers": diffusers.__version__, "transformers": transformers.__version__}
    save_file(g.arrays, g.file, metadata=versions)
