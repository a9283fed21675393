/* map.h - what the elementwise kernels share: how threads divide an array, how dimensions of 1 are repeated. */
#ifndef LTN_MAP_H
#define LTN_MAP_H

#include "../graph.h"

/* Below this many values one thread is faster than a team. A part is what a thread takes at once. */
enum { LTN_SERIAL = 16384, LTN_PART = 4096 };

/* y[i] = f(x[i]) by parts; x and y may be the same array. */
typedef void ltn_map(const real *x, real *y, int64_t n);
void ltn__map(ltn_map *f, const real *x, real *y, int64_t n, int threads);
/* z[i] = f(x[i], y[i]) by parts; z may be x. */
typedef void ltn_map2(const real *x, const real *y, real *z, int64_t n);
void ltn__map2(ltn_map2 *f, const real *x, const real *y, real *z, int64_t n, int threads);
/* Example inputs of three shapes and a large one for the elementwise rows; NULL past the last. */
ltn_node *ltn__example_input(ltn_graph *g, const char *name, int k);

/* A walk over an array of `dims` beside a source that is repeated where its dimension is 1: the trailing
 * dimensions make runs of `length` values over which each of two sources either advances (step 1) or stands
 * still (step 0). */
typedef struct ltn_walk {
    ltn_dims outer; /* what remains: the number of runs is its product */
    int64_t length;
    int64_t step[2], stride[2][4];
} ltn_walk;
ltn_walk ltn__walk(ltn_dims dims, ltn_dims a, ltn_dims b);
int64_t ltn__walk_offset(const ltn_walk *w, int which, int64_t run);

#endif
