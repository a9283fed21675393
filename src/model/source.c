/* source.c - where a model's parts come from: a diffusers folder (model_index.json beside text_encoder/, unet/, vae/,
 * tokenizer/ and scheduler/; SDXL has text_encoder_2/ and tokenizer_2/ too, diffusions in pixels only unet/ and
 * scheduler/, or both at the top), or one file that holds all of them; and files or folders that stand in for its UNet
 * or its autoencoder. */
#include "source.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

const char *const ltn__folders[4] = {"text_encoder", "unet", "vae", "text_encoder_2"};

/* As diffusers and transformers name them; the first that is there is taken. */
static const char *const weight_files[] = {
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "model.safetensors",
    "model.fp16.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors.index.fp16.json",
    "model.safetensors.index.json",
    "model.safetensors.index.fp16.json",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.bin",
    "pytorch_model.bin",
    "pytorch_model.fp16.bin",
    "diffusion_pytorch_model.bin.index.json",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.gguf",
};

static bool is_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* ---- Files that others take from; they close with the model ---- */
static ltn_status keep(ltn_model *m, ltn_tensors *t)
{
    ltn_tensors **more = ltn__grow(m->ctx, m->source, (size_t)m->sources, (size_t)m->sources + 1, sizeof *more);
    if (!more) {
        ltn__tensors_close(&t);
        return LTN_ENOMEM;
    }
    m->source = more;
    m->source[m->sources++] = t;
    return LTN_OK;
}

static ltn_status open_source(ltn_model *m, const char *path, ltn_tensors **out)
{
    const ltn_status s = ltn__tensors_open(m->ctx, path, out);
    return s ? s : keep(m, *out);
}

void ltn__source_close(ltn_model *m)
{
    for (int i = 0; i < m->sources; i++) ltn__tensors_close(&m->source[i]);
    ltn__free(m->ctx, m->source);
    m->source = NULL;
    m->sources = 0;
}

/* ---- Shards: an index says which tensor stands in which file beside it ---- */
typedef struct shards {
    ltn_model *m;
    const char *index, *folder;
    struct { const char *name; ltn_tensors *tensors; } *file;
    int count;
} shards;

/* A file's own name: nothing that leads elsewhere. */
static bool plain_name(const char *s)
{
    return *s && *s != '.' && !strpbrk(s, "/\\");
}

static ltn_status shard_of(shards *h, const ltn_json *entry, ltn_tensors **out)
{
    ltn_ctx *ctx = h->m->ctx;
    if (entry->type != LTN_JSON_STRING || !plain_name(entry->string))
        return ltn__fail(ctx, LTN_EFORMAT, "%s: %s: \"%s\" is no name of a file beside it", h->index, entry->key,
                         entry->type == LTN_JSON_STRING ? entry->string : "");
    int i = 0;
    while (i < h->count && strcmp(h->file[i].name, entry->string)) i++;
    if (i == h->count) {
        const char *path = ltn__arena_format(&h->m->arena, "%s/%s", h->folder, entry->string);
        const ltn_status s = path ? open_source(h->m, path, &h->file[i].tensors) : LTN_ENOMEM;
        if (s) return s;
        h->file[h->count++].name = entry->string;
    }
    *out = h->file[i].tensors;
    return LTN_OK;
}

static ltn_status take_shards(shards *h, const ltn_json *map, ltn_tensors *to)
{
    ltn_status s = LTN_OK;
    for (const ltn_json *e = map->child; e && !s; e = e->next) {
        ltn_tensors *t = NULL;
        if ((s = shard_of(h, e, &t))) return s;
        ltn_weight *w = ltn__tensors_find(t, e->key);
        if (w) s = ltn__tensors_lend(to, w, e->key);
        if (w) w->used = true;
    }
    for (int i = 0; i < h->count && !s; i++)
        for (int k = 0; k < ltn__tensors_count(h->file[i].tensors) && !s; k++) {
            const ltn_weight *w = ltn__tensors_at(h->file[i].tensors, k);
            if (!w->used)
                s = ltn__fail(h->m->ctx, LTN_EFORMAT, "%s: %s: stands in %s, but not in the index", h->index, w->name,
                              h->file[i].name);
        }
    return s;
}

