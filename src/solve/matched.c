/* matched.c - LATINO's step sizes from measured errors, without a constant that depends on the task.
 *
 *   r^2 = max((|A u - y|^2 - m sigma^2) / tr(A A^T), rho^2(e))   what u errs by: seen in the residual, at least
 *                                                                the prior's own
 *   gamma = r^2 / sigma^2                                        the weight of the posterior mean if u's error is white
 *   e^2 = r^2 |P w|^2 + sigma^2 |Q n|^2, never growing           what x then errs by: both errors through the
 *                                                                linear prox
 *   t = t*(e)                                                    the step at which the prior expects an error like that
 *
 * with x = P u + Q y, w and n white probes of unit mean square. x is not renoised: the error that it carries takes the
 * place of the noise. The start is the same loop with a Gaussian smoother in the network's place. */
#include "matched.h"

#include <math.h>
#include <string.h>

enum { START_STEPS = 40, SMOOTH_REACH = 4 };
static const double NO_NOISE2 = 1e-9; /* stands for sigma^2 where there is no noise */

static double mean_square(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sum / (double)n;
}

/* out[j] = kernel[0] x0[j] + sum_k kernel[k] (before[k][j] + after[k][j]) */
static void weigh(const float *kernel, const float *const before[], const float *const after[], float *out, int n)
{
    for (int j = 0; j < n; j++) out[j] = kernel[0] * before[0][j];
    for (int k = 1; k <= SMOOTH_REACH; k++)
        for (int j = 0; j < n; j++) out[j] += kernel[k] * (before[k][j] + after[k][j]);
}

/* One row, reflected at its ends, through a padded copy. */
static void smooth_row(const float *kernel, const float *x, float *padded, float *out, int n)
{
    const float *before[SMOOTH_REACH + 1], *after[SMOOTH_REACH + 1];
    memcpy(padded + SMOOTH_REACH, x, (size_t)n * sizeof *x);
    for (int k = 1; k <= SMOOTH_REACH; k++) {
        padded[SMOOTH_REACH - k] = x[ltn__mirror(-k, n)];
        padded[SMOOTH_REACH + n - 1 + k] = x[ltn__mirror(n - 1 + k, n)];
    }
    for (int k = 0; k <= SMOOTH_REACH; k++) before[k] = padded + SMOOTH_REACH - k, after[k] = padded + SMOOTH_REACH + k;
    weigh(kernel, before, after, out, n);
}

/* out = x convolved with a Gaussian of deviation 1, nine taps each way, reflected at the borders without repeating the
 * edge. */
static void smooth(const ltn_matched *m, const float *x, float *out)
{
    const ltn_size s = m->q->a->x;
    int w = s.width, h = s.height;
    float kernel[SMOOTH_REACH + 1], sum = 0;
    for (int k = 0; k <= SMOOTH_REACH; k++) sum += (kernel[k] = expf(-0.5f * (float)(k * k))) * (k ? 2 : 1);
    for (int k = 0; k <= SMOOTH_REACH; k++) kernel[k] /= sum;
    for (int64_t i = 0; i < (int64_t)h * s.channels; i++) smooth_row(kernel, x + i * w, m->row, m->b + i * w, w);
    for (int64_t i = 0; i < (int64_t)h * s.channels; i++) {
        const float *before[SMOOTH_REACH + 1], *after[SMOOTH_REACH + 1], *plane = m->b + i / h * h * w;
        int r = (int)(i % h);
        for (int k = 0; k <= SMOOTH_REACH; k++)
            before[k] = plane + (int64_t)ltn__mirror(r - k, h) * w,
            after[k] = plane + (int64_t)ltn__mirror(r + k, h) * w;
        weigh(kernel, before, after, out + i * w, w);
    }
}

/* Mean squared error of u that its residual shows: E |A u - y|^2 = r^2 tr(A A^T) + m sigma^2. */
static double residual_error(const ltn_matched *m, const float *u)
{
    const ltn_problem *q = m->q;
    double count = (double)ltn__measured(q->a, NULL), gain = m->gain;
    if (!q->a->linear) { /* E |J^T n|^2 at u */
        ltn__vjp(q->a, u, m->n, m->b);
        gain = fmax(mean_square(m->b, ltn__size_count(q->a->x)) * (double)ltn__size_count(q->a->x) / count, 1e-6);
    }
    return (ltn__residual2(q->a, u, q->y, m->r) / count - q->sigma * q->sigma) / gain;
}

static double gamma_of(const ltn_problem *q, double r2)
{
    return q->sigma > 0 ? r2 / (q->sigma * q->sigma) : INFINITY;
}

/* Mean of (prox(y, u) - c)^2; b may be u. */
static double moved(const ltn_matched *m, const float *y, double gamma, const float *u)
{
    size_t n = ltn__size_count(m->q->a->x);
    double sum = 0;
    ltn__prox(m->q->a, y, gamma, u, m->b);
    for (size_t i = 0; i < n; i++) sum += ((double)m->b[i] - m->c[i]) * ((double)m->b[i] - m->c[i]);
    return sum / (double)n;
}

