#include "node/table/table_courier.h"

#include "node/table/table_engine.h"
#include "node/table/table_row.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

/* Between looks at all shards that are led: after a restart, or a failure. */
#define SWEEP_US 250000u
#define GATHER_US 1500u /* between two looks at one shard, so that entries gather */
#define LANES_MAX 64u   /* batches on their way at once */
#define BATCH_ROWS 256u
#define BATCH_BYTES (128u << 10)
#define DEADLINE_MS 10000u

/* One source:  IDLE -> READING (its outbox) -> IDLE, once more when it was woken meanwhile. */
struct source {
    struct table_courier *courier;
    uint32_t shard;
    bool is_reading;
    bool is_woken;
    struct env_timer timer; /* until the next look */
    struct shard_request request;
    struct list lanes;
};

/* One batch from a source to a target:  SENDING -> TRIMMING (the source's outbox) -> gone. A
 * failure ends it too: the entries are still in the outbox. */
struct lane {
    struct list link; /* of its source */
    struct source *source;
    uint32_t target;
    struct shard_request request;
    struct buffer sequences; /* u64 each */
};

struct table_courier {
    struct env *env;
    struct shard_router *router;
    struct map sources; /* by shard */
    struct env_timer sweep;
    struct table_courier_stats stats;
};

static void look(struct source *source);

/* ---- lanes ----------------------------------------------------------------------------------- */

static void lane_free(struct lane *lane)
{
    lane->source->courier->stats.lanes--;
    shard_request_cancel(&lane->request);
    list_remove(&lane->link);
    buffer_close(&lane->sequences);
    free(lane);
}

static bool is_done(enum error rc, struct slice bytes)
{
    Skein__Wire__TableReply *reply =
        rc == OK ? skein__wire__table_reply__unpack(NULL, bytes.size, bytes.data) : NULL;
    bool done = reply != NULL && reply->outcome == TABLE_DONE;

    if (reply != NULL && !done)
        log_error("table_courier.refused outcome=%u", reply->outcome);
    if (reply != NULL)
        skein__wire__table_reply__free_unpacked(reply, NULL);
    return done;
}

static void send(struct lane *lane, uint32_t shard, const Skein__Wire__TableCommand *command,
                 shard_request_cb cb)
{
    struct buffer packed = BUFFER_INIT(BUFFER_UNLIMITED);

    CHECK(buffer_reserve(&packed, skein__wire__table_command__get_packed_size(command)) == OK);
    packed.size = skein__wire__table_command__pack(command, packed.data);
    shard_router_write(lane->source->courier->router, &lane->request, shard, SHARD_ENGINE_TABLE,
                       buffer_slice(&packed), DEADLINE_MS, cb);
    buffer_close(&packed);
}

/* What failed is tried again at the next sweep. */
static void fail(struct lane *lane)
{
    lane->source->courier->stats.failures++;
    lane_free(lane);
}

static void on_trimmed(struct shard_request *request, enum error rc, struct slice bytes)
{
    struct lane *lane = container_of(request, struct lane, request);
    struct source *source = lane->source;

    if (!is_done(rc, bytes)) {
        fail(lane);
        return;
    }
    lane_free(lane);
    look(source);
}

static void trim(struct lane *lane)
{
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;
    struct reader reader = reader_of(buffer_slice(&lane->sequences));

    command.kind = TABLE_INDEX_SENT;
    command.target = lane->target;
    command.sequences = check_calloc(BATCH_ROWS, sizeof(*command.sequences));
    while (reader.rest.size > 0)
        command.sequences[command.n_sequences++] = reader_u64(&reader);
    lane->source->courier->stats.entries += command.n_sequences;
    send(lane, lane->source->shard, &command, on_trimmed);
    free(command.sequences);
}

static void on_sent(struct shard_request *request, enum error rc, struct slice bytes)
{
    struct lane *lane = container_of(request, struct lane, request);

    if (is_done(rc, bytes))
        trim(lane);
    else
        fail(lane);
}

static void lane_start(struct source *source, uint32_t target, struct slice entries)
{
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;
    struct lane *lane = check_calloc(1, sizeof(*lane));
    struct reader reader = reader_of(entries);

    lane->source = source;
    lane->target = target;
    buffer_init(&lane->sequences, BUFFER_UNLIMITED);
    list_append(&source->lanes, &lane->link);
    source->courier->stats.lanes++;
    while (reader.rest.size > 0) {
        buffer_put_u64(&lane->sequences, reader_u64(&reader));
        (void)reader_bytes(&reader, reader_u32(&reader));
    }
    command.kind = TABLE_INDEX_ROWS;
    command.source = source->shard;
    command.entries = field_of(entries);
    send(lane, target, &command, on_sent);
}

