"""Single files in the layout of the original code (latent-diffusion, open_clip): which of their tensors becomes which of
diffusers'.

The names of the original are written down here, from the repositories' own modules; diffusers' converters then prove them
right: what they make of a file with these names has every tensor of the model, under its name, with its values. Only names and
shapes are stored, a line for each tensor of diffusers: name in the file, part, name in the part, how (= as it is, q k v a third
of the rows, t transposed), shape. The values follow model.py's formula."""
import os

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils as oracle
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection
from golden import load

base = load("model")

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
EMBED = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
         "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
         "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}


def unet_name(name, layers, crosses):
    """crosses: whether the up blocks have attention."""
    for new, old in EMBED.items():
        if name.startswith(new + "."):
            return old + name[len(new):]
    p = name.split(".")
    if p[0] == "mid_block":
        k, rest = (2 * int(p[2]), p[3:]) if p[1] == "resnets" else (1, p[3:])
        return ".".join(["middle_block", str(k)] + ([RESNET[rest[0]]] + rest[1:] if p[1] == "resnets" else rest))
    block, kind, index, rest = int(p[1]), p[2], int(p[3]), p[4:]
    if p[0] == "down_blocks":
        at = 1 + block * (layers + 1) + (index if kind != "downsamplers" else layers)
        if kind == "downsamplers":
            return ".".join(["input_blocks", str(at), "0.op"] + rest[1:])
        return ".".join(["input_blocks", str(at), "0" if kind == "resnets" else "1"]
                        + ([RESNET[rest[0]]] + rest[1:] if kind == "resnets" else rest))
    at = block * (layers + 1) + (index if kind != "upsamplers" else layers)
    if kind == "upsamplers":
        return ".".join(["output_blocks", str(at), "2" if crosses[block] else "1"] + rest)
    return ".".join(["output_blocks", str(at), "0" if kind == "resnets" else "1"]
                    + ([RESNET[rest[0]]] + rest[1:] if kind == "resnets" else rest))


def vae_name(name, levels):
    p = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut").split(".")
    if p[1] == "mid_block":
        if p[2] == "resnets":
            return ".".join([p[0], "mid", f"block_{int(p[3]) + 1}"] + p[4:])
        names = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}
        return ".".join([p[0], "mid.attn_1", names[p[4]], p[-1]])
    if p[1] not in ("down_blocks", "up_blocks"):
        return ".".join(p)
    level = int(p[2]) if p[1] == "down_blocks" else levels - 1 - int(p[2])
    way = {"down_blocks": "down", "up_blocks": "up"}[p[1]]
    if p[3] == "resnets":
        return ".".join([p[0], way, str(level), "block"] + p[4:])
    return ".".join([p[0], way, str(level), way + "sample"] + p[5:])


def open_clip_name(name):
    """The name in open_clip, and how."""
    whole = {"text_model.embeddings.token_embedding.weight": "token_embedding.weight",
             "text_model.embeddings.position_embedding.weight": "positional_embedding"}
    if name == "text_projection.weight":
        return "text_projection", "t"
    name = name if name.startswith("text_model.") else "text_model." + name
    if name in whole:
        return whole[name], "="
    if name.startswith("text_model.final_layer_norm."):
        return "ln_final." + name.rsplit(".", 1)[1], "="
    p = name.split(".")
    layer, rest = "transformer.resblocks." + p[3], p[4:]
    if rest[0] == "self_attn" and rest[1] != "out_proj":
        return f"{layer}.attn.in_proj_{rest[2]}", rest[1][0]
    names = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn": "attn", "mlp": "mlp", "fc1": "c_fc", "fc2": "c_proj"}
    return ".".join([layer] + [names.get(r, r) for r in rest]), "="


class Single:
    def __init__(self, g, name):
        self.g, self.name, self.lines, self.file = g, name, [], {}

    def add(self, part, state, rename):
        """Puts a part into the file and checks nothing yet."""
        for k in sorted(state, key=lambda k: (rename(k)[0], "qkv".find(rename(k)[1]))):
            v, (old, how) = state[k], rename(k)
            self.lines.append(" ".join([old, part, k, how] + [str(d) for d in v.shape]))
            if how == "t":
                v = v.T.contiguous()
            if how in "=t" and v.dim() == 2 and old.startswith("first_stage_model") and ".attn_1." in old:
                v = v[:, :, None, None]  # a convolution there
            if how in "qkv" and old in self.file:
                v = torch.cat([self.file[old], v])
            self.file[old] = v

    def extra(self, name, *shape):
        """A tensor that files have and no part takes."""
        self.lines.append(" ".join([name, "-", "-", "="] + [str(d) for d in shape]))
        self.file[name] = torch.zeros(shape)

    def write(self):
        with open(os.path.join(self.g.folder, self.name + ".map"), "w") as f:
            f.write("# torch %s, diffusers %s, transformers %s\n"
                    % (torch.__version__, diffusers.__version__, transformers.__version__))
            f.write("\n".join(self.lines) + "\n")


def same(got, want, what):
    assert set(got) == set(want), (what, set(got) ^ set(want))
    for k, v in want.items():
        assert got[k].shape == v.shape and torch.equal(got[k], v), (what, k)


