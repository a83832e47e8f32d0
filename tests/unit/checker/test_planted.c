/* A checker nobody has seen fail proves nothing: each kind of violation, planted once into a
 * history that is valid without it. */

#include "proto/base/check.h"
#include "tests/unit/checker/judged.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* Short for a history: one operation after the other unless lines say otherwise. */
#define CALL(p, f, v) "{\"p\":" #p ",\"t\":\"invoke\",\"f\":\"" f "\",\"v\":" v "}\n"
#define BACK(p, t, v) "{\"p\":" #p ",\"t\":\"" t "\",\"v\":" v "}\n"
#define DID(p, f, v) CALL(p, f, v) BACK(p, "ok", v)
#define FAILED(p, f, v) CALL(p, f, v) BACK(p, "fail", v)
#define UNKNOWN(p, f, v) CALL(p, f, v) BACK(p, "info", "null")
#define GOT(p, f, v) CALL(p, f, "null") BACK(p, "ok", v)

struct planted {
    const char *name, *model, *valid, *invalid;
    uint32_t line; /* that completes the operation nothing can explain */
};

static const struct planted violations[] = {
    {"stale read", "register", DID(1, "write", "1") DID(1, "write", "2") GOT(2, "read", "2"),
     DID(1, "write", "1") DID(1, "write", "2") GOT(2, "read", "1"), 6},
    {"stale read, values written twice", "register",
     DID(1, "write", "1") DID(1, "write", "2") DID(1, "write", "1") GOT(2, "read", "1"),
     DID(1, "write", "1") DID(1, "write", "1") DID(1, "write", "2") GOT(2, "read", "1"), 8},
    {"lost write", "register", DID(1, "write", "1") GOT(2, "read", "1"),
     DID(1, "write", "1") GOT(2, "read", "null"), 4},
    {"lost write, with a cas", "register",
     DID(1, "write", "1") DID(1, "cas", "[1,2]") GOT(2, "read", "2"),
     DID(1, "write", "1") DID(1, "cas", "[1,2]") GOT(2, "read", "1"), 6},
    {"read of what nobody wrote", "register", DID(1, "write", "[1]") GOT(2, "read", "[1]"),
     DID(1, "write", "[1]") GOT(2, "read", "[2]"), 4},
    {"read before the write", "register", GOT(2, "read", "null") DID(1, "write", "1"),
     GOT(2, "read", "1") DID(1, "write", "1"), 2},
    {"read forth and back", "register",
     CALL(1, "write", "1") CALL(2, "write", "2") GOT(3, "read", "1") GOT(3, "read", "2")
         BACK(1, "ok", "1") BACK(2, "ok", "2"),
     CALL(1, "write", "1") CALL(2, "write", "2") GOT(3, "read", "1") GOT(3, "read", "2")
         GOT(3, "read", "1") BACK(1, "ok", "1") BACK(2, "ok", "2"),
     8},
    {"cas from a wrong value", "register", DID(1, "write", "1") DID(2, "cas", "[1,3]"),
     DID(1, "write", "1") DID(2, "cas", "[2,3]"), 4},
    {"two cas from one value", "register",
     DID(1, "write", "1") CALL(2, "cas", "[1,2]") CALL(3, "cas", "[1,3]") BACK(2, "ok", "null")
         BACK(3, "fail", "null"),
     DID(1, "write", "1") CALL(2, "cas", "[1,2]") CALL(3, "cas", "[1,3]") BACK(2, "ok", "null")
         BACK(3, "ok", "null"),
     6},
    {"cas that missed the right value", "register", DID(1, "write", "1") FAILED(2, "cas", "[2,3]"),
     DID(1, "write", "1") FAILED(2, "cas", "[1,3]"), 4},
    {"failed write seen", "register",
     DID(1, "write", "1") FAILED(2, "write", "2") GOT(3, "read", "1"),
     DID(1, "write", "1") FAILED(2, "write", "2") GOT(3, "read", "2"), 6},
    {"unknown write comes and goes", "register",
     DID(1, "write", "1") UNKNOWN(2, "write", "2") GOT(3, "read", "1") GOT(3, "read", "2"),
     DID(1, "write", "1") UNKNOWN(2, "write", "2") GOT(3, "read", "2") GOT(3, "read", "1"), 8},
    {"unknown cas takes effect twice", "register",
     DID(1, "write", "1") UNKNOWN(2, "cas", "[1,2]") GOT(3, "read", "2") DID(3, "write", "1")
         GOT(3, "read", "1"),
     DID(1, "write", "1") UNKNOWN(2, "cas", "[1,2]") GOT(3, "read", "2") DID(3, "write", "1")
         GOT(3, "read", "2"),
     10},
    {"lost append", "kv",
     DID(1, "append", "\"a\"") DID(1, "append", "\"b\"") GOT(2, "get", "\"ab\""),
     DID(1, "append", "\"a\"") DID(1, "append", "\"b\"") GOT(2, "get", "\"b\""), 6},
    {"append applied twice", "kv", UNKNOWN(1, "append", "\"a\"") GOT(2, "get", "\"a\""),
     UNKNOWN(1, "append", "\"a\"") GOT(2, "get", "\"aa\""), 4},
    {"appends in two orders", "kv",
     CALL(1, "append", "\"a\"") CALL(2, "append", "\"b\"") BACK(1, "ok", "null")
         BACK(2, "ok", "null") GOT(3, "get", "\"ba\"") GOT(3, "get", "\"ba\""),
     CALL(1, "append", "\"a\"") CALL(2, "append", "\"b\"") BACK(1, "ok", "null")
         BACK(2, "ok", "null") GOT(3, "get", "\"ab\"") GOT(3, "get", "\"ba\""),
     8},
    {"put survived by an older append", "kv",
     DID(1, "append", "\"a\"") DID(1, "put", "\"b\"") GOT(2, "get", "\"b\""),
     DID(1, "append", "\"a\"") DID(1, "put", "\"b\"") GOT(2, "get", "\"ab\""), 6},
    {"missing key is not empty", "kv", GOT(1, "get", "null") GOT(1, "get", "\"\""),
     GOT(1, "get", "null") GOT(1, "get", "\"a\""), 4},
    {"add applied twice", "counter", DID(1, "add", "5") GOT(2, "read", "5"),
     DID(1, "add", "5") GOT(2, "read", "10"), 4},
    {"add lost", "counter", DID(1, "inc", "null") DID(2, "add", "2") GOT(2, "read", "3"),
     DID(1, "inc", "null") DID(2, "add", "2") GOT(2, "read", "1"), 6},
    {"sum within bounds that no adds make", "counter",
     CALL(1, "add", "5") CALL(2, "add", "7") GOT(3, "read", "7") BACK(1, "ok", "5")
         BACK(2, "ok", "7"),
     CALL(1, "add", "5") CALL(2, "add", "7") GOT(3, "read", "6") BACK(1, "ok", "5")
         BACK(2, "ok", "7"),
     4},
    {"counter goes back", "counter",
     CALL(1, "add", "5") GOT(3, "read", "0") GOT(3, "read", "5") BACK(1, "ok", "5"),
     CALL(1, "add", "5") GOT(3, "read", "5") GOT(3, "read", "0") BACK(1, "ok", "5"), 5},
    {"one sum returned twice", "counter",
     CALL(1, "add-and-get", "1") BACK(1, "ok", "1") CALL(1, "add-and-get", "1") BACK(1, "ok", "2"),
     CALL(1, "add-and-get", "1") BACK(1, "ok", "1") CALL(1, "add-and-get", "1") BACK(1, "ok", "1"),
     4},
    {"two winners", "put-if-absent", DID(1, "put", "1") FAILED(2, "put", "2"),
     DID(1, "put", "1") DID(2, "put", "2"), 4},
    {"winner not seen", "put-if-absent", DID(1, "put", "1") GOT(2, "get", "1"),
     DID(1, "put", "1") GOT(2, "get", "null"), 4},
    {"loser seen", "put-if-absent", DID(1, "put", "1") FAILED(2, "put", "2") GOT(3, "get", "1"),
     DID(1, "put", "1") FAILED(2, "put", "2") GOT(3, "get", "2"), 6},
    {"lost to nobody", "put-if-absent", UNKNOWN(1, "put", "1") FAILED(2, "put", "2"),
     FAILED(2, "put", "2") DID(1, "put", "1"), 4},
    {"seen and gone", "put-if-absent",
     UNKNOWN(1, "put", "1") GOT(2, "get", "null") GOT(2, "get", "1"),
     UNKNOWN(1, "put", "1") GOT(2, "get", "1") GOT(2, "get", "null"), 6},
    {"two values", "put-if-absent",
     UNKNOWN(1, "put", "1") UNKNOWN(2, "put", "2") GOT(3, "get", "2") GOT(3, "get", "2"),
     UNKNOWN(1, "put", "1") UNKNOWN(2, "put", "2") GOT(3, "get", "1") GOT(3, "get", "2"), 8},
    {"money made", "bank", GOT(1, "read", "{\"a\":5,\"b\":5}") GOT(1, "read", "{\"a\":5,\"b\":5}"),
     GOT(1, "read", "{\"a\":5,\"b\":5}") GOT(1, "read", "{\"a\":5,\"b\":6}"), 4},
    {"negative balance", "bank", GOT(1, "read", "{\"a\":10,\"b\":0}"),
     GOT(1, "read", "{\"a\":11,\"b\":-1}"), 2},
    {"transfer lost", "bank",
     GOT(1, "read", "{\"a\":5,\"b\":5}")
         DID(2, "transfer", "{\"from\":\"a\",\"to\":\"b\",\"amount\":2}")
             GOT(1, "read", "{\"a\":3,\"b\":7}"),
     GOT(1, "read", "{\"a\":5,\"b\":5}")
         DID(2, "transfer", "{\"from\":\"a\",\"to\":\"b\",\"amount\":2}")
             GOT(1, "read", "{\"a\":5,\"b\":5}"),
     6},
    {"transfer applied twice", "bank",
     GOT(1, "read", "{\"a\":5,\"b\":5}")
         UNKNOWN(2, "transfer", "{\"from\":\"a\",\"to\":\"b\",\"amount\":2}")
             GOT(1, "read", "{\"a\":3,\"b\":7}"),
     GOT(1, "read", "{\"a\":5,\"b\":5}")
         UNKNOWN(2, "transfer", "{\"from\":\"a\",\"to\":\"b\",\"amount\":2}")
             GOT(1, "read", "{\"a\":1,\"b\":9}"),
     4 + 2},
    {"overdrawn in between", "bank",
     DID(1, "transfer", "{\"from\":1,\"to\":2,\"amount\":3}") GOT(1, "read", "{\"1\":0,\"2\":3}"),
     DID(1, "transfer", "{\"from\":1,\"to\":2,\"amount\":3}") DID(
         1, "transfer", "{\"from\":2,\"to\":1,\"amount\":3}") GOT(1, "read", "{\"1\":2,\"2\":3}"),
     6},
};

