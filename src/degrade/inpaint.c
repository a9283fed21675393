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

static void forward(const ltn_operator *op, const float *x, float *y)
{
    const holes *h = op->state;
    const size_t n = ltn__plane_count(op->x);
    for (int c = 0; c < op->x.channels; c++, x += n, y += n)
        for (size_t i = 0; i < n; i++) y[i] = h->known[i] ? x[i] : 0;
}

static void prox(const ltn_operator *op, const float *y, double gamma, const float *u, float *x)
{
    const holes *h = op->state;
    const size_t n = ltn__plane_count(op->x);
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
        if (h->known[i % ltn__plane_count(op->x)]) *c++ = x[i];
}

static void scatter(const ltn_operator *op, const float *c, float *x)
{
    const holes *h = op->state;
    for (size_t i = 0; i < ltn__size_count(op->x); i++) x[i] = h->known[i % ltn__plane_count(op->x)] ? *c++ : 0;
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
    const size_t n = ltn__plane_count(op->x);
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

/* ---- Scratches and writing ---- */
/* Clears the pixels that lie within `thick` / 2 of the point. */
static void dab(const ltn_operator *op, double x, double y, double thick, uint8_t *known)
{
    const int w = op->x.width, h = op->x.height, reach = (int)ceil(thick / 2);
    const int at_x = (int)floor(x), at_y = (int)floor(y);
    for (int i = LTN_MAX(0, at_y - reach); i < LTN_MIN(h, at_y + reach + 1); i++)
        for (int j = LTN_MAX(0, at_x - reach); j < LTN_MIN(w, at_x + reach + 1); j++) {
            const double u = j + 0.5 - x, v = i + 0.5 - y;
            if (u * u + v * v <= thick * thick / 4 || (i == at_y && j == at_x))
                known[(size_t)i * (size_t)w + (size_t)j] = 0;
        }
}

/* Each scratch is a walk from a random place whose direction drifts, as long as a quarter to all of a side. */
static void scratch(const ltn_operator *op, ltn_rng rng, int n, double thick, uint8_t *known)
{
    const double w = op->x.width, h = op->x.height;
    const int most = 2 * LTN_MAX(op->x.width, op->x.height);
    for (int k = 0; k < n; k++) {
        const uint64_t first = (uint64_t)k * (uint64_t)(most + 8);
        double x = w * ltn__uniform(rng, first), y = h * ltn__uniform(rng, first + 1);
        double angle = 2 * M_PI * ltn__uniform(rng, first + 2);
        const int length = (int)(most * (0.25 + 0.75 * ltn__uniform(rng, first + 3)));
        for (int i = 0; i < length; i++) {
            dab(op, x, y, thick, known);
            angle += 0.02 * (2 * ltn__uniform(rng, first + 8 + (uint64_t)i) - 1);
            x += 0.5 * cos(angle), y += 0.5 * sin(angle);
        }
    }
}

/* Letters of 5 x 7, a row to five bits, the highest on the left; what is not here is left blank. */
static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?-";
static const uint8_t glyph[][7] = {
    {14, 17, 17, 31, 17, 17, 17}, {30, 17, 17, 30, 17, 17, 30}, {14, 17, 16, 16, 16, 17, 14},
    {30, 17, 17, 17, 17, 17, 30}, {31, 16, 16, 30, 16, 16, 31}, {31, 16, 16, 30, 16, 16, 16},
    {14, 17, 16, 23, 17, 17, 15}, {17, 17, 17, 31, 17, 17, 17}, {14, 4, 4, 4, 4, 4, 14},
    {7, 2, 2, 2, 2, 18, 12},      {17, 18, 20, 24, 20, 18, 17}, {16, 16, 16, 16, 16, 16, 31},
    {17, 27, 21, 21, 17, 17, 17}, {17, 25, 21, 19, 17, 17, 17}, {14, 17, 17, 17, 17, 17, 14},
    {30, 17, 17, 30, 16, 16, 16}, {14, 17, 17, 17, 21, 18, 13}, {30, 17, 17, 30, 20, 18, 17},
    {15, 16, 16, 14, 1, 1, 30},   {31, 4, 4, 4, 4, 4, 4},       {17, 17, 17, 17, 17, 17, 14},
    {17, 17, 17, 17, 17, 10, 4},  {17, 17, 17, 21, 21, 27, 17}, {17, 17, 10, 4, 10, 17, 17},
    {17, 17, 10, 4, 4, 4, 4},     {31, 1, 2, 4, 8, 16, 31},     {14, 17, 19, 21, 25, 17, 14},
    {4, 12, 4, 4, 4, 4, 14},      {14, 17, 1, 6, 8, 16, 31},    {14, 17, 1, 6, 1, 17, 14},
    {2, 6, 10, 18, 31, 2, 2},     {31, 16, 30, 1, 1, 17, 14},   {6, 8, 16, 30, 17, 17, 14},
    {31, 1, 2, 4, 4, 4, 4},       {14, 17, 17, 14, 17, 17, 14}, {14, 17, 17, 15, 1, 2, 12},
    {0, 0, 0, 0, 0, 12, 12},      {0, 0, 0, 0, 12, 4, 8},       {4, 4, 4, 4, 4, 0, 4},
    {14, 17, 1, 6, 4, 0, 4},      {0, 0, 0, 31, 0, 0, 0},
};

/* The text again and again, line after line, a letter's dot being `dot` pixels wide; lines are ten dots apart. */
static void write_on(const ltn_operator *op, const char *text, int dot, uint8_t *known)
{
    const int w = op->x.width, h = op->x.height, n = (int)strlen(text);
    for (int i = dot, k = 0; n && i < h; i += 10 * dot)
        for (int j = dot; j + 5 * dot <= w; j += 6 * dot, k++) {
            const char c = text[k % n], *at = strchr(letters, c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
            for (int y = i; at && y < LTN_MIN(h, i + 7 * dot); y++)
                for (int x = j; x < j + 5 * dot; x++)
                    if (glyph[at - letters][(y - i) / dot] >> (4 - (x - j) / dot) & 1)
                        known[(size_t)y * (size_t)w + (size_t)x] = 0;
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
    const size_t n = ltn__plane_count(op->x);
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
    h->fresh = ltn__alloc(op->ctx, ltn__plane_count(op->x), sizeof *h->fresh);
    return h->fresh ? LTN_OK : LTN_ENOMEM;
}

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    const char *mask = ltn__str(s, "mask"), *box = ltn__str(s, "box"), *text = ltn__str(s, "text");
    const double random = ltn__num(s, "random");
    if (!mask && !box && !text && !ltn__given(s, "random") && !ltn__given(s, "scratches"))
        return ltn__fail(op->ctx, LTN_EINVAL, "inpaint: expected mask=FILE, random=SHARE, box=x:y:width:height, "
                                              "scratches=N or text=WORDS");
    holes *h = op->state = ltn__alloc(op->ctx, 1, sizeof *h);
    if (!h || !(h->known = ltn__alloc(op->ctx, ltn__plane_count(op->x), 1))) return LTN_ENOMEM;
    const ltn_rng rng = {(uint64_t)ltn__num(s, "seed"), LTN_STREAM_MASK};
    for (size_t i = 0; i < ltn__plane_count(op->x); i++) h->known[i] = random == 0 || ltn__uniform(rng, i) >= random;
    const ltn_rng path = {rng.seed, LTN_STREAM_KERNEL};
    scratch(op, path, (int)ltn__num(s, "scratches"), ltn__num(s, "thick"), h->known);
    if (text) write_on(op, text, LTN_MAX(1, (int)ltn__num(s, "thick")), h->known);
    ltn_status st = box ? cut_boxes(op, box, h->known) : LTN_OK;
    if (!st && mask) st = read_mask(op, mask, ltn__num(s, "invert") != 0, h->known);
    if (st) return st;
    for (size_t i = 0; i < ltn__plane_count(op->x); i++) h->count += h->known[i];
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
    {.name = "seed", .help = "of the random pixels and scratches", .type = LTN_INT, .max = 1e15},
    {.name = "box", .help = "x:y:width:height of a hole; more after a /", .type = LTN_STRING},
    {.name = "scratches", .help = "number of scratches, random ones", .type = LTN_INT, .max = 10000},
    {.name = "text", .help = "words written over the picture, again and again: letters, digits and . , ! ? -",
     .type = LTN_STRING},
    {.name = "thick", .help = "pixels: a scratch's width, the stroke of a letter", .type = LTN_FLOAT, .def = 2,
     .min = 1, .max = 100},
    {0},
};

const ltn_degradation_row ltn__degradation_inpaint = {
    .entry = {.name = "inpaint", .alias = "mask|hole", .help = "holes: pixels that are not known",
              .param = params},
    .open = open, .close = close,
};
