/* inpaint.c - a picture with holes: y = m x, m in {0, 1} per pixel; the prox is (u + gamma y) / (1 + gamma)
 * where m = 1 and u elsewhere. The naive picture fills holes from coarse to fine: averages of what is known
 * over 2 x 2 pixels, again and again until everything is known, then back, each level smoothed inside its
 * holes by 3 x 3 averages. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "degrade.h"

enum { LEVELS = 31, SMOOTHINGS = 4 };

/* A level of the pyramid: values, and how much of each pixel is known. */
typedef struct level {
    int width, height;
    float *value, *known;
} level;

typedef struct holes {
    uint8_t *known; /* height x width */
    size_t count;   /* of known pixels */
    level level[LEVELS];
    int levels;
    float *fresh;   /* one smoothing */
} holes;

static size_t pixels(const ltn_operator *op)
{
    return (size_t)op->x.width * (size_t)op->x.height;
}

static void forward(const ltn_operator *op, const float *x, float *y)
{
    const holes *h = op->state;
    const size_t n = pixels(op);
    for (int c = 0; c < op->x.channels; c++, x += n, y += n)
        for (size_t i = 0; i < n; i++) y[i] = h->known[i] ? x[i] : 0;
}

static void prox(const ltn_operator *op, const float *y, double gamma, const float *u, float *x)
{
    const holes *h = op->state;
    const size_t n = pixels(op);
    const float pull = (float)(isinf(gamma) ? 1 : gamma / (1 + gamma));
    for (int c = 0; c < op->x.channels; c++, x += n, y += n, u += n)
        for (size_t i = 0; i < n; i++)
            x[i] = !h->known[i] ? u[i] : pull == 1 ? y[i] : u[i] + pull * (y[i] - u[i]);
}

static size_t measured(const ltn_operator *op, float *y)
{
    const holes *h = op->state;
    if (y) forward(op, y, y);
    return h->count * (size_t)op->x.channels;
}

/* The coefficients are the known values, s = 1. */
static size_t count(const ltn_operator *op)
{
    return measured(op, NULL);
}

static void values(const ltn_operator *op, float *s)
{
    for (size_t i = 0; i < count(op); i++) s[i] = 1;
}

static void gather(const ltn_operator *op, const float *x, float *c)
{
    const holes *h = op->state;
    for (size_t i = 0; i < ltn__size_count(op->x); i++)
        if (h->known[i % pixels(op)]) *c++ = x[i];
}

static void scatter(const ltn_operator *op, const float *c, float *x)
{
    const holes *h = op->state;
    for (size_t i = 0; i < ltn__size_count(op->x); i++) x[i] = h->known[i % pixels(op)] ? *c++ : 0;
}

static const ltn_svd svd = {count, values, gather, scatter, gather, scatter};

/* ---- Filling ---- */
/* Each pixel of `small` is the mean of what its 2 x 2 pixels of `big` know. */
static void shrink(const level *big, const level *small)
{
    for (int i = 0; i < small->height; i++)
        for (int j = 0; j < small->width; j++) {
            float sum = 0, weight = 0;
            for (int y = 2 * i; y < LTN_MIN(2 * i + 2, big->height); y++)
                for (int x = 2 * j; x < LTN_MIN(2 * j + 2, big->width); x++) {
                    sum += big->known[y * big->width + x] * big->value[y * big->width + x];
                    weight += big->known[y * big->width + x];
                }
            small->known[i * small->width + j] = LTN_MIN(weight, 1);
            small->value[i * small->width + j] = weight > 0 ? sum / weight : 0;
        }
}

/* The unknown part of each pixel of `big` takes the value of `small`. */
static void spread(const level *small, const level *big)
{
    for (int i = 0; i < big->height; i++)
        for (int j = 0; j < big->width; j++) {
            float *v = big->value + i * big->width + j;
            const float known = big->known[i * big->width + j];
            *v = known * *v + (1 - known) * small->value[i / 2 * small->width + j / 2];
        }
}

/* The unknown pixels become means of their 3 x 3 neighbourhoods. */
static void smooth(const level *l, float *fresh)
{
    const int w = l->width, h = l->height;
    for (int i = 0; i < h; i++)
        for (int j = 0; j < w; j++) {
            float sum = 0;
            int n = 0;
            for (int y = LTN_MAX(0, i - 1); y < LTN_MIN(i + 2, h); y++)
                for (int x = LTN_MAX(0, j - 1); x < LTN_MIN(j + 2, w); x++, n++) sum += l->value[y * w + x];
            fresh[i * w + j] = sum / (float)n;
        }
    for (int i = 0; i < h * w; i++) l->value[i] = l->known[i] * l->value[i] + (1 - l->known[i]) * fresh[i];
}

static void naive(const ltn_operator *op, const float *y, float *x)
{
    const holes *h = op->state;
    const size_t n = pixels(op);
    const level *l = h->level;
    for (int c = 0; c < op->x.channels; c++, x += n, y += n) {
        for (size_t i = 0; i < n; i++) {
            l->known[i] = h->known[i];
            l->value[i] = h->known[i] ? y[i] : 0;
        }
        for (int k = 1; k < h->levels; k++) shrink(&l[k - 1], &l[k]);
        for (int k = h->levels - 1; k > 0; k--) {
            spread(&l[k], &l[k - 1]);
            for (int s = 0; s < SMOOTHINGS; s++) smooth(&l[k - 1], h->fresh);
        }
        memcpy(x, l->value, n * sizeof *x);
    }
}

