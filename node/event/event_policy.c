#include "node/event/event_policy.h"

static struct event_decision over(enum event_verdict verdict)
{
    return (struct event_decision){.verdict = verdict};
}

/* `first`, doubled for each time before, up to `max`. */
static uint64_t doubled(uint64_t first, uint32_t times, uint64_t max)
{
    uint64_t delay = first;

    while (times-- > 0 && delay < max)
        delay *= 2;
    return delay < max ? delay : max;
}

static struct event_decision again(const struct event_rules *rules, struct event_progress progress,
                                   uint64_t age_ms, uint64_t delay_ms)
{
    if (age_ms + delay_ms > rules->age_ms)
        return over(EVENT_EXPIRED);
    return (struct event_decision){EVENT_AGAIN, delay_ms, progress};
}

static struct event_decision after_failure(const struct event_rules *rules,
                                           struct event_progress progress, uint64_t age_ms)
{
    if (progress.failures >= rules->retries)
        return over(EVENT_FAILED);
    progress.refusals = 0;
    progress.failures++;
    return again(rules, progress, age_ms,
                 doubled(rules->retry_ms, progress.failures - 1, UINT64_MAX / 4));
}

static struct event_decision after_refusal(const struct event_rules *rules,
                                           struct event_progress progress, uint64_t age_ms)
{
    uint64_t delay_ms = doubled(EVENT_REFUSED_MS_MIN, progress.refusals, EVENT_REFUSED_MS_MAX);

    progress.refusals++;
    return again(rules, progress, age_ms, delay_ms);
}

struct event_decision event_policy_decide(const struct event_rules *rules,
                                          enum invoke_outcome outcome,
                                          struct event_progress progress, uint64_t age_ms)
{
    switch (outcome) {
    case INVOKE_OK:
        return over(EVENT_HANDLED);
    case INVOKE_FUNCTION_ERROR:
    case INVOKE_TOO_LARGE: /* what it returned */
        return after_failure(rules, progress, age_ms);
    case INVOKE_NOT_FOUND:
        return over(EVENT_ORPHANED);
    case INVOKE_THROTTLED:
    case INVOKE_UNAVAILABLE:
    case INVOKE_CANCELLED:
    case INVOKE_NO_RUNTIME:
        break;
    }
    return after_refusal(rules, progress, age_ms);
}
