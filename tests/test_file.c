/* test_file.c - strangers' bytes: what others wrote reads as they read it, what is written reads back, what
 * is damaged is refused with a message that names file and fault. */
#define _GNU_SOURCE
#include "file/file.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static ltn_ctx *ctx; /* of the test that runs */
static char logged[512];

static void on_log(void *user, int level, const char *text)
{
    (void)user;
    (void)level;
    snprintf(logged, sizeof logged, "%s", text);
}

static void begin(void)
{
    logged[0] = 0;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.log = on_log}));
}

/* The last call failed, and this is what it said (in part). */
static void said(const char *what, ltn_status s, const char *message)
{
    if (s >= 0 || !strstr(ltn_error(ctx), message))
        test_fail(__FILE__, __LINE__, "%s: status %d, message '%s', expected '%s'", what, s, ltn_error(ctx),
                  message);
}

static const char *golden(const char *name)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", test_golden("file"), name);
    return path;
}

static const char *extension(const char *name)
{
    return strrchr(name, '.') ? strrchr(name, '.') : "";
}

static int64_t elements(const ltn_weight *w)
{
    int64_t n = 1;
    for (int i = 0; i < w->rank; i++) n *= w->dim[i];
    return n;
}

/* ---- What others wrote ---- */

TEST(pictures_as_pillow_reads_them)
{
    ltn_tensors *t;
    int seen = 0;
    begin();
    OK(ctx, ltn__tensors_open(ctx, test_golden("file.safetensors"), &t));
    for (int i = 0; i < ltn__tensors_count(t); i++) {
        const ltn_weight *w = ltn__tensors_at(t, i);
        const char *e = extension(w->name);
        ltn_image im;
        if (!*e || !strcmp(e, ".npy")) continue;
        test_name("%s", w->name);
        OK(ctx, ltn_image_read(ctx, golden(w->name), &im));
        CHECK(im.channels == w->dim[0] && im.height == w->dim[1] && im.width == w->dim[2]);
        const bool exact = !strcmp(e, ".png") || strstr(w->name, "lossless");
        if (im.data) NEAR(test_error(im.data, w->data, (size_t)elements(w)), 0, exact ? 1e-6 : 2.01 / 255);
        ltn_image_free(ctx, &im);
        seen++;
    }
    CHECK(seen == 20);
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

TEST(arrays_as_numpy_reads_them)
{
    ltn_tensors *t;
    int seen = 0;
    begin();
    OK(ctx, ltn__tensors_open(ctx, test_golden("file.safetensors"), &t));
    const char *names[] = {"f2",    "f4", "f8big", "u1",     "u2big",   "u4",       "u8",       "i1",  "i2",
                           "i4big", "i8", "bool",  "scalar", "fortran", "version2", "version3", "half"};
    for (int i = 0; i < LTN_COUNT(names); i++, seen++) {
        char name[32];
        ltn_array a;
        snprintf(name, sizeof name, "%s.npy", names[i]);
        test_name("%s", name);
        const ltn_weight *w = ltn__tensors_find(t, name);
        CHECK(w != NULL);
        OK(ctx, ltn_array_read(ctx, golden(name), &a));
        CHECK(a.rank == w->rank);
        for (int d = 0; d < a.rank; d++) CHECK(a.dim[d] == w->dim[d]);
        const float *want = w->data;
        for (int64_t k = 0; a.data && k < elements(w); k++)
            CHECK(fabsf(want[k]) > 1e29f ? isinf(a.data[k]) && a.data[k] * want[k] > 0
                                         : a.data[k] == want[k]);
        ltn_array_free(ctx, &a);
    }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

TEST(resize_as_pillow_does)
{
    const int size[][2] = {{17, 13}, {34, 26}, {5, 4}, {40, 3}, {1, 1}, {16, 14}};
    ltn_tensors *t;
    begin();
    OK(ctx, ltn__tensors_open(ctx, test_golden("file.safetensors"), &t));
    float *from = (float *)(uintptr_t)ltn__tensors_find(t, "resize")->data;
    const ltn_image im = {.width = 17, .height = 13, .channels = 1, .data = from};
    for (int i = 0; i < LTN_COUNT(size); i++) {
        char name[32];
        ltn_image out;
        snprintf(name, sizeof name, "resize %d x %d", size[i][0], size[i][1]);
        test_name("%s", name);
        OK(ctx, ltn_image_resize(ctx, &im, size[i][0], size[i][1], &out));
        const ltn_weight *w = ltn__tensors_find(t, name);
        for (int64_t k = 0; k < elements(w); k++) NEAR(out.data[k], ((const float *)w->data)[k], 1e-6);
        ltn_image_free(ctx, &out);
    }
    said("no width", ltn_image_resize(ctx, &im, 0, 3, &(ltn_image){0}), "resize: a picture of 0 x");
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

TEST(channels_resize_alike)
{
    ltn_image three, one = {0}, out3, out1;
    begin();
    OK(ctx, ltn_image_new(ctx, 9, 7, 3, NULL, &three));
    for (int i = 0; i < 3 * 63; i++) three.data[i] = (float)((i * 37) % 101) / 100;
    for (int c = 0; c < 3; c++) {
        one = (ltn_image){.width = 9, .height = 7, .channels = 1, .data = three.data + c * 63};
        OK(ctx, ltn_image_resize(ctx, &three, 5, 12, &out3));
        OK(ctx, ltn_image_resize(ctx, &one, 5, 12, &out1));
        CHECK(!memcmp(out3.data + c * 60, out1.data, 60 * sizeof(float)));
        ltn_image_free(ctx, &out3);
        ltn_image_free(ctx, &out1);
    }
    ltn_image_free(ctx, &three);
    ltn_close(&ctx);
}

/* ---- Round trips ---- */

static ltn_image noise(int width, int height, int channels, int levels)
{
    ltn_image im;
    OK(ctx, ltn_image_new(ctx, width, height, channels, NULL, &im));
    for (int i = 0; i < width * height * channels; i++)
        im.data[i] = (float)(int)(ltn__uniform((ltn_rng){7, 7}, (uint64_t)i) * (levels + 1)) / (float)levels;
    return im;
}

static double there_and_back(const char *name, const ltn_image *im, const ltn_write_options *opt)
{
    ltn_image back;
    double worst = 0;
    OK(ctx, ltn_image_write(ctx, test_temp(name), im, opt));
    OK(ctx, ltn_image_read(ctx, test_temp(name), &back));
    const bool same = back.width == im->width && back.height == im->height && back.channels == im->channels;
    CHECK(same);
    for (int64_t i = 0; same && i < (int64_t)im->width * im->height * im->channels; i++)
        worst = fmax(worst, fabs(back.data[i] - im->data[i]));
    ltn_image_free(ctx, &back);
    return worst;
}

TEST(lossless_formats_give_back_every_bit)
{
    begin();
    for (int channels = 1; channels <= 4; channels++) {
        ltn_image a = noise(13, 6, channels, 255), b = noise(5, 11, channels, 65535);
        test_name("%d channels", channels);
        CHECK(there_and_back("a.png", &a, NULL) == 0);
        CHECK(there_and_back("a.PNG", &b, &(ltn_write_options){.bits = 16}) == 0);
        CHECK(there_and_back("a.npy", &b, NULL) == 0);
        if (channels > 2) CHECK(there_and_back("a.webp", &a, &(ltn_write_options){.quality = 100}) == 0);
        ltn_image_free(ctx, &a);
        ltn_image_free(ctx, &b);
    }
    ltn_image wild = noise(3, 4, 7, 10);
    wild.data[3] = -3.25f;
    wild.data[4] = 1e20f;
    CHECK(there_and_back("wild.npy", &wild, NULL) == 0);
    ltn_image_free(ctx, &wild);
    ltn_close(&ctx);
}

TEST(lossy_formats_come_close)
{
    begin();
    const char *names[] = {"b.jpg", "b.jpeg", "b.webp"};
    for (int n = 0; n < 3; n++)
        for (int channels = 1; channels <= 3; channels += 2) {
            if (n == 2 && channels == 1) continue;
            ltn_image im = noise(40, 30, channels, 1);
            for (int i = 0; i < 1200 * channels; i++) im.data[i] = 0.5f + 0.4f * sinf((float)(i % 1200) / 9);
            test_name("%s, %d channels", names[n], channels);
            CHECK(there_and_back(names[n], &im, NULL) < 0.06);
            CHECK(there_and_back(names[n], &im, &(ltn_write_options){.quality = 10}) > 0.06);
            ltn_image_free(ctx, &im);
        }
    ltn_close(&ctx);
}

TEST(samples_round_half_up_and_are_clipped)
{
    const float v[] = {-1, 0, 0.49f / 255, 0.5f / 255, 1.5f / 255, 254.49f / 255,
                       1,  7, INFINITY,    -INFINITY,  NAN};
    const int want[] = {0, 0, 0, 1, 2, 254, 255, 255, 255, 0, 0};
    ltn_image im = {.width = LTN_COUNT(v), .height = 1, .channels = 1, .data = (float *)(uintptr_t)v}, back;
    begin();
    OK(ctx, ltn_image_write(ctx, test_temp("v.png"), &im, NULL));
    OK(ctx, ltn_image_read(ctx, test_temp("v.png"), &back));
    for (int i = 0; i < LTN_COUNT(v); i++) NEAR(back.data[i] * 255, want[i], 1e-4);
    ltn_image_free(ctx, &back);
    ltn_close(&ctx);
}

TEST(bytes_of_an_array_are_numpys)
{
    ltn_bytes want, got;
    ltn_array a;
    begin();
    const char *names[] = {"f4.npy", "scalar.npy", "rank8.npy"};
    for (int i = 0; i < 3; i++) {
        OK(ctx, ltn_array_read(ctx, golden(names[i]), &a));
        OK(ctx, ltn_array_write(ctx, test_temp("out.npy"), &a));
        OK(ctx, ltn__file_read(ctx, golden(names[i]), &want));
        OK(ctx, ltn__file_read(ctx, test_temp("out.npy"), &got));
        test_name("%s", names[i]);
        CHECK(want.size == got.size && !memcmp(want.data, got.data, got.size));
        ltn__free(ctx, want.data);
        ltn__free(ctx, got.data);
        ltn_array_free(ctx, &a);
    }
    ltn_close(&ctx);
}

/* ---- What travels with a picture ---- */

static void check_meta(const ltn_image *im, const ltn_weight *icc)
{
    const float *want = icc->data;
    CHECK(im->meta && (int64_t)im->meta->icc.size == elements(icc));
    for (int64_t i = 0; im->meta && i < (int64_t)im->meta->icc.size; i++)
        CHECK(im->meta->icc.data[i] == (uint8_t)want[i]);
    CHECK(im->meta && memmem(im->meta->exif.data, im->meta->exif.size, "golden", 6));
    ltn_bytes exif = im->meta ? im->meta->exif : (ltn_bytes){0};
    CHECK(ltn__exif_take_orientation(&exif) == 1);
}

TEST(profile_and_exif_travel)
{
    ltn_tensors *t;
    ltn_image im, copy, back;
    begin();
    OK(ctx, ltn__tensors_open(ctx, test_golden("file.safetensors"), &t));
    const ltn_weight *icc = ltn__tensors_find(t, "icc");
    const char *from[] = {"progressive6.jpg", "lossy.webp"}, *to[] = {"t.png", "t.jpg", "t.webp"};
    for (int i = 0; i < 2; i++) {
        OK(ctx, ltn_image_read(ctx, golden(from[i]), &im));
        check_meta(&im, icc);
        for (int k = 0; k < 3; k++) {
            test_name("%s to %s", from[i], to[k]);
            OK(ctx, ltn_image_new(ctx, 5, 4, 3, &im, &copy));
            OK(ctx, ltn_image_write(ctx, test_temp(to[k]), &copy, NULL));
            OK(ctx, ltn_image_read(ctx, test_temp(to[k]), &back));
            check_meta(&back, icc);
            CHECK(back.width == 5 && back.height == 4);
            ltn_image_free(ctx, &copy);
            ltn_image_free(ctx, &back);
        }
        ltn_image_free(ctx, &im);
    }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

TEST(a_profile_for_colour_stays_out_of_grey_files)
{
    ltn_image im, grey, back;
    begin();
    OK(ctx, ltn_image_read(ctx, golden("progressive6.jpg"), &im));
    OK(ctx, ltn_image_new(ctx, 3, 3, 1, &im, &grey));
    OK(ctx, ltn_image_write(ctx, test_temp("grey.png"), &grey, NULL));
    CHECK(strstr(logged, "grey.png: written without the colour profile"));
    OK(ctx, ltn_image_read(ctx, test_temp("grey.png"), &back));
    CHECK(back.meta && !back.meta->icc.size && back.meta->exif.size);
    ltn_image_free(ctx, &im);
    ltn_image_free(ctx, &grey);
    ltn_image_free(ctx, &back);
    ltn_close(&ctx);
}

TEST(settings_are_kept_in_a_png)
{
    ltn_image im, back;
    begin();
    im = noise(3, 2, 3, 255);
    CHECK(!ltn_image_settings(&im));
    const char *text[] = {"latino restore --seed 3", "--prompt 'chat gris\xc3\xa9, \xe7\x8c\xab'"};
    for (int i = 0; i < 2; i++) {
        OK(ctx, ltn_image_write(ctx, test_temp("s.png"), &im, &(ltn_write_options){.settings = text[i]}));
        OK(ctx, ltn_image_read(ctx, test_temp("s.png"), &back));
        const char *got = ltn_image_settings(&back);
        CHECK(got && !strcmp(got, text[i]));
        ltn_image_free(ctx, &back);
    }
    ltn_image_free(ctx, &im);
    ltn_close(&ctx);
}

TEST(alpha_is_left_out_of_a_jpeg_with_a_note)
{
    ltn_image im, back;
    begin();
    im = noise(8, 8, 4, 255);
    OK(ctx, ltn_image_write(ctx, test_temp("alpha.jpg"), &im, NULL));
    CHECK(strstr(logged, "alpha.jpg: written without alpha"));
    OK(ctx, ltn_image_read(ctx, test_temp("alpha.jpg"), &back));
    CHECK(back.channels == 3);
    ltn_image_free(ctx, &im);
    ltn_image_free(ctx, &back);
    ltn_close(&ctx);
}

TEST(exif_of_either_byte_order_turns_once)
{
    uint8_t big[] = "MM\0*\0\0\0\010\0\1\001\022\0\3\0\0\0\1\0\006\0\0\0\0\0",
            little[] = "II*\0\010\0\0\0\1\0\022\001\3\0\1\0\0\0\010\0\0\0";
    ltn_bytes b = {big, sizeof big - 1}, l = {little, sizeof little - 1}, cut = {little, 12},
              junk = {(uint8_t[]){"II*\0\377\377\377\377xxxx"}, 12};
    CHECK(ltn__exif_take_orientation(&b) == 6 && ltn__exif_take_orientation(&b) == 1);
    CHECK(ltn__exif_take_orientation(&cut) == 1 && ltn__exif_take_orientation(&junk) == 1);
    CHECK(ltn__exif_take_orientation(&l) == 8 && ltn__exif_take_orientation(&l) == 1);
}

/* ---- Bad pictures and arrays ---- */

static const char *put(const char *name, const void *p, size_t n)
{
    const char *path = test_temp(name);
    OK(ctx, ltn__file_write(ctx, path, p, n));
    return path;
}

static ltn_status try_read(const char *path)
{
    ltn_image im;
    const ltn_status s = ltn_image_read(ctx, path, &im);
    CHECK(s == LTN_OK || (!im.data && !im.meta && !im.width));
    ltn_image_free(ctx, &im);
    return s;
}

TEST(every_truncation_is_an_error)
{
    const char *names[] = {"interlaced16.png", "palette.png", "progressive6.jpg", "cmyk.jpg", "grey.jpg",
                           "lossy.webp",       "alpha.webp",  "lossless.webp",    "u1.npy"};
    begin();
    for (int i = 0; i < LTN_COUNT(names); i++) {
        ltn_bytes b;
        OK(ctx, ltn__file_read(ctx, golden(names[i]), &b));
        for (size_t n = 0; n < b.size; n += n < 64 ? 1 : 13) {
            test_name("%s cut to %zu bytes", names[i], n);
            ltn_image im;
            CHECK(ltn__image_decode(ctx, "cut", b.data, n, &im) == LTN_EFORMAT &&
                  !strncmp(ltn_error(ctx), "cut: ", 5));
            CHECK(!im.data && !im.meta);
        }
        ltn__free(ctx, b.data);
    }
    ltn_close(&ctx);
}

TEST(bad_pictures_are_refused)
{
    begin();
    said("text", try_read(put("cat.png", "hello, I am a cat\n", 18)),
         "cat.png: not a PNG, JPEG, WebP or .npy file");
    said("empty", try_read(put("none.png", "", 0)), "none.png: the file is empty");
    said("missing", try_read(test_temp("missing.png")), "missing.png: No such file or directory");
    said("folder", try_read("/tmp"), "/tmp: is a folder, not a file");
    said("animated", try_read(golden("animated.webp")),
         "animated.webp: an animated WebP; expected a single picture");
    said("nan", try_read(golden("bad_nan.npy")), "bad_nan.npy: holds NaN or infinity");
    said("hwc", try_read(golden("bad_hwc.npy")),
         "bad_hwc.npy: (20, 2, 3) looks like (h, w, c); expected (c, h, w)");
    said("long", try_read(golden("bad_long.npy")),
         "bad_long.npy: integers other than uint8 and uint16 are no picture");
    said("scalar", try_read(golden("scalar.npy")),
         "scalar.npy: 0 dimensions; a picture is (h, w) or (c, h, w)");
    said("complex", try_read(golden("bad_complex.npy")),
         "bad_complex.npy: numbers of type '<c16' cannot be read");
    said("records", try_read(golden("bad_records.npy")), "bad_records.npy: records cannot be read");
    said("empty", try_read(golden("bad_empty.npy")), "bad_empty.npy: a dimension is 0");
    static const uint8_t bomb[] =
        "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\220\0\0\0\220\0\020\6\0\0\0\135\304\047\071\0\0\0\0IDAT\065\257\006\036";
    said("bomb", try_read(put("bomb.png", bomb, sizeof bomb - 1)),
         "bomb.png: 36864 x 36864 pixels, 4 channels: more than 2^28 samples");
    ltn_close(&ctx);
}

TEST(a_flipped_byte_in_a_png_is_noticed)
{
    ltn_bytes b;
    ltn_image im;
    begin();
    OK(ctx, ltn__file_read(ctx, golden("rgba.png"), &b));
    uint8_t *idat = memmem(b.data, b.size, "IDAT", 4);
    idat[12] ^= 4;
    said("flip", ltn__image_decode(ctx, "flip.png", b.data, b.size, &im), "flip.png: damaged PNG: ");
    ltn__free(ctx, b.data);
    ltn_close(&ctx);
}

/* libjpeg would fill the rest with grey. */
TEST(a_jpeg_that_ends_early_is_an_error)
{
    const char *names[] = {"grey.jpg", "cmyk.jpg"};
    begin();
    for (int i = 0; i < LTN_COUNT(names); i++) {
        ltn_bytes b;
        ltn_image im;
        OK(ctx, ltn__file_read(ctx, golden(names[i]), &b));
        memcpy(b.data + b.size - 40, "\xff\xd9", 2);
        said(names[i], ltn__image_decode(ctx, "early.jpg", b.data, b.size, &im), "early.jpg: damaged JPEG: ");
        CHECK(!im.data);
        ltn__free(ctx, b.data);
    }
    ltn_close(&ctx);
}

TEST(bad_npy_headers_are_refused)
{
    const char *bad[][2] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3", "damaged .npy header"},
        {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (3,)}", "damaged .npy header"},
        {"{'descr': '<f4', 'shape': (3,)}", "descr, fortran_order and shape are needed"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}", "damaged .npy header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", "more than 8 dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2147483647, 2147483647, 2147483647)}",
         "more than 2^31 numbers"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,)}", "damaged .npy header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}",
         "truncated: 3 numbers of 4 bytes announced, 0 bytes there"},
        {"{'descr': '|S3', 'fortran_order': False, 'shape': (3,)}", "numbers of type '|S3' cannot be read"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), 'shape': (3,)}", "damaged .npy header"},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (3,)}", "damaged .npy header"},
        {"nothing", "damaged .npy header"},
    };
    ltn_array a;
    begin();
    for (int i = 0; i < LTN_COUNT(bad); i++) {
        char file[256];
        const int n =
            snprintf(file, sizeof file, "\x93NUMPY\x01%c%c%c%s", 0, (int)strlen(bad[i][0]), 0, bad[i][0]);
        said(bad[i][0], ltn__npy_decode(ctx, "x.npy", (uint8_t *)file, (size_t)n, &a), bad[i][1]);
        CHECK(!a.data && !strncmp(ltn_error(ctx), "x.npy: ", 7));
    }
    said("version", ltn__npy_decode(ctx, "x.npy", (uint8_t *)"\x93NUMPY\x09\0xxxx", 12, &a),
         "version that is not known");
    said("other", ltn__npy_decode(ctx, "x.npy", (uint8_t *)"GIF89a", 6, &a), "x.npy: not a .npy file");
    ltn_close(&ctx);
}

