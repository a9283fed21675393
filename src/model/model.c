/* model.c - a model's parts as graphs. Opening maps the weights (source.c knows where they lie) and builds every part
 * once, small, so that whatever is missing, misshapen or left over is said at once; parts are planned on first use and
 * kept by shape. */
#include "source.h"

#include <math.h>
#include <stdio.h>
#include <string.h>


/* What each kind of part is: the folder it comes from, the part it extends, the inputs that it is
 * differentiated by. */
static const struct {
    int folder;
    ltn_part_kind base;
    const char *wrt[2];
} kinds[LTN_PARTS] = {
    [LTN_TEXT] = {LTN_AT_TEXT, LTN_TEXT, {NULL}},
    [LTN_TEXT_INNER] = {LTN_AT_TEXT, LTN_TEXT_INNER, {NULL}},
    [LTN_TEXT_POOLED] = {LTN_AT_TEXT_2, LTN_TEXT_POOLED, {NULL}},
    [LTN_UNET] = {LTN_AT_UNET, LTN_UNET, {NULL}},
    [LTN_ENCODE] = {LTN_AT_VAE, LTN_ENCODE, {NULL}},
    [LTN_DECODE] = {LTN_AT_VAE, LTN_DECODE, {NULL}},
    [LTN_UNET_BY_SAMPLE] = {LTN_AT_UNET, LTN_UNET, {"sample"}},
    [LTN_UNET_BY_TEXT] = {LTN_AT_UNET, LTN_UNET, {"text"}},
    [LTN_UNET_BY_BOTH] = {LTN_AT_UNET, LTN_UNET, {"sample", "text"}},
    [LTN_ENCODE_BACK] = {LTN_AT_VAE, LTN_ENCODE, {"picture"}},
    [LTN_DECODE_BACK] = {LTN_AT_VAE, LTN_DECODE, {"latent"}},
};

#define ARCH(name) extern const ltn_arch ltn__arch_##name;
#include "model.def"
#undef ARCH
static const ltn_arch *const architectures[] = {
#define ARCH(name) &ltn__arch_##name,
#include "model.def"
#undef ARCH
};

const ltn_arch *ltn__arch_row(int i)
{
    return i >= 0 && i < LTN_COUNT(architectures) ? architectures[i] : NULL;
}

const ltn_entry *ltn__arch_entry(int i)
{
    const ltn_arch *a = ltn__arch_row(i);
    return a ? &a->entry : NULL;
}

static bool two_encoders(const ltn_model *m)
{
    return m->folders > LTN_AT_TEXT_2;
}

/* What is run of the k-th text encoder. */
static ltn_part_kind text_kind(const ltn_model *m, int k)
{
    return k ? LTN_TEXT_POOLED : two_encoders(m) ? LTN_TEXT_INNER : LTN_TEXT;
}

/* ---- Opening ---- */

static ltn_node *node_named(ltn_graph *g, const char *name)
{
    for (int i = 0; i < ltn__graph_size(g); i++) {
        ltn_node *n = ltn__graph_node(g, i);
        if ((n->input && !strcmp(n->input, name)) || (n->output && !strcmp(n->output, name))) return n;
    }
    return NULL;
}

/* Bytes of all values in the graph: what a gradient may have to keep. */
static double value_bytes(ltn_graph *g)
{
    double bytes = 0;
    for (int i = 0; i < ltn__graph_size(g); i++) {
        const ltn_node *n = ltn__graph_node(g, i);
        if (n->op && !n->op->alias) bytes += (double)sizeof(real) * (double)ltn__count(n->dims);
    }
    return bytes;
}

/* A part with more values than this makes them again on the way back instead of keeping them. */
static const double most_kept = 4e9;

