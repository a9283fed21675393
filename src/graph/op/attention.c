/* attention.c - softmax(q k^T / sqrt(d)) v by heads, q (n,1,t,c), k and v (n,1,s,c), c = heads d. The scores
 * exist for a few queries and a few keys at a time, and never leave the cache; when a higher score comes, what was
 * summed so far is scaled down to it (Milakov and Gimelshein 2018, arXiv 1805.02867; Dao et al. 2022, arXiv
 * 2205.14135). Where pairs of terms pay (pairs.h), both products are made so. i[0]: heads,
 * i[1]: 1 if causal. The node's value is one row of numbers: the result y, and behind it, for the gradient,
 * L = log sum over the keys of exp(q k^T / sqrt(d)), (n,heads,t,1). */
#include "attention.h"
#include "real_math.h"

enum { KEYS = 192, N = LTN_TILE_N };

ltn_node *ltn__attention(ltn_graph *g, ltn_node *q, ltn_node *k, ltn_node *v, int heads, bool causal)
{
    const int64_t *a = q->dims.d, *b = k->dims.d;
    if (a[0] != b[0] || a[1] != 1 || b[1] != 1 || a[3] != b[3] || heads < 1 || a[3] % heads ||
        !ltn__same_dims(k->dims, v->dims) || (causal && a[2] != b[2]))
        return ltn__graph_fail(g, LTN_ESHAPE,
                               "attention: %lld tokens of %lld over %lld of %lld with %d heads",
                               (long long)a[2], (long long)a[3], (long long)b[2], (long long)b[3], heads);
    const ltn_dims both = ltn__dims(1, 1, 1, ltn__count(q->dims) + a[0] * heads * a[2]);
    ltn_node *n = ltn__node(g, &ltn__op_attention, both, 3, (ltn_node *[]){q, k, v});
    n->i[0] = heads;
    n->i[1] = causal;
    return ltn__excerpt(g, n, 0, q->dims);
}

/* ---- What the gradients need as well ---- */

ltn_attention ltn__attention_of(const ltn_node *n, const ltn_node *q, const ltn_node *k)
{
    const int64_t *d = q->dims.d, each = d[3] / n->i[0], keys = k->dims.d[2];
    return (ltn_attention){d[0],   n->i[0], d[3], each, d[2], keys, ltn__eights(keys), ltn__eights(each),
                           n->i[1]};
}

void ltn__attention_pack(const ltn_attention *a, const real *x, int64_t count, ltn_panels out)
{
    for (int64_t p = 0; p < ltn__panels(a->d); p++)
        ltn__panel(count, a->d, p, x, a->c, 1, out.v + p * out.rows * N);
}

void ltn__attention_pack_transposed(const ltn_attention *a, const real *x, int64_t count, ltn_panels out)
{
    for (int64_t p = 0; p < ltn__panels(count); p++)
        ltn__panel(a->d, count, p, x, 1, a->c, out.v + p * out.rows * N);
}

void ltn__attention_unpack(const ltn_attention *a, ltn_panels from, int64_t count, real *x)
{
    for (int64_t p = 0; p < ltn__panels(a->d); p++)
        ltn__unpanel(count, a->d, p, from.v + p * from.rows * N, x, a->c, 1);
}

void ltn__attention_unpack_transposed(const ltn_attention *a, ltn_panels from, int64_t count, real *x)
{
    for (int64_t p = 0; p < ltn__panels(count); p++)
        ltn__unpanel(a->d, count, p, from.v + p * from.rows * N, x, 1, a->c);
}

void ltn__attention_hide(ltn_panels score, int64_t j, int64_t count, int64_t first, int64_t m)
{
    for (int64_t r = 0; r < m; r++)
        for (int64_t k = LTN_MAX(first + r + 1 - j, 0); k < count; k++)
            score.v[(r / N * score.rows + k) * N + r % N] = -INFINITY;
}

/* ---- The kernel ---- */

/* What one thread works with. */
typedef struct workplace {
    ltn_paired k, vt; /* of a head: (keys, d), (d, keys), whose heads are of KEYS keys each */
    ltn_paired qt;    /* of a block: (d, QUERIES) */
    ltn_paired score; /* (KEYS, QUERIES) */
    ltn_panels yt;    /* (d, QUERIES) */
} workplace;

