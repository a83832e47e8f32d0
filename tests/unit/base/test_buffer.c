#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/arena.h"
#include "proto/base/buffer.h"

/* ---- slices ---- */

static void slice_compare__prefixes_and_bytes__order_of_memcmp(void **state)
{
    (void)state;

    assert_true(slice_compare(SLICE_LITERAL(""), SLICE_LITERAL("")) == 0);
    assert_true(slice_compare(SLICE_LITERAL(""), SLICE_LITERAL("a")) < 0);
    assert_true(slice_compare(SLICE_LITERAL("ab"), SLICE_LITERAL("a")) > 0);
    assert_true(slice_compare(SLICE_LITERAL("a\xff"), SLICE_LITERAL("a\x01z")) > 0);
    assert_true(slice_starts_with(SLICE_LITERAL("goose"), SLICE_LITERAL("goo")));
    assert_true(slice_starts_with(SLICE_LITERAL("goose"), SLICE_LITERAL("")));
    assert_false(slice_starts_with(SLICE_LITERAL("go"), SLICE_LITERAL("goose")));
    assert_int_equal(slice_text(NULL).size, 0);
}

static void slice_strdup__a_part_of_a_text__ends_with_nul(void **state)
{
    char *copy = slice_strdup(slice_of("formation", 4));

    (void)state;
    assert_string_equal(copy, "form");
    free(copy);
}

/* ---- buffers ---- */

static void buffer_append__past_the_limit__refused_and_unchanged(void **state)
{
    AUTO(buffer) buffer = BUFFER_INIT(5);

    (void)state;
    assert_int_equal(buffer_append(&buffer, "abc", 3), OK);
    assert_int_equal(buffer_append(&buffer, "def", 3), ERR_TOO_LARGE);
    assert_int_equal(buffer_append_u32(&buffer, 1), ERR_TOO_LARGE);
    assert_int_equal(buffer_printf(&buffer, "%s", "xyz"), ERR_TOO_LARGE);
    assert_int_equal(buffer_reserve(&buffer, SIZE_MAX), ERR_TOO_LARGE);
    assert_int_equal(buffer_append(&buffer, "de", 2), OK);

    assert_string_equal(buffer_text(&buffer), "abcde");
    assert_int_equal(buffer.size, 5);
}

static void buffer_append__many_small_pieces__all_there(void **state)
{
    AUTO(buffer) buffer = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    for (int i = 0; i < 10000; i++)
        buffer_put_u8(&buffer, (uint8_t)i);

    assert_int_equal(buffer.size, 10000);
    for (size_t i = 0; i < buffer.size; i++)
        assert_int_equal(buffer.data[i], (uint8_t)i);
}

static void buffer_printf__texts__appended_without_their_nul(void **state)
{
    AUTO(buffer) buffer = BUFFER_INIT(1000);

    (void)state;
    buffer_putf(&buffer, "%d-%s", 42, "geese");
    buffer_put_text(&buffer, "!");

    assert_true(slice_equal_text(buffer_slice(&buffer), "42-geese!"));
}

static void buffer_consume__a_part__the_rest_moves_up(void **state)
{
    AUTO(buffer) buffer = BUFFER_INIT(100);

    (void)state;
    buffer_put_text(&buffer, "headtail");
    buffer_consume(&buffer, 4);
    assert_string_equal(buffer_text(&buffer), "tail");
    buffer_consume(&buffer, 4);
    assert_int_equal(buffer.size, 0);
}

static void buffer_take__bytes_move__limit_stays(void **state)
{
    AUTO(buffer) from = BUFFER_INIT(10);

    (void)state;
    buffer_put_text(&from, "mine");
    AUTO(buffer) to = buffer_take(&from);

    assert_string_equal(buffer_text(&to), "mine");
    assert_int_equal(from.size, 0);
    assert_int_equal(buffer_append(&from, "01234567890", 11), ERR_TOO_LARGE);
}

/* ---- readers ---- */

static void reader__what_was_put__comes_back(void **state)
{
    AUTO(buffer) buffer = BUFFER_INIT(100);

    (void)state;
    buffer_put_u8(&buffer, 0xfe);
    buffer_put_u32(&buffer, 0xdeadbeef);
    buffer_put_u64(&buffer, 0x0123456789abcdef);
    buffer_put_u64_big(&buffer, 0x0123456789abcdef);
    buffer_put_text(&buffer, "rest");
    assert_int_equal(buffer.data[1], 0xef); /* little endian, whatever the machine */
    assert_int_equal(buffer.data[13], 0x01);
    struct reader reader = reader_of(buffer_slice(&buffer));

    assert_int_equal(reader_u8(&reader), 0xfe);
    assert_int_equal(reader_u32(&reader), 0xdeadbeef);
    assert_true(reader_u64(&reader) == 0x0123456789abcdef);
    assert_true(reader_u64_big(&reader) == 0x0123456789abcdef);
    assert_true(slice_equal_text(reader_bytes(&reader, 4), "rest"));
    assert_true(reader.ok);
    assert_int_equal(reader.rest.size, 0);
}

static void reader__a_short_read__fails_for_good(void **state)
{
    struct reader reader = reader_of(SLICE_LITERAL("abc"));

    (void)state;
    assert_int_equal(reader_u32(&reader), 0);
    assert_false(reader.ok);
    assert_int_equal(reader_u8(&reader), 0);
    assert_int_equal(reader_bytes(&reader, 0).size, 0);
    assert_false(reader.ok);
}

/* ---- arenas ---- */

static void arena_alloc__all_sizes__zeroed_aligned_and_apart(void **state)
{
    struct arena arena;
    uint8_t *pieces[200];

    (void)state;
    arena_init(&arena);
    for (size_t i = 0; i < 200; i++) {
        size_t size = i * i % 9000;

        pieces[i] = arena_alloc(&arena, size);
        assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < size; k++)
            assert_int_equal(pieces[i][k], 0);
        memset(pieces[i], (int)i, size);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t k = 0; k < i * i % 9000; k++)
            assert_int_equal(pieces[i][k], (uint8_t)i);
    arena_close(&arena);
    arena_close(&arena);
    assert_string_equal(arena_text(&arena, SLICE_LITERAL("again")), "again");
    arena_close(&arena);
}

static void arena_printf__long_text__whole(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena);
    char *text = arena_printf(&arena, "%05000d", 7);

    assert_int_equal(strlen(text), 5000);
    assert_int_equal(text[4999], '7');
    assert_true(slice_equal_text(arena_copy(&arena, slice_of(text + 4998, 2)), "07"));
    arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slice_compare__prefixes_and_bytes__order_of_memcmp),
        cmocka_unit_test(slice_strdup__a_part_of_a_text__ends_with_nul),
        cmocka_unit_test(buffer_append__past_the_limit__refused_and_unchanged),
        cmocka_unit_test(buffer_append__many_small_pieces__all_there),
        cmocka_unit_test(buffer_printf__texts__appended_without_their_nul),
        cmocka_unit_test(buffer_consume__a_part__the_rest_moves_up),
        cmocka_unit_test(buffer_take__bytes_move__limit_stays),
        cmocka_unit_test(reader__what_was_put__comes_back),
        cmocka_unit_test(reader__a_short_read__fails_for_good),
        cmocka_unit_test(arena_alloc__all_sizes__zeroed_aligned_and_apart),
        cmocka_unit_test(arena_printf__long_text__whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
