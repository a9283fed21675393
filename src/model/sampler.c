/* sampler.c - the table of samplers, and what they share: where time steps and noise levels lie, the network's output
 * as clean latent and noise, and the walk itself. */
#include "sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROW(name) extern const ltn_sampler_row ltn__sampler_##name;
#include "sampler.def"
#undef ROW

static const ltn_sampler_row *const rows[] = {
#define ROW(name) &ltn__sampler_##name,
#include "sampler.def"
#undef ROW
};

const ltn_sampler_row *ltn__sampler_row(int i)
{
    return i >= 0 && i < LTN_COUNT(rows) ? rows[i] : NULL;
}

const ltn_entry *ltn__sampler_entry(int i)
{
    const ltn_sampler_row *row = ltn__sampler_row(i);
    return row ? &row->entry : NULL;
}

/* ---- Time steps ---- */

int ltn__sampler_spaced(const ltn_sampler *s, int last, bool more, double *t)
{
    const int n = s->steps, m = n + more, all = s->s->train_steps;
    const int offset = (int)ltn__option(s->s, "steps_offset", 0);
    if (ltn__option_is(s->s, "timestep_spacing", "trailing")) {
        const double stride = (double)all / n;
        int count = 0;
        for (; count < n && last - count * stride > 1e-9; count++) t[count] = rint(last - count * stride) - 1;
        return count;
    }
    const bool leading = ltn__option_is(s->s, "timestep_spacing", "leading");
    const double stride = leading ? floor((double)last / m) : m > 1 ? (last - 1.) / (m - 1) : 0;
    for (int i = 0; i < n; i++) t[i] = leading ? LTN_MIN((m - 1 - i) * stride + offset, all - 1) : (m - 1 - i) * stride;
    return n;
}

/* ---- Noise levels ---- */

static ltn_level level_of_alpha(double alpha_bar)
{
    return (ltn_level){sqrt(alpha_bar), sqrt(1 - alpha_bar)};
}

ltn_level ltn__level_at(const ltn_schedule *s, int t)
{
    return level_of_alpha(s->alpha_bar[LTN_MAX(0, LTN_MIN(t, s->train_steps - 1))]);
}

ltn_level ltn__level_before(const ltn_schedule *s, int t)
{
    return t < 0 && ltn__option(s, "set_alpha_to_one", 1) ? (ltn_level){1, 0} : ltn__level_at(s, t);
}

ltn_level ltn__level_of(double sigma)
{
    const double a = 1 / sqrt(sigma * sigma + 1);
    return (ltn_level){a, sigma * a};
}

static double sigma_of(const ltn_schedule *s, int t)
{
    return sqrt((1 - s->alpha_bar[t]) / s->alpha_bar[t]);
}

double ltn__sigma_at(const ltn_schedule *s, double t)
{
    const int low = (int)LTN_MIN(t, s->train_steps - 1), high = LTN_MIN(low + 1, s->train_steps - 1);
    return sigma_of(s, low) + (t - low) * (sigma_of(s, high) - sigma_of(s, low));
}

double ltn__time_of_sigma(const ltn_schedule *s, double sigma)
{
    int low = s->train_steps - 2;
    while (low > 0 && sigma_of(s, low) > sigma) low--;
    const double a = log(sigma_of(s, low)), b = log(sigma_of(s, low + 1)), w = (a - log(fmax(sigma, 1e-10))) / (a - b);
    return low + fmax(0, fmin(1, w));
}

/* Karras et al. 2022, eq. 5: sigma_i^(1/7) is linear in i. */
static double karras(double max, double min, double part)
{
    const double a = pow(max, 1 / 7.), b = pow(min, 1 / 7.);
    return pow(a + part * (b - a), 7);
}

static double exponential(double max, double min, double part)
{
    return exp(log(max) + part * (log(min) - log(max)));
}

/* The density of Beta(0.6, 0.6) up to its constant, by x = sin^2(u): integral of 2 sin(u)^0.2 cos(u)^0.2 du, whose ends
 * are made smooth by u = v^5 near them; both halves are alike. */
static double beta_mass(double u)
{
    enum { N = 400 };
    const double top = pow(u, 0.2);
    double sum = 0;
    for (int i = 0; i <= N; i++) { /* Simpson's rule over v */
        const double v = top * i / N, x = pow(v, 5);
        sum += (i == 0 || i == N ? 1 : i % 2 ? 4 : 2) * pow(sin(x) * cos(x), 0.2) * 5 * pow(v, 4);
    }
    return sum * top / (3 * N);
}

