/* Transactions in a shard's state: every order of prepare, decide and finish, and each of them
 * twice. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/table/table_key.h"
#include "node/table/table_transaction.h"
#include "proto/base/check.h"
#include "tests/lib/fake_state.h"
#include "tests/unit/table/table_fixture.h"

#include <stdio.h>

#define MINUTE_MS 60000u

static const uint8_t table[TABLE_ID_BYTES] = "orders orders 1";
static const struct table_schema schema = {{{{(const uint8_t *)"id", 2}, ITEM_S}}, 1};
static const char *const bindings[] = {":one=1", ":five=5", NULL};

struct fixture {
    struct shard_state *state;
    struct arena arena;
    uint64_t wall_ms;
    uint64_t index;
    Skein__Wire__TableReply *reply; /* to the last command or query */
    Skein__Wire__TableTransaction transaction;
    Skein__Wire__TableCommand *actions[8];
};

static int set_up(void **state)
{
    struct fixture *f = check_calloc(1, sizeof(*f));

    f->state = fake_state_new();
    fake_state_set_forget(f->state, table_engine.forget);
    f->wall_ms = 1000000;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    skein__wire__table_reply__free_unpacked(f->reply, NULL);
    fake_state_free(f->state);
    arena_close(&f->arena);
    free(f);
    return 0;
}

static ProtobufCBinaryData bytes_of(struct slice bytes)
{
    return (ProtobufCBinaryData){bytes.size, (uint8_t *)(uintptr_t)bytes.data};
}

static struct slice item_of(struct fixture *f, const char *text)
{
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);

    fixture_put_item(&item, text);
    return arena_copy(&f->arena, buffer_slice(&item));
}

static struct slice key_of(struct fixture *f, const char *text)
{
    AUTO(buffer) key = BUFFER_INIT(BUFFER_UNLIMITED);
    struct item_value attributes = item_root(item_of(f, text));
    struct slice hash_part;

    table_key_put_row(&key, table, &schema, &attributes, &hash_part);
    return arena_copy(&f->arena, buffer_slice(&key));
}

static ProtobufCBinaryData condition_of(struct fixture *f, const char *text)
{
    struct expression_source source = fixture_source(&f->arena, bindings);
    AUTO(buffer) encoded = BUFFER_INIT(BUFFER_UNLIMITED);
    const struct expression *tree;

    if (expression_parse_condition(&source, slice_text(text), &tree) != OK)
        fail_msg("%s: %s", text, source.why);
    expression_put(&encoded, tree);
    return bytes_of(arena_copy(&f->arena, buffer_slice(&encoded)));
}

/* ---- commands -------------------------------------------------------------------------------- */

static enum table_outcome apply(struct fixture *f, enum table_command_kind kind,
                                Skein__Wire__TableCommand *command)
{
    struct shard_moment moment = {.index = ++f->index, .wall_ms = f->wall_ms};
    AUTO(buffer) packed = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) reply = BUFFER_INIT(1u << 20);

    command->kind = kind;
    assert_int_equal(buffer_reserve(&packed, skein__wire__table_command__get_packed_size(command)),
                     OK);
    packed.size = skein__wire__table_command__pack(command, packed.data);
    fake_state_begin_command(f->state);
    table_engine.apply(f->state, &moment, buffer_slice(&packed), &reply);
    skein__wire__table_reply__free_unpacked(f->reply, NULL);
    f->reply = skein__wire__table_reply__unpack(NULL, reply.size, reply.data);
    assert_non_null(f->reply);
    return (enum table_outcome)f->reply->outcome;
}

/* A transaction begins: `attempt` is 16 characters, `token` may be NULL. */
static void begin(struct fixture *f, const char *attempt, const char *token)
{
    skein__wire__table_transaction__init(&f->transaction);
    f->transaction.attempt = bytes_of(slice_text(attempt));
    f->transaction.token = bytes_of(slice_text(token));
    f->transaction.digest = bytes_of(slice_text(token != NULL ? "digest" : NULL));
    f->transaction.coordinator = 3;
    f->transaction.actions = f->actions;
}

static Skein__Wire__TableCommand *add(struct fixture *f, enum table_command_kind kind,
                                      const char *key, const char *condition)
{
    Skein__Wire__TableCommand *action = arena_alloc(&f->arena, sizeof(*action));

    skein__wire__table_command__init(action);
    action->kind = kind;
    action->key = bytes_of(key_of(f, key));
    if (condition != NULL)
        action->condition = condition_of(f, condition);
    f->actions[f->transaction.n_actions++] = action;
    return action;
}

