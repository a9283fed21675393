/* pixels.c - no autoencoder: the latent of a picture is the picture, for models that work in pixels. */
#include "model.h"

static void build(ltn_nn b, ltn_part_kind part, ltn_part_size s)
{
    ltn_node *x = ltn__input(b.g, part == LTN_ENCODE ? "picture" : "latent", ltn__dims(s.n, s.h, s.w, 3));
    ltn__output(b.g, "out", ltn__affine(b.g, x, 1, 0));
}

const ltn_arch ltn__arch_pixels = {
    .entry = {.name = "pixels", .help = "no autoencoder: models that work in pixels"},
    .build = build,
};
