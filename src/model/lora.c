/* lora.c - adapters of low rank, merged into the weights that they were trained beside:
 *
 *     W += scale alpha / rank up down          Hu et al. 2021, arXiv 2106.09685
 *
 * and for convolutions up mid down, each a convolution after the other (LoCon). Only the weights touched are copied.
 * Files name a layer in many ways; all are brought to one: the name of the diffusers' layer with _ for its dots.
 *
 *     lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight      kohya's scripts, LCM-LoRA
 *     lora_unet_input_blocks_1_1_proj_in.lora_down.weight                the same, by the original model's names
 *     unet.down_blocks.0.attentions.0.proj_in.lora_A.weight              peft, diffusers
 *     unet.mid_block...attn1.processor.to_q_lora.down.weight             diffusers before peft */
#include "source.h"

#include "../base/half.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANY = -1 };
enum { NAME = 400 };

/* ---- Names ---- */

typedef enum role { DOWN, UP, MID, ALPHA, ROLES, REFUSED } role;

/* How the name of a weight in an adapter ends. Longer endings stand before those that end them. */
static const struct ending {
    const char *text;
    role role;
    const char *what; /* REFUSED: of which kind of adapter it is a part */
} endings[] = {
    {".lora_linear_layer.down.weight", DOWN, NULL},
    {".lora_linear_layer.up.weight", UP, NULL},
    {".lora_A.default.weight", DOWN, NULL},
    {".lora_B.default.weight", UP, NULL},
    {".lora_A.weight", DOWN, NULL},
    {".lora_B.weight", UP, NULL},
    {".lora_down.weight", DOWN, NULL},
    {".lora_up.weight", UP, NULL},
    {".lora_mid.weight", MID, NULL},
    {".lora.down.weight", DOWN, NULL},
    {".lora.up.weight", UP, NULL},
    {"_lora.down.weight", DOWN, NULL},
    {"_lora.up.weight", UP, NULL},
    {".lora_linear_layer.alpha", ALPHA, NULL},
    {".alpha", ALPHA, NULL},
    {".dora_scale", REFUSED, "DoRA"},
    {".lora_magnitude_vector", REFUSED, "DoRA"},
    {".lora_magnitude_vector.weight", REFUSED, "DoRA"},
    {".lora_magnitude_vector.default.weight", REFUSED, "DoRA"},
    {".lora_B.bias", REFUSED, "a LoRA with biases"},
    {".hada_w1_a", REFUSED, "LoHa"},
    {".hada_w1_b", REFUSED, "LoHa"},
    {".hada_w2_a", REFUSED, "LoHa"},
    {".hada_w2_b", REFUSED, "LoHa"},
    {".lokr_w1", REFUSED, "LoKr"},
    {".lokr_w2", REFUSED, "LoKr"},
    {".lokr_w1_a", REFUSED, "LoKr"},
    {".lokr_w2_a", REFUSED, "LoKr"},
    {".on_input", REFUSED, "IA3"},
    {".oft_blocks", REFUSED, "OFT"},
    {".diff", REFUSED, "whole differences"},
    {".diff_b", REFUSED, "whole differences"},
    {NULL, REFUSED, NULL},
};

/* NULL: no weight of an adapter. */
static const struct ending *ending_of(const char *name)
{
    const size_t n = strlen(name);
    for (const struct ending *e = endings; e->text; e++) {
        const size_t k = strlen(e->text);
        if (n > k && !strcmp(name + n - k, e->text)) return e;
    }
    return NULL;
}

static const char *after(const char *s, const char *prefix)
{
    const size_t n = strlen(prefix);
    return strncmp(s, prefix, n) ? NULL : s + n;
}

