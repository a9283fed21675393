/* unipc.c - the unified predictor-corrector UniPC (Zhao et al. 2023, arXiv 2302.04867): with m the outputs (x0, or
 * eps), s0 the last time, H = -h (x0) or h, r_i = (l_{s_i} - l_{s0}) / h and D_i = (m_{s_i} - m_{s0}) / r_i,
 *
 *     z' = A z - g ((exp(H) - 1) m_{s0} + B sum_i rho_i D_i),    B = H (bh1) or exp(H) - 1 (bh2)
 *
 * predicts; when the network has seen z', the same with D of its output added replaces z' by a better one. rho solves
 * sum_i r_i^(k-1) rho_i = k! phi_(k+1)(H) / B, k = 1 .. order. A and g as in dpm.c. */
#include <math.h>

#include "../sampler.h"

/* array: past outputs, newest first; the latent before the last step */
enum { MAX_ORDER = 4, KEPT = MAX_ORDER, ARRAYS };

static bool of_x0(const ltn_schedule *s)
{
    return ltn__option(s, "predict_x0", 1) != 0;
}

static double lambda(ltn_level l)
{
    return log(l.a / l.b);
}

/* Gauss's elimination with pivots; m: n rows of n + 1, the last column becomes the solution. */
static void solve(double m[MAX_ORDER][MAX_ORDER + 1], int n)
{
    for (int k = 0; k < n; k++) {
        int p = k;
        for (int i = k + 1; i < n; i++)
            if (fabs(m[i][k]) > fabs(m[p][k])) p = i;
        for (int j = 0; j <= n; j++) {
            const double swap = m[k][j];
            m[k][j] = m[p][j], m[p][j] = swap;
        }
        for (int j = n; j >= k; j--) m[k][j] /= m[k][k];
        for (int i = 0; i < n; i++)
            for (int j = n; i != k && j >= k; j--) m[i][j] -= m[i][k] * m[k][j];
    }
}

/* rho of n points r under H; B as above. */
static void weights(const double *r, int n, double h, double b, double *rho)
{
    double m[MAX_ORDER][MAX_ORDER + 1], phi = expm1(h) / h - 1, factorial = 1;
    for (int k = 0; k < n; k++) {
        for (int i = 0; i < n; i++) m[k][i] = pow(r[i], k);
        m[k][n] = phi * factorial / b;
        factorial *= k + 2;
        phi = phi / h - 1 / factorial;
    }
    solve(m, n);
    for (int i = 0; i < n; i++) rho[i] = m[i][n];
}

/* From level k to k + 1 with past outputs at k, k - 1, ...; seen: the output at k + 1 for the corrector, or NULL. */
static void leap(const ltn_sampler *s, int k, int order, const float *seen, const float *from, float *z)
{
    const ltn_level at = s->level[k], to = s->level[k + 1];
    const bool x0 = of_x0(s->s);
    const double h = lambda(to) - lambda(at), hh = x0 ? -h : h, g = x0 ? to.a : to.b;
    const double b = ltn__option_is(s->s, "solver_type", "bh1") ? hh : expm1(hh);
    const int points = seen ? order : order - 1;
    double r[MAX_ORDER] = {0}, rho[MAX_ORDER] = {0};
    for (int i = 0; i + 1 < order; i++) r[i] = (lambda(s->level[k - i - 1]) - lambda(at)) / h;
    if (seen) r[order - 1] = 1;
    if (points == 1) rho[0] = 0.5;
    else if (points) weights(r, points, hh, b, rho);
    ltn_term term[MAX_ORDER + 2] = {{x0 ? to.b / at.b : to.a / at.a, from}, {-g * expm1(hh), s->array[0]}};
    for (int i = 0; i < points; i++) {
        const double c = -g * b * rho[i] / r[i];
        term[i + 2] = (ltn_term){c, seen && i == order - 1 ? seen : s->array[i + 1]};
        term[1].c -= c;
    }
    ltn__mix(z, s->n, term, points + 2);
}

/* Whether the corrector is off after step k: a list "0,1". */
static bool uncorrected(const ltn_sampler *s, int k)
{
    const char *list = ltn__str(&s->s->options, "disable_corrector");
    for (const char *p = list, *end; p && *p; p = end + (*end == ',')) {
        if (ltn__parse_number(p, &end) == k && end != p) return true;
        if (end == p) return false;
    }
    return false;
}

