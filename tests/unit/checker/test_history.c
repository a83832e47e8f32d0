/* Reading of histories: what is taken, what is refused, and with which words. */

#include "chaos/checker/model.h"
#include "proto/base/check.h"
#include "tests/unit/checker/judged.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void expect_refused(const char *model, const char *text, const char *why)
{
    struct judged judged;

    judged_open(&judged, model, slice_text(text), &judged_options);
    assert_int_equal(judged.rc, ERR_INVALID);
    if (strstr(judged.history.why, why) == NULL)
        fail_msg("'%s' was expected to say '%s'", judged.history.why, why);
    judged_close(&judged);
}

static void malformed__line_and_reason_are_named(void **state)
{
    static const struct {
        const char *model, *text, *why;
    } cases[] = {
        {"register", "", "no operations"},
        {"register", "\n  \n", "no operations"},
        {"register", "\n{", "line 2: not JSON"},
        {"register", "{\"p\":1,\"p\":1}", "line 1: not JSON: duplicate"},
        {"register", "7", "line 1: not a JSON object"},
        {"register", "{\"t\":\"ok\"}", "line 1: \"p\" is neither"},
        {"register", "{\"p\":1,\"f\":\"read\"}", "line 1: \"t\" is no text"},
        {"register", "{\"p\":1,\"t\":\"done\"}", "\"t\" is \"done\", not invoke"},
        {"register", "{\"p\":1,\"t\":\"invoke\"}", "\"f\" is no text"},
        {"register", "{\"p\":1,\"t\":\"invoke\",\"f\":\"get\"}", "knows read, write and cas"},
        {"register", "{\"p\":1,\"t\":\"ok\",\"f\":\"read\"}", "no open operation"},
        {"register",
         "{\"p\":1,\"t\":\"invoke\",\"f\":\"read\"}\n{\"p\":1,\"t\":\"invoke\",\"f\":\"read\"}",
         "line 2: this process has an operation open"},
        {"register",
         "{\"p\":1,\"t\":\"invoke\",\"f\":\"read\"}\n{\"p\":1,\"t\":\"ok\",\"f\":\"write\"}",
         "line 2: it completes the invoke of line 1"},
        {"register",
         "{\"p\":1,\"t\":\"invoke\",\"f\":\"read\",\"k\":1}\n{\"p\":1,\"t\":\"ok\",\"k\":\"1\"}",
         "line 2: it completes the invoke of line 1"},
        {"register", "{\"p\":1,\"t\":\"invoke\",\"f\":\"write\"}", "a write needs"},
        {"register", "{\"p\":1,\"t\":\"invoke\",\"f\":\"cas\",\"v\":[1]}", "a cas needs"},
        {"kv", "{\"p\":1,\"t\":\"invoke\",\"f\":\"put\",\"v\":1}", "needs a text"},
        {"kv", "{\"p\":1,\"t\":\"invoke\",\"f\":\"get\"}\n{\"p\":1,\"t\":\"ok\",\"v\":1}",
         "line 2: a get returns a text or null"},
        {"counter", "{\"p\":1,\"t\":\"invoke\",\"f\":\"add\",\"v\":1.5}", "no whole number"},
        {"counter", "{\"p\":1,\"t\":\"invoke\",\"f\":\"add\",\"v\":9999999999999}", "at most 2^40"},
        {"counter", "{\"p\":1,\"t\":\"invoke\",\"f\":\"read\"}\n{\"p\":1,\"t\":\"ok\"}",
         "line 2: \"v\" is no whole number"},
        {"put-if-absent", "{\"p\":1,\"t\":\"invoke\",\"f\":\"put\",\"v\":null}", "not null"},
        {"bank", "{\"p\":1,\"t\":\"invoke\",\"f\":\"transfer\",\"v\":{\"from\":1}}", "\"to\""},
        {"bank",
         "{\"p\":1,\"t\":\"invoke\",\"f\":\"transfer\",\"v\":{\"from\":1,\"to\":2,\"amount\":-1}}",
         "an \"amount\""},
        {"bank", "{\"p\":1,\"t\":\"invoke\",\"f\":\"read\"}\n{\"p\":1,\"t\":\"ok\",\"v\":[1]}",
         "line 2: a read returns"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        expect_refused(cases[i].model, cases[i].text, cases[i].why);
}

static void unknown_model__none(void **state)
{
    (void)state;
    assert_null(model_find("queue"));
}

static void file__lines_longer_than_a_read__are_put_together(void **state)
{
    struct history history;
    FILE *file = tmpfile();

    (void)state;
    assert_non_null(file);
    for (int i = 0; i < 3; i++) {
        (void)fprintf(file, "{\"p\":%d,\"t\":\"invoke\",\"f\":\"put\",\"v\":\"", i);
        for (int j = 0; j < 700000; j++)
            (void)fputc('x', file);
        (void)fputs(i < 2 ? "\"}\r\n" : "\"}", file); /* the last one without an end of line */
    }
    rewind(file);
    history_init(&history, &model_kv);

    assert_int_equal(history_read(&history, file), OK);

    assert_int_equal(history.count, 3);
    assert_int_equal(history.line, 3);
    assert_int_equal(history.operations[2].outcome, OUTCOME_INFO); /* nothing completed it */
    history_close(&history);
    (void)fclose(file);
}

static void processes_and_keys__numbers_and_texts__differ(void **state)
{
    static const char text[] = "{\"p\":1,\"t\":\"invoke\",\"f\":\"write\",\"v\":1,\"k\":1}\n"
                               "{\"p\":\"1\",\"t\":\"invoke\",\"f\":\"read\",\"k\":\"1\"}\n"
                               "{\"p\":\"1\",\"t\":\"ok\",\"v\":null}\n"
                               "{\"p\":\"nemesis\",\"t\":\"info\",\"f\":\"kill\"}\n"
                               "{\"p\":1,\"t\":\"ok\",\"time\":7}\n";
    struct judged judged;

    (void)state;
    judged_open(&judged, "register", slice_text(text), &judged_options);
    assert_int_equal(judged.rc, OK);
    assert_int_equal(judged.verdict.kind, VERDICT_VALID);
    assert_int_equal(judged.verdict.key_count, 2);
    assert_int_equal(judged.history.operations[0].back, 5);
    judged_close(&judged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed__line_and_reason_are_named),
        cmocka_unit_test(unknown_model__none),
        cmocka_unit_test(file__lines_longer_than_a_read__are_put_together),
        cmocka_unit_test(processes_and_keys__numbers_and_texts__differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
