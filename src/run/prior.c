/* prior.c - a model as a prior on pictures of any size.
 *
 * The picture is continued by reflection to a canvas that the autoencoder's factor divides and that is at least as
 * large as the UNet's training size. The autoencoder sees the whole canvas; the UNet runs on overlapping windows of its
 * training size, in batches, and the predictions z0 are blended with weights that fall linearly towards a window's
 * border: z0 = sum_k w_k z0_k / sum_k w_k. Solvers blend in every step, so no border can survive to show as a seam. */
#include "prior.h"

#include <math.h>
#include <string.h>

enum { MAXBATCH = 8 };

typedef struct axis { /* windows along one side of the latent canvas */
    int64_t length, window;
    int count;
} axis;

typedef struct model_prior {
    ltn_prior base;
    ltn_model *m;
    ltn_size picture;
    axis y, x;
    ltn_part *encode, *decode, *unet;
    ltn_array text, empty;
    int batch;
    /* What gradients need, made when first asked for. */
    ltn_part *encode_back, *decode_back, *kept;
    double guidance; /* for networks that take it as an input */
    int t;        /* of the prediction kept */
    float *z;     /* its latent */
    float *clean; /* the predictions of a batch of windows, or their cotangents */
    float *weight; /* of a window, (window, window) */
    float *sum;    /* of the weights at each place of the canvas */
} model_prior;

static int64_t axis_start(const axis *a, int k)
{
    return a->count == 1 ? 0 : (k * (a->length - a->window) + (a->count - 1) / 2) / (a->count - 1);
}

/* Windows overlap by at least a quarter. */
static axis axis_of(int64_t pixels, int64_t factor, int64_t window)
{
    axis a = {.length = LTN_MAX((pixels + factor - 1) / factor, window), .window = window};
    int64_t stride = LTN_MAX(window * 3 / 4, 1);
    a.count = (int)((a.length - window + stride - 1) / stride) + 1;
    return a;
}

void ltn__to_canvas(const float *x, ltn_size picture, int64_t rows, int64_t columns, float *canvas)
{
    const int64_t w = picture.width, h = picture.height, plane = picture.channels == 1 ? 0 : w * h;
    for (int64_t i = 0; i < rows; i++) {
        const float *row = x + ltn__mirror(i, h) * w;
        for (int64_t j = 0; j < columns; j++, canvas += 3) {
            int64_t k = ltn__mirror(j, w);
            for (int c = 0; c < 3; c++) canvas[c] = row[c * plane + k];
        }
    }
}

void ltn__from_canvas(const float *canvas, int64_t columns, ltn_size picture, float *x)
{
    const int64_t w = picture.width, h = picture.height;
    for (int64_t i = 0; i < h; i++)
        for (int64_t j = 0; j < w; j++) {
            const float *v = canvas + 3 * (i * columns + j);
            if (picture.channels == 1) x[i * w + j] = (v[0] + v[1] + v[2]) / 3;
            else for (int c = 0; c < 3; c++) x[(c * h + i) * w + j] = v[c];
        }
}

static void to_canvas(const model_prior *p, const float *x, float *canvas)
{
    ltn__to_canvas(x, p->picture, p->y.length * p->m->factor, p->x.length * p->m->factor, canvas);
}

static void from_canvas(const model_prior *p, const float *canvas, float *x)
{
    ltn__from_canvas(canvas, p->x.length * p->m->factor, p->picture, x);
}

static ltn_status encode(ltn_prior *base, const float *x, float *z)
{
    model_prior *p = (model_prior *)base;
    to_canvas(p, x, ltn__coder_data(p->encode, "picture"));
    ltn_status s = ltn__coder_run(p->m, p->encode);
    if (!s) memcpy(z, ltn__coder_data(p->encode, "out"), base->latent_count * sizeof *z);
    return s;
}

static ltn_status decode(ltn_prior *base, const float *z, float *x)
{
    model_prior *p = (model_prior *)base;
    memcpy(ltn__coder_data(p->decode, "latent"), z, base->latent_count * sizeof *z);
    ltn_status s = ltn__coder_run(p->m, p->decode);
    if (!s) from_canvas(p, ltn__coder_data(p->decode, "out"), x);
    return s;
}

