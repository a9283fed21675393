/* test_generate.c - pictures from prompts against diffusers' pipelines (tools/golden/generate.py): guidance, negative
 * prompts, other samplers, image to image, SDXL; and what is refused. */
#include "folder.h"
#include "run/prior.h"

#define PROMPT "a photo of a cat"
#define NEGATIVE "a dog in the snow"
enum { FACTOR = 4, DRAWS = 8 };

static const folder small = {.unet.names = "unet_sd", .text = "clip_77"};
static const folder small_xl = {.unet.names = "unet_xl", .text = "clip_xl", .text_2.names = "clip_xl_2",
                                .scheduler = "euler"};

static ltn_model *open_folder(ltn_ctx **ctx, const folder *f)
{
    ltn_model *m = NULL;
    OK(NULL, ltn_open(ctx, &(ltn_options){.threads = 1}));
    OK(*ctx, ltn_model_open(*ctx, write_folder(f), &m));
    return m;
}

/* Draws of the golden noise. */
static ltn_array noise_of(int width, int height)
{
    const size_t n = (size_t)(4 * (height / FACTOR) * (width / FACTOR));
    ltn_array a = {.rank = 4, .dim = {DRAWS, 4, height / FACTOR, width / FACTOR},
                   .data = malloc(DRAWS * n * sizeof(float))};
    for (int k = 0; k < DRAWS; k++) {
        char name[32];
        snprintf(name, sizeof name, "noise%d", k);
        float *v = values(name, n, 2);
        memcpy(a.data + (size_t)k * n, v, n * sizeof *v);
        free(v);
    }
    return a;
}

static ltn_image picture(ltn_ctx *ctx, int width, int height)
{
    ltn_image x = {0};
    OK(ctx, ltn_image_new(ctx, width, height, 3, NULL, &x));
    float *p = x.data;
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++)
                *p++ = (float)(0.4 * sin(0.07 * i * (c + 1) + 0.05 * j) * cos(0.11 * j - 0.3 * c) + 0.5);
    return x;
}

/* One picture; image: begins with one. */
static void draw(ltn_ctx *ctx, const char *golden, ltn_generation g, bool image)
{
    ltn_image x = {0}, from = image ? picture(ctx, g.width, g.height) : (ltn_image){0};
    ltn_array noise = noise_of(g.width, g.height);
    test_name("%s", golden);
    g.prompt = PROMPT;
    g.noise = &noise;
    if (image) g.image = &from;
    OK(ctx, ltn_generate(ctx, &g, &x));
    CHECK(x.width == g.width && x.height == g.height && x.channels == 3);
    if (x.data) against_golden(ctx, "generate.safetensors", golden, x.data, (size_t)(3 * g.width * g.height), 1e-4);
    ltn_image_free(ctx, &x);
    ltn_image_free(ctx, &from);
    free(noise.data);
}

static void refused(ltn_ctx *ctx, ltn_generation g, ltn_status status, const char *message)
{
    ltn_image x = {0};
    test_name("%s", message);
    CHECK(ltn_generate(ctx, &g, &x) == status && !x.data);
    if (!strstr(ltn_error(ctx), message)) test_fail(__FILE__, __LINE__, "%s", ltn_error(ctx));
}

