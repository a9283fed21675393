/* attention.c - softmax(q k^T / sqrt(d)) v by heads, q (n,1,t,c), k and v (n,1,s,c), c = heads d. Keys are
 * taken in blocks with a running maximum and sum (Dao et al. 2022, arXiv 2205.14135), so no more than a block
 * of the score matrix ever exists. i[0]: heads, i[1]: 1 if causal. */
#include "attention.h"
#include "real_math.h"
#include "tile.h"

enum { QUERIES = 192, KEYS = 128 }; /* a block of the score matrix */

ltn_node *ltn__attention(ltn_graph *g, ltn_node *q, ltn_node *k, ltn_node *v, int heads, bool causal)
{
    const int64_t *a = q->dims.d, *b = k->dims.d;
    if (a[0] != b[0] || a[1] != 1 || b[1] != 1 || a[3] != b[3] || heads < 1 || a[3] % heads ||
        !ltn__same_dims(k->dims, v->dims) || (causal && a[2] != b[2]))
        return ltn__graph_fail(g, LTN_ESHAPE,
                               "attention: %lld tokens of %lld over %lld of %lld with %d heads",
                               (long long)a[2], (long long)a[3], (long long)b[2], (long long)b[3], heads);
    ltn_node *n = ltn__node(g, &ltn__op_attention, q->dims, 3, (ltn_node *[]){q, k, v});
    n->i[0] = heads;
    n->i[1] = causal;
    return n;
}

/* What one thread works with; every part a multiple of 16 numbers. */
typedef struct workplace {
    real *keys;    /* k^T of a block, in panels */
    real *values;  /* v of a block, in panels */
    real *score;   /* (QUERIES, KEYS) */
    real *part;    /* (QUERIES, d), what a block adds */
    real *sum;     /* (QUERIES, d) */
    real *highest; /* (QUERIES), of the scores so far */
    real *weight;  /* (QUERIES), sum of their exponentials */
    real *shrink;  /* (QUERIES), of the exponentials when a block raises the highest */
} workplace;

static int64_t head_size(const ltn_node *n)
{
    return n->dims.d[3] / n->i[0];
}

static size_t workplace_size(const ltn_node *n)
{
    const int64_t d = head_size(n), wide = ltn__panels(d) * LTN_TILE_N;
    return (size_t)(KEYS * d + KEYS * wide + QUERIES * (KEYS + 2 * wide + 3));
}

static workplace workplace_at(const ltn_node *n, real *p)
{
    const int64_t d = head_size(n), wide = ltn__panels(d) * LTN_TILE_N;
    workplace w = {.keys = p, .values = p + KEYS * d};
    w.score = w.values + KEYS * wide;
    w.part = w.score + QUERIES * KEYS;
    w.sum = w.part + QUERIES * wide;
    w.highest = w.sum + QUERIES * wide;
    w.weight = w.highest + QUERIES;
    w.shrink = w.weight + QUERIES;
    return w;
}

static size_t attention_scratch(const ltn_node *n, int threads)
{
    return (size_t)threads * workplace_size(n) * sizeof(real);
}

/* Scores of one row into exponentials relative to the new maximum; returns their sum. */
LTN_KERNEL static real exponentials(real *s, int64_t n, real highest, real scale)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) {
        const real e = fast_exp((s[j] - highest) * scale);
        s[j] = e;
        sum += e;
    }
    return sum;
}

LTN_KERNEL static real maximum(const real *s, int64_t n, real start)
{
    real m = start;
#pragma omp simd reduction(max : m)
    for (int64_t j = 0; j < n; j++) m = s[j] > m ? s[j] : m;
    return m;
}

/* Row r's scores of a block of keys become weights, relative to the highest score so far; `seen` keys of the
 * block are not ahead of it. */
static void soften(const workplace *w, int64_t r, int64_t keys, int64_t seen, real scale)
{
    real *s = w->score + r * KEYS;
    const real highest = maximum(s, seen, w->highest[r]);
    w->shrink[r] = fast_exp((w->highest[r] - highest) * scale);
    w->highest[r] = highest;
    w->weight[r] = w->weight[r] * w->shrink[r] + exponentials(s, seen, highest, scale);
    for (int64_t j = seen; j < keys; j++) s[j] = 0;
}

/* What was summed before shrinks to the new maximum. */
LTN_KERNEL static void add_part(real *restrict sum, const real *restrict part, const real *restrict shrink,
                                int64_t m, int64_t d)
{
    for (int64_t r = 0; r < m; r++)
        for (int64_t e = 0; e < d; e++) sum[r * d + e] = sum[r * d + e] * shrink[r] + part[r * d + e];
}

