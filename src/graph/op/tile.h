/* tile.h - the inner product of all reference kernels: a tile of 24 rows by 16 columns of C += A B, summed in
 * registers while k runs. B lies in panels of 16 columns, k rows each, so that a row of a panel is read as
 * vectors. */
#ifndef LTN_TILE_H
#define LTN_TILE_H

#include "../graph.h"

#ifdef _OPENMP
#include <omp.h>
#endif

/* Before a loop over the rows of a tile, so that its sums stay in registers. */
#define UNROLL _Pragma("GCC unroll 24")

enum { LTN_TILE_M = 24, LTN_TILE_N = 16 };
typedef struct ltn_tile {
    _Alignas(64) real v[LTN_TILE_M][LTN_TILE_N];
} ltn_tile;

/* c[p][j] += sum over i < k of a[p][i] b[16 i + j] for the first `rows` rows; b is 64-byte aligned. The rows
 * behind those may be computed too: their pointers must be readable. */
void ltn__tile(int64_t rows, int64_t k, const real *const a[LTN_TILE_M], const real *b, ltn_tile *c);
/* Panel p of B's columns [16 p, 16 p + 16), of B's `rows` rows, zeros past `columns`; element (k, j) of B is
 * b[k row + j column]. */
void ltn__panel(int64_t rows, int64_t columns, int64_t p, const real *b, int64_t row, int64_t column,
                real *out);
/* The other way round: panel p into its columns of B. */
void ltn__unpanel(int64_t rows, int64_t columns, int64_t p, const real *panel, real *b, int64_t row, int64_t column);
/* Panel p of the matrix w^T, for a weight w of `rows` rows by `depth` where it lies in its file: depth [first,
 * first + n), zeros past the rows; n <= LTN_SLICE. */
enum { LTN_SLICE = 1280 };
void ltn__weight_panel(const ltn_weight *w, int64_t rows, int64_t depth, int64_t p, int64_t first, int64_t n,
                       real *out);
/* How many of the threads earn the cost of waking them: one for every few million multiplications. */
static inline int ltn__worth(int threads, double multiplications)
{
    return (int)LTN_MIN((double)threads, 1 + multiplications / 2e6);
}
/* Which thread of a parallel region this is. */
static inline int ltn__thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}
static inline int64_t ltn__panels(int64_t columns) { return (columns + LTN_TILE_N - 1) / LTN_TILE_N; }

/* C = A B + bias: C (m, n), rows ldc apart, A (m, k), rows lda apart, B in panels; bias may be NULL. */
void ltn__product(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *panels,
                  const real *bias, real *c, int64_t ldc);
/* ---- Products of rows with panels ----
 * C += A B for rows that lie lda and ldc apart: m of them, and up to LTN_WIDE panels, each of k
 * rows, `next` numbers apart. All C's columns must be there. Callers slice k so that the panels stay in the
 * innermost cache. */
enum { LTN_WIDE = 3 };
void ltn__rows_product(int64_t m, int64_t k, int64_t panels, const real *a, int64_t lda, const real *b, int64_t next,
                       real *c, int64_t ldc);
/* ---- Products where all is in panels ----
 * Element (r, j) of a matrix in panels of `rows` rows each stands at (j / 16 rows + r) 16 + j % 16. The rows
 * that are made come in eights: A and C have room for those, B's k is exact. */
enum { LTN_EIGHT = 8 };
static inline int64_t ltn__eights(int64_t rows) { return (rows + LTN_EIGHT - 1) / LTN_EIGHT * LTN_EIGHT; }
typedef struct ltn_panels {
    real *v; /* 64-byte aligned */
    int64_t rows;
} ltn_panels;
/* C = A B or C += A B for rows [first, first + m), where `first` divides by eight, and n columns; C's columns behind
 * those may be left alone. */
void ltn__panel_product(int64_t first, int64_t m, int64_t n, int64_t k, ltn_panels a, ltn_panels b,
                        ltn_panels c, bool add);

#endif
