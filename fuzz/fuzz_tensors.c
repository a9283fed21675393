/* fuzz_tensors.c - weight files, known by their content: safetensors, torch's old and new; every weight is found by its
 * name and read whole. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    fuzz_weights(p, n);
    return 0;
}
