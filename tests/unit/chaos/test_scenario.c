#include "chaos/scenario/scenario_library.h"
#include "chaos/scenario/schedule.h"
#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define HEAD "name x\ntitle A title\nlayers laptop\nseconds 60\nworkload register\n"

static struct scenario scenario; /* large; parsed anew by each test */

static void assert_wrong(const char *text, const char *why_expected)
{
    char why[ERROR_WHY_BYTES] = "";

    assert_int_equal(scenario_parse(slice_text(text), &scenario, why), ERR_INVALID);
    assert_string_equal(why, why_expected);
}

static void parse(const char *text)
{
    char why[ERROR_WHY_BYTES] = "";

    if (scenario_parse(slice_text(text), &scenario, why) != OK)
        fail_msg("%s", why);
}

static void scenario__every_statement__is_understood(void **state)
{
    (void)state;
    parse("# a comment\nname s99-x\ntitle  Two words # and a comment\nlayers laptop sim\n\n"
          "needs a-thing\nseconds 30\nworkload checkout rate=7\nworkload orders\n"
          "fault at 10% every 1s..2s until 90% for 200ms kill leader-of Orders\n"
          "expect gap-p99-ms <= 400.5\n");

    assert_string_equal(scenario.name, "s99-x");
    assert_string_equal(scenario.title, "Two words");
    assert_int_equal(scenario.layers, 1u << SCENARIO_LAPTOP | 1u << SCENARIO_SIM);
    assert_string_equal(scenario.needs[0], "a-thing");
    assert_int_equal(scenario.rates[SCENARIO_CHECKOUT], 7);
    assert_true(scenario.is_used[SCENARIO_ORDERS]);
    assert_false(scenario.is_used[SCENARIO_COUNTER]);
    assert_true(scenario.faults[0].at.is_percent);
    assert_int_equal(scenario.faults[0].every.min, 1000);
    assert_int_equal(scenario.faults[0].every.max, 2000);
    assert_int_equal(scenario.faults[0].hold.min, 200);
    assert_int_equal(scenario.faults[0].verb->action, ACTION_KILL);
    assert_string_equal(scenario.faults[0].words[1], "Orders");
    assert_int_equal(scenario.expects[0].measure, MEASURE_GAP_P99);
    assert_true(scenario.expects[0].threshold == 400.5);
}

static void scenario__what_is_wrong__is_named_with_its_line(void **state)
{
    (void)state;
    assert_wrong(HEAD "fault at 1s explode all\n", "line 6: no fault is called 'explode'");
    assert_wrong(HEAD "fault kill all\n",
                 "line 6: fault: when? at TIME [every TIME [until TIME]] [for TIME] VERB ...");
    assert_wrong(HEAD "fault at soon kill all\n",
                 "line 6: 'soon' is no time: 200ms, 5s, 2m, 30%, or 1s..3s");
    assert_wrong(HEAD "fault at 3s..1s kill all\n",
                 "line 6: '3s..1s' is no time: 200ms, 5s, 2m, 30%, or 1s..3s");
    assert_wrong(HEAD "fault at 1s every 0s kill all\n", "line 6: fault: every 0 is without end");
    assert_wrong(HEAD "fault at 1s kill\n", "line 6: it is: kill TARGET");
    assert_wrong(HEAD "\nexpect speed <= 3\n", "line 7: no measure is called 'speed'");
    assert_wrong(HEAD "expect terms < 3\n", "line 6: '<': one of = <= >=");
    assert_wrong(HEAD "expect terms <= many\n", "line 6: 'many' is no number from 0 to 1e9");
    assert_wrong(HEAD "workload sleep\n",
                 "line 6: no workload is called 'sleep': checkout, register, counter, orders");
    assert_wrong(HEAD "workload register\n", "line 6: workload register: there is one already");
    assert_wrong("names x\n", "line 1: 'names': one of name, title, layers, needs, seconds, "
                              "workload, fault, expect");
    assert_wrong("name x\ntitle t\nlayers moon\n",
                 "line 3: no layer is called 'moon': laptop, hosts, sim");
    assert_wrong("name x\ntitle t\nlayers sim\nseconds 5\n", "there is no line 'workload'");
    assert_wrong("name x\x01\n", "line 1: a control character");
}