static void differentiate(ltn_graph *g, const char *const wrt[2])
{
    static const struct {
        const char *input, *output;
    } names[] = {
        {"sample", "d_sample"}, {"text", "d_text"}, {"picture", "d_picture"}, {"latent", "d_latent"}};
    ltn_node *out = node_named(g, "out"), *x[2], *grad[2];
    int n = 0;
    while (n < 2 && wrt[n]) x[n] = node_named(g, wrt[n]), n++;
    if (!n) return;
    ltn_gradient *const way = value_bytes(g) > most_kept ? ltn__grad_sparing : ltn__grad;
    if (way(g, out, ltn__input(g, "cotangent", out->dims), x, n, grad)) return;
    for (int k = 0; k < n; k++)
        for (int i = 0; i < LTN_COUNT(names); i++)
            if (!strcmp(names[i].input, wrt[k]))
                ltn__output(g, names[i].output, grad[k] ? grad[k] : ltn__fill(g, x[k]->dims, 0));
}

static ltn_status build(ltn_model *m, ltn_part_kind kind, ltn_part_size size, ltn_graph **out)
{
    const int f = kinds[kind].folder;
    const bool knows = !m->pixels || (f != LTN_AT_TEXT && kind != LTN_UNET_BY_TEXT && kind != LTN_UNET_BY_BOTH);
    ltn_status s = knows ? ltn__graph_open(m->ctx, out)
                         : ltn__fail(m->ctx, LTN_EINVAL, "%s: the model works in pixels and takes no text", m->path);
    if (s) return s;
    m->arch[f]->build((ltn_nn){.g = *out, .w = m->tensors[f], .config = m->config[f]}, kinds[kind].base,
                      size);
    if (!ltn__graph_status(*out)) differentiate(*out, kinds[kind].wrt);
    if (!(s = ltn__graph_status(*out))) return LTN_OK;
    ltn__graph_close(out);
    return ltn__within(m->ctx, s, "%s/%s", m->path, ltn__folders[f]);
}

static ltn_dims dims_of(ltn_graph *g, const char *name)
{
    const ltn_node *n = node_named(g, name);
    return n ? n->dims : ltn__dims(0, 0, 0, 0);
}

/* Builds a part without planning it, for the sizes of these inputs and outputs. */
static ltn_status probe(ltn_model *m, ltn_part_kind kind, int64_t side, const char *const *name, int n,
                        ltn_dims *dims)
{
    ltn_graph *g;
    ltn_status s = build(m, kind, (ltn_part_size){1, side, side, m->tokens}, &g);
    if (s) return s;
    for (int k = 0; k < n; k++) dims[k] = dims_of(g, name[k]);
    ltn__graph_close(&g);
    return LTN_OK;
}

static ltn_status probe_text(ltn_model *m)
{
    ltn_dims first, second[2];
    ltn_status s;
    m->tokens = m->text_length = ltn__tokenizer_length(m->tokenizer[0]);
    if ((s = probe(m, text_kind(m, 0), 1, (const char *const[]){"out"}, 1, &first))) return s;
    m->text_width = (int)first.d[3];
    if (!two_encoders(m)) return LTN_OK;
    if ((s = probe(m, LTN_TEXT_POOLED, 1, (const char *const[]){"out", "pooled"}, 2, second))) return s;
    m->text_width += (int)second[0].d[3];
    m->pooled_width = (int)second[1].d[3];
    m->text_length++;
    const int length = ltn__tokenizer_length(m->tokenizer[1]);
    if (length == m->tokens) return LTN_OK;
    return ltn__fail(m->ctx, LTN_ESHAPE, "%s: tokenizer gives %d tokens, tokenizer_2 gives %d", m->path, m->tokens,
                     length);
}

/* The width and the pooled width that the UNet takes are those of the text. */
static ltn_status check_text(ltn_model *m, ltn_dims text, ltn_dims place)
{
    const int all = (int)ltn__json_num(m->config[LTN_AT_UNET], "projection_class_embeddings_input_dim", 0);
    const int pooled = place.d[3] ? all - (int)place.d[3] : 0;
    if (pooled && !m->pooled_width)
        return ltn__fail(m->ctx, LTN_EFORMAT, "%s/unet: config.json: addition_embed_type is text_time, but "
                         "model_index.json has no text_encoder_2", m->path);
    if (m->pooled_width && !pooled)
        return ltn__fail(m->ctx, LTN_EFORMAT, "%s/unet: config.json: no addition_embed_type, but "
                         "model_index.json has a text_encoder_2", m->path);
    if (text.d[3] != m->text_width)
        return ltn__fail(m->ctx, LTN_ESHAPE, "%s: text of width %d, the UNet takes %d", m->path, m->text_width,
                         (int)text.d[3]);
    if (pooled != m->pooled_width)
        return ltn__fail(m->ctx, LTN_ESHAPE, "%s: pooled text of width %d, the UNet takes %d", m->path,
                         m->pooled_width, pooled);
    return LTN_OK;
}

