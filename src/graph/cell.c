/* cell.c - the table of backend kernels. */
#include "graph.h"

#define CELL(name) extern const ltn_cell ltn__cell_##name;
#include "cell.def"
#undef CELL

static const ltn_cell *const cells[] = {
#define CELL(name) &ltn__cell_##name,
#include "cell.def"
#undef CELL
    NULL,
};

const ltn_cell *ltn__cell(int i)
{
    return i >= 0 && i < LTN_COUNT(cells) ? cells[i] : NULL;
}
