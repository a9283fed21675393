/* jpeg.c - what JPEG leaves of a picture (ITU-T T.81): YCbCr, chroma averaged over 2 x 2 pixels (4:2:0) or kept
 * (4:4:4), the cosine transform of 8 x 8 blocks, its coefficients rounded to multiples of a table, and back, chroma
 * interpolated as libjpeg does, to 8 bits. The tables are T.81's examples, scaled by libjpeg's quality, or those that
 * are told.
 *
 * * What rounding does counts as noise, y = x + n, of which y also tells the interval of each coefficient: the data
 * term is 1/2 |x - y|^2 on the set C of pictures whose coefficients lie in their intervals, so that prox = P((u +
 * gamma y) / (1 + gamma)), P the projection on C: Dykstra's algorithm (1983) on one such set for each of Y, Cb and Cr,
 * each a projection in closed form, for the transform's rows are orthogonal. The noise's deviation follows from the
 * tables and y: q^2 / 12 where a multiple of q other than 0 stands, the variance of a Laplacian within +- q / 2 where
 * 0 does, its scale from the share of zeros. Where a derivative of A is asked for, it is that of the identity
 * (straight-through, as is usual with rounding). Blocks that the border cuts: the intervals are laid around the
 * coefficients of y, its last pixels repeated, and what lies outside of the picture is free. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "degrade.h"

enum { SIDE = 8, BLOCK = SIDE * SIDE, PARTS = 3, SWEEPS = 40 };
static const double enough = 1e-3; /* of 255: the greatest change of a sweep after which P stands */

/* T.81, tables K.1 and K.2. */
static const uint8_t tables[2][BLOCK] = {
    {16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
     14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
     18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
     49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99},
    {17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
     24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
     99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
     99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99},
};

/* Y, Cb, Cr of R, G, B (T.871), and the way back: a colour is Y + to Cb + to Cr. */
static const float of_rgb[3][3] = {
    {0.299f, 0.587f, 0.114f}, {-0.168736f, -0.331264f, 0.5f}, {0.5f, -0.418688f, -0.081312f}};
static const float to_rgb[3][2] = {{0, 1.402f}, {-0.344136f, -0.714136f}, {1.772f, 0}};
static const float of_grey[1][3] = {{1, 0, 0}};

/* Y, Cb or Cr at its own resolution: width x height, whole blocks, of which seen_w x seen_h show the picture. */
typedef struct component {
    int step, width, height, seen_w, seen_h;
    float table[BLOCK];
    float *value, *least, *most, *dual; /* coefficients or samples; intervals; Dykstra's increment */
} component;

typedef struct jpeg {
    int n; /* components: 1 or 3 */
    int width, height; /* of the padded picture */
    component part[3];
    float *padded[3]; /* colours, or Y, Cb, Cr, of the padded picture, 0 ... 255 */
    float *line;      /* one row or column of chroma */
    float cosine[SIDE][SIDE];
} jpeg;

static const float *weights(const jpeg *j, int k)
{
    return j->n == 1 ? of_grey[k] : of_rgb[k];
}

/* ---- Blocks ---- */
/* The orthonormal transform of each block of a plane, or its inverse, in place. */
static void transform(const jpeg *j, const component *p, bool inverse)
{
    float in[BLOCK], half[BLOCK];
    for (int top = 0; top < p->height; top += SIDE)
        for (int left = 0; left < p->width; left += SIDE) {
            float *at = p->value + (size_t)top * (size_t)p->width + left;
            for (int i = 0; i < BLOCK; i++) in[i] = at[(size_t)(i / SIDE) * (size_t)p->width + i % SIDE];
            for (int i = 0; i < SIDE; i++) /* along rows, written transposed */
                for (int k = 0; k < SIDE; k++) {
                    float sum = 0;
                    for (int l = 0; l < SIDE; l++)
                        sum += in[i * SIDE + l] * (inverse ? j->cosine[l][k] : j->cosine[k][l]);
                    half[k * SIDE + i] = sum;
                }
            for (int i = 0; i < SIDE; i++)
                for (int k = 0; k < SIDE; k++) {
                    float sum = 0;
                    for (int l = 0; l < SIDE; l++)
                        sum += half[i * SIDE + l] * (inverse ? j->cosine[l][k] : j->cosine[k][l]);
                    at[(size_t)k * (size_t)p->width + i] = sum;
                }
        }
}

