/* Transactions of a node over shards in memory: whatever fails and whoever dies, at whatever
 * moment, all rows change or none, nothing stays locked, and asking again with the token does it
 * once. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/table/transaction.h"
#include "node/table/transaction_recovery.h"
#include "proto/base/check.h"
#include "proto/base/log.h"
#include "tests/lib/fake_env.h"
#include "tests/lib/fake_router.h"

#include <stdio.h>

#define SHARDS 5
#define ROWS 7
#define DEADLINE_MS 20000

struct ending { /* what a transaction or a read was told */
    bool is_told;
    enum transaction_result result;
    enum error rc;
};

struct asked { /* a transaction that puts the same value into all rows */
    struct transaction transaction;
    struct transaction_action actions[ROWS];
    Skein__Wire__TableCommand commands[ROWS];
    uint8_t item[16];
    struct ending ending;
};

struct asked_read {
    struct transaction_read read;
    struct transaction_get gets[ROWS];
    Skein__Wire__TableQuery queries[ROWS];
    struct ending ending;
};

struct fixture {
    struct fake_env env;
    struct env_link link;
    struct shard_router *router;
    struct transactions *transactions;
    struct transaction_recovery *recovery;
    uint8_t keys[ROWS][20];
    size_t row_count; /* that are used */
};

static uint64_t self(struct env *env)
{
    (void)env;
    return 7;
}

static void fixture_open(struct fixture *f, size_t row_count)
{
    *f = (struct fixture){.row_count = row_count};
    fake_env_init(&f->env);
    f->link.self = self;
    f->env.env.link = &f->link;
    f->router = fake_router_new(&f->env.env, SHARDS);
    fake_router_add_engine(f->router, &table_engine);
    f->transactions = transactions_new(&f->env.env, f->router);
    for (size_t i = 0; i < ROWS; i++) {
        memset(f->keys[i], 't', sizeof(f->keys[i]));
        f->keys[i][0] = 1;
        f->keys[i][19] = (uint8_t)i;
    }
}

static void fixture_close(struct fixture *f)
{
    transactions_free(f->transactions);
    transaction_recovery_free(f->recovery);
    fake_router_free(f->router);
    fake_env_close(&f->env);
}

/* {"v": value}: a version, one attribute, its name, a BOOL */
static size_t put_item(uint8_t item[16], uint8_t value)
{
    const uint8_t bytes[] = {1, 1, 0, 0, 0, 1, 'v', 4, value};

    memcpy(item, bytes, sizeof(bytes));
    return sizeof(bytes);
}

static void on_end(struct transaction *transaction, enum transaction_result result, enum error rc)
{
    container_of(transaction, struct asked, transaction)->ending =
        (struct ending){true, result, rc};
}

/* `value` 0 or 1. */
static void start(struct fixture *f, struct asked *asked, const char *token, uint8_t value)
{
    size_t bytes = put_item(asked->item, value);

    asked->transaction = (struct transaction){.actions = asked->actions,
                                              .count = f->row_count,
                                              .token = slice_text(token),
                                              .digest = slice_text(value ? "one" : "zero")};
    asked->ending.is_told = false;
    for (size_t i = 0; i < f->row_count; i++) {
        Skein__Wire__TableCommand *command = &asked->commands[i];

        skein__wire__table_command__init(command);
        command->kind = TABLE_PUT;
        command->key = (ProtobufCBinaryData){sizeof(f->keys[i]), f->keys[i]};
        command->item = (ProtobufCBinaryData){bytes, asked->item};
        asked->actions[i] =
            (struct transaction_action){.shard = (uint32_t)(i % SHARDS), .command = command};
    }
    transaction_start(f->transactions, &asked->transaction, DEADLINE_MS, on_end);
}

static void run(struct fixture *f, struct asked *asked, const char *token, uint8_t value)
{
    start(f, asked, token, value);
    for (int i = 0; i < 2000 && !asked->ending.is_told; i++)
        fake_env_advance(&f->env, 1000);
    assert_true(asked->ending.is_told);
    transaction_close(&asked->transaction);
}

/* What a row holds; -1 when it is not there. */
static int value_of(struct fixture *f, size_t row)
{
    Skein__Wire__TableQuery query = SKEIN__WIRE__TABLE_QUERY__INIT;
    AUTO(buffer) reply = BUFFER_INIT(1000);
    Skein__Wire__TableReply *message;
    uint8_t packed[64];
    int value;

    query.kind = TABLE_GET;
    query.key = (ProtobufCBinaryData){sizeof(f->keys[row]), f->keys[row]};
    fake_router_query(f->router, (uint32_t)(row % SHARDS), SHARD_ENGINE_TABLE,
                      slice_of(packed, skein__wire__table_query__pack(&query, packed)), &reply);
    message = skein__wire__table_reply__unpack(NULL, reply.size, reply.data);
    assert_non_null(message);
    value = message->has_item ? message->item.data[message->item.len - 1] : -1;
    skein__wire__table_reply__free_unpacked(message, NULL);
    return value;
}

