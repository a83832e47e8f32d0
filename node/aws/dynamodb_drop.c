#include "node/aws/dynamodb_drop.h"

#include "node/table/table_engine.h"
#include "node/table/table_key.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/log.h"
#include "proto/wire/catalogue.pb-c.h"

#define DROP_PREFIX "drop/"
#define NODE_PREFIX "node/"
#define LOOK_US 250000       /* between looks for work */
#define LATE_WRITES_MS 60000 /* longer than any write is held by a router or a client */
#define PIECE_ROWS 500
#define PIECE_DEADLINE_MS 20000
#define PASSED_BYTES (TABLE_ID_BYTES + sizeof(uint64_t))

/* One table at a time:
 *
 *   IDLE -> DROPPING (a piece of a shard, the next shard, ...) -+-> IDLE  (first pass)
 *                                                                +-> FORGETTING -> IDLE  (second)
 */
enum drop_state { DROP_IDLE, DROP_DROPPING, DROP_FORGETTING };

struct dynamodb_drop {
    struct dynamodb_options with;
    struct env_timer timer;
    enum drop_state state;
    char *key; /* of the record at work */
    uint64_t revision;
    uint8_t table_id[TABLE_ID_BYTES];
    bool is_last_pass;
    uint32_t shard;
    struct shard_request request;
    struct view_update update;
    struct buffer passed; /* ids of the tables whose first pass is over, each with the time */
};

static void look(struct env_timer *timer);
static void drop_piece(struct dynamodb_drop *drop);

const char *dynamodb_drop_key(struct arena *arena, const uint8_t *table_id)
{
    char hex[2 * TABLE_ID_BYTES + 1];

    encode_hex(slice_of(table_id, TABLE_ID_BYTES), hex);
    return arena_printf(arena, DROP_PREFIX "%s", hex);
}

struct slice dynamodb_drop_record(struct arena *arena, const Skein__Wire__Table *table,
                                  uint64_t now_ms)
{
    Skein__Wire__TableDrop record = SKEIN__WIRE__TABLE_DROP__INIT;
    uint8_t *bytes;

    record.id = table->id;
    record.name = table->name;
    record.dropped_ms = now_ms;
    bytes = arena_alloc(arena, skein__wire__table_drop__get_packed_size(&record));
    return slice_of(bytes, skein__wire__table_drop__pack(&record, bytes));
}

/* ---- whose work it is ------------------------------------------------------------------------ */

static void find_lowest(void *user, const char *key, struct slice value, uint64_t revision)
{
    uint64_t *lowest = user;
    Skein__Wire__Node *node = skein__wire__node__unpack(NULL, value.size, value.data);

    (void)key;
    (void)revision;
    if (node != NULL && node->is_alive && node->id < *lowest)
        *lowest = node->id;
    skein__wire__node__free_unpacked(node, NULL);
}

bool dynamodb_is_caretaker(const struct dynamodb_options *with)
{
    uint64_t lowest = UINT64_MAX;

    view_each(with->view, NODE_PREFIX, &lowest, find_lowest);
    return lowest == env_self(with->env);
}

/* ---- what there is to do --------------------------------------------------------------------- */

/* When the first pass over a table was over here; 0: it was not. */
static uint64_t passed_us(const struct dynamodb_drop *drop, const uint8_t *table_id)
{
    uint64_t us = 0;

    for (size_t at = 0; at < drop->passed.size; at += PASSED_BYTES)
        if (memcmp(drop->passed.data + at, table_id, TABLE_ID_BYTES) == 0)
            memcpy(&us, drop->passed.data + at + TABLE_ID_BYTES, sizeof(us));
    return us;
}

static void note_pass(struct dynamodb_drop *drop)
{
    uint64_t now_us = env_now_us(drop->with.env) + 1;

    buffer_put(&drop->passed, drop->table_id, TABLE_ID_BYTES);
    buffer_put(&drop->passed, &now_us, sizeof(now_us));
}

static void forget_pass(struct dynamodb_drop *drop)
{
    for (size_t at = 0; at < drop->passed.size; at += PASSED_BYTES)
        if (memcmp(drop->passed.data + at, drop->table_id, TABLE_ID_BYTES) == 0) {
            memmove(drop->passed.data + at, drop->passed.data + at + PASSED_BYTES,
                    drop->passed.size - at - PASSED_BYTES);
            drop->passed.size -= PASSED_BYTES;
            return;
        }
}

