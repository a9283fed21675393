/* test_stripes.c - autoencoders in stripes against the same graph in one plan: every height of stripes, odd
 * sizes, and memory so small that values are rounded or made again. */
#include "recipe.h"

#include "graph/store.h"

typedef struct coder {
    ltn_ctx *ctx;
    ltn_arena arena;
    ltn_tensors *tensors;
    ltn_json *config;
    const char *arch;
    uint8_t *bytes;
    test_memory memory;
} coder;

static void coder_open(coder *c, const char *names, const char *arch, int threads)
{
    size_t size;
    *c = (coder){.arch = arch};
    ltn_options opt = test_options(&c->memory);
    opt.threads = threads;
    OK(NULL, ltn_open(&c->ctx, &opt));
    c->arena.ctx = c->ctx;
    if (names) {
        c->bytes = cook(&(recipe){.names = names}, &size);
        OK(c->ctx, ltn__tensors_parse(c->ctx, names, c->bytes, size, &c->tensors));
        OK(c->ctx, ltn__json_read(c->ctx, golden_name(names, ".json"), &c->arena, &c->config));
    } else {
        OK(c->ctx, ltn__tensors_open(c->ctx, PRIOR "/vae/diffusion_pytorch_model.safetensors", &c->tensors));
        OK(c->ctx, ltn__json_read(c->ctx, PRIOR "/vae/config.json", &c->arena, &c->config));
    }
}

static void coder_close(coder *c)
{
    ltn__tensors_close(&c->tensors);
    ltn__arena_free(&c->arena);
    ltn_close(&c->ctx);
    CHECK(c->memory.alive == 0);
    free(c->bytes);
}

static ltn_graph *graph_of(coder *c, ltn_part_kind part, int64_t h, int64_t w)
{
    ltn_graph *g;
    OK(c->ctx, ltn__graph_open(c->ctx, &g));
    const ltn_nn nn = {.g = g, .w = c->tensors, .config = c->config};
    ltn__arch_row(ltn__find(ltn__arch_entry, c->arch))->build(nn, part, (ltn_part_size){1, h, w, 0});
    return g;
}

/* A picture whose statistics change from row to row, as stripes of their own statistics would notice. */
static void fill(real *x, ltn_dims s)
{
    for (int64_t i = 0; i < ltn__count(s); i++) {
        const double y = (double)(i / (s.d[2] * s.d[3])) / (double)s.d[1];
        x[i] = (real)(noise(7, (uint32_t)i) / 128. * (0.2 + y) + 0.5 * y);
    }
}

static const char *const inputs[] = {[LTN_ENCODE] = "picture", [LTN_DECODE] = "latent"};

/* What one plan gives; the caller frees it. */
static real *whole(coder *c, ltn_graph *g, const char *input, size_t *count)
{
    ltn_plan *p;
    OK(c->ctx, ltn__plan_open(g, NULL, &p));
    fill(ltn__plan_data(p, input), ltn__plan_dims(p, input));
    ltn__plan_run(p);
    *count = (size_t)ltn__count(ltn__plan_dims(p, "out"));
    real *out = malloc(*count * sizeof *out);
    memcpy(out, ltn__plan_data(p, "out"), *count * sizeof *out);
    ltn__plan_close(&p);
    return out;
}

static ltn_dims dims_of(const ltn_graph *g, const char *input)
{
    for (int i = 0; i < ltn__graph_size(g); i++)
        if (ltn__graph_node(g, i)->input && !strcmp(ltn__graph_node(g, i)->input, input))
            return ltn__graph_node(g, i)->dims;
    return ltn__dims(0, 0, 0, 0);
}

static void against(coder *c, ltn_graph *g, const char *input, const real *expected, size_t count,
                    int64_t height, size_t memory, double tolerance)
{
    ltn_stripes *s;
    OK(c->ctx, ltn__stripes_open(g, height, &s));
    for (int again = 0; again < 2 && s; again++) { /* nothing of a run may remain for the next */
        fill(ltn__stripes_data(s, input), dims_of(g, input));
        OK(c->ctx, ltn__stripes_run(s, memory));
        const double e = test_error(ltn__stripes_data(s, "out"), expected, count);
        if (!(e <= tolerance))
            test_fail(__FILE__, __LINE__, "stripes of %d rows, %zu bytes: error %.3g of the range", (int)height,
                      memory, e);
    }
    ltn__stripes_close(&s);
}

static void heights(coder *c, ltn_part_kind part, int64_t h, int64_t w)
{
    static const int rows[] = {1, 3, 5, 8, 16, 1000};
    size_t count;
    test_name("%s %s %d x %d", c->arch, inputs[part], (int)w, (int)h);
    ltn_graph *g = graph_of(c, part, h, w);
    real *expected = whole(c, g, inputs[part], &count);
    for (int k = 0; k < LTN_COUNT(rows); k++)
        against(c, g, inputs[part], expected, count, rows[k], 0, 1e-5);
    against(c, g, inputs[part], expected, count, 4, 1, 1e-5);
    free(expected);
    ltn__graph_close(&g);
}

