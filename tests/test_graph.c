/* test_graph.c - the graph, its plan and its kernels: every row's examples on every kernel there is for them,
 * fused against plain, any number of threads, any failing allocation. */
#include "graph/graph.h"

#include "test.h"

enum { GUARD = 64 };

static ltn_ctx *open_context(const ltn_options *opt)
{
    ltn_ctx *ctx = NULL;
    if (ltn_open(&ctx, opt)) abort();
    return ctx;
}

static bool starts(const char *s, const char *with)
{
    return !strncmp(s, with, strlen(with));
}

/* As ltn_op.example asks for. */
static void fill(real *x, int64_t n, const char *name, uint64_t stream)
{
    const ltn_rng r = {7, stream};
    for (int64_t i = 0; i < n; i++) {
        if (starts(name, "ids")) x[i] = (real)(i % 3);
        else
            x[i] = (real)(starts(name, "positive") ? 0.5 + ltn__uniform(r, (uint64_t)i)
                                                   : ltn__normal(r, (uint64_t)i));
    }
}

static void fill_inputs(ltn_graph *g, ltn_plan *p)
{
    for (int i = 0; i < ltn__graph_size(g); i++) {
        const ltn_node *n = ltn__graph_node(g, i);
        if (n->input) fill(ltn__plan_data(p, n->input), ltn__count(n->dims), n->input, (uint64_t)i);
    }
}

/* ---- Kernels by themselves: exact arrays between guards, results and scratch full of NaN ---- */

typedef struct guarded {
    real *block, *data;
    size_t n;
} guarded;

static guarded guarded_new(size_t n)
{
    guarded a = {.n = (n + 15) / 16 * 16};
    a.block = aligned_alloc(64, (a.n + 2 * GUARD) * sizeof(real));
    a.data = a.block + GUARD;
    for (size_t i = 0; i < a.n + 2 * GUARD; i++) a.block[i] = NAN;
    for (size_t i = 0; i < GUARD; i++) a.block[i] = a.block[GUARD + a.n + i] = 12345;
    a.n = n;
    return a;
}

static void guarded_free(guarded *a)
{
    const size_t end = (a->n + 15) / 16 * 16;
    for (size_t i = 0; i < GUARD; i++) CHECK(a->block[i] == 12345 && a->data[end + i] == 12345);
    for (size_t i = a->n; i < end; i++) CHECK(isnan(a->data[i]));
    free(a->block);
}

typedef struct bench {
    guarded src[LTN_MAXSRC + 1], dst;
    const real *data[LTN_MAXSRC + 1];
} bench;

static bench bench_new(const ltn_node *n)
{
    bench b = {.dst = guarded_new((size_t)ltn__count(n->dims))};
    for (int k = 0; k <= n->nsrc; k++) {
        const ltn_node *s = k < n->nsrc ? n->src[k] : n; /* the last one is the residual */
        if (!s) continue;
        b.src[k] = guarded_new((size_t)ltn__count(s->dims));
        fill(b.src[k].data, ltn__count(s->dims), s->input ? s->input : "residual", (uint64_t)k);
        b.data[k] = b.src[k].data;
    }
    return b;
}

static void bench_free(bench *b)
{
    for (int k = 0; k <= LTN_MAXSRC; k++)
        if (b->src[k].block) guarded_free(&b->src[k]);
    guarded_free(&b->dst);
}

/* The result of the reference, then of what `f` adds. */
static bench run_reference(const ltn_node *n, int threads, bool inplace)
{
    bench b = bench_new(n);
    guarded scratch = guarded_new((n->op->scratch ? n->op->scratch(n, threads) : 0) / sizeof(real));
    if (inplace) {
        memcpy(b.dst.data, b.data[0], b.dst.n * sizeof(real));
        b.data[0] = b.dst.data;
    }
    n->op->run(n, b.data, b.dst.data, scratch.data, threads);
    guarded_free(&scratch);
    return b;
}