static void step(ltn_sampler *s, const float *net, const float *noise, float *z)
{
    const int most = (int)ltn__option(s->s, "solver_order", 2);
    const float *output = of_x0(s->s) ? s->x0 : s->eps;
    ltn__sampler_predict(s, net, z);
    if (s->k > s->begin && !uncorrected(s, s->k - 1)) leap(s, s->k - 1, s->order, output, s->array[KEPT], z);
    ltn__sampler_shift(s, MAX_ORDER);
    ltn__mix(s->array[0], s->n, (const ltn_term[]){{1, output}}, 1);
    s->order = LTN_MIN(most, s->k - s->begin + 1);
    if (ltn__option(s->s, "lower_order_final", 1)) s->order = LTN_MIN(s->order, s->calls - s->k);
    ltn__mix(s->array[KEPT], s->n, (const ltn_term[]){{1, z}}, 1);
    leap(s, s->k, s->order, NULL, z, z);
}

static ltn_status check(const ltn_sampler *s)
{
    const bool zero = ltn__option_is(s->s, "final_sigmas_type", "zero");
    if (zero && !of_x0(s->s))
        return ltn__fail(s->ctx, LTN_EINVAL, "predict_x0=false needs final_sigmas_type sigma_min");
    if (zero && !ltn__option(s->s, "lower_order_final", 1))
        return ltn__fail(s->ctx, LTN_EINVAL, "lower_order_final=false needs final_sigmas_type sigma_min");
    if (!of_x0(s->s) && s->s->thresholding)
        return ltn__fail(s->ctx, LTN_EINVAL, "thresholding is not supported with predict_x0=false");
    return LTN_OK;
}

static ltn_status plan(ltn_sampler *s)
{
    const ltn_schedule *c = s->s;
    const int all = c->train_steps;
    const double max = ltn__option(c, "sigma_max", 0), min = ltn__option(c, "sigma_min", 0);
    bool own;
    ltn_status e = check(s);
    if (!e)
        e = ltn__sampler_plan_levels(s, all, max ? max : ltn__sigma_at(c, all - 1), min ? min : ltn__sigma_at(c, 0),
                                     true, &own);
    if (e) return e;
    s->level[s->calls] = ltn__option_is(c, "final_sigmas_type", "zero") ? (ltn_level){1, 0}
                         : own                                          ? s->level[s->calls - 1]
                                                                        : ltn__level_at(c, 0);
    return LTN_OK;
}

static const ltn_param params[] = {
    LTN_BETAS(0.0001, 0.02, 0, LTN_BETA_SCHEDULES),
    LTN_PREDICTS,
    LTN_SPACING(1),
    LTN_ZERO_SNR,
    LTN_THRESHOLDS,
    {.name = "solver_order", .help = "of the predictor; the corrector's is one more", .type = LTN_INT, .def = 2,
     .min = 1, .max = MAX_ORDER - 1},
    {.name = "solver_type", .help = "B; those after bh1 stand for bh2", .type = LTN_CHOICE,
     .choices = "bh2|bh1|midpoint|heun|logrho"},
    LTN_TRUTH("predict_x0", 1, "the flow of the clean latent, not of the noise"),
    LTN_TRUTH("lower_order_final", 1, "the last steps are of lower order"),
    {.name = "disable_corrector", .help = "after these steps, as '0,1'", .type = LTN_STRING},
    {.name = "solver_p", .help = "another predictor", .type = LTN_CHOICE, .choices = "none"},
    LTN_SIGMAS,
    {.name = "sigma_min", .help = "where those end; 0: at the first time step's", .type = LTN_FLOAT, .max = 1e6},
    {.name = "sigma_max", .help = "where those begin; 0: at the last time step's", .type = LTN_FLOAT, .max = 1e6},
    LTN_NO_FLOW,
    LTN_FINAL_SIGMA,
    {0},
};

const ltn_sampler_row ltn__sampler_unipc = {
    .entry = {.name = "unipc", .alias = "UniPCMultistepScheduler", .help = "the unified predictor-corrector",
              .cite = "Zhao et al. 2023, arXiv 2302.04867", .param = params},
    .by_sigma = true,
    .arrays = ARRAYS,
    .plan = plan,
    .step = step,
};