/* Row r of window k of the canvas. */
static size_t window_row(const model_prior *p, int k, int64_t r)
{
    int64_t top = axis_start(&p->y, k / p->x.count), left = axis_start(&p->x, k % p->x.count);
    return (size_t)(((top + r) * p->x.length + left) * p->m->latent_channels);
}

static void set_conditions(const model_prior *p, ltn_part *unet, int t)
{
    int width = ltn__time_width(p->m);
    ltn__tell_guidance(unet->plan, p->guidance);
    float *time = ltn__plan_data(unet->plan, "time"), *text = ltn__plan_data(unet->plan, "text");
    for (int b = 0; b < p->batch; b++) {
        ltn__time_sinusoid(p->m, t, time + b * width);
        if (text) memcpy(text + (size_t)b * p->base.text_count, p->base.text, p->base.text_count * sizeof *text);
    }
}

static size_t window_count(const model_prior *p)
{
    return (size_t)(p->y.window * p->x.window * p->m->latent_channels);
}

/* Windows first, first + 1, ... of the canvas as a batch; the last batch repeats the last window. */
static void take_windows(const model_prior *p, const float *z, int first, float *batch)
{
    size_t row = (size_t)(p->x.window * p->m->latent_channels);
    int last = p->y.count * p->x.count - 1;
    for (int b = 0; b < p->batch; b++)
        for (int64_t r = 0; r < p->y.window; r++, batch += row)
            memcpy(batch, z + window_row(p, LTN_MIN(first + b, last), r), row * sizeof *batch);
}

/* canvas += weights * batch, window by window; without weights they are all one. Repeated windows do not count. */
static void add_windows(const model_prior *p, const float *batch, int first, bool weighted, float *canvas)
{
    int64_t side = p->x.window, c = p->m->latent_channels;
    for (int b = 0; b < p->batch && first + b < p->y.count * p->x.count; b++)
        for (int64_t r = 0; r < p->y.window; r++, batch += side * c) {
            float *sum = canvas + window_row(p, first + b, r);
            for (int64_t i = 0; i < side * c; i++) sum[i] += (weighted ? p->weight[r * side + i / c] : 1) * batch[i];
        }
}

/* Networks that ask for it (SDXL) are told the canvas's size and each window's place on it. */
static void set_places(const model_prior *p, ltn_part *unet, int first)
{
    float *place = ltn__plan_data(unet->plan, "place");
    int64_t f = p->m->factor, each = place ? ltn__plan_dims(unet->plan, "place").d[3] : 0;
    int last = p->y.count * p->x.count - 1;
    for (int b = 0; place && b < p->batch; b++) {
        int k = LTN_MIN(first + b, last);
        int64_t top = axis_start(&p->y, k / p->x.count), left = axis_start(&p->x, k % p->x.count);
        const int64_t at[6] = {p->y.length * f, p->x.length * f, top * f, left * f, p->y.window * f, p->x.window * f};
        ltn__place_sinusoids(p->m, at, place + b * each);
    }
}

/* Runs the network on a batch of windows; its prediction of their clean latents stands in p->clean. */
static void predict_batch(const model_prior *p, ltn_part *unet, const float *z, int t, int first)
{
    float *in = ltn__plan_data(unet->plan, "sample");
    take_windows(p, z, first, in);
    set_places(p, unet, first);
    ltn__plan_run_to(unet->plan, "out");
    ltn__schedule_predict(&p->m->schedule, t, in, ltn__plan_data(unet->plan, "out"), p->clean,
                          window_count(p) * (size_t)p->batch);
}

/* The blended prediction of all windows. */
static void predict_by(model_prior *p, ltn_part *unet, const float *z, int t, float *z0)
{
    size_t n = p->base.latent_count, c = (size_t)p->m->latent_channels;
    set_conditions(p, unet, t);
    memset(z0, 0, n * sizeof *z0);
    for (int first = 0; first < p->y.count * p->x.count; first += p->batch) {
        predict_batch(p, unet, z, t, first);
        add_windows(p, p->clean, first, true, z0);
    }
    for (size_t i = 0; i < n; i++) z0[i] /= p->sum[i / c];
    p->base.calls++;
}

