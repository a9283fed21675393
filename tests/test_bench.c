/* test_bench.c - what a run costs: operations against PyTorch's counter (tools/golden/bench.py) and closed forms,
 * bytes against closed forms, seconds against their own sums. */
#include "file/file.h"
#include "graph/graph.h"
#include "test.h"

static const char *const parts[] = {"text", "unet", "unet-by-text", "encode", "decode"};
enum { PARTS = sizeof parts / sizeof parts[0], SIZE = 128 };

static ltn_ctx *open_context(test_memory *memory)
{
    ltn_ctx *ctx = NULL;
    const ltn_options o = memory ? test_options(memory) : (ltn_options){.threads = 1};
    if (ltn_open(&ctx, &o)) exit(1);
    return ctx;
}

static ltn_model *open_prior(ltn_ctx *ctx)
{
    ltn_model *m = NULL;
    OK(ctx, ltn_model_open(ctx, LTN_SOURCE_ROOT "/models/prior", &m));
    return m;
}

/* What PyTorch counts. */
static int is_product(const ltn_speed_block *b)
{
    return !strncmp(b->name, "conv", 4) || !strcmp(b->name, "linear") || !strcmp(b->name, "matmul") ||
           !strcmp(b->name, "attention");
}

static double products(const ltn_speed *v)
{
    double flop = 0;
    for (int k = 0; k < v->blocks; k++) flop += is_product(&v->block[k]) ? v->block[k].flop : 0;
    return flop;
}

/* PyTorch's way back has one product more: the first attention over the text gets a gradient by its queries, which do
 * not depend on the text. */
