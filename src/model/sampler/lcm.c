/* lcm.c - latent consistency models: the network's prediction, noised to the next level,
 *
 *     z' = sqrt(ab') f(z, t) + sqrt(1 - ab') eps,   f = c_skip z + c_out x0          Luo et al. 2023, arXiv 2310.04378
 *
 * and trajectory consistency: down to t_s = (1 - eta) t', then noised up to t',
 *
 *     z_s = sqrt(ab_s) x0 + sqrt(1 - ab_s) eps,   z' = sqrt(ab'/ab_s) z_s + sqrt(1 - ab'/ab_s) n    Zheng et al. 2024,
 *                                                                                                  arXiv 2402.19159
 * Both take n of the original steps, which end every train_steps / original_inference_steps, or are told. */
#include <math.h>

#include "../sampler.h"

/* The time steps of option timesteps into t, unless that is NULL; their number, 0: there are none, or a status. */
static int given_steps(const ltn_sampler *s, double *t)
{
    const char *text = ltn__str(&s->s->options, "timesteps"), *end = text;
    double last = s->s->train_steps;
    int n = 0;
    for (const char *p = text; p && *p; p = end + (*end == ','), n++) {
        const double v = ltn__parse_number(p, &end);
        if (end == p || (*end && *end != ',') || v != floor(v) || v < 0 || v >= last)
            return ltn__fail(s->ctx, LTN_EINVAL,
                             "timesteps=%.100s: expected whole numbers below %d, each below the one before", text,
                             s->s->train_steps);
        last = v;
        if (t) t[n] = v;
    }
    return n;
}

/* n of the original steps. */
static ltn_status original_steps(ltn_sampler *s)
{
    const int all = s->s->train_steps, m = (int)LTN_MIN(ltn__option(s->s, "original_inference_steps", 50), all);
    if (s->steps > m)
        return ltn__fail(s->ctx, LTN_EINVAL, "%d steps, at most original_inference_steps, %d", s->steps, m);
    const ltn_status e = ltn__sampler_room(s, s->steps);
    for (int i = 0; !e && i < s->steps; i++) s->t[i] = (m - (int)floor((double)i * m / s->steps)) * (all / m) - 1;
    return e;
}

static ltn_status plan(ltn_sampler *s)
{
    const int given = given_steps(s, NULL);
    if (given > 0) ltn__sampler_takes(s, given);
    const ltn_status e = given < 0 ? (ltn_status)given : given ? ltn__sampler_room(s, given) : original_steps(s);
    if (e) return e;
    if (given) given_steps(s, s->t);
    for (int i = 0; i < s->calls; i++) s->level[i] = ltn__level_at(s->s, (int)s->t[i]);
    s->level[s->calls] = (ltn_level){1, 0};
    s->draws = true;
    return LTN_OK;
}

static void lcm_step(ltn_sampler *s, const float *net, const float *noise, float *z)
{
    const double data = s->s->sigma_data, scaled = s->t[s->k] * s->s->timestep_scaling;
    const double norm = scaled * scaled + data * data;
    const double skip = data * data / norm, out = scaled / sqrt(norm);
    const ltn_level next = s->level[s->k + 1];
    ltn__sampler_predict(s, net, z);
    ltn__mix(z, s->n, (const ltn_term[]){{next.a * out, s->x0}, {next.a * skip, z}, {next.b, noise}}, 3);
}

static ltn_status tcd_plan(ltn_sampler *s)
{
    const ltn_status e = plan(s);
    s->draws = ltn__option(s->s, "eta", 0) > 0;
    return e;
}

static void tcd_step(ltn_sampler *s, const float *net, const float *noise, float *z)
{
    const bool last = s->k + 1 == s->calls;
    const double eta = ltn__option(s->s, "eta", 0), to = last ? 0 : s->t[s->k + 1];
    const ltn_level down = ltn__level_at(s->s, (int)floor((1 - eta) * to)), up = last ? down : s->level[s->k + 1];
    const double ratio = up.a / down.a;
    ltn__sampler_predict(s, net, z);
    ltn__mix(z, s->n, (const ltn_term[]){{ratio * down.a, s->x0}, {ratio * down.b, s->eps},
                                         {sqrt(1 - ratio * ratio), noise}}, 3);
}

#define ORIGINAL                                                                                                     \
    {.name = "original_inference_steps", .help = "the steps that time steps are taken from", .type = LTN_INT,        \
     .def = 50, .min = 1, .max = 1 << 20},                                                                           \
    {.name = "timesteps", .help = "all of them, whatever the number of steps, as '999,749,499,249'", .type = LTN_STRING}

static const ltn_param lcm_params[] = {
    LTN_BETAS(0.00085, 0.012, 1, LTN_BETA_SCHEDULES),
    LTN_PREDICTS,
    LTN_ZERO_SNR,
    ORIGINAL,
    {.name = "timestep_scaling", .help = "of t in c_skip and c_out", .type = LTN_FLOAT, .def = 10, .max = 1e6},
    LTN_CLIPS(0),
    LTN_THRESHOLDS,
    {0},
};

static const ltn_param tcd_params[] = {
    LTN_BETAS(0.00085, 0.012, 1, LTN_BETA_SCHEDULES),
    LTN_PREDICTS,
    LTN_ZERO_SNR,
    ORIGINAL,
    {.name = "eta", .help = "fresh noise in every step: 0 none, 1 all", .type = LTN_FLOAT, .def = 0.3, .max = 1},
    {0},
};

const ltn_sampler_row ltn__sampler_lcm = {
    .entry = {.name = "lcm", .alias = "LCMScheduler", .help = "latent consistency models, 1 to 8 steps",
              .cite = "Luo et al. 2023, arXiv 2310.04378", .param = lcm_params},
    .consistency = true,
    .plan = plan,
    .step = lcm_step,
};

const ltn_sampler_row ltn__sampler_tcd = {
    .entry = {.name = "tcd", .alias = "TCDScheduler", .help = "trajectory consistency models, 2 to 20 steps",
              .cite = "Zheng et al. 2024, arXiv 2402.19159", .param = tcd_params},
    .plan = tcd_plan,
    .step = tcd_step,
};
