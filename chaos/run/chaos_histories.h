/* The histories of a run's workloads, and what the checker says of them. */

#ifndef CHAOS_RUN_CHAOS_HISTORIES_H
#define CHAOS_RUN_CHAOS_HISTORIES_H

#include "chaos/run/assess.h"

struct chaos_histories;

struct chaos_histories *chaos_histories_new(const struct scenario *scenario);
void chaos_histories_free(struct chaos_histories *histories); /* NULL is fine */

void chaos_histories_take(struct chaos_histories *histories, enum scenario_workload workload,
                          struct slice line);

/* How many are wrong; unknown when one cannot be decided and none is wrong. What was found is
 * written to `folder`, one file for each history that is not VALID, and told when `is_told`. */
struct assess_figure chaos_histories_judge(struct chaos_histories *histories, const char *folder,
                                           bool is_told);

#endif
