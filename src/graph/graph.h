/* graph.h - static graphs of array operations: nodes, reverse mode, and the plan that runs them.
 *
 * Every array has four dimensions and is stored channels last: (n, h, w, c) for pictures and latents, (n, 1,
 * tokens, c) for token sequences, leading ones for everything smaller. So a 1x1 convolution, a linear layer
 * and a token projection are one and the same matrix product, and no transpose ever stands between
 * neighbours. Weights keep the dimensions of their file (out, in, kh, kw) or (out, in).
 *
 * Building is sticky: the first error is kept in the context and the graph, later calls are legal and return
 * a node that must not be used; ltn__plan_open reports it. A graph is built once, planned once per shape, run
 * many times. Plan may fail and allocate; run may do neither. */
#ifndef LTN_GRAPH_H
#define LTN_GRAPH_H

#include "../base/base.h"
#include "../base/real.h"

typedef struct ltn_graph ltn_graph;
typedef struct ltn_node ltn_node;
typedef struct ltn_plan ltn_plan;
typedef struct ltn_op ltn_op;

typedef enum ltn_dtype {
    LTN_F32, LTN_F16, LTN_BF16, LTN_F64,
    /* quant.c */
    LTN_F8_E4M3, LTN_F8_E5M2, LTN_Q8_0, LTN_Q4_0, LTN_Q4_1, LTN_Q5_0, LTN_Q5_1, LTN_Q4_K, LTN_Q5_K, LTN_Q6_K
} ltn_dtype;
/* Of those in blocks: so many values in so many bytes. */
typedef struct ltn_block_type {
    const char *name;
    int values, bytes;
    void (*widen)(const uint8_t *block, float *out);
} ltn_block_type;
const ltn_block_type *ltn__block_type(ltn_dtype d); /* NULL: every value stands for itself */

typedef struct ltn_dims {
    int64_t d[4];
} ltn_dims;
static inline int64_t ltn__count(ltn_dims s) { return s.d[0] * s.d[1] * s.d[2] * s.d[3]; }
static inline ltn_dims ltn__dims(int64_t n, int64_t h, int64_t w, int64_t c)
{
    return (ltn_dims){{n, h, w, c}};
}
bool ltn__same_dims(ltn_dims a, ltn_dims b);

/* A weight where it lies in its mapped file, whose type it keeps (kernels widen what they read, when they read it), and
 * the widened or packed copies that plans made of it; all plans of a model share them. The file layer makes these;
 * ltn__weight_free drops the copies. */
typedef struct ltn_weight {
    const char *name; /* whole path in the file */
    ltn_dtype dtype;
    int rank;
    int64_t dim[4];
    const void *data; /* of any alignment */
    struct ltn_copy *copies;
    bool mapped; /* data are pages of a file, which can be read again */
    bool used;
} ltn_weight;
/* The copy made under this key ("real", "onednn:<layout>"), or NULL. */
void *ltn__weight_copy(const ltn_weight *w, const char *key);
/* Allocates room for a new copy; the caller fills it. NULL: LTN_ENOMEM. */
void *ltn__weight_make_copy(ltn_ctx *ctx, ltn_weight *w, const char *key, size_t bytes);
void ltn__weight_free(ltn_ctx *ctx, ltn_weight *w);
int64_t ltn__weight_count(const ltn_weight *w); /* values */
/* All of it as real: where it lies if it is that already, else the copy "real". NULL: LTN_ENOMEM. */
const real *ltn__weight_real(ltn_ctx *ctx, ltn_weight *w);
size_t ltn__weight_bytes(const ltn_weight *w); /* in its file */
const char *ltn__dtype_name(ltn_dtype d); /* "f16" */
/* Gives back the memory of the file's pages until somebody reads them again. */
void ltn__weight_leave(const ltn_weight *w);
/* Widens values [first, first + n) to real. */
void ltn__weight_widen(const ltn_weight *w, int64_t first, int64_t n, real *out);
/* Asks the memory for the same numbers, which will be wanted soon. */
void ltn__weight_fetch(const ltn_weight *w, int64_t first, int64_t n);

enum { LTN_MAXSRC = 6 };
struct ltn_node {
    const ltn_op *op; /* NULL: a leaf */
    ltn_dims dims;
    int nsrc;
    ltn_node *src[LTN_MAXSRC]; /* optional sources are NULL */
    int64_t i[8]; /* whole-number parameters; each op's file says which */
    double f[2];
    int id;       /* position in the graph: sources stand before */
    ltn_weight *weight;   /* leaf: a weight */
    const real *constant; /* leaf: a constant, owned by the graph */
    const char *input;    /* leaf: an input's name */
    const char *output;   /* an output's name */
    ltn_node *value;      /* of a copy that only a gradient looks at (grad.c): the node that has its value, or NULL */
};

