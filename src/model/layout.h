/* layout.h - the parts that a weight file holds, known by their tensors. */
#ifndef LTN_LAYOUT_H
#define LTN_LAYOUT_H

#include "model.h"

/* The parts of a model, in the order of its folders; then the two halves of a tiny autoencoder, in files of their
 * own. */
enum { LTN_AT_TEXT, LTN_AT_UNET, LTN_AT_VAE, LTN_AT_TEXT_2, LTN_AT_HALF_ENCODER, LTN_AT_HALF_DECODER };

/* What the shapes of a part alone do not say. */
typedef struct ltn_hints {
    int64_t pooled; /* width of the pooled text beside it; 0: not known */
    bool xl;        /* the autoencoder of SDXL */
    bool epsilon;   /* predicts the noise: of SD2's two UNets the smaller pictures' */
} ltn_hints;

struct job;
struct text;
typedef struct ltn_layout {
    int part;
    const char *prefix, *mark, *beside; /* of its tensors; one that it has; another, or NULL */
    void (*move)(struct job *j);
    void (*config)(struct text *out, ltn_tensors *t, const ltn_hints *h);
} ltn_layout;
/* How this part stands in the file; NULL: it does not. */
const ltn_layout *ltn__layout_find(ltn_tensors *t, int part);
/* The part's tensors of a file into a view, under diffusers' names; those taken are marked as used. */
ltn_status ltn__layout_move(const ltn_layout *l, ltn_tensors *from, ltn_tensors *to);
/* The configuration of a view, as its config.json would say it. */
ltn_status ltn__layout_config(const ltn_layout *l, ltn_tensors *t, const ltn_hints *h, ltn_arena *arena,
                              ltn_json **out);

/* ---- describe.c ---- */
const char *ltn__family(const ltn_json *unet); /* by its configuration: "SD1", "SD2", "SDXL" or "other" */
/* The type of most of its values, and how many there are. */
const char *ltn__tensors_type(ltn_tensors *t, int64_t *parameters);

#endif