static void add_put(struct fixture *f, const char *key, const char *item, const char *condition)
{
    add(f, TABLE_PUT, key, condition)->item = bytes_of(item_of(f, item));
}

static enum table_outcome run(struct fixture *f, enum table_command_kind kind)
{
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;

    command.transaction = &f->transaction;
    return apply(f, kind, &command);
}

static enum table_outcome finish(struct fixture *f, bool is_commit)
{
    f->transaction.is_commit = is_commit;
    return run(f, TABLE_FINISH);
}

static enum table_outcome decide(struct fixture *f, bool is_commit)
{
    f->transaction.is_commit = is_commit;
    return run(f, TABLE_DECIDE);
}

static enum table_outcome put(struct fixture *f, const char *key, const char *item)
{
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;

    command.key = bytes_of(key_of(f, key));
    command.item = bytes_of(item_of(f, item));
    return apply(f, TABLE_PUT, &command);
}

static bool trim(struct fixture *f)
{
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;

    command.row_limit = 2;
    assert_int_equal(apply(f, TABLE_TRIM, &command), TABLE_DONE);
    return f->reply->has_more;
}

static void pass_minutes(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        f->wall_ms += MINUTE_MS;
        while (trim(f))
            ;
    }
}

/* ---- queries --------------------------------------------------------------------------------- */

static void query(struct fixture *f, Skein__Wire__TableQuery *query)
{
    AUTO(buffer) packed = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) reply = BUFFER_INIT(1u << 20);

    assert_int_equal(buffer_reserve(&packed, skein__wire__table_query__get_packed_size(query)), OK);
    packed.size = skein__wire__table_query__pack(query, packed.data);
    fake_state_begin_command(f->state);
    table_engine.read(f->state, buffer_slice(&packed), &reply);
    skein__wire__table_reply__free_unpacked(f->reply, NULL);
    f->reply = skein__wire__table_reply__unpack(NULL, reply.size, reply.data);
    assert_non_null(f->reply);
}

static void assert_item(struct fixture *f, const char *key, const char *wanted)
{
    Skein__Wire__TableQuery get = SKEIN__WIRE__TABLE_QUERY__INIT;

    get.kind = TABLE_GET;
    get.key = bytes_of(key_of(f, key));
    query(f, &get);
    assert_int_equal(f->reply->has_item, wanted != NULL);
    if (wanted != NULL)
        assert_true(
            slice_equal(slice_of(f->reply->item.data, f->reply->item.len), item_of(f, wanted)));
}

static void look_open(struct fixture *f)
{
    Skein__Wire__TableQuery open = SKEIN__WIRE__TABLE_QUERY__INIT;

    open.kind = TABLE_OPEN;
    query(f, &open);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void execute__all_conditions_hold__all_take_place(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f, "{id: 'a'}", "{id: 'a', n: 1}"), TABLE_DONE);
    begin(f, "", NULL);
    add_put(f, "{id: 'b'}", "{id: 'b', n: 2}", "attribute_not_exists(id)");
    add(f, TABLE_DELETE, "{id: 'a'}", "n = :one");

    assert_int_equal(run(f, TABLE_EXECUTE), TABLE_DONE);

    assert_item(f, "{id: 'a'}", NULL);
    assert_item(f, "{id: 'b'}", "{id: 'b', n: 2}");
}

static void execute__one_condition_fails__each_part_tells_and_nothing_changes(void **state)
{
    struct fixture *f = *state;

    begin(f, "", NULL);
    add_put(f, "{id: 'b'}", "{id: 'b'}", NULL);
    add(f, TABLE_CHECK, "{id: 'a'}", "attribute_exists(id)");

    assert_int_equal(run(f, TABLE_EXECUTE), TABLE_CANCELLED);

    assert_int_equal(f->reply->n_parts, 2);
    assert_int_equal(f->reply->parts[0]->outcome, TABLE_DONE);
    assert_int_equal(f->reply->parts[1]->outcome, TABLE_CONDITION_FAILED);
    assert_int_equal(fake_state_count(f->state), 0);
}

static void execute__token_again__once_and_only_with_the_same_digest(void **state)
{
    struct fixture *f = *state;

    begin(f, "", "token");
    add_put(f, "{id: 'a'}", "{id: 'a'}", "attribute_not_exists(id)");
    assert_int_equal(run(f, TABLE_EXECUTE), TABLE_DONE);

    assert_int_equal(run(f, TABLE_EXECUTE), TABLE_ALREADY);
    f->transaction.digest = bytes_of(slice_text("another"));
    assert_int_equal(run(f, TABLE_EXECUTE), TABLE_MISMATCH);
    assert_int_equal(run(f, TABLE_CLAIM), TABLE_MISMATCH);
}

