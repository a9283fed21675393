/* lpips.c - learned perceptual image patch similarity (Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018):
 *
 *     sum over the maps l of mean over the pixels of sum_c w_lc (fa / |fa| - fb / |fb|)_c^2
 *
 * with f the features of AlexNet or VGG16, |f| = sqrt(sum_c f_c^2 + 1e-8), and w the heads that were learned
 * from people's judgements. 0 for equal pictures. */
#include "backbone.h"

#include <stdio.h>

typedef struct state {
    ltn_backbone backbone;
    ltn_tensors *heads;
} state;

static void close_state(ltn_metric *m)
{
    state *t = m->state;
    if (!t) return;
    ltn__backbone_close(&t->backbone);
    ltn__tensors_close(&t->heads);
    ltn__free(m->ctx, t);
}

static ltn_status open_state(ltn_metric *m, const ltn_spec *s)
{
    state *t = m->state = ltn__alloc(m->ctx, 1, sizeof *t);
    if (!t) return LTN_ENOMEM;
    const ltn_status status =
        ltn__backbone_open(&t->backbone, m, ltn__str(s, "net"), ltn__str(s, "backbone"));
    return status ? status : ltn__tensors_open(m->ctx, ltn__str(s, "head"), &t->heads);
}

/* f / |f|, by pixel. */
static ltn_node *unit(ltn_graph *g, ltn_node *f)
{
    const int64_t *d = f->dims.d;
    ltn_node *square = ltn__sum_to(g, ltn__mul(g, f, f), ltn__dims(d[0], d[1], d[2], 1));
    return ltn__mul(g, f, ltn__rsqrt(g, ltn__affine(g, square, 1, 1e-8)));
}

/* The distance of the two pictures of a batch. */
static void distance(ltn_graph *g, ltn_node *const tap[LTN_TAPS], void *user)
{
    state *t = user;
    ltn_node *sum = NULL;
    for (int k = 0; k < LTN_TAPS; k++) {
        char name[32];
        snprintf(name, sizeof name, "lin%d.model.1.weight", k);
        ltn_weight *w = ltn__tensors_find(t->heads, name);
        if (!w || w->rank != 4 || w->dim[0] != 1 || w->dim[1] != tap[k]->dims.d[3] || w->dim[2] != 1 ||
            w->dim[3] != 1) {
            ltn__graph_fail(g, LTN_EFORMAT, "%s: %s: %s", ltn__tensors_path(t->heads), name,
                            w ? "not of the shape that the backbone's features need" : "no such weight");
            return;
        }
        ltn_node *f = unit(g, tap[k]), *d = ltn__sub(g, ltn__slice(g, f, 0, 0, 1), ltn__slice(g, f, 0, 1, 1));
        d = ltn__linear(g, ltn__mul(g, d, d), ltn__weight_node(g, w), NULL);
        d = ltn__affine(g, ltn__sum_to(g, d, ltn__dims(1, 1, 1, 1)), 1. / (double)ltn__count(d->dims), 0);
        sum = sum ? ltn__add(g, sum, d) : d;
    }
    ltn__output(g, "out", sum);
}

static ltn_status measure(ltn_metric *m, const ltn_image *a, const ltn_image *b, double *value)
{
    state *t = m->state;
    const real *out;
    ltn_dims dims;
    const ltn_status s =
        ltn__backbone_run(&t->backbone, (const ltn_image *const[]){a, b}, 2, distance, t, &out, &dims);
    if (!s) *value = (double)*out;
    return s;
}

static const ltn_param params[] = {
    {.name = "net", .help = "the network", .type = LTN_CHOICE, .choices = LTN_BACKBONES},
    {.name = "backbone",
     .help = "its weights as torchvision has them, .pth or .safetensors",
     .type = LTN_STRING,
     .required = 1},
    {.name = "head",
     .help = "the learned weights of its channels, .pth or .safetensors",
     .type = LTN_STRING,
     .required = 1},
    {.name = NULL},
};

const ltn_metric_row ltn__metric_lpips = {
    .entry = {.name = "lpips", .help = "learned perceptual distance, 0 for equal pictures, lower is better",
              .cite = "Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018, arXiv 1801.03924", .param = params},
    .open = open_state,
    .measure = measure,
    .close = close_state,
};
