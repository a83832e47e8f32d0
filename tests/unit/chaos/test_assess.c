#include "chaos/run/assess.h"
#include "chaos/run/pulse.h"
#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct scenario scenario;
static struct assessment assessment;

/* A run in which everything was as it should be. */
static void all_good(struct assess_figure figures[MEASURE_COUNT])
{
    for (size_t i = 0; i < MEASURE_COUNT; i++)
        figures[i] = (struct assess_figure){true, 0};
}

static void parse(const char *expects)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    char why[ERROR_WHY_BYTES] = "";

    buffer_putf(
        &text,
        "name x\ntitle t\nlayers laptop\nseconds 9\nworkload checkout\nworkload register\n%s",
        expects);
    if (scenario_parse(buffer_slice(&text), &scenario, why) != OK)
        fail_msg("%s", why);
}

static void assess__all_as_expected__passes(void **state)
{
    struct assess_figure figures[MEASURE_COUNT];

    (void)state;
    all_good(figures);
    figures[MEASURE_GAP_P99].value = 400;
    figures[MEASURE_GOODPUT].value = 80;
    parse("expect gap-p99-ms <= 400\nexpect goodput-percent >= 80\n");
    assess(&scenario, figures, &assessment);

    assert_int_equal(assessment.verdict, RUN_PASS);
    assert_string_equal(assessment.why, "");
    for (size_t i = 0; i < assessment.count; i++)
        assert_true(assessment.invariants[i].is_ok);
}

static void assess__one_order_lost__fails_though_no_line_expects_it(void **state)
{
    struct assess_figure figures[MEASURE_COUNT];

    (void)state;
    all_good(figures);
    figures[MEASURE_LOST].value = 1;
    parse("");
    assess(&scenario, figures, &assessment);

    assert_int_equal(assessment.verdict, RUN_FAIL);
    assert_string_equal(assessment.why, "lost-orders is 1, expected = 0");
}

static void assess__past_a_threshold__fails_with_the_first(void **state)
{
    struct assess_figure figures[MEASURE_COUNT];

    (void)state;
    all_good(figures);
    figures[MEASURE_GAP_P50].value = 50.5;
    figures[MEASURE_TERMS].value = 9;
    parse("expect gap-p50-ms <= 50\nexpect terms <= 5\n");
    assess(&scenario, figures, &assessment);

    assert_int_equal(assessment.verdict, RUN_FAIL);
    assert_string_equal(assessment.why, "gap-p50-ms is 50.5, expected <= 50");
}

static void assess__a_figure_is_not_known__undecided_never_passed(void **state)
{
    struct assess_figure figures[MEASURE_COUNT];

    (void)state;
    all_good(figures);
    figures[MEASURE_WRONG_HISTORIES].is_known = false;
    parse("");
    assess(&scenario, figures, &assessment);

    assert_int_equal(assessment.verdict, RUN_UNDECIDED);
    assert_string_equal(assessment.why, "wrong-histories could not be measured");
}

static void assess__unknown_and_broken__fails(void **state)
{
    struct assess_figure figures[MEASURE_COUNT];

    (void)state;
    all_good(figures);
    figures[MEASURE_LOST].is_known = false;
    figures[MEASURE_TWO_LEADERS].value = 1;
    parse("");
    assess(&scenario, figures, &assessment);
    assert_int_equal(assessment.verdict, RUN_FAIL);
    assess_cut_short(&assessment, "interrupted");

    assert_int_equal(assessment.verdict, RUN_FAIL); /* what is broken stays so */
}

static void assess__never_healthy_again__fails_though_no_line_expects_it(void **state)
{
    struct assess_figure figures[MEASURE_COUNT];

    (void)state;
    all_good(figures);
    figures[MEASURE_RECOVERY].value = 1e6;
    parse("");
    assess(&scenario, figures, &assessment);

    assert_int_equal(assessment.verdict, RUN_FAIL);
}

static void assess_cut_short__a_good_run__is_undecided(void **state)
{
    struct assess_figure figures[MEASURE_COUNT];

    (void)state;
    all_good(figures);
    parse("");
    assess(&scenario, figures, &assessment);
    assess_cut_short(&assessment, "interrupted");

    assert_int_equal(assessment.verdict, RUN_UNDECIDED);
    assert_string_equal(assessment.why, "interrupted");
}

static void assess_gaps__each_fault__the_longest_in_its_window(void **state)
{
    const struct assess_gap gaps[] = {{100, 160}, {950, 1100}, {1200, 1220}, {1900, 2600}};
    const uint64_t at[] = {1000, 2000, 9000};
    uint64_t longest[3];

    (void)state;
    assess_gaps(gaps, ARRAY_COUNT(gaps), at, 3, 500, longest);

    assert_int_equal(longest[0], 150); /* began before the fault was told, ended after it */
    assert_int_equal(longest[1], 700);
    assert_int_equal(longest[2], 0);
}

static void assess_gaps__the_next_fault_comes_soon__ends_the_window(void **state)
{
    const struct assess_gap gaps[] = {{1050, 1060}, {1150, 1450}};
    const uint64_t at[] = {1000, 1100};
    uint64_t longest[2];

    (void)state;
    assess_gaps(gaps, ARRAY_COUNT(gaps), at, 2, 500, longest);

    assert_int_equal(longest[0], 10);
    assert_int_equal(longest[1], 300);
}

static void assess_percentile__nearest_rank(void **state)
{
    uint64_t values[] = {30, 10, 20, 40};

    (void)state;
    assert_int_equal(assess_percentile(values, 4, 0.5), 20);
    assert_int_equal(assess_percentile(values, 4, 0.99), 40);
    assert_int_equal(assess_percentile(values, 4, 0), 10);
    assert_int_equal(assess_percentile(NULL, 0, 0.5), 0);
}

static void pulse__taken__begins_anew(void **state)
{
    struct pulse pulse;
    struct pulse_look look;

    (void)state;
    pulse_init(&pulse);
    pulse_note(&pulse, true, 3000);
    pulse_note(&pulse, true, 1000);
    pulse_note(&pulse, false, 9000);
    pulse_take(&pulse, &look);
    assert_int_equal(look.ok, 2);
    assert_int_equal(look.failed, 1);
    assert_true(look.p50_ms == 1.0);
    assert_true(look.max_ms == 3.0);
    pulse_take(&pulse, &look);

    assert_int_equal(look.ok, 0);
    assert_false(look.has_latency);
    pulse_close(&pulse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(assess__all_as_expected__passes),
        cmocka_unit_test(assess__one_order_lost__fails_though_no_line_expects_it),
        cmocka_unit_test(assess__past_a_threshold__fails_with_the_first),
        cmocka_unit_test(assess__a_figure_is_not_known__undecided_never_passed),
        cmocka_unit_test(assess__unknown_and_broken__fails),
        cmocka_unit_test(assess__never_healthy_again__fails_though_no_line_expects_it),
        cmocka_unit_test(assess_cut_short__a_good_run__is_undecided),
        cmocka_unit_test(assess_gaps__each_fault__the_longest_in_its_window),
        cmocka_unit_test(assess_gaps__the_next_fault_comes_soon__ends_the_window),
        cmocka_unit_test(assess_percentile__nearest_rank),
        cmocka_unit_test(pulse__taken__begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
