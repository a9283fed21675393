/* fuzz.h - what the targets share. A target fuzz_NAME.c defines LLVMFuzzerTestOneInput for one parser; it is
 * one word in meson.build and a folder corpus/NAME of inputs. Linked with replay.c it is a test; with
 * libFuzzer it searches. */
#ifndef LTN_FUZZ_H
#define LTN_FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "file/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* A context that has no block above 64 MiB to give, whatever sizes an input claims. */
ltn_ctx *fuzz_open(void);
/* Stops the program, with a reason, if x does not hold or the context has no message for a failure. */
void fuzz_claim(int x, const char *what);
/* A weight file is a clean failure, or every weight is found by its name and read whole. */
void fuzz_weights(const uint8_t *p, size_t n);
/* Decodes, and what could be decoded must survive being encoded and decoded again. */
void fuzz_image(const ltn_format *f, const uint8_t *p, size_t n);

#endif
