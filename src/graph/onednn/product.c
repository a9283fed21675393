/* product.c - see product.h. Weights that are leaves are packed once into the layout that the primitive asks
 * for, as copies which all plans share; computed ones are packed in each run. */
#include "product.h"

#include "../op/tile.h"

#include <stdio.h>
#include <string.h>

enum { A, W, BIAS, Y, PLAIN_W, SCRATCH, MEMORIES };

typedef struct product {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t plan;
    dnnl_primitive_t primitive, reorder; /* reorder: packs computed weights */
    dnnl_memory_t memory[MEMORIES];
    dnnl_exec_arg_t arg[5];
    int args, threads, residual;     /* residual: its place among the sources, or -1 */
    size_t bytes;                    /* of the result */
    size_t packed_at;                /* offset of computed weights in the scratch */
} product;

static ltn_status status_of(ltn_ctx *ctx, dnnl_status_t s)
{
    if (!s) return LTN_OK;
    if (s == dnnl_unimplemented || s == dnnl_invalid_arguments) return LTN_DONE;
    return ltn__fail(ctx, s == dnnl_out_of_memory ? LTN_ENOMEM : LTN_EDEVICE, "oneDNN: error %d", (int)s);
}

/* ---- The primitive descriptor ---- */

static dnnl_status_t append_activation(dnnl_post_ops_t ops, const ltn_op *op)
{
    if (!strcmp(op->entry.name, "relu")) return append_eltwise(ops, dnnl_eltwise_relu, 0);
    if (!strcmp(op->entry.name, "silu")) return append_eltwise(ops, dnnl_eltwise_swish, 1);
    return dnnl_unimplemented;
}

static dnnl_status_t make_attributes(const ltn_fusion *f, dnnl_primitive_attr_t *attr)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t s = dnnl_primitive_attr_create(attr);
    if (!s) s = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (!s) s = dnnl_post_ops_create(&ops);
    if (!s && f->activation && f->before) s = append_activation(ops, f->activation);
    if (!s && f->residual) s = append_sum(ops);
    if (!s && f->activation && !f->before) s = append_activation(ops, f->activation);
    if (!s) s = dnnl_primitive_attr_set_post_ops(*attr, ops);
    if (ops) dnnl_post_ops_destroy(ops);
    return s;
}

static dnnl_status_t make_descs(const product_task *t, desc d[PLAIN_W + 1])
{
    dnnl_status_t s = desc_strided(&d[A], t->ndims, t->a.dim, t->a.stride);
    if (!s) s = desc_strided(&d[Y], t->ndims, t->y.dim, t->y.stride);
    if (!s) s = desc_strided(&d[PLAIN_W], t->ndims, t->w.dim, t->w.stride);
    if (!s)
        s = t->pack ? desc_any(&d[W], t->ndims, t->w.dim)
                    : desc_strided(&d[W], t->ndims, t->w.dim, t->w.stride);
    if (!s && t->bias.dim[0])
        s = desc_strided(&d[BIAS], t->kind == MATMUL ? t->ndims : 1, t->bias.dim, t->bias.stride);
    return s;
}

static dnnl_status_t make_plan(product *p, const product_task *t, const desc d[PLAIN_W + 1],
                               dnnl_primitive_attr_t attr)
{
    const const_desc a = desc_of(&d[A]), w = desc_of(&d[W]), y = desc_of(&d[Y]),
                     bias = t->bias.dim[0] ? desc_of(&d[BIAS]) : NULL;
    if (t->kind == MATMUL) return plan_matmul(&p->plan, p->engine, a, w, bias, y, attr);
    if (t->kind == CONVOLUTION)
        return plan_convolution(&p->plan, p->engine, &t->convolution, a, w, bias, y, attr);
    dnnl_primitive_desc_t forward = NULL;
    dnnl_status_t s = plan_convolution(&forward, p->engine, &t->convolution, y, w, NULL, a, NULL);
    if (!s) s = plan_convolution_dx(&p->plan, p->engine, &t->convolution, y, w, a, forward, attr);
    if (forward) dnnl_primitive_desc_destroy(forward);
    return s;
}

/* oneDNN's own reference is slower than ours. */
static dnnl_status_t refuse_slow(const product *p)
{
    const char *name = "";
    const dnnl_status_t s = dnnl_primitive_desc_query(p->plan, dnnl_query_impl_info_str, 0, (void *)&name);
    return s ? s : strncmp(name, "ref", 3) ? dnnl_success : dnnl_unimplemented;
}

/* ---- Weights ---- */

