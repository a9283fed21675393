/* generate.c - a picture from a prompt: noise, or another picture's noised latent, goes along a sampler's steps. The
 * UNet sees the whole canvas at once, as the pipelines of diffusers show it. Guidance w weighs the prompt against
 * another text n,
 *
 *     out(z, t, n) + w (out(z, t, c) - out(z, t, n))          Ho & Salimans 2022, arXiv 2207.12598
 *
 * which is two entries of a batch; networks distilled to take w as an input (LCM) are told it instead. */
#include <math.h>
#include <string.h>

#include "prior.h"

typedef struct generator {
    ltn_ctx *ctx;
    const ltn_generation *o;
    ltn_model *m;
    ltn_schedule own; /* of the sampler that is asked for; else the model's is walked */
    ltn_sampler *walk;
    ltn_part *unet;
    ltn_array text[2]; /* the prompt's; what guidance leads away from */
    ltn_image image;   /* resized to the size asked for */
    ltn_size size;     /* of the picture */
    int64_t h, w;      /* of the latent canvas */
    size_t n;          /* values of a latent */
    int batch;         /* 2: with guidance */
    double guidance;
    float *z, *noise, *net, *clean;
} generator;

/* ---- What is asked for ---- */

static ltn_status check_guidance(generator *g)
{
    const ltn_generation *o = g->o;
    const bool told = ltn__unet_takes_guidance(g->m);
    if (!isfinite(o->guidance) || o->guidance < 0)
        return ltn__fail(g->ctx, LTN_EINVAL, "guidance must be a number from 0 on");
    g->guidance = o->guidance ? o->guidance : told ? LTN_GUIDANCE : 1;
    g->batch = !told && g->guidance > 1 ? 2 : 1;
    if (o->negative && told)
        return ltn__fail(g->ctx, LTN_EINVAL, "this model takes its guidance as an input and no negative prompt");
    if (o->negative && g->batch < 2) return ltn__fail(g->ctx, LTN_EINVAL, "a negative prompt needs guidance above 1");
    return LTN_OK;
}

static ltn_status check_size(generator *g)
{
    const ltn_generation *o = g->o;
    const int side = g->m->sample_size * g->m->factor;
    const int64_t f = g->m->factor, unit = ltn__unet_factor(g->m) * f;
    g->size = (ltn_size){o->width ? o->width : o->image ? o->image->width : side,
                         o->height ? o->height : o->image ? o->image->height : side, 3};
    if (g->size.width < 1 || g->size.height < 1 || g->size.width > 1 << 15 || g->size.height > 1 << 15)
        return ltn__fail(g->ctx, LTN_EINVAL, "a picture cannot be %d x %d", (int)g->size.width, (int)g->size.height);
    g->h = (g->size.height + unit - 1) / unit * unit / f;
    g->w = (g->size.width + unit - 1) / unit * unit / f;
    g->n = (size_t)(g->h * g->w * g->m->latent_channels);
    return LTN_OK;
}

/* ---- What the walk needs ---- */

static ltn_status open_walk(generator *g)
{
    const ltn_generation *o = g->o;
    const ltn_schedule *schedule = &g->m->schedule;
    if (o->sampler) {
        const ltn_status s = ltn__schedule_with(g->ctx, schedule, o->sampler, &g->own);
        if (s) return s;
        schedule = &g->own;
    }
    if (o->strength && !o->image) return ltn__fail(g->ctx, LTN_EINVAL, "strength needs a picture to begin with");
    const double strength = !o->image ? 1 : o->strength ? o->strength : 0.8;
    return ltn__sampler_open(g->ctx, schedule, o->steps ? o->steps : 8, strength, g->n, &g->walk);
}

static ltn_status open_texts(generator *g)
{
    const char *prompt = g->o->prompt ? g->o->prompt : "";
    if (g->m->pixels && !prompt[0] && g->batch < 2) return LTN_OK;
    ltn_status s = ltn_model_text(g->m, prompt, &g->text[0]);
    if (s || g->batch < 2) return s;
    return g->o->negative ? ltn_model_text(g->m, g->o->negative, &g->text[1]) : ltn__model_empty(g->m, &g->text[1]);
}

/* All that the UNet is told but latents and time. */
static ltn_status open_unet(generator *g)
{
    const ltn_status s = ltn__model_part(g->m, LTN_UNET, g->batch, g->h, g->w, &g->unet);
    if (s) return s;
    ltn_plan *plan = g->unet->plan;
    const size_t text = (size_t)g->m->text_length * (size_t)g->m->text_width;
    float *place = ltn__plan_data(plan, "place");
    const int64_t f = g->m->factor, whole[6] = {g->h * f, g->w * f, 0, 0, g->h * f, g->w * f};
    for (int b = 0; b < g->batch; b++) {
        if (text) memcpy(ltn__plan_data(plan, "text") + (size_t)b * text, g->text[b].data, text * sizeof(float));
        if (place) ltn__place_sinusoids(g->m, whole, place + b * ltn__plan_dims(plan, "place").d[3]);
    }
    ltn__tell_guidance(plan, g->guidance);
    return LTN_OK;
}

/* The draw of step k: the caller's, or from the seed. */
static void draw(const generator *g, int k, float *noise)
{
    const ltn_array *a = g->o->noise;
    if (a && k < a->dim[0]) ltn__to_last(a->data + (size_t)k * g->n, noise, 1, a->dim[1], a->dim[2] * a->dim[3]);
    else ltn__normals((ltn_rng){g->o->seed, LTN_STREAM_SOLVER + (uint64_t)k}, 0, noise, g->n);
}

