/* test_folder.c - diffusers folders: SD1.5 in small, what can be wrong with one, and memory that runs out. */
#include "folder.h"

TEST(stable_diffusion_in_small)
{
    ltn_ctx *ctx;
    ltn_model *m;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    OK(ctx, ltn_model_open(ctx, write_folder(&(folder){.unet.names = "unet_sd"}), &m));
    if (m) {
        const char *d = ltn_model_describe(m);
        CHECK(strstr(d, "\"architecture\": \"UNet2DConditionModel\""));
        CHECK(strstr(d, "\"latent_channels\": 4"));
        CHECK(strstr(d, "\"factor\": 4"));
        CHECK(strstr(d, "\"picture_size\": 64"));
        CHECK(strstr(d, "\"name\": \"DDIMScheduler\""));
        ltn_array z = {.rank = 4, .dim = {2, 4, 8, 8}, .data = values("z", 512, 1)}, text, out,
                  bad = {.rank = 4, .dim = {1, 5, 8, 8}};
        OK(ctx, ltn_model_text(m, "a cat", &text));
        OK(ctx, ltn_model_unet(m, &z, 3, &text, &out));
        CHECK(out.rank == 4 && out.dim[0] == 2 && out.dim[1] == 4 && out.dim[2] == 8 && out.dim[3] == 8);
        ltn_array_free(ctx, &out);
        CHECK(ltn_model_unet(m, &bad, 3, &text, &out) == LTN_ESHAPE &&
              strstr(ltn_error(ctx), "expected an array (n, 4, height, width)"));
        z.dim[2] = 4, z.dim[3] = 16;
        CHECK(ltn_model_unet(m, &z, 3, &text, &out) == LTN_ESHAPE &&
              strstr(ltn_error(ctx), "16 x 4: sides must be divisible by 8"));
        ltn_array_free(ctx, &text);
        free(z.data);
    }
    ltn_model_close(&m);
    ltn_close(&ctx);
}

