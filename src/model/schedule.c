/* schedule.c - the noise schedule of a scheduler_config.json: alpha-bar_t = prod_{s <= t} (1 - beta_s), the
 * time steps, and the clean latent from a network's output:
 *
 *     epsilon  x0 = (z - sqrt(1 - ab) eps) / sqrt(ab)       Ho et al. 2020
 *     v        x0 = sqrt(ab) z - sqrt(1 - ab) v             Salimans & Ho 2022
 *     f(z, t)  = c_skip z + c_out x0                        latent consistency models, Luo et al. 2023
 *
 * with c_skip = s^2 / (T^2 + s^2), c_out = T / sqrt(T^2 + s^2), T = t * timestep_scaling, s = 0.5. */
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_STEPS = 1 << 20 };

/* What diffusers' classes default to. Those that are neither LCM nor DDIM lend their alpha-bar. */
typedef struct known {
    const char *name;
    double beta_start, beta_end;
    const char *betas, *spacing;
    bool consistency, alpha_to_one, clips, foreign;
} known;
static const known schedulers[] = {
    {"LCMScheduler", 0.00085, 0.012, "scaled_linear", "leading", true, true, false, false},
    {"DDIMScheduler", 0.0001, 0.02, "linear", "leading", false, true, true, false},
    {"PNDMScheduler", 0.0001, 0.02, "linear", "leading", false, false, false, true},
    {"DDPMScheduler", 0.0001, 0.02, "linear", "leading", false, true, true, true},
    {"EulerDiscreteScheduler", 0.0001, 0.02, "linear", "linspace", false, true, false, true},
    {"EulerAncestralDiscreteScheduler", 0.0001, 0.02, "linear", "linspace", false, true, false, true},
    {"LMSDiscreteScheduler", 0.0001, 0.02, "linear", "linspace", false, true, false, true},
    {"DPMSolverMultistepScheduler", 0.0001, 0.02, "linear", "linspace", false, true, false, true},
    {"UniPCMultistepScheduler", 0.0001, 0.02, "linear", "linspace", false, true, false, true},
};

static const known *find(const char *name)
{
    for (int i = 0; i < LTN_COUNT(schedulers); i++)
        if (!strcmp(schedulers[i].name, name)) return &schedulers[i];
    return NULL;
}

static double cosine(double t)
{
    const double c = cos((t + 0.008) / 1.008 * acos(-1) / 2);
    return c * c;
}

typedef double (*beta_of)(double start, double end, double i, double n);

static double linear(double start, double end, double i, double n)
{
    return n > 1 ? start + (end - start) * i / (n - 1) : start;
}

static double scaled_linear(double start, double end, double i, double n)
{
    const double r = linear(sqrt(start), sqrt(end), i, n);
    return r * r;
}

static double squaredcos(double start, double end, double i, double n)
{
    return fmin(1 - cosine((i + 1) / n) / cosine(i / n), 0.999);
}

static const struct {
    const char *name;
    beta_of beta;
} beta_schedules[] = {
    {"linear", linear},
    {"scaled_linear", scaled_linear},
    {"squaredcos_cap_v2", squaredcos},
};

static ltn_status fill(ltn_ctx *ctx, const ltn_json *c, const known *k, ltn_schedule *s)
{
    const char *name = ltn__json_str(c, "beta_schedule", k->betas);
    const double start = ltn__json_num(c, "beta_start", k->beta_start);
    const double end = ltn__json_num(c, "beta_end", k->beta_end);
    int b = 0;
    while (b < LTN_COUNT(beta_schedules) && strcmp(beta_schedules[b].name, name)) b++;
    if (b == LTN_COUNT(beta_schedules))
        return ltn__fail(ctx, LTN_EFORMAT, "beta_schedule is %s, which is not supported", name);
    if (!(start >= 0 && start <= end && end < 1))
        return ltn__fail(ctx, LTN_EFORMAT, "expected 0 <= beta_start <= beta_end < 1");
    double product = 1;
    for (int t = 0; t < s->train_steps; t++)
        s->alpha_bar[t] = product *= 1 - beta_schedules[b].beta(start, end, t, s->train_steps);
    return LTN_OK;
}

