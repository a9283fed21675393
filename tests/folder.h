/* folder.h - whole diffusers folders from recipes: SD1.5 and SDXL in small, and what can be wrong with one. */
#ifndef LTN_FOLDER_H
#define LTN_FOLDER_H

#include "recipe.h"

#include <sys/stat.h>

static inline char *read_text(const char *path)
{
    static char text[1 << 16];
    FILE *f = fopen(path, "r");
    const size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = 0;
    if (f) fclose(f);
    return text;
}

static inline void write_bytes(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "w");
    CHECK(f && fwrite(p, 1, n, f) == n);
    if (f) fclose(f);
}

typedef struct folder {
    recipe unet;
    const char *vae;       /* "kl" or another */
    const char *from, *to; /* a replacement in unet/config.json */
    size_t cut;            /* bytes missing at the end of the UNet's file */
    const char *weights;   /* the file's name; "": there is none */
    const char *index;     /* model_index.json; "": there is none */
    const char *scheduler;
    const char *calibration; /* latino.json; NULL: there is none */
    const char *text;      /* the text encoder, "clip_77" or another */
    recipe text_2;         /* the second, whose tokenizer pads with "!"; no names: there is none */
    const char *from_2, *to_2; /* a replacement in text_encoder_2/config.json */
} folder;

/* The file with the first `from` replaced; from NULL: as it is. */
static inline char *replaced(const char *path, const char *from, const char *to)
{
    static char out[1 << 16];
    const char *text = read_text(path), *at = from ? strstr(text, from) : NULL;
    CHECK(!from || at);
    if (at) snprintf(out, sizeof out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    else snprintf(out, sizeof out, "%s", text);
    return out;
}

static inline void write_tokenizer(const char *name, const char *pad)
{
    static const char *const files[] = {"vocab.json", "merges.txt", "tokenizer_config.json",
                                        "special_tokens_map.json"};
    char path[512];
    snprintf(path, sizeof path, "m/%s", name);
    mkdir(test_temp(path), 0755);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, PRIOR "/tokenizer/%s", files[i]);
        const char *text = replaced(path, i < 2 ? NULL : "\"pad_token\": \"<|endoftext|>\"", pad);
        snprintf(path, sizeof path, "m/%s/%s", name, files[i]);
        write_bytes(test_temp(path), text, strlen(text));
    }
}

/* One sub-folder with a configuration and weights. */
static inline void write_part(const char *name, const recipe *r, const char *config, size_t config_size,
                       const char *weights, size_t cut)
{
    char path[256];
    size_t size;
    snprintf(path, sizeof path, "m/%s", name);
    mkdir(test_temp(path), 0755);
    snprintf(path, sizeof path, "m/%s/config.json", name);
    write_bytes(test_temp(path), config, config_size);
    uint8_t *p = cook(r, &size);
    snprintf(path, sizeof path, "m/%s/%s", name, weights);
    if (weights[0]) write_bytes(test_temp(path), p, size - cut);
    free(p);
}

static inline const char *write_folder(const folder *f)
{
    char path[512];
    const char *vae = f->vae ? f->vae : "kl", *clip = f->text ? f->text : "clip_77";
    snprintf(path, sizeof path, "rm -rf '%s'", test_temp("m"));
    if (system(path)) test_fail(__FILE__, __LINE__, "%s", path);
    mkdir(test_temp("m"), 0755);
    const char *index = f->index ? f->index
                        : f->text_2.names
                            ? "{\"unet\": [], \"vae\": [], \"text_encoder\": [], \"text_encoder_2\": []}"
                            : "{\"unet\": [], \"vae\": [], \"text_encoder\": [], \"text_encoder_2\": [null, null]}";
    if (index[0]) write_bytes(test_temp("m/model_index.json"), index, strlen(index));
    char *text = replaced(golden_name(f->unet.names, ".json"), f->from, f->to);
    write_part("unet", &f->unet, text, strlen(text),
               f->weights ? f->weights : "diffusion_pytorch_model.safetensors", f->cut);
    text = read_text(golden_name(vae, ".json"));
    write_part("vae", &(recipe){.names = vae}, text, strlen(text), "diffusion_pytorch_model.fp16.safetensors",
               0);
    text = read_text(golden_name(clip, ".json"));
    write_part("text_encoder", &(recipe){.names = clip}, text, strlen(text), "model.safetensors", 0);
    write_tokenizer("tokenizer", "\"pad_token\": \"<|endoftext|>\"");
    if (f->text_2.names) {
        text = replaced(golden_name(f->text_2.names, ".json"), f->from_2, f->to_2);
        write_part("text_encoder_2", &f->text_2, text, strlen(text), "model.safetensors", 0);
        write_tokenizer("tokenizer_2", "\"pad_token\": \"!\"");
    }
    mkdir(test_temp("m/scheduler"), 0755);
    text = read_text(golden_name(f->scheduler ? f->scheduler : "ddim_sd", ".json"));
    write_bytes(test_temp("m/scheduler/scheduler_config.json"), text, strlen(text));
    if (f->calibration) write_bytes(test_temp("m/latino.json"), f->calibration, strlen(f->calibration));
    return test_temp("m");
}

/* ---- Memory that runs out ---- */
/* Opens with the k-th allocation failing; whether there was one. */
static inline bool fails_cleanly(const char *path, const ltn_model_options *with, long k)
{
    test_memory mem = {0};
    ltn_options opt = test_options(&mem);
    opt.threads = 1;
    ltn_ctx *ctx;
    ltn_model *m;
    OK(NULL, ltn_open(&ctx, &opt));
    mem.fail_at = mem.calls + k;
    const ltn_status s = ltn_model_open_with(ctx, path, with, &m);
    const bool reached = mem.calls >= mem.fail_at;
    CHECK(reached ? s == LTN_ENOMEM && !m : !s && m);
    ltn_model_close(&m);
    ltn_close(&ctx);
    CHECK(mem.alive == 0);
    return reached;
}

#endif