/* ---- sources --------------------------------------------------------------------------------- */

static void start_lanes(struct source *source, struct slice batches)
{
    struct reader reader = reader_of(batches);

    while (reader.rest.size > 0 && source->courier->stats.lanes < LANES_MAX) {
        uint32_t target = reader_u32(&reader);
        struct slice entries = reader_bytes(&reader, reader_u32(&reader));

        if (!reader.ok)
            return;
        lane_start(source, target, entries);
    }
}

static void on_time(struct env_timer *timer)
{
    struct source *source = container_of(timer, struct source, timer);

    if (source->is_woken)
        look(source);
}

static void on_outbox(struct shard_request *request, enum error rc, struct slice bytes)
{
    struct source *source = container_of(request, struct source, request);
    Skein__Wire__TableReply *reply =
        rc == OK ? skein__wire__table_reply__unpack(NULL, bytes.size, bytes.data) : NULL;

    source->is_reading = false;
    if (reply != NULL && reply->outcome == TABLE_DONE)
        start_lanes(source, field(&reply->rows));
    if (reply != NULL)
        skein__wire__table_reply__free_unpacked(reply, NULL);
    env_timer_start(source->courier->env, &source->timer, GATHER_US, on_time);
}

/* Reads the outbox from this node's replica: it may trail, which only makes the batch shorter or a
 * repetition. */
static void look(struct source *source)
{
    Skein__Wire__TableQuery query = SKEIN__WIRE__TABLE_QUERY__INIT;
    struct buffer packed = BUFFER_INIT(BUFFER_UNLIMITED);
    uint32_t targets[LANES_MAX];

    source->is_woken = source->is_reading || env_timer_is_running(&source->timer);
    if (source->is_woken || source->courier->stats.lanes >= LANES_MAX)
        return;
    source->is_reading = true;
    query.kind = TABLE_OUTBOX;
    query.row_limit = BATCH_ROWS;
    query.bytes_limit = BATCH_BYTES;
    query.targets = targets;
    LIST_EACH_SAFE(&source->lanes, link)
    {
        targets[query.n_targets++] = container_of(link, struct lane, link)->target;
    }
    CHECK(buffer_reserve(&packed, skein__wire__table_query__get_packed_size(&query)) == OK);
    packed.size = skein__wire__table_query__pack(&query, packed.data);
    shard_router_read(source->courier->router, &source->request, source->shard, SHARD_ENGINE_TABLE,
                      buffer_slice(&packed), SHARD_EVENTUAL, NULL, DEADLINE_MS, on_outbox);
    buffer_close(&packed);
}

void table_courier_wake(struct table_courier *courier, uint32_t shard)
{
    struct source *source = map_find_u64(&courier->sources, shard);

    if (source == NULL) {
        source = check_calloc(1, sizeof(*source));
        source->courier = courier;
        source->shard = shard;
        list_init(&source->lanes);
        (void)map_set_u64(&courier->sources, shard, source);
    }
    look(source);
}

static void on_sweep(struct env_timer *timer)
{
    struct table_courier *courier = container_of(timer, struct table_courier, sweep);
    uint32_t count = shard_router_shard_count(courier->router);

    for (uint32_t shard = 0; shard < count; shard++)
        if (shard_router_leader(courier->router, shard) == env_self(courier->env))
            table_courier_wake(courier, shard);
    env_timer_start(courier->env, timer, SWEEP_US, on_sweep);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct table_courier *table_courier_new(struct env *env, struct shard_router *router)
{
    struct table_courier *courier = check_calloc(1, sizeof(*courier));

    courier->env = env;
    courier->router = router;
    map_init(&courier->sources);
    env_timer_start(env, &courier->sweep, SWEEP_US, on_sweep);
    return courier;
}

void table_courier_free(struct table_courier *courier)
{
    struct map_entry *entry;
    size_t i = 0;

    if (courier == NULL)
        return;
    env_timer_stop(courier->env, &courier->sweep);
    while ((entry = map_next(&courier->sources, &i)) != NULL) {
        struct source *source = entry->value;

        shard_request_cancel(&source->request);
        env_timer_stop(courier->env, &source->timer);
        while (!list_is_empty(&source->lanes))
            lane_free(container_of(source->lanes.next, struct lane, link));
        free(source);
    }
    map_close(&courier->sources);
    free(courier);
}

void table_courier_stats(const struct table_courier *courier, struct table_courier_stats *stats)
{
    *stats = courier->stats;
}