/* Every part fits the others: what one gives is what the next takes. */
static ltn_status probe_all(ltn_model *m)
{
    enum { PIXELS = 256, LATENTS = 128 };
    ltn_dims unet[4], enc[2], dec[2];
    ltn_status s;
    if (!m->pixels && (s = probe_text(m))) return s;
    if ((s = probe(m, LTN_UNET, LATENTS, (const char *const[]){"sample", "text", "out", "place"}, 4, unet))) return s;
    if ((s = probe(m, LTN_ENCODE, PIXELS, (const char *const[]){"picture", "out"}, 2, enc))) return s;
    if ((s = probe(m, LTN_DECODE, enc[1].d[1], (const char *const[]){"latent", "out"}, 2, dec))) return s;
    m->latent_channels = (int)enc[1].d[3];
    m->factor = (int)(PIXELS / enc[1].d[1]);
    if (!m->pixels && (s = check_text(m, unet[1], unet[3]))) return s;
    if (unet[0].d[3] != m->latent_channels || unet[2].d[3] != m->latent_channels)
        return ltn__fail(m->ctx, LTN_ESHAPE, "%s: latents of %d channels, the UNet takes %d and gives %d",
                         m->path, m->latent_channels, (int)unet[0].d[3], (int)unet[2].d[3]);
    if (enc[0].d[3] != 3 || !ltn__same_dims(enc[0], dec[1]))
        return ltn__fail(m->ctx, LTN_ESHAPE, "%s/vae: a picture of %d x %d x %d is decoded to %d x %d x %d",
                         m->path, PIXELS, PIXELS, (int)enc[0].d[3], (int)dec[1].d[2], (int)dec[1].d[1],
                         (int)dec[1].d[3]);
    return LTN_OK;
}

static ltn_status check_unused(ltn_model *m)
{
    for (int f = 0; f < m->folders; f++) {
        ltn_status s = m->tensors[f] ? ltn__nn_check_unused(m->ctx, m->tensors[f]) : LTN_OK;
        if (s) return ltn__within(m->ctx, s, "%s/%s", m->path, ltn__folders[f]);
    }
    return LTN_OK;
}

/* ---- Describing ---- */

static const char *part_text(ltn_model *m, int f)
{
    int64_t parameters;
    if (!m->tensors[f]) return "null";
    const char *type = ltn__tensors_type(m->tensors[f], &parameters);
    return ltn__arena_format(&m->arena, "{\"architecture\": \"%s\", \"parameters\": %lld, \"type\": \"%s\"}",
                             m->arch[f]->entry.name, (long long)parameters, type);
}

static ltn_status describe(ltn_model *m)
{
    static const char *const predictions[] = {"epsilon", "sample", "v_prediction"};
    const ltn_schedule *c = &m->schedule;
    const char *text = part_text(m, LTN_AT_TEXT), *unet = part_text(m, LTN_AT_UNET), *vae = part_text(m, LTN_AT_VAE);
    const char *second = two_encoders(m) ? part_text(m, LTN_AT_TEXT_2) : "null";
    if (!text || !unet || !vae || !second) return LTN_ENOMEM;
    m->description = ltn__arena_format(
        &m->arena,
        "{\n"
        "  \"family\": \"%s\",\n"
        "  \"text_encoder\": %s,\n"
        "  \"text_encoder_2\": %s,\n"
        "  \"unet\": %s,\n"
        "  \"vae\": %s,\n"
        "  \"text_length\": %d,\n"
        "  \"text_width\": %d,\n"
        "  \"pooled_width\": %d,\n"
        "  \"latent_channels\": %d,\n"
        "  \"factor\": %d,\n"
        "  \"latent_size\": %d,\n"
        "  \"picture_size\": %d,\n"
        "  \"scheduler\": {\"name\": \"%s\", \"prediction\": \"%s\", "
        "\"train_steps\": %d, \"consistency\": %s},\n"
        "  \"calibrated\": %s\n"
        "}",
        ltn__family(m->config[LTN_AT_UNET]), text, second, unet, vae, m->tokens, m->text_width, m->pooled_width,
        m->latent_channels, m->factor, m->sample_size, m->sample_size * m->factor, c->name,
        predictions[c->prediction], c->train_steps, c->consistency ? "true" : "false",
        m->calibration ? "true" : "false");
    return m->description ? LTN_OK : LTN_ENOMEM;
}

