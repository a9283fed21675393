/* phase.c - phase retrieval. Coded diffraction: y_l = |B_l x|, B_l x = F (m_l x) / sqrt(L) for L masks of random signs,
 * F the orthonormal Fourier transform (Candes, Li and Soltanolkotabi 2015). sum B_l^T B_l = 1, and |B x| - y is at most
 * B x - y p for any phases p, with equality for those of B x; so the prox repeats
 * x <- (u + gamma B^T (y B x / |B x|)) / (1 + gamma), each step of which lowers the objective (Fienup 1982 with a
 * prior). J^T y = B^T (y B x / |B x|). The naive picture: such steps without u from a flat one, kept in [0, 1].
 *
 * oversample: one exposure without a mask, of the picture amid zeros; B = F P, P^T P = 1, so all of the above holds.
 * There such steps end where they should not: the naive picture begins at random, follows the hybrid input-output
 * method (Fienup 1982, beta = .9) and then such steps; the least misfit of some starts is taken. Another channel begins
 * where the one before it has ended, in turn and some times over: what two channels share is the picture, not where a
 * search is caught. y is the same for a picture turned by 180 degrees: of the two, the one whose upper half is the
 * brighter. */
#include <math.h>
#include <string.h>

#include "degrade.h"
#include "fourier.h"

enum { PROX_STEPS = 30, NAIVE_STEPS = 100 };
enum { STARTS = 4, START_STEPS = 300, ROUNDS = 3, ROUND_STEPS = 30 };
static const float beta = 0.9f;
static const double settled = 1e-3; /* what a step of the prox adds to x at the end, of |x| */

typedef struct diffraction {
    ltn_plane plane;
    int masks;
    bool bare, turned;       /* bare: one exposure, no mask, zeros around */
    uint64_t seed;
    size_t n, m;             /* pixels of a picture's plane; of an exposure */
    float *sign;             /* masks planes */
    float *want;             /* masks spectra: y as their magnitudes */
    float *spectrum, *coded; /* of one exposure */
    float *re, *im;          /* exposures */
    float *around;           /* an exposure: what the hybrid method has outside of the picture too */
    float *back, *prior;     /* planes */
} diffraction;

/* out = P m_l x, a coded picture amid zeros. */
static void embed(const ltn_operator *op, int l, const float *x, float *out)
{
    const diffraction *d = op->state;
    const float scale = 1 / sqrtf((float)d->masks), *sign = d->sign + (size_t)l * d->n;
    memset(out, 0, d->m * sizeof *out);
    for (int i = 0; i < op->x.height; i++, sign += op->x.width, x += op->x.width, out += op->y.width)
        for (int k = 0; k < op->x.width; k++) out[k] = scale * sign[k] * x[k];
}

/* out += (P m_l)^T x */
static void extract(const ltn_operator *op, int l, const float *x, float *out)
{
    const diffraction *d = op->state;
    const float scale = 1 / sqrtf((float)d->masks), *sign = d->sign + (size_t)l * d->n;
    for (int i = 0; i < op->x.height; i++, sign += op->x.width, out += op->x.width, x += op->y.width)
        for (int k = 0; k < op->x.width; k++) out[k] += scale * sign[k] * x[k];
}

static void forward(const ltn_operator *op, const float *x, float *y)
{
    const diffraction *d = op->state;
    for (int c = 0; c < op->x.channels; c++, x += d->n)
        for (int l = 0; l < d->masks; l++, y += d->m) {
            embed(op, l, x, d->coded);
            ltn__plane_forward(&d->plane, d->coded, d->spectrum);
            ltn__plane_unfold(&d->plane, d->spectrum, d->re, d->im);
            for (size_t i = 0; i < d->m; i++) y[i] = hypotf(d->re[i], d->im[i]);
        }
}

/* want: y of one channel. The spectrum of a real plane has one magnitude at k and -k: the mean of y's two. */
static void expect(const ltn_operator *op, const float *y)
{
    const diffraction *d = op->state;
    memset(d->im, 0, d->m * sizeof *d->im);
    for (int l = 0; l < d->masks; l++, y += d->m)
        ltn__plane_fold(&d->plane, y, d->im, d->want + (size_t)l * ltn__plane_floats(&d->plane));
}

/* The same for what moves x: below 0 there is noise only, and such steps would go to and fro there; 0 is the nearest
 * magnitude. */