/* What stands before the layer's name, and whose layer it is. */
static const char *part_of(const char *name, int *folder)
{
    static const struct {
        const char *prefix;
        int folder;
    } parts[] = {{"lora_unet_", LTN_AT_UNET},
                 {"lora_te_", LTN_AT_TEXT},
                 {"lora_te1_", LTN_AT_TEXT},
                 {"lora_te2_", LTN_AT_TEXT_2},
                 {"unet.", LTN_AT_UNET},
                 {"diffusion_model.", LTN_AT_UNET},
                 {"model.diffusion_model.", LTN_AT_UNET},
                 {"text_encoder.", LTN_AT_TEXT},
                 {"text_encoder_2.", LTN_AT_TEXT_2}};
    *folder = ANY;
    for (int i = 0; i < LTN_COUNT(parts); i++) {
        const char *rest = after(name, parts[i].prefix);
        if (!rest) continue;
        *folder = parts[i].folder;
        name = rest;
        break;
    }
    const char *rest = after(name, "base_model.model.");
    return rest ? rest : name;
}

/* The first `from` in s, which has room for NAME bytes, gives way to `to`. */
static void replace(char *s, const char *from, const char *to)
{
    char rest[NAME];
    char *at = strstr(s, from);
    if (!at) return;
    snprintf(rest, sizeof rest, "%s", at + strlen(from));
    snprintf(at, (size_t)(s + NAME - at), "%s%s", to, rest);
}

/* As a layer is called in here: "down_blocks_0_attentions_0_proj_in". */
static void flatten(const char *name, char out[NAME])
{
    snprintf(out, NAME, "%s", after(name, "text_model.") ? name + strlen("text_model.") : name);
    replace(out, ".processor.", ".");
    for (char *c = out; *c; c++)
        if (*c == '.') *c = '_';
    const char *rest = after(out, "text_model_");
    if (rest) memmove(out, rest, strlen(rest) + 1);
    const size_t n = strlen(out);
    if (n > 7 && n < NAME - 2 && !strcmp(out + n - 7, "_to_out")) strcpy(out + n, "_0");
}

/* ---- The original model's names (Rombach et al. 2022) ---- */

static int layers_per_block(const ltn_model *m)
{
    const ltn_json *v = ltn__json_get(m->config[LTN_AT_UNET], "layers_per_block");
    if (v && v->type == LTN_JSON_ARRAY) v = ltn__json_at(v, 0);
    return v && v->type == LTN_JSON_NUMBER && v->number >= 1 && v->number <= 8 ? (int)v->number : 2;
}

static void resnet_layer(char *rest)
{
    static const char *const names[][2] = {{"in_layers_0", "norm1"}, {"in_layers_2", "conv1"},
                                           {"emb_layers_1", "time_emb_proj"},
                                           {"out_layers_0", "norm2"}, {"out_layers_3", "conv2"},
                                           {"skip_connection", "conv_shortcut"}};
    for (int i = 0; i < LTN_COUNT(names); i++)
        if (!strcmp(rest, names[i][0])) {
            snprintf(rest, NAME, "%s", names[i][1]);
            return;
        }
}

/* input_blocks and output_blocks count the layers of all levels through; a block's members are a resnet, a transformer
 * where there is one, and a change of size. */
static void block_layer(char out[NAME], bool down, int layers, int block, int member, char *rest)
{
    const char *const side = down ? "down" : "up";
    const int each = layers + 1, n = down ? block - 1 : block, level = n / each, k = n % each;
    if (down && !block) snprintf(out, NAME, "conv_in");
    else if (down && k == layers) snprintf(out, NAME, "down_blocks_%d_downsamplers_0_conv", level);
    else if (!down && member && !strcmp(rest, "conv")) snprintf(out, NAME, "up_blocks_%d_upsamplers_0_conv", level);
    else if (member) snprintf(out, NAME, "%s_blocks_%d_attentions_%d_%s", side, level, k, rest);
    else {
        resnet_layer(rest);
        snprintf(out, NAME, "%s_blocks_%d_resnets_%d_%s", side, level, k, rest);
    }
}