/* ---- The model ---- */

static int sample_size(const ltn_model *m)
{
    const ltn_json *v = ltn__json_get(m->config[LTN_AT_UNET], "sample_size");
    if (v && v->type == LTN_JSON_ARRAY) v = ltn__json_at(v, 0);
    return v && v->type == LTN_JSON_NUMBER && v->number >= 1 && v->number <= 1 << 14 ? (int)v->number : 64;
}

static ltn_status open_all(ltn_model *m, const ltn_model_options *opt)
{
    ltn_status s = ltn__source_open(m, opt);
    if (s) return s;
    m->sample_size = sample_size(m);
    if ((s = probe_all(m))) return s;
    if ((s = check_unused(m))) return s;
    if (m->pixels && opt->loras)
        return ltn__fail(m->ctx, LTN_EINVAL, "%s: adapters are for models that take text", opt->lora[0]);
    for (int i = 0; i < opt->loras; i++)
        if ((s = ltn__lora_merge(m, opt->lora[i]))) return s;
    return describe(m);
}

ltn_status ltn_model_open_with(ltn_ctx *ctx, const char *path, const ltn_model_options *opt, ltn_model **out)
{
    static const ltn_model_options none;
    *out = NULL;
    if (!opt) opt = &none;
    ltn_model *m = *out = ltn__alloc(ctx, 1, sizeof *m);
    if (!m) return LTN_ENOMEM;
    m->ctx = m->arena.ctx = ctx;
    m->path = ltn__arena_format(&m->arena, "%s", path);
    ltn_status s = m->path ? open_all(m, opt) : LTN_ENOMEM;
    if (s) ltn_model_close(out);
    return s;
}

ltn_status ltn_model_open(ltn_ctx *ctx, const char *path, ltn_model **out)
{
    return ltn_model_open_with(ctx, path, NULL, out);
}

void ltn_model_close(ltn_model **model)
{
    if (!model || !*model) return;
    ltn_model *m = *model;
    for (ltn_part *p = m->parts, *next; p; p = next) {
        next = p->next;
        ltn__plan_close(&p->plan);
        ltn__stripes_close(&p->stripes);
        ltn__graph_close(&p->graph);
        ltn__free(m->ctx, p);
    }
    for (int f = 0; f < LTN_COUNT(ltn__folders); f++) ltn__tensors_close(&m->tensors[f]);
    ltn__source_close(m);
    for (int k = 0; k < 2; k++) ltn__tokenizer_close(&m->tokenizer[k]);
    ltn__schedule_free(m->ctx, &m->schedule);
    ltn__arena_free(&m->arena);
    ltn__free(m->ctx, m);
    *model = NULL;
}

const char *ltn_model_describe(const ltn_model *m)
{
    return m->description;
}

/* ---- Parts ---- */

/* Large files would be read whole for this, so it waits until their values are needed anyway. */
static ltn_status check_finite(ltn_model *m, ltn_part_kind kind, ltn_graph *g)
{
    const ltn_part_kind base = kinds[kind].base;
    for (int i = 0; i < ltn__graph_size(g) && !m->finite[base]; i++) {
        const ltn_weight *w = ltn__graph_node(g, i)->weight;
        if (w && !ltn__weight_finite(w))
            return ltn__fail(m->ctx, LTN_EFORMAT, "%s/%s: %s: not finite", m->path,
                             ltn__folders[kinds[kind].folder], w->name);
        if (w) ltn__weight_leave(w);
    }
    m->finite[base] = true;
    return LTN_OK;
}

