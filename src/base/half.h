/* half.h - f16 as float. */
#ifndef LTN_HALF_H
#define LTN_HALF_H

#include "real.h"

#include <stdint.h>

/* n numbers at p, of any alignment. */
void ltn__halves(const void *p, int64_t n, float *out);

#endif