/* ---- Writing that fails ---- */

static int files_in_temp(void)
{
    int n = 0;
    DIR *d = opendir(test_temp(""));
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

TEST(bad_writes_are_refused)
{
    begin();
    ltn_image im = noise(4, 3, 3, 255), five = noise(2, 2, 5, 255), none = {0},
              thin = noise(20000, 1, 3, 255);
    said("gif", ltn_image_write(ctx, "a.gif", &im, NULL),
         "a.gif: the name of a picture ends in .png, .jpg, .jpeg, .webp or .npy");
    said("no name", ltn_image_write(ctx, "/tmp.png/a", &im, NULL), "the name of a picture ends in");
    said("none", ltn_image_write(ctx, "a.png", &none, NULL), "a.png: there is no picture to write");
    said("five", ltn_image_write(ctx, "a.png", &five, NULL),
         "a.png: 5 channels; a PNG has at most 4 (.npy holds any number)");
    said("bits", ltn_image_write(ctx, "a.png", &im, &(ltn_write_options){.bits = 9}),
         "a.png: 9 bits; expected 8 or 16");
    said("quality", ltn_image_write(ctx, "a.jpg", &im, &(ltn_write_options){.quality = 101}),
         "quality 101; expected 1 to 100");
    said("large", ltn_image_write(ctx, "a.webp", &thin, NULL),
         "a.webp: 20000 x 1 pixels; a WebP has at most 16383 x 16383");
    said("no folder", ltn_image_write(ctx, test_temp("no/such/a.png"), &im, NULL),
         "a.png: No such file or directory");
    said("a folder", ltn__file_write(ctx, "/tmp", "x", 1), "/tmp: is a folder, not a file");
    if (geteuid()) {
        mkdir(test_temp("locked"), 0500);
        said("locked", ltn_image_write(ctx, test_temp("locked/a.png"), &im, NULL),
             "a.png: Permission denied");
    } else {
        said("locked", ltn_image_write(ctx, "/proc/a.png", &im, NULL), "/proc/a.png: ");
    }
    ltn_image_free(ctx, &im);
    ltn_image_free(ctx, &five);
    ltn_image_free(ctx, &thin);
    ltn_close(&ctx);
}

/* The device that is always full; root gets one of its own, which a mistake may replace without harm. */
TEST(a_device_is_written_and_not_replaced)
{
    const char *full = "/dev/full";
    struct stat st;
    begin();
    if (!geteuid() && mknod(full = test_temp("full"), S_IFCHR | 0666, makedev(1, 7))) {
        test_skip("no device can be made here");
    } else {
        const ltn_status s = ltn__file_write(ctx, full, "x", 1);
        CHECK(!stat(full, &st) && S_ISCHR(st.st_mode));
        if (strcmp(ltn_error(ctx) + strlen(full), ": Permission denied")) /* a folder mounted without devices */
            said("full", s, "full: No space left on device");
        else test_skip("devices do not work here");
    }
    ltn_close(&ctx);
}

TEST(a_pipe_is_written_and_not_replaced)
{
    const char *path = test_temp("pipe");
    struct stat st;
    char got[4] = "";
    begin();
    CHECK(!mkfifo(path, 0600));
    const int fd = open(path, O_RDONLY | O_NONBLOCK);
    OK(ctx, ltn__file_write(ctx, path, "xyz", 3));
    CHECK(read(fd, got, sizeof got) == 3 && !memcmp(got, "xyz", 3));
    CHECK(!stat(path, &st) && S_ISFIFO(st.st_mode));
    close(fd);
    ltn_close(&ctx);
}

/* A limit on the size of files acts as a disk that fills up in the middle of a write. */
TEST(a_full_disk_leaves_the_old_file)
{
    struct rlimit old, small;
    ltn_bytes b;
    ltn_image im;
    begin();
    im = noise(200, 200, 3, 255);
    const char *path = put("full.png", "old", 3);
    const int before = files_in_temp();
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 20000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    const ltn_status s = ltn_image_write(ctx, path, &im, NULL);
    setrlimit(RLIMIT_FSIZE, &old);
    said("full", s, "full.png: File too large");
    CHECK(s == LTN_EIO);
    OK(ctx, ltn__file_read(ctx, path, &b));
    CHECK(b.size == 3 && !memcmp(b.data, "old", 4));
    CHECK(files_in_temp() == before);
    ltn__free(ctx, b.data);
    ltn_image_free(ctx, &im);
    ltn_close(&ctx);
}

TEST(replacing_keeps_links_and_permissions)
{
    struct stat st;
    begin();
    const char *path = put("real.txt", "1", 1), *link = test_temp("link.txt");
    CHECK(!chmod(path, 0640) && !symlink(path, link));
    OK(ctx, ltn__file_write(ctx, link, "22", 2));
    CHECK(!lstat(link, &st) && S_ISLNK(st.st_mode));
    CHECK(!stat(path, &st) && st.st_size == 2 && (st.st_mode & 0777) == 0640);
    ltn_close(&ctx);
}

/* ---- JSON ---- */

TEST(json_is_a_tree)
{
    const char *text =
        "{\"a\": [1, 2.5e-3, true, null, \"x\\u00e9\\ud83d\\ude00\\n\\/\\\"\xc3\xa9\"], \"b\": {\"c\": -7, \"d\": false}, \"e\": 123456789012345}";
    ltn_arena arena;
    ltn_json *j;
    begin();
    arena = (ltn_arena){.ctx = ctx};
    OK(ctx, ltn__json_parse(ctx, "x.json", text, strlen(text), &arena, &j));
    const ltn_json *a = ltn__json_get(j, "a"), *b = ltn__json_get(j, "b");
    CHECK(j->count == 3 && a->count == 5 && a->type == LTN_JSON_ARRAY && b->type == LTN_JSON_OBJECT);
    NEAR(ltn__json_at(a, 1)->number, 2.5e-3, 1e-18);
    CHECK(ltn__json_at(a, 2)->type == LTN_JSON_BOOL && ltn__json_at(a, 3)->type == LTN_JSON_NULL &&
          !ltn__json_at(a, 5));
    CHECK(!strcmp(ltn__json_at(a, 4)->string, "x\xc3\xa9\xf0\x9f\x98\x80\n/\"\xc3\xa9"));
    CHECK(ltn__json_num(b, "c", 0) == -7 && ltn__json_num(b, "d", 3) == 3 &&
          ltn__json_num(j, "e", 0) == 123456789012345.0);
    CHECK(!ltn__json_bool(b, "d", true) && ltn__json_bool(b, "absent", true) && !ltn__json_get(a, "b") &&
          !ltn__json_get(NULL, "b"));
    CHECK(!strcmp(ltn__json_str(j, "absent", "z"), "z") && !ltn__json_str(b, "c", NULL));
    ltn__arena_free(&arena);
    ltn_close(&ctx);
}

TEST(bad_json_is_refused)
{
    char deep[400];
    memset(deep, '[', 200);
    memset(deep + 200, ']', 200);
    const struct { const char *text, *message; size_t n; } bad[] = {
        {"", "x.json: line 1, column 1: not a value", 0},
        {"{\"a\": 1,}", "x.json: line 1, column 9: expected a key in quotes", 9},
        {"{\"a\" 1}", "expected :", 7},
        {"{\"a\": 1 2}", "expected , or }", 10},
        {"[1,]", "not a value", 4},
        {"[1 ", "expected , or ]", 3},
        {"\n[01]", "x.json: line 2, column 3: expected , or ]", 5},
        {"[1.]", "not a value", 4},
        {"[+1]", "not a value", 4},
        {"[NaN]", "not a value", 5},
        {"[1e999]", "a number too large", 7},
        {"[1] 2", "column 5: expected the end", 5},
        {"{\"a\": 1, \"a\": 2}", "x.json: \"a\" is given twice", 16},
        {"[\"a]", "a string without end", 4},
        {"[\"a\\", "a string without end", 4},
        {"[\"\xff\"]", "x.json: line 1, column 3: not UTF-8", 5},
        {"[\"\xc0\x80\"]", "not UTF-8", 6},
        {"[\"\n\"]", "a control character in a string", 5},
        {"[\"\\x\"]", "an escape that is not known", 6},
        {"[\"\\u0000\"]", "a \\u escape that is no character", 10},
        {"[\"\\ud83d\"]", "a \\u escape that is no character", 10},
        {"[\"\\u12\"]", "a \\u escape that is no character", 8},
        {deep, "column 65: nested deeper than 64", 400},
    };
    ltn_arena arena;
    ltn_json *j;
    begin();
    arena = (ltn_arena){.ctx = ctx};
    for (int i = 0; i < LTN_COUNT(bad); i++) {
        said(bad[i].text, ltn__json_parse(ctx, "x.json", bad[i].text, bad[i].n, &arena, &j), bad[i].message);
        CHECK(!j);
    }
    said("missing", ltn__json_read(ctx, test_temp("no.json"), &arena, &j),
         "no.json: No such file or directory");
    ltn__arena_free(&arena);
    ltn_close(&ctx);
}

/* ---- safetensors ---- */

TEST(tensors_of_every_dtype)
{
    ltn_tensors *t;
    begin();
    OK(ctx, ltn__tensors_open(ctx, golden("mixed.safetensors"), &t));
    CHECK(ltn__tensors_count(t) == 3 && !ltn__tensors_find(t, "ids") && !ltn__tensors_find(t, "mask") &&
          !ltn__tensors_find(t, ""));
    const ltn_weight *half = ltn__tensors_find(t, "half"), *twice = ltn__tensors_find(t, "double"),
                     *single = ltn__tensors_find(t, "single");
    CHECK(half && half->dtype == LTN_F16 && half->rank == 1 && half->dim[0] == 5);
    CHECK(single && single->dtype == LTN_F32 && single->rank == 2 && ((const float *)single->data)[3] == 7);
    CHECK(twice && twice->dtype == LTN_F64 && ((const double *)twice->data)[3] == 1);
    real v[5];
    ltn__weight_widen(half, 0, 5, v);
    for (int i = 0; i < 5; i++) CHECK(v[i] == i);
    CHECK(strstr(ltn__tensors_path(t), "mixed.safetensors"));
    ltn__tensors_close(&t);
    CHECK(!t);
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

TEST(tensors_are_written_as_others_write_them)
{
    ltn_tensors *t;
    ltn_bytes want, got;
    ltn_named_array a[3];
    begin();
    OK(ctx, ltn__tensors_open(ctx, golden("plain.safetensors"), &t));
    for (int i = 0; i < 3; i++) {
        const ltn_weight *w = ltn__tensors_at(t, i);
        a[i] = (ltn_named_array){w->name, {.rank = w->rank, .data = (float *)(uintptr_t)w->data}};
        memcpy(a[i].array.dim, w->dim, sizeof w->dim);
    }
    OK(ctx, ltn__tensors_write(ctx, test_temp("plain.safetensors"), a, 3));
    OK(ctx, ltn__file_read(ctx, golden("plain.safetensors"), &want));
    OK(ctx, ltn__file_read(ctx, test_temp("plain.safetensors"), &got));
    CHECK(want.size == got.size && !memcmp(want.data, got.data, got.size));
    ltn__free(ctx, want.data);
    ltn__free(ctx, got.data);
    ltn__tensors_close(&t);
    OK(ctx, ltn__tensors_write(ctx, test_temp("none.safetensors"), NULL, 0));
    OK(ctx, ltn__tensors_open(ctx, test_temp("none.safetensors"), &t));
    CHECK(ltn__tensors_count(t) == 0 && !ltn__tensors_find(t, "x"));
    ltn__tensors_close(&t);
    said("name", ltn__tensors_write(ctx, test_temp("x.safetensors"), &(ltn_named_array){.name = "a\"b"}, 1),
         "a tensor's name cannot hold");
    ltn_close(&ctx);
}

/* A file with this header and n bytes of data, parsed. */
static ltn_status parse(const char *header, size_t n)
{
    uint8_t file[512] = {(uint8_t)strlen(header)};
    ltn_tensors *t;
    memcpy(file + 8, header, strlen(header));
    const ltn_status s = ltn__tensors_parse(ctx, "m.safetensors", file, 8 + strlen(header) + n, &t);
    ltn__tensors_close(&t);
    return s;
}

#define T(name, dtype, shape, begin, end)                                                                    \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end "]}"

TEST(malformed_safetensors_are_refused)
{
    const struct { const char *header; size_t n; const char *message;
    } bad[] = {
        {"{" T("w", "F32", "2", "0", "8") "}", 4,
         "m.safetensors: w: ends beyond the file's end (truncated?)"},
        {"{" T("w", "F32", "2", "0", "8") "," T("v", "F32", "1", "4", "8") "}", 8,
         "m.safetensors: v: overlaps another tensor"},
        {"{" T("w", "F32", "1", "0", "4") "," T("v", "F32", "1", "8", "12") "}", 12,
         "m.safetensors: v: a hole stands before its data"},
        {"{" T("w", "F32", "1", "4", "8") "}", 8, "m.safetensors: w: a hole stands before its data"},
        {"{" T("w", "F32", "1", "0", "4") "}", 9, "m.safetensors: 5 bytes after the last tensor"},
        {"{" T("w", "F32", "3", "0", "8") "}", 8,
         "m.safetensors: w: dtype and shape disagree with the length of its data"},
        {"{" T("w", "F17", "2", "0", "8") "}", 8, "m.safetensors: w: dtype F17 is not known"},
        {"{" T("w", "F32", "2", "8", "0") "}", 8, "m.safetensors: w: data_offsets are not [begin, end]"},
        {"{" T("w", "F32", "2", "-8", "0") "}", 8, "m.safetensors: w: data_offsets are not [begin, end]"},
        {"{" T("w", "F32", "0.5", "0", "2") "}", 2, "m.safetensors: w: a dimension that is no whole number"},
        {"{" T("w", "F32", "-2", "0", "8") "}", 8, "m.safetensors: w: a dimension that is no whole number"},
        {"{" T("w", "F32", "0,3", "0", "0") "}", 0, "m.safetensors: w: a dimension is 0"},
        {"{" T("w", "F32", "1,1,1,1,1", "0", "4") "}", 4, "m.safetensors: w: more than 4 dimensions"},
        {"{" T("w", "F32", "4294967296,4294967296,4294967296", "0", "4") "}", 4,
         "m.safetensors: w: dtype and shape disagree"},
        {"{" T("w", "F32", "1", "0", "4") "," T("w", "F32", "1", "4", "8") "}", 8,
         "m.safetensors: \"w\" is given twice"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4,
         "m.safetensors: w: data_offsets are not [begin, end]"},
        {"{\"w\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "m.safetensors: w: dtype (none) is not known"},
        {"{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "m.safetensors: w: no shape"},
        {"{\"w\":3}", 4, "m.safetensors: w: not a description of a tensor"},
        {"{\"w\xff\":3}", 4, "m.safetensors: line 1"},
        {"{", 0, "m.safetensors: line 1"},
        {"[]", 0, "m.safetensors: not a safetensors file"},
    };
    ltn_tensors *t;
    begin();
    for (int i = 0; i < LTN_COUNT(bad); i++)
        said(bad[i].header, parse(bad[i].header, bad[i].n), bad[i].message);
    OK(ctx, parse("{\"__metadata__\":{\"format\":\"pt\"}," T("w", "F32", "2", "0",
                                                             "8") "," T("i", "I64", "0,3", "8", "8") "}",
                  8));
    said("short", ltn__tensors_parse(ctx, "m", (const uint8_t *)"{}", 2, &t),
         "m: not a safetensors file: only 2 bytes");
    said("huge", ltn__tensors_parse(ctx, "m", (const uint8_t *)"\377\377\377\377\377\377\377\377{}", 10, &t),
         "a header of 18446744073709551615 bytes");
    said("cut", ltn__tensors_parse(ctx, "m", (const uint8_t *)"\20\0\0\0\0\0\0\0{}", 10, &t),
         "m: truncated inside its header");
    said("missing", ltn__tensors_open(ctx, test_temp("no.safetensors"), &t),
         "no.safetensors: No such file or directory");
    said("empty", ltn__tensors_open(ctx, put("e.safetensors", "", 0), &t),
         "e.safetensors: not a safetensors file: only 0 bytes");
    ltn_close(&ctx);
}

TEST(unaligned_weights_are_moved)
{
    uint8_t file[200];
    const char *header = "{" T("w", "F32", "2", "0", "8") "}";
    const float v[2] = {1.5f, -2};
    ltn_tensors *t;
    begin();
    for (int pad = 0; pad < 4; pad++) {
        memset(file, 0, sizeof file);
        file[0] = (uint8_t)(strlen(header) + (size_t)pad);
        snprintf((char *)file + 8, sizeof file - 8, "%s%*s", header, pad, "");
        memcpy(file + 8 + file[0], v, sizeof v);
        OK(ctx, ltn__tensors_parse(ctx, "m", file, 8 + file[0] + sizeof v, &t));
        const float *w = ltn__tensors_find(t, "w")->data;
        CHECK((uintptr_t)w % 4 == 0 && w[0] == 1.5f && w[1] == -2);
        ltn__tensors_close(&t);
    }
    ltn_close(&ctx);
}

TEST(nan_and_infinity_in_weights_are_seen)
{
    const float f[] = {1, -3e38f, INFINITY, NAN};
    const double d[] = {1, -1e308, -INFINITY, NAN};
    const uint16_t h[] = {0x3c00, 0xfbff, 0x7c00, 0x7e01}, b[] = {0x3f80, 0xff7f, 0xff80, 0x7fc1};
    const ltn_weight w[] = {{.dtype = LTN_F32, .data = f},
                            {.dtype = LTN_F64, .data = d},
                            {.dtype = LTN_F16, .data = h},
                            {.dtype = LTN_BF16, .data = b}};
    for (int i = 0; i < LTN_COUNT(w); i++)
        for (int n = 1; n <= 4; n++) {
            ltn_weight part = w[i];
            part.rank = 1;
            part.dim[0] = n;
            test_name("dtype %d, %d values", (int)part.dtype, n);
            CHECK(ltn__weight_finite(&part) == (n <= 2));
        }
}

TEST(many_tensors_are_found)
{
    enum { N = 700 };
    static char names[N][64];
    static ltn_named_array a[N];
    float v = 1;
    ltn_tensors *t;
    begin();
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "down_blocks.%d.resnets.%d.conv.weight", i % 7, i);
        a[i] = (ltn_named_array){names[i], {.rank = 1, .dim = {1}, .data = &v}};
    }
    OK(ctx, ltn__tensors_write(ctx, test_temp("many.safetensors"), a, N));
    OK(ctx, ltn__tensors_open(ctx, test_temp("many.safetensors"), &t));
    CHECK(ltn__tensors_count(t) == N);
    for (int i = 0; i < N; i++) CHECK(ltn__tensors_find(t, names[i]) == ltn__tensors_at(t, i));
    CHECK(!ltn__tensors_find(t, "down_blocks.0.resnets.0.conv.weigh") && !ltn__tensors_at(t, N) &&
          !ltn__tensors_at(t, -1));
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

/* ---- Memory: every allocation fails once ---- */

static ltn_status read_one(const char *name)
{
    ltn_image im;
    const ltn_status s = ltn_image_read(ctx, golden(name), &im);
    ltn_image_free(ctx, &im);
    return s;
}

static ltn_status write_one(const char *name)
{
    float data[12] = {0};
    uint8_t icc[200] = {[16] = 'R', 'G', 'B', ' '}, exif[20] = {1};
    ltn_meta meta = {.icc = {icc, sizeof icc}, .exif = {exif, sizeof exif}};
    const ltn_image im = {.width = 2, .height = 2, .channels = 3, .data = data, .meta = &meta};
    return ltn_image_write(ctx, test_temp(name), &im, &(ltn_write_options){.settings = "x"});
}

static ltn_status open_tensors(const char *name)
{
    ltn_tensors *t;
    const ltn_status s = ltn__tensors_open(ctx, golden(name), &t);
    CHECK(!s == (t != NULL));
    ltn__tensors_close(&t);
    return s;
}

static ltn_status write_tensors(const char *name)
{
    float v = 0;
    return ltn__tensors_write(ctx, test_temp(name), &(ltn_named_array){"v", {.data = &v}}, 1);
}

static ltn_status read_json(const char *name)
{
    ltn_arena arena = {.ctx = ctx};
    ltn_json *j;
    const ltn_status s = ltn__json_read(ctx, name, &arena, &j);
    ltn__arena_free(&arena);
    return s;
}

static ltn_status copy_array(const char *name)
{
    ltn_array a;
    ltn_status s = ltn_array_read(ctx, golden(name), &a);
    if (!s) s = ltn_array_write(ctx, test_temp(name), &a);
    ltn_array_free(ctx, &a);
    return s;
}

static ltn_status resize_one(const char *name)
{
    ltn_image im, out = {0};
    ltn_status s = ltn_image_read(ctx, golden(name), &im);
    if (!s) s = ltn_image_resize(ctx, &im, 4, 5, &out);
    ltn_image_free(ctx, &im);
    ltn_image_free(ctx, &out);
    return s;
}

TEST(every_allocation_fails_once)
{
    const struct { ltn_status (*act)(const char *); const char *name;
    } acts[] = {{read_one, "interlaced16.png"},
                {read_one, "orient5.png"},
                {read_one, "progressive6.jpg"},
                {read_one, "cmyk.jpg"},
                {read_one, "lossy.webp"},
                {read_one, "alpha.webp"},
                {read_one, "u1.npy"},
                {write_one, "w.png"},
                {write_one, "w.jpg"},
                {write_one, "w.webp"},
                {write_one, "w.npy"},
                {open_tensors, "mixed.safetensors"},
                {write_tensors, "w.safetensors"},
                {read_json, LTN_SOURCE_ROOT "/models/prior/model_index.json"},
                {copy_array, "fortran.npy"},
                {resize_one, "progressive6.jpg"}};
    for (int i = 0; i < LTN_COUNT(acts); i++) {
        ltn_status s = LTN_ENOMEM;
        for (long k = 1; s == LTN_ENOMEM; k++) {
            test_memory m = {0};
            const ltn_options opt = test_options(&m);
            OK(NULL, ltn_open(&ctx, &opt));
            const long base = m.alive;
            m.fail_at = m.calls + k;
            s = acts[i].act(acts[i].name);
            test_name("%s, allocation %ld: %s", acts[i].name, k, ltn_error(ctx));
            CHECK(s == LTN_ENOMEM || (s == LTN_OK && m.calls < m.fail_at));
            CHECK(m.alive == base);
            if (s == LTN_ENOMEM) CHECK(strstr(ltn_error(ctx), "memory"));
            ltn_close(&ctx);
            CHECK(m.alive == 0 && k < 1000);
        }
    }
}
