/* calibration.c - latino.json, what bench/calibrate measured of a prior: tables of rows that begin with a time step or
 * a deviation and rise in it, of positive numbers behind it. */
#include "model.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    int columns;
    bool from_zero; /* the first column may be 0; else it is looked up by its logarithm */
} tables[] = {
    {"one_step_error", 2, true},
    {"latent_error", 2, true},
    {"error_spectrum", 1 + 2 * LTN_OCTAVES, true},
    {"lost_share", 1 + 2 * LTN_OCTAVES, true},
    {"noisy_picture", 3, false},
};

static const double tiny = 1e-12, huge = 1e9; /* so that quotients are finite */

static bool good_row(const ltn_json *row, int columns, double above)
{
    if (row->type != LTN_JSON_ARRAY || row->count != columns) return false;
    for (const ltn_json *v = row->child; v; v = v->next) {
        const double least = v == row->child ? above : tiny;
        if (v->type != LTN_JSON_NUMBER || !(v->number > least && v->number < huge)) return false;
    }
    return true;
}

static ltn_status check_table(ltn_ctx *ctx, const char *path, const ltn_json *table)
{
    int k = 0;
    while (k < LTN_COUNT(tables) && strcmp(table->key, tables[k].name)) k++;
    if (k == LTN_COUNT(tables)) return ltn__fail(ctx, LTN_EFORMAT, "%s: %s: no such table", path, table->key);
    double above = tables[k].from_zero ? -tiny : tiny;
    int i = 0;
    for (const ltn_json *row = table->child; row; row = row->next, i++) {
        if (table->type != LTN_JSON_ARRAY || !good_row(row, tables[k].columns, above)) break;
        above = row->child->number;
    }
    if (i > 0 && i == table->count) return LTN_OK;
    return ltn__fail(ctx, LTN_EFORMAT, "%s: %s: row %d: expected %d positive numbers, the first above the row before's",
                     path, table->key, i + 1, tables[k].columns);
}

ltn_status ltn__calibration_check(ltn_ctx *ctx, const char *path, const ltn_json *calibration)
{
    if (calibration->type != LTN_JSON_OBJECT)
        return ltn__fail(ctx, LTN_EFORMAT, "%s: expected an object of tables", path);
    for (const ltn_json *table = calibration->child; table; table = table->next) {
        const ltn_status s = check_table(ctx, path, table);
        if (s) return s;
    }
    if (!ltn__json_get(calibration, "error_spectrum") == !ltn__json_get(calibration, "lost_share")) return LTN_OK;
    return ltn__fail(ctx, LTN_EFORMAT, "%s: error_spectrum and lost_share: expected both or neither", path);
}

double ltn__calibrated(const ltn_json *calibration, const char *table, int of, double x, int scale, double absent)
{
    const ltn_json *rows = ltn__json_get(calibration, table);
    double x0 = 0, y0 = absent;
    for (const ltn_json *row = rows ? rows->child : NULL; row; row = row->next) {
        double x1 = ltn__json_at(row, 0)->number, y1 = ltn__json_at(row, of)->number;
        if (x <= x1) {
            if (row == rows->child) return y1;
            double part = scale & LTN_LOG_X ? log(x / x0) / log(x1 / x0) : (x - x0) / (x1 - x0);
            return scale & LTN_LOG_Y ? y0 * pow(y1 / y0, part) : y0 + (y1 - y0) * part;
        }
        x0 = x1, y0 = y1;
    }
    return y0;
}
