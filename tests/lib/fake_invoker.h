/* An invoker for unit tests: keeps what was asked until the test says how it ended. */

#ifndef TESTS_LIB_FAKE_INVOKER_H
#define TESTS_LIB_FAKE_INVOKER_H

#include "node/sandbox/invoke.h"

#define FAKE_INVOKER_WAITING_MAX 16

struct fake_invoker { /* zeroed at first */
    struct invoke *waiting[FAKE_INVOKER_WAITING_MAX];
    size_t waiting_count;
    size_t started;           /* in all */
    struct invoke *cancelled; /* the latest */
};

struct invoker fake_invoker_as_invoker(struct fake_invoker *fake);

/* The oldest waiting call; NULL when there is none. */
struct invoke *fake_invoker_first(const struct fake_invoker *fake);
/* End the oldest waiting call. */
void fake_invoker_finish(struct fake_invoker *fake, enum invoke_outcome outcome,
                         const char *payload);

#endif
