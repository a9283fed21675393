/* binary.c - a + b, a - b, a b; where a dimension of one is 1, it is repeated to the other's. */
#include "map.h"

typedef void binary_part(const real *a, int64_t a_step, const real *b, int64_t b_step, real *y, int64_t n);

static ltn_node *binary(ltn_graph *g, const ltn_op *op, ltn_node *a, ltn_node *b)
{
    ltn_dims dims;
    for (int k = 0; k < 4; k++) {
        const int64_t p = a->dims.d[k], q = b->dims.d[k];
        if (p != q && p != 1 && q != 1)
            return ltn__graph_fail(g, LTN_ESHAPE, "%s: dimension %d is %lld and %lld", op->entry.name, k,
                                   (long long)p, (long long)q);
        dims.d[k] = LTN_MAX(p, q);
    }
    return ltn__node(g, op, dims, 2, (ltn_node *[]){a, b});
}

static void binary_run(binary_part *part, const ltn_node *n, const real *const *src, real *dst, int threads)
{
    const ltn_walk w = ltn__walk(n->dims, n->src[0]->dims, n->src[1]->dims);
    const int64_t count = ltn__count(n->dims), parts = (w.length + LTN_PART - 1) / LTN_PART;
#pragma omp parallel for num_threads(threads) if (count > LTN_SERIAL)
    for (int64_t job = 0; job < ltn__count(w.outer) * parts; job++) {
        const int64_t run = job / parts, first = job % parts * LTN_PART;
        const real *a = src[0] + ltn__walk_offset(&w, 0, run) + first * w.step[0];
        const real *b = src[1] + ltn__walk_offset(&w, 1, run) + first * w.step[1];
        part(a, w.step[0], b, w.step[1], dst + run * w.length + first, LTN_MIN(LTN_PART, w.length - first));
    }
}

static ltn_node *binary_example(ltn_graph *g, int k, ltn_node *op(ltn_graph *, ltn_node *, ltn_node *))
{
    static const ltn_dims cases[][2] = {
        {{{2, 3, 5, 7}}, {{2, 3, 5, 7}}}, {{{2, 3, 5, 7}}, {{1, 1, 1, 7}}},
        {{{1, 3, 1, 7}}, {{2, 1, 5, 1}}}, {{{1, 1, 1, 1}}, {{2, 9, 3, 5}}},
        {{{2, 5, 3, 4}}, {{2, 1, 3, 1}}}, {{{1, 33, 17, 40}}, {{1, 33, 17, 1}}},
        {{{1, 1, 1, 3}}, {{1, 1, 1, 1}}},
    };
    if (k >= LTN_COUNT(cases)) return NULL;
    return op(g, ltn__input(g, "a", cases[k][0]), ltn__input(g, "b", cases[k][1]));
}

/* A loop for each case, because a step known to the compiler is what lets it use vectors. y may be a. */
#define BINARY_PART(name, sign)                                                                              \
    LTN_KERNEL static void name(const real *a, int64_t a_step, const real *b, int64_t b_step, real *y,       \
                                int64_t n)                                                                   \
    {                                                                                                        \
        if (a_step && b_step) {                                                                              \
            _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = a[i] sign b[i];                       \
        } else if (a_step) {                                                                                 \
            const real other = *b;                                                                           \
            _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = a[i] sign other;                      \
        } else {                                                                                             \
            const real other = *a;                                                                           \
            _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = other sign b[b_step * i];             \
        }                                                                                                    \
    }
BINARY_PART(add_part, +)
BINARY_PART(sub_part, -)
BINARY_PART(mul_part, *)

ltn_node *ltn__add(ltn_graph *g, ltn_node *a, ltn_node *b)
{
    return binary(g, &ltn__op_add, a, b);
}

static void add_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    binary_run(add_part, n, src, dst, threads);
}

static void add_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    for (int k = 0; k < 2; k++)
        if (want[k]) gsrc[k] = ltn__sum_to(g, dy, n->src[k]->dims);
}

static ltn_node *add_example(ltn_graph *g, int k)
{
    return binary_example(g, k, ltn__add);
}

const ltn_op ltn__op_add = {
    .entry = {.name = "add", .help = "a + b"},
    .run = add_run,
    .vjp = add_vjp,
    .example = add_example,
    .rows = ltn__same_rows,
    .inplace = true,
};

ltn_node *ltn__sub(ltn_graph *g, ltn_node *a, ltn_node *b)
{
    return binary(g, &ltn__op_sub, a, b);
}

static void sub_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    binary_run(sub_part, n, src, dst, threads);
}

static void sub_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    if (want[0]) gsrc[0] = ltn__sum_to(g, dy, n->src[0]->dims);
    if (want[1]) gsrc[1] = ltn__affine(g, ltn__sum_to(g, dy, n->src[1]->dims), -1, 0);
}

static ltn_node *sub_example(ltn_graph *g, int k)
{
    return binary_example(g, k, ltn__sub);
}

const ltn_op ltn__op_sub = {
    .entry = {.name = "sub", .help = "a - b"},
    .run = sub_run,
    .vjp = sub_vjp,
    .example = sub_example,
    .rows = ltn__same_rows,
    .inplace = true,
};

ltn_node *ltn__mul(ltn_graph *g, ltn_node *a, ltn_node *b)
{
    return binary(g, &ltn__op_mul, a, b);
}

static void mul_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    binary_run(mul_part, n, src, dst, threads);
}

static void mul_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    for (int k = 0; k < 2; k++)
        if (want[k]) gsrc[k] = ltn__sum_to(g, ltn__mul(g, dy, n->src[1 - k]), n->src[k]->dims);
}

static ltn_node *mul_example(ltn_graph *g, int k)
{
    return binary_example(g, k, ltn__mul);
}

const ltn_op ltn__op_mul = {
    .entry = {.name = "mul", .help = "a b"},
    .run = mul_run,
    .vjp = mul_vjp,
    .example = mul_example,
    .rows = ltn__same_rows,
    .inplace = true,
};
