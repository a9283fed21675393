/* latino_pro.c - LATINO-PRO: the text c is estimated from the measurement too (arXiv 2503.12615, section 4).
 *
 *     c* = argmax_c p(y | c) by stochastic approximation proximal gradient (SAPG), then LATINO with c*
 *
 * Fisher's identity: grad_c log p(y | c) = E[grad_c log p(h | c) | y, c] for any hidden h that c acts through.
 *
 *     g = the gradient of log p(h | c), h from LATINO with c
 *     G <- G + g / |g|, token by token, the first ones frozen
 *     c <- c + step_j G, projected token by token on balls around the start, after every round j
 *
 * rule=matched: h is x, LATINO's estimate, which takes one step a round; log p(x | c) is bounded by how well x is
 * predicted once it is noised (arXiv 2006.11239),
 *     -sum_t ab / (1 - ab) |E(x) - f(sqrt(ab) E(x) + sqrt(1 - ab) eps, t, c)|^2 / 2.
 *
 * Other rules, the paper's: h is the chain of latents, and c acts through the prior's transitions,
 *     log p(z' | z, c) = -|z' - sqrt(ab') f(z, t, c)|^2 / (2 (1 - ab')) + const,
 *     z' = sqrt(ab') E(x) + sqrt(1 - ab') eps.
 * eps is drawn after z and x and has mean zero, so E[g | z, x] has E(x) alone in z' and the same mean
 * (Rao-Blackwell); at high noise eps is nearly all of g. score=sampled keeps it, as the paper does.
 *
 * estimator=samples: Adam (arXiv 1412.6980) on c, with the gradient of -|A D(f(z, t, c)) - y|^2 / (2 sigma^2) by c,
 * summed over the steps of several samples, in the score's place. Adam does not see the factor 1 / sigma^2. */
#include "diffusion.h"
#include "latino.h"

#include <math.h>
#include <string.h>

enum { SCORE_MEAN, SCORE_SAMPLED };
enum { ESTIMATOR_SAPG, ESTIMATOR_SAMPLES };

typedef struct latino_pro {
    ltn_latino round, last; /* the chain that c is learned from; the run with c* */
    int estimator, score;
    int step, learning, steps; /* done; those that c is learned in; all */
    int inner, chains;      /* steps of a chain, chains of a round */
    int *t, *t_last;        /* of the chain; of the last run, where its rule has none */
    int frozen, decay_from;
    double length, decay, step_min, radius, momentum; /* length: of a step */
    float *c0, *g, *sum;    /* the start; a gradient; G */
    float *m, *v;           /* Adam's */
    float *z0, *u;          /* a prediction beside the matched rule's */
    float *dz0, *du;
} latino_pro;

static int width_of(const ltn_prior *p)
{
    return (int)(p->text_count / (size_t)p->tokens);
}

static double norm(const float *v, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)v[i] * v[i];
    return sqrt(sum);
}

/* G += g / |g|, token by token; Adam takes g as it is. */
static void gather(latino_pro *l)
{
    const ltn_prior *p = l->round.p;
    int width = width_of(p);
    for (int i = l->frozen; i < p->tokens; i++) {
        const float *g = l->g + (size_t)i * (size_t)width;
        float *sum = l->sum + (size_t)i * (size_t)width;
        double size = l->estimator == ESTIMATOR_SAPG ? norm(g, width) : 1;
        for (int k = 0; k < width && size > 0; k++) sum[k] += (float)(g[k] / size);
    }
}

/* g = d/dc -|z - sqrt(ab) z0(c)|^2 / (2 (1 - ab)), the prediction z0 kept; b: deviation of the noise left out of z. */
static ltn_status gather_score(latino_pro *l, double ab, double b, const float *z0)
{
    const ltn_latino *o = &l->round;
    const double a = sqrt(ab);
    for (size_t i = 0; i < o->p->latent_count; i++)
        l->dz0[i] = (float)(a / (1 - ab) * (o->z[i] - b * o->eps[i] - a * z0[i]));
    ltn_status s = o->p->predict_back(o->p, l->dz0, NULL, l->g);
    if (!s) gather(l);
    return s;
}

