/* real_math.h - exp, sigmoid, tanh and erf as straight polynomial code that compilers turn into vector code,
 * good to about 1e-7 relative (minimax fits by Lawson's weighted least squares); the double build calls the C
 * library instead. */
#ifndef LTN_REAL_MATH_H
#define LTN_REAL_MATH_H

#include "../graph.h"

#include <math.h>
#include <string.h>

static inline float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline real real_sqrt(real x)
{
    return sizeof(real) == sizeof(double) ? (real)sqrt((double)x) : (real)sqrtf((float)x);
}

/* e^x = 2^n e^r with x = n ln 2 + r, |r| <= ln 2 / 2; returns e^r by a polynomial, and n + 256 in *whole. */
static inline float exp_parts(float x, uint32_t *whole)
{
    const float round = 12582912; /* 1.5 2^23: adding it leaves the nearest whole number in the low bits */
    const float t = x * 1.44269504f + round, n = t - round;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.381446674e-3f;
    p = p * r + 8.368780429e-3f;
    p = p * r + 4.166839422e-2f;
    p = p * r + 1.666652011e-1f;
    p = p * r + 4.999999341e-1f;
    uint32_t bits;
    memcpy(&bits, &t, sizeof bits);
    *whole = bits - 0x4b400000u + 256;
    return p * (r * r) + r + 1;
}

/* For |x| < 87, where 2^n is a normal number; its exponent bits are n + 127. */
static inline float short_exp(float x)
{
    uint32_t whole;
    const float p = exp_parts(x, &whole);
    return p * from_bits((whole - 129) << 23);
}

#define LTN_LOG2_E 1.4426950408889634

/* 2^x for x <= 0; below -126 it stays at 2^-126, where the weights of a softmax are nothing. x = n + r, |r| <= 1/2: a
 * polynomial of r, to whose exponent n is added. */
static inline real falling_exp2(real value)
{
    if (sizeof(real) == sizeof(double)) return (real)exp2((double)value);
    const float round = 12582912; /* 1.5 2^23, as above */
    float x = (float)value;
    x = x < -126 ? -126 : x;
    const float t = x + round, r = x - (t - round);
    float p = 1.327647206e-03f;
    p = p * r + 9.675541397e-03f;
    p = p * r + 5.550713274e-02f;
    p = p * r + 2.402211972e-01f;
    p = p * r + 6.931469671e-01f;
    p = p * r + 1.000000072e+00f;
    uint32_t whole, bits;
    memcpy(&whole, &t, sizeof whole);
    memcpy(&bits, &p, sizeof bits);
    return (real)from_bits(bits + (whole << 23));
}

/* For 1 <= x <= 2^126: x = 2^n m, log m = 2 artanh s with s = (m - 1) / (m + 1), |s| <= 0.172. */
static inline real fast_log(real value)
{
    if (sizeof(real) == sizeof(double)) return (real)log((double)value);
    const float x = (float)value;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t n = (bits - 0x3f3504f3u) >> 23; /* from sqrt(1/2) on */
    const float m = from_bits(bits - (n << 23)), s = (m - 1) / (m + 1), ss = s * s;
    const float series = 2 + ss * (2 / 3.f + ss * (2 / 5.f + ss * (2 / 7.f + ss * (2 / 9.f))));
    return (real)((float)(int32_t)n * 0.693147181f + s * series);
}

/* 2^n in two factors, so that the ends of float's range come out as 0 and infinity. */
static inline real fast_exp(real value)
{
    if (sizeof(real) == sizeof(double)) return (real)exp((double)value);
    float x = (float)value;
    x = x < -104 ? -104 : x;
    x = x > 89 ? 89 : x;
    uint32_t whole;
    const float p = exp_parts(x, &whole);
    const uint32_t half = whole >> 1;
    return (real)(p * from_bits((half - 1) << 23) * from_bits((whole - half - 1) << 23));
}

static inline real fast_sigmoid(real x)
{
    return 1 / (1 + fast_exp(-x));
}

static inline real fast_tanh(real value)
{
    if (sizeof(real) == sizeof(double)) return (real)tanh((double)value);
    const float x = (float)value, s = x * x;
    float a = x < 0 ? -x : x;
    a = a > 20 ? 20 : a;
    float p = -5.704986328e-3f;
    p = p * s + 2.063908657e-2f;
    p = p * s - 5.373971485e-2f;
    p = p * s + 1.333144219e-1f;
    p = p * s - 3.333328194e-1f;
    const float small = p * s * x + x, large = 1 - 2 / (short_exp(2 * a) + 1);
    return (real)(a < 0.625f ? small : x < 0 ? -large : large);
}

/* Up to 1 an odd polynomial; beyond, 1 - e^-q(x), where q is a polynomial fitted to -log(erfc). */
static inline real fast_erf(real value)
{
    if (sizeof(real) == sizeof(double)) return (real)erf((double)value);
    const float x = (float)value, s = x * x;
    float a = x < 0 ? -x : x, p = -5.631421996e-4f;
    p = p * s + 4.917551372e-3f;
    p = p * s - 2.671131126e-2f;
    p = p * s + 1.128018011e-1f;
    p = p * s - 3.761232619e-1f;
    p = p * s + 1.283791225e-1f;
    const float small = p * x + x;
    const bool near = a < 1;
    a = a > 4 ? 4 : a;
    float q = 1.150419515e-3f;
    q = q * a - 1.477810065e-2f;
    q = q * a + 8.863411785e-2f;
    q = q * a + 6.544890275e-1f;
    q = q * a + 1.117438426e+0f;
    q = q * a + 2.671717868e-3f;
    const float large = 1 - short_exp(-q);
    return (real)(near ? small : x < 0 ? -large : large);
}

#endif
