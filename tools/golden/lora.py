"""Tiny models with adapters, as diffusers and peft load them: what the text encoders and the UNet answer then.

Weights of models and adapters follow model.py's formula; only the adapters' names and shapes are stored."""
import os
import pathlib
import re
import tempfile

import diffusers
import peft
import torch
import transformers
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from golden import load

here = pathlib.Path(__file__)
sdxl = load("sdxl")
base, values = sdxl.base, sdxl.values
PROMPT = "a photo of a cat"


class Own(base.Golden):
    def __init__(self, out):
        super().__init__(out)
        self.file = os.path.join(out, "lora.safetensors")

    def adapter(self, name, shapes):
        """A file's tensors by the formula; writes its names and shapes."""
        with open(os.path.join(self.folder, name + ".names"), "w") as f:
            for k, v in shapes.items():
                f.write(" ".join([k] + [str(d) for d in v]) + "\n")
        return {k: weight(k, v) for k, v in shapes.items()}


def weight(name, shape):
    if name.endswith(".alpha"):
        return torch.tensor(2 + base.noise(name, 1)[0] / 128, dtype=torch.float32)
    return base.weight(name, shape)


def factors(w, rank):
    """The shapes of down and up for a layer's weight; a convolution's kernel is in down."""
    if w.dim() == 2:
        return (rank, w.shape[1]), (w.shape[0], rank)
    return (rank, *w.shape[1:]), (w.shape[0], rank, 1, 1)


def layers(module, wanted):
    """{layer's name: weight} of linear layers and convolutions that `wanted` names."""
    return {n: m.weight for n, m in module.named_modules()
            if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d)) and any(w in n for w in wanted)}


def kohya(prefix, layers, rank, alpha=True, name=lambda n: n):
    out = {}
    for n, w in layers.items():
        down, up = factors(w, rank)
        key = prefix + name(n).replace(".", "_")
        out |= {key + ".lora_down.weight": down, key + ".lora_up.weight": up} | ({key + ".alpha": ()} if alpha else {})
    return out


def dotted(prefix, layers, rank, ends=(".lora_A.weight", ".lora_B.weight"), name=lambda n: n):
    out = {}
    for n, w in layers.items():
        down, up = factors(w, rank)
        out |= {prefix + name(n) + ends[0]: down, prefix + name(n) + ends[1]: up}
    return out


def processor(n):
    """As diffusers named attention's adapters at first."""
    return re.sub(r"\.(to_\w+)(\.0)?$", r".processor.\1", n)


def small(g):
    unet = UNet2DConditionModel(**base.UNETS["unet_sd"][0])
    text = CLIPTextModel(CLIPTextConfig(vocab_size=1114, hidden_size=24, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
                                        max_position_embeddings=77, hidden_act="quick_gelu", layer_norm_eps=1e-5))
    vae = AutoencoderKL(block_out_channels=(16, 32, 32), norm_num_groups=8, layers_per_block=1,
                        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3)
    return fill(StableDiffusionPipeline(vae, text, CLIPTokenizer.from_pretrained(sdxl.PRIOR), unet, DDIMScheduler(), None, None,
                                        requires_safety_checker=False))


def fill(p):
    for m in (p.unet, p.text_encoder, getattr(p, "text_encoder_2", None)):
        if m is not None:
            # transformers' names have lost the prefix that the files of the tests do without as well
            m.load_state_dict({k: base.weight(k, tuple(v.shape)) for k, v in m.state_dict().items() if v.is_floating_point()}, strict=False)
            m.eval()
    return p


