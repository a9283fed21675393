/* real.h - the number type of the graph: float, or double in the test build that checks gradients. */
#ifndef LTN_REAL_H
#define LTN_REAL_H
#ifdef LTN_DOUBLE
typedef double real;
#else
typedef float real;
#endif
#endif
