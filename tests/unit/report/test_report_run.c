#include "tests/unit/report/made_run.h"

#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define RUN_JSON(more) "{\"scenario\": \"S01\", \"verdict\": \"FAIL\", \"seconds\": 5" more "}"

static void parse__whole_run__everything_there(void **state)
{
    struct made_run made;
    struct report_run run;
    char why[ERROR_WHY_BYTES] = "";

    (void)state;
    made_run_minute(&made);
    report_run_init(&run);
    assert_int_equal(made_run_parse(&made, &run, why), OK);

    assert_string_equal(run.scenario, "S01");
    assert_string_equal(run.seed, "7");
    assert_int_equal(run.node_count, 6);
    assert_int_equal(run.region_count, 2);
    assert_string_equal(run.regions[1], "eu-west-1");
    assert_int_equal(run.invariant_count, 1);
    assert_string_equal(run.invariants[0].measured, "0");
    assert_int_equal(run.invariants[0].outcome, REPORT_HOLDS);
    assert_int_equal(run.sample_count, 600);
    assert_int_equal(run.fault_count, 6);
    assert_true(run.faults[0].is_undone);
    assert_float_equal(run.faults[0].from_s, 9, 1e-9);
    assert_float_equal(run.faults[0].until_s, 9.5, 1e-9);
    assert_int_equal(run.nodes.count, 3);
    assert_string_equal(run.nodes.names[1], "node-2"); /* before node-10 */
    assert_int_equal(run.shards.count, 2);
    report_run_close(&run);
    made_run_close(&made);
}

static void parse__lines_out_of_order__sorted_by_time(void **state)
{
    struct made_run made;
    struct report_run run;
    char why[ERROR_WHY_BYTES] = "";

    (void)state;
    made_run_init(&made, 3);
    made_run_undo(&made, 4, 2);
    made_run_fault(&made, 4, 1);
    made_run_line(&made, REPORT_FILE_SAMPLES, "{\"t\": 2, \"ok\": 5}");
    made_run_line(&made, REPORT_FILE_SAMPLES, "");
    made_run_line(&made, REPORT_FILE_SAMPLES, "{\"t\": 1, \"ok\": 3, \"p50_ms\": null}");
    made_run_line(&made, REPORT_FILE_SAMPLES, "{\"t\": 2, \"ok\": 6, \"max_ms\": 8}");
    report_run_init(&run);
    assert_int_equal(made_run_parse(&made, &run, why), OK);

    assert_int_equal(run.sample_count, 2); /* those of one time are one */
    assert_int_equal(run.samples[0].ok, 3);
    assert_true(run.samples[0].from_s < run.samples[0].at_s);
    assert_int_equal(run.samples[1].ok, 11);
    assert_float_equal(run.samples[1].from_s, 1, 1e-9);
    assert_float_equal(run.samples[1].max_ms, 8, 1e-9);
    assert_float_equal(run.faults[0].until_s, 2, 1e-9);
    report_run_close(&run);
    made_run_close(&made);
}

static void parse__sample_right_after_another__one_sample(void **state)
{
    struct made_run made;
    struct report_run run;
    char why[ERROR_WHY_BYTES] = "";

    (void)state;
    made_run_init(&made, 1);
    made_run_samples(&made, 5, 20, 0);
    made_run_line(&made, REPORT_FILE_SAMPLES, "{\"t\": 0.502, \"ok\": 4}");
    report_run_init(&run);
    assert_int_equal(made_run_parse(&made, &run, why), OK);

    assert_int_equal(run.sample_count, 5);
    assert_int_equal(run.samples[4].ok, 24);
    assert_float_equal(run.samples[4].at_s, 0.502, 1e-6);
    report_run_close(&run);
    made_run_close(&made);
}

static void parse__silence_after_the_run__dropped(void **state)
{
    struct made_run made;
    struct report_run run;
    char why[ERROR_WHY_BYTES] = "";

    (void)state;
    made_run_init(&made, 1);
    made_run_samples(&made, 8, 20, 0);
    made_run_samples(&made, 6, 0, 0); /* the first ones are within the run */
    report_run_init(&run);
    assert_int_equal(made_run_parse(&made, &run, why), OK);

    assert_int_equal(run.sample_count, 10);
    report_run_close(&run);
    made_run_close(&made);
}

static void parse__fault_without_undo__lasts_to_the_end(void **state)
{
    struct made_run made;
    struct report_run run;
    char why[ERROR_WHY_BYTES] = "";

    (void)state;
    made_run_init(&made, 8);
    made_run_fault(&made, 1, 3);
    report_run_init(&run);
    assert_int_equal(made_run_parse(&made, &run, why), OK);

    assert_false(run.faults[0].is_undone);
    assert_float_equal(run.faults[0].until_s, 8, 1e-9);
    report_run_close(&run);
    made_run_close(&made);
}

static void assert_refused(enum report_file file, const char *text, const char *why_wanted)
{
    struct made_run made;
    struct report_run run;
    char why[ERROR_WHY_BYTES] = "";

    made_run_init(&made, 5);
    if (file == REPORT_FILE_RUN)
        made_run_set(&made, text);
    else
        made_run_line(&made, file, text);
    report_run_init(&run);
    assert_int_equal(made_run_parse(&made, &run, why), ERR_INVALID);
    assert_string_equal(why, why_wanted);
    report_run_close(&run);
    made_run_close(&made);
}

