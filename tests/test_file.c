#include "file/file.h"
#include "test.h"

TEST(smoke)
{
    ltn_ctx *ctx;
    ltn_image im, back;
    ltn_tensors *t;
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, ltn_image_new(ctx, 5, 7, 3, NULL, &im));
    const char *names[] = {"a.png", "a.jpg", "a.webp", "a.npy"};
    for (int i = 0; i < 4; i++) {
        OK(ctx, ltn_image_write(ctx, test_temp(names[i]), &im, NULL));
        OK(ctx, ltn_image_read(ctx, test_temp(names[i]), &back));
        CHECK(back.width == 5 && back.height == 7 && back.channels == 3);
        ltn_image_free(ctx, &back);
    }
    ltn_image_free(ctx, &im);
    double t0 = ltn__seconds();
    OK(ctx, ltn__tensors_open(ctx, LTN_SOURCE_ROOT "/models/prior/unet/diffusion_pytorch_model.safetensors", &t));
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}
