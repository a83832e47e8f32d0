#include "chaos/report/report_digest.h"
#include "tests/unit/report/made_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct fixture {
    struct made_run made;
    struct report_run run;
    struct report_digest digest;
};

static void fixture_open(struct fixture *f, double seconds)
{
    made_run_init(&f->made, seconds);
    report_run_init(&f->run);
}

static void fixture_digest(struct fixture *f)
{
    char why[ERROR_WHY_BYTES] = "";

    if (made_run_parse(&f->made, &f->run, why) != OK)
        fail_msg("%s", why);
    report_digest_init(&f->digest, &f->run);
}

static void fixture_close(struct fixture *f)
{
    report_digest_close(&f->digest);
    report_run_close(&f->run);
    made_run_close(&f->made);
}

static void digest__steady_load__totals_and_no_gap(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 10);
    made_run_samples(&f.made, 100, 20, 1);
    fixture_digest(&f);

    assert_int_equal(f.digest.ok, 2000);
    assert_int_equal(f.digest.failed, 100);
    assert_float_equal(f.digest.rate, 200, 1e-6);
    assert_float_equal(f.digest.p50_ms, 3, 1e-9);
    assert_float_equal(f.digest.p99_ms, 11.5, 1e-9);
    assert_float_equal(f.digest.max_ms, 20, 1e-9);
    assert_float_equal(f.digest.period_s, 0.1, 1e-6);
    assert_float_equal(f.digest.gap.seconds, 0, 1e-9);
    fixture_close(&f);
}

static void digest__nothing_acknowledged_for_a_while__longest_gap_and_when(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 10);
    made_run_samples(&f.made, 20, 20, 0);
    made_run_samples(&f.made, 3, 0, 5);
    made_run_samples(&f.made, 20, 20, 0);
    made_run_samples(&f.made, 7, 0, 0);
    made_run_samples(&f.made, 50, 20, 0);
    made_run_samples(&f.made, 50, 0, 0); /* after the run: dropped */
    fixture_digest(&f);

    assert_float_equal(f.digest.gap.seconds, 0.7, 1e-6);
    assert_float_equal(f.digest.gap.at_s, 4.3, 1e-6);
    fixture_close(&f);
}

static void digest__cluster_never_comes_back__gap_to_the_end_and_no_recovery(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 20);
    made_run_samples(&f.made, 100, 20, 0);
    made_run_samples(&f.made, 100, 0, 3);
    made_run_fault(&f.made, 1, 10);
    fixture_digest(&f);

    assert_float_equal(f.digest.gap.seconds, 10, 1e-6);
    assert_int_equal(f.digest.effects[0].recovery, REPORT_RECOVERY_NEVER);
    assert_int_equal(f.digest.effects[0].failed, 300);
    assert_float_equal(f.digest.effects[0].rate_before, 200, 1e-6);
    assert_float_equal(f.digest.effects[0].rate_during, 0, 1e-6);
    assert_true(f.digest.effects[0].rate_after < 0);
    fixture_close(&f);
}

static void digest__dip_and_back__time_since_the_fault(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 30);
    made_run_samples(&f.made, 100, 20, 0);
    made_run_fault(&f.made, 9, 10.02);
    made_run_samples(&f.made, 1, 4, 0);
    made_run_samples(&f.made, 12, 0, 2);
    made_run_samples(&f.made, 10, 10, 0); /* half way is not back */
    made_run_undo(&f.made, 9, 14);
    made_run_samples(&f.made, 177, 20, 0);
    fixture_digest(&f);

    const struct report_effect *effect = &f.digest.effects[0];

    assert_int_equal(effect->recovery, REPORT_RECOVERY_DONE);
    assert_float_equal(effect->recovery_s, 2.18f, 0.21f); /* 90 % over a second */
    assert_float_equal(effect->gap.seconds, 1.2, 1e-6);
    assert_int_equal(effect->failed, 24);
    assert_float_equal(effect->rate_after, 200, 1e-6);
    assert_true(effect->rate_during > 90 && effect->rate_during < 130);
    fixture_close(&f);
}

static void digest__nothing_to_see__no_dip(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 20);
    made_run_samples(&f.made, 100, 20, 0);
    made_run_samples(&f.made, 3, 12, 0);
    made_run_samples(&f.made, 97, 20, 0);
    made_run_fault(&f.made, 1, 10);
    made_run_undo(&f.made, 1, 11);
    fixture_digest(&f);

    assert_int_equal(f.digest.effects[0].recovery, REPORT_RECOVERY_NO_DIP);
    fixture_close(&f);
}

/* Six requests in a sample: now and then there are two, and that means nothing. */
static void digest__few_requests__chance_is_no_dip(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 20);
    made_run_samples(&f.made, 100, 6, 0);
    for (int i = 0; i < 20; i++) {
        made_run_samples(&f.made, 4, 7, 0);
        made_run_samples(&f.made, 1, 2, 0);
    }
    made_run_fault(&f.made, 1, 10);
    made_run_undo(&f.made, 1, 11);
    fixture_digest(&f);

    assert_int_equal(f.digest.effects[0].recovery, REPORT_RECOVERY_NO_DIP);
    fixture_close(&f);
}