/* ---- Building ---- */
ltn_status ltn__graph_open(ltn_ctx *ctx, ltn_graph **out);
void ltn__graph_close(ltn_graph **g);
ltn_ctx *ltn__graph_ctx(ltn_graph *g);
ltn_status ltn__graph_status(const ltn_graph *g);
/* Makes the graph fail from now on, with this message (for missing weights and so on). */
ltn_node *ltn__graph_fail(ltn_graph *g, ltn_status s, const char *fmt, ...) LTN_PRINTF(3, 4);
int ltn__graph_size(const ltn_graph *g);
ltn_node *ltn__graph_node(const ltn_graph *g, int id);

ltn_node *ltn__input(ltn_graph *g, const char *name, ltn_dims dims);
/* dims: (out, in, kh, kw), (1,1,out,in), (1,1,1,n) by rank 4, 2, 1 */
ltn_node *ltn__weight_node(ltn_graph *g, ltn_weight *w);
ltn_node *ltn__constant(ltn_graph *g, ltn_dims dims, const real *values); /* copied */
ltn_node *ltn__fill(ltn_graph *g, ltn_dims dims, double value);
ltn_node *ltn__output(ltn_graph *g, const char *name, ltn_node *n); /* returns n */

/* Products. b and bias may be NULL where marked. */
ltn_node *ltn__conv2d(ltn_graph *g, ltn_node *x, ltn_node *w, ltn_node *bias /* or NULL */, int stride,
                      int top, int left, int bottom, int right);
/* x (n,h,w,in), w (1,1,out,in) or (out,in,1,1) */
ltn_node *ltn__linear(ltn_graph *g, ltn_node *x, ltn_node *w, ltn_node *bias /* or NULL */);
/* By the first two dimensions: a (n,h,m,k) or, transposed, (n,h,k,m), times b (n,h,k,p) or (n,h,p,k). */
ltn_node *ltn__matmul(ltn_graph *g, ltn_node *a, ltn_node *b, bool ta, bool tb);
/* softmax(q k^T / sqrt(d)) v by heads: q (n,1,t,c), k and v (n,1,s,c), c = heads * d; causal: no token looks
 * ahead. */
ltn_node *ltn__attention(ltn_graph *g, ltn_node *q, ltn_node *k, ltn_node *v, int heads, bool causal);

/* Elementwise; b of add, sub, mul is broadcast where its dimension is 1 (and a too). */
ltn_node *ltn__add(ltn_graph *g, ltn_node *a, ltn_node *b);
ltn_node *ltn__sub(ltn_graph *g, ltn_node *a, ltn_node *b);
ltn_node *ltn__mul(ltn_graph *g, ltn_node *a, ltn_node *b);
ltn_node *ltn__affine(ltn_graph *g, ltn_node *x, double scale, double shift);
ltn_node *ltn__silu(ltn_graph *g, ltn_node *x);
ltn_node *ltn__relu(ltn_graph *g, ltn_node *x);
ltn_node *ltn__gelu(ltn_graph *g, ltn_node *x);       /* exact, with erf */
ltn_node *ltn__gelu_tanh(ltn_graph *g, ltn_node *x);
ltn_node *ltn__quick_gelu(ltn_graph *g, ltn_node *x); /* x sigmoid(1.702 x) */
ltn_node *ltn__sigmoid(ltn_graph *g, ltn_node *x);
ltn_node *ltn__tanh(ltn_graph *g, ltn_node *x);
ltn_node *ltn__exp(ltn_graph *g, ltn_node *x);
ltn_node *ltn__erf(ltn_graph *g, ltn_node *x);
ltn_node *ltn__step(ltn_graph *g, ltn_node *x);       /* 1 where x > 0, else 0 */
ltn_node *ltn__rsqrt(ltn_graph *g, ltn_node *x);
/* (.., 2c) -> (.., c): first half * gelu(second half) */
ltn_node *ltn__geglu(ltn_graph *g, ltn_node *x);

/* Norms; w and b (1,1,1,c) or NULL. */
ltn_node *ltn__group_norm(ltn_graph *g, ltn_node *x, ltn_node *w, ltn_node *b, int groups, double eps);
/* its gradient by x */
ltn_node *ltn__group_norm_dx(ltn_graph *g, ltn_node *dy, ltn_node *x, ltn_node *w, int groups, double eps);
/* over the channels */
ltn_node *ltn__layer_norm(ltn_graph *g, ltn_node *x, ltn_node *w, ltn_node *b, double eps);
/* its gradient by x */
ltn_node *ltn__layer_norm_dx(ltn_graph *g, ltn_node *dy, ltn_node *x, ltn_node *w, double eps);
ltn_node *ltn__softmax(ltn_graph *g, ltn_node *x); /* over the last dimension */