/* The UNet's weights are read in every step, and stay if there is no bound. */
static bool is_frugal(const ltn_model *m, ltn_part_kind kind)
{
    return m->ctx->opt.memory || kinds[kind].folder != LTN_AT_UNET;
}

/* In stripes if its plan would take more than `most` bytes; 0: planned in any case. */
static ltn_status open_part(ltn_model *m, ltn_part_kind kind, ltn_part_size size, size_t most, ltn_part **out)
{
    const int64_t n = size.n, h = size.h, w = size.w;
    for (ltn_part *p = m->parts; p; p = p->next)
        if (p->kind == kind && p->n == n && p->h == h && p->w == w && (p->plan || most)) {
            *out = p;
            return LTN_OK;
        }
    ltn_part *p = *out = ltn__alloc(m->ctx, 1, sizeof *p);
    if (!p) return LTN_ENOMEM;
    *p = (ltn_part){.kind = kind, .n = n, .h = h, .w = w, .next = m->parts};
    m->parts = p;
    ltn_status s = build(m, kind, size, &p->graph);
    if (!s) s = check_finite(m, kind, p->graph);
    if (!s) s = ltn__plan_open(p->graph, &(ltn_plan_options){.most = most, .frugal = is_frugal(m, kind)}, &p->plan);
    if (s == LTN_DONE) s = ltn__stripes_open(p->graph, 0, &p->stripes);
    if (!s) return LTN_OK;
    m->parts = p->next;
    ltn__graph_close(&p->graph);
    ltn__free(m->ctx, p);
    *out = NULL;
    return s;
}

ltn_status ltn__model_part(ltn_model *m, ltn_part_kind kind, int64_t n, int64_t h, int64_t w, ltn_part **out)
{
    return open_part(m, kind, (ltn_part_size){n, h, w, m->tokens}, 0, out);
}

/* A plan stays, beside those of other parts: it may take half of what is left. */
ltn_status ltn__model_coder(ltn_model *m, ltn_part_kind kind, int64_t h, int64_t w, ltn_part **out)
{
    const size_t left = ltn__memory_left(m->ctx);
    return open_part(m, kind, (ltn_part_size){1, h, w, m->tokens}, m->ctx->opt.memory ? left / 2 + 1 : 0, out);
}

float *ltn__coder_data(ltn_part *p, const char *name)
{
    return p->plan ? ltn__plan_data(p->plan, name) : ltn__stripes_data(p->stripes, name);
}

/* Bytes of the part's weights in their file, whose pages are read. */
static size_t mapped_bytes(const ltn_part *p)
{
    size_t bytes = 0;
    for (int i = 0; i < ltn__graph_size(p->graph); i++) {
        const ltn_weight *w = ltn__graph_node(p->graph, i)->weight;
        if (w) bytes += ltn__weight_bytes(w);
    }
    return bytes;
}

ltn_status ltn__coder_run(ltn_model *m, ltn_part *p)
{
    if (p->plan) {
        ltn__plan_run(p->plan);
        return LTN_OK;
    }
    const size_t left = ltn__memory_left(m->ctx), mapped = mapped_bytes(p);
    return ltn__stripes_run(p->stripes, left > mapped ? left - mapped : 1);
}

int ltn__time_width(const ltn_model *m)
{
    const ltn_json *first = ltn__json_at(ltn__json_get(m->config[LTN_AT_UNET], "block_out_channels"), 0);
    return (int)first->number;
}

int ltn__unet_factor(const ltn_model *m)
{
    return 1 << (ltn__json_get(m->config[LTN_AT_UNET], "block_out_channels")->count - 1);
}

bool ltn__unet_takes_guidance(const ltn_model *m)
{
    const ltn_json *dim = ltn__json_get(m->config[LTN_AT_UNET], "time_cond_proj_dim");
    return dim && dim->type != LTN_JSON_NULL;
}

