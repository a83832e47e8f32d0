#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/net/frame.h"

static void put_message(struct buffer *messages, enum env_channel channel, const char *text)
{
    assert_int_equal(frame_append_message(messages, channel, slice_text(text)), OK);
}

/* The frame of one Raft and one call message. */
static struct buffer example(void)
{
    struct buffer urgent = BUFFER_INIT(1024);
    struct buffer ordinary = BUFFER_INIT(1024);
    struct buffer frame = BUFFER_INIT(1024);

    put_message(&urgent, ENV_CHANNEL_RAFT, "vote");
    put_message(&ordinary, ENV_CHANNEL_CALL, "put");
    frame.size = FRAME_HEADER_BYTES + urgent.size + ordinary.size;
    frame.data = check_malloc(frame.size);
    frame.capacity = frame.size;
    frame_write(frame.data, &(struct frame_header){1, 7, 2, 300}, buffer_slice(&urgent),
                buffer_slice(&ordinary));
    buffer_close(&urgent);
    buffer_close(&ordinary);
    return frame;
}

/* What other versions of this program send and understand: never change these bytes. */
static void frame_write__two_messages__golden_bytes(void **state)
{
    AUTO(buffer) frame = example();
    char hex[256];

    (void)state;
    encode_hex(buffer_slice(&frame), hex);

    assert_string_equal(hex, "534b494e01000000"
                             "ec17f1c1ba2d81c7"
                             "0100000000000000"
                             "0700000000000000"
                             "0200000000000000"
                             "2c01000000000000"
                             "0004000000766f7465"
                             "0103000000707574");
}

static void frame_read__what_was_written__comes_back(void **state)
{
    AUTO(buffer) bytes = example();
    struct frame frame;
    enum env_channel channel;
    struct slice message;

    (void)state;
    assert_int_equal(frame_read(buffer_slice(&bytes), &frame), OK);

    assert_int_equal(frame.size, bytes.size);
    assert_int_equal(frame.header.stream, 1);
    assert_int_equal(frame.header.position, 7);
    assert_int_equal(frame.header.heard_stream, 2);
    assert_int_equal(frame.header.heard_position, 300);
    assert_true(frame_next(&frame, &channel, &message));
    assert_int_equal(channel, ENV_CHANNEL_RAFT);
    assert_true(slice_equal_text(message, "vote"));
    assert_true(frame_next(&frame, &channel, &message));
    assert_int_equal(channel, ENV_CHANNEL_CALL);
    assert_true(slice_equal_text(message, "put"));
    assert_false(frame_next(&frame, &channel, &message));
}

static void frame_read__any_bit_flipped__refused(void **state)
{
    AUTO(buffer) bytes = example();
    struct frame frame;

    (void)state;
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(frame_read(buffer_slice(&bytes), &frame), OK);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(frame_read(buffer_slice(&bytes), &frame), OK);
}

static void frame_read__cut_short_anywhere__refused(void **state)
{
    AUTO(buffer) bytes = example();
    struct frame frame;

    (void)state;
    for (size_t size = 0; size < bytes.size; size++)
        assert_int_equal(frame_read(slice_of(bytes.data, size), &frame), ERR_CORRUPT);
}

static void frame_read__another_version__says_so(void **state)
{
    AUTO(buffer) bytes = example();
    struct frame frame;

    (void)state;
    bytes.data[4] = FRAME_VERSION + 1;

    assert_int_equal(frame_read(buffer_slice(&bytes), &frame), ERR_VERSION);
}

static void frame_messages_bytes__a_limit__whole_messages_and_at_least_one(void **state)
{
    AUTO(buffer) messages = BUFFER_INIT(1024);

    (void)state;
    assert_int_equal(frame_messages_bytes(buffer_slice(&messages), 100), 0);
    put_message(&messages, ENV_CHANNEL_CALL, "12345");
    put_message(&messages, ENV_CHANNEL_CALL, "12345");

    assert_int_equal(frame_messages_bytes(buffer_slice(&messages), 0), 10);
    assert_int_equal(frame_messages_bytes(buffer_slice(&messages), 19), 10);
    assert_int_equal(frame_messages_bytes(buffer_slice(&messages), 20), 20);
    assert_int_equal(frame_messages_bytes(buffer_slice(&messages), 1000), 20);
}

/* A frame of 100 bytes. */
static bool accepts(struct frame_order *order, uint64_t connection, uint64_t stream,
                    uint64_t position)
{
    const struct frame frame = {.header = {.stream = stream, .position = position}, .size = 100};

    return frame_order_accepts(order, connection, &frame);
}

static void frame_order__a_stream__taken_while_it_has_no_hole(void **state)
{
    struct frame_order order = {0};

    (void)state;
    assert_true(accepts(&order, 1, 7, 0));
    assert_true(accepts(&order, 1, 7, 100));
    assert_false(accepts(&order, 1, 7, 300));
    assert_true(accepts(&order, 1, 7, 200));
    assert_false(accepts(&order, 1, 7, 0)); /* a stream begins once */
    assert_true(accepts(&order, 1, 8, 0));
    assert_true(accepts(&order, 1, 8, 100));
}

static void frame_order__a_new_connection__old_frames_and_overtakers_dropped(void **state)
{
    struct frame_order order = {0};

    (void)state;
    assert_true(accepts(&order, 1, 7, 0));
    assert_false(accepts(&order, 2, 7, 200)); /* 100 was lost with the old connection */
    assert_false(accepts(&order, 1, 7, 100)); /* or comes late, from the old one */
    assert_false(accepts(&order, 2, 7, 300));
    assert_true(accepts(&order, 2, 8, 0));
    assert_false(accepts(&order, 1, 9, 0));
    assert_true(accepts(&order, 2, 8, 100));
    assert_true(accepts(&order, 3, 8, 200)); /* nothing was lost in between */
}

static void frame_order__first_heard_in_the_middle__begins_there(void **state)
{
    struct frame_order order = {0};

    (void)state;
    assert_true(accepts(&order, 4, 7, 1700));
    assert_true(accepts(&order, 4, 7, 1800));
    assert_false(accepts(&order, 4, 7, 2000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_write__two_messages__golden_bytes),
        cmocka_unit_test(frame_read__what_was_written__comes_back),
        cmocka_unit_test(frame_read__any_bit_flipped__refused),
        cmocka_unit_test(frame_read__cut_short_anywhere__refused),
        cmocka_unit_test(frame_read__another_version__says_so),
        cmocka_unit_test(frame_order__a_stream__taken_while_it_has_no_hole),
        cmocka_unit_test(frame_order__a_new_connection__old_frames_and_overtakers_dropped),
        cmocka_unit_test(frame_order__first_heard_in_the_middle__begins_there),
        cmocka_unit_test(frame_messages_bytes__a_limit__whole_messages_and_at_least_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
