/* fid.c - Frechet distance between two sets of pictures (Heusel et al., NeurIPS 2017, there with Inception's
 * features):
 *
 *     |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^1/2)
 *
 * with mean m and covariance C of each set's features: a map of AlexNet or VGG16, averaged over the pixels.
 * With C1 = V D V^T the last trace is that of the root of D^1/2 V^T C2 V D^1/2, which is symmetric. */
#include <math.h>
#include <string.h>

#include "backbone.h"

/* One set so far (Welford 1962): squares is the sum of (f - mean)(f - mean)^T. */
typedef struct set {
    int64_t n;
    double *mean, *squares, *before; /* before: f - mean, the old one */
} set;

typedef struct state {
    ltn_backbone backbone;
    int map; /* which of the maps, from 0 */
    int64_t d;
    set set[2];
} state;

static void close_state(ltn_metric *m)
{
    state *t = m->state;
    if (!t) return;
    ltn__backbone_close(&t->backbone);
    for (int k = 0; k < 2; k++) {
        ltn__free(m->ctx, t->set[k].mean);
        ltn__free(m->ctx, t->set[k].squares);
        ltn__free(m->ctx, t->set[k].before);
    }
    ltn__free(m->ctx, t);
}

static ltn_status open_state(ltn_metric *m, const ltn_spec *s)
{
    state *t = m->state = ltn__alloc(m->ctx, 1, sizeof *t);
    if (!t) return LTN_ENOMEM;
    t->map = (int)ltn__num(s, "layer") - 1;
    return ltn__backbone_open(&t->backbone, m, ltn__str(s, "net"), ltn__str(s, "features"));
}

static void average(ltn_graph *g, ltn_node *const tap[LTN_TAPS], void *user)
{
    ltn_node *f = tap[((const state *)user)->map];
    const int64_t *d = f->dims.d;
    ltn__output(g, "out",
                ltn__affine(g, ltn__sum_to(g, f, ltn__dims(1, 1, 1, d[3])), 1. / (double)(d[1] * d[2]), 0));
}

static ltn_status room(ltn_metric *m, set *s, int64_t d)
{
    const size_t n = (size_t)d;
    if (!s->mean) s->mean = ltn__alloc(m->ctx, n, sizeof *s->mean);
    if (!s->before) s->before = ltn__alloc(m->ctx, n, sizeof *s->before);
    if (!s->squares) s->squares = ltn__alloc(m->ctx, n, n * sizeof *s->squares);
    return s->mean && s->before && s->squares ? LTN_OK : LTN_ENOMEM;
}

static ltn_status add(ltn_metric *m, set *s, const ltn_image *im)
{
    state *t = m->state;
    const real *f;
    ltn_dims dims;
    ltn_status status = ltn__backbone_run(&t->backbone, &im, 1, average, t, &f, &dims);
    if (!status) status = room(m, s, t->d = dims.d[3]);
    if (status) return status;
    s->n++;
    for (int64_t i = 0; i < t->d; i++) {
        s->before[i] = (double)f[i] - s->mean[i];
        s->mean[i] += s->before[i] / (double)s->n;
    }
    for (int64_t i = 0; i < t->d; i++)
        for (int64_t j = 0; j < t->d; j++)
            s->squares[i * t->d + j] += s->before[i] * ((double)f[j] - s->mean[j]);
    return LTN_OK;
}

static ltn_status measure(ltn_metric *m, const ltn_image *a, const ltn_image *b, double *value)
{
    state *t = m->state;
    const ltn_image *const picture[2] = {a, b};
    ltn_status s = LTN_OK;
    for (int k = 0; k < 2 && !s; k++)
        if (picture[k]) s = add(m, &t->set[k], picture[k]);
    return s;
}

/* c = a b^T, all d x d. */
static void product(int64_t d, const double *a, const double *b, double *c)
{
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++) {
            double sum = 0;
            for (int64_t k = 0; k < d; k++) sum += a[i * d + k] * b[j * d + k];
            c[i * d + j] = sum;
        }
}

/* tr((c1 c2)^1/2) of two covariances; v has room for d x d numbers and so have the others, which are
 * overwritten. */
static ltn_status root_trace(ltn_ctx *ctx, int64_t d, double *c1, double *c2, double *v, double *value,
                             double *trace)
{
    ltn_status s = ltn__eigen(ctx, (int)d, c1, value); /* rows of c1: eigenvectors */
    if (s) return s;
    product(d, c1, c2, v);
    product(d, v, c1, c2);
    for (int64_t i = 0; i < d * d; i++) c2[i] *= sqrt(fmax(value[i / d], 0) * fmax(value[i % d], 0));
    s = ltn__eigen(ctx, (int)d, c2, value);
    *trace = 0;
    for (int64_t i = 0; i < d && !s; i++) *trace += sqrt(fmax(value[i], 0));
    return s;
}

static ltn_status finish(ltn_metric *m, double *out)
{
    const state *t = m->state;
    const set *p = &t->set[0], *q = &t->set[1];
    const int64_t d = t->d;
    if (p->n < 2 || q->n < 2)
        return ltn__fail(m->ctx, LTN_EINVAL, "fid: sets of %lld and %lld pictures; both must have 2 at least",
                         (long long)p->n, (long long)q->n);
    double *c1 = ltn__alloc(m->ctx, (size_t)(3 * d + 1), (size_t)d * sizeof *c1), trace = 0, sum = 0;
    if (!c1) return LTN_ENOMEM;
    double *c2 = c1 + d * d, *v = c2 + d * d, *value = v + d * d;
    for (int64_t i = 0; i < d * d; i++) {
        c1[i] = p->squares[i] / (double)(p->n - 1);
        c2[i] = q->squares[i] / (double)(q->n - 1);
    }
    for (int64_t i = 0; i < d; i++)
        sum += (p->mean[i] - q->mean[i]) * (p->mean[i] - q->mean[i]) + c1[i * d + i] + c2[i * d + i];
    const ltn_status s = root_trace(m->ctx, d, c1, c2, v, value, &trace);
    *out = sum - 2 * trace;
    ltn__free(m->ctx, c1);
    return s;
}

static const ltn_param params[] = {
    {.name = "features",
     .help = "weights of the network as torchvision has them, .pth or .safetensors",
     .type = LTN_STRING,
     .required = 1},
    {.name = "net", .help = "the network", .type = LTN_CHOICE, .choices = LTN_BACKBONES},
    {.name = "layer",
     .help = "which of its five feature maps",
     .type = LTN_INT,
     .def = LTN_TAPS,
     .min = 1,
     .max = LTN_TAPS},
    {.name = NULL},
};

const ltn_metric_row ltn__metric_fid = {
    .entry = {.name = "fid",
              .help = "Frechet distance of two sets of pictures by a network's features, lower is better",
              .cite = "Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter, NeurIPS 2017",
              .param = params},
    .open = open_state,
    .measure = measure,
    .finish = finish,
    .close = close_state,
};
