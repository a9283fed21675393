/* latino_ddim.c - LATINO with a diffusion model's many small steps in the place of a consistency model's few
 * renoised ones, the ablation of arXiv 2503.12615 (the step is that of DDIM, arXiv 2010.02502):
 *
 *     z0 = f(z, t, c),  u = D(z0)
 *     x  = argmin_x gamma/2 |A x - y|^2 + 1/2 |x - u|^2,  gamma by a rule of rule.c
 *     z' = sqrt(ab') z0' + sqrt(1 - ab' - s^2) eps_hat + s eps,   eps_hat = (z - sqrt(ab) z0) / sqrt(1 - ab),
 *     s^2 = eta^2 (1 - ab') / (1 - ab) (1 - ab / ab')
 *
 * along times that fall evenly to 0. With rule=matched they begin where matched.c's start x is as noisy as the
 * prior expects, z = sqrt(ab) E(x), so that the steps are all that differs from `latino`; with the paper's rules at
 * the last time step, z = sqrt(ab) E(x) + sqrt(1 - ab) eps with the naive inverse x. The last x is the result. z0' =
 * E(x) goes through the autoencoder once more in every step, and what that loses adds up over many (the small prior's
 * gives a picture back with 36 dB after one round, 10 dB after fifty); z0' = z0 + E(x) - E(u), the default, loses
 * nothing where the prox changes nothing. */
#include "diffusion.h"
#include "latino.h"

#include <math.h>

typedef struct latino_ddim {
    ltn_latino loop;
    int step, steps, from; /* from: the first time */
    bool moved;
    double eta;
} latino_ddim;

static int time_of(const latino_ddim *l, int k)
{
    return l->from - (int)((int64_t)k * (l->from + 1) / l->steps);
}

/* 1 behind the last time. */
static double alpha_bar(const latino_ddim *l, int k)
{
    return k < l->steps ? l->loop.p->alpha_bar[time_of(l, k)] : 1;
}

/* The first time and z there. */
static ltn_status begin(latino_ddim *l)
{
    ltn_latino *o = &l->loop;
    l->from = o->rule ? o->p->train_steps - 1 : ltn__latino_time(o);
    const double ab = alpha_bar(l, 0);
    return o->rule ? ltn__latino_noised(o, ab) : ltn__latino_moved(o, ab);
}

/* From z, z0 and x to the next z. */
static ltn_status onward(latino_ddim *l, double ab, double next)
{
    ltn_latino *o = &l->loop;
    if (l->eta > 0) ltn__step_noise(o->q, o->p, o->draws++, o->eps);
    ltn__diffusion_step(o->p, ab, next, l->eta, o->z0, o->eps, o->z);
    float *ex = o->eps, *eu = o->z0; /* z0 has done its part */
    ltn_status s = o->p->encode(o->p, o->x, ex);
    if (!s && l->moved) s = o->p->encode(o->p, o->u, eu);
    for (size_t i = 0; i < o->p->latent_count; i++) o->z[i] += (float)sqrt(next) * (ex[i] - eu[i]);
    return s;
}

static ltn_status latino_ddim_step(void *state, ltn_progress *progress)
{
    latino_ddim *l = state;
    ltn_latino *o = &l->loop;
    ltn_status s = l->step ? LTN_OK : begin(l);
    const int t = time_of(l, l->step);
    if (s || (s = ltn__latino_predict(o, t))) return s;
    ltn__latino_report(o, t, ltn__latino_data(o, t), progress);
    progress->step = ++l->step;
    if (l->step == l->steps) return LTN_DONE;
    return onward(l, alpha_bar(l, l->step - 1), alpha_bar(l, l->step));
}

static const float *latino_ddim_estimate(const void *state)
{
    const latino_ddim *l = state;
    return l->loop.x;
}

static void latino_ddim_close(ltn_ctx *ctx, void *state)
{
    latino_ddim *l = state;
    ltn__latino_close(&l->loop);
    ltn__free(ctx, l);
}

static ltn_status latino_ddim_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *s,
                                   void **state, int *steps)
{
    latino_ddim *l = ltn__alloc(q->ctx, 1, sizeof *l);
    if (!l) return LTN_ENOMEM;
    *state = l;
    *steps = l->steps = LTN_MIN((int)ltn__num(s, "steps"), p->train_steps);
    l->eta = ltn__num(s, "eta");
    l->moved = ltn__num(s, "latent") == 0;
    const ltn_status status = ltn__latino_open(&l->loop, q, p, ltn__str(s, "rule"));
    if (!status) ltn__latino_start(&l->loop, LTN_START_NAIVE);
    return status;
}

static const ltn_param latino_ddim_params[] = {
    {.name = "steps", .help = "network calls", .type = LTN_INT, .def = 50, .min = 1, .max = 1000},
    {.name = "rule", .help = "how the weight gamma of the data is found", .type = LTN_CHOICE,
     .choices = "matched|bayes|discrepancy|released"},
    {.name = "latent", .help = "z0 moved by what the prox changed, or that of x alone", .type = LTN_CHOICE,
     .choices = "moved|encoded"},
    {.name = "eta", .help = "fresh noise in every step: 1 ancestral sampling, 0 none", .type = LTN_FLOAT,
     .max = 1},
    {0},
};

const ltn_solver_row ltn__solver_latino_ddim = {
    .entry = {.name = "latino-ddim", .help = "LATINO with a diffusion model's small steps",
              .cite = "arXiv 2503.12615",
              .param = latino_ddim_params},
    .needs_prior = true,
    .open = latino_ddim_open,
    .step = latino_ddim_step,
    .estimate = latino_ddim_estimate,
    .close = latino_ddim_close,
};
