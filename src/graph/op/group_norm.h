/* group_norm.h - what group norm and its gradient share: arrays (images, pixels, c) in blocks of pixels, so
 * that every sum has the same order for any number of threads; each block's sums in float, all else in
 * double. */
#ifndef LTN_GROUP_NORM_H
#define LTN_GROUP_NORM_H

#include "map.h"

enum { LTN_BLOCK = 64, LTN_STRIP = 256 }; /* pixels and channels that a second pass finds in the cache */

typedef struct ltn_groups {
    int64_t images, pixels, c, groups, width; /* width: channels of a group */
    int64_t blocks, strips;                   /* of an image, of its channels */
    double eps;
} ltn_groups;
ltn_groups ltn__groups(const ltn_node *n); /* i[0]: groups, f[0]: eps */
static inline int64_t ltn__block_length(const ltn_groups *k, int64_t block)
{
    return LTN_MIN(LTN_BLOCK, k->pixels - block * LTN_BLOCK);
}

/* Two sums per channel of each block of each image, at sums + 2 c (image blocks + block): f gets the strip's
 * first values in x and y and where its sums go. */
typedef void ltn_block_sums(const real *x, const real *y, const real *mean, int64_t c, int64_t pixels,
                            int64_t width, real *a, real *b);
void ltn__block_sums(const ltn_groups *k, ltn_block_sums *f, const real *x, const real *y, const real *mean,
                     real *sums, int threads);

/* Mean and 1 / sqrt(variance + eps) of each group of each image, at stat + 2 (image groups + group). sums has
 * room for 2 images blocks c values. */
void ltn__group_statistics(const ltn_groups *k, const real *x, real *sums, double *stat, int threads);
/* Makes the row's checks: c channels divide into the groups, w and b have c values. False: the graph has
 * failed. */
bool ltn__group_check(ltn_graph *g, const char *name, const ltn_node *x, const ltn_node *w, const ltn_node *b,
                      int groups);
/* Example k's number of groups, and its shape in *dims; 0 past the last. */
int ltn__group_example(int k, ltn_dims *dims);

#endif