static void expect_magnitudes(const ltn_operator *op, const float *y)
{
    const diffraction *d = op->state;
    expect(op, y);
    for (size_t i = 0; i < (size_t)d->masks * ltn__plane_floats(&d->plane); i++) d->want[i] = fmaxf(d->want[i], 0);
}

/* coded = F^-1 (y F coded / |F coded|), y in want; where F coded is 0 the phase is taken for 1. Returns the square of
 * |F coded| - y. */
static double impose(const diffraction *d, const float *want)
{
    float *f = d->spectrum;
    double all = 0;
    ltn__plane_forward(&d->plane, d->coded, f);
    for (int a = 0; a < d->plane.lines; a++) {
        double line = 0;
        for (int b = 0; b < d->plane.height; b++, f += 2, want += 2) {
            const float size = sqrtf(f[0] * f[0] + f[1] * f[1]), over = size > 0 ? *want / size : 0, off = size - *want;
            line += (double)(off * off);
            f[0] = size > 0 ? over * f[0] : *want;
            f[1] *= over;
        }
        all += a == 0 || 2 * a == d->plane.width ? line : 2 * line; /* the others stand for -k too */
    }
    ltn__plane_inverse(&d->plane, d->spectrum, d->coded);
    return all / (double)d->m;
}

/* back = B^T (y B x / |B x|) for one channel, y in want; returns | |B x| - y |^2. */
static double with_phases(const ltn_operator *op, const float *x)
{
    const diffraction *d = op->state;
    double off = 0;
    memset(d->back, 0, d->n * sizeof *d->back);
    for (int l = 0; l < d->masks; l++) {
        embed(op, l, x, d->coded);
        off += impose(d, d->want + (size_t)l * ltn__plane_floats(&d->plane));
        extract(op, l, d->coded, d->back);
    }
    return off;
}

static void vjp(const ltn_operator *op, const float *x, const float *y, float *out)
{
    const diffraction *d = op->state;
    for (int c = 0; c < op->x.channels; c++, x += d->n, out += d->n, y += d->m * (size_t)d->masks) {
        expect(op, y);
        with_phases(op, x);
        memcpy(out, d->back, d->n * sizeof *out);
    }
}

/* x <- prior + pull (back - prior); returns the change's share of |x|. */
static double advance(const diffraction *d, float pull, float *x)
{
    double change = 0, size = 0;
    for (size_t i = 0; i < d->n; i++) {
        const float next = d->prior[i] + pull * (d->back[i] - d->prior[i]);
        change += (double)((next - x[i]) * (next - x[i]));
        size += (double)(next * next);
        x[i] = next;
    }
    return size > 0 ? sqrt(change / size) : 0;
}

/* x may be u: u is what x - pull back says of it, kept as the part of x that does not change. */
static void prox(const ltn_operator *op, const float *y, double gamma, const float *u, float *x)
{
    const diffraction *d = op->state;
    const float pull = (float)(isinf(gamma) ? 1 : gamma / (1 + gamma));
    for (int c = 0; c < op->x.channels; c++, x += d->n, u += d->n, y += d->m * (size_t)d->masks) {
        memcpy(d->prior, u, d->n * sizeof *u);
        memcpy(x, d->prior, d->n * sizeof *x);
        expect_magnitudes(op, y);
        double change = 1;
        for (int step = 0; step < PROX_STEPS && pull > 0 && change > settled; step++) {
            with_phases(op, x);
            change = advance(d, pull, x);
        }
    }
}

/* ---- Without a prior ---- */
static double project(const ltn_operator *op, int steps, float *x)
{
    const diffraction *d = op->state;
    double off = INFINITY;
    for (int step = 0; step < steps; step++) {
        off = with_phases(op, x);
        for (size_t i = 0; i < d->n; i++) x[i] = fminf(fmaxf(d->back[i], 0), 1);
    }
    return off;
}

/* around = F^-1 (y F around / |F around|) where that is a picture in [0, 1] with zeros around it, around - beta times
 * that elsewhere. x is the picture before and after. */
static void hybrid(const ltn_operator *op, int steps, float *x)
{
    const diffraction *d = op->state;
    embed(op, 0, x, d->around);
    for (int step = 0; step < steps; step++) {
        memcpy(d->coded, d->around, d->m * sizeof *d->coded);
        impose(d, d->want);
        for (int i = 0; i < op->y.height; i++) {
            float *at = d->around + (size_t)i * (size_t)op->y.width;
            const float *next = d->coded + (size_t)i * (size_t)op->y.width;
            const int inside = i < op->x.height ? op->x.width : 0;
            for (int k = 0; k < inside; k++) at[k] = next[k] >= 0 && next[k] <= 1 ? next[k] : at[k] - beta * next[k];
            for (int k = inside; k < op->y.width; k++) at[k] -= beta * next[k];
        }
    }
    memset(x, 0, d->n * sizeof *x);
    extract(op, 0, d->around, x);
    for (size_t i = 0; i < d->n; i++) x[i] = fminf(fmaxf(x[i], 0), 1);
}

