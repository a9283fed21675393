/* calibrate.c - measures a prior on clean pictures and writes what latino.json holds, to standard output.
 *
 *     build/bench/calibrate MODEL FOLDER [PICTURES] > MODEL/latino.json
 *
 * one_step_error: t, mean |D(f(sqrt(ab) E(x) + sqrt(1 - ab) n, t)) - x|^2.
 * latent_error: t, the same of the latents, mean |f(...) - E(x)|^2.
 * error_spectrum: t, the variances of the orthonormal cosine coefficients of the first one's D(f(...)) - x in seven
 * octaves of frequency, those of grey, then those of colour (coloured.h).
 * lost_share: 0, |D(E(x)) - x|^2 over |D(E(x))|^2 in the same octaves.
 * noisy_picture: e, the t that makes mean |D(f(sqrt(ab) E(x + e n), t)) - x|^2 least, and that minimum; the t between
 * the candidates is the vertex of a parabola in log t. FOLDER holds pictures and captions.tsv (file, caption; a model
 * in pixels reads no caption); pictures should be of the prior's own size, and not those that it was trained on. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "degrade/fourier.h"
#include "run/prior.h"
#include "solve/coloured.h"

static const int times[] = {5, 20, 40, 80, 124, 187, 249, 374, 499, 624, 749, 874, 999};
static const double noises[] = {0.001, 0.05, 0.1, 0.2, 0.4, 0.8};
static const int candidates[] = {1, 3, 6, 12, 20, 32, 48, 80, 120, 180, 268, 360, 490, 620, 760};
enum { TIMES = LTN_COUNT(times), NOISES = LTN_COUNT(noises), CANDIDATES = LTN_COUNT(candidates), MAXPICTURES = 1000 };

typedef struct sums {
    double clean[TIMES], latent[TIMES], noisy[NOISES][CANDIDATES];
    ltn_octaves error[TIMES], kept, lost;
    int count;
} sums;

static void die(ltn_ctx *ctx, const char *what)
{
    fprintf(stderr, "calibrate: %s: %s\n", what, ltn_error(ctx));
    exit(1);
}

static double distance2(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sum / (double)n;
}

/* Mean |D(z0) - x|^2, z0 = f(sqrt(ab) z + noise, t) standing behind the first latent in room. */
static double error_of(ltn_prior *p, const float *z, double noise, uint64_t seed, int t, const float *x, size_t n,
                       float *room)
{
    float *in = room, *z0 = room + p->latent_count, *u = z0 + p->latent_count;
    double a = sqrt(p->alpha_bar[t]);
    for (size_t i = 0; i < p->latent_count; i++)
        in[i] = (float)(a * z[i] + (noise > 0 ? noise * ltn__normal((ltn_rng){seed, 200}, i) : 0));
    p->predict(p, in, t, z0);
    p->decode(p, z0, u);
    return distance2(u, x, n);
}

/* Adds the octaves of u - x; u is used up. */
static void sort_error(const ltn_plane *f, ltn_size size, const float *x, float *u, ltn_octaves *o)
{
    const size_t n = ltn__size_count(size);
    float *room = malloc((n + ltn__plane_floats(f)) * sizeof *room);
    for (size_t i = 0; i < n; i++) u[i] -= x[i];
    ltn__octaves(f, size.channels, u, room, room + n, o);
    free(room);
}

/* What the autoencoder keeps of x, whose latent is z, and what it loses; u is used up. */
static void round_trip(ltn_prior *p, const ltn_plane *f, ltn_size size, const float *x, const float *z, float *u,
                       sums *s)
{
    const size_t n = ltn__size_count(size);
    float *room = malloc((n + ltn__plane_floats(f)) * sizeof *room);
    p->decode(p, z, u);
    ltn__octaves(f, size.channels, u, room, room + n, &s->kept);
    free(room);
    sort_error(f, size, x, u, &s->lost);
}

static void measure(ltn_prior *p, const ltn_plane *f, ltn_size size, const float *x, size_t n, uint64_t seed, sums *s)
{
    float *room = malloc((3 * p->latent_count + 2 * n) * sizeof *room), *z = room + 2 * p->latent_count + n,
          *noisy = z + p->latent_count;
    p->encode(p, x, z);
    round_trip(p, f, size, x, z, room + 2 * p->latent_count, s);
    for (int k = 0; k < TIMES; k++) {
        s->clean[k] += error_of(p, z, sqrt(1 - p->alpha_bar[times[k]]), seed, times[k], x, n, room);
        s->latent[k] += distance2(room + p->latent_count, z, p->latent_count);
        sort_error(f, size, x, room + 2 * p->latent_count, &s->error[k]);
    }
    for (int e = 0; e < NOISES; e++) {
        for (size_t i = 0; i < n; i++)
            noisy[i] = x[i] + (float)(noises[e] * ltn__normal((ltn_rng){seed, 300 + (uint64_t)e}, i));
        p->encode(p, noisy, z);
        for (int k = 0; k < CANDIDATES; k++) s->noisy[e][k] += error_of(p, z, 0, seed, candidates[k], x, n, room);
    }
    s->count++;
    free(room);
}

