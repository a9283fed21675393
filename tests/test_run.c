/* test_run.c - a model as a solver's prior: any size, windows without seams, gradients; grey, alpha; bad tasks. */
#include "folder.h"
#include "run/prior.h"

static ltn_model *open_prior(ltn_ctx *ctx)
{
    ltn_model *m = NULL;
    OK(ctx, ltn_model_open(ctx, LTN_SOURCE_ROOT "/models/prior", &m));
    return m;
}

/* SD in small, with windows of 64 pixels: what is true of any network costs least on it. */
static ltn_model *open_small(ltn_ctx *ctx)
{
    ltn_model *m = NULL;
    OK(ctx, ltn_model_open(ctx, write_folder(&(folder){.unet.names = "unet_sd"}), &m));
    return m;
}

static ltn_status restore(ltn_ctx *ctx, const ltn_task *t, ltn_image *x, ltn_progress *progress)
{
    ltn_run *run = NULL;
    ltn_status s = ltn_run_open(ctx, t, &run);
    while (!s) s = ltn_run_step(run);
    if (s == LTN_DONE) s = ltn_run_estimate(run, x);
    if (run && progress) *progress = ltn_run_progress(run);
    ltn_run_close(&run);
    return s;
}

/* A picture of any size, 1 to 4 channels: the estimate has x's size and y's channels, alpha is kept. */
TEST(any_size_and_channels)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    ltn_model *m = open_small(ctx);
    static const struct {
        int width, height, channels;
        const char *degradation;
        int factor;
    } sizes[] = {{1, 1, 3, "identity", 1}, {37, 5, 1, "identity", 1}, {9, 11, 4, "downsample:factor=2", 2},
                 {141, 60, 2, "inpaint:random=0.3", 1}, {131, 90, 3, "blur:sigma=1", 1}};
    for (int i = 0; i < LTN_COUNT(sizes); i++) {
        test_name("%d x %d x %d", sizes[i].width, sizes[i].height, sizes[i].channels);
        ltn_image y = {0}, x = {0};
        ltn_degradation *d = NULL;
        OK(ctx, ltn_image_new(ctx, sizes[i].width, sizes[i].height, sizes[i].channels, NULL, &y));
        size_t n = (size_t)(y.width * y.height * y.channels);
        for (size_t k = 0; k < n; k++) y.data[k] = (float)ltn__uniform((ltn_rng){1, 50}, k / 8);
        OK(ctx, ltn_degradation_open_for(ctx, sizes[i].degradation, &y, &d));
        OK(ctx, restore(ctx, &(ltn_task){.model = m, .degradation = d, .y = &y, .sigma = 0.05,
                                         .solver = "latino:steps=2"}, &x, NULL));
        CHECK(x.width == y.width * sizes[i].factor && x.height == y.height * sizes[i].factor &&
              x.channels == y.channels);
        bool finite = true;
        for (size_t k = 0; k < (size_t)(x.width * x.height * x.channels); k++) finite &= isfinite(x.data[k]) != 0;
        CHECK(finite);
        if (x.channels % 2 == 0 && sizes[i].factor == 1) {
            size_t plane = (size_t)(x.width * x.height);
            CHECK(!memcmp(x.data + plane * (size_t)(x.channels - 1), y.data + plane * (size_t)(y.channels - 1),
                          plane * sizeof(float)));
        }
        ltn_image_free(ctx, &x);
        ltn_image_free(ctx, &y);
        ltn_degradation_close(&d);
    }
    ltn_model_close(&m);
    ltn_close(&ctx);
}

/* Mean |z0(j) - z0(j - 1)| across the latent columns where windows begin or end, over that elsewhere, for a prediction
 * from noise, on which windows that share nothing but their overlap disagree: near 1 where they are blended. */
TEST(no_seams_between_windows)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    ltn_model *m = open_prior(ctx);
    ltn_prior *p = NULL;
    OK(ctx, ltn__prior_open(m, (ltn_size){640, 128, 3}, "", &p));
    int64_t l[3];
    ltn__prior_latent(p, l);
    int edge[32], edges = ltn__prior_edges(p, edge, 32);
    CHECK(edges > 6);
    float *z = calloc(2 * p->latent_count, sizeof *z), *z0 = z + p->latent_count;
    ltn__normals((ltn_rng){1, 60}, 0, z, p->latent_count);
    OK(ctx, p->predict(p, z, 800, z0));
    double sum[2] = {0};
    long count[2] = {0};
    for (int64_t i = 0; i < l[0]; i++)
        for (int64_t j = 1; j < l[1]; j++) {
            bool border = false;
            for (int k = 0; k < edges; k++) border |= edge[k] == j * m->factor;
            const float *v = z0 + (i * l[1] + j) * l[2];
            for (int64_t c = 0; c < l[2]; c++) sum[border] += fabs(v[c] - v[c - l[2]]), count[border]++;
        }
    NEAR(sum[1] / (double)count[1] / (sum[0] / (double)count[0]), 1, 0.1);
    free(z);
    ltn__prior_close(&p);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

