#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/shard/shard_choice.h"
#include "node/table/table_engine.h"
#include "node/table/table_key.h"
#include "proto/base/check.h"
#include "proto/base/rng.h"
#include "proto/wire/table.pb-c.h"
#include "tests/lib/fake_state.h"
#include "tests/unit/table/table_fixture.h"

#include <stdio.h>

/* A few shards whose outboxes the test carries itself: late, twice, in any order. */

#define SHARDS 3u
#define LATE_MAX 64u

static const uint8_t table[TABLE_ID_BYTES] = "orders orders 1";

static const struct table_schema schema = {{{{(const uint8_t *)"id", 2}, ITEM_S}}, 1};

struct batch { /* that left a source, and may come again at any time */
    struct buffer entries;
    uint32_t source;
    uint32_t target;
};

struct fixture {
    struct shard_state *shards[SHARDS];
    struct arena arena;
    struct rng rng;
    uint64_t epoch; /* of the commands */
    bool has_index;
    struct batch late[LATE_MAX];
    size_t late_count;
    Skein__Wire__TableReply *reply;
};

static int set_up(void **state)
{
    struct fixture *f = check_calloc(1, sizeof(*f));

    for (uint32_t i = 0; i < SHARDS; i++) {
        f->shards[i] = fake_state_new();
        fake_state_set_forget(f->shards[i], table_engine.forget);
    }
    arena_init(&f->arena);
    rng_init(&f->rng, 7);
    f->epoch = 1;
    f->has_index = true;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    for (uint32_t i = 0; i < SHARDS; i++)
        fake_state_free(f->shards[i]);
    for (size_t i = 0; i < f->late_count; i++)
        buffer_close(&f->late[i].entries);
    skein__wire__table_reply__free_unpacked(f->reply, NULL);
    arena_close(&f->arena);
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

static enum table_outcome apply(struct fixture *f, uint32_t shard,
                                const Skein__Wire__TableCommand *command)
{
    const struct shard_moment moment = {.index = 1};
    AUTO(buffer) packed = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) reply = BUFFER_INIT(BUFFER_UNLIMITED);

    assert_int_equal(buffer_reserve(&packed, skein__wire__table_command__get_packed_size(command)),
                     OK);
    packed.size = skein__wire__table_command__pack(command, packed.data);
    fake_state_begin_command(f->shards[shard]);
    table_engine.apply(f->shards[shard], &moment, buffer_slice(&packed), &reply);
    skein__wire__table_reply__free_unpacked(f->reply, NULL);
    f->reply = skein__wire__table_reply__unpack(NULL, reply.size, reply.data);
    assert_non_null(f->reply);
    return (enum table_outcome)f->reply->outcome;
}

static void query(struct fixture *f, uint32_t shard, const Skein__Wire__TableQuery *message)
{
    AUTO(buffer) packed = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) reply = BUFFER_INIT(BUFFER_UNLIMITED);

    assert_int_equal(buffer_reserve(&packed, skein__wire__table_query__get_packed_size(message)),
                     OK);
    packed.size = skein__wire__table_query__pack(message, packed.data);
    fake_state_begin_command(f->shards[shard]);
    table_engine.read(f->shards[shard], buffer_slice(&packed), &reply);
    skein__wire__table_reply__free_unpacked(f->reply, NULL);
    f->reply = skein__wire__table_reply__unpack(NULL, reply.size, reply.data);
    assert_int_equal(f->reply->outcome, TABLE_DONE);
}

/* ---- commands ---- */

static void put_indexes(struct fixture *f, Skein__Wire__TableCommand *command)
{
    Skein__Wire__TableAttribute owner = SKEIN__WIRE__TABLE_ATTRIBUTE__INIT;
    Skein__Wire__TableAttribute at = SKEIN__WIRE__TABLE_ATTRIBUTE__INIT;
    Skein__Wire__TableAttribute *keys[] = {&owner, &at};
    Skein__Wire__TableGlobalIndex index = SKEIN__WIRE__TABLE_GLOBAL_INDEX__INIT;
    Skein__Wire__TableGlobalIndex *indexes[] = {&index};
    Skein__Wire__TableIndexes message = SKEIN__WIRE__TABLE_INDEXES__INIT;
    char *names[] = {"id"};
    uint8_t packed[128];

    owner.name = "owner";
    owner.type = ITEM_S;
    at.name = "at";
    at.type = ITEM_N;
    index.name = "byOwner";
    index.keys = keys;
    index.n_keys = 2;
    index.projection = TABLE_PROJECTION_KEYS_ONLY;
    message.epoch = f->epoch;
    message.shard_count = SHARDS;
    message.number_next = 1;
    message.key_names = names;
    message.n_key_names = 1;
    message.indexes = indexes;
    message.n_indexes = f->has_index;
    command->index_epoch = f->epoch;
    command->indexes = field_of(arena_copy(
        &f->arena, slice_of(packed, skein__wire__table_indexes__pack(&message, packed))));
}

