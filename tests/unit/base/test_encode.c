#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/log.h"
#include "proto/base/rng.h"

#include <stdio.h>

static void hex__bytes__there_and_back(void **state)
{
    char text[9];
    uint8_t bytes[4];

    (void)state;
    encode_hex(SLICE_LITERAL("\x00\x7f\xa5\xff"), text);
    assert_string_equal(text, "007fa5ff");
    assert_int_equal(decode_hex(slice_text("007FA5ff"), bytes, 4), OK);
    assert_memory_equal(bytes, "\x00\x7f\xa5\xff", 4);
    assert_int_equal(decode_hex(slice_text("007fa5"), bytes, 4), ERR_INVALID);
    assert_int_equal(decode_hex(slice_text("007fa5fg"), bytes, 4), ERR_INVALID);
    assert_int_equal(decode_hex(slice_text("007fa5f"), bytes, 4), ERR_INVALID);
}

static void base64__rfc_4648_vectors__there_and_back(void **state)
{
    static const struct {
        const char *bytes;
        const char *text;
    } vectors[] = {{"", ""},
                   {"f", "Zg=="},
                   {"fo", "Zm8="},
                   {"foo", "Zm9v"},
                   {"foob", "Zm9vYg=="},
                   {"fooba", "Zm9vYmE="},
                   {"foobar", "Zm9vYmFy"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
        AUTO(buffer) text = BUFFER_INIT(64);
        AUTO(buffer) bytes = BUFFER_INIT(64);

        assert_int_equal(encode_base64(slice_text(vectors[i].bytes), &text), OK);
        assert_string_equal(buffer_text(&text), vectors[i].text);
        assert_int_equal(decode_base64(buffer_slice(&text), &bytes), OK);
        assert_string_equal(buffer_text(&bytes), vectors[i].bytes);
    }
}

static void base64__malformed__refused(void **state)
{
    static const char *const texts[] = {"Z",    "Zg",    "Zg=",  "Zg=a", "====", "Zm8=Zm8=",
                                        "Zm 8", "Zm9\n", "Zm-_", "Zh==", "Zm9=" /* stray bits */};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        AUTO(buffer) bytes = BUFFER_INIT(64);

        assert_int_equal(decode_base64(slice_text(texts[i]), &bytes), ERR_INVALID);
    }
    AUTO(buffer) small = BUFFER_INIT(2);

    assert_int_equal(decode_base64(SLICE_LITERAL("Zm9v"), &small), ERR_TOO_LARGE);
    assert_int_equal(encode_base64(SLICE_LITERAL("foo"), &small), ERR_TOO_LARGE);
}

static void base64__random_bytes__there_and_back(void **state)
{
    struct rng rng;

    (void)state;
    rng_init(&rng, 1);
    for (size_t size = 0; size < 200; size++) {
        AUTO(buffer) bytes = BUFFER_INIT(1024);
        AUTO(buffer) text = BUFFER_INIT(1024);
        AUTO(buffer) again = BUFFER_INIT(1024);

        for (size_t i = 0; i < size; i++)
            buffer_put_u8(&bytes, (uint8_t)rng_next(&rng));
        assert_int_equal(encode_base64(buffer_slice(&bytes), &text), OK);
        assert_int_equal(decode_base64(buffer_slice(&text), &again), OK);
        assert_true(slice_equal(buffer_slice(&bytes), buffer_slice(&again)));
    }
}

static void percent__reserved_characters__there_and_back(void **state)
{
    AUTO(buffer) text = BUFFER_INIT(128);
    AUTO(buffer) bytes = BUFFER_INIT(128);

    (void)state;
    assert_int_equal(encode_percent(SLICE_LITERAL("a b/\xc3\xa4~%\0"), "/", &text), OK);
    assert_string_equal(buffer_text(&text), "a%20b/%C3%A4~%25%00");
    assert_int_equal(decode_percent(buffer_slice(&text), false, &bytes), OK);
    assert_true(slice_equal(buffer_slice(&bytes), SLICE_LITERAL("a b/\xc3\xa4~%\0")));
    buffer_clear(&bytes);
    assert_int_equal(decode_percent(SLICE_LITERAL("a+b"), true, &bytes), OK);
    assert_int_equal(decode_percent(SLICE_LITERAL("+"), false, &bytes), OK);
    assert_string_equal(buffer_text(&bytes), "a b+");
}

static void percent__broken_escapes__refused(void **state)
{
    static const char *const texts[] = {"%", "%4", "a%", "%zz", "%4g", "%%41"};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        AUTO(buffer) bytes = BUFFER_INIT(64);

        assert_int_equal(decode_percent(slice_text(texts[i]), false, &bytes), ERR_INVALID);
    }
}

static void uuid__all_bits_set__version_and_variant_in_place(void **state)
{
    uint8_t random[16];
    char text[UUID_TEXT_BYTES];

    (void)state;
    memset(random, 0xff, sizeof(random));
    encode_uuid(random, text);

    assert_string_equal(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
}

static void time__an_instant__iso_8601(void **state)
{
    char text[TIME_TEXT_BYTES];

    (void)state;
    encode_time(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    encode_time(1709210096007, text);
    assert_string_equal(text, "2024-02-29T12:34:56.007Z");
}

static char logged[4096];

static void on_line(enum log_level level, const char *line)
{
    (void)level;
    (void)snprintf(logged, sizeof(logged), "%s", line);
}

static void log__line_breaks_and_long_texts__one_line_cut(void **state)
{
    char text[4000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_set_sink(on_line);
    log_debug("log.hidden");
    assert_string_equal(logged, "");
    log_info("log.test key=%s", "two\nlines\x1b[2J");
    assert_string_equal(logged, "log.test key=two lines [2J");
    log_info("log.long key=%s", text);
    assert_in_range(strlen(logged), 2000, 2048);
    log_set_sink(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex__bytes__there_and_back),
        cmocka_unit_test(base64__rfc_4648_vectors__there_and_back),
        cmocka_unit_test(base64__malformed__refused),
        cmocka_unit_test(base64__random_bytes__there_and_back),
        cmocka_unit_test(percent__reserved_characters__there_and_back),
        cmocka_unit_test(percent__broken_escapes__refused),
        cmocka_unit_test(uuid__all_bits_set__version_and_variant_in_place),
        cmocka_unit_test(time__an_instant__iso_8601),
        cmocka_unit_test(log__line_breaks_and_long_texts__one_line_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
