/* noise.c - noises on measurements in [0, 1]: how they are drawn (value i depends on the seed and i alone), what
 * variance they have, and what a value says of the noiseless one (likelihood.c). */
#include <math.h>
#include <stdio.h>

#include "degrade.h"

static void gaussian(const ltn_spec *s, ltn_rng rng, float *y, size_t n)
{
    const double sigma = ltn__num(s, "sigma");
    for (size_t i = 0; i < n; i++) y[i] += (float)(sigma * ltn__normal(rng, i));
}

static void uniform(const ltn_spec *s, ltn_rng rng, float *y, size_t n)
{
    const double a = ltn__num(s, "amplitude");
    for (size_t i = 0; i < n; i++) y[i] += (float)(a * (2 * ltn__uniform(rng, i) - 1));
}

static void speckle(const ltn_spec *s, ltn_rng rng, float *y, size_t n)
{
    const double sigma = ltn__num(s, "sigma");
    for (size_t i = 0; i < n; i++) y[i] *= (float)(1 + sigma * ltn__normal(rng, i));
}

static void salt_pepper(const ltn_spec *s, ltn_rng rng, float *y, size_t n)
{
    const double p = ltn__num(s, "p");
    for (size_t i = 0; i < n; i++) {
        const double u = ltn__uniform(rng, i);
        if (u < p) y[i] = u < p / 2 ? 0 : 1;
    }
}

/* A Poisson number from one uniform u: outcomes are counted off from the most likely one to both sides until
 * their probabilities exceed u, about sqrt(mean) of them. */
static double counts(double mean, double u)
{
    const double mode = floor(mean);
    int sign;
    double p = exp(mode * log(mean) - mean - lgamma_r(mode + 1, &sign)), q = p, up = mode, down = mode;
    for (u -= p; u >= 0 && (p > 1e-18 || q > 1e-18);) {
        up += 1;
        p *= mean / up;
        if ((u -= p) < 0) return up;
        if (down > 0) {
            q *= down / mean;
            down -= 1;
            if ((u -= q) < 0) return down;
        } else {
            q = 0;
        }
    }
    return mode;
}

static double gain(const ltn_spec *s)
{
    return ltn__given(s, "peak") ? 1 / ltn__num(s, "peak") : ltn__num(s, "gain");
}

static void poisson(const ltn_spec *s, ltn_rng rng, float *y, size_t n)
{
    const double g = gain(s);
    for (size_t i = 0; i < n; i++) y[i] = y[i] > 0 ? (float)(g * counts(y[i] / g, ltn__uniform(rng, i))) : 0;
}

/* The gaussian part from the numbers behind the counts'. */
static void poisson_gaussian(const ltn_spec *s, ltn_rng rng, float *y, size_t n)
{
    poisson(s, rng, y, n);
    for (size_t i = 0; i < n; i++) y[i] += (float)(ltn__num(s, "sigma") * ltn__normal(rng, n + i));
}

/* ---- Variances ---- */
static double constant(const ltn_spec *s, double v)
{
    return pow(ltn__num(s, "sigma"), 2);
}

static double of_uniform(const ltn_spec *s, double v)
{
    return pow(ltn__num(s, "amplitude"), 2) / 3;
}

static double of_poisson(const ltn_spec *s, double v)
{
    return gain(s) * fmax(v, 0);
}

static double of_poisson_gaussian(const ltn_spec *s, double v)
{
    return of_poisson(s, v) + constant(s, v);
}

static double of_speckle(const ltn_spec *s, double v)
{
    return constant(s, v) * v * v;
}

static double of_salt_pepper(const ltn_spec *s, double v) /* what is not lost is exact */
{
    return 0;
}

/* ---- What a value says ---- */
/* y +- the deviation that the noise has at the best guess of v: the mean of y and v0, weighed by what each errs by. */
static void at_the_guess(const ltn_spec *s, double y, double v0, double tau,
                         double (*variance)(const ltn_spec *, double), double least, double *seen, double *out)
{
    double guess = v0;
    for (int i = 0; i < 2; i++) {
        const double var = fmax(variance(s, guess), least);
        guess = v0 + tau / (tau + var) * (y - v0);
    }
    *seen = y;
    *out = fmax(variance(s, guess), least);
}