static ltn_status open_shards(ltn_model *m, const char *folder, const char *path, ltn_tensors **out)
{
    ltn_json *index;
    ltn_status s = ltn__json_read(m->ctx, path, &m->arena, &index);
    if (s) return s;
    const ltn_json *map = ltn__json_get(index, "weight_map");
    if (!map || map->type != LTN_JSON_OBJECT || !map->count)
        return ltn__fail(m->ctx, LTN_EFORMAT, "%s: no weight_map", path);
    shards h = {.m = m, .index = path, .folder = folder};
    h.file = ltn__alloc(m->ctx, (size_t)map->count, sizeof *h.file);
    s = h.file ? ltn__tensors_view(m->ctx, path, map->count, out) : LTN_ENOMEM;
    if (!s) s = take_shards(&h, map, *out);
    ltn__free(m->ctx, h.file);
    return s;
}

/* ---- A part in a folder of its own: config.json and weights ---- */
static ltn_status read_config(ltn_model *m, int f, const char *folder)
{
    const char *path = ltn__arena_format(&m->arena, "%s/config.json", folder);
    return path ? ltn__json_read(m->ctx, path, &m->arena, &m->config[f]) : LTN_ENOMEM;
}

static bool ends(const char *s, const char *with)
{
    const size_t n = strlen(s), k = strlen(with);
    return n >= k && !strcmp(s + n - k, with);
}

static ltn_status open_weights(ltn_model *m, int f, const char *folder)
{
    for (int i = 0; i < LTN_COUNT(weight_files); i++) {
        const char *path = ltn__arena_format(&m->arena, "%s/%s", folder, weight_files[i]);
        if (!path) return LTN_ENOMEM;
        if (!ltn__file_exists(path)) continue;
        return ends(path, ".json") ? open_shards(m, folder, path, &m->tensors[f])
                                   : ltn__tensors_open(m->ctx, path, &m->tensors[f]);
    }
    return ltn__fail(m->ctx, LTN_EIO, "%s: no weights: neither %s nor %s", folder, weight_files[0], weight_files[2]);
}

static ltn_status open_folder_part(ltn_model *m, int f, const char *folder)
{
    ltn_status s = read_config(m, f, folder);
    if (!s) s = ltn__source_arch(m, f, ltn__arena_format(&m->arena, "%s/config.json", folder));
    return s ? s : open_weights(m, f, folder);
}

ltn_status ltn__source_arch(ltn_model *m, int f, const char *path)
{
    const char *name = ltn__config_architecture(m->config[f]);
    const int row = ltn__find(ltn__arch_entry, name);
    if (!path) return LTN_ENOMEM;
    if (row < 0) return ltn__fail(m->ctx, LTN_EFORMAT, "%s: architecture \"%s\" is not known", path, name);
    m->arch[f] = ltn__arch_row(row);
    return LTN_OK;
}

/* ---- A part of a file ---- */
static ltn_status take_part(ltn_model *m, int f, const ltn_layout *l, ltn_tensors *from, const ltn_hints *hints)
{
    /* q, k and v of one array become three */
    ltn_status s = ltn__tensors_view(m->ctx, ltn__tensors_path(from), 3 * ltn__tensors_count(from), &m->tensors[f]);
    if (!s) s = ltn__layout_move(l, from, m->tensors[f]);
    if (!s) s = ltn__layout_config(l, m->tensors[f], hints, &m->arena, &m->config[f]);
    return s ? s : ltn__source_arch(m, f, ltn__tensors_path(from));
}

/* Of what no part took, that which stands where a part does is an error; the rest is the training's, and others'
 * business. */
static ltn_status check_left(ltn_model *m, ltn_tensors *from, const char *prefix)
{
    for (int i = 0; i < ltn__tensors_count(from); i++) {
        const ltn_weight *w = ltn__tensors_at(from, i);
        if (!w->used && !strncmp(w->name, prefix, strlen(prefix)))
            return ltn__fail(m->ctx, LTN_EFORMAT, "%s: %s: left over, no layer of this architecture has it",
                             ltn__tensors_path(from), w->name);
    }
    return LTN_OK;
}

static void note_rest(ltn_model *m, ltn_tensors *from)
{
    const ltn_weight *first = NULL;
    int n = 0;
    for (int i = 0; i < ltn__tensors_count(from); i++) {
        const ltn_weight *w = ltn__tensors_at(from, i);
        if (!w->used && !n++) first = w;
    }
    if (n)
        ltn__log(m->ctx, 1, "%s: %d tensors belong to no part, %s the first", ltn__tensors_path(from), n, first->name);
}

