/* test_pro.c - LATINO-PRO: the text of greatest likelihood on a Gaussian prior, where it is known; gradients and whole
 * runs against PyTorch (tools/golden/pro.py). */
#include "folder.h"
#include "gaussian.h"
#include "run/prior.h"

/* y = x + n, x ~ N(m, S2): p(y | c) is greatest where the text's mean is that of y. */
static double text_found(ltn_ctx *ctx, const char *solver, double mean, outcome *o)
{
    static gaussian g;
    static float y[N];
    ltn__normals((ltn_rng){5, 9}, 0, y, N);
    for (int i = 0; i < N; i++) y[i] = (float)(mean + sqrt(S2 + 0.01) * y[i]);
    solve_with(ctx, &g, 0, "identity", solver, y, 0.1, 1, o);
    return text_mean(&g.base);
}

TEST(pro_finds_the_text_of_greatest_likelihood)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static outcome o;
    const char *const solver[] = {"rule=matched", "rule=bayes", "rule=discrepancy", "rule=bayes,score=sampled"};
    for (int i = 0; i < LTN_COUNT(solver); i++)
        for (double mean = -0.4; mean < 1; mean += 0.8) {
            char spec[128];
            test_name("%s, mean %g", solver[i], mean);
            snprintf(spec, sizeof spec, "latino-pro:%s,frozen=0,rounds=30,momentum=0,step=0.03", solver[i]);
            NEAR(text_found(ctx, spec, mean, &o), mean, 0.02);
            CHECK(o.status == LTN_DONE && o.calls == 30 * 4 + 8 && o.gradients == 30 * 3);
        }
    ltn_close(&ctx);
}

TEST(pro_counts_as_the_paper_does)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static outcome o;
    const double found = text_found(ctx, "latino-pro:frozen=0", 0.5, &o);
    CHECK(o.status == LTN_DONE && o.calls == 68 && o.gradients == 45 && o.progress.step == 68 &&
          o.progress.steps == 68);
    CHECK(found > 0.1);
    text_found(ctx, "latino-pro:rule=bayes,rounds=2,times=900/700/20,steps=3,last=bayes", 0.5, &o);
    CHECK(o.status == LTN_DONE && o.calls == 9 && o.gradients == 4 && o.progress.t == 333);
    text_found(ctx, "latino-pro:rounds=3,estimator=samples,samples=5", 0.5, &o);
    CHECK(o.status == LTN_DONE && o.calls == 68 && o.gradients == 45);
    text_found(ctx, "latino-pro:rounds=3,estimator=samples,samples=5,rule=discrepancy", 0.5, &o);
    CHECK(o.status == LTN_DONE && o.calls == 68 && o.gradients == 60);
    text_found(ctx, "latino-pro:rule=bayes,times=900", 0.5, &o);
    CHECK(o.status == LTN_EINVAL && strstr(ltn_error(ctx), "falling time steps"));
    ltn_close(&ctx);
}

TEST(pro_with_no_rounds_is_latino)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static outcome pro, plain;
    text_found(ctx, "latino-pro:rounds=0,last=bayes", 0.5, &pro);
    text_found(ctx, "latino:rule=bayes", 0.5, &plain);
    CHECK(pro.status == LTN_DONE && !memcmp(pro.x, plain.x, sizeof pro.x));
    ltn_close(&ctx);
}

/* Adam on the misfit of samples goes to the text that explains y, too. */
TEST(pro_by_samples_goes_the_same_way)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static outcome o;
    for (double mean = -0.4; mean < 1; mean += 0.8) {
        NEAR(text_found(ctx, "latino-pro:estimator=samples,frozen=0,rounds=60,step=0.03", mean, &o), mean, 0.1);
        NEAR(text_found(ctx, "latino-pro:estimator=samples,rule=bayes,frozen=0,rounds=60,step=0.03", mean, &o), mean,
             0.1);
    }
    ltn_close(&ctx);
}

TEST(pro_leaves_what_it_must)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static gaussian g;
    static float y[N];
    static outcome o;
    for (int i = 0; i < N; i++) y[i] = 0.9f;
    solve_with(ctx, &g, 0.2f, "identity", "latino-pro:frozen=3,radius=0.1,rounds=6", y, 0.1, 1, &o);
    for (int i = 0; i < TOKENS * WIDTH; i++) {
        const float moved = g.text[i] - 0.2f;
        if (i < 3 * WIDTH || i % WIDTH) CHECK(moved == 0);
        else NEAR(moved, 0.1, 1e-6); /* on the ball */
    }
    ltn_close(&ctx);
}

/* ---- Against PyTorch ---- */

static ltn_model *open_model(ltn_ctx *ctx, const char *path)
{
    ltn_model *m = NULL;
    OK(ctx, ltn_model_open(ctx, path, &m));
    return m;
}

