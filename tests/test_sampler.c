/* test_sampler.c - every sampler with every option against diffusers' schedulers (tools/golden/sampler.py), over a
 * network that is a formula; and what is refused. */
#include "recipe.h"

enum { COUNT = 16, MAX_CALLS = 64 };
static const int steps[] = {4, 8, 20};

/* ---- A walk ---- */

static void network(const float *x, double t, float *out)
{
    for (int i = 0; i < COUNT; i++) out[i] = (float)(0.8 * x[i] + 0.3 * sin(2. * x[i] + 0.004 * t + i));
}

static float *numbers(const char *name, int k)
{
    char of[32];
    snprintf(of, sizeof of, k < 0 ? "%s" : "%s%d", name, k);
    return values(of, COUNT, 2);
}

/* The time steps of all calls, what the network is fed half-way, and the end; returns how many numbers. */
static size_t walk(ltn_ctx *ctx, const ltn_schedule *s, int n, double strength, float *out)
{
    ltn_sampler *w;
    float net[COUNT], z[COUNT], *noise = numbers("noise", 0), *latent = numbers("latent", -1);
    OK(ctx, ltn__sampler_open(ctx, s, n, strength, COUNT, &w));
    const int calls = w ? w->calls : 0;
    if (w) ltn__sampler_start(w, strength < 1 ? latent : NULL, noise, z);
    for (int k = 0; k < calls; k++) out[k] = (float)w->t[k];
    for (int k = w ? w->begin : 0; w && ltn__sampler_left(w); k++) {
        if (k == LTN_MAX(calls / 2, w->begin)) memcpy(out + calls, z, sizeof z);
        network(z, w->t[k], net);
        free(noise);
        noise = numbers("noise", k + 1);
        ltn__sampler_step(w, net, w->draws ? noise : NULL, z);
    }
    memcpy(out + calls + COUNT, z, sizeof z);
    free(noise);
    free(latent);
    ltn__sampler_close(&w);
    return (size_t)calls + 2 * COUNT;
}

/* ---- The cases ---- */

/* 1e-5 of the range for each of the three pieces. */
static void compare(const ltn_weight *w, const float *got, size_t n)
{
    static const char *const piece[] = {"time steps", "half-way", "the end"};
    const size_t from[] = {0, n - 2 * COUNT, n - COUNT, n};
    CHECK(w->rank == 1 && w->dim[0] == (int64_t)n);
    for (int k = 0; k < 3 && w->dim[0] == (int64_t)n; k++) {
        const double e = test_error(got + from[k], (const float *)w->data + from[k], from[k + 1] - from[k]);
        if (!(e <= 1e-5)) test_fail(__FILE__, __LINE__, "%s: error %.3g of the range", piece[k], e);
    }
}

/* The case's configuration as text; eta, which diffusers' calls take, is one of our options. */
static size_t config_of(const char *text, double eta, char *config, size_t room)
{
    const char *object = strchr(strstr(text, "\"config\""), '{'), *end = strchr(object, '}');
    const int n = snprintf(config, room, "%.*s", (int)(end - object), object);
    return (size_t)(n + snprintf(config + n, room - (size_t)n, eta < 0 ? "}" : ", \"eta\": %g}", eta));
}

static bool listed(const ltn_json *list, int n)
{
    for (const ltn_json *v = list ? list->child : NULL; v; v = v->next)
        if (v->number == n) return true;
    return !list;
}

/* Which words of which options have been walked with. */
typedef struct usage {
    uint32_t word[16][LTN_MAXPARAM];
} usage;

static void look(const ltn_schedule *s, usage *seen)
{
    for (int k = 0; s->options.entry->param[k].name; k++) {
        const ltn_param *p = &s->options.entry->param[k];
        const bool other = p->type != LTN_CHOICE && s->options.given[k] && s->options.num[k] != p->def;
        seen->word[s->options.row][k] |= p->type == LTN_CHOICE ? 1u << (int)s->options.num[k] : other ||
            s->options.str[k];
    }
}

static void case_test(ltn_ctx *ctx, ltn_tensors *golden, const char *text, int index, usage *seen)
{
    ltn_arena arena = {ctx, NULL};
    ltn_json *c;
    ltn_schedule s;
    float got[MAX_CALLS + 2 * COUNT];
    char config[4096], key[32];
    test_name("%d", index);
    OK(ctx, ltn__json_parse(ctx, "case", text, strlen(text), &arena, &c));
    const double strength = ltn__json_num(c, "strength", 1);
    OK(ctx, ltn__schedule_parse(ctx, "case", config, config_of(text, ltn__json_num(c, "eta", -1), config,
                                                               sizeof config), &s));
    for (int k = 0; k < LTN_COUNT(steps) && s.alpha_bar; k++) {
        if (!listed(ltn__json_get(c, "steps"), steps[k])) continue;
        test_name("%d, %d steps: %.200s", index, steps[k], text);
        snprintf(key, sizeof key, "%d.%d", index, steps[k]);
        const ltn_weight *w = ltn__tensors_find(golden, key);
        CHECK(w);
        if (w) compare(w, got, walk(ctx, &s, steps[k], strength, got));
    }
    if (s.alpha_bar) look(&s, seen);
    ltn__schedule_free(ctx, &s);
    ltn__arena_free(&arena);
}

