/* test_model.c - models against diffusers and transformers: configurations are read from
 * tests/golden/model/X.json, answers from model.safetensors, weights come from recipe.h. */
#include "recipe.h"

static const ltn_dtype dtypes[] = {LTN_F32, LTN_F16, LTN_BF16};

/* ---- Holding an answer against the golden one ---- */

static void against(ltn_ctx *ctx, const char *name, const float *out, size_t n, double tolerance)
{
    against_golden(ctx, "model.safetensors", name, out, n, tolerance);
}

static float *picture(int h, int w)
{
    float *v = malloc(3 * (size_t)h * (size_t)w * sizeof *v), *p = v;
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                *p++ = (float)(0.8 * sin(0.07 * y * (c + 1) + 0.05 * x) * cos(0.11 * x - 0.3 * c));
    return v;
}

/* ---- One part in a graph of its own ---- */

typedef struct bench {
    ltn_ctx *ctx;
    uint8_t *bytes;
    ltn_tensors *tensors;
    ltn_arena arena;
    ltn_json *config;
    ltn_graph *graph;
    ltn_plan *plan;
    ltn_nn nn;
} bench;

static void bench_open(bench *b, const recipe *r)
{
    size_t size;
    *b = (bench){0};
    OK(NULL, ltn_open(&b->ctx, &(ltn_options){.threads = 1})); /* these are too small for more */
    b->arena.ctx = b->ctx;
    b->bytes = cook(r, &size);
    OK(b->ctx, ltn__tensors_parse(b->ctx, r->names, b->bytes, size, &b->tensors));
    OK(b->ctx, ltn__graph_open(b->ctx, &b->graph));
    b->nn = (ltn_nn){.g = b->graph, .w = b->tensors};
}

static void bench_close(bench *b)
{
    ltn__plan_close(&b->plan);
    ltn__graph_close(&b->graph);
    ltn__tensors_close(&b->tensors);
    ltn__arena_free(&b->arena);
    free(b->bytes);
    ltn_close(&b->ctx);
}

static void bench_build(bench *b, const char *config, const char *arch, ltn_part_kind part,
                        ltn_part_size size)
{
    OK(b->ctx, ltn__json_read(b->ctx, golden_name(config, ".json"), &b->arena, &b->config));
    b->nn.config = b->config;
    ltn__arch_row(ltn__find(ltn__arch_entry, arch))->build(b->nn, part, size);
}

static bool bench_plan(bench *b)
{
    const ltn_status s = ltn__plan_open(b->graph, NULL, &b->plan);
    OK(b->ctx, s);
    return s == LTN_OK;
}

/* Feeds an input whose golden counterpart is planar. */
static void feed_planar(bench *b, const char *input, float *planar)
{
    const ltn_dims s = ltn__plan_dims(b->plan, input);
    ltn__to_last(planar, ltn__plan_data(b->plan, input), s.d[0], s.d[3], s.d[1] * s.d[2]);
    free(planar);
}

static void feed(bench *b, const char *input, float *v)
{
    memcpy(ltn__plan_data(b->plan, input), v, (size_t)ltn__count(ltn__plan_dims(b->plan, input)) * sizeof *v);
    free(v);
}

static size_t count(bench *b, const char *name)
{
    return (size_t)ltn__count(ltn__plan_dims(b->plan, name));
}

static void compare(bench *b, const char *output, const char *golden)
{
    const ltn_dims s = ltn__plan_dims(b->plan, output);
    float *planar = malloc(count(b, output) * sizeof *planar);
    ltn__to_planar(ltn__plan_data(b->plan, output), planar, s.d[0], s.d[3], s.d[1] * s.d[2]);
    against(b->ctx, golden, planar, count(b, output), 1e-4);
    free(planar);
}

static ltn_node *find(bench *b, const char *name)
{
    for (int i = 0; i < ltn__graph_size(b->graph); i++) {
        ltn_node *n = ltn__graph_node(b->graph, i);
        if ((n->input && !strcmp(n->input, name)) || (n->output && !strcmp(n->output, name))) return n;
    }
    return NULL;
}

/* Adds the gradient of <cotangent, out> with respect to an input as output "grad". */
static void differentiate(bench *b, const char *input)
{
    ltn_node *out = find(b, "out"), *x = find(b, input), *grad = NULL;
    CHECK(out && x);
    if (!out || !x) return;
    OK(b->ctx, ltn__grad(b->graph, out, ltn__input(b->graph, "cotangent", out->dims), &x, 1, &grad));
    if (grad) ltn__output(b->graph, "grad", grad);
}

/* ---- Blocks ---- */

static const ltn_dims block_input = {{2, 6, 10, 16}};

