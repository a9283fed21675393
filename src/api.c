#include "latino.h"