/* Takes the first record there is something to do for. */
static void take_record(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct dynamodb_drop *drop = user;
    Skein__Wire__TableDrop *record = skein__wire__table_drop__unpack(NULL, value.size, value.data);

    if (record != NULL && record->id.len == TABLE_ID_BYTES && drop->state == DROP_IDLE) {
        uint64_t since_us = passed_us(drop, record->id.data);
        bool is_late = since_us > 0 &&
                       env_now_us(drop->with.env) >= since_us + LATE_WRITES_MS * UINT64_C(1000);

        if (is_late || since_us == 0) {
            drop->state = DROP_DROPPING;
            drop->key = check_strdup(key);
            drop->revision = revision;
            drop->is_last_pass = is_late;
            memcpy(drop->table_id, record->id.data, TABLE_ID_BYTES);
            drop->shard = 0;
        }
    }
    skein__wire__table_drop__free_unpacked(record, NULL);
}

static void become_idle(struct dynamodb_drop *drop)
{
    free(drop->key);
    drop->key = NULL;
    drop->state = DROP_IDLE;
    env_timer_start(drop->with.env, &drop->timer, LOOK_US, look);
}

static void look(struct env_timer *timer)
{
    struct dynamodb_drop *drop = container_of(timer, struct dynamodb_drop, timer);

    if (drop->state == DROP_IDLE && shard_router_shard_count(drop->with.router) > 0)
        view_each(drop->with.view, DROP_PREFIX, drop, take_record);
    if (drop->state == DROP_IDLE || !dynamodb_is_caretaker(&drop->with))
        become_idle(drop);
    else
        drop_piece(drop);
}

/* ---- doing it -------------------------------------------------------------------------------- */

static void on_forgotten(struct view_update *update, enum error rc)
{
    struct dynamodb_drop *drop = container_of(update, struct dynamodb_drop, update);

    if (rc == OK) {
        forget_pass(drop);
        log_info("dynamodb.table_dropped record=%s", drop->key);
    }
    become_idle(drop); /* on failure the record is still there, and found again */
}

static void forget(struct dynamodb_drop *drop)
{
    const struct view_change change = {
        .key = drop->key, .is_delete = true, .expected_revision = drop->revision};

    drop->state = DROP_FORGETTING;
    view_update_start(drop->with.view, &drop->update, &change, 1, PIECE_DEADLINE_MS, on_forgotten);
}

static void on_piece(struct shard_request *request, enum error rc, struct slice bytes)
{
    struct dynamodb_drop *drop = container_of(request, struct dynamodb_drop, request);
    Skein__Wire__TableReply *reply =
        rc == OK ? skein__wire__table_reply__unpack(NULL, bytes.size, bytes.data) : NULL;
    bool is_done = reply != NULL && reply->outcome == TABLE_DONE;
    bool has_more = is_done && reply->has_more;

    skein__wire__table_reply__free_unpacked(reply, NULL);
    if (!is_done) {
        become_idle(drop); /* and begin again later */
        return;
    }
    if (!has_more)
        drop->shard++;
    if (drop->shard < shard_router_shard_count(drop->with.router)) {
        drop_piece(drop);
        return;
    }
    if (drop->is_last_pass) {
        forget(drop);
        return;
    }
    note_pass(drop);
    become_idle(drop);
}

static void drop_piece(struct dynamodb_drop *drop)
{
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;
    struct buffer key = BUFFER_INIT(TABLE_KEY_BYTES_MAX);
    uint8_t packed[64];

    table_key_put_table(&key, drop->table_id);
    command.kind = TABLE_DROP;
    command.key = (ProtobufCBinaryData){key.size, key.data};
    command.row_limit = PIECE_ROWS;
    CHECK(skein__wire__table_command__get_packed_size(&command) <= sizeof(packed));
    shard_router_write(drop->with.router, &drop->request, drop->shard, SHARD_ENGINE_TABLE,
                       slice_of(packed, skein__wire__table_command__pack(&command, packed)),
                       PIECE_DEADLINE_MS, on_piece);
    buffer_close(&key);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct dynamodb_drop *dynamodb_drop_new(const struct dynamodb_options *options)
{
    struct dynamodb_drop *drop = check_calloc(1, sizeof(*drop));

    drop->with = *options;
    buffer_init(&drop->passed, BUFFER_UNLIMITED);
    env_timer_start(options->env, &drop->timer, LOOK_US, look);
    return drop;
}

void dynamodb_drop_free(struct dynamodb_drop *drop)
{
    if (drop == NULL)
        return;
    env_timer_stop(drop->with.env, &drop->timer);
    shard_request_cancel(&drop->request);
    view_update_cancel(&drop->update);
    buffer_close(&drop->passed);
    free(drop->key);
    free(drop);
}
