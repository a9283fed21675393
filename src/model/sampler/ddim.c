/* ddim.c - denoising diffusion implicit models, with x0 and eps the network's and ab' the next alpha-bar:
 *
 *     z' = sqrt(ab') x0 + sqrt(1 - ab' - s^2) eps + s n,   s^2 = eta^2 (1 - ab') / (1 - ab) (1 - ab / ab')
 *
 * (Song et al. 2021), and the ancestral sampling of diffusion models, with beta = 1 - ab / ab':
 *
 *     z' = sqrt(ab') beta / (1 - ab) x0 + sqrt(ab / ab') (1 - ab') / (1 - ab) z + sqrt(v) n
 *
 * with v = (1 - ab') / (1 - ab) beta (fixed_small) or beta (fixed_large) (Ho et al. 2020). */
#include <math.h>

#include "../sampler.h"

static ltn_status plan(ltn_sampler *s)
{
    const ltn_status e = ltn__sampler_room(s, s->steps);
    if (e) return e;
    ltn__sampler_spaced(s, s->s->train_steps, false, s->t);
    for (int i = 0; i < s->steps; i++) {
        s->t[i] = rint(s->t[i]);
        s->level[i] = ltn__level_at(s->s, (int)s->t[i]);
    }
    s->level[s->steps] = (ltn_level){1, 0};
    s->draws = true;
    return LTN_OK;
}

static ltn_status ddim_plan(ltn_sampler *s)
{
    const ltn_status e = plan(s);
    s->draws = ltn__option(s->s, "eta", 0) > 0;
    return e;
}

/* The next level is that of t - train_steps / steps, which is the next time step only where those are evenly spaced. */
static void ddim_step(ltn_sampler *s, const float *net, const float *noise, float *z)
{
    const ltn_level at = s->level[s->k], to = ltn__level_before(s->s, (int)s->t[s->k] - s->s->train_steps / s->steps);
    const double ratio = at.a / to.a, fresh = ltn__option(s->s, "eta", 0) * to.b / at.b * sqrt(1 - ratio * ratio);
    ltn__sampler_predict(s, net, z);
    ltn__mix(z, s->n, (const ltn_term[]){{to.a, s->x0}, {sqrt(to.b * to.b - fresh * fresh), s->eps}, {fresh, noise}},
             3);
}

static void ddpm_step(ltn_sampler *s, const float *net, const float *noise, float *z)
{
    const ltn_level at = s->level[s->k], to = s->level[s->k + 1];
    const double ratio = at.a / to.a, beta = 1 - ratio * ratio, b2 = at.b * at.b;
    const double small = fmax(to.b * to.b / b2 * beta, 1e-20);
    const double fresh = s->t[s->k] > 0 ? sqrt(ltn__option_is(s->s, "variance_type", "fixed_large") ? beta : small) : 0;
    ltn__sampler_predict(s, net, z);
    ltn__mix(z, s->n, (const ltn_term[]){{to.a * beta / b2, s->x0}, {ratio * to.b * to.b / b2, z}, {fresh, noise}}, 3);
}

static const ltn_param ddim_params[] = {
    LTN_BETAS(0.0001, 0.02, 0, LTN_BETA_SCHEDULES),
    LTN_PREDICTS,
    LTN_SPACING(0),
    LTN_ALPHA_TO_ONE(1),
    LTN_ZERO_SNR,
    LTN_CLIPS(1),
    LTN_THRESHOLDS,
    {.name = "eta", .help = "fresh noise in every step: 1 ancestral sampling, 0 none", .type = LTN_FLOAT, .max = 1},
    {0},
};

static const ltn_param ddpm_params[] = {
    LTN_BETAS(0.0001, 0.02, 0, LTN_BETA_SCHEDULES "|sigmoid|laplace"),
    LTN_PREDICTS,
    LTN_SPACING(0),
    LTN_ZERO_SNR,
    LTN_CLIPS(1),
    LTN_THRESHOLDS,
    {.name = "variance_type", .help = "of the fresh noise", .type = LTN_CHOICE,
     .choices = "fixed_small|fixed_small_log|fixed_large"},
    {0},
};

const ltn_sampler_row ltn__sampler_ddim = {
    .entry = {.name = "ddim", .alias = "DDIMScheduler", .help = "denoising diffusion implicit models",
              .cite = "Song et al. 2021, arXiv 2010.02502", .param = ddim_params},
    .plan = ddim_plan,
    .step = ddim_step,
};

const ltn_sampler_row ltn__sampler_ddpm = {
    .entry = {.name = "ddpm", .alias = "DDPMScheduler", .help = "ancestral sampling of diffusion models",
              .cite = "Ho et al. 2020, arXiv 2006.11239", .param = ddpm_params},
    .plan = plan,
    .step = ddpm_step,
};