/* The pooled text's width, which open_clip's projection and transformers' both have as their first dimension's. */
static int64_t pooled_width(ltn_tensors *t)
{
    const ltn_layout *l = ltn__layout_find(t, LTN_AT_TEXT_2);
    char name[128];
    static const char *const projection[] = {"text_projection", "text_projection.weight", "text_model.text_projection"};
    for (int i = 0; l && i < LTN_COUNT(projection); i++) {
        snprintf(name, sizeof name, "%s%s", l->prefix, projection[i]);
        const ltn_weight *w = ltn__tensors_find(t, name);
        if (w && w->rank == 2) return w->dim[!strcmp(projection[i], "text_projection")];
    }
    return 0;
}

/* ---- What stands in for a part ---- */
static bool is_xl(const ltn_model *m)
{
    return m->config[LTN_AT_UNET] && ltn__json_str(m->config[LTN_AT_UNET], "addition_embed_type", NULL);
}

/* The two files "ENCODER+DECODER" of a tiny autoencoder. */
static ltn_status open_halves(ltn_model *m, const char *path)
{
    const char *file[2];
    const ltn_layout *l[2];
    ltn_tensors *half[2];
    const int n = ltn__spec_split(m->ctx, path, '+', &m->arena, file, 2);
    if (n < 0) return (ltn_status)n;
    ltn_status s = LTN_OK;
    for (int k = 0; k < 2 && !s; k++) {
        s = open_source(m, file[k], &half[k]);
        if (!s && !(l[k] = ltn__layout_find(half[k], k ? LTN_AT_HALF_DECODER : LTN_AT_HALF_ENCODER)))
            s = ltn__fail(m->ctx, LTN_EFORMAT, "%s: no %s of a tiny autoencoder", file[k], k ? "decoder" : "encoder");
    }
    if (!s)
        s = ltn__tensors_view(m->ctx, path, ltn__tensors_count(half[0]) + ltn__tensors_count(half[1]),
                              &m->tensors[LTN_AT_VAE]);
    for (int k = 0; k < 2 && !s; k++) {
        s = ltn__layout_move(l[k], half[k], m->tensors[LTN_AT_VAE]);
        if (!s) s = check_left(m, half[k], "");
    }
    if (!s) s = ltn__layout_config(l[0], m->tensors[LTN_AT_VAE], &(ltn_hints){0}, &m->arena, &m->config[LTN_AT_VAE]);
    return s ? s : ltn__source_arch(m, LTN_AT_VAE, path);
}

static ltn_status open_file_part(ltn_model *m, int f, const char *path)
{
    ltn_tensors *t;
    ltn_status s = open_source(m, path, &t);
    if (s) return s;
    const ltn_layout *l = ltn__layout_find(t, f);
    if (!l) return ltn__fail(m->ctx, LTN_EFORMAT, "%s: holds no %s", path, f == LTN_AT_UNET ? "UNet" : "autoencoder");
    s = take_part(m, f, l, t, &(ltn_hints){.xl = is_xl(m)});
    return s ? s : check_left(m, t, l->prefix);
}

/* Of a folder: itself, or the part inside a whole model's. */
static ltn_status open_part(ltn_model *m, int f, const char *path)
{
    if (f == LTN_AT_VAE && strchr(path, '+') && !ltn__file_exists(path)) return open_halves(m, path);
    if (!is_folder(path)) return open_file_part(m, f, path);
    const char *own = ltn__arena_format(&m->arena, "%s/config.json", path);
    const char *inner = ltn__arena_format(&m->arena, "%s/%s", path, ltn__folders[f]);
    if (!own || !inner) return LTN_ENOMEM;
    return open_folder_part(m, f, ltn__file_exists(own) ? path : inner);
}

/* ---- Tokenizers ---- */