/* The quantile of Beta(0.6, 0.6). */
static double beta_quantile(double p)
{
    const double half = acos(-1) / 4, whole = 2 * beta_mass(half);
    double low = 0, high = half;
    if (p > 0.5) return 1 - beta_quantile(1 - p);
    for (int i = 0; i < 60; i++) {
        const double u = (low + high) / 2;
        if (beta_mass(u) < p * whole) low = u;
        else high = u;
    }
    return sin(low) * sin(low);
}

static double beta(double max, double min, double part)
{
    return min + (max - min) * beta_quantile(1 - part);
}

static const struct {
    const char *option;
    double (*sigma)(double max, double min, double part);
} ladders[] = {{"use_karras_sigmas", karras},
               {"use_exponential_sigmas", exponential},
               {"use_lu_lambdas", exponential},
               {"use_beta_sigmas", beta}};

bool ltn__sampler_sigmas(const ltn_schedule *s, double max, double min, int n, double *sigma)
{
    int k = 0;
    while (k < LTN_COUNT(ladders) && !ltn__option(s, ladders[k].option, 0)) k++;
    for (int i = 0; i < n && k < LTN_COUNT(ladders); i++)
        sigma[i] = ladders[k].sigma(max, min, n > 1 ? (double)i / (n - 1) : 0);
    return k < LTN_COUNT(ladders);
}

static ltn_status check_ladders(ltn_ctx *ctx, const ltn_schedule *s)
{
    const char *first = NULL;
    for (int k = 0; k < LTN_COUNT(ladders); k++) {
        if (!ltn__option(s, ladders[k].option, 0)) continue;
        if (first) return ltn__fail(ctx, LTN_EINVAL, "%s and %s cannot both be true", first, ladders[k].option);
        first = ladders[k].option;
    }
    return LTN_OK;
}

ltn_status ltn__sampler_plan_levels(ltn_sampler *s, int last, double max, double min, bool rounds, bool *own)
{
    const ltn_schedule *c = s->s;
    const int n = s->steps;
    const bool nearest = rounds && (ltn__option(c, "use_karras_sigmas", 0) || ltn__option(c, "use_lu_lambdas", 0));
    ltn_status e = ltn__sampler_room(s, n);
    double *sigma = e ? NULL : ltn__alloc(s->ctx, (size_t)n, sizeof *sigma);
    if (!sigma) return LTN_ENOMEM;
    *own = ltn__sampler_sigmas(c, max, min, n, sigma);
    if (!*own) s->calls = ltn__sampler_spaced(s, last, true, s->t);
    for (int i = 0; i < s->calls; i++) {
        const double t = *own ? ltn__time_of_sigma(c, sigma[i]) : s->t[i];
        s->t[i] = nearest || !*own ? rint(t) : floor(t);
        s->level[i] = ltn__level_of(*own ? sigma[i] : ltn__sigma_at(c, s->t[i]));
    }
    ltn__free(s->ctx, sigma);
    return LTN_OK;
}

/* ---- What the network says ---- */

static int ascending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* x0 within its own quantile q >= 1 of |x0|, divided by that: Saharia et al. 2022, arXiv 2205.11487, section 2.3. */
static void threshold(ltn_sampler *s)
{
    for (size_t i = 0; i < s->n; i++) s->sorted[i] = fabsf(s->x0[i]);
    qsort(s->sorted, s->n, sizeof *s->sorted, ascending);
    const double at = ltn__option(s->s, "dynamic_thresholding_ratio", 1) * (double)(s->n - 1);
    const size_t low = (size_t)at, high = LTN_MIN(low + 1, s->n - 1);
    const double q = s->sorted[low] + (at - (double)low) * (s->sorted[high] - s->sorted[low]);
    const double bound = fmax(1, fmin(q, ltn__option(s->s, "sample_max_value", 1)));
    for (size_t i = 0; i < s->n; i++) s->x0[i] = (float)(fmax(-bound, fmin(bound, s->x0[i])) / bound);
}

