/* attention_dx.c - the gradients of attention by q, k and v. With P = softmax(q k^T / sqrt(d)) of a head and
 *     dP = dy v^T,   dS = P . (dP - rowsum(P . dP)) / sqrt(d):
 *     dq = dS k,   dk = dS^T q,   dv = P^T dy
 * (Dao et al. 2022, arXiv 2205.14135, appendix B). The scores are made again for a few queries at a time, so no
 * more than (keys, QUERIES) of P and dS ever exists, and is never read by another thread. Sources dy, q, k, v;
 * i[0]: heads, i[1]: 1 if causal, i[2]: what is wanted, 1 dq + 2 dk + 4 dv. The result is what is wanted as one
 * row of numbers, in this order; if that is one gradient it has its shape. */
#include "attention.h"
#include "real_math.h"
#include "tile.h"

enum { QUERIES = 96, KEYS = 96 };
enum { DY, Q, K, V };

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

/* ---- The kernel ---- */

typedef struct shape {
    int64_t c, d, queries, keys; /* numbers of a token, of a head; tokens */
    bool causal;
} shape;

static shape shape_of(const ltn_node *n)
{
    const int64_t *q = n->src[Q]->dims.d;
    return (shape){q[3], q[3] / n->i[0], q[2], n->src[K]->dims.d[2], n->i[1]};
}

/* What one thread works with; every part a multiple of 16 numbers. */
typedef struct workplace {
    real *p, *ds; /* (keys, QUERIES) */
    real *kt;     /* k^T, (d, keys) */
    real *qt, *yt, *q, *y; /* q^T, dy^T, q and dy of a block, in panels */
    real *panel;  /* (KEYS, 16) of ds */
    real *dqt;    /* dq^T of a block, (d, QUERIES) */
} workplace;

static size_t workplace_at(const shape *s, real *at, workplace *w)
{
    const int64_t wide = ltn__panels(s->d) * LTN_TILE_N, keys = ltn__panels(s->keys) * LTN_TILE_N;
    const int64_t size[] = {keys * QUERIES, keys * QUERIES, s->d * keys,    s->d * QUERIES,   s->d * QUERIES,
                            wide * QUERIES, wide * QUERIES, KEYS * LTN_TILE_N, s->d * QUERIES};
    real **const part[] = {&w->p, &w->ds, &w->kt, &w->qt, &w->yt, &w->q, &w->y, &w->panel, &w->dqt};
    int64_t total = 0;
    for (int k = 0; k < LTN_COUNT(part); total += size[k++]) *part[k] = at ? at + total : NULL;
    return (size_t)total;
}

static size_t attention_dx_scratch(const ltn_node *n, int threads)
{
    const shape s = shape_of(n);
    workplace w;
    return (size_t)threads * workplace_at(&s, NULL, &w) * sizeof(real);
}

/* p holds scores, (keys, wide), and becomes the softmax over the keys; ds holds dP and becomes dS. */
LTN_KERNEL static void differentiate(real *restrict p, real *restrict ds, int64_t keys, int64_t wide, real scale)
{
    real highest[QUERIES], weight[QUERIES] = {0}, slope[QUERIES] = {0};
    for (int64_t r = 0; r < wide; r++) highest[r] = -INFINITY;
    for (int64_t j = 0; j < keys; j++)
        for (int64_t r = 0; r < wide; r++)
            highest[r] = p[j * wide + r] > highest[r] ? p[j * wide + r] : highest[r];
    for (int64_t j = 0; j < keys; j++) {
#pragma omp simd
        for (int64_t r = 0; r < wide; r++) {
            const real e = fast_exp((p[j * wide + r] - highest[r]) * scale);
            p[j * wide + r] = e;
            weight[r] += e;
            slope[r] += e * ds[j * wide + r];
        }
    }
    for (int64_t r = 0; r < wide; r++) {
        weight[r] = 1 / weight[r];
        slope[r] *= weight[r];
    }
    for (int64_t j = 0; j < keys; j++) {
#pragma omp simd
        for (int64_t r = 0; r < wide; r++) {
            p[j * wide + r] *= weight[r];
            ds[j * wide + r] = p[j * wide + r] * (ds[j * wide + r] - slope[r]) * scale;
        }
    }
}

/* Panels of the block's m rows x, c apart: of x^T, (d, m), and of x, (m, d). */
static void pack(const shape *s, const real *x, int64_t m, real *transposed, real *plain)
{
    for (int64_t p = 0; p < ltn__panels(m); p++)
        ltn__panel(s->d, m, p, x, 1, s->c, transposed + p * s->d * LTN_TILE_N);
    for (int64_t p = 0; p < ltn__panels(s->d); p++)
        ltn__panel(m, s->d, p, x, s->c, 1, plain + p * m * LTN_TILE_N);
}

