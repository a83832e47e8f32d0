#include "chaos/report/report_json.h"
#include "chaos/report/report_junit.h"
#include "chaos/report/report_page.h"
#include "chaos/report/report_text.h"
#include "tests/unit/report/made_run.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define EVIL "</script><script>alert(1)</script>\\\"'&<img src=x onerror=alert(2)>"
#define EVIL_IN_JSON "</script><script>alert(1)</script>\\\\\\\"'&<img src=x onerror=alert(2)>"

struct fixture {
    struct report_run run;
    struct report_digest digest;
    struct buffer text;
};

/* Takes what was made. */
static void fixture_open(struct fixture *f, struct made_run *made)
{
    char why[ERROR_WHY_BYTES] = "";

    report_run_init(&f->run);
    if (made_run_parse(made, &f->run, why) != OK)
        fail_msg("%s", why);
    report_digest_init(&f->digest, &f->run);
    buffer_init(&f->text, BUFFER_UNLIMITED);
    made_run_close(made);
}

static void fixture_close(struct fixture *f)
{
    buffer_close(&f->text);
    report_digest_close(&f->digest);
    report_run_close(&f->run);
}

static const char *fixture_page(struct fixture *f)
{
    report_page_write(&f->text, &f->run, &f->digest, false);
    return buffer_text(&f->text);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;

    while ((text = strstr(text, part)) != NULL) {
        text += strlen(part);
        count++;
    }
    return count;
}

static void made_evil(struct made_run *made)
{
    made_run_init(made, 3);
    made_run_set(made, "{\"scenario\": \"" EVIL_IN_JSON "\", \"title\": \"" EVIL_IN_JSON
                       "\", \"layer\": \"" EVIL_IN_JSON "\", \"seed\": \"" EVIL_IN_JSON
                       "\", \"started\": \"" EVIL_IN_JSON "\", \"seconds\": 3, \"verdict\": "
                       "\"FAIL\", \"why\": \"" EVIL_IN_JSON "\", \"invariants\": [{\"name\": "
                       "\"" EVIL_IN_JSON "\", \"threshold\": \"" EVIL_IN_JSON
                       "\", \"measured\": {\"" EVIL_IN_JSON "\": 1}, \"ok\": false}], \"cluster\": "
                       "{\"nodes\": 1, \"regions\": [\"" EVIL_IN_JSON "\"]}}");
    made_run_samples(made, 30, 3, 0);
    made_run_line(made, REPORT_FILE_EVENTS,
                  "{\"t\": 1, \"kind\": \"fault\", \"id\": 1, \"what\": \"" EVIL_IN_JSON
                  "\", \"target\": \"" EVIL_IN_JSON "\", \"text\": \"" EVIL_IN_JSON "\"}");
    made_run_line(made, REPORT_FILE_LEADERS,
                  "{\"t\": 1, \"shard\": \"" EVIL_IN_JSON "\", \"leader\": \"" EVIL_IN_JSON "\"}");
}

static void page__evil_names__never_markup(void **state)
{
    struct made_run made;
    struct fixture f;
    const char *page;

    (void)state;
    made_evil(&made);
    fixture_open(&f, &made);
    page = fixture_page(&f);

    assert_int_equal(count_of(page, "<script"), 2); /* the data and ours */
    assert_int_equal(count_of(page, "</script"), 2);
    assert_int_equal(count_of(page, "<img"), 0);
    assert_int_equal(count_of(page, "\"'&"), 0);
    assert_true(count_of(page, "&lt;script&gt;alert(1)") >= 10);
    fixture_close(&f);
}

static void page__data_of_evil_names__reads_back(void **state)
{
    struct made_run made;
    struct fixture f;
    const char *page, *from, *until;
    json_t *data;

    (void)state;
    made_evil(&made);
    fixture_open(&f, &made);
    page = fixture_page(&f);
    from = strstr(page, "id=\"data\">");
    assert_non_null(from);
    from += strlen("id=\"data\">");
    until = strstr(from, "</script>");
    assert_non_null(until);
    data = json_loadb(from, (size_t)(until - from), 0, NULL);

    assert_non_null(data);
    assert_string_equal(json_string_value(json_array_get(json_object_get(data, "nodes"), 0)), EVIL);
    assert_int_equal(json_array_size(json_object_get(data, "samples")), 30);
    json_decref(data);
    fixture_close(&f);
}

