"""diffusers' schedulers over a network that is a formula: where the walk ends, from noise and from a picture.

tests/golden/sampler.json holds every case: the scheduler_config.json of a class, and what the call adds; sampler.safetensors
for each case and number of steps the time steps, what the network is fed half-way, and the end. The network and all noise are
formulas that tests/test_sampler.c repeats. Everything is computed in double precision: torch.float32 and numpy.float32 mean
double inside the schedulers' modules, so that rounding is ours alone."""
import json
import os
import sys
import warnings

import diffusers
import numpy as np
import torch
from safetensors.torch import save_file
from golden import load

base = load("model")

COUNT, STEPS = 16, (4, 8, 20)
SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


class Double:
    """A module whose float32 is double."""

    def __init__(self, module):
        self._module = module
        self.float32 = module.float64

    def __getattr__(self, name):
        return getattr(self._module, name)


def network(x, t):
    i = torch.arange(COUNT, dtype=torch.float64).reshape(x.shape)
    return 0.8 * x + 0.3 * torch.sin(2 * x + 0.004 * float(t) + i)


def numbers(name):
    return torch.tensor(base.noise(name, COUNT) / 128 * 2, dtype=torch.float64).reshape(1, 1, 4, 4)


def open_scheduler(name, options):
    kind = getattr(diffusers, name)
    module = sys.modules[kind.__module__]
    if not isinstance(module.torch, Double):
        module.torch, module.np = Double(torch), Double(np)
    return kind(**options), module


def walk(case, steps):
    given = case["config"].get("timesteps")  # of the call, not of the scheduler
    s, module = open_scheduler(case["config"]["_class_name"],
                               {k: v for k, v in case["config"].items() if k[0] != "_" and k != "timesteps"})
    s.set_timesteps(timesteps=given) if given else s.set_timesteps(steps)
    strength = case.get("strength", 1)
    begin = steps - min(int(steps * strength), steps)
    times = s.timesteps[begin:]
    if hasattr(s, "set_begin_index"):  # else a time step that stands twice is looked for, and its second place taken
        s.set_begin_index(begin)
    x = numbers("noise0")
    x = s.add_noise(numbers("latent"), x, times[:1]) if strength < 1 else x * s.init_noise_sigma
    extra = {"eta": case["eta"]} if "eta" in case else {}
    middle, calls = None, len(s.timesteps)
    for k, t in enumerate(times):
        module.randn_tensor = lambda *a, k=begin + k, **b: numbers(f"noise{k + 1}")
        fed = s.scale_model_input(x, t)
        if begin + k == calls // 2 or middle is None:
            middle = fed
        x = s.step(network(fed, t), t, x, **extra).prev_sample
    assert torch.isfinite(x).all(), case
    return torch.cat([s.timesteps.double(), middle.flatten(), x.flatten()]).float()


def product(kind, *variants, base=SD, **call):
    """One case for each dictionary of options."""
    for v in variants:
        yield dict(call, config=dict(base, **v, _class_name=kind))


BETAS = [dict(beta_schedule="linear", beta_start=0.0001, beta_end=0.02), dict(beta_schedule="squaredcos_cap_v2"),
         dict(trained_betas=[round(0.001 + 0.0006 * i, 4) for i in range(100)], num_train_timesteps=100)]
SPACINGS = [dict(timestep_spacing=s) for s in ("leading", "linspace", "trailing")] + \
           [dict(timestep_spacing="leading", steps_offset=1)]
PREDICTIONS = [dict(prediction_type=p) for p in ("sample", "v_prediction")]
V = dict(prediction_type="v_prediction")
ZERO = [dict(rescale_betas_zero_snr=True, timestep_spacing="trailing", **V)]
CLIPS = [dict(clip_sample=True), dict(clip_sample=True, clip_sample_range=0.5), dict(clip_sample=False)]
THRESHOLDS = [dict(thresholding=True), dict(thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=4.0)]
LADDERS = [dict(use_karras_sigmas=True), dict(use_exponential_sigmas=True), dict(use_beta_sigmas=True)]
FINALS = [dict(final_sigmas_type=f) for f in ("zero", "sigma_min")]