static double relative_error(const float *a, const float *b, size_t n)
{
    double error = 0, size = 0;
    for (size_t i = 0; i < n; i++) error += ((double)a[i] - b[i]) * ((double)a[i] - b[i]), size += (double)b[i] * b[i];
    return sqrt(error / size);
}

/* The array `name` of tests/golden/pro.safetensors against n values. */
static void against(ltn_ctx *ctx, const char *name, const float *v, size_t n, double tolerance)
{
    ltn_tensors *file = NULL;
    OK(ctx, ltn__tensors_open(ctx, test_golden("pro.safetensors"), &file));
    const ltn_weight *w = file ? ltn__tensors_find(file, name) : NULL;
    CHECK(w);
    float *golden = malloc(n * sizeof *golden);
    if (w) memcpy(golden, w->data, n * sizeof *golden);
    if (w) NEAR(relative_error(v, golden, n), 0, tolerance);
    free(golden);
    ltn__tensors_close(&file);
}

/* d/dc of -1/2 |z' - sqrt(ab') f(z, t, c)|^2 / (1 - ab'), the network whole. */
static void gradient_of_score(ltn_ctx *ctx, ltn_model *m, ltn_size size, const char *prompt, int t, int next,
                              const char *golden)
{
    ltn_prior *p = NULL;
    OK(ctx, ltn__prior_open(m, size, prompt ? prompt : "", &p));
    const size_t n = p->latent_count;
    const int64_t c = m->latent_channels;
    const double ab = p->alpha_bar[next], a = sqrt(ab);
    float *z = values("z", n, 2), *after = values("z_next", n, 2), *latent = calloc(3 * n, sizeof *latent),
          *to = latent + n, *z0 = to + n;
    float *text = values("text", p->text_count, 2), *g = calloc(p->text_count, sizeof *g);
    ltn__to_last(z, latent, 1, c, (int64_t)n / c);
    ltn__to_last(after, to, 1, c, (int64_t)n / c);
    if (!prompt) memcpy(p->text, text, p->text_count * sizeof *text);
    OK(ctx, p->predict_kept(p, latent, t, LTN_WRT_TEXT, z0));
    for (size_t i = 0; i < n; i++) z0[i] = (float)(a / (1 - ab) * (to[i] - a * z0[i]));
    OK(ctx, p->predict_back(p, z0, NULL, g));
    against(ctx, golden, g, p->text_count, 1e-4);
    free(z), free(after), free(latent), free(text), free(g);
    ltn__prior_close(&p);
}

TEST(pro_gradients_equal_autograd)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    ltn_model *m = open_model(ctx, PRIOR);
    gradient_of_score(ctx, m, (ltn_size){128, 128, 3}, "a photo of the sea", 999, 749, "grad.prior");
    ltn_model_close(&m);
    m = open_model(ctx, write_folder(&(folder){.unet.names = "unet_sd"}));
    gradient_of_score(ctx, m, (ltn_size){64, 64, 3}, NULL, 519, 300, "grad.sd");
    ltn_model_close(&m);
    ltn_close(&ctx);
}

/* The script's draws: draw k is stream 100 + k of seed 77, in the order (c, h, w). */
enum { DRAWS = 12 };
static ltn_array draws(float *room)
{
    for (int k = 0; k < DRAWS; k++) ltn__normals((ltn_rng){77, 100 + (uint64_t)k}, 0, room + k * 8192, 8192);
    return (ltn_array){4, {DRAWS, 32, 16, 16}, room};
}

static const struct {
    const char *name, *degradation;
    double sigma;
    const char *solver, *prompt;
} runs[] = {
    {"matched", "inpaint:random=0.9,seed=7", 0.05,
     "latino-pro:rounds=3,times=999/666/333,step=0.16,radius=1.3,momentum=1,steps=2,frozen=4", "a photo of a dog"},
    {"paper", "identity", 0.3,
     "latino-pro:rule=discrepancy,score=sampled,rounds=3,step=0.08,radius=15,momentum=1,steps=2,frozen=4",
     "a photo of the sea"},
    {"samples", "downsample:factor=4,boundary=circular,order=correlation", 0.05,
     "latino-pro:estimator=samples,samples=2,rounds=2,times=999/500,step=0.4,radius=8,steps=2,frozen=4", ""},
};

