/* dialect.h - oneDNN 2 (operation descriptors, memory descriptors by value) and oneDNN 3 (primitive
 * descriptors made at once, opaque memory descriptors) under the same names; the only file that knows the
 * difference. */
#ifndef LTN_DIALECT_H
#define LTN_DIALECT_H

#include <oneapi/dnnl/dnnl.h>
#include <stddef.h>
#ifdef _OPENMP
#include <omp.h>
#endif

/* How a layout is named: outer strides and inner blocks. */
typedef struct layout {
    int ndims, blocks;
    const dnnl_dim_t *padded, *stride, *block, *index;
} layout;

typedef struct convolution {
    dnnl_dims_t stride, before, after;
} convolution;

#if DNNL_VERSION_MAJOR >= 3

typedef const_dnnl_memory_desc_t const_desc;
typedef dnnl_memory_desc_t desc; /* freed by desc_free */
static inline const_desc desc_of(const desc *d) { return *d; }
static inline void desc_free(desc *d)
{
    if (*d) dnnl_memory_desc_destroy(*d);
}
static inline dnnl_status_t desc_any(desc *d, int ndims, const dnnl_dims_t dims)
{
    return dnnl_memory_desc_create_with_tag(d, ndims, dims, dnnl_f32, dnnl_format_tag_any);
}
static inline dnnl_status_t desc_strided(desc *d, int ndims, const dnnl_dims_t dims,
                                         const dnnl_dims_t strides)
{
    return dnnl_memory_desc_create_with_strides(d, ndims, dims, dnnl_f32, strides);
}
static inline dnnl_status_t append_sum(dnnl_post_ops_t p)
{
    return dnnl_post_ops_append_sum(p, 1, 0, dnnl_data_type_undef);
}
static inline dnnl_status_t append_eltwise(dnnl_post_ops_t p, dnnl_alg_kind_t what, float alpha)
{
    return dnnl_post_ops_append_eltwise(p, what, alpha, 0);
}

/* False for layouts that are not strides and blocks. */
static inline bool layout_of(const_desc d, layout *out)
{
    dnnl_format_kind_t kind;
    const dnnl_dims_t *padded, *stride, *block, *index;
    if (dnnl_memory_desc_query(d, dnnl_query_format_kind, &kind) || kind != dnnl_blocked) return false;
    if (dnnl_memory_desc_query(d, dnnl_query_ndims_s32, &out->ndims) ||
        dnnl_memory_desc_query(d, dnnl_query_padded_dims, &padded) ||
        dnnl_memory_desc_query(d, dnnl_query_strides, &stride) ||
        dnnl_memory_desc_query(d, dnnl_query_inner_nblks_s32, &out->blocks) ||
        dnnl_memory_desc_query(d, dnnl_query_inner_blks, &block) ||
        dnnl_memory_desc_query(d, dnnl_query_inner_idxs, &index))
        return false;
    out->padded = *padded, out->stride = *stride, out->block = *block, out->index = *index;
    return true;
}

static inline dnnl_status_t plan_convolution(dnnl_primitive_desc_t *out, dnnl_engine_t e,
                                             const convolution *c, const_desc x, const_desc w,
                                             const_desc bias, const_desc y, const_dnnl_primitive_attr_t attr)
{
    const dnnl_dims_t dense = {0};
    return dnnl_convolution_forward_primitive_desc_create(out, e, dnnl_forward_inference,
                                                          dnnl_convolution_direct, x, w, bias, y, c->stride,
                                                          dense, c->before, c->after, attr);
}

static inline dnnl_status_t plan_convolution_dx(dnnl_primitive_desc_t *out, dnnl_engine_t e,
                                                const convolution *c, const_desc x, const_desc w,
                                                const_desc y, dnnl_primitive_desc_t hint,
                                                const_dnnl_primitive_attr_t attr)
{
    const dnnl_dims_t dense = {0};
    return dnnl_convolution_backward_data_primitive_desc_create(
        out, e, dnnl_convolution_direct, x, w, y, c->stride, dense, c->before, c->after, hint, attr);
}

static inline dnnl_status_t plan_matmul(dnnl_primitive_desc_t *out, dnnl_engine_t e, const_desc a,
                                        const_desc b, const_desc bias, const_desc c,
                                        const_dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(out, e, a, b, bias, c, attr);
}

#else

typedef const dnnl_memory_desc_t *const_desc;
typedef dnnl_memory_desc_t desc;
static inline const_desc desc_of(const desc *d) { return d->ndims ? d : NULL; }
static inline void desc_free(desc *d) { (void)d; }
static inline dnnl_status_t desc_any(desc *d, int ndims, const dnnl_dims_t dims)
{
    return dnnl_memory_desc_init_by_tag(d, ndims, dims, dnnl_f32, dnnl_format_tag_any);
}
static inline dnnl_status_t desc_strided(desc *d, int ndims, const dnnl_dims_t dims,
                                         const dnnl_dims_t strides)
{
    return dnnl_memory_desc_init_by_strides(d, ndims, dims, dnnl_f32, strides);
}
static inline dnnl_status_t append_sum(dnnl_post_ops_t p) { return dnnl_post_ops_append_sum(p, 1); }
static inline dnnl_status_t append_eltwise(dnnl_post_ops_t p, dnnl_alg_kind_t what, float alpha)
{
    return dnnl_post_ops_append_eltwise(p, 1, what, alpha, 0);
}

static inline bool layout_of(const_desc d, layout *out)
{
    const dnnl_blocking_desc_t *b = &d->format_desc.blocking;
    if (d->format_kind != dnnl_blocked) return false;
    *out = (layout){d->ndims, b->inner_nblks, d->padded_dims, b->strides, b->inner_blks, b->inner_idxs};
    return true;
}

static inline dnnl_status_t plan_convolution(dnnl_primitive_desc_t *out, dnnl_engine_t e,
                                             const convolution *c, const_desc x, const_desc w,
                                             const_desc bias, const_desc y, const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    const dnnl_status_t s = dnnl_convolution_forward_desc_init(
        &d, dnnl_forward_inference, dnnl_convolution_direct, x, w, bias, y, c->stride, c->before, c->after);
    return s ? s : dnnl_primitive_desc_create(out, &d, attr, e, NULL);
}

static inline dnnl_status_t plan_convolution_dx(dnnl_primitive_desc_t *out, dnnl_engine_t e,
                                                const convolution *c, const_desc x, const_desc w,
                                                const_desc y, dnnl_primitive_desc_t hint,
                                                const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    const dnnl_status_t s = dnnl_convolution_backward_data_desc_init(&d, dnnl_convolution_direct, x, w, y,
                                                                     c->stride, c->before, c->after);
    return s ? s : dnnl_primitive_desc_create(out, &d, attr, e, hint);
}

static inline dnnl_status_t plan_matmul(dnnl_primitive_desc_t *out, dnnl_engine_t e, const_desc a,
                                        const_desc b, const_desc bias, const_desc c,
                                        const_dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t d;
    const dnnl_status_t s = dnnl_matmul_desc_init(&d, a, b, bias, c);
    return s ? s : dnnl_primitive_desc_create(out, &d, attr, e, NULL);
}

#endif

/* oneDNN plans for, and runs on, as many threads as OpenMP would take; returns how many those were. */
static inline int use_threads(int threads)
{
#ifdef _OPENMP
    const int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    return before;
#else
    return threads;
#endif
}

#endif
