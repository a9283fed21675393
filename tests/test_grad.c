/* test_grad.c - reverse mode against differences, in double: for every case of every row of op.def, <v, J u>
 * by central differences of order six must be <J^T v, u>; then the same of the gradient itself, and of a
 * small network as a whole. */
#include "graph/graph.h"

#include "test.h"

enum { MAXINPUT = 16 };
typedef ltn_node *builder(ltn_graph *g, const void *what);

typedef struct setup {
    ltn_ctx *ctx;
    ltn_graph *g;
    ltn_plan *plan;
    ltn_node *y, *input[MAXINPUT], *grad[MAXINPUT], *again[MAXINPUT];
    int count;
    double *x[MAXINPUT], *u[MAXINPUT]; /* where, and in which direction */
} setup;

static double noise(uint64_t stream, uint64_t i)
{
    return ltn__normal((ltn_rng){7, stream}, i);
}

/* Away from 0, where relu and step have no derivative. */
static double value_for(const char *name, int input, int64_t i)
{
    if (!strncmp(name, "ids", 3)) return (double)(i % 3);
    if (!strncmp(name, "positive", 8)) return 0.5 + ltn__uniform((ltn_rng){7, (uint64_t)input}, (uint64_t)i);
    if (!strncmp(name, "apart", 5)) return 0.1 * (double)(i * 7919 % 40009);
    const double v = noise((uint64_t)input, (uint64_t)i);
    return v < 0 ? v - 0.1 : v + 0.1;
}

static bool is_ids(const ltn_node *n)
{
    return !strncmp(n->input, "ids", 3);
}

static void find_inputs(setup *s)
{
    for (int i = 0; i < ltn__graph_size(s->g); i++) {
        ltn_node *n = ltn__graph_node(s->g, i);
        if (!n->input) continue;
        const size_t size = (size_t)ltn__count(n->dims);
        const int k = s->count++;
        s->input[k] = n;
        s->x[k] = calloc(size, sizeof(double));
        s->u[k] = calloc(size, sizeof(double));
        for (size_t j = 0; j < size; j++) {
            s->x[k][j] = value_for(n->input, k, (int64_t)j);
            s->u[k][j] = is_ids(n) ? 0 : noise((uint64_t)(100 + k), j);
        }
    }
}

static void name_outputs(setup *s, const char *prefix, ltn_node **grad)
{
    char name[64];
    for (int k = 0; k < s->count; k++) {
        if (!grad[k]) continue;
        snprintf(name, sizeof name, "%s:%s", prefix, s->input[k]->input);
        grad[k] = ltn__output(s->g, name, grad[k]);
    }
}

/* y, its gradient for a cotangent, and the gradient of <gradient, w>, w being the inputs "w:...". */
static bool set_up(setup *s, ltn_options *opt, builder *build, const void *what, bool twice)
{
    *s = (setup){0};
    OK(NULL, ltn_open(&s->ctx, opt));
    OK(s->ctx, ltn__graph_open(s->ctx, &s->g));
    s->y = build(s->g, what);
    if (!s->y) return false;
    OK(s->ctx, ltn__graph_status(s->g));
    find_inputs(s);
    s->y = ltn__output(s->g, "y", s->y);
    ltn_node *v = ltn__input(s->g, "cotangent", s->y->dims), *total = NULL;
    OK(s->ctx, ltn__grad(s->g, s->y, v, s->input, s->count, s->grad));
    name_outputs(s, "grad", s->grad);
    for (int k = 0; k < s->count && twice; k++) {
        char name[64];
        if (!s->grad[k]) continue;
        snprintf(name, sizeof name, "w:%s", s->input[k]->input);
        ltn_node *w = ltn__input(s->g, name, s->grad[k]->dims);
        ltn_node *sum = ltn__sum_to(s->g, ltn__mul(s->g, s->grad[k], w), ltn__dims(1, 1, 1, 1));
        total = total ? ltn__add(s->g, total, sum) : sum;
    }
    if (total) {
        const real one = 1;
        total = ltn__output(s->g, "total", total);
        OK(s->ctx, ltn__grad(s->g, total, ltn__constant(s->g, ltn__dims(1, 1, 1, 1), &one), s->input,
                             s->count, s->again));
        name_outputs(s, "again", s->again);
    }
    OK(s->ctx, ltn__plan_open(s->g, &(ltn_plan_options){.threads = 1, .reference = true}, &s->plan));
    return s->plan != NULL;
}

static void tear_down(setup *s)
{
    for (int k = 0; k < s->count; k++) {
        free(s->x[k]);
        free(s->u[k]);
    }
    ltn__plan_close(&s->plan);
    ltn__graph_close(&s->g);
    ltn_close(&s->ctx);
}

