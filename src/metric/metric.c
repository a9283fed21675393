/* metric.c - the table of metrics, and measuring by name. */
#include "metric.h"

#define ROW(id) extern const ltn_metric_row ltn__metric_##id;
#include "metric.def"
#undef ROW
#define ROW(id) &ltn__metric_##id,
static const ltn_metric_row *const rows[] = {
#include "metric.def"
};
#undef ROW

const ltn_metric_row *ltn__metric_row(int i)
{
    return i >= 0 && i < LTN_COUNT(rows) ? rows[i] : NULL;
}

const ltn_entry *ltn__metric_entry(int i)
{
    const ltn_metric_row *r = ltn__metric_row(i);
    return r ? &r->entry : NULL;
}

int ltn__colors(const ltn_image *im)
{
    return im->channels == 2 || im->channels == 4 ? im->channels - 1 : im->channels;
}

ltn_status ltn__measure(ltn_ctx *ctx, const char *metric, const ltn_image *a, const ltn_image *b, double *out)
{
    ltn_arena arena = {.ctx = ctx};
    ltn_spec spec;
    const ltn_status s = ltn__spec_parse(ctx, "metric", ltn__metric_entry, metric, &arena, &spec);
    ltn__arena_free(&arena);
    if (s) return s;
    if (a->width != b->width || a->height != b->height || ltn__colors(a) != ltn__colors(b))
        return ltn__fail(ctx, LTN_ESHAPE, "%s: the pictures differ in size: %d x %d x %d and %d x %d x %d",
                         metric, a->width, a->height, a->channels, b->width, b->height, b->channels);
    if (a->width < 1 || a->height < 1 || a->channels < 1)
        return ltn__fail(ctx, LTN_ESHAPE, "an empty picture cannot be measured");
    return ltn__metric_row(spec.row)->measure(ctx, a, b, out);
}