static uint32_t place(struct fixture *f, const char *item, Skein__Wire__TableCommand *command)
{
    AUTO(buffer) key = BUFFER_INIT(BUFFER_UNLIMITED);
    struct item_value attributes = item_root(item_of(f, item));
    struct slice hash_part;
    uint32_t shard;

    table_key_put_row(&key, table, &schema, &attributes, &hash_part);
    shard = shard_choice(SHARDS, slice_of(table, TABLE_ID_BYTES), hash_part);
    command->key = field_of(arena_copy(&f->arena, buffer_slice(&key)));
    return shard;
}

static enum table_outcome change(struct fixture *f, enum table_command_kind kind, const char *item)
{
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;
    uint32_t shard = place(f, item, &command);

    command.kind = kind;
    if (kind == TABLE_PUT)
        command.item = field_of(item_of(f, item));
    if (f->epoch > 0)
        put_indexes(f, &command);
    command.wants_sizes = true;
    return apply(f, shard, &command);
}

static void about_index(struct fixture *f, enum table_command_kind kind, uint32_t rows)
{
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        AUTO(buffer) key = BUFFER_INIT(BUFFER_UNLIMITED);
        bool has_more = true;

        table_key_put_table(&key, table);
        while (has_more) {
            Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;

            command.kind = kind;
            command.key = field_of(buffer_slice(&key));
            command.row_limit = rows;
            put_indexes(f, &command);
            assert_int_equal(apply(f, shard, &command), TABLE_DONE);
            has_more = f->reply->has_more;
            if (kind == TABLE_BACKFILL && has_more) {
                buffer_clear(&key);
                buffer_put(&key, f->reply->position.data, f->reply->position.len);
            }
        }
    }
}

/* ---- carrying ---- */

static void deliver(struct fixture *f, const struct batch *batch)
{
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;

    command.kind = TABLE_INDEX_ROWS;
    command.source = batch->source;
    command.entries = field_of(buffer_slice(&batch->entries));
    assert_int_equal(apply(f, batch->target, &command), TABLE_DONE);
}

static void trim(struct fixture *f, const struct batch *batch)
{
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;
    struct reader reader = reader_of(buffer_slice(&batch->entries));
    uint64_t sequences[256];

    command.kind = TABLE_INDEX_SENT;
    command.target = batch->target;
    command.sequences = sequences;
    while (reader.rest.size > 0) {
        sequences[command.n_sequences++] = reader_u64(&reader);
        (void)reader_bytes(&reader, reader_u32(&reader));
    }
    assert_int_equal(apply(f, batch->source, &command), TABLE_DONE);
}

/* The batches an outbox gives now; false when it is empty. */
static bool collect(struct fixture *f, uint32_t source, uint32_t rows, struct batch *batches,
                    size_t *count)
{
    Skein__Wire__TableQuery message = SKEIN__WIRE__TABLE_QUERY__INIT;
    struct reader reader;

    message.kind = TABLE_OUTBOX;
    message.row_limit = rows;
    message.bytes_limit = 1 << 20;
    query(f, source, &message);
    reader = reader_of(slice_of(f->reply->rows.data, f->reply->rows.len));
    *count = 0;
    while (reader.rest.size > 0) {
        struct batch *batch = &batches[(*count)++];

        *batch = (struct batch){BUFFER_INIT(BUFFER_UNLIMITED), source, reader_u32(&reader)};
        buffer_put_slice(&batch->entries, reader_bytes(&reader, reader_u32(&reader)));
    }
    return *count > 0;
}

/* Kept to come again later; the oldest that is kept gives way. */
static void keep(struct fixture *f, const struct batch *batch)
{
    size_t at = f->late_count < LATE_MAX ? f->late_count++ : rng_next(&f->rng) % LATE_MAX;

    buffer_close(&f->late[at].entries);
    f->late[at] = *batch;
}