/* g = -d/dc |A u - y|^2 / 2 for u = D(z0(c)), both kept */
static ltn_status gather_misfit(latino_pro *l, const float *u)
{
    const ltn_latino *o = &l->round;
    ltn__data_gradient(o->q, u, o->r, l->du);
    for (size_t i = 0; i < o->n; i++) l->du[i] = -l->du[i];
    ltn_status s = o->p->decode_back(o->p, l->du, l->dz0);
    if (!s) s = o->p->predict_back(o->p, l->dz0, NULL, l->g);
    if (!s) gather(l);
    return s;
}

/* c back onto the balls around c_0. */
static void project(latino_pro *l)
{
    ltn_prior *p = l->round.p;
    int width = width_of(p);
    for (int i = 0; i < p->tokens; i++) {
        float *c = p->text + (size_t)i * (size_t)width;
        const float *c0 = l->c0 + (size_t)i * (size_t)width;
        double far = 0;
        for (int k = 0; k < width; k++) far += ((double)c[k] - c0[k]) * ((double)c[k] - c0[k]);
        double keep = fmin(l->radius / sqrt(fmax(far, 1e-30)), 1);
        for (int k = 0; k < width; k++) c[k] = (float)(c0[k] + keep * (c[k] - c0[k]));
    }
}

/* The end of round j = 0, 1, ... */
static void move_text(latino_pro *l, int j)
{
    ltn_prior *p = l->round.p;
    double step = l->length * fmax(pow(l->decay, LTN_MAX(0, j - l->decay_from)), l->step_min);
    double keep = l->momentum;
    if (l->estimator == ESTIMATOR_SAMPLES) {
        for (size_t i = 0; i < p->text_count; i++) l->sum[i] = -l->sum[i];
        const ltn_adam adam = {step / sqrt(width_of(p)), 0.9, 0.999};
        ltn__adam_step(adam, j + 1, p->text_count, l->sum, l->m, l->v, p->text);
        keep = 0;
    } else {
        for (size_t i = 0; i < p->text_count; i++) p->text[i] += (float)(step * l->sum[i]);
    }
    project(l);
    for (size_t i = 0; i < p->text_count; i++) l->sum[i] *= (float)keep;
}

static ltn_status predict(ltn_latino *o, int t, bool keep_predict, bool keep_decode)
{
    ltn_prior *p = o->p;
    ltn_status s = keep_predict ? p->predict_kept(p, o->z, t, LTN_WRT_TEXT, o->z0) : p->predict(p, o->z, t, o->z0);
    if (!s) s = keep_decode ? p->decode_kept(p, o->z0, o->u) : p->decode(p, o->z0, o->u);
    o->begun = true;
    return s;
}

/* A step of the paper's chain; the noise that begins it ends the transition of the step before. */
static ltn_status chain_step(latino_pro *l, int i, ltn_progress *progress)
{
    ltn_latino *o = &l->round;
    const int t = l->t[i];
    const bool misfit = l->estimator == ESTIMATOR_SAMPLES;
    const double ab = o->p->alpha_bar[t];
    ltn_status s = ltn__latino_noised(o, ab);
    if (!s && i && !misfit) s = gather_score(l, ab, l->score == SCORE_MEAN ? sqrt(1 - ab) : 0, o->z0);
    if (!s) s = predict(o, t, misfit || i + 1 < l->inner, misfit);
    if (!s && misfit) s = gather_misfit(l, o->u);
    if (!s) ltn__latino_report(o, t, ltn__latino_data(o, t), progress);
    return s;
}

/* A chain's first call is a step of the matched rule; at the others its x is noised and predicted. */
static ltn_status matched_step(latino_pro *l, int i, ltn_progress *progress)
{
    ltn_latino *o = &l->round;
    ltn_prior *p = o->p;
    if (!i) return ltn__latino_step(o, ltn__latino_time(o), progress);
    const int t = l->t[i - 1];
    const double ab = p->alpha_bar[t];
    ltn_status s = ltn__latino_noised(o, ab);
    if (!s) s = p->predict_kept(p, o->z, t, LTN_WRT_TEXT, l->z0);
    if (!s && l->estimator == ESTIMATOR_SAPG) s = gather_score(l, ab, sqrt(1 - ab), l->z0);
    else if (!s && !(s = p->decode_kept(p, l->z0, l->u))) s = gather_misfit(l, l->u);
    progress->t = t;
    return s;
}