/* Opening this folder fails with a message that ends so. */
static void refused(const folder *f, const char *message)
{
    ltn_ctx *ctx;
    ltn_model *m;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    const char *path = write_folder(f);
    test_name("%s", message);
    ltn_status s = ltn_model_open(ctx, path, &m);
    if (!s) s = ltn__model_part(m, LTN_UNET, 1, 8, 8, &(ltn_part *){NULL}); /* what is read later */
    CHECK(s < 0);
    const char *e = ltn_error(ctx);
    if (strncmp(e, path, strlen(path)) || !strstr(e, message) || e[strlen(e) - 1] == '.')
        test_fail(__FILE__, __LINE__, "message: %s", e);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(bad_weights)
{
    const char *conv = "down_blocks.0.resnets.0.conv1.weight";
    refused(&(folder){.unet = {.names = "unet_sd", .without = conv}},
            "/unet: down_blocks.0.resnets.0.conv1.weight: no such weight in the file");
    refused(&(folder){.unet = {.names = "unet_sd", .without = "conv_in.bias"}},
            "/unet: conv_in.bias: no such weight in the file");
    refused(&(folder){.unet = {.names = "unet_sd", .misshapen = conv}},
            "/unet: down_blocks.0.resnets.0.conv1.weight: shape (33, 32, 3, 3), expected (32, 32, 3, 3)");
    refused(&(folder){.unet = {.names = "unet_sd", .with = "extra.weight"}},
            "/unet: extra.weight: left over, no layer of this architecture has it");
    for (ltn_dtype k = LTN_F32; k <= LTN_BF16; k++)
        refused(&(folder){.unet = {.names = "unet_sd", .not_finite = conv, .dtype = k}},
                "/unet: down_blocks.0.resnets.0.conv1.weight: not finite");
    refused(&(folder){.unet = {.names = "unet_sd"}, .cut = 100},
            "/unet/diffusion_pytorch_model.safetensors: ");
    refused(&(folder){.unet = {.names = "unet_sd"}, .weights = ""},
            "/unet: no weights: neither diffusion_pytorch_model.safetensors");
}

TEST(bad_configurations)
{
    const recipe sd = {.names = "unet_sd"};
    refused(&(folder){.unet = sd, .from = "block_out_channels", .to = "other"},
            "/unet: config.json: no block_out_channels");
    refused(&(folder){.unet = sd,
                      .from = "\"class_embed_type\": null",
                      .to = "\"class_embed_type\": \"projection\""},
            "/unet: config.json: class_embed_type is projection, which is not supported");
    refused(&(folder){.unet = sd,
                      .from = "\"addition_embed_type\": null",
                      .to = "\"addition_embed_type\": \"image_hint\""},
            "/unet: config.json: addition_embed_type is image_hint, only text_time is supported");
    refused(&(folder){.unet = sd, .from = "\"act_fn\": \"silu\"", .to = "\"act_fn\": \"mish\""},
            "/unet: config.json: act_fn is mish, only silu|swish is supported");
    refused(&(folder){.unet = sd, .from = "\"layers_per_block\": 2", .to = "\"layers_per_block\": 1e9"},
            "/unet: config.json: layers_per_block: expected whole numbers from 1 to 8");
    refused(&(folder){.unet = sd, .from = "\"norm_num_groups\": 16", .to = "\"norm_num_groups\": 24"},
            "/unet: down_blocks.0.resnets.0.norm1: 32 channels in 24 groups");
    refused(&(folder){.unet = sd, .from = "\"attention_head_dim\": 4", .to = "\"attention_head_dim\": 5"},
            "transformer_blocks.0.attn1: 32 channels in 5 heads");
    refused(&(folder){.unet = sd, .from = "\"DownBlock2D\"", .to = "\"KDownBlock2D\""},
            "/unet: config.json: down_block_types[3]: expected CrossAttnDownBlock2D or DownBlock2D");
    refused(&(folder){.unet = sd, .from = "UNet2DConditionModel", .to = "UNet3DConditionModel"},
            "/unet/config.json: architecture \"UNet3DConditionModel\" is not known");
}

TEST(bad_calibrations)
{
    static const char *const bad[][2] = {
        {"[]", "/latino.json: expected an object of tables"},
        {"{\"error_spectra\": [[1, 2]]}", "/latino.json: error_spectra: no such table"},
        {"{\"error_spectrum\": [[5, 1, 1, 1]]}", ": error_spectrum: row 1: expected 15 positive numbers"},
        {"{\"one_step_error\": [[5, 0.1], [5, 0.2]]}", ": one_step_error: row 2: expected 2 positive numbers"},
        {"{\"one_step_error\": [[5, 0.1], [6, 0]]}", ": one_step_error: row 2: "},
        {"{\"one_step_error\": [[5, 0.1], 6]}", ": one_step_error: row 2: "},
        {"{\"latent_error\": 1}", ": latent_error: row 1: "},
        {"{\"latent_error\": []}", ": latent_error: row 1: "},
        {"{\"noisy_picture\": [[0, 1, 0.1]]}", ": noisy_picture: row 1: expected 3 positive numbers"},
        {"{\"lost_share\": [[0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]]}",
         "/latino.json: error_spectrum and lost_share: expected both or neither"},
    };
    for (int i = 0; i < LTN_COUNT(bad); i++)
        refused(&(folder){.unet.names = "unet_sd", .calibration = bad[i][0]}, bad[i][1]);
}

TEST(two_text_encoders_that_do_not_fit)
{
    const recipe xl = {.names = "unet_xl"}, second = {.names = "clip_xl_2"};
    refused(&(folder){.unet = xl},
            "/unet: config.json: addition_embed_type is text_time, but model_index.json has no text_encoder_2");
    refused(&(folder){.unet.names = "unet_sd", .text_2 = second},
            "/unet: config.json: no addition_embed_type, but model_index.json has a text_encoder_2");
    refused(&(folder){.unet = xl, .text = "clip_xl", .text_2 = second, .from = "\"addition_time_embed_dim\": 8",
                      .to = "\"a\": 8"},
            "/unet: config.json: no addition_time_embed_dim");
    refused(
        &(folder){.unet = xl, .text = "clip_xl", .text_2 = second, .from = "input_dim\": 68", .to = "input_dim\": 48"},
        "/unet: config.json: projection_class_embeddings_input_dim is 48, expected 48 and 1 to 56 for the pooled text");
    refused(&(folder){.unet = xl, .text = "clip_xl", .text_2 = second, .from = "input_dim\": 68",
                      .to = "input_dim\": 69"},
            "/unet: add_embedding.linear_1.weight: shape (64, 68), expected (64, 69)");
    refused(&(folder){.unet = xl, .text = "clip_xl", .text_2 = {.names = "clip_xl_2",
                                                                .without = "text_projection.weight"}},
            "/text_encoder_2: text_projection.weight: no such weight in the file");
    refused(&(folder){.unet = xl, .text = "clip_xl", .text_2 = second, .from_2 = "\"projection_dim\": 20",
                      .to_2 = "\"a\": 1"},
            "/text_encoder_2: config.json: no projection_dim");
    refused(&(folder){.unet = xl, .text_2 = {.names = "clip_xl_2", .with = "text_projection.bias"}},
            "/text_encoder_2: text_projection.bias: left over, no layer of this architecture has it");
    refused(&(folder){.unet = xl, .text = "clip_xl_2", .text_2 = second}, ": text of width 64, the UNet takes 56");
    refused(&(folder){.unet = xl,
                      .text = "clip_xl",
                      .text_2 = {.names = "clip_xl_2", .misshapen = "text_projection.weight"},
                      .from_2 = "\"projection_dim\": 20",
                      .to_2 = "\"projection_dim\": 21"},
            ": pooled text of width 21, the UNet takes 20");
    refused(&(folder){.unet = xl, .index = "{\"unet\": [], \"vae\": [], \"text_encoder\": [null, null]}"},
            "/model_index.json: no text_encoder");
}

TEST(parts_that_do_not_fit)
{
    refused(&(folder){.unet.names = "unet_sd", .vae = "tiny"},
            ": latents of 6 channels, the UNet takes 4 and gives 4");
    refused(&(folder){.unet.names = "unet_other"}, ": text of width 24, the UNet takes 20");
    refused(&(folder){.unet.names = "unet_sd", .index = ""}, ": no model_index.json: not a diffusers folder");
    refused(&(folder){.unet.names = "unet_sd", .index = "{}"}, "/model_index.json: no text_encoder");
    refused(&(folder){.unet.names = "unet_sd", .scheduler = "kl"},
            "/scheduler/scheduler_config.json: _class_name is \"AutoencoderKL\"");
}

TEST(no_such_folder)
{
    ltn_ctx *ctx;
    ltn_model *m;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    CHECK(ltn_model_open(ctx, "/nowhere/x", &m) == LTN_EIO && !m);
    CHECK(!strcmp(ltn_error(ctx), "/nowhere/x: no such folder"));
    ltn_close(&ctx);
}

/* ---- Memory ---- */
TEST(every_allocation_of_open_fails_once)
{
    static const folder two = {.unet.names = "unet_xl", .text = "clip_xl", .text_2.names = "clip_xl_2"};
    const char *path = write_folder(&two);
    long k = 1;
    while (fails_cleanly(path, NULL, k)) k++;
    CHECK(k > 1);
}

TEST(every_allocation_of_a_part_fails_once)
{
    const char *path = write_folder(&(folder){.unet.names = "unet_hollow"});
    test_memory mem = {0};
    ltn_options opt = test_options(&mem);
    opt.threads = 1;
    ltn_ctx *ctx;
    ltn_model *m;
    bool done = false;
    OK(NULL, ltn_open(&ctx, &opt));
    OK(ctx, ltn_model_open(ctx, path, &m));
    for (long k = 1; m && !done && k < 100000; k++) {
        ltn_part *part;
        mem.fail_at = mem.calls + k;
        const ltn_status s = ltn__model_part(m, LTN_TEXT, 1, 1, 1, &part);
        done = mem.calls < mem.fail_at;
        CHECK(done ? !s && part : s == LTN_ENOMEM && !part);
    }
    CHECK(done);
    ltn_model_close(&m);
    ltn_close(&ctx);
    CHECK(mem.alive == 0);
}