/* A row of the quotients of two sums in each octave. */
static void report_octaves(int t, const double a[][LTN_BANDS], const double b[][LTN_BANDS])
{
    printf("[%d", t);
    for (int part = 0; part < LTN_PARTS_OF_COLOUR; part++)
        for (int i = 0; i < LTN_BANDS; i++) printf(", %.3g", a[part][i] / fmax(b[part][i], 1e-9));
    printf("]");
}

static void report(const sums *s)
{
    printf("{\n \"one_step_error\": [");
    for (int k = 0; k < TIMES; k++) printf("%s[%d, %.5f]", k ? ", " : "", times[k], s->clean[k] / s->count);
    printf("],\n \"latent_error\": [");
    for (int k = 0; k < TIMES; k++) printf("%s[%d, %.5f]", k ? ", " : "", times[k], s->latent[k] / s->count);
    printf("],\n \"error_spectrum\": [");
    for (int k = 0; k < TIMES; k++) {
        if (k) printf(", ");
        report_octaves(times[k], s->error[k].square, s->error[k].modes);
    }
    printf("],\n \"lost_share\": [");
    report_octaves(0, s->lost.square, s->kept.square);
    printf("],\n \"noisy_picture\": [");
    for (int e = 0; e < NOISES; e++) {
        const double *v = s->noisy[e];
        int k = 0;
        for (int i = 1; i < CANDIDATES; i++)
            if (v[i] < v[k]) k = i;
        double t = candidates[k];
        if (k && k < CANDIDATES - 1) {
            double x0 = log(candidates[k - 1]), x1 = log(t), x2 = log(candidates[k + 1]);
            double d1 = (v[k] - v[k - 1]) / (x1 - x0), d2 = (v[k + 1] - v[k]) / (x2 - x1),
                   curve = (d2 - d1) / (x2 - x0);
            if (curve > 0) t = exp((x0 + x1) / 2 - d1 / (2 * curve));
        }
        printf("%s[%g, %.0f, %.5f]", e ? ", " : "", noises[e], t, v[k] / s->count);
    }
    printf("]\n}\n");
}

int main(int argc, char **argv)
{
    if (argc < 3) return fprintf(stderr, "usage: calibrate MODEL FOLDER [PICTURES]\n"), 2;
    ltn_ctx *ctx;
    ltn_model *model;
    static char file[MAXPICTURES][256], caption[MAXPICTURES][256];
    static sums s;
    char path[1024];
    int count = 0, wanted = argc > 3 ? atoi(argv[3]) : MAXPICTURES;
    if (ltn_open(&ctx, NULL)) return 1;
    if (ltn_model_open(ctx, argv[1], &model)) die(ctx, argv[1]);
    snprintf(path, sizeof path, "%s/captions.tsv", argv[2]);
    FILE *f = fopen(path, "r");
    if (!f) return fprintf(stderr, "calibrate: %s: cannot be read\n", path), 1;
    while (count < MAXPICTURES && fscanf(f, "%255[^\t]\t%255[^\n]\n", file[count], caption[count]) == 2) count++;
    fclose(f);
    if (wanted > count) wanted = count;
    for (int i = 0; i < wanted; i++) {
        int k = (int)((long)i * count / wanted);
        ltn_image x = {0};
        ltn_prior *p = NULL;
        snprintf(path, sizeof path, "%s/%s", argv[2], file[k]);
        if (ltn_image_read(ctx, path, &x)) die(ctx, path);
        ltn_size size = {x.width, x.height, x.channels};
        size_t n = ltn__size_count(size);
        for (size_t j = 0; j < n; j++) x.data[j] = 2 * x.data[j] - 1;
        if (ltn__prior_open(model, size, model->pixels ? "" : caption[k], &p)) die(ctx, path);
        ltn_plane cosines = {0};
        if (ltn__plane_open(ctx, LTN_COSINE, size.width, size.height, &cosines)) die(ctx, path);
        measure(p, &cosines, size, x.data, n, (uint64_t)i + 1, &s);
        ltn__plane_close(&cosines);
        ltn__prior_close(&p);
        ltn_image_free(ctx, &x);
        fprintf(stderr, "\r%d / %d", i + 1, wanted);
    }
    fprintf(stderr, "\n");
    report(&s);
    ltn_model_close(&model);
    ltn_close(&ctx);
    return 0;
}