static void apply(const ltn_fusion *f, bench *b, int nsrc)
{
    for (size_t i = 0; i < b->dst.n; i++) {
        double y = b->dst.data[i];
        const double r = f->residual ? b->data[nsrc][i] : 0;
        if (!f->before) y += r;
        if (f->activation == &ltn__op_relu) y = y > 0 ? y : 0;
        if (f->activation == &ltn__op_silu) y = y / (1 + exp(-y));
        b->dst.data[i] = (real)(f->before ? y + r : y);
    }
}

/* Runs the cell with its residual elsewhere, and with it in the result's memory. False: it does not fit. */
static bool check_cell(ltn_ctx *ctx, const ltn_cell *cell, ltn_node *n, const ltn_fusion *f, int threads,
                       const bench *expected)
{
    ltn_kernel kernel = {0};
    const ltn_status status = cell->open(ctx, n, f, threads, &kernel);
    if (status) {
        CHECK(status == LTN_DONE);
        return false;
    }
    for (int shared = 0; shared <= (f->residual != NULL); shared++) {
        bench b = bench_new(n);
        guarded scratch = guarded_new((kernel.scratch + sizeof(real) - 1) / sizeof(real));
        if (shared) {
            memcpy(b.dst.data, b.data[n->nsrc], b.dst.n * sizeof(real));
            b.data[n->nsrc] = b.dst.data;
        }
        for (int k = 0; k < n->nsrc; k++)
            if (kernel.packed >> k & 1) b.data[k] = NULL;
        cell->run(kernel.state, b.data, b.dst.data, scratch.data);
        NEAR(test_error(b.dst.data, expected->dst.data, b.dst.n), 0, 2e-5);
        guarded_free(&scratch);
        bench_free(&b);
    }
    cell->close(ctx, kernel.state);
    return true;
}

/* Every case of a row: `each` gets its node. */
static void each_example(ltn_ctx *ctx, const ltn_op *op, void each(ltn_ctx *, ltn_graph *, ltn_node *))
{
    for (int k = 0;; k++) {
        ltn_graph *g = NULL;
        OK(ctx, ltn__graph_open(ctx, &g));
        ltn_node *n = op->example(g, k);
        test_name("%s %d", op->entry.name, k);
        if (n) OK(ctx, ltn__graph_status(g));
        if (n && !ltn__graph_status(g)) each(ctx, g, n);
        ltn__graph_close(&g);
        if (!n) return;
    }
}

static void each_row(void each(ltn_ctx *, ltn_graph *, ltn_node *))
{
    ltn_ctx *ctx = open_context(NULL);
    const ltn_op *op;
    for (int i = 0; (op = ltn__op(i)); i++) {
        CHECK(op->example && op->entry.help && (op->vjp || op->decompose));
        each_example(ctx, op, each);
    }
    ltn_close(&ctx);
}

static void check_reference(ltn_ctx *ctx, ltn_graph *g, ltn_node *n)
{
    if (n->op->alias) return;
    bench one = run_reference(n, 1, false), three = run_reference(n, 3, false);
    for (size_t i = 0; i < one.dst.n; i++) CHECK(isfinite(one.dst.data[i]));
    CHECK(!memcmp(one.dst.data, three.dst.data, one.dst.n * sizeof(real)));
    if (n->op->inplace && ltn__same_dims(n->dims, n->src[0]->dims)) {
        bench same = run_reference(n, 2, true);
        CHECK(!memcmp(one.dst.data, same.dst.data, one.dst.n * sizeof(real)));
        bench_free(&same);
    }
    bench_free(&one);
    bench_free(&three);
}

/* The reference stays inside its arrays, fills them, and computes the same with any number of threads and in
 * place. */
TEST(reference_kernels)
{
    each_row(check_reference);
}

static int fits[32]; /* how often each cell took a node */

