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

/* Depths go by sixteen; what is missing to that is zeros, in A and in B. */
static inline int64_t ltn__sixteens(int64_t k) { return (k + LTN_TILE_N - 1) / LTN_TILE_N * LTN_TILE_N; }
/* Rows come in strips of 24, columns in panels of 16. */
static inline int64_t ltn__strips(int64_t rows) { return (rows + LTN_TILE_M - 1) / LTN_TILE_M; }
/* A strip of `tile` rows, [k / 16][tile][16], and a panel of 16 columns, [k][16], have a head each: for every row or
 * column the sum that is subtracted, then for every one what its products are multiplied by in the end. */
enum { LTN_STRIP_HEAD = 2 * LTN_TILE_M, LTN_PANEL_HEAD = 2 * LTN_TILE_N };
/* Scales `rows` rows of the strip a, or all of the panel b, and makes the head; all 64-byte aligned. */
void ltn__pairs_strip(int64_t rows, int64_t k, real *a, int64_t tile, real *head);
void ltn__pairs_panel(int64_t k, real *b, real *head);
/* C = A B or C += A B: `rows` rows of C (at most 24, in eights: there must be room) stand ldc apart, 16 columns. */
void ltn__pairs_product(int64_t rows, int64_t k, const real *a, int64_t tile, const real *a_head, const real *b,
                        const real *b_head, real *c, int64_t ldc, bool add);

#endif