/* Every word of every choice and a number other than the default for every other option. */
static void all_seen(const usage *seen)
{
    for (int r = 0; ltn__sampler_entry(r); r++)
        for (const ltn_param *p = ltn__sampler_entry(r)->param; p->name; p++) {
            const uint32_t word = seen->word[r][p - ltn__sampler_entry(r)->param];
            int words = 1;
            for (const char *c = p->choices; c && *c; c++) words += *c == '|';
            test_name("%s: %s", ltn__sampler_entry(r)->name, p->name);
            CHECK(word == (1u << words) - 1);
        }
}

TEST(walks_are_those_of_diffusers)
{
    static char line[8192];
    ltn_ctx *ctx;
    ltn_tensors *golden;
    usage seen = {0};
    int n = 0;
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, ltn__tensors_open(ctx, test_golden("sampler.safetensors"), &golden));
    FILE *f = fopen(test_golden("sampler.json"), "r");
    while (f && golden && fgets(line, sizeof line, f)) {
        char *end = line + strlen(line);
        if (line[0] != '{') continue;
        while (end > line && end[-1] != '}') *--end = 0;
        case_test(ctx, golden, line, n++, &seen);
    }
    CHECK(n > 200);
    all_seen(&seen);
    if (f) fclose(f);
    ltn__tensors_close(&golden);
    ltn_close(&ctx);
}

/* ---- Options ---- */

#define SD "\"beta_start\": 0.00085, \"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\""

static ltn_status parse(ltn_ctx *ctx, const char *text, ltn_schedule *s)
{
    return ltn__schedule_parse(ctx, "s.json", text, strlen(text), s);
}

/* What a spec does not give is the configuration's, where the sampler has such an option. */
TEST(a_spec_adds_to_the_configuration)
{
    ltn_ctx *ctx;
    ltn_schedule s, with;
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, parse(ctx, "{\"_class_name\": \"PNDMScheduler\", " SD ", \"steps_offset\": 1, \"skip_prk_steps\": true, "
                       "\"prediction_type\": \"v_prediction\", \"trained_betas\": null, \"unheard_of\": [1]}", &s));
    CHECK(!strcmp(s.name, "PNDMScheduler") && s.prediction == LTN_V);
    OK(ctx, ltn__schedule_with(ctx, &s, "euler:timestep_spacing=trailing", &with));
    CHECK(!memcmp(s.alpha_bar, with.alpha_bar, 1000 * sizeof *s.alpha_bar));
    CHECK(with.prediction == LTN_V && ltn__option(&with, "steps_offset", 0) == 1 &&
          ltn__option_is(&with, "timestep_spacing", "trailing"));
    ltn__schedule_free(ctx, &with);
    OK(ctx, ltn__schedule_with(ctx, &s, "DDIMScheduler:prediction_type=sample,steps_offset=0", &with));
    CHECK(with.prediction == LTN_SAMPLE && ltn__option(&with, "steps_offset", 1) == 0);
    ltn__schedule_free(ctx, &with);
    s.prediction = LTN_EPSILON; /* as an option of the model's opening sets it */
    OK(ctx, ltn__schedule_with(ctx, &s, "unipc", &with));
    CHECK(with.prediction == LTN_EPSILON);
    ltn__schedule_free(ctx, &with);
    ltn__schedule_free(ctx, &s);
    OK(ctx, parse(ctx, "{\"_class_name\": \"DPMSolverMultistepScheduler\", \"lambda_min_clipped\": -Infinity}", &s));
    ltn__schedule_free(ctx, &s);
    ltn_close(&ctx);
}

