/* prior.h - a model as the prior of a solver: any picture size, by overlapping windows. */
#ifndef LTN_RUN_PRIOR_H
#define LTN_RUN_PRIOR_H

#include "../model/model.h"
#include "../solve/solve.h"

/* A prior on pictures of width x height with 1 or 3 channels; `prompt` conditions it. */
ltn_status ltn__prior_open(ltn_model *m, ltn_size picture, const char *prompt, ltn_prior **out);
/* Guidance for models that take it as an input (LCM); others refuse it. */
ltn_status ltn__prior_guide(ltn_prior *p, double w);
void ltn__prior_close(ltn_prior **p);
/* The latent canvas: h, w, c. */
void ltn__prior_latent(const ltn_prior *p, int64_t dim[3]);
/* The columns of the picture where windows begin or end; returns how many. */
int ltn__prior_edges(const ltn_prior *p, int *column, int max);
/* Picture, planar -> canvas of rows x columns, channels last, continued by reflection; grey becomes three equal
 * channels. */
void ltn__to_canvas(const float *x, ltn_size picture, int64_t rows, int64_t columns, float *canvas);
/* Back: what lies outside the picture is left out, grey is the mean. */
void ltn__from_canvas(const float *canvas, int64_t columns, ltn_size picture, float *x);

#endif