/* The quantisation step of a place in a plane of coefficients. */
static float step_of(const component *p, size_t at)
{
    const size_t row = at / (size_t)p->width % SIDE, column = at % (size_t)p->width % SIDE;
    return p->table[row * SIDE + column];
}

static size_t count(const component *p)
{
    return (size_t)p->width * (size_t)p->height;
}

/* ---- Colours ---- */
/* x of 0 ... 1 as padded colours of 0 ... 255. */
static void pad(const ltn_operator *op, const float *x)
{
    const jpeg *j = op->state;
    const int w = op->x.width, h = op->x.height;
    for (int c = 0; c < j->n; c++)
        for (int i = 0; i < j->height; i++)
            for (int k = 0; k < j->width; k++)
                j->padded[c][(size_t)i * (size_t)j->width + (size_t)k] =
                    255 * x[((size_t)c * (size_t)h + (size_t)LTN_MIN(i, h - 1)) * (size_t)w +
                            (size_t)LTN_MIN(k, w - 1)];
}

/* Component k of a pixel of the padded colours, 128 less for Y. */
static float component_of(const jpeg *j, int k, int i, int l)
{
    const float *w = weights(j, k);
    float sum = k ? 0 : -128;
    for (int c = 0; c < j->n; c++) sum += w[c] * j->padded[c][(size_t)i * (size_t)j->width + (size_t)l];
    return sum;
}

/* Component k at its own resolution; `whole`: in whole numbers, rounded as libjpeg does, means of four now down, now
 * up. */
static void take(const jpeg *j, int k, bool whole)
{
    const component *p = &j->part[k];
    for (int i = 0; i < p->height; i++)
        for (int l = 0; l < p->width; l++) {
            float sum = 0;
            for (int q = 0; q < p->step * p->step; q++) {
                const float v = component_of(j, k, i * p->step + q / p->step, l * p->step + q % p->step);
                sum += whole ? floorf(v + 0.5f) : v;
            }
            if (p->step == 2) sum = whole ? floorf((sum + 1 + (float)(l % 2)) / 4) : sum / 4;
            p->value[(size_t)i * (size_t)p->width + (size_t)l] = sum;
        }
}

static void analyse(const jpeg *j, int k, bool whole)
{
    take(j, k, whole);
    transform(j, &j->part[k], false);
}

/* Chroma at the picture's resolution as libjpeg interpolates it: 3/4 of the nearest sample and 1/4 of the next, each
 * way. */
static float interpolated(const component *p, int i, int l)
{
    if (p->step == 1) return p->value[(size_t)i * (size_t)p->width + (size_t)l];
    const int a = i / 2, b = l / 2;
    const int a2 = LTN_MAX(0, LTN_MIN(i % 2 ? a + 1 : a - 1, p->seen_h - 1));
    const int b2 = LTN_MAX(0, LTN_MIN(l % 2 ? b + 1 : b - 1, p->seen_w - 1));
    const float *near = p->value + (size_t)a * (size_t)p->width, *next = p->value + (size_t)a2 * (size_t)p->width;
    return (9 * near[b] + 3 * near[b2] + 3 * next[b] + next[b2]) / 16;
}

static float to_8_bits(float v)
{
    return fminf(fmaxf(floorf(v + 0.5f), 0), 255) / 255;
}

