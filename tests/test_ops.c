/* test_ops.c - every row of op.def in float: its reference kernel and what the plan chooses for it against
 * PyTorch's values of tools/golden/ops.py; the same bits for any number of threads and in place; nothing
 * written outside; refused shapes. */
#include "file/file.h"
#include "graph/graph.h"
#include "graph/op/pairs.h"

#include "test.h"

enum { GUARD = 64, LIMIT = 500 };

static float pattern(const char *name, int64_t i)
{
    double phase = 0;
    for (int k = 0; name[k]; k++) phase += (k + 1) * name[k];
    if (!strncmp(name, "ids", 3)) return (float)(i % 3);
    const double v = sin(1.618 * (double)i + phase);
    return (float)(strncmp(name, "positive", 8) ? 3 * v : 1 + v / 2);
}

/* ---- A row's example, its sources in arrays of their own ---- */

typedef struct example {
    ltn_ctx *ctx;
    ltn_graph *g;
    ltn_node *n;
    float *src[LTN_MAXSRC];
    int64_t count;
} example;

/* Fed as an input, or what its reference makes of sources that are. */
static float *value_of(const ltn_node *x)
{
    const int64_t count = ltn__count(x->dims);
    float *to = malloc((size_t)count * sizeof *to), *src[LTN_MAXSRC] = {NULL};
    const float *from[LTN_MAXSRC];
    void *scratch = aligned_alloc(64, ((x->op && x->op->scratch ? x->op->scratch(x, 1) : 0) + 127) / 64 * 64);
    for (int s = 0; s < x->nsrc; s++) from[s] = src[s] = x->src[s] ? value_of(x->src[s]) : NULL;
    if (x->op) x->op->run(x, from, to, scratch, 1);
    for (int64_t i = 0; !x->op && i < count; i++) to[i] = x->constant ? x->constant[i] : pattern(x->input, i);
    for (int s = 0; s < x->nsrc; s++) free(src[s]);
    free(scratch);
    return to;
}

static bool example_open(example *e, const ltn_op *op, int k)
{
    *e = (example){0};
    OK(NULL, ltn_open(&e->ctx, NULL));
    OK(e->ctx, ltn__graph_open(e->ctx, &e->g));
    e->n = op->example(e->g, k);
    if (!e->n) return false;
    OK(e->ctx, ltn__graph_status(e->g));
    CHECK(e->n->op == op);
    e->count = ltn__count(e->n->dims);
    for (int s = 0; s < e->n->nsrc; s++)
        if (e->n->src[s]) e->src[s] = value_of(e->n->src[s]);
    return true;
}

static void example_close(example *e)
{
    for (int s = 0; s < LTN_MAXSRC; s++) free(e->src[s]);
    ltn__graph_close(&e->g);
    ltn_close(&e->ctx);
}

static const real *const *sources(const example *e, const float *src[LTN_MAXSRC])
{
    for (int s = 0; s < LTN_MAXSRC; s++) src[s] = e->src[s];
    return src;
}

/* The reference kernel into an array full of NaN between guards; dst has `count` values. */
static void run_reference(const example *e, int threads, float *dst)
{
    const size_t scratch_size = e->n->op->scratch ? e->n->op->scratch(e->n, threads) : 0;
    void *scratch = aligned_alloc(64, (scratch_size + 127) / 64 * 64);
    float *all = malloc((size_t)(e->count + 2 * GUARD) * sizeof(float));
    memset(scratch, 0xff, scratch_size);
    for (int64_t i = 0; i < e->count + 2 * GUARD; i++) all[i] = NAN;
    const float *src[LTN_MAXSRC];
    e->n->op->run(e->n, sources(e, src), all + GUARD, scratch, threads);
    bool clean = true;
    for (int i = 0; i < GUARD; i++) clean &= isnan(all[i]) && isnan(all[GUARD + e->count + i]);
    CHECK(clean);
    memcpy(dst, all + GUARD, (size_t)e->count * sizeof(float));
    free(all);
    free(scratch);
}