/* The best of some random starts, for the channel in want. */
static void begin(const ltn_operator *op, float *x)
{
    const diffraction *d = op->state;
    const ltn_rng rng = {d->seed, LTN_STREAM_MASK};
    double least = INFINITY;
    for (size_t k = 0; k < STARTS; k++) {
        for (size_t i = 0; i < d->n; i++) x[i] = (float)ltn__uniform(rng, k * d->n + i);
        hybrid(op, START_STEPS, x);
        const double off = project(op, NAIVE_STEPS, x);
        if (off < least) least = off, memcpy(d->prior, x, d->n * sizeof *x);
    }
    memcpy(x, d->prior, d->n * sizeof *x);
}

/* By 180 degrees, all channels, unless the half that is to be the brighter one is. */
static void turn(const ltn_operator *op, float *x)
{
    const diffraction *d = op->state;
    const size_t channels = (size_t)op->x.channels, half = d->n / 2;
    double above = 0;
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < half; i++) above += (double)x[c * d->n + i] - x[(c + 1) * d->n - 1 - i];
    if (d->turned ? above <= 0 : above >= 0) return;
    for (size_t c = 0; c < channels; c++, x += d->n)
        for (size_t i = 0; i < half; i++) {
            const float first = x[i];
            x[i] = x[d->n - 1 - i];
            x[d->n - 1 - i] = first;
        }
}

static void naive_bare(const ltn_operator *op, const float *y, float *x)
{
    const diffraction *d = op->state;
    const size_t channels = (size_t)op->x.channels;
    const float *before = x;
    expect_magnitudes(op, y);
    begin(op, x);
    for (size_t k = 1; k < ROUNDS * channels; k++) {
        float *at = x + k % channels * d->n;
        memmove(at, before, d->n * sizeof *at);
        expect_magnitudes(op, y + k % channels * d->m);
        hybrid(op, ROUND_STEPS, at);
        project(op, ROUND_STEPS, at);
        before = at;
    }
    turn(op, x);
}

static void naive(const ltn_operator *op, const float *y, float *x)
{
    const diffraction *d = op->state;
    if (d->bare) {
        naive_bare(op, y, x);
        return;
    }
    for (int c = 0; c < op->x.channels; c++, x += d->n, y += d->m * (size_t)d->masks) {
        for (size_t i = 0; i < d->n; i++) x[i] = 0.5f;
        expect_magnitudes(op, y);
        project(op, NAIVE_STEPS, x);
    }
}

/* ---- The row ---- */
static int exposures(const ltn_spec *s)
{
    return ltn__given(s, "oversample") ? 1 : (int)ltn__num(s, "masks");
}

/* The side of a measurement of a picture's side; it grows with that. */
static double padded(const ltn_spec *s, int side)
{
    return ltn__given(s, "oversample") ? floor(ltn__num(s, "oversample") * side + 0.5) : side;
}

static ltn_status check(const ltn_operator *op, const ltn_spec *s)
{
    const double width = padded(s, op->x.width), height = padded(s, op->x.height);
    if (ltn__given(s, "oversample") && ltn__given(s, "masks"))
        return ltn__fail(op->ctx, LTN_EINVAL, "phase: oversample excludes masks");
    if (ltn__given(s, "turned") && !ltn__given(s, "oversample"))
        return ltn__fail(op->ctx, LTN_EINVAL, "phase: turned needs oversample: masks leave no doubt");
    if (exposures(s) * width * height * op->x.channels > INT32_MAX)
        return ltn__fail(op->ctx, LTN_ESHAPE, "phase: %d x %.0f x %.0f measurements of a channel are too large",
                         exposures(s), width, height);
    return LTN_OK;
}

