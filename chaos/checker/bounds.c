#include "chaos/checker/bounds.h"

#include "proto/base/check.h"

#include <inttypes.h>

struct event {
    uint32_t line;
    uint32_t index; /* of the operation */
};

/* What was added up to a line: by operations that were called, and by those that returned. */
struct sums {
    int64_t called_up, called_down;
    int64_t back_up, back_down;
};

static int event_compare(const void *left, const void *right)
{
    const struct event *a = left;
    const struct event *b = right;

    return a->line < b->line ? -1 : a->line > b->line;
}

static size_t list_events(const struct operation *const *operations, size_t count,
                          struct event *events)
{
    size_t event_count = 0;

    for (size_t i = 0; i < count; i++) {
        events[event_count++] = (struct event){operations[i]->call, (uint32_t)i};
        if (operations[i]->back != HISTORY_NEVER)
            events[event_count++] = (struct event){operations[i]->back, (uint32_t)i};
    }
    qsort(events, event_count, sizeof(*events), event_compare);
    return event_count;
}

static void add(struct sums *sums, const struct operation *operation, bool is_call)
{
    int64_t amount = operation->function == BOUNDS_READ ? 0 : operation->a;

    if (is_call)
        *(amount > 0 ? &sums->called_up : &sums->called_down) += amount;
    else
        *(amount > 0 ? &sums->back_up : &sums->back_down) += amount;
}

/* `at_call` and `at_return`: the sums before the operation's own events, but for its own call. */
static bool is_possible(const struct operation *operation, const struct sums *at_call,
                        const struct sums *at_return, struct verdict *verdict)
{
    int64_t own = operation->function == BOUNDS_READ ? 0 : operation->a;
    int64_t least = at_call->back_up + at_return->called_down + (own > 0 ? own : 0);
    int64_t most = at_return->called_up + at_call->back_down + (own < 0 ? own : 0);

    if (operation->function == BOUNDS_ADD ||
        (operation->result >= least && operation->result <= most))
        return true;
    verdict_fail(verdict, operation, "it must be at least %" PRId64 " and at most %" PRId64, least,
                 most);
    return false;
}

void bounds_check(const struct history *history, const struct operation *const *operations,
                  size_t count, struct verdict *verdict)
{
    struct event *events = check_malloc((2 * count + 1) * sizeof(*events));
    struct sums *at_call = check_malloc((count + 1) * sizeof(*at_call));
    size_t event_count = list_events(operations, count, events);
    struct sums sums = {0};

    (void)history;
    verdict->kind = VERDICT_UNDECIDED;
    for (size_t i = 0; i < event_count && verdict->kind == VERDICT_UNDECIDED; i++) {
        const struct operation *operation = operations[events[i].index];
        bool is_call = events[i].line == operation->call;

        if (is_call)
            at_call[events[i].index] = sums;
        else if (!is_possible(operation, &at_call[events[i].index], &sums, verdict))
            verdict_show_around(verdict, operations, count);
        add(&sums, operation, is_call);
    }
    free(events);
    free(at_call);
}