static void claim__then_execute__is_done_once(void **state)
{
    struct fixture *f = *state;

    begin(f, "", "token");
    add_put(f, "{id: 'a'}", "{id: 'a'}", NULL);

    assert_int_equal(run(f, TABLE_CLAIM), TABLE_DONE);
    assert_int_equal(run(f, TABLE_CLAIM), TABLE_DONE);
    assert_int_equal(run(f, TABLE_EXECUTE), TABLE_DONE);
    assert_int_equal(run(f, TABLE_CLAIM), TABLE_ALREADY);
}

static void prepare_one(struct fixture *f)
{
    assert_int_equal(put(f, "{id: 'a'}", "{id: 'a', n: 1}"), TABLE_DONE);
    begin(f, "attempt attempt1", NULL);
    add_put(f, "{id: 'a'}", "{id: 'a', n: 5}", "n = :one");
    add(f, TABLE_CHECK, "{id: 'c'}", "attribute_not_exists(id)");
    assert_int_equal(run(f, TABLE_PREPARE), TABLE_DONE);
}

static void prepare__until_it_is_finished__others_keep_off_and_readers_see_the_old(void **state)
{
    struct fixture *f = *state;

    prepare_one(f);

    assert_item(f, "{id: 'a'}", "{id: 'a', n: 1}");
    assert_int_equal(put(f, "{id: 'a'}", "{id: 'a', n: 9}"), TABLE_LOCKED);
    assert_int_equal(put(f, "{id: 'c'}", "{id: 'c'}"),
                     TABLE_LOCKED); /* what was checked must stay */
    assert_int_equal(put(f, "{id: 'd'}", "{id: 'd'}"), TABLE_DONE);
    begin(f, "attempt attempt2", NULL);
    add(f, TABLE_DELETE, "{id: 'a'}", NULL);
    assert_int_equal(run(f, TABLE_PREPARE), TABLE_CANCELLED);
    assert_int_equal(f->reply->parts[0]->outcome, TABLE_LOCKED);
    assert_int_equal(run(f, TABLE_EXECUTE), TABLE_CANCELLED);

    begin(f, "attempt attempt1", NULL);
    assert_int_equal(finish(f, true), TABLE_DONE);
    assert_item(f, "{id: 'a'}", "{id: 'a', n: 5}");
    assert_int_equal(put(f, "{id: 'a'}", "{id: 'a', n: 9}"), TABLE_DONE);
    assert_int_equal(put(f, "{id: 'c'}", "{id: 'c'}"), TABLE_DONE);
}

static void prepare__same_token_meets_itself__is_told(void **state)
{
    struct fixture *f = *state;

    begin(f, "attempt attempt1", "token");
    add_put(f, "{id: 'a'}", "{id: 'a'}", NULL);
    assert_int_equal(run(f, TABLE_PREPARE), TABLE_DONE);

    f->transaction.attempt = bytes_of(slice_text("attempt attempt2"));
    assert_int_equal(run(f, TABLE_PREPARE), TABLE_CANCELLED);
    assert_int_equal(f->reply->parts[0]->outcome, TABLE_LOCKED_BY_TOKEN);
}

static void finish__again_or_of_the_unknown__changes_nothing(void **state)
{
    struct fixture *f = *state;

    prepare_one(f);
    assert_int_equal(finish(f, true), TABLE_DONE);
    assert_int_equal(put(f, "{id: 'a'}", "{id: 'a', n: 7}"), TABLE_DONE);

    assert_int_equal(finish(f, true), TABLE_DONE);
    assert_int_equal(finish(f, false), TABLE_DONE);

    assert_item(f, "{id: 'a'}", "{id: 'a', n: 7}");
}

static void finish__undone__leaves_nothing(void **state)
{
    struct fixture *f = *state;
    size_t before;

    assert_int_equal(put(f, "{id: 'a'}", "{id: 'a', n: 1}"), TABLE_DONE);
    before = fake_state_count(f->state);
    prepare_one(f);

    assert_int_equal(finish(f, false), TABLE_DONE);

    assert_item(f, "{id: 'a'}", "{id: 'a', n: 1}");
    assert_int_equal(fake_state_count(f->state), before);
}

/* An undo overtook the command it undoes: the lock has nobody, and is told of as such. */
static void prepare__after_its_undo__is_open_until_somebody_asks(void **state)
{
    struct fixture *f = *state;

    begin(f, "attempt attempt1", NULL);
    assert_int_equal(finish(f, false), TABLE_DONE);
    prepare_one(f);

    look_open(f);
    assert_int_equal(f->reply->n_open, 1);
    assert_int_equal(f->reply->open[0]->coordinator, 3);
    assert_memory_equal(f->reply->open[0]->attempt.data, "attempt attempt1", 16);
    assert_int_equal(decide(f, false), TABLE_ABORTED);
    assert_int_equal(finish(f, false), TABLE_DONE);
    look_open(f);
    assert_int_equal(f->reply->n_open, 0);
}

