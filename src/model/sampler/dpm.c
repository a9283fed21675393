/* dpm.c - DPM-Solver and DPM-Solver++ (Lu et al. 2022, arXiv 2206.00927 and 2211.01095): in l = log(a / b) the flow is
 * integrated exactly but for the network, whose outputs m (x0 for ++, else eps) are taken for a polynomial:
 *
 *     z' = A z - g (psi_0(H) D0 + psi_1(H) D1 + psi_2(H) D2) + c n,   h = l' - l,  from the base time that z belongs to
 *     psi_0 = exp(H) - 1,   psi_1 = psi_0 / H - 1,   psi_2 = psi_1 / H - 1/2
 *
 *     dpmsolver++      A = b'/b           g = a'     H = -h
 *     dpmsolver        A = a'/a           g = b'     H = h
 *     sde-dpmsolver++  A = b'/b exp(-h)   g = a'     H = -2 h   c = b' sqrt(1 - exp(-2 h))
 *     sde-dpmsolver    A = a'/a           g = 2 b'   H = h      c = b' sqrt(exp(2 h) - 1)
 *
 * D0, D1, D2 are the outputs' divided differences; solver_type midpoint has psi_0 / 2 before D1 in the second order.
 * Multistep solvers take past outputs; singlestep ones go from one base time through one or two others. */
#include <math.h>

#include "../sampler.h"

enum { MAX_ORDER = 3, KEPT = MAX_ORDER, ARRAYS }; /* array: past outputs, newest first; the latent at the base time */

typedef struct formula {
    double a, g, h, c; /* A, g, H, c */
    bool sde;
} formula;

static double lambda(ltn_level l)
{
    return log(l.a / l.b);
}

static bool plus(const ltn_schedule *s)
{
    return ltn__option_is(s, "algorithm_type", "dpmsolver++") ||
           ltn__option_is(s, "algorithm_type", "sde-dpmsolver++") ||
           ltn__option_is(s, "algorithm_type", "deis");
}

static bool is_sde(const ltn_schedule *s)
{
    return ltn__option_is(s, "algorithm_type", "sde-dpmsolver++") ||
           ltn__option_is(s, "algorithm_type", "sde-dpmsolver");
}

static bool heun(const ltn_schedule *s)
{
    return ltn__option_is(s, "solver_type", "heun");
}

/* From the base level to the next. */
static formula formula_of(const ltn_schedule *s, ltn_level from, ltn_level to)
{
    const double h = lambda(to) - lambda(from);
    const bool sde = is_sde(s);
    if (plus(s))
        return (formula){.a = to.b / from.b * (sde ? exp(-h) : 1), .g = to.a, .h = sde ? -2 * h : -h,
                         .c = sde ? to.b * sqrt(1 - exp(-2 * h)) : 0, .sde = sde};
    return (formula){.a = to.a / from.a, .g = sde ? 2 * to.b : to.b, .h = h, .c = sde ? to.b * sqrt(exp(2 * h) - 1) : 0,
                     .sde = sde};
}

static double psi(const formula *f, int k)
{
    const double zero = expm1(f->h), one = zero / f->h - 1;
    return k == 0 ? zero : k == 1 ? one : one / f->h - 0.5;
}

/* z = A from - g (psi_0 D0 + ...) + c n, where D_j = sum_i d[j][i] output i. */
static void leap(const ltn_sampler *s, const formula *f, const double w[MAX_ORDER], double d[MAX_ORDER][MAX_ORDER],
                 const float *from, const float *noise, float *z)
{
    ltn_term term[MAX_ORDER + 2] = {{f->a, from}, {f->c, noise}};
    for (int i = 0; i < MAX_ORDER; i++) {
        term[i + 2].v = s->array[i];
        for (int j = 0; j < MAX_ORDER; j++)
            if (d[j][i] != 0) term[i + 2].c -= f->g * w[j] * d[j][i];
    }
    ltn__mix(z, s->n, term, MAX_ORDER + 2);
}

/* The weight of D2. That of the stochastic solvers has +1/2 for -1/2, as diffusers has it. */
static double third(const formula *f)
{
    return psi(f, 2) + (f->sde ? 1 : 0);
}

static double l_at(const ltn_sampler *s, int back)
{
    return lambda(s->level[s->k - back]);
}

static void first_order(const ltn_sampler *s, const float *noise, float *z)
{
    const formula f = formula_of(s->s, s->level[s->k], s->level[s->k + 1]);
    double d[MAX_ORDER][MAX_ORDER] = {{1}};
    leap(s, &f, (const double[]){psi(&f, 0), 0, 0}, d, z, noise, z);
}

