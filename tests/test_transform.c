/* test_transform.c - what degradations are computed with: Fourier and cosine transforms, eigenvectors. */
#include "degrade.h"
#include "degrade/fourier.h"

TEST(transforms_of_any_length)
{
    ltn_ctx *ctx = context();
    const int sizes[][2] = {{1, 1}, {2, 3}, {1, 8}, {13, 1}, {16, 12}, {17, 26}, {97, 29}, {101, 40}};
    for (int i = 0; i < LTN_COUNT(sizes); i++)
        for (int basis = LTN_FOURIER; basis <= LTN_COSINE; basis++) {
            const int w = sizes[i][0], h = sizes[i][1], n = w * h;
            ltn_plane p = {0};
            test_name("%d x %d, basis %d", w, h, basis);
            OK(ctx, ltn__plane_open(ctx, (ltn_basis)basis, w, h, &p));
            float *x = numbers((size_t)n, 1), *back = numbers((size_t)n, 2),
                  *f = numbers(ltn__plane_floats(&p), 3);
            ltn__plane_forward(&p, x, f);
            ltn__plane_inverse(&p, f, back);
            NEAR(distance(back, x, (size_t)n), 0, 2e-6);
            for (int a = 0; a < p.lines; a += 1 + p.lines / 3)
                for (int b = 0; b < h; b += 1 + h / 3) {
                    double re = 0, im = 0;
                    for (int k = 0; k < n; k++) {
                        const double u = k % w, v = k / w;
                        if (basis == LTN_COSINE)
                            re += x[k] * cos(M_PI * a * (u + .5) / w) * cos(M_PI * b * (v + .5) / h);
                        else
                            re += x[k] * cos(2 * M_PI * (a * u / w + b * v / h)),
                                im -= x[k] * sin(2 * M_PI * (a * u / w + b * v / h));
                    }
                    const int at = a * h + b;
                    NEAR(f[basis == LTN_COSINE ? at : 2 * at], re, 1e-5 * n);
                    if (basis == LTN_FOURIER) NEAR(f[2 * at + 1], im, 1e-5 * n);
                }
            free(x), free(back), free(f);
            ltn__plane_close(&p);
        }
    ltn_close(&ctx);
}

TEST(eigenvectors)
{
    ltn_ctx *ctx = context();
    for (int n = 1; n <= 33; n += 8)
        for (int kind = 0; kind < 3; kind++) {
            double *a = calloc((size_t)(n * n), sizeof *a), *v = calloc((size_t)(n * n), sizeof *v),
                   *d = calloc((size_t)n, sizeof *d);
            test_name("%d x %d, kind %d", n, n, kind);
            for (int i = 0; i < n; i++)
                for (int j = 0; j <= i; j++) {
                    const double random = ltn__normal((ltn_rng){7, 1}, (uint64_t)(i * n + j));
                    const double value = kind == 0 ? random : kind == 1 ? i == j : 1.0 / (1 + i + j);
                    a[i * n + j] = a[j * n + i] = value;
                }
            memcpy(v, a, (size_t)(n * n) * sizeof *v);
            OK(ctx, ltn__eigen(ctx, n, v, d));
            for (int i = 0; i < n; i++)
                for (int j = 0; j < n; j++) {
                    double unit = 0, back = 0;
                    for (int k = 0; k < n; k++)
                        unit += v[i * n + k] * v[j * n + k], back += v[k * n + i] * d[k] * v[k * n + j];
                    NEAR(unit, i == j, 1e-12);
                    NEAR(back, a[i * n + j], 1e-12 * n);
                }
            free(a), free(v), free(d);
        }
    ltn_close(&ctx);
}
