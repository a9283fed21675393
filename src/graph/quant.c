/* quant.c - weights in eight bits and in blocks: fp8 (Micikevicius et al. 2022, arXiv 2209.05433) and the block formats
 * of GGUF files (github.com/ggml-org/ggml): some whole numbers q with a scale d, and a shift m where the name ends with
 * 1 or K; the value is d q + m. Blocks of 256 (K) have scales of their own for every 16 or 32 values. */
#include "../base/half.h"
#include "graph.h"

#include <math.h>
#include <string.h>

static float half_at(const uint8_t *p)
{
    float f;
    ltn__halves((const char *)p, 1, &f);
    return f;
}

/* ---- fp8: sign, exponent, fraction ---- */
static void e4m3(const uint8_t *p, float *y)
{
    const int e = *p >> 3 & 15, f = *p & 7;
    const float v = e ? ldexpf((float)(8 + f), e - 10) : ldexpf((float)f, -9);
    *y = e == 15 && f == 7 ? NAN : *p & 128 ? -v : v;
}

static void e5m2(const uint8_t *p, float *y)
{
    const uint8_t wide[2] = {0, *p}; /* the upper half of an f16 */
    *y = half_at(wide);
}

/* ---- Blocks of 32 ---- */
static void q8_0(const uint8_t *p, float *y)
{
    const float d = half_at(p);
    for (int i = 0; i < 32; i++) y[i] = (float)(int8_t)p[2 + i] * d;
}

static void q4_0(const uint8_t *p, float *y)
{
    const float d = half_at(p);
    for (int i = 0; i < 16; i++) {
        y[i] = (float)((p[2 + i] & 15) - 8) * d;
        y[i + 16] = (float)((p[2 + i] >> 4) - 8) * d;
    }
}

static void q4_1(const uint8_t *p, float *y)
{
    const float d = half_at(p), m = half_at(p + 2);
    for (int i = 0; i < 16; i++) {
        y[i] = (float)(p[4 + i] & 15) * d + m;
        y[i + 16] = (float)(p[4 + i] >> 4) * d + m;
    }
}

/* The fifth bits stand apart, in four bytes. */
static void fives(const uint8_t *high, const uint8_t *low, int *q)
{
    const uint32_t bits = high[0] | (uint32_t)high[1] << 8 | (uint32_t)high[2] << 16 | (uint32_t)high[3] << 24;
    for (int i = 0; i < 16; i++) {
        q[i] = (low[i] & 15) | (int)(bits >> i & 1) << 4;
        q[i + 16] = low[i] >> 4 | (int)(bits >> (i + 16) & 1) << 4;
    }
}

static void q5_0(const uint8_t *p, float *y)
{
    int q[32];
    const float d = half_at(p);
    fives(p + 2, p + 6, q);
    for (int i = 0; i < 32; i++) y[i] = (float)(q[i] - 16) * d;
}

static void q5_1(const uint8_t *p, float *y)
{
    int q[32];
    const float d = half_at(p), m = half_at(p + 2);
    fives(p + 4, p + 8, q);
    for (int i = 0; i < 32; i++) y[i] = (float)q[i] * d + m;
}

/* ---- Blocks of 256 ---- */

/* Scale and shift of the k-th eighth, six bits each in twelve bytes. */
static void sixes(const uint8_t *p, int k, int *scale, int *shift)
{
    if (k < 4) {
        *scale = p[k] & 63;
        *shift = p[k + 4] & 63;
    } else {
        *scale = (p[k + 4] & 15) | (p[k - 4] >> 6) << 4;
        *shift = p[k + 4] >> 4 | (p[k] >> 6) << 4;
    }
}

static void q4_k(const uint8_t *p, float *y)
{
    const float d = half_at(p), m = half_at(p + 2);
    for (int k = 0; k < 8; k++) {
        int scale, shift;
        sixes(p + 4, k, &scale, &shift);
        const float dk = d * (float)scale, mk = m * (float)shift;
        const uint8_t *q = p + 16 + k / 2 * 32;
        for (int i = 0; i < 32; i++) y[32 * k + i] = dk * (float)(k % 2 ? q[i] >> 4 : q[i] & 15) - mk;
    }
}

static void q5_k(const uint8_t *p, float *y)
{
    const float d = half_at(p), m = half_at(p + 2);
    for (int k = 0; k < 8; k++) {
        int scale, shift;
        sixes(p + 4, k, &scale, &shift);
        const float dk = d * (float)scale, mk = m * (float)shift;
        const uint8_t *high = p + 16, *q = p + 48 + k / 2 * 32;
        for (int i = 0; i < 32; i++)
            y[32 * k + i] = dk * (float)((k % 2 ? q[i] >> 4 : q[i] & 15) | (high[i] >> k & 1) << 4) - mk;
    }
}

static void q6_k(const uint8_t *p, float *y)
{
    const float d = half_at(p + 208);
    for (int k = 0; k < 8; k++) { /* runs of 32 */
        const uint8_t *low = p + k / 4 * 64 + k % 2 * 32, *high = p + 128 + k / 4 * 32;
        for (int i = 0; i < 32; i++) {
            const int q = (k % 4 < 2 ? low[i] & 15 : low[i] >> 4) | (high[i] >> 2 * (k % 4) & 3) << 4;
            y[32 * k + i] = d * (float)(int8_t)p[192 + 2 * k + i / 16] * (float)(q - 32);
        }
    }
}

static const ltn_block_type types[] = {
    [LTN_F8_E4M3] = {"f8_e4m3", 1, 1, e4m3}, [LTN_F8_E5M2] = {"f8_e5m2", 1, 1, e5m2},
    [LTN_Q8_0] = {"q8_0", 32, 34, q8_0},     [LTN_Q4_0] = {"q4_0", 32, 18, q4_0},
    [LTN_Q4_1] = {"q4_1", 32, 20, q4_1},     [LTN_Q5_0] = {"q5_0", 32, 22, q5_0},
    [LTN_Q5_1] = {"q5_1", 32, 24, q5_1},     [LTN_Q4_K] = {"q4_k", 256, 144, q4_k},
    [LTN_Q5_K] = {"q5_k", 256, 176, q5_k},   [LTN_Q6_K] = {"q6_k", 256, 210, q6_k},
};

const ltn_block_type *ltn__block_type(ltn_dtype d)
{
    return d >= LTN_F8_E4M3 && d <= LTN_Q6_K ? &types[d] : NULL;
}