def cases():
    lcm, tcd, ddim, ddpm, euler, ancestral, lms, pndm, multi, single, unipc = (
        "LCMScheduler", "TCDScheduler", "DDIMScheduler", "DDPMScheduler", "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler", "LMSDiscreteScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler", "UniPCMultistepScheduler")
    everywhere = [{}] + BETAS + PREDICTIONS
    for kind in (lcm, tcd, ddim, ddpm, euler, lms, multi, single, unipc):
        yield from product(kind, *everywhere)
        yield from product(kind, {}, base={})  # the class's own defaults
    yield from product(ancestral, {}, *BETAS, V)
    yield from product(ancestral, {}, base={})
    yield from product(lcm, *CLIPS, *THRESHOLDS, dict(original_inference_steps=100), dict(timestep_scaling=0.002),
                       dict(rescale_betas_zero_snr=True, **V))
    yield from product(tcd, dict(original_inference_steps=25), dict(rescale_betas_zero_snr=True, **V))
    yield from product(tcd, {}, V, eta=0)
    yield from product(tcd, {}, PREDICTIONS[0], eta=1)
    for kind in (lcm, tcd):
        yield from product(kind, dict(timesteps=[999, 749, 499, 249]), dict(timesteps=[399, 7, 0], **V), steps=[4])
    for kind in (ddim, ddpm):
        yield from product(kind, *SPACINGS, *ZERO, *CLIPS, *THRESHOLDS)
    yield from product(ddim, *[dict(set_alpha_to_one=b, steps_offset=1, clip_sample=False) for b in (True, False)])
    yield from product(ddim, {}, V, dict(clip_sample=False, timestep_spacing="trailing"), eta=0.5)
    yield from product(ddim, dict(clip_sample=False), eta=1)
    yield from product(ddpm, *[dict(beta_schedule=b) for b in ("sigmoid", "laplace")],
                       *[dict(variance_type=v) for v in ("fixed_small", "fixed_small_log", "fixed_large")])
    for kind in (euler, ancestral, lms):
        yield from product(kind, *SPACINGS)
    yield from product(ancestral, *ZERO)
    yield from product(lms, *LADDERS)
    yield from product(euler, *LADDERS, *FINALS, *ZERO, dict(interpolation_type="log_linear"),
                       dict(interpolation_type="log_linear", use_karras_sigmas=True, timestep_spacing="leading"),
                       dict(use_karras_sigmas=True, sigma_min=0.1, sigma_max=10.0), dict(use_exponential_sigmas=True, sigma_min=0.05),
                       dict(timestep_type="continuous", **V), dict(timestep_type="continuous"))
    skip = dict(skip_prk_steps=True)
    for p in (skip, {}):
        yield from product(pndm, *[dict(p, **v) for v in [{}] + BETAS + SPACINGS + [V, dict(set_alpha_to_one=True)]])
    for kind in (multi, single):
        plain = "dpmsolver", "dpmsolver++", "sde-dpmsolver++"
        for algorithm in plain + (("sde-dpmsolver",) if kind == multi else ()):
            for order in (1, 2, 3):
                if (algorithm, order) == ("sde-dpmsolver", 3):
                    continue
                for solver in ("midpoint", "heun")[:1 if order == 1 else 2]:
                    # These go astray in 20 steps: the last bit of a number becomes its third digit.
                    wild = kind == single and (algorithm, order, solver) == ("sde-dpmsolver++", 3, "heun")
                    yield from product(kind, dict(algorithm_type=algorithm, solver_order=order, solver_type=solver,
                                                  final_sigmas_type="sigma_min"), **(dict(steps=[4, 8]) if wild else {}))
        yield from product(kind, *LADDERS, *FINALS, *THRESHOLDS, dict(solver_order=3, final_sigmas_type="zero"),
                           dict(use_karras_sigmas=True, beta_schedule="squaredcos_cap_v2"), dict(lambda_min_clipped=-2.0),
                           *[dict(lower_order_final=b, solver_order=3, final_sigmas_type="sigma_min") for b in (True, False)])
        yield from product(kind, dict(algorithm_type="deis", final_sigmas_type="sigma_min"), *[dict(solver_type=t) for t in ("bh1", "bh2", "logrho")])
    yield from product(single, dict(lower_order_final=False, solver_order=2, final_sigmas_type="sigma_min"),
                       dict(lower_order_final=True, solver_order=2, final_sigmas_type="sigma_min"))
    yield from product(multi, *SPACINGS, *ZERO, dict(use_lu_lambdas=True), dict(euler_at_final=True),
                       dict(euler_at_final=True, final_sigmas_type="sigma_min"), dict(use_karras_sigmas=True, algorithm_type="sde-dpmsolver++"),
                       dict(lambda_min_clipped=-2.0, timestep_spacing="trailing"), dict(algorithm_type="dpmsolver", thresholding=True,
                                                                                       final_sigmas_type="sigma_min"))
    yield from product(unipc, *SPACINGS, *ZERO, *LADDERS, *FINALS, *THRESHOLDS,
                       dict(use_karras_sigmas=True, final_sigmas_type="sigma_min"),
                       dict(use_karras_sigmas=True, sigma_min=0.1, sigma_max=10.0), dict(disable_corrector=[0, 2]),
                       *[dict(solver_type=t, solver_order=o, predict_x0=x, final_sigmas_type="sigma_min")
                         for t in ("bh1", "bh2") for o in (1, 2, 3) for x in (True, False)],
                       dict(lower_order_final=False, final_sigmas_type="sigma_min", solver_order=3), *[dict(solver_type=t) for t in ("midpoint", "heun", "logrho")],
                       dict(solver_order=3))
    for kind, more in [(lcm, {}), (tcd, {}), (ddim, {}), (ddpm, {}), (euler, {}), (euler, dict(timestep_spacing="leading")),
                       (ancestral, {}), (pndm, dict(skip, steps_offset=1)), (multi, {}), (multi, dict(solver_order=3)),
                       (single, {}), (unipc, {})]:
        yield from product(kind, more, strength=0.5)


def make(out):
    torch.set_num_threads(1)
    diffusers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")  # of algorithms that are called old
    arrays, listed = {}, []
    for case in cases():
        if case in listed:
            continue
        for steps in case.get("steps", STEPS):
            arrays[f"{len(listed)}.{steps}"] = walk(case, steps)
        listed.append(case)
    with open(os.path.join(out, "sampler.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in listed) + "\n]\n")
    versions = {"torch": torch.__version__, "diffusers": diffusers.__version__, "numpy": np.__version__}
    save_file(arrays, os.path.join(out, "sampler.safetensors"), metadata=versions)
