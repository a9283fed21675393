/* test_single.c - one file that holds a whole model in the original layout gives bit for bit what its folder gives: the
 * names are proved by diffusers' converters (tools/golden/single.py), the folder is held against diffusers by
 * test_folder and test_sdxl. */
#include "model/layout.h"
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
    answers_as(ctx, whole, &(ltn_model_options){.tokenizer = tokens.tokenizer, .unet = test_temp("m/unet"),
                                                .vae = test_temp("m")},
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
    refused("single_sdxl", &(change){.empty = "edm_mean"}, &tokens,
            ": edm_mean or edm_vpred: EDM's noise levels are not supported");
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
    long k = 1;
    while (fails_cleanly(path, &tokens, k)) k++;
    CHECK(k > 1);
}

/* ---- What a file is ---- */
static void is(ltn_ctx *ctx, const char *path, const char *const *words)
{
    char json[4096] = "";
    OK(ctx, ltn_file_describe(ctx, path, json, sizeof json));
    for (; *words; words++)
        if (!strstr(json, *words)) test_fail(__FILE__, __LINE__, "no %s in %s", *words, json);
}

TEST(a_file_is_known_by_its_tensors)
{
    ltn_ctx *ctx;
    char json[4096];
    OK(NULL, ltn_open(&ctx, NULL));
    const char *path = write_single("x.zip", "single_sdxl", &(change){.type = LTN_F16});
    is(ctx, path,
       (const char *const[]){"\"kind\": \"whole model\"", "\"family\": \"SDXL\"", "\"type\": \"f16\"",
                             "\"vae\": ", NULL});
    write_single("x.zip", "single_sd1", &(change){.only = "unet", .strip = "model.diffusion_model."});
    is(ctx, path, (const char *const[]){"\"kind\": \"UNet\"", "\"use\": \"--unet FILE", "UNet2DConditionModel", NULL});
    write_single("x.zip", "single_sd1", &(change){.only = "vae"});
    is(ctx, path, (const char *const[]){"\"kind\": \"autoencoder\"", "\"use\": \"--vae FILE", NULL});
    write_map_folder(&families[0]);
    is(ctx, test_temp("m/unet/diffusion_pytorch_model.safetensors"), (const char *const[]){"\"kind\": \"UNet\"", NULL});
    CHECK(ltn_file_describe(ctx, test_golden("file/types.gguf"), json, sizeof json) == LTN_EFORMAT &&
          strstr(ltn_error(ctx), "types.gguf: no part of a model that is known by its tensors"));
    ltn_close(&ctx);
}

/* ---- Tiny autoencoders ---- */

/* The decoder's layers in its author's file begin with a clamp. */
static void as_encoder(const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s", !strncmp(name, "encoder.layers.", 15) ? name + 15 : "-");
}

static void as_decoder(const char *name, char *out, size_t size)
{
    int layer, end = 0;
    if (sscanf(name, "decoder.layers.%d%n", &layer, &end) == 1) snprintf(out, size, "%d%s", layer + 1, name + end);
    else snprintf(out, size, "-");
}

/* Those tensors of a recipe that keep a name. */
static const char *write_half(const char *file, const char *names, void (*rename)(const char *, char *, size_t))
{
    char text[256], name[200], other[200];
    single s = {0};
    size_t size;
    FILE *in = fopen(golden_name(names, ".names"), "r");
    while (in && fgets(text, sizeof text, in)) {
        line l = {.dim = {1, 1, 1, 1}};
        l.rank = sscanf(text, "%199s %ld %ld %ld %ld", name, &l.dim[0], &l.dim[1], &l.dim[2], &l.dim[3]) - 1;
        snprintf(l.name, sizeof l.name, "%s", name);
        rename(name, other, sizeof other);
        if (!strcmp(other, "-")) continue;
        float *v = line_values(&l);
        single_name(&s, other, "F32", l.rank, l.dim, line_count(&l) * 4);
        single_values(&s, LTN_F32, v, line_count(&l));
        free(v);
    }
    if (in) fclose(in);
    uint8_t *p = single_whole(&s, &size);
    write_bytes(test_temp(file), p, size);
    free(p);
    return test_temp(file);
}

static ltn_tensors *view_of(ltn_ctx *ctx, const char *path, int part, ltn_tensors **file)
{
    ltn_tensors *view = NULL;
    OK(ctx, ltn__tensors_open(ctx, path, file));
    const ltn_layout *l = *file ? ltn__layout_find(*file, part) : NULL;
    CHECK(l);
    if (l) OK(ctx, ltn__tensors_view(ctx, path, ltn__tensors_count(*file), &view));
    if (view) OK(ctx, ltn__layout_move(l, *file, view));
    return view;
}

TEST(halves_of_a_tiny_autoencoder)
{
    char both[1024], encoder[512];
    ltn_ctx *ctx;
    ltn_model *m;
    ltn_tensors *file, *view;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    snprintf(encoder, sizeof encoder, "%s", write_half("e.pth", "tiny", as_encoder));
    snprintf(both, sizeof both, "%s+%s", encoder, write_half("d.pth", "tiny", as_decoder));
    is(ctx, encoder, (const char *const[]){"\"kind\": \"encoder of a tiny autoencoder\"", "--vae FILE+DECODER", NULL});
    view = view_of(ctx, test_temp("d.pth"), LTN_AT_HALF_DECODER, &file);
    CHECK(view && ltn__tensors_find(view, "decoder.layers.0.weight") &&
          ltn__tensors_count(view) == ltn__tensors_count(file));
    ltn__tensors_close(&view);
    ltn__tensors_close(&file);
    write_map_folder(&families[0]); /* whose UNet takes 4 channels, and this one gives 6 */
    CHECK(ltn_model_open_with(ctx, test_temp("m"), &(ltn_model_options){.vae = both}, &m) == LTN_ESHAPE && !m &&
          strstr(ltn_error(ctx), "latents of 6 channels, the UNet takes 4 and gives 4"));
    ltn_close(&ctx);
}