static workplace workplace_at(const ltn_attention *a, real *scratch, int64_t *at)
{
    const int64_t wide = ltn__panels(a->d) * N, keys = ltn__panels(a->keys) * N;
    const int64_t blocks = (a->keys + KEYS - 1) / KEYS, queries = LTN_MIN(LTN_QUERIES, ltn__panels(a->queries) * N);
    workplace w;
    w.k = ltn__take_paired(scratch, at, a->rows, wide, ltn__strip_heads(a->keys));
    w.vt = ltn__take_paired(scratch, at, a->tall, keys, blocks * ltn__strip_heads(a->d));
    w.qt = ltn__take_paired(scratch, at, wide, queries, ltn__panel_heads(queries));
    w.score = ltn__take_paired(scratch, at, KEYS, queries, ltn__panel_heads(queries));
    w.yt = (ltn_panels){ltn__take(scratch, at, queries * a->tall), a->tall};
    return w;
}

static size_t workplace_size(const ltn_attention *a)
{
    int64_t size = 0;
    workplace_at(a, NULL, &size);
    return (size_t)size;
}

static size_t attention_scratch(const ltn_node *n, int threads)
{
    const ltn_attention a = ltn__attention_of(n, n->src[0], n->src[1]);
    return (size_t)threads * workplace_size(&a) * sizeof(real);
}

/* Sixteen queries: the highest score so far, and the sum of what the exponentials relative to it weigh. */
typedef struct softmax {
    real highest[N], weight[N];
} softmax;

/* A panel of scores, (keys, 16), into exponentials; what was summed before, in yt (d, 16), is brought to their scale.
 * factor: of scores in powers of two. */
LTN_KERNEL static void soften(real *restrict s, int64_t keys, real factor, softmax *m, real *restrict yt, int64_t d)
{
    real highest[N], sum[N], down[N];
    memcpy(highest, m->highest, sizeof highest);
    for (int64_t j = 0; j < keys; j++) {
#pragma omp simd
        for (int r = 0; r < N; r++) highest[r] = s[j * N + r] > highest[r] ? s[j * N + r] : highest[r];
    }
#pragma omp simd
    for (int r = 0; r < N; r++) {
        down[r] = falling_exp2((m->highest[r] - highest[r]) * factor);
        sum[r] = m->weight[r] * down[r];
    }
    for (int64_t j = 0; j < keys; j++) {
#pragma omp simd
        for (int r = 0; r < N; r++) {
            const real e = falling_exp2((s[j * N + r] - highest[r]) * factor);
            s[j * N + r] = e;
            sum[r] += e;
        }
    }
    for (int64_t e = 0; e < d; e++)
        for (int r = 0; r < N; r++) yt[e * N + r] *= down[r];
    memcpy(m->highest, highest, sizeof highest);
    memcpy(m->weight, sum, sizeof sum);
}

/* A panel's sums, yt (d, 16), become the result, and weights the logarithms of the sums of exponentials. */
LTN_KERNEL static void finish(softmax *m, real scale, real *restrict yt, int64_t d)
{
    real part[N];
    for (int r = 0; r < N; r++) part[r] = 1 / m->weight[r];
    for (int64_t e = 0; e < d; e++)
        for (int r = 0; r < N; r++) yt[e * N + r] *= part[r];
#pragma omp simd
    for (int r = 0; r < N; r++) m->weight[r] = m->highest[r] * scale + fast_log(m->weight[r]);
}

/* ---- A head ---- */

/* The values of the keys from j on, a multiple of KEYS. */
static ltn_paired values_at(const ltn_attention *a, int64_t j, const workplace *w)
{
    const ltn_panels vt = {w->vt.at.v + j * w->vt.at.rows, w->vt.at.rows};
    return (ltn_paired){vt, w->vt.heads ? w->vt.heads + j / KEYS * ltn__strip_heads(a->d) : NULL};
}

static ltn_paired keys_at(int64_t j, const workplace *w)
{
    const ltn_panels k = {w->k.at.v + j * N, w->k.at.rows};
    return (ltn_paired){k, w->k.heads ? w->k.heads + ltn__strip_heads(j) : NULL};
}

static void pack_head(const ltn_attention *a, const real *k, const real *v, const workplace *w)
{
    ltn__attention_pack(a, k, a->keys, w->k.at);
    ltn__attention_pack_transposed(a, v, a->keys, w->vt.at);
    ltn__paired_left(w->k, a->keys, a->d);
    for (int64_t j = 0; j < a->keys; j += KEYS)
        ltn__paired_left(values_at(a, j, w), a->d, LTN_MIN(KEYS, a->keys - j));
}

/* yt += the values of keys [j, j + count), weighed by what became of m queries' scores. A causal block sees less than
 * the strips have. */
static void weigh(const ltn_attention *a, int64_t j, int64_t count, int64_t m, const workplace *w)
{
    const int64_t depth = w->vt.heads ? LTN_MIN(KEYS, a->keys - j) : count;
    ltn__paired_right(w->score, m, count, depth);
    ltn__paired_product(a->d, m, depth, values_at(a, j, w), w->score, w->yt, true);
}

