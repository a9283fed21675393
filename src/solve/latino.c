/* latino.c - LATINO: a latent consistency model as prior, the data kept by a proximal step (arXiv 2503.12615, ICCV 2025).
 *
 *     z  = sqrt(ab_t) E(x) + sqrt(1 - ab_t) eps       encode, noise
 *     z0 = f(z, t, c)                                 consistency map
 *     u  = D(z0)                                      decode
 *     x  = argmin_x gamma/2 |A x - y|^2 + 1/2 |x - u|^2
 *
 * for t_1 > ... > t_N, with gamma by a rule of rule.c. That is the paper's loop; the default, rule=matched, finds gamma and t
 * from the error that x carries and adds no noise to it (matched.c). There what the autoencoder cannot keep is not lost
 * again in every step: the latent moves by what the prox changed, z0 + E(x) - E(u). */
#include "matched.h"

#include <math.h>
#include <string.h>

enum { OUTPUT_PROX, OUTPUT_DECODED };
enum { START_OWN, START_NAIVE, START_ADJOINT };

typedef struct latino {
    const ltn_problem *q;
    ltn_prior *p;
    const ltn_rule *rule; /* NULL: matched */
    const void *rule_data;
    int step, steps, output;
    int *t;         /* of the paper's loop */
    size_t n;       /* of a picture */
    ltn_matched matched;
    float *x, *u;   /* the last prox, the last prediction */
    float *z, *z0, *eps; /* latents */
    float *r;       /* a measurement */
} latino;

static int times_by_default(int steps, int train_steps, int *t)
{
    for (int k = 0; k < steps; k++) t[k] = train_steps - 1 - (int)((int64_t)k * train_steps / steps);
    return steps;
}

/* "999/749/499/249": falling, below the number of training steps; returns how many, 0 if it is no such list. */
static int times_by_list(const char *list, int train_steps, int *t)
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

static double rule_gamma(latino *l, int t)
{
    if (!l->rule) return ltn__matched_gamma(&l->matched, l->u);
    ltn_rule_input in = {.q = l->q, .p = l->p, .data = l->rule_data, .t = t, .u = l->u, .x = l->x, .r = l->r};
    return l->rule->gamma(&in);
}

/* z = sqrt(ab) E(x) + sqrt(1 - ab) eps */
static ltn_status noised_latent(latino *l, double ab)
{
    ltn_status s = l->p->encode(l->p, l->x, l->z);
    ltn__step_noise(l->q, l->p, l->step, l->eps);
    double a = sqrt(ab), b = sqrt(1 - ab);
    for (size_t i = 0; i < l->p->latent_count; i++) l->z[i] = (float)(a * l->z[i] + b * l->eps[i]);
    return s;
}

/* z = sqrt(ab) (z0 + E(x) - E(u)), in the first step sqrt(ab) E(x) */
static ltn_status moved_latent(latino *l, double ab)
{
    float *eu = l->eps;
    ltn_status s = l->p->encode(l->p, l->x, l->z);
    if (!s && l->step) s = l->p->encode(l->p, l->u, eu);
    double a = sqrt(ab);
    for (size_t i = 0; i < l->p->latent_count; i++)
        l->z[i] = (float)(a * (l->step ? l->z0[i] + l->z[i] - eu[i] : l->z[i]));
    return s;
}

static ltn_status latino_step(void *state, ltn_progress *progress)
{
    latino *l = state;
    int t = l->rule ? l->t[l->step] : ltn__matched_time(&l->matched);
    double ab = l->p->alpha_bar[t];
    ltn_status s = l->rule ? noised_latent(l, ab) : moved_latent(l, ab);
    if (s || (s = l->p->predict(l->p, l->z, t, l->z0)) || (s = l->p->decode(l->p, l->z0, l->u))) return s;
    double gamma = rule_gamma(l, t);
    if (gamma > 0) ltn__prox(l->q->a, l->q->y, gamma, l->u, l->x);
    else memcpy(l->x, l->u, l->n * sizeof *l->x);
    progress->step = ++l->step;
    progress->t = t;
    progress->gamma = gamma;
    progress->residual = ltn__chi(l->q, l->x, l->r);
    return l->step == l->steps ? LTN_DONE : LTN_OK;
}

static const float *latino_estimate(const void *state)
{
    const latino *l = state;
    return l->output == OUTPUT_DECODED && l->step ? l->u : l->x;
}

