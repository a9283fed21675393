/* count.c - what an operation costs, from its node alone: multiplications and additions of the plain sum, so that
 * kernels which need fewer look the better for it, and the bytes of its arrays, each read or written once. */
#include "graph.h"

#include <stdio.h>
#include <string.h>

/* Each number of the result sums over the other array's channels and w's taps. */
static double conv_flop(const ltn_node *n)
{
    const int64_t *w = n->src[1]->dims.d;
    return 2. * (double)ltn__count(n->dims) * (double)(n->src[0]->dims.d[3] * w[2] * w[3]);
}

/* Each number of w sums over the pixels of y. */
static double dw_flop(const ltn_node *n)
{
    const int64_t *y = n->src[1]->dims.d;
    return 2. * (double)ltn__count(n->dims) * (double)(y[0] * y[1] * y[2]);
}

static double linear_flop(const ltn_node *n)
{
    return 2. * (double)ltn__count(n->dims) * (double)n->src[0]->dims.d[3];
}

static double matmul_flop(const ltn_node *n)
{
    return 2. * (double)ltn__count(n->dims) * (double)n->src[0]->dims.d[n->i[0] ? 2 : 3];
}

/* Each query meets each key in a product of c numbers. */
static double meetings(const ltn_node *q, const ltn_node *k)
{
    return 2. * (double)ltn__count(q->dims) * (double)k->dims.d[2];
}

/* q k^T, P v */
static double attention_flop(const ltn_node *n)
{
    return 2 * meetings(n->src[0], n->src[1]);
}

/* q k^T again; dy v^T for dq and dk; and one product for each that is wanted. */
static double attention_dx_flop(const ltn_node *n)
{
    const int64_t wanted = n->i[2];
    const int products = 1 + ((wanted & 3) != 0) + (int)(wanted & 1) + (int)(wanted >> 1 & 1) + (int)(wanted >> 2 & 1);
    return products * meetings(n->src[1], n->src[2]);
}

/* All others are a few operations for each number, and bound by memory. */
static double plain_flop(const ltn_node *n)
{
    return (double)ltn__count(n->dims);
}

static const struct row {
    const char *op, *kind; /* a convolution's kind ends with its taps */
    double (*flop)(const ltn_node *n);
} rows[] = {
    {"conv2d", "conv", conv_flop},
    {"conv2d_dx", "conv", conv_flop},
    {"conv2d_dw", "conv weights", dw_flop},
    {"linear", "linear", linear_flop},
    {"matmul", "matmul", matmul_flop},
    {"attention", "attention", attention_flop},
    {"attention_dx", "attention", attention_dx_flop},
    {"group_norm", "norm", plain_flop},
    {"group_norm_dx", "norm", plain_flop},
    {"layer_norm", "norm", plain_flop},
    {"layer_norm_dx", "norm", plain_flop},
};
static const struct row other = {"", "other", plain_flop};

static const struct row *row_of(const ltn_node *n)
{
    for (int k = 0; k < LTN_COUNT(rows); k++)
        if (!strcmp(rows[k].op, n->op->entry.name)) return &rows[k];
    return &other;
}

static double array_bytes(const ltn_node *n)
{
    return n->weight ? (double)ltn__weight_bytes(n->weight) : (double)ltn__count(n->dims) * (double)sizeof(real);
}

/* Of a source no more than the result holds where only a part is read. */
static double source_bytes(const ltn_node *n, const ltn_node *src)
{
    const bool part = n->op == &ltn__op_slice || n->op == &ltn__op_gather;
    return array_bytes(src) * (part ? LTN_MIN(1., (double)ltn__count(n->dims) / (double)ltn__count(src->dims)) : 1);
}

ltn_work ltn__work(const ltn_node *n, const ltn_fusion *f)
{
    const struct row *r = row_of(n);
    ltn_work w = {.kernel = n->op->entry.name, .flop = r->flop(n), .bytes = array_bytes(f->result)};
    for (int k = 0; k < n->nsrc; k++)
        if (n->src[k]) w.bytes += source_bytes(n, n->src[k]);
    if (f->residual) w.bytes += array_bytes(f->residual);
    const int64_t *taps = strcmp(r->kind, "conv") ? NULL : n->src[1]->dims.d + 2;
    if (!taps) snprintf(w.kind, sizeof w.kind, "%s", r->kind);
    else if (taps[0] * taps[1] == 1) snprintf(w.kind, sizeof w.kind, "linear");
    else snprintf(w.kind, sizeof w.kind, "conv %dx%d", (int)taps[0], (int)taps[1]);
    return w;
}