static void run_in_place(const example *e, float *dst)
{
    const size_t scratch_size = e->n->op->scratch ? e->n->op->scratch(e->n, 2) : 0;
    void *scratch = aligned_alloc(64, (scratch_size + 127) / 64 * 64);
    memcpy(dst, e->src[0], (size_t)e->count * sizeof(float));
    const float *src[LTN_MAXSRC];
    sources(e, src);
    src[0] = dst;
    e->n->op->run(e->n, src, dst, scratch, 2);
    free(scratch);
}

/* Whatever the plan takes: cells where they exist. */
static void run_plan(const example *e, float *dst)
{
    ltn_plan *p = NULL;
    ltn__output(e->g, "result", e->n);
    OK(e->ctx, ltn__plan_open(e->g, &(ltn_plan_options){.threads = 2}, &p));
    if (!p) return;
    for (int i = 0; i < ltn__graph_size(e->g); i++) {
        const ltn_node *x = ltn__graph_node(e->g, i);
        for (int64_t j = 0; x->input && j < ltn__count(x->dims); j++)
            ltn__plan_data(p, x->input)[j] = pattern(x->input, j);
    }
    ltn__plan_run(p);
    memcpy(dst, ltn__plan_data(p, "result"), (size_t)e->count * sizeof(float));
    ltn__plan_close(&p);
}

static void check_golden(ltn_tensors *golden, const example *e, const char *how, int k, const float *y)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%d", e->n->op->entry.name, k);
    const ltn_weight *w = ltn__tensors_find(golden, name);
    const int64_t stride = (e->count + LIMIT - 1) / LIMIT, count = (e->count + stride - 1) / stride;
    if (!w || w->dim[0] != count) {
        test_fail(__FILE__, __LINE__, "tools/golden/ops.py has no %lld values for it", (long long)count);
        return;
    }
    float mine[LIMIT], theirs[LIMIT];
    ltn__weight_widen(w, 0, count, theirs);
    for (int64_t i = 0; i < count; i++) mine[i] = y[i * stride];
    const double error = test_error(mine, theirs, (size_t)count);
    if (!(error <= 1e-5)) test_fail(__FILE__, __LINE__, "%s: error %g of the range", how, error);
}

static void check_example(ltn_tensors *golden, example *e, int k)
{
    const size_t size = (size_t)e->count * sizeof(float);
    float *y = malloc(size), *other = calloc(1, size);
    run_reference(e, 1, y);
    check_golden(golden, e, "reference", k, y);
    for (int threads = 2; threads <= 3; threads++) {
        run_reference(e, threads, other);
        CHECK(!memcmp(y, other, size));
    }
    if (e->n->op->inplace && ltn__count(e->n->src[0]->dims) == e->count) {
        run_in_place(e, other);
        CHECK(!memcmp(y, other, size));
    }
    run_plan(e, other);
    check_golden(golden, e, "plan", k, other);
    free(y);
    free(other);
}

TEST(ops_golden)
{
    ltn_ctx *ctx = NULL;
    ltn_tensors *golden = NULL;
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, ltn__tensors_open(ctx, test_golden("ops.safetensors"), &golden));
    const ltn_op *op;
    int cases = 0;
    for (int i = 0; golden && (op = ltn__op(i)); i++)
        for (int k = 0;; k++) {
            example e;
            test_name("%s, case %d", op->entry.name, k);
            const bool any = example_open(&e, op, k);
            if (any) check_example(golden, &e, k);
            example_close(&e);
            if (!any) break;
            cases++;
        }
    test_name("%d cases, %d golden values", cases, ltn__tensors_count(golden));
    CHECK(cases == ltn__tensors_count(golden));
    ltn__tensors_close(&golden);
    ltn_close(&ctx);
}

/* ---- The polynomials against the C library, far out as well ---- */

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double silu(double x) { return x * sigmoid(x); }
static double gelu(double x) { return x * 0.5 * erfc(-x * sqrt(0.5)); }

static const struct {
    const char *name;
    ltn_node *(*node)(ltn_graph *, ltn_node *);
    double (*f)(double);
    double low, high, absolute;
} curves[] = {
    {"exp", ltn__exp, exp, -86, 88, 0},
    {"exp, near 0", ltn__exp, exp, -103, -86, 1e-44},
    {"sigmoid", ltn__sigmoid, sigmoid, -80, 80, 0},
    {"silu", ltn__silu, silu, -80, 80, 0},
    {"tanh", ltn__tanh, tanh, -12, 12, 0},
    {"erf", ltn__erf, erf, -6, 6, 0},
    {"gelu", ltn__gelu, gelu, -8, 30, 3e-7},
};

