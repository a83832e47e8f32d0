/* Registers whose writes all differ, without cas: decided in O(n log n), whatever the number of
 * clients (Gibbons and Korach, "Testing shared memories", 1997).
 *
 * The write of a value and the reads that returned it form a cluster; whose write it was is known,
 * so no order has to be guessed. A cluster's zone lies between the first return and the last call
 * of its members. When the first return comes first, the register held the value all through the
 * zone (a holding zone); otherwise all members overlap and share some instant in it (a brief one).
 * The history is linearizable if and only if each read has a write that was called before the read
 * returned, no two holding zones overlap, and no brief zone lies within a holding one. */

#ifndef CHAOS_CHECKER_ZONES_H
#define CHAOS_CHECKER_ZONES_H

#include "chaos/checker/verdict.h"

/* UNDECIDED when a value is written twice or there is a cas. */
void zones_check(const struct history *history, const struct operation *const *operations,
                 size_t count, struct verdict *verdict);

/* Codes of the register's functions, as far as this checker knows them. */
enum { ZONES_READ, ZONES_WRITE };

#endif
