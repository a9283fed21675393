/* blur.c - convolution with a gaussian, k(i) ~ exp(-i^2 / 2 sigma^2) for |i| <= int(sigma / 0.3 + 1), also one with two
 * deviations along turned axes, or with a kernel from a file: .npy, a picture, or text as in Levin et al. 2009 ("height
 * width", then the rows). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "blind.h"
#include "convolve.h"

enum { LARGEST = 4096 };
enum { USUAL = 25, PART = 6 }; /* a kernel that is looked for: its side, at most a part of the picture's */

void ltn__kernel_gaussian(ltn_kernel *k, double sigma, double across, double angle)
{
    const double a = angle * M_PI / 180;
    for (int i = 0; i < k->width * k->height; i++) {
        const double y = i / k->width - k->height / 2, x = i % k->width - k->width / 2;
        const double u = (cos(a) * x + sin(a) * y) / sigma, v = (cos(a) * y - sin(a) * x) / across;
        k->tap[i] = (float)exp(-(sigma == across ? (x * x + y * y) / (sigma * sigma) : u * u + v * v) / 2);
    }
}

static ltn_status gaussian(ltn_ctx *ctx, double sigma, double across, double angle, ltn_kernel *k)
{
    const int n = 2 * (int)(LTN_MAX(sigma, across) / 0.3 + 1) + 1;
    const ltn_status s = ltn__kernel_new(ctx, n, n, k);
    if (!s) ltn__kernel_gaussian(k, sigma, across, angle);
    return s;
}

static ltn_status read_array(ltn_ctx *ctx, const char *path, ltn_kernel *k)
{
    ltn_array a = {0};
    ltn_status s = ltn_array_read(ctx, path, &a);
    if (s) return s;
    if (a.rank != 2 || a.dim[0] < 1 || a.dim[1] < 1 || a.dim[0] > LARGEST || a.dim[1] > LARGEST)
        s = ltn__fail(ctx, LTN_ESHAPE, "%s: a kernel has two dimensions of at most %d", path, LARGEST);
    if (!s) s = ltn__kernel_new(ctx, (int)a.dim[1], (int)a.dim[0], k);
    if (!s) memcpy(k->tap, a.data, (size_t)k->width * (size_t)k->height * sizeof *k->tap);
    ltn_array_free(ctx, &a);
    return s;
}

/* The mean of the colours. */
static ltn_status read_picture(ltn_ctx *ctx, const char *path, ltn_kernel *k)
{
    ltn_image im = {0};
    ltn_status s = ltn_image_read(ctx, path, &im);
    if (!s && (im.width > LARGEST || im.height > LARGEST))
        s = ltn__fail(ctx, LTN_ESHAPE, "%s: a kernel is at most %d pixels wide", path, LARGEST);
    if (!s) s = ltn__kernel_new(ctx, im.width, im.height, k);
    if (!s) ltn__mean_colour(&im, k->tap);
    ltn_image_free(ctx, &im);
    return s;
}

/* The next number of a text; false: there is none. */
static bool number(FILE *f, double *v)
{
    char word[64];
    const char *end;
    if (fscanf(f, "%63s", word) != 1) return false;
    *v = ltn__parse_number(word, &end);
    return end != word && !*end;
}

static ltn_status read_text(ltn_ctx *ctx, const char *path, FILE *f, ltn_kernel *k)
{
    double h, w, v;
    if (!number(f, &h) || !number(f, &w) || h < 1 || w < 1 || h > LARGEST || w > LARGEST)
        return ltn__fail(ctx, LTN_EFORMAT, "%s: expected a kernel's height and width (at most %d)", path,
                         LARGEST);
    const ltn_status s = ltn__kernel_new(ctx, (int)w, (int)h, k);
    for (int i = 0; !s && i < k->width * k->height; i++) {
        if (!number(f, &v))
            return ltn__fail(ctx, LTN_EFORMAT, "%s: expected %d numbers, found %d", path,
                             k->width * k->height, i);
        k->tap[i] = (float)v;
    }
    return s;
}

/* By content: text begins with a digit. */
ltn_status ltn__kernel_read(ltn_ctx *ctx, const char *path, ltn_kernel *k)
{
    FILE *f = fopen(path, "rb");
    if (!f) return ltn__fail(ctx, LTN_EIO, "%s: cannot be opened", path);
    const int first = fgetc(f);
    ltn_status s = LTN_OK;
    if (first >= '0' && first <= '9') {
        rewind(f);
        s = read_text(ctx, path, f, k);
    }
    fclose(f);
    if (first >= '0' && first <= '9') return s;
    return first == 0x93 ? read_array(ctx, path, k) : read_picture(ctx, path, k);
}

