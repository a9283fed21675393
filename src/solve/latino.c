/* latino.c - LATINO: a latent consistency model as prior, the data kept by a proximal step (arXiv 2503.12615, ICCV
 * 2025).
 *
 *     z  = sqrt(ab_t) E(x) + sqrt(1 - ab_t) eps       encode, noise
 *     z0 = f(z, t, c)                                 consistency map
 *     u  = D(z0)                                      decode
 *     x  = argmin_x gamma/2 |A x - y|^2 + 1/2 |x - u|^2
 *
 * for t_1 > ... > t_N, with gamma by a rule of rule.c. That is the paper's loop; the default, rule=matched, finds gamma
 * and t from the error that x carries and adds no noise to it (matched.c). There what the autoencoder cannot keep is
 * not lost again in every step: the latent moves by what the prox changed, z0 + E(x) - E(u). */
#include "latino.h"

#include <math.h>
#include <string.h>

enum { OUTPUT_PROX, OUTPUT_DECODED };

int ltn__times_by_default(int steps, int train_steps, int *t)
{
    for (int k = 0; k < steps; k++) t[k] = train_steps - 1 - (int)((int64_t)k * train_steps / steps);
    return steps;
}

int ltn__times_by_list(const char *list, int train_steps, int *t)
{
    int n = 0;
    for (const char *p = list;; p++) {
        int v = 0, digits = 0;
        for (; *p >= '0' && *p <= '9' && digits < 6; p++, digits++) v = 10 * v + (*p - '0');
        if (!digits || v >= (n ? t[n - 1] : train_steps)) return 0;
        t[n++] = v;
        if (!*p) return n;
        if (*p != '/') return 0;
    }
}

int ltn__latino_time(const ltn_latino *l)
{
    return ltn__matched_time(&l->matched);
}

ltn_status ltn__latino_noised(ltn_latino *l, double ab)
{
    ltn_status s = l->p->encode(l->p, l->x, l->z);
    ltn__step_noise(l->q, l->p, l->draws++, l->eps);
    double a = sqrt(ab), b = sqrt(1 - ab);
    for (size_t i = 0; i < l->p->latent_count; i++) l->z[i] = (float)(a * l->z[i] + b * l->eps[i]);
    return s;
}

ltn_status ltn__latino_moved(ltn_latino *l, double ab)
{
    float *eu = l->eps;
    ltn_status s = l->p->encode(l->p, l->x, l->z);
    if (!s && l->begun) s = l->p->encode(l->p, l->u, eu);
    double a = sqrt(ab);
    for (size_t i = 0; i < l->p->latent_count; i++)
        l->z[i] = (float)(a * (l->begun ? l->z0[i] + l->z[i] - eu[i] : l->z[i]));
    return s;
}

ltn_status ltn__latino_predict(ltn_latino *l, int t)
{
    ltn_status s = l->p->predict(l->p, l->z, t, l->z0);
    if (!s) s = l->p->decode(l->p, l->z0, l->u);
    l->begun = true;
    return s;
}

static double rule_gamma(ltn_latino *l, int t)
{
    if (!l->rule) return ltn__matched_gamma(&l->matched, l->u);
    ltn_rule_input in = {.q = l->q, .p = l->p, .data = l->rule_data, .t = t, .u = l->u, .x = l->x, .r = l->r};
    return l->rule->gamma(&in);
}

double ltn__latino_data(ltn_latino *l, int t)
{
    double gamma = rule_gamma(l, t);
    if (gamma > 0) ltn__prox(l->q->a, l->q->y, gamma, l->u, l->x);
    else memcpy(l->x, l->u, l->n * sizeof *l->x);
    return gamma;
}

void ltn__latino_report(ltn_latino *l, int t, double gamma, ltn_progress *progress)
{
    progress->t = t;
    progress->gamma = gamma;
    progress->residual = ltn__chi(l->q, l->x, l->r);
}

ltn_status ltn__latino_step(ltn_latino *l, int t, ltn_progress *progress)
{
    double ab = l->p->alpha_bar[t];
    ltn_status s = l->rule ? ltn__latino_noised(l, ab) : ltn__latino_moved(l, ab);
    if (s || (s = ltn__latino_predict(l, t))) return s;
    ltn__latino_report(l, t, ltn__latino_data(l, t), progress);
    return LTN_OK;
}

/* The paper's release starts from A^T y, clipped, which is nearly grey for small pictures (amplitude 1 / factor^2). */
void ltn__latino_start(ltn_latino *l, int how)
{
    const ltn_problem *q = l->q;
    if (!l->rule) {
        ltn__matched_start(&l->matched, l->x);
    } else if (how == LTN_START_ADJOINT) {
        memset(l->u, 0, l->n * sizeof *l->u);
        ltn__vjp(q->a, l->u, q->y, l->x); /* A^T y where A is linear */
        for (size_t i = 0; i < l->n; i++) l->x[i] = fminf(fmaxf(l->x[i], -1), 1);
    } else {
        ltn__naive(q->a, q->y, l->x);
    }
}