static void from_original(const ltn_model *m, char name[NAME])
{
    static const char *const names[][2] = {{"time_embed_0", "time_embedding_linear_1"},
                                           {"time_embed_2", "time_embedding_linear_2"},
                                           {"label_emb_0_0", "add_embedding_linear_1"},
                                           {"label_emb_0_2", "add_embedding_linear_2"}, {"out_0", "conv_norm_out"},
                                           {"out_2", "conv_out"}};
    char rest[NAME] = "";
    int block, member;
    for (int i = 0; i < LTN_COUNT(names); i++)
        if (!strcmp(name, names[i][0])) {
            snprintf(name, NAME, "%s", names[i][1]);
            return;
        }
    if (sscanf(name, "input_blocks_%4d_%4d_%399s", &block, &member, rest) >= 2)
        block_layer(name, true, layers_per_block(m), block, member, rest);
    else if (sscanf(name, "output_blocks_%4d_%4d_%399s", &block, &member, rest) == 3)
        block_layer(name, false, layers_per_block(m), block, member, rest);
    else if (sscanf(name, "middle_block_%4d_%399s", &member, rest) == 2) {
        if (member == 1) snprintf(name, NAME, "mid_block_attentions_0_%.300s", rest);
        else {
            resnet_layer(rest);
            snprintf(name, NAME, "mid_block_resnets_%d_%.300s", member / 2, rest);
        }
    }
}

/* ---- The file: its weights, gathered layer by layer ---- */

typedef struct adapted { /* a layer */
    const char *name;   /* as the file has it, without ending */
    ltn_weight *weight[ROLES];
    double alpha;       /* or the rank, where the file has none */
    int rank;
} adapted;

typedef struct lora {
    ltn_ctx *ctx;
    const char *path;
    ltn_arena arena;
    ltn_tensors *tensors;
    adapted *layer;
    int layers, others; /* others: weights that are no part of an adapter */
    const char *other;  /* the first of them */
} lora;

typedef struct found {
    const char *name;
    role role;
    ltn_weight *weight;
} found;

static int by_name(const void *a, const void *b)
{
    const found *x = a, *y = b;
    const int d = strcmp(x->name, y->name);
    return d ? d : (int)x->role - (int)y->role;
}

/* Endings differ, so two weights may have one role. */
static ltn_status gather(lora *l, found *f, int n)
{
    qsort(f, (size_t)n, sizeof *f, by_name);
    for (int i = 0; i < n; i++) {
        if (!i || strcmp(f[i].name, f[i - 1].name)) l->layer[l->layers++].name = f[i].name;
        adapted *a = &l->layer[l->layers - 1];
        if (a->weight[f[i].role])
            return ltn__fail(l->ctx, LTN_EFORMAT, "%s: %s and %s: the same twice", l->path, a->weight[f[i].role]->name,
                             f[i].weight->name);
        a->weight[f[i].role] = f[i].weight;
    }
    return LTN_OK;
}

static ltn_status find_layers(lora *l)
{
    const int count = ltn__tensors_count(l->tensors);
    found *f = ltn__alloc(l->ctx, (size_t)count + 1, sizeof *f);
    l->layer = ltn__arena_alloc(&l->arena, (size_t)count + 1, sizeof *l->layer);
    ltn_status s = f && l->layer ? LTN_OK : LTN_ENOMEM;
    int n = 0;
    for (int i = 0; i < count && !s; i++) {
        ltn_weight *w = ltn__tensors_at(l->tensors, i);
        const struct ending *e = ending_of(w->name);
        if (!e) {
            if (!l->others++) l->other = w->name;
        } else if (e->role == REFUSED) {
            s = ltn__fail(l->ctx, LTN_EFORMAT, "%s: %s: %s is not supported", l->path, w->name, e->what);
        } else {
            f[n] = (found){ltn__arena_format(&l->arena, "%.*s", (int)(strlen(w->name) - strlen(e->text)), w->name),
                           e->role, w};
            if (!f[n++].name) s = LTN_ENOMEM;
        }
    }
    if (!s) s = gather(l, f, n);
    ltn__free(l->ctx, f);
    return s;
}