static void forward(const ltn_operator *op, const float *x, float *y)
{
    const jpeg *j = op->state;
    const size_t n = (size_t)op->x.width * (size_t)op->x.height;
    pad(op, x);
    for (int k = 0; k < j->n; k++) {
        const component *p = &j->part[k];
        analyse(j, k, true);
        for (size_t i = 0; i < count(p); i++) p->value[i] = step_of(p, i) * roundf(p->value[i] / step_of(p, i));
        transform(j, p, true);
    }
    for (int i = 0; i < op->x.height; i++)
        for (int l = 0; l < op->x.width; l++, y++) {
            const float luma = interpolated(&j->part[0], i, l) + 128;
            if (j->n == 1) {
                *y = to_8_bits(luma);
                continue;
            }
            const float cb = interpolated(&j->part[1], i, l), cr = interpolated(&j->part[2], i, l);
            for (size_t c = 0; c < 3; c++) y[c * n] = to_8_bits(luma + to_rgb[c][0] * cb + to_rgb[c][1] * cr);
        }
}

/* ---- The intervals of y ---- */
/* Undoes along n samples what interpolation and averaging over pairs make of chroma, (1 6 1) / 8 inside (Thomas).
 * `odd`: the last sample has one pixel. */
static void sharpen(float *v, size_t stride, int n, bool odd, float *scratch)
{
    const float off = 0.125f;
    float before = 0; /* the last eliminated row's share of the next sample */
    for (int i = 0; i < n; i++) {
        const bool first = i == 0, last = i == n - 1;
        float left = first ? 0 : off, middle = 0.75f + (first ? off : 0) + (last ? off : 0);
        if (last && odd && n > 1) left = 0.25f, middle = 0.75f;
        if (n == 1) middle = 1;
        const float over = 1 / (middle - left * before);
        v[(size_t)i * stride] = (v[(size_t)i * stride] - (first ? 0 : left * v[(size_t)(i - 1) * stride])) * over;
        before = scratch[i] = last ? 0 : off * over;
    }
    for (int i = n - 2; i >= 0; i--) v[(size_t)i * stride] -= scratch[i] * v[(size_t)(i + 1) * stride];
}

/* The block's samples all lie in the picture. */
static bool in_picture(const component *p, size_t at)
{
    const int row = (int)(at / (size_t)p->width) / SIDE * SIDE, column = (int)(at % (size_t)p->width) / SIDE * SIDE;
    return row + SIDE <= p->seen_h && column + SIDE <= p->seen_w;
}

static void find_intervals(const ltn_operator *op, const float *y)
{
    const jpeg *j = op->state;
    pad(op, y);
    for (int k = 0; k < j->n; k++) {
        const component *p = &j->part[k];
        take(j, k, false);
        for (int i = 0; i < p->seen_h && p->step == 2; i++)
            sharpen(p->value + (size_t)i * (size_t)p->width, 1, p->seen_w, op->x.width % 2, j->line);
        for (int l = 0; l < p->seen_w && p->step == 2; l++)
            sharpen(p->value + l, (size_t)p->width, p->seen_h, op->x.height % 2, j->line);
        transform(j, p, false);
        for (size_t i = 0; i < count(p); i++) {
            const float q = step_of(p, i), middle = in_picture(p, i) ? q * roundf(p->value[i] / q) : p->value[i];
            p->least[i] = middle - q / 2;
            p->most[i] = middle + q / 2;
        }
    }
}

/* One of Dykstra's projections; returns the greatest change of a sample. */
static float project_part(const jpeg *j, int k)
{
    const component *p = &j->part[k];
    const float *w = weights(j, k), over = 1 / (w[0] * w[0] + w[1] * w[1] + w[2] * w[2]);
    analyse(j, k, false);
    for (size_t i = 0; i < count(p); i++) {
        const float c = p->value[i] + p->dual[i], dual = c - fminf(fmaxf(c, p->least[i]), p->most[i]);
        p->value[i] = p->dual[i] - dual;
        p->dual[i] = dual;
    }
    transform(j, p, true);
    float greatest = 0;
    for (int i = 0; i < j->height; i++)
        for (int l = 0; l < j->width; l++) {
            const float d = over * p->value[(size_t)(i / p->step) * (size_t)p->width + (size_t)(l / p->step)];
            greatest = fmaxf(greatest, fabsf(d));
            for (int c = 0; c < j->n; c++) j->padded[c][(size_t)i * (size_t)j->width + (size_t)l] += w[c] * d;
        }
    return greatest;
}

