/* attention_dx.c - the gradients of attention by q, k and v. With a head's P = exp(q k^T / sqrt(d) - L), where the
 * forward kept L, the logarithm of each query's sum, and y = P v, and dP = dy v^T,
 *     dS = P . (dP - rowsum(dy . y) + dL) / sqrt(d):
 *     dq = dS k,   dk = dS^T q,   dv = P^T dy
 * (Dao et al. 2022, arXiv 2205.14135, appendix B). The scores are made again, for a few keys and a few queries at a
 * time, and meet all that is done with them in the cache. Where pairs of terms pay (pairs.h) the five products are
 * made so; dS is kept twice then, since it meets k as a right side and q as a left one, which differ in scale.
 * Sources dy, q, k, v, what attention's kernel made (y and L), dL or NULL; i[0]: heads, i[1]: 1 if causal, i[2]: what
 * is wanted, 1 dq + 2 dk + 4 dv. The result is what is wanted as one row of numbers, in this order; if that is one
 * gradient it has its shape. */
#include "attention.h"
#include "real_math.h"

enum { DY, Q, K, V, MADE, DL, SOURCES };
enum { KEYS = 96, N = LTN_TILE_N };

/* Numbers of each gradient. */
static void counts(const ltn_node *q, const ltn_node *k, int64_t wanted, int64_t count[3])
{
    for (int i = 0; i < 3; i++) count[i] = wanted >> i & 1 ? ltn__count((i ? k : q)->dims) : 0;
}

static ltn_node *make(ltn_graph *g, ltn_node *const src[SOURCES], int64_t heads, int64_t causal, int64_t wanted)
{
    int64_t count[3];
    counts(src[Q], src[K], wanted, count);
    ltn_dims dims = ltn__dims(1, 1, 1, count[0] + count[1] + count[2]);
    if (wanted == 1) dims = src[Q]->dims;
    if (wanted == 2 || wanted == 4) dims = src[K]->dims;
    ltn_node *n = ltn__node(g, &ltn__op_attention_dx, dims, SOURCES, src);
    n->i[0] = heads;
    n->i[1] = causal;
    n->i[2] = wanted;
    return n;
}

/* dmade: of y and of L, in one row; where nobody read L, zeros that were put behind dy. */
void ltn__attention_vjp(ltn_graph *g, ltn_node *n, ltn_node *dmade, const bool *want, ltn_node **gsrc)
{
    ltn_node *q = n->src[0], *k = n->src[1], *v = n->src[2];
    const int64_t wanted = want[0] + 2 * want[1] + 4 * want[2], values = ltn__count(q->dims);
    const bool only_y = dmade->op == &ltn__op_place && ltn__count(dmade->src[0]->dims) == values;
    ltn_node *dy = only_y ? dmade->src[0] : ltn__excerpt(g, dmade, 0, q->dims);
    ltn_node *dl = only_y ? NULL : ltn__excerpt(g, dmade, values, ltn__dims(q->dims.d[0], n->i[0], q->dims.d[2], 1));
    int64_t count[3], first = 0;
    counts(q, k, wanted, count);
    ltn_node *all = make(g, (ltn_node *[]){dy, q, k, v, n->value ? n->value : n, dl}, n->i[0], n->i[1], wanted);
    for (int i = 0; i < 3; first += count[i++])
        if (want[i]) gsrc[i] = ltn__excerpt(g, all, first, n->src[i]->dims);
}

/* ---- The kernel: all transposed, as attention.h has it ---- */

static ltn_attention attention_of(const ltn_node *n)
{
    return ltn__attention_of(n, n->src[Q], n->src[K]);
}

/* What one thread works with. */
typedef struct workplace {
    ltn_paired qt, yt, q, y; /* of a head, or where all keys are one block of QUERIES: (d, queries), (queries, d) */
    ltn_panels dqt;          /* (d, queries) */
    real *sum, *slope;       /* by query: L, in powers of two; rowsum(dy . y) - dL */
    ltn_paired k, v, kt;     /* of a block of keys, KEYS at most: (keys, d), (d, keys) */
    ltn_panels dk, dv;       /* (keys, d) */
    ltn_paired p, ds, ds2;   /* (keys, QUERIES): P and dS as left sides, dS as a right one */
} workplace;

