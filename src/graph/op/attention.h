/* attention.h - what attention and its gradients share. A head's arrays are brought into panels (tile.h);
 * scores are made for QUERIES queries at once, transposed: panels of 16 queries with a row for each key. */
#ifndef LTN_ATTENTION_H
#define LTN_ATTENTION_H

#include "pairs.h"

enum { LTN_QUERIES = 256 };

typedef struct ltn_attention {
    int64_t images, heads, c, d, queries, keys; /* numbers of a token, of a head; tokens */
    int64_t rows, tall;                         /* keys, d in eights */
    bool causal;
} ltn_attention;
/* i[0]: heads, i[1]: causal */
ltn_attention ltn__attention_of(const ltn_node *n, const ltn_node *q, const ltn_node *k);

/* The next part of the scratch, or NULL while only its size is asked for: *at counts the numbers. */
static inline real *ltn__take(real *scratch, int64_t *at, int64_t numbers)
{
    real *part = scratch ? scratch + *at : NULL;
    *at += (numbers + 15) / 16 * 16;
    return part;
}

/* A matrix in panels, with its heads where pairs pay. */
static inline ltn_paired ltn__take_paired(real *scratch, int64_t *at, int64_t rows, int64_t columns, int64_t heads)
{
    ltn_paired p = {{ltn__take(scratch, at, rows * ltn__panels(columns) * LTN_TILE_N), rows}, NULL};
    if (ltn__pairs()) p.heads = ltn__take(scratch, at, heads);
    return p;
}

/* x, `count` tokens c apart, into panels with room for out.rows: as it is (count, d), or transposed (d,
 * count). */
void ltn__attention_pack(const ltn_attention *a, const real *x, int64_t count, ltn_panels out);
void ltn__attention_pack_transposed(const ltn_attention *a, const real *x, int64_t count, ltn_panels out);
/* And back: x becomes what is in panels, as it is, or transposed. */
void ltn__attention_unpack(const ltn_attention *a, ltn_panels from, int64_t count, real *x);
void ltn__attention_unpack_transposed(const ltn_attention *a, ltn_panels from, int64_t count, real *x);
/* No query sees a key behind its own: -infinity there. score: keys [j, j + count), queries [first, first + m). */
void ltn__attention_hide(ltn_panels score, int64_t j, int64_t count, int64_t first, int64_t m);

/* The vjp of attention, whose work is attention_dx's. */
void ltn__attention_vjp(ltn_graph *g, ltn_node *n, ltn_node *dmade, const bool *want, ltn_node **gsrc);

/* The examples' shapes. */
enum { LTN_ATTENTION_CASES = 6 };
typedef struct ltn_attention_case {
    int64_t n, t, s, c;
    int heads;
    bool causal;
} ltn_attention_case;
const ltn_attention_case *ltn__attention_case(int k);
ltn_node *ltn__attention_example(ltn_graph *g, int k); /* the node of y and L in a row */

#endif
