/* map.c - see map.h. */
#include "map.h"

void ltn__map(ltn_map *f, const real *x, real *y, int64_t n, int threads)
{
#pragma omp parallel for num_threads(threads) if (n > LTN_SERIAL)
    for (int64_t i = 0; i < n; i += LTN_PART) f(x + i, y + i, LTN_MIN(LTN_PART, n - i));
}

void ltn__map2(ltn_map2 *f, const real *x, const real *y, real *z, int64_t n, int threads)
{
#pragma omp parallel for num_threads(threads) if (n > LTN_SERIAL)
    for (int64_t i = 0; i < n; i += LTN_PART) f(x + i, y + i, z + i, LTN_MIN(LTN_PART, n - i));
}

ltn_node *ltn__example_input(ltn_graph *g, const char *name, int k)
{
    static const ltn_dims dims[] = {{{1, 1, 1, 7}}, {{2, 3, 5, 4}}, {{1, 9, 11, 33}}, {{1, 17, 31, 33}}};
    return k < LTN_COUNT(dims) ? ltn__input(g, name, dims[k]) : NULL;
}

ltn_walk ltn__walk(ltn_dims dims, ltn_dims a, ltn_dims b)
{
    const ltn_dims src[2] = {a, b};
    ltn_walk w = {.outer = dims, .length = 1, .step = {-1, -1}};
    for (int s = 0; s < 2; s++)
        for (int64_t k = 3, stride = 1; k >= 0; stride *= src[s].d[k--])
            w.stride[s][k] = src[s].d[k] > 1 ? stride : 0;
    for (int k = 3; k >= 0; k--) {
        const int64_t step[2] = {a.d[k] > 1, b.d[k] > 1};
        if (dims.d[k] == 1) continue;
        if (w.length > 1 && (step[0] != w.step[0] || step[1] != w.step[1])) break;
        w.step[0] = step[0];
        w.step[1] = step[1];
        w.length *= dims.d[k];
        w.outer.d[k] = 1;
    }
    return w;
}

int64_t ltn__walk_offset(const ltn_walk *w, int which, int64_t run)
{
    int64_t offset = 0;
    for (int k = 3; k >= 0; k--) {
        if (w->outer.d[k] == 1) continue;
        offset += run % w->outer.d[k] * w->stride[which][k];
        run /= w->outer.d[k];
    }
    return offset;
}