/* ---- Opening ---- */
static ltn_status read_mask(ltn_operator *op, const char *path, bool invert, uint8_t *known)
{
    ltn_image im = {0};
    const ltn_status s = ltn_image_read(op->ctx, path, &im);
    if (s) return s;
    if (im.width != op->x.width || im.height != op->x.height) {
        const int w = im.width, h = im.height;
        ltn_image_free(op->ctx, &im);
        return ltn__fail(op->ctx, LTN_ESHAPE, "%s: the mask is %d x %d, the picture %d x %d", path, w, h,
                         op->x.width, op->x.height);
    }
    const size_t n = pixels(op);
    const int colours = im.channels > 2 ? 3 : 1;
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (int c = 0; c < colours; c++) sum += im.data[(size_t)c * n + i];
        if ((sum > 0.5f * (float)colours) == invert) known[i] = 0;
    }
    ltn_image_free(op->ctx, &im);
    return LTN_OK;
}

/* "x:y:w:h/x:y:w:h": each one a hole. */
static ltn_status cut_boxes(ltn_operator *op, const char *text, uint8_t *known)
{
    for (const char *p = text; p; p = strchr(p, '/')) {
        int x, y, w, h, end = 0;
        p += *p == '/';
        if (sscanf(p, "%9d:%9d:%9d:%9d%n", &x, &y, &w, &h, &end) != 4 || (p[end] && p[end] != '/'))
            return ltn__fail(op->ctx, LTN_EINVAL,
                             "inpaint: box=%s: expected x:y:width:height, more of them after a /", text);
        if (x < 0 || y < 0 || w < 1 || h < 1 || x + w > op->x.width || y + h > op->x.height)
            return ltn__fail(op->ctx, LTN_ESHAPE,
                             "inpaint: box=%d:%d:%d:%d does not lie in the picture, %d x %d", x, y, w, h,
                             op->x.width, op->x.height);
        for (int i = y; i < y + h; i++) memset(known + (size_t)i * (size_t)op->x.width + x, 0, (size_t)w);
    }
    return LTN_OK;
}

static ltn_status open_levels(ltn_operator *op, holes *h)
{
    int w = op->x.width, t = op->x.height;
    for (bool more = true; more && h->levels < LEVELS; h->levels++) {
        level *l = &h->level[h->levels];
        *l = (level){w, t, ltn__alloc(op->ctx, (size_t)w * (size_t)t, sizeof(float)),
                     ltn__alloc(op->ctx, (size_t)w * (size_t)t, sizeof(float))};
        if (!l->value || !l->known) return h->levels++, LTN_ENOMEM;
        more = w > 1 || t > 1;
        w = (w + 1) / 2;
        t = (t + 1) / 2;
    }
    h->fresh = ltn__alloc(op->ctx, pixels(op), sizeof *h->fresh);
    return h->fresh ? LTN_OK : LTN_ENOMEM;
}

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    const char *mask = ltn__str(s, "mask"), *box = ltn__str(s, "box");
    const double random = ltn__num(s, "random");
    if (!mask && !box && !ltn__given(s, "random"))
        return ltn__fail(op->ctx, LTN_EINVAL,
                         "inpaint: expected mask=FILE, random=SHARE or box=x:y:width:height");
    holes *h = op->state = ltn__alloc(op->ctx, 1, sizeof *h);
    if (!h || !(h->known = ltn__alloc(op->ctx, pixels(op), 1))) return LTN_ENOMEM;
    const ltn_rng rng = {(uint64_t)ltn__num(s, "seed"), LTN_STREAM_MASK};
    for (size_t i = 0; i < pixels(op); i++) h->known[i] = random == 0 || ltn__uniform(rng, i) >= random;
    ltn_status st = box ? cut_boxes(op, box, h->known) : LTN_OK;
    if (!st && mask) st = read_mask(op, mask, ltn__num(s, "invert") != 0, h->known);
    if (st) return st;
    for (size_t i = 0; i < pixels(op); i++) h->count += h->known[i];
    op->map = (ltn_map){.forward = forward, .adjoint = forward, .prox = prox, .gram = 1, .exact = true,
                        .naive = naive, .measured = measured, .svd = &svd};
    return open_levels(op, h);
}

static void close(ltn_operator *op)
{
    holes *h = op->state;
    if (!h) return;
    for (int i = 0; i < h->levels; i++) {
        ltn__free(op->ctx, h->level[i].value);
        ltn__free(op->ctx, h->level[i].known);
    }
    ltn__free(op->ctx, h->fresh);
    ltn__free(op->ctx, h->known);
    ltn__free(op->ctx, h);
    op->state = NULL;
}

static const ltn_param params[] = {
    {.name = "mask", .help = "a picture of the same size: white is known, black a hole", .type = LTN_STRING},
    {.name = "invert", .help = "1: in the mask, white is the hole", .type = LTN_INT, .max = 1},
    {.name = "random", .help = "share of pixels missing", .type = LTN_FLOAT, .max = 1},
    {.name = "seed", .help = "of the random pixels", .type = LTN_INT, .max = 1e15},
    {.name = "box", .help = "x:y:width:height of a hole; more after a /", .type = LTN_STRING},
    {0},
};

const ltn_degradation_row ltn__degradation_inpaint = {
    .entry = {.name = "inpaint", .alias = "mask|hole", .help = "holes: pixels that are not known",
              .param = params},
    .open = open, .close = close,
};
