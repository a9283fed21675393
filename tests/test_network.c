/* test_network.c - metrics that look through a network, LPIPS and FID, against PyTorch (tools/golden/network.py):
 * weights and pictures are one formula here and there. */
#include "file/file.h"
#include "metric/metric.h"
#include "test.h"

enum { MOST = 2 * 13 };
static const struct kind {
    const char *name;
    int layers, index[13], kernel[13];
} kinds[] = {
    {"alex", 5, {0, 3, 6, 8, 10}, {11, 5, 3, 3, 3}},
    {"vgg", 13, {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28}, {3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3}},
};
static const int alex[] = {8, 12, 16, 10, 6}, vgg[] = {4, 4, 6, 6, 8, 8, 8, 8, 8, 8, 6, 6, 6},
                 full[] = {64, 192, 384, 256, 256}, alex_taps[] = {8, 12, 16, 10, 6}, vgg_taps[] = {4, 6, 8, 8, 6};

static void fill(float *p, int64_t n, int seed, float scale, float shift)
{
    for (int64_t i = 0; i < n; i++) p[i] = (float)sin(0.37 * (double)(i * i) + seed) * scale + shift;
}

static ltn_named_array array(const char *name, int rank, const int64_t *dim)
{
    ltn_named_array a = {name, {.rank = rank}};
    int64_t n = 1;
    for (int k = 0; k < rank; k++) n *= a.array.dim[k] = dim[k];
    a.array.data = malloc((size_t)n * sizeof(float));
    return a;
}

/* The weights of a network of these widths; "features.3.weight", or without the folder. */
static void write_network(ltn_ctx *ctx, const char *path, const struct kind *k, const int *widths, const char *folder)
{
    ltn_named_array a[MOST];
    char name[MOST][40];
    for (int i = 0; i < k->layers; i++) {
        const int64_t in = i ? widths[i - 1] : 3, kernel = k->kernel[i], fan = in * kernel * kernel;
        snprintf(name[2 * i], sizeof name[0], "%s%d.weight", folder, k->index[i]);
        snprintf(name[2 * i + 1], sizeof name[0], "%s%d.bias", folder, k->index[i]);
        a[2 * i] = array(name[2 * i], 4, (int64_t[]){widths[i], in, kernel, kernel});
        a[2 * i + 1] = array(name[2 * i + 1], 1, (int64_t[]){widths[i]});
        fill(a[2 * i].array.data, widths[i] * fan, k->index[i], (float)(2 / sqrt((double)fan)), 0);
        fill(a[2 * i + 1].array.data, widths[i], k->index[i] + 50, 0.1f, 0);
    }
    OK(ctx, ltn__tensors_write(ctx, path, a, 2 * k->layers));
    for (int i = 0; i < 2 * k->layers; i++) free(a[i].array.data);
}

static void write_heads(ltn_ctx *ctx, const char *path, const int taps[5])
{
    ltn_named_array a[5];
    char name[5][40];
    for (int k = 0; k < 5; k++) {
        snprintf(name[k], sizeof name[0], "lin%d.model.1.weight", k);
        a[k] = array(name[k], 4, (int64_t[]){1, taps[k], 1, 1});
        fill(a[k].array.data, taps[k], k + 80, 1, 0);
        for (int i = 0; i < taps[k]; i++) a[k].array.data[i] = fabsf(a[k].array.data[i]);
    }
    OK(ctx, ltn__tensors_write(ctx, path, a, 5));
    for (int k = 0; k < 5; k++) free(a[k].array.data);
}

static ltn_image picture(ltn_ctx *ctx, int seed, int width, int height)
{
    ltn_image im = {0};
    OK(ctx, ltn_image_new(ctx, width, height, 3, NULL, &im));
    fill(im.data, (int64_t)width * height * 3, seed, 0.5f, 0.5f);
    return im;
}

static double want(ltn_ctx *ctx, const char *name)
{
    ltn_tensors *t = NULL;
    double v = NAN;
    OK(ctx, ltn__tensors_open(ctx, test_golden("network.safetensors"), &t));
    ltn_weight *w = t ? ltn__tensors_find(t, name) : NULL;
    if (w) v = *(const double *)w->data;
    ltn__tensors_close(&t);
    return v;
}

