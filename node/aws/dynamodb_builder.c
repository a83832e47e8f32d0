#include "node/aws/dynamodb_builder.h"

#include "node/aws/dynamodb_call.h"
#include "node/aws/dynamodb_drop.h"
#include "node/aws/dynamodb_global.h"
#include "node/table/table_engine.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

#define LOOK_US 20000u /* between looks for work */
#define DRAIN_US 5000u /* between looks whether an outbox has carried off a piece */
#define PIECE_ROWS 500
#define DEADLINE_MS 20000

/* One index at a time:
 *
 *   IDLE -> FILLING (a piece of a shard) <-> DRAINING (what it made)   -> COMMITTING -> IDLE
 *   IDLE -> EMPTYING (a piece of a shard, the next shard, ...)         -> COMMITTING -> IDLE
 *
 * What fails goes back to IDLE, and is found again. */
enum builder_state {
    BUILDER_IDLE,
    BUILDER_FILLING,
    BUILDER_DRAINING,
    BUILDER_EMPTYING,
    BUILDER_COMMITTING
};

struct dynamodb_builder {
    struct dynamodb *dynamodb;
    struct env *env;
    enum builder_state state;
    struct dynamodb_table *table; /* held; as it was when the work began */
    uint32_t number;              /* of the index */
    enum table_index_status status;
    uint32_t shard;
    struct buffer position; /* in the shard: where the next piece begins */
    bool is_shard_done;
    uint64_t sequence; /* what must leave the outbox */
    struct env_timer timer;
    struct shard_request request;
    struct view_update update;
};

static void look(struct env_timer *timer);
static void send_piece(struct dynamodb_builder *builder);
static void commit(struct dynamodb_builder *builder);

/* ---- what there is to do --------------------------------------------------------------------- */

static const Skein__Wire__TableGlobalIndex *find_work(const struct dynamodb_table *table)
{
    for (size_t i = 0; i < table->record->n_global_indexes; i++)
        if (table->record->global_indexes[i]->status != TABLE_INDEX_ACTIVE)
            return table->record->global_indexes[i];
    return NULL;
}

static void become_idle(struct dynamodb_builder *builder)
{
    dynamodb_table_release(builder->table);
    builder->table = NULL;
    builder->state = BUILDER_IDLE;
    env_timer_start(builder->env, &builder->timer, LOOK_US, look);
}

static void begin_shard(struct dynamodb_builder *builder)
{
    builder->is_shard_done = false;
    buffer_clear(&builder->position);
    table_key_put_table(&builder->position, builder->table->record->id.data);
    send_piece(builder);
}

static void begin(struct dynamodb_builder *builder, struct dynamodb_table *table,
                  const Skein__Wire__TableGlobalIndex *index)
{
    builder->table = dynamodb_table_hold(table);
    builder->number = index->number;
    builder->status = (enum table_index_status)index->status;
    builder->state = builder->status == TABLE_INDEX_CREATING ? BUILDER_FILLING : BUILDER_EMPTYING;
    builder->shard = 0;
    begin_shard(builder);
}

