/* pairs.c - see pairs.h. */
#include "pairs.h"

#include <math.h>
#include <string.h>

enum { N = LTN_TILE_N, M = LTN_TILE_M };

/* AMD's processors with vectors of 64 bytes have two pipes that multiply and add, and two more that add. Others
 * do both in the same pipes. */
bool ltn__pairs(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    return ltn__level() == 4 && __builtin_cpu_is("amd");
#else
    return false;
#endif
}

/* In each sixteen of the depth five times a pair and one, then one more: the pairs begin at 0, 3, 6, 9, 12. */
enum { PAIRS = 5, APART = 3 };

/* The power of two below a mean size, which is what numbers are divided by; 1 for what is no normal number. What
 * products are multiplied by in the end is 0 for a row or column of zeros, whose sums would only cancel to rounding. */
static inline real power_below(real mean)
{
    const float size = (float)mean;
    uint32_t bits;
    memcpy(&bits, &size, sizeof bits);
    bits &= 0x7f800000; /* the exponent alone */
    if (bits == 0 || bits >= 0x7e800000) bits = 0x3f800000;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

typedef real vec __attribute__((vector_size(N * sizeof(real))));

static inline real sum_of(const real x[N])
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int l = 0; l < N; l++) sum += x[l];
    return sum;
}

LTN_KERNEL void ltn__pairs_strip(int64_t rows, int64_t k, real *a, int64_t tile, real *head)
{
    for (int64_t r = 0; r < rows; r++) {
        real size[N] = {0};
        vec product = {0};
        for (int64_t i = 0; i < k; i += N)
            for (int l = 0; l < N; l++) size[l] += fabs(a[i * tile + r * N + l]);
        const real total = sum_of(size);
        const real power = power_below(total / (real)k), scale = 1 / power;
        for (int64_t i = 0; i < k; i += N) {
            vec *x = (vec *)(a + i * tile + r * N);
            *x *= scale;
            product += *x * __builtin_shufflevector(*x, *x, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0);
        }
        head[r] = 0;
        for (int l = 0; l < PAIRS * APART; l += APART) head[r] += product[l];
        head[M + r] = total > 0 || total != total ? power : 0;
    }
}

LTN_KERNEL void ltn__pairs_panel(int64_t k, real *b, real *head)
{
    enum { SUMS = 4 }; /* at once, since one would wait for itself */
    vec *row = (vec *)b, scale = {0}, sum = {0};
    real size[SUMS][N] = {{0}};
    for (int64_t i = 0; i < k; i += SUMS)
        for (int j = 0; j < SUMS; j++)
            for (int l = 0; l < N; l++) size[j][l] += fabs(b[(i + j) * N + l]);
    for (int l = 0; l < N; l++) {
        const real total = size[0][l] + size[1][l] + (size[2][l] + size[3][l]), power = power_below(total / (real)k);
        scale[l] = 1 / power;
        head[N + l] = total > 0 || total != total ? power : 0;
    }
    for (int64_t i = 0; i < k; i += N, row += N) {
        for (int j = 0; j < N; j++) row[j] *= scale;
        for (int j = 0; j < PAIRS; j++) sum += row[APART * j] * row[APART * j + 1];
    }
    memcpy(head, &sum, sizeof sum);
}

typedef void strip(int64_t k, const real *a, int64_t next, const real *a_head, const real *b, const real *b_head,
                   real *c, int64_t ldc, bool add);

/* Terms i and i + 1 of the sixteen as a pair, and i + 2, so that additions and multiplications alternate. */
#define ONE(r, i) sum[r] += a[r * N + i] * row[i]
#define PAIR(r, i) sum[r] += (row[i + 1] + a[r * N + i]) * (row[i] + a[r * N + i + 1])
#define PAIR_AND_ONE(i)                                                                                       \
    UNROLL for (int r = 0; r < ROWS; r++)                                                                     \
    {                                                                                                         \
        ONE(r, i + 2);                                                                                        \
        PAIR(r, i);                                                                                           \
    }
