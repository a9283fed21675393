/* slice.c - three rows that move along one axis: slice takes [first, first + count) of it, place (slice's
 * adjoint) puts x there and zeros around it, concat joins two arrays. i[0]: axis, i[1]: first. */
#include "map.h"

#include <string.h>

/* An array seen along its axis: `outer` pieces of length[axis] * inner values. */
static int64_t outer_of(ltn_dims dims, int64_t axis)
{
    int64_t n = 1;
    for (int64_t k = 0; k < axis; k++) n *= dims.d[k];
    return n;
}

static int64_t piece_of(ltn_dims dims, int64_t axis)
{
    return ltn__count(dims) / outer_of(dims, axis);
}

/* Copies `length` values from every piece of x to every piece of y. */
static void copy_pieces(const real *x, int64_t x_piece, real *y, int64_t y_piece, int64_t length,
                        int64_t pieces, int threads)
{
#pragma omp parallel for num_threads(threads) if (length * pieces > LTN_SERIAL)
    for (int64_t k = 0; k < pieces; k++)
        memcpy(y + k * y_piece, x + k * x_piece, (size_t)length * sizeof(real));
}

ltn_node *ltn__slice(ltn_graph *g, ltn_node *x, int axis, int64_t first, int64_t count)
{
    ltn_dims dims = x->dims;
    if (ltn__graph_status(g)) return ltn__node(g, &ltn__op_slice, dims, 1, &x);
    if (axis < 0 || axis > 3 || first < 0 || count < 1 || first > dims.d[axis] - count)
        return ltn__graph_fail(g, LTN_ESHAPE, "slice: %lld values from %lld on, of axis %d with %lld",
                               (long long)count, (long long)first, axis,
                               axis >= 0 && axis < 4 ? (long long)dims.d[axis] : 0);
    if (count == dims.d[axis]) return x;
    dims.d[axis] = count;
    ltn_node *n = ltn__node(g, &ltn__op_slice, dims, 1, &x);
    n->i[0] = axis;
    n->i[1] = first;
    return n;
}

static void slice_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t outer = outer_of(n->dims, n->i[0]), piece = piece_of(n->dims, n->i[0]),
                  inner = piece / n->dims.d[n->i[0]];
    copy_pieces(src[0] + n->i[1] * inner, piece_of(n->src[0]->dims, n->i[0]), dst, piece, piece, outer,
                threads);
}

static void slice_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = ltn__place(g, dy, (int)n->i[0], n->i[1], n->src[0]->dims.d[n->i[0]]);
}

static ltn_node *slice_example(ltn_graph *g, int k)
{
    if (k > 4) return NULL;
    ltn_node *x = ltn__input(g, "x", k < 4 ? ltn__dims(3, 4, 5, 6) : ltn__dims(1, 20, 20, 96));
    return k < 4 ? ltn__slice(g, x, k, 1, k + 1) : ltn__slice(g, x, 3, 32, 64);
}

static void slice_rows(const ltn_node *n, ltn_span *make, ltn_span *need)
{
    const int64_t first = n->i[0] == 1 ? n->i[1] : 0;
    *need = (ltn_span){make->first + first, make->end + first};
}

const ltn_op ltn__op_slice = {
    .entry = {.name = "slice", .help = "a part along one axis"},
    .run = slice_run,
    .vjp = slice_vjp,
    .example = slice_example,
    .rows = slice_rows,
};

ltn_node *ltn__place(ltn_graph *g, ltn_node *x, int axis, int64_t first, int64_t count)
{
    ltn_dims dims = x->dims;
    if (ltn__graph_status(g)) return ltn__node(g, &ltn__op_place, dims, 1, &x);
    if (axis < 0 || axis > 3 || first < 0 || first > count - dims.d[axis])
        return ltn__graph_fail(g, LTN_ESHAPE, "place: %lld values from %lld on, of axis %d with %lld",
                               axis >= 0 && axis < 4 ? (long long)dims.d[axis] : 0, (long long)first, axis,
                               (long long)count);
    if (count == dims.d[axis]) return x;
    dims.d[axis] = count;
    ltn_node *n = ltn__node(g, &ltn__op_place, dims, 1, &x);
    n->i[0] = axis;
    n->i[1] = first;
    return n;
}