static void look(struct env_timer *timer)
{
    struct dynamodb_builder *builder = container_of(timer, struct dynamodb_builder, timer);
    struct dynamodb *dynamodb = builder->dynamodb;
    struct map_entry *entry;
    size_t i = 0;

    while (shard_router_shard_count(dynamodb->with.router) > 0 &&
           (entry = map_next(&dynamodb->tables, &i)) != NULL) {
        const Skein__Wire__TableGlobalIndex *index = find_work(entry->value);

        if (index != NULL && dynamodb_is_caretaker(&dynamodb->with)) {
            begin(builder, entry->value, index);
            return;
        }
    }
    env_timer_start(builder->env, timer, LOOK_US, look);
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static void next_shard(struct dynamodb_builder *builder)
{
    if (++builder->shard < shard_router_shard_count(builder->dynamodb->with.router))
        begin_shard(builder);
    else
        commit(builder);
}

static void ask_outbox(struct env_timer *timer);

static void on_outbox(struct shard_request *request, enum error rc, struct slice bytes)
{
    struct dynamodb_builder *builder = container_of(request, struct dynamodb_builder, request);
    Skein__Wire__TableReply *reply =
        rc == OK ? skein__wire__table_reply__unpack(NULL, bytes.size, bytes.data) : NULL;
    bool is_known = reply != NULL && reply->outcome == TABLE_DONE;
    bool is_empty = is_known && reply->sequence > builder->sequence;

    skein__wire__table_reply__free_unpacked(reply, NULL);
    if (!is_known) {
        become_idle(builder);
    } else if (!is_empty) {
        env_timer_start(builder->env, &builder->timer, DRAIN_US, ask_outbox);
    } else if (builder->is_shard_done) {
        builder->state = BUILDER_FILLING;
        next_shard(builder);
    } else {
        builder->state = BUILDER_FILLING;
        send_piece(builder);
    }
}

static void ask_outbox(struct env_timer *timer)
{
    struct dynamodb_builder *builder = container_of(timer, struct dynamodb_builder, timer);
    Skein__Wire__TableQuery query = SKEIN__WIRE__TABLE_QUERY__INIT;
    uint8_t packed[16];

    query.kind = TABLE_OUTBOX_OLDEST;
    shard_router_read(builder->dynamodb->with.router, &builder->request, builder->shard,
                      SHARD_ENGINE_TABLE,
                      slice_of(packed, skein__wire__table_query__pack(&query, packed)),
                      SHARD_STRONG, NULL, DEADLINE_MS, on_outbox);
}

/* A piece that found rows waits until they are where they belong. */
static void take_piece(struct dynamodb_builder *builder, const Skein__Wire__TableReply *reply)
{
    builder->is_shard_done = !reply->has_more;
    buffer_clear(&builder->position);
    buffer_put(&builder->position, reply->position.data, reply->position.len);
    if (reply->scanned > 0) {
        builder->state = BUILDER_DRAINING;
        builder->sequence = reply->sequence;
        env_timer_start(builder->env, &builder->timer, DRAIN_US, ask_outbox);
    } else {
        next_shard(builder);
    }
}

static void on_piece(struct shard_request *request, enum error rc, struct slice bytes)
{
    struct dynamodb_builder *builder = container_of(request, struct dynamodb_builder, request);
    Skein__Wire__TableReply *reply =
        rc == OK ? skein__wire__table_reply__unpack(NULL, bytes.size, bytes.data) : NULL;

    if (reply == NULL || reply->outcome != TABLE_DONE)
        become_idle(builder);
    else if (builder->state == BUILDER_FILLING)
        take_piece(builder, reply);
    else if (reply->has_more)
        send_piece(builder);
    else
        next_shard(builder);
    skein__wire__table_reply__free_unpacked(reply, NULL);
}

static void send_piece(struct dynamodb_builder *builder)
{
    const Skein__Wire__Table *record = builder->table->record;
    struct shard_router *router = builder->dynamodb->with.router;
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;
    struct buffer indexes = BUFFER_INIT(BUFFER_UNLIMITED);
    struct buffer packed = BUFFER_INIT(BUFFER_UNLIMITED);

    dynamodb_pack_indexes(record, shard_router_shard_count(router), &indexes);
    command.kind = builder->state == BUILDER_FILLING ? TABLE_BACKFILL : TABLE_DROP_INDEX;
    command.key = (ProtobufCBinaryData){builder->position.size, builder->position.data};
    command.index_epoch = record->index_epoch;
    command.indexes = (ProtobufCBinaryData){indexes.size, indexes.data};
    command.index_number = builder->number;
    command.row_limit = PIECE_ROWS;
    CHECK(buffer_reserve(&packed, skein__wire__table_command__get_packed_size(&command)) == OK);
    packed.size = skein__wire__table_command__pack(&command, packed.data);
    shard_router_write(router, &builder->request, builder->shard, SHARD_ENGINE_TABLE,
                       buffer_slice(&packed), DEADLINE_MS, on_piece);
    buffer_close(&indexes);
    buffer_close(&packed);
}

/* ---- done ------------------------------------------------------------------------------------ */

static void on_commit_time(struct env_timer *timer)
{
    commit(container_of(timer, struct dynamodb_builder, timer));
}

static void on_committed(struct view_update *update, enum error rc)
{
    struct dynamodb_builder *builder = container_of(update, struct dynamodb_builder, update);

    if (rc == OK)
        log_info("dynamodb.index_%s table=%s index=%u",
                 builder->status == TABLE_INDEX_CREATING ? "built" : "removed",
                 builder->table->record->name, builder->number);
    if (rc == ERR_CONFLICT)
        env_timer_start(builder->env, &builder->timer, LOOK_US,
                        on_commit_time); /* changed: see how */
    else
        become_idle(builder);
}

/* The table as it is now, if the index is still as it was when the work began. */
static struct dynamodb_table *find_current(const struct dynamodb_builder *builder)
{
    struct dynamodb_table *table =
        map_find(&builder->dynamodb->tables, slice_text(builder->table->record->name));

    if (table == NULL ||
        memcmp(table->record->id.data, builder->table->record->id.data, TABLE_ID_BYTES) != 0)
        return NULL;
    for (size_t i = 0; i < table->record->n_global_indexes; i++)
        if (table->record->global_indexes[i]->number == builder->number &&
            table->record->global_indexes[i]->status == (uint32_t)builder->status)
            return table;
    return NULL;
}

/* The record without the index, or with the index in use. */
static struct slice changed_record(const struct dynamodb_builder *builder,
                                   const struct dynamodb_table *table, struct arena *arena)
{
    Skein__Wire__TableGlobalIndex *indexes[TABLE_GLOBAL_INDEXES_MAX];
    Skein__Wire__TableGlobalIndex active;
    Skein__Wire__Table changed = *table->record;
    uint8_t *bytes;

    changed.global_indexes = indexes;
    changed.definitions = arena_alloc(arena, (changed.n_definitions + 1) * sizeof(void *));
    memcpy(changed.definitions, table->record->definitions, changed.n_definitions * sizeof(void *));
    for (size_t i = 0; i < changed.n_global_indexes; i++) {
        indexes[i] = table->record->global_indexes[i];
        if (indexes[i]->number != builder->number)
            continue;
        active = *indexes[i];
        active.status = TABLE_INDEX_ACTIVE;
        indexes[i] = &active;
    }
    if (builder->status == TABLE_INDEX_DELETING)
        dynamodb_remove_global_index(&changed, builder->number);
    bytes = arena_alloc(arena, skein__wire__table__get_packed_size(&changed));
    return slice_of(bytes, skein__wire__table__pack(&changed, bytes));
}

static void commit(struct dynamodb_builder *builder)
{
    struct dynamodb_table *table = find_current(builder);
    struct arena arena;

    if (table == NULL) {
        become_idle(builder);
        return;
    }
    arena_init(&arena);
    const struct view_change change = {.key = arena_printf(&arena, "table/%s", table->record->name),
                                       .value = changed_record(builder, table, &arena),
                                       .expected_revision = table->revision};

    builder->state = BUILDER_COMMITTING;
    view_update_start(builder->dynamodb->with.view, &builder->update, &change, 1, DEADLINE_MS,
                      on_committed);
    arena_close(&arena);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct dynamodb_builder *dynamodb_builder_new(struct dynamodb *dynamodb)
{
    struct dynamodb_builder *builder = check_calloc(1, sizeof(*builder));

    builder->dynamodb = dynamodb;
    builder->env = dynamodb->with.env;
    buffer_init(&builder->position, BUFFER_UNLIMITED);
    env_timer_start(builder->env, &builder->timer, LOOK_US, look);
    return builder;
}

void dynamodb_builder_free(struct dynamodb_builder *builder)
{
    if (builder == NULL)
        return;
    env_timer_stop(builder->env, &builder->timer);
    shard_request_cancel(&builder->request);
    view_update_cancel(&builder->update);
    dynamodb_table_release(builder->table);
    buffer_close(&builder->position);
    free(builder);
}