static void digest__few_requests_stop__dip(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 20);
    made_run_samples(&f.made, 100, 6, 0);
    made_run_samples(&f.made, 8, 0, 0);
    made_run_samples(&f.made, 92, 6, 0);
    made_run_fault(&f.made, 1, 10);
    made_run_undo(&f.made, 1, 11);
    fixture_digest(&f);

    assert_int_equal(f.digest.effects[0].recovery, REPORT_RECOVERY_DONE);
    assert_float_equal(f.digest.effects[0].recovery_s, 0.8, 0.11f);
    fixture_close(&f);
}

static void digest__fault_before_any_answer__recovery_unknown(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 20);
    made_run_fault(&f.made, 1, 0);
    made_run_samples(&f.made, 50, 20, 0);
    fixture_digest(&f);

    assert_int_equal(f.digest.effects[0].recovery, REPORT_RECOVERY_UNKNOWN);
    fixture_close(&f);
}

/* The dip of the second fault is not the first one's, though a sample reaches over its begin. */
static void digest__two_faults__each_has_its_own_dip(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 20);
    made_run_samples(&f.made, 100, 20, 0);
    made_run_samples(&f.made, 5, 0, 1);
    made_run_samples(&f.made, 95, 20, 0);
    made_run_fault(&f.made, 1, 7);
    made_run_undo(&f.made, 1, 8);
    made_run_fault(&f.made, 2, 10.05);
    made_run_undo(&f.made, 2, 11);
    fixture_digest(&f);

    assert_int_equal(f.digest.effects[0].recovery, REPORT_RECOVERY_NO_DIP);
    assert_int_equal(f.digest.effects[0].failed, 0);
    assert_float_equal(f.digest.effects[0].gap.seconds, 0, 1e-9);
    assert_int_equal(f.digest.effects[1].recovery, REPORT_RECOVERY_DONE);
    assert_float_equal(f.digest.effects[1].recovery_s, 0.45, 1e-6);
    assert_int_equal(f.digest.effects[1].failed, 5);
    fixture_close(&f);
}

static void digest__leaders__changes_and_longest_without(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 20);
    made_run_samples(&f.made, 200, 20, 0);
    made_run_fault(&f.made, 1, 9.9);
    made_run_lead(&f.made, 0, 0, NULL); /* an election at the very start is no gap */
    made_run_lead(&f.made, 1, 0, "node-1");
    made_run_lead(&f.made, 1, 1, "node-2");
    made_run_lead(&f.made, 10, 0, NULL);
    made_run_lead(&f.made, 10.25, 0, "node-3");
    made_run_lead(&f.made, 12, 1, "node-2"); /* the same again */
    made_run_lead(&f.made, 19.5, 1, NULL);
    fixture_digest(&f);

    assert_int_equal(f.digest.leader_changes, 1);
    assert_float_equal(f.digest.leaderless.seconds, 0.5, 1e-6); /* to the end */
    assert_float_equal(f.digest.leaderless.at_s, 19.5, 1e-6);
    assert_string_equal(f.run.shards.names[f.digest.leaderless_shard], "1");
    assert_float_equal(f.digest.effects[0].leaderless_s, 0.5, 1e-6);
    fixture_close(&f);
}

static void digest__empty_run__nothing_known(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 0);
    made_run_fault(&f.made, 1, 0);
    fixture_digest(&f);

    assert_int_equal(f.digest.ok, 0);
    assert_true(f.digest.rate < 0);
    assert_true(f.digest.p50_ms < 0);
    assert_true(f.digest.max_ms < 0);
    assert_float_equal(f.digest.gap.seconds, 0, 1e-9);
    assert_int_equal(f.digest.effects[0].recovery, REPORT_RECOVERY_UNKNOWN);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest__steady_load__totals_and_no_gap),
        cmocka_unit_test(digest__nothing_acknowledged_for_a_while__longest_gap_and_when),
        cmocka_unit_test(digest__cluster_never_comes_back__gap_to_the_end_and_no_recovery),
        cmocka_unit_test(digest__dip_and_back__time_since_the_fault),
        cmocka_unit_test(digest__nothing_to_see__no_dip),
        cmocka_unit_test(digest__few_requests__chance_is_no_dip),
        cmocka_unit_test(digest__few_requests_stop__dip),
        cmocka_unit_test(digest__fault_before_any_answer__recovery_unknown),
        cmocka_unit_test(digest__two_faults__each_has_its_own_dip),
        cmocka_unit_test(digest__leaders__changes_and_longest_without),
        cmocka_unit_test(digest__empty_run__nothing_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
