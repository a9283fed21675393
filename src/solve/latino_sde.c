/* latino_sde.c - LATINO with noise where a posterior has it: a draw from p(x | y) in the place of one good picture.
 * For falling times t,
 *
 *     z0 ~ p(z0 | z_t)                                       ancestral sampling from t to 0 in `inner` network calls
 *     u  = D(z0)
 *     x  = argmin_x |A x - (y + sigma n)|^2 / 2 sigma^2 + 1/2 (x - u)^T C_t^-1 (x - u)
 *     z' = sqrt(ab') (z0 + E(x) - E(u)) + sqrt(1 - ab') eps
 *
 * with n and eps white, C_t the covariance of the error of D(f(z_t, t)). A draw u of N(m, C_t) that is corrected by
 * noisy data is a draw of the product of that gaussian and the likelihood (Papandreou and Yuille, NIPS 2010), so x ~
 * p(x | z_t, y) and z' ~ p(z_t' | y) follow exactly from z ~ p(z_t | y) where pictures are gaussian and D = E = 1,
 * with any number of steps (the decoupled steps of arXiv 2407.01521); elsewhere as well as the prior's own draws and
 * C_t describe what is not known. C_t is the prior's calibrated spectrum (coloured.c), or white, r_t^2, where the
 * prior has none or A is not linear; it grows to what the residual A u - y shows. It depends on u, for what the
 * autoencoder loses of a picture is a share of what it keeps, octave by octave. The reverse steps have the variance
 * that the error of f adds (arXiv 2201.06503). In the last step u also errs by what the autoencoder cannot keep,
 * drawn from C_0 unless detail=none. */
#include "coloured.h"
#include "diffusion.h"

#include <math.h>
#include <string.h>

enum { PIXEL_STREAM = 1 << 24 }; /* noise on measurements, behind the draws of latents */
enum { DETAIL_DRAWN, DETAIL_NONE };

typedef struct latino_sde {
    const ltn_problem *q;
    ltn_prior *p;
    int step, steps, inner, detail;
    int draws, pixel_draws; /* so far */
    float *x, *u, *w;       /* pictures: the draw, the prior's, its noise */
    float *z, *z0, *eps;    /* latents */
    float *n, *r;           /* measurements */
    double gain;            /* tr(A C A^T) / m by a probe, C = 1 where the error is white; 0: A is not linear */
    ltn_coloured colour;    /* where it is not white */
} latino_sde;

/* z from ab to next: the ancestral step, and what the error of its z0 adds. */
static void reverse(latino_sde *l, int t, double ab, double next)
{
    const double to_z0 = sqrt(next) * (1 - ab / next) / (1 - ab), r = sqrt(l->p->latent_error(l->p, t));
    ltn__step_noise(l->q, l->p, l->draws++, l->eps);
    ltn__diffusion_step(l->p, ab, next, 1, l->z0, l->eps, l->z);
    ltn__step_noise(l->q, l->p, l->draws++, l->eps);
    for (size_t i = 0; i < l->p->latent_count; i++) l->z[i] += (float)(to_z0 * r * l->eps[i]);
}

/* z, at t, becomes a draw of z0. */
static ltn_status draw_clean(latino_sde *l, int from)
{
    const int inner = LTN_MIN(l->inner, from + 1);
    for (int k = 0, t = from; k < inner; k++) {
        const int next = from - (int)((int64_t)(k + 1) * (from + 1) / inner); /* -1 behind the last */
        const ltn_status s = l->p->predict(l->p, l->z, t, l->z0);
        if (s) return s;
        reverse(l, t, l->p->alpha_bar[t], next < 0 ? 1 : l->p->alpha_bar[next]);
        t = next;
    }
    return LTN_OK;
}

static void pixel_noise(latino_sde *l, size_t n, float *out)
{
    const uint64_t stream = l->q->rng.stream + PIXEL_STREAM + (uint64_t)l->pixel_draws++;
    ltn__normals((ltn_rng){l->q->rng.seed, stream}, 0, out, n);
}

