/* test_lora.c - adapters: tiny models beside PyTorch's with the same adapters at their layers, unmerged
 * (tools/golden/lora.py), merged weights beside the formula, and what is refused. */
#include "base/half.h"
#include "folder.h"

static const folder sd = {.unet.names = "unet_sd"};
static const folder xl = {.unet.names = "unet_xl", .text = "clip_xl", .text_2.names = "clip_xl_2",
                          .scheduler = "euler"};

/* An adapter's file from a recipe; metadata goes into its header. */
static const char *write_adapter(const char *name, const recipe *r, const char *metadata)
{
    static char path[4][512]; /* test_temp's would not last */
    static int next;
    char *const out = path[next++ % 4];
    size_t size, more = metadata ? strlen(metadata) + 1 : 0;
    more = (more + 7) / 8 * 8;
    uint8_t *p = cook(r, &size), *q = malloc(size + more);
    uint64_t header;
    memcpy(&header, p, 8);
    header += more;
    memcpy(q, &header, 8);
    q[8] = '{';
    memset(q + 9, ' ', more);
    if (metadata) memcpy(q + 9, metadata, strlen(metadata)), q[9 + strlen(metadata)] = ',';
    memcpy(q + 9 + more, p + 9, size - 9);
    write_bytes(test_temp(name), q, size + more);
    free(p);
    free(q);
    snprintf(out, sizeof path[0], "%s", test_temp(name));
    return out;
}

static const char *adapter(const char *names)
{
    return write_adapter(names, &(recipe){.names = names}, NULL);
}

static void answers(const char *golden, const folder *f, const char *const *lora, int n)
{
    const bool two = f->text_2.names != NULL;
    const int64_t tokens = two ? 78 : 77, width = two ? 56 : 24;
    char name[64];
    ltn_ctx *ctx;
    ltn_model *m = NULL;
    ltn_array text = {0}, out = {0},
              given = {3, {two ? 2 : 1, tokens, width}, values("text", (size_t)(2 * tokens * width), 2)};
    ltn_array z = {4, {2, 4, 8, 12}, values("sample", 1024, 2)};
    if (!two) z.dim[0] = 1, z.dim[2] = z.dim[3] = 16;
    test_name("%s", golden);
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 2}));
    OK(ctx, ltn_model_open_with(ctx, write_folder(f), &(ltn_model_options){.lora = lora, .loras = n}, &m));
    if (m) {
        OK(ctx, ltn_model_text(m, "a photo of a cat", &text));
        OK(ctx, ltn_model_unet(m, &z, 519, &given, &out));
        snprintf(name, sizeof name, "%s.text", golden);
        against_golden(ctx, "lora.safetensors", name, text.data, (size_t)(tokens * width), 1e-4);
        snprintf(name, sizeof name, "%s.unet", golden);
        against_golden(ctx, "lora.safetensors", name, out.data, two ? 768 : 1024, 1e-4);
    }
    ltn_array_free(ctx, &text);
    ltn_array_free(ctx, &out);
    free(given.data);
    free(z.data);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(names_of_kohya_peft_and_old_diffusers)
{
    static const char *const names[] = {"lora_kohya", "lora_peft", "lora_old"};
    for (int i = 0; i < LTN_COUNT(names); i++) {
        const char *const lora = adapter(names[i]);
        answers(names[i], &sd, &lora, 1);
    }
}

TEST(two_text_encoders_and_the_original_names)
{
    const char *const lora = adapter("lora_xl");
    answers("lora_xl", &xl, &lora, 1);
}

TEST(alphas_in_the_metadata)
{
    const char *const lora =
        write_adapter("lora_meta", &(recipe){.names = "lora_meta"},
                      "\"__metadata__\":{\"lora_adapter_metadata\":\"{\\\"unet.r\\\": 4, \\\"unet.lora_alpha\\\": 6, "
                      "\\\"unet.alpha_pattern\\\": {\\\"proj_in\\\": 3}}\"}");
    answers("lora_meta", &sd, &lora, 1);
}

TEST(scales_and_several_at_once)
{
    char half[512], other[512];
    snprintf(half, sizeof half, "%s:0.5", adapter("lora_kohya"));
    snprintf(other, sizeof other, "%s:-0.75", adapter("lora_peft"));
    const char *const lora[] = {half, other};
    answers("half", &sd, lora, 1);
    answers("two", &sd, lora, 2);
}

