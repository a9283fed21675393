/* export.c - the shared library is the core, whole; a library needs one file of its own. */
#include "latino.h"
