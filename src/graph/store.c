/* store.c - rows of a value in blocks, a sixteenth of it each; rounded they are x = scale q, |q| <= 32767, with the
 * scales (c) before the numbers (width, c). */
#include "store.h"

#include <string.h>

enum { LARGEST = 32767, BLOCKS = 16, ALIGN = 64 };

static size_t row_bytes(int64_t width, int64_t c, bool rounded)
{
    const size_t bytes = rounded ? (size_t)c * sizeof(real) + (size_t)(width * c) * sizeof(int16_t)
                                 : (size_t)(width * c) * sizeof(real);
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

size_t ltn__store_bytes(ltn_dims dims, bool rounded)
{
    return (size_t)dims.d[1] * row_bytes(dims.d[2], dims.d[3], rounded);
}

ltn_status ltn__store_open(ltn_ctx *ctx, ltn_dims dims, bool rounded, ltn_store *out)
{
    *out = (ltn_store){.rows = dims.d[1], .width = dims.d[2], .c = dims.d[3], .rounded = rounded};
    out->block = (dims.d[1] + BLOCKS - 1) / BLOCKS;
    out->row = ltn__alloc(ctx, (size_t)out->rows, sizeof *out->row);
    return out->row ? LTN_OK : LTN_ENOMEM;
}

void ltn__store_close(ltn_ctx *ctx, ltn_store *s)
{
    if (s->row) ltn__store_drop(ctx, s, s->rows);
    ltn__free(ctx, s->row);
    *s = (ltn_store){0};
}

void ltn__store_drop(ltn_ctx *ctx, ltn_store *s, int64_t end)
{
    for (; s->gone < end; s->gone++) {
        const int64_t past = s->gone % s->block;
        if (past == s->block - 1 || s->gone == s->rows - 1) ltn__free(ctx, s->row[s->gone - past]);
    }
}

/* Comparisons are such that what is no number becomes the smallest one, and the scale keeps the infinity. */
LTN_KERNEL static void round_row(const real *x, int64_t width, int64_t c, real *scale, int16_t *q)
{
    for (int64_t j = 0; j < c; j++) scale[j] = 0;
    for (int64_t i = 0; i < width; i++)
        for (int64_t j = 0; j < c; j++) {
            const real size = x[i * c + j] < 0 ? -x[i * c + j] : x[i * c + j];
            scale[j] = size > scale[j] ? size : scale[j];
        }
    for (int64_t j = 0; j < c; j++) scale[j] /= LARGEST;
    for (int64_t i = 0; i < width; i++)
        for (int64_t j = 0; j < c; j++) {
            real v = scale[j] > 0 ? x[i * c + j] / scale[j] : 0;
            v = v > -LARGEST ? v : -LARGEST;
            v = v < LARGEST ? v : LARGEST;
            q[i * c + j] = (int16_t)(v + (v < 0 ? (real)-0.5 : (real)0.5));
        }
}

LTN_KERNEL static void widen_row(const real *scale, const int16_t *q, int64_t width, int64_t c, real *x)
{
    for (int64_t i = 0; i < width; i++)
        for (int64_t j = 0; j < c; j++) x[i * c + j] = scale[j] * (real)q[i * c + j];
}

ltn_status ltn__store_put(ltn_ctx *ctx, ltn_store *s, int64_t first, int64_t n, const real *x, int threads)
{
    const int64_t count = s->width * s->c;
    const size_t bytes = row_bytes(s->width, s->c, s->rounded);
    for (int64_t r = first; r < first + n; r++) {
        const int64_t past = r % s->block, together = LTN_MIN(s->block, s->rows - r);
        if (past) s->row[r] = (char *)s->row[r - past] + (size_t)past * bytes;
        else if (!(s->row[r] = ltn__alloc(ctx, (size_t)together, bytes))) return LTN_ENOMEM;
    }
#pragma omp parallel for num_threads(threads)
    for (int64_t r = 0; r < n; r++) {
        real *row = s->row[first + r];
        if (s->rounded) round_row(x + r * count, s->width, s->c, row, (int16_t *)(row + s->c));
        else memcpy(row, x + r * count, (size_t)count * sizeof *x);
    }
    return LTN_OK;
}

void ltn__store_get(const ltn_store *s, int64_t first, int64_t n, real *x, int threads)
{
    const int64_t count = s->width * s->c;
#pragma omp parallel for num_threads(threads)
    for (int64_t r = 0; r < n; r++) {
        const real *row = s->row[first + r];
        if (s->rounded) widen_row(row, (const int16_t *)(row + s->c), s->width, s->c, x + r * count);
        else memcpy(x + r * count, row, (size_t)count * sizeof *x);
    }
}
