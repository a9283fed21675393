/* fuzz_schedule.c - a scheduler_config.json; the walk that it asks for is made in a few steps over three numbers. */
#include "fuzz.h"
#include "model/sampler.h"

enum { COUNT = 3 };

static void walk(ltn_ctx *ctx, const ltn_schedule *s, int steps, double strength)
{
    const float noise[COUNT] = {0.5f, -1, 2};
    float z[COUNT], net[COUNT];
    ltn_sampler *w;
    if (ltn__sampler_open(ctx, s, steps, strength, COUNT, &w)) {
        fuzz_claim(!w && ltn_error(ctx)[0], "a failure has a message");
        return;
    }
    fuzz_claim(w->calls > w->begin && w->begin >= 0, "something is left to do");
    ltn__sampler_start(w, noise, noise, z);
    while (ltn__sampler_left(w)) {
        for (int i = 0; i < COUNT; i++) net[i] = z[i] / 2;
        ltn__sampler_step(w, net, noise, z);
    }
    ltn__sampler_close(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    ltn_ctx *ctx = fuzz_open();
    ltn_schedule s;
    if (!ltn__schedule_parse(ctx, "input", (const char *)p, n, &s)) {
        walk(ctx, &s, 5, 1);
        walk(ctx, &s, 1, 1);
        walk(ctx, &s, 4, 0.5);
    } else {
        fuzz_claim(!s.alpha_bar && ltn_error(ctx)[0], "a failure has a message");
    }
    ltn__schedule_free(ctx, &s);
    ltn_close(&ctx);
    return 0;
}