/* As an input, the second source (of gather the first) is packed in each run; as a weight, once or not at all. */
static void check_cells(ltn_ctx *ctx, ltn_graph *g, ltn_node *n)
{
    const ltn_fusion plain = {.result = n};
    const ltn_fusion fusions[] = {plain,
                                  {NULL, &ltn__op_relu, false, n},
                                  {NULL, &ltn__op_silu, true, n},
                                  {n, NULL, false, n},
                                  {n, &ltn__op_relu, false, n},
                                  {n, &ltn__op_silu, false, n},
                                  {n, &ltn__op_relu, true, n}};
    bench weights = bench_new(n);
    ltn_weight w = {.name = "w", .dtype = LTN_F32, .rank = 4};
    const ltn_cell *cell;
    const int table = n->op == &ltn__op_gather ? 0 : 1;
    ltn_node *leaf_of = n->nsrc > table && n->op != &ltn__op_group_norm ? n->src[table] : NULL;
    for (int i = 0; (cell = ltn__cell(i)); i++)
        for (int k = 0; cell->op == n->op && k < LTN_COUNT(fusions); k++) {
            bench expected = run_reference(n, 1, false);
            apply(&fusions[k], &expected, n->nsrc);
            for (int leaf = 0; leaf <= (leaf_of != NULL); leaf++)
                for (int threads = 1; threads <= 2; threads++) {
                    if (leaf) {
                        memcpy(w.dim, leaf_of->dims.d, sizeof w.dim);
                        w.data = weights.data[table];
                        leaf_of->weight = &w;
                    }
                    fits[i] += check_cell(ctx, cell, n, &fusions[k], threads, &expected);
                }
            if (leaf_of) leaf_of->weight = NULL;
            bench_free(&expected);
        }
    ltn__weight_free(ctx, &w);
    bench_free(&weights);
}

/* Each backend's kernel against the reference, plain and with everything that may be fused behind it. */
TEST(cells)
{
    each_row(check_cells);
    for (int i = 0; ltn__cell(i); i++) {
        test_name("%s", ltn__cell(i)->name);
        CHECK(fits[i] > 0);
    }
}

/* ---- Whole plans ---- */

static void run_plan(ltn_graph *g, const ltn_plan_options *opt, float *out, size_t *bytes)
{
    ltn_ctx *ctx = ltn__graph_ctx(g);
    ltn_plan *p = NULL;
    OK(ctx, ltn__plan_open(g, opt, &p));
    if (!p) return;
    for (int again = 0; again < 2; again++) { /* the second run finds the first one's leavings */
        fill_inputs(g, p);
        ltn__plan_run(p);
    }
    memcpy(out, ltn__plan_data(p, "y"), (size_t)ltn__count(ltn__plan_dims(p, "y")) * sizeof *out);
    if (bytes) *bytes = ltn__plan_bytes(p);
    ltn__plan_close(&p);
    CHECK(!p);
}

/* The default plan, with one and with two threads, against the reference's. */
static void compare_plans(ltn_graph *g, ltn_node *y, double tolerance)
{
    const size_t n = (size_t)ltn__count(y->dims);
    float *expected = malloc(n * sizeof *expected), *got = malloc(n * sizeof *got);
    ltn__output(g, "y", y);
    run_plan(g, &(ltn_plan_options){.reference = true, .threads = 1}, expected, NULL);
    for (int threads = 1; threads <= 2; threads++) {
        run_plan(g, &(ltn_plan_options){.threads = threads}, got, NULL);
        NEAR(test_error(got, expected, n), 0, tolerance);
    }
    free(expected);
    free(got);
}

static void check_plan(ltn_ctx *ctx, ltn_graph *g, ltn_node *n)
{
    compare_plans(g, n, 2e-5);
}

TEST(plans_of_examples)
{
    each_row(check_plan);
}

/* A weight of normal numbers. */
typedef struct weights {
    ltn_weight w[8];
    int count;
} weights;