/* As the pipeline of latent consistency models has it (Luo et al. 2023): sines, then cosines of 1000 (w - 1). */
void ltn__tell_guidance(ltn_plan *unet, double w)
{
    float *out = ltn__plan_data(unet, "guidance");
    const int64_t half = out ? ltn__plan_dims(unet, "guidance").d[3] / 2 : 0;
    for (int64_t i = 0; i < half; i++) {
        const double a = 1000 * (w - 1) * exp(-log(10000) * (double)i / (double)LTN_MAX(half - 1, 1));
        out[i] = (float)sin(a);
        out[half + i] = (float)cos(a);
    }
}

/* Vaswani et al. 2017: sines and cosines of t at frequencies from 1 down to 1/10000. */
static void sinusoid(const ltn_model *m, double t, int width, float *out)
{
    const int half = width / 2;
    const double shift = ltn__json_num(m->config[LTN_AT_UNET], "freq_shift", 0);
    const bool cosine_first = ltn__json_bool(m->config[LTN_AT_UNET], "flip_sin_to_cos", true);
    float *sine = out + (cosine_first ? half : 0), *cosine = out + (cosine_first ? 0 : half);
    for (int i = 0; i < half; i++) {
        const double a = t * exp(-log(10000) * i / (half - shift));
        sine[i] = (float)sin(a);
        cosine[i] = (float)cos(a);
    }
    if (width % 2) out[width - 1] = 0;
}

void ltn__time_sinusoid(const ltn_model *m, double t, float *out)
{
    sinusoid(m, t, ltn__time_width(m), out);
}

void ltn__place_sinusoids(const ltn_model *m, const int64_t place[6], float *out)
{
    const int width = (int)ltn__json_num(m->config[LTN_AT_UNET], "addition_time_embed_dim", 0);
    for (int i = 0; i < 6; i++) sinusoid(m, (double)place[i], width, out + i * width);
}

void ltn__to_last(const float *planar, float *last, int64_t n, int64_t c, int64_t hw)
{
    for (int64_t k = 0; k < n; k++, planar += c * hw, last += c * hw)
        for (int64_t i = 0; i < hw; i++)
            for (int64_t j = 0; j < c; j++) last[i * c + j] = planar[j * hw + i];
}

void ltn__to_planar(const float *last, float *planar, int64_t n, int64_t c, int64_t hw)
{
    for (int64_t k = 0; k < n; k++, planar += c * hw, last += c * hw)
        for (int64_t j = 0; j < c; j++)
            for (int64_t i = 0; i < hw; i++) planar[j * hw + i] = last[i * c + j];
}

/* ---- The parts on arrays ---- */

static ltn_status new_array(ltn_ctx *ctx, int rank, const int64_t *dim, ltn_array *out)
{
    size_t n = 1;
    *out = (ltn_array){.rank = rank};
    for (int k = 0; k < rank; k++) n *= (size_t)(out->dim[k] = dim[k]);
    out->data = ltn__alloc(ctx, n, sizeof *out->data);
    return out->data ? LTN_OK : LTN_ENOMEM;
}

/* The part's output, planar. */
static ltn_status take_output(ltn_model *m, ltn_part *p, ltn_array *out)
{
    const ltn_dims s = ltn__plan_dims(p->plan, "out");
    ltn_status e = new_array(m->ctx, 4, (const int64_t[]){s.d[0], s.d[3], s.d[1], s.d[2]}, out);
    if (!e) ltn__to_planar(ltn__plan_data(p->plan, "out"), out->data, s.d[0], s.d[3], s.d[1] * s.d[2]);
    return e;
}

static ltn_status check_planar(ltn_model *m, const char *what, const ltn_array *a, int64_t channels,
                               int64_t multiple)
{
    const bool ok = a->rank == 4 && a->dim[0] > 0 && a->dim[1] == channels && a->dim[2] > 0 && a->dim[3] > 0;
    if (!ok)
        return ltn__fail(m->ctx, LTN_ESHAPE, "%s: expected an array (n, %d, height, width)", what,
                         (int)channels);
    if (a->dim[2] % multiple || a->dim[3] % multiple)
        return ltn__fail(m->ctx, LTN_ESHAPE, "%s: %lld x %lld: sides must be divisible by %d", what,
                         (long long)a->dim[3], (long long)a->dim[2], (int)multiple);
    return LTN_OK;
}

