/* schedule.c - the noise schedule of a scheduler_config.json: alpha-bar_t = prod_{s <= t} (1 - beta_s), and the clean
 * latent from a network's output:
 *
 *     epsilon  x0 = (z - sqrt(1 - ab) eps) / sqrt(ab)       Ho et al. 2020
 *     v        x0 = sqrt(ab) z - sqrt(1 - ab) v             Salimans & Ho 2022
 *     f(z, t)  = c_skip z + c_out x0                        latent consistency models, Luo et al. 2023
 *
 * with c_skip = s^2 / (T^2 + s^2), c_out = T / sqrt(T^2 + s^2), T = t * timestep_scaling, s = 0.5. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sampler.h"

double ltn__option(const ltn_schedule *s, const char *name, double absent)
{
    const double v = ltn__num(&s->options, name);
    return isnan(v) ? absent : v;
}

bool ltn__option_is(const ltn_schedule *s, const char *name, const char *word)
{
    const char *v = ltn__str(&s->options, name);
    return v && !strcmp(v, word);
}

/* ---- Betas ---- */

static double cosine(double t)
{
    const double c = cos((t + 0.008) / 1.008 * acos(-1) / 2);
    return c * c;
}

/* sqrt(snr / (1 + snr)) of a signal-to-noise ratio whose logarithm follows Laplace's distribution. */
static double laplace_signal(double t)
{
    const double l = -0.5 * copysign(1, 0.5 - t) * log(1 - 2 * fabs(0.5 - t) + 1e-6);
    return 1 / sqrt(1 + exp(-l));
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

static double laplace(double start, double end, double i, double n)
{
    return fmin(1 - laplace_signal((i + 1) / n) / laplace_signal(i / n), 0.999);
}

static double sigmoid(double start, double end, double i, double n)
{
    return start + (end - start) / (1 + exp(-linear(-6, 6, i, n)));
}

static const struct {
    const char *name;
    beta_of beta;
} beta_schedules[] = {
    {"linear", linear},
    {"scaled_linear", scaled_linear},
    {"squaredcos_cap_v2", squaredcos},
    {"laplace", laplace},
    {"sigmoid", sigmoid},
};

/* The numbers of trained_betas, one for every time step. */
static ltn_status fill_trained(ltn_ctx *ctx, const char *text, ltn_schedule *s)
{
    double product = 1;
    int t = 0;
    for (const char *end = text; *text; text = end + (*end == ','), t++) {
        const double beta = ltn__parse_number(text, &end);
        if (end == text || (*end && *end != ',') || !(beta >= 0 && beta < 1))
            return ltn__fail(ctx, LTN_EFORMAT, "trained_betas: expected numbers from 0 to less than 1");
        if (t < s->train_steps) s->alpha_bar[t] = product *= 1 - beta;
    }
    if (t != s->train_steps)
        return ltn__fail(ctx, LTN_EFORMAT, "trained_betas: %d numbers for num_train_timesteps %d", t, s->train_steps);
    return LTN_OK;
}

static ltn_status fill(ltn_ctx *ctx, ltn_schedule *s)
{
    const char *trained = ltn__str(&s->options, "trained_betas");
    const double start = ltn__option(s, "beta_start", 0), end = ltn__option(s, "beta_end", 0);
    int b = 0;
    if (trained) return fill_trained(ctx, trained, s);
    if (!(start >= 0 && start <= end && end < 1))
        return ltn__fail(ctx, LTN_EFORMAT, "expected 0 <= beta_start <= beta_end < 1");
    while (!ltn__option_is(s, "beta_schedule", beta_schedules[b].name)) b++;
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
    if (s->row->by_sigma) s->alpha_bar[s->train_steps - 1] = 0x1p-24;
}

/* ---- Options: the spec's, else the configuration's, else the row's own ---- */

/* A list of numbers as trained_betas is written in a spec. */
static ltn_status join(ltn_ctx *ctx, const ltn_json *list, const char *name, ltn_arena *arena, const char **out)
{
    enum { EACH = 26 };
    char *text = ltn__arena_alloc(arena, (size_t)list->count * EACH + 1, 1), *p = text;
    if (!text) return LTN_ENOMEM;
    for (const ltn_json *v = list->child; v; v = v->next) {
        if (v->type != LTN_JSON_NUMBER) return ltn__fail(ctx, LTN_EFORMAT, "%s: expected a list of numbers", name);
        p += snprintf(p, EACH, "%s%.17g", p == text ? "" : ",", v->number);
    }
    *out = text;
    return LTN_OK;
}

/* `word` among "a|b|c", or -1. */
static int choice(const char *choices, const char *word)
{
    const size_t n = strlen(word);
    for (int i = 0;; i++, choices++) {
        const size_t m = strcspn(choices, "|");
        if (m == n && !strncmp(choices, word, n)) return i;
        choices += m;
        if (!*choices) return -1;
    }
}

static ltn_status take_choice(ltn_ctx *ctx, const ltn_param *p, const ltn_json *v, double *num, const char **str)
{
    const char *truth = v->type != LTN_JSON_BOOL ? "set" : v->number ? "true" : "false";
    const char *word = v->type == LTN_JSON_STRING ? v->string : truth;
    const int i = choice(p->choices, word);
    if (i < 0)
        return ltn__fail(ctx, LTN_EFORMAT, "%s is %.100s, which is not supported; expected %s", p->name, word,
                         p->choices);
    *num = i;
    *str = word;
    return LTN_OK;
}

static ltn_status take_number(ltn_ctx *ctx, const ltn_param *p, const ltn_json *v, double *num)
{
    const bool whole = p->type == LTN_INT;
    if (v->type != LTN_JSON_NUMBER || (whole && v->number != floor(v->number)) ||
        (p->min < p->max && !(v->number >= p->min && v->number <= p->max)))
        return ltn__fail(ctx, LTN_EFORMAT, "%s: expected a %snumber from %g to %g", p->name, whole ? "whole " : "",
                         p->min, p->max);
    *num = v->number;
    return LTN_OK;
}

static ltn_status take_config(ltn_ctx *ctx, ltn_schedule *s)
{
    ltn_spec *o = &s->options;
    ltn_status e = LTN_OK;
    for (int k = 0; !e && o->entry->param[k].name; k++) {
        const ltn_param *p = &o->entry->param[k];
        const ltn_json *v = ltn__json_get(s->config, p->name);
        if (o->given[k] || !v || v->type == LTN_JSON_NULL) continue;
        o->given[k] = true;
        if (p->type == LTN_CHOICE) e = take_choice(ctx, p, v, &o->num[k], &o->str[k]);
        else if (p->type != LTN_STRING) e = take_number(ctx, p, v, &o->num[k]);
        else if (v->type == LTN_JSON_STRING) o->str[k] = v->string;
        else e = join(ctx, v, p->name, &s->arena, &o->str[k]);
    }
    return e;
}

/* ---- Opening ---- */

static ltn_prediction prediction_of(const ltn_schedule *s)
{
    return ltn__option_is(s, "prediction_type", "sample")         ? LTN_SAMPLE
           : ltn__option_is(s, "prediction_type", "v_prediction") ? LTN_V
                                                                  : LTN_EPSILON;
}

/* From a spec and the configuration, which is in place; of: whose network it is, NULL: the configuration's. */
static ltn_status open_schedule(ltn_ctx *ctx, const char *spec, const ltn_schedule *of, ltn_schedule *s)
{
    ltn_status e = ltn__spec_parse(ctx, "sampler", ltn__sampler_entry, spec, &s->arena, &s->options);
    const bool told = !e && ltn__given(&s->options, "prediction_type");
    if (e || (e = take_config(ctx, s))) return e;
    s->row = ltn__sampler_row(s->options.row);
    s->train_steps = (int)ltn__option(s, "num_train_timesteps", 1000);
    s->prediction = of && !told ? of->prediction : prediction_of(s);
    s->consistency = s->row->consistency;
    s->timestep_scaling = ltn__option(s, "timestep_scaling", 10);
    s->sigma_data = 0.5;
    s->thresholding = ltn__option(s, "thresholding", 0) != 0;
    s->clip = ltn__option(s, "clip_sample", 0) && !s->thresholding ? ltn__option(s, "clip_sample_range", 1) : 0;
    if (ltn__given(&s->options, "original_inference_steps") &&
        ltn__option(s, "original_inference_steps", 1) > s->train_steps)
        return ltn__fail(ctx, LTN_EFORMAT, "original_inference_steps: expected at most %d", s->train_steps);
    if (!(s->alpha_bar = ltn__alloc(ctx, (size_t)s->train_steps, sizeof *s->alpha_bar))) return LTN_ENOMEM;
    if ((e = fill(ctx, s))) return e;
    if (ltn__option(s, "rescale_betas_zero_snr", 0)) zero_terminal(s);
    return LTN_OK;
}

static ltn_status read_config(ltn_ctx *ctx, ltn_schedule *s)
{
    const char *name = ltn__json_str(s->config, "_class_name", "");
    const int row = ltn__find(ltn__sampler_entry, name);
    if (row < 0) return ltn__fail(ctx, LTN_EFORMAT, "_class_name is \"%.100s\", which is no known scheduler", name);
    s->name = name;
    return open_schedule(ctx, ltn__sampler_entry(row)->name, NULL, s);
}

ltn_status ltn__schedule_parse(ltn_ctx *ctx, const char *path, const char *text, size_t n, ltn_schedule *out)
{
    ltn_json *config;
    *out = (ltn_schedule){.arena = {ctx, NULL}};
    ltn_status s = ltn__json_parse(ctx, path, text, n, &out->arena, &config);
    out->config = config;
    if (!s && (s = read_config(ctx, out))) ltn__within(ctx, s, "%s", path);
    if (s) ltn__schedule_free(ctx, out);
    return s;
}

ltn_status ltn__schedule_read(ltn_ctx *ctx, const char *path, ltn_schedule *out)
{
    ltn_bytes b;
    *out = (ltn_schedule){0};
    ltn_status s = ltn__file_read(ctx, path, &b);
    if (s) return s;
    s = ltn__schedule_parse(ctx, path, (const char *)b.data, b.size, out);
    ltn__free(ctx, b.data);
    return s;
}

ltn_status ltn__schedule_with(ltn_ctx *ctx, const ltn_schedule *of, const char *spec, ltn_schedule *out)
{
    *out = (ltn_schedule){.arena = {ctx, NULL}, .config = of->config};
    const ltn_status s = open_schedule(ctx, spec, of, out);
    if (s) {
        ltn__schedule_free(ctx, out);
        return s;
    }
    out->name = out->options.entry->name;
    return LTN_OK;
}

void ltn__schedule_free(ltn_ctx *ctx, ltn_schedule *s)
{
    ltn__free(ctx, s->alpha_bar);
    ltn__arena_free(&s->arena);
    *s = (ltn_schedule){0};
}

/* ---- The clean latent ---- */

/* z0 = skip z + out clip(of_z z + of_net net) */
typedef struct prediction {
    double skip, out, of_z, of_net, clip;
} prediction;

static prediction prediction_at(const ltn_schedule *s, int t)
{
    const double a = sqrt(s->alpha_bar[t]), b = sqrt(1 - s->alpha_bar[t]);
    const double of_z[] = {1 / a, 0, a}, of_net[] = {-b / a, 1, -b};
    const double scaled = t * s->timestep_scaling, data = s->sigma_data, norm = scaled * scaled + data * data;
    return (prediction){.skip = s->consistency ? data * data / norm : 0,
                        .out = s->consistency ? scaled / sqrt(norm) : 1,
                        .of_z = of_z[s->prediction], .of_net = of_net[s->prediction],
                        .clip = s->clip ? s->clip : INFINITY};
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