static int common_value(struct fixture *f)
{
    int value = value_of(f, 0);

    for (size_t i = 1; i < f->row_count; i++)
        assert_int_equal(value_of(f, i), value);
    return value;
}

/* Others that look after the shards, for longer than a lock may be left alone. */
static void recover(struct fixture *f)
{
    if (f->recovery == NULL)
        f->recovery = transaction_recovery_new(&f->env.env, f->router);
    for (int i = 0; i < 100; i++)
        fake_env_advance(&f->env, 100000);
}

static void assert_unlocked(struct fixture *f)
{
    for (size_t i = 0; i < f->row_count; i++)
        assert_false(table_transaction_locks(
            fake_router_state(f->router, (uint32_t)(i % SHARDS), SHARD_ENGINE_TABLE),
            slice_of(f->keys[i], sizeof(f->keys[i]))));
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void transaction__node_dies_after_any_answer__all_or_none_and_nothing_locked(void **state)
{
    size_t answers = 0;
    bool is_done = false;

    (void)state;
    for (; !is_done; answers++) {
        struct fixture f;
        struct asked asked;
        int before;

        fixture_open(&f, ROWS);
        run(&f, &asked, "first", 0);
        fake_router_hold_after(f.router, answers);
        start(&f, &asked, "second", 1);
        fake_env_run(&f.env);
        is_done = asked.ending.is_told;
        transaction_close(&asked.transaction); /* dead */
        fake_router_hold(f.router, false);
        recover(&f);

        before = common_value(&f);
        assert_true(is_done ? before == 1 : before == 0 || before == 1);
        assert_unlocked(&f);
        run(&f, &asked, "second", 1); /* the client comes again, to another node */
        assert_int_equal(asked.ending.result, before == 1 ? TRANSACTION_ALREADY : TRANSACTION_DONE);
        assert_int_equal(common_value(&f), 1);
        fixture_close(&f);
    }
    assert_int_equal(answers,
                     SHARDS + 1 + SHARDS + 1); /* prepare, decide, finish; and a clean run */
}

static void transaction__any_request_fails__told_truly_and_nothing_locked(void **state)
{
    static const enum error errors[] = {ERR_TIMEOUT, ERR_TIMEOUT, ERR_OVERLOADED, ERR_UNREACHABLE};

    (void)state;
    for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++)
        for (size_t skip = 0; skip < 2 * SHARDS + 1; skip++) {
            struct fixture f;
            struct asked asked;

            fixture_open(&f, ROWS);
            run(&f, &asked, "first", 0);
            fake_router_fail(f.router, skip, errors[e], e == 0);
            run(&f, &asked, "second", 1);
            assert_int_equal(asked.ending.result, TRANSACTION_FAILED);
            assert_int_not_equal(asked.ending.rc, OK);
            recover(&f);

            if (error_effect(asked.ending.rc) == ERROR_EFFECT_NONE)
                assert_int_equal(common_value(&f), 0);
            assert_true(common_value(&f) >= 0);
            assert_unlocked(&f);
            run(&f, &asked, "second", 1);
            assert_true(asked.ending.result == TRANSACTION_DONE ||
                        asked.ending.result == TRANSACTION_ALREADY);
            assert_int_equal(common_value(&f), 1);
            fixture_close(&f);
        }
}

static void transaction__in_one_shard__one_write_beside_the_claim(void **state)
{
    struct fixture f;
    struct asked asked;
    size_t writes;

    (void)state;
    fixture_open(&f, 1);
    run(&f, &asked, NULL, 0);
    assert_int_equal(fake_router_write_count(f.router), 1);
    run(&f, &asked, "token", 1);
    writes = fake_router_write_count(f.router) - 1;
    assert_in_range(writes, 1, 2);
    run(&f, &asked, "token", 1);
    assert_int_equal(asked.ending.result, TRANSACTION_ALREADY);
    run(&f, &asked, "token", 0);
    assert_int_equal(asked.ending.result, TRANSACTION_MISMATCH);
    assert_int_equal(common_value(&f), 1);
    fixture_close(&f);
}

static void transaction__two_at_once__both_are_done_in_turn(void **state)
{
    struct fixture f;
    struct asked one;
    struct asked two;

    (void)state;
    fixture_open(&f, ROWS);
    start(&f, &one, "one", 0);
    start(&f, &two, "two", 1);
    for (int i = 0; i < 400 && !(one.ending.is_told && two.ending.is_told); i++)
        fake_env_advance(&f.env, 1000);

    assert_int_equal(one.ending.result, TRANSACTION_DONE);
    assert_int_equal(two.ending.result, TRANSACTION_DONE);
    assert_true(common_value(&f) >= 0);
    assert_unlocked(&f);
    transaction_close(&one.transaction);
    transaction_close(&two.transaction);
    fixture_close(&f);
}