/* Shape. */
ltn_node *ltn__reshape(ltn_graph *g, ltn_node *x, ltn_dims dims);
/* x's values [first, first + count) in a row, under these dimensions */
ltn_node *ltn__excerpt(ltn_graph *g, ltn_node *x, int64_t first, ltn_dims dims);
/* out dim 0 is x's dim a, ... */
ltn_node *ltn__permute(ltn_graph *g, ltn_node *x, int a, int b, int c, int d);
ltn_node *ltn__concat(ltn_graph *g, ltn_node *a, ltn_node *b, int axis);
ltn_node *ltn__slice(ltn_graph *g, ltn_node *x, int axis, int64_t first, int64_t count);
/* slice's adjoint: x in zeros of length count */
ltn_node *ltn__place(ltn_graph *g, ltn_node *x, int axis, int64_t first, int64_t count);
/* sums over the dimensions that are 1 in dims */
ltn_node *ltn__sum_to(ltn_graph *g, ltn_node *x, ltn_dims dims);
ltn_node *ltn__expand(ltn_graph *g, ltn_node *x, ltn_dims dims);   /* its adjoint */
ltn_node *ltn__upsample(ltn_graph *g, ltn_node *x, int factor);    /* nearest */
ltn_node *ltn__downsum(ltn_graph *g, ltn_node *x, int factor);     /* its adjoint */
/* the largest values of windows of size x size pixels, every stride pixels; no padding */
ltn_node *ltn__maxpool(ltn_graph *g, ltn_node *x, int size, int stride);
/* table (1,1,rows,c) ids (n,1,t,1), whole numbers -> (n,1,t,c) */
ltn_node *ltn__gather(ltn_graph *g, ltn_node *table, ltn_node *ids);
ltn_node *ltn__scatter(ltn_graph *g, ltn_node *x, ltn_node *ids, int64_t rows); /* its adjoint */

/* ---- Reverse mode ----
 * Extends the graph with the gradient of <cotangent, y> with respect to each wrt[k] (leaves or nodes), into
 * grad[k]; grad[k] is NULL where y does not depend on it. Only what lies between is differentiated. */
typedef ltn_status ltn_gradient(ltn_graph *g, ltn_node *y, ltn_node *cotangent, ltn_node *const *wrt, int n,
                                 ltn_node **grad);
ltn_gradient ltn__grad;
/* The same in less memory and more time: of the values before y only the sums of two of one shape are kept,
 * what stands between them is made again on the way back. */
ltn_gradient ltn__grad_sparing;

/* Rows [first, end) of a value. */
typedef struct ltn_span {
    int64_t first, end;
} ltn_span;

/* ---- An operation: one row ltn__op_NAME of op.def ---- */
struct ltn_op {
    ltn_entry entry; /* .entry = {.name = "silu", .help = "x sigmoid(x)"} */
    /* The reference kernel: src[k] is the data of n->src[k] (NULL if that is); dst never overlaps a source
     * unless `inplace`, when dst may be src[0]. scratch has scratch(n, threads) bytes, 64-byte aligned. */
    void (*run)(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads);
    size_t (*scratch)(const ltn_node *n, int threads); /* NULL: none */
    /* Gradient as graph: fills gsrc[k] for the sources that want[k]; dy has n's shape. */
    void (*vjp)(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc);
    /* Or, when vjp is NULL: the same value by simpler operations, whose gradients are then taken. */
    ltn_node *(*decompose)(ltn_graph *g, ltn_node *n);
    /* What the tests and the benchmark feed it: the k-th case built in g from inputs, NULL past the last.
     * Inputs are fed normal numbers; those whose name begins with "ids" 0, 1, 2, 0, 1, 2 ..., with "positive"
     * numbers in [0.5, 1.5], with "apart" numbers of which differences make no two equal. */
    ltn_node *(*example)(ltn_graph *g, int k);
    /* Which rows of its sources the rows *make of it depend on, ahead of the first and behind the last where a
     * convolution's padding is met; it may make more than asked for. NULL: all of them on all of theirs. */
    void (*rows)(const ltn_node *n, ltn_span *make, ltn_span *need);
    bool inplace; /* dst may be src[0], which has the same count */
    bool alias;   /* the value is in src[0]'s memory, under other dimensions, from value i[0] on: never run */
};
void ltn__same_rows(const ltn_node *n, ltn_span *make, ltn_span *need); /* of an elementwise operation */
const ltn_op *ltn__op(int i); /* the i-th row, NULL past the last */
const ltn_entry *ltn__op_entry(int i); /* the same for ltn_list */
#define ROW(name) extern const ltn_op ltn__op_##name;
#include "op.def"
#undef ROW
/* What constructors use: a node of this op, its sources checked by them, its dimensions here. */
ltn_node *ltn__node(ltn_graph *g, const ltn_op *op, ltn_dims dims, int nsrc, ltn_node *const *src);

