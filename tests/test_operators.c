/* test_operators.c - golden values of the operators, from deepinv, PIL and SciPy (tools/golden/degrade.py), the
 * files they read, and bad input. */
#include "degrade.h"

static const struct {
    const char *name, *spec, *from;
} values[] = {
    {"pil_bicubic", "downsample:factor=4", "x"},
    {"pil_bilinear", "downsample:factor=4,filter=bilinear", "x"},
    {"pil_box", "downsample:factor=4,filter=box", "x"},
    {"pil_lanczos", "downsample:factor=4,filter=lanczos", "x"},
    {"pil_none", "downsample:factor=4,filter=none", "x"},
    {"pil_odd_bicubic", "downsample:factor=3", "odd"},
    {"pil_odd_bilinear", "downsample:factor=3,filter=bilinear", "odd"},
    {"pil_odd_box", "downsample:factor=3,filter=box", "odd"},
    {"pil_odd_lanczos", "downsample:factor=3,filter=lanczos", "odd"},
    {"pil_odd_none", "downsample:factor=3,filter=none", "odd"},
    {"deepinv_bicubic", "downsample:factor=4,boundary=circular", "x"},
    {"correlation_bicubic", "downsample:factor=4,boundary=circular,order=correlation", "x"},
    {"deepinv_bilinear", "downsample:factor=4,filter=bilinear,boundary=circular", "x"},
    {"deepinv_gaussian", "downsample:factor=4,filter=gaussian,boundary=circular", "x"},
    {"deepinv_None", "downsample:factor=4,filter=none,boundary=circular", "x"},
    {"blur", "blur:sigma=2,boundary=circular", "x"},
    {"blur_mirror", "blur:sigma=2", "x"},
    {"kernel_circular", "blur:boundary=circular,kernel=KERNEL", "x"},
    {"kernel_circular_correlation", "blur:boundary=circular,order=correlation,kernel=KERNEL", "x"},
    {"kernel_valid", "blur:boundary=valid,kernel=KERNEL", "x"},
    {"kernel_valid_correlation", "blur:boundary=valid,order=correlation,kernel=KERNEL", "x"},
    {"kernel_mirror", "blur:kernel=KERNEL", "x"},
    {"grey", "colorize", "x"},
    {"matlab", "downsample:factor=4,boundary=mirror", "x"},
    {"matlab_odd", "downsample:factor=3,boundary=mirror", "odd"},
    {"anisotropic", "blur:sigma=3,across=1,angle=30,boundary=circular", "odd"},
    {"varying", "varying:sigma=0.5,corner=2,levels=3,boundary=circular", "odd"},
    {"varying_map", "varying:boundary=circular,kernels='KERNEL:KERNEL2',map='MAP'", "odd"},
    {"varying_valid", "varying:boundary=valid,sigma=0.5,corner=1,levels=3", "odd"},
    {"mosaic_bggr", "demosaic:pattern=bggr", "x"},
    {"mosaic_rggb", "demosaic:pattern=rggb", "x"},
    {"mosaic_grbg", "demosaic:pattern=grbg", "x"},
    {"mosaic_gbrg", "demosaic:pattern=gbrg", "x"},
    {"scan", "mri:mask='MASK'", "x"},
    {"cosines", "compressed:ratio=0.3,seed=5", "odd"},
    {"walsh", "compressed:ratio=0.3,seed=5,transform=hadamard", "square"},
    {"projections", "tomography:angles=20", "odd_square"},
    {"limited", "tomography:angles=15,range=90,circle=1", "inside"},
    {"magnitudes", "phase:masks=3,seed=5", "odd"},
    {"amid_zeros", "phase:oversample=2", "odd_square"},
    {"amid_zeros_odd", "phase:oversample=1.5", "odd"},
    {"clipped", "clip:gain=3,pivot=0.4", "odd"},
};

/* In either file. */
static ltn_image find(ltn_ctx *ctx, ltn_tensors *t[2], const char *name)
{
    return tensor(ctx, ltn__tensors_find(t[0], name) ? t[0] : t[1], name);
}

/* Tensors that specs name files of: the names stand in capitals there. */
static const struct {
    const char *name, *word;
} files[] = {{"kernel2", "KERNEL2"}, {"kernel", "KERNEL"}, {"map", "MAP"}, {"mask", "MASK"}};

