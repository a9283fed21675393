/* sampler.h - diffusers' schedulers: the noise schedule that a scheduler_config.json describes (schedule.c), and the
 * walk from noise to a latent that it names (sampler.c, sampler/). The table sampler.def names those that are known.
 *
 * A noisy latent is z = a z0 + b eps everywhere, a^2 + b^2 = 1; where diffusers keeps x = z0 + sigma eps instead
 * (Euler), sigma = b / a and z = a x, which is what the network is fed there too. */
#ifndef LTN_SAMPLER_H
#define LTN_SAMPLER_H

#include "../file/file.h"

typedef struct ltn_sampler_row ltn_sampler_row;

/* ---- Schedule (schedule.c): alpha-bar of the 1,000 training steps, and what the network predicts ---- */
typedef enum ltn_prediction { LTN_EPSILON, LTN_SAMPLE, LTN_V } ltn_prediction;
typedef struct ltn_schedule {
    ltn_arena arena;      /* of the options' words and the configuration */
    const char *name;     /* _class_name */
    const ltn_json *config; /* what other samplers take from, too */
    const ltn_sampler_row *row;
    ltn_spec options;     /* of the row: the configuration's, else the row's defaults */
    int train_steps;
    double *alpha_bar;    /* train_steps of them */
    ltn_prediction prediction;
    bool consistency;     /* LCM: c_skip, c_out act on the prediction */
    double timestep_scaling, sigma_data; /* LCM: 10, 0.5 */
    double clip;          /* the clean latent is clipped to +-clip; 0: it is not */
    bool thresholding;    /* or to a quantile of itself: samplers can, solvers cannot */
} ltn_schedule;
ltn_status ltn__schedule_read(ltn_ctx *ctx, const char *path, ltn_schedule *out);
/* From the text of a scheduler_config.json; path is for messages only. */
ltn_status ltn__schedule_parse(ltn_ctx *ctx, const char *path, const char *text, size_t n, ltn_schedule *out);
/* The same noise schedule walked by another sampler, or with other options, by spec: what the spec does not give is the
 * configuration's as far as the sampler knows the option. `of` must outlive it. */
ltn_status ltn__schedule_with(ltn_ctx *ctx, const ltn_schedule *of, const char *spec, ltn_schedule *out);
void ltn__schedule_free(ltn_ctx *ctx, ltn_schedule *s);
/* The clean latent from a network output at t, n values: z0 = c_skip z + c_out x0(z, out). */
void ltn__schedule_predict(const ltn_schedule *s, int t, const float *z, const float *net, float *z0,
                           size_t n);
/* Its vector-Jacobian products by z (with the network's output held) and by that output. */
void ltn__schedule_back(const ltn_schedule *s, int t, const float *z, const float *net, const float *dz0, float *dz,
                        float *dnet, size_t n);

/* ---- A walk (sampler.c) ---- */
typedef struct ltn_level {
    double a, b;
} ltn_level;
enum { LTN_SAMPLER_ARRAYS = 8 };
typedef struct ltn_sampler {
    ltn_ctx *ctx;
    const ltn_schedule *s;
    size_t n;         /* values of a latent */
    int steps;        /* as asked for */
    double strength;
    int calls, begin; /* of the network in all; the first that is made: later than 0 on the way from a picture */
    int k;            /* the next one */
    bool draws;       /* steps need noise */
    double first;     /* b of the noise that it begins with, times this */
    double *t;        /* calls: what the network is told */
    ltn_level *level; /* calls + 1: of z before each call, and after the last */
    float *x0, *eps;  /* the predictions of this call */
    float *sorted;    /* room for thresholding */
    float *array[LTN_SAMPLER_ARRAYS]; /* what the row keeps between calls */
    int order;        /* of the last step, where that changes */
} ltn_sampler;
/* A walk of `steps` steps over latents of n values; strength in (0, 1]: the part of it that is made, from a noised
 * latent; 1: all, from noise alone. The schedule must outlive it. */
ltn_status ltn__sampler_open(ltn_ctx *ctx, const ltn_schedule *s, int steps, double strength, size_t n,
                             ltn_sampler **out);
void ltn__sampler_close(ltn_sampler **s);
/* z before the first call: `latent` noised, or noise alone (NULL). */
void ltn__sampler_start(const ltn_sampler *s, const float *latent, const float *noise, float *z);
/* Whether a call is left: the network is fed z and told s->t[s->k]. */
bool ltn__sampler_left(const ltn_sampler *s);
/* z on to the next call, or to the clean latent after the last. noise: standard normals, read where s->draws. */
void ltn__sampler_step(ltn_sampler *s, const float *net, const float *noise, float *z);

/* ---- For rows ---- */
struct ltn_sampler_row {
    ltn_entry entry;   /* alias: diffusers' class; param: the options that change numbers, as its config names them */
    bool consistency;
    bool by_sigma;     /* works on b / a, so that zero terminal signal is alpha-bar 2^-24 */
    int arrays;        /* of n values */
    ltn_status (*plan)(ltn_sampler *s); /* t and level, by ltn__sampler_room */
    void (*step)(ltn_sampler *s, const float *net, const float *noise, float *z);
};
const ltn_sampler_row *ltn__sampler_row(int i);
const ltn_entry *ltn__sampler_entry(int i);
/* An option's number, index of a choice, or truth; rows that do not know it: absent. */
double ltn__option(const ltn_schedule *s, const char *name, double absent);
bool ltn__option_is(const ltn_schedule *s, const char *name, const char *word);
ltn_status ltn__sampler_room(ltn_sampler *s, int calls);
void ltn__sampler_takes(ltn_sampler *s, int steps); /* so many steps, whatever was asked for */
/* Time steps of 0 .. last - 1, largest first, by timestep_spacing; `more`: of one step more, without the smallest.
 * Their number, which is s->steps unless last < train_steps. */