static ltn_status predict(ltn_prior *base, const float *z, int t, float *z0)
{
    model_prior *p = (model_prior *)base;
    predict_by(p, p->unet, z, t, z0);
    return LTN_OK;
}

/* ---- Gradients ---- */

static ltn_status encode_kept(ltn_prior *base, const float *x, float *z)
{
    model_prior *p = (model_prior *)base;
    int64_t f = p->m->factor;
    ltn_status s = p->encode_back
                       ? LTN_OK
                       : ltn__model_part(p->m, LTN_ENCODE_BACK, 1, p->y.length * f, p->x.length * f, &p->encode_back);
    if (s) return s;
    to_canvas(p, x, ltn__plan_data(p->encode_back->plan, "picture"));
    ltn__plan_run_to(p->encode_back->plan, "out");
    memcpy(z, ltn__plan_data(p->encode_back->plan, "out"), base->latent_count * sizeof *z);
    return LTN_OK;
}

/* The adjoint of to_canvas: what was continued by reflection is added up. */
static void to_canvas_back(const model_prior *p, const float *canvas, float *dx)
{
    int64_t f = p->m->factor, rows = p->y.length * f, columns = p->x.length * f, w = p->picture.width,
            h = p->picture.height;
    int64_t plane = p->picture.channels == 1 ? 0 : w * h;
    memset(dx, 0, ltn__size_count(p->picture) * sizeof *dx);
    for (int64_t i = 0; i < rows; i++) {
        float *row = dx + ltn__mirror(i, h) * w;
        for (int64_t j = 0; j < columns; j++, canvas += 3) {
            int64_t k = ltn__mirror(j, w);
            for (int c = 0; c < 3; c++) row[c * plane + k] += canvas[c];
        }
    }
}

static ltn_status encode_back(ltn_prior *base, const float *dz, float *dx)
{
    model_prior *p = (model_prior *)base;
    memcpy(ltn__plan_data(p->encode_back->plan, "cotangent"), dz, base->latent_count * sizeof *dz);
    ltn__plan_run_on(p->encode_back->plan, "out");
    to_canvas_back(p, ltn__plan_data(p->encode_back->plan, "d_picture"), dx);
    return LTN_OK;
}

static ltn_status decode_kept(ltn_prior *base, const float *z, float *x)
{
    model_prior *p = (model_prior *)base;
    ltn_status s = p->decode_back
                       ? LTN_OK
                       : ltn__model_part(p->m, LTN_DECODE_BACK, 1, p->y.length, p->x.length, &p->decode_back);
    if (s) return s;
    memcpy(ltn__plan_data(p->decode_back->plan, "latent"), z, base->latent_count * sizeof *z);
    ltn__plan_run_to(p->decode_back->plan, "out");
    from_canvas(p, ltn__plan_data(p->decode_back->plan, "out"), x);
    return LTN_OK;
}

/* The adjoint of from_canvas: nothing comes from outside the picture. */
static void from_canvas_back(const model_prior *p, const float *dx, float *canvas)
{
    int64_t f = p->m->factor, columns = p->x.length * f, w = p->picture.width, h = p->picture.height;
    bool grey = p->picture.channels == 1;
    memset(canvas, 0, (size_t)(p->y.length * f * columns * 3) * sizeof *canvas);
    for (int64_t i = 0; i < h; i++)
        for (int64_t j = 0; j < w; j++)
            for (int c = 0; c < 3; c++)
                canvas[3 * (i * columns + j) + c] = grey ? dx[i * w + j] / 3 : dx[(c * h + i) * w + j];
}

static ltn_status decode_back(ltn_prior *base, const float *dx, float *dz)
{
    model_prior *p = (model_prior *)base;
    from_canvas_back(p, dx, ltn__plan_data(p->decode_back->plan, "cotangent"));
    ltn__plan_run_on(p->decode_back->plan, "out");
    memcpy(dz, ltn__plan_data(p->decode_back->plan, "d_latent"), base->latent_count * sizeof *dz);
    return LTN_OK;
}