#define STRIP(name, rows)                                                                                     \
    LTN_KERNEL_V4 static void name(int64_t k, const real *restrict a, int64_t next, const real *a_head,       \
                                   const real *restrict b, const real *b_head, real *c, int64_t ldc,          \
                                   bool add)                                                                  \
    {                                                                                                         \
        enum { ROWS = rows };                                                                                 \
        const vec *row = (const vec *)b, *head = (const vec *)b_head;                                         \
        vec sum[ROWS];                                                                                        \
        UNROLL for (int r = 0; r < ROWS; r++) sum[r] = -(head[0] + a_head[r]);                                \
        for (; k >= N; k -= N, a += next, row += N) {                                                         \
            PAIR_AND_ONE(0)                                                                                   \
            PAIR_AND_ONE(3)                                                                                   \
            PAIR_AND_ONE(6)                                                                                   \
            PAIR_AND_ONE(9)                                                                                   \
            PAIR_AND_ONE(12)                                                                                  \
            UNROLL for (int r = 0; r < ROWS; r++) ONE(r, 15);                                                 \
        }                                                                                                     \
        if (k > 0) {                                                                                          \
            PAIR_AND_ONE(0)                                                                                   \
            PAIR_AND_ONE(3)                                                                                   \
            UNROLL for (int r = 0; r < ROWS; r++) PAIR(r, 6);                                                 \
        }                                                                                                     \
        UNROLL for (int r = 0; r < ROWS && add; r++) *(vec *)(c + r * ldc) +=                                 \
            sum[r] * (head[1] * a_head[M + r]);                                                               \
        UNROLL for (int r = 0; r < ROWS && !add; r++) *(vec *)(c + r * ldc) =                                 \
            sum[r] * (head[1] * a_head[M + r]);                                                               \
    }
STRIP(strip_of_8, 8)
STRIP(strip_of_16, 16)
STRIP(strip_of_24, 24)

void ltn__pairs_product(int64_t rows, int64_t k, const real *a, int64_t tile, const real *a_head, const real *b,
                        const real *b_head, real *c, int64_t ldc, bool add)
{
    static strip *const longest[] = {strip_of_8, strip_of_16, strip_of_24};
    longest[ltn__eights(rows) / LTN_EIGHT - 1](k, a, tile * N, a_head, b, b_head, c, ldc, add);
}

/* ---- Whole matrices ---- */

void ltn__paired_left(ltn_paired a, int64_t rows, int64_t depth)
{
    for (int64_t r = 0; r < rows && a.heads; r += M, a.heads += LTN_STRIP_HEAD)
        ltn__pairs_strip(LTN_MIN(rows - r, M), ltn__sixteens(depth), a.at.v + r * N, a.at.rows, a.heads);
}

void ltn__paired_right(ltn_paired b, int64_t columns, int64_t there, int64_t depth)
{
    const int64_t whole = ltn__sixteens(depth);
    real *panel = b.at.v;
    for (int64_t p = 0; p < ltn__panels(columns) && b.heads; p++, panel += b.at.rows * N, b.heads += LTN_PANEL_HEAD) {
        memset(panel + there * N, 0, (size_t)((whole - there) * N) * sizeof *panel);
        ltn__pairs_panel(whole, panel, b.heads);
    }
}

void ltn__paired_product(int64_t m, int64_t n, int64_t depth, ltn_paired a, ltn_paired b, ltn_panels c, bool add)
{
    if (!a.heads) {
        ltn__panel_product(0, m, n, depth, a.at, b.at, c, add);
        return;
    }
    for (int64_t p = 0; p < ltn__panels(n); p++)
        for (int64_t r = 0; r < m; r += M)
            ltn__pairs_product(LTN_MIN(m - r, M), ltn__eights(depth), a.at.v + r * N, a.at.rows,
                               a.heads + r / M * LTN_STRIP_HEAD, b.at.v + p * b.at.rows * N,
                               b.heads + p * LTN_PANEL_HEAD, c.v + (p * c.rows + r) * N, N, add);
}