static workplace workplace_at(const ltn_attention *a, real *scratch, int64_t *at)
{
    const int64_t wide = ltn__panels(a->d) * N, keys = ltn__panels(LTN_MIN(KEYS, a->keys)) * N;
    const int64_t all = ltn__panels(a->queries) * N, some = LTN_MIN(all, LTN_QUERIES);
    const int64_t queries = a->keys > KEYS ? all : some, blocks = (queries + LTN_QUERIES - 1) / LTN_QUERIES;
    workplace w;
    ltn_paired *const by_query[] = {&w.q, &w.y}, *const transposed[] = {&w.qt, &w.yt};
    ltn_paired *const by_key[] = {&w.k, &w.v}, *const scores[] = {&w.p, &w.ds};
    for (int i = 0; i < 2; i++) {
        *by_query[i] = ltn__take_paired(scratch, at, queries, wide, blocks * ltn__panel_heads(wide));
        *transposed[i] = ltn__take_paired(scratch, at, wide, queries, ltn__panel_heads(queries));
        *by_key[i] = ltn__take_paired(scratch, at, keys, wide, ltn__strip_heads(keys));
        *scores[i] = ltn__take_paired(scratch, at, keys, some, ltn__strip_heads(keys));
    }
    w.ds2 = w.ds;
    if (ltn__pairs()) w.ds2 = ltn__take_paired(scratch, at, keys, some, ltn__panel_heads(some));
    w.kt = ltn__take_paired(scratch, at, a->tall, keys, ltn__strip_heads(a->tall));
    w.dqt = (ltn_panels){ltn__take(scratch, at, queries * a->tall), a->tall};
    w.dk = (ltn_panels){ltn__take(scratch, at, keys * wide), keys};
    w.dv = (ltn_panels){ltn__take(scratch, at, keys * wide), keys};
    w.sum = ltn__take(scratch, at, queries);
    w.slope = ltn__take(scratch, at, queries);
    return w;
}

static size_t workplace_size(const ltn_attention *a)
{
    int64_t size = 0;
    workplace_at(a, NULL, &size);
    return (size_t)size;
}

static size_t attention_dx_scratch(const ltn_node *n, int threads)
{
    const ltn_attention a = attention_of(n);
    return (size_t)threads * workplace_size(&a) * sizeof(real);
}

/* A head's part of sources and results; a gradient that is not wanted is NULL, and dl may be. */
typedef struct part {
    const real *dy, *q, *k, *v, *y, *l, *dl;
    real *dq, *dk, *dv;
} part;

/* A panel of scores, (keys, 16), becomes P, and dP becomes dS, once more in ds2 unless that is NULL. factor: of scores
 * in powers of two. */
LTN_KERNEL static void differentiate(real *restrict p, real *restrict ds, real *restrict ds2, int64_t keys, real scale,
                                     real factor, const real *restrict sum, const real *restrict slope)
{
    for (int64_t j = 0; j < keys; j++) {
#pragma omp simd
        for (int r = 0; r < N; r++) {
            const real e = falling_exp2(p[j * N + r] * factor - sum[r]);
            p[j * N + r] = e;
            ds[j * N + r] = e * (ds[j * N + r] - slope[r]) * scale;
        }
        if (ds2) memcpy(ds2 + j * N, ds + j * N, N * sizeof *ds);
    }
}

/* Where the queries from `first` on are, a multiple of QUERIES: what belongs to them alone. */
static workplace at_queries(const ltn_attention *a, const workplace *w, int64_t first)
{
    workplace x = *w;
    if (a->keys <= KEYS) return x;
    ltn_paired *const transposed[] = {&x.qt, &x.yt}, *const by_query[] = {&x.q, &x.y};
    for (int i = 0; i < 2; i++) {
        transposed[i]->at.v += first * transposed[i]->at.rows;
        by_query[i]->at.v += first * N;
        if (!x.q.heads) continue;
        transposed[i]->heads += ltn__panel_heads(first);
        by_query[i]->heads += first / LTN_QUERIES * ltn__panel_heads(a->d);
    }
    x.dqt.v += first * x.dqt.rows;
    x.sum += first;
    x.slope += first;
    return x;
}

LTN_KERNEL static real dot(const real *x, const real *y, int64_t n)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* Behind the m queries there are others up to the sixteenth, whose P and dS are zeros. */
static void pack_queries(const ltn_attention *a, const part *h, int64_t first, int64_t m, const workplace *w)
{
    const int64_t at = first * a->c;
    ltn__attention_pack_transposed(a, h->q + at, m, w->qt.at);
    ltn__attention_pack_transposed(a, h->dy + at, m, w->yt.at);
    ltn__paired_right(w->qt, m, a->d, a->d);
    ltn__paired_right(w->yt, m, a->d, a->d);
    if (h->dk) {
        ltn__attention_pack(a, h->q + at, m, w->q.at);
        ltn__paired_right(w->q, a->d, m, m);
    }
    if (h->dv) {
        ltn__attention_pack(a, h->dy + at, m, w->y.at);
        ltn__paired_right(w->y, a->d, m, m);
    }
    for (int64_t r = 0; r < ltn__panels(m) * N; r++) {
        const int64_t i = first + LTN_MIN(r, m - 1);
        w->slope[r] = dot(h->dy + i * a->c, h->y + i * a->c, a->d) - (h->dl ? h->dl[i] : 0);
        w->sum[r] = r < m ? h->l[i] * (real)LTN_LOG2_E : (real)INFINITY;
    }
}