static void see_poisson(const ltn_spec *s, double y, double v0, double tau, double *seen, double *variance)
{
    at_the_guess(s, y, v0, tau, of_poisson, pow(gain(s), 2) / 4, seen, variance);
}

static void see_poisson_gaussian(const ltn_spec *s, double y, double v0, double tau, double *seen, double *variance)
{
    at_the_guess(s, y, v0, tau, of_poisson_gaussian, pow(gain(s), 2) / 4 + 1e-9, seen, variance);
}

static void see_speckle(const ltn_spec *s, double y, double v0, double tau, double *seen, double *variance)
{
    at_the_guess(s, y, v0, tau, of_speckle, 1e-6, seen, variance);
}

/* The prediction cut off at y +- a: mean and variance of a truncated normal. Where the prediction lies far outside,
 * the near end; where it lies deep inside, y says nothing. */
static void see_uniform(const ltn_spec *s, double y, double v0, double tau, double *seen, double *variance)
{
    const double a = ltn__num(s, "amplitude"), d = sqrt(fmax(tau, 1e-12));
    const double lo = (y - a - v0) / d, hi = (y + a - v0) / d;
    const double pl = exp(-lo * lo / 2) / sqrt(2 * M_PI), ph = exp(-hi * hi / 2) / sqrt(2 * M_PI);
    const double mass = lo > 0 ? (erfc(lo / sqrt(2)) - erfc(hi / sqrt(2))) / 2
                               : (erfc(-hi / sqrt(2)) - erfc(-lo / sqrt(2))) / 2;
    if (!(mass > 1e-12)) {
        *seen = lo > 0 ? y - a : y + a;
        *variance = 1e-6;
        return;
    }
    const double mean = (pl - ph) / mass, var = 1 + (lo * pl - hi * ph) / mass - mean * mean;
    const double part = fmin(fmax(var, 1e-9), 1 - 1e-9); /* of tau that is left */
    *variance = tau * part / (1 - part);
    *seen = v0 + d * mean / (1 - part);
}

static bool extreme(const ltn_spec *s, double y)
{
    return y <= 0 || y >= 1;
}

/* ---- Strength from a picture's levels ---- */
static bool fit_gaussian(const ltn_noise_levels *l, char *text, size_t room)
{
    snprintf(text, room, "sigma=%.4g", l->sigma);
    return l->told;
}

static bool fit_uniform(const ltn_noise_levels *l, char *text, size_t room)
{
    snprintf(text, room, "amplitude=%.4g", sqrt(3) * l->sigma);
    return l->told;
}

static bool fit_salt_pepper(const ltn_noise_levels *l, char *text, size_t room)
{
    snprintf(text, room, "p=%.4g", l->impulses);
    return true;
}

/* The a >= 0 with the least sum of |variance - base - a of(mean)| / variance: texture counts as noise in some classes,
 * and absolute values heed them less than squares. Returns the sum. */
static double fit_one(const ltn_noise_levels *l, double base, double (*of)(double), double *a)
{
    double best = INFINITY;
    *a = 0;
    for (int k = -1; k < l->n; k++) { /* it passes through one of the points, or is 0 */
        const double slope = k < 0 ? 0 : fmax(l->variance[k] - base, 0) / of(l->mean[k]);
        double sum = 0;
        for (int i = 0; i < l->n; i++)
            sum += fabs(l->variance[i] - base - slope * of(l->mean[i])) / fmax(l->variance[i], 1e-12);
        if (sum < best) best = sum, *a = slope;
    }
    return best;
}

static double itself(double v)
{
    return v;
}

static double squared(double v)
{
    return v * v;
}

static bool fit_poisson(const ltn_noise_levels *l, char *text, size_t room)
{
    double gain = 0;
    fit_one(l, 0, itself, &gain);
    snprintf(text, room, "gain=%.4g", fmin(fmax(gain, 1e-6), 1));
    return l->n > 0;
}

static bool fit_speckle(const ltn_noise_levels *l, char *text, size_t room)
{
    double s2 = 0;
    fit_one(l, 0, squared, &s2);
    snprintf(text, room, "sigma=%.4g", sqrt(s2));
    return l->n > 0;
}