static ltn_node *weight(ltn_graph *g, weights *all, ltn_dims dims)
{
    ltn_weight *w = &all->w[all->count++];
    const int64_t n = ltn__count(dims);
    float *data = malloc((size_t)n * sizeof *data);
    ltn__normals((ltn_rng){3, (uint64_t)all->count}, 0, data, (size_t)n);
    for (int64_t i = 0; i < n; i++) data[i] *= 0.1f;
    *w = (ltn_weight){.name = "w", .dtype = LTN_F32, .rank = 4, .data = data};
    memcpy(w->dim, dims.d, sizeof w->dim);
    return ltn__weight_node(g, w);
}

static void weights_free(ltn_ctx *ctx, weights *all)
{
    for (int k = 0; k < all->count; k++) {
        ltn__weight_free(ctx, &all->w[k]);
        free((void *)all->w[k].data);
    }
    all->count = 0;
}

static ltn_node *conv(ltn_graph *g, weights *all, ltn_node *x)
{
    const int64_t c = x->dims.d[3];
    ltn_node *w = weight(g, all, ltn__dims(c, c, 3, 3)), *bias = weight(g, all, ltn__dims(1, 1, 1, c));
    return ltn__conv2d(g, x, w, bias, 1, 1, 1, 1, 1);
}

static ltn_node *dense(ltn_graph *g, weights *all, ltn_node *x)
{
    return ltn__linear(g, x, weight(g, all, ltn__dims(1, 1, x->dims.d[3], x->dims.d[3])), NULL);
}

/* Chains that the pattern table knows, and ones that it must leave alone. */
static ltn_node *fusable(ltn_graph *g, weights *all, int k)
{
    ltn_node *x = ltn__input(g, "x", ltn__dims(2, 9, 8, 16)), *y = ltn__input(g, "z", x->dims), *h, *c;
    switch (k) {
    case 0: return ltn__relu(g, conv(g, all, x));
    case 1: return ltn__relu(g, ltn__add(g, conv(g, all, x), y));
    case 2: return ltn__add(g, ltn__silu(g, conv(g, all, x)), ltn__silu(g, y));
    case 3: return ltn__relu(g, ltn__add(g, x, conv(g, all, x)));
    case 4: h = ltn__silu(g, x); return ltn__add(g, conv(g, all, h), h);
    case 5:
        h = ltn__silu(g, x);
        c = ltn__add(g, h, conv(g, all, h));
        return ltn__mul(g, c, h); /* h lives on */
    case 6: c = conv(g, all, x); return ltn__add(g, ltn__relu(g, c), c); /* two readers */
    case 7: c = conv(g, all, x); return ltn__add(g, c, c);
    case 8: c = ltn__output(g, "inner", conv(g, all, x)); return ltn__relu(g, c);
    case 9: return ltn__silu(g, ltn__add(g, dense(g, all, x), ltn__relu(g, y)));
    case 10: return ltn__add(g, conv(g, all, x), ltn__input(g, "t", ltn__dims(2, 1, 1, 16))); /* broadcast */
    case 11: c = conv(g, all, x); return ltn__add(g, c, dense(g, all, ltn__silu(g, c)));
    case 12: return conv(g, all, ltn__silu(g, ltn__group_norm(g, x, NULL, NULL, 4, 1e-5)));
    case 13:
        c = ltn__add(g, conv(g, all, x), y);
        return ltn__reshape(g, ltn__relu(g, ltn__add(g, c, x)), ltn__dims(1, 2, 72, 16));
    case 14:
        h = ltn__reshape(g, ltn__silu(g, x), ltn__dims(1, 18, 8, 16));
        return ltn__add(g, ltn__relu(g, h), h);
    case 15:
        h = dense(g, all, x);
        ltn__grad(g, h, y, &x, 1, &c);
        return ltn__add(g, h, c); /* one weight, read both ways */
    default: return NULL;
    }
}

TEST(fusions)
{
    ltn_ctx *ctx = open_context(NULL);
    for (int k = 0;; k++) {
        weights all = {.count = 0};
        ltn_graph *g = NULL;
        OK(ctx, ltn__graph_open(ctx, &g));
        ltn_node *y = fusable(g, &all, k);
        test_name("chain %d", k);
        if (y) compare_plans(g, y, 2e-5);
        ltn__graph_close(&g);
        weights_free(ctx, &all);
        if (!y) break;
    }
    ltn_close(&ctx);
}