/* With the k-th tokenizer, for the k-th text encoder. */
static ltn_status tokenize(ltn_model *m, int k, const char *prompt, int *ids)
{
    if (m->pixels) return ltn__fail(m->ctx, LTN_EINVAL, "%s: the model works in pixels and takes no text", m->path);
    const double vocabulary = ltn__json_num(m->config[k ? LTN_AT_TEXT_2 : LTN_AT_TEXT], "vocab_size", 0);
    ltn_status s = ltn__tokenize(m->tokenizer[k], prompt, ids, m->tokens);
    for (int i = 0; !s && i < m->tokens; i++)
        if (ids[i] < 0 || ids[i] >= vocabulary)
            s = ltn__fail(m->ctx, LTN_EFORMAT, "%s: the tokenizer gives %d, the text encoder knows %g",
                          m->path, ids[i], vocabulary);
    return s;
}

ltn_status ltn_model_tokens(ltn_model *m, const char *prompt, int *ids, int n)
{
    if (n < m->tokens) return ltn__fail(m->ctx, LTN_EINVAL, "room for %d ids, %d are needed", n, m->tokens);
    return tokenize(m, 0, prompt, ids);
}

/* transformers' rule: the first that is eos_token_id; where that is 2, as old configurations have it, of the largest
 * id. */
static int end_of(const ltn_model *m, const int *ids)
{
    const double eos = ltn__json_num(m->config[LTN_AT_TEXT_2], "eos_token_id", 2);
    int end = 0;
    for (int i = 0; i < m->tokens; i++) {
        if (eos != 2 && ids[i] == eos) return i;
        if (eos == 2 && ids[i] > ids[end]) end = i;
    }
    return end;
}

/* The k-th encoder's columns of the text, from *column on, and its pooled row. */
static ltn_status add_text(ltn_model *m, int k, const int *ids, float *text, int *column)
{
    ltn_part *p;
    const ltn_status s = ltn__model_part(m, text_kind(m, k), 1, 1, 1, &p);
    if (s) return s;
    float *in = ltn__plan_data(p->plan, "ids"), *end = ltn__plan_data(p->plan, "end");
    for (int i = 0; i < m->tokens; i++) in[i] = (float)ids[i];
    if (end) {
        memset(end, 0, (size_t)m->tokens * sizeof *end);
        end[end_of(m, ids)] = 1;
    }
    ltn__plan_run(p->plan);
    const float *hidden = ltn__plan_data(p->plan, "out"), *pooled = ltn__plan_data(p->plan, "pooled");
    const int width = (int)ltn__plan_dims(p->plan, "out").d[3];
    for (int i = 0; i < m->tokens; i++)
        memcpy(text + i * m->text_width + *column, hidden + i * width, (size_t)width * sizeof *text);
    if (pooled) memcpy(text + m->tokens * m->text_width, pooled, (size_t)m->pooled_width * sizeof *text);
    *column += width;
    return LTN_OK;
}

static ltn_status new_text(ltn_model *m, ltn_array *out)
{
    return new_array(m->ctx, 3, (const int64_t[]){1, m->text_length, m->text_width}, out);
}

ltn_status ltn_model_text(ltn_model *m, const char *prompt, ltn_array *out)
{
    int column = 0;
    *out = (ltn_array){0};
    if (m->pixels) return tokenize(m, 0, prompt, NULL);
    int *ids = ltn__alloc(m->ctx, (size_t)m->tokens, sizeof *ids);
    ltn_status s = ids ? new_text(m, out) : LTN_ENOMEM;
    for (int k = 0; !s && k <= two_encoders(m); k++) {
        s = tokenize(m, k, prompt, ids);
        if (!s) s = add_text(m, k, ids, out->data, &column);
    }
    ltn__free(m->ctx, ids);
    if (s) ltn_array_free(m->ctx, out);
    return s;
}