static void scenario__written__parses_to_the_same(void **state)
{
    AUTO(buffer) first = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) second = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    for (const struct scenario_text *text = scenario_library; text->name != NULL; text++) {
        buffer_clear(&first);
        buffer_clear(&second);
        parse(text->text);
        scenario_write(&scenario, &first);
        parse(buffer_text(&first));
        scenario_write(&scenario, &second);
        assert_string_equal(buffer_text(&first), buffer_text(&second));
    }
}

static void scenario_library__all_26__named_like_their_files(void **state)
{
    unsigned count = 0;
    char start[8];

    (void)state;
    for (const struct scenario_text *text = scenario_library; text->name != NULL; text++) {
        parse(text->text);
        assert_string_equal(scenario.name, text->name);
        (void)snprintf(start, sizeof(start), "s%02u-", ++count);
        assert_memory_equal(text->name, start, 4);
    }
    assert_int_equal(count, 26);
}

static void scenario_can_run__something_is_missing__says_what(void **state)
{
    char why[ERROR_WHY_BYTES] = "";

    (void)state;
    parse(HEAD "fault at 1s kill all\n");
    assert_true(scenario_can_run(&scenario, SCENARIO_LAPTOP, why));
    assert_false(scenario_can_run(&scenario, SCENARIO_HOSTS, why));
    parse(HEAD "fault at 1s lose-power all\n");
    assert_false(scenario_can_run(&scenario, SCENARIO_LAPTOP, why));
    assert_string_equal(why, "needs: 'lose-power', which layer laptop does not have");
    parse(HEAD "needs wings\n");
    assert_false(scenario_can_run(&scenario, SCENARIO_LAPTOP, why));
    assert_string_equal(why, "needs: wings");
}

/* ---- the schedule ---- */

static void schedule__every__repeats_until_its_end(void **state)
{
    struct schedule schedule;

    (void)state;
    parse(HEAD "fault at 4s every 5s until 15s for 2s kill all\n");
    schedule_make(&scenario, 60, 1, &schedule);

    assert_int_equal(schedule.count, 3);
    assert_int_equal(schedule.actions[2].at_ms, 14000);
    assert_int_equal(schedule.actions[2].end_ms, 16000);
    assert_int_equal(schedule.actions[2].number, 2);
    schedule_close(&schedule);
}

static void schedule__percents__of_the_run_at_hand(void **state)
{
    struct schedule schedule;

    (void)state;
    parse(HEAD "fault at 50% for 25% kill all\nfault at 10% kill all\n");
    schedule_make(&scenario, 8, 1, &schedule);

    assert_int_equal(schedule.count, 2);
    assert_int_equal(schedule.actions[0].fault, 1); /* in order of time */
    assert_int_equal(schedule.actions[0].at_ms, 800);
    assert_int_equal(schedule.actions[0].end_ms, 8000); /* no `for`: until the end */
    assert_int_equal(schedule.actions[1].at_ms, 4000);
    assert_int_equal(schedule.actions[1].end_ms, 6000);
    schedule_close(&schedule);
}

static void schedule__past_the_end__left_out_or_cut(void **state)
{
    struct schedule schedule;

    (void)state;
    parse(HEAD "fault at 9s for 5s kill all\nfault at 10s kill all\n");
    schedule_make(&scenario, 10, 1, &schedule);

    assert_int_equal(schedule.count, 1);
    assert_int_equal(schedule.actions[0].end_ms, 10000);
    schedule_close(&schedule);
}

static void schedule__same_seed__same_faults(void **state)
{
    struct schedule a, b, c;

    (void)state;
    parse(HEAD "fault at 1s every 1s..9s for 1ms..500ms kill all\n");
    schedule_make(&scenario, 600, 7, &a);
    schedule_make(&scenario, 600, 7, &b);
    schedule_make(&scenario, 600, 8, &c);

    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.actions, b.actions, a.count * sizeof(*a.actions));
    assert_true(a.count != c.count || a.actions[1].at_ms != c.actions[1].at_ms);
    schedule_close(&a);
    schedule_close(&b);
    schedule_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scenario__every_statement__is_understood),
        cmocka_unit_test(scenario__what_is_wrong__is_named_with_its_line),
        cmocka_unit_test(scenario__written__parses_to_the_same),
        cmocka_unit_test(scenario_library__all_26__named_like_their_files),
        cmocka_unit_test(scenario_can_run__something_is_missing__says_what),
        cmocka_unit_test(schedule__every__repeats_until_its_end),
        cmocka_unit_test(schedule__percents__of_the_run_at_hand),
        cmocka_unit_test(schedule__past_the_end__left_out_or_cut),
        cmocka_unit_test(schedule__same_seed__same_faults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