static ltn_status open_memory(const ltn_operator *op, diffraction *d)
{
    const size_t spectrum = ltn__plane_floats(&d->plane);
    float **const exposure[] = {&d->coded, &d->re, &d->im, &d->around};
    float **const plane[] = {&d->back, &d->prior};
    if (ltn__alloc_each(op->ctx, d->m, exposure, LTN_COUNT(exposure))) return LTN_ENOMEM;
    if (ltn__alloc_each(op->ctx, d->n, plane, LTN_COUNT(plane))) return LTN_ENOMEM;
    d->spectrum = ltn__alloc(op->ctx, spectrum, sizeof *d->spectrum);
    d->want = ltn__alloc(op->ctx, spectrum * (size_t)d->masks, sizeof *d->want);
    d->sign = ltn__alloc(op->ctx, d->n * (size_t)d->masks, sizeof *d->sign);
    return d->spectrum && d->want && d->sign ? LTN_OK : LTN_ENOMEM;
}

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    ltn_status st = check(op, s);
    if (st) return st;
    diffraction *d = op->state = ltn__alloc(op->ctx, 1, sizeof *d);
    if (!d) return LTN_ENOMEM;
    d->bare = ltn__given(s, "oversample");
    d->turned = ltn__num(s, "turned") > 0;
    d->masks = exposures(s);
    d->seed = (uint64_t)ltn__num(s, "seed");
    op->y = (ltn_size){(int)padded(s, op->x.width), (int)padded(s, op->x.height), d->masks * op->x.channels};
    d->n = ltn__plane_count(op->x), d->m = ltn__plane_count(op->y);
    op->map = (ltn_map){.forward = forward, .nonlinear = true, .vjp = vjp, .prox = prox, .naive = naive, .exact = true};
    st = ltn__plane_open(op->ctx, LTN_FOURIER, op->y.width, op->y.height, &d->plane);
    if (!st) st = open_memory(op, d);
    if (st) return st;
    const ltn_rng rng = {d->seed, LTN_STREAM_MASK};
    for (size_t i = 0; i < d->n * (size_t)d->masks; i++) d->sign[i] = !d->bare && ltn__uniform(rng, i) < 0.5 ? -1 : 1;
    return LTN_OK;
}

static void close(ltn_operator *op)
{
    diffraction *d = op->state;
    if (!d) return;
    float *const block[] = {d->sign, d->want, d->spectrum, d->coded, d->re, d->im, d->around, d->back, d->prior};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(op->ctx, block[i]);
    ltn__plane_close(&d->plane);
    ltn__free(op->ctx, d);
    op->state = NULL;
}

/* The side that gives this one; 0: none does. */
static int unpadded(const ltn_spec *s, int side)
{
    int x = side;
    if (ltn__given(s, "oversample")) x = LTN_MAX((int)(side / ltn__num(s, "oversample")) - 1, 1);
    while (padded(s, x) < side) x++;
    return padded(s, x) > side ? 0 : x;
}

static ltn_status input_size(ltn_ctx *ctx, const ltn_spec *s, ltn_size y, ltn_size *x)
{
    const int masks = exposures(s);
    if (y.channels % masks)
        return ltn__fail(ctx, LTN_ESHAPE, "phase: the measurement has %d channels; expected a multiple of masks=%d",
                         y.channels, masks);
    *x = (ltn_size){unpadded(s, y.width), unpadded(s, y.height), y.channels / masks};
    if (!x->width || !x->height)
        return ltn__fail(ctx, LTN_ESHAPE,
                         "phase: the measurement is %d x %d, which no picture gives with oversample=%g", y.width,
                         y.height, ltn__num(s, "oversample"));
    return LTN_OK;
}

static const ltn_param params[] = {
    {.name = "masks", .help = "exposures, each behind its own mask of random signs", .type = LTN_INT, .def = 4,
     .min = 1, .max = 64},
    {.name = "oversample",
     .help = "without masks: one exposure of the picture amid zeros, as many times as wide and high",
     .type = LTN_FLOAT, .def = 2, .min = 1, .max = 8},
    {.name = "turned", .help = "1: the darker half above, of two pictures that oversample cannot tell apart",
     .type = LTN_INT, .max = 1},
    {.name = "seed", .help = "of the masks; with oversample, of where the search begins", .type = LTN_INT, .max = 1e15},
    {0},
};

const ltn_degradation_row ltn__degradation_phase = {
    .entry = {.name = "phase", .alias = "phase-retrieval|coded-diffraction",
              .help = "magnitudes of Fourier transforms, their phases lost", .cite = "Candes, Li, Soltanolkotabi 2015",
              .param = params},
    .input_size = input_size, .open = open, .abstract = true, .close = close,
};