enum { POINTS = 100000 };

/* f at the points that `at` makes of their number. */
static void run_curve(int which, float (*at)(int which, int i), float *x, float *y, int n)
{
    ltn_ctx *ctx = NULL;
    ltn_graph *g = NULL;
    ltn_plan *p = NULL;
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, ltn__graph_open(ctx, &g));
    ltn__output(g, "y", curves[which].node(g, ltn__input(g, "x", ltn__dims(1, 1, 1, n))));
    OK(ctx, ltn__plan_open(g, NULL, &p));
    for (int i = 0; i < n; i++) x[i] = ltn__plan_data(p, "x")[i] = at(which, i);
    ltn__plan_run(p);
    memcpy(y, ltn__plan_data(p, "y"), (size_t)n * sizeof(float));
    ltn__plan_close(&p);
    ltn__graph_close(&g);
    ltn_close(&ctx);
}

static float evenly(int which, int i)
{
    return (float)(curves[which].low + (curves[which].high - curves[which].low) * i / (POINTS - 1));
}

TEST(ops_curves)
{
    static float x[POINTS], y[POINTS];
    for (int which = 0; which < LTN_COUNT(curves); which++) {
        run_curve(which, evenly, x, y, POINTS);
        double worst = 0, where = 0;
        for (int i = 0; i < POINTS; i++) {
            const double f = curves[which].f((double)x[i]);
            const double error = fmax(fabs((double)y[i] - f) - curves[which].absolute, 0) / fabs(f);
            if (f != 0 && !(error <= worst)) worst = error, where = (double)x[i];
        }
        test_name("%s, error %g at %g", curves[which].name, worst, where);
        CHECK(worst < 4e-7);
    }
}

static float ends(int which, int i)
{
    const float at[] = {-INFINITY, -200, -0.0f, 0, 200, INFINITY, NAN};
    return at[i];
}

TEST(ops_curves_at_their_ends)
{
    static const float expected[][7] = {
        {0, 0, 1, 1, INFINITY, INFINITY, NAN},
        {0, 0, 1, 1, INFINITY, INFINITY, NAN},
        {0, 0, 0.5f, 0.5f, 1, 1, NAN},
        {NAN, 0, 0, 0, 200, INFINITY, NAN},
        {-1, -1, 0, 0, 1, 1, NAN},
        {-1, -1, 0, 0, 1, 1, NAN},
        {NAN, 0, 0, 0, 200, INFINITY, NAN},
    };
    float x[7], y[7];
    for (int which = 0; which < LTN_COUNT(curves); which++) {
        run_curve(which, ends, x, y, 7);
        for (int i = 0; i < 7; i++) {
            test_name("%s at %g is %g", curves[which].name, (double)x[i], (double)y[i]);
            CHECK(isnan(expected[which][i]) ? isnan(y[i]) : y[i] == expected[which][i]);
        }
    }
}

/* ---- Norms where float is thin: a mean far larger than the spread ---- */

static double spread_error(ltn_node *norm(ltn_graph *, ltn_node *))
{
    ltn_ctx *ctx = NULL;
    ltn_graph *g = NULL;
    ltn_plan *p = NULL;
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, ltn__graph_open(ctx, &g));
    ltn_node *y = ltn__output(g, "y", norm(g, ltn__input(g, "x", ltn__dims(1, 40, 40, 64))));
    OK(ctx, ltn__plan_open(g, NULL, &p));
    real *x = ltn__plan_data(p, "x");
    for (int64_t i = 0; i < ltn__count(y->dims); i++) x[i] = (float)(1000 + (i % 2 ? 1 : -1) * 0.5);
    ltn__plan_run(p);
    double worst = 0;
    for (int64_t i = 0; i < ltn__count(y->dims); i++)
        worst = fmax(worst, fabs(ltn__plan_data(p, "y")[i] - (i % 2 ? 1 : -1)));
    ltn__plan_close(&p);
    ltn__graph_close(&g);
    ltn_close(&ctx);
    return worst;
}

