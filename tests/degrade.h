/* degrade.h - what the tests of degradations and noises share. */
#ifndef TEST_DEGRADE_H
#define TEST_DEGRADE_H

#include "degrade/degrade.h"
#include "file/file.h"
#include "test.h"

static inline ltn_ctx *context(void)
{
    ltn_ctx *ctx = NULL;
    if (ltn_open(&ctx, &(ltn_options){.threads = 2})) abort();
    return ctx;
}

static inline float *numbers(size_t n, uint64_t seed)
{
    float *v = malloc(n * sizeof *v);
    ltn__normals((ltn_rng){seed, 99}, 0, v, n);
    return v;
}

static inline double dot(const float *a, const float *b, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++) s += (double)a[i] * b[i];
    return s;
}

static inline double norm(const float *a, size_t n) { return sqrt(dot(a, a, n)); }

/* |a - b| / |b| */
static inline double distance(const float *a, const float *b, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++) s += pow((double)a[i] - b[i], 2);
    return sqrt(s) / fmax(norm(b, n), 1e-30);
}

/* Opening a degradation, with each of its allocations failing in turn. */
static inline void each_allocation_fails(const char *spec, int width, int height, int channels)
{
    test_name("%s", spec);
    for (long k = 1;; k++) {
        test_memory m = {0};
        const ltn_options o = test_options(&m);
        ltn_ctx *ctx = NULL;
        ltn_degradation *d = NULL;
        if (ltn_open(&ctx, &o)) abort();
        m.fail_at = m.calls + k;
        const ltn_status s = ltn_degradation_open(ctx, spec, width, height, channels, &d);
        const bool reached = m.calls >= m.fail_at;
        if (reached) CHECK(s == LTN_ENOMEM && !d);
        ltn_degradation_close(&d);
        ltn_close(&ctx);
        CHECK(m.alive == 0);
        if (!reached) break;
    }
}

/* ---- Golden files ---- */
static inline ltn_tensors *golden(ltn_ctx *ctx, const char *file)
{
    ltn_tensors *t = NULL;
    OK(ctx, ltn__tensors_open(ctx, test_golden(file), &t));
    return t;
}

/* A tensor's values and size; the tensors own them. */
static inline ltn_image tensor(ltn_ctx *ctx, ltn_tensors *t, const char *name)
{
    ltn_weight *w = ltn__tensors_find(t, name);
    test_name("%s", name);
    CHECK(w != NULL);
    if (!w) return (ltn_image){0};
    const bool plane = w->rank == 2;
    const real *v = ltn__weight_real(ctx, w);
    return (ltn_image){(int)w->dim[w->rank - 1], (int)w->dim[w->rank - 2], plane ? 1 : (int)w->dim[0],
                       (float *)(uintptr_t)v, NULL};
}


static inline void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    if (!f) abort();
    fputs(text, f);
    fclose(f);
}

#endif