TEST(configurations_are_refused)
{
    static const char *const row[][2] = {
        {"{}", "s.json: _class_name is \"\", which is no known scheduler"},
        {"{\"_class_name\": \"FlowMatchEulerDiscreteScheduler\"}",
         "is \"FlowMatchEulerDiscreteScheduler\", which is no known"},
        {"{\"_class_name\": \"DPMSolverMultistepScheduler\", \"use_flow_sigmas\": true}",
         "s.json: use_flow_sigmas is true, which is not supported; expected false"},
        {"{\"_class_name\": \"UniPCMultistepScheduler\", \"solver_p\": [\"diffusers\", \"DDIMScheduler\"]}",
         "solver_p is set, which is not supported; expected none"},
        {"{\"_class_name\": \"DDPMScheduler\", \"variance_type\": \"learned_range\"}",
         "variance_type is learned_range"},
        {"{\"_class_name\": \"DDPMScheduler\", \"variance_type\": \"fixed_large_log\"}",
         "variance_type is fixed_large_log"},
        {"{\"_class_name\": \"EulerDiscreteScheduler\", \"prediction_type\": \"flow_prediction\"}",
         "prediction_type is flow_prediction"},
        {"{\"_class_name\": \"PNDMScheduler\", \"prediction_type\": \"sample\"}", "prediction_type is sample"},
        {"{\"_class_name\": \"DDIMScheduler\", \"beta_schedule\": \"sigmoid\"}", "beta_schedule is sigmoid"},
        {"{\"_class_name\": \"DDIMScheduler\", \"num_train_timesteps\": 1}",
         "num_train_timesteps: expected a whole number from 2"},
        {"{\"_class_name\": \"DDIMScheduler\", \"num_train_timesteps\": \"1000\"}",
         "num_train_timesteps: expected a whole number"},
        {"{\"_class_name\": \"DDIMScheduler\", \"beta_start\": 0.5}", "expected 0 <= beta_start <= beta_end < 1"},
        {"{\"_class_name\": \"DDIMScheduler\", \"trained_betas\": [0.1, 0.2]}",
         "trained_betas: 2 numbers for num_train_timesteps 1000"},
        {"{\"_class_name\": \"DDIMScheduler\", \"trained_betas\": [0.1, \"a\"]}",
         "trained_betas: expected a list of numbers"},
        {"{\"_class_name\": \"DDIMScheduler\", \"trained_betas\": [0.1, 1]}",
         "trained_betas: expected numbers from 0 to less than 1"},
        {"{\"_class_name\": \"LCMScheduler\", \"original_inference_steps\": 2000}",
         "original_inference_steps: expected at most 1000"},
        {"{\"_class_name\": \"UniPCMultistepScheduler\", \"solver_order\": 9}",
         "solver_order: expected a whole number from 1 to 3"},
        {"[", "s.json: line 1"},
    };
    ltn_ctx *ctx;
    ltn_schedule s;
    OK(NULL, ltn_open(&ctx, NULL));
    for (int i = 0; i < LTN_COUNT(row); i++) {
        test_name("%s", row[i][0]);
        CHECK(parse(ctx, row[i][0], &s) == LTN_EFORMAT);
        if (!strstr(ltn_error(ctx), row[i][1])) test_fail(__FILE__, __LINE__, "%s", ltn_error(ctx));
        CHECK(!s.alpha_bar && !s.arena.head);
    }
    ltn_close(&ctx);
}

