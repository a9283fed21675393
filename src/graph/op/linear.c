/* linear.c - a linear layer over the channels, y = x w^T + b; w (1,1,out,in), or (out,in,1,1) as a 1x1
 * convolution has it. i[0]: 1 for the adjoint, y = x w. */
#include "tile.h"

static void sizes(const ltn_node *w, int64_t *out, int64_t *in)
{
    const int64_t *d = w->dims.d;
    const bool convolution = d[2] == 1 && d[3] == 1;
    *out = convolution ? d[0] : d[2];
    *in = convolution ? d[1] : d[3];
}

static bool is_matrix(const ltn_node *w)
{
    const int64_t *d = w->dims.d;
    return (d[0] == 1 && d[1] == 1) || (d[2] == 1 && d[3] == 1);
}

static ltn_node *linear(ltn_graph *g, ltn_node *x, ltn_node *w, ltn_node *bias, bool adjoint)
{
    int64_t out, in;
    sizes(w, &out, &in);
    const int64_t from = adjoint ? out : in, to = adjoint ? in : out;
    const int64_t *d = x->dims.d;
    if (!is_matrix(w) || d[3] != from)
        return ltn__graph_fail(g, LTN_ESHAPE, "linear: %lld channels into a layer for %lld", (long long)d[3],
                               (long long)from);
    if (bias && ltn__count(bias->dims) != to)
        return ltn__graph_fail(g, LTN_ESHAPE, "linear: %lld biases, not %lld",
                               (long long)ltn__count(bias->dims), (long long)to);
    ltn_node *n =
        ltn__node(g, &ltn__op_linear, ltn__dims(d[0], d[1], d[2], to), 3, (ltn_node *[]){x, w, bias});
    n->i[0] = adjoint;
    return n;
}

ltn_node *ltn__linear(ltn_graph *g, ltn_node *x, ltn_node *w, ltn_node *bias)
{
    return linear(g, x, w, bias, false);
}

static size_t linear_scratch(const ltn_node *n, int threads)
{
    return (size_t)(ltn__panels(n->dims.d[3]) * LTN_TILE_N * n->src[0]->dims.d[3]) * sizeof(real);
}

static void linear_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t k = n->src[0]->dims.d[3], width = n->dims.d[3], m = ltn__count(n->dims) / width, step = 96;
    const bool adjoint = n->i[0];
    real *panels = scratch;
    threads = ltn__worth(threads, (double)m * (double)(k * width));
#pragma omp parallel for num_threads(threads)
    for (int64_t p = 0; p < ltn__panels(width); p++)
        ltn__panel(k, width, p, src[1], adjoint ? width : 1, adjoint ? 1 : k, panels + p * k * LTN_TILE_N);
#pragma omp parallel for num_threads(threads)
    for (int64_t i = 0; i < m; i += step)
        ltn__product(LTN_MIN(step, m - i), width, k, src[0] + i * k, k, panels, src[2], dst + i * width,
                     width);
}

static void linear_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    ltn_node *x = n->src[0], *w = n->src[1];
    if (want[0]) gsrc[0] = linear(g, dy, w, NULL, !n->i[0]);
    if (want[1]) {
        const int64_t m = ltn__count(x->dims) / x->dims.d[3];
        ltn_node *rows = ltn__reshape(g, x, ltn__dims(1, 1, m, x->dims.d[3]));
        ltn_node *cols = ltn__reshape(g, dy, ltn__dims(1, 1, m, dy->dims.d[3]));
        ltn_node *dw =
            n->i[0] ? ltn__matmul(g, rows, cols, true, false) : ltn__matmul(g, cols, rows, true, false);
        gsrc[1] = ltn__reshape(g, dw, w->dims);
    }
    if (want[2])
        gsrc[2] = ltn__reshape(g, ltn__sum_to(g, dy, ltn__dims(1, 1, 1, dy->dims.d[3])), n->src[2]->dims);
}

static ltn_node *linear_example(ltn_graph *g, int k)
{
    static const struct {
        ltn_dims x, w;
        bool bias;
    } cases[] = {
        {{{1, 1, 5, 7}}, {{1, 1, 3, 7}}, true},
        {{{2, 3, 5, 17}}, {{33, 17, 1, 1}}, false},
        {{{2, 1, 77, 64}}, {{1, 1, 48, 64}}, true},
    };
    if (k >= LTN_COUNT(cases)) return NULL;
    int64_t out, in;
    ltn_node *w = ltn__input(g, "w", cases[k].w);
    sizes(w, &out, &in);
    ltn_node *bias = cases[k].bias ? ltn__input(g, "bias", ltn__dims(1, 1, 1, out)) : NULL;
    return ltn__linear(g, ltn__input(g, "x", cases[k].x), w, bias);
}

const ltn_op ltn__op_linear = {
    .entry = {.name = "linear", .help = "x w^T + b over the channels"},
    .run = linear_run,
    .scratch = linear_scratch,
    .vjp = linear_vjp,
    .example = linear_example,
    .rows = ltn__same_rows,
};