static void page__any_run__needs_nothing_from_outside(void **state)
{
    struct made_run made;
    struct fixture f;
    const char *page;

    (void)state;
    made_run_minute(&made);
    fixture_open(&f, &made);
    page = fixture_page(&f);

    assert_int_equal(count_of(page, "http:") + count_of(page, "https:"), 0);
    assert_int_equal(count_of(page, " src=") + count_of(page, "url(") + count_of(page, "@import"),
                     0);
    assert_int_equal(count_of(page, "default-src 'none'"), 1);
    fixture_close(&f);
}

static void page__any_run__verdict_first_then_charts_and_tables(void **state)
{
    struct made_run made;
    struct fixture f;
    const char *page, *body;

    (void)state;
    made_run_minute(&made);
    fixture_open(&f, &made);
    page = fixture_page(&f);

    assert_non_null(strstr(page, "<title>PASS Kill a leader</title>"));
    body = strstr(page, "<body>");
    assert_non_null(body);
    assert_memory_equal(body, "<body><header class=\"pass\"><h1><strong>\u2713 PASS</strong>", 47);
    assert_int_equal(count_of(page, "<svg"), 2);               /* wide and narrow */
    assert_int_equal(count_of(page, "class=\"band\""), 2 * 6); /* each fault in each */
    assert_int_equal(count_of(page, "class=\"leaderless\""), 12);
    assert_non_null(strstr(page, "<title>shard 0: node-1, 0.0 s to 9.0 s</title>"));
    assert_non_null(strstr(page, "1 kill node-1"));
    assert_non_null(strstr(page, "lost writes"));
    assert_non_null(strstr(page, "fault 1 ends after 500 ms"));
    fixture_close(&f);
}

static void page__skipped_run__says_why_and_shows_no_charts(void **state)
{
    struct made_run made;
    struct fixture f;
    const char *page;

    (void)state;
    made_run_init(&made, 0);
    made_run_set(&made, "{\"scenario\": \"S14\", \"verdict\": \"SKIPPED\", \"why\": \"needs: "
                        "FUSE\"}");
    fixture_open(&f, &made);
    page = fixture_page(&f);

    assert_non_null(strstr(page, "SKIPPED</strong> S14"));
    assert_non_null(strstr(page, "needs: FUSE"));
    assert_null(strstr(page, "<svg"));
    assert_null(strstr(page, "samples.jsonl"));
    fixture_close(&f);
}

/* A run of hours keeps its page small enough to open. */
static void page__long_run__samples_are_merged(void **state)
{
    struct made_run made;
    struct fixture f;

    (void)state;
    made_run_init(&made, 7200);
    made_run_samples(&made, 36000, 20, 0);
    made_run_samples(&made, 1, 0, 7);
    made_run_samples(&made, 35999, 20, 0);
    fixture_open(&f, &made);
    (void)fixture_page(&f);

    assert_true(f.text.size < 400000);
    assert_non_null(strstr(buffer_text(&f.text), "class=\"spread\""));
    assert_int_equal(f.digest.failed, 7);
    fixture_close(&f);
}

static void page__run_of_a_laptop__says_how_to_run_it_again(void **state)
{
    static const struct {
        const char *run, *wanted; /* NULL: no command */
    } cases[] = {
        {"{\"scenario\": \"s01-kill\", \"seed\": 5, \"layer\": \"laptop\", \"seconds\": 20.006, "
         "\"verdict\": \"FAIL\"}",
         "<code>skein chaos run s01-kill --seed 5 --seconds 20</code>"},
        {"{\"scenario\": \"s01; rm\", \"seed\": 5, \"layer\": \"laptop\", \"seconds\": 20, "
         "\"verdict\": \"FAIL\"}",
         NULL},
        {"{\"scenario\": \"s01-kill\", \"seed\": 5, \"layer\": \"sim\", \"seconds\": 20, "
         "\"verdict\": \"FAIL\"}",
         NULL},
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct made_run made;
        struct fixture f;

        made_run_init(&made, 0);
        made_run_set(&made, cases[i].run);
        fixture_open(&f, &made);
        if (cases[i].wanted != NULL)
            assert_non_null(strstr(fixture_page(&f), cases[i].wanted));
        else
            assert_null(strstr(fixture_page(&f), "<code>"));
        fixture_close(&f);
    }
}