def filled(m):
    return {k: base.weight(k, tuple(v.shape)) for k, v in m.state_dict().items() if v.is_floating_point()}


def unet(g, s, name, **config):
    m = UNet2DConditionModel(**config)
    state = filled(m)
    crosses = ["Cross" in t for t in m.config.up_block_types]
    s.add("unet", state, lambda k: ("model.diffusion_model." + unet_name(k, m.config.layers_per_block, crosses), "="))
    same(oracle.convert_ldm_unet_checkpoint(s.file, m.config), state, "unet")
    g.config(name, dict(m.config, _class_name="UNet2DConditionModel"))


def vae(g, s, name, scaling_factor):
    m = AutoencoderKL(block_out_channels=(32, 64), norm_num_groups=32, layers_per_block=2, latent_channels=4,
                      scaling_factor=scaling_factor, down_block_types=("DownEncoderBlock2D",) * 2,
                      up_block_types=("UpDecoderBlock2D",) * 2)
    state = filled(m)
    s.add("vae", state, lambda k: ("first_stage_model." + vae_name(k, 2), "="))
    same(oracle.convert_ldm_vae_checkpoint(s.file, m.config), state, "vae")
    g.config(name, dict(m.config, _class_name="AutoencoderKL"))


def text(g, s, part, name, kind, prefix, layers=2, **config):
    c = CLIPTextConfig(vocab_size=1114, hidden_size=64, intermediate_size=80, num_attention_heads=1, num_hidden_layers=layers,
                       max_position_embeddings=77, **config)
    state = filled(kind(c))
    keep = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
            "max_position_embeddings", "hidden_act", "layer_norm_eps", "projection_dim"]
    g.config(name, dict({k: getattr(c, k) for k in keep}, architectures=[kind.__name__]))
    whole = {k if k.startswith("text_") else "text_model." + k: v for k, v in state.items()}  # as files have them
    if prefix.endswith("transformer."):
        s.add(part, whole, lambda k: (prefix + k, "="))
        same(oracle.convert_ldm_clip_checkpoint(s.file, prefix), whole, part)
        return
    s.add(part, whole, lambda k: (prefix + open_clip_name(k)[0], open_clip_name(k)[1]))
    stub = torch.nn.Module()
    stub.config = c
    same(oracle.convert_open_clip_checkpoint(stub, s.file, prefix), whole, part)


CROSS = dict(down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))


def sd1(g):
    s = Single(g, "single_sd1")
    unet(g, s, "single_unet_sd1", block_out_channels=(32, 64), norm_num_groups=32, attention_head_dim=8,
         cross_attention_dim=64, sample_size=64, **CROSS)
    vae(g, s, "single_vae", 0.18215)
    text(g, s, "text_encoder", "single_text", CLIPTextModel, "cond_stage_model.transformer.", hidden_act="quick_gelu")
    s.extra("alphas_cumprod", 1000)
    s.extra("model_ema.decay")
    s.write()


def sd2(g):
    s = Single(g, "single_sd2")
    unet(g, s, "single_unet_sd2", block_out_channels=(64, 128), norm_num_groups=32, attention_head_dim=[1, 2],
         cross_attention_dim=64, use_linear_projection=True, sample_size=96, layers_per_block=1, **CROSS)
    vae(g, s, "single_vae", 0.18215)
    text(g, s, "text_encoder", "single_text_open", CLIPTextModel, "cond_stage_model.model.", hidden_act="gelu")
    layer = "cond_stage_model.model.transformer.resblocks.2."  # not used: the last but one is the text
    for name, *shape in [("attn.in_proj_weight", 192, 64), ("attn.in_proj_bias", 192), ("attn.out_proj.weight", 64, 64),
                         ("attn.out_proj.bias", 64), ("ln_1.weight", 64), ("ln_1.bias", 64), ("ln_2.weight", 64),
                         ("ln_2.bias", 64), ("mlp.c_fc.weight", 80, 64), ("mlp.c_fc.bias", 80), ("mlp.c_proj.weight", 64, 80),
                         ("mlp.c_proj.bias", 64)]:
        s.extra(layer + name, *shape)
    s.extra("cond_stage_model.model.text_projection", 64, 64)
    s.extra("cond_stage_model.model.logit_scale")
    s.write()


def sdxl(g):
    s = Single(g, "single_sdxl")
    unet(g, s, "single_unet_sdxl", block_out_channels=(64, 64), norm_num_groups=32, attention_head_dim=1,
         cross_attention_dim=128, transformer_layers_per_block=[1, 2], use_linear_projection=True, layers_per_block=1,
         addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 64,
         sample_size=128, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
         up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"))
    vae(g, s, "single_vae_xl", 0.13025)
    text(g, s, "text_encoder", "single_text", CLIPTextModel, "conditioner.embedders.0.transformer.", hidden_act="quick_gelu")
    text(g, s, "text_encoder_2", "single_text_2", CLIPTextModelWithProjection, "conditioner.embedders.1.model.",
         hidden_act="gelu", projection_dim=64)
    s.extra("conditioner.embedders.1.model.logit_scale")
    s.write()


def make(out):
    g = base.Golden(out)
    sd1(g)
    sd2(g)
    sdxl(g)
