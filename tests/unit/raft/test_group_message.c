/* The bytes groups exchange, and what is refused of them. */

#include "proto/base/check.h"
#include "proto/raft/configuration.h"
#include "proto/raft/group.h"
#include "proto/raft/group_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct group_message header = {.group = 7, .from = 0x11, .to = 0x22};

static struct raft_message append_message(struct raft_entry *entries, unsigned count)
{
    return (struct raft_message){
        .type = RAFT_IO_APPEND_ENTRIES,
        .append_entries = {.term = 5,
                           .prev_log_index = 9,
                           .prev_log_term = 4,
                           .leader_commit = 8,
                           .entries = entries,
                           .n_entries = count},
    };
}

static struct buffer append_bytes(void)
{
    struct buffer bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    struct raft_entry entries[] = {
        {.term = 4, .type = RAFT_COMMAND, .buf = {(void *)(uintptr_t) "abc", 3}},
        {.term = 5, .type = RAFT_BARRIER, .buf = {(void *)(uintptr_t) "12345678", 8}},
    };
    struct raft_message message = append_message(entries, 2);

    group_message_put_raft(&bytes, &header, &message, 0, 2);
    return bytes;
}

static void group_message__append__golden_bytes(void **unused)
{
    static const uint8_t golden[] = {
        1,    1,   0,   0,   2,    0,   0,   0, /* version .. count */
        7,    0,   0,   0,   0,    0,   0,   0,   5,   0,   0,   0, 0, 0, 0, 0, /* group, term */
        0x11, 0,   0,   0,   0x22, 0,   0,   0,                                 /* from, to */
        9,    0,   0,   0,   0,    0,   0,   0,   4,   0,   0,   0, 0, 0, 0, 0, /* previous */
        8,    0,   0,   0,   0,    0,   0,   0,                                 /* commit */
        4,    0,   0,   0,   0,    0,   0,   0,   3,   0,   0,   0, 1, 0, 0, 0, /* entries */
        5,    0,   0,   0,   0,    0,   0,   0,   8,   0,   0,   0, 2, 0, 0, 0, /* */
        'a',  'b', 'c', '1', '2',  '3', '4', '5', '6', '7', '8',
    };
    struct buffer bytes = append_bytes();

    (void)unused;
    assert_int_equal(bytes.size, sizeof(golden));
    assert_memory_equal(bytes.data, golden, sizeof(golden));
    buffer_close(&bytes);
}

static void group_message__append__read_back_as_libraft_wants_it(void **unused)
{
    struct buffer bytes = append_bytes();
    struct group_message message;
    struct raft_message raft;
    struct raft_entry *entries;

    (void)unused;
    assert_int_equal(group_message_read(buffer_slice(&bytes), &message), OK);
    group_message_to_raft(&message, 3, "3", &raft);

    entries = raft.append_entries.entries;
    assert_int_equal(raft.server_id, 3);
    assert_int_equal(raft.append_entries.n_entries, 2);
    assert_int_equal(raft.append_entries.prev_log_index, 9);
    assert_int_equal(entries[0].type, RAFT_COMMAND);
    assert_memory_equal(entries[0].buf.base, "abc", 3);
    assert_int_equal(entries[1].term, 5);
    assert_ptr_equal(entries[1].batch, entries[0].batch);
    raft_free(entries[0].batch);
    raft_free(entries);
    buffer_close(&bytes);
}

/* A part knows the term of the entry before it. */
static void group_message__part_of_an_append__follows_the_part_before(void **unused)
{
    struct raft_entry entries[] = {
        {.term = 4, .type = RAFT_COMMAND, .buf = {(void *)(uintptr_t) "abc", 3}},
        {.term = 5, .type = RAFT_COMMAND, .buf = {(void *)(uintptr_t) "de", 2}},
    };
    struct raft_message raft = append_message(entries, 2);
    struct buffer bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    struct group_message message;

    (void)unused;
    group_message_put_raft(&bytes, &header, &raft, 1, 1);

    assert_int_equal(group_message_read(buffer_slice(&bytes), &message), OK);
    assert_int_equal(message.count, 1);
    assert_int_equal(message.numbers[0], 10);
    assert_int_equal(message.numbers[1], 4);
    group_message_readdress(&bytes, GROUP_MESSAGE_CONFIRMED, 99);
    assert_int_equal(group_message_read(buffer_slice(&bytes), &message), OK);
    assert_int_equal(message.flags, GROUP_MESSAGE_CONFIRMED);
    assert_int_equal(message.to, 99);
    buffer_close(&bytes);
}

static void group_message__any_prefix__invalid(void **unused)
{
    struct buffer bytes = append_bytes();
    struct group_message message;

    (void)unused;
    for (size_t size = 0; size < bytes.size; size++)
        assert_int_not_equal(group_message_read(slice_of(bytes.data, size), &message), OK);
    buffer_close(&bytes);
}

