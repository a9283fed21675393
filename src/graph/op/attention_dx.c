/* attention_dx.c - the gradients of attention by q, k and v. With P = softmax(q k^T / sqrt(d)) of a head and
 *     dP = dy v^T,   dS = P . (dP - rowsum(P . dP)) / sqrt(d):
 *     dq = dS k,   dk = dS^T q,   dv = P^T dy
 * (Dao et al. 2022, arXiv 2205.14135, appendix B). The scores are made again, for a few queries at a time, and
 * a block of keys meets all that is done with it while it is in the cache.
 * Sources dy, q, k, v; i[0]: heads, i[1]: 1 if causal, i[2]: what is wanted, 1 dq + 2 dk + 4 dv. The result
 * is what is wanted as one row of numbers, in this order; if that is one gradient it has its shape. */
#include "attention.h"
#include "real_math.h"

enum { DY, Q, K, V };
enum { KEYS = 192, N = LTN_TILE_N };

/* Numbers of each gradient. */
static void counts(const ltn_node *q, const ltn_node *k, int64_t wanted, int64_t count[3])
{
    for (int i = 0; i < 3; i++) count[i] = wanted >> i & 1 ? ltn__count((i ? k : q)->dims) : 0;
}

static ltn_node *make(ltn_graph *g, ltn_node *const src[4], int64_t heads, int64_t causal, int64_t wanted)
{
    int64_t count[3];
    counts(src[Q], src[K], wanted, count);
    ltn_dims dims = ltn__dims(1, 1, 1, count[0] + count[1] + count[2]);
    if (wanted == 1) dims = src[Q]->dims;
    if (wanted == 2 || wanted == 4) dims = src[K]->dims;
    ltn_node *n = ltn__node(g, &ltn__op_attention_dx, dims, 4, src);
    n->i[0] = heads;
    n->i[1] = causal;
    n->i[2] = wanted;
    return n;
}

void ltn__attention_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    const int64_t wanted = want[0] + 2 * want[1] + 4 * want[2];
    int64_t count[3], first = 0;
    counts(n->src[0], n->src[1], wanted, count);
    ltn_node *all = make(g, (ltn_node *[]){dy, n->src[0], n->src[1], n->src[2]}, n->i[0], n->i[1], wanted);
    for (int i = 0; i < 3; first += count[i++]) {
        if (!want[i]) continue;
        ltn_node *part = count[i] == ltn__count(all->dims) ? all : ltn__slice(g, all, 3, first, count[i]);
        gsrc[i] = ltn__reshape(g, part, n->src[i]->dims);
    }
}

/* ---- The kernel: all transposed, as attention.h has it ---- */

static ltn_attention attention_of(const ltn_node *n)
{
    return ltn__attention_of(n, n->src[Q], n->src[K]);
}

/* What one thread works with. */
typedef struct workplace {
    ltn_panels k, v, kt;     /* of a head: (keys, d), (d, keys) */
    ltn_panels dk, dv;       /* (keys, d) */
    ltn_panels qt, yt, q, y; /* of a block: (d, QUERIES), (QUERIES, d) */
    ltn_panels p, ds;        /* (keys, QUERIES) */
    ltn_panels dqt;          /* (d, QUERIES) */
    real *mark;              /* (keys / KEYS, QUERIES): what each block's exponentials are relative to */
} workplace;