/* alpha where no weight holds it: what peft writes beside its adapters, or into the file's metadata. {"r": 4,
 * "lora_alpha": 8, "alpha_pattern": {"to_q": 2}}, under "unet.r" and so on where parts share the file. */
static double configured(const ltn_json *c, const char *prefix, const char *key, double absent)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", prefix, key);
    return ltn__json_num(c, name, absent);
}

static ltn_status configure(lora *l, const ltn_json *c, const char *prefix, adapted *a)
{
    char key[64];
    snprintf(key, sizeof key, "%suse_rslora", prefix);
    const bool by_root = ltn__json_bool(c, key, false);
    snprintf(key, sizeof key, "%salpha_pattern", prefix);
    const ltn_json *pattern = ltn__json_get(c, key);
    double alpha = configured(c, prefix, "lora_alpha", a->rank);
    for (const ltn_json *p = pattern ? pattern->child : NULL; p; p = p->next) {
        const size_t n = strlen(a->name), k = p->key ? strlen(p->key) : 0;
        const bool ends = k && n >= k && !strcmp(a->name + n - k, p->key) && (n == k || a->name[n - k - 1] == '.');
        if (ends && p->type == LTN_JSON_NUMBER) alpha = p->number;
    }
    a->alpha = by_root ? alpha * sqrt(a->rank) : alpha; /* alpha / sqrt(rank) = alpha sqrt(rank) / rank */
    return LTN_OK;
}

/* The configuration that comes with a file of peft's; *out is NULL if there is none. */
static ltn_status read_configuration(lora *l, const ltn_json **out)
{
    const char *text = ltn__json_str(ltn__tensors_metadata(l->tensors), "lora_adapter_metadata", NULL);
    ltn_json *c = NULL;
    *out = NULL;
    ltn_status s = LTN_OK;
    if (text) s = ltn__json_parse(l->ctx, l->path, text, strlen(text), &l->arena, &c);
    *out = c;
    const bool bare = l->layers && after(l->layer[0].name, "base_model.model.");
    if (s || text || !bare) return s;
    const char *slash = strrchr(l->path, '/');
    const char *beside = ltn__arena_format(&l->arena, "%.*sadapter_config.json", slash ? (int)(slash - l->path) + 1 : 0,
                                           l->path);
    if (!beside) return LTN_ENOMEM;
    if (ltn__file_exists(beside)) s = ltn__json_read(l->ctx, beside, &l->arena, &c);
    else ltn__log(l->ctx, 0, "%s: no adapter_config.json beside it: alpha is taken to be the rank", l->path);
    *out = c;
    return s;
}

/* Ranks and alphas; whether each layer has what it needs. */
static ltn_status check_layer(lora *l, const ltn_json *config, adapted *a)
{
    const ltn_weight *down = a->weight[DOWN], *up = a->weight[UP], *alpha = a->weight[ALPHA];
    const char *const dot = strchr(a->name, '.');
    char prefix[32] = "";
    real value = 0;
    if (!down || !up)
        return ltn__fail(l->ctx, LTN_EFORMAT, "%s: %s: %s", l->path, a->name,
                         down ? "no lora_up beside its lora_down"
                              : up ? "no lora_down beside its lora_up" : "an alpha alone");
    for (int k = 0; k < ROLES; k++)
        if (a->weight[k] && !ltn__weight_finite(a->weight[k]))
            return ltn__fail(l->ctx, LTN_EFORMAT, "%s: %s: not finite", l->path, a->weight[k]->name);
    if (down->rank < 2 || up->rank < 2 || down->dim[0] > 1 << 16)
        return ltn__fail(l->ctx, LTN_EFORMAT, "%s: %s: no matrix", l->path, (up->rank < 2 ? up : down)->name);
    a->alpha = a->rank = (int)down->dim[0];
    if (dot && dot - a->name < (int)sizeof prefix - 1 && config)
        snprintf(prefix, sizeof prefix, "%.*s", (int)(dot - a->name) + 1, a->name);
    if (after(a->name, "base_model.")) prefix[0] = 0;
    if (config) return configure(l, config, prefix, a);
    if (!alpha) return LTN_OK;
    if (ltn__weight_count(alpha) != 1)
        return ltn__fail(l->ctx, LTN_EFORMAT, "%s: %s: not one number", l->path, alpha->name);
    ltn__weight_widen(alpha, 0, 1, &value);
    a->alpha = value;
    return LTN_OK;
}