/* The padded colours p become P p. */
static void project(const jpeg *j)
{
    for (int k = 0; k < j->n; k++) memset(j->part[k].dual, 0, count(&j->part[k]) * sizeof(float));
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        float change = 0;
        for (int k = 0; k < j->n; k++) change = fmaxf(change, project_part(j, k));
        if (j->n == 1 || change < enough) break;
    }
}

static void prox(const ltn_operator *op, const float *y, double gamma, const float *u, float *x)
{
    const jpeg *j = op->state;
    const float pull = (float)(isinf(gamma) ? 1 : gamma / (1 + gamma));
    const size_t w = (size_t)op->x.width, h = (size_t)op->x.height;
    if (!(gamma > 0)) {
        if (x != u) memcpy(x, u, ltn__size_count(op->x) * sizeof *x);
        return;
    }
    find_intervals(op, y);
    for (size_t i = 0; i < ltn__size_count(op->x); i++) x[i] = u[i] + pull * (y[i] - u[i]);
    pad(op, x);
    project(j);
    for (size_t i = 0; i < ltn__size_count(op->x); i++)
        x[i] = j->padded[i / (w * h)][i / w % h * (size_t)j->width + i % w] / 255;
}

static void misfit(const ltn_operator *op, const float *y, const float *x, float *r)
{
    for (size_t i = 0; i < ltn__size_count(op->x); i++) r[i] = x[i] - y[i];
}

static void vjp(const ltn_operator *op, const float *x, const float *y, float *out)
{
    memcpy(out, y, ltn__size_count(op->x) * sizeof *out);
}

/* ---- How much rounding changes ---- */
/* E c^2 of a Laplacian, within |c| < a, of which all but a share `out` lies there: exp(-l a) = out. */
static double within(double a, double out)
{
    const double l = -log(out) / a;
    return (2 / (l * l) - out * (a * a + 2 * a / l + 2 / (l * l))) / (1 - out);
}

/* The share of a frequency's coefficients that were rounded to 0; the intervals are those of y. */
static double zeros(const component *p, int f)
{
    double none = 0, all = 0;
    for (int top = 0; top < p->height; top += SIDE)
        for (int left = 0; left < p->width; left += SIDE, all++) {
            const size_t at = (size_t)(top + f / SIDE) * (size_t)p->width + (size_t)(left + f % SIDE);
            none += p->least[at] < 0 && p->most[at] > 0;
        }
    return none / all;
}

/* The mean variance of a component's coefficients. Where nearly all are 0 a Laplacian's scale is taken from the other
 * frequencies, as falling with their inverse (the spectrum of pictures, Field 1987); where there is none, few of
 * 255. */
static double variance(const component *p)
{
    const double few = 10;
    double sum = 0, scale = 0, seen = 0;
    for (int f = 1; f < BLOCK; f++) {
        const double out = 1 - zeros(p, f);
        if (out < 0.05 || out > 0.9) continue;
        scale += p->table[f] / 2 / -log(out) * hypot(f / SIDE, f % SIDE);
        seen++;
    }
    scale = seen > 0 ? scale / seen : few;
    for (int f = 0; f < BLOCK; f++) {
        const double q = p->table[f], none = zeros(p, f);
        double out = fmin(fmax(1 - none, 1e-3), 0.99);
        if (f && out < 0.05) out = fmin(out, exp(-q / 2 * hypot(f / SIDE, f % SIDE) / scale));
        sum += none * within(q / 2, fmax(out, 1e-9)) + (1 - none) * q * q / 12;
    }
    return sum / BLOCK;
}

