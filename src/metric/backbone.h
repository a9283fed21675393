/* backbone.h - the networks whose feature maps metrics compare: torchvision's AlexNet and VGG16, up to their
 * last convolution, from a file of their weights. */
#ifndef LTN_BACKBONE_H
#define LTN_BACKBONE_H

#include "../file/file.h"
#include "../graph/graph.h"
#include "metric.h"

enum { LTN_TAPS = 5 };
#define LTN_BACKBONES "alex|vgg" /* choices of a parameter */

typedef struct ltn_backbone {
    ltn_metric *metric;
    const struct ltn_net *net;
    ltn_tensors *tensors;
    ltn_graph *graph; /* for the last size */
    ltn_plan *plan;
    int width, height, pictures;
} ltn_backbone;
/* What follows the feature maps (n, h, w, c): makes one output, named "out". */
typedef void ltn_backbone_head(ltn_graph *g, ltn_node *const tap[LTN_TAPS], void *user);

ltn_status ltn__backbone_open(ltn_backbone *b, ltn_metric *m, const char *net, const char *path);
void ltn__backbone_close(ltn_backbone *b);
/* Runs n RGB pictures of one size through network and head. The graph is kept for the next pictures of this
 * size. */
ltn_status ltn__backbone_run(ltn_backbone *b, const ltn_image *const *picture, int n, ltn_backbone_head *head,
                             void *user, const real **out, ltn_dims *dims);

#endif
