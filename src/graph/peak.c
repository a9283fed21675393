/* peak.c - what the machine can do at most, by this library's own means: the inner product of its kernels on
 * arrays that stay in cache, and the triad a = b + 3 c of arrays that do not (McCalpin's STREAM). The best of
 * many short trials counts, for the machine may have other work. */
#include "op/tile.h"

static const double patience = 0.3; /* seconds for each */

enum { ROWS = 240, COLUMNS = 64, DEPTH = 256, PRODUCTS = 12 };
enum { A = ROWS * DEPTH, B = DEPTH * COLUMNS, C = ROWS * COLUMNS, ALL = A + B + C };

static void products(real *room, int threads)
{
#pragma omp parallel for num_threads(threads)
    for (int t = 0; t < threads; t++) {
        real *own = room + (size_t)t * ALL;
        const ltn_panels a = {own, ROWS}, b = {own + A, DEPTH}, c = {own + A + B, ROWS};
        for (int k = 0; k < PRODUCTS; k++) ltn__panel_product(0, ROWS, COLUMNS, DEPTH, a, b, c, true);
    }
}

ltn_status ltn__peak_flops(ltn_ctx *ctx, int threads, double *out)
{
    real *room = ltn__alloc(ctx, (size_t)threads * ALL, sizeof *room);
    if (!room) return LTN_ENOMEM;
    const double end = ltn__seconds() + patience;
    double best = 1e9, start;
    while ((start = ltn__seconds()) < end) {
        products(room, threads);
        best = LTN_MIN(best, ltn__seconds() - start);
    }
    *out = 2. * ROWS * COLUMNS * DEPTH * PRODUCTS * threads / best;
    ltn__free(ctx, room);
    return LTN_OK;
}

LTN_KERNEL static void triad(size_t n, const real *restrict b, const real *restrict c, real *restrict a)
{
    for (size_t i = 0; i < n; i++) a[i] = b[i] + 3 * c[i];
}

/* Values of an array, and of the piece of it that one trial passes over: when a piece is met again, no cache
 * holds it any more. */
enum { LENGTH = 1 << 25, PIECE = 1 << 20 };

ltn_status ltn__peak_bandwidth(ltn_ctx *ctx, int threads, double *out)
{
    real *room = ltn__alloc(ctx, 3 * (size_t)LENGTH, sizeof *room);
    if (!room) return LTN_ENOMEM;
    const double end = ltn__seconds() + patience;
    double best = 1e9, start;
    for (int64_t at = 0; (start = ltn__seconds()) < end; at = (at + PIECE) % LENGTH) {
#pragma omp parallel for num_threads(threads)
        for (int64_t t = 0; t < threads; t++) {
            const int64_t first = PIECE * t / threads, n = PIECE * (t + 1) / threads - first;
            real *a = room + at + first;
            triad((size_t)n, a + LENGTH, a + 2 * (int64_t)LENGTH, a);
        }
        best = LTN_MIN(best, ltn__seconds() - start);
    }
    *out = 3. * PIECE * sizeof *room / best;
    ltn__free(ctx, room);
    return LTN_OK;
}