/* One courier's round: any of the steps may be lost. */
static void carry_some(struct fixture *f)
{
    struct batch batches[SHARDS];
    size_t count;

    (void)collect(f, (uint32_t)(rng_next(&f->rng) % SHARDS), 1 + (uint32_t)(rng_next(&f->rng) % 5),
                  batches, &count);
    for (size_t i = 0; i < count; i++) {
        bool is_delivered = rng_next(&f->rng) % 4 > 0;

        if (is_delivered)
            deliver(f, &batches[i]);
        if (is_delivered && rng_next(&f->rng) % 3 > 0)
            trim(f, &batches[i]);
        keep(f, &batches[i]);
    }
    if (f->late_count > 0 && rng_next(&f->rng) % 2 > 0)
        deliver(f, &f->late[rng_next(&f->rng) % f->late_count]);
}

static void carry_all(struct fixture *f)
{
    struct batch batches[SHARDS];
    size_t count;

    for (uint32_t source = 0; source < SHARDS; source++)
        while (collect(f, source, 200, batches, &count))
            for (size_t i = 0; i < count; i++) {
                deliver(f, &batches[i]);
                trim(f, &batches[i]);
                buffer_close(&batches[i].entries);
            }
}

/* ---- looking ---- */

/* The rows whose keys begin so, over all shards, with a newline each. */
static void list_rows(struct fixture *f, struct slice prefix, bool only_indexed,
                      struct buffer *text)
{
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        struct shard_cursor *cursor;

        fake_state_begin_command(f->shards[shard]);
        cursor = shard_cursor_open(f->shards[shard]);
        for (shard_cursor_seek(cursor, prefix);
             shard_cursor_valid(cursor) && slice_starts_with(shard_cursor_key(cursor), prefix);
             shard_cursor_next(cursor)) {
            struct item_value attributes = item_root(shard_cursor_value(cursor));
            struct item_value id;
            struct item_value owner;
            struct item_value at;
            bool is_indexed = item_find(&attributes, slice_text("owner"), &owner) &&
                              item_find(&attributes, slice_text("at"), &at) && owner.type == ITEM_S;

            assert_true(item_find(&attributes, slice_text("id"), &id));
            if (only_indexed && !is_indexed)
                continue;
            assert_true(is_indexed);
            buffer_putf(text, "%.*s/%.*s/", (int)id.bytes.size, (const char *)id.bytes.data,
                        (int)owner.bytes.size, (const char *)owner.bytes.data);
            for (size_t i = 0; i < at.bytes.size; i++)
                buffer_putf(text, "%02x", at.bytes.data[i]);
            buffer_put_text(text, "\n");
        }
        shard_cursor_close(cursor);
    }
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static const char *sorted(struct fixture *f, struct buffer *text)
{
    char *lines[1024];
    size_t count = 0;
    char *rest = arena_text(&f->arena, buffer_slice(text));
    const char *all = "";

    for (char *line = strtok(rest, "\n"); line != NULL; line = strtok(NULL, "\n"))
        lines[count++] = line;
    qsort(lines, count, sizeof(*lines), compare_lines);
    for (size_t i = 0; i < count; i++)
        all = arena_printf(&f->arena, "%s%s\n", all, lines[i]);
    return all;
}

static const char *index_rows(struct fixture *f)
{
    AUTO(buffer) prefix = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    table_key_put_global(&prefix, table, 0);
    list_rows(f, buffer_slice(&prefix), false, &text);
    return sorted(f, &text);
}

static const char *table_rows(struct fixture *f)
{
    AUTO(buffer) prefix = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    table_key_put_table(&prefix, table);
    list_rows(f, buffer_slice(&prefix), true, &text);
    return sorted(f, &text);
}

static void change_any(struct fixture *f)
{
    unsigned id = (unsigned)(rng_next(&f->rng) % 12);
    unsigned owner = (unsigned)(rng_next(&f->rng) % 4);
    unsigned at = (unsigned)(rng_next(&f->rng) % 3);
    char item[96];

    switch (rng_next(&f->rng) % 5) {
    case 0:
        (void)snprintf(item, sizeof(item), "{id: 'i%u'}", id);
        assert_int_equal(change(f, TABLE_DELETE, item), TABLE_DONE);
        return;
    case 1: /* not in the index */
        (void)snprintf(item, sizeof(item), "{id: 'i%u', owner: 'o%u'}", id, owner);
        break;
    default:
        (void)snprintf(item, sizeof(item), "{id: 'i%u', owner: 'o%u', at: %u, v: %u}", id, owner,
                       at, (unsigned)(rng_next(&f->rng) % 2));
        break;
    }
    assert_int_equal(change(f, TABLE_PUT, item), TABLE_DONE);
}

/* ---- tests ---- */