/* The layout in words, so that plans find each other's copies; 0 if it has none. */
static size_t name_layout(const_desc d, const char *key, char *out, size_t room)
{
    layout l;
    if (!layout_of(d, &l)) return 0;
    size_t n = (size_t)snprintf(out, room, "onednn:%s", key);
    for (int k = 0; k < l.ndims && n < room; k++)
        n +=
            (size_t)snprintf(out + n, room - n, ":%lldx%lld", (long long)l.padded[k], (long long)l.stride[k]);
    for (int k = 0; k < l.blocks && n < room; k++)
        n += (size_t)snprintf(out + n, room - n, ":%lld of %lld", (long long)l.block[k],
                              (long long)l.index[k]);
    return n < room ? n : 0;
}

static dnnl_status_t make_reorder(product *p, const_desc from, const_desc to, dnnl_primitive_t *out)
{
    dnnl_primitive_desc_t plan = NULL;
    dnnl_status_t s = dnnl_reorder_primitive_desc_create(&plan, from, p->engine, to, p->engine, NULL);
    if (!s) s = dnnl_primitive_create(out, plan);
    if (plan) dnnl_primitive_desc_destroy(plan);
    return s;
}

static dnnl_status_t pack(product *p, dnnl_primitive_t reorder, const real *plain, void *packed)
{
    const dnnl_exec_arg_t arg[] = {{DNNL_ARG_FROM, p->memory[PLAIN_W]}, {DNNL_ARG_TO, p->memory[W]}};
    dnnl_status_t s = dnnl_memory_set_data_handle(p->memory[PLAIN_W], (void *)plain);
    if (!s) s = dnnl_memory_set_data_handle(p->memory[W], packed);
    if (!s) s = dnnl_primitive_execute(reorder, p->stream, 2, arg);
    return s ? s : dnnl_stream_wait(p->stream);
}

/* A fresh copy; made last, so that an unfilled one is never found by others. */
static ltn_status make_copy(ltn_ctx *ctx, product *p, const_desc from, const_desc to, ltn_weight *w,
                            int64_t count, const char *key, void **copy)
{
    dnnl_primitive_t reorder = NULL;
    real *plain = ltn__alloc(ctx, (size_t)count, sizeof *plain);
    ltn_status status = plain ? status_of(ctx, make_reorder(p, from, to, &reorder)) : LTN_ENOMEM;
    if (!status) {
        *copy = ltn__weight_make_copy(ctx, w, key, dnnl_memory_desc_get_size(to));
        if (!*copy) status = LTN_ENOMEM;
    }
    if (!status) {
        ltn__weight_widen(w, 0, count, plain);
        if (pack(p, reorder, plain, *copy))
            status = ltn__fail(ctx, LTN_EDEVICE, "oneDNN: cannot pack %s", w->name);
    }
    if (reorder) dnnl_primitive_destroy(reorder);
    ltn__free(ctx, plain);
    return status;
}

/* A leaf: its packed copy, made here if no other plan has made it. */
static ltn_status share_weight(ltn_ctx *ctx, product *p, const product_task *t, const_desc from,
                               const_desc to)
{
    char key[400];
    ltn_weight *w = t->n->src[1]->weight;
    if (!name_layout(to, t->key, key, sizeof key)) return LTN_DONE;
    void *copy = ltn__weight_copy(w, key);
    if (!copy) {
        const ltn_status status = make_copy(ctx, p, from, to, w, ltn__count(t->n->src[1]->dims), key, &copy);
        if (status) return status;
    }
    return status_of(ctx, dnnl_memory_set_data_handle(p->memory[W], copy));
}

/* ---- Open, run, close ---- */

static const_desc asked(const product *p, dnnl_query_t what)
{
    return dnnl_primitive_desc_query_md(p->plan, what, 0);
}

