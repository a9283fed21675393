/* tile.c - see tile.h. A group of rows whose sums fill the registers is what runs at once: 6 rows of 2
 * vectors, of 4 where vectors are short, 8 rows of the longest. */
#include "tile.h"

#include <string.h>

typedef void group(int64_t k, const real *const *a, const real *b, real (*c)[LTN_TILE_N]);

#define GROUP(name, level, rows, bytes)                                                                    \
    level static void name(int64_t k, const real *const *a, const real *b, real (*c)[LTN_TILE_N])          \
    {                                                                                                      \
        typedef real vec __attribute__((vector_size(bytes)));                                              \
        enum { WIDTH = LTN_TILE_N * sizeof(real) / bytes };                                                \
        const vec *restrict row = (const vec *)b;                                                          \
        vec sum[rows][WIDTH], *out = (vec *)c;                                                             \
        const real *p[rows];                                                                               \
        for (int r = 0; r < rows; r++) p[r] = a[r];                                                        \
        for (int r = 0; r < rows; r++)                                                                     \
            for (int j = 0; j < WIDTH; j++) sum[r][j] = out[r * WIDTH + j];                                \
        for (int64_t i = 0; i < k; i++, row += WIDTH)                                                      \
            for (int r = 0; r < rows; r++)                                                                 \
                for (int j = 0; j < WIDTH; j++) sum[r][j] += p[r][i] * row[j];                             \
        for (int r = 0; r < rows; r++)                                                                     \
            for (int j = 0; j < WIDTH; j++) out[r * WIDTH + j] = sum[r][j];                                \
    }
GROUP(six_short, , 6, 16)
GROUP(six, LTN_KERNEL_V3, 6, 32)
GROUP(eight_long, LTN_KERNEL_V4, 8, 64)

void ltn__tile(int64_t rows, int64_t k, const real *const a[LTN_TILE_M], const real *b, ltn_tile *c)
{
    const int level = ltn__level();
    group *const f = level == 4 ? eight_long : level == 3 ? six : six_short;
    const int64_t step = level == 4 ? 8 : 6;
    for (int64_t r = 0; r < rows; r += step) f(k, a + r, b, c->v + r);
}

void ltn__panel(int64_t rows, int64_t columns, int64_t p, const real *b, int64_t row, int64_t column,
                real *out)
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

void ltn__product(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *panels,
                  const real *bias, real *c, int64_t ldc)
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
            ltn__tile(height, k, rows, panels + p * k * LTN_TILE_N, &t);
            for (int64_t r = 0; r < height; r++) copy_row(c + (i + r) * ldc + p * LTN_TILE_N, t.v[r], width);
        }
    }
}

void ltn__product_add(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *panels, real *c,
                      int64_t ldc)
{
    for (int64_t p = 0; p < ltn__panels(n); p++, c += LTN_TILE_N)
        for (int64_t i = 0; i < m; i += LTN_TILE_M) {
            const int64_t height = LTN_MIN(m - i, LTN_TILE_M), width = LTN_MIN(n - p * LTN_TILE_N, LTN_TILE_N);
            const real *rows[LTN_TILE_M];
            ltn_tile t = {0};
            for (int64_t r = 0; r < LTN_TILE_M; r++) rows[r] = a + (i + LTN_MIN(r, height - 1)) * lda;
            for (int64_t r = 0; r < height; r++) copy_row(t.v[r], c + (i + r) * ldc, width);
            ltn__tile(height, k, rows, panels + p * k * LTN_TILE_N, &t);
            for (int64_t r = 0; r < height; r++) copy_row(c + (i + r) * ldc, t.v[r], width);
        }
}