static ltn_status predict_kept(ltn_prior *base, const float *z, int t, int wrt, float *z0)
{
    static const ltn_part_kind kind[] = {LTN_UNET, LTN_UNET_BY_SAMPLE, LTN_UNET_BY_TEXT, LTN_UNET_BY_BOTH};
    model_prior *p = (model_prior *)base;
    ltn_status s = ltn__model_part(p->m, kind[wrt], p->batch, p->y.window, p->x.window, &p->kept);
    if (s) return s;
    p->t = t;
    memcpy(p->z, z, base->latent_count * sizeof *z);
    predict_by(p, p->kept, z, t, z0);
    return LTN_OK;
}

/* The cotangents of a batch's predictions into p->clean: dz0 as it was blended, nothing for repeated windows. */
static void blend_back(const model_prior *p, const float *dz0, int first)
{
    int64_t side = p->x.window, c = p->m->latent_channels;
    float *out = p->clean;
    for (int b = 0; b < p->batch; b++) {
        bool counts = first + b < p->y.count * p->x.count;
        for (int64_t r = 0; r < p->y.window; r++, out += side * c) {
            size_t at = counts ? window_row(p, first + b, r) : 0;
            for (int64_t i = 0; i < side * c; i++)
                out[i] = counts
                             ? dz0[at + (size_t)i] * p->weight[r * side + i / c] / p->sum[(at + (size_t)i) / (size_t)c]
                             : 0;
        }
    }
}

/* One batch: p->clean becomes the direct part of the latents' cotangent, the network's goes on through it. */
static void batch_back(const model_prior *p, const float *dz0, int first, float *dz, float *dtext)
{
    ltn_plan *plan = p->kept->plan;
    blend_back(p, dz0, first);
    ltn__schedule_back(&p->m->schedule, p->t, ltn__plan_data(plan, "sample"), ltn__plan_data(plan, "out"), p->clean,
                       p->clean, ltn__plan_data(plan, "cotangent"), window_count(p) * (size_t)p->batch);
    ltn__plan_run_on(plan, "out");
    if (dz) {
        add_windows(p, p->clean, first, false, dz);
        add_windows(p, ltn__plan_data(plan, "d_sample"), first, false, dz);
    }
    const float *each = dtext ? ltn__plan_data(plan, "d_text") : NULL;
    for (int b = 0; each && b < p->batch; b++, each += p->base.text_count)
        for (size_t i = 0; i < p->base.text_count; i++) dtext[i] += each[i];
}

/* Where there is more than one batch of windows, the plan holds the last one: the others are run again. */
static ltn_status predict_back(ltn_prior *base, const float *dz0, float *dz, float *dtext)
{
    model_prior *p = (model_prior *)base;
    int count = p->y.count * p->x.count;
    if (dz) memset(dz, 0, base->latent_count * sizeof *dz);
    if (dtext) memset(dtext, 0, base->text_count * sizeof *dtext);
    for (int first = 0; first < count; first += p->batch) {
        if (count > p->batch) predict_batch(p, p->kept, p->z, p->t, first);
        batch_back(p, dz0, first, dz, dtext);
    }
    base->gradients++;
    return LTN_OK;
}

/* ---- Opening ---- */

/* Tents; where the canvas is one window wide the weight of that direction is one. */
static float tent(const axis *a, int64_t i)
{
    return a->count == 1 ? 1.0f : (float)(LTN_MIN(i, a->window - 1 - i) + 1);
}

static void make_weights(model_prior *p)
{
    int64_t side = p->x.window;
    for (int64_t r = 0; r < p->y.window; r++)
        for (int64_t i = 0; i < side; i++) p->weight[r * side + i] = tent(&p->y, r) * tent(&p->x, i);
    for (int k = 0; k < p->y.count * p->x.count; k++)
        for (int64_t r = 0; r < p->y.window; r++) {
            float *sum = p->sum + window_row(p, k, r) / (size_t)p->m->latent_channels;
            for (int64_t i = 0; i < side; i++) sum[i] += p->weight[r * side + i];
        }
}

