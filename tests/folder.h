/* folder.h - whole diffusers folders from recipes: SD1.5 in small, and what can be wrong with one. */
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
} folder;

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
    static const char *const tokenizer[] = {"vocab.json", "merges.txt", "tokenizer_config.json",
                                            "special_tokens_map.json"};
    char path[512], config[1 << 13];
    const char *vae = f->vae ? f->vae : "kl";
    snprintf(path, sizeof path, "rm -rf '%s'", test_temp("m"));
    if (system(path)) test_fail(__FILE__, __LINE__, "%s", path);
    mkdir(test_temp("m"), 0755);
    const char *index = f->index ? f->index
                                 : "{\"_class_name\": \"StableDiffusionPipeline\", \"unet\": [], \"vae\": "
                                   "[], \"text_encoder\": []}";
    if (index[0]) write_bytes(test_temp("m/model_index.json"), index, strlen(index));
    snprintf(config, sizeof config, "%s", read_text(golden_name(f->unet.names, ".json")));
    const char *at = f->from ? strstr(config, f->from) : NULL;
    CHECK(!f->from || at);
    char *text = read_text(golden_name(f->unet.names, ".json"));
    if (at) sprintf(text + (at - config), "%s%s", f->to, at + strlen(f->from));
    write_part("unet", &f->unet, text, strlen(text),
               f->weights ? f->weights : "diffusion_pytorch_model.safetensors", f->cut);
    text = read_text(golden_name(vae, ".json"));
    write_part("vae", &(recipe){.names = vae}, text, strlen(text), "diffusion_pytorch_model.fp16.safetensors",
               0);
    text = read_text(golden_name("clip_77", ".json"));
    write_part("text_encoder", &(recipe){.names = "clip_77"}, text, strlen(text), "model.safetensors", 0);
    mkdir(test_temp("m/tokenizer"), 0755);
    mkdir(test_temp("m/scheduler"), 0755);
    text = read_text(golden_name(f->scheduler ? f->scheduler : "ddim_sd", ".json"));
    write_bytes(test_temp("m/scheduler/scheduler_config.json"), text, strlen(text));
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, PRIOR "/tokenizer/%s", tokenizer[i]);
        text = read_text(path);
        snprintf(path, sizeof path, "m/tokenizer/%s", tokenizer[i]);
        write_bytes(test_temp(path), text, strlen(text));
    }
    return test_temp("m");
}

#endif
