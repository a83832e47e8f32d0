#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/object/blob.h"
#include "proto/base/check.h"
#include "tests/lib/fake_env.h"
#include "tests/lib/fake_router.h"

#include <openssl/sha.h>

#define SHARDS 12

struct fixture {
    struct fake_env env;
    struct shard_router *router;
    struct blob_transfer transfer;
    struct buffer bytes; /* a blob of several chunks, the last one short */
    uint8_t sha256[BLOB_SHA256_BYTES];
    uint8_t owner[BLOB_OWNER_BYTES];
    struct buffer got;
    enum error rc;
    int calls;
};

static void on_done(struct blob_transfer *transfer, enum error rc, struct buffer *content)
{
    struct fixture *f = container_of(transfer, struct fixture, transfer);

    f->rc = rc;
    f->calls++;
    buffer_close(&f->got);
    if (content != NULL)
        f->got = buffer_take(content);
}

static void fill(struct fixture *f, size_t size)
{
    struct rng rng;

    rng_init(&rng, size + 1);
    buffer_clear(&f->bytes);
    assert_int_equal(buffer_reserve(&f->bytes, size), OK);
    for (size_t i = 0; i < size; i++)
        buffer_put_u8(&f->bytes, (uint8_t)rng_next(&rng));
    SHA256(f->bytes.data, f->bytes.size, f->sha256);
}

static int set_up(void **state)
{
    struct fixture *f = check_calloc(1, sizeof(*f));

    fake_env_init(&f->env);
    f->router = fake_router_new(&f->env.env, SHARDS);
    fake_router_add_engine(f->router, &blob_engine);
    buffer_init(&f->bytes, BUFFER_UNLIMITED);
    buffer_init(&f->got, BUFFER_UNLIMITED);
    memset(f->owner, 'A', sizeof(f->owner));
    fill(f, 9 * BLOB_CHUNK_BYTES + 17);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    fake_router_free(f->router);
    fake_env_close(&f->env);
    buffer_close(&f->bytes);
    buffer_close(&f->got);
    free(f);
    return 0;
}

static enum error put(struct fixture *f)
{
    blob_put(f->router, &f->transfer, f->sha256, f->owner, buffer_slice(&f->bytes), on_done);
    fake_env_run(&f->env);
    return f->rc;
}

static enum error get(struct fixture *f)
{
    blob_get(f->router, &f->transfer, f->sha256, blob_chunk_count(f->bytes.size), on_done);
    fake_env_run(&f->env);
    return f->rc;
}

static enum error release(struct fixture *f)
{
    blob_release(f->router, &f->transfer, f->sha256, f->owner, blob_chunk_count(f->bytes.size),
                 on_done);
    fake_env_run(&f->env);
    return f->rc;
}

static uint32_t shard_of_chunk(const struct fixture *f, uint32_t number)
{
    struct buffer key = BUFFER_INIT(8);
    uint32_t shard;

    buffer_put_u64_big(&key, number);
    shard = shard_router_shard_of(f->router, slice_of(f->sha256, sizeof(f->sha256)),
                                  buffer_slice(&key));
    buffer_close(&key);
    return shard;
}

/* ---- transfers ---- */

static void blob_put__many_chunks__come_back_the_same_few_at_a_time(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f), OK);
    assert_int_equal(get(f), OK);

    assert_int_equal(f->calls, 2);
    assert_true(slice_equal(buffer_slice(&f->got), buffer_slice(&f->bytes)));
    assert_int_equal(fake_router_write_count(f->router), 10);
    assert_int_equal(fake_router_read_count(f->router), 10);
    assert_int_equal(fake_router_in_flight_max(f->router), BLOB_IN_FLIGHT);
}

static void blob_put__sizes_around_a_chunk__come_back_the_same(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {
        0, 1, BLOB_CHUNK_BYTES - 1, BLOB_CHUNK_BYTES, BLOB_CHUNK_BYTES + 1, 4 * BLOB_CHUNK_BYTES};

    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        fill(f, sizes[i]);

        assert_int_equal(put(f), OK);
        assert_int_equal(get(f), OK);

        assert_true(slice_equal(buffer_slice(&f->got), buffer_slice(&f->bytes)));
    }
}

static void blob_put__any_chunk_fails__one_error_and_a_second_put_heals(void **state)
{
    struct fixture *f = *state;

    for (size_t skip = 0; skip < 10; skip++) {
        f->calls = 0;
        fake_router_fail(f->router, skip, ERR_TIMEOUT, skip % 2 == 0);

        assert_int_equal(put(f), ERR_TIMEOUT);
        assert_int_equal(f->calls, 1);

        assert_int_equal(put(f), OK);
        assert_int_equal(get(f), OK);
        assert_true(slice_equal(buffer_slice(&f->got), buffer_slice(&f->bytes)));
        assert_int_equal(release(f), OK);
        assert_int_equal(fake_router_key_count(f->router), 0);
    }
}