def answers(g, name, p, *parts):
    """The text's (SDXL: with its pooled row) and the UNet's answers with what is loaded now."""
    with torch.no_grad():
        if getattr(p, "text_encoder_2", None) is not None:
            hidden, _, pooled, _ = p.encode_prompt(PROMPT, device="cpu", num_images_per_prompt=1)
            g.keep(name + ".text", sdxl.rows(hidden, pooled))
            size = (8 * sdxl.FACTOR, 12 * sdxl.FACTOR)
            g.keep(name + ".unet", sdxl.answer(p, values("sample", (2, 4, 8, 12)), 519, values("text", (2, 78, 56)), (size, (0, 0), size)))
        else:
            ids = p.tokenizer(PROMPT, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
            g.keep(name + ".text", p.text_encoder(ids).last_hidden_state)
            g.keep(name + ".unet", p.unet(values("sample", (1, 4, 16, 16)), 519, values("text", (1, 77, 24))).sample)


def loaded(p, adapters):
    """p with [(state, scale, {layer: alpha})] beside its layers: y = W x + scale alpha / rank up(down(x)), by hooks, without a merge."""
    for h in HOOKS:
        h.remove()
    HOOKS.clear()
    modules = {short + n.replace("text_model.", "").replace(".", "_"): m
               for short, part in (("u", p.unet), ("t", p.text_encoder), ("2", getattr(p, "text_encoder_2", None))) if part is not None
               for n, m in part.named_modules()}
    for state, scale, alphas in adapters:
        for key, down, up, alpha in pairs(state):
            alpha = alphas.get(key, alpha) if alphas else alpha
            HOOKS.append(modules[key].register_forward_hook(beside(down, up, scale * alpha / down.shape[0])))
    return p


HOOKS = []


def beside(down, up, factor):
    def hook(module, x, y):
        if isinstance(module, torch.nn.Linear):
            return y + factor * (x[0] @ down.flatten(1).T @ up.flatten(1).T)
        inner = torch.nn.functional.conv2d(x[0], down, stride=module.stride, padding=module.padding)
        return y + factor * torch.nn.functional.conv2d(inner, up)
    return hook


DOWN = {".lora_down.weight": ".lora_up.weight", ".lora_A.weight": ".lora_B.weight", "_lora.down.weight": "_lora.up.weight",
        ".lora_linear_layer.down.weight": ".lora_linear_layer.up.weight"}


def pairs(state):
    """(flat name of the layer, down, up, alpha)"""
    for k, down in state.items():
        end = next((e for e in DOWN if k.endswith(e)), None)
        if not end:
            continue
        name = k.removesuffix(end)
        up, alpha = state[name + DOWN[end]], state.get(name + ".alpha", torch.tensor(float(down.shape[0]))).item()
        for prefix, short in (("lora_unet_", "u"), ("lora_te1_", "t"), ("lora_te2_", "2"), ("lora_te_", "t"), ("unet.", "u"), ("text_encoder.", "t")):
            if name.startswith(prefix):
                flat = name.removeprefix(prefix).replace(".processor", "").replace(".", "_").replace("text_model_", "")
                flat = flat + "_0" if flat.endswith("to_out") else ORIGINAL.get(flat, flat)
                yield short + flat, down, up, alpha


ORIGINAL = {}  # what an original name stands for


ATTENTION = ["down_blocks.0.attentions.0", "up_blocks.1.attentions.2", "mid_block.attentions.0"]
TEXT = ["q_proj", "out_proj", "fc1"]
METADATA = {"unet.r": 4, "unet.lora_alpha": 6, "unet.alpha_pattern": {"proj_in": 3},
            "unet.target_modules": ["to_q", "to_k", "to_v", "to_out.0", "proj_in"]}  # tests/test_lora.c has the same


def make(out):
    torch.set_num_threads(1)
    g = Own(out)
    p = small(g)
    unet, text = p.unet, p.text_encoder
    everywhere = layers(unet, ATTENTION + ["resnets.0", "conv_in", "conv_out", "downsamplers", "upsamplers", "time_emb"])
    te = {"text_model." + n.removeprefix("text_model."): w for n, w in layers(text, TEXT).items()}
    attention = layers(unet, [a + ".transformer_blocks.0.attn" for a in ATTENTION])
    some = layers(unet, ["mid_block.attentions.0.transformer_blocks.0.attn1", "mid_block.attentions.0.proj_in"])
    states = {
        "lora_kohya": kohya("lora_unet_", everywhere, 3) | kohya("lora_te_", te, 2),
        "lora_peft": dotted("unet.", layers(unet, ["down_blocks.1", "up_blocks.2.resnets"]), 4) | dotted("text_encoder.", te, 2),
        "lora_old": dotted("unet.", attention, 4, ("_lora.down.weight", "_lora.up.weight"), processor) |
                    dotted("text_encoder.", layers_of(te, "q_proj"), 2, (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight")),
        "lora_meta": dotted("unet.", some, 4),
    }
    states = {k: g.adapter(k, v) for k, v in states.items()}
    for name, state in states.items():
        alphas = {"u" + n.replace(".", "_"): 3. if n.endswith("proj_in") else 6. for n in some} if name == "lora_meta" else None
        answers(g, name, loaded(p, [(state, 1., alphas)]))
    answers(g, "half", loaded(p, [(states["lora_kohya"], .5, None)]))
    answers(g, "two", loaded(p, [(states["lora_kohya"], .5, None), (states["lora_peft"], -.75, None)]))
    same_as_diffusers(loaded(p, []), g, states)

    x = sdxl.pipeline(NoFiles())
    fill(x)
    te1, te2 = ({"text_model." + n.removeprefix("text_model."): w for n, w in layers(e, TEXT).items()}
                for e in (x.text_encoder, x.text_encoder_2))
    wanted = layers(x.unet, ["down_blocks.1", "mid_block.attentions.0.transformer_blocks.1", "up_blocks.0.attentions.2",
                             "up_blocks.1.attentions.0.transformer_blocks", "up_blocks.0.upsamplers"])
    wanted = {n: w for n, w in wanted.items() if "attentions" in n}
    ORIGINAL.update({original(n).replace(".", "_"): n.replace(".", "_") for n in wanted})
    state = g.adapter("lora_xl", kohya("lora_unet_", wanted, 4, name=original) | kohya("lora_te1_", te1, 2) | kohya("lora_te2_", te2, 2))
    answers(g, "lora_xl", loaded(x, [(state, 1., None)]))
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"  # of the small prior, for tests/cli
    shapes = {name + ".lora_down.weight": (2, 256), name + ".lora_up.weight": (256, 2), name + ".alpha": ()}
    save_file({k: weight(k, v).half() for k, v in shapes.items()}, os.path.join(out, "cli", "adapter.safetensors"))
    save_file(g.arrays, g.file, metadata={m.__name__: m.__version__ for m in (torch, diffusers, transformers, peft)})


def same_as_diffusers(p, g, states):
    """What diffusers and peft make of the UNet's half of a file without alphas, which this version of theirs loses for attention
    and for text encoders."""
    for name in ("lora_kohya", "lora_peft", "lora_old"):
        state = {k: v for k, v in states[name].items() if not k.startswith(("lora_te", "text")) and not k.endswith(".alpha")}
        ours, theirs = (Own(g.folder + "/..") for _ in range(2))
        answers(ours, "", loaded(p, [(state, 1., None)]))
        loaded(p, [])
        with tempfile.TemporaryDirectory() as folder:
            save_file(state, os.path.join(folder, "a.safetensors"))
            p.load_lora_weights(folder, weight_name="a.safetensors")
        answers(theirs, "", p)
        p.unload_lora_weights()
        e = (ours.arrays[".unet"] - theirs.arrays[".unet"]).abs().max().item()
        print(f"  {name}: diffusers' UNet is {e:.1e} away")
        assert e < 1e-4


def layers_of(layers, word):
    return {n: w for n, w in layers.items() if word in n}


class NoFiles:
    """The tiny SDXL's own files are made elsewhere."""
    def model(self, name, m, config=None):
        return m


def original(n):
    """The original SDXL's name for an attention layer of two layers per block."""
    side, block, _, k, rest = n.split(".", 4) if not n.startswith("mid") else ("mid", 0, 0, 0, n.split(".", 3)[3])
    return {"mid": f"middle_block.1.{rest}", "down_blocks": f"input_blocks.{1 + 3 * int(block) + int(k)}.1.{rest}",
            "up_blocks": f"output_blocks.{3 * int(block) + int(k)}.1.{rest}"}[side]