void ltn__latino_close(ltn_latino *l)
{
    if (!l->q) return;
    float *const block[] = {l->x, l->u, l->z, l->z0, l->eps, l->r};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(l->q->ctx, block[i]);
    ltn__matched_close(&l->matched);
    l->q = NULL;
}

ltn_status ltn__latino_open(ltn_latino *l, const ltn_problem *q, ltn_prior *p, const char *rule)
{
    *l = (ltn_latino){.q = q, .p = p, .rule = ltn__rule_named(rule), .n = ltn__size_count(q->a->x)};
    ltn_status status = LTN_OK;
    if (l->rule && l->rule->open) status = l->rule->open(q, &l->rule_data);
    if (!status && !l->rule) status = ltn__matched_open(&l->matched, q, p);
    if (status) return status;
    float **const picture[] = {&l->x, &l->u}, **const latent[] = {&l->z, &l->z0, &l->eps};
    if (ltn__alloc_each(q->ctx, l->n, picture, LTN_COUNT(picture))) return LTN_ENOMEM;
    if (ltn__alloc_each(q->ctx, p->latent_count, latent, LTN_COUNT(latent))) return LTN_ENOMEM;
    if (!(l->r = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *l->r))) return LTN_ENOMEM;
    return LTN_OK;
}

/* ---- The solver ---- */
typedef struct latino {
    ltn_latino loop;
    int step, steps, output;
    int *t; /* of the paper's loop */
} latino;

static ltn_status latino_step(void *state, ltn_progress *progress)
{
    latino *l = state;
    int t = l->loop.rule ? l->t[l->step] : ltn__latino_time(&l->loop);
    ltn_status s = ltn__latino_step(&l->loop, t, progress);
    if (s) return s;
    progress->step = ++l->step;
    return l->step == l->steps ? LTN_DONE : LTN_OK;
}

static const float *latino_estimate(const void *state)
{
    const latino *l = state;
    return l->output == OUTPUT_DECODED && l->step ? l->loop.u : l->loop.x;
}

static void latino_close(ltn_ctx *ctx, void *state)
{
    latino *l = state;
    ltn__latino_close(&l->loop);
    ltn__free(ctx, l->t);
    ltn__free(ctx, l);
}

static ltn_status take_times(latino *l, const ltn_spec *s)
{
    ltn_ctx *ctx = l->loop.q->ctx;
    const char *list = ltn__str(s, "times");
    int train = l->loop.p->train_steps;
    if (!(l->t = ltn__alloc(ctx, (size_t)train, sizeof *l->t))) return LTN_ENOMEM;
    l->steps = list ? ltn__times_by_list(list, train, l->t)
                    : ltn__times_by_default((int)ltn__num(s, "steps"), train, l->t);
    if (!l->loop.rule && ltn__num(s, "start") != LTN_START_OWN)
        return ltn__fail(ctx, LTN_EINVAL,
                         "start=%s: rule=matched has its own start; give rule=discrepancy, bayes or released",
                         ltn__str(s, "start"));
    if (list && !l->loop.rule)
        return ltn__fail(ctx, LTN_EINVAL,
                         "times=%s: rule=matched finds its own time steps; give rule=discrepancy, bayes or released",
                         list);
    if (l->steps) return LTN_OK;
    return ltn__fail(ctx, LTN_EINVAL, "times=%s: expected falling time steps below %d such as 999/749/499/249", list,
                     train);
}

static ltn_status latino_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *s, void **state, int *steps)
{
    latino *l = ltn__alloc(q->ctx, 1, sizeof *l);
    if (!l) return LTN_ENOMEM;
    *state = l; /* closed by the caller whatever happens */
    l->output = (int)ltn__num(s, "output");
    ltn_status status = ltn__latino_open(&l->loop, q, p, ltn__str(s, "rule"));
    if (!status) status = take_times(l, s);
    if (status) return status;
    ltn__latino_start(&l->loop, (int)ltn__num(s, "start"));
    *steps = l->steps;
    return LTN_OK;
}

static const ltn_param latino_params[] = {
    {.name = "steps", .help = "network calls", .type = LTN_INT, .def = 8, .min = 1, .max = 1000},
    {.name = "times", .help = "time steps by hand, 999/749/499/249 (not with rule=matched, which finds its own)",
     .type = LTN_STRING},
    {.name = "rule", .help = "how the weight gamma of the data is found", .type = LTN_CHOICE, .def = 0,
     .choices = "matched|discrepancy|bayes|released"},
    {.name = "start", .help = "own: of the rule; the paper's rules may start from a naive inverse (their own) or A^T y",
     .type = LTN_CHOICE, .choices = "own|naive|adjoint"},
    {.name = "output", .help = "the last prox or the last decoded prediction", .type = LTN_CHOICE, .def = 0,
     .choices = "prox|decoded"},
    {0},
};

const ltn_solver_row ltn__solver_latino = {
    .entry = {.name = "latino", .help = "latent consistency model with a proximal data step",
              .cite = "arXiv 2503.12615", .param = latino_params},
    .needs_prior = true,
    .nonlinear = true,
    .open = latino_open,
    .step = latino_step,
    .estimate = latino_estimate,
    .close = latino_close,
};
