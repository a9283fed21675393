/* likelihood.c - what a value of y says about the noiseless value v when a prediction v ~ N(v0, tau) is at hand: the
 * gaussian measurement y' of variance s^2 whose product with the prediction has the mean and variance of p(v | y)
 * (Minka 2001); where that is no gaussian's, the noise's row chooses. tau = tr(A A^T)/m gamma sigma^2, for a solver's
 * gamma is the variance of its prediction over sigma^2. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "degrade.h"

void ltn__weigh(const ltn_degradation *d, const float *y, double gamma, const float *u)
{
    ltn_likelihood *l = d->noise;
    if (!l || !l->row->observe) return;
    const size_t m = ltn__size_count(d->y);
    const double tau = l->gain * gamma * l->sigma * l->sigma / 4; /* in [0, 1], as all that a row sees */
    double sum = 0;
    ltn__forward(d, u, l->seen);
    for (size_t i = 0; i < m; i++) {
        if (l->is_lost[i]) continue;
        double seen, variance;
        l->row->observe(l->spec, (y[i] + d->one[i]) / 2, (l->seen[i] + d->one[i]) / 2, tau, &seen, &variance);
        l->seen[i] = (float)(2 * seen - d->one[i]);
        l->weight2[i] = (float)(l->sigma * l->sigma / 4 / variance);
        sum += l->weight2[i];
    }
    l->mean_weight2 = sum / (double)LTN_MAX(m - l->lost, 1);
}

void ltn__noise_like(const ltn_degradation *d, const float *n, float *out)
{
    const ltn_likelihood *l = d->noise;
    const size_t m = ltn__size_count(d->y);
    for (size_t i = 0; i < m; i++)
        out[i] = !l ? n[i] : l->weight2[i] > 0 ? n[i] / sqrtf(l->weight2[i]) : 0;
}

size_t ltn__lost(const ltn_degradation *d, float *y)
{
    const ltn_likelihood *l = d->noise;
    if (!l || !l->lost) return 0;
    for (size_t i = 0; y && i < ltn__size_count(d->y); i++)
        if (l->is_lost[i]) y[i] = 0;
    return l->lost;
}

static double gain(const ltn_degradation *d, float *x, float *ax)
{
    const size_t m = ltn__size_count(d->y);
    double sum = 0;
    ltn__normals((ltn_rng){0, LTN_STREAM_PROBE}, 0, x, ltn__size_count(d->x));
    ltn__forward(d, x, ax);
    for (size_t i = 0; i < m; i++) sum += (double)ax[i] * ax[i];
    return sum / (double)LTN_MAX(ltn__measured(d, NULL), 1);
}

static ltn_status open_memory(ltn_degradation *d, ltn_likelihood *l)
{
    const size_t n = ltn__size_count(d->x), m = ltn__size_count(d->y);
    float **const of_y[] = {&l->weight2, &l->seen, &l->zero, &l->cg[4]};
    float **const of_x[] = {&l->cg[0], &l->cg[1], &l->cg[2], &l->cg[3]};
    if (!(l->is_lost = ltn__alloc(d->ctx, m, 1))) return LTN_ENOMEM;
    if (ltn__alloc_each(d->ctx, m, of_y, LTN_COUNT(of_y))) return LTN_ENOMEM;
    return ltn__alloc_each(d->ctx, n, of_x, LTN_COUNT(of_x));
}

static ltn_status check(const ltn_degradation *d, const ltn_noise_row *row)
{
    if (!d->abstract) return ltn__linear_needed(d, row->entry.name);
    return ltn__fail(d->ctx, LTN_EINVAL, "%s noise is one of pictures, and \"%s\" measures none", row->entry.name,
                     d->spec);
}

ltn_status ltn__likelihood_open(ltn_degradation *d, const ltn_spec *spec, const float *y, double sigma)
{
    const ltn_noise_row *row = ltn__noise_row(spec->row);
    const size_t m = ltn__size_count(d->y);
    if (!row->observe && !row->lost) return LTN_OK;
    const ltn_status s = check(d, row);
    if (s) return s;
    ltn_likelihood *l = ltn__alloc(d->ctx, 1, sizeof *l);
    if (!l) return LTN_ENOMEM;
    d->noise = l;
    *l = (ltn_likelihood){.row = row, .spec = spec, .sigma = 2 * sigma, .mean_weight2 = 1};
    if (open_memory(d, l)) return LTN_ENOMEM;
    for (size_t i = 0; i < m; i++) l->seen[i] = 1; /* marks A's own holes for the moment */
    ltn__measured(d, l->seen);
    for (size_t i = 0; i < m; i++) {
        l->is_lost[i] = l->seen[i] != 0 && row->lost && row->lost(spec, y[i]);
        l->weight2[i] = !l->is_lost[i];
        l->lost += l->is_lost[i];
    }
    l->gain = gain(d, l->cg[0], l->cg[4]);
    ltn__to_signed(d, y, l->seen);
    for (int i = 0; i < LTN_COUNT(l->cg); i++) d->cg[i] = l->cg[i];
    return LTN_OK;
}

/* The root of the mean variance of all that was measured, v being y. */
static ltn_status variance(const ltn_degradation *d, const ltn_spec *spec, const float *y, double *sigma)
{
    const ltn_noise_row *row = ltn__noise_row(spec->row);
    const size_t m = ltn__size_count(d->y);
    float *known = ltn__alloc(d->ctx, m, sizeof *known);
    if (!known) return LTN_ENOMEM;
    for (size_t i = 0; i < m; i++) known[i] = 1;
    const size_t count = ltn__measured(d, known);
    double sum = 0;
    for (size_t i = 0; i < m; i++) sum += known[i] != 0 ? row->variance(spec, y[i]) : 0;
    *sigma = sqrt(sum / (double)LTN_MAX(count, 1));
    ltn__free(d->ctx, known);
    return LTN_OK;
}

