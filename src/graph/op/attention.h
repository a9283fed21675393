/* attention.h - what attention and its gradients share. */
#ifndef LTN_ATTENTION_H
#define LTN_ATTENTION_H

#include "../graph.h"

/* The vjp of attention, whose work is attention_dx's. */
void ltn__attention_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc);

/* The examples' shapes. */
enum { LTN_ATTENTION_CASES = 5 };
typedef struct ltn_attention_case {
    int64_t n, t, s, c;
    int heads;
    bool causal;
} ltn_attention_case;
const ltn_attention_case *ltn__attention_case(int k);

#endif