static void on_read(struct transaction_read *read, enum transaction_result result, enum error rc)
{
    container_of(read, struct asked_read, read)->ending = (struct ending){true, result, rc};
}

static void start_read(struct fixture *f, struct asked_read *asked)
{
    *asked = (struct asked_read){.read = {.gets = asked->gets, .count = f->row_count}};
    for (size_t i = 0; i < f->row_count; i++) {
        skein__wire__table_query__init(&asked->queries[i]);
        asked->queries[i].kind = TABLE_GET;
        asked->queries[i].key = (ProtobufCBinaryData){sizeof(f->keys[i]), f->keys[i]};
        asked->gets[i] =
            (struct transaction_get){.shard = (uint32_t)(i % SHARDS), .query = &asked->queries[i]};
    }
    transaction_read_start(f->transactions, &asked->read, DEADLINE_MS, on_read);
}

static void finish_read(struct fixture *f, struct asked_read *asked)
{
    for (int i = 0; i < 2000 && !asked->ending.is_told; i++)
        fake_env_advance(&f->env, 1000);
    assert_true(asked->ending.is_told);
}

/* Stop a transaction after each of its answers in turn, and read: all rows are of one moment. */
static void read__beside_a_transaction_at_any_moment__never_sees_a_part_of_it(void **state)
{
    size_t answers = 0;
    bool is_done = false;

    (void)state;
    for (; !is_done; answers++) {
        struct fixture f;
        struct asked asked;
        struct asked_read read;

        fixture_open(&f, ROWS);
        run(&f, &asked, "first", 0);
        fake_router_hold_after(f.router, answers);
        start(&f, &asked, "second", 1);
        fake_env_run(&f.env);
        is_done = asked.ending.is_told;
        transaction_close(&asked.transaction);
        fake_router_hold(f.router, false);

        start_read(&f, &read);
        finish_read(&f, &read);
        assert_true(read.ending.result == TRANSACTION_DONE ||
                    read.ending.result == TRANSACTION_CANCELLED);
        for (size_t i = 1; i < f.row_count && read.ending.result == TRANSACTION_DONE; i++)
            assert_true(
                slice_equal(slice_of(read.gets[i].reply->item.data, read.gets[i].reply->item.len),
                            slice_of(read.gets[0].reply->item.data, read.gets[0].reply->item.len)));
        transaction_read_close(&read.read);

        recover(&f);
        start_read(&f, &read);
        finish_read(&f, &read);
        assert_int_equal(read.ending.result, TRANSACTION_DONE);
        transaction_read_close(&read.read);
        fixture_close(&f);
    }
}

static void put_directly(struct fixture *f, uint8_t value)
{
    for (size_t i = 0; i < f->row_count; i++) {
        Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;
        AUTO(buffer) reply = BUFFER_INIT(1000);
        uint8_t item[16];
        uint8_t packed[100];

        command.kind = TABLE_PUT;
        command.key = (ProtobufCBinaryData){sizeof(f->keys[i]), f->keys[i]};
        command.item = (ProtobufCBinaryData){put_item(item, value), item};
        fake_router_apply(f->router, (uint32_t)(i % SHARDS), SHARD_ENGINE_TABLE,
                          slice_of(packed, skein__wire__table_command__pack(&command, packed)),
                          &reply);
    }
}

/* All rows get another value when some shards were looked at, and others were not. */
static void read__rows_change_during_a_look__looks_again(void **state)
{
    (void)state;
    for (size_t answers = 0; answers <= 2 * SHARDS; answers++) {
        struct fixture f;
        struct asked asked;
        struct asked_read read;

        fixture_open(&f, ROWS);
        run(&f, &asked, "first", 0);
        fake_router_hold_after(f.router, answers);
        start_read(&f, &read);
        fake_env_run(&f.env);
        put_directly(&f, 1);
        fake_router_hold(f.router, false);
        finish_read(&f, &read);

        assert_int_equal(read.ending.result, TRANSACTION_DONE);
        for (size_t i = 0; i < f.row_count; i++)
            assert_int_equal(read.gets[i].reply->item.data[read.gets[i].reply->item.len - 1],
                             read.gets[0].reply->item.data[read.gets[0].reply->item.len - 1]);
        transaction_read_close(&read.read);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transaction__node_dies_after_any_answer__all_or_none_and_nothing_locked),
        cmocka_unit_test(transaction__any_request_fails__told_truly_and_nothing_locked),
        cmocka_unit_test(transaction__in_one_shard__one_write_beside_the_claim),
        cmocka_unit_test(transaction__two_at_once__both_are_done_in_turn),
        cmocka_unit_test(read__beside_a_transaction_at_any_moment__never_sees_a_part_of_it),
        cmocka_unit_test(read__rows_change_during_a_look__looks_again),
    };

    log_set_level(LOG_LEVEL_WARN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
