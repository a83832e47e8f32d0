#include "node/shard/shard_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct shard_message_command command = {
    .session = 7, .sequence = 9, .settled = 8, .engine = 1, .body = {(const uint8_t *)"abc", 3}};

static void put_entry(struct buffer *entry)
{
    shard_message_entry_begin(entry, 1000, 2000);
    shard_message_entry_add(entry, &command);
    shard_message_entry_add(entry, &command);
    shard_message_entry_end(entry, 2);
}

static void entry__written__has_these_very_bytes(void **state)
{
    static const uint8_t golden[] = {
        1, 0xe8, 3, 0, 0, 0, 0, 0, 0, 0xd0, 7, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0,   0,   0,  0,
        0, 0,    9, 0, 0, 0, 0, 0, 0, 0,    8, 0, 0, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0, 'a', 'b', 'c'};
    struct buffer entry = BUFFER_INIT(1000);

    (void)state;
    shard_message_entry_begin(&entry, 1000, 2000);
    shard_message_entry_add(&entry, &command);
    shard_message_entry_end(&entry, 1);

    assert_int_equal(entry.size, sizeof(golden));
    assert_memory_equal(entry.data, golden, sizeof(golden));
    buffer_close(&entry);
}

static void entry__read_back__gives_every_command(void **state)
{
    struct buffer bytes = BUFFER_INIT(1000);
    struct shard_message_entry entry;
    struct shard_message_command read;

    (void)state;
    put_entry(&bytes);

    assert_int_equal(shard_message_entry_read(buffer_slice(&bytes), &entry), OK);
    assert_int_equal(entry.wall_ms, 1000);
    assert_int_equal(entry.random, 2000);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(shard_message_entry_next(&entry, &read), OK);
        assert_int_equal(read.session, 7);
        assert_int_equal(read.sequence, 9);
        assert_int_equal(read.settled, 8);
        assert_true(slice_equal_text(read.body, "abc"));
    }
    assert_int_equal(shard_message_entry_next(&entry, &read), ERR_END);
    buffer_close(&bytes);
}

static void entry__cut_anywhere_or_longer__is_refused_whole(void **state)
{
    struct buffer bytes = BUFFER_INIT(1000);
    struct shard_message_entry entry;
    struct shard_message_command read;

    (void)state;
    put_entry(&bytes);
    for (size_t size = 0; size < bytes.size; size++) {
        assert_int_not_equal(shard_message_entry_read(slice_of(bytes.data, size), &entry), OK);
        assert_int_equal(shard_message_entry_next(&entry, &read), ERR_END);
    }
    buffer_put_u8(&bytes, 0);
    assert_int_equal(shard_message_entry_read(buffer_slice(&bytes), &entry), ERR_INVALID);
    bytes.data[0] = 2;
    assert_int_equal(shard_message_entry_read(buffer_slice(&bytes), &entry), ERR_VERSION);
    buffer_close(&bytes);
}

static void read__round_trip_and_cut__right_or_refused(void **state)
{
    struct buffer bytes = BUFFER_INIT(1000);
    uint32_t shard = 0;
    bool is_strong = false;
    uint8_t engine = 0;
    struct slice query;

    (void)state;
    shard_message_read_put(&bytes, 5, true, 1, SLICE_LITERAL("q"));

    assert_int_equal(
        shard_message_read_read(buffer_slice(&bytes), &shard, &is_strong, &engine, &query), OK);
    assert_int_equal(shard, 5);
    assert_true(is_strong);
    assert_int_equal(engine, 1);
    assert_true(slice_equal_text(query, "q"));
    for (size_t size = 0; size < 6; size++)
        assert_int_equal(shard_message_read_read(slice_of(bytes.data, size), &shard, &is_strong,
                                                 &engine, &query),
                         ERR_INVALID);
    buffer_close(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entry__written__has_these_very_bytes),
        cmocka_unit_test(entry__read_back__gives_every_command),
        cmocka_unit_test(entry__cut_anywhere_or_longer__is_refused_whole),
        cmocka_unit_test(read__round_trip_and_cut__right_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