static void lora_close(lora *l)
{
    ltn__tensors_close(&l->tensors);
    ltn__arena_free(&l->arena);
}

static ltn_status understand(lora *l)
{
    const ltn_json *config;
    ltn_status s = find_layers(l);
    if (!s && !l->layers)
        s = ltn__fail(l->ctx, LTN_EFORMAT, "%s: %s: no weight of a LoRA", l->path, l->other ? l->other : "empty");
    if (!s) s = read_configuration(l, &config);
    for (int i = 0; i < l->layers && !s; i++) s = check_layer(l, config, &l->layer[i]);
    return s;
}

/* ---- Which weight of the model a layer is ---- */

typedef struct place {
    const char *name; /* flattened */
    int folder;
    ltn_weight *weight;
} place;

typedef struct places {
    place *place;
    int count;
} places;

static int by_place(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return x->folder != y->folder ? x->folder - y->folder : strcmp(x->name, y->name);
}

static ltn_status list_places(const ltn_model *m, ltn_arena *arena, places *out)
{
    static const char ending[] = ".weight";
    char name[NAME];
    int n = 0;
    for (int f = 0; f < m->folders; f++) n += ltn__tensors_count(m->tensors[f]);
    if (!(out->place = ltn__arena_alloc(arena, (size_t)n + 1, sizeof *out->place))) return LTN_ENOMEM;
    for (int f = 0; f < m->folders; f++)
        for (int i = 0; i < ltn__tensors_count(m->tensors[f]); i++) {
            ltn_weight *w = ltn__tensors_at(m->tensors[f], i);
            const size_t length = strlen(w->name), end = sizeof ending - 1;
            if (f == LTN_AT_VAE || w->rank < 2 || length <= end || strcmp(w->name + length - end, ending)) continue;
            flatten(w->name, name);
            const size_t k = strlen(name) > end ? strlen(name) - end : 0;
            place *p = &out->place[out->count++];
            *p = (place){ltn__arena_format(arena, "%.*s", (int)k, name), f, w};
            if (!p->name) return LTN_ENOMEM;
        }
    qsort(out->place, (size_t)out->count, sizeof *out->place, by_place);
    return LTN_OK;
}

static ltn_weight *look_up(const places *p, int folder, const char *name)
{
    const place key = {name, folder, NULL}, *hit = bsearch(&key, p->place, (size_t)p->count, sizeof key, by_place);
    return hit ? hit->weight : NULL;
}

/* NULL: the model has no such layer. */
static ltn_weight *target(const ltn_model *m, const places *p, const adapted *a)
{
    char name[NAME];
    int folder;
    flatten(part_of(a->name, &folder), name);
    if (folder == LTN_AT_UNET || folder == ANY) from_original(m, name);
    ltn_weight *w = look_up(p, folder == ANY ? LTN_AT_UNET : folder, name);
    return !w && folder == ANY ? look_up(p, LTN_AT_TEXT, name) : w;
}

/* ---- Merging ---- */

static const char *dims_text(char out[96], const ltn_weight *w)
{
    size_t n = (size_t)snprintf(out, 96, "(");
    for (int k = 0; k < w->rank; k++)
        n += (size_t)snprintf(out + n, 96 - n, "%s%lld", k ? ", " : "", (long long)w->dim[k]);
    snprintf(out + n, 96 - n, ")");
    return out;
}