static void parse__broken_run__says_what_and_where(void **state)
{
    static const struct {
        const char *text, *why;
    } broken[] = {
        {"", "run.json:1: no JSON: '[' or '{' expected near end of file"},
        {"{\n\"scenario\": }", "run.json:2: no JSON: unexpected token near '}'"},
        {"[]", "run.json: no JSON object"},
        {"{}", "run.json: \"verdict\" is none of PASS, FAIL, UNDECIDED and SKIPPED"},
        {"{\"verdict\": \"pass\"}",
         "run.json: \"verdict\" is none of PASS, FAIL, UNDECIDED and SKIPPED"},
        {"{\"verdict\": \"FAIL\"}", "run.json: no \"scenario\""},
        {RUN_JSON(", \"title\": 5"), "run.json: \"title\" is no text"},
        {"{\"scenario\": \"S\", \"verdict\": \"FAIL\", \"seconds\": -1}",
         "run.json: \"seconds\" is no number from 0 to 1e+07"},
        {RUN_JSON(", \"invariants\": {}"), "run.json: \"invariants\" is no array"},
        {RUN_JSON(", \"invariants\": [3]"), "run.json: one of \"invariants\" is no object"},
        {RUN_JSON(", \"invariants\": [{\"name\": \"lost\", \"ok\": 1}]"),
         "run.json: \"ok\" of the invariant \"lost\" is neither true, false nor null"},
        {RUN_JSON(", \"cluster\": 3"), "run.json: \"cluster\" is no object"},
        {RUN_JSON(", \"cluster\": {\"nodes\": \"six\"}"),
         "run.json: \"nodes\" is no number from 0 to 1e+12"},
        {RUN_JSON(", \"cluster\": {\"regions\": 3}"), "run.json: \"regions\" is no array"},
        {"{\"scenario\": \"S\", \"verdict\": \"PASS\"}",
         "run.json: PASS, but no invariant was checked"},
        {"{\"scenario\": \"S\", \"verdict\": \"PASS\", \"invariants\": [{\"name\": \"lost\", "
         "\"ok\": null}]}",
         "run.json: PASS, but \"lost\" does not hold"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(broken); i++)
        assert_refused(REPORT_FILE_RUN, broken[i].text, broken[i].why);
}

static void parse__broken_line__says_what_and_where(void **state)
{
    static const struct {
        enum report_file file;
        const char *text, *why;
    } broken[] = {
        {REPORT_FILE_EVENTS, "\n\n{\"t\": 1, \"ki",
         "events.jsonl:3: no JSON: premature end of input near '\"ki'"},
        {REPORT_FILE_EVENTS, "{}", "events.jsonl:1: no \"t\""},
        {REPORT_FILE_EVENTS, "{\"t\": 1}",
         "events.jsonl:1: \"kind\" is none of fault, undo and note"},
        {REPORT_FILE_EVENTS, "{\"t\": 1, \"kind\": \"fault\"}",
         "events.jsonl:1: \"id\" is no whole number"},
        {REPORT_FILE_EVENTS, "{\"t\": 1, \"kind\": \"note\", \"text\": []}",
         "events.jsonl:1: \"text\" is no text"},
        {REPORT_FILE_EVENTS, "{\"t\": 1, \"kind\": \"undo\", \"id\": 3}",
         "events.jsonl:1: no fault 3 before that it could undo"},
        {REPORT_FILE_EVENTS,
         "{\"t\": 1, \"kind\": \"fault\", \"id\": 3}\n{\"t\": 2, \"kind\": \"fault\", \"id\": 3}",
         "events.jsonl:2: fault 3 is there twice"},
        {REPORT_FILE_SAMPLES, "{\"t\": 1e300}",
         "samples.jsonl:1: \"t\" is no number from 0 to 1e+07"},
        {REPORT_FILE_SAMPLES, "{\"t\": 1}\n{\"t\": 2, \"ok\": -1}",
         "samples.jsonl:2: \"ok\" is no number from 0 to 1e+12"},
        {REPORT_FILE_SAMPLES, "{\"t\": 1, \"p99_ms\": \"3\"}",
         "samples.jsonl:1: \"p99_ms\" is no number from 0 to 1e+12"},
        {REPORT_FILE_LEADERS, "{\"t\": 1, \"shard\": null}",
         "leaders.jsonl:1: \"shard\" is neither a number nor a text"},
        {REPORT_FILE_LEADERS, "{\"t\": 1, \"shard\": 2}",
         "leaders.jsonl:1: \"leader\" is neither a number nor a text"},
        {REPORT_FILE_LEADERS, "3", "leaders.jsonl:1: no JSON: '[' or '{' expected near '3'"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(broken); i++)
        assert_refused(broken[i].file, broken[i].text, broken[i].why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse__whole_run__everything_there),
        cmocka_unit_test(parse__lines_out_of_order__sorted_by_time),
        cmocka_unit_test(parse__sample_right_after_another__one_sample),
        cmocka_unit_test(parse__silence_after_the_run__dropped),
        cmocka_unit_test(parse__fault_without_undo__lasts_to_the_end),
        cmocka_unit_test(parse__broken_run__says_what_and_where),
        cmocka_unit_test(parse__broken_line__says_what_and_where),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
