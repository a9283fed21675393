/* exp.h - the exponential that inner loops use: 2^n e^r with n = round(x / log 2), |r| <= log(2)/2 and the Taylor series
 * to r^7 (error below 1e-8, relative), without a branch, so that compilers make vectors of it. */
#ifndef LTN_EXP_H
#define LTN_EXP_H

#include "../graph.h"

#include <math.h>
#include <string.h>

#ifdef LTN_DOUBLE
static inline real ltn__fast_exp(real x) { return exp(x); }
#else
static inline real ltn__fast_exp(real x)
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float shift = 12582912.0f; /* 1.5 2^23: adding it rounds to a whole number */
    const float n = (x * 1.44269504f + shift) - shift;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f; /* log 2 in two parts */
    const float p = 1 + r * (1 + r * (1 / 2.0f + r * (1 / 6.0f + r * (1 / 24.0f + r * (1 / 120.0f + r * (1 / 720.0f + r / 5040.0f))))));
    const int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}
#endif

#endif
