/* conv2d.c - the rows conv2d and conv2d_dx by oneDNN: pictures channels last, weights in the layout it
 * prefers. */
#include "product.h"

static product_array picture(ltn_dims s)
{
    const int64_t n = s.d[0], h = s.d[1], w = s.d[2], c = s.d[3];
    return (product_array){{n, c, h, w}, {h * w * c, 1, w * c, c}};
}

static ltn_status conv2d_open(ltn_ctx *ctx, const ltn_node *n, const ltn_fusion *fuse, int threads,
                              ltn_kernel *out)
{
    const bool forward = n->op == &ltn__op_conv2d;
    const int64_t *w = n->src[1]->dims.d, *i = n->i;
    const product_task t = {
        .kind = forward ? CONVOLUTION : CONVOLUTION_DX,
        .key = "conv2d",
        .ndims = 4,
        .a = picture(n->src[0]->dims),
        .w = {{w[0], w[1], w[2], w[3]}, {w[1] * w[2] * w[3], w[2] * w[3], w[3], 1}},
        .y = picture(n->dims),
        .bias = {{forward && n->src[2] ? w[0] : 0}, {1}},
        .convolution = {{i[0], i[0]}, {i[1], i[2]}, {i[3], i[4]}},
        .fuse = fuse,
        .n = n,
        .pack = true,
        .threads = threads,
    };
    return ltn__product_open(ctx, &t, out);
}

const ltn_cell ltn__cell_onednn_conv2d = {"onednn:conv2d", &ltn__op_conv2d, conv2d_open, ltn__product_run,
                                          ltn__product_close};
const ltn_cell ltn__cell_onednn_conv2d_dx = {"onednn:conv2d_dx", &ltn__op_conv2d_dx, conv2d_open,
                                             ltn__product_run, ltn__product_close};