static void table_global__batches_lost_late_and_repeated__index_equals_table(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 1500; round++) {
        change_any(f);
        if (rng_next(&f->rng) % 2 > 0)
            carry_some(f);
        if (rng_next(&f->rng) % 50 == 0)
            fake_state_forget(f->shards[rng_next(&f->rng) % SHARDS]);
        if (round % 100 != 99)
            continue;
        carry_all(f);
        assert_string_equal(index_rows(f), table_rows(f));
        for (size_t i = 0; i < f->late_count; i++)
            deliver(f, &f->late[i]);
        assert_string_equal(index_rows(f), table_rows(f));
    }
}

static void table_global__backfill_between_writes__index_equals_table(void **state)
{
    struct fixture *f = *state;

    f->epoch = 0;
    for (int i = 0; i < 40; i++)
        change_any(f);
    assert_int_equal(change(f, TABLE_PUT, "{id: 'unfit', owner: 7, at: 1}"), TABLE_DONE);
    f->epoch = 2;
    about_index(f, TABLE_BACKFILL, 3);
    f->epoch = 0; /* gateways that have not heard of it */
    for (int i = 0; i < 40; i++) {
        change_any(f);
        carry_some(f);
    }
    carry_all(f);

    assert_string_equal(index_rows(f), table_rows(f));
    assert_true(strlen(index_rows(f)) > 0);
}

static void table_global__unfit_keys__refused_and_nothing_changed(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(change(f, TABLE_PUT, "{id: 'a', owner: 7}"), TABLE_INDEX_TYPE);
    assert_int_equal(change(f, TABLE_PUT, "{id: 'a', at: 'x'}"), TABLE_INDEX_TYPE);
    assert_int_equal(change(f, TABLE_PUT, "{id: 'a', owner: '', at: 1}"), TABLE_INDEX_EMPTY);
    carry_all(f);

    assert_string_equal(table_rows(f), "");
    assert_string_equal(index_rows(f), "");
}

static void table_global__index_removed__late_rows_stay_away(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 30; i++) {
        change_any(f);
        carry_some(f);
    }
    f->epoch = 2;
    f->has_index = false;
    about_index(f, TABLE_DROP_INDEX, 4);
    carry_all(f);
    for (size_t i = 0; i < f->late_count; i++)
        deliver(f, &f->late[i]);
    f->epoch = 1; /* a gateway that has not heard of it */
    f->has_index = true;
    for (int i = 0; i < 10; i++)
        change_any(f);
    carry_all(f);

    assert_string_equal(index_rows(f), "");
}

static void table_global__table_dropped__nothing_is_left_of_it(void **state)
{
    struct fixture *f = *state;
    size_t left = 0;

    for (int i = 0; i < 30; i++)
        change_any(f);
    about_index(f, TABLE_DROP, 4);
    carry_all(f);
    for (uint32_t shard = 0; shard < SHARDS; shard++)
        left += fake_state_count(f->shards[shard]);

    assert_true(left <= SHARDS); /* the counts of the outboxes */
    assert_string_equal(table_rows(f), "");
}

static void table_global__sizes_wanted__units_of_each_index(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(change(f, TABLE_PUT, "{id: 'a', owner: 'o', at: 1}"), TABLE_DONE);
    assert_int_equal(f->reply->n_index_units, 1);
    assert_int_equal(f->reply->index_units[0], 1);
    assert_int_equal(change(f, TABLE_PUT, "{id: 'a', owner: 'o', at: 1, v: 1}"), TABLE_DONE);
    assert_int_equal(f->reply->n_index_units, 0); /* v is not in it */
    assert_int_equal(change(f, TABLE_PUT, "{id: 'a', owner: 'p', at: 1}"), TABLE_DONE);
    assert_int_equal(f->reply->index_units[0], 2); /* one row goes, one comes */
}

static void table_outbox__malformed_entries__refused(void **state)
{
    static const char *const bad[] = {"x", "12345678\x01\0\0\0z",
                                      "12345678\x06\0\0\0\x01\x01\0\0\0a"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;

        command.kind = TABLE_INDEX_ROWS;
        command.entries = field_of(slice_of(bad[i], i == 0 ? 1 : i == 1 ? 13 : 18));
        assert_int_equal(apply(f, 0, &command), TABLE_MALFORMED);
        assert_int_equal(fake_state_count(f->shards[0]), 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(table_global__batches_lost_late_and_repeated__index_equals_table),
        TEST(table_global__backfill_between_writes__index_equals_table),
        TEST(table_global__unfit_keys__refused_and_nothing_changed),
        TEST(table_global__index_removed__late_rows_stay_away),
        TEST(table_global__table_dropped__nothing_is_left_of_it),
        TEST(table_global__sizes_wanted__units_of_each_index),
        TEST(table_outbox__malformed_entries__refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
