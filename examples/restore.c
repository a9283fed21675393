/* restore.c - restores a picture in thirty lines: ./restore MODEL SPEC IN OUT
 * For instance: ./restore models/prior downsample:factor=4 small.png large.png */
#include <latino.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 5) return fprintf(stderr, "usage: %s MODEL SPEC IN OUT\n", argv[0]), 2;
    ltn_ctx *ctx = NULL;
    ltn_model *model = NULL;
    ltn_degradation *degradation = NULL;
    ltn_run *run = NULL;
    ltn_image y = {0}, x = {0};
    if (ltn_open(&ctx, NULL)) return 1;
    ltn_status s = ltn_image_read(ctx, argv[3], &y);
    if (!s) s = ltn_model_open(ctx, argv[1], &model);
    if (!s) s = ltn_degradation_open_for(ctx, argv[2], &y, &degradation);
    const ltn_task task = {.model = model, .degradation = degradation, .y = &y, .sigma = -1};
    if (!s) s = ltn_run_open(ctx, &task, &run);
    while (!s) s = ltn_run_step(run);
    if (s == LTN_DONE) s = ltn_run_estimate(run, &x);
    if (!s) s = ltn_image_write(ctx, argv[4], &x, NULL);
    if (s) fprintf(stderr, "%s\n", ltn_error(ctx));
    ltn_image_free(ctx, &x);
    ltn_run_close(&run);
    ltn_degradation_close(&degradation);
    ltn_model_close(&model);
    ltn_image_free(ctx, &y);
    ltn_close(&ctx);
    return s != LTN_OK;
}