static void latino_close(ltn_ctx *ctx, void *state)
{
    latino *l = state;
    float *const block[] = {l->x, l->u, l->z, l->z0, l->eps, l->r};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(ctx, block[i]);
    ltn__matched_close(&l->matched);
    ltn__free(ctx, l->t);
    ltn__free(ctx, l);
}

static ltn_status take_times(latino *l, const ltn_spec *s)
{
    ltn_ctx *ctx = l->q->ctx;
    const char *list = ltn__str(s, "times");
    int train = l->p->train_steps;
    if (!(l->t = ltn__alloc(ctx, (size_t)train, sizeof *l->t))) return LTN_ENOMEM;
    l->steps = list ? times_by_list(list, train, l->t) : times_by_default((int)ltn__num(s, "steps"), train, l->t);
    if (!l->rule && ltn__num(s, "start") != START_OWN)
        return ltn__fail(ctx, LTN_EINVAL, "start=%s: rule=matched has its own start; give rule=discrepancy, bayes or released", ltn__str(s, "start"));
    if (list && !l->rule)
        return ltn__fail(ctx, LTN_EINVAL, "times=%s: rule=matched finds its own time steps; give rule=discrepancy, bayes or released", list);
    if (l->steps) return LTN_OK;
    return ltn__fail(ctx, LTN_EINVAL, "times=%s: expected falling time steps below %d such as 999/749/499/249", list, train);
}

/* The paper's release starts from A^T y, clipped, which is nearly grey for small pictures (amplitude 1 / factor^2). */
static void start(latino *l, int how)
{
    const ltn_problem *q = l->q;
    if (!l->rule) {
        ltn__matched_start(&l->matched, l->x);
    } else if (how == START_ADJOINT) {
        ltn__adjoint(q->a, q->y, l->x);
        for (size_t i = 0; i < l->n; i++) l->x[i] = fminf(fmaxf(l->x[i], -1), 1);
    } else {
        ltn__naive(q->a, q->y, l->x);
    }
}

static ltn_status latino_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *s, void **state, int *steps)
{
    latino *l = ltn__alloc(q->ctx, 1, sizeof *l);
    if (!l) return LTN_ENOMEM;
    *state = l; /* closed by the caller whatever happens */
    l->q = q;
    l->p = p;
    l->rule = ltn__rule((int)ltn__num(s, "rule") - 1);
    l->output = (int)ltn__num(s, "output");
    l->n = ltn__size_count(q->a->x);
    ltn_status status = take_times(l, s);
    if (!status && l->rule && l->rule->open) status = l->rule->open(q, &l->rule_data);
    if (!status && !l->rule) status = ltn__matched_open(&l->matched, q, p);
    if (status) return status;
    float **const picture[] = {&l->x, &l->u}, **const latent[] = {&l->z, &l->z0, &l->eps};
    for (int i = 0; i < LTN_COUNT(picture); i++)
        if (!(*picture[i] = ltn__alloc(q->ctx, l->n, sizeof(float)))) return LTN_ENOMEM;
    for (int i = 0; i < LTN_COUNT(latent); i++)
        if (!(*latent[i] = ltn__alloc(q->ctx, p->latent_count, sizeof(float)))) return LTN_ENOMEM;
    if (!(l->r = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *l->r))) return LTN_ENOMEM;
    start(l, (int)ltn__num(s, "start"));
    *steps = l->steps;
    return LTN_OK;
}

static const ltn_param latino_params[] = {
    {.name = "steps", .help = "network calls", .type = LTN_INT, .def = 8, .min = 1, .max = 1000},
    {.name = "times", .help = "time steps by hand, 999/749/499/249 (not with rule=matched, which finds its own)", .type = LTN_STRING},
    {.name = "rule", .help = "how the weight gamma of the data is found", .type = LTN_CHOICE, .def = 0, .choices = "matched|discrepancy|bayes|released"},
    {.name = "start", .help = "own: of the rule; the paper's rules may start from a naive inverse (their own) or A^T y", .type = LTN_CHOICE,
     .choices = "own|naive|adjoint"},
    {.name = "output", .help = "the last prox or the last decoded prediction", .type = LTN_CHOICE, .def = 0, .choices = "prox|decoded"},
    {0},
};

const ltn_solver_row ltn__solver_latino = {
    .entry = {.name = "latino", .help = "latent consistency model with a proximal data step", .cite = "arXiv 2503.12615",
              .param = latino_params},
    .needs_prior = true,
    .open = latino_open,
    .step = latino_step,
    .estimate = latino_estimate,
    .close = latino_close,
};
