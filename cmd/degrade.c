/* degrade.c - `latino degrade`: y = A x + n. */
#include "cmd.h"

#include <string.h>

/* Options that are paths name folders when IN does. */
typedef struct job {
    const char *in, *out, *truth;
} job;

/* Shrinks x to at most n pixels a side and cuts it to whole multiples of `grid`, from the middle. */
static ltn_status fit(ltn_ctx *ctx, ltn_image *x, int n)
{
    enum { GRID = 16 };
    const int longest = x->width > x->height ? x->width : x->height;
    const double scale = longest > n ? (double)n / longest : 1;
    const int w = (int)(x->width * scale + 0.5), h = (int)(x->height * scale + 0.5);
    ltn_image small = {0}, cut = {0};
    ltn_status s = ltn_image_resize(ctx, x, w > 0 ? w : 1, h > 0 ? h : 1, &small);
    const int cw = w > GRID ? w - w % GRID : w, ch = h > GRID ? h - h % GRID : h;
    if (!s) s = ltn_image_new(ctx, cw, ch, small.channels, x, &cut);
    for (int c = 0; !s && c < cut.channels; c++)
        for (int i = 0; i < ch; i++)
            memcpy(cut.data + ((int64_t)c * ch + i) * cw,
                   small.data + ((int64_t)c * h + i + (h - ch) / 2) * w + (w - cw) / 2,
                   sizeof(float) * (size_t)cw);
    ltn_image_free(ctx, &small);
    if (s) return s;
    ltn_image_free(ctx, x);
    *x = cut;
    return LTN_OK;
}

static bool ends_in(const char *path, const char *extension)
{
    const size_t n = strlen(path), e = strlen(extension);
    return n >= e && !strcmp(path + n - e, extension);
}

static int degrade_one(ltn_ctx *ctx, const cmd_args *a, const job *paths)
{
    ltn_image x = {0}, y = {0};
    ltn_degradation *d = NULL;
    char settings[8192];
    const int size = (int)cmd_number(a, "fit", 0);
    int code = cmd_check_out(paths->out);
    if (code) return code;
    ltn_status s = ltn_image_read(ctx, paths->in, &x);
    if (!s && size) s = fit(ctx, &x, size);
    if (!s && paths->truth) s = cmd_save(ctx, paths->truth, &x, a, NULL);
    if (!s) s = ltn_degradation_open(ctx, cmd_text(a, "degradation"), x.width, x.height, x.channels, &d);
    if (!s && !ltn_degradation_makes_picture(d) && !ends_in(paths->out, ".npy")) {
        cmd_say("%s: \"%s\" makes no picture: its measurement goes to a .npy file", paths->out,
                cmd_text(a, "degradation"));
        code = CMD_FAILED;
    }
    if (!s && !code) s = ltn_degrade(d, &x, cmd_text(a, "noise"), (uint64_t)cmd_number(a, "seed", 0), &y);
    cmd_settings(a, paths->in, settings, sizeof settings);
    if (!s && !code) s = cmd_save(ctx, paths->out, &y, a, settings);
    if (s) code = cmd_fail(ctx, s);
    ltn_degradation_close(&d);
    ltn_image_free(ctx, &x);
    ltn_image_free(ctx, &y);
    return code;
}

static int degrade_folder(ltn_ctx *ctx, const cmd_args *a, const job *all)
{
    char **name;
    int n, worst = cmd_names(all->in, &name, &n);
    if (!worst) worst = cmd_make_folder(all->out);
    if (!worst && all->truth) worst = cmd_make_folder(all->truth);
    if (!worst && cmd_same_file(all->in, all->out))
        worst = cmd_usage("%s: is the folder of the pictures themselves", all->out);
    for (int i = 0, stop = worst; i < n && !stop && !cmd_caught(); i++) {
        const cmd_path in = cmd_join(all->in, name[i]), out = cmd_join(all->out, name[i]);
        const cmd_path truth = cmd_join(all->truth ? all->truth : "", name[i]);
        if (degrade_one(ctx, a, &(job){in.s, out.s, all->truth ? truth.s : NULL})) worst = CMD_FAILED;
    }
    cmd_names_free(name, n);
    return worst;
}

static int run(ltn_ctx *ctx, const cmd_args *a)
{
    const job j = {a->operand[0], cmd_text(a, "o"), cmd_text(a, "truth")};
    return cmd_is_folder(j.in) ? degrade_folder(ctx, a, &j) : degrade_one(ctx, a, &j);
}

static const cmd_option options[] = {
    CMD_OUT("where the degraded picture goes; .npy is neither clipped nor rounded"),
    CMD_DEGRADATION,
    {.name = "noise", .value = "SPEC", .type = CMD_SPEC, .kind = LTN_NOISES, .setting = true,
     .help = "added afterwards, for instance gaussian:sigma=0.05, white being 1 (latino list noises)"},
    CMD_SEED,
    {.name = "fit", .value = "N", .type = CMD_INT, .min = 16, .max = 65536, .setting = true,
     .help = "before all else, shrinks the picture to at most N pixels a side and cuts both to multiples of "
             "16"},
    {.name = "truth", .value = "FILE", .type = CMD_FILE,
     .help = "writes the picture as it was before the degradation"},
    CMD_BITS,
    CMD_QUALITY,
    CMD_FROM,
    CMD_THREADS,
    {.name = NULL},
};

const cmd_verb cmd_degrade = {
    .name = "degrade",
    .operands = "IN",
    .summary = "makes a picture worse: smaller, blurred, noisy, with holes",
    .about = "Applies a degradation, then noise, to a picture or to every picture of a folder; then -o and "
             "--truth are folders too.",
    .min_operands = 1,
    .max_operands = 1,
    .option = options,
    .run = run,
};
