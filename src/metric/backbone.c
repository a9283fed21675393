/* backbone.c - AlexNet (Krizhevsky 2014, arXiv 1404.5997) and VGG16 (Simonyan, Zisserman, arXiv 1409.1556) as
 * torchvision has them: convolutions with ReLU and maxpools; the five maps behind the last ReLU before each
 * pool, or in AlexNet behind each ReLU, are the features. Pictures in [0, 1] lose the mean of ImageNet and
 * are divided by its deviation. */
#include "backbone.h"

#include <stdio.h>
#include <string.h>

/* A convolution of kernel x kernel that keeps the size but for its stride, or (kernel 0) a maxpool. */
typedef struct layer {
    int index; /* its weights' number in the file */
    int kernel, stride, pad;
    bool tap; /* its ReLU is a feature map */
} layer;

struct ltn_net {
    const char *name;
    int least; /* pixels a side */
    int pool;  /* size of a maxpool's windows, every 2 pixels */
    layer layer[20]; /* ends with stride 0 */
};

#define POOL {.stride = 2}
static const struct ltn_net nets[] = {
    {"alex", 31, 3,
     {{0, 11, 4, 2, true}, POOL, {3, 5, 1, 2, true}, POOL,
      {6, 3, 1, 1, true}, {8, 3, 1, 1, true}, {10, 3, 1, 1, true}}},
    {"vgg", 16, 2,
     {{0, 3, 1, 1, false}, {2, 3, 1, 1, true}, POOL, {5, 3, 1, 1, false}, {7, 3, 1, 1, true}, POOL,
      {10, 3, 1, 1, false}, {12, 3, 1, 1, false}, {14, 3, 1, 1, true}, POOL,
      {17, 3, 1, 1, false}, {19, 3, 1, 1, false}, {21, 3, 1, 1, true}, POOL,
      {24, 3, 1, 1, false}, {26, 3, 1, 1, false}, {28, 3, 1, 1, true}}},
};

ltn_status ltn__backbone_open(ltn_backbone *b, ltn_metric *m, const char *net, const char *path)
{
    *b = (ltn_backbone){.metric = m, .net = &nets[0]};
    for (int i = 0; i < LTN_COUNT(nets); i++)
        if (net && !strcmp(net, nets[i].name)) b->net = &nets[i];
    return ltn__tensors_open(m->ctx, path, &b->tensors);
}

static void forget(ltn_backbone *b)
{
    ltn__plan_close(&b->plan);
    ltn__graph_close(&b->graph);
}

void ltn__backbone_close(ltn_backbone *b)
{
    forget(b);
    ltn__tensors_close(&b->tensors);
}

/* "features.3.weight", or "3.weight" in a file of nothing but features. */
static ltn_node *weight(ltn_backbone *b, int index, const char *what, int rank, int kernel)
{
    char name[64];
    snprintf(name, sizeof name, "features.%d.%s", index, what);
    ltn_weight *w = ltn__tensors_find(b->tensors, name);
    if (!w) w = ltn__tensors_find(b->tensors, name + strlen("features."));
    const char *path = ltn__tensors_path(b->tensors);
    if (!w) return ltn__graph_fail(b->graph, LTN_EFORMAT, "%s: %s: no such weight", path, name);
    if (w->rank != rank || (rank == 4 && (w->dim[2] != kernel || w->dim[3] != kernel)))
        return ltn__graph_fail(b->graph, LTN_EFORMAT, "%s: %s: not the weight of a %d x %d convolution of %s",
                               path, w->name, kernel, kernel, b->net->name);
    return ltn__weight_node(b->graph, w);
}

static ltn_node *normalised(ltn_graph *g, ltn_node *x)
{
    static const real mean[3] = {(real)0.485, (real)0.456, (real)0.406};
    static const real scale[3] = {(real)(1 / 0.229), (real)(1 / 0.224), (real)(1 / 0.225)};
    const ltn_dims dims = ltn__dims(1, 1, 1, 3);
    return ltn__mul(g, ltn__sub(g, x, ltn__constant(g, dims, mean)), ltn__constant(g, dims, scale));
}

static void features(ltn_backbone *b, ltn_node *x, ltn_node *tap[LTN_TAPS])
{
    ltn_graph *g = b->graph;
    int taps = 0;
    x = normalised(g, x);
    for (const layer *l = b->net->layer; l->stride && !ltn__graph_status(g); l++) {
        if (!l->kernel) {
            x = ltn__maxpool(g, x, b->net->pool, l->stride);
            continue;
        }
        ltn_node *w = weight(b, l->index, "weight", 4, l->kernel),
                 *bias = weight(b, l->index, "bias", 1, l->kernel);
        if (ltn__graph_status(g)) return;
        x = ltn__relu(g, ltn__conv2d(g, x, w, bias, l->stride, l->pad, l->pad, l->pad, l->pad));
        if (l->tap) tap[taps++] = x;
    }
}

static ltn_status prepare(ltn_backbone *b, int width, int height, int pictures, ltn_backbone_head *head,
                          void *user)
{
    ltn_node *tap[LTN_TAPS];
    forget(b);
    const ltn_status s = ltn__graph_open(b->metric->ctx, &b->graph);
    if (s) return s;
    features(b, ltn__input(b->graph, "x", ltn__dims(pictures, height, width, 3)), tap);
    if (!ltn__graph_status(b->graph)) head(b->graph, tap, user);
    b->width = width, b->height = height, b->pictures = pictures;
    return ltn__plan_open(b->graph, NULL, &b->plan);
}

ltn_status ltn__backbone_run(ltn_backbone *b, const ltn_image *const *picture, int n, ltn_backbone_head *head,
                             void *user, const real **out, ltn_dims *dims)
{
    const int width = picture[0]->width, height = picture[0]->height;
    ltn_status s = ltn__metric_wants(b->metric, picture[0], b->net->least, b->net->least);
    if (!s && ltn__colours(picture[0]) != 3)
        s = ltn__fail(b->metric->ctx, LTN_ESHAPE, "%s: pictures must be RGB", b->metric->row->entry.name);
    if (!s && (!b->plan || b->width != width || b->height != height || b->pictures != n))
        s = prepare(b, width, height, n, head, user);
    if (s) return s;
    real *x = ltn__plan_data(b->plan, "x");
    const int64_t plane = (int64_t)width * height;
    for (int k = 0; k < n; k++)
        for (int64_t i = 0; i < plane; i++)
            for (int c = 0; c < 3; c++) *x++ = picture[k]->data[c * plane + i];
    ltn__plan_run(b->plan);
    *out = ltn__plan_data(b->plan, "out");
    *dims = ltn__plan_dims(b->plan, "out");
    return LTN_OK;
}