/* For files that bring none: CLIP's, from a folder of vocab.json and merges.txt, or from merges.txt alone. */
static ltn_status open_given_tokenizer(ltn_model *m, int k, const char *path, bool exclaims)
{
    const char *inner = ltn__arena_format(&m->arena, k ? "%s/tokenizer_2" : "%s/tokenizer", path);
    const char *vocab = ltn__arena_format(&m->arena, "%s/vocab.json", path);
    if (!inner || !vocab) return LTN_ENOMEM;
    if (is_folder(inner)) return ltn__tokenizer_open(m->ctx, inner, &m->tokenizer[k]);
    if (!is_folder(path)) return ltn__tokenizer_open_merges(m->ctx, path, exclaims, &m->tokenizer[k]);
    if (!ltn__file_exists(vocab)) {
        const char *merges = ltn__arena_format(&m->arena, "%s/merges.txt", path);
        return merges ? ltn__tokenizer_open_merges(m->ctx, merges, exclaims, &m->tokenizer[k]) : LTN_ENOMEM;
    }
    return exclaims ? ltn__tokenizer_open_padded(m->ctx, path, "!", &m->tokenizer[k])
                    : ltn__tokenizer_open(m->ctx, path, &m->tokenizer[k]);
}

/* open_clip's encoders were trained on prompts that end with zeros, the id of "!". */
static ltn_status open_tokenizers(ltn_model *m, const ltn_model_options *opt)
{
    ltn_status s = LTN_OK;
    for (int k = 0; k < m->folders - 2 && !s; k++) {
        const bool open_clip = !strcmp(ltn__json_str(m->config[k ? LTN_AT_TEXT_2 : LTN_AT_TEXT], "hidden_act", ""),
                                       "gelu");
        if (opt->tokenizer) s = open_given_tokenizer(m, k, opt->tokenizer, open_clip);
        else if (m->index) {
            const char *path = ltn__arena_format(&m->arena, k ? "%s/tokenizer_2" : "%s/tokenizer", m->path);
            s = path ? ltn__tokenizer_open(m->ctx, path, &m->tokenizer[k]) : LTN_ENOMEM;
        } else
            s = ltn__fail(m->ctx, LTN_EINVAL, "%s: brings no tokenizer: one is asked for, a folder with vocab.json and "
                          "merges.txt, or CLIP's merges.txt", m->path);
    }
    return s;
}

/* ---- The schedule ---- */
static ltn_status set_prediction(ltn_model *m, const char *word)
{
    static const char *const words[] = {[LTN_EPSILON] = "epsilon", [LTN_SAMPLE] = "sample", [LTN_V] = "v_prediction"};
    for (int i = 0; word && i < LTN_COUNT(words); i++)
        if (!strcmp(word, words[i])) {
            m->schedule.prediction = (ltn_prediction)i;
            return LTN_OK;
        }
    if (!word) return LTN_OK;
    return ltn__fail(m->ctx, LTN_EINVAL, "prediction \"%s\": expected epsilon, sample or v_prediction", word);
}

/* What a file says of itself: a tensor "v_pred", the metadata of its maker, or SD2's usual kind. */
static bool predicts_v(ltn_model *m, ltn_tensors *t)
{
    const char *said = ltn__json_str(ltn__tensors_metadata(t), "modelspec.prediction_type", NULL);
    if (ltn__tensors_marked(t, "v_pred")) return true;
    if (said) return !strcmp(said, "v");
    const bool two = ltn__json_num(m->config[LTN_AT_TEXT], "hidden_size", 0) == 1024 && m->folders == 3;
    if (two)
        ltn__log(m->ctx, 0,
                 "%s: SD2, taken to predict v as those for 768 pixels do; those for 512 predict epsilon, which "
                 "has to be said",
                 m->path);
    return two;
}

static ltn_status make_schedule(ltn_model *m, ltn_tensors *t, const ltn_model_options *opt)
{
    const bool zero = ltn__tensors_marked(t, "ztsnr");
    if (ltn__tensors_marked(t, "edm_mean") || ltn__tensors_marked(t, "edm_vpred.sigma_max"))
        return ltn__fail(m->ctx, LTN_EFORMAT, "%s: edm_mean or edm_vpred: EDM's noise levels are not supported",
                         m->path);
    const bool v = opt->prediction ? !strcmp(opt->prediction, "v_prediction") : predicts_v(m, t);
    char text[512];
    snprintf(text, sizeof text,
             "{\"_class_name\": \"DDIMScheduler\", \"beta_start\": 0.00085, \"beta_end\": 0.012, \"beta_schedule\": "
             "\"scaled_linear\", \"clip_sample\": false, \"set_alpha_to_one\": false, \"steps_offset\": 1, "
             "\"timestep_spacing\": \"%s\", \"rescale_betas_zero_snr\": %s, \"prediction_type\": \"%s\"}",
             zero ? "trailing" : "leading", zero ? "true" : "false", v ? "v_prediction" : "epsilon");
    return ltn__schedule_parse(m->ctx, m->path, text, strlen(text), &m->schedule);
}

