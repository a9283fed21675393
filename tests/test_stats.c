/* Mean and 95 % interval of latino eval; the numbers are SciPy's (stats.t.ppf, stats.sem). */
#include "eval.h"

#include "test.h"

TEST(quantiles_of_student)
{
    static const struct {
        int freedom;
        double t;
    } row[] = {{1, 12.706205}, {2, 4.302653}, {3, 3.182446}, {4, 2.776445}, {5, 2.570582}, {9, 2.262157},
               {10, 2.228139}, {29, 2.045230}, {99, 1.984217}, {100, 1.983972}, {299, 1.967930}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        test_name("%d degrees of freedom", row[i].freedom);
        NEAR(eval_t95(row[i].freedom), row[i].t, 2e-6);
    }
}

TEST(mean_and_interval)
{
    const double v[] = {3.1, -2, 7.25, 0.5, 11};
    const eval_stat s = eval_stat_of(v, 5);
    CHECK(s.n == 5);
    NEAR(s.mean, 3.97, 1e-12);
    NEAR(s.half, 6.470308592725691, 1e-9);
}

TEST(few_values)
{
    const double v[] = {4, 4, 4};
    CHECK(isnan(eval_stat_of(v, 0).mean));
    NEAR(eval_stat_of(v, 1).mean, 4, 0);
    CHECK(isnan(eval_stat_of(v, 1).half));
    NEAR(eval_stat_of(v, 3).half, 0, 0);
}