static void page__one_peak__axis_is_not_made_for_it(void **state)
{
    struct made_run made;
    struct fixture f;
    const char *page;

    (void)state;
    made_run_init(&made, 10);
    made_run_samples(&made, 99, 20, 0);
    made_run_samples(&made, 1, 400, 0);
    fixture_open(&f, &made);
    page = fixture_page(&f);

    assert_non_null(strstr(page, "(peaks cut off)"));
    assert_non_null(strstr(page, ">300</text>"));
    assert_null(strstr(page, ">400</text>"));
    fixture_close(&f);
}

static void json__any_run__figures_as_numbers(void **state)
{
    struct made_run made;
    struct fixture f;
    struct json_write writer;
    json_t *json, *fault;

    (void)state;
    made_run_minute(&made);
    fixture_open(&f, &made);
    writer = json_write_to(&f.text);
    report_json_write(&writer, &f.run, &f.digest);
    json = json_loads(buffer_text(&f.text), 0, NULL);

    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "verdict")), "PASS");
    assert_int_equal(json_integer_value(json_object_get(json, "failed")), 12);
    assert_float_equal(json_real_value(json_object_get(json_object_get(json, "gap"), "seconds")),
                       0.2, 1e-3);
    fault = json_array_get(json_object_get(json, "faults"), 0);
    assert_float_equal(json_real_value(json_object_get(fault, "from")), 9, 1e-3);
    assert_float_equal(json_real_value(json_object_get(fault, "recovery_seconds")), 0.2, 1e-3);
    assert_string_equal(json_string_value(json_object_get(fault, "recovery")), "recovered");
    json_decref(json);
    fixture_close(&f);
}

static void assert_junit(const char *run_json, const char *wanted)
{
    struct made_run made;
    struct fixture f;

    made_run_init(&made, 0);
    made_run_set(&made, run_json);
    fixture_open(&f, &made);
    report_junit_write(&f.text, &f.run);
    assert_string_equal(buffer_text(&f.text), wanted);
    fixture_close(&f);
}

static void junit__each_verdict__a_case_for_each_invariant(void **state)
{
    (void)state;
    assert_junit("{\"scenario\": \"S1\", \"verdict\": \"PASS\", \"started\": \"now\", "
                 "\"invariants\": [{\"name\": \"a<b\", \"ok\": true}]}",
                 "  <testsuite name=\"chaos.S1\" tests=\"1\" failures=\"0\" errors=\"0\" "
                 "skipped=\"0\" time=\"0.000\" timestamp=\"now\">\n"
                 "    <testcase classname=\"chaos.S1\" name=\"a&lt;b\"/>\n"
                 "  </testsuite>\n");
    assert_junit("{\"scenario\": \"S1\", \"verdict\": \"FAIL\", \"invariants\": [{\"name\": \"a\", "
                 "\"threshold\": \"< 3\", \"measured\": 4.5, \"ok\": false}, {\"name\": \"b\"}]}",
                 "  <testsuite name=\"chaos.S1\" tests=\"2\" failures=\"1\" errors=\"1\" "
                 "skipped=\"0\" time=\"0.000\">\n"
                 "    <testcase classname=\"chaos.S1\" name=\"a\">\n"
                 "      <failure message=\"does not hold: wanted &lt; 3, measured 4.5\"/>\n"
                 "    </testcase>\n"
                 "    <testcase classname=\"chaos.S1\" name=\"b\">\n"
                 "      <error message=\"not decided: wanted , measured \"/>\n"
                 "    </testcase>\n"
                 "  </testsuite>\n");
    assert_junit("{\"scenario\": \"S1\", \"verdict\": \"SKIPPED\", \"why\": \"needs: root\", "
                 "\"invariants\": [{\"name\": \"a\"}]}",
                 "  <testsuite name=\"chaos.S1\" tests=\"1\" failures=\"0\" errors=\"0\" "
                 "skipped=\"1\" time=\"0.000\">\n"
                 "    <testcase classname=\"chaos.S1\" name=\"verdict\">\n"
                 "      <skipped message=\"SKIPPED: needs: root\"/>\n"
                 "    </testcase>\n"
                 "  </testsuite>\n");
    assert_junit("{\"scenario\": \"S1\", \"verdict\": \"UNDECIDED\", \"why\": \"no cluster\"}",
                 "  <testsuite name=\"chaos.S1\" tests=\"1\" failures=\"0\" errors=\"1\" "
                 "skipped=\"0\" time=\"0.000\">\n"
                 "    <testcase classname=\"chaos.S1\" name=\"verdict\">\n"
                 "      <error message=\"UNDECIDED: no cluster\"/>\n"
                 "    </testcase>\n"
                 "  </testsuite>\n");
}