LTN_KERNEL static void finish(const real *restrict sum, const real *restrict weight, real *restrict y,
                              int64_t c, int64_t m, int64_t d)
{
    for (int64_t r = 0; r < m; r++)
        for (int64_t e = 0; e < d; e++) y[r * c + e] = sum[r * d + e] / weight[r];
}

/* One head's queries [first, first + m). The pointers stand at the head's first number; rows are c apart. */
static void head(const ltn_node *n, const real *q, const real *k, const real *v, real *dst, int64_t first,
                 int64_t m, const workplace *w)
{
    const int64_t c = n->dims.d[3], d = head_size(n), tokens = n->src[1]->dims.d[2],
                  end = n->i[1] ? first + m : tokens;
    const real scale = (real)(1 / sqrt((double)d));
    for (int64_t r = 0; r < m; r++) w->highest[r] = -INFINITY, w->weight[r] = 0;
    memset(w->sum, 0, (size_t)(m * d) * sizeof(real));
    for (int64_t j = 0; j < end; j += KEYS) {
        const int64_t keys = LTN_MIN(KEYS, end - j);
        for (int64_t p = 0; p < ltn__panels(keys); p++)
            ltn__panel(d, keys, p, k + j * c, 1, c, w->keys + p * d * LTN_TILE_N);
        for (int64_t p = 0; p < ltn__panels(d); p++)
            ltn__panel(keys, d, p, v + j * c, c, 1, w->values + p * keys * LTN_TILE_N);
        ltn__product(m, keys, d, q + first * c, c, w->keys, NULL, w->score, KEYS);
        for (int64_t r = 0; r < m; r++) {
            const int64_t seen = n->i[1] ? LTN_MAX(0, LTN_MIN(keys, first + r - j + 1)) : keys;
            soften(w, r, keys, seen, scale);
        }
        ltn__product(m, d, keys, w->score, KEYS, w->values, NULL, w->part, d);
        add_part(w->sum, w->part, w->shrink, m, d);
    }
    finish(w->sum, w->weight, dst + first * c, c, m, d);
}

static void attention_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t c = n->dims.d[3], t = n->dims.d[2], s = n->src[1]->dims.d[2], heads = n->i[0],
                  d = head_size(n);
    const int64_t blocks = (t + QUERIES - 1) / QUERIES, jobs = n->dims.d[0] * heads * blocks;
    threads = ltn__worth(threads, (double)ltn__count(n->dims) * (double)s);
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; thread++) {
        const workplace w = workplace_at(n, (real *)scratch + (size_t)thread * workplace_size(n));
        for (int64_t job = jobs * thread / threads; job < jobs * (thread + 1) / threads; job++) {
            const int64_t picture = job / (heads * blocks), column = job / blocks % heads * d,
                          first = job % blocks * QUERIES;
            const int64_t from = picture * s * c + column, to = picture * t * c + column;
            head(n, src[0] + to, src[1] + from, src[2] + from, dst + to, first, LTN_MIN(QUERIES, t - first),
                 &w);
        }
    }
}

const ltn_attention_case *ltn__attention_case(int k)
{
    static const ltn_attention_case cases[LTN_ATTENTION_CASES] = {{2, 5, 7, 6, 2, false},
                                                                  {1, 9, 9, 8, 2, true},
                                                                  {1, 6, 6, 5, 1, false},
                                                                  {1, 210, 150, 80, 2, false},
                                                                  {2, 150, 150, 40, 1, true}};
    return &cases[k];
}

static ltn_node *attention_example(ltn_graph *g, int k)
{
    if (k >= LTN_ATTENTION_CASES) return NULL;
    const ltn_attention_case *a = ltn__attention_case(k);
    const ltn_dims from = ltn__dims(a->n, 1, a->s, a->c), to = ltn__dims(a->n, 1, a->t, a->c);
    return ltn__attention(g, ltn__input(g, "q", to), ltn__input(g, "k", from), ltn__input(g, "v", from), a->heads,
                          a->causal);
}

const ltn_op ltn__op_attention = {
    .entry = {.name = "attention", .help = "softmax(q k^T / sqrt(d)) v by heads, causal or not"},
    .run = attention_run,
    .scratch = attention_scratch,
    .vjp = ltn__attention_vjp,
    .example = attention_example,
};