/* ---- Weights ---- */

static double value_of(const ltn_weight *w, int64_t i)
{
    real v;
    ltn__weight_widen(w, i, 1, &v);
    return v;
}

/* W of one layer with an adapter of three weights, beside the sum in double; the others stay where they lie in the
 * file. */
static void merged(const char *names, const char *weight, ltn_dtype dtype, double tolerance)
{
    folder f = sd;
    f.unet.dtype = dtype;
    const char *const lora = adapter(names);
    ltn_ctx *ctx;
    ltn_model *plain = NULL, *m = NULL;
    ltn_tensors *t = NULL;
    double worst = 0;
    test_name("%s, type %d", names, dtype);
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 2}));
    const char *path = write_folder(&f);
    OK(ctx, ltn_model_open(ctx, path, &plain));
    OK(ctx, ltn_model_open_with(ctx, path, &(ltn_model_options){.lora = &lora, .loras = 1}, &m));
    OK(ctx, ltn__tensors_open(ctx, lora, &t));
    if (plain && m && t) {
        const ltn_weight *w = ltn__tensors_find(plain->tensors[1], weight),
                         *own = ltn__tensors_find(m->tensors[1], weight);
        const ltn_weight *alpha = ltn__tensors_at(t, 0), *down = ltn__tensors_at(t, 1), *mid = ltn__tensors_at(t, 2);
        const ltn_weight *up = ltn__tensors_at(t, ltn__tensors_count(t) - 1);
        const int64_t rank = down->dim[0], in = w->dim[1], kernel = w->dim[2] * w->dim[3], inner = up->dim[1];
        for (int64_t o = 0; o < w->dim[0]; o++)
            for (int64_t i = 0; i < in * kernel; i++) {
                double sum = 0;
                for (int64_t r = 0; r < inner; r++)
                    for (int64_t n = 0; n < (mid == up ? 1 : rank); n++)
                        sum += value_of(up, o * inner + r) *
                               (mid == up ? value_of(down, r * in * kernel + i)
                                          : value_of(mid, (r * rank + n) * kernel + i % kernel) *
                                                value_of(down, n * in + i / kernel));
                const double want = value_of(w, o * in * kernel + i) + value_of(alpha, 0) / (double)rank * sum;
                worst = fmax(worst, fabs(value_of(own, o * in * kernel + i) - want));
            }
        NEAR(worst, 0, tolerance);
        CHECK(w->mapped && !own->mapped && own->dtype == (dtype == LTN_F32 ? LTN_F32 : LTN_F16));
        int copied = 0;
        for (int k = 0; k < ltn__tensors_count(m->tensors[1]); k++)
            copied += !ltn__tensors_at(m->tensors[1], k)->mapped;
        CHECK(copied == 1);
    }
    ltn__tensors_close(&t);
    ltn_model_close(&plain);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(weights_are_those_of_the_formula)
{
    merged("lora_conv", "conv_out.weight", LTN_F32, 1e-6);
    merged("lora_conv", "conv_out.weight", LTN_BF16, 2e-3);
    merged("lora_mid", "conv_out.weight", LTN_F32, 1e-6);
}

/* ---- What is refused ---- */