/* On failure nothing is left in *k to free. */
static ltn_status make_kernel(ltn_ctx *ctx, const ltn_spec *s, ltn_kernel *k)
{
    const char *path = ltn__str(s, "kernel");
    *k = (ltn_kernel){0};
    if (path && (ltn__given(s, "sigma") || ltn__given(s, "across")))
        return ltn__fail(ctx, LTN_EINVAL, "blur: sigma and kernel exclude each other");
    if (!path && ltn__given(s, "size"))
        return ltn__fail(ctx, LTN_EINVAL, "blur: size is that of a kernel; kernel=auto is missing");
    if (path && !strcmp(path, "auto"))
        return ltn__fail(ctx, LTN_EINVAL, "blur: kernel=auto is for the last part of a chain, in a restoration");
    const double sigma = ltn__num(s, "sigma"), across = ltn__given(s, "across") ? ltn__num(s, "across") : sigma;
    ltn_status st = path ? ltn__kernel_read(ctx, path, k) : gaussian(ctx, sigma, across, ltn__num(s, "angle"), k);
    if (!st && (!path || ltn__num(s, "normalize") != 0))
        st = ltn__kernel_normalize(ctx, path ? path : "blur", k);
    const int size = (int)ltn__num(s, "size") / 2 * 2 + 1;
    if (!st && ltn__given(s, "size") && (k->width != size || k->height != size))
        st = ltn__fail(ctx, LTN_ESHAPE, "%s: the kernel is %d x %d, not of size=%d", path, k->width, k->height, size);
    if (st) {
        ltn__free(ctx, k->tap);
        k->tap = NULL;
    }
    return st;
}

static ltn_status input_size(ltn_ctx *ctx, const ltn_spec *s, ltn_size y, ltn_size *x)
{
    ltn_kernel k;
    const ltn_status st = make_kernel(ctx, s, &k);
    ltn__free(ctx, k.tap);
    return st ? st : ltn__convolve_input(s, k.width, k.height, y, x);
}

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    ltn_kernel k;
    ltn_status st = make_kernel(op->ctx, s, &k);
    if (!st) st = ltn__convolve_open(op, s, &k, ltn__num(s, "order") != 0);
    ltn__free(op->ctx, k.tap);
    return st;
}

/* A picture of 16 bits whose brightest pixel is the largest tap: to be looked at, and to be used again. */
static ltn_status write_kernel(ltn_ctx *ctx, const ltn_kernel *k, const char *path)
{
    ltn_image im = {k->width, k->height, 1, k->tap, NULL};
    const int n = k->width * k->height;
    float most = 0;
    for (int i = 0; i < n; i++) most = LTN_MAX(most, k->tap[i]);
    for (int i = 0; i < n; i++) k->tap[i] /= most;
    return ltn_image_write(ctx, path, &im, &(ltn_write_options){.bits = 16});
}

static ltn_status find_kernel(ltn_ctx *ctx, const ltn_evidence *e, char *value, size_t room)
{
    const int side = LTN_MIN(e->y->width, e->y->height), told = ltn__given(e->told, "size");
    const int size = (int)(told ? ltn__num(e->told, "size") : LTN_MAX(3, LTN_MIN(USUAL, side / PART))) / 2 * 2 + 1;
    if (!e->kernel) return ltn__fail(ctx, LTN_EINVAL, "blur: kernel=auto: no file is named for the kernel");
    if (strlen(e->kernel) + 1 > room)
        return ltn__fail(ctx, LTN_EINVAL, "blur: kernel=auto: the file's name is too long");
    ltn_kernel k = {0};
    ltn_status s = ltn__blur_kernel(ctx, e->y, size, &k);
    if (!s && ltn__num(e->told, "order") != 0) ltn__kernel_turn(&k);
    if (!s) s = write_kernel(ctx, &k, e->kernel);
    if (!s) snprintf(value, room, "%s", e->kernel);
    ltn__free(ctx, k.tap);
    return s;
}

static ltn_status find(ltn_ctx *ctx, const ltn_evidence *e, const char **key, char *value, size_t room)
{
    double sigma;
    if (!strcmp(*key, "kernel")) return find_kernel(ctx, e, value, room);
    if (strcmp(*key, "sigma"))
        return ltn__fail(ctx, LTN_EINVAL, "blur: %s=auto: only sigma and kernel are found from a measurement", *key);
    const ltn_status s = ltn__blur_width(ctx, e->y, &sigma);
    if (!s) snprintf(value, room, "%.4g", sigma);
    return s;
}

static const ltn_param params[] = {
    {.name = "sigma", .help = "of the gaussian, pixels; auto: from the spectrum of the measurement", .type = LTN_FLOAT,
     .def = 3, .min = 0.05, .max = 500},
    {.name = "across", .help = "the other deviation of a gaussian that is longer one way; without it sigma",
     .type = LTN_FLOAT, .def = 3, .min = 0.05, .max = 500},
    {.name = "angle", .help = "degrees from the rows downwards to the axis of sigma", .type = LTN_FLOAT, .min = -360,
     .max = 360},
    {.name = "kernel", .help = "a file instead: .npy, a picture, or text; auto: found, and written beside the result",
     .type = LTN_STRING},
    {.name = "size", .help = "of a kernel to be found, pixels (made odd); without it 25, or a sixth of a picture",
     .type = LTN_INT, .def = USUAL, .min = 3, .max = 151},
    {.name = "normalize", .help = "1: the file's kernel is divided by its sum", .type = LTN_INT, .def = 1,
     .max = 1},
    LTN_BORDER_PARAM,
    LTN_ORDER_PARAM,
    {0},
};

const ltn_degradation_row ltn__degradation_blur = {
    .entry = {.name = "blur", .alias = "gaussian-blur|deblur|deblurring",
              .help = "blur by a gaussian or a kernel from a file", .param = params},
    .input_size = input_size, .find = find, .open = open, .close = ltn__convolve_close,
};