static void group_message__wrong_field__invalid(void **unused)
{
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {
        {0, 2},     /* version */
        {1, 7},     /* type */
        {2, 4},     /* flag */
        {4, 3},     /* count */
        {6, 0xff},  /* count */
        {16, 4},    /* term below that of an entry */
        {32, 0},    /* no previous index, but a term of it */
        {39, 0xff}, /* an index that sums would overflow */
        {56, 0},    /* entry's term */
        {64, 4},    /* length */
        {67, 0xff}, /* length */
        {68, 0},    /* kind */
        {68, 3},    /* a configuration that is none */
    };

    (void)unused;
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        struct buffer bytes = append_bytes();
        struct group_message message;

        assert_int_equal(group_message_read(buffer_slice(&bytes), &message), OK);
        bytes.data[wrong[i].at] = wrong[i].value;
        if (group_message_read(buffer_slice(&bytes), &message) == OK)
            fail_msg("byte %zu", wrong[i].at);
        buffer_close(&bytes);
    }
}

static void group_message__every_type__there_and_back(void **unused)
{
    static const uint8_t types[] = {
        GROUP_MESSAGE_APPEND_RESULT, GROUP_MESSAGE_VOTE,         GROUP_MESSAGE_VOTE_RESULT,
        GROUP_MESSAGE_TIMEOUT_NOW,   GROUP_MESSAGE_HELLO,        GROUP_MESSAGE_CHUNK,
        GROUP_MESSAGE_CHUNK_RESULT,  GROUP_MESSAGE_PROBE_RESULT,
    };

    (void)unused;
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        struct group_message message = {
            .type = types[i], .group = 5, .term = 6, .from = 7, .to = 8, .numbers = {9, 10}};
        struct buffer bytes = BUFFER_INIT(BUFFER_UNLIMITED);
        struct group_message read;

        group_message_put(&bytes, &message);
        assert_int_equal(group_message_read(buffer_slice(&bytes), &read), OK);
        assert_int_equal(read.type, types[i]);
        assert_int_equal(read.group, 5);
        assert_int_equal(read.term, 6);
        buffer_put_u8(&bytes, 0);
        if (types[i] != GROUP_MESSAGE_CHUNK)
            assert_int_equal(group_message_read(buffer_slice(&bytes), &read), ERR_INVALID);
        buffer_close(&bytes);
    }
}

/* ---- configurations ---- */

static struct buffer configuration_bytes(size_t members)
{
    struct buffer bytes = BUFFER_INIT(CONFIGURATION_BYTES_MAX);
    struct raft_configuration configuration;

    raft_configuration_init(&configuration);
    for (uint64_t id = 1; id <= members; id++) {
        char address[CONFIGURATION_ADDRESS_BYTES];

        configuration_address(id, address);
        assert_int_equal(raft_configuration_add(&configuration, id, address,
                                                id == 2 ? RAFT_STANDBY : RAFT_VOTER),
                         0);
    }
    configuration_put(&bytes, &configuration);
    raft_configuration_close(&configuration);
    return bytes;
}

static void configuration__as_libraft_writes_it__read_back(void **unused)
{
    (void)unused;
    for (size_t members = 1; members <= GROUP_MEMBERS_MAX; members++) {
        struct buffer bytes = configuration_bytes(members);
        struct raft_configuration configuration;

        assert_int_equal(configuration_read(buffer_slice(&bytes), &configuration), OK);
        assert_int_equal(configuration.n, members);
        assert_int_equal(configuration_voters(&configuration), members - (members >= 2));
        assert_int_equal(configuration.servers[members - 1].address[0], '0' + members);
        raft_configuration_close(&configuration);
        buffer_close(&bytes);
    }
}

static void configuration__cut_or_spoiled__invalid(void **unused)
{
    struct buffer bytes = configuration_bytes(3);
    struct buffer too_many = configuration_bytes(GROUP_MEMBERS_MAX);

    (void)unused;
    for (size_t size = 0; size + 8 <= bytes.size; size++)
        assert_int_equal(configuration_read(slice_of(bytes.data, size), NULL), ERR_INVALID);
    bytes.data[0] = 2; /* format */
    assert_int_equal(configuration_read(buffer_slice(&bytes), NULL), ERR_INVALID);
    bytes.data[0] = 1;
    bytes.data[19] = 9; /* role of the first member */
    assert_int_equal(configuration_read(buffer_slice(&bytes), NULL), ERR_INVALID);
    too_many.data[1] = GROUP_MEMBERS_MAX + 1;
    assert_int_equal(configuration_read(buffer_slice(&too_many), NULL), ERR_INVALID);
    buffer_close(&bytes);
    buffer_close(&too_many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group_message__append__golden_bytes),
        cmocka_unit_test(group_message__append__read_back_as_libraft_wants_it),
        cmocka_unit_test(group_message__part_of_an_append__follows_the_part_before),
        cmocka_unit_test(group_message__any_prefix__invalid),
        cmocka_unit_test(group_message__wrong_field__invalid),
        cmocka_unit_test(group_message__every_type__there_and_back),
        cmocka_unit_test(configuration__as_libraft_writes_it__read_back),
        cmocka_unit_test(configuration__cut_or_spoiled__invalid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