static void refused(const recipe *r, const char *message)
{
    const char *const lora = write_adapter("bad", r, NULL);
    ltn_ctx *ctx;
    ltn_model *m = NULL;
    test_name("%s", message);
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    CHECK(ltn_model_open_with(ctx, test_temp("m"), &(ltn_model_options){.lora = &lora, .loras = 1}, &m) < 0 && !m);
    const char *e = ltn_error(ctx);
    if (strncmp(e, lora, strlen(lora)) || !strstr(e, message)) test_fail(__FILE__, __LINE__, "message: %s", e);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

static void other_layer(const char *name, char *out, size_t size)
{
    const char *dot = strchr(name, '.');
    snprintf(out, size, "lora_unet_nowhere%s", dot);
}

static void other_text(const char *name, char *out, size_t size)
{
    const char *dot = strchr(name, '.');
    snprintf(out, size, "lora_te2_conv_out%s", dot);
}

TEST(bad_adapters)
{
    const char *down = "lora_unet_conv_out.lora_down.weight";
    write_folder(&sd);
    refused(&(recipe){.names = "lora_conv", .rename = other_layer},
            "lora_unet_nowhere: no layer of this model, nor is any other");
    refused(&(recipe){.names = "lora_conv", .rename = other_text},
            "lora_te2_conv_out: no layer of this model, nor is any other");
    refused(&(recipe){.names = "lora_conv", .without = down}, "lora_unet_conv_out: no lora_down beside its lora_up");
    refused(&(recipe){.names = "lora_conv", .without = "lora_unet_conv_out.lora_up.weight"},
            "no lora_up beside its lora_down");
    refused(&(recipe){.names = "lora_conv", .misshapen = "lora_unet_conv_out.lora_up.weight"},
            "lora_unet_conv_out: up (5, 3, 1, 1) and down (3, 32, 3, 3) do not fit conv_out.weight (4, 32, 3, 3) of "
            "the model");
    refused(&(recipe){.names = "lora_conv", .misshapen = down}, "do not fit conv_out.weight");
    refused(&(recipe){.names = "lora_conv", .not_finite = down}, "lora_unet_conv_out.lora_down.weight: not finite");
    refused(&(recipe){.names = "lora_conv", .with = "lora_unet_conv_out.dora_scale"},
            "lora_unet_conv_out.dora_scale: DoRA is not supported");
    refused(&(recipe){.names = "lora_conv", .with = "a.hada_w1_a"}, "a.hada_w1_a: LoHa is not supported");
    refused(&(recipe){.names = "lora_conv", .with = "a.lokr_w1"}, "a.lokr_w1: LoKr is not supported");
    refused(&(recipe){.names = "lora_conv", .with = "a.alpha"}, "a: an alpha alone");
    refused(&(recipe){.names = "resnet"}, ": no weight of a LoRA");
}

TEST(descriptions)
{
    ltn_ctx *ctx;
    char text[1024] = "", same[1024] = "";
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, ltn_lora_describe(ctx, adapter("lora_kohya"), text, sizeof text));
    OK(ctx, ltn_file_describe(ctx, adapter("lora_kohya"), same, sizeof same));
    CHECK(!strcmp(same, text));
    CHECK(strstr(text, "\"text_encoder\": 6") && strstr(text, "\"least_rank\": 2,\n  \"rank\": 3"));
    CHECK(strstr(text, "\"type\": \"f32\""));
    CHECK(ltn_lora_describe(ctx, adapter("resnet"), text, sizeof text) == LTN_EFORMAT &&
          strstr(ltn_error(ctx), "no weight of a LoRA"));
    ltn_close(&ctx);
}

TEST(every_allocation_of_a_merge_fails_once)
{
    const char *path = write_folder(&sd), *const lora = adapter("lora_mid");
    bool done = false;
    for (long k = 1; !done && k < 10000; k++) {
        test_memory mem = {0};
        ltn_options opt = test_options(&mem);
        ltn_ctx *ctx;
        ltn_model *m;
        opt.threads = 1;
        OK(NULL, ltn_open(&ctx, &opt));
        OK(ctx, ltn_model_open(ctx, path, &m));
        mem.fail_at = mem.calls + k;
        const ltn_status s = ltn__lora_merge(m, lora);
        done = mem.calls < mem.fail_at;
        CHECK(done ? !s : s == LTN_ENOMEM);
        ltn_model_close(&m);
        ltn_close(&ctx);
        CHECK(mem.alive == 0);
    }
    CHECK(done);
}

/* ---- f16 ---- */

TEST(the_nearest_f16)
{
    for (uint32_t h = 0; h < 0x7c00; h++) {
        uint16_t in[2] = {(uint16_t)h, (uint16_t)(h + 1)}, out[8];
        float v[2], x[8];
        ltn__halves(in, 2, v);
        if (h == 0x7bff) v[1] = 65536;
        const float middle = (v[0] + v[1]) / 2;
        for (int k = 0; k < 8; k++)
            x[k] = k == 1 ? middle : k == 2 ? nextafterf(middle, 0) : k == 3 ? nextafterf(middle, 1e9f) : -v[0];
        ltn__to_halves(x, 8, out);
        CHECK(out[0] == (h | 0x8000) && out[1] == h + (h & 1) && out[2] == h && out[3] == h + 1 && out[7] == out[0]);
    }
}
