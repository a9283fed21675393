/* pairs.h - the inner product that halves multiplications, for processors that add beside multiplying (Winograd
 * 1968, "A new algorithm for inner product"):
 *
 *     a1 b1 + a2 b2 = (a1 + b2)(a2 + b1) - a1 a2 - b1 b2
 *
 * What is subtracted belongs to a row of A or to a column of B alone, and is summed once for all products of that row
 * or column. Where additions have pipes of their own, ten of sixteen terms are done so and six plainly: 11
 * multiplications where there were 16. Rows and columns are brought to one size by powers of two, without which
 * digits would be lost (Brent 1970; Higham, "Accuracy and Stability of Numerical Algorithms", 23.2.1). */
#ifndef LTN_PAIRS_H
#define LTN_PAIRS_H

#include "tile.h"

/* Whether this machine gains by it. */
bool ltn__pairs(void);

/* Depths go by sixteen, the last of them by eight; what is missing to a sixteen is zeros, in A and in B. */
static inline int64_t ltn__sixteens(int64_t k) { return (k + LTN_TILE_N - 1) / LTN_TILE_N * LTN_TILE_N; }
/* Rows come in strips of 24, columns in panels of 16. */
static inline int64_t ltn__strips(int64_t rows) { return (rows + LTN_TILE_M - 1) / LTN_TILE_M; }
/* A strip of `tile` rows, [k / 16][tile][16], and a panel of 16 columns, [k][16], have a head each: for every row or
 * column the sum that is subtracted, then for every one what its products are multiplied by in the end. */
enum { LTN_STRIP_HEAD = 2 * LTN_TILE_M, LTN_PANEL_HEAD = 2 * LTN_TILE_N };
/* Scales `rows` rows of the strip a, or all of the panel b, and makes the head; all 64-byte aligned, k in sixteens. */
void ltn__pairs_strip(int64_t rows, int64_t k, real *a, int64_t tile, real *head);
void ltn__pairs_panel(int64_t k, real *b, real *head);
/* C = A B or C += A B, k in eights: `rows` rows of C (at most 24, in eights: there must be room) stand ldc apart, 16
 * columns. */
void ltn__pairs_product(int64_t rows, int64_t k, const real *a, int64_t tile, const real *a_head, const real *b,
                        const real *b_head, real *c, int64_t ldc, bool add);

/* ---- Whole matrices in panels (tile.h), with room for heads where pairs are used; NULL where sums are plain ---- */

typedef struct ltn_paired {
    ltn_panels at;
    real *heads;
} ltn_paired;
/* Numbers of the heads of `rows` rows of A, of `columns` columns of B. */
static inline int64_t ltn__strip_heads(int64_t rows) { return ltn__strips(rows) * LTN_STRIP_HEAD; }
static inline int64_t ltn__panel_heads(int64_t columns) { return ltn__panels(columns) * LTN_PANEL_HEAD; }
/* `rows` rows of A, of which `depth` columns count, become strips. What its last panel has behind them is zeros. */
void ltn__paired_left(ltn_paired a, int64_t rows, int64_t depth);
/* The panels of `columns` columns of B become ready for products: `there` of `depth` rows are there, what is missing
 * is zeroed, up to the sixteenth, for which there must be room. */
void ltn__paired_right(ltn_paired b, int64_t columns, int64_t there, int64_t depth);
/* C = A B or C += A B for m rows of C, in eights, and n columns. Depth: with heads that of the strips, else of what
 * is there. */
void ltn__paired_product(int64_t m, int64_t n, int64_t depth, ltn_paired a, ltn_paired b, ltn_panels c, bool add);

#endif
