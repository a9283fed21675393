/* matmul.c - a batch of matrix products, C = A B, over the first two dimensions. i[0]: A is transposed, i[1]:
 * B is. */
#include "tile.h"

ltn_node *ltn__matmul(ltn_graph *g, ltn_node *a, ltn_node *b, bool ta, bool tb)
{
    const int64_t *p = a->dims.d, *q = b->dims.d;
    const int64_t m = p[ta ? 3 : 2], k = p[ta ? 2 : 3], n = q[tb ? 2 : 3];
    if (p[0] != q[0] || p[1] != q[1] || k != q[tb ? 3 : 2])
        return ltn__graph_fail(g, LTN_ESHAPE,
                               "matmul: %lldx%lld by %lldx%lld in batches of %lldx%lld and %lldx%lld",
                               (long long)p[2], (long long)p[3], (long long)q[2], (long long)q[3],
                               (long long)p[0], (long long)p[1], (long long)q[0], (long long)q[1]);
    ltn_node *c = ltn__node(g, &ltn__op_matmul, ltn__dims(p[0], p[1], m, n), 2, (ltn_node *[]){a, b});
    c->i[0] = ta;
    c->i[1] = tb;
    return c;
}

static int64_t depth(const ltn_node *n)
{
    return n->src[0]->dims.d[n->i[0] ? 2 : 3];
}

static size_t matrix_scratch(const ltn_node *n)
{
    const int64_t k = depth(n), a = n->i[0] ? n->dims.d[2] * k : 0;
    return (size_t)(ltn__panels(n->dims.d[3]) * LTN_TILE_N * k + (a + 15) / 16 * 16);
}

/* Every thread multiplies whole matrices when there are enough of them; else all share each. */
static size_t matmul_scratch(const ltn_node *n, int threads)
{
    return (size_t)threads * matrix_scratch(n) * sizeof(real);
}

static void pack(const ltn_node *n, const real *a, const real *b, real *panels, real *at)
{
    const int64_t m = n->dims.d[2], width = n->dims.d[3], k = depth(n);
    const bool tb = n->i[1];
    for (int64_t p = 0; p < ltn__panels(width); p++)
        ltn__panel(k, width, p, b, tb ? 1 : width, tb ? k : 1, panels + p * k * LTN_TILE_N);
    for (int64_t i = 0; n->i[0] && i < m; i++)
        for (int64_t j = 0; j < k; j++) at[i * k + j] = a[j * m + i];
}

static void matmul_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t batch = n->dims.d[0] * n->dims.d[1], m = n->dims.d[2], width = n->dims.d[3], k = depth(n);
    threads = ltn__worth(threads, (double)ltn__count(n->dims) * (double)k);
    const int64_t block = batch >= threads ? m : 48, blocks = (m + block - 1) / block;
    const size_t panel_size = (size_t)(ltn__panels(width) * LTN_TILE_N * k);
#pragma omp parallel for num_threads(threads)
    for (int t = 0; t < threads; t++) {
        real *panels = (real *)scratch + (size_t)t * matrix_scratch(n), *at = panels + panel_size;
        const int64_t all = batch * blocks, end = all * (t + 1) / threads;
        int64_t packed = -1;
        for (int64_t job = all * t / threads; job < end; job++) {
            const int64_t which = job / blocks, first = job % blocks * block;
            const real *a = src[0] + which * m * k;
            if (which != packed) pack(n, a, src[1] + which * k * width, panels, at);
            packed = which;
            ltn__product(LTN_MIN(block, m - first), width, k, (n->i[0] ? at : a) + first * k, k, panels, NULL,
                         dst + (which * m + first) * width, width);
        }
    }
}

static void matmul_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    ltn_node *a = n->src[0], *b = n->src[1];
    const bool ta = n->i[0], tb = n->i[1];
    if (want[0]) gsrc[0] = ta ? ltn__matmul(g, b, dy, tb, true) : ltn__matmul(g, dy, b, false, !tb);
    if (want[1]) gsrc[1] = tb ? ltn__matmul(g, dy, a, true, ta) : ltn__matmul(g, a, dy, !ta, false);
}

static ltn_node *matmul_example(ltn_graph *g, int k)
{
    static const ltn_dims a[] = {{{2, 3, 5, 7}}, {{1, 2, 7, 5}}, {{1, 1, 50, 33}}, {{2, 1, 9, 18}}};
    static const ltn_dims b[] = {{{2, 3, 7, 4}}, {{1, 2, 7, 4}}, {{1, 1, 17, 33}}, {{2, 1, 20, 9}}};
    if (k >= LTN_COUNT(a)) return NULL;
    return ltn__matmul(g, ltn__input(g, "a", a[k]), ltn__input(g, "b", b[k]), k % 2, k / 2);
}

const ltn_op ltn__op_matmul = {
    .entry = {.name = "matmul", .help = "a batch of matrix products, either factor transposed"},
    .run = matmul_run,
    .scratch = matmul_scratch,
    .vjp = matmul_vjp,
    .example = matmul_example,
};