TEST(pictures_from_prompts)
{
    ltn_ctx *ctx;
    ltn_model *m = open_folder(&ctx, &small);
    if (m) {
        draw(ctx, "plain", (ltn_generation){.model = m, .width = 64, .height = 64, .steps = 4}, false);
        draw(ctx, "negative", (ltn_generation){.model = m, .width = 64, .height = 64, .steps = 4, .guidance = 7.5,
                                               .negative = NEGATIVE}, false);
        draw(ctx, "eta", (ltn_generation){.model = m, .width = 64, .height = 64, .steps = 3, .guidance = 2,
                                          .sampler = "ddim:eta=0.5"}, false);
        draw(ctx, "wide", (ltn_generation){.model = m, .width = 96, .height = 64, .steps = 5, .guidance = 3,
                                           .sampler = "unipc"}, false);
        draw(ctx, "ancestral", (ltn_generation){.model = m, .width = 64, .height = 32, .steps = 4,
                                                .sampler = "euler_ancestral:timestep_spacing=trailing"}, false);
    }
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(pictures_from_pictures)
{
    ltn_ctx *ctx;
    ltn_model *m = open_folder(&ctx, &small);
    if (m) {
        draw(ctx, "image", (ltn_generation){.model = m, .width = 64, .height = 64, .steps = 5, .strength = 0.6,
                                            .guidance = 5,
                                            .negative = NEGATIVE}, true);
        draw(ctx, "image.dpm", (ltn_generation){.model = m, .width = 96, .height = 64, .steps = 6, .strength = 0.5,
                                                .sampler = "dpm:use_karras_sigmas=true"}, true);
        draw(ctx, "image.pndm", (ltn_generation){.model = m, .width = 64, .height = 64, .steps = 6, .strength = 0.7,
                                                 .sampler = "pndm:skip_prk_steps=true"}, true);
    }
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(pictures_of_sdxl)
{
    ltn_ctx *ctx;
    ltn_model *m = open_folder(&ctx, &small_xl);
    if (m) {
        draw(ctx, "xl", (ltn_generation){.model = m, .width = 48, .height = 32, .steps = 4, .guidance = 5}, false);
        draw(ctx, "xl.negative", (ltn_generation){.model = m, .width = 48, .height = 32, .steps = 3, .guidance = 5,
                                                  .negative = NEGATIVE},
             false);
        draw(ctx, "xl.image", (ltn_generation){.model = m, .width = 48, .height = 32, .steps = 4, .guidance = 5,
                                               .strength = 0.5}, true);
    }
    ltn_model_close(&m);
    ltn_close(&ctx);
}

/* A network that is told its guidance (LCM): 8.5 where nothing is said. */
TEST(guidance_as_an_input)
{
    const folder f = {.unet.names = "unet_lcm", .text = "clip_77", .scheduler = "lcm"};
    ltn_ctx *ctx;
    ltn_model *m = open_folder(&ctx, &f);
    if (m) {
        draw(ctx, "told", (ltn_generation){.model = m, .width = 32, .height = 32, .steps = 4}, false);
        draw(ctx, "told.little", (ltn_generation){.model = m, .width = 32, .height = 32, .steps = 2, .guidance = 3},
             false);
        refused(ctx, (ltn_generation){.model = m, .negative = NEGATIVE, .guidance = 5}, LTN_EINVAL,
                "this model takes its guidance as an input and no negative prompt");
    }
    ltn_model_close(&m);
    ltn_close(&ctx);
}

/* Sides that the model cannot take: drawn larger and cut, the part that is seen the same. */
TEST(any_size)
{
    ltn_ctx *ctx;
    ltn_model *m = open_folder(&ctx, &small);
    ltn_image whole = {0}, part = {0}, grey = {0};
    if (m) {
        ltn_generation g = {.model = m, .prompt = PROMPT, .width = 64, .height = 32, .steps = 2, .seed = 5};
        OK(ctx, ltn_generate(ctx, &g, &whole));
        g.width = 45, g.height = 31;
        OK(ctx, ltn_generate(ctx, &g, &part));
        CHECK(part.width == 45 && part.height == 31);
        for (int k = 0; part.data && k < 3 * 31 * 45; k++)
            CHECK(part.data[k] == whole.data[(k / (31 * 45) * 32 + k / 45 % 31) * 64 + k % 45]);
        /* A grey picture with alpha, resized. */
        OK(ctx, ltn_image_new(ctx, 20, 30, 2, NULL, &grey));
        for (int k = 0; k < 1200; k++) grey.data[k] = (float)(k % 7) / 7;
        ltn_image_free(ctx, &part);
        g.image = &grey;
        g.height = 0;
        OK(ctx, ltn_generate(ctx, &g, &part));
        CHECK(part.width == 45 && part.height == 30 && part.channels == 3);
    }
    ltn_image_free(ctx, &whole);
    ltn_image_free(ctx, &part);
    ltn_image_free(ctx, &grey);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(the_seed_decides)
{
    ltn_ctx *ctx;
    ltn_model *m = open_folder(&ctx, &small);
    ltn_image x[3] = {{0}};
    for (int k = 0; k < 3 && m; k++)
        OK(ctx, ltn_generate(ctx, &(ltn_generation){.model = m, .width = 32, .height = 32, .steps = 2,
                                                    .seed = (uint64_t)(k / 2),
                                                    .sampler = "ddpm"}, &x[k]));
    if (x[2].data) {
        CHECK(!memcmp(x[0].data, x[1].data, 3072 * sizeof(float)));
        CHECK(memcmp(x[0].data, x[2].data, 3072 * sizeof(float)));
    }
    for (int k = 0; k < 3; k++) ltn_image_free(ctx, &x[k]);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(what_is_refused)
{
    ltn_ctx *ctx;
    ltn_model *m = open_folder(&ctx, &small);
    float one = 0;
    const ltn_array few = {.rank = 4, .dim = {1, 4, 8, 7}, .data = &one};
    const ltn_image odd = {.width = 1, .height = 1, .channels = 7, .data = &one};
    if (m) {
        refused(ctx, (ltn_generation){0}, LTN_EINVAL, "generating needs a model");
        refused(ctx, (ltn_generation){.model = m, .guidance = -1}, LTN_EINVAL, "guidance must be a number from 0 on");
        refused(ctx, (ltn_generation){.model = m, .guidance = NAN}, LTN_EINVAL, "guidance must be a number");
        refused(ctx, (ltn_generation){.model = m, .negative = ""}, LTN_EINVAL,
                "a negative prompt needs guidance above 1");
        refused(ctx, (ltn_generation){.model = m, .strength = 0.5}, LTN_EINVAL,
                "strength needs a picture to begin with");
        refused(ctx, (ltn_generation){.model = m, .width = -1}, LTN_EINVAL, "a picture cannot be -1 x 64");
        refused(ctx, (ltn_generation){.model = m, .steps = -1}, LTN_EINVAL, "steps must be 1 .. 1000, not -1");
        refused(ctx, (ltn_generation){.model = m, .sampler = "eulr"}, LTN_EINVAL,
                "unknown sampler \"eulr\"; did you mean \"euler\"?");
        refused(ctx, (ltn_generation){.model = m, .sampler = "lcm", .steps = 51}, LTN_EINVAL,
                "sampler lcm: 51 steps, at most");
        refused(ctx, (ltn_generation){.model = m, .image = &odd}, LTN_ESHAPE, "1 x 1 with 7 channels is no beginning");
        refused(ctx, (ltn_generation){.model = m, .width = 32, .height = 32, .noise = &few}, LTN_ESHAPE,
                "the noise must be draws of 4 x 8 x 8");
    }
    ltn_model_close(&m);
    ltn_close(&ctx);
}

/* Every allocation fails once: a clean error, nothing leaks. */
TEST(memory_fails_at_every_point)
{
    test_memory mem = {0};
    ltn_options opt = test_options(&mem);
    opt.threads = 1;
    ltn_ctx *ctx;
    ltn_model *m = NULL;
    ltn_image x = {0};
    OK(NULL, ltn_open(&ctx, &opt));
    OK(ctx, ltn_model_open(ctx, write_folder(&small), &m));
    ltn_image from = picture(ctx, 16, 16);
    const ltn_generation g = {.model = m, .steps = 2, .width = 32, .height = 32, .image = &from, .guidance = 2,
                              .sampler = "unipc"};
    if (m) OK(ctx, ltn_generate(ctx, &g, &x)); /* the model's parts are planned from now on */
    ltn_image_free(ctx, &x);
    const long alive = mem.alive;
    ltn_status s = m ? LTN_ENOMEM : LTN_OK;
    for (long k = 1; s == LTN_ENOMEM && k < 500; k++) {
        mem.calls = 0, mem.fail_at = k;
        s = ltn_generate(ctx, &g, &x);
        mem.fail_at = 0;
        CHECK(s == LTN_OK || (s == LTN_ENOMEM && !x.data));
        ltn_image_free(ctx, &x);
        CHECK(mem.alive == alive);
    }
    CHECK(s == LTN_OK);
    ltn_image_free(ctx, &from);
    ltn_model_close(&m);
    ltn_close(&ctx);
    CHECK(mem.alive == 0);
}