static double calibrated(const ltn_prior *base, const char *table, int of, double x, int scale, double absent)
{
    return ltn__calibrated(((const model_prior *)base)->m->calibration, table, of, x, scale, absent);
}

_Static_assert((int)LTN_OCTAVES == (int)LTN_BANDS, "the columns of a spectrum");
/* What the autoencoder loses in an octave is a share of what it keeps there; the table has that of average pictures,
 * where t = 0. A picture of one channel is the mean of three, so its coefficients have a third of grey's variance. */
static double spectrum(const ltn_prior *p, int t, int part, int band, double energy)
{
    const int of = 1 + part * LTN_BANDS + band;
    const double least = calibrated(p, "error_spectrum", of, 0, LTN_LOG_Y, 0);
    const double more = calibrated(p, "error_spectrum", of, t, LTN_LOG_Y, 0) - least;
    const double alike = ((const model_prior *)p)->picture.channels == 1 ? 3 : 1;
    return fmax(more, 0) / alike + calibrated(p, "lost_share", of, 0, LTN_LOG_Y, 0) * energy;
}

/* Without a table: grows with the noise level, up to the variance of pictures. */
static double error(const ltn_prior *p, int t)
{
    return calibrated(p, "one_step_error", 1, t, LTN_LOG_Y, 0.2 * (1 - p->alpha_bar[t]));
}

/* Without a table: four times that of pictures, as the variances of latents and pictures are. */
static double latent_error(const ltn_prior *p, int t)
{
    return calibrated(p, "latent_error", 1, t, LTN_LOG_Y, 0.8 * (1 - p->alpha_bar[t]));
}

/* Without a table: latents have unit variance and pictures a deviation of about 1/2, so noise e on a picture is noise 2
 * e on its latent, and the t is sought where sqrt((1 - ab) / ab) = 2 e; in pixels, e. */
static int uncalibrated_time(const ltn_prior *p, double e)
{
    const double noise = ((const model_prior *)p)->m->pixels ? e : 2 * e;
    int t = 1;
    while (t < p->train_steps - 1 && (1 - p->alpha_bar[t]) / p->alpha_bar[t] < noise * noise) t++;
    return t;
}

static int time_of(const ltn_prior *p, double e)
{
    const double t = calibrated(p, "noisy_picture", 1, e, LTN_LOG_X, uncalibrated_time(p, e));
    return (int)lrint(LTN_MIN(LTN_MAX(t, 1), p->train_steps - 1));
}

static double error_at(const ltn_prior *p, double e)
{
    double absent = 0.2 * (1 - p->alpha_bar[uncalibrated_time(p, e)]);
    return calibrated(p, "noisy_picture", 2, e, LTN_LOG_X | LTN_LOG_Y, absent);
}

void ltn__prior_close(ltn_prior **pp)
{
    model_prior *p = (model_prior *)*pp;
    if (!p) return;
    ltn_ctx *ctx = p->m->ctx;
    ltn_array_free(ctx, &p->text);
    ltn_array_free(ctx, &p->empty);
    ltn__free(ctx, p->z);
    ltn__free(ctx, p->clean);
    ltn__free(ctx, p->weight);
    ltn__free(ctx, p->sum);
    ltn__free(ctx, p);
    *pp = NULL;
}

ltn_status ltn__prior_guide(ltn_prior *base, double w)
{
    model_prior *p = (model_prior *)base;
    if (!ltn__unet_takes_guidance(p->m))
        return ltn__fail(p->m->ctx, LTN_EINVAL, "guidance: this model does not take it as an input");
    if (!(w >= 0 && w <= 100)) return ltn__fail(p->m->ctx, LTN_EINVAL, "guidance must be from 0 to 100");
    p->guidance = w;
    return LTN_OK;
}

void ltn__prior_latent(const ltn_prior *base, int64_t dim[3])
{
    const model_prior *p = (const model_prior *)base;
    dim[0] = p->y.length;
    dim[1] = p->x.length;
    dim[2] = p->m->latent_channels;
}