/* One differentiated function of a prior: n inputs, m outputs. */
typedef struct smooth {
    ltn_prior *p;
    size_t n, m;
    ltn_status (*forward)(ltn_prior *p, const float *in, float *out);
    ltn_status (*back)(ltn_prior *p, const float *out, float *in);
} smooth;
static ltn_status by_latent(ltn_prior *p, const float *z, float *z0)
{
    return p->predict_kept(p, z, 400, LTN_WRT_LATENT, z0);
}
static ltn_status to_latent(ltn_prior *p, const float *dz0, float *dz) { return p->predict_back(p, dz0, dz, NULL); }
static ltn_status by_text(ltn_prior *p, const float *text, float *z0)
{
    float *z = malloc(p->latent_count * sizeof *z);
    ltn__normals((ltn_rng){3, 60}, 0, z, p->latent_count);
    memcpy(p->text, text, p->text_count * sizeof *text);
    ltn_status s = p->predict_kept(p, z, 600, LTN_WRT_LATENT | LTN_WRT_TEXT, z0);
    free(z);
    return s;
}
static ltn_status to_text(ltn_prior *p, const float *dz0, float *dtext) { return p->predict_back(p, dz0, NULL, dtext); }

/* <v, J d> by a difference quotient against <J^T v, d>. */
static void check_product(const smooth *f, const char *what)
{
    enum { ROOM = 5 };
    const double h = 1e-3;
    size_t most = LTN_MAX(f->n, f->m);
    float *room = calloc(ROOM * most, sizeof *room);
    float *at = room, *d = at + most, *v = d + most, *out = v + most, *back = out + most;
    double quotient = 0, product = 0, size = 0;
    ltn__normals((ltn_rng){4, 60}, 0, at, f->n);
    ltn__normals((ltn_rng){5, 60}, 0, d, f->n);
    ltn__normals((ltn_rng){6, 60}, 0, v, f->m);
    for (int side = 1; side >= -1; side -= 2) {
        for (size_t i = 0; i < f->n; i++) at[i] += (float)(side * (side == 1 ? h : 2 * h)) * d[i];
        CHECK(f->forward(f->p, at, out) == LTN_OK);
        for (size_t i = 0; i < f->m; i++) quotient += side * (double)v[i] * out[i] / (2 * h);
    }
    for (size_t i = 0; i < f->n; i++) at[i] += (float)h * d[i];
    CHECK(f->forward(f->p, at, out) == LTN_OK && f->back(f->p, v, back) == LTN_OK);
    for (size_t i = 0; i < f->n; i++) product += (double)back[i] * d[i], size += (double)back[i] * back[i];
    test_name("%s", what);
    NEAR((quotient - product) / sqrt(size), 0, 0.03);
    free(room);
}

