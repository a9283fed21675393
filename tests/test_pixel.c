/* test_pixel.c - diffusions in pixels against diffusers and against guided-diffusion's UNet in PyTorch
 * (tools/golden/pixel.py): networks and their gradients, whole models, what is refused. */
#include "folder.h"

#include <unistd.h>

#define FOLDER "{\"_class_name\": \"DDPMPipeline\", \"unet\": [\"diffusers\", \"UNet2DModel\"], \"scheduler\": []}"
#define DDPM "{\"_class_name\": \"DDPMScheduler\"}"

typedef struct network {
    const char *name; /* of model/NAME.json, which UNet2DModels have, and model/NAME.names */
    bool guided;
    int n, h, w;
    double t;
} network;
static const network networks[] = {{"ddpm_old", false, 2, 16, 12, 519},   {"ddpm_heads", false, 1, 16, 16, 37},
                                   {"ddpm_scaled", false, 1, 8, 16, 999}, {"guided_ffhq", true, 1, 16, 16, 519},
                                   {"guided_conv", true, 2, 8, 16, 37}};

static void write_text(const char *path, const char *text)
{
    write_bytes(test_temp(path), text, strlen(text));
}

/* The model as people have it: a folder, one without sub-folders, or a file. */
static const char *write_model(const network *w, const recipe *r, bool on_top, const char *from, const char *to)
{
    const char *const file = "diffusion_pytorch_model.safetensors";
    char path[512];
    size_t size;
    snprintf(path, sizeof path, "rm -rf '%s'", test_temp("m"));
    if (system(path)) test_fail(__FILE__, __LINE__, "%s", path);
    if (w->guided) {
        uint8_t *p = cook(r, &size);
        write_bytes(test_temp("m"), p, size);
        free(p);
        return test_temp("m");
    }
    mkdir(test_temp("m"), 0755);
    write_text("m/model_index.json", FOLDER);
    char *config = replaced(golden_name(w->name, ".json"), from, to);
    write_part(on_top ? "." : "unet", r, config, strlen(config), file, 0);
    if (!on_top) mkdir(test_temp("m/scheduler"), 0755);
    write_text(on_top ? "m/scheduler_config.json" : "m/scheduler/scheduler_config.json", DDPM);
    return test_temp("m");
}

/* The network's answer, and its gradient by the sample. */
static void ask(ltn_ctx *ctx, ltn_model *m, const network *w)
{
    ltn_part *p = NULL;
    char golden[64];
    const size_t n = 3 * (size_t)(w->n * w->h * w->w);
    float *x = values("sample", n, 2), *dy = values("cotangent", n, 2), *out = malloc(n * sizeof *out);
    OK(ctx, ltn__model_part(m, LTN_UNET_BY_SAMPLE, w->n, w->h, w->w, &p));
    if (p) {
        ltn__to_last(x, ltn__plan_data(p->plan, "sample"), w->n, 3, w->h * w->w);
        ltn__to_last(dy, ltn__plan_data(p->plan, "cotangent"), w->n, 3, w->h * w->w);
        for (int i = 0; i < w->n; i++)
            ltn__time_sinusoid(m, w->t, ltn__plan_data(p->plan, "time") + i * ltn__time_width(m));
        ltn__plan_run(p->plan);
        ltn__to_planar(ltn__plan_data(p->plan, "out"), out, w->n, 3, w->h * w->w);
        against_golden(ctx, "pixel.safetensors", w->name, out, n, 1e-4);
        ltn__to_planar(ltn__plan_data(p->plan, "d_sample"), out, w->n, 3, w->h * w->w);
        snprintf(golden, sizeof golden, "%s.grad", w->name);
        against_golden(ctx, "pixel.safetensors", golden, out, n, 1e-4);
    }
    free(x);
    free(dy);
    free(out);
}

/* As diffusers before 0.15 calls them. */
static void old_names(const char *name, char *out, size_t size)
{
    static const char *const names[][2] = {
        {"to_q", "query"}, {"to_k", "key"}, {"to_v", "value"}, {"to_out.0", "proj_attn"}};
    snprintf(out, size, "%s", name);
    for (int k = 0; k < LTN_COUNT(names); k++) {
        const char *at = strstr(name, names[k][0]);
        if (at) snprintf(out, size, "%.*s%s%s", (int)(at - name), name, names[k][1], at + strlen(names[k][0]));
    }
}

