/* noise.c - noises on measurements in [0, 1]; value i depends on the seed and i alone. */
#include <math.h>

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

static void poisson(const ltn_spec *s, ltn_rng rng, float *y, size_t n)
{
    const double gain = ltn__num(s, "gain");
    for (size_t i = 0; i < n; i++)
        y[i] = y[i] > 0 ? (float)(gain * counts(y[i] / gain, ltn__uniform(rng, i))) : 0;
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
static const ltn_param poisson_params[] = {
    {.name = "gain", .help = "brightness of one photon", .type = LTN_FLOAT, .def = 0.01, .min = 1e-6,
     .max = 1},
    {0},
};

static const ltn_noise_row noise_gaussian = {
    .entry = {.name = "gaussian", .alias = "normal", .help = "white gaussian", .param = gaussian_params},
    .add = gaussian,
};
static const ltn_noise_row noise_poisson = {
    .entry = {.name = "poisson", .alias = "shot", .help = "photon counts", .param = poisson_params},
    .add = poisson,
};
static const ltn_noise_row noise_uniform = {
    .entry = {.name = "uniform", .help = "white, evenly spread", .param = uniform_params},
    .add = uniform,
};
static const ltn_noise_row noise_salt_pepper = {
    .entry = {.name = "salt-pepper", .alias = "impulse", .help = "values lost to black or white",
              .param = salt_params},
    .add = salt_pepper,
};
static const ltn_noise_row noise_speckle = {
    .entry = {.name = "speckle", .help = "y (1 + n), n white gaussian", .param = speckle_params},
    .add = speckle,
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
