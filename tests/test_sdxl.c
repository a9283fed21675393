/* test_sdxl.c - a folder of SDXL's kind, in small, against diffusers' pipeline (tools/golden/sdxl.py): both text
 * encoders, the pooled text, the sizes that the UNet is told, gradients by the text; and what is refused. */
#include "folder.h"
#include "run/prior.h"

enum { TEXT = 78 * 56, LATENT = 2 * 4 * 8 * 12 };

static const folder small = {.unet.names = "unet_xl", .text = "clip_xl", .text_2.names = "clip_xl_2",
                             .scheduler = "euler"};

static ltn_model *open_folder(ltn_ctx **ctx, const folder *f)
{
    ltn_model *m = NULL;
    OK(NULL, ltn_open(ctx, &(ltn_options){.threads = 1}));
    OK(*ctx, ltn_model_open(*ctx, write_folder(f), &m));
    return m;
}

static void against(ltn_ctx *ctx, const char *name, const float *out, size_t n)
{
    against_golden(ctx, "sdxl.safetensors", name, out, n, 1e-4);
}

static void text_test(ltn_model *m, const char *name, const char *prompt)
{
    ltn_array text = {0};
    OK(m->ctx, prompt ? ltn_model_text(m, prompt, &text) : ltn__model_empty(m, &text));
    CHECK(text.rank == 3 && text.dim[0] == 1 && text.dim[1] == 78 && text.dim[2] == 56);
    if (text.data) against(m->ctx, name, text.data, TEXT);
    ltn_array_free(m->ctx, &text);
}