/* Of the colours: a variance of Y is one of each, those of Cb and Cr by the squares of their weights. */
static double level(const ltn_operator *op, const float *y)
{
    const jpeg *j = op->state;
    find_intervals(op, y);
    double sum = variance(&j->part[0]);
    for (int c = 0; c < 3 && j->n == 3; c++)
        for (int k = 0; k < 2; k++) sum += to_rgb[c][k] * to_rgb[c][k] * variance(&j->part[k + 1]) / 3;
    return sqrt(sum) / 255;
}

/* ---- Opening ---- */
static void fill_table(int quality, const uint8_t *table, float *out)
{
    const int scale = quality < 50 ? 5000 / quality : 200 - 2 * quality;
    for (int i = 0; i < BLOCK; i++) out[i] = (float)LTN_MAX(1, LTN_MIN((table[i] * scale + 50) / 100, 255));
}

/* One to three tables, 64 numbers each with a colon between, the tables with a slash; the last one stands for those
 * that are missing. */
static ltn_status read_tables(ltn_ctx *ctx, const char *text, float table[PARTS][BLOCK])
{
    const char *p = text, *end;
    int n = 0;
    for (;; p = end + 1) {
        const double step = ltn__parse_number(p, &end);
        if (end == p || step != floor(step) || step < 1 || step > 255)
            return ltn__fail(ctx, LTN_EINVAL, "jpeg: tables: \"%.*s\", number %d, is no whole number from 1 to 255",
                             (int)LTN_MIN(strcspn(p, ":/"), 20), p, n + 1);
        table[n / BLOCK][n % BLOCK] = (float)step;
        n++;
        if (n == PARTS * BLOCK || *end != (n % BLOCK ? ':' : '/')) break;
    }
    if (*end || n % BLOCK)
        return ltn__fail(ctx, LTN_EINVAL,
                         "jpeg: tables: expected one to three of 64 numbers, as 16:11:...:99/17:18:...:99; "
                         "after number %d stands \"%.20s\"", n, end);
    for (int k = n / BLOCK; k < PARTS; k++) memcpy(table[k], table[k - 1], sizeof table[k]);
    return LTN_OK;
}

/* As quality makes them, or as they are told. */
static ltn_status make_tables(ltn_ctx *ctx, const ltn_spec *s, float table[PARTS][BLOCK])
{
    const char *own = ltn__str(s, "tables");
    if (own && ltn__given(s, "quality"))
        return ltn__fail(ctx, LTN_EINVAL, "jpeg: quality and tables exclude each other");
    if (own) return read_tables(ctx, own, table);
    for (int k = 0; k < PARTS; k++) fill_table((int)ltn__num(s, "quality"), tables[k > 0], table[k]);
    return LTN_OK;
}

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    const int colours = op->x.channels, step = colours == 3 && ltn__num(s, "chroma") == 0 ? 2 : 1, whole = SIDE * step;
    if (colours != 1 && colours != 3)
        return ltn__fail(op->ctx, LTN_ESHAPE, "jpeg: the picture has %d channels, not 1 (grey) or 3 (colour)", colours);
    float table[PARTS][BLOCK];
    const ltn_status told = make_tables(op->ctx, s, table);
    if (told) return told;
    jpeg *j = op->state = ltn__alloc(op->ctx, 1, sizeof *j);
    if (!j) return LTN_ENOMEM;
    j->n = colours;
    j->width = (op->x.width + whole - 1) / whole * whole;
    j->height = (op->x.height + whole - 1) / whole * whole;
    for (int k = 0; k < SIDE; k++)
        for (int l = 0; l < SIDE; l++)
            j->cosine[k][l] = (float)(sqrt(k ? 0.25 : 0.125) * cos(M_PI * k * (l + 0.5) / SIDE));
    for (int k = 0; k < j->n; k++) {
        component *p = &j->part[k];
        const int by = k ? step : 1;
        *p = (component){.step = by, .width = j->width / by, .height = j->height / by,
                         .seen_w = (op->x.width + by - 1) / by, .seen_h = (op->x.height + by - 1) / by};
        memcpy(p->table, table[k], sizeof p->table);
        float **const room[] = {&p->value, &p->least, &p->most, &p->dual};
        if (ltn__alloc_each(op->ctx, count(p), room, LTN_COUNT(room))) return LTN_ENOMEM;
        if (!(j->padded[k] = ltn__alloc(op->ctx, (size_t)j->width * (size_t)j->height, sizeof(float))))
            return LTN_ENOMEM;
    }
    if (!(j->line = ltn__alloc(op->ctx, (size_t)LTN_MAX(j->width, j->height), sizeof *j->line))) return LTN_ENOMEM;
    op->map = (ltn_map){.forward = forward, .nonlinear = true, .vjp = vjp, .prox = prox, .misfit = misfit,
                        .level = level, .exact = true};
    return LTN_OK;
}