/* dq^T += k^T dS, by panels of 16 queries, for the keys [j, j + count). */
static void add_dq(const shape *s, const workplace *w, int64_t j, int64_t count, int64_t wide)
{
    for (int64_t p = 0; p < wide / LTN_TILE_N; p++) {
        ltn__panel(count, wide, p, w->ds + j * wide, wide, 1, w->panel);
        ltn__product_add(s->d, LTN_TILE_N, count, w->kt + j, s->keys, w->panel, w->dqt + p * LTN_TILE_N, wide);
    }
}

/* The queries [first, first + m) of a head. The pointers stand at the head's first number, rows are c apart;
 * d[i] is NULL where that gradient is not wanted. */
static void block(const shape *s, const real *const *src, real *const d[3], int64_t first, int64_t m,
                  const workplace *w)
{
    const int64_t c = s->c, wide = ltn__panels(m) * LTN_TILE_N, end = s->causal ? first + m : s->keys;
    pack(s, src[Q] + first * c, m, w->qt, w->q);
    pack(s, src[DY] + first * c, m, w->yt, w->y);
    for (int64_t j = 0; j < end; j += KEYS) {
        const int64_t count = LTN_MIN(KEYS, end - j);
        ltn__product(count, wide, s->d, src[K] + j * c, c, w->qt, NULL, w->p + j * wide, wide);
        ltn__product(count, wide, s->d, src[V] + j * c, c, w->yt, NULL, w->ds + j * wide, wide);
    }
    for (int64_t j = first; s->causal && j < end; j++)
        for (int64_t r = 0; r < j - first; r++) w->p[j * wide + r] = -INFINITY;
    differentiate(w->p, w->ds, end, wide, (real)(1 / sqrt((double)s->d)));
    memset(w->dqt, 0, (size_t)(s->d * wide) * sizeof(real));
    for (int64_t j = 0; j < end; j += KEYS) {
        const int64_t count = LTN_MIN(KEYS, end - j);
        if (d[0]) add_dq(s, w, j, count, wide);
        if (d[1]) ltn__product_add(count, s->d, m, w->ds + j * wide, wide, w->q, d[1] + j * c, c);
        if (d[2]) ltn__product_add(count, s->d, m, w->p + j * wide, wide, w->y, d[2] + j * c, c);
    }
    for (int64_t r = 0; d[0] && r < m; r++)
        for (int64_t e = 0; e < s->d; e++) d[0][(first + r) * c + e] = w->dqt[e * wide + r];
}

static void attention_dx_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const shape s = shape_of(n);
    const int64_t heads = n->i[0], jobs = n->src[Q]->dims.d[0] * heads;
    int64_t count[3];
    counts(n->src[Q], n->src[K], n->i[2], count);
    memset(dst, 0, (size_t)ltn__count(n->dims) * sizeof(real));
    threads = ltn__worth(threads, 2.5 * (double)ltn__count(n->src[Q]->dims) * (double)s.keys);
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; thread++) {
        workplace w;
        const size_t size = workplace_at(&s, NULL, &w);
        workplace_at(&s, (real *)scratch + (size_t)thread * size, &w);
        for (int64_t job = jobs * thread / threads; job < jobs * (thread + 1) / threads; job++) {
            const int64_t column = job % heads * s.d, to = job / heads * s.queries * s.c + column,
                          from = job / heads * s.keys * s.c + column;
            const real *const at[4] = {src[DY] + to, src[Q] + to, src[K] + from, src[V] + from};
            real *const d[3] = {count[0] ? dst + to : NULL, count[1] ? dst + count[0] + from : NULL,
                                count[2] ? dst + count[0] + count[1] + from : NULL};
            for (int64_t e = 0; d[0] && e < s.d; e++)
                for (int64_t j = 0; j < s.keys; j++) w.kt[e * s.keys + j] = at[K][j * s.c + e];
            for (int64_t first = 0; first < s.queries; first += QUERIES)
                block(&s, at, d, first, LTN_MIN(QUERIES, s.queries - first), &w);
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
    const shape s = shape_of(n);
    const double scale = 1 / sqrt((double)s.d);
    ltn_node *x[4], *all = NULL;
    for (int i = 0; i < 4; i++) x[i] = split(g, n->src[i], n->i[0]);
    ltn_node *score = ltn__affine(g, ltn__matmul(g, x[Q], x[K], false, true), scale, 0);
    if (s.causal) score = ltn__add(g, score, mask(g, s.keys));
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