static void block_test(bench *b, const char *golden, ltn_node *out, double scale)
{
    ltn__output(b->graph, "out", out);
    OK(b->ctx, ltn__nn_check_unused(b->ctx, b->tensors));
    if (bench_plan(b)) {
        feed_planar(b, "x", values("x", count(b, "x"), scale));
        if (ltn__plan_data(b->plan, "emb")) feed(b, "emb", values("emb", count(b, "emb"), 2));
        if (ltn__plan_data(b->plan, "text")) feed(b, "text", values("text", count(b, "text"), 2));
        ltn__plan_run(b->plan);
        compare(b, "out", golden);
    }
    bench_close(b);
}

TEST(resnet_with_time)
{
    bench b;
    bench_open(&b, &(recipe){.names = "resnet"});
    b.nn.groups = 4, b.nn.eps = 1e-5;
    ltn_node *emb = ltn__silu(b.graph, ltn__input(b.graph, "emb", ltn__dims(2, 1, 1, 20)));
    block_test(&b, "resnet", ltn__nn_resnet(b.nn, ltn__input(b.graph, "x", block_input), emb, 24), 2);
}

TEST(resnet_without_time)
{
    bench b;
    bench_open(&b, &(recipe){.names = "resnet_plain"});
    b.nn.groups = 4, b.nn.eps = 1e-6;
    block_test(&b, "resnet_plain", ltn__nn_resnet(b.nn, ltn__input(b.graph, "x", block_input), NULL, 16), 2);
}

TEST(transformer)
{
    bench b;
    bench_open(&b, &(recipe){.names = "transformer"});
    b.nn.groups = 8;
    ltn_node *text = ltn__input(b.graph, "text", ltn__dims(2, 1, 5, 12));
    block_test(&b, "transformer",
               ltn__nn_transformer(b.nn, ltn__input(b.graph, "x", block_input), text, 4, 2), 2. / 128);
}

TEST(down_and_up)
{
    bench b;
    bench_open(&b, &(recipe){.names = "down"});
    block_test(&b, "down",
               ltn__nn_conv_down(ltn__in(b.nn, "conv"), ltn__input(b.graph, "x", block_input), 20, 1), 2);
    bench_open(&b, &(recipe){.names = "down"});
    block_test(&b, "down_asymmetric",
               ltn__nn_conv_down(ltn__in(b.nn, "conv"), ltn__input(b.graph, "x", block_input), 20, 0), 2);
    bench_open(&b, &(recipe){.names = "up"});
    ltn_node *x = ltn__upsample(b.graph, ltn__input(b.graph, "x", block_input), 2);
    block_test(&b, "up", ltn__nn_conv(ltn__in(b.nn, "conv"), x, 20, 3), 2);
}

/* ---- Whole models, in every type of weights ---- */

/* The sinusoid of time t, for every sample. */
static void feed_time(bench *b, double t)
{
    const ltn_model m = {.config = {NULL, b->config, NULL}};
    float *time = ltn__plan_data(b->plan, "time");
    for (int64_t i = 0; i < ltn__plan_dims(b->plan, "time").d[0]; i++)
        ltn__time_sinusoid(&m, t, time + i * ltn__time_width(&m));
}

static void unet_test(const char *name, ltn_dtype dtype, ltn_part_size size, double t, bool gradient)
{
    char golden[64];
    bench b;
    bench_open(&b, &(recipe){.names = name, .dtype = dtype});
    bench_build(&b, name, "UNet2DConditionModel", LTN_UNET, size);
    OK(b.ctx, ltn__nn_check_unused(b.ctx, b.tensors));
    if (gradient) differentiate(&b, "text");
    if (bench_plan(&b)) {
        feed_planar(&b, "sample", values("sample", count(&b, "sample"), 2));
        feed(&b, "text", values("text", count(&b, "text"), 2));
        feed_time(&b, t);
        ltn__tell_guidance(b.plan, 8.5); /* a sinusoid of 1000 times 7.5 */
        if (gradient) feed_planar(&b, "cotangent", values("cotangent", count(&b, "cotangent"), 2));
        ltn__plan_run(b.plan);
        compare(&b, "out", name);
        snprintf(golden, sizeof golden, "%s.grad", name);
        if (gradient) against(b.ctx, golden, ltn__plan_data(b.plan, "grad"), count(&b, "grad"), 1e-4);
    }
    bench_close(&b);
}

TEST(unet_of_stable_diffusion)
{
    for (int k = 0; k < 3; k++) unet_test("unet_sd", dtypes[k], (ltn_part_size){1, 16, 16, 11}, 519, false);
}

