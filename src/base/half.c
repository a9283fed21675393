/* half.c - f16 as float, and back: a sign, five bits of exponent with a bias of 15, ten of fraction (IEEE 754
 * binary16). By the processor's own instruction where it has one, else by whole numbers; both are exact. */
#include "half.h"

#include <string.h>

static inline float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* The exponent's bias grows by 112. f16's subnormals are read as 2^-14 (1 + fraction) less 2^-14; infinity and what is
 * no number keep the highest exponent. No branch, and no subnormal float, so this is fast vector code. */
static inline float from_half(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    const uint32_t endless = -(uint32_t)(rest >= 0x7c00u << 13) & 0x7f800000u;
    const float normal = from_bits((rest + (112u << 23)) | endless);
    const float small = from_bits(rest + (113u << 23)) - 0x1p-14f;
    const float value = rest < 1u << 23 ? small : normal;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return from_bits(sign | bits);
}

static void widen(const char *p, int64_t n, float *restrict out)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, p + 2 * i, sizeof h);
        out[i] = from_half(h);
    }
}

/* To the nearest multiple of f16's last place. Adding 1/2 to a number below 2^-14 leaves its f16 in the sum's last
 * bits. */
static inline uint16_t to_half(float f)
{
    uint32_t bits, sum;
    memcpy(&bits, &f, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    const float raised = from_bits(rest) + 0.5f;
    memcpy(&sum, &raised, sizeof sum);
    if (rest > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (rest >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
    if (rest < 113u << 23) return (uint16_t)(sign | (sum - (126u << 23)));
    return (uint16_t)(sign | (rest - (112u << 23) + 0xfff + (rest >> 13 & 1)) >> 13);
}

static void narrow(const float *p, int64_t n, uint16_t *restrict out)
{
    for (int64_t i = 0; i < n; i++) out[i] = to_half(p[i]);
}

#ifdef LTN_CLONES
#include <immintrin.h>

LTN_KERNEL_V3 static void widen_by_eight(const char *p, int64_t n, float *restrict out)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128i h;
        memcpy(&h, p + 2 * i, sizeof h);
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(h));
    }
    widen(p + 2 * i, n - i, out + i);
}

LTN_KERNEL_V3 static void narrow_by_eight(const float *p, int64_t n, uint16_t *restrict out)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m128i h = _mm256_cvtps_ph(_mm256_loadu_ps(p + i), _MM_FROUND_TO_NEAREST_INT);
        memcpy(out + i, &h, sizeof h);
    }
    narrow(p + i, n - i, out + i);
}

void ltn__to_halves(const float *p, int64_t n, uint16_t *out)
{
    (ltn__level() >= 3 ? narrow_by_eight : narrow)(p, n, out);
}

void ltn__halves(const void *p, int64_t n, float *out)
{
    (ltn__level() >= 3 ? widen_by_eight : widen)(p, n, out);
}
#else
void ltn__to_halves(const float *p, int64_t n, uint16_t *out)
{
    narrow(p, n, out);
}

void ltn__halves(const void *p, int64_t n, float *out)
{
    widen(p, n, out);
}
#endif