TEST(texts_of_both_encoders)
{
    ltn_ctx *ctx;
    ltn_model *m = open_folder(&ctx, &small);
    if (m) {
        CHECK(strstr(ltn_model_describe(m), "\"text_encoder_2\": {\"architecture\": \"CLIPTextModel\""));
        CHECK(strstr(ltn_model_describe(m), "\"text_width\": 56"));
        CHECK(strstr(ltn_model_describe(m), "\"pooled_width\": 20"));
        text_test(m, "text0", "");
        text_test(m, "text1", "a photo of a cat");
        text_test(m, "text2", "A red FOX, in the snow; 35mm & f/1.8 -- it's late");
        text_test(m, "none", NULL);
    }
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(the_end_of_a_prompt_by_its_id)
{
    folder f = small;
    ltn_ctx *ctx;
    f.from_2 = "\"eos_token_id\": 2", f.to_2 = "\"eos_token_id\": 839";
    ltn_model *m = open_folder(&ctx, &f);
    if (m) text_test(m, "mark", "a cat in the snow, another cat!");
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(no_text_is_the_empty_prompt_where_the_folder_says_so)
{
    folder f = small;
    ltn_ctx *ctx;
    f.index = "{\"unet\": [], \"vae\": [], \"text_encoder\": [], \"text_encoder_2\": [], "
              "\"force_zeros_for_empty_prompt\": false}";
    ltn_model *m = open_folder(&ctx, &f);
    if (m) text_test(m, "text0", NULL);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(unet)
{
    ltn_ctx *ctx;
    ltn_model *m = open_folder(&ctx, &small);
    ltn_array z = {.rank = 4, .dim = {2, 4, 8, 12}, .data = values("sample", LATENT, 2)}, out = {0};
    ltn_array text = {.rank = 3, .dim = {2, 78, 56}, .data = values("text", 2 * TEXT, 2)};
    if (m) {
        OK(ctx, ltn_model_unet(m, &z, 519, &text, &out));
        if (out.data) against(ctx, "unet", out.data, LATENT);
        ltn_array_free(ctx, &out);
        text.dim[1] = 77;
        CHECK(ltn_model_unet(m, &z, 519, &text, &out) == LTN_ESHAPE &&
              strstr(ltn_error(ctx), "text: expected an array (1, 78, 56)"));
    }
    free(z.data);
    free(text.data);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

static void to_part(ltn_plan *p, const char *input, const char *name)
{
    const ltn_dims d = ltn__plan_dims(p, input);
    float *v = values(name, (size_t)ltn__count(d), 2);
    ltn__to_last(v, ltn__plan_data(p, input), d.d[0], d.d[3], d.d[1] * d.d[2]);
    free(v);
}

static void from_part(ltn_ctx *ctx, ltn_plan *p, const char *output, const char *golden)
{
    float v[LATENT];
    const ltn_dims d = ltn__plan_dims(p, output);
    ltn__to_planar(ltn__plan_data(p, output), v, d.d[0], d.d[3], d.d[1] * d.d[2]);
    against(ctx, golden, v, LATENT);
}

/* Runs a part of the UNet on the golden inputs; place: what it is told of the picture. */
static ltn_plan *run_part(ltn_model *m, ltn_part_kind kind, const int64_t place[6])
{
    ltn_part *part;
    OK(m->ctx, ltn__model_part(m, kind, 2, 8, 12, &part));
    if (!part) return NULL;
    float *text = values("text", 2 * TEXT, 2);
    memcpy(ltn__plan_data(part->plan, "text"), text, 2 * TEXT * sizeof *text);
    free(text);
    to_part(part->plan, "sample", "sample");
    for (int i = 0; i < 2; i++) {
        ltn__time_sinusoid(m, 519, ltn__plan_data(part->plan, "time") + i * ltn__time_width(m));
        ltn__place_sinusoids(m, place, ltn__plan_data(part->plan, "place") + i * 48);
    }
    if (kind != LTN_UNET) to_part(part->plan, "cotangent", "cotangent");
    ltn__plan_run(part->plan);
    return part->plan;
}

TEST(unet_by_text_and_sample)
{
    ltn_ctx *ctx;
    ltn_model *m = open_folder(&ctx, &small);
    const int64_t whole[6] = {32, 48, 0, 0, 32, 48};
    ltn_plan *p = m ? run_part(m, LTN_UNET_BY_BOTH, whole) : NULL;
    if (p) {
        from_part(ctx, p, "out", "unet");
        from_part(ctx, p, "d_sample", "unet.d_sample");
        against(ctx, "unet.d_text", ltn__plan_data(p, "d_text"), 2 * TEXT);
        p = run_part(m, LTN_UNET_BY_TEXT, whole);
    }
    if (p) against(ctx, "unet.d_text", ltn__plan_data(p, "d_text"), 2 * TEXT);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(unet_in_a_window)
{
    ltn_ctx *ctx;
    ltn_model *m = open_folder(&ctx, &small);
    ltn_plan *p = m ? run_part(m, LTN_UNET, (const int64_t[]){96, 160, 32, 64, 40, 48}) : NULL;
    if (p) from_part(ctx, p, "out", "unet.window");
    ltn_model_close(&m);
    ltn_close(&ctx);
}

/* 50 x 40 pixels are 13 x 10 latents; windows of 8 begin at columns 0 and 5, rows 0 and 2. */
TEST(windows_are_told_their_place)
{
    ltn_ctx *ctx;
    ltn_prior *p = NULL;
    ltn_part *part = NULL;
    ltn_model *m = open_folder(&ctx, &small);
    if (m) OK(ctx, ltn__prior_open(m, (ltn_size){50, 40, 3}, "a photo of a cat", &p));
    if (p) {
        float *z = calloc(2 * p->latent_count, sizeof *z), want[48];
        OK(ctx, p->predict(p, z, 500, z + p->latent_count));
        OK(ctx, ltn__model_part(m, LTN_UNET, 4, 8, 8, &part));
        for (int k = 0; k < 4 && part; k++) {
            const int64_t place[6] = {40, 52, k / 2 * 8, k % 2 * 20, 32, 32};
            ltn__place_sinusoids(m, place, want);
            CHECK(!memcmp(ltn__plan_data(part->plan, "place") + k * 48, want, sizeof want));
        }
        free(z);
    }
    ltn__prior_close(&p);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(pictures_are_restored)
{
    static const char *const solvers[] = {"latino:steps=2", "latino-pro:rounds=1,steps=2", "treg:steps=2"};
    ltn_ctx *ctx;
    ltn_degradation *d = NULL;
    ltn_image y = {0}, x = {0};
    ltn_model *m = open_folder(&ctx, &small);
    OK(ctx, ltn_image_new(ctx, 50, 40, 3, NULL, &y));
    for (int i = 0; i < 50 * 40 * 3; i++) y.data[i] = (float)ltn__uniform((ltn_rng){1, 50}, (uint64_t)i);
    OK(ctx, ltn_degradation_open_for(ctx, "inpaint:random=0.3", &y, &d));
    for (int k = 0; k < LTN_COUNT(solvers) && m; k++) {
        ltn_run *run = NULL;
        ltn_array text = {0};
        test_name("%s", solvers[k]);
        const ltn_task task = {.model = m, .degradation = d, .y = &y, .sigma = 0.05, .solver = solvers[k],
                               .prompt = "a cat"};
        ltn_status s = ltn_run_open(ctx, &task, &run);
        while (!s) s = ltn_run_step(run);
        CHECK(s == LTN_DONE);
        OK(ctx, ltn_run_estimate(run, &x));
        OK(ctx, ltn_run_text(run, &text));
        bool finite = true;
        for (int i = 0; i < 50 * 40 * 3; i++) finite &= isfinite(x.data[i]) != 0;
        for (int i = 77 * 56 + 20; i < TEXT; i++) finite &= text.data[i] == 0; /* beside the pooled text */
        CHECK(finite && text.dim[1] == 78);
        ltn_array_free(ctx, &text);
        ltn_image_free(ctx, &x);
        ltn_run_close(&run);
    }
    ltn_image_free(ctx, &y);
    ltn_degradation_close(&d);
    ltn_model_close(&m);
    ltn_close(&ctx);
}
