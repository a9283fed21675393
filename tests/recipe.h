/* recipe.h - weights and inputs by the formula that tools/golden/model.py shares, and safetensors files made
 * of them: names and shapes are read from tests/golden/model/X.names. */
#ifndef LTN_RECIPE_H
#define LTN_RECIPE_H

#include "model/model.h"

#include "test.h"

#define PRIOR LTN_SOURCE_ROOT "/models/prior"

/* ---- The formula ---- */

static inline uint32_t hash(const char *s)
{
    uint32_t h = 2166136261u;
    while (*s) h = (h ^ (uint8_t)*s++) * 16777619u;
    return h;
}

/* A whole number in [-128, 127]. */
static inline int noise(uint32_t h, uint32_t i)
{
    uint32_t x = i * 2654435761u + h;
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    return (int)(x >> 24) - 128;
}

/* Of a weight: norms near 1, biases small, products scaled by the number of their terms. */
typedef struct rule {
    double offset, scale;
    int step; /* k counts in steps of this */
} rule;
static inline rule rule_of(const char *name, int rank, double fan_in)
{
    const size_t n = strlen(name);
    const double faint = strstr(name, "conv_in.") ? 1 / 64. : 1; /* the epsilon of the first norm shows */
    if (n > 6 && !strcmp(name + n - 6, ".alpha")) return (rule){2, 1 / 128., 1};
    if (rank == 1 && n > 7 && !strcmp(name + n - 7, ".weight")) return (rule){1, 1 / 128., 4};
    if (rank == 1) return (rule){0, faint / 512, 1};
    if (strstr(name, "embedding.weight")) return (rule){0, 1 / 128., 1};
    return (rule){0, exp2(floor(0.5 * log2(3 / fan_in) + 0.5)) * faint / 128, 1};
}

static inline float weight_value(rule r, int k)
{
    return (float)(r.offset + r.scale * floor(k / (double)r.step));
}

static inline float *values(const char *name, size_t n, double scale)
{
    float *v = malloc(n * sizeof *v);
    const uint32_t h = hash(name);
    for (size_t i = 0; i < n; i++) v[i] = (float)(noise(h, (uint32_t)i) / 128. * scale);
    return v;
}

/* ---- Weight files ---- */

typedef struct recipe {
    const char *names; /* tests/golden/model/X.names */
    ltn_dtype dtype;
    void (*rename)(const char *name, char *out, size_t size); /* as other versions of the file call it */
    const char *without, *with; /* a weight to leave out, one to add */
    const char *misshapen, *not_finite;
} recipe;

/* The values of the formula are exact in every type. */
static inline uint16_t f16_of(uint32_t b)
{
    const uint32_t sign = b >> 16 & 0x8000, exponent = b >> 23 & 255, fraction = b >> 13 & 1023;
    if (exponent == 255) return (uint16_t)(sign | 0x7e00);
    if (exponent > 112) return (uint16_t)(sign | (exponent - 112) << 10 | fraction);
    return (uint16_t)(sign | (exponent < 102 ? 0 : (1024 | fraction) >> (113 - exponent)));
}

static inline size_t put(uint8_t *to, ltn_dtype type, float v)
{
    uint32_t b;
    memcpy(&b, &v, 4);
    const uint16_t half = type == LTN_F16 ? f16_of(b) : (uint16_t)(b >> 16);
    if (type == LTN_F32) memcpy(to, &b, 4);
    else memcpy(to, &half, 2);
    return type == LTN_F32 ? 4 : 2;
}

typedef struct tensor_file {
    char *header;
    uint8_t *data;
    size_t header_size, data_size;
} tensor_file;

/* Grows to the next power of two. */
static inline void *room_for(void *p, size_t used, size_t more)
{
    size_t old = 1, room = 1;
    while (old < used) old *= 2;
    while (room < used + more) room *= 2;
    return p && room == old ? p : realloc(p, room);
}

