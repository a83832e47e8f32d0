/* What becomes of an asynchronous event after a run: gone, or run again, and when. As Lambda has
 * it: a function that failed gets two more chances, after one and two minutes; a function that
 * could not be run is tried with growing pauses until the event is too old.
 *
 * A pure decision. */

#ifndef NODE_EVENT_EVENT_POLICY_H
#define NODE_EVENT_EVENT_POLICY_H

#include "node/sandbox/invoke.h"

#include <stdbool.h>
#include <stdint.h>

#define EVENT_RETRIES_DEFAULT 2u
#define EVENT_AGE_MS_DEFAULT (6u * 3600 * 1000)
#define EVENT_RETRY_MS_DEFAULT 60000u
#define EVENT_REFUSED_MS_MIN 1000u
#define EVENT_REFUSED_MS_MAX (5u * 60 * 1000)

struct event_rules {   /* of one function */
    uint32_t retries;  /* after a failure of the function */
    uint64_t age_ms;   /* older events are given up */
    uint64_t retry_ms; /* pause before the first retry; twice that before the second, and so on */
};

struct event_progress {
    uint32_t failures; /* runs that ended in an error of the function */
    uint32_t refusals; /* times in a row that it could not be run */
};

enum event_verdict {
    EVENT_HANDLED,
    EVENT_AGAIN,
    EVENT_FAILED, /* its function failed too often */
    EVENT_EXPIRED,
    EVENT_ORPHANED /* its function is gone */
};

struct event_decision {
    enum event_verdict verdict;
    uint64_t delay_ms;              /* EVENT_AGAIN */
    struct event_progress progress; /* EVENT_AGAIN */
};

/* `progress` is what came before this run. */
struct event_decision event_policy_decide(const struct event_rules *rules,
                                          enum invoke_outcome outcome,
                                          struct event_progress progress, uint64_t age_ms);

#endif