static void close(ltn_operator *op)
{
    jpeg *j = op->state;
    if (!j) return;
    for (int k = 0; k < 3; k++) {
        component *p = &j->part[k];
        float *const block[] = {p->value, p->least, p->most, p->dual, j->padded[k]};
        for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(op->ctx, block[i]);
    }
    ltn__free(op->ctx, j->line);
    ltn__free(op->ctx, j);
    op->state = NULL;
}

/* The n tables are those of a quality. */
static bool are_of(int quality, const uint8_t *t, int n)
{
    float table[BLOCK];
    for (int i = 0; i < PARTS * BLOCK; i++) {
        if (i % BLOCK == 0) fill_table(quality, tables[i > 0], table);
        if (t[LTN_MIN(i / BLOCK, n - 1) * BLOCK + i % BLOCK] != table[i % BLOCK]) return false;
    }
    return true;
}

static void write_tables(const uint8_t *t, int n, char *text, size_t room)
{
    for (size_t i = 0, at = 0; i < (size_t)n * BLOCK && at < room; i++)
        at += (size_t)snprintf(text + at, room - at, "%s%d", !i ? "" : i % BLOCK ? ":" : "/", t[i]);
}

static ltn_status find(ltn_ctx *ctx, const ltn_evidence *e, const char **key, char *value, size_t room)
{
    int full, n;
    const uint8_t *t = ltn_image_jpeg_tables(e->y, &n);
    const bool is_quality = !strcmp(*key, "quality"), is_tables = !strcmp(*key, "tables");
    const int quality = ltn_image_jpeg_quality(e->y, &full);
    if (!quality)
        return ltn__fail(ctx, LTN_EINVAL, "jpeg: %s=auto: the measurement was not read from a JPEG file", *key);
    if (is_tables && !t) return ltn__fail(ctx, LTN_EINVAL, "jpeg: tables=auto: the file's have steps beyond 255");
    if (is_tables || (is_quality && t && !are_of(quality, t, n))) {
        *key = "tables";
        write_tables(t, n, value, room);
        return LTN_OK;
    }
    if (is_quality) snprintf(value, room, "%d", quality);
    else snprintf(value, room, "%s", full ? "4:4:4" : "4:2:0");
    return LTN_OK;
}

static const ltn_param params[] = {
    {.name = "quality", .help = "of libjpeg and most programs; auto, or a bare jpeg: that of the file y is read from",
     .type = LTN_INT, .def = 30, .min = 1, .max = 100},
    {.name = "chroma", .help = "4:2:0: colours at half the resolution, as most programs write them; 4:4:4: not so",
     .type = LTN_CHOICE, .choices = "4:2:0|4:4:4"},
    {.name = "tables", .help = "in quality's place: 64 steps in rows, as 16:11:...:99/17:18:...:99 for Y and colours, "
                                "or one table, or three; auto: the file's",
     .type = LTN_STRING},
    {0},
};

const ltn_degradation_row ltn__degradation_jpeg = {
    .entry = {.name = "jpeg", .alias = "jpg|compression|deblock",
              .help = "JPEG's losses, with the standard's tables or others",
              .cite = "ITU-T T.81", .param = params},
    .find = find, .implied = "quality=auto,chroma=auto", .open = open, .close = close,
};