static ltn_status learning_step(latino_pro *l, ltn_progress *progress)
{
    const int i = l->step % l->inner, round = l->inner * l->chains;
    ltn_status s = l->round.rule ? chain_step(l, i, progress) : matched_step(l, i, progress);
    if (!s && (l->step + 1) % round == 0) move_text(l, l->step / round);
    return s;
}

static ltn_status last_step(latino_pro *l, ltn_progress *progress)
{
    int t = l->last.rule ? l->t_last[l->step - l->learning] : ltn__latino_time(&l->last);
    return ltn__latino_step(&l->last, t, progress);
}

static ltn_status pro_step(void *state, ltn_progress *progress)
{
    latino_pro *l = state;
    ltn_status s = l->step < l->learning ? learning_step(l, progress) : last_step(l, progress);
    if (s) return s;
    progress->step = ++l->step;
    return l->step == l->steps ? LTN_DONE : LTN_OK;
}

static const float *pro_estimate(const void *state)
{
    const latino_pro *l = state;
    return l->step > l->learning || !l->learning ? l->last.x : l->round.x;
}

static void pro_close(ltn_ctx *ctx, void *state)
{
    latino_pro *l = state;
    float *const block[] = {l->c0, l->g, l->sum, l->m, l->v, l->z0, l->u, l->dz0, l->du};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(ctx, block[i]);
    ltn__latino_close(&l->round);
    ltn__latino_close(&l->last);
    ltn__free(ctx, l->t);
    ltn__free(ctx, l->t_last);
    ltn__free(ctx, l);
}

static ltn_status take_times(latino_pro *l, const ltn_spec *s)
{
    const ltn_problem *q = l->round.q;
    const char *list = ltn__str(s, "times");
    int train = l->round.p->train_steps, last = (int)ltn__num(s, "steps");
    if (!(l->t = ltn__alloc(q->ctx, (size_t)train, sizeof *l->t))) return LTN_ENOMEM;
    if (!(l->t_last = ltn__alloc(q->ctx, (size_t)last, sizeof *l->t_last))) return LTN_ENOMEM;
    const int own = !l->round.rule; /* the matched rule's first call has a time of its own */
    l->inner = list ? ltn__times_by_list(list, train, l->t)
                    : ltn__times_by_default((int)ltn__num(s, "inner"), train, l->t) - own;
    if (l->inner < 2 - own)
        return ltn__fail(q->ctx, LTN_EINVAL, "times=%s: expected falling time steps below %d such as 999/749/499/249",
                         list, train);
    l->inner += own;
    ltn__times_by_default(last, train, l->t_last);
    l->chains = (int)ltn__num(s, "samples");
    if (!l->chains) l->chains = l->estimator == ESTIMATOR_SAMPLES ? 2 : 1;
    l->learning = (int)ltn__num(s, "rounds") * l->chains * l->inner;
    l->steps = l->learning + last;
    return LTN_OK;
}

static ltn_status take_memory(latino_pro *l)
{
    const ltn_prior *p = l->round.p;
    ltn_ctx *ctx = l->round.q->ctx;
    float **const text[] = {&l->c0, &l->g, &l->sum, &l->m, &l->v};
    if (ltn__alloc_each(ctx, p->text_count, text, LTN_COUNT(text))) return LTN_ENOMEM;
    float **const latent[] = {&l->z0, &l->dz0}, **const picture[] = {&l->u, &l->du};
    for (int i = 0; i < 2; i++) {
        if (!(*latent[i] = ltn__alloc(ctx, p->latent_count, sizeof(float)))) return LTN_ENOMEM;
        if (!(*picture[i] = ltn__alloc(ctx, l->round.n, sizeof(float)))) return LTN_ENOMEM;
    }
    return LTN_OK;
}