static ltn_status check_noise(const generator *g)
{
    const ltn_array *a = g->o->noise;
    if (!a || (a->rank == 4 && a->dim[0] > 0 && a->dim[1] == g->m->latent_channels && a->dim[2] == g->h &&
               a->dim[3] == g->w))
        return LTN_OK;
    return ltn__fail(g->ctx, LTN_ESHAPE, "the noise must be draws of %d x %d x %d", g->m->latent_channels, (int)g->h,
                     (int)g->w);
}

/* ---- The picture that it begins with ---- */

/* Red, green and blue, or grey; alpha is left out. */
static ltn_status encode_image(generator *g)
{
    const ltn_image *x = g->o->image;
    const int64_t f = g->m->factor;
    const ltn_size seen = {g->size.width, g->size.height, x->channels < 3 ? 1 : 3};
    ltn_part *encode;
    ltn_status s;
    if (x->channels < 1 || x->channels > 4 || x->width < 1 || x->height < 1)
        return ltn__fail(g->ctx, LTN_ESHAPE, "a picture of %d x %d with %d channels is no beginning", x->width,
                         x->height, x->channels);
    if ((s = ltn_image_resize(g->ctx, x, (int)seen.width, (int)seen.height, &g->image))) return s;
    const size_t count = ltn__size_count(seen);
    for (size_t i = 0; i < count; i++) g->image.data[i] = 2 * g->image.data[i] - 1;
    if ((s = ltn__model_coder(g->m, LTN_ENCODE, g->h * f, g->w * f, &encode))) return s;
    ltn__to_canvas(g->image.data, seen, g->h * f, g->w * f, ltn__coder_data(encode, "picture"));
    if (!(s = ltn__coder_run(g->m, encode))) memcpy(g->clean, ltn__coder_data(encode, "out"), g->n * sizeof *g->clean);
    return s;
}

/* ---- The walk ---- */

/* The network's output for z at t. */
static void ask(generator *g, double t)
{
    ltn_plan *plan = g->unet->plan;
    const int width = ltn__time_width(g->m);
    for (int b = 0; b < g->batch; b++) {
        memcpy(ltn__plan_data(plan, "sample") + (size_t)b * g->n, g->z, g->n * sizeof *g->z);
        ltn__time_sinusoid(g->m, t, ltn__plan_data(plan, "time") + b * width);
    }
    ltn__plan_run(plan);
    const float *with = ltn__plan_data(plan, "out"), *without = with + g->n, w = (float)g->guidance;
    if (g->batch == 1) memcpy(g->net, with, g->n * sizeof *g->net);
    else for (size_t i = 0; i < g->n; i++) g->net[i] = without[i] + w * (with[i] - without[i]);
}

static ltn_status walk(generator *g)
{
    ltn_sampler *s = g->walk;
    const ltn_status e = g->o->image ? encode_image(g) : LTN_OK;
    if (e) return e;
    draw(g, 0, g->noise);
    ltn__sampler_start(s, g->o->image ? g->clean : NULL, g->noise, g->z);
    while (ltn__sampler_left(s)) {
        ask(g, s->t[s->k]);
        if (s->draws) draw(g, s->k + 1, g->noise);
        ltn__sampler_step(s, g->net, g->noise, g->z);
    }
    return LTN_OK;
}

static ltn_status decode(generator *g, ltn_image *out)
{
    ltn_part *decode;
    ltn_status s = ltn__model_coder(g->m, LTN_DECODE, g->h, g->w, &decode);
    if (s || (s = ltn_image_new(g->ctx, (int)g->size.width, (int)g->size.height, 3, NULL, out))) return s;
    memcpy(ltn__coder_data(decode, "latent"), g->z, g->n * sizeof *g->z);
    if ((s = ltn__coder_run(g->m, decode))) return s;
    ltn__from_canvas(ltn__coder_data(decode, "out"), g->w * g->m->factor, g->size, out->data);
    for (size_t i = 0; i < ltn__size_count(g->size); i++) out->data[i] = (out->data[i] + 1) / 2;
    return LTN_OK;
}

static void close(generator *g)
{
    float *const room[] = {g->z, g->noise, g->net, g->clean};
    for (int i = 0; i < LTN_COUNT(room); i++) ltn__free(g->ctx, room[i]);
    for (int b = 0; b < 2; b++) ltn_array_free(g->ctx, &g->text[b]);
    ltn_image_free(g->ctx, &g->image);
    ltn__sampler_close(&g->walk);
    ltn__schedule_free(g->ctx, &g->own);
}

ltn_status ltn_generate(ltn_ctx *ctx, const ltn_generation *o, ltn_image *out)
{
    generator g = {.ctx = ctx, .o = o, .m = o->model};
    float **const room[] = {&g.z, &g.noise, &g.net, &g.clean};
    ltn_status s;
    *out = (ltn_image){0};
    if (!o->model) return ltn__fail(ctx, LTN_EINVAL, "generating needs a model");
    if ((s = check_guidance(&g)) || (s = check_size(&g)) || (s = check_noise(&g)) || (s = open_walk(&g)) ||
        (s = ltn__alloc_each(ctx, g.n, room, LTN_COUNT(room))) || (s = open_texts(&g)) || (s = open_unet(&g)) ||
        (s = walk(&g)) || (s = decode(&g, out)))
        ltn_image_free(ctx, out);
    close(&g);
    return s;
}