/* Do the factors make a weight of w's shape? */
static bool fits(const adapted *a, const ltn_weight *w)
{
    const ltn_weight *down = a->weight[DOWN], *up = a->weight[UP], *mid = a->weight[MID];
    const int64_t rank = a->rank, in = w->dim[1], kernel = ltn__weight_count(w) / (w->dim[0] * in);
    if (up->dim[0] != w->dim[0] || down->dim[1] != in) return false;
    if (!mid)
        return up->dim[1] == rank && ltn__weight_count(up) == w->dim[0] * rank &&
               ltn__weight_count(down) == rank * in * kernel &&
               (kernel == 1 || (down->rank == 4 && w->rank == 4 && down->dim[2] == w->dim[2]));
    return mid->rank == 4 && w->rank == 4 && mid->dim[1] == rank && mid->dim[2] == w->dim[2] &&
           mid->dim[3] == w->dim[3] && ltn__weight_count(down) == rank * in && up->dim[1] == mid->dim[0] &&
           ltn__weight_count(up) == w->dim[0] * mid->dim[0];
}

static ltn_status misfit(const lora *l, const adapted *a, const ltn_weight *w)
{
    char has[96], one[96], two[96];
    return ltn__fail(l->ctx, LTN_ESHAPE, "%s: %s: up %s and down %s do not fit %s %s of the model", l->path, a->name,
                     dims_text(one, a->weight[UP]), dims_text(two, a->weight[DOWN]), w->name, dims_text(has, w));
}

/* sum_n mid[m, n, k] down[n, i] as (m, i, k): two convolutions as one. */
static void through_middle(const adapted *a, const real *mid, const real *down, real *out)
{
    const ltn_weight *w = a->weight[MID];
    const int64_t rows = w->dim[0], rank = a->rank, in = a->weight[DOWN]->dim[1], kernel = w->dim[2] * w->dim[3];
    for (int64_t m = 0; m < rows; m++)
        for (int64_t n = 0; n < rank; n++)
            for (int64_t i = 0; i < in; i++)
                for (int64_t k = 0; k < kernel; k++)
                    out[(m * in + i) * kernel + k] += mid[(m * rank + n) * kernel + k] * down[n * in + i];
}

/* Four rows at a time: sum_r c[r] row_r of n values, onto sum. */
LTN_KERNEL static void add_rows(const real *c, const real *row, int64_t rows, int64_t n, real *restrict sum)
{
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const real *a = row + r * n, *b = a + n, *d = b + n, *e = d + n;
        const real ca = c[r], cb = c[r + 1], cd = c[r + 2], ce = c[r + 3];
        for (int64_t i = 0; i < n; i++) sum[i] += ca * a[i] + cb * b[i] + cd * d[i] + ce * e[i];
    }
    for (; r < rows; r++)
        for (int64_t i = 0; i < n; i++) sum[i] += c[r] * row[r * n + i];
}

/* The weight's own copy, which the merge is written into: of two bytes where the file has no more, so that a large
 * model stays as large as it is; rounded as every f16 model is. */
static void *own_copy(ltn_ctx *ctx, ltn_weight *w, bool *half)
{
    static const char key[] = "lora";
    void *copy = ltn__weight_copy(w, key);
    *half = w->dtype != LTN_F32 && w->dtype != LTN_F64;
    return copy ? copy : ltn__weight_make_copy(ctx, w, key, (size_t)ltn__weight_count(w) * (*half ? 2 : sizeof(real)));
}

/* W += factor up down, up (out, rank), down (rank, columns); room: two rows for each thread. */
static void add_product(ltn_ctx *ctx, ltn_weight *w, const real *up, const real *down, int64_t rank, double factor,
                        void *copy, bool half, real *room)
{
    const int64_t rows = w->dim[0], n = ltn__weight_count(w) / rows;
    const int threads = ctx->threads;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int part = 0; part < threads; part++) {
        real *row = room + 2 * n * part, *sum = row + n;
        for (int64_t o = part * rows / threads; o < (part + 1) * rows / threads; o++) {
            memset(sum, 0, (size_t)n * sizeof *sum);
            add_rows(up + o * rank, down, rank, n, sum);
            ltn__weight_widen(w, o * n, n, row);
            for (int64_t i = 0; i < n; i++) row[i] += (real)factor * sum[i];
            if (half) ltn__to_halves(row, n, (uint16_t *)copy + o * n);
            else memcpy((real *)copy + o * n, row, (size_t)n * sizeof *row);
        }
    }
}