static void multistep(const ltn_sampler *s, int order, const float *noise, float *z)
{
    const formula f = formula_of(s->s, s->level[s->k], s->level[s->k + 1]);
    const double h = lambda(s->level[s->k + 1]) - l_at(s, 0), r0 = (l_at(s, 0) - l_at(s, 1)) / h;
    if (order == 2) {
        double d[MAX_ORDER][MAX_ORDER] = {{1}, {1 / r0, -1 / r0}};
        leap(s, &f, (const double[]){psi(&f, 0), heun(s->s) ? psi(&f, 1) : psi(&f, 0) / 2, 0}, d, z, noise, z);
        return;
    }
    const double r1 = (l_at(s, 1) - l_at(s, 2)) / h, near[] = {1 / r0, -1 / r0, 0}, far[] = {0, 1 / r1, -1 / r1};
    double d[MAX_ORDER][MAX_ORDER] = {{1}};
    for (int i = 0; i < MAX_ORDER; i++) {
        d[1][i] = near[i] + r0 / (r0 + r1) * (near[i] - far[i]);
        d[2][i] = (near[i] - far[i]) / (r0 + r1);
    }
    leap(s, &f, (const double[]){psi(&f, 0), psi(&f, 1), third(&f)}, d, z, noise, z);
}

static void singlestep(const ltn_sampler *s, int order, const float *noise, float *z)
{
    const ltn_level base = s->level[s->k - order + 1];
    const formula f = formula_of(s->s, base, s->level[s->k + 1]);
    const double h = lambda(s->level[s->k + 1]) - lambda(base), r0 = (l_at(s, 0) - lambda(base)) / h;
    if (order == 2) {
        double d[MAX_ORDER][MAX_ORDER] = {{0, 1}, {1 / r0, -1 / r0}};
        leap(s, &f, (const double[]){psi(&f, 0), heun(s->s) ? psi(&f, 1) : psi(&f, 0) / 2, 0}, d, s->array[KEPT],
             noise, z);
        return;
    }
    const double r1 = (l_at(s, 1) - lambda(base)) / h, near[] = {0, 1 / r1, -1 / r1}, far[] = {1 / r0, 0, -1 / r0};
    double d[MAX_ORDER][MAX_ORDER] = {{0, 0, 1}};
    for (int i = 0; i < MAX_ORDER; i++) {
        d[1][i] = heun(s->s) ? (r0 * near[i] - r1 * far[i]) / (r0 - r1) : far[i];
        d[2][i] = heun(s->s) ? 2 * (far[i] - near[i]) / (r0 - r1) : 0;
    }
    leap(s, &f, (const double[]){psi(&f, 0), psi(&f, 1), third(&f)}, d, s->array[KEPT], noise, z);
}

/* The newest output into array[0]: x0, or eps, which is counted anew where x0 was thresholded. */
static void take_output(ltn_sampler *s, const float *net, const float *z)
{
    const ltn_level at = s->level[s->k];
    ltn__sampler_predict(s, net, z);
    ltn__sampler_shift(s, MAX_ORDER);
    if (plus(s->s)) ltn__mix(s->array[0], s->n, (const ltn_term[]){{1, s->x0}}, 1);
    else if (s->s->thresholding)
        ltn__mix(s->array[0], s->n, (const ltn_term[]){{1 / at.b, z}, {-at.a / at.b, s->x0}}, 2);
    else ltn__mix(s->array[0], s->n, (const ltn_term[]){{1, s->eps}}, 1);
}

static void multi_step(ltn_sampler *s, const float *net, const float *noise, float *z)
{
    const int most = (int)ltn__option(s->s, "solver_order", 2), left = s->calls - s->k, made = s->k - s->begin;
    const bool lower = ltn__option(s->s, "lower_order_final", 1) && s->calls < 15;
    const bool euler = ltn__option(s->s, "euler_at_final", 0) || ltn__option_is(s->s, "final_sigmas_type", "zero");
    int order = LTN_MIN(most, made + 1);
    if (left == 1 && (lower || euler)) order = 1;
    if (left == 2 && lower) order = LTN_MIN(order, 2);
    take_output(s, net, z);
    if (order == 1) first_order(s, noise, z);
    else multistep(s, order, noise, z);
}

/* The order of step k of n: 1, 2, .. again and again; what is left at the end is of lower order. */
static int single_order(const ltn_sampler *s, int k)
{
    const int n = s->calls, most = (int)ltn__option(s->s, "solver_order", 2);
    const bool zero = ltn__option_is(s->s, "final_sigmas_type", "zero");
    const bool lower = ltn__option(s->s, "lower_order_final", 0) || n % most || zero;
    if (k == n - 1 && zero) return 1;
    if (!lower) return k % most + 1;
    if (most == 3 && n % 3 == 0 && k >= n - 3) return k == n - 2 ? 2 : 1;
    if (most == 3 && n % 3 == 2 && k == n - 1) return 2;
    return k == n - 1 ? 1 : k % most + 1;
}

static void single_step(ltn_sampler *s, const float *net, const float *noise, float *z)
{
    const int order = LTN_MIN(single_order(s, s->k), s->k - s->begin + 1);
    take_output(s, net, z);
    if (order == 1) ltn__mix(s->array[KEPT], s->n, (const ltn_term[]){{1, z}}, 1);
    if (order == 1) first_order(s, noise, z);
    else singlestep(s, order, noise, z);
}