static void prepare__the_same_command_again__is_done_once(void **state)
{
    struct fixture *f = *state;
    size_t keys;

    prepare_one(f);
    keys = fake_state_count(f->state);

    assert_int_equal(run(f, TABLE_PREPARE), TABLE_DONE);
    assert_int_equal(fake_state_count(f->state), keys);
}

static void decide__whoever_is_first__stays(void **state)
{
    struct fixture *f = *state;

    begin(f, "attempt attempt1", NULL);
    assert_int_equal(decide(f, true), TABLE_DONE);
    assert_int_equal(decide(f, false), TABLE_DONE); /* it is committed */
    assert_int_equal(decide(f, true), TABLE_DONE);

    begin(f, "attempt attempt2", NULL);
    assert_int_equal(decide(f, false), TABLE_ABORTED);
    assert_int_equal(decide(f, true), TABLE_ABORTED);
    pass_minutes(f, 60); /* who was stopped for an hour is told, too */
    assert_int_equal(decide(f, true), TABLE_ABORTED);
}

static void decide__token_was_done__tells_by_which_attempt(void **state)
{
    struct fixture *f = *state;

    begin(f, "attempt attempt1", "token");
    assert_int_equal(decide(f, true), TABLE_DONE);

    begin(f, "attempt attempt2", "token");
    assert_int_equal(decide(f, true), TABLE_ALREADY);
    assert_memory_equal(f->reply->attempt.data, "attempt attempt1", 16);
    assert_int_equal(run(f, TABLE_CLAIM), TABLE_ALREADY);
    f->transaction.digest = bytes_of(slice_text("another"));
    assert_int_equal(decide(f, true), TABLE_MISMATCH);
    f->transaction.token.len = 0;
    assert_int_equal(decide(f, false), TABLE_ABORTED); /* it was not decided before */
}

static void trim__ten_minutes_passed__tokens_are_new_again(void **state)
{
    static const char *const tokens[] = {"a", "b", "c", "d", "e"};
    struct fixture *f = *state;

    for (int i = 0; i < 5; i++) {
        begin(f, "", tokens[i]);
        add_put(f, "{id: 'a'}", "{id: 'a'}", NULL);
        assert_int_equal(run(f, TABLE_EXECUTE), TABLE_DONE);
    }
    pass_minutes(f, 10);
    assert_int_equal(run(f, TABLE_EXECUTE), TABLE_ALREADY);
    pass_minutes(f, 2);
    look_open(f);
    assert_false(f->reply->has_records);
    assert_int_equal(fake_state_count(f->state), 2); /* the row, the count of minutes */
    assert_int_equal(run(f, TABLE_EXECUTE), TABLE_DONE);
}

static void trim__clock_is_far_ahead__one_minute_at_most_has_passed(void **state)
{
    struct fixture *f = *state;

    begin(f, "", "token");
    add_put(f, "{id: 'a'}", "{id: 'a'}", NULL);
    assert_int_equal(run(f, TABLE_EXECUTE), TABLE_DONE);

    f->wall_ms += 1000 * MINUTE_MS;
    pass_minutes(f, 5);
    f->wall_ms -= 1000 * MINUTE_MS;
    pass_minutes(f, 5);

    assert_int_equal(run(f, TABLE_EXECUTE), TABLE_ALREADY);
}

static void trim__commit_that_nobody_finished__stays_until_it_is_told_of(void **state)
{
    struct fixture *f = *state;
    uint32_t shards[] = {4, 2};

    begin(f, "attempt attempt1", "token");
    f->transaction.shards = shards;
    f->transaction.n_shards = 2;
    assert_int_equal(decide(f, true), TABLE_DONE);
    look_open(f);
    assert_int_equal(f->reply->n_left, 0); /* it may be at work */
    pass_minutes(f, 30);

    look_open(f);
    assert_int_equal(f->reply->n_left, 1);
    assert_int_equal(f->reply->left[0]->n_shards, 2);
    assert_int_equal(f->reply->left[0]->shards[0], 4);
    assert_int_equal(decide(f, false), TABLE_DONE); /* still committed */

    f->transaction.n_shards = 0;
    f->transaction.n_finished = 1;
    f->transaction.finished = &f->transaction.attempt;
    assert_int_equal(run(f, TABLE_FORGET), TABLE_DONE);
    pass_minutes(f, 12);
    look_open(f);
    assert_int_equal(f->reply->n_left, 0);
    assert_false(f->reply->has_records);
    assert_int_equal(fake_state_count(f->state), 1);
}