static const char *lpips_spec(const char *net, const char *backbone, const char *head)
{
    static char spec[2000];
    snprintf(spec, sizeof spec, "lpips:net=%s,backbone='%s',head='%s'", net, backbone, head);
    return spec;
}

static void lpips_is(ltn_ctx *ctx, const char *name, const char *spec, int width, int height)
{
    ltn_metric *m = NULL;
    ltn_image a = picture(ctx, 1, width, height), b = picture(ctx, 2, width, height), other = picture(ctx, 3, 50, 33);
    double v = NAN;
    test_name("%s", name);
    OK(ctx, ltn_metric_open(ctx, spec, &m));
    for (int k = 0; m && k < 2; k++) { /* and again, after a picture of another size */
        OK(ctx, ltn_metric_add(m, &a, &b, &v));
        NEAR(v, want(ctx, name), 1e-5);
        OK(ctx, ltn_metric_add(m, &b, &a, &v));
        NEAR(v, want(ctx, name), 1e-5);
        OK(ctx, ltn_metric_add(m, &other, &other, &v));
        CHECK(v == 0);
    }
    ltn_metric_close(&m);
    ltn_image_free(ctx, &a);
    ltn_image_free(ctx, &b);
    ltn_image_free(ctx, &other);
}

static char paths[4][600];
static const char *path(int k, const char *file)
{
    snprintf(paths[k], sizeof paths[k], "%s", test_temp(file));
    return paths[k];
}

TEST(lpips_of_small_networks)
{
    ltn_ctx *ctx;
    ltn_open(&ctx, NULL);
    write_network(ctx, path(0, "alex.safetensors"), &kinds[0], alex, "features.");
    write_heads(ctx, path(1, "alex_heads.safetensors"), alex_taps);
    lpips_is(ctx, "lpips.alex", lpips_spec("alex", paths[0], paths[1]), 40, 47);
    write_network(ctx, path(2, "vgg.safetensors"), &kinds[1], vgg, "");
    write_heads(ctx, path(3, "vgg_heads.safetensors"), vgg_taps);
    lpips_is(ctx, "lpips.vgg", lpips_spec("vgg", paths[2], paths[3]), 21, 24);
    ltn_close(&ctx);
}

TEST(lpips_with_learned_heads)
{
    const char *heads = test_shared("data/lpips/alex.pth");
    ltn_ctx *ctx;
    if (!heads) {
        test_skip("no shared folder");
        return;
    }
    ltn_open(&ctx, NULL);
    write_network(ctx, path(0, "full.safetensors"), &kinds[0], full, "features.");
    lpips_is(ctx, "lpips.full", lpips_spec("alex", paths[0], heads), 40, 47);
    ltn_close(&ctx);
}

static void fid_is(ltn_ctx *ctx, int layer, int first, int second)
{
    char spec[1000], name[16];
    ltn_metric *m = NULL;
    double v = NAN;
    snprintf(spec, sizeof spec, "fid:features='%s',layer=%d", paths[0], layer);
    snprintf(name, sizeof name, "fid.%d", layer);
    test_name("%s", name);
    OK(ctx, ltn_metric_open(ctx, spec, &m));
    for (int k = 0; m && k < LTN_MAX(first, second); k++) {
        ltn_image a = picture(ctx, 100 + k, 40, 47), b = picture(ctx, 200 + k, 40, 47);
        OK(ctx, ltn_metric_add(m, k < first ? &a : NULL, k < second ? &b : NULL, &v));
        CHECK(isnan(v));
        if (!k) CHECK(ltn_metric_finish(m, &v) == LTN_EINVAL && strstr(ltn_error(ctx), "sets of 1 and 1 pictures"));
        ltn_image_free(ctx, &a);
        ltn_image_free(ctx, &b);
    }
    OK(ctx, ltn_metric_finish(m, &v));
    NEAR(v, want(ctx, name), 1e-5);
    OK(ctx, ltn_metric_finish(m, &v)); /* and again: nothing is used up */
    NEAR(v, want(ctx, name), 1e-5);
    ltn_metric_close(&m);
}

