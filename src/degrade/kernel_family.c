/* kernel_family.c - kernels that have names: of all gaussians, discs and straight lines the one that makes the spectrum
 * of the measurement most likely (kernel_power.c). */
#include <math.h>
#include <string.h>

#include "blind.h"

enum { FINER = 4 }; /* steps halve that often about the best of a search */

/* A family has a width, from least up by equal factors, and, if it is turned, an angle. */
typedef struct family {
    double least, factor, largest; /* largest: of the half of a kernel's side */
    bool turned;
    void (*draw)(ltn_kernel *k, double width, double angle);
} family;

static void draw_gaussian(ltn_kernel *k, double width, double angle)
{
    (void)angle;
    ltn__kernel_gaussian(k, width, width, 0);
}

static void draw_disc(ltn_kernel *k, double width, double angle)
{
    (void)angle;
    ltn__kernel_disc(k, width);
}

static void draw_line(ltn_kernel *k, double width, double angle)
{
    const int points = 16 * (int)ceil(width);
    memset(k->tap, 0, (size_t)k->width * (size_t)k->height * sizeof *k->tap);
    for (int i = 0; i < points; i++) {
        const double s = width * ((i + 0.5) / points - 0.5);
        ltn__kernel_point(k, k->width / 2 + s * cos(angle), k->height / 2 + s * sin(angle));
    }
}

static const family families[] = {
    {0.5, 1.12, 0.3, false, draw_gaussian},
    {1, 1.08, 1, false, draw_disc},
    {3, 1.1, 2, true, draw_line},
};

typedef struct search {
    ltn_power *power;
    const family *family;
    ltn_kernel *k; /* room */
    double width, angle, misfit; /* the best */
    double largest;
} search;

static void attempt(search *s, double width, double angle)
{
    if (width < s->family->least || width > s->largest) return;
    s->family->draw(s->k, width, angle);
    if (ltn__kernel_normalize(s->power->ctx, "blur", s->k)) return;
    const double misfit = ltn__power_misfit(s->power, s->k);
    if (misfit < s->misfit) s->misfit = misfit, s->width = width, s->angle = angle;
}

static double turns(const search *s, double width)
{
    return s->family->turned ? ceil(M_PI * width / 2) : 1;
}

static void search_all(search *s)
{
    for (double width = s->family->least; width <= s->largest; width *= s->family->factor)
        for (int i = 0; i < turns(s, width); i++) attempt(s, width, M_PI * i / turns(s, width));
    double grow = s->family->factor - 1, turn = M_PI / turns(s, s->width);
    for (int i = 0; i < FINER; i++) {
        const double width = s->width, angle = s->angle;
        grow /= 2, turn /= 2;
        for (int q = 0; q < 9; q++)
            if (q != 4 && (s->family->turned || q / 3 == 1))
                attempt(s, width * (1 + (q % 3 - 1) * grow), angle + (q / 3 - 1) * turn);
    }
}

double ltn__kernel_family(ltn_power *power, ltn_kernel *k)
{
    search best = {.misfit = INFINITY};
    for (int i = 0; i < LTN_COUNT(families); i++) {
        search s = {power, &families[i], k, families[i].least, 0, INFINITY, families[i].largest * (k->width / 2 - 0.5)};
        search_all(&s);
        if (s.misfit < best.misfit) best = s;
    }
    if (isfinite(best.misfit)) {
        best.family->draw(k, best.width, best.angle);
        ltn__kernel_normalize(power->ctx, "blur", k);
    }
    return best.misfit;
}