/* Runs at x + step u. */
static void run_at(setup *s, double step)
{
    for (int i = 0; i < ltn__graph_size(s->g); i++) {
        const ltn_node *n = ltn__graph_node(s->g, i);
        if (!n->input) continue;
        real *to = ltn__plan_data(s->plan, n->input);
        int which = -1;
        for (int k = 0; k < s->count; k++)
            if (s->input[k] == n) which = k;
        for (int64_t j = 0; j < ltn__count(n->dims); j++)
            to[j] = which < 0 ? noise((uint64_t)(200 + n->input[0]), (uint64_t)j)
                              : s->x[which][j] + step * s->u[which][j];
    }
    ltn__plan_run(s->plan);
}

/* <weight, output>, and the sum of the terms' magnitudes; weight "" is 1. */
static double inner(setup *s, const char *output, const char *weight, double *magnitude)
{
    const real *y = ltn__plan_data(s->plan, output), *v = weight[0] ? ltn__plan_data(s->plan, weight) : NULL;
    const int64_t n = ltn__count(ltn__plan_dims(s->plan, output));
    double sum = 0;
    *magnitude = 0;
    for (int64_t i = 0; i < n; i++) {
        const double term = y[i] * (v ? v[i] : 1);
        sum += term;
        *magnitude += fabs(term);
    }
    return sum;
}

/* The gradients named prefix:input against differences of <weight, output>, relative to the gradients'
 * magnitude. */
static void compare(setup *s, const char *output, const char *weight, const char *prefix)
{
    static const double factor[] = {0, 45. / 60, -9. / 60, 1. / 60};
    const double h = 1e-3;
    double difference = 0, gradient = 0, scale = 0, magnitude;
    for (int k = -3; k <= 3; k++) {
        run_at(s, k * h);
        difference += (k < 0 ? -1 : 1) * factor[abs(k)] * inner(s, output, weight, &magnitude) / h;
    }
    run_at(s, 0);
    for (int k = 0; k < s->count; k++) {
        char name[64];
        snprintf(name, sizeof name, "%s:%s", prefix, s->input[k]->input);
        const real *grad = ltn__plan_data(s->plan, name);
        for (int64_t j = 0; grad && j < ltn__count(s->input[k]->dims); j++) {
            gradient += grad[j] * s->u[k][j];
            scale += fabs(grad[j] * s->u[k][j]);
        }
    }
    inner(s, output, weight, &magnitude);
    if (!(fabs(gradient - difference) <= 1e-6 * scale + 1e-10 * magnitude))
        test_fail(__FILE__, __LINE__, "%s of %s: gradient %.12g, differences %.12g, magnitude %g", prefix,
                  output, gradient, difference, scale);
}

static void check_build(builder *build, const void *what, bool twice)
{
    test_memory memory = {0};
    ltn_options opt = test_options(&memory);
    setup s;
    if (set_up(&s, &opt, build, what, twice)) {
        compare(&s, "y", "cotangent", "grad");
        if (ltn__plan_data(s.plan, "total")) compare(&s, "total", "", "again");
    }
    tear_down(&s);
    CHECK(memory.alive == 0);
}

typedef struct example {
    const ltn_op *op;
    int k;
} example;

static ltn_node *build_example(ltn_graph *g, const void *what)
{
    const example *e = what;
    return e->op->example(g, e->k);
}

static bool exists(const example *e)
{
    ltn_ctx *ctx = NULL;
    ltn_graph *g = NULL;
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, ltn__graph_open(ctx, &g));
    const bool yes = e->op->example(g, e->k) != NULL;
    ltn__graph_close(&g);
    ltn_close(&ctx);
    return yes;
}

static void check_rows(bool twice)
{
    const ltn_op *op;
    for (int i = 0; (op = ltn__op(i)); i++) {
        example e = {op, 0};
        for (; exists(&e); e.k++) {
            test_name("%s, case %d", op->entry.name, e.k);
            check_build(build_example, &e, twice);
        }
        CHECK(e.k > 0);
    }
}

TEST(gradient_of_every_operation)
{
    check_rows(false);
}

TEST(gradient_of_the_gradient_of_every_operation)
{
    check_rows(true);
}

/* Weights so small that the layers stay in their smooth range. */
static ltn_node *in(ltn_graph *g, const char *name, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return ltn__affine(g, ltn__input(g, name, ltn__dims(a, b, c, d)), 0.2, 0);
}

/* A residual block, attention of its pixels over a text, upsampling and a skip connection: x, h and k are
 * read often. */
