/* store.h - a value kept outside of any plan, a few rows in a block, so that one takes the memory that another gives
 * back: as it is, or as 16-bit whole numbers with a scale for each row and channel (an error of 1/65534 of the
 * largest number there). */
#ifndef LTN_STORE_H
#define LTN_STORE_H

#include "graph.h"

typedef struct ltn_store {
    int64_t rows, width, c;
    bool rounded;
    int64_t block; /* rows in one piece of memory: large ones go back to the system when they are freed */
    void **row;    /* NULL: nothing is kept */
    int64_t gone; /* rows given back */
} ltn_store;

ltn_status ltn__store_open(ltn_ctx *ctx, ltn_dims dims, bool rounded, ltn_store *out);
void ltn__store_close(ltn_ctx *ctx, ltn_store *s);
size_t ltn__store_bytes(ltn_dims dims, bool rounded);
/* Rows [first, first + n) from x. */
ltn_status ltn__store_put(ltn_ctx *ctx, ltn_store *s, int64_t first, int64_t n, const real *x, int threads);
void ltn__store_get(const ltn_store *s, int64_t first, int64_t n, real *x, int threads);
/* Gives back the rows before `end`. */
void ltn__store_drop(ltn_ctx *ctx, ltn_store *s, int64_t end);

#endif