static ltn_status merge_layer(const lora *l, const adapted *a, double scale, ltn_weight *w)
{
    if (!fits(a, w)) return misfit(l, a, w);
    ltn_weight *const *f = a->weight;
    const int64_t columns = ltn__weight_count(w) / w->dim[0], rank = f[MID] ? f[MID]->dim[0] : a->rank;
    real *up = ltn__alloc(l->ctx, (size_t)ltn__weight_count(f[UP]), sizeof *up);
    real *down = ltn__alloc(l->ctx, (size_t)ltn__weight_count(f[DOWN]), sizeof *down);
    real *mid = f[MID] ? ltn__alloc(l->ctx, (size_t)ltn__weight_count(f[MID]), sizeof *mid) : NULL;
    real *both = f[MID] ? ltn__alloc(l->ctx, (size_t)(rank * columns), sizeof *both) : down;
    real *room = ltn__alloc(l->ctx, 2 * (size_t)l->ctx->threads, (size_t)columns * sizeof *room);
    bool half;
    void *copy = own_copy(l->ctx, w, &half);
    const bool good = up && down && both && room && copy && (mid || !f[MID]);
    if (good) {
        ltn__weight_widen(f[UP], 0, ltn__weight_count(f[UP]), up);
        ltn__weight_widen(f[DOWN], 0, ltn__weight_count(f[DOWN]), down);
        if (mid) ltn__weight_widen(f[MID], 0, ltn__weight_count(f[MID]), mid);
        if (mid) through_middle(a, mid, down, both);
        add_product(l->ctx, w, up, both, rank, scale * a->alpha / a->rank, copy, half, room);
        ltn__weight_leave(w);
        w->data = copy;
        w->dtype = half ? LTN_F16 : LTN_F32;
        w->mapped = false;
    }
    ltn__free(l->ctx, up);
    ltn__free(l->ctx, down);
    ltn__free(l->ctx, mid);
    if (f[MID]) ltn__free(l->ctx, both);
    ltn__free(l->ctx, room);
    return good ? LTN_OK : LTN_ENOMEM;
}

static ltn_status merge_all(const lora *l, ltn_model *m, const places *p, double scale)
{
    const char *missing = NULL;
    int merged = 0;
    ltn_status s = LTN_OK;
    for (int i = 0; i < l->layers && !s; i++) {
        ltn_weight *w = target(m, p, &l->layer[i]);
        if (w) s = merge_layer(l, &l->layer[i], scale, w);
        else if (!missing) missing = l->layer[i].name;
        merged += w != NULL;
    }
    if (!s && !merged)
        return ltn__fail(l->ctx, LTN_EFORMAT, "%s: %s: no layer of this model, nor is any other of the file", l->path,
                         missing);
    if (!s && merged < l->layers)
        ltn__log(l->ctx, 0, "%s: %d of %d layers are not in this model, the first is %s", l->path, l->layers - merged,
                 l->layers, missing);
    if (!s && l->others)
        ltn__log(l->ctx, 0, "%s: %d weights are no part of a LoRA, the first is %s", l->path, l->others, l->other);
    return s;
}

/* FILE or FILE:SCALE. */
static const char *split(ltn_arena *arena, const char *spec, double *scale)
{
    const char *colon = strrchr(spec, ':'), *end = colon ? colon + 1 : spec;
    *scale = 1;
    const double v = colon ? ltn__parse_number(colon + 1, &end) : 1;
    if (!colon || !colon[1] || *end) return ltn__arena_format(arena, "%s", spec);
    *scale = v;
    return ltn__arena_format(arena, "%.*s", (int)(colon - spec), spec);
}

