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

/* ---- All in panels: a row of A is 16 numbers, then 16 of the next panel, which is `next` numbers away ----
 */

#define UNROLL _Pragma("GCC unroll 24") /* so that sums stay in registers */
typedef void strip(int64_t k, const real *a, int64_t next, const real *b, real *c);

#define STRIP(name, level, rows, bytes)                                                                    \
    level static void name(int64_t k, const real *a, int64_t next, const real *b, real *c)                 \
    {                                                                                                      \
        typedef real vec __attribute__((vector_size(bytes)));                                              \
        enum { WIDTH = LTN_TILE_N * sizeof(real) / bytes };                                                \
        const vec *restrict row = (const vec *)b;                                                          \
        vec sum[rows][WIDTH], *out = (vec *)c;                                                             \
        UNROLL for (int r = 0; r < rows; r++)                                                              \
            for (int j = 0; j < WIDTH; j++) sum[r][j] = out[r * WIDTH + j];                                \
        for (; k > 0; k -= LTN_TILE_N, a += next)                                                          \
            for (int64_t i = 0; i < LTN_MIN(k, LTN_TILE_N); i++, row += WIDTH)                             \
                UNROLL for (int r = 0; r < rows; r++)                                                      \
                    for (int j = 0; j < WIDTH; j++) sum[r][j] += a[r * LTN_TILE_N + i] * row[j];           \
        UNROLL for (int r = 0; r < rows; r++)                                                              \
            for (int j = 0; j < WIDTH; j++) out[r * WIDTH + j] = sum[r][j];                                \
    }
STRIP(four_short, , 4, 16)
STRIP(four, LTN_KERNEL_V3, 4, 32)
STRIP(strip_of_8, LTN_KERNEL_V4, 8, 64)
STRIP(strip_of_16, LTN_KERNEL_V4, 16, 64)
STRIP(strip_of_24, LTN_KERNEL_V4, 24, 64)

void ltn__panel_product(int64_t first, int64_t m, int64_t n, int64_t k, ltn_panels a, ltn_panels b,
                        ltn_panels c, bool add)
{
    static strip *const longest[] = {strip_of_8, strip_of_16, strip_of_24};
    const int level = ltn__level();
    strip *const shorter = level == 3 ? four : four_short;
    const int64_t end = first + ltn__eights(m);
    for (int64_t p = 0; p < ltn__panels(n); p++)
        for (int64_t i = first, rows; i < end; i += rows) {
            rows = level == 4 ? LTN_MIN(end - i, LTN_TILE_M) : 4;
            real *to = c.v + (p * c.rows + i) * LTN_TILE_N;
            if (!add) memset(to, 0, (size_t)(rows * LTN_TILE_N) * sizeof(real));
            (level == 4 ? longest[rows / LTN_EIGHT - 1] : shorter)(
                k, a.v + i * LTN_TILE_N, a.rows * LTN_TILE_N, b.v + p * b.rows * LTN_TILE_N, to);
        }
}