void ltn__sampler_predict(ltn_sampler *s, const float *net, const float *z)
{
    const double a = s->level[s->k].a, b = s->level[s->k].b, clip = s->s->clip ? s->s->clip : INFINITY;
    const ltn_prediction kind = s->s->prediction;
    for (size_t i = 0; i < s->n; i++) {
        const double x0 = kind == LTN_EPSILON ? (z[i] - b * net[i]) / a
                          : kind == LTN_V     ? a * z[i] - b * net[i]
                                              : net[i];
        s->eps[i] = kind == LTN_EPSILON ? net[i] : (float)(kind == LTN_V ? a * net[i] + b * z[i] : (z[i] - a * x0) / b);
        s->x0[i] = (float)fmax(-clip, fmin(clip, x0));
    }
    if (s->s->thresholding) threshold(s);
}

void ltn__mix(float *z, size_t n, const ltn_term *term, int terms)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < terms; k++)
            if (term[k].c != 0) sum += term[k].c * term[k].v[i];
        z[i] = (float)sum;
    }
}

void ltn__sampler_shift(ltn_sampler *s, int n)
{
    float *oldest = s->array[n - 1];
    memmove(s->array + 1, s->array, (size_t)(n - 1) * sizeof *s->array);
    s->array[0] = oldest;
}

/* ---- The walk ---- */

ltn_status ltn__sampler_room(ltn_sampler *s, int calls)
{
    s->calls = calls;
    s->t = ltn__alloc(s->ctx, (size_t)calls, sizeof *s->t);
    s->level = ltn__alloc(s->ctx, (size_t)calls + 1, sizeof *s->level);
    return s->t && s->level ? LTN_OK : LTN_ENOMEM;
}

void ltn__sampler_takes(ltn_sampler *s, int steps)
{
    s->steps = steps;
    s->k = s->begin = steps - (int)(steps * s->strength);
}

static ltn_status open_arrays(ltn_sampler *s)
{
    float **room[3 + LTN_SAMPLER_ARRAYS] = {&s->x0, &s->eps, &s->sorted};
    for (int i = 0; i < s->s->row->arrays; i++) room[3 + i] = &s->array[i];
    return ltn__alloc_each(s->ctx, s->n, room, 3 + s->s->row->arrays);
}

ltn_status ltn__sampler_open(ltn_ctx *ctx, const ltn_schedule *schedule, int steps, double strength, size_t n,
                             ltn_sampler **out)
{
    *out = NULL;
    ltn_status e = check_ladders(ctx, schedule);
    if (e) return e;
    if (steps < 1 || steps > schedule->train_steps)
        return ltn__fail(ctx, LTN_EINVAL, "steps must be 1 .. %d, not %d", schedule->train_steps, steps);
    if (!(strength > 0 && strength <= 1)) return ltn__fail(ctx, LTN_EINVAL, "strength must be above 0 and at most 1");
    ltn_sampler *s = *out = ltn__alloc(ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    *s = (ltn_sampler){.ctx = ctx, .s = schedule, .n = n, .strength = strength, .first = 1};
    ltn__sampler_takes(s, steps);
    if (!(e = schedule->row->plan(s))) e = open_arrays(s);
    if (!e && s->begin >= s->calls)
        e = ltn__fail(ctx, LTN_EINVAL, "strength %g leaves none of %d steps", strength, s->calls);
    if (e) {
        ltn__within(ctx, e, "sampler %s", schedule->row->entry.name);
        ltn__sampler_close(out);
    }
    return e;
}

void ltn__sampler_close(ltn_sampler **pp)
{
    ltn_sampler *s = *pp;
    if (!s) return;
    ltn__free(s->ctx, s->t);
    ltn__free(s->ctx, s->level);
    ltn__free(s->ctx, s->x0);
    ltn__free(s->ctx, s->eps);
    ltn__free(s->ctx, s->sorted);
    for (int i = 0; i < LTN_SAMPLER_ARRAYS; i++) ltn__free(s->ctx, s->array[i]);
    ltn__free(s->ctx, s);
    *pp = NULL;
}

void ltn__sampler_start(const ltn_sampler *s, const float *latent, const float *noise, float *z)
{
    const ltn_level at = s->level[s->begin];
    const ltn_term from[] = {{latent ? at.a : 0, latent}, {latent ? at.b : s->first, noise}};
    ltn__mix(z, s->n, from, 2);
}

bool ltn__sampler_left(const ltn_sampler *s)
{
    return s->k < s->calls;
}

void ltn__sampler_step(ltn_sampler *s, const float *net, const float *noise, float *z)
{
    s->s->row->step(s, net, noise, z);
    s->k++;
}