/* How many of the first time steps have log(a / b) below lambda_min_clipped. */
static int clipped(const ltn_schedule *s)
{
    const double least = ltn__option(s, "lambda_min_clipped", -INFINITY);
    int n = 0;
    while (n < s->train_steps - 1 && lambda(ltn__level_at(s, s->train_steps - 1 - n)) < least) n++;
    return n;
}

static ltn_status check(const ltn_sampler *s)
{
    const ltn_schedule *c = s->s;
    const double order = ltn__option(c, "solver_order", 2);
    if (!plus(c) && ltn__option_is(c, "final_sigmas_type", "zero"))
        return ltn__fail(s->ctx, LTN_EINVAL, "algorithm_type %s needs final_sigmas_type sigma_min",
                         ltn__str(&c->options, "algorithm_type"));
    if (ltn__option_is(c, "algorithm_type", "sde-dpmsolver") && order > 2)
        return ltn__fail(s->ctx, LTN_EINVAL, "solver_order 3 is not supported with algorithm_type sde-dpmsolver");
    return LTN_OK;
}

static ltn_status plan_rounded(ltn_sampler *s, bool rounds)
{
    const ltn_schedule *c = s->s;
    const int all = c->train_steps;
    bool own;
    ltn_status e = check(s);
    if (!e)
        e = ltn__sampler_plan_levels(s, all - clipped(c), ltn__sigma_at(c, all - 1), ltn__sigma_at(c, 0), rounds, &own);
    if (e) return e;
    s->level[s->calls] = ltn__option_is(c, "final_sigmas_type", "zero") ? (ltn_level){1, 0} : ltn__level_at(c, 0);
    s->draws = is_sde(c);
    return LTN_OK;
}

static ltn_status plan(ltn_sampler *s)
{
    return plan_rounded(s, !ltn__option_is(s->s, "beta_schedule", "squaredcos_cap_v2"));
}

static ltn_status single_plan(ltn_sampler *s)
{
    if (!plus(s->s) && s->s->thresholding)
        return ltn__fail(s->ctx, LTN_EINVAL, "thresholding is not supported with algorithm_type dpmsolver");
    return plan_rounded(s, true);
}

#define SOLVER(order_final)                                                                                          \
    {.name = "solver_order", .help = "of the solver", .type = LTN_INT, .def = 2, .min = 1, .max = MAX_ORDER},        \
    {.name = "solver_type", .help = "of the second and third order; those after heun stand for midpoint",            \
     .type = LTN_CHOICE,                                                                                             \
     .choices = "midpoint|heun|bh1|bh2|logrho"},                                                                     \
    LTN_TRUTH("lower_order_final", order_final, "the last steps are of lower order"),                                \
    LTN_SIGMAS,                                                                                                      \
    LTN_NO_FLOW,                                                                                                     \
    LTN_FINAL_SIGMA,                                                                                                 \
    {.name = "lambda_min_clipped", .help = "time steps with log(a / b) below it are left out", .type = LTN_FLOAT,    \
     .def = -1e9, .min = -1e9, .max = 1e9},                                                                          \
    {.name = "variance_type", .help = "networks that give a variance too", .type = LTN_CHOICE, .choices = "none"}

static const ltn_param params[] = {
    LTN_BETAS(0.0001, 0.02, 0, LTN_BETA_SCHEDULES),
    LTN_PREDICTS,
    LTN_SPACING(1),
    LTN_ZERO_SNR,
    LTN_THRESHOLDS,
    {.name = "algorithm_type", .help = "of what, and with fresh noise or without; deis stands for the first",
     .type = LTN_CHOICE,
     .choices = "dpmsolver++|sde-dpmsolver++|dpmsolver|sde-dpmsolver|deis"},
    SOLVER(1),
    LTN_TRUTH("use_lu_lambdas", 0, "noise levels even in their logarithm, time steps rounded"),
    LTN_TRUTH("euler_at_final", 0, "the last step is of the first order"),
    {0},
};

static const ltn_param single_params[] = {
    LTN_BETAS(0.0001, 0.02, 0, LTN_BETA_SCHEDULES),
    LTN_PREDICTS,
    LTN_THRESHOLDS,
    {.name = "algorithm_type", .help = "of what, and with fresh noise or without; deis stands for the first",
     .type = LTN_CHOICE,
     .choices = "dpmsolver++|sde-dpmsolver++|dpmsolver|deis"},
    SOLVER(0),
    {0},
};

const ltn_sampler_row ltn__sampler_dpm = {
    .entry = {.name = "dpm", .alias = "DPMSolverMultistepScheduler", .help = "DPM-Solver++, multistep",
              .cite = "Lu et al. 2022, arXiv 2211.01095", .param = params},
    .by_sigma = true,
    .arrays = ARRAYS,
    .plan = plan,
    .step = multi_step,
};

const ltn_sampler_row ltn__sampler_dpm_single = {
    .entry = {.name = "dpm_single", .alias = "DPMSolverSinglestepScheduler", .help = "DPM-Solver++, singlestep",
              .cite = "Lu et al. 2022, arXiv 2211.01095", .param = single_params},
    .by_sigma = true,
    .arrays = ARRAYS,
    .plan = single_plan,
    .step = single_step,
};