static void expect(const struct planted *planted, const char *text, enum verdict_kind kind,
                   const struct judge_options *options)
{
    struct judged judged;

    judged_open(&judged, planted->model, slice_text(text), options);
    if (judged.rc != OK)
        fail_msg("%s: %s", planted->name, judged.history.why);
    if (judged.verdict.kind != kind)
        fail_msg("%s: %s, not %s\n%s", planted->name, verdict_name(judged.verdict.kind),
                 verdict_name(kind), text);
    if (kind == VERDICT_INVALID) {
        assert_string_not_equal(judged.verdict.why, "");
        assert_true(judged.verdict.window_count > 0);
        if (judged.verdict.stuck->back != planted->line)
            fail_msg("%s: line %u instead of %u", planted->name, judged.verdict.stuck->back,
                     planted->line);
    }
    judged_close(&judged);
}

static void each_violation__found_at_its_line__and_the_like_of_it_passes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(violations); i++) {
        expect(&violations[i], violations[i].valid, VERDICT_VALID, &judged_options);
        expect(&violations[i], violations[i].invalid, VERDICT_INVALID, &judged_options);
    }
}

static void each_violation__without_quick_checkers__found_by_the_search(void **state)
{
    struct judge_options search_only = judged_options;

    (void)state;
    search_only.no_quick = true;
    for (size_t i = 0; i < ARRAY_COUNT(violations); i++) {
        struct planted any_line = violations[i];
        struct judged judged;

        judged_open(&judged, any_line.model, slice_text(any_line.invalid), &search_only);
        if (judged.verdict.kind != VERDICT_INVALID)
            fail_msg("%s: %s", any_line.name, verdict_name(judged.verdict.kind));
        judged_close(&judged);
        expect(&any_line, any_line.valid, VERDICT_VALID, &search_only);
    }
}

