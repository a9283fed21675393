/* tile.c - see tile.h; one vector of 16 numbers per row of the tile, which the compiler maps to what the machine has. */
#include "tile.h"

#include <string.h>

typedef real vec __attribute__((vector_size(LTN_TILE_N * sizeof(real))));

LTN_KERNEL void ltn__tile(int64_t k, const real *const a[LTN_TILE_M], const real *b, ltn_tile *c)
{
    const vec *restrict row = (const vec *)b;
    const real *const a0 = a[0], *const a1 = a[1], *const a2 = a[2], *const a3 = a[3], *const a4 = a[4], *const a5 = a[5];
    vec *const out = (vec *)c->v;
    vec c0 = out[0], c1 = out[1], c2 = out[2], c3 = out[3], c4 = out[4], c5 = out[5];
    for (int64_t i = 0; i < k; i++) {
        const vec r = row[i];
        c0 += a0[i] * r;
        c1 += a1[i] * r;
        c2 += a2[i] * r;
        c3 += a3[i] * r;
        c4 += a4[i] * r;
        c5 += a5[i] * r;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3, out[4] = c4, out[5] = c5;
}

void ltn__panel(int64_t rows, int64_t columns, int64_t p, const real *b, int64_t row, int64_t column, real *out)
{
    const int64_t first = p * LTN_TILE_N, width = LTN_MIN(columns - first, LTN_TILE_N);
    b += first * column;
    if (width < LTN_TILE_N) memset(out, 0, (size_t)(rows * LTN_TILE_N) * sizeof(real));
    for (int64_t k = 0; k < rows; k++)
        for (int64_t j = 0; j < width; j++) out[k * LTN_TILE_N + j] = b[k * row + j * column];
}

/* Columns that are all there are copied as one vector. */
static inline void copy_row(real *to, const real *from, int64_t width)
{
    if (width == LTN_TILE_N) memcpy(to, from, LTN_TILE_N * sizeof(real));
    else memcpy(to, from, (size_t)width * sizeof(real));
}

LTN_KERNEL void ltn__product(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *panels, const real *bias, real *c,
                             int64_t ldc)
{
    for (int64_t p = 0; p < ltn__panels(n); p++) {
        const int64_t width = LTN_MIN(n - p * LTN_TILE_N, LTN_TILE_N);
        ltn_tile start = {0};
        for (int64_t r = 0; bias && r < LTN_TILE_M; r++) copy_row(start.v[r], bias + p * LTN_TILE_N, width);
        for (int64_t i = 0; i < m; i += LTN_TILE_M) {
            const int64_t height = LTN_MIN(m - i, LTN_TILE_M);
            const real *rows[LTN_TILE_M];
            ltn_tile t = start;
            for (int64_t r = 0; r < LTN_TILE_M; r++) rows[r] = a + (i + LTN_MIN(r, height - 1)) * lda;
            ltn__tile(k, rows, panels + p * k * LTN_TILE_N, &t);
            for (int64_t r = 0; r < height; r++) copy_row(c + (i + r) * ldc + p * LTN_TILE_N, t.v[r], width);
        }
    }
}
