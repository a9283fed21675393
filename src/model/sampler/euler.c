/* euler.c - the probability flow dx/dsigma = eps of x = z0 + sigma eps (Karras et al. 2022, arXiv 2206.00364) by
 * Euler's method, x' = x0 + sigma' eps; the same with fresh noise, down to sigma_down and up again,
 *
 *     x' = x0 + sigma_down eps + sigma_up n,   sigma_up^2 = sigma'^2 (sigma^2 - sigma'^2) / sigma^2
 *
 * with sigma_up^2 + sigma_down^2 = sigma'^2, and by Adams and Bashforth's linear multistep method of up to four
 * derivatives, x' = x + sum_j c_j eps_j, where c_j is the integral of Lagrange's j-th polynomial from sigma on. */
#include <math.h>

#include "../sampler.h"

enum { LMS_ORDER = 4 };

/* The n noise levels at even steps of their logarithm, and one after the last. */
static void log_linear(const ltn_schedule *s, int n, double *sigma)
{
    const double max = log(ltn__sigma_at(s, s->train_steps - 1)), min = log(ltn__sigma_at(s, 0));
    for (int i = 0; i <= n; i++) sigma[i] = exp(max + (min - max) * i / n);
}

static void time_steps(ltn_sampler *s, const double *sigma)
{
    for (int i = 0; i < s->steps; i++) s->t[i] = ltn__time_of_sigma(s->s, sigma[i]);
}

/* sigma: n + 1 numbers. */
static void lay(ltn_sampler *s, double *sigma)
{
    const int n = s->steps;
    const bool logarithmic = ltn__option_is(s->s, "interpolation_type", "log_linear");
    ltn__sampler_spaced(s, s->s->train_steps, false, s->t);
    for (int i = 0; i < n; i++) sigma[i] = ltn__sigma_at(s->s, s->t[i]);
    if (logarithmic) log_linear(s->s, n, sigma);
    const double set_max = ltn__option(s->s, "sigma_max", 0), set_min = ltn__option(s->s, "sigma_min", 0);
    const double max = set_max ? set_max : sigma[0], min = set_min ? set_min : sigma[logarithmic ? n : n - 1];
    if (ltn__sampler_sigmas(s->s, max, min, n, sigma)) time_steps(s, sigma);
    else if (logarithmic) return;
    sigma[n] = ltn__option_is(s->s, "final_sigmas_type", "sigma_min") ? ltn__sigma_at(s->s, 0) : 0;
}

static ltn_status plan(ltn_sampler *s)
{
    ltn_status e = ltn__sampler_room(s, s->steps);
    double *sigma = e ? NULL : ltn__alloc(s->ctx, (size_t)s->steps + 1, sizeof *sigma);
    if (!sigma) return LTN_ENOMEM;
    lay(s, sigma);
    for (int i = 0; i < s->steps; i++) s->level[i] = ltn__level_of(sigma[i]);
    s->level[s->steps] = (ltn_level){1, sigma[s->steps]}; /* the result is x, not z */
    if (ltn__option_is(s->s, "timestep_type", "continuous") && s->s->prediction == LTN_V)
        for (int i = 0; i < s->steps; i++) s->t[i] = 0.25 * log(sigma[i]);
    if (!ltn__option_is(s->s, "timestep_spacing", "leading")) s->first = s->level[0].b;
    ltn__free(s->ctx, sigma);
    return LTN_OK;
}

static void euler_step(ltn_sampler *s, const float *net, const float *noise, float *z)
{
    const ltn_level next = s->level[s->k + 1];
    ltn__sampler_predict(s, net, z);
    ltn__mix(z, s->n, (const ltn_term[]){{next.a, s->x0}, {next.b, s->eps}}, 2);
}

static ltn_status ancestral_plan(ltn_sampler *s)
{
    s->draws = true;
    return plan(s);
}

static void ancestral_step(ltn_sampler *s, const float *net, const float *noise, float *z)
{
    const ltn_level next = s->level[s->k + 1];
    const double sigma = s->level[s->k].b / s->level[s->k].a, to = next.b / next.a;
    const double up = to * sqrt(fmax(0, 1 - to * to / (sigma * sigma))), down = sqrt(to * to - up * up);
    ltn__sampler_predict(s, net, z);
    ltn__mix(z, s->n, (const ltn_term[]){{next.a, s->x0}, {next.a * down, s->eps}, {next.a * up, noise}}, 3);
}

