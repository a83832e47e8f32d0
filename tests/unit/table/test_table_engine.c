#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/table/item_update.h"
#include "node/table/table_engine.h"
#include "node/table/table_key.h"
#include "proto/base/check.h"
#include "proto/base/rng.h"
#include "proto/wire/table.pb-c.h"
#include "tests/lib/fake_state.h"
#include "tests/unit/table/table_fixture.h"

#include <stdio.h>

static const uint8_t orders[TABLE_ID_BYTES] = "orders orders 1";
static const uint8_t others[TABLE_ID_BYTES] = "orders orders 2";

static const struct table_schema schema = {
    {{{(const uint8_t *)"id", 2}, ITEM_S}, {{(const uint8_t *)"at", 2}, ITEM_N}}, 2};

static const char *const bindings[] = {":one=1", ":new='NEW'", ":paid='PAID'",
                                       ":x='x'", "#at=at",     NULL};

struct fixture {
    struct shard_state *state;
    struct arena arena;
    Skein__Wire__TableReply *reply; /* to the last command or query */
    struct buffer text;
};

static int set_up(void **state)
{
    struct fixture *f = check_calloc(1, sizeof(*f));

    f->state = fake_state_new();
    fake_state_set_forget(f->state, table_engine.forget);
    buffer_init(&f->text, BUFFER_UNLIMITED);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    fake_state_free(f->state);
    arena_close(&f->arena);
    skein__wire__table_reply__free_unpacked(f->reply, NULL);
    buffer_close(&f->text);
    free(f);
    return 0;
}

static ProtobufCBinaryData field_of(struct slice bytes)
{
    return (ProtobufCBinaryData){bytes.size, (uint8_t *)(uintptr_t)bytes.data};
}

static struct slice item_of(struct fixture *f, const char *text)
{
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);

    fixture_put_item(&item, text);
    return arena_copy(&f->arena, buffer_slice(&item));
}

static struct slice key_of(struct fixture *f, const uint8_t *table, const char *text)
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
    return field_of(arena_copy(&f->arena, buffer_slice(&encoded)));
}

static ProtobufCBinaryData update_of(struct fixture *f, const char *text)
{
    struct expression_source source = fixture_source(&f->arena, bindings);
    AUTO(buffer) encoded = BUFFER_INIT(BUFFER_UNLIMITED);
    struct item_update update;

    if (expression_parse_update(&source, slice_text(text), &update) != OK)
        fail_msg("%s: %s", text, source.why);
    item_update_put(&encoded, &update);
    return field_of(arena_copy(&f->arena, buffer_slice(&encoded)));
}

static ProtobufCBinaryData paths_of(struct fixture *f, const char *text)
{
    struct expression_source source = fixture_source(&f->arena, bindings);
    AUTO(buffer) encoded = BUFFER_INIT(BUFFER_UNLIMITED);
    struct expression_paths paths;

    assert_int_equal(expression_parse_projection(&source, slice_text(text), &paths), OK);
    expression_put_paths(&encoded, &paths);
    return field_of(arena_copy(&f->arena, buffer_slice(&encoded)));
}

static void take_reply(struct fixture *f, const struct buffer *reply)
{
    skein__wire__table_reply__free_unpacked(f->reply, NULL);
    f->reply = skein__wire__table_reply__unpack(NULL, reply->size, reply->data);
    assert_non_null(f->reply);
}

static enum table_outcome apply(struct fixture *f, const Skein__Wire__TableCommand *command)
{
    const struct shard_moment moment = {.index = 1};
    AUTO(buffer) packed = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) reply = BUFFER_INIT(BUFFER_UNLIMITED);

    assert_int_equal(buffer_reserve(&packed, skein__wire__table_command__get_packed_size(command)),
                     OK);
    packed.size = skein__wire__table_command__pack(command, packed.data);
    table_engine.apply(f->state, &moment, buffer_slice(&packed), &reply);
    take_reply(f, &reply);
    return (enum table_outcome)f->reply->outcome;
}