TEST(unet_of_other_depths_widths_and_heads)
{
    for (int k = 0; k < 3; k++) unet_test("unet_other", dtypes[k], (ltn_part_size){2, 12, 20, 9}, 37, false);
}

TEST(unet_without_middle)
{
    unet_test("unet_hollow", LTN_F32, (ltn_part_size){1, 8, 8, 6}, 999, false);
}

TEST(unet_gradient_of_text)
{
    unet_test("unet_sd", LTN_F32, (ltn_part_size){1, 16, 16, 11}, 519, true);
    unet_test("unet_other", LTN_F32, (ltn_part_size){2, 12, 20, 9}, 37, true);
}

static void coder_test(const recipe *r, const char *arch)
{
    char golden[64];
    bench b;
    bench_open(&b, r);
    bench_build(&b, r->names, arch, LTN_ENCODE, (ltn_part_size){1, 24, 16, 0});
    if (bench_plan(&b)) {
        feed_planar(&b, "picture", picture(24, 16));
        ltn__plan_run(b.plan);
        snprintf(golden, sizeof golden, "%s.encode", r->names);
        compare(&b, "out", golden);
    }
    ltn__plan_close(&b.plan);
    ltn__graph_close(&b.graph);
    OK(b.ctx, ltn__graph_open(b.ctx, &b.graph));
    b.nn.g = b.graph;
    bench_build(&b, r->names, arch, LTN_DECODE, (ltn_part_size){1, 6, 5, 0});
    OK(b.ctx, ltn__nn_check_unused(b.ctx, b.tensors));
    differentiate(&b, "latent");
    if (bench_plan(&b)) {
        feed_planar(&b, "latent", values("latent", count(&b, "latent"), 1));
        feed_planar(&b, "cotangent", values("cotangent", count(&b, "cotangent"), 2));
        ltn__plan_run(b.plan);
        snprintf(golden, sizeof golden, "%s.decode", r->names);
        compare(&b, "out", golden);
        snprintf(golden, sizeof golden, "%s.grad", r->names);
        compare(&b, "grad", golden);
    }
    bench_close(&b);
}

/* to_q was once called query. */
static void old_attention(const char *name, char *out, size_t size)
{
    static const char *const names[][2] = {{"to_q", "query"},
                                           {"to_k", "key"},
                                           {"to_v", "value"},
                                           {"to_out.0", "proj_attn"}};
    snprintf(out, size, "%s", name);
    for (int k = 0; k < 4; k++) {
        const char *at = strstr(name, names[k][0]);
        if (at)
            snprintf(out, size, "%.*s%s%s", (int)(at - name), name, names[k][1], at + strlen(names[k][0]));
    }
}

TEST(autoencoder_kl)
{
    for (int k = 0; k < 3; k++) coder_test(&(recipe){.names = "kl", .dtype = dtypes[k]}, "AutoencoderKL");
    coder_test(&(recipe){.names = "kl", .rename = old_attention}, "AutoencoderKL");
    coder_test(&(recipe){.names = "kl_bare"}, "AutoencoderKL");
}

TEST(autoencoder_tiny)
{
    for (int k = 0; k < 3; k++) coder_test(&(recipe){.names = "tiny", .dtype = dtypes[k]}, "AutoencoderTiny");
    coder_test(&(recipe){.names = "tiny_scaled"}, "AutoencoderTiny");
}

static void clip_test(const recipe *r)
{
    bench b;
    bench_open(&b, r);
    bench_build(&b, r->names, "CLIPTextModel", LTN_TEXT, (ltn_part_size){2, 1, 1, 13});
    OK(b.ctx, ltn__nn_check_unused(b.ctx, b.tensors));
    if (bench_plan(&b)) {
        float *ids = ltn__plan_data(b.plan, "ids");
        for (uint32_t i = 0; i < 26; i++) ids[i] = (float)((noise(hash("ids"), i) + 128) % 99);
        ltn__plan_run(b.plan);
        against(b.ctx, r->names, ltn__plan_data(b.plan, "out"), count(&b, "out"), 1e-4);
    }
    bench_close(&b);
}

static void prefix(const char *name, char *out, size_t size)
{
    snprintf(out, size, "text_model.%s", name);
}

TEST(clip)
{
    for (int k = 0; k < 3; k++) clip_test(&(recipe){.names = "clip", .dtype = dtypes[k]});
    clip_test(&(recipe){.names = "clip_gelu"});
    clip_test(&(recipe){.names = "clip", .rename = prefix});
    clip_test(&(recipe){.names = "clip", .with = "embeddings.position_ids"});
}

/* ---- Schedules ---- */