/* The queries [first, first + m) of the head whose keys and values are packed. */
static void block(const ltn_attention *a, const real *q, real *y, real *l, int64_t first, int64_t m,
                  const workplace *w)
{
    const double scale = 1 / sqrt((double)a->d);
    const int64_t end = a->causal ? first + m : a->keys;
    softmax state[LTN_QUERIES / N];
    ltn__attention_pack_transposed(a, q + first * a->c, m, w->qt.at);
    ltn__paired_right(w->qt, m, a->d, a->d);
    memset(w->yt.v, 0, (size_t)(ltn__panels(m) * N * a->tall) * sizeof(real));
    for (int64_t r = 0; r < LTN_QUERIES; r++) {
        state[r / N].highest[r % N] = -(real)1e30;
        state[r / N].weight[r % N] = 0;
    }
    for (int64_t j = 0; j < end; j += KEYS) {
        const int64_t count = LTN_MIN(KEYS, end - j);
        ltn__paired_product(count, m, a->d, keys_at(j, w), w->qt, w->score.at, false);
        if (a->causal) ltn__attention_hide(w->score.at, j, count, first, m);
        for (int64_t p = 0; p < ltn__panels(m); p++)
            soften(w->score.at.v + p * KEYS * N, count, (real)(scale * LTN_LOG2_E), &state[p],
                   w->yt.v + p * a->tall * N, a->d);
        weigh(a, j, count, m, w);
    }
    for (int64_t p = 0; p < ltn__panels(m); p++) {
        finish(&state[p], (real)scale, w->yt.v + p * a->tall * N, a->d);
        memcpy(l + first + p * N, state[p].weight, (size_t)LTN_MIN(m - p * N, N) * sizeof *l);
    }
    ltn__attention_unpack_transposed(a, w->yt, m, y + first * a->c);
}

static void attention_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const ltn_attention a = ltn__attention_of(n, n->src[0], n->src[1]);
    const int64_t blocks = (a.queries + LTN_QUERIES - 1) / LTN_QUERIES, jobs = a.images * a.heads * blocks;
    const int64_t values = ltn__count(n->src[0]->dims);
    threads = ltn__worth(threads, (double)values * (double)a.keys);
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; thread++) {
        int64_t at = (int64_t)workplace_size(&a) * thread;
        const workplace w = workplace_at(&a, scratch, &at);
        int64_t packed = -1;
        for (int64_t job = jobs * thread / threads; job < jobs * (thread + 1) / threads; job++) {
            const int64_t head = job / blocks, image = head / a.heads, column = head % a.heads * a.d,
                          first = job % blocks * LTN_QUERIES;
            const int64_t from = image * a.keys * a.c + column, to = image * a.queries * a.c + column;
            if (head != packed) {
                pack_head(&a, src[1] + from, src[2] + from, &w);
                packed = head;
            }
            block(&a, src[0] + to, dst + to, dst + values + head * a.queries, first,
                  LTN_MIN(LTN_QUERIES, a.queries - first), &w);
        }
    }
}

const ltn_attention_case *ltn__attention_case(int k)
{
    static const ltn_attention_case cases[LTN_ATTENTION_CASES] = {{2, 5, 7, 6, 2, false},
                                                                  {1, 9, 9, 8, 2, true},
                                                                  {1, 6, 6, 5, 1, false},
                                                                  {1, 210, 150, 80, 2, false},
                                                                  {2, 150, 150, 40, 1, true},
                                                                  {1, 200, 200, 32, 2, true}};
    return &cases[k];
}

ltn_node *ltn__attention_example(ltn_graph *g, int k)
{
    if (k >= LTN_ATTENTION_CASES) return NULL;
    const ltn_attention_case *a = ltn__attention_case(k);
    const ltn_dims from = ltn__dims(a->n, 1, a->s, a->c), to = ltn__dims(a->n, 1, a->t, a->c);
    ltn_node *q = ltn__input(g, "q", to), *keys = ltn__input(g, "k", from), *v = ltn__input(g, "v", from);
    return ltn__attention(g, q, keys, v, a->heads, a->causal)->src[0];
}

const ltn_op ltn__op_attention = {
    .entry = {.name = "attention",
              .help = "softmax(q k^T / sqrt(d)) v by heads, causal or not, and the sums' logarithms"},
    .run = attention_run,
    .scratch = attention_scratch,
    .vjp = ltn__attention_vjp,
    .example = ltn__attention_example,
};
