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

/* ---- Into panels and out of them ---- */

typedef real vec16 __attribute__((vector_size(LTN_TILE_N * sizeof(real))));

/* The 2 x 2 blocks of 16 x 16 blocks of `s` change places across the diagonal. */
#define EXCHANGE(s, ...)                                                                        \
    for (int i = 0; i < LTN_TILE_N; i++)                                                        \
        if (!(i & (s))) {                                                                       \
            const vec16 a = x[i], b = x[i + (s)];                                               \
            x[i] = SHUFFLE(a, b, LOW_##s);                                                      \
            x[i + (s)] = SHUFFLE(a, b, HIGH_##s);                                               \
        }
#define SHUFFLE(a, b, list) SHUFFLE_BY(a, b, list)
#define SHUFFLE_BY(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define LOW_8 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HIGH_8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define LOW_4 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define HIGH_4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define LOW_2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGH_2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LOW_1 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define HIGH_1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31

/* out[i][j] = in[j][i], rows of `in` n apart; 16 x 16. */
LTN_KERNEL static void transpose(const real *in, int64_t n, real *out)
{
    vec16 x[LTN_TILE_N];
    for (int j = 0; j < LTN_TILE_N; j++) memcpy(&x[j], in + j * n, sizeof x[j]);
    EXCHANGE(8)
    EXCHANGE(4)
    EXCHANGE(2)
    EXCHANGE(1)
    memcpy(out, x, sizeof x);
}

void ltn__panel(int64_t rows, int64_t columns, int64_t p, const real *b, int64_t row, int64_t column,
                real *out)
{
    const int64_t first = p * LTN_TILE_N, width = LTN_MIN(columns - first, LTN_TILE_N);
    int64_t k = 0;
    b += first * column;
    if (width < LTN_TILE_N) memset(out, 0, (size_t)(rows * LTN_TILE_N) * sizeof(real));
    for (; width == LTN_TILE_N && column == 1 && k < rows; k++)
        memcpy(out + k * LTN_TILE_N, b + k * row, sizeof(vec16));
    for (; width == LTN_TILE_N && row == 1 && k + LTN_TILE_N <= rows; k += LTN_TILE_N)
        transpose(b + k, column, out + k * LTN_TILE_N);
    for (; k < rows; k++)
        for (int64_t j = 0; j < width; j++) out[k * LTN_TILE_N + j] = b[k * row + j * column];
}

void ltn__unpanel(int64_t rows, int64_t columns, int64_t p, const real *panel, real *b, int64_t row, int64_t column)
{
    const int64_t first = p * LTN_TILE_N, width = LTN_MIN(columns - first, LTN_TILE_N);
    int64_t k = 0;
    b += first * column;
    for (; width == LTN_TILE_N && column == 1 && k < rows; k++)
        memcpy(b + k * row, panel + k * LTN_TILE_N, sizeof(vec16));
    for (; row == 1 && k + LTN_TILE_N <= rows; k += LTN_TILE_N) {
        _Alignas(64) real turned[LTN_TILE_N * LTN_TILE_N];
        transpose(panel + k * LTN_TILE_N, LTN_TILE_N, turned);
        for (int64_t j = 0; j < width; j++) memcpy(b + k + j * column, turned + j * LTN_TILE_N, sizeof(vec16));
    }
    for (; k < rows; k++)
        for (int64_t j = 0; j < width; j++) b[k * row + j * column] = panel[k * LTN_TILE_N + j];
}

/* ---- Weights where they lie ---- */

void ltn__weight_panel(const ltn_weight *w, int64_t rows, int64_t depth, int64_t p, int64_t first, int64_t n,
                       real *out)
{
    _Alignas(64) real wide[LTN_TILE_N * LTN_SLICE];
    const int64_t width = LTN_MIN(rows - p * LTN_TILE_N, LTN_TILE_N), whole = n / LTN_TILE_N * LTN_TILE_N;
    if (width < LTN_TILE_N) memset(wide, 0, sizeof wide);
    for (int64_t j = 0; j < width; j++)
        ltn__weight_widen(w, (p * LTN_TILE_N + j) * depth + first, n, wide + j * n);
    for (int64_t i = 0; i < whole; i += LTN_TILE_N) transpose(wide + i, n, out + i * LTN_TILE_N);
    for (int64_t i = whole; i < n; i++)
        for (int64_t j = 0; j < LTN_TILE_N; j++) out[i * LTN_TILE_N + j] = wide[j * n + i];
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

/* ---- Rows by panels: few rows by many columns, so that a number of A, which comes alone, is used often ---- */

typedef void block(int64_t k, const real *const *a, const real *b, int64_t next, real *c, int64_t ldc);

#define BLOCK(name, level, rows, panels, bytes)                                                              \
    level static void name(int64_t k, const real *const *a, const real *b, int64_t next, real *c, int64_t ldc) \
    {                                                                                                        \
        typedef real vec __attribute__((vector_size(bytes)));                                                \
        typedef real loose __attribute__((vector_size(bytes), aligned(sizeof(real)), may_alias));            \
        enum { EACH = bytes / sizeof(real), WIDTH = LTN_TILE_N / EACH };                                     \
        vec sum[rows][(panels) * WIDTH];                                                                     \
        const real *p[rows];                                                                                 \
        UNROLL for (int r = 0; r < rows; r++)                                                                \
        {                                                                                                    \
            p[r] = a[r];                                                                                     \
            UNROLL for (int j = 0; j < (panels) * WIDTH; j++) sum[r][j] =                                    \
                *(const loose *)(c + r * ldc + j * (int)EACH);                                               \
        }                                                                                                    \
        for (int64_t i = 0; i < k; i++, b += LTN_TILE_N)                                                     \
            UNROLL for (int r = 0; r < rows; r++)                                                            \
                UNROLL for (int j = 0; j < (panels) * WIDTH; j++) sum[r][j] +=                               \
                    p[r][i] * *(const vec *)(b + j / WIDTH * next + j % WIDTH * (int)EACH);                  \
        UNROLL for (int r = 0; r < rows; r++)                                                                \
            UNROLL for (int j = 0; j < (panels) * WIDTH; j++) *(loose *)(c + r * ldc + j * (int)EACH) =      \
                sum[r][j];                                                                                   \
    }
BLOCK(rows_short, , 6, 1, 16)
BLOCK(rows_middle, LTN_KERNEL_V3, 6, 1, 32)
BLOCK(rows_long_1, LTN_KERNEL_V4, 8, 1, 64)
BLOCK(rows_long_2, LTN_KERNEL_V4, 8, 2, 64)
BLOCK(rows_long_3, LTN_KERNEL_V4, 8, 3, 64)

/* All rows of a group are there. */
static void whole_rows(int level, int64_t k, int64_t panels, const real *const *a, const real *b, int64_t next, real *c,
                       int64_t ldc)
{
    static block *const wide[] = {rows_long_1, rows_long_2, rows_long_3};
    if (level == 4) wide[panels - 1](k, a, b, next, c, ldc);
    for (int64_t p = 0; p < panels && level < 4; p++)
        (level == 3 ? rows_middle : rows_short)(k, a, b + p * next, next, c + p * LTN_TILE_N, ldc);
}

/* The rest go through a place of their own. */
static void some_rows(int level, int64_t m, int64_t k, int64_t panels, const real *const *a, const real *b,
                      int64_t next, real *c, int64_t ldc)
{
    const int64_t width = panels * LTN_TILE_N;
    _Alignas(64) real room[LTN_EIGHT * LTN_WIDE * LTN_TILE_N] = {0};
    for (int64_t r = 0; r < m; r++) memcpy(room + r * width, c + r * ldc, (size_t)width * sizeof *c);
    whole_rows(level, k, panels, a, b, next, room, width);
    for (int64_t r = 0; r < m; r++) memcpy(c + r * ldc, room + r * width, (size_t)width * sizeof *c);
}

void ltn__rows_product(int64_t m, int64_t k, int64_t panels, const real *a, int64_t lda, const real *b, int64_t next,
                       real *c, int64_t ldc)
{
    const int level = ltn__level();
    const int64_t step = level == 4 ? 8 : 6;
    for (int64_t i = 0; i < m; i += step) {
        const real *row[LTN_EIGHT];
        for (int64_t r = 0; r < LTN_EIGHT; r++) row[r] = a + LTN_MIN(i + r, m - 1) * lda;
        if (m - i >= step) whole_rows(level, k, panels, row, b, next, c + i * ldc, ldc);
        else some_rows(level, m - i, k, panels, row, b, next, c + i * ldc, ldc);
    }
}

/* ---- All in panels: a row of A is 16 numbers, then 16 of the next panel, which is `next` numbers away ----
 */

typedef void strip(int64_t k, const real *a, int64_t next, const real *b, real *c, bool add);

#define STRIP(name, level, rows, columns, bytes)                                                           \
    level static void name(int64_t k, const real *a, int64_t next, const real *b, real *c, bool add)       \
    {                                                                                                      \
        typedef real vec __attribute__((vector_size(bytes)));                                              \
        enum { WIDTH = (columns) * sizeof(real) / bytes, STEP = LTN_TILE_N * sizeof(real) / bytes };       \
        const vec *restrict row = (const vec *)b;                                                          \
        vec sum[rows][WIDTH] = {0}, *out = (vec *)c;                                                       \
        if (add)                                                                                           \
            UNROLL for (int r = 0; r < rows; r++)                                                          \
                for (int j = 0; j < WIDTH; j++) sum[r][j] = out[r * STEP + j];                             \
        for (; k > 0; k -= LTN_TILE_N, a += next)                                                          \
            for (int64_t i = 0; i < LTN_MIN(k, LTN_TILE_N); i++, row += STEP)                              \
                UNROLL for (int r = 0; r < rows; r++)                                                      \
                    for (int j = 0; j < WIDTH; j++) sum[r][j] += a[r * LTN_TILE_N + i] * row[j];           \
        UNROLL for (int r = 0; r < rows; r++)                                                              \
            for (int j = 0; j < WIDTH; j++) out[r * STEP + j] = sum[r][j];                                 \
    }
STRIP(four_short, , 4, LTN_TILE_N, 16)
STRIP(four, LTN_KERNEL_V3, 4, LTN_TILE_N, 32)
STRIP(strip_of_8, LTN_KERNEL_V4, 8, LTN_TILE_N, 64)
STRIP(strip_of_16, LTN_KERNEL_V4, 16, LTN_TILE_N, 64)
STRIP(strip_of_24, LTN_KERNEL_V4, 24, LTN_TILE_N, 64)
/* Where no more columns are there than half a panel has. */
STRIP(half_short, , 4, LTN_TILE_N / 2, 16)
STRIP(half_middle, LTN_KERNEL_V3, 8, LTN_TILE_N / 2, 32)
STRIP(half_of_8, LTN_KERNEL_V4, 8, LTN_TILE_N / 2, 32)
STRIP(half_of_16, LTN_KERNEL_V4, 16, LTN_TILE_N / 2, 32)
STRIP(half_of_24, LTN_KERNEL_V4, 24, LTN_TILE_N / 2, 32)

void ltn__panel_product(int64_t first, int64_t m, int64_t n, int64_t k, ltn_panels a, ltn_panels b,
                        ltn_panels c, bool add)
{
    static strip *const longest[2][3] = {{strip_of_8, strip_of_16, strip_of_24}, {half_of_8, half_of_16, half_of_24}};
    static strip *const shorter[2][2] = {{four_short, four}, {half_short, half_middle}};
    const int level = ltn__level();
    const int64_t end = first + ltn__eights(m);
    for (int64_t p = 0; p < ltn__panels(n); p++) {
        const bool half = n - p * LTN_TILE_N <= LTN_TILE_N / 2;
        for (int64_t i = first, rows; i < end; i += rows) {
            rows = level == 4 ? LTN_MIN(end - i, LTN_TILE_M) : half && level == 3 ? 8 : 4;
            real *to = c.v + (p * c.rows + i) * LTN_TILE_N;
            (level == 4 ? longest[half][rows / LTN_EIGHT - 1] : shorter[half][level == 3])(
                k, a.v + i * LTN_TILE_N, a.rows * LTN_TILE_N, b.v + p * b.rows * LTN_TILE_N, to, add);
        }
    }
}