static void place_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t pieces = outer_of(n->dims, n->i[0]), piece = piece_of(n->dims, n->i[0]),
                  inner = piece / n->dims.d[n->i[0]];
    const int64_t before = n->i[1] * inner, length = piece_of(n->src[0]->dims, n->i[0]);
#pragma omp parallel for num_threads(threads) if (piece * pieces > LTN_SERIAL)
    for (int64_t k = 0; k < pieces; k++) {
        real *y = dst + k * piece;
        memset(y, 0, (size_t)before * sizeof(real));
        memcpy(y + before, src[0] + k * length, (size_t)length * sizeof(real));
        memset(y + before + length, 0, (size_t)(piece - before - length) * sizeof(real));
    }
}

static void place_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = ltn__slice(g, dy, (int)n->i[0], n->i[1], n->src[0]->dims.d[n->i[0]]);
}

static ltn_node *place_example(ltn_graph *g, int k)
{
    if (k > 4) return NULL;
    ltn_node *x = ltn__input(g, "x", k < 4 ? ltn__dims(3, 4, 5, 6) : ltn__dims(1, 20, 20, 64));
    return k < 4 ? ltn__place(g, x, k, k, 9 + k) : ltn__place(g, x, 3, 32, 96);
}

const ltn_op ltn__op_place = {
    .entry = {.name = "place", .help = "zeros with the source as a part along one axis"},
    .run = place_run,
    .vjp = place_vjp,
    .example = place_example,
};

ltn_node *ltn__concat(ltn_graph *g, ltn_node *a, ltn_node *b, int axis)
{
    ltn_dims dims = a->dims;
    if (ltn__graph_status(g)) return ltn__node(g, &ltn__op_concat, dims, 1, &a);
    for (int k = 0; k < 4; k++)
        if (axis < 0 || axis > 3 || (k != axis && dims.d[k] != b->dims.d[k]))
            return ltn__graph_fail(g, LTN_ESHAPE, "concat: dimension %d is %lld and %lld, along axis %d", k,
                                   (long long)dims.d[k], (long long)b->dims.d[k], axis);
    dims.d[axis] += b->dims.d[axis];
    ltn_node *n = ltn__node(g, &ltn__op_concat, dims, 2, (ltn_node *[]){a, b});
    n->i[0] = axis;
    return n;
}

static void concat_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t pieces = outer_of(n->dims, n->i[0]);
    const int64_t a = piece_of(n->src[0]->dims, n->i[0]), b = piece_of(n->src[1]->dims, n->i[0]);
    copy_pieces(src[0], a, dst, a + b, a, pieces, threads);
    copy_pieces(src[1], b, dst + a, a + b, b, pieces, threads);
}

static void concat_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    const int axis = (int)n->i[0];
    const int64_t a = n->src[0]->dims.d[axis], b = n->src[1]->dims.d[axis];
    if (want[0]) gsrc[0] = ltn__slice(g, dy, axis, 0, a);
    if (want[1]) gsrc[1] = ltn__slice(g, dy, axis, a, b);
}

static ltn_node *concat_example(ltn_graph *g, int k)
{
    if (k > 4) return NULL;
    ltn_dims a = k < 4 ? ltn__dims(2, 3, 4, 5) : ltn__dims(1, 20, 20, 30), b = a;
    const int axis = LTN_MIN(k, 3);
    b.d[axis] += k - 1;
    return ltn__concat(g, ltn__input(g, "a", a), ltn__input(g, "b", b), axis);
}

const ltn_op ltn__op_concat = {
    .entry = {.name = "concat", .help = "two arrays joined along one axis"},
    .run = concat_run,
    .vjp = concat_vjp,
    .example = concat_example,
};