int ltn__sampler_spaced(const ltn_sampler *s, int last, bool more, double *t);
/* sqrt(ab), sqrt(1 - ab); t beyond the end: the last */
ltn_level ltn__level_at(const ltn_schedule *s, int t);
ltn_level ltn__level_before(const ltn_schedule *s, int t);       /* the same; t < 0: set_alpha_to_one */
ltn_level ltn__level_of(double sigma);
double ltn__sigma_at(const ltn_schedule *s, double t);           /* sqrt((1 - ab) / ab), linear between */
double ltn__time_of_sigma(const ltn_schedule *s, double sigma);  /* linear in log sigma */
/* n numbers from `max` down to `min` as use_karras_sigmas and its like ask; false: none of them is on. */
bool ltn__sampler_sigmas(const ltn_schedule *s, double max, double min, int n, double *sigma);
/* The plan of solvers in log(a / b): levels at whole time steps of 0 .. last - 1, or from sigma `max` down to `min`
 * where use_karras_sigmas or its like is on; then time steps are rounded (karras and lu, if `rounds`) or cut. Leaves
 * the level after the last to the row; *own: whether one of those is on. */
ltn_status ltn__sampler_plan_levels(ltn_sampler *s, int last, double max, double min, bool rounds, bool *own);
/* x0 and eps from the network's output at call k; x0 clipped or thresholded. */
void ltn__sampler_predict(ltn_sampler *s, const float *net, const float *z);
/* z = sum_i c_i v_i; z may be among them; terms with c = 0 are not read. */
typedef struct ltn_term {
    double c;
    const float *v;
} ltn_term;
void ltn__mix(float *z, size_t n, const ltn_term *term, int terms);
/* array[0] <- array[1] <- ... for the first n: [0] is free for what is newest. */
void ltn__sampler_shift(ltn_sampler *s, int n);

/* Options that rows share. */
#define LTN_BETAS(start, end, schedule, schedules)                                                                   \
    {.name = "num_train_timesteps", .help = "steps of the noise schedule", .type = LTN_INT, .def = 1000, .min = 2,   \
     .max = 1 << 20},                                                                                                \
    {.name = "beta_start", .help = "the first beta", .type = LTN_FLOAT, .def = start, .max = 1},                     \
    {.name = "beta_end", .help = "the last beta", .type = LTN_FLOAT, .def = end, .max = 1},                          \
    {.name = "beta_schedule", .help = "how beta goes from the first to the last", .type = LTN_CHOICE, .def = schedule, \
     .choices = schedules},                                                                                          \
    {.name = "trained_betas", .help = "all betas, as '0.1,0.2'; none: by beta_schedule", .type = LTN_STRING}
#define LTN_BETA_SCHEDULES "linear|scaled_linear|squaredcos_cap_v2"
#define LTN_PREDICTS                                                                                                 \
    {.name = "prediction_type", .help = "what the network gives", .type = LTN_CHOICE,                                \
     .choices = "epsilon|sample|v_prediction"}
#define LTN_SPACING(index)                                                                                           \
    {.name = "timestep_spacing", .help = "how time steps lie", .type = LTN_CHOICE, .def = index,                     \
     .choices = "leading|linspace|trailing"},                                                                        \
    {.name = "steps_offset", .help = "added to leading time steps", .type = LTN_INT, .max = 1 << 20}
#define LTN_TRUTH(what, index, words)                                                                                \
    {.name = what, .help = words, .type = LTN_CHOICE, .def = index, .choices = "false|true"}
#define LTN_NEVER(what, words) {.name = what, .help = words, .type = LTN_CHOICE, .choices = "false"}
#define LTN_NO_FLOW                                                                                                  \
    LTN_NEVER("use_flow_sigmas", "of flow matching"), LTN_NEVER("use_dynamic_shifting", "of flow matching")
#define LTN_ZERO_SNR LTN_TRUTH("rescale_betas_zero_snr", 0, "betas scaled so that the last time step is noise alone")
#define LTN_CLIPS(index)                                                                                             \
    LTN_TRUTH("clip_sample", index, "the clean latent is clipped"),                                                  \
    {.name = "clip_sample_range", .help = "to this", .type = LTN_FLOAT, .def = 1, .min = 1e-6, .max = 1e6}
#define LTN_THRESHOLDS                                                                                               \
    LTN_TRUTH("thresholding", 0, "the clean latent is clipped to a quantile of itself and divided by that"),         \
    {.name = "dynamic_thresholding_ratio", .help = "of thresholding: which quantile", .type = LTN_FLOAT,             \
     .def = 0.995, .max = 1},                                                                                        \
    {.name = "sample_max_value", .help = "of thresholding: at most this", .type = LTN_FLOAT, .def = 1, .min = 1,     \
     .max = 1e6}
#define LTN_ALPHA_TO_ONE(index)                                                                                      \
    LTN_TRUTH("set_alpha_to_one", index, "the last step ends in the clean latent, not in time step 0's")
#define LTN_FINAL_SIGMA                                                                                              \
    {.name = "final_sigmas_type", .help = "the noise after the last step", .type = LTN_CHOICE,                       \
     .choices = "zero|sigma_min"}
#define LTN_SIGMAS                                                                                                   \
    LTN_TRUTH("use_karras_sigmas", 0, "noise levels by Karras et al. 2022, rho = 7"),                                \
    LTN_TRUTH("use_exponential_sigmas", 0, "noise levels even in their logarithm"),                                  \
    LTN_TRUTH("use_beta_sigmas", 0, "noise levels by the quantiles of Beta(0.6, 0.6)")

#endif
