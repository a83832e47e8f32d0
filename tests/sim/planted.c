#include "tests/sim/planted.h"

#include <stddef.h>
#include <string.h>

static const char *chosen = "";

bool planted_choose(const char *name)
{
    for (size_t i = 0; planted_names[i] != NULL; i++)
        if (strcmp(planted_names[i], name) == 0)
            chosen = planted_names[i];
    return chosen[0] != '\0';
}

bool planted_is(const char *name)
{
    return strcmp(chosen, name) == 0;
}