ltn_status ltn__model_empty(ltn_model *m, ltn_array *out)
{
    return m->zero_empty ? new_text(m, out) : ltn_model_text(m, "", out);
}

ltn_status ltn_model_unet(ltn_model *m, const ltn_array *sample, double t, const ltn_array *text,
                          ltn_array *out)
{
    ltn_part *p;
    *out = (ltn_array){0};
    ltn_status s = check_planar(m, "sample", sample, m->latent_channels, 1);
    if (s) return s;
    const int64_t n = sample->dim[0], hw = sample->dim[2] * sample->dim[3];
    if (m->pixels != !text)
        return ltn__fail(m->ctx, LTN_EINVAL,
                         m->pixels ? "the model works in pixels and takes no text" : "a text is missing");
    if (text && (text->rank != 3 || (text->dim[0] != 1 && text->dim[0] != n) || text->dim[1] != m->text_length ||
        text->dim[2] != m->text_width))
        return ltn__fail(m->ctx, LTN_ESHAPE, "text: expected an array (1, %d, %d)", m->text_length,
                         m->text_width);
    if ((s = ltn__model_part(m, LTN_UNET, n, sample->dim[2], sample->dim[3], &p))) return s;
    const size_t each = (size_t)m->text_length * (size_t)m->text_width;
    const int64_t height = sample->dim[2] * m->factor, width = sample->dim[3] * m->factor;
    const int64_t whole[6] = {height, width, 0, 0, height, width};
    float *time = ltn__plan_data(p->plan, "time"), *context = ltn__plan_data(p->plan, "text");
    float *place = ltn__plan_data(p->plan, "place");
    ltn__tell_guidance(p->plan, LTN_GUIDANCE);
    const int64_t places = ltn__plan_dims(p->plan, "place").d[3];
    ltn__to_last(sample->data, ltn__plan_data(p->plan, "sample"), n, m->latent_channels, hw);
    for (int64_t i = 0; i < n; i++) {
        ltn__time_sinusoid(m, t, time + i * ltn__time_width(m));
        if (place) ltn__place_sinusoids(m, whole, place + i * places);
        if (text)
            memcpy(context + (size_t)i * each, text->data + (text->dim[0] == 1 ? 0 : (size_t)i * each),
                   each * sizeof *context);
    }
    ltn__plan_run(p->plan);
    return take_output(m, p, out);
}

static ltn_status code(ltn_model *m, ltn_part_kind kind, const char *input, const ltn_array *in,
                       ltn_array *out)
{
    ltn_part *p;
    const int64_t *d = in->dim, each = d[1] * d[2] * d[3];
    ltn_status s = ltn__model_coder(m, kind, d[2], d[3], &p);
    if (s) return s;
    const ltn_dims to = dims_of(p->graph, "out");
    s = new_array(m->ctx, 4, (const int64_t[]){d[0], to.d[3], to.d[1], to.d[2]}, out);
    for (int64_t i = 0; i < d[0] && !s; i++) {
        ltn__to_last(in->data + i * each, ltn__coder_data(p, input), 1, d[1], d[2] * d[3]);
        s = ltn__coder_run(m, p);
        if (!s)
            ltn__to_planar(ltn__coder_data(p, "out"), out->data + i * ltn__count(to), 1, to.d[3], to.d[1] * to.d[2]);
    }
    if (s) ltn_array_free(m->ctx, out);
    return s;
}

ltn_status ltn_model_encode(ltn_model *m, const ltn_array *picture, ltn_array *out)
{
    *out = (ltn_array){0};
    ltn_status s = check_planar(m, "picture", picture, 3, m->factor);
    return s ? s : code(m, LTN_ENCODE, "picture", picture, out);
}

ltn_status ltn_model_decode(ltn_model *m, const ltn_array *latent, ltn_array *out)
{
    *out = (ltn_array){0};
    ltn_status s = check_planar(m, "latent", latent, m->latent_channels, 1);
    return s ? s : code(m, LTN_DECODE, "latent", latent, out);
}
