/* half.h - f16 as float, and back. */
#ifndef LTN_HALF_H
#define LTN_HALF_H

#include "real.h"

#include <stdint.h>

/* n numbers at p, of any alignment. */
void ltn__halves(const void *p, int64_t n, float *out);
/* n numbers as the nearest f16, of two the even one; beyond 65504 infinity. */
void ltn__to_halves(const float *p, int64_t n, uint16_t *out);

#endif
