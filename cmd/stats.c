/* stats.c - mean and 95 % interval: mean +- t s / sqrt(n), s^2 = sum (v - mean)^2 / (n - 1), t the 0.975
 * quantile of Student's distribution with n - 1 degrees of freedom. */
#include "eval.h"

#include <math.h>

/* P(|T| < t): the finite series in the cosine of theta = atan(t / sqrt(freedom)), Abramowitz and
 * Stegun 26.7.3-4. */
static double within(double t, int freedom)
{
    const double theta = atan(t / sqrt(freedom)), c = cos(theta), s = sin(theta);
    const int odd = freedom % 2;
    double term = odd ? c : 1, sum = freedom > 1 ? term : 0;
    for (int k = 2 + odd; k < freedom; k += 2) sum += term *= c * c * (k - 1) / k;
    return odd ? 2 / M_PI * (theta + s * sum) : s * sum;
}

double eval_t95(int freedom)
{
    double low = 0, high = 13; /* 12.7 for one degree of freedom, and less for more */
    for (int i = 0; i < 60; i++) {
        const double middle = (low + high) / 2;
        if (within(middle, freedom) < 0.95) low = middle;
        else high = middle;
    }
    return low;
}

eval_stat eval_stat_of(const double *v, int n)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) sum += v[i];
    const double mean = n ? sum / n : NAN;
    for (int i = 0; i < n; i++) squares += (v[i] - mean) * (v[i] - mean);
    const double half = n > 1 ? eval_t95(n - 1) * sqrt(squares / (n - 1) / n) : NAN;
    return (eval_stat){n, mean, half};
}