static void blob_get__any_chunk_fails_nearby__is_asked_from_the_leader(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f), OK);
    for (size_t skip = 0; skip < 10; skip++) {
        fake_router_fail(f->router, skip, ERR_LOST, false);

        assert_int_equal(get(f), OK);
        assert_true(slice_equal(buffer_slice(&f->got), buffer_slice(&f->bytes)));
    }
}

static void blob_get__replica_lags__is_read_from_the_leader(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f), OK);
    fake_router_set_lagging(f->router, true);

    assert_int_equal(get(f), OK);

    assert_int_equal(fake_router_read_count(f->router), 20);
    assert_true(slice_equal(buffer_slice(&f->got), buffer_slice(&f->bytes)));
}

static void blob_get__missing__not_found(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(get(f), ERR_NOT_FOUND);
    assert_null(f->got.data);
}

static void blob_get__one_chunk_missing__not_found(void **state)
{
    struct fixture *f = *state;
    struct buffer command = BUFFER_INIT(256);
    struct buffer reply = BUFFER_INIT(256);

    assert_int_equal(put(f), OK);
    blob_engine_release_command(&command, (struct blob_chunk){f->sha256, 6}, f->owner);
    fake_router_apply(f->router, shard_of_chunk(f, 6), SHARD_ENGINE_BLOB, buffer_slice(&command),
                      &reply);

    assert_int_equal(get(f), ERR_NOT_FOUND);

    buffer_close(&command);
    buffer_close(&reply);
}

static void blob_get__stored_bytes_damaged__corrupt(void **state)
{
    struct fixture *f = *state;
    struct shard_state *shard =
        fake_router_state(f->router, shard_of_chunk(f, 3), SHARD_ENGINE_BLOB);
    struct buffer key = BUFFER_INIT(64);
    struct buffer value = BUFFER_INIT(BUFFER_UNLIMITED);

    assert_int_equal(put(f), OK);
    buffer_put_u8(&key, 'c');
    buffer_put(&key, f->sha256, sizeof(f->sha256));
    buffer_put_u32(&key, 3);
    assert_int_equal(shard_get(shard, buffer_slice(&key), &value), OK);
    value.data[1000] ^= 1;
    shard_put(shard, buffer_slice(&key), buffer_slice(&value));

    assert_int_equal(get(f), ERR_CORRUPT);

    buffer_close(&key);
    buffer_close(&value);
}

static void blob_get__bytes_of_another_name__corrupt(void **state)
{
    struct fixture *f = *state;

    f->sha256[0] ^= 1;
    assert_int_equal(put(f), OK);

    assert_int_equal(get(f), ERR_CORRUPT);
}

static void blob_release__two_owners__bytes_stay_until_the_second(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f), OK);
    memset(f->owner, 'B', sizeof(f->owner));
    assert_int_equal(put(f), OK);

    assert_int_equal(release(f), OK);
    assert_int_equal(release(f), OK); /* once more: nothing changes */
    assert_int_equal(get(f), OK);
    memset(f->owner, 'A', sizeof(f->owner));
    assert_int_equal(release(f), OK);

    assert_int_equal(get(f), ERR_NOT_FOUND);
    assert_int_equal(fake_router_key_count(f->router), 0);
}

static void blob_cancel__in_flight__no_callback_and_nothing_leaks(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f), OK);
    f->calls = 0;
    blob_get(f->router, &f->transfer, f->sha256, blob_chunk_count(f->bytes.size), on_done);
    blob_cancel(&f->transfer);
    blob_cancel(&f->transfer);
    fake_env_run(&f->env);

    assert_int_equal(f->calls, 0);
}

/* ---- the engine alone ---- */

static enum error apply(struct fixture *f, struct slice command)
{
    struct buffer reply = BUFFER_INIT(256);
    enum error rc;

    fake_router_apply(f->router, 0, SHARD_ENGINE_BLOB, command, &reply);
    rc = blob_engine_reply(buffer_slice(&reply), NULL);
    buffer_close(&reply);
    return rc;
}

static void blob_engine__chunk_damaged_on_the_way__refused_and_nothing_changes(void **state)
{
    struct fixture *f = *state;
    struct buffer command = BUFFER_INIT(1024);

    blob_engine_put_command(&command, (struct blob_chunk){f->sha256, 0}, f->owner,
                            SLICE_LITERAL("hello"));
    command.data[command.size - 1] ^= 0x20;

    assert_int_equal(apply(f, buffer_slice(&command)), ERR_CORRUPT);
    assert_int_equal(fake_router_key_count(f->router), 0);

    buffer_close(&command);
}