TEST(fid_of_two_sets)
{
    ltn_ctx *ctx;
    ltn_open(&ctx, NULL);
    write_network(ctx, path(0, "alex.safetensors"), &kinds[0], alex, "features.");
    fid_is(ctx, 5, 14, 20);
    fid_is(ctx, 2, 5, 8);
    ltn_close(&ctx);
}

TEST(networks_refused)
{
    ltn_ctx *ctx;
    double v;
    ltn_open(&ctx, NULL);
    write_network(ctx, path(0, "alex.safetensors"), &kinds[0], alex, "features.");
    write_heads(ctx, path(1, "vgg_heads.safetensors"), vgg_taps);
    ltn_image a = picture(ctx, 1, 40, 47), small = picture(ctx, 1, 30, 40), grey = {40, 47, 1, a.data, NULL};
    const char *net = paths[0], *heads = paths[1];
    const struct { const char *net, *backbone, *head; const ltn_image *im; const char *message; } bad[] = {
        {"alex", net, heads, &a, "lin0.model.1.weight: not of the shape that the backbone's features need"},
        {"alex", net, heads, &small, "lpips: pictures must have 31 x 31 pixels at least, not 30 x 40"},
        {"alex", net, heads, &grey, "lpips: pictures must be RGB"},
        {"alex", net, net, &a, "lin0.model.1.weight: no such weight"},
        {"alex", heads, heads, &a, "features.0.weight: no such weight"},
        {"vgg", net, heads, &a, "features.0.weight: not the weight of a 3 x 3 convolution of vgg"},
        {"alex", "nowhere.pth", heads, &a, "nowhere.pth: No such file"},
        {"alexa", net, heads, &a, "did you mean \"alex\"?"},
    };
    for (int i = 0; i < LTN_COUNT(bad); i++) {
        const char *spec = lpips_spec(bad[i].net, bad[i].backbone, bad[i].head);
        CHECK(ltn_measure(ctx, spec, bad[i].im, bad[i].im, &v) < 0);
        if (!strstr(ltn_error(ctx), bad[i].message)) test_fail(__FILE__, __LINE__, "case %d: %s", i, ltn_error(ctx));
    }
    CHECK(ltn_measure(ctx, "lpips", &a, &a, &v) == LTN_EINVAL);
    ltn_image_free(ctx, &a);
    ltn_image_free(ctx, &small);
    ltn_close(&ctx);
}

TEST(network_memory)
{
    test_memory m = {0};
    ltn_options o = test_options(&m);
    ltn_ctx *ctx, *plain;
    ltn_open(&plain, NULL);
    write_network(plain, path(0, "alex.safetensors"), &kinds[0], alex, "features.");
    write_heads(plain, path(1, "alex_heads.safetensors"), alex_taps);
    ltn_image a = picture(plain, 1, 40, 40);
    ltn_open(&ctx, &o);
    for (int which = 0; which < 2; which++) {
        char fid[1000];
        double v;
        ltn_status s = LTN_ENOMEM;
        snprintf(fid, sizeof fid, "fid:features='%s'", paths[0]);
        test_name("%s", which ? "fid" : "lpips");
        for (int k = 1; s == LTN_ENOMEM && k < 2000; k++) {
            ltn_metric *metric = NULL;
            m.fail_at = m.calls + k;
            s = ltn_metric_open(ctx, which ? fid : lpips_spec("alex", paths[0], paths[1]), &metric);
            for (int i = 0; i < 2 && !s; i++) s = ltn_metric_add(metric, &a, &a, &v);
            if (!s) s = ltn_metric_finish(metric, &v);
            ltn_metric_close(&metric);
            CHECK(m.alive == 1);
        }
        m.fail_at = 0;
        OK(ctx, s);
    }
    ltn_close(&ctx);
    ltn_image_free(plain, &a);
    ltn_close(&plain);
}