static void one_bad_key_of_many__named(void **state)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    struct judged judged;

    (void)state;
    for (int i = 0; i < 100; i++) {
        buffer_putf(&text, "{\"p\":1,\"t\":\"invoke\",\"f\":\"write\",\"k\":%d,\"v\":1}\n", i);
        buffer_putf(&text, "{\"p\":1,\"t\":\"ok\"}\n{\"p\":1,\"t\":\"invoke\",\"f\":\"read\",");
        buffer_putf(&text, "\"k\":%d}\n{\"p\":1,\"t\":\"ok\",\"v\":%d}\n", i, i == 70 ? 2 : 1);
    }

    judged_open(&judged, "register", buffer_slice(&text), &judged_options);

    assert_int_equal(judged.verdict.kind, VERDICT_INVALID);
    assert_int_equal(judged.verdict.key_count, 100);
    assert_true(slice_equal_text(intern_get(&judged.history.keys, judged.verdict.key), "70"));
    judged_close(&judged);
}

static void text_and_json__name_the_stuck_operation_and_the_states(void **state)
{
    static const char text[] =
        DID(1, "write", "1") DID(1, "cas", "[1,2]") CALL(5, "cas", "[7,2]") GOT(2, "read", "1");
    struct judged judged;
    char *shown = NULL;
    size_t size = 0;
    FILE *to;

    (void)state;
    judged_open(&judged, "register", slice_text(text), &judged_options);
    to = open_memstream(&shown, &size);
    verdict_print_text(&judged.verdict, &judged.history, to);
    verdict_print_json(&judged.verdict, &judged.history, to);
    (void)fclose(to);

    assert_non_null(strstr(shown, "INVALID key null line 7: no order of the operations up to"));
    assert_non_null(strstr(shown, "possible states by then: 2\n"));
    assert_non_null(strstr(shown, "> 6-7             2        read -> 1   <- stuck"));
    assert_non_null(strstr(shown, "cas 1 to 2"));
    assert_non_null(strstr(shown, "(outcome unknown)"));
    assert_non_null(strstr(shown, "{\"verdict\":\"INVALID\",\"model\":\"register\""));
    assert_non_null(strstr(shown, "\"stuck\":{\"process\":2,\"operation\":\"read -> 1\""));
    free(shown);
    judged_close(&judged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_violation__found_at_its_line__and_the_like_of_it_passes),
        cmocka_unit_test(each_violation__without_quick_checkers__found_by_the_search),
        cmocka_unit_test(one_bad_key_of_many__named),
        cmocka_unit_test(text_and_json__name_the_stuck_operation_and_the_states),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