static inline void append(tensor_file *f, const recipe *r, const char *name, int rank, const long *dim)
{
    static const char *const types[] = {[LTN_F32] = "F32", [LTN_F16] = "F16", [LTN_BF16] = "BF16"};
    char other[200];
    long n = 1;
    for (int k = 0; k < rank; k++) n *= dim[k];
    const size_t begin = f->data_size;
    f->header = room_for(f->header, f->header_size, 512);
    f->data = room_for(f->data, begin, (size_t)n * 4);
    const rule law = rule_of(name, rank, (double)n / (double)dim[0]);
    const uint32_t seed = hash(name);
    for (long i = 0; i < n; i++) {
        const bool bad = r->not_finite && !strcmp(r->not_finite, name) && i == n / 2;
        const float v = bad ? NAN : weight_value(law, noise(seed, (uint32_t)i));
        f->data_size += put(f->data + f->data_size, r->dtype, v);
    }
    if (r->rename) r->rename(name, other, sizeof other);
    char *h = f->header + f->header_size;
    h += sprintf(h, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", f->header_size ? "," : "{",
                 r->rename ? other : name, types[r->dtype]);
    for (int k = 0; k < rank; k++) h += sprintf(h, "%s%ld", k ? "," : "", dim[k]);
    h += sprintf(h, "],\"data_offsets\":[%zu,%zu]}", begin, f->data_size);
    f->header_size = (size_t)(h - f->header);
}

static inline const char *golden_name(const char *name, const char *ending)
{
    char file[128];
    snprintf(file, sizeof file, "model/%s%s", name, ending);
    return test_golden(file);
}

/* A whole safetensors file. */
static inline uint8_t *cook(const recipe *r, size_t *size)
{
    char line[256], name[200];
    tensor_file f = {0};
    FILE *in = fopen(golden_name(r->names, ".names"), "r");
    while (in && fgets(line, sizeof line, in)) {
        long d[4] = {1, 1, 1, 1};
        const int rank = sscanf(line, "%199s %ld %ld %ld %ld", name, &d[0], &d[1], &d[2], &d[3]) - 1;
        if (r->without && !strcmp(r->without, name)) continue;
        if (r->misshapen && !strcmp(r->misshapen, name)) d[0]++;
        append(&f, r, name, rank, d);
    }
    if (in) fclose(in);
    if (r->with) append(&f, r, r->with, 1, (const long[]){3});
    const uint64_t header = (f.header_size + 1 + 7) / 8 * 8;
    uint8_t *p = malloc(8 + header + f.data_size);
    memcpy(p, &header, 8);
    memset(p + 8, ' ', header);
    memcpy(p + 8, f.header, f.header_size);
    p[8 + f.header_size] = '}';
    memcpy(p + 8 + header, f.data, f.data_size);
    *size = 8 + header + f.data_size;
    free(f.header);
    free(f.data);
    return p;
}

/* ---- Golden values ---- */

enum { STRIDE = 7 };
/* Holds an answer against the golden one of that name. */
static inline void against_golden(ltn_ctx *ctx, const char *file, const char *name, const float *out, size_t n,
                                  double tolerance)
{
    ltn_tensors *t;
    OK(ctx, ltn__tensors_open(ctx, test_golden(file), &t));
    const ltn_weight *w = t ? ltn__tensors_find(t, name) : NULL;
    if (!w) test_fail(__FILE__, __LINE__, "no golden value %s", name);
    if (!w || !out) {
        ltn__tensors_close(&t);
        return;
    }
    const size_t stride = n > 4096 ? STRIDE : 1, kept = (n + stride - 1) / stride;
    float *some = malloc(kept * sizeof *some);
    for (size_t i = 0; i < kept; i++) some[i] = out[i * stride];
    CHECK(w->rank == 1 && w->dim[0] == (int64_t)kept);
    const double e = (size_t)w->dim[0] == kept ? test_error(some, w->data, kept) : INFINITY;
    if (!(e <= tolerance))
        test_fail(__FILE__, __LINE__, "%s: error %.3g of the range, tolerance %g", name, e, tolerance);
    free(some);
    ltn__tensors_close(&t);
}

#endif
