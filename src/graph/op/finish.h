/* finish.h - what our own product kernels do behind a sum while it is in the cache: the activations that they know,
 * and sums with a bias or a residual. */
#ifndef LTN_FINISH_H
#define LTN_FINISH_H

#include "real_math.h"

static inline bool can_finish(const ltn_fusion *f)
{
    return !f->activation || f->activation == &ltn__op_relu || f->activation == &ltn__op_silu;
}

/* op as can_finish allows; NULL: none */
static inline void activate(const ltn_op *op, real *y, int64_t n)
{
    if (op == &ltn__op_relu) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++) y[j] = y[j] > 0 ? y[j] : 0;
    } else if (op == &ltn__op_silu) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++) y[j] = y[j] * fast_sigmoid(y[j]);
    }
}

/* y += x */
static inline void add(real *y, const real *x, int64_t n)
{
#pragma omp simd
    for (int64_t j = 0; j < n; j++) y[j] += x[j];
}

#endif