static ltn_node *by_groups(ltn_graph *g, ltn_node *x)
{
    return ltn__group_norm(g, x, NULL, NULL, 32, 0);
}

static ltn_node *by_layer(ltn_graph *g, ltn_node *x)
{
    return ltn__layer_norm(g, x, NULL, NULL, 0);
}

TEST(ops_norms_of_a_large_mean)
{
    NEAR(spread_error(by_groups), 0, 1e-5);
    NEAR(spread_error(by_layer), 0, 1e-5);
}

/* ---- Group norm with the silu behind it in one kernel ---- */

TEST(ops_group_norm_silu)
{
    float *out[2] = {NULL};
    const ltn_dims dims = ltn__dims(2, 13, 11, 96);
    for (int reference = 0; reference < 2; reference++) {
        ltn_ctx *ctx = NULL;
        ltn_graph *g = NULL;
        ltn_plan *p = NULL;
        OK(NULL, ltn_open(&ctx, NULL));
        OK(ctx, ltn__graph_open(ctx, &g));
        ltn_node *x = ltn__input(g, "x", dims), *w = ltn__input(g, "w", ltn__dims(1, 1, 1, 96));
        ltn__output(g, "y", ltn__silu(g, ltn__group_norm(g, x, w, NULL, 32, 1e-6)));
        OK(ctx, ltn__plan_open(g, &(ltn_plan_options){.threads = 2, .reference = reference}, &p));
        for (int64_t i = 0; i < ltn__count(dims); i++) ltn__plan_data(p, "x")[i] = pattern("x", i);
        for (int i = 0; i < 96; i++) ltn__plan_data(p, "w")[i] = pattern("w", i);
        ltn__plan_run(p);
        out[reference] = malloc((size_t)ltn__count(dims) * sizeof(float));
        memcpy(out[reference], ltn__plan_data(p, "y"), (size_t)ltn__count(dims) * sizeof(float));
        ltn__plan_close(&p);
        ltn__graph_close(&g);
        ltn_close(&ctx);
    }
    NEAR(test_error(out[0], out[1], (size_t)ltn__count(dims)), 0, 1e-6);
    free(out[0]);
    free(out[1]);
}

/* ---- Refused ---- */

static ltn_node *x_of(ltn_graph *g, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return ltn__input(g, "x", ltn__dims(a, b, c, d));
}

/* Products by pairs of terms, whatever this machine gains by them: 20 of 24 rows, depth 200 (208), numbers of very
 * different sizes in rows and columns (1), all of one sign (2), beside rows a thousand times as large (3), and rows of
 * zeros, which make zeros (4). */
static double pairs_number(int kind, int side, int line, int i)
{
    const double u = ltn__normal((ltn_rng){7, (uint64_t)(kind * 2 + side)}, (uint64_t)(line * 1000 + i));
    if (kind == 1) return u * pow(10, line % 12 - 9 * side);
    if (kind == 2) return fabs(u);
    if (kind == 4 && !side && line % 3) return 0;
    return kind == 3 && !side && line % 5 == 0 ? 1000 * u : u;
}

TEST(ops_pairs)
{
    enum { ROWS = 20, K = 200, DEPTH = 208, N = LTN_TILE_N };
    static _Alignas(64) real a[DEPTH * LTN_TILE_M], b[DEPTH * N], c[LTN_TILE_M * N];
    static _Alignas(64) real a_head[LTN_STRIP_HEAD], b_head[LTN_PANEL_HEAD];
    for (int kind = 0; kind < 5; kind++) {
        memset(a, 0, sizeof a), memset(b, 0, sizeof b);
        for (int k = 0; k < K; k++) {
            for (int r = 0; r < ROWS; r++) a[(k / N * LTN_TILE_M + r) * N + k % N] = (real)pairs_number(kind, 0, r, k);
            for (int j = 0; j < N; j++) b[k * N + j] = (real)pairs_number(kind, 1, j, k);
        }
        ltn__pairs_strip(ROWS, DEPTH, a, LTN_TILE_M, a_head);
        ltn__pairs_panel(DEPTH, b, b_head);
        ltn__pairs_product(ROWS, DEPTH, a, LTN_TILE_M, a_head, b, b_head, c, N, false);
        ltn__pairs_product(ROWS, DEPTH, a, LTN_TILE_M, a_head, b, b_head, c, N, true);
        double worst = 0;
        for (int r = 0; r < ROWS; r++)
            for (int j = 0; j < N; j++) {
                double sum = 0, x = 0, y = 0;
                for (int k = 0; k < K; k++) {
                    const double p = (real)pairs_number(kind, 0, r, k), q = (real)pairs_number(kind, 1, j, k);
                    sum += p * q, x += p * p, y += q * q;
                }
                if (x > 0) worst = fmax(worst, fabs(c[r * N + j] - 2 * sum) / sqrt(x * y));
                else CHECK(c[r * N + j] == 0);
            }
        if (!(worst < 2e-6)) test_fail(__FILE__, __LINE__, "kind %d: %g of the norms", kind, worst);
    }
}

