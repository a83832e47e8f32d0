#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/aws/json_check.h"
#include "proto/base/check.h"

static void json_check__valid_texts__accepted(void **state)
{
    static const char *const cases[] = {
        "{}",
        "[]",
        "null",
        " true ",
        "\"\"",
        "0",
        "-0",
        "-12.5e+10",
        "1E400",
        "123456789012345678901234567890",
        "{\"a\":[1,{\"b\":null},\"\\u00fc\\n\\/\"],\"c\":false}",
        "[[],{},[[]],{\"a\":{}}]",
        "\"\xc3\xbc\"",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_true(json_check(slice_text(cases[i]), 16));
}

static void json_check__invalid_texts__refused(void **state)
{
    static const char *const cases[] = {
        "",        " ",           "{",       "}",        "[",
        "]",       "{]",          "[}",      "[1,]",     "{\"a\":1,}",
        "{,}",     "[,]",         "{\"a\"}", "{\"a\":}", "{a:1}",
        "{1:2}",   "01",          "+1",      "1.",       ".5",
        "1e",      "-",           "tru",     "nulll",    "\"",
        "\"\\x\"", "\"\\u12g4\"", "\"\n\"",  "{} {}",    "1 2",
        "[1 2]",   "{\"a\" 1}",   "'a'",     "\"\xff\"", "// c\n1",
        "\"\\",    "\"\\u12",     "[1],",    "NaN",      "{\"a\":1 \"b\":2}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        if (json_check(slice_text(cases[i]), 16))
            fail_msg("accepted: %s", cases[i]);
    }
    assert_false(json_check(slice_of("1\0", 2), 16));
}

static void json_check__depth__limit_is_exact(void **state)
{
    char text[2 * JSON_CHECK_DEPTH_MAX + 2];

    (void)state;
    for (size_t depth = 1; depth <= JSON_CHECK_DEPTH_MAX; depth *= 2) {
        memset(text, '[', depth);
        text[depth] = '1';
        memset(text + depth + 1, ']', depth);

        assert_true(json_check(slice_of(text, 2 * depth + 1), depth));
        assert_false(json_check(slice_of(text, 2 * depth + 1), depth - 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_check__valid_texts__accepted),
        cmocka_unit_test(json_check__invalid_texts__refused),
        cmocka_unit_test(json_check__depth__limit_is_exact),
    };

    return cmocka_run_group_tests_name("json_check", tests, NULL, NULL);
}