/* The r^2 that the residual of a draw u shows: E |A u - y|^2 = 2 r^2 tr(A C A^T) + m sigma^2, for u and the picture
 * behind y both stray from the prior's mean by r^2 C. Where C = 1 that is an error; errors of real priors are not
 * white, and greatest where most degradations look. */
static double seen_error(const latino_sde *l)
{
    const ltn_problem *q = l->q;
    if (!(l->gain > 0)) return 0;
    const double m = (double)ltn__measured(q->a, NULL);
    return (ltn__residual2(q->a, l->u, q->y, l->r) / m - q->sigma * q->sigma) / (2 * l->gain);
}

/* n = y + sigma n, noise like the data's. */
static void draw_data(latino_sde *l)
{
    const ltn_degradation *a = l->q->a;
    const float *y = a->noise ? a->noise->seen : l->q->y;
    const size_t m = ltn__size_count(a->y);
    pixel_noise(l, m, l->r);
    ltn__noise_like(a, l->r, l->n);
    for (size_t i = 0; i < m; i++) l->n[i] = y[i] + (float)l->q->sigma * l->n[i];
    ltn__measured(a, l->n);
}

/* x ~ N(x; from, C) p(y | x), `from` being a draw of the first. Returns gamma. */
static double condition(latino_sde *l, const float *from, int t)
{
    const ltn_degradation *a = l->q->a;
    const bool coloured = l->colour.q;
    if (coloured) {
        ltn__coloured_at(&l->colour, l->p, t, l->u);
        l->gain = ltn__coloured_gain(&l->colour);
    }
    const double least = l->p->error(l->p, t), scale = coloured ? fmax(1, seen_error(l)) : 1;
    const double sigma = l->q->sigma, r2 = coloured ? scale * least : fmax(least, seen_error(l));
    const double gamma = sigma > 0 ? r2 / (sigma * sigma) : INFINITY;
    ltn__weigh(a, l->q->y, gamma, from);
    draw_data(l);
    if (coloured) ltn__coloured_prox(&l->colour, l->n, scale, from, l->x);
    else ltn__prox_weighed(a, l->n, gamma, from, l->x);
    return gamma;
}

/* z = sqrt(ab) (z0 + E(x) - E(u)) + sqrt(1 - ab) eps, z0 standing in z. */
static ltn_status renoise(latino_sde *l, double ab)
{
    ltn_status s = l->p->encode(l->p, l->x, l->z0);
    if (!s) s = l->p->encode(l->p, l->u, l->eps);
    for (size_t i = 0; i < l->p->latent_count; i++) l->z[i] += l->z0[i] - l->eps[i];
    ltn__step_noise(l->q, l->p, l->draws++, l->eps);
    const double a = sqrt(ab), b = sqrt(1 - ab);
    for (size_t i = 0; i < l->p->latent_count; i++) l->z[i] = (float)(a * l->z[i] + b * l->eps[i]);
    return s;
}

/* u with what the autoencoder cannot keep, which is the prior's error where t = 0. */
static const float *with_detail(latino_sde *l)
{
    const size_t n = ltn__size_count(l->q->a->x);
    if (l->detail == DETAIL_NONE) return l->u;
    const float deviation = l->colour.q ? 1 : (float)sqrt(l->p->error(l->p, 0));
    pixel_noise(l, n, l->w);
    if (l->colour.q) {
        ltn__coloured_at(&l->colour, l->p, 0, l->u);
        ltn__coloured_noise(&l->colour, l->w, l->w);
    }
    for (size_t i = 0; i < n; i++) l->w[i] = l->u[i] + deviation * l->w[i];
    return l->w;
}