/* A link of a chain that is an output is computed for itself. */
TEST(outputs_inside_chains)
{
    ltn_ctx *ctx = open_context(NULL);
    weights all = {.count = 0};
    ltn_graph *g = NULL;
    ltn_plan *p = NULL;
    OK(ctx, ltn__graph_open(ctx, &g));
    ltn_node *x = ltn__input(g, "x", ltn__dims(1, 9, 8, 16)),
             *inner = ltn__output(g, "inner", conv(g, &all, x));
    ltn__output(g, "y", ltn__relu(g, inner));
    OK(ctx, ltn__plan_open(g, NULL, &p));
    fill_inputs(g, p);
    ltn__plan_run(p);
    const real *a = ltn__plan_data(p, "inner"), *y = ltn__plan_data(p, "y");
    bool negative = false;
    for (int i = 0; i < 9 * 8 * 16; i++) {
        CHECK(y[i] == (a[i] > 0 ? a[i] : 0));
        negative |= a[i] < 0;
    }
    CHECK(negative);
    ltn__plan_close(&p);
    ltn__graph_close(&g);
    weights_free(ctx, &all);
    ltn_close(&ctx);
}

/* A random graph of elementwise operations: reusing memory changes nothing against every value having its
 * own. */
static ltn_node *tangle(ltn_graph *g, uint64_t seed, bool keep_all)
{
    enum { COUNT = 60 };
    const ltn_dims dims = ltn__dims(1, 3, 5, 7), wide = ltn__dims(1, 1, 15, 7);
    const ltn_rng r = {seed, 0};
    ltn_node *n[COUNT] = {ltn__input(g, "a", dims), ltn__input(g, "b", dims)};
    for (int i = 2; i < COUNT; i++) {
        ltn_node *a = n[i - 1 - (int)(ltn__uniform(r, 3 * (uint64_t)i) * LTN_MIN(i, 9))];
        ltn_node *b = n[i - 1 - (int)(ltn__uniform(r, 3 * (uint64_t)i + 1) * LTN_MIN(i, 9))];
        const int kind = (int)(ltn__uniform(r, 3 * (uint64_t)i + 2) * 5);
        if (kind == 0) n[i] = ltn__reshape(g, ltn__affine(g, ltn__reshape(g, a, wide), 0.5, 0.25), dims);
        else if (kind == 1) n[i] = ltn__tanh(g, a);
        else if (kind == 2) n[i] = ltn__mul(g, ltn__tanh(g, a), b);
        else n[i] = ltn__add(g, a, ltn__affine(g, b, -0.5, 0));
    }
    if (keep_all)
        for (int i = 0, count = ltn__graph_size(g); i < count; i++)
            if (ltn__graph_node(g, i)->op && ltn__graph_node(g, i) != n[COUNT - 1])
                ltn__output(g, "kept", ltn__graph_node(g, i));
    return n[COUNT - 1];
}

TEST(memory_is_reused_safely)
{
    ltn_ctx *ctx = open_context(NULL);
    for (uint64_t seed = 0; seed < 40; seed++) {
        float y[2][105];
        size_t bytes[2];
        for (int keep = 0; keep < 2; keep++) {
            ltn_graph *g = NULL;
            OK(ctx, ltn__graph_open(ctx, &g));
            ltn__output(g, "y", tangle(g, seed, keep));
            run_plan(g, NULL, y[keep], &bytes[keep]);
            ltn__graph_close(&g);
        }
        test_name("seed %d", (int)seed);
        CHECK(!memcmp(y[0], y[1], sizeof y[0]));
        CHECK(3 * bytes[0] < bytes[1]);
    }
    ltn_close(&ctx);
}