/* ---- Shards ---- */
static void shard(const char *file, const char *part, int which, char *index, size_t size)
{
    line *l;
    single s = {0};
    size_t bytes, at = strlen(index);
    char path[256];
    const int n = read_map("single_sd1", &l);
    for (int i = 0; i < n; i++) {
        if (strcmp(l[i].part, part) || (int)(hash(l[i].name) >> 7 & 1) != which) continue;
        float *v = line_values(&l[i]);
        single_name(&s, l[i].name, "F32", l[i].rank, l[i].dim, line_count(&l[i]) * 4);
        single_values(&s, LTN_F32, v, line_count(&l[i]));
        free(v);
        at += (size_t)snprintf(index + at, size - at, "%s\"%s\": \"%s\"", index[at - 1] == '{' ? "" : ",\n", l[i].name,
                               file);
    }
    uint8_t *p = single_whole(&s, &bytes);
    snprintf(path, sizeof path, "m/unet/%s", file);
    write_bytes(test_temp(path), p, bytes);
    free(p);
    free(l);
}

static void write_index(const char *text, const char *from, const char *to)
{
    static char all[1 << 17];
    const char *at = from ? strstr(text, from) : NULL;
    if (at) snprintf(all, sizeof all, "%.*s%s%s}}", (int)(at - text), text, to, at + strlen(from));
    else snprintf(all, sizeof all, "%s}}", text);
    write_bytes(test_temp("m/unet/diffusion_pytorch_model.safetensors.index.json"), all, strlen(all));
}

TEST(shards)
{
    static const struct {
        const char *from, *to, *message;
    } rows[] = {
        {"\"two.safetensors\"", "\"../two.safetensors\"", ": \"../two.safetensors\" is no name of a file beside it"},
        {"\"two.safetensors\"", "\"/etc/passwd\"", ": \"/etc/passwd\" is no name of a file beside it"},
        {"\"two.safetensors\"", "\"..\"", ": \"..\" is no name of a file beside it"},
        {"\"two.safetensors\"", "7", ": \"\" is no name of a file beside it"},
        {"\"two.safetensors\"", "\"three.safetensors\"", "/m/unet/three.safetensors: "},
        {"\"conv_in.bias\"", "\"conv_in.other\"", ": conv_in.bias: stands in "},
        {"\"weight_map\"", "\"map\"", ": no weight_map"},
    };
    static char index[1 << 16] = "{\"metadata\": {}, \"weight_map\": {";
    ltn_ctx *ctx;
    ltn_model *m;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    answers want = folder_answers(ctx, &families[0]);
    remove(test_temp("m/unet/diffusion_pytorch_model.safetensors"));
    shard("one.safetensors", "unet", 0, index, sizeof index);
    shard("two.safetensors", "unet", 1, index, sizeof index);
    write_index(index, NULL, NULL);
    answers_as(ctx, test_temp("m"), NULL, &want, 0);
    for (int i = 0; i < LTN_COUNT(rows); i++) {
        test_name("%s", rows[i].message);
        write_index(index, rows[i].from, rows[i].to);
        CHECK(ltn_model_open(ctx, test_temp("m"), &m) < 0 && !m);
        if (!strstr(ltn_error(ctx), rows[i].message)) test_fail(__FILE__, __LINE__, "message: %s", ltn_error(ctx));
    }
    answers_free(ctx, &want);
    ltn_close(&ctx);
}

/* ---- Memory: a file of 1 GiB, its data a hole, is opened with a small part of it in memory ---- */
static double resident(void)
{
    long pages = 0, held = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f) {
        if (fscanf(f, "%ld %ld", &pages, &held) != 2) held = 0;
        fclose(f);
    }
    return (double)held * 4096;
}

TEST(opening_maps_and_does_not_copy)
{
    const uint64_t bytes = (uint64_t)1 << 30;
    char header[256];
    int n = snprintf(header, sizeof header,
                     "{\"input_blocks.0.0.weight\":{\"dtype\":\"F16\",\"shape\":[%d,1024,1024,1],"
                     "\"data_offsets\":[0,%llu]}}",
                     512, (unsigned long long)bytes);
    while (n % 8) header[n++] = ' '; /* as writers do; what is not aligned to its type is copied */
    const uint64_t length = (uint64_t)n;
    ltn_ctx *ctx;
    ltn_tensors *t, *view = NULL;
    FILE *f = fopen(test_temp("large"), "w");
    CHECK(f && fwrite(&length, 8, 1, f) == 1 && fwrite(header, 1, (size_t)n, f) == (size_t)n);
    CHECK(f && !fseek(f, (long)(8 + length + bytes - 1), SEEK_SET) && fputc(0, f) == 0);
    if (f) fclose(f);
    OK(NULL, ltn_open(&ctx, NULL));
    const double before = resident();
    view = view_of(ctx, test_temp("large"), LTN_AT_UNET, &t);
    CHECK(view && ltn__weight_bytes(ltn__tensors_at(view, 0)) == bytes && ltn__tensors_at(view, 0)->mapped);
    CHECK(resident() - before < (double)bytes / 100);
    ltn__tensors_close(&view);
    ltn__tensors_close(&t);
    remove(test_temp("large"));
    ltn_close(&ctx);
}