static ltn_node *network(ltn_graph *g, const void *what)
{
    enum { C = 8 };
    ltn_node *x = in(g, "x", 1, 4, 6, C), *text = in(g, "text", 1, 1, 5, 6);
    ltn_node *h = ltn__silu(
        g, ltn__group_norm(g, x, in(g, "norm.w", 1, 1, 1, C), in(g, "norm.b", 1, 1, 1, C), 4, 1e-5));
    h = ltn__conv2d(g, h, in(g, "conv.w", C, C, 3, 3), in(g, "conv.b", 1, 1, 1, C), 1, 1, 1, 1, 1);
    h = ltn__add(g, h, ltn__linear(g, x, in(g, "skip.w", C, C, 1, 1), NULL));
    ltn_node *t = ltn__reshape(g, h, ltn__dims(1, 1, 24, C));
    ltn_node *q = ltn__layer_norm(g, t, in(g, "ln.w", 1, 1, 1, C), NULL, 1e-5);
    ltn_node *k = ltn__linear(g, text, in(g, "k.w", 1, 1, C, 6), NULL);
    t = ltn__add(g, t, ltn__attention(g, q, k, k, 2, false));
    t = ltn__add(
        g, t, ltn__geglu(g, ltn__linear(g, t, in(g, "ff.w", 1, 1, 2 * C, C), in(g, "ff.b", 1, 1, 1, 2 * C))));
    h = ltn__concat(g, ltn__reshape(g, t, ltn__dims(1, 4, 6, C)), x, 3);
    h = ltn__conv2d(g, ltn__upsample(g, h, 2), in(g, "down.w", 3, 2 * C, 3, 3), NULL, 2, 0, 0, 1, 1);
    return ltn__mul(g, h, ltn__tanh(g, h));
}

TEST(gradient_of_a_network)
{
    check_build(network, NULL, false);
}

/* Five residual blocks with attention between them. */
static ltn_node *blocks(ltn_graph *g, ltn_node *x)
{
    enum { C = 8 };
    for (int k = 0; k < 5; k++) {
        ltn_node *h = ltn__silu(g, ltn__group_norm(g, x, in(g, "norm.w", 1, 1, 1, C), NULL, 4, 1e-5));
        h = ltn__conv2d(g, h, in(g, "conv.w", C, C, 3, 3), in(g, "conv.b", 1, 1, 1, C), 1, 1, 1, 1, 1);
        h = ltn__relu(g, ltn__concat(g, h, x, 3));
        x = ltn__add(g, x, ltn__linear(g, h, in(g, "out.w", 1, 1, C, 2 * C), NULL));
        ltn_node *t = ltn__reshape(g, x, ltn__dims(1, 1, 96, C));
        ltn_node *a = ltn__attention(g, ltn__layer_norm(g, t, NULL, NULL, 1e-5), t, t, 2, false);
        a = ltn__geglu(g, ltn__linear(g, a, in(g, "ff.w", 1, 1, 2 * C, C), NULL));
        x = ltn__reshape(g, ltn__add(g, t, a), x->dims);
    }
    return ltn__mul(g, x, ltn__tanh(g, x));
}

/* Into dx; returns the plan's bytes. */
static size_t run_blocks(ltn_gradient *f, real dx[768])
{
    ltn_ctx *ctx = NULL;
    ltn_graph *g = NULL;
    ltn_plan *p = NULL;
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, ltn__graph_open(ctx, &g));
    ltn_node *x = ltn__input(g, "x", ltn__dims(1, 8, 12, 8)), *grad = NULL;
    ltn_node *y = ltn__output(g, "y", blocks(g, x));
    OK(ctx, f(g, y, ltn__input(g, "cotangent", y->dims), &x, 1, &grad));
    ltn__output(g, "dx", grad);
    OK(ctx, ltn__plan_open(g, &(ltn_plan_options){.threads = 1, .reference = true}, &p));
    for (int i = 0; i < ltn__graph_size(g); i++) {
        const ltn_node *n = ltn__graph_node(g, i);
        real *to = n->input ? ltn__plan_data(p, n->input) : NULL;
        for (int64_t j = 0; to && j < ltn__count(n->dims); j++)
            to[j] = noise((uint64_t)n->input[0], (uint64_t)j);
    }
    ltn__plan_run_to(p, "y");
    ltn__plan_run_on(p, "y");
    memcpy(dx, ltn__plan_data(p, "dx"), 768 * sizeof *dx);
    const size_t bytes = ltn__plan_bytes(p);
    ltn__plan_close(&p);
    ltn__graph_close(&g);
    ltn_close(&ctx);
    return bytes;
}

TEST(gradient_with_values_made_again)
{
    static real dx[768], again[768];
    const size_t all = run_blocks(ltn__grad, dx), spared = run_blocks(ltn__grad_sparing, again);
    CHECK(isfinite(dx[0]) && dx[0] != 0);
    CHECK(!memcmp(dx, again, sizeof dx));
    if (!(spared < all * 3 / 4)) test_fail(__FILE__, __LINE__, "%zu bytes, spared %zu", all, spared);
}
