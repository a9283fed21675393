/* real.h - the number type of the graph: float, or double in the test build that checks gradients; and how its inner
 * kernels are compiled. */
#ifndef LTN_REAL_H
#define LTN_REAL_H
#ifdef LTN_DOUBLE
typedef double real;
#else
typedef float real;
#endif

/* LTN_KERNEL: this function is compiled for several x86 levels, with fused multiply-add, and chosen when the program
 * is loaded; elsewhere it is compiled once. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define LTN_KERNEL \
    __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4"), optimize("fp-contract=fast")))
#else
#define LTN_KERNEL
#endif
#endif