/* Shifts and scales sqrt(alpha-bar) so that the last is 0 and the first stays: Lin et al. 2024, arXiv
 * 2305.08891. */
static void zero_terminal(ltn_schedule *s)
{
    const double first = sqrt(s->alpha_bar[0]), last = sqrt(s->alpha_bar[s->train_steps - 1]);
    for (int t = 0; t < s->train_steps; t++) {
        const double r = (sqrt(s->alpha_bar[t]) - last) * first / (first - last);
        s->alpha_bar[t] = r * r;
    }
}

static ltn_status read_words(ltn_ctx *ctx, const ltn_json *c, const known *k, ltn_schedule *s)
{
    static const char *const predictions[] = {"epsilon", "sample", "v_prediction"};
    const char *spacing = ltn__json_str(c, "timestep_spacing", k->spacing);
    const char *prediction = ltn__json_str(c, "prediction_type", "epsilon");
    int p = 0;
    while (p < 3 && strcmp(predictions[p], prediction)) p++;
    if (p == 3)
        return ltn__fail(ctx, LTN_EFORMAT, "prediction_type is %s, expected epsilon, sample or v_prediction",
                         prediction);
    if (strcmp(spacing, "leading") && strcmp(spacing, "trailing") && strcmp(spacing, "linspace"))
        return ltn__fail(ctx, LTN_EFORMAT, "timestep_spacing is %s, expected leading, trailing or linspace",
                         spacing);
    if (ltn__json_bool(c, "thresholding", false))
        return ltn__fail(ctx, LTN_EFORMAT, "thresholding is not supported");
    const ltn_json *betas = ltn__json_get(c, "trained_betas");
    if (betas && betas->type != LTN_JSON_NULL)
        return ltn__fail(ctx, LTN_EFORMAT, "trained_betas are not supported");
    s->prediction = (ltn_prediction)p;
    snprintf(s->spacing, sizeof s->spacing, "%s", spacing);
    snprintf(s->name, sizeof s->name, "%s", k->name);
    return LTN_OK;
}

static ltn_status whole(ltn_ctx *ctx, const ltn_json *c, const char *key, int absent, int least, int *out)
{
    const double v = ltn__json_num(c, key, absent);
    if (!(v >= least && v <= MAX_STEPS && v == floor(v)))
        return ltn__fail(ctx, LTN_EFORMAT, "%s: expected a whole number from %d to %d", key, least,
                         MAX_STEPS);
    *out = (int)v;
    return LTN_OK;
}

static ltn_status read_config(ltn_ctx *ctx, const ltn_json *c, ltn_schedule *s)
{
    const char *name = ltn__json_str(c, "_class_name", "");
    const known *k = find(name);
    ltn_status e;
    if (!k) return ltn__fail(ctx, LTN_EFORMAT, "_class_name is \"%s\", which is no known scheduler", name);
    if ((e = read_words(ctx, c, k, s))) return e;
    if ((e = whole(ctx, c, "num_train_timesteps", 1000, 2, &s->train_steps))) return e;
    if ((e = whole(ctx, c, "original_inference_steps", LTN_MIN(50, s->train_steps), 1, &s->original_steps)))
        return e;
    if ((e = whole(ctx, c, "steps_offset", 0, 0, &s->steps_offset))) return e;
    if (s->original_steps > s->train_steps)
        return ltn__fail(ctx, LTN_EFORMAT, "original_inference_steps: expected at most %d", s->train_steps);
    s->consistency = k->consistency;
    s->timestep_scaling = ltn__json_num(c, "timestep_scaling", 10);
    s->sigma_data = 0.5;
    if (ltn__json_bool(c, "clip_sample", k->clips)) s->clip = ltn__json_num(c, "clip_sample_range", 1);
    if (!(s->alpha_bar = ltn__alloc(ctx, (size_t)s->train_steps, sizeof *s->alpha_bar))) return LTN_ENOMEM;
    if ((e = fill(ctx, c, k, s))) return e;
    if (ltn__json_bool(c, "rescale_betas_zero_snr", false)) zero_terminal(s);
    s->final_alpha = ltn__json_bool(c, "set_alpha_to_one", k->alpha_to_one) ? 1 : s->alpha_bar[0];
    if (k->foreign) ltn__log(ctx, 1, "%s: its alpha-bar is used, the steps are taken by the solver", s->name);
    return LTN_OK;
}