static bool fit_poisson_gaussian(const ltn_noise_levels *l, char *text, size_t room)
{
    enum { TRIES = 200 };
    double most = 0, least = INFINITY, gain = 0, sigma2 = 0;
    for (int i = 0; i < l->n; i++) most = fmax(most, l->variance[i]);
    for (int k = 0; k <= TRIES; k++) {
        double g = 0;
        const double base = most * k / TRIES, sum = fit_one(l, base, itself, &g);
        if (sum < least) least = sum, gain = g, sigma2 = base;
    }
    snprintf(text, room, "gain=%.4g,sigma=%.4g", fmin(fmax(gain, 1e-6), 1), sqrt(sigma2));
    return l->n > 0;
}

#define SIGMA(d)                                                                \
    {.name = "sigma", .help = "standard deviation, the picture being in [0, 1]", \
     .type = LTN_FLOAT, .def = d, .max = 10}
static const ltn_param gaussian_params[] = {SIGMA(0.05), {0}};
static const ltn_param speckle_params[] = {SIGMA(0.1), {0}};
static const ltn_param uniform_params[] = {
    {.name = "amplitude", .help = "between plus and minus this", .type = LTN_FLOAT, .def = 0.05, .max = 10},
    {0},
};
static const ltn_param salt_params[] = {
    {.name = "p", .help = "share of values replaced by 0 or 1", .type = LTN_FLOAT, .def = 0.05, .max = 1},
    {0},
};
#define PHOTONS                                                                                                  \
    {.name = "gain", .help = "brightness of one photon", .type = LTN_FLOAT, .def = 0.01, .min = 1e-6, .max = 1}, \
    {.name = "peak", .help = "photons of white, in gain's place", .type = LTN_FLOAT, .def = 100, .min = 1, .max = 1e6}
static const ltn_param poisson_params[] = {PHOTONS, {0}};
static const ltn_param poisson_gaussian_params[] = {PHOTONS, SIGMA(0.05), {0}};

static const ltn_noise_row noise_gaussian = {
    .entry = {.name = "gaussian", .alias = "normal", .help = "white gaussian", .param = gaussian_params},
    .fit = fit_gaussian,
    .add = gaussian,
    .variance = constant,
};
static const ltn_noise_row noise_poisson = {
    .entry = {.name = "poisson", .alias = "shot", .help = "photon counts", .param = poisson_params},
    .fit = fit_poisson,
    .add = poisson,
    .variance = of_poisson,
    .observe = see_poisson,
};
static const ltn_noise_row noise_poisson_gaussian = {
    .entry = {.name = "poisson-gaussian", .help = "photon counts read out with white gaussian noise",
              .param = poisson_gaussian_params},
    .fit = fit_poisson_gaussian,
    .add = poisson_gaussian,
    .variance = of_poisson_gaussian,
    .observe = see_poisson_gaussian,
};
static const ltn_noise_row noise_uniform = {
    .entry = {.name = "uniform", .help = "white, evenly spread", .param = uniform_params},
    .fit = fit_uniform,
    .add = uniform,
    .variance = of_uniform,
    .observe = see_uniform,
};
static const ltn_noise_row noise_salt_pepper = {
    .entry = {.name = "salt-pepper", .alias = "impulse", .help = "values lost to black or white",
              .param = salt_params},
    .fit = fit_salt_pepper,
    .add = salt_pepper,
    .variance = of_salt_pepper,
    .lost = extreme,
};
static const ltn_noise_row noise_speckle = {
    .entry = {.name = "speckle", .help = "y (1 + n), n white gaussian", .param = speckle_params},
    .fit = fit_speckle,
    .add = speckle,
    .variance = of_speckle,
    .observe = see_speckle,
};

#define ROW(id) &noise_##id,
static const ltn_noise_row *const rows[] = {
#include "noise.def"
};
#undef ROW

const ltn_noise_row *ltn__noise_row(int i)
{
    return i >= 0 && i < LTN_COUNT(rows) ? rows[i] : NULL;
}

const ltn_entry *ltn__noise_entry(int i)
{
    const ltn_noise_row *r = ltn__noise_row(i);
    return r ? &r->entry : NULL;
}