static void text__figures__as_people_write_them(void **state)
{
    (void)state;
    assert_string_equal(report_text_count(0).text, "0");
    assert_string_equal(report_text_count(1234567).text, "1,234,567");
    assert_string_equal(report_text_rate(-1).text, "\u2013");
    assert_string_equal(report_text_rate(2.5).text, "2.5");
    assert_string_equal(report_text_rate(1999.6).text, "2,000");
    assert_string_equal(report_text_ms(0.237).text, "0.24 ms");
    assert_string_equal(report_text_ms(38.4).text, "38 ms");
    assert_string_equal(report_text_ms(2500).text, "2.50 s");
    assert_string_equal(report_text_seconds(0.18).text, "180 ms");
    assert_string_equal(report_text_seconds(60).text, "60 s");
    assert_string_equal(report_text_seconds(125).text, "2 min 5 s");
    assert_string_equal(report_text_seconds(7260).text, "2 h 1 min");
    assert_string_equal(report_text_seconds(7200).text, "2 h");
    assert_string_equal(report_text_moment(12.34, 60).text, "12.3 s");
    assert_string_equal(report_text_moment(125.3, 300).text, "2:05.3");
    assert_string_equal(report_text_gap(0, 0.1).text, "< 100 ms");
}

static void escape__bytes_of_every_kind__html_and_xml_can_hold_them(void **state)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    report_text_escape(&text, "a<b>&\"'\x01\x1b\xff\xc3(\xef\xbf\xbf \u00e9\U0001f600");
    assert_string_equal(buffer_text(&text), "a&lt;b&gt;&amp;&quot;&#39;\ufffd\ufffd\ufffd\ufffd("
                                            "\ufffd \u00e9\U0001f600");
    buffer_clear(&text);
    report_text_escape_most(&text, "\u00e4\u00f6\u00fc&<", 4);
    assert_string_equal(buffer_text(&text), "\u00e4\u00f6\u00fc\u2026");
    buffer_clear(&text);
    report_text_escape_most(&text, "abcd", 4);
    assert_string_equal(buffer_text(&text), "abcd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page__evil_names__never_markup),
        cmocka_unit_test(page__data_of_evil_names__reads_back),
        cmocka_unit_test(page__any_run__needs_nothing_from_outside),
        cmocka_unit_test(page__any_run__verdict_first_then_charts_and_tables),
        cmocka_unit_test(page__skipped_run__says_why_and_shows_no_charts),
        cmocka_unit_test(page__long_run__samples_are_merged),
        cmocka_unit_test(page__run_of_a_laptop__says_how_to_run_it_again),
        cmocka_unit_test(page__one_peak__axis_is_not_made_for_it),
        cmocka_unit_test(json__any_run__figures_as_numbers),
        cmocka_unit_test(junit__each_verdict__a_case_for_each_invariant),
        cmocka_unit_test(text__figures__as_people_write_them),
        cmocka_unit_test(escape__bytes_of_every_kind__html_and_xml_can_hold_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
