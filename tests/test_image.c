/* test_image.c - pictures and arrays: what others wrote reads as they read it, what is written reads back,
 * what travels with a picture arrives, what is damaged is refused with a message that names file and fault.
 */
#define _GNU_SOURCE
#include "test_file.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *extension(const char *name)
{
    return strrchr(name, '.') ? strrchr(name, '.') : "";
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
        if (im.data) NEAR(test_error(im.data, w->data, (size_t)ltn__weight_count(w)), 0, exact ? 1e-6 : 2.01 / 255);
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
        for (int64_t k = 0; a.data && k < ltn__weight_count(w); k++)
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
        for (int64_t k = 0; k < ltn__weight_count(w); k++) NEAR(out.data[k], ((const float *)w->data)[k], 1e-6);
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
    CHECK(im->meta && (int64_t)im->meta->icc.size == ltn__weight_count(icc));
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
