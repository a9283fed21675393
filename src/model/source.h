/* source.h - where a model's parts come from. */
#ifndef LTN_SOURCE_H
#define LTN_SOURCE_H

#include "layout.h"

extern const char *const ltn__folders[4]; /* by LTN_AT_TEXT .. LTN_AT_TEXT_2 */
/* Fills what m->path and the options give: configurations, architectures, tensors, tokenizers, schedule. */
ltn_status ltn__source_open(ltn_model *m, const ltn_model_options *opt);
/* The files that the tensors of several parts lie in; after those are closed. */
void ltn__source_close(ltn_model *m);
/* The architecture that the part's configuration names; path: where that stands. */
ltn_status ltn__source_arch(ltn_model *m, int part, const char *path);

#endif
