/* test_scripts.c - whole restorations with the small prior, one or more by every solver that has a network, beside
 * independent PyTorch scripts (tools/golden/) that draw the same random numbers: draw k is stream 100 + k of seed 77,
 * in the order (c, h, w). */
#include "base/base.h"
#include "test.h"

enum { SIDE = 128, COUNT = 3 * SIDE * SIDE, LATENT = 32 * 16 * 16, DRAWS = 10 };

#define SR4 "downsample:factor=4,boundary=circular,order=correlation"
#define HOLES "inpaint:random=0.5,seed=7"
#define BLUR "blur:sigma=3,boundary=circular"
typedef struct restoration {
    const char *name; /* the golden picture is NAME.png */
    const char *degradation;
    double sigma;
    const char *solver, *prompt;
} restoration;
static const restoration cases[] = {
    {"latino_denoise", "identity", 0.2, "latino", "a photo of a cat"},
    {"latino_inpaint", HOLES, 0, "latino", "a photo of a cat"},
    {"latino_sr", SR4, 0.05, "latino", ""},
    {"latino_sr_discrepancy", SR4, 0.01, "latino:rule=discrepancy,start=adjoint", "a photo of a cat"},
    {"latino_blur_bayes", BLUR, 0.01, "latino:rule=bayes,start=adjoint", ""},
    {"latino_inpaint_discrepancy", HOLES, 0.05, "latino:rule=discrepancy,start=adjoint", "a photo of a cat"},
    {"dps_sr", SR4, 0.05, "dps:steps=6,pull=0.5", "a photo of a cat"},
    {"dps_inpaint", HOLES, 0.05, "dps:steps=8,zeta=1.5,eta=0.5", "a photo of a cat"},
    {"dps_psld_sr", SR4, 0.05, "psld:steps=6,zeta=3", "a photo of a cat"},
    {"dps_psld_inpaint", HOLES, 0.05, "psld:steps=8,pull=0.5,gamma=0.3", "a photo of a cat"},
    {"resample_sr", SR4, 0.05, "resample:steps=6,interval=1,pixel=0.34,latent=0.67,inner=3", ""},
    {"resample_inpaint", HOLES, 0.05, "resample:steps=6,interval=2,pixel=0.17,latent=1,tau=0.9,gamma=1",
     "a photo of a cat"},
    {"red_diff_blur", BLUR, 0, "red-diff:steps=6,lambda=30,rate=0.05", "a photo of a cat"},
    {"red_diff_denoise", "identity", 0.1, "red-diff:steps=6,lambda=20,power=0.5,rate=0.1", ""},
    {"p2l_sr", SR4, 0.05, "p2l:steps=5,inner=2,rate=0.02,every=3,weight=0.5,zeta=0.7", ""},
    {"p2l_inpaint", HOLES, 0.05, "p2l:steps=6,inner=1,rate=0.05,every=2,weight=1,zeta=1.2", "a photo of a cat"},
    {"treg_denoise", "identity", 0.1, "treg:steps=8,guidance=3,negation=0.05,every=2,weight=1,zeta=0",
     "a photo of a cat"},
    {"treg_blur", BLUR, 0.02, "treg:steps=7,guidance=1.5,negation=0.02,every=3,weight=2,zeta=0.6",
     "a photo of the sea"},
    {"ablation_gradient", BLUR, 0.05, "latino-gradient:loop=renoised,pull=1.5", "a photo of a cat"},
    {"ablation_gradient_matched", BLUR, 0.05, "latino-gradient", "a photo of a cat"},
    {"ablation_ddim_matched", BLUR, 0.05, "latino-ddim:steps=6,rule=matched,eta=0.5", "a photo of a cat"},
    {"ablation_ddim_bayes", "identity", 0.05, "latino-ddim:steps=10,rule=bayes,eta=0.5", "a photo of a cat"},
    {"ablation_ddim_discrepancy", BLUR, 0.05, "latino-ddim:steps=8,rule=discrepancy,latent=encoded",
     "a photo of a cat"},
};

/* The estimate is within 2/255 of the script's, and as near to the truth. */
static void compare(ltn_ctx *ctx, ltn_model *m, const ltn_image *truth, const ltn_array *noise, const restoration *c)
{
    char spec[64], file[64];
    ltn_degradation *d = NULL;
    ltn_run *run = NULL;
    ltn_image y = {0}, x = {0}, golden = {0};
    test_name("%s", c->name);
    snprintf(spec, sizeof spec, "gaussian:sigma=%g", c->sigma);
    snprintf(file, sizeof file, "%s.png", c->name);
    OK(ctx, ltn_image_read(ctx, test_golden(file), &golden));
    OK(ctx, ltn_degradation_open(ctx, c->degradation, SIDE, SIDE, 3, &d));
    OK(ctx, ltn_degrade(d, truth, spec, 5, &y));
    OK(ctx, ltn_run_open(ctx, &(ltn_task){.model = m, .degradation = d, .y = &y, .sigma = c->sigma, .solver = c->solver,
                                          .prompt = c->prompt, .seed = 3, .noise = noise}, &run));
    ltn_status s;
    while (!(s = ltn_run_step(run))) continue;
    CHECK(s == LTN_DONE);
    OK(ctx, ltn_run_estimate(run, &x));
    double worst = 0, ours = 0, theirs = 0;
    for (int k = 0; k < COUNT; k++) {
        x.data[k] = fminf(fmaxf(x.data[k], 0), 1);
        worst = fmax(worst, fabs(x.data[k] - golden.data[k]));
    }
    OK(ctx, ltn_measure(ctx, "psnr", &x, truth, &ours));
    OK(ctx, ltn_measure(ctx, "psnr", &golden, truth, &theirs));
    NEAR(worst, 0, 2.0 / 255);
    NEAR(ours, theirs, 0.05);
    ltn_run_close(&run);
    ltn_image_free(ctx, &x);
    ltn_image_free(ctx, &y);
    ltn_image_free(ctx, &golden);
    ltn_degradation_close(&d);
}

TEST(every_solver_equals_its_pytorch_script)
{
    static float draws[DRAWS * LATENT];
    for (uint64_t k = 0; k < DRAWS; k++) ltn__normals((ltn_rng){77, 100 + k}, 0, draws + k * LATENT, LATENT);
    const ltn_array noise = {4, {DRAWS, 32, 16, 16}, draws};
    ltn_ctx *ctx;
    ltn_model *m = NULL;
    ltn_image truth = {0};
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, ltn_model_open(ctx, LTN_SOURCE_ROOT "/models/prior", &m));
    OK(ctx, ltn_image_read(ctx, test_golden("cat128.png"), &truth));
    for (int i = 0; i < LTN_COUNT(cases); i++) compare(ctx, m, &truth, &noise, &cases[i]);
    ltn_image_free(ctx, &truth);
    ltn_model_close(&m);
    ltn_close(&ctx);
}