/* A chain in place needs the input's buffer and one more. */
TEST(chain_takes_two_buffers)
{
    ltn_ctx *ctx = open_context(NULL);
    ltn_graph *g = NULL;
    OK(ctx, ltn__graph_open(ctx, &g));
    ltn_node *x = ltn__input(g, "x", ltn__dims(1, 1, 1, 64));
    for (int i = 0; i < 20; i++) x = ltn__silu(g, x);
    ltn__output(g, "y", x);
    ltn_plan *p = NULL;
    OK(ctx, ltn__plan_open(g, NULL, &p));
    CHECK(ltn__plan_bytes(p) == 2 * 64 * sizeof(real));
    ltn__plan_close(&p);
    ltn__graph_close(&g);
    ltn_close(&ctx);
}

/* ---- Weights ---- */

TEST(weights_are_widened)
{
    ltn_ctx *ctx = open_context(NULL);
    static const uint16_t half[] = {0x3c00, 0xc000, 0x0001, 0x83ff, 0x7bff, 0x0000, 0x7c00, 0x3555};
    static const double as_half[] = {1, -2, 0x1p-24, -0x3ffp-24, 65504, 0, INFINITY, 0.333251953125};
    static const uint16_t brain[] = {0x3f80, 0xc040, 0x0001, 0x7f7f};
    static const double as_brain[] = {1, -3, 0x1p-133, 0x1.fep127};
    ltn_weight h = {.name = "h", .dtype = LTN_F16, .rank = 1, .dim = {8}, .data = half};
    ltn_weight b = {.name = "b", .dtype = LTN_BF16, .rank = 1, .dim = {4}, .data = brain};
    const real *x = ltn__weight_real(ctx, &h), *y = ltn__weight_real(ctx, &b);
    for (int i = 0; i < 8; i++) CHECK((double)x[i] == as_half[i]);
    for (int i = 0; i < 4; i++) CHECK((double)y[i] == as_brain[i]);
    CHECK(ltn__weight_real(ctx, &h) == x && ltn__weight_copy(&h, "real") == x &&
          !ltn__weight_copy(&h, "other"));
    char bytes[17];
    const float single = 0.7f;
    const double twice = 0.3;
    memcpy(bytes + 1, &single, 4);
    memcpy(bytes + 5, &twice, 8);
    ltn_weight s = {
        .name = "s", .dtype = LTN_F32, .rank = 1, .dim = {1}, .data = bytes + 1}; /* not aligned */
    ltn_weight d = {.name = "d", .dtype = LTN_F64, .rank = 1, .dim = {1}, .data = bytes + 5};
    CHECK(*ltn__weight_real(ctx, &s) == single && *ltn__weight_real(ctx, &d) == (real)twice);
    ltn_weight *const all[] = {&h, &b, &s, &d};
    for (int i = 0; i < 4; i++) ltn__weight_free(ctx, all[i]);
    CHECK(!h.copies);
    ltn_close(&ctx);
}

/* IEEE 754 binary16 by its definition, all of them: by the processor's instruction and by whole numbers (the odd
 * rest). */
TEST(all_halves)
{
    enum { ALL = 1 << 16 };
    ltn_ctx *ctx = open_context(NULL);
    uint16_t *half = ltn__alloc(ctx, ALL, sizeof *half);
    real *x = ltn__alloc(ctx, ALL, sizeof *x);
    for (int i = 0; i < ALL; i++) half[i] = (uint16_t)i;
    const ltn_weight w = {.name = "w", .dtype = LTN_F16, .rank = 1, .dim = {ALL}, .data = half};
    for (int run = 0; run < 2; run++) {
        if (!run) ltn__weight_widen(&w, 0, ALL, x);
        for (int i = 0; i < ALL && run; i++) ltn__weight_widen(&w, i, 1, x + i);
        int wrong = 0;
        for (int i = 0; i < ALL; i++) {
            const int exponent = i >> 10 & 31, fraction = i & 1023;
            const double size = !exponent        ? ldexp(fraction, -24)
                                : exponent == 31 ? (fraction ? NAN : INFINITY)
                                                 : ldexp(1024 + fraction, exponent - 25);
            const double want = i >> 15 ? -size : size;
            wrong += isnan(want) ? !isnan((double)x[i]) : (double)x[i] != want;
        }
        CHECK(!wrong);
    }
    ltn__free(ctx, half);
    ltn__free(ctx, x);
    ltn_close(&ctx);
}