static void write_files(ltn_ctx *ctx, ltn_tensors *t[2])
{
    for (int i = 0; i < LTN_COUNT(files); i++) {
        char file[64];
        const ltn_image k = find(ctx, t, files[i].name);
        snprintf(file, sizeof file, "%s.npy", files[i].name);
        OK(ctx, ltn_array_write(ctx, test_temp(file), &(ltn_array){2, {k.height, k.width}, k.data}));
    }
}

/* The spec with paths in the place of names. */
static void fill_in(const char *spec, char *out, size_t size)
{
    snprintf(out, size, "%s", spec);
    for (int i = 0; i < LTN_COUNT(files); i++)
        for (char *at; (at = strstr(out, files[i].word)) != NULL;) {
            char rest[1024], file[64];
            snprintf(rest, sizeof rest, "%s", at + strlen(files[i].word));
            snprintf(file, sizeof file, "%s.npy", files[i].name);
            snprintf(at, size - (size_t)(at - out), "%s%s", test_temp(file), rest);
        }
}

TEST(golden_values)
{
    ltn_ctx *ctx = context();
    ltn_tensors *t[2] = {golden(ctx, "degrade.safetensors"), golden(ctx, "operators.safetensors")};
    write_files(ctx, t);
    for (int i = 0; i < LTN_COUNT(values); i++) {
        char spec[1024];
        fill_in(values[i].spec, spec, sizeof spec);
        ltn_degradation *d = NULL;
        const ltn_image x = find(ctx, t, values[i].from), want = find(ctx, t, values[i].name);
        ltn_image y = {0};
        OK(ctx, ltn_degradation_open(ctx, spec, x.width, x.height, x.channels, &d));
        OK(ctx, ltn_degrade(d, &x, NULL, 0, &y));
        CHECK(y.width == want.width && y.height == want.height && y.channels == want.channels);
        NEAR(test_error(y.data, want.data, ltn__size_count(d->y)), 0, 1e-5);
        ltn_image_free(ctx, &y);
        ltn_degradation_close(&d);
    }
    for (int i = 0; i < 2; i++) ltn__tensors_close(&t[i]);
    ltn_close(&ctx);
}

