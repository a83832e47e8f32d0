/* Counters: is each sum that was returned possible at all?
 *
 * Linear, and enough to find most wrong histories however large: a read returns at least what was
 * added for certain before it began, and at most what may have been added before it ended. */

#ifndef CHAOS_CHECKER_BOUNDS_H
#define CHAOS_CHECKER_BOUNDS_H

#include "chaos/checker/verdict.h"

/* INVALID, or UNDECIDED: within the bounds a sum may still be impossible. */
void bounds_check(const struct history *history, const struct operation *const *operations,
                  size_t count, struct verdict *verdict);

/* Codes of the counter's functions. */
enum { BOUNDS_READ, BOUNDS_ADD, BOUNDS_ADD_AND_GET };

#endif
