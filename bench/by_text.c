/* by_text.c - what LATINO-PRO asks of a UNet, on given numbers: its output, then the gradient of <cotangent, output> by
 * the text. `by_text MODEL THREADS CALLS T SAMPLE TEXT COTANGENT OUT`, arrays as diffusers lays them out, in .npy
 * files; prints one line of JSON: the seconds of each call after the first, of both halves. */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ltn_ctx *ctx;

static void check(ltn_status s)
{
    if (!s) return;
    fprintf(stderr, "by_text: %s\n", ltn_error(ctx));
    exit(1);
}

/* A planar array as the part's input of this name, channels last. */
static void read_into(ltn_part *p, const char *name, const char *path)
{
    ltn_array a = {0};
    check(ltn_array_read(ctx, path, &a));
    ltn__to_last(a.data, ltn__plan_data(p->plan, name), a.dim[0], a.dim[1], a.dim[2] * a.dim[3]);
    ltn_array_free(ctx, &a);
}

static double timed(void (*run)(ltn_plan *p, const char *output), ltn_plan *p)
{
    const double start = ltn__seconds();
    run(p, "out");
    return ltn__seconds() - start;
}

int main(int argc, char **argv)
{
    if (argc != 9) {
        fprintf(stderr, "by_text MODEL THREADS CALLS T SAMPLE TEXT COTANGENT OUT\n");
        return 1;
    }
    if (ltn_open(&ctx, &(ltn_options){.threads = atoi(argv[2])})) return 1;
    ltn_model *m = NULL;
    ltn_part *p = NULL;
    ltn_array sample = {0}, text = {0};
    check(ltn_model_open(ctx, argv[1], &m));
    check(ltn_array_read(ctx, argv[5], &sample));
    check(ltn__model_part(m, LTN_UNET_BY_TEXT, 1, sample.dim[2], sample.dim[3], &p));
    ltn_array_free(ctx, &sample);
    check(ltn_array_read(ctx, argv[6], &text));
    const size_t bytes = sizeof(float) * (size_t)(text.dim[1] * text.dim[2]);

    printf("{\"seconds\": [");
    const int calls = atoi(argv[3]);
    for (int i = 0; i <= calls; i++) { /* inputs may share their places with later values */
        read_into(p, "sample", argv[5]);
        read_into(p, "cotangent", argv[7]);
        memcpy(ltn__plan_data(p->plan, "text"), text.data, bytes);
        ltn__time_sinusoid(m, atof(argv[4]), ltn__plan_data(p->plan, "time"));
        const double forward = timed(ltn__plan_run_to, p->plan), back = timed(ltn__plan_run_on, p->plan);
        if (i) printf("%s[%.4f, %.4f]", i > 1 ? ", " : "", forward, back);
    }
    printf("]}\n");
    memcpy(text.data, ltn__plan_data(p->plan, "d_text"), bytes);
    check(ltn_array_write(ctx, argv[8], &text));
    ltn_array_free(ctx, &text);
    ltn_model_close(&m);
    ltn_close(&ctx);
}