static void refuse(ltn_graph *g, int k)
{
    ltn_node *x = x_of(g, 1, 4, 6, 6);
    switch (k) {
    case 0: ltn__add(g, x, x_of(g, 1, 4, 6, 5)); break;
    case 1: ltn__geglu(g, x_of(g, 1, 1, 2, 7)); break;
    case 2: ltn__group_norm(g, x, NULL, NULL, 4, 1e-5); break;
    case 3: ltn__group_norm(g, x, x_of(g, 1, 1, 1, 5), NULL, 3, 1e-5); break;
    case 4: ltn__layer_norm(g, x, NULL, x_of(g, 1, 1, 1, 5), 1e-5); break;
    case 5: ltn__reshape(g, x, ltn__dims(1, 1, 1, 7)); break;
    case 6: ltn__permute(g, x, 0, 1, 1, 2); break;
    case 7: ltn__concat(g, x, x_of(g, 1, 4, 5, 6), 3); break;
    case 8: ltn__slice(g, x, 1, 3, 2); break;
    case 9: ltn__place(g, x, 1, 3, 6); break;
    case 10: ltn__sum_to(g, x, ltn__dims(1, 2, 1, 1)); break;
    case 11: ltn__expand(g, x, ltn__dims(2, 8, 6, 6)); break;
    case 12: ltn__upsample(g, x, 0); break;
    case 13: ltn__downsum(g, x, 3); break;
    case 14: ltn__gather(g, x, x); break;
    case 15: ltn__maxpool(g, x, 0, 2); break;
    default: ltn__scatter(g, x, x, 3); break;
    }
}

TEST(ops_refused_shapes)
{
    static const char *const message[] = {
        "add: dimension 3 is 6 and 5",
        "geglu: 7 channels have no halves",
        "group_norm: 6 channels in 4 groups",
        "group_norm: w has 5 values for 6 channels",
        "layer_norm: b has 5 values for 6 channels",
        "reshape: 144 values into 7",
        "permute: 0 1 1 2 is no order of four dimensions",
        "concat: dimension 2 is 6 and 5, along axis 3",
        "slice: 2 values from 3 on, of axis 1 with 4",
        "place: 4 values from 3 on, of axis 1 with 6",
        "sum_to: dimension 1 goes from 4 to 2",
        "expand: dimension 1 goes from 4 to 8",
        "upsample: by 0",
        "downsum: 4 x 6 pixels by 3",
        "gather: a table of 1 x 4 matrices, 4 x 6 values an id",
        "maxpool: windows of 0 pixels every 2",
        "scatter: 1 x 4 x 6 rows for 1 x 4 x 6 ids",
    };
    for (int k = 0; k < LTN_COUNT(message); k++) {
        ltn_ctx *ctx = NULL;
        ltn_graph *g = NULL;
        OK(NULL, ltn_open(&ctx, NULL));
        OK(ctx, ltn__graph_open(ctx, &g));
        refuse(g, k);
        test_name("%s", message[k]);
        CHECK(ltn__graph_status(g) == LTN_ESHAPE);
        if (strcmp(ltn_error(ctx), message[k]))
            test_fail(__FILE__, __LINE__, "the message is: %s", ltn_error(ctx));
        refuse(g, (k + 1) % LTN_COUNT(message)); /* later calls are legal and change nothing */
        CHECK(!strcmp(ltn_error(ctx), message[k]));
        ltn__graph_close(&g);
        ltn_close(&ctx);
    }
}