/* ---- Errors ---- */

TEST(first_error_stays)
{
    ltn_ctx *ctx = open_context(NULL);
    ltn_graph *g = NULL;
    ltn_plan *p = NULL;
    OK(ctx, ltn__graph_open(ctx, &g));
    ltn_node *x = ltn__input(g, "x", ltn__dims(1, 4, 4, 3));
    ltn_node *w = ltn__input(g, "w", ltn__dims(8, 5, 3, 3));
    ltn_node *y = ltn__conv2d(g, x, w, NULL, 1, 1, 1, 1, 1);
    y = ltn__matmul(g, ltn__linear(g, y, w, NULL), x, false, false);
    ltn__graph_fail(g, LTN_EIO, "another");
    ltn__output(g, "y", ltn__attention(g, y, y, y, 7, false));
    CHECK(ltn__plan_open(g, NULL, &p) == LTN_ESHAPE);
    CHECK(!p && !strcmp(ltn_error(ctx), "conv2d: 3 channels into weights for 5"));
    ltn__graph_close(&g);
    OK(ctx, ltn__graph_open(ctx, &g));
    ltn__conv2d(g, ltn__input(g, "x", ltn__dims(1, 2, 2, 3)), ltn__input(g, "w", ltn__dims(8, 3, 5, 5)), NULL,
                1, 0, 0, 0, 0);
    CHECK(ltn__graph_status(g) == LTN_ESHAPE); /* no pixel is left */
    ltn__graph_close(&g);
    ltn_close(&ctx);
}

/* Builds, differentiates, plans and runs. */
static ltn_status whole_life(ltn_ctx *ctx, weights *all)
{
    ltn_graph *g = NULL;
    ltn_plan *p = NULL;
    ltn_status s = ltn__graph_open(ctx, &g);
    if (s) return s;
    ltn_node *x = ltn__input(g, "x", ltn__dims(1, 4, 4, 8)), *grad = NULL;
    ltn_node *y =
        ltn__relu(g, ltn__add(g, x, conv(g, all, ltn__silu(g, ltn__group_norm(g, x, NULL, NULL, 2, 1e-5)))));
    y = ltn__reshape(g, dense(g, all, y), ltn__dims(1, 1, 16, 8));
    y = ltn__attention(g, y, y, y, 2, true);
    s = ltn__grad(g, y, y, &x, 1, &grad);
    if (!s) {
        ltn__output(g, "y", y);
        ltn__output(g, "dx", grad);
        s = ltn__plan_open(g, &(ltn_plan_options){.threads = 1}, &p);
    }
    if (!s) {
        fill_inputs(g, p);
        ltn__plan_run(p);
        CHECK(isfinite(ltn__plan_data(p, "dx")[0]));
    }
    ltn__plan_close(&p);
    ltn__graph_close(&g);
    return s;
}

TEST(every_allocation_fails_once)
{
    ltn_status s = LTN_ENOMEM;
    for (long k = 1; s && k < 2000; k++) {
        test_memory m = {0};
        const ltn_options opt = test_options(&m);
        ltn_ctx *ctx = open_context(&opt);
        weights all = {.count = 0};
        m.fail_at = m.calls + k;
        s = whole_life(ctx, &all);
        test_name("allocation %ld", k);
        CHECK(s == LTN_OK || s == LTN_ENOMEM);
        m.fail_at = 0;
        weights_free(ctx, &all);
        ltn_close(&ctx);
        CHECK(m.alive == 0);
    }
    CHECK(s == LTN_OK);
}
