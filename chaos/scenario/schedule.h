/* When each fault of a scenario begins and ends, in one run: drawn from the seed, so that the same
 * seed breaks the same things at the same moments. */

#ifndef CHAOS_SCENARIO_SCHEDULE_H
#define CHAOS_SCENARIO_SCHEDULE_H

#include "chaos/scenario/scenario.h"

#define SCHEDULE_ACTIONS_MAX 20000u

struct schedule_action {
    uint32_t at_ms;
    uint32_t end_ms; /* never past the end of the run */
    size_t fault;    /* index into the scenario's */
    unsigned number; /* of this fault: 0, 1, ... */
};

struct schedule {
    struct schedule_action *actions; /* in order of time; owned */
    size_t count;
};

/* Faults that would begin at the end of the run or later are left out. */
void schedule_make(const struct scenario *scenario, unsigned seconds, uint64_t seed,
                   struct schedule *schedule);
void schedule_close(struct schedule *schedule);

#endif