TEST(networks_equal_diffusers_and_guided_diffusion)
{
    static const ltn_dtype types[] = {LTN_F32, LTN_F16, LTN_BF16};
    for (int i = 0; i < 4 * LTN_COUNT(networks); i++) {
        const network *w = &networks[i / 4];
        const bool old = i % 4 == 3;
        const recipe r = {.names = w->name, .dtype = old ? LTN_F32 : types[i % 4], .rename = old ? old_names : NULL};
        ltn_ctx *ctx;
        ltn_model *m;
        test_name("%s, %d", w->name, i % 4);
        OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
        OK(ctx, ltn_model_open(ctx, write_model(w, &r, old, NULL, NULL), &m));
        if (m) ask(ctx, m, w);
        ltn_model_close(&m);
        ltn_close(&ctx);
    }
}

TEST(a_model_in_pixels_describes_itself_and_runs)
{
    ltn_ctx *ctx;
    ltn_model *m;
    ltn_array out = {0}, x = {.rank = 4, .dim = {1, 3, 16, 16}, .data = values("sample", 768, 1)};
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    OK(ctx, ltn_model_open(ctx, write_model(&networks[0], &(recipe){.names = "ddpm_old"}, false, NULL, NULL), &m));
    if (!m) return;
    CHECK(strstr(ltn_model_describe(m), "\"factor\": 1") && strstr(ltn_model_describe(m), "\"vae\": null"));
    CHECK(strstr(ltn_model_describe(m), "\"picture_size\": 16") && strstr(ltn_model_describe(m), "UNet2DModel"));
    OK(ctx, ltn_model_encode(m, &x, &out));
    CHECK(out.rank == 4 && !memcmp(out.data, x.data, 768 * sizeof *x.data));
    ltn_array_free(ctx, &out);
    OK(ctx, ltn_model_unet(m, &x, 3, NULL, &out));
    CHECK(out.rank == 4 && out.dim[1] == 3 && out.dim[3] == 16);
    ltn_array_free(ctx, &out);
    CHECK(ltn_model_unet(m, &x, 3, &x, &out) == LTN_EINVAL && strstr(ltn_error(ctx), "takes no text"));
    CHECK(ltn_model_text(m, "a cat", &out) == LTN_EINVAL &&
          strstr(ltn_error(ctx), "the model works in pixels and takes no text"));
    free(x.data);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(a_file_of_guided_diffusion_is_no_part_of_a_model)
{
    ltn_ctx *ctx;
    char json[1024];
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    OK(ctx, ltn_file_describe(ctx, write_model(&networks[3], &(recipe){.names = "guided_ffhq"}, false, NULL, NULL),
                              json, sizeof json));
    CHECK(strstr(json, "\"guided-diffusion\"") && strstr(json, "\"whole model\""));
    ltn_close(&ctx);
}

/* Every solver: those that need text say so, the others end. A picture that is no multiple of the network's factor,
 * too. */
TEST(solvers_run_in_pixels)
{
    ltn_ctx *ctx;
    ltn_model *m;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    OK(ctx, ltn_model_open(ctx, write_model(&networks[3], &(recipe){.names = "guided_ffhq"}, false, NULL, NULL), &m));
    ltn_degradation *d = NULL;
    ltn_image y = {0}, x = {0}, truth = {0};
    OK(ctx, ltn_degradation_open(ctx, "inpaint:random=0.5", 22, 18, 3, &d));
    OK(ctx, ltn_image_new(ctx, 22, 18, 3, NULL, &truth));
    for (int i = 0; i < 22 * 18 * 3; i++) truth.data[i] = (float)(i % 7) / 7;
    OK(ctx, ltn_degrade(d, &truth, "gaussian:sigma=0.05", 1, &y));
    for (int i = 0; m && ltn_list(LTN_SOLVERS, i); i++) {
        const char *name = ltn_list(LTN_SOLVERS, i)->name;
        char spec[64];
        bool steps = false;
        for (const ltn_param *q = ltn_list(LTN_SOLVERS, i)->param; q && q->name; q++)
            steps |= !strcmp(q->name, "steps");
        snprintf(spec, sizeof spec, "%s%s", name, steps ? ":steps=3" : "");
        test_name("%s", spec);
        ltn_run *run = NULL;
        ltn_status s = ltn_run_open(ctx, &(ltn_task){.model = m, .degradation = d, .y = &y, .sigma = 0.05,
                                                     .solver = spec}, &run);
        if (!strcmp(name, "latino-pro") || !strcmp(name, "p2l") || !strcmp(name, "treg")) {
            CHECK(s == LTN_EINVAL && strstr(ltn_error(ctx), "needs a model that takes text"));
            continue;
        }
        while (!s) s = ltn_run_step(run);
        CHECK(s == LTN_DONE);
        if (s != LTN_DONE) test_fail(__FILE__, __LINE__, "%s", ltn_error(ctx));
        else OK(ctx, ltn_run_estimate(run, &x));
        for (int k = 0; x.data && k < 22 * 18 * 3; k++) CHECK(isfinite(x.data[k]));
        ltn_image_free(ctx, &x);
        ltn_run_close(&run);
    }
    ltn_image_free(ctx, &y);
    ltn_image_free(ctx, &truth);
    ltn_degradation_close(&d);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

/* tools/golden/pixel_solvers.py: draw k is stream 100 + k of seed 77, in the order (c, h, w). */
#define HOLES "inpaint:random=0.5,seed=7"
#define BLUR "blur:sigma=1.5,boundary=circular"
typedef struct restoration {
    const char *name, *degradation, *solver;
    double sigma; /* in [0, 1] */
} restoration;
static const restoration cases[] = {
    {"ddrm_mask", HOLES, "ddrm:steps=6", 0.05},
    {"ddrm_blur", BLUR, "ddrm:steps=8,eta=0.5,eta_b=0.8", 0.05},
    {"ddrm_exact", HOLES, "ddrm:steps=5", 0},
    {"ddnm_exact", HOLES, "ddnm:steps=6", 0},
    {"ddnm_noise", BLUR, "ddnm:steps=6", 0.05},
    {"diffpir_blur", BLUR, "diffpir:steps=6,lambda=7", 0.05},
    {"diffpir_mask", HOLES, "diffpir:steps=5,lambda=3,zeta=0.8", 0.05},
    {"pigdm_blur", BLUR, "pigdm:steps=6", 0.05},
    {"pigdm_mask", HOLES, "pigdm:steps=6,eta=0.5", 0},
    {"dps_blur", BLUR, "dps:steps=6,zeta=0.7", 0.05},
    {"red_diff_blur", BLUR, "red-diff:steps=5", 0.05},
};

TEST(solvers_equal_their_pytorch_scripts)
{
    enum { SIDE = 32, COUNT = 3 * SIDE * SIDE, DRAWS = 9 };
    static float draws[DRAWS * COUNT];
    for (uint64_t k = 0; k < DRAWS; k++) ltn__normals((ltn_rng){77, 100 + k}, 0, draws + k * COUNT, COUNT);
    const ltn_array noise = {4, {DRAWS, 3, SIDE, SIDE}, draws};
    ltn_ctx *ctx;
    ltn_model *m;
    ltn_image truth = {0};
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    OK(ctx, ltn_model_open(ctx, write_model(&networks[3], &(recipe){.names = "guided_ffhq"}, false, NULL, NULL), &m));
    OK(ctx, ltn_image_new(ctx, SIDE, SIDE, 3, NULL, &truth));
    for (int c = 0, k = 0; c < 3; c++)
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++, k++)
                truth.data[k] = (float)(0.5 + 0.4 * sin(0.07 * y * (c + 1) + 0.05 * x) * cos(0.11 * x - 0.3 * c));
    for (int i = 0; m && i < LTN_COUNT(cases); i++) {
        const restoration *c = &cases[i];
        char spec[64];
        ltn_degradation *d = NULL;
        ltn_run *run = NULL;
        ltn_image y = {0}, x = {0};
        test_name("%s", c->name);
        snprintf(spec, sizeof spec, "gaussian:sigma=%g", c->sigma);
        OK(ctx, ltn_degradation_open(ctx, c->degradation, SIDE, SIDE, 3, &d));
        OK(ctx, ltn_degrade(d, &truth, spec, 5, &y));
        OK(ctx, ltn_run_open(ctx, &(ltn_task){.model = m, .degradation = d, .y = &y, .sigma = c->sigma,
                                              .solver = c->solver, .noise = &noise}, &run));
        ltn_status s = run ? LTN_OK : LTN_EINVAL;
        while (!s) s = ltn_run_step(run);
        CHECK(s == LTN_DONE);
        if (s == LTN_DONE) OK(ctx, ltn_run_estimate(run, &x));
        for (int k = 0; x.data && k < COUNT; k++) x.data[k] = 2 * x.data[k] - 1;
        against_golden(ctx, "pixel_solvers.safetensors", c->name, x.data, COUNT, 2e-3);
        ltn_image_free(ctx, &x);
        ltn_image_free(ctx, &y);
        ltn_run_close(&run);
        ltn_degradation_close(&d);
    }
    ltn_image_free(ctx, &truth);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

static void refused(const network *w, recipe r, const char *from, const char *to, const char *message)
{
    ltn_ctx *ctx;
    ltn_model *m;
    r.names = w->name;
    test_name("%s", message);
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    const char *path = write_model(w, &r, false, from, to);
    CHECK(ltn_model_open(ctx, path, &m) < 0 && !m);
    if (strncmp(ltn_error(ctx), path, strlen(path)) || !strstr(ltn_error(ctx), message))
        test_fail(__FILE__, __LINE__, "message: %s", ltn_error(ctx));
    ltn_close(&ctx);
}

TEST(what_is_refused)
{
    const network *d = &networks[1], *g = &networks[3];
    const recipe r = {0};
    refused(d, r, "\"num_class_embeds\": null", "\"num_class_embeds\": 10",
            "num_class_embeds is 10, which is not supported");
    refused(d, r, "\"class_embed_type\": null", "\"class_embed_type\": \"timestep\"",
            "class_embed_type is timestep, which is not");
    refused(d, r, "\"time_embedding_type\": \"positional\"", "\"time_embedding_type\": \"fourier\"",
            "only positional is supported");
    refused(d, r, "\"AttnUpBlock2D\"", "\"SkipUpBlock2D\"",
            "up_block_types[0]: expected UpBlock2D, AttnUpBlock2D or ResnetUpsam");
    refused(d, r, "\"attention_head_dim\": 4", "\"attention_head_dim\": 5", "channels in heads of 5");
    refused(d, r, "\"UNet2DModel\"", "\"AutoencoderKL\"", "AutoencoderKL is no network for pixels");
    refused(d, (recipe){.with = "extra.weight"}, NULL, NULL, "extra.weight: left over");
    refused(d, (recipe){.without = "mid_block.resnets.1.conv2.bias"}, NULL, NULL,
            "mid_block.resnets.1.conv2.bias: no such weight");
    refused(g, (recipe){.with = "label_emb.weight"}, NULL, NULL,
            "label_emb.weight: models that are told a class are not supported");
    refused(g, (recipe){.with = "extra.weight"}, NULL, NULL, "extra.weight: left over");
    refused(g, (recipe){.without = "out.2.weight"}, NULL, NULL, "no whole model: it holds no text encoder");
    refused(g, (recipe){.without = "middle_block.1.qkv.bias"}, NULL, NULL,
            "middle_block.1.qkv.bias: no such weight in the file");
    refused(g, (recipe){.without = "output_blocks.1.2.in_layers.2.weight"}, NULL, NULL, "not guided-diffusion's UNet");
    refused(g, (recipe){.without = "output_blocks.1.2.out_layers.3.bias"}, NULL, NULL,
            "output_blocks.1.2.out_layers.3.bias: no such");
}

TEST(opening_without_memory)
{
    for (int i = 1; i < LTN_COUNT(networks); i += 2) {
        const char *path = write_model(&networks[i], &(recipe){.names = networks[i].name}, false, NULL, NULL);
        long k = 1;
        while (fails_cleanly(path, NULL, k)) k += 1 + k / 16;
        CHECK(k > 1);
    }
}