int ltn__prior_edges(const ltn_prior *base, int *column, int max)
{
    const model_prior *p = (const model_prior *)base;
    int n = 0, factor = p->m->factor;
    for (int k = 1; k < p->x.count && n + 2 <= max; k++) {
        column[n++] = (int)axis_start(&p->x, k) * factor;
        column[n++] = (int)(axis_start(&p->x, k - 1) + p->x.window) * factor;
    }
    return n;
}

static ltn_status open_parts(model_prior *p)
{
    ltn_model *m = p->m;
    int64_t f = m->factor, h = p->y.length, w = p->x.length;
    ltn_status s = ltn__model_part(m, LTN_UNET, p->batch, p->y.window, p->x.window, &p->unet);
    if (!s) s = ltn__model_coder(m, LTN_ENCODE, h * f, w * f, &p->encode);
    if (!s) s = ltn__model_coder(m, LTN_DECODE, h, w, &p->decode);
    return s;
}

/* Models in pixels take none. */
static ltn_status take_texts(model_prior *p, const char *prompt)
{
    if (p->m->pixels && !prompt[0]) return LTN_OK;
    const ltn_status s = ltn_model_text(p->m, prompt, &p->text);
    return s ? s : ltn__model_empty(p->m, &p->empty);
}

ltn_status ltn__prior_open(ltn_model *m, ltn_size picture, const char *prompt, ltn_prior **out)
{
    *out = NULL;
    if (picture.channels != 1 && picture.channels != 3)
        return ltn__fail(m->ctx, LTN_ESHAPE, "the model restores grey and RGB pictures, not %d channels",
                         picture.channels);
    if (m->schedule.thresholding)
        return ltn__fail(m->ctx, LTN_EINVAL, "%s: its scheduler has thresholding, which no solver can follow", m->path);
    model_prior *p = ltn__alloc(m->ctx, 1, sizeof *p);
    if (!p) return LTN_ENOMEM;
    p->m = m;
    p->guidance = LTN_GUIDANCE;
    p->picture = picture;
    p->y = axis_of(picture.height, m->factor, m->sample_size);
    p->x = axis_of(picture.width, m->factor, m->sample_size);
    int windows = p->y.count * p->x.count, rounds = (windows + MAXBATCH - 1) / MAXBATCH;
    p->batch = (windows + rounds - 1) / rounds;
    size_t places = (size_t)(p->y.length * p->x.length);
    p->base = (ltn_prior){.pixels = m->pixels, .latent_count = places * (size_t)m->latent_channels,
                          .train_steps = m->schedule.train_steps,
                          .alpha_bar = m->schedule.alpha_bar, .encode = encode, .decode = decode, .predict = predict,
                          .encode_kept = encode_kept, .decode_kept = decode_kept, .predict_kept = predict_kept,
                          .encode_back = encode_back, .decode_back = decode_back, .predict_back = predict_back,
                          .error = error, .latent_error = latent_error, .time_of = time_of, .error_at = error_at};
    if (ltn__json_get(m->calibration, "error_spectrum")) p->base.spectrum = spectrum;
    ltn_status s = LTN_ENOMEM;
    p->weight = ltn__alloc(m->ctx, (size_t)(p->y.window * p->x.window), sizeof *p->weight);
    p->sum = ltn__alloc(m->ctx, places, sizeof *p->sum);
    p->z = ltn__alloc(m->ctx, p->base.latent_count, sizeof *p->z);
    p->clean = ltn__alloc(m->ctx, window_count(p) * (size_t)p->batch, sizeof *p->clean);
    if (!p->weight || !p->sum || !p->z || !p->clean) goto fail;
    make_weights(p);
    if ((s = take_texts(p, prompt)) || (s = open_parts(p))) goto fail;
    p->base.text = p->text.data;
    p->base.empty = p->empty.data;
    p->base.tokens = m->text_length;
    p->base.text_count = (size_t)m->text_length * (size_t)m->text_width;
    *out = &p->base;
    return LTN_OK;
fail:
    *out = &p->base;
    ltn__prior_close(out);
    return s;
}
