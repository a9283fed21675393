/* permute.c - dimensions in another order: y's dimension k is x's dimension i[k]. */
#include "map.h"

#include <string.h>

enum { TILE = 16 };

ltn_node *ltn__permute(ltn_graph *g, ltn_node *x, int a, int b, int c, int d)
{
    const int order[4] = {a, b, c, d};
    int seen = 0;
    ltn_dims dims;
    for (int k = 0; k < 4; k++) {
        const int from = order[k] & 3;
        seen |= 1 << from;
        dims.d[k] = x->dims.d[from];
    }
    if (seen != 15)
        return ltn__graph_fail(g, LTN_ESHAPE, "permute: %d %d %d %d is no order of four dimensions", a, b, c,
                               d);
    ltn_node *n = ltn__node(g, &ltn__op_permute, dims, 1, &x);
    for (int k = 0; k < 4; k++) n->i[k] = order[k];
    return n;
}

/* Where the last dimension stays, rows are copied. Elsewhere x's last dimension, y's `along`, and y's last
 * one make a transposition, done in tiles so that both sides use whole cache lines. */
static void permute_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    int64_t from[4], to[4], own[4];
    const int64_t *d = n->dims.d, last = d[3];
    for (int64_t k = 3, p = 1, q = 1; k >= 0; p *= n->src[0]->dims.d[k], q *= d[k], k--)
        own[k] = p, to[k] = q;
    for (int k = 0; k < 4; k++) from[k] = own[n->i[k]];
    int along = 3;
    for (int k = 0; k < 3; k++)
        if (n->i[k] == 3) along = k;
    const int first = along == 0,
              second = first + 1 + (along == first + 1 && along != 3); /* the two others */
    if (along == 3) {
#pragma omp parallel for num_threads(threads) if (ltn__count(n->dims) > LTN_SERIAL)
        for (int64_t row = 0; row < d[0] * d[1] * d[2]; row++) {
            const int64_t i = row / (d[1] * d[2]), j = row / d[2] % d[1], k = row % d[2];
            memcpy(dst + row * last, src[0] + i * from[0] + j * from[1] + k * from[2],
                   (size_t)last * sizeof(real));
        }
        return;
    }
    const int64_t tiles = (d[along] + TILE - 1) / TILE;
#pragma omp parallel for num_threads(threads) if (ltn__count(n->dims) > LTN_SERIAL)
    for (int64_t job = 0; job < d[first] * d[second] * tiles; job++) {
        const int64_t i = job / tiles / d[second], j = job / tiles % d[second], start = job % tiles * TILE;
        const int64_t end = LTN_MIN(start + TILE, d[along]);
        const real *x = src[0] + i * from[first] + j * from[second];
        real *y = dst + i * to[first] + j * to[second];
        for (int64_t c = 0; c < last; c += TILE)
            for (int64_t a = start; a < end; a++)
                for (int64_t b = c; b < LTN_MIN(c + TILE, last); b++)
                    y[a * to[along] + b] = x[a + b * from[3]];
    }
}

static void permute_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    int back[4];
    for (int k = 0; k < 4; k++) back[n->i[k]] = k;
    gsrc[0] = ltn__permute(g, dy, back[0], back[1], back[2], back[3]);
}

static ltn_node *permute_example(ltn_graph *g, int k)
{
    static const int order[][4] = {{0, 2, 3, 1}, {0, 3, 1, 2}, {0, 2, 1, 3}, {3, 2, 1, 0},
                                   {1, 0, 3, 2}, {3, 0, 1, 2}, {2, 0, 3, 1}};
    if (k >= LTN_COUNT(order)) return NULL;
    const int *p = order[k];
    return ltn__permute(g, ltn__input(g, "x", k ? ltn__dims(2, 3, 17, 20) : ltn__dims(1, 35, 19, 33)), p[0],
                        p[1], p[2], p[3]);
}

const ltn_op ltn__op_permute = {
    .entry = {.name = "permute", .help = "dimensions in another order"},
    .run = permute_run,
    .vjp = permute_vjp,
    .example = permute_example,
};