static dnnl_status_t make_memories(product *p, const product_task *t, const desc d[PLAIN_W + 1])
{
    const_desc of[MEMORIES] = {desc_of(&d[A]),
                               asked(p, dnnl_query_weights_md),
                               t->bias.dim[0] ? desc_of(&d[BIAS]) : NULL,
                               desc_of(&d[Y]),
                               desc_of(&d[PLAIN_W]),
                               asked(p, dnnl_query_scratchpad_md)};
    for (int k = 0; k < MEMORIES; k++)
        if (of[k]) {
            const dnnl_status_t s = dnnl_memory_create(&p->memory[k], of[k], p->engine, NULL);
            if (s) return s;
        }
    const bool back = t->kind == CONVOLUTION_DX;
    const int name[] = {back ? DNNL_ARG_DIFF_DST : DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS,
                        back ? DNNL_ARG_DIFF_SRC : DNNL_ARG_DST, 0, DNNL_ARG_SCRATCHPAD};
    for (int k = 0; k < MEMORIES; k++)
        if (name[k] && p->memory[k]) p->arg[p->args++] = (dnnl_exec_arg_t){name[k], p->memory[k]};
    return dnnl_success;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static ltn_status open_weights(ltn_ctx *ctx, product *p, const product_task *t, const desc d[PLAIN_W + 1],
                               ltn_kernel *out)
{
    const const_desc from = desc_of(&d[PLAIN_W]), to = asked(p, dnnl_query_weights_md);
    out->scratch = aligned(dnnl_memory_desc_get_size(asked(p, dnnl_query_scratchpad_md)));
    if (dnnl_memory_desc_equal(from, to)) return LTN_OK;
    if (t->n->src[1]->weight) {
        out->packed = 1u << 1;
        return share_weight(ctx, p, t, from, to);
    }
    p->packed_at = out->scratch;
    out->scratch += aligned(dnnl_memory_desc_get_size(to));
    return status_of(ctx, make_reorder(p, from, to, &p->reorder));
}

static ltn_status build(ltn_ctx *ctx, product *p, const product_task *t, ltn_kernel *out)
{
    desc d[PLAIN_W + 1];
    dnnl_primitive_attr_t attr = NULL;
    memset(d, 0, sizeof d);
    dnnl_status_t s = dnnl_engine_create(&p->engine, dnnl_cpu, 0);
    if (!s) s = dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags);
    if (!s) s = make_attributes(t->fuse, &attr);
    if (!s) s = make_descs(t, d);
    if (!s) s = make_plan(p, t, d, attr);
    if (!s) s = refuse_slow(p);
    if (!s) s = dnnl_primitive_create(&p->primitive, p->plan);
    if (!s) s = make_memories(p, t, d);
    const ltn_status status = s ? status_of(ctx, s) : open_weights(ctx, p, t, d, out);
    for (int k = 0; k <= PLAIN_W; k++) desc_free(&d[k]);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return status;
}

/* Multiplications for each number of the result. */
static int64_t depth(const product_task *t)
{
    const dnnl_dim_t *w = t->w.dim;
    if (t->kind == MATMUL) return w[t->ndims - 2];
    return (t->kind == CONVOLUTION ? w[1] : w[0]) * w[2] * w[3];
}

ltn_status ltn__product_open(ltn_ctx *ctx, const product_task *t, ltn_kernel *out)
{
    product *p = ltn__alloc(ctx, 1, sizeof *p);
    if (!p) return LTN_ENOMEM;
    p->threads = ltn__worth(t->threads, (double)ltn__count(t->n->dims) * (double)depth(t));
    p->residual = t->fuse->residual ? t->n->nsrc : -1;
    p->bytes = (size_t)ltn__count(t->n->dims) * sizeof(real);
    const int before = use_threads(p->threads);
    const ltn_status status = build(ctx, p, t, out);
    use_threads(before);
    if (status) ltn__product_close(ctx, p);
    else out->state = p;
    return status;
}

void ltn__product_run(void *state, const real *const *src, real *dst, void *scratch)
{
    product *p = state;
    const int before = use_threads(p->threads);
    if (p->residual >= 0 && src[p->residual] != dst) memcpy(dst, src[p->residual], p->bytes);
    dnnl_memory_set_data_handle(p->memory[A], (void *)src[0]);
    dnnl_memory_set_data_handle(p->memory[Y], dst);
    dnnl_memory_set_data_handle(p->memory[SCRATCH], scratch);
    if (p->memory[BIAS]) dnnl_memory_set_data_handle(p->memory[BIAS], (void *)src[2]);
    if (p->reorder) pack(p, p->reorder, src[1], (char *)scratch + p->packed_at);
    else if (src[1]) dnnl_memory_set_data_handle(p->memory[W], (void *)src[1]);
    dnnl_primitive_execute(p->primitive, p->stream, p->args, p->arg);
    dnnl_stream_wait(p->stream);
    use_threads(before);
}

void ltn__product_close(ltn_ctx *ctx, void *state)
{
    product *p = state;
    for (int k = 0; k < MEMORIES; k++)
        if (p->memory[k]) dnnl_memory_destroy(p->memory[k]);
    if (p->reorder) dnnl_primitive_destroy(p->reorder);
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
    if (p->plan) dnnl_primitive_desc_destroy(p->plan);
    if (p->stream) dnnl_stream_destroy(p->stream);
    if (p->engine) dnnl_engine_destroy(p->engine);
    ltn__free(ctx, p);
}