TEST(walks_are_refused)
{
    static const struct {
        const char *spec;
        int steps;
        double strength;
        const char *message;
    } row[] = {
        {"ddim", 0, 1, "steps must be 1 .. 1000, not 0"},
        {"ddim", 1001, 1, "steps must be 1 .. 1000, not 1001"},
        {"ddim", 8, 0, "strength must be above 0 and at most 1"},
        {"ddim", 8, 1.01, "strength must be above 0 and at most 1"},
        {"ddim", 8, 0.1, "strength 0.1 leaves none of 8 steps"},
        {"lcm:timesteps='999,749,749'", 8, 1,
         "sampler lcm: timesteps=999,749,749: expected whole numbers below 1000, each below"},
        {"tcd:timesteps='1000'", 8, 1, "sampler tcd: timesteps=1000: expected"},
        {"tcd:timesteps='9;8'", 8, 1, "timesteps=9;8: expected"},
        {"lcm:timesteps='999,749'", 8, 0.4, "sampler lcm: strength 0.4 leaves none of 2 steps"},
        {"lcm", 51, 1, "sampler lcm: 51 steps, at most original_inference_steps, 50"},
        {"euler:use_karras_sigmas=true,use_beta_sigmas=true", 8, 1,
         "use_karras_sigmas and use_beta_sigmas cannot both be true"},
        {"pndm", 3, 1, "sampler pndm: without skip_prk_steps it takes 4 steps at least, not 3"},
        {"pndm", 8, 0.5, "sampler pndm: from a picture it needs skip_prk_steps=true"},
        {"dpm:algorithm_type=dpmsolver", 8, 1,
         "sampler dpm: algorithm_type dpmsolver needs final_sigmas_type sigma_min"},
        {"dpm:algorithm_type=sde-dpmsolver,solver_order=3,final_sigmas_type=sigma_min", 8, 1,
         "solver_order 3 is not supported"},
        {"dpm_single:algorithm_type=dpmsolver,thresholding=true,final_sigmas_type=sigma_min", 8, 1,
         "thresholding is not supported"},
        {"unipc:predict_x0=false", 8, 1, "sampler unipc: predict_x0=false needs final_sigmas_type sigma_min"},
        {"unipc:lower_order_final=false", 8, 1, "lower_order_final=false needs final_sigmas_type sigma_min"},
        {"unipc:predict_x0=false,thresholding=true,final_sigmas_type=sigma_min", 8, 1, "thresholding is not supported"},
    };
    ltn_ctx *ctx;
    ltn_schedule s, with;
    ltn_sampler *w;
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, parse(ctx, "{\"_class_name\": \"DDIMScheduler\"}", &s));
    for (int i = 0; i < LTN_COUNT(row); i++) {
        test_name("%s, %d steps, %g", row[i].spec, row[i].steps, row[i].strength);
        OK(ctx, ltn__schedule_with(ctx, &s, row[i].spec, &with));
        CHECK(ltn__sampler_open(ctx, &with, row[i].steps, row[i].strength, COUNT, &w) == LTN_EINVAL && !w);
        if (!strstr(ltn_error(ctx), row[i].message)) test_fail(__FILE__, __LINE__, "%s", ltn_error(ctx));
        ltn__schedule_free(ctx, &with);
    }
    CHECK(ltn__schedule_with(ctx, &s, "eulr", &with) == LTN_EINVAL &&
          strstr(ltn_error(ctx), "did you mean \"euler\"?"));
    CHECK(ltn__schedule_with(ctx, &s, "unipc:solver_p=ddim", &with) == LTN_EINVAL &&
          strstr(ltn_error(ctx), "solver_p"));
    CHECK(ltn__schedule_with(ctx, &s, "euler:eta=1", &with) == LTN_EINVAL &&
          strstr(ltn_error(ctx), "unknown parameter \"eta\""));
    ltn__schedule_free(ctx, &s);
    ltn_close(&ctx);
}

/* Every number of steps walks to its end, and no time step lies outside the schedule. */
TEST(every_number_of_steps)
{
    ltn_ctx *ctx;
    ltn_schedule s, with;
    float got[1100 + 2 * COUNT];
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, parse(ctx, "{\"_class_name\": \"DDIMScheduler\", " SD ", \"steps_offset\": 1}", &s));
    for (int r = 0; ltn__sampler_entry(r); r++) {
        OK(ctx, ltn__schedule_with(ctx, &s, ltn__sampler_entry(r)->name, &with));
        const bool few = ltn__option(&with, "original_inference_steps", 0) > 0,
            many = !strcmp(with.row->entry.name, "pndm");
        for (int n = many ? 4 : 1; n <= (few ? 50 : 1000); n = n < 12 ? n + 1 : n * 3) {
            test_name("%s, %d steps", with.row->entry.name, n);
            const size_t all = walk(ctx, &with, n, 1, got);
            for (size_t i = 0; i < all; i++) CHECK(isfinite(got[i]) &&
                                                   (i + 2 * COUNT >= all || (got[i] >= 0 && got[i] <= 999)));
        }
        ltn__schedule_free(ctx, &with);
    }
    ltn__schedule_free(ctx, &s);
    ltn_close(&ctx);
}

TEST(allocations_may_fail)
{
    static const char text[] = "{\"_class_name\": \"DPMSolverMultistepScheduler\", \"disable_corrector\": [1]}";
    for (long k = 1;; k++) {
        test_memory m = {.fail_at = k};
        const ltn_options o = test_options(&m);
        ltn_ctx *ctx = NULL;
        ltn_schedule s = {0}, with = {0};
        ltn_sampler *w = NULL;
        ltn_status e = ltn_open(&ctx, &o);
        if (!e) e = parse(ctx, text, &s);
        if (!e) e = ltn__schedule_with(ctx, &s, "unipc:disable_corrector='0,1'", &with);
        if (!e) e = ltn__sampler_open(ctx, &with, 8, 1, COUNT, &w);
        test_name("allocation %ld", k);
        CHECK(!e || e == LTN_ENOMEM);
        ltn__sampler_close(&w);
        if (ctx) ltn__schedule_free(ctx, &with);
        if (ctx) ltn__schedule_free(ctx, &s);
        ltn_close(&ctx);
        CHECK(m.alive == 0);
        if (!e || k > 200) break;
    }
}