ltn_status ltn__schedule_parse(ltn_ctx *ctx, const char *path, const char *text, size_t n, ltn_schedule *out)
{
    ltn_arena arena = {ctx, NULL};
    ltn_json *config;
    memset(out, 0, sizeof *out);
    ltn_status s = ltn__json_parse(ctx, path, text, n, &arena, &config);
    if (!s && (s = read_config(ctx, config, out))) {
        ltn__within(ctx, s, "%s", path);
        ltn__schedule_free(ctx, out);
    }
    ltn__arena_free(&arena);
    return s;
}

ltn_status ltn__schedule_read(ltn_ctx *ctx, const char *path, ltn_schedule *out)
{
    ltn_bytes b;
    memset(out, 0, sizeof *out);
    ltn_status s = ltn__file_read(ctx, path, &b);
    if (s) return s;
    s = ltn__schedule_parse(ctx, path, (const char *)b.data, b.size, out);
    ltn__free(ctx, b.data);
    return s;
}

void ltn__schedule_free(ltn_ctx *ctx, ltn_schedule *s)
{
    ltn__free(ctx, s->alpha_bar);
    s->alpha_bar = NULL;
}

/* z0 = skip z + out clip(of_z z + of_net net) */
typedef struct prediction {
    double skip, out, of_z, of_net, clip;
} prediction;

static prediction prediction_at(const ltn_schedule *s, int t)
{
    const double a = sqrt(s->alpha_bar[t]), b = sqrt(1 - s->alpha_bar[t]);
    const double of_z[] = {1 / a, 0, a}, of_net[] = {-b / a, 1, -b};
    const double scaled = t * s->timestep_scaling, data = s->sigma_data, norm = scaled * scaled + data * data;
    return (prediction){.skip = s->consistency ? data * data / norm : 0, .out = s->consistency ? scaled / sqrt(norm) : 1,
                        .of_z = of_z[s->prediction], .of_net = of_net[s->prediction], .clip = s->clip ? s->clip : INFINITY};
}

void ltn__schedule_predict(const ltn_schedule *s, int t, const float *z, const float *net, float *z0,
                           size_t n)
{
    const prediction p = prediction_at(s, t);
    for (size_t i = 0; i < n; i++) {
        const double x0 = fmax(-p.clip, fmin(p.clip, p.of_z * z[i] + p.of_net * net[i]));
        z0[i] = (float)(p.skip * z[i] + p.out * x0);
    }
}

void ltn__schedule_back(const ltn_schedule *s, int t, const float *z, const float *net, const float *dz0, float *dz,
                        float *dnet, size_t n)
{
    const prediction p = prediction_at(s, t);
    for (size_t i = 0; i < n; i++) {
        const double out = fabs(p.of_z * z[i] + p.of_net * net[i]) <= p.clip ? p.out * dz0[i] : 0;
        dz[i] = (float)(p.skip * dz0[i] + p.of_z * out);
        dnet[i] = (float)(p.of_net * out);
    }
}

/* LCM: n of the original steps, which end every train_steps / original_steps. */
static int lcm_steps(const ltn_schedule *s, int n, int *t)
{
    const int stride = s->train_steps / s->original_steps, m = s->original_steps;
    n = LTN_MIN(n, m);
    for (int i = 0; i < n; i++) t[i] = (m - (int)floor((double)i * m / n)) * stride - 1;
    return n;
}

int ltn__schedule_steps(const ltn_schedule *s, int n, int *t)
{
    const int all = s->train_steps;
    n = LTN_MAX(1, LTN_MIN(n, all));
    if (s->consistency) return lcm_steps(s, n, t);
    for (int i = 0; i < n; i++) {
        const int left = n - 1 - i;
        if (!strcmp(s->spacing, "trailing"))
            t[i] = (int)rint(all - i * ((double)all / n)) - 1;
        else if (!strcmp(s->spacing, "linspace"))
            t[i] = n > 1 ? (int)rint(left * ((all - 1.) / (n - 1))) : 0;
        else
            t[i] = LTN_MIN(left * (all / n) + s->steps_offset, all - 1);
    }
    return n;
}