/* What follows an operation inside the same kernel: + residual, then an activation. The table of patterns is
 * fuse.c. */
typedef struct ltn_fusion {
    const ltn_node *residual; /* added to the result; NULL: nothing */
    const ltn_op *activation; /* relu, silu ...; NULL: none */
    bool before;              /* the activation acts before the residual is added */
    const ltn_node *result;   /* the node whose value this is; the operation itself if nothing follows */
} ltn_fusion;
enum { LTN_MAXFUSION = 3 };
/* The chains that may follow n in one kernel, longest first, the last of them nothing; returns how many.
 * reader[id] is the node that alone reads node id, or NULL. */
int ltn__fusions(const ltn_node *n, const ltn_node *const *reader, ltn_fusion out[LTN_MAXFUSION]);

/* ---- A cell: a backend's kernel for one operation; the table is cell.def ---- */
typedef struct ltn_cell ltn_cell;
typedef struct ltn_kernel {
    void *state;
    size_t scratch;  /* bytes of a run */
    /* bit k: source k is a weight that the cell holds in its own layout; run gets NULL for it */
    unsigned packed;
} ltn_kernel;
struct ltn_cell {
    const char *name;  /* "onednn:conv2d" */
    const ltn_op *op;
    /* Makes its primitives and packs its weights; returns LTN_OK with *out, or LTN_DONE if it does not fit
     * this node or cannot do what `fuse` asks (no message), or an error. */
    ltn_status (*open)(ltn_ctx *ctx, const ltn_node *n, const ltn_fusion *fuse, int threads, ltn_kernel *out);
    /* src as for the reference, then the residual; dst may be the residual's memory, no other source's. */
    void (*run)(void *state, const real *const *src, real *dst, void *scratch);
    void (*close)(ltn_ctx *ctx, void *state);
};
const ltn_cell *ltn__cell(int i); /* NULL past the last */

/* ---- Plan and run ---- */
typedef struct ltn_plan_options {
    int threads;      /* 0: the context's */
    bool reference;   /* only reference kernels, nothing fused */
    bool frugal;      /* gives the weights' pages back after each step that read them */
    size_t most;      /* bytes; a plan that takes more is LTN_DONE, without a message; 0: any number */
} ltn_plan_options;
ltn_status ltn__plan_open(ltn_graph *g, const ltn_plan_options *opt, ltn_plan **out);
void ltn__plan_close(ltn_plan **p);
real *ltn__plan_data(ltn_plan *p, const char *name); /* of an input or output; NULL if unknown */
ltn_dims ltn__plan_dims(const ltn_plan *p, const char *name);
void ltn__plan_run(ltn_plan *p);
/* A run in two halves: what the named output needs and all that stands before it; the rest, for inputs set in
 * between (a gradient's cotangent). The values of the first half stay where they are. */
void ltn__plan_run_to(ltn_plan *p, const char *output);
void ltn__plan_run_on(ltn_plan *p, const char *output);
size_t ltn__plan_bytes(const ltn_plan *p); /* slab, and scratch, which plans share */

/* ---- What a run costs ---- */
typedef struct ltn_work {
    const char *kernel; /* the cell's name, or the operation's */
    char kind[24];      /* "conv 3x3", "linear", "matmul", "attention", "norm", "other" */
    double flop, bytes; /* as ltn_speed_block has them */
} ltn_work;
/* Of an operation with what follows it in its kernel (count.c). */
ltn_work ltn__work(const ltn_node *n, const ltn_fusion *fuse);
int ltn__plan_steps(const ltn_plan *p);
ltn_work ltn__plan_work(const ltn_plan *p, int step);
/* A run that writes down the seconds of each step. */
void ltn__plan_run_timed(ltn_plan *p, double *seconds);
/* The machine's peaks (peak.c): floating-point operations and bytes in a second, on that many threads. */
ltn_status ltn__peak_flops(ltn_ctx *ctx, int threads, double *out);
ltn_status ltn__peak_bandwidth(ltn_ctx *ctx, int threads, double *out);

/* ---- Stripes: a graph from one picture to another in bounded memory (stripes.c) ---- */
typedef struct ltn_stripes ltn_stripes;
/* The graph has one input and one output, both of one picture. height: rows of a stripe; 0: as many as the memory
 * allows. */
ltn_status ltn__stripes_open(ltn_graph *g, int64_t height, ltn_stripes **out);
void ltn__stripes_close(ltn_stripes **s);
real *ltn__stripes_data(ltn_stripes *s, const char *name); /* of the input or the output; NULL if unknown */
/* Takes at most `memory` bytes while it runs, beside input and output; 0: no bound. Plans stripe after stripe, so
 * unlike a plan's run it may fail. */
ltn_status ltn__stripes_run(ltn_stripes *s, size_t memory);

#endif