static void take_lengths(latino_pro *l, const ltn_spec *s)
{
    const ltn_prior *p = l->round.p;
    memcpy(l->c0, p->text, p->text_count * sizeof *l->c0);
    l->length = ltn__num(s, "step");
    l->radius = ltn__num(s, "radius");
    l->decay = ltn__num(s, "decay");
    l->decay_from = (int)ltn__num(s, "decay_from");
    l->step_min = ltn__num(s, "step_min");
    l->momentum = ltn__num(s, "momentum");
    l->frozen = LTN_MIN((int)ltn__num(s, "frozen"), p->tokens);
}

static ltn_status pro_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *s, void **state, int *steps)
{
    latino_pro *l = ltn__alloc(q->ctx, 1, sizeof *l);
    if (!l) return LTN_ENOMEM;
    *state = l; /* closed by the caller whatever happens */
    l->estimator = (int)ltn__num(s, "estimator");
    l->score = (int)ltn__num(s, "score");
    ltn_status status = ltn__latino_open(&l->round, q, p, ltn__str(s, "rule"));
    if (!status) status = ltn__latino_open(&l->last, q, p, ltn__str(s, "last"));
    if (!status) status = take_times(l, s);
    if (!status) status = take_memory(l);
    if (status) return status;
    take_lengths(l, s);
    ltn__latino_start(&l->round, LTN_START_OWN);
    ltn__latino_start(&l->last, LTN_START_OWN);
    l->last.draws = l->learning;
    *steps = l->steps;
    return LTN_OK;
}

static const ltn_param pro_params[] = {
    {.name = "rounds", .help = "moves of the text", .type = LTN_INT, .def = 15, .max = 10000},
    {.name = "inner", .help = "network calls of a chain", .type = LTN_INT, .def = 4, .min = 2, .max = 1000},
    {.name = "times", .help = "their time steps by hand, 999/749/499/249; with rule=matched of all but the first",
     .type = LTN_STRING},
    {.name = "rule", .help = "what the text is learned from: matched, or the paper's chains with gamma by a rule",
     .type = LTN_CHOICE, .choices = "matched|discrepancy|bayes|released"},
    {.name = "steps", .help = "network calls of the last run, with the text found", .type = LTN_INT, .def = 8, .min = 1,
     .max = 1000},
    {.name = "last", .help = "its rule", .type = LTN_CHOICE, .choices = "matched|discrepancy|bayes|released"},
    {.name = "step", .help = "length of a token's step per gradient", .type = LTN_FLOAT, .def = 0.08, .max = 1000},
    {.name = "decay", .help = "factor on the step, each round", .type = LTN_FLOAT, .def = 0.9, .max = 1},
    {.name = "decay_from", .help = "from this round on", .type = LTN_INT, .def = 10, .max = 10000},
    {.name = "step_min", .help = "least factor", .type = LTN_FLOAT, .def = 0.001, .max = 1},
    {.name = "radius", .help = "how far a token may move", .type = LTN_FLOAT, .def = 15, .max = 1e6},
    {.name = "momentum", .help = "part of the sum of gradients kept after a round; 1: it is never reset",
     .type = LTN_FLOAT, .def = 1, .max = 1},
    {.name = "frozen", .help = "first tokens that stay: the start and \"a photo of\"", .type = LTN_INT, .def = 4,
     .max = 10000},
    {.name = "score", .help = "of a transition: its mean over the noise, or with the noise drawn (the paper's)",
     .type = LTN_CHOICE, .choices = "mean|sampled"},
    {.name = "estimator", .help = "sapg, or Adam on the misfit of samples", .type = LTN_CHOICE,
     .choices = "sapg|samples"},
    {.name = "samples", .help = "chains of a round; 0: 1, or 2 with estimator=samples", .type = LTN_INT, .max = 1000},
    {0},
};

const ltn_solver_row ltn__solver_latino_pro = {
    .entry = {.name = "latino-pro", .help = "LATINO that finds the prompt too, by SAPG on its embedding",
              .cite = "arXiv 2503.12615", .param = pro_params},
    .needs_prior = true,
    .needs_text = true,
    .open = pro_open,
    .step = pro_step,
    .estimate = pro_estimate,
    .close = pro_close,
};