/* A not linear: by how far the prox moves when u and y move by as much as they err. */
static double carried_near(const ltn_matched *m, const float *u, double r2, double gamma)
{
    const ltn_problem *q = m->q;
    size_t n = ltn__size_count(q->a->x), count = ltn__size_count(q->a->y);
    ltn__prox(q->a, q->y, gamma, u, m->c);
    for (size_t i = 0; i < n; i++) m->b[i] = u[i] + (float)(sqrt(r2) * m->w[i]);
    double error = moved(m, q->y, gamma, m->b);
    if (q->sigma == 0) return error;
    for (size_t i = 0; i < count; i++) m->r[i] = q->y[i] + (float)(q->sigma * m->n[i]);
    return error + moved(m, m->r, gamma, u);
}

/* What x = prox(u) errs by when u errs by r^2 and y by sigma^2, both white. */
static double carried(const ltn_matched *m, const float *u, double r2, double gamma)
{
    const ltn_degradation *a = m->q->a;
    size_t n = ltn__size_count(a->x);
    if (!a->linear) return carried_near(m, u, r2, gamma);
    ltn__prox_weighed(a, m->zero, gamma, m->w, m->a);
    double error = r2 * mean_square(m->a, n);
    if (m->q->sigma == 0) return error;
    memset(m->b, 0, n * sizeof *m->b);
    ltn__noise_like(a, m->n, m->r);
    ltn__prox_weighed(a, m->r, gamma, m->b, m->a);
    return error + m->q->sigma * m->q->sigma * mean_square(m->a, n);
}

void ltn__matched_start(ltn_matched *m, float *x)
{
    const ltn_problem *q = m->q;
    size_t n = ltn__size_count(q->a->x);
    double r2 = 0;
    memset(m->a, 0, n * sizeof *m->a);
    ltn__prox(q->a, q->y, 0.25 / fmax(q->sigma * q->sigma, 1e-6), m->a, x);
    for (int i = 0; i < START_STEPS; i++) {
        smooth(m, x, m->a);
        r2 = fmax(residual_error(m, m->a), 1e-5);
        ltn__prox(q->a, q->y, r2 / fmax(q->sigma * q->sigma, NO_NOISE2), m->a, x);
    }
    m->error2 = carried(m, m->a, r2, gamma_of(q, r2));
}

static double deviation(const ltn_matched *m)
{
    return sqrt(fmax(m->error2, 1e-6));
}

int ltn__matched_time(const ltn_matched *m)
{
    return m->p->time_of(m->p, deviation(m));
}

double ltn__matched_gamma(ltn_matched *m, const float *u)
{
    double r2 = fmax(residual_error(m, u), m->p->error_at(m->p, deviation(m))), gamma = gamma_of(m->q, r2);
    ltn__weigh(m->q->a, m->q->y, gamma, u);
    m->error2 = fmin(m->error2, carried(m, u, r2, gamma));
    return gamma;
}

/* White probes, drawn before the first step's stream so that no solver meets them. */
static void draw_probes(ltn_matched *m)
{
    const ltn_problem *q = m->q;
    ltn__normals((ltn_rng){q->rng.seed, LTN_STREAM_PROBE}, 0, m->w, ltn__size_count(q->a->x));
    ltn__normals((ltn_rng){q->rng.seed, LTN_STREAM_PROBE + 1}, 0, m->n, ltn__size_count(q->a->y));
    ltn__measured(q->a, m->n);
}

void ltn__matched_close(ltn_matched *m)
{
    if (!m->q) return;
    float *const block[] = {m->w, m->n, m->zero, m->a, m->b, m->c, m->r, m->row};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(m->q->ctx, block[i]);
    m->q = NULL;
}

ltn_status ltn__matched_open(ltn_matched *m, const ltn_problem *q, const ltn_prior *p)
{
    *m = (ltn_matched){.q = q, .p = p};
    float **const picture[] = {&m->w, &m->a, &m->b}, **const data[] = {&m->n, &m->zero, &m->r};
    for (int i = 0; i < 3; i++) {
        if (!(*picture[i] = ltn__alloc(q->ctx, ltn__size_count(q->a->x), sizeof(float)))) return LTN_ENOMEM;
        if (!(*data[i] = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof(float)))) return LTN_ENOMEM;
    }
    if (!(m->row = ltn__alloc(q->ctx, (size_t)q->a->x.width + 2 * SMOOTH_REACH, sizeof *m->row))) return LTN_ENOMEM;
    if (!q->a->linear && !(m->c = ltn__alloc(q->ctx, ltn__size_count(q->a->x), sizeof *m->c))) return LTN_ENOMEM;
    draw_probes(m);
    size_t count = ltn__measured(q->a, NULL);
    if (!count)
        return ltn__fail(q->ctx, LTN_EINVAL, "\"%s\" measures nothing: there is nothing to restore from", q->a->spec);
    if (!q->a->linear) return LTN_OK;
    ltn__forward(q->a, m->w, m->r);
    m->gain = mean_square(m->r, ltn__size_count(q->a->y)) * (double)ltn__size_count(q->a->y) / (double)count;
    return LTN_OK;
}