/* The integral from x[0] to `to` of the polynomial that is 1 at x[j] and 0 at the others of n: Gauss's rule of two
 * points is exact up to the third degree. */
static double lagrange(const double *x, int n, int j, double to)
{
    double sum = 0;
    for (int side = -1; side <= 1; side += 2) {
        const double at = (x[0] + to) / 2 + side * (to - x[0]) / 2 / sqrt(3);
        double product = 1;
        for (int k = 0; k < n; k++)
            if (k != j) product *= (at - x[k]) / (x[j] - x[k]);
        sum += product;
    }
    return sum * (to - x[0]) / 2;
}

static void lms_step(ltn_sampler *s, const float *net, const float *noise, float *z)
{
    const ltn_level at = s->level[s->k], next = s->level[s->k + 1];
    const int order = LTN_MIN(s->k - s->begin + 1, LMS_ORDER);
    double x[LMS_ORDER];
    ltn_term term[LMS_ORDER + 1] = {{next.a / at.a, z}};
    ltn__sampler_predict(s, net, z);
    ltn__sampler_shift(s, LMS_ORDER);
    ltn__mix(s->array[0], s->n, (const ltn_term[]){{1, s->eps}}, 1);
    for (int j = 0; j < order; j++) x[j] = s->level[s->k - j].b / s->level[s->k - j].a;
    for (int j = 0; j < order; j++)
        term[j + 1] = (ltn_term){next.a * lagrange(x, order, j, next.b / next.a), s->array[j]};
    ltn__mix(z, s->n, term, order + 1);
}

static const ltn_param euler_params[] = {
    LTN_BETAS(0.0001, 0.02, 0, LTN_BETA_SCHEDULES),
    LTN_PREDICTS,
    LTN_SPACING(1),
    LTN_ZERO_SNR,
    LTN_SIGMAS,
    {.name = "sigma_min", .help = "where those end; 0: at the last time step's", .type = LTN_FLOAT, .max = 1e6},
    {.name = "sigma_max", .help = "where those begin; 0: at the first time step's", .type = LTN_FLOAT, .max = 1e6},
    {.name = "interpolation_type", .help = "of noise levels between time steps", .type = LTN_CHOICE,
     .choices = "linear|log_linear"},
    {.name = "timestep_type", .help = "what the network is told: the time step, or (v_prediction) log(sigma) / 4",
     .type = LTN_CHOICE,
     .choices = "discrete|continuous"},
    LTN_FINAL_SIGMA,
    {0},
};

static const ltn_param ancestral_params[] = {
    LTN_BETAS(0.0001, 0.02, 0, LTN_BETA_SCHEDULES),
    {.name = "prediction_type", .help = "what the network gives", .type = LTN_CHOICE,
     .choices = "epsilon|v_prediction"},
    LTN_SPACING(1),
    LTN_ZERO_SNR,
    {0},
};

static const ltn_param lms_params[] = {
    LTN_BETAS(0.0001, 0.02, 0, LTN_BETA_SCHEDULES),
    LTN_PREDICTS,
    LTN_SPACING(1),
    LTN_SIGMAS,
    {0},
};

const ltn_sampler_row ltn__sampler_euler = {
    .entry = {.name = "euler", .alias = "EulerDiscreteScheduler", .help = "Euler's method on the probability flow",
              .cite = "Karras et al. 2022, arXiv 2206.00364", .param = euler_params},
    .by_sigma = true,
    .plan = plan,
    .step = euler_step,
};

const ltn_sampler_row ltn__sampler_euler_ancestral = {
    .entry = {.name = "euler_ancestral", .alias = "EulerAncestralDiscreteScheduler",
              .help = "the same with fresh noise in every step",
              .cite = "Karras et al. 2022, arXiv 2206.00364", .param = ancestral_params},
    .by_sigma = true,
    .plan = ancestral_plan,
    .step = ancestral_step,
};

const ltn_sampler_row ltn__sampler_lms = {
    .entry = {.name = "lms", .alias = "LMSDiscreteScheduler",
              .help = "the linear multistep method on it, four derivatives",
              .cite = "Karras et al. 2022, arXiv 2206.00364", .param = lms_params},
    .by_sigma = true,
    .arrays = LMS_ORDER,
    .plan = plan,
    .step = lms_step,
};