TEST(golden_prox)
{
    static const struct {
        const char *y, *adjoint, *prox, *spec;
        double gamma;
    } cases[] = {
        {"deepinv_bicubic", "deepinv_bicubic_adjoint", "deepinv_bicubic_prox",
         "downsample:factor=4,boundary=circular", 3},
        {"blur", NULL, "blur_prox", "blur:sigma=2,boundary=circular", 100},
    };
    ltn_ctx *ctx = context();
    ltn_tensors *t = golden(ctx, "degrade.safetensors");
    for (int i = 0; i < LTN_COUNT(cases); i++) {
        const ltn_image y = tensor(ctx, t, cases[i].y), u = tensor(ctx, t, "u"),
                        want = tensor(ctx, t, cases[i].prox);
        ltn_degradation *d = NULL;
        ltn_image x = {0};
        OK(ctx, ltn_degradation_open_for(ctx, cases[i].spec, &y, &d));
        OK(ctx, ltn_prox(d, &y, cases[i].gamma, &u, &x));
        NEAR(test_error(x.data, want.data, ltn__size_count(d->x)), 0, 1e-5);
        ltn_image_free(ctx, &x);
        if (cases[i].adjoint) {
            const ltn_image back = tensor(ctx, t, cases[i].adjoint);
            OK(ctx, ltn_adjoint(d, &y, &x));
            NEAR(test_error(x.data, back.data, ltn__size_count(d->x)), 0, 1e-5);
            ltn_image_free(ctx, &x);
        }
        ltn_degradation_close(&d);
    }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

/* What a measurement is first made into. */
TEST(golden_naive)
{
    static const struct {
        const char *y, *naive, *spec;
    } cases[] = {
        {"mosaic_rggb", "bilinear_rggb", "demosaic"},
        {"projections", "back", "tomography:angles=20"},
    };
    ltn_ctx *ctx = context();
    ltn_tensors *t = golden(ctx, "operators.safetensors");
    for (int i = 0; i < LTN_COUNT(cases); i++) {
        const ltn_image y = tensor(ctx, t, cases[i].y), want = tensor(ctx, t, cases[i].naive);
        ltn_degradation *d = NULL;
        ltn_image x = {0};
        OK(ctx, ltn_degradation_open_for(ctx, cases[i].spec, &y, &d));
        OK(ctx, ltn_naive(d, &y, &x));
        NEAR(test_error(x.data, want.data, ltn__size_count(d->x)), 0, 1e-5);
        ltn_image_free(ctx, &x);
        ltn_degradation_close(&d);
    }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

TEST(kernels_of_every_format)
{
    ltn_ctx *ctx = context();
    float taps[6] = {0.2f, 0, 1, 0.4f, 0.6f, 0.8f}, *x = numbers(20 * 20, 1), y[3][400];
    const char *path[3] = {test_temp("k.npy"), test_temp("k.png"), test_temp("k.txt")};
    OK(ctx, ltn_array_write(ctx, path[0], &(ltn_array){2, {2, 3}, taps}));
    OK(ctx, ltn_image_write(ctx, path[1], &(ltn_image){3, 2, 1, taps, NULL}, NULL));
    write_text(path[2], "2 3\n0.2 0 1\n4e-1 .6\t0.8\n");
    for (int i = 0; i < 3; i++) {
        char spec[600];
        ltn_degradation *d = NULL;
        snprintf(spec, sizeof spec, "blur:kernel=%s", path[i]);
        OK(ctx, ltn_degradation_open(ctx, spec, 20, 20, 1, &d));
        if (d) ltn__forward(d, x, y[i]);
        ltn_degradation_close(&d);
        NEAR(distance(y[i], y[0], 400), 0, 1e-5);
    }
    char spec[600];
    ltn_degradation *d = NULL;
    snprintf(spec, sizeof spec, "blur:kernel=%s,normalize=0", path[2]);
    OK(ctx, ltn_degradation_open(ctx, spec, 20, 20, 1, &d));
    if (d) {
        NEAR(d->one[0], 3, 1e-5);
        for (int i = 0; i < 400; i++) x[i] = (float)i / 400;
        ltn__forward(d, x, y[0]);
        ltn__to_signed(d, y[0], y[0]);
        for (int i = 0; i < 400; i++) x[i] = 2 * x[i] - 1;
        ltn__forward(d, x, y[1]);
        NEAR(distance(y[0], y[1], 400), 0, 1e-5);
    }
    ltn_degradation_close(&d);
    free(x);
    ltn_close(&ctx);
}

/* Random and boxed holes, a mask file, and all of them at once; the hole is 0 whatever the noise. */
TEST(masks)
{
    ltn_ctx *ctx = context();
    float white[12 * 10];
    for (int i = 0; i < 120; i++) white[i] = i % 12 < 9;
    OK(ctx, ltn_image_write(ctx, test_temp("mask.png"), &(ltn_image){12, 10, 1, white, NULL}, NULL));
    for (int invert = 0; invert < 2; invert++) {
        char spec[600];
        ltn_degradation *d = NULL;
        snprintf(spec, sizeof spec, "inpaint:mask=%s,invert=%d,box=0:0:2:3", test_temp("mask.png"), invert);
        OK(ctx, ltn_degradation_open(ctx, spec, 12, 10, 3, &d));
        if (!d) break;
        ltn_image x, y = {0};
        OK(ctx, ltn_image_new(ctx, 12, 10, 3, NULL, &x));
        for (int i = 0; i < 360; i++) x.data[i] = 0.5f;
        OK(ctx, ltn_degrade(d, &x, "gaussian:sigma=0.1", 1, &y));
        size_t known = 0;
        for (int i = 0; i < 360; i++) {
            const int p = i % 120;
            const bool is = (white[p] > 0) != invert && !(p % 12 < 2 && p / 12 < 3);
            known += is;
            CHECK((y.data[i] != 0) == is);
        }
        CHECK(ltn__measured(d, NULL) == known);
        ltn_image_free(ctx, &x);
        ltn_image_free(ctx, &y);
        ltn_degradation_close(&d);
    }
    ltn_degradation *a = NULL, *b = NULL;
    OK(ctx, ltn_degradation_open(ctx, "inpaint:random=0.3,seed=5", 100, 80, 1, &a));
    OK(ctx, ltn_degradation_open(ctx, "inpaint:random=0.3,seed=6", 100, 80, 1, &b));
    NEAR(ltn__measured(a, NULL) / 8000.0, 0.7, 0.02);
    CHECK(memcmp(a->one, b->one, 8000 * sizeof(float)));
    ltn_degradation_close(&a);
    ltn_degradation_close(&b);
    ltn_close(&ctx);
}

/* Writing takes the shape of the letters; a scratch is as thick as is asked for, and they are the seed's. */
TEST(writing_and_scratches)
{
    ltn_ctx *ctx = context();
    ltn_degradation *d[3] = {NULL};
    OK(ctx, ltn_degradation_open(ctx, "inpaint:text=lT,thick=1", 12, 10, 1, &d[0]));
    static const char *const rows[] = {"............", ".#.....#####", ".#.......#..", ".#.......#..", ".#.......#..",
                                       ".#.......#..", ".#.......#..", ".#####...#..", "............", "............"};
    for (int i = 0; i < 120; i++) CHECK((d[0]->one[i] == 0) == (rows[i / 12][i % 12] == '#'));
    ltn_degradation_close(&d[0]);
    static const char *const spec[] = {"inpaint:scratches=4,thick=1", "inpaint:scratches=4,thick=3",
                                       "inpaint:scratches=4,thick=3,seed=1"};
    size_t lost[3];
    for (int k = 0; k < 3; k++) {
        OK(ctx, ltn_degradation_open(ctx, spec[k], 100, 80, 1, &d[k]));
        lost[k] = 8000 - ltn__measured(d[k], NULL);
    }
    CHECK(lost[0] > 40 && lost[0] < 1000);
    CHECK(lost[1] > 2 * lost[0] && lost[1] < 5 * lost[0]);
    CHECK(memcmp(d[1]->one, d[2]->one, 8000 * sizeof(float)));
    for (int k = 0; k < 3; k++) ltn_degradation_close(&d[k]);
    ltn_close(&ctx);
}

/* A linear ramp with half of its pixels gone comes back nearly whole. */
TEST(holes_are_filled)
{
    ltn_ctx *ctx = context();
    ltn_degradation *d = NULL;
    OK(ctx, ltn_degradation_open(ctx, "inpaint:random=0.5,box=20:10:8:8", 64, 40, 1, &d));
    float x[64 * 40], y[64 * 40], worst = 0;
    for (int i = 0; i < 64 * 40; i++) x[i] = (float)(i % 64) / 64;
    ltn__forward(d, x, y);
    ltn__naive(d, y, y);
    for (int i = 0; i < 64 * 40; i++) worst = fmaxf(worst, fabsf(x[i] - y[i]));
    NEAR(worst, 0, 0.06);
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}

/* ---- Bad input: what the message must hold ---- */
TEST(bad_input)
{
    static const struct {
        const char *spec;
        int width, height, channels;
        ltn_status status;
        const char *says;
    } cases[] = {
        {"blurr:sigma=3", 9, 9, 1, LTN_EINVAL, "blur"},
        {"blur:sigme=3", 9, 9, 1, LTN_EINVAL, "sigma"},
        {"blur:sigma=-1", 9, 9, 1, LTN_EINVAL, "sigma"},
        {"blur:sigma=x", 9, 9, 1, LTN_EINVAL, "sigma"},
        {"blur:boundary=circle", 9, 9, 1, LTN_EINVAL, "circular"},
        {"blur:sigma=3,kernel=k.npy", 9, 9, 1, LTN_EINVAL, "exclude"},
        {"blur:kernel=/nowhere/k.npy", 9, 9, 1, LTN_EIO, "/nowhere/k.npy"},
        {"blur:sigma=3,boundary=valid", 9, 9, 1, LTN_ESHAPE, "23 x 23"},
        {"downsample:factor=8", 5, 20, 3, LTN_ESHAPE, "factor 8 is larger than the picture, 5 x 20"},
        {"downsample:factor=0", 9, 9, 1, LTN_EINVAL, "factor"},
        {"downsample:factor=2.5", 9, 9, 1, LTN_EINVAL, "factor"},
        {"inpaint", 9, 9, 1, LTN_EINVAL, "mask=FILE"},
        {"inpaint:box=1:2:3", 9, 9, 1, LTN_EINVAL, "x:y:width:height"},
        {"inpaint:box=1:2:3:4x", 9, 9, 1, LTN_EINVAL, "x:y:width:height"},
        {"inpaint:box=5:5:5:2", 9, 9, 1, LTN_ESHAPE, "9 x 9"},
        {"inpaint:random=1.5", 9, 9, 1, LTN_EINVAL, "random"},
        {"colorize", 9, 9, 1, LTN_ESHAPE, "1 channels"},
        {"demosaic", 9, 9, 1, LTN_ESHAPE, "1 channels"},
        {"demosaic:pattern=rgbg", 9, 9, 3, LTN_EINVAL, "rggb"},
        {"inpaint:scratches=-1", 9, 9, 1, LTN_EINVAL, "scratches"},
        {"blur:kernel=k.npy,across=2", 9, 9, 1, LTN_EINVAL, "exclude"},
        {"varying:kernels=/nowhere/a.npy", 9, 9, 1, LTN_EIO, "/nowhere/a.npy"},
        {"varying:kernels=a.npy,sigma=1", 9, 9, 1, LTN_EINVAL, "excludes sigma"},
        {"varying:map=/nowhere/m.png", 9, 9, 1, LTN_EIO, "/nowhere/m.png"},
        {"jpeg:quality=0", 9, 9, 1, LTN_EINVAL, "quality"},
        {"jpeg:chroma=4:1:1", 9, 9, 1, LTN_EINVAL, "4:2:0"},
        {"jpeg", 9, 9, 5, LTN_ESHAPE, "5 channels"},
        {"clip:gain=0", 9, 9, 1, LTN_EINVAL, "gain"},
        {"mri:acceleration=0.5", 9, 9, 1, LTN_EINVAL, "acceleration"},
        {"mri:mask=/nowhere/m.png", 9, 9, 1, LTN_EIO, "/nowhere/m.png"},
        {"compressed:ratio=2", 9, 9, 1, LTN_EINVAL, "ratio"},
        {"compressed:transform=hadamard", 8, 12, 1, LTN_ESHAPE, "8 x 12"},
        {"tomography", 9, 8, 1, LTN_ESHAPE, "9 x 8; expected a square"},
        {"tomography:angles=0", 9, 9, 1, LTN_EINVAL, "angles"},
        {"phase:masks=0", 9, 9, 1, LTN_EINVAL, "masks"},
        {"phase:oversample=0", 9, 9, 1, LTN_EINVAL, "oversample"},
        {"phase:oversample=0.5", 9, 9, 1, LTN_EINVAL, "oversample"},
        {"phase:oversample=9", 9, 9, 1, LTN_EINVAL, "oversample"},
        {"phase:oversample=2,masks=2", 9, 9, 1, LTN_EINVAL, "excludes masks"},
        {"phase:turned=1", 9, 9, 1, LTN_EINVAL, "turned needs oversample"},
        {"phase:oversample=8", 1 << 14, 1 << 14, 1, LTN_ESHAPE, "131072 x 131072 measurements"},
        {"varying:boundary=valid", 9, 9, 1, LTN_ESHAPE, "larger than the picture"},
        {"identity", 0, 9, 1, LTN_ESHAPE, "empty"},
        {"identity", 1 << 16, 1 << 16, 3, LTN_ESHAPE, "too large"},
        {"blur+", 9, 9, 1, LTN_EINVAL, ""},
        {"", 9, 9, 1, LTN_EINVAL, ""},
        {"identity+identity+identity+identity+identity+identity+identity+identity+identity", 9, 9, 1,
         LTN_EINVAL, ""},
    };
    ltn_ctx *ctx = context();
    for (int i = 0; i < LTN_COUNT(cases); i++) {
        ltn_degradation *d = (void *)1;
        test_name("%s", cases[i].spec);
        const ltn_status s = ltn_degradation_open(ctx, cases[i].spec, cases[i].width, cases[i].height,
                                                  cases[i].channels, &d);
        if (s != cases[i].status || !strstr(ltn_error(ctx), cases[i].says))
            test_fail(__FILE__, __LINE__, "%d: %s", s, ltn_error(ctx));
        CHECK(!d);
    }
    CHECK(ltn_degradation_open(ctx, NULL, 9, 9, 1, &(ltn_degradation *){NULL}) == LTN_EINVAL);
    ltn_close(&ctx);
}

TEST(bad_files)
{
    ltn_ctx *ctx = context();
    float v[12 * 10] = {0};
    OK(ctx, ltn_image_write(ctx, test_temp("small.png"), &(ltn_image){12, 10, 1, v, NULL}, NULL));
    write_text(test_temp("zero.txt"), "2 2\n0 0 0 0\n");
    write_text(test_temp("short.txt"), "2 2\n1 0 0\n");
    write_text(test_temp("huge.txt"), "99999 2\n1 0 0\n");
    write_text(test_temp("word.txt"), "2 2\n1 0 nan 0\n");
    OK(ctx, ltn_array_write(ctx, test_temp("cube.npy"), &(ltn_array){3, {2, 2, 2}, v}));
    static const struct {
        const char *spec, *file, *says;
    } cases[] = {
        {"inpaint:mask", "small.png", "the mask is 12 x 10, the picture 9 x 8"},
        {"inpaint:mask", "none.png", "none.png"},
        {"blur:kernel", "zero.txt", "sum is 0"},
        {"blur:kernel", "short.txt", "expected 4 numbers, found 3"},
        {"blur:kernel", "huge.txt", "at most 4096"},
        {"blur:kernel", "word.txt", "found 2"},
        {"blur:kernel", "cube.npy", "two dimensions"},
        {"blur:kernel", "small.png", "sum is 0"},
    };
    for (int i = 0; i < LTN_COUNT(cases); i++) {
        char spec[600];
        ltn_degradation *d = NULL;
        test_name("%s=%s", cases[i].spec, cases[i].file);
        snprintf(spec, sizeof spec, "%s=%s", cases[i].spec, test_temp(cases[i].file));
        CHECK(ltn_degradation_open(ctx, spec, 9, 8, 1, &d) < 0 && !d);
        CHECK(strstr(ltn_error(ctx), cases[i].says) &&
              strstr(ltn_error(ctx), cases[i].file[0] == 'z' ? "zero" : cases[i].file));
        const ltn_image y = {9, 8, 1, v, NULL};
        CHECK(ltn_degradation_open_for(ctx, spec, &y, &d) < 0 && !d);
    }
    ltn_close(&ctx);
}

TEST(bad_pictures)
{
    ltn_ctx *ctx = context();
    ltn_degradation *d = NULL;
    float v[64] = {0};
    const ltn_image right = {8, 8, 1, v, NULL}, wrong = {8, 4, 1, v, NULL};
    ltn_image out;
    OK(ctx, ltn_degradation_open(ctx, "identity", 8, 8, 1, &d));
    CHECK(ltn_degrade(d, &wrong, NULL, 0, &out) == LTN_ESHAPE && strstr(ltn_error(ctx), "8 x 4"));
    CHECK(ltn_adjoint(d, &wrong, &out) == LTN_ESHAPE && !out.data);
    CHECK(ltn_naive(d, &wrong, &out) == LTN_ESHAPE);
    CHECK(ltn_prox(d, &right, 1, &wrong, &out) == LTN_ESHAPE);
    CHECK(ltn_prox(d, &wrong, 1, &right, &out) == LTN_ESHAPE);
    CHECK(ltn_prox(d, &right, -1, &right, &out) == LTN_EINVAL && strstr(ltn_error(ctx), "gamma"));
    CHECK(ltn_prox(d, &right, NAN, &right, &out) == LTN_EINVAL);
    CHECK(ltn_degrade(d, &right, "gausian", 0, &out) == LTN_EINVAL && strstr(ltn_error(ctx), "gaussian"));
    CHECK(ltn_degrade(d, &right, "gaussian:sigma=-1", 0, &out) == LTN_EINVAL &&
          strstr(ltn_error(ctx), "sigma"));
    ltn_degradation_close(&d);
    ltn_degradation_close(&d);
    ltn_degradation_close(NULL);
    static const struct {
        const char *spec, *says;
        int channels;
    } measurement[] = {{"mri", "real and imaginary", 3}, {"phase:masks=2", "multiple of masks=2", 3},
                       {"phase:oversample=2.2", "4 x 8, which no picture gives", 3}, {"demosaic", "3 channels", 3},
                       {"tomography:angles=7", "8 projections, not angles=7", 1}};
    for (int i = 0; i < LTN_COUNT(measurement); i++) {
        test_name("%s", measurement[i].spec);
        CHECK(ltn_degradation_open_for(ctx, measurement[i].spec, &(ltn_image){4, 8, measurement[i].channels, v, NULL},
                                       &d) == LTN_ESHAPE);
        CHECK(strstr(ltn_error(ctx), measurement[i].says) != NULL);
    }
    const ltn_image colours = {8, 8, 3, v, NULL}, huge = {1 << 20, 1, 1, v, NULL};
    CHECK(ltn_degradation_open_for(ctx, "colorize", &colours, &d) == LTN_ESHAPE);
    CHECK(ltn_degradation_open_for(ctx, "downsample:factor=1024+downsample:factor=1024", &huge, &d) ==
          LTN_ESHAPE);
    ltn_close(&ctx);
}