static ltn_status latino_sde_step(void *state, ltn_progress *progress)
{
    latino_sde *l = state;
    const int t = ltn__grid_time(l->p, l->steps, 1, l->step);
    if (!l->step) ltn__step_noise(l->q, l->p, l->draws++, l->z);
    ltn_status s = draw_clean(l, t);
    if (!s) s = l->p->decode(l->p, l->z, l->u);
    if (s) return s;
    const bool last = l->step + 1 == l->steps;
    progress->gamma = condition(l, last ? with_detail(l) : l->u, t);
    progress->t = t;
    progress->residual = ltn__chi(l->q, l->x, l->r);
    progress->step = ++l->step;
    return last ? LTN_DONE : renoise(l, ltn__grid_alpha_bar(l->p, l->steps, 1, l->step));
}

static const float *latino_sde_estimate(const void *state)
{
    const latino_sde *l = state;
    return l->x;
}

static void latino_sde_close(ltn_ctx *ctx, void *state)
{
    latino_sde *l = state;
    float *const block[] = {l->x, l->u, l->w, l->z, l->z0, l->eps, l->n, l->r};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(ctx, block[i]);
    ltn__coloured_close(&l->colour);
    ltn__free(ctx, l);
}

static void find_gain(latino_sde *l)
{
    const ltn_degradation *a = l->q->a;
    ltn__normals((ltn_rng){l->q->rng.seed, LTN_STREAM_PROBE}, 0, l->u, ltn__size_count(a->x));
    ltn__forward(a, l->u, l->r);
    for (size_t i = 0; i < ltn__size_count(a->y); i++) l->gain += (double)l->r[i] * l->r[i];
    l->gain /= (double)ltn__measured(a, NULL);
}

static ltn_status latino_sde_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *s, void **state, int *steps)
{
    latino_sde *l = ltn__alloc(q->ctx, 1, sizeof *l);
    if (!l) return LTN_ENOMEM;
    *state = l;
    *l = (latino_sde){.q = q, .p = p, .inner = (int)ltn__num(s, "inner"), .detail = (int)ltn__num(s, "detail")};
    *steps = l->steps = LTN_MIN((int)ltn__num(s, "steps"), p->train_steps);
    float **const picture[] = {&l->x, &l->u, &l->w}, **const latent[] = {&l->z, &l->z0, &l->eps};
    float **const data[] = {&l->n, &l->r};
    if (ltn__alloc_each(q->ctx, ltn__size_count(q->a->x), picture, LTN_COUNT(picture))) return LTN_ENOMEM;
    if (ltn__alloc_each(q->ctx, p->latent_count, latent, LTN_COUNT(latent))) return LTN_ENOMEM;
    if (ltn__alloc_each(q->ctx, ltn__size_count(q->a->y), data, LTN_COUNT(data))) return LTN_ENOMEM;
    if (!ltn__measured(q->a, NULL))
        return ltn__fail(q->ctx, LTN_EINVAL, "\"%s\" measures nothing: there is nothing to restore from",
                         q->a->spec);
    if (q->a->linear) find_gain(l);
    return q->a->linear && p->spectrum ? ltn__coloured_open(&l->colour, q) : LTN_OK;
}

static const ltn_param latino_sde_params[] = {
    {.name = "steps", .help = "data steps", .type = LTN_INT, .def = 10, .min = 1, .max = 1000},
    {.name = "inner", .help = "network calls in each of them", .type = LTN_INT, .def = 3, .min = 1,
     .max = 1000},
    {.name = "detail", .help = "what the autoencoder cannot keep: drawn, or left out", .type = LTN_CHOICE,
     .choices = "drawn|none"},
    {0},
};

const ltn_solver_row ltn__solver_latino_sde = {
    .entry = {.name = "latino-sde",
              .help = "LATINO as a sampler: each seed draws another picture that explains the measurement",
              .cite = "arXiv 2503.12615, 2407.01521", .param = latino_sde_params},
    .needs_prior = true,
    .nonlinear = true,
    .open = latino_sde_open,
    .step = latino_sde_step,
    .estimate = latino_sde_estimate,
    .close = latino_sde_close,
};