static void schedule_test(ltn_ctx *ctx, const char *name, bool own_steps)
{
    static const int counts[] = {1, 3, 4, 8, 20, 40};
    ltn_schedule s;
    ltn_sampler *w;
    char golden[64];
    float some[64], z0[100];
    OK(ctx, ltn__schedule_read(ctx, golden_name(name, ".json"), &s));
    if (!s.alpha_bar) return;
    for (int i = 0; i < 25; i++) some[i] = (float)s.alpha_bar[i * 41];
    snprintf(golden, sizeof golden, "%s.alpha_bar", name);
    against(ctx, golden, some, 25, 1e-5);
    float *z = values("z", 100, 2), *net = values("net", 100, 2);
    for (int k = 0; k < 6 && own_steps; k++) {
        OK(ctx, ltn__sampler_open(ctx, &s, counts[k], 1, 1, &w));
        CHECK(w && w->calls == counts[k]);
        for (int i = 0; w && i < w->calls; i++) some[i] = (float)w->t[i];
        snprintf(golden, sizeof golden, "%s.steps%d", name, counts[k]);
        against(ctx, golden, some, (size_t)counts[k], 0);
        for (int i = 0; w && counts[k] == 4 && i < 3; i += 2) {
            ltn__schedule_predict(&s, (int)w->t[i], z, net, z0, 100);
            snprintf(golden, sizeof golden, "%s.predict%d", name, (int)w->t[i]);
            against(ctx, golden, z0, 100, 1e-5);
        }
        ltn__sampler_close(&w);
    }
    free(z);
    free(net);
    ltn__schedule_free(ctx, &s);
}

TEST(schedules)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static const char *const own[] = {"lcm", "lcm_v", "ddim", "ddim_sd", "ddim_trailing", "ddim_linspace"};
    for (int i = 0; i < LTN_COUNT(own); i++) schedule_test(ctx, own[i], true);
    schedule_test(ctx, "pndm", false);
    schedule_test(ctx, "euler", false);
    ltn_close(&ctx);
}

/* ---- The small prior ---- */

static size_t size_of(const ltn_array *a)
{
    size_t n = 1;
    for (int k = 0; k < a->rank; k++) n *= (size_t)a->dim[k];
    return n;
}

TEST(prior_text_and_unet)
{
    static const char *const prompts[] = {"", "a photo of a cat",
                                          "A red FOX, in the snow; 35mm & f/1.8 -- it's late"};
    static const double times[] = {999, 499, 19};
    ltn_ctx *ctx;
    ltn_model *m;
    char golden[64];
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, ltn_model_open(ctx, PRIOR, &m));
    ltn_array sample = {.rank = 4, .dim = {1, 32, 16, 16}, .data = values("sample", 32 * 256, 2)}, text, out;
    for (int i = 0; i < 3 && m; i++) {
        OK(ctx, ltn_model_text(m, prompts[i], &text));
        snprintf(golden, sizeof golden, "prior.text%d", i);
        against(ctx, golden, text.data, size_of(&text), 1e-4);
        OK(ctx, ltn_model_unet(m, &sample, times[i], &text, &out));
        snprintf(golden, sizeof golden, "prior.unet%d", i);
        against(ctx, golden, out.data, size_of(&out), 1e-4);
        ltn_array_free(ctx, &text);
        ltn_array_free(ctx, &out);
    }
    free(sample.data);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(prior_encode_and_decode)
{
    ltn_ctx *ctx;
    ltn_model *m;
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, ltn_model_open(ctx, PRIOR, &m));
    ltn_array x = {.rank = 4, .dim = {1, 3, 128, 128}, .data = picture(128, 128)}, out;
    ltn_array z = {.rank = 4, .dim = {1, 32, 16, 16}, .data = values("latent", 32 * 256, 1)};
    if (m) {
        OK(ctx, ltn_model_encode(m, &x, &out));
        against(ctx, "prior.encode", out.data, size_of(&out), 1e-4);
        ltn_array_free(ctx, &out);
        OK(ctx, ltn_model_decode(m, &z, &out));
        against(ctx, "prior.decode", out.data, size_of(&out), 1e-4);
        ltn_array_free(ctx, &out);
    }
    free(x.data);
    free(z.data);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(prior_opens_fast)
{
    ltn_ctx *ctx;
    ltn_model *m;
    double best = INFINITY;
    OK(NULL, ltn_open(&ctx, NULL));
    for (int i = 0; i < 5; i++) {
        const double t = ltn__seconds();
        OK(ctx, ltn_model_open(ctx, PRIOR, &m));
        best = fmin(best, ltn__seconds() - t);
        ltn_model_close(&m);
    }
#ifndef __SANITIZE_ADDRESS__
    CHECK(best < 0.05);
#endif
    ltn_close(&ctx);
}
