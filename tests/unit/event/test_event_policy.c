#include "node/event/event_policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct event_rules rules = {2, EVENT_AGE_MS_DEFAULT, EVENT_RETRY_MS_DEFAULT};

static void assert_again(const struct event_decision *decision, uint64_t delay_ms,
                         uint32_t failures, uint32_t refusals)
{
    assert_int_equal(decision->verdict, EVENT_AGAIN);
    assert_int_equal(decision->delay_ms, delay_ms);
    assert_int_equal(decision->progress.failures, failures);
    assert_int_equal(decision->progress.refusals, refusals);
}

static void event_policy__function_fails__again_after_one_and_two_minutes_then_gone(void **state)
{
    struct event_decision decision = {0};

    (void)state;
    decision = event_policy_decide(&rules, INVOKE_FUNCTION_ERROR, decision.progress, 10);
    assert_again(&decision, 60000, 1, 0);
    decision = event_policy_decide(&rules, INVOKE_FUNCTION_ERROR, decision.progress, 60020);
    assert_again(&decision, 120000, 2, 0);
    decision = event_policy_decide(&rules, INVOKE_TOO_LARGE, decision.progress, 180030);
    assert_int_equal(decision.verdict, EVENT_FAILED);
}

static void event_policy__no_retries_wanted__gone_after_the_first_failure(void **state)
{
    const struct event_rules once = {0, EVENT_AGE_MS_DEFAULT, EVENT_RETRY_MS_DEFAULT};
    struct event_decision decision =
        event_policy_decide(&once, INVOKE_FUNCTION_ERROR, (struct event_progress){0}, 0);

    (void)state;
    assert_int_equal(decision.verdict, EVENT_FAILED);
}

static void event_policy__cannot_be_run__pauses_grow_to_five_minutes_and_cost_no_retry(void **state)
{
    const uint64_t delays[] = {1000,  2000,   4000,   8000,   16000, 32000,
                               64000, 128000, 256000, 300000, 300000};
    struct event_decision decision = {.progress.failures = 1};

    (void)state;
    for (uint32_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        decision = event_policy_decide(&rules, INVOKE_THROTTLED, decision.progress, 0);
        assert_again(&decision, delays[i], 1, i + 1);
    }
    decision.progress.refusals = UINT32_MAX - 1;
    decision = event_policy_decide(&rules, INVOKE_UNAVAILABLE, decision.progress, 0);
    assert_again(&decision, 300000, 1, UINT32_MAX);
    decision = event_policy_decide(&rules, INVOKE_FUNCTION_ERROR, decision.progress, 0);
    assert_again(&decision, 120000, 2, 0);
}

static void event_policy__would_be_too_old_then__expired(void **state)
{
    const struct event_rules minute = {2, 60000, 30000};
    struct event_decision decision =
        event_policy_decide(&minute, INVOKE_FUNCTION_ERROR, (struct event_progress){0}, 30000);

    (void)state;
    assert_again(&decision, 30000, 1, 0);
    decision = event_policy_decide(&minute, INVOKE_FUNCTION_ERROR, decision.progress, 60000);
    assert_int_equal(decision.verdict, EVENT_EXPIRED);
    decision = event_policy_decide(&minute, INVOKE_THROTTLED, (struct event_progress){0}, 59500);
    assert_int_equal(decision.verdict, EVENT_EXPIRED);
}

static void event_policy__handled_or_without_function__gone(void **state)
{
    (void)state;
    assert_int_equal(
        event_policy_decide(&rules, INVOKE_OK, (struct event_progress){2, 9}, UINT32_MAX).verdict,
        EVENT_HANDLED);
    assert_int_equal(
        event_policy_decide(&rules, INVOKE_NOT_FOUND, (struct event_progress){0}, 0).verdict,
        EVENT_ORPHANED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(event_policy__function_fails__again_after_one_and_two_minutes_then_gone),
        cmocka_unit_test(event_policy__no_retries_wanted__gone_after_the_first_failure),
        cmocka_unit_test(
            event_policy__cannot_be_run__pauses_grow_to_five_minutes_and_cost_no_retry),
        cmocka_unit_test(event_policy__would_be_too_old_then__expired),
        cmocka_unit_test(event_policy__handled_or_without_function__gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