/* ---- A whole model in one file ---- */
static ltn_status open_single(ltn_model *m, const ltn_model_options *opt, ltn_tensors *t)
{
    const ltn_layout *l[4];
    for (int f = 0; f < 4; f++) l[f] = ltn__layout_find(t, f);
    m->folders = l[LTN_AT_TEXT_2] ? 4 : 3;
    m->zero_empty = m->folders == 4;
    static const char *const kinds[] = {"text encoder", "UNet", "autoencoder"};
    for (int f = 0; f < 3; f++)
        if (!l[f] && !(f == LTN_AT_UNET && opt->unet) && !(f == LTN_AT_VAE && opt->vae))
            return ltn__fail(m->ctx, LTN_EFORMAT, "%s: no whole model: it holds no %s", m->path, kinds[f]);
    const ltn_hints hints = {.pooled = pooled_width(t), .xl = m->folders == 4,
                             .epsilon = opt->prediction && !strcmp(opt->prediction, "epsilon")};
    ltn_status s = LTN_OK;
    for (int f = 0; f < m->folders && !s; f++) {
        if ((f == LTN_AT_UNET && opt->unet) || (f == LTN_AT_VAE && opt->vae)) continue;
        s = take_part(m, f, l[f], t, &hints);
        if (!s) s = check_left(m, t, l[f]->prefix);
    }
    if (!s) note_rest(m, t);
    return s;
}

/* ---- Diffusions in pixels: a network and no more ---- */
static const ltn_arch *arch_named(const char *name)
{
    return ltn__arch_row(ltn__find(ltn__arch_entry, name));
}

/* A file of guided-diffusion, as it is. */
static ltn_status open_guided(ltn_model *m, ltn_tensors *t)
{
    ltn_status s = ltn__tensors_view(m->ctx, m->path, ltn__tensors_count(t), &m->tensors[LTN_AT_UNET]);
    for (int i = 0; i < ltn__tensors_count(t) && !s; i++) {
        ltn_weight *w = ltn__tensors_at(t, i);
        w->used = true;
        s = ltn__tensors_lend(m->tensors[LTN_AT_UNET], w, w->name);
    }
    m->pixels = true;
    m->folders = 3;
    m->arch[LTN_AT_UNET] = arch_named("guided-diffusion");
    if (!s) s = ltn__guided_config(m->ctx, m->tensors[LTN_AT_UNET], &m->arena, &m->config[LTN_AT_UNET]);
    return s ? ltn__within(m->ctx, s, "%s", m->path) : LTN_OK;
}

/* With the schedule and the clipping that its users give it. */
static ltn_status make_guided_schedule(ltn_model *m)
{
    static const char schedule[] = "{\"_class_name\": \"DDPMScheduler\", \"beta_schedule\": \"linear\"}";
    return ltn__schedule_parse(m->ctx, m->path, schedule, sizeof schedule - 1, &m->schedule);
}

/* Older folders have the network at the top, in no folder. */
static bool lies_on_top(ltn_model *m)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s/config.json", m->path, ltn__folders[LTN_AT_UNET]);
    return m->pixels && !ltn__file_exists(path);
}

static ltn_status open_pixels_folder(ltn_model *m)
{
    const char *folder = lies_on_top(m) ? m->path
                                        : ltn__arena_format(&m->arena, "%s/%s", m->path, ltn__folders[LTN_AT_UNET]);
    const ltn_status s = folder ? open_folder_part(m, LTN_AT_UNET, folder) : LTN_ENOMEM;
    if (s || m->arch[LTN_AT_UNET] == arch_named("UNet2DModel")) return s;
    return ltn__fail(m->ctx, LTN_EFORMAT,
                     "%s: model_index.json has neither text_encoder nor vae, and %s is no network for "
                     "pixels",
                     m->path, m->arch[LTN_AT_UNET]->entry.name);
}

/* ---- A folder ---- */

/* "unet": ["diffusers", "UNet2DConditionModel"]; [null, null] stands for none. */
static bool listed(const ltn_json *index, const char *name)
{
    const ltn_json *v = ltn__json_get(index, name), *first = ltn__json_at(v, 0);
    return v && v->type != LTN_JSON_NULL && !(first && first->type == LTN_JSON_NULL);
}

