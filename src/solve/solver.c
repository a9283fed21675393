/* solver.c - the table of solvers, and what they share. */
#include "solve.h"

#include <math.h>
#include <string.h>

#define ROW(name) extern const ltn_solver_row ltn__solver_##name;
#include "solver.def"
#undef ROW

static const ltn_solver_row *const rows[] = {
#define ROW(name) &ltn__solver_##name,
#include "solver.def"
#undef ROW
};

const ltn_solver_row *ltn__solver_row(int i)
{
    return i >= 0 && i < LTN_COUNT(rows) ? rows[i] : NULL;
}

const ltn_entry *ltn__solver_entry(int i)
{
    const ltn_solver_row *row = ltn__solver_row(i);
    return row ? &row->entry : NULL;
}

void ltn__step_noise(const ltn_problem *q, const ltn_prior *p, int k, float *eps)
{
    if (k < q->noise_count) memcpy(eps, q->noise + (size_t)k * p->latent_count, p->latent_count * sizeof *eps);
    else ltn__normals((ltn_rng){q->rng.seed, q->rng.stream + (uint64_t)k}, 0, eps, p->latent_count);
}

double ltn__residual2(const ltn_degradation *a, const float *x, const float *y, float *r)
{
    double sum = 0;
    size_t m = ltn__size_count(a->y);
    if (!a->linear) {
        ltn__misfit(a, y, x, r);
        for (size_t i = 0; i < m; i++) sum += (double)r[i] * r[i];
        return sum;
    }
    ltn__forward(a, x, r);
    for (size_t i = 0; i < m; i++) sum += ((double)r[i] - y[i]) * ((double)r[i] - y[i]);
    return sum;
}

double ltn__chi(const ltn_problem *q, const float *x, float *r)
{
    double scale = (double)ltn__measured(q->a, NULL) * q->sigma * q->sigma;
    if (q->sigma == 0)
        for (size_t i = 0; i < ltn__size_count(q->a->y); i++) scale += (double)q->y[i] * q->y[i];
    return sqrt(ltn__residual2(q->a, x, q->y, r) / fmax(scale, 1e-30));
}

double ltn__band(double x, double y)
{
    const double periods = 64 * hypot(x, y); /* in 128 pixels */
    return periods < 1 ? 0 : fmin(log2(periods), LTN_BANDS - 1);
}