/* Queries [first, first + m) meet the keys [j, j + count) of the block at hand; fresh: they are its first. */
static void meet(const ltn_attention *a, const part *h, int64_t j, int64_t count, int64_t first, int64_t m, bool fresh,
                 const workplace *w)
{
    const double scale = 1 / sqrt((double)a->d);
    ltn__paired_product(count, m, a->d, w->k, w->qt, w->p.at, false);
    ltn__paired_product(count, m, a->d, w->v, w->yt, w->ds.at, false);
    if (a->causal) ltn__attention_hide(w->p.at, j, count, first, m);
    for (int64_t p = 0; p < ltn__panels(m); p++) {
        const int64_t at = p * w->p.at.rows * N;
        differentiate(w->p.at.v + at, w->ds.at.v + at, h->dq && w->ds2.heads ? w->ds2.at.v + at : NULL, count,
                      (real)scale, (real)(scale * LTN_LOG2_E), w->sum + p * N, w->slope + p * N);
    }
    if (h->dq) {
        ltn__paired_right(w->ds2, m, count, count);
        ltn__paired_product(a->d, m, count, w->kt, w->ds2, w->dqt, j > 0);
    }
    if (h->dk) {
        ltn__paired_left(w->ds, count, m);
        ltn__paired_product(count, a->d, m, w->ds, w->q, w->dk, !fresh);
    }
    if (h->dv) {
        ltn__paired_left(w->p, count, m);
        ltn__paired_product(count, a->d, m, w->p, w->y, w->dv, !fresh);
    }
}

/* All queries that see keys of the block [j, j + count) meet them. */
static void block(const ltn_attention *a, const part *h, int64_t j, int64_t count, const workplace *w)
{
    const int64_t start = a->causal ? j / LTN_QUERIES * LTN_QUERIES : 0;
    ltn__attention_pack(a, h->k + j * a->c, count, w->k.at);
    ltn__attention_pack(a, h->v + j * a->c, count, w->v.at);
    ltn__paired_left(w->k, count, a->d);
    ltn__paired_left(w->v, count, a->d);
    if (h->dq) {
        ltn__attention_pack_transposed(a, h->k + j * a->c, count, w->kt.at);
        ltn__paired_left(w->kt, a->d, count);
    }
    for (int64_t first = start; first < a->queries; first += LTN_QUERIES) {
        const int64_t m = LTN_MIN(LTN_QUERIES, a->queries - first), end = a->causal ? first + m : a->keys;
        const workplace x = at_queries(a, w, first);
        if (j == 0) pack_queries(a, h, first, m, &x);
        meet(a, h, j, count, first, m, first == start, &x);
        if (h->dq && j + count >= end) ltn__attention_unpack_transposed(a, x.dqt, m, h->dq + first * a->c);
    }
    if (h->dk) ltn__attention_unpack(a, w->dk, count, h->dk + j * a->c);
    if (h->dv) ltn__attention_unpack(a, w->dv, count, h->dv + j * a->c);
}

static void attention_dx_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const ltn_attention a = attention_of(n);
    const int64_t jobs = a.images * a.heads;
    int64_t count[3];
    counts(n->src[Q], n->src[K], n->i[2], count);
    threads = ltn__worth(threads, 2.5 * (double)ltn__count(n->src[Q]->dims) * (double)a.keys);
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; thread++) {
        int64_t at = (int64_t)workplace_size(&a) * thread;
        const workplace w = workplace_at(&a, scratch, &at);
        for (int64_t job = jobs * thread / threads; job < jobs * (thread + 1) / threads; job++) {
            const int64_t column = job % a.heads * a.d, to = job / a.heads * a.queries * a.c + column,
                          from = job / a.heads * a.keys * a.c + column, row = job * a.queries;
            const part h = {.dy = src[DY] + to, .q = src[Q] + to, .k = src[K] + from, .v = src[V] + from,
                            .y = src[MADE] + to, .l = src[MADE] + ltn__count(n->src[Q]->dims) + row,
                            .dl = src[DL] ? src[DL] + row : NULL,
                            .dq = count[0] ? dst + to : NULL, .dk = count[1] ? dst + count[0] + from : NULL,
                            .dv = count[2] ? dst + count[0] + count[1] + from : NULL};
            for (int64_t j = 0; j < a.keys; j += KEYS) block(&a, &h, j, LTN_MIN(KEYS, a.keys - j), &w);
        }
    }
}

