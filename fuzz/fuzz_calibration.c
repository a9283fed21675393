/* fuzz_calibration.c - latino.json: what passes the check gives finite numbers wherever it is looked up. */
#include "fuzz.h"

#include "model/model.h"

#include <math.h>

static void look_up(const ltn_json *j, const char *table, int columns, int scale)
{
    static const double at[] = {1e-3, 0.07, 1, 5, 6.5, 999};
    for (int of = 1; of < columns; of++)
        for (int i = 0; i < LTN_COUNT(at); i++) {
            const double v = ltn__calibrated(j, table, of, at[i], scale, 1);
            fuzz_claim(isfinite(v) && v >= 0, "a finite number");
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    ltn_ctx *ctx = fuzz_open();
    ltn_arena arena = {.ctx = ctx};
    ltn_json *j;
    if (!ltn__json_parse(ctx, "input", (const char *)p, n, &arena, &j)) {
        if (ltn__calibration_check(ctx, "input", j)) {
            fuzz_claim(ltn_error(ctx)[0], "a failure has a message");
        } else {
            look_up(j, "one_step_error", 2, LTN_LOG_Y);
            look_up(j, "latent_error", 2, LTN_LOG_Y);
            look_up(j, "error_spectrum", 1 + 2 * LTN_OCTAVES, LTN_LOG_Y);
            look_up(j, "lost_share", 1 + 2 * LTN_OCTAVES, LTN_LOG_Y);
            look_up(j, "noisy_picture", 2, LTN_LOG_X);
            look_up(j, "noisy_picture", 3, LTN_LOG_X | LTN_LOG_Y);
        }
    }
    ltn__arena_free(&arena);
    ltn_close(&ctx);
    return 0;
}
