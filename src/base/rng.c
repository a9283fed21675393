/* rng.c - counter-based random numbers: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers:
 * as easy as 1, 2, 3", SC 2011), and normals from it by Box-Muller.
 *
 * The counter of block i of stream s is (i, s), the key is the seed. A normal takes half a block pair:
 * n(2j) = sqrt(-2 ln u) cos(2 pi v), n(2j + 1) = sqrt(-2 ln u) sin(2 pi v), with u, v from block j. */
#include <math.h>

#include "base.h"

enum { ROUNDS = 10 };

void ltn__philox(ltn_rng r, uint64_t i, uint32_t out[4])
{
    uint32_t k0 = (uint32_t)r.seed, k1 = (uint32_t)(r.seed >> 32);
    uint32_t a = (uint32_t)i, b = (uint32_t)(i >> 32), c = (uint32_t)r.stream, d = (uint32_t)(r.stream >> 32);
    for (int round = 0; round < ROUNDS; round++) {
        const uint64_t p = (uint64_t)0xD2511F53u * a, q = (uint64_t)0xCD9E8D57u * c;
        a = (uint32_t)(q >> 32) ^ b ^ k0;
        b = (uint32_t)q;
        c = (uint32_t)(p >> 32) ^ d ^ k1;
        d = (uint32_t)p;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
}

/* The 53 leading bits of (hi, lo), in [0, 1). */
static double unit(uint32_t hi, uint32_t lo)
{
    return (double)(((uint64_t)hi << 32 | lo) >> 11) * 0x1p-53;
}

double ltn__uniform(ltn_rng r, uint64_t i)
{
    uint32_t w[4];
    ltn__philox(r, i, w);
    return unit(w[0], w[1]);
}

static void pair(ltn_rng r, uint64_t j, double out[2])
{
    uint32_t w[4];
    ltn__philox(r, j, w);
    const double radius = sqrt(-2 * log(1 - unit(w[0], w[1])));
    const double angle = 6.283185307179586476925 * unit(w[2], w[3]);
    out[0] = radius * cos(angle);
    out[1] = radius * sin(angle);
}

double ltn__normal(ltn_rng r, uint64_t i)
{
    double n[2];
    pair(r, i / 2, n);
    return n[i % 2];
}

void ltn__normals(ltn_rng r, uint64_t first, float *out, size_t n)
{
    size_t k = 0;
    if (n && first % 2) out[k++] = (float)ltn__normal(r, first);
    for (; k + 1 < n; k += 2) {
        double two[2];
        pair(r, (first + k) / 2, two);
        out[k] = (float)two[0];
        out[k + 1] = (float)two[1];
    }
    if (k < n) out[k] = (float)ltn__normal(r, first + k);
}