static void decide__others_are_finished__they_are_forgotten(void **state)
{
    struct fixture *f = *state;
    ProtobufCBinaryData finished = bytes_of(slice_text("attempt attempt1"));

    begin(f, "attempt attempt1", NULL);
    assert_int_equal(decide(f, true), TABLE_DONE);
    assert_int_equal(fake_state_count(f->state), 2); /* it, and its age */

    begin(f, "attempt attempt2", NULL);
    f->transaction.finished = &finished;
    f->transaction.n_finished = 1;
    assert_int_equal(decide(f, true), TABLE_DONE);
    assert_int_equal(fake_state_count(f->state), 2);
}

static void get_many__rows_of_one_moment__with_locks_told(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableQuery many = SKEIN__WIRE__TABLE_QUERY__INIT;
    Skein__Wire__TableQuery gets[3];
    Skein__Wire__TableQuery *list[3];
    static const char *const keys[] = {"{id: 'a'}", "{id: 'b'}", "{id: 'c'}"};
    uint64_t changed;

    prepare_one(f);
    many.kind = TABLE_GET_MANY;
    many.gets = list;
    many.n_gets = 3;
    for (int i = 0; i < 3; i++) {
        skein__wire__table_query__init(&gets[i]);
        gets[i].key = bytes_of(key_of(f, keys[i]));
        list[i] = &gets[i];
    }
    query(f, &many);
    assert_int_equal(f->reply->n_parts, 3);
    assert_int_equal(f->reply->parts[0]->outcome, TABLE_LOCKED);
    assert_int_equal(f->reply->parts[1]->outcome, TABLE_DONE);
    assert_false(f->reply->parts[1]->has_item);
    assert_int_equal(f->reply->parts[2]->outcome, TABLE_LOCKED);
    changed = f->reply->parts[0]->changed;

    assert_int_equal(finish(f, true), TABLE_DONE);
    query(f, &many);
    assert_int_equal(f->reply->parts[0]->outcome, TABLE_DONE);
    assert_true(f->reply->parts[0]->has_item);
    assert_true(f->reply->parts[0]->changed > changed);
}

static void apply__malformed__changes_nothing(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;

    for (int kind = TABLE_EXECUTE; kind <= TABLE_FORGET; kind++) {
        command.transaction = NULL;
        assert_int_equal(apply(f, (enum table_command_kind)kind, &command), TABLE_MALFORMED);
    }
    begin(f, "short", NULL);
    assert_int_equal(run(f, TABLE_PREPARE), TABLE_MALFORMED);
    assert_int_equal(run(f, TABLE_DECIDE), TABLE_MALFORMED);
    assert_int_equal(run(f, TABLE_FINISH), TABLE_MALFORMED);
    assert_int_equal(run(f, TABLE_CLAIM), TABLE_MALFORMED); /* no token */
    begin(f, "attempt attempt1", NULL);
    assert_int_equal(run(f, TABLE_EXECUTE), TABLE_MALFORMED); /* no actions */
    add(f, TABLE_DROP, "{id: 'a'}", NULL);
    assert_int_equal(run(f, TABLE_PREPARE), TABLE_MALFORMED);
    assert_int_equal(fake_state_count(f->state), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(execute__all_conditions_hold__all_take_place),
        TEST(execute__one_condition_fails__each_part_tells_and_nothing_changes),
        TEST(execute__token_again__once_and_only_with_the_same_digest),
        TEST(claim__then_execute__is_done_once),
        TEST(prepare__until_it_is_finished__others_keep_off_and_readers_see_the_old),
        TEST(prepare__same_token_meets_itself__is_told),
        TEST(finish__again_or_of_the_unknown__changes_nothing),
        TEST(finish__undone__leaves_nothing),
        TEST(prepare__after_its_undo__is_open_until_somebody_asks),
        TEST(prepare__the_same_command_again__is_done_once),
        TEST(decide__whoever_is_first__stays),
        TEST(decide__token_was_done__tells_by_which_attempt),
        TEST(trim__ten_minutes_passed__tokens_are_new_again),
        TEST(trim__clock_is_far_ahead__one_minute_at_most_has_passed),
        TEST(trim__commit_that_nobody_finished__stays_until_it_is_told_of),
        TEST(decide__others_are_finished__they_are_forgotten),
        TEST(get_many__rows_of_one_moment__with_locks_told),
        TEST(apply__malformed__changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
