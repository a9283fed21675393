/* test_single.c - one file that holds a whole model in the original layout gives bit for bit what its folder gives: the names are
 * proved by diffusers' converters (tools/golden/single.py), the folder is held against diffusers by test_folder and test_sdxl. */
#include "single.h"

static const ltn_model_options tokens = {.tokenizer = PRIOR "/tokenizer"};

TEST(single_files_answer_as_their_folders)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    for (int i = 0; i < LTN_COUNT(families); i++) {
        answers want = folder_answers(ctx, &families[i]);
        for (ltn_dtype k = LTN_F32; k <= LTN_BF16; k++) {
            test_name("%s, %s", families[i].map, ltn__dtype_name(k));
            const char *path = write_single("x.bin", families[i].map, &(change){.type = k});
            answers_as(ctx, path, &tokens, &want, 0);
        }
        answers_free(ctx, &want);
    }
    ltn_close(&ctx);
}

TEST(a_part_stands_in)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    answers want = folder_answers(ctx, &families[0]);
    const change unet = {.only = "unet"}, bare = {.only = "unet", .strip = "model.diffusion_model."},
                 vae = {.only = "vae"}, bare_vae = {.only = "vae", .strip = "first_stage_model."};
    char unet_path[512], vae_path[512], whole[512];
    snprintf(unet_path, sizeof unet_path, "%s", write_single("u.x", "single_sd1", &unet));
    snprintf(vae_path, sizeof vae_path, "%s", write_single("v.x", "single_sd1", &vae));
    snprintf(whole, sizeof whole, "%s", write_single("w.x", "single_sd1", &(change){0}));
    answers_as(ctx, test_temp("m"), &(ltn_model_options){.unet = unet_path, .vae = vae_path}, &want, 0);
    answers_as(ctx, test_temp("m"), &(ltn_model_options){.unet = whole, .vae = whole}, &want, 0);
    answers_as(ctx, whole, &(ltn_model_options){.tokenizer = tokens.tokenizer, .unet = test_temp("m/unet"), .vae = test_temp("m")},
               &want, 0);
    write_single("u.x", "single_sd1", &bare);
    write_single("v.x", "single_sd1", &bare_vae);
    answers_as(ctx, test_temp("m"), &(ltn_model_options){.unet = unet_path, .vae = vae_path}, &want, 0);
    answers_free(ctx, &want);
    ltn_close(&ctx);
}

static bool describes(ltn_ctx *ctx, const char *path, const ltn_model_options *opt, const char *words)
{
    ltn_model *m;
    OK(ctx, ltn_model_open_with(ctx, path, opt, &m));
    const bool found = m && strstr(ltn_model_describe(m), words);
    if (m && !found) test_fail(__FILE__, __LINE__, "%s", ltn_model_describe(m));
    ltn_model_close(&m);
    return found;
}

TEST(what_a_file_predicts)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    const char *path = write_single("x", "single_sd1", &(change){0});
    CHECK(describes(ctx, path, &tokens, "\"prediction\": \"epsilon\""));
    ltn_model_options opt = tokens;
    opt.prediction = "v_prediction";
    CHECK(describes(ctx, path, &opt, "\"prediction\": \"v_prediction\""));
    write_single("x", "single_sd1", &(change){.empty = "v_pred"});
    CHECK(describes(ctx, path, &tokens, "\"prediction\": \"v_prediction\""));
    opt.prediction = "sample";
    CHECK(describes(ctx, path, &opt, "\"prediction\": \"sample\""));
    opt.prediction = "noise";
    ltn_model *m;
    CHECK(ltn_model_open_with(ctx, path, &opt, &m) == LTN_EINVAL && !m &&
          strstr(ltn_error(ctx), "\"noise\": expected epsilon, sample or v_prediction"));
    ltn_close(&ctx);
}

static void refused(const char *map, const change *c, const ltn_model_options *opt, const char *message)
{
    ltn_ctx *ctx;
    ltn_model *m;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    const char *path = write_single("bad", map, c);
    test_name("%s", message);
    CHECK(ltn_model_open_with(ctx, path, opt, &m) < 0 && !m);
    if (!strstr(ltn_error(ctx), message) || strncmp(ltn_error(ctx), path, strlen(path)))
        test_fail(__FILE__, __LINE__, "message: %s", ltn_error(ctx));
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(bad_single_files)
{
    refused("single_sd1", &(change){0}, NULL, ": brings no tokenizer: one is asked for");
    refused("single_sd1", &(change){.only = "unet"}, &tokens, ": no whole model: it holds no text encoder");
    refused("single_sd1", &(change){.without = "model.diffusion_model.input_blocks.1.0.in_layers.2.bias"}, &tokens,
            "/unet: down_blocks.0.resnets.0.conv1.bias: no such weight in the file");
    refused("single_sd1", &(change){.with = "model.diffusion_model.input_blocks.1.0.extra"}, &tokens,
            ": model.diffusion_model.input_blocks.1.0.extra: left over, no layer of this architecture has it");
    refused("single_sdxl", &(change){.without = "conditioner.embedders.1.model.text_projection"}, &tokens,
            "text_projection.weight: no such weight in the file");
    refused("single_sdxl", &(change){.empty = "edm_mean"}, &tokens, ": edm_mean or edm_vpred: EDM's noise levels are not supported");
}

/* CLIP's own words from its merges alone: tests/golden/tokenizer.json's ids are held by test_tokenizer. */
TEST(a_tokenizer_of_merges)
{
    ltn_ctx *ctx;
    ltn_tokenizer *t;
    int ids[77];
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    for (int k = 0; k < 2; k++) {
        OK(ctx, ltn__tokenizer_open_merges(ctx, LTN_SOURCE_ROOT "/models/clip/merges.txt", k, &t));
        if (!t) continue;
        OK(ctx, ltn__tokenize(t, "a photo of a cat", ids, 77));
        const int want[] = {49406, 320, 1125, 539, 320, 2368, 49407, k ? 0 : 49407};
        CHECK(!memcmp(ids, want, sizeof want) && ltn__tokenizer_size(t) == 49408 && ltn__tokenizer_length(t) == 77);
        ltn__tokenizer_close(&t);
    }
    ltn_close(&ctx);
}

TEST(every_allocation_of_a_single_file_fails_once)
{
    const char *path = write_single("x", "single_sdxl", &(change){0});
    bool done = false;
    for (long k = 1; !done && k < 100000; k++) {
        test_memory mem = {0};
        ltn_options opt = test_options(&mem);
        opt.threads = 1;
        ltn_ctx *ctx;
        ltn_model *m;
        OK(NULL, ltn_open(&ctx, &opt));
        mem.fail_at = mem.calls + k;
        const ltn_status s = ltn_model_open_with(ctx, path, &tokens, &m);
        done = mem.calls < mem.fail_at;
        CHECK(done ? !s && m : s == LTN_ENOMEM && !m);
        ltn_model_close(&m);
        ltn_close(&ctx);
        CHECK(mem.alive == 0);
    }
    CHECK(done);
}