static void all_sizes(const char *names, const char *arch)
{
    coder c;
    coder_open(&c, names, arch, 1);
    heights(&c, LTN_ENCODE, 24, 16);
    heights(&c, LTN_ENCODE, 56, 40);
    heights(&c, LTN_DECODE, 6, 5);
    heights(&c, LTN_DECODE, 13, 7);
    heights(&c, LTN_DECODE, 1, 1);
    coder_close(&c);
}

TEST(stripes_of_autoencoder_kl)
{
    all_sizes("kl", "AutoencoderKL");
    all_sizes("kl_bare", "AutoencoderKL");
}

TEST(stripes_of_autoencoder_tiny)
{
    all_sizes("tiny", "AutoencoderTiny");
    all_sizes(NULL, "AutoencoderTiny");
}

/* The bound holds for all that is allocated at once, and what does not fit is refused. */
TEST(stripes_in_little_memory)
{
    coder c;
    coder_open(&c, "kl", "AutoencoderKL", 1);
    ltn_graph *g = graph_of(&c, LTN_DECODE, 40, 32);
    size_t count;
    real *expected = whole(&c, g, "latent", &count);
    ltn_stripes *s;
    against(&c, g, "latent", expected, count, 0, 20 << 20, 1e-5);
    against(&c, g, "latent", expected, count, 0, 3 << 20, 3e-4);
    OK(c.ctx, ltn__stripes_open(g, 0, &s));
    CHECK(ltn__stripes_run(s, 100000) == LTN_ENOMEM);
    ltn__stripes_close(&s);
    free(expected);
    ltn__graph_close(&g);
    coder_close(&c);
}

/* An allocator that knows the most bytes that were out at once. */
typedef struct gauge {
    size_t now, most;
} gauge;

static void *gauge_realloc(void *user, void *p, size_t n)
{
    gauge *u = user;
    size_t *old = p ? (size_t *)p - 2 : NULL; /* two, for the alignment that malloc gives */
    if (old) u->now -= *old;
    if (!n) {
        free(old);
        return NULL;
    }
    size_t *block = realloc(old, n + 2 * sizeof *block);
    if (!block) return NULL;
    u->now += *block = n;
    u->most = u->now > u->most ? u->now : u->most;
    return block + 2;
}

/* What a context within so much memory decodes, or encodes, and the bytes it took. */
static ltn_array coded(ltn_part_kind part, const ltn_array *in, size_t memory, size_t *most)
{
    gauge u = {0};
    ltn_ctx *ctx;
    ltn_model *m;
    ltn_array out, copy;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1, .memory = memory, .realloc = gauge_realloc, .user = &u}));
    OK(ctx, ltn_model_open(ctx, PRIOR, &m));
    OK(ctx, (part == LTN_ENCODE ? ltn_model_encode : ltn_model_decode)(m, in, &out));
    const size_t n = (size_t)(out.dim[0] * out.dim[1] * out.dim[2] * out.dim[3]);
    copy = out;
    copy.data = malloc(n * sizeof *copy.data);
    memcpy(copy.data, out.data, n * sizeof *copy.data);
    ltn_array_free(ctx, &out);
    ltn_model_close(&m);
    ltn_close(&ctx);
    CHECK(u.now == 0);
    *most = u.most;
    return copy;
}

TEST(memory_of_a_context)
{
    static const struct {
        ltn_part_kind part;
        ltn_array in;
    } cases[] = {{LTN_DECODE, {.rank = 4, .dim = {2, 32, 32, 24}}}, {LTN_ENCODE, {.rank = 4, .dim = {1, 3, 256, 192}}}};
    for (int k = 0; k < LTN_COUNT(cases); k++) {
        ltn_array in = cases[k].in;
        const size_t bound = 75u << 20;
        size_t free_most, bound_most;
        in.data = values("in", (size_t)(in.dim[0] * in.dim[1] * in.dim[2] * in.dim[3]), 1);
        ltn_array a = coded(cases[k].part, &in, 0, &free_most), b = coded(cases[k].part, &in, bound, &bound_most);
        CHECK(free_most > bound_most);
        CHECK(bound_most + (48 << 20) <= bound); /* of which the program has its part */
        const double e = test_error(b.data, a.data, (size_t)(a.dim[0] * a.dim[1] * a.dim[2] * a.dim[3]));
        if (!(e <= 1e-5)) test_fail(__FILE__, __LINE__, "error %.3g of the range", e);
        free(in.data);
        free(a.data);
        free(b.data);
    }
}