static enum table_outcome query(struct fixture *f, const Skein__Wire__TableQuery *message)
{
    AUTO(buffer) packed = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) reply = BUFFER_INIT(BUFFER_UNLIMITED);

    assert_int_equal(buffer_reserve(&packed, skein__wire__table_query__get_packed_size(message)),
                     OK);
    packed.size = skein__wire__table_query__pack(message, packed.data);
    table_engine.read(f->state, buffer_slice(&packed), &reply);
    take_reply(f, &reply);
    return (enum table_outcome)f->reply->outcome;
}

/* The item of the last reply; "" when there is none. */
static const char *replied(struct fixture *f)
{
    buffer_clear(&f->text);
    if (f->reply->has_item)
        fixture_write_item(&f->text, slice_of(f->reply->item.data, f->reply->item.len));
    return buffer_text(&f->text);
}

static Skein__Wire__TableCommand command_of(struct fixture *f, enum table_command_kind kind,
                                            const char *item)
{
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;

    command.kind = kind;
    command.key = field_of(key_of(f, orders, item));
    if (kind != TABLE_DELETE)
        command.item = field_of(item_of(f, item));
    command.may_create = kind == TABLE_UPDATE;
    return command;
}

static void put(struct fixture *f, const char *item)
{
    Skein__Wire__TableCommand command = command_of(f, TABLE_PUT, item);

    assert_int_equal(apply(f, &command), TABLE_DONE);
}

static const char *get(struct fixture *f, const char *key, const char *projection)
{
    Skein__Wire__TableQuery message = SKEIN__WIRE__TABLE_QUERY__INIT;

    message.kind = TABLE_GET;
    message.key = field_of(key_of(f, orders, key));
    if (projection != NULL)
        message.projection = paths_of(f, projection);
    assert_int_equal(query(f, &message), TABLE_DONE);
    return replied(f);
}

/* ---- one row ---- */

static void table_put__then_get__the_item(void **state)
{
    struct fixture *f = *state;

    put(f, "{id: 'o1', at: 1, v: 'a'}");
    put(f, "{id: 'o1', at: 2, v: 'b'}");
    put(f, "{id: 'o1', at: 1, v: 'c'}");

    assert_string_equal(get(f, "{id: 'o1', at: 1}", NULL), "{at: 1, id: 'o1', v: 'c'}");
    assert_string_equal(get(f, "{id: 'o1', at: 2}", "v, w"), "{v: 'b'}");
    assert_string_equal(get(f, "{id: 'o1', at: 2}", "w"), "{}");
    assert_string_equal(get(f, "{id: 'o1', at: 3}", NULL), "");
    assert_int_equal(fake_state_count(f->state), 2);
}

static void table_put__all_old_and_sizes__told(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableCommand command = command_of(f, TABLE_PUT, "{id: 'o', at: 1, v: 'long'}");

    command.returns = TABLE_RETURNS_ALL_OLD;
    command.wants_sizes = true;
    assert_int_equal(apply(f, &command), TABLE_DONE);
    assert_string_equal(replied(f), "");
    assert_int_equal(f->reply->old_bytes, 0);
    assert_int_equal(f->reply->new_bytes, 2 + 1 + 2 + 2 + 1 + 4);

    command.item = field_of(item_of(f, "{id: 'o', at: 1}"));
    assert_int_equal(apply(f, &command), TABLE_DONE);
    assert_string_equal(replied(f), "{at: 1, id: 'o', v: 'long'}");
    assert_int_equal(f->reply->old_bytes, 12);
    assert_int_equal(f->reply->new_bytes, 7);
}

static void table_put__if_absent_twice__the_second_changes_nothing(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableCommand command = command_of(f, TABLE_PUT, "{id: 'o', at: 1, by: 'first'}");

    command.condition = condition_of(f, "attribute_not_exists(id)");
    assert_int_equal(apply(f, &command), TABLE_DONE);
    command.item = field_of(item_of(f, "{id: 'o', at: 1, by: 'second'}"));
    assert_int_equal(apply(f, &command), TABLE_CONDITION_FAILED);
    assert_string_equal(replied(f), "");
    command.returns_on_failure = true;
    assert_int_equal(apply(f, &command), TABLE_CONDITION_FAILED);
    assert_string_equal(replied(f), "{at: 1, by: 'first', id: 'o'}");

    assert_string_equal(get(f, "{id: 'o', at: 1}", NULL), "{at: 1, by: 'first', id: 'o'}");
}