static workplace workplace_at(const ltn_attention *a, real *scratch, int64_t *at)
{
    const int64_t wide = ltn__panels(a->d) * N, keys = ltn__panels(a->keys) * N;
    workplace w;
    ltn_panels *const by_key[] = {&w.k, &w.v, &w.dk, &w.dv};
    for (int i = 0; i < 4; i++) *by_key[i] = (ltn_panels){ltn__take(scratch, at, wide * a->rows), a->rows};
    w.kt = (ltn_panels){ltn__take(scratch, at, keys * a->tall), a->tall};
    w.qt = (ltn_panels){ltn__take(scratch, at, LTN_QUERIES * a->d), a->d};
    w.yt = (ltn_panels){ltn__take(scratch, at, LTN_QUERIES * a->d), a->d};
    w.q = (ltn_panels){ltn__take(scratch, at, wide * LTN_QUERIES), LTN_QUERIES};
    w.y = (ltn_panels){ltn__take(scratch, at, wide * LTN_QUERIES), LTN_QUERIES};
    w.p = (ltn_panels){ltn__take(scratch, at, LTN_QUERIES * a->rows), a->rows};
    w.ds = (ltn_panels){ltn__take(scratch, at, LTN_QUERIES * a->rows), a->rows};
    w.dqt = (ltn_panels){ltn__take(scratch, at, LTN_QUERIES * a->tall), a->tall};
    w.mark = ltn__take(scratch, at, (a->keys + KEYS - 1) / KEYS * LTN_QUERIES);
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

/* Sixteen queries: the highest score so far; the sum of the exponentials relative to it, and of those times dP. */
typedef struct softmax {
    real highest[N], weight[N], slope[N];
} softmax;

/* A panel of scores, (keys, 16), becomes exponentials relative to `mark`, the highest score so far; ds holds dP. */
LTN_KERNEL static void soften(real *restrict p, const real *restrict ds, int64_t keys, real scale, softmax *m,
                              real *restrict mark)
{
    real highest[N], weight[N], slope[N];
    memcpy(highest, m->highest, sizeof highest);
    for (int64_t j = 0; j < keys; j++)
        for (int r = 0; r < N; r++) highest[r] = p[j * N + r] > highest[r] ? p[j * N + r] : highest[r];
#pragma omp simd
    for (int r = 0; r < N; r++) {
        const real down = falling_exp((m->highest[r] - highest[r]) * scale);
        weight[r] = m->weight[r] * down;
        slope[r] = m->slope[r] * down;
    }
    for (int64_t j = 0; j < keys; j++) {
#pragma omp simd
        for (int r = 0; r < N; r++) {
            const real e = falling_exp((p[j * N + r] - highest[r]) * scale);
            p[j * N + r] = e;
            weight[r] += e;
            slope[r] += e * ds[j * N + r];
        }
    }
    memcpy(mark, highest, sizeof highest);
    memcpy(m->highest, highest, sizeof highest);
    memcpy(m->weight, weight, sizeof weight);
    memcpy(m->slope, slope, sizeof slope);
}

/* The exponentials become P, and dP becomes dS. */
LTN_KERNEL static void differentiate(real *restrict p, real *restrict ds, int64_t keys, real scale, const softmax *m,
                                     const real *restrict mark)
{
    real to[N], slope[N];
#pragma omp simd
    for (int r = 0; r < N; r++) {
        to[r] = falling_exp((mark[r] - m->highest[r]) * scale) / m->weight[r];
        slope[r] = m->slope[r] / m->weight[r];
    }
    for (int64_t j = 0; j < keys; j++) {
#pragma omp simd
        for (int r = 0; r < N; r++) {
            p[j * N + r] *= to[r];
            ds[j * N + r] = p[j * N + r] * (ds[j * N + r] - slope[r]) * scale;
        }
    }
}

/* Scores and dP of the queries [first, first + m), block of keys after block while it is in the cache. */
static void go_forward(const ltn_attention *a, int64_t first, int64_t m, int64_t end, softmax *state, const workplace *w)
{
    const real scale = (real)(1 / sqrt((double)a->d));
    for (int64_t r = 0; r < LTN_QUERIES; r++) {
        softmax *s = &state[r / N];
        s->highest[r % N] = -(real)1e30;
        s->weight[r % N] = s->slope[r % N] = 0;
    }
    for (int64_t j = 0; j < end; j += KEYS) {
        const int64_t count = LTN_MIN(KEYS, end - j);
        ltn__panel_product(j, count, m, a->d, w->k, w->qt, w->p, false);
        ltn__panel_product(j, count, m, a->d, w->v, w->yt, w->ds, false);
        if (a->causal) ltn__attention_hide((ltn_panels){w->p.v + j * N, w->p.rows}, j, count, first, m);
        for (int64_t p = 0; p < ltn__panels(m); p++) {
            const int64_t at = (p * a->rows + j) * N;
            soften(w->p.v + at, w->ds.v + at, count, scale, &state[p], w->mark + (j / KEYS * (LTN_QUERIES / N) + p) * N);
        }
    }
}

/* The queries [first, first + m) of a head; dq may be NULL. */
static void block(const ltn_attention *a, const real *q, const real *dy, real *dq, int64_t wanted,
                  int64_t first, int64_t m, const workplace *w)
{
    const int64_t c = a->c, end = a->causal ? first + m : a->keys;
    softmax state[LTN_QUERIES / N];
    ltn__attention_pack_transposed(a, q + first * c, m, w->qt);
    ltn__attention_pack_transposed(a, dy + first * c, m, w->yt);
    ltn__attention_pack(a, q + first * c, m, w->q);
    ltn__attention_pack(a, dy + first * c, m, w->y);
    go_forward(a, first, m, end, state, w);
    for (int64_t j = 0; j < end; j += KEYS) {
        const int64_t count = LTN_MIN(KEYS, end - j);
        for (int64_t p = 0; p < ltn__panels(m); p++) {
            const int64_t at = (p * a->rows + j) * N;
            differentiate(w->p.v + at, w->ds.v + at, count, (real)(1 / sqrt((double)a->d)), &state[p],
                          w->mark + (j / KEYS * (LTN_QUERIES / N) + p) * N);
        }
        if (wanted & 2) ltn__panel_product(j, count, a->d, m, w->ds, w->q, w->dk, true);
        if (wanted & 4) ltn__panel_product(j, count, a->d, m, w->p, w->y, w->dv, true);
        if (dq)
            ltn__panel_product(0, a->d, m, count, (ltn_panels){w->kt.v + j * w->kt.rows, w->kt.rows},
                               (ltn_panels){w->ds.v + j * N, w->ds.rows}, w->dqt, j > 0);
    }
    for (int64_t r = 0; r < m && dq; r++)
        for (int64_t e = 0; e < a->d; e++)
            dq[(first + r) * c + e] = w->dqt.v[(r / N * a->tall + e) * N + r % N];
}

static void unpack(const ltn_attention *a, ltn_panels from, real *to)
{
    for (int64_t j = 0; j < a->keys; j++)
        for (int64_t e = 0; e < a->d; e++) to[j * a->c + e] = from.v[(e / N * from.rows + j) * N + e % N];
}

/* d[i]: where the head's part of that gradient goes, or NULL. */
static void head(const ltn_attention *a, const real *const src[4], real *const d[3], int64_t wanted,
                 const workplace *w)
{
    const size_t size = (size_t)(ltn__panels(a->d) * N * a->rows) * sizeof(real);
    ltn__attention_pack(a, src[K], a->keys, w->k);
    ltn__attention_pack(a, src[V], a->keys, w->v);
    if (d[0]) ltn__attention_pack_transposed(a, src[K], a->keys, w->kt);
    memset(w->dk.v, 0, size);
    memset(w->dv.v, 0, size);
    for (int64_t first = 0; first < a->queries; first += LTN_QUERIES)
        block(a, src[Q], src[DY], d[0], wanted, first, LTN_MIN(LTN_QUERIES, a->queries - first), w);
    if (d[1]) unpack(a, w->dk, d[1]);
    if (d[2]) unpack(a, w->dv, d[2]);
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
                          from = job / a.heads * a.keys * a.c + column;
            const real *const s[4] = {src[DY] + to, src[Q] + to, src[K] + from, src[V] + from};
            real *const d[3] = {count[0] ? dst + to : NULL, count[1] ? dst + count[0] + from : NULL,
                                count[2] ? dst + count[0] + count[1] + from : NULL};
            head(&a, s, d, n->i[2], &w);
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
    ltn_node *x[4], *all = NULL;
    for (int i = 0; i < 4; i++) x[i] = split(g, n->src[i], n->i[0]);
    ltn_node *score = ltn__affine(g, ltn__matmul(g, x[Q], x[K], false, true), scale, 0);
    if (a.causal) score = ltn__add(g, score, mask(g, a.keys));
    ltn_node *p = ltn__softmax(g, score), *dp = ltn__matmul(g, x[DY], x[V], false, true);
    ltn_dims one = p->dims;
    one.d[3] = 1;
    ltn_node *slope = ltn__sum_to(g, ltn__mul(g, p, dp), one);
    ltn_node *ds = ltn__affine(g, ltn__mul(g, p, ltn__sub(g, dp, slope)), scale, 0);
    for (int i = 0; i < 3; i++) {
        if (!(n->i[2] >> i & 1)) continue;
        ltn_node *d = i == 0 ? ltn__matmul(g, ds, x[K], false, false)
                             : ltn__matmul(g, i == 1 ? ds : p, x[i == 1 ? Q : DY], true, false);
        all = all ? ltn__concat(g, all, row(g, d), 3) : row(g, d);
    }
    return ltn__reshape(g, all, n->dims);
}

static ltn_node *attention_dx_example(ltn_graph *g, int k)
{
    static const int64_t wanted[] = {7, 7, 6, 1, 2, 4, 5};
    const ltn_attention_case *a = ltn__attention_case(k % LTN_ATTENTION_CASES);
    if (k >= LTN_COUNT(wanted)) return NULL;
    const ltn_dims from = ltn__dims(a->n, 1, a->s, a->c), to = ltn__dims(a->n, 1, a->t, a->c);
    return make(g,
                (ltn_node *[]){ltn__input(g, "dy", to), ltn__input(g, "q", to), ltn__input(g, "k", from),
                               ltn__input(g, "v", from)},
                a->heads, a->causal, wanted[k]);
}

const ltn_op ltn__op_attention_dx = {
    .entry = {.name = "attention_dx", .help = "the gradients of attention by q, k and v"},
    .run = attention_dx_run,
    .scratch = attention_dx_scratch,
    .decompose = attention_dx_decompose,
    .example = attention_dx_example,
};
