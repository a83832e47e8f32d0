#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/json_write.h"
#include "proto/base/utf8.h"

static void json_write__nested__commas_where_they_belong(void **state)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&text);

    (void)state;
    json_begin_object(&json);
    json_member_text(&json, "a", "b");
    json_key(&json, "list");
    json_begin_array(&json);
    json_u64(&json, UINT64_MAX);
    json_i64(&json, INT64_MIN);
    json_begin_object(&json);
    json_end_object(&json);
    json_none(&json);
    json_end_array(&json);
    json_member_bool(&json, "yes", true);
    json_key(&json, "units");
    json_fixed(&json, 5, 1);
    json_key(&json, "time");
    json_fixed(&json, 1700000000007, 3);
    json_key(&json, "raw");
    json_raw(&json, SLICE_LITERAL("{\"x\":1}"));
    json_key(&json, "bytes");
    json_base64(&json, SLICE_LITERAL("\x01\x02"));
    json_end_object(&json);

    assert_int_equal(json.rc, OK);
    assert_string_equal(buffer_text(&text),
                        "{\"a\":\"b\",\"list\":[18446744073709551615,-9223372036854775808,{},null],"
                        "\"yes\":true,\"units\":0.5,\"time\":1700000000.007,\"raw\":{\"x\":1},"
                        "\"bytes\":\"AQI=\"}");
}

static void json_slice__any_bytes__valid_json(void **state)
{
    static const struct {
        const char *bytes;
        const char *json;
    } cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"a\"b\\c/", "\"a\\\"b\\\\c/\""},
        {"\b\t\n\f\r\v\x01\x1F\x7F", "\"\\b\\t\\n\\f\\r\\u000b\\u0001\\u001f\x7F\""},
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\xA6\xA2", "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\xA6\xA2\""},
        {"a\xFF\xC3", "\"a\xEF\xBF\xBD\xEF\xBF\xBD\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
        struct json_write json = json_write_to(&text);

        json_text(&json, cases[i].bytes);
        assert_string_equal(buffer_text(&text), cases[i].json);
    }
}

static void json_write__past_the_limit__noted_and_nothing_more_written(void **state)
{
    AUTO(buffer) text = BUFFER_INIT(8);
    struct json_write json = json_write_to(&text);

    (void)state;
    json_begin_array(&json);
    json_text(&json, "1234567890");
    json_u64(&json, 1);
    json_end_array(&json);

    assert_int_equal(json.rc, ERR_TOO_LARGE);
    assert_true(text.size <= 8);
}

static void utf8_is_valid__edges(void **state)
{
    static const struct {
        const char *bytes;
        bool is_valid;
    } cases[] = {
        {"", true},
        {"abc", true},
        {"\xC2\x80", true},
        {"\xC1\xBF", false}, /* overlong */
        {"\xC3", false},     /* cut */
        {"\x80", false},     /* no beginning */
        {"\xE0\xA0\x80", true},
        {"\xE0\x9F\xBF", false}, /* overlong */
        {"\xED\x9F\xBF", true},
        {"\xED\xA0\x80", false}, /* surrogate */
        {"\xEF\xBF\xBF", true},
        {"\xF0\x90\x80\x80", true},
        {"\xF0\x8F\xBF\xBF", false}, /* overlong */
        {"\xF4\x8F\xBF\xBF", true},
        {"\xF4\x90\x80\x80", false}, /* above U+10FFFF */
        {"\xF5\x80\x80\x80", false},
        {"a\xF0\x9F\xA6", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_int_equal(utf8_is_valid(slice_text(cases[i].bytes)), cases[i].is_valid);
    assert_int_equal(utf8_count(slice_text("h\xC3\xA9\xF0\x9F\xA6\xA2")), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_write__nested__commas_where_they_belong),
        cmocka_unit_test(json_slice__any_bytes__valid_json),
        cmocka_unit_test(json_write__past_the_limit__noted_and_nothing_more_written),
        cmocka_unit_test(utf8_is_valid__edges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