static void blob_engine__another_owner_with_other_bytes__the_first_bytes_stay(void **state)
{
    struct fixture *f = *state;
    struct blob_chunk chunk = {f->sha256, 0};
    struct buffer command = BUFFER_INIT(1024);
    struct buffer reply = BUFFER_INIT(1024);
    struct slice bytes;

    blob_engine_put_command(&command, chunk, f->owner, SLICE_LITERAL("hello"));
    assert_int_equal(apply(f, buffer_slice(&command)), OK);
    buffer_clear(&command);
    memset(f->owner, 'B', sizeof(f->owner));
    blob_engine_put_command(&command, chunk, f->owner, SLICE_LITERAL("other"));
    assert_int_equal(apply(f, buffer_slice(&command)), OK);

    buffer_clear(&command);
    blob_engine_get_query(&command, chunk);
    fake_router_query(f->router, 0, SHARD_ENGINE_BLOB, buffer_slice(&command), &reply);
    assert_int_equal(blob_engine_reply(buffer_slice(&reply), &bytes), OK);
    assert_true(slice_equal_text(bytes, "hello"));

    buffer_close(&command);
    buffer_close(&reply);
}

static void blob_engine__command_cut_anywhere__refused_and_nothing_changes(void **state)
{
    struct fixture *f = *state;
    struct buffer command = BUFFER_INIT(1024);
    struct buffer reply = BUFFER_INIT(1024);

    blob_engine_put_command(&command, (struct blob_chunk){f->sha256, 0}, f->owner,
                            SLICE_LITERAL("hello"));

    for (size_t size = 0; size < command.size; size++)
        assert_int_not_equal(apply(f, slice_of(command.data, size)), OK);
    command.data[0] = 77;
    assert_int_equal(apply(f, buffer_slice(&command)), ERR_INVALID);
    fake_router_query(f->router, 0, SHARD_ENGINE_BLOB, buffer_slice(&command), &reply);
    assert_int_equal(blob_engine_reply(buffer_slice(&reply), NULL), ERR_INVALID);
    assert_int_equal(blob_engine_reply(SLICE_LITERAL("ab"), NULL), ERR_INVALID);
    assert_int_equal(fake_router_key_count(f->router), 0);

    buffer_close(&command);
    buffer_close(&reply);
}

static void blob_engine__put_command__keeps_its_bytes_on_the_wire(void **state)
{
    struct fixture *f = *state;
    struct buffer command = BUFFER_INIT(1024);
    uint8_t sha256[BLOB_SHA256_BYTES];

    (void)f;
    memset(sha256, 0x11, sizeof(sha256));
    blob_engine_put_command(&command, (struct blob_chunk){sha256, 0x01020304}, f->owner,
                            SLICE_LITERAL("hi"));

    assert_int_equal(command.size, 1 + 32 + 4 + 16 + 8 + 2);
    assert_int_equal(command.data[0], 1);
    assert_int_equal(command.data[1], 0x11);
    assert_int_equal(command.data[33], 4);
    assert_int_equal(command.data[36], 1);
    assert_int_equal(command.data[37], 'A');
    assert_int_equal(command.data[command.size - 1], 'i');

    buffer_close(&command);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(blob_put__many_chunks__come_back_the_same_few_at_a_time),
        TEST(blob_put__sizes_around_a_chunk__come_back_the_same),
        TEST(blob_put__any_chunk_fails__one_error_and_a_second_put_heals),
        TEST(blob_get__any_chunk_fails_nearby__is_asked_from_the_leader),
        TEST(blob_get__replica_lags__is_read_from_the_leader),
        TEST(blob_get__missing__not_found),
        TEST(blob_get__one_chunk_missing__not_found),
        TEST(blob_get__stored_bytes_damaged__corrupt),
        TEST(blob_get__bytes_of_another_name__corrupt),
        TEST(blob_release__two_owners__bytes_stay_until_the_second),
        TEST(blob_cancel__in_flight__no_callback_and_nothing_leaks),
        TEST(blob_engine__chunk_damaged_on_the_way__refused_and_nothing_changes),
        TEST(blob_engine__another_owner_with_other_bytes__the_first_bytes_stay),
        TEST(blob_engine__command_cut_anywhere__refused_and_nothing_changes),
        TEST(blob_engine__put_command__keeps_its_bytes_on_the_wire),
    };

    return cmocka_run_group_tests_name("blob", tests, NULL, NULL);
}