static ltn_status check_index(ltn_model *m)
{
    const char *path = ltn__arena_format(&m->arena, "%s/model_index.json", m->path);
    if (!path) return LTN_ENOMEM;
    if (!ltn__file_exists(path))
        return ltn__fail(m->ctx, LTN_EFORMAT, "%s: no model_index.json: not a diffusers folder", m->path);
    ltn_status s = ltn__json_read(m->ctx, path, &m->arena, &m->index);
    m->pixels = !s && listed(m->index, "unet") && !listed(m->index, "vae") && !listed(m->index, "text_encoder");
    for (int f = 0; !s && !m->pixels && f < 3; f++)
        if (!listed(m->index, ltn__folders[f])) s = ltn__fail(m->ctx, LTN_EFORMAT, "%s: no %s", path, ltn__folders[f]);
    if (s) return s;
    m->folders = listed(m->index, ltn__folders[LTN_AT_TEXT_2]) ? 4 : 3;
    m->zero_empty = m->folders == 4 && ltn__json_bool(m->index, "force_zeros_for_empty_prompt", true);
    return LTN_OK;
}

static ltn_status open_folder(ltn_model *m, const ltn_model_options *opt)
{
    ltn_status s = check_index(m);
    if (!s && m->pixels) return open_pixels_folder(m);
    for (int f = 0; f < m->folders && !s; f++) {
        if ((f == LTN_AT_UNET && opt->unet) || (f == LTN_AT_VAE && opt->vae)) continue;
        const char *folder = ltn__arena_format(&m->arena, "%s/%s", m->path, ltn__folders[f]);
        s = folder ? open_folder_part(m, f, folder) : LTN_ENOMEM;
    }
    return s;
}

static ltn_status read_beside(ltn_model *m)
{
    const char *scheduler = ltn__arena_format(&m->arena, "%s/scheduler/scheduler_config.json", m->path);
    const char *calibration = ltn__arena_format(&m->arena, "%s/latino.json", m->path);
    if (!scheduler || !calibration) return LTN_ENOMEM;
    if (lies_on_top(m) && !ltn__file_exists(scheduler))
        scheduler = ltn__arena_format(&m->arena, "%s/scheduler_config.json", m->path);
    if (!scheduler) return LTN_ENOMEM;
    ltn_status s = ltn__schedule_read(m->ctx, scheduler, &m->schedule);
    if (s || !ltn__file_exists(calibration)) return s;
    s = ltn__json_read(m->ctx, calibration, &m->arena, &m->calibration);
    return s ? s : ltn__calibration_check(m->ctx, calibration, m->calibration);
}

/* What stands in for parts, which those in pixels do not have. */
static ltn_status open_others(ltn_model *m, const ltn_model_options *opt)
{
    if (m->pixels) {
        m->arch[LTN_AT_VAE] = arch_named("pixels");
        if (!opt->unet && !opt->vae && !opt->tokenizer) return LTN_OK;
        return ltn__fail(m->ctx, LTN_EINVAL,
                         "%s: the model works in pixels: nothing can stand in for its UNet, and it has neither "
                         "autoencoder nor tokenizer",
                         m->path);
    }
    ltn_status s = opt->unet ? open_part(m, LTN_AT_UNET, opt->unet) : LTN_OK;
    if (!s && opt->vae) s = open_part(m, LTN_AT_VAE, opt->vae);
    return s ? s : open_tokenizers(m, opt);
}

ltn_status ltn__source_open(ltn_model *m, const ltn_model_options *opt)
{
    ltn_tensors *t = NULL;
    if (!ltn__file_exists(m->path)) return ltn__fail(m->ctx, LTN_EIO, "%s: no such folder", m->path);
    const bool folder = is_folder(m->path);
    ltn_status s = folder ? open_folder(m, opt) : open_source(m, m->path, &t);
    const bool guided = !s && t && ltn__guided_matches(t);
    if (!s && t) s = guided ? open_guided(m, t) : open_single(m, opt, t);
    if (!s) s = open_others(m, opt);
    if (!s) s = folder ? read_beside(m) : guided ? make_guided_schedule(m) : make_schedule(m, t, opt);
    return s ? s : set_prediction(m, opt->prediction);
}