/* One window, several batches of windows, a picture smaller than a window (reflected), grey. */
TEST(prior_gradients_are_those_of_difference_quotients)
{
    static const ltn_size sizes[] = {{64, 64, 3}, {410, 64, 3}, {50, 37, 3}, {60, 50, 1}};
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    ltn_model *m = open_small(ctx);
    for (int i = 0; i < LTN_COUNT(sizes); i++) {
        ltn_prior *p = NULL;
        OK(ctx, ltn__prior_open(m, sizes[i], "a photo of a cat", &p));
        size_t pixels = ltn__size_count(sizes[i]);
        check_product(&(smooth){p, p->latent_count, p->latent_count, by_latent, to_latent}, "predict by the latent");
        check_product(&(smooth){p, p->text_count, p->latent_count, by_text, to_text}, "predict by the text");
        check_product(&(smooth){p, p->latent_count, pixels, p->decode_kept, p->decode_back}, "decode");
        check_product(&(smooth){p, pixels, p->latent_count, p->encode_kept, p->encode_back}, "encode");
        CHECK(p->calls == 6 && p->gradients == 2);
        ltn__prior_close(&p);
    }
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(bad_tasks_are_refused)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    ltn_model *m = open_prior(ctx);
    ltn_degradation *d = NULL;
    ltn_image y = {0}, other = {0}, x = {0};
    OK(ctx, ltn_image_new(ctx, 16, 16, 3, NULL, &y));
    OK(ctx, ltn_image_new(ctx, 16, 17, 3, NULL, &other));
    OK(ctx, ltn_degradation_open_for(ctx, "identity", &y, &d));
    ltn_task t = {.model = m, .degradation = d, .y = &y, .sigma = 0.1};
    ltn_task bad = t;
    bad.y = &other;
    CHECK(restore(ctx, &bad, &x, NULL) == LTN_ESHAPE && strstr(ltn_error(ctx), "16 x 17"));
    bad = t, bad.solver = "latno";
    CHECK(restore(ctx, &bad, &x, NULL) == LTN_EINVAL && strstr(ltn_error(ctx), "did you mean \"latino\""));
    bad = t, bad.sigma = NAN;
    CHECK(restore(ctx, &bad, &x, NULL) == LTN_EINVAL && strstr(ltn_error(ctx), "sigma"));
    bad = t, bad.model = NULL;
    CHECK(restore(ctx, &bad, &x, NULL) == LTN_EINVAL && strstr(ltn_error(ctx), "needs a model"));
    y.data[5] = NAN;
    CHECK(restore(ctx, &t, &x, NULL) == LTN_EINVAL && strstr(ltn_error(ctx), "not finite"));
    y.data[5] = 0;
    ltn_run *run = NULL;
    OK(ctx, ltn_run_open(ctx, &t, &run));
    ltn_run_cancel(run);
    CHECK(ltn_run_step(run) == LTN_ECANCEL);
    ltn_run_close(&run);
    ltn_image_free(ctx, &y);
    ltn_image_free(ctx, &other);
    ltn_degradation_close(&d);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

/* Every allocation of a run fails once: a clean error, nothing leaks. */
TEST(memory_fails_at_every_point_of_open)
{
    test_memory mem = {0};
    ltn_options opt = test_options(&mem);
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, &opt));
    ltn_model *m = open_prior(ctx);
    ltn_degradation *d = NULL;
    ltn_image y = {0}, x = {0};
    OK(ctx, ltn_image_new(ctx, 16, 16, 4, NULL, &y));
    OK(ctx, ltn_degradation_open_for(ctx, "identity", &y, &d));
    ltn_task t = {.model = m, .degradation = d, .y = &y, .sigma = 0.1, .solver = "latino:steps=1"};
    OK(ctx, restore(ctx, &t, &x, NULL)); /* the model's parts are planned from now on */
    ltn_image_free(ctx, &x);
    long alive = mem.alive;
    ltn_status s = LTN_ENOMEM;
    for (long k = 1; s == LTN_ENOMEM && k < 500; k++) {
        ltn_run *run = NULL;
        mem.calls = 0, mem.fail_at = k;
        s = ltn_run_open(ctx, &t, &run);
        mem.fail_at = 0;
        CHECK(s == LTN_OK || (s == LTN_ENOMEM && !run));
        ltn_run_close(&run);
        CHECK(mem.alive == alive);
    }
    CHECK(s == LTN_OK);
    ltn_image_free(ctx, &y);
    ltn_degradation_close(&d);
    ltn_model_close(&m);
    ltn_close(&ctx);
    CHECK(mem.alive == 0);
}

/* Where t = 0 the error is the autoencoder's share of what it keeps; later the table's average comes on top, a third of
 * it for a grey picture; without a table there is no spectrum. */
TEST(the_error_s_spectrum_is_the_table_s_over_what_the_autoencoder_loses)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    ltn_model *m = open_prior(ctx), *bare = open_small(ctx);
    ltn_prior *p = NULL, *grey = NULL, *none = NULL;
    OK(ctx, ltn__prior_open(m, (ltn_size){128, 128, 3}, "", &p));
    OK(ctx, ltn__prior_open(m, (ltn_size){128, 128, 1}, "", &grey));
    OK(ctx, ltn__prior_open(bare, (ltn_size){64, 64, 3}, "", &none));
    CHECK(!none->spectrum);
    NEAR(p->spectrum(p, 0, LTN_GREY, 6, 0.01), 1.14 * 0.01, 1e-9);
    NEAR(p->spectrum(p, 0, LTN_COLOUR, 4, 0.01), 1.96 * 0.01, 1e-9);
    NEAR(p->spectrum(p, 999, LTN_GREY, 6, 0), 0.0263 - 0.0167, 1e-9);
    NEAR(grey->spectrum(grey, 999, LTN_GREY, 6, 0), (0.0263 - 0.0167) / 3, 1e-9);
    ltn__prior_close(&p);
    ltn__prior_close(&grey);
    ltn__prior_close(&none);
    ltn_model_close(&m);
    ltn_model_close(&bare);
    ltn_close(&ctx);
}