/* Where y has holes, enough must be left to tell white noise by. */
static ltn_status white_level(const ltn_degradation *d, const ltn_image *y, double *sigma)
{
    bool told;
    ltn_status s = ltn__fits(d, y);
    if (!s) *sigma = ltn__estimate_sigma(d->ctx, y->data, d->y, &told, &s);
    if (s || told || ltn__measured(d, NULL) == ltn__size_count(d->y)) return s;
    *sigma = 0;
    return ltn__fail(d->ctx, LTN_ESHAPE, "too little of the measurement is known to tell its noise by: give sigma");
}

ltn_status ltn_noise_level(ltn_degradation *d, const ltn_image *y, const char *noise, double *sigma)
{
    ltn_arena arena = {.ctx = d->ctx};
    ltn_spec spec;
    ltn_status s = LTN_OK;
    *sigma = 0;
    if (noise) {
        s = ltn__spec_parse(d->ctx, "noise", ltn__noise_entry, noise, &arena, &spec);
        if (!s) s = ltn__fits(d, y);
        if (!s) s = variance(d, &spec, y->data, sigma);
    } else if (d->abstract) {
        s = ltn__fail(d->ctx, LTN_EINVAL, "\"%s\" measures no picture, so its noise cannot be estimated: give sigma",
                      d->spec);
    } else if (d->part[d->n - 1].map.level) {
        s = ltn__fits(d, y);
        if (!s) *sigma = d->part[d->n - 1].map.level(&d->part[d->n - 1], y->data);
    } else {
        s = white_level(d, y, sigma);
    }
    ltn__arena_free(&arena);
    return s;
}

static ltn_status fit_levels(ltn_ctx *ctx, const ltn_noise_row *row, const ltn_noise_levels *l, char *spec, size_t room)
{
    char text[128];
    if (!row->fit(l, text, sizeof text))
        return ltn__fail(ctx, LTN_ESHAPE,
                         "%s: too little of the measurement is known to tell the noise's strength: give it",
                         row->entry.name);
    snprintf(spec, room, "%s:%s", row->entry.name, text);
    return LTN_OK;
}

/* The strength again, with the noise that spec has made even; it stays where brightness does not decide on it. */
static ltn_status correct(const ltn_degradation *d, const ltn_noise_row *row, const float *y, const float *seen,
                          ltn_noise_levels *levels, char *spec, size_t room)
{
    ltn_arena arena = {.ctx = d->ctx};
    ltn_spec found;
    ltn_status s = ltn__spec_parse(d->ctx, "noise", ltn__noise_entry, spec, &arena, &found);
    if (!s && row->variance(&found, 0.25) != row->variance(&found, 0.75)) {
        s = ltn__noise_evened(d->ctx, y, seen, d->y, row, &found, levels);
        if (!s) s = fit_levels(d->ctx, row, levels, spec, room);
    }
    ltn__arena_free(&arena);
    return s;
}

/* The levels of y where A measures, as they fit the row. */
static ltn_status fit(const ltn_degradation *d, const ltn_noise_row *row, const float *y, char *spec, size_t room)
{
    enum { ROUNDS = 3 };
    const size_t m = ltn__size_count(d->y);
    float *seen = ltn__alloc(d->ctx, m, sizeof *seen);
    ltn_noise_levels levels;
    if (!seen) return LTN_ENOMEM;
    for (size_t i = 0; i < m; i++) seen[i] = 1;
    ltn__measured(d, seen);
    ltn_status s = ltn__noise_levels(d->ctx, y, seen, d->y, &levels);
    if (!s) s = fit_levels(d->ctx, row, &levels, spec, room);
    for (int k = 0; k < ROUNDS && !s && row->observe && levels.n; k++)
        s = correct(d, row, y, seen, &levels, spec, room);
    ltn__free(d->ctx, seen);
    return s;
}

ltn_status ltn_estimate_noise(ltn_degradation *d, const ltn_image *y, const char *noise, char *spec, size_t room)
{
    ltn_arena arena = {.ctx = d->ctx};
    ltn_spec parsed;
    snprintf(spec, room, "%s", noise ? noise : "");
    if (!noise) return LTN_OK;
    ltn_status s = ltn__spec_parse(d->ctx, "noise", ltn__noise_entry, noise, &arena, &parsed);
    bool told = false;
    for (int i = 0; !s && i < LTN_MAXPARAM; i++) told |= parsed.given[i];
    if (!s && !told && d->abstract)
        s = ltn__fail(d->ctx, LTN_EINVAL,
                      "\"%s\" measures no picture, so its noise cannot be estimated: give its strength", d->spec);
    if (!s) s = ltn__fits(d, y);
    if (!s && !told) s = fit(d, ltn__noise_row(parsed.row), y->data, spec, room);
    ltn__arena_free(&arena);
    return s;
}

void ltn__likelihood_close(ltn_degradation *d)
{
    ltn_likelihood *l = d->noise;
    if (!l) return;
    float *const block[] = {l->weight2, l->seen, l->zero, l->cg[0], l->cg[1], l->cg[2], l->cg[3], l->cg[4]};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(d->ctx, block[i]);
    ltn__free(d->ctx, l->is_lost);
    ltn__free(d->ctx, l);
    d->noise = NULL;
}
