/* real.h - the number type of the graph: float, or double in the test build that checks gradients; and how
 * its inner kernels are compiled. */
#ifndef LTN_REAL_H
#define LTN_REAL_H
#ifdef LTN_DOUBLE
typedef double real;
#else
typedef float real;
#endif

/* The highest x86 level that is used; a test builds with less what machines with less would run. */
#ifndef LTN_LEVEL
#define LTN_LEVEL 4
#endif
/* LTN_KERNEL: this function is compiled for several x86 levels, with fused multiply-add, and chosen when the
 * program is loaded; LTN_KERNEL_V3 and _V4: for one level, to be called where ltn__level says so. Elsewhere
 * all are compiled once. */
#if LTN_LEVEL > 0 && defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && __GNUC__ >= 12 && \
    !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if LTN_LEVEL == 4
#define LTN_CLONES "default", "arch=x86-64-v3", "arch=x86-64-v4"
#else
#define LTN_CLONES "default", "arch=x86-64-v3"
#endif
#define LTN_KERNEL __attribute__((target_clones(LTN_CLONES), optimize("fp-contract=fast")))
#define LTN_KERNEL_V3 __attribute__((target("arch=x86-64-v3"), optimize("fp-contract=fast")))
#define LTN_KERNEL_V4 __attribute__((target("arch=x86-64-v4"), optimize("fp-contract=fast")))
static inline int ltn__level(void)
{
    const int level = __builtin_cpu_supports("x86-64-v4") ? 4 : __builtin_cpu_supports("x86-64-v3") ? 3 : 0;
    return level < LTN_LEVEL ? level : LTN_LEVEL;
}
#else
#define LTN_KERNEL
#define LTN_KERNEL_V3
#define LTN_KERNEL_V4
static inline int ltn__level(void)
{
    return 0;
}
#endif
#endif