TEST(operations_are_those_that_pytorch_counts)
{
    ltn_ctx *ctx = open_context(NULL);
    ltn_model *m = open_prior(ctx);
    ltn_tensors *golden = NULL;
    OK(ctx, ltn__tensors_open(ctx, test_golden("bench.safetensors"), &golden));
    for (int k = 0; golden && k < PARTS; k++) {
        ltn_speed v = {0};
        double expected;
        float value = 0;
        ltn_weight *w = ltn__tensors_find(golden, parts[k]);
        test_name("%s", parts[k]);
        CHECK(w);
        if (w) ltn__weight_widen(w, 0, 1, &value);
        expected = 1e6 * (double)value;
        if (!strcmp(parts[k], "unet-by-text")) expected -= 2. * 64 * 77 * 256;
        OK(ctx, ltn_bench_part(m, &(ltn_bench){.part = parts[k], .size = SIZE, .rounds = 1}, &v));
        NEAR(products(&v) / expected, 1, 1e-6);
        ltn_speed_free(ctx, &v);
    }
    ltn__tensors_close(&golden);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(blocks_add_up)
{
    ltn_ctx *ctx = open_context(NULL);
    ltn_model *m = open_prior(ctx);
    ltn_speed v = {0};
    double seconds = 0, flop = 0, bytes = 0;
    OK(ctx, ltn_bench_part(m, &(ltn_bench){.part = "unet", .rounds = 4}, &v));
    for (int k = 0; k < v.blocks; k++) {
        const ltn_speed_block *b = &v.block[k];
        test_name("%s, %s", b->name, b->kernel);
        CHECK(b->steps > 0 && b->seconds >= 0 && b->flop > 0 && b->bytes > 0);
        CHECK(!k || b->seconds <= b[-1].seconds);
        for (int i = 0; i < k; i++)
            CHECK(strcmp(b->name, v.block[i].name) || strcmp(b->kernel, v.block[i].kernel));
        seconds += b->seconds;
        flop += b->flop;
        bytes += b->bytes;
    }
    CHECK(v.blocks > 5);
    CHECK(v.size == SIZE);
    NEAR(seconds, v.seconds, 1e-9);
    NEAR(flop / v.flop, 1, 1e-12);
    NEAR(bytes / v.bytes, 1, 1e-12);
    CHECK(v.seconds > 0 && v.median >= v.seconds && v.plan_seconds > 0 && v.plan_bytes > 0);
    ltn_speed_free(ctx, &v);
    CHECK(!v.block);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

static double flop_of(ltn_model *m, ltn_ctx *ctx, const char *part, int size, int batch)
{
    ltn_speed v = {0};
    OK(ctx, ltn_bench_part(m, &(ltn_bench){part, size, batch, 1}, &v));
    const double flop = v.flop;
    ltn_speed_free(ctx, &v);
    return flop;
}

/* The autoencoder is convolutions alone. */
TEST(work_grows_with_pixels_and_pictures)
{
    ltn_ctx *ctx = open_context(NULL);
    ltn_model *m = open_prior(ctx);
    const double one = flop_of(m, ctx, "decode", 32, 1);
    NEAR(flop_of(m, ctx, "decode", 64, 1) / one, 4, 1e-12);
    NEAR(flop_of(m, ctx, "decode", 32, 3) / one, 3, 1e-12);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

/* ---- Closed forms, one operation at a time ---- */

static ltn_work work_of(ltn_node *n)
{
    return ltn__work(n, &(ltn_fusion){.result = n});
}

static void check_work(ltn_node *n, const char *kind, double flop, double numbers)
{
    const ltn_work w = work_of(n);
    test_name("%s", n->op->entry.name);
    CHECK(!strcmp(w.kind, kind));
    CHECK(!strcmp(w.kernel, n->op->entry.name));
    NEAR(w.flop, flop, 0);
    NEAR(w.bytes, 4 * numbers, 0);
}

TEST(work_of_operations)
{
    ltn_ctx *ctx = open_context(NULL);
    ltn_graph *g = NULL;
    OK(ctx, ltn__graph_open(ctx, &g));
    ltn_node *x = ltn__input(g, "x", ltn__dims(2, 10, 12, 6)), *bias = ltn__input(g, "bias", ltn__dims(1, 1, 1, 8));
    ltn_node *w = ltn__input(g, "w", ltn__dims(8, 6, 3, 5)), *thin = ltn__input(g, "thin", ltn__dims(8, 6, 1, 1));
    ltn_node *y = ltn__conv2d(g, x, w, bias, 2, 1, 2, 1, 2);
    check_work(y, "conv 3x5", 2. * (2 * 5 * 6 * 8) * (6 * 15), 1440 + 720 + 8 + 480);
    check_work(ltn__conv2d(g, x, thin, NULL, 1, 0, 0, 0, 0), "linear", 2. * 1920 * 6, 1440 + 48 + 1920);
    check_work(ltn__linear(g, x, thin, bias), "linear", 2. * 1920 * 6, 1440 + 48 + 8 + 1920);
    check_work(ltn__add(g, x, x), "other", 1440, 3 * 1440);
    check_work(ltn__slice(g, x, 3, 1, 2), "other", 480, 2 * 480);

    ltn_node *a = ltn__input(g, "a", ltn__dims(3, 2, 7, 5)), *b = ltn__input(g, "b", ltn__dims(3, 2, 7, 4));
    check_work(ltn__matmul(g, a, b, true, false), "matmul", 2. * (6 * 5 * 4) * 7, 210 + 168 + 120);
    ltn_node *q = ltn__input(g, "q", ltn__dims(2, 1, 9, 8)), *k = ltn__input(g, "k", ltn__dims(2, 1, 11, 8));
    ltn_node *v = ltn__input(g, "v", k->dims);
    ltn_node *made = ltn__attention(g, q, k, v, 2, false)->src[0]; /* with the logarithms of 2 x 2 x 9 sums */
    check_work(made, "attention", 4. * 2 * 9 * 11 * 8, 144 + 2 * 176 + 144 + 36);
    check_work(ltn__layer_norm(g, q, NULL, NULL, 1e-5), "norm", 144, 2 * 144);
    ltn__graph_close(&g);
    ltn_close(&ctx);
}

/* A convolution's gradient by its picture has the operations of the convolution; by its weights too. */
TEST(work_of_gradients)
{
    ltn_ctx *ctx = open_context(NULL);
    ltn_graph *g = NULL;
    OK(ctx, ltn__graph_open(ctx, &g));
    ltn_node *x = ltn__input(g, "x", ltn__dims(2, 8, 8, 6)), *w = ltn__input(g, "w", ltn__dims(4, 6, 3, 3)), *d[2];
    ltn_node *y = ltn__conv2d(g, x, w, NULL, 1, 1, 1, 1, 1);
    OK(ctx, ltn__grad(g, y, ltn__input(g, "dy", y->dims), (ltn_node *[]){x, w}, 2, d));
    const double flop = work_of(y).flop;
    NEAR(work_of(d[0]).flop, flop / 4 * 6 * 4 / 6, 0);
    NEAR(work_of(d[1]).flop, flop, 0);
    CHECK(!strcmp(work_of(d[0]).kind, "conv 3x3") && !strcmp(work_of(d[1]).kind, "conv weights"));
    ltn__graph_close(&g);
    ltn_close(&ctx);
}

/* What is fused is read and written once more or less; a weight counts as it lies in its file. */
TEST(work_of_fusions_and_weights)
{
    ltn_ctx *ctx = open_context(NULL);
    ltn_graph *g = NULL;
    ltn_weight half = {.name = "w", .dtype = LTN_F16, .rank = 2, .dim = {4, 6}};
    OK(ctx, ltn__graph_open(ctx, &g));
    ltn_node *x = ltn__input(g, "x", ltn__dims(1, 5, 5, 6)), *w = ltn__weight_node(g, &half);
    ltn_node *y = ltn__linear(g, x, w, NULL), *r = ltn__input(g, "r", y->dims), *sum = ltn__add(g, y, r);
    NEAR(work_of(y).bytes, 4 * (150 + 100) + 2 * 24, 0);
    NEAR(ltn__work(y, &(ltn_fusion){.residual = r, .result = sum}).bytes, 4 * (150 + 100 + 100) + 2 * 24, 0);
    ltn__graph_close(&g);
    ltn_close(&ctx);
}

TEST(a_timed_run_gives_the_same_numbers)
{
    ltn_ctx *ctx = open_context(NULL);
    ltn_graph *g = NULL;
    ltn_plan *p = NULL;
    float expected[64];
    double seconds[16] = {0};
    OK(ctx, ltn__graph_open(ctx, &g));
    ltn_node *x = ltn__input(g, "x", ltn__dims(1, 1, 1, 64));
    ltn__output(g, "y", ltn__softmax(g, ltn__silu(g, x)));
    OK(ctx, ltn__plan_open(g, NULL, &p));
    ltn__normals((ltn_rng){3, 0}, 0, ltn__plan_data(p, "x"), 64);
    ltn__plan_run(p);
    memcpy(expected, ltn__plan_data(p, "y"), sizeof expected);
    memset(ltn__plan_data(p, "y"), 0, sizeof expected);
    ltn__plan_run_timed(p, seconds);
    CHECK(!memcmp(expected, ltn__plan_data(p, "y"), sizeof expected));
    CHECK(ltn__plan_steps(p) == 2);
    CHECK(seconds[0] > 0 && seconds[1] > 0 && seconds[2] == 0);
    ltn__plan_close(&p);
    ltn__graph_close(&g);
    ltn_close(&ctx);
}

/* ---- The machine, errors, memory ---- */

TEST(peaks_are_positive)
{
    ltn_ctx *ctx = open_context(NULL);
    ltn_machine machine = {0};
    OK(ctx, ltn_bench_machine(ctx, &machine));
    CHECK(machine.threads == 1);
    CHECK(machine.flops > 1e7 && machine.flops < 1e13);
    CHECK(machine.bandwidth > 1e6 && machine.bandwidth < 1e13);
    ltn_close(&ctx);
}

TEST(bad_requests)
{
    static const struct {
        ltn_bench b;
        ltn_status s;
        const char *message;
    } bad[] = {
        {{.part = "dcode"}, LTN_EINVAL, "unknown part \"dcode\"; did you mean \"decode\"?"},
        {{.part = "decode", .size = 100}, LTN_ESHAPE, "decode: size 100: expected a multiple of 8"},
        {{.part = "decode", .size = -8}, LTN_ESHAPE, "size -8"},
        {{.part = "unet", .size = 72}, LTN_ESHAPE, "unet, size 72: "},
        {{.part = "unet", .rounds = -1}, LTN_EINVAL, "unet: -1 rounds"},
        {{.part = "unet", .batch = -1}, LTN_EINVAL, "a batch of -1"},
    };
    ltn_ctx *ctx = open_context(NULL);
    ltn_model *m = open_prior(ctx);
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        ltn_speed v = {.blocks = 7};
        test_name("%s", bad[k].message);
        CHECK(ltn_bench_part(m, &bad[k].b, &v) == bad[k].s);
        CHECK(strstr(ltn_error(ctx), bad[k].message));
        CHECK(!v.block && !v.blocks);
    }
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(no_memory)
{
    for (long k = 1, done = 0; !done && k < 10000; k++) {
        test_memory memory = {0};
        ltn_ctx *ctx = open_context(&memory);
        ltn_machine machine;
        ltn_speed v;
        ltn_model *m = open_prior(ctx);
        memory.fail_at = memory.calls + k;
        const ltn_status s = ltn_bench_part(m, &(ltn_bench){.part = "text", .rounds = 1}, &v);
        done = memory.calls < memory.fail_at;
        CHECK(done ? s == LTN_OK : s == LTN_ENOMEM);
        ltn_speed_free(ctx, &v);
        memory.fail_at = memory.calls + 1;
        CHECK(ltn_bench_machine(ctx, &machine) == LTN_ENOMEM);
        memory.fail_at = 0;
        ltn_model_close(&m);
        ltn_close(&ctx);
        CHECK(!memory.alive);
    }
}
