/* metric.c - the table of metrics, and measuring by name. */
#include <math.h>

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

int ltn__colours(const ltn_image *im)
{
    return im->channels == 2 || im->channels == 4 ? im->channels - 1 : im->channels;
}

ltn_status ltn__metric_wants(ltn_metric *m, const ltn_image *im, int width, int height)
{
    const char *name = m->row->entry.name;
    const int colours = ltn__colours(im);
    if (colours != 1 && colours != 3)
        return ltn__fail(m->ctx, LTN_ESHAPE, "%s: pictures must be grey or RGB, not of %d colours", name,
                         colours);
    if (im->width >= width && im->height >= height) return LTN_OK;
    return ltn__fail(m->ctx, LTN_ESHAPE, "%s: pictures must have %d x %d pixels at least, not %d x %d", name,
                     width, height, im->width, im->height);
}

ltn_status ltn_metric_open(ltn_ctx *ctx, const char *spec, ltn_metric **out)
{
    ltn_arena arena = {.ctx = ctx};
    ltn_spec parsed;
    *out = NULL;
    ltn_status s = ltn__spec_parse(ctx, "metric", ltn__metric_entry, spec, &arena, &parsed);
    ltn_metric *m = s ? NULL : ltn__alloc(ctx, 1, sizeof *m);
    if (!s && !m) s = LTN_ENOMEM;
    if (!s) {
        *m = (ltn_metric){.ctx = ctx, .row = ltn__metric_row(parsed.row)};
        *out = m;
        if (m->row->open) s = m->row->open(m, &parsed);
        if (s) ltn_metric_close(out);
    }
    ltn__arena_free(&arena);
    return s;
}

static bool empty(const ltn_image *im)
{
    return im->width < 1 || im->height < 1 || im->channels < 1;
}

static ltn_status comparable(const ltn_metric *m, const ltn_image *a, const ltn_image *b)
{
    const bool sets = m->row->finish;
    if (!sets && (!a || !b))
        return ltn__fail(m->ctx, LTN_EINVAL, "%s: a picture is missing", m->row->entry.name);
    if (!sets && (a->width != b->width || a->height != b->height || ltn__colours(a) != ltn__colours(b)))
        return ltn__fail(m->ctx, LTN_ESHAPE, "%s: the pictures differ in size: %d x %d x %d and %d x %d x %d",
                         m->row->entry.name, a->width, a->height, a->channels, b->width, b->height,
                         b->channels);
    if ((a && empty(a)) || (b && empty(b)))
        return ltn__fail(m->ctx, LTN_ESHAPE, "an empty picture cannot be measured");
    return LTN_OK;
}

ltn_status ltn_metric_add(ltn_metric *m, const ltn_image *a, const ltn_image *b, double *value)
{
    double v = NAN;
    ltn_status s = comparable(m, a, b);
    if (!s) s = m->row->measure(m, a, b, &v);
    if (s) return s;
    m->sum += v;
    m->pairs++;
    if (value) *value = v;
    return LTN_OK;
}

ltn_status ltn_metric_finish(ltn_metric *m, double *out)
{
    if (m->row->finish) return m->row->finish(m, out);
    if (!m->pairs) return ltn__fail(m->ctx, LTN_EINVAL, "%s: no pictures to compare", m->row->entry.name);
    *out = m->sum / (double)m->pairs;
    return LTN_OK;
}

void ltn_metric_close(ltn_metric **out)
{
    ltn_metric *m = *out;
    *out = NULL;
    if (!m) return;
    if (m->row->close) m->row->close(m);
    ltn__free(m->ctx, m);
}

ltn_status ltn_measure(ltn_ctx *ctx, const char *metric, const ltn_image *a, const ltn_image *b, double *out)
{
    ltn_metric *m;
    ltn_status s = ltn_metric_open(ctx, metric, &m);
    if (!s) s = ltn_metric_add(m, a, b, NULL);
    if (!s) s = ltn_metric_finish(m, out);
    ltn_metric_close(&m);
    return s;
}