static void table_delete__there_or_not__done_and_all_old(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableCommand command;

    put(f, "{id: 'o', at: 1, v: 1}");
    command = command_of(f, TABLE_DELETE, "{id: 'o', at: 1}");
    command.returns = TABLE_RETURNS_ALL_OLD;
    command.condition = condition_of(f, "v = :x");
    assert_int_equal(apply(f, &command), TABLE_CONDITION_FAILED);
    command.condition = condition_of(f, "v = :one");
    assert_int_equal(apply(f, &command), TABLE_DONE);
    assert_string_equal(replied(f), "{at: 1, id: 'o', v: 1}");
    command.condition = (ProtobufCBinaryData){0};
    assert_int_equal(apply(f, &command), TABLE_DONE);
    assert_string_equal(replied(f), "");
    assert_int_equal(fake_state_count(f->state), 0);
}

static void table_update__returns__each_form(void **state)
{
    static const struct {
        enum table_returns returns;
        const char *reply;
    } cases[] = {
        {TABLE_RETURNS_NONE, ""},
        {TABLE_RETURNS_ALL_OLD, "{at: 1, id: 'o', m: {a: 1, b: 2}, n: 1}"},
        {TABLE_RETURNS_ALL_NEW, "{at: 1, id: 'o', m: {a: 2, b: 2}, n: 2, z: 'x'}"},
        {TABLE_RETURNS_UPDATED_OLD, "{m: {a: 1}, n: 1}"},
        {TABLE_RETURNS_UPDATED_NEW, "{m: {a: 2}, n: 2, z: 'x'}"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        Skein__Wire__TableCommand command;

        put(f, "{id: 'o', at: 1, n: 1, m: {a: 1, b: 2}}");
        command = command_of(f, TABLE_UPDATE, "{id: 'o', at: 1}");
        command.update = update_of(f, "SET n = n + :one, m.a = m.b, z = :x");
        command.returns = cases[i].returns;
        assert_int_equal(apply(f, &command), TABLE_DONE);
        assert_string_equal(replied(f), cases[i].reply);
    }
}

static void table_update__no_item__created_only_when_it_may(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableCommand command = command_of(f, TABLE_UPDATE, "{id: 'o', at: 1}");

    command.update = update_of(f, "REMOVE v");
    command.may_create = false;
    command.returns = TABLE_RETURNS_ALL_NEW;
    assert_int_equal(apply(f, &command), TABLE_DONE);
    assert_int_equal(fake_state_count(f->state), 0);
    command.update = update_of(f, "SET v = :x");
    command.may_create = true;
    assert_int_equal(apply(f, &command), TABLE_DONE);
    assert_string_equal(replied(f), "{at: 1, id: 'o', v: 'x'}");
    command.update = update_of(f, "SET v = v + :one");
    assert_int_equal(apply(f, &command), TABLE_UPDATE_FAULT + (int)ITEM_UPDATE_WRONG_TYPE);
    assert_string_equal(get(f, "{id: 'o', at: 1}", "v"), "{v: 'x'}");
}

static void table_update__condition__decided_by_the_row(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableCommand command;

    put(f, "{id: 'o', at: 1, s: 'NEW'}");
    command = command_of(f, TABLE_UPDATE, "{id: 'o', at: 1}");
    command.update = update_of(f, "SET s = :paid");
    command.condition = condition_of(f, "s = :new");
    assert_int_equal(apply(f, &command), TABLE_DONE);
    assert_int_equal(apply(f, &command), TABLE_CONDITION_FAILED);
    assert_string_equal(get(f, "{id: 'o', at: 1}", "s"), "{s: 'PAID'}");
}

/* ---- ranges ---- */

static void put_rows(struct fixture *f, int count)
{
    char text[96];

    for (int i = 0; i < count; i++) {
        (void)snprintf(text, sizeof(text), "{id: '%c', at: %d, odd: %s}", 'a' + i % 2, i,
                       i % 2 != 0 ? "true" : "false");
        put(f, text);
    }
}

static Skein__Wire__TableQuery range_of(struct fixture *f, const uint8_t *table)
{
    Skein__Wire__TableQuery message = SKEIN__WIRE__TABLE_QUERY__INIT;
    AUTO(buffer) key = BUFFER_INIT(BUFFER_UNLIMITED);

    message.kind = TABLE_RANGE;
    table_key_put_table(&key, table);
    message.key = field_of(arena_copy(&f->arena, buffer_slice(&key)));
    table_key_after_prefix(&key);
    message.end = field_of(arena_copy(&f->arena, buffer_slice(&key)));
    message.bytes_limit = TABLE_PAGE_BYTES_MAX;
    message.position_paths = paths_of(f, "id, #at");
    return message;
}

/* "at" of every row of the reply: "0 2 4 ". */
static const char *rows(struct fixture *f)
{
    struct reader reader = reader_of(slice_of(f->reply->rows.data, f->reply->rows.len));

    buffer_clear(&f->text);
    while (reader.rest.size > 0) {
        uint32_t size = reader_u32(&reader);
        struct item_value root = item_root(reader_bytes(&reader, size));
        struct item_value at;
        struct number number;
        char digits[NUMBER_TEXT_BYTES];

        assert_true(item_find(&root, SLICE_LITERAL("at"), &at));
        assert_int_equal(number_unpack(at.bytes, &number), OK);
        number_text(&number, digits);
        buffer_putf(&f->text, "%s ", digits);
    }
    return buffer_text(&f->text);
}

static const char *position(struct fixture *f)
{
    buffer_clear(&f->text);
    if (f->reply->position.len > 0)
        fixture_write_item(&f->text, slice_of(f->reply->position.data, f->reply->position.len));
    return buffer_text(&f->text);
}

static void table_range__pages__every_row_once_in_order(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableQuery message;
    AUTO(buffer) seen = BUFFER_INIT(BUFFER_UNLIMITED);
    int pages = 0;

    put_rows(f, 11);
    message = range_of(f, orders);
    message.row_limit = 3;
    do {
        AUTO(buffer) next = BUFFER_INIT(BUFFER_UNLIMITED);

        assert_int_equal(query(f, &message), TABLE_DONE);
        buffer_put_text(&seen, rows(f));
        pages++;
        if (!f->reply->has_more)
            break;
        buffer_put_slice(&next, key_of(f, orders, position(f)));
        buffer_put_u8(&next, 0);
        message.key = field_of(arena_copy(&f->arena, buffer_slice(&next)));
    } while (pages < 20);

    assert_string_equal(buffer_text(&seen), "0 2 4 6 8 10 1 3 5 7 9 ");
    assert_int_equal(pages, 4);
}

static void table_range__backward_part_of_a_partition(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableQuery message;

    put_rows(f, 11);
    message = range_of(f, orders);
    message.key = field_of(key_of(f, orders, "{id: 'a', at: 2}"));
    message.end = field_of(key_of(f, orders, "{id: 'a', at: 8}"));
    message.is_backward = true;
    message.row_limit = 2;
    assert_int_equal(query(f, &message), TABLE_DONE);
    assert_string_equal(rows(f), "6 4 ");
    assert_string_equal(position(f), "{at: 4, id: 'a'}");
    message.end = field_of(key_of(f, orders, position(f)));
    assert_int_equal(query(f, &message), TABLE_DONE);
    assert_string_equal(rows(f), "2 ");
    assert_false(f->reply->has_more);
}

static void table_range__filter_and_count__looked_at_and_passed(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableQuery message;

    put_rows(f, 11);
    message = range_of(f, orders);
    message.filter = condition_of(f, "#at < :one OR id = :x");
    assert_int_equal(query(f, &message), TABLE_DONE);
    assert_int_equal(f->reply->scanned, 11);
    assert_int_equal(f->reply->count, 1);
    assert_int_equal(f->reply->scanned_bytes, 11 * (2 + 1 + 2 + 2 + 3 + 1) - 1);
    message.count_only = true;
    message.row_limit = 4;
    assert_int_equal(query(f, &message), TABLE_DONE);
    assert_int_equal(f->reply->rows.len, 0);
    assert_int_equal(f->reply->count, 1);
    assert_int_equal(f->reply->scanned, 4);
    assert_string_equal(position(f), "{at: 6, id: 'a'}");
}

static void table_range__bytes_limit__page_ends_before_it_but_has_one_row(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableQuery message;

    put_rows(f, 11);
    message = range_of(f, orders);
    message.bytes_limit = 33;
    assert_int_equal(query(f, &message), TABLE_DONE);
    assert_int_equal(f->reply->scanned, 3);
    assert_true(f->reply->has_more);
    message.bytes_limit = 1;
    assert_int_equal(query(f, &message), TABLE_DONE);
    assert_int_equal(f->reply->scanned, 1);
}

static void table_range__limit_met_at_the_last_row__more_is_told(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableQuery message;

    put_rows(f, 4);
    message = range_of(f, orders);
    message.row_limit = 4;
    assert_int_equal(query(f, &message), TABLE_DONE);
    assert_true(f->reply->has_more);
    message.row_limit = 5;
    assert_int_equal(query(f, &message), TABLE_DONE);
    assert_false(f->reply->has_more);
}

/* ---- drop ---- */

static void table_drop__pieces__only_this_table(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;
    Skein__Wire__TableCommand other = command_of(f, TABLE_PUT, "{id: 'o', at: 1}");
    Skein__Wire__TableQuery message;

    put_rows(f, 7);
    other.key = field_of(key_of(f, others, "{id: 'o', at: 1}"));
    assert_int_equal(apply(f, &other), TABLE_DONE);
    message = range_of(f, orders);
    command.kind = TABLE_DROP;
    command.key = message.key;
    command.row_limit = 3;
    assert_int_equal(apply(f, &command), TABLE_DONE);
    assert_true(f->reply->has_more);
    assert_int_equal(f->reply->scanned, 3);
    assert_int_equal(apply(f, &command), TABLE_DONE);
    assert_int_equal(apply(f, &command), TABLE_DONE);
    assert_false(f->reply->has_more);
    assert_int_equal(apply(f, &command), TABLE_DONE);

    assert_int_equal(fake_state_count(f->state), 1);
}

/* ---- local indexes ---- */

static Skein__Wire__TableAttribute by_n = {
    PROTOBUF_C_MESSAGE_INIT(&skein__wire__table_attribute__descriptor), "n", ITEM_N};
static Skein__Wire__TableAttribute *sorts[] = {&by_n};

static enum table_outcome apply_indexed(struct fixture *f, Skein__Wire__TableCommand *command)
{
    command->n_index_sorts = ARRAY_COUNT(sorts);
    command->index_sorts = sorts;
    command->hash_bytes = 3; /* "o", and its end */
    return apply(f, command);
}

static void table_index__row_changes__index_row_follows(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableCommand command = command_of(f, TABLE_PUT, "{id: 'o', at: 1, n: 5}");

    assert_int_equal(apply_indexed(f, &command), TABLE_DONE);
    assert_int_equal(fake_state_count(f->state), 2);
    command = command_of(f, TABLE_PUT, "{id: 'o', at: 1, n: 6}");
    assert_int_equal(apply_indexed(f, &command), TABLE_DONE);
    assert_int_equal(fake_state_count(f->state), 2);
    command = command_of(f, TABLE_PUT, "{id: 'o', at: 1}");
    assert_int_equal(apply_indexed(f, &command), TABLE_DONE);
    assert_int_equal(fake_state_count(f->state), 1);
    command = command_of(f, TABLE_PUT, "{id: 'o', at: 1, n: 'text'}");
    assert_int_equal(apply_indexed(f, &command), TABLE_INDEX_TYPE);
    command = command_of(f, TABLE_PUT, "{id: 'o', at: 1, n: 7}");
    assert_int_equal(apply_indexed(f, &command), TABLE_DONE);
    command = command_of(f, TABLE_DELETE, "{id: 'o', at: 1}");
    assert_int_equal(apply_indexed(f, &command), TABLE_DONE);
    assert_int_equal(fake_state_count(f->state), 0);
}

static void table_drop__index_rows__go_too(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableCommand command = command_of(f, TABLE_PUT, "{id: 'o', at: 1, n: 5}");
    Skein__Wire__TableCommand drop = SKEIN__WIRE__TABLE_COMMAND__INIT;

    assert_int_equal(apply_indexed(f, &command), TABLE_DONE);
    drop.kind = TABLE_DROP;
    drop.key = range_of(f, orders).key;
    drop.row_limit = 1;
    assert_int_equal(apply(f, &drop), TABLE_DONE);
    assert_true(f->reply->has_more);
    assert_int_equal(apply(f, &drop), TABLE_DONE);
    assert_false(f->reply->has_more);
    assert_int_equal(fake_state_count(f->state), 0);
}

/* ---- bad input ---- */

static void table_engine__damaged_commands__an_error_reply_and_no_crash(void **state)
{
    struct fixture *f = *state;
    const struct shard_moment moment = {.index = 1};
    Skein__Wire__TableCommand command = command_of(f, TABLE_UPDATE, "{id: 'o', at: 1, l: ['a']}");
    AUTO(buffer) packed = BUFFER_INIT(BUFFER_UNLIMITED);
    struct rng rng;

    command.update = update_of(f, "SET l[0] = :x ADD n :one");
    command.condition = condition_of(f, "attribute_not_exists(id) OR size(l) > :one");
    command.returns = TABLE_RETURNS_UPDATED_NEW;
    assert_int_equal(buffer_reserve(&packed, skein__wire__table_command__get_packed_size(&command)),
                     OK);
    packed.size = skein__wire__table_command__pack(&command, packed.data);
    rng_init(&rng, 12);
    for (int i = 0; i < 20000; i++) {
        AUTO(buffer) reply = BUFFER_INIT(BUFFER_UNLIMITED);
        uint8_t *exact = check_malloc(packed.size);

        memcpy(exact, packed.data, packed.size);
        exact[rng_below(&rng, packed.size)] ^= (uint8_t)(1u << rng_below(&rng, 8));
        table_engine.apply(f->state, &moment, slice_of(exact, packed.size), &reply);
        take_reply(f, &reply);
        free(exact);
    }
}

static void table_engine__damaged_row__told_and_left_alone(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__TableQuery message = SKEIN__WIRE__TABLE_QUERY__INIT;
    Skein__Wire__TableCommand command = command_of(f, TABLE_PUT, "{id: 'o', at: 1}");

    shard_put(f->state, key_of(f, orders, "{id: 'o', at: 1}"), SLICE_LITERAL("\x01\x09garbage"));
    message.kind = TABLE_GET;
    message.key = command.key;
    assert_int_equal(query(f, &message), TABLE_CORRUPT);
    command.condition = condition_of(f, "attribute_not_exists(id)");
    assert_int_equal(apply(f, &command), TABLE_CORRUPT);
    message = range_of(f, orders);
    assert_int_equal(query(f, &message), TABLE_CORRUPT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(table_put__then_get__the_item),
        TEST(table_put__all_old_and_sizes__told),
        TEST(table_put__if_absent_twice__the_second_changes_nothing),
        TEST(table_delete__there_or_not__done_and_all_old),
        TEST(table_update__returns__each_form),
        TEST(table_update__no_item__created_only_when_it_may),
        TEST(table_update__condition__decided_by_the_row),
        TEST(table_range__pages__every_row_once_in_order),
        TEST(table_range__backward_part_of_a_partition),
        TEST(table_range__filter_and_count__looked_at_and_passed),
        TEST(table_range__bytes_limit__page_ends_before_it_but_has_one_row),
        TEST(table_range__limit_met_at_the_last_row__more_is_told),
        TEST(table_drop__pieces__only_this_table),
        TEST(table_index__row_changes__index_row_follows),
        TEST(table_drop__index_rows__go_too),
        TEST(table_engine__damaged_commands__an_error_reply_and_no_crash),
        TEST(table_engine__damaged_row__told_and_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