TEST(estimated_prompts_equal_the_pytorch_script)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    ltn_model *m = open_model(ctx, PRIOR);
    static float room[DRAWS * 8192];
    const ltn_array noise = draws(room);
    ltn_image truth = {0};
    OK(ctx, ltn_image_read(ctx, test_golden("cat128.png"), &truth));
    for (int i = 0; i < LTN_COUNT(runs); i++) {
        ltn_degradation *d = NULL;
        ltn_image y = {0}, x = {0}, golden = {0};
        ltn_array text = {0};
        ltn_run *run = NULL;
        char spec[64], file[64];
        snprintf(spec, sizeof spec, "gaussian:sigma=%g", runs[i].sigma);
        snprintf(file, sizeof file, "pro_%s.png", runs[i].name);
        test_name("%s", runs[i].name);
        OK(ctx, ltn_image_read(ctx, test_golden(file), &golden));
        OK(ctx, ltn_degradation_open(ctx, runs[i].degradation, 128, 128, 3, &d));
        OK(ctx, ltn_degrade(d, &truth, spec, 5, &y));
        OK(ctx, ltn_run_open(ctx, &(ltn_task){.model = m, .degradation = d, .y = &y, .sigma = runs[i].sigma,
                                              .solver = runs[i].solver,
                                              .prompt = runs[i].prompt, .seed = 3, .noise = &noise}, &run));
        ltn_status s;
        while (!(s = ltn_run_step(run))) continue;
        CHECK(s == LTN_DONE);
        OK(ctx, ltn_run_estimate(run, &x));
        OK(ctx, ltn_run_text(run, &text));
        double worst = 0;
        for (int k = 0; k < 3 * 128 * 128; k++) worst = fmax(worst, fabs(fmin(fmax(x.data[k], 0), 1) - golden.data[k]));
        NEAR(worst, 0, 2.0 / 255);
        snprintf(file, sizeof file, "%s.text", runs[i].name);
        against(ctx, file, text.data, 77 * 128, 1e-3);
        ltn_run_close(&run);
        ltn_array_free(ctx, &text);
        ltn_image_free(ctx, &x);
        ltn_image_free(ctx, &y);
        ltn_image_free(ctx, &golden);
        ltn_degradation_close(&d);
    }
    ltn_image_free(ctx, &truth);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

TEST(words_of_a_text)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    ltn_model *m = open_model(ctx, PRIOR);
    const char *const caption[] = {"a photo of a cat", "", "a photo of the sea",
                                   "a close-up photo of the face of a cat"};
    double score[4];
    ltn_array text;
    OK(ctx, ltn_model_text(m, "a photo of a cat", &text));
    OK(ctx, ltn_words(m, &text, caption, 4, score));
    NEAR(score[0], 1, 1e-6);
    CHECK(score[1] == 0 && score[2] < score[3] && score[3] < 1);
    text.dim[1]--;
    CHECK(ltn_words(m, &text, caption, 4, score) == LTN_ESHAPE && strstr(ltn_error(ctx), "1 x 77 x 128"));
    ltn_array_free(ctx, &text);
    ltn_model_close(&m);
    ltn_close(&ctx);
}

/* One run, from a prompt or from a text. */
static ltn_status restore_small(ltn_ctx *ctx, ltn_model *m, const char *prompt, const ltn_array *text, ltn_image *x)
{
    ltn_image y = {0};
    ltn_degradation *d = NULL;
    ltn_run *run = NULL;
    OK(ctx, ltn_image_new(ctx, 24, 16, 3, NULL, &y));
    OK(ctx, ltn_degradation_open_for(ctx, "identity", &y, &d));
    ltn_status s = ltn_run_open(ctx, &(ltn_task){.model = m, .degradation = d, .y = &y, .sigma = 0.4,
                                                 .solver = "latino:steps=2", .prompt = prompt, .text = text}, &run);
    while (!s) s = ltn_run_step(run);
    if (s == LTN_DONE) s = ltn_run_estimate(run, x);
    ltn_run_close(&run);
    ltn_degradation_close(&d);
    ltn_image_free(ctx, &y);
    return s;
}

TEST(text_in_the_prompts_place)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    ltn_model *m = open_model(ctx, PRIOR);
    ltn_image by_prompt = {0}, by_text = {0}, empty = {0};
    ltn_array text;
    OK(ctx, ltn_model_text(m, "a photo of the sea", &text));
    OK(ctx, restore_small(ctx, m, "a photo of the sea", NULL, &by_prompt));
    OK(ctx, restore_small(ctx, m, "a photo of a cat", &text, &by_text));
    OK(ctx, restore_small(ctx, m, "", NULL, &empty));
    const size_t bytes = sizeof(float) * 24 * 16 * 3;
    CHECK(!memcmp(by_prompt.data, by_text.data, bytes) && memcmp(empty.data, by_text.data, bytes));
    ltn_image_free(ctx, &by_prompt);
    ltn_image_free(ctx, &by_text);
    ltn_image_free(ctx, &empty);
    text.data[200] = NAN;
    CHECK(restore_small(ctx, m, "", &text, &empty) == LTN_EINVAL && strstr(ltn_error(ctx), "not finite"));
    text.dim[2]--;
    CHECK(restore_small(ctx, m, "", &text, &empty) == LTN_ESHAPE && strstr(ltn_error(ctx), "1 x 77 x 128"));
    ltn_array_free(ctx, &text);
    ltn_model_close(&m);
    ltn_close(&ctx);
}