/* ---- The same by simpler operations ---- */

/* (n,1,t,c) -> (n,heads,t,d), and back as one row of numbers */
static ltn_node *split(ltn_graph *g, ltn_node *x, int64_t heads)
{
    const int64_t *d = x->dims.d;
    return ltn__permute(g, ltn__reshape(g, x, ltn__dims(d[0], d[2], heads, d[3] / heads)), 0, 2, 1, 3);
}

static ltn_node *row(ltn_graph *g, ltn_node *x)
{
    return ltn__reshape(g, ltn__permute(g, x, 0, 2, 1, 3), ltn__dims(1, 1, 1, ltn__count(x->dims)));
}

/* Zeros, and where a key is ahead of the query a number whose exponential vanishes. */
static ltn_node *mask(ltn_graph *g, int64_t t)
{
    ltn_ctx *ctx = ltn__graph_ctx(g);
    real *ahead = ltn__alloc(ctx, (size_t)(t * t), sizeof *ahead);
    if (!ahead) return ltn__graph_fail(g, LTN_ENOMEM, "no memory for a mask of %lld tokens", (long long)t);
    for (int64_t i = 0; i < t; i++)
        for (int64_t j = i + 1; j < t; j++) ahead[i * t + j] = (real)-1e9;
    ltn_node *n = ltn__constant(g, ltn__dims(1, 1, t, t), ahead);
    ltn__free(ctx, ahead);
    return n;
}

static ltn_node *attention_dx_decompose(ltn_graph *g, ltn_node *n)
{
    const ltn_attention a = attention_of(n);
    const double scale = 1 / sqrt((double)a.d);
    const ltn_dims by_query = ltn__dims(a.images, a.heads, a.queries, 1);
    ltn_node *x[4], *all = NULL;
    for (int i = 0; i < 4; i++) x[i] = split(g, ltn__reshape(g, n->src[i], n->src[i == DY ? Q : i]->dims), n->i[0]);
    ltn_node *y = split(g, ltn__excerpt(g, n->src[MADE], 0, n->src[Q]->dims), n->i[0]);
    ltn_node *l = ltn__excerpt(g, n->src[MADE], ltn__count(n->src[Q]->dims), by_query);
    ltn_node *score = ltn__affine(g, ltn__matmul(g, x[Q], x[K], false, true), scale, 0);
    if (a.causal) score = ltn__add(g, score, mask(g, a.keys));
    ltn_node *p = ltn__exp(g, ltn__sub(g, score, l)), *dp = ltn__matmul(g, x[DY], x[V], false, true);
    ltn_node *slope = ltn__sum_to(g, ltn__mul(g, x[DY], y), by_query);
    if (n->src[DL]) slope = ltn__sub(g, slope, ltn__reshape(g, n->src[DL], by_query));
    ltn_node *ds = ltn__affine(g, ltn__mul(g, p, ltn__sub(g, dp, slope)), scale, 0);
    for (int i = 0; i < 3; i++) {
        if (!(n->i[2] >> i & 1)) continue;
        ltn_node *d = i == 0 ? ltn__matmul(g, ds, x[K], false, false)
                             : ltn__matmul(g, i == 1 ? ds : p, x[i == 1 ? Q : DY], true, false);
        all = all ? ltn__concat(g, all, row(g, d), 3) : row(g, d);
    }
    return ltn__reshape(g, all, n->dims);
}

/* Of the last case somebody read L as well. */
static ltn_node *attention_dx_example(ltn_graph *g, int k)
{
    static const int64_t wanted[] = {7, 7, 6, 1, 2, 7, 4, 5, 7};
    const ltn_attention_case *a = ltn__attention_case(k % LTN_ATTENTION_CASES);
    if (k >= LTN_COUNT(wanted)) return NULL;
    ltn_node *made = ltn__attention_example(g, k % LTN_ATTENTION_CASES);
    ltn_node *dy = ltn__input(g, "dy", made->src[0]->dims);
    ltn_node *dl = k == 8 ? ltn__input(g, "dl", ltn__dims(a->n, a->heads, a->t, 1)) : NULL;
    return make(g, (ltn_node *[]){dy, made->src[0], made->src[1], made->src[2], made, dl}, a->heads, a->causal,
                wanted[k]);
}

const ltn_op ltn__op_attention_dx = {
    .entry = {.name = "attention_dx", .help = "the gradients of attention by q, k and v"},
    .run = attention_dx_run,
    .scratch = attention_dx_scratch,
    .decompose = attention_dx_decompose,
    .example = attention_dx_example,
};
