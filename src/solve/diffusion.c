/* diffusion.c - the grid of times, one step backwards along a diffusion, the gradient of the data term, Adam
 * (diffusion.h). */
#include "diffusion.h"

#include <math.h>

static const double rounding = 1e-6; /* far above that of double, far below 1 / steps */

int ltn__grid_time(const ltn_prior *p, int steps, double spacing, int k)
{
    const int fallen = (int)(p->train_steps * (1 - pow(1 - (double)k / steps, spacing)) + rounding);
    return LTN_MAX(p->train_steps - 1 - fallen, 0);
}

double ltn__grid_alpha_bar(const ltn_prior *p, int steps, double spacing, int k)
{
    return k < steps ? p->alpha_bar[ltn__grid_time(p, steps, spacing, k)] : 1;
}

void ltn__diffusion_step(const ltn_prior *p, double ab, double next, double eta, const float *z0, const float *eps,
                         float *z)
{
    const double s = eta * sqrt((1 - next) / (1 - ab) * (1 - ab / next));
    const double b = sqrt(fmax(1 - next - s * s, 0) / (1 - ab));
    const float to_z = (float)b, to_z0 = (float)(sqrt(next) - b * sqrt(ab)), to_eps = (float)s;
    for (size_t i = 0; i < p->latent_count; i++)
        z[i] = to_z0 * z0[i] + to_z * z[i] + (s > 0 ? to_eps * eps[i] : 0);
}

double ltn__data_gradient(const ltn_problem *q, const float *x, float *r, float *g)
{
    const size_t m = ltn__size_count(q->a->y);
    double square = 0;
    ltn__misfit(q->a, q->y, x, r);
    for (size_t i = 0; i < m; i++) square += (double)r[i] * r[i];
    ltn__vjp(q->a, x, r, g);
    return sqrt(square);
}

/* The gradient of r^2 / 2 is g = r grad r. */
void ltn__polyak_step(const ltn_problem *q, size_t n, double zeta, double r, float *g)
{
    double square = 0;
    for (size_t i = 0; i < n; i++) square += (double)g[i] * g[i];
    const double over = fmax(r - q->sigma * sqrt((double)ltn__measured(q->a, NULL)), 0);
    const float scale = square > 0 ? (float)(-zeta * over * r / square) : 0;
    for (size_t i = 0; i < n; i++) g[i] *= scale;
}

double ltn__data_step(const ltn_problem *q, const ltn_prior *p, int t, double weight, const float *u,
                      float *x, float *r)
{
    const ltn_rule_input in = {.q = q, .p = p, .t = t, .u = u, .x = x, .r = r};
    const ltn_rule *bayes = ltn__rule_named("bayes"), *discrepancy = ltn__rule_named("discrepancy");
    const double gamma = weight * fmax(bayes->gamma(&in), discrepancy->gamma(&in));
    ltn__prox(q->a, q->y, gamma, u, x);
    return gamma;
}

void ltn__adam_step(ltn_adam a, int k, size_t n, const float *g, float *m, float *v, float *x)
{
    const float b1 = (float)a.beta1, b2 = (float)a.beta2;
    const float scale = (float)(a.rate / (1 - pow(a.beta1, k))), unbias = (float)(1 / (1 - pow(a.beta2, k)));
    for (size_t i = 0; i < n; i++) {
        m[i] = b1 * m[i] + (1 - b1) * g[i];
        v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];
        x[i] -= scale * m[i] / (sqrtf(v[i] * unbias) + 1e-8f);
    }
}