ltn_status ltn__lora_merge(ltn_model *m, const char *spec)
{
    lora l = {.ctx = m->ctx, .arena.ctx = m->ctx};
    places p = {0};
    double scale;
    l.path = split(&l.arena, spec, &scale);
    ltn_status s = l.path ? ltn__tensors_open(m->ctx, l.path, &l.tensors) : LTN_ENOMEM;
    if (!s) s = understand(&l);
    if (!s) s = list_places(m, &l.arena, &p);
    if (!s) s = merge_all(&l, m, &p, scale);
    lora_close(&l);
    return s;
}

/* ---- Describing ---- */

bool ltn__lora_matches(ltn_tensors *t)
{
    for (int i = 0; i < ltn__tensors_count(t); i++)
        if (ending_of(ltn__tensors_at(t, i)->name)) return true;
    return false;
}

typedef struct summary {
    int layers[4], unknown, convolutions; /* of each folder, of none that is named */
    int rank[2];                          /* least, most */
    double alpha[2];
    int64_t parameters;
} summary;

static summary sum_up(const lora *l)
{
    summary s = {0};
    for (int i = 0; i < l->layers; i++) {
        const adapted *a = &l->layer[i];
        int folder;
        part_of(a->name, &folder);
        if (folder == ANY) s.unknown++;
        else s.layers[folder]++;
        const ltn_weight *down = a->weight[DOWN];
        s.convolutions += a->weight[MID] != NULL || (down->rank == 4 && down->dim[2] > 1);
        for (int k = 0; k < ALPHA; k++) s.parameters += a->weight[k] ? ltn__weight_count(a->weight[k]) : 0;
        s.rank[0] = i ? LTN_MIN(s.rank[0], a->rank) : a->rank;
        s.rank[1] = i ? LTN_MAX(s.rank[1], a->rank) : a->rank;
        s.alpha[0] = i ? LTN_MIN(s.alpha[0], a->alpha) : a->alpha;
        s.alpha[1] = i ? LTN_MAX(s.alpha[1], a->alpha) : a->alpha;
    }
    return s;
}

static void describe(const lora *l, char *json, size_t room)
{
    const summary s = sum_up(l);
    char touches[160] = "";
    size_t n = 0;
    for (int f = 0; f < LTN_COUNT(ltn__folders); f++)
        if (s.layers[f])
            n += (size_t)snprintf(touches + n, sizeof touches - n, "%s\"%s\": %d", n ? ", " : "", ltn__folders[f],
                                  s.layers[f]);
    if (s.unknown) snprintf(touches + n, sizeof touches - n, "%s\"unnamed\": %d", n ? ", " : "", s.unknown);
    snprintf(json, room,
             "{\n  \"family\": \"LoRA\",\n  \"layers\": {%s},\n  \"convolutions\": %d,\n  \"least_rank\": %d,\n"
             "  \"rank\": %d,\n  \"least_alpha\": %g,\n  \"alpha\": %g,\n  \"parameters\": %lld,\n"
             "  \"type\": \"%s\"\n}",
             touches, s.convolutions, s.rank[0], s.rank[1], s.alpha[0], s.alpha[1], (long long)s.parameters,
             ltn__dtype_name(l->layer[0].weight[DOWN]->dtype));
}

ltn_status ltn__lora_describe(ltn_ctx *ctx, ltn_tensors *t, char *json, size_t room)
{
    lora l = {.ctx = ctx, .arena.ctx = ctx, .path = ltn__tensors_path(t), .tensors = t};
    const ltn_status s = understand(&l);
    if (!s) describe(&l, json, room);
    ltn__arena_free(&l.arena);
    return s;
}

ltn_status ltn_lora_describe(ltn_ctx *ctx, const char *path, char *json, size_t room)
{
    ltn_tensors *t;
    ltn_status s = ltn__tensors_open(ctx, path, &t);
    if (!s) s = ltn__lora_describe(ctx, t, json, room);
    ltn__tensors_close(&t);
    return s;
}
