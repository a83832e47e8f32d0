#include "chaos/scenario/schedule.h"

#include "proto/base/check.h"
#include "proto/base/rng.h"

static uint32_t draw_ms(const struct scenario_time *time, uint32_t run_ms, struct rng *rng)
{
    uint32_t value = time->min + (uint32_t)rng_below(rng, (uint64_t)time->max - time->min + 1);

    return time->is_percent ? (uint32_t)((uint64_t)value * run_ms / 100) : value;
}

static void add(struct schedule *schedule, struct schedule_action action)
{
    if (schedule->count % 64 == 0)
        schedule->actions =
            check_realloc(schedule->actions, (schedule->count + 64) * sizeof(*schedule->actions));
    schedule->actions[schedule->count++] = action;
}

static void add_fault(const struct scenario_fault *fault, size_t index, uint32_t run_ms,
                      struct rng *rng, struct schedule *schedule)
{
    uint64_t until_ms = fault->until.is_given ? draw_ms(&fault->until, run_ms, rng) : run_ms;
    uint64_t at_ms = draw_ms(&fault->at, run_ms, rng);

    for (unsigned number = 0; schedule->count < SCHEDULE_ACTIONS_MAX; number++) {
        uint64_t hold_ms = fault->hold.is_given ? draw_ms(&fault->hold, run_ms, rng) : run_ms;
        uint64_t end_ms = at_ms + hold_ms < run_ms ? at_ms + hold_ms : run_ms;

        if (at_ms >= run_ms || (number > 0 && at_ms >= until_ms))
            return;
        add(schedule, (struct schedule_action){.at_ms = (uint32_t)at_ms,
                                               .end_ms = (uint32_t)end_ms,
                                               .fault = index,
                                               .number = number});
        if (!fault->every.is_given)
            return;
        uint64_t step_ms = draw_ms(&fault->every, run_ms, rng);

        at_ms += step_ms > 0 ? step_ms : 1;
    }
}

/* By time, then in the order of the file. */
static int compare(const void *a, const void *b)
{
    const struct schedule_action *x = a;
    const struct schedule_action *y = b;

    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? -1 : 1;
    if (x->fault != y->fault)
        return x->fault < y->fault ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

void schedule_make(const struct scenario *scenario, unsigned seconds, uint64_t seed,
                   struct schedule *schedule)
{
    struct rng rng;

    *schedule = (struct schedule){0};
    rng_init(&rng, seed);
    for (size_t i = 0; i < scenario->fault_count; i++)
        add_fault(&scenario->faults[i], i, seconds * 1000, &rng, schedule);
    if (schedule->count > 0)
        qsort(schedule->actions, schedule->count, sizeof(*schedule->actions), compare);
}

void schedule_close(struct schedule *schedule)
{
    free(schedule->actions);
    *schedule = (struct schedule){0};
}
