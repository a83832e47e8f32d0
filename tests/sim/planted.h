/* Bugs put into copies of the product's files, one of them awake at a time: does a run find it?
 *
 * planted.py writes the copies, and planted_names.c with those bugs that still fit; only
 * skein-sim-planted is linked with them. */

#ifndef TESTS_SIM_PLANTED_H
#define TESTS_SIM_PLANTED_H

#include <stdbool.h>

extern const char *const planted_names[]; /* NULL ends them */

/* Before anything runs. False: it was not planted. */
bool planted_choose(const char *name);
bool planted_is(const char *name);

#endif
