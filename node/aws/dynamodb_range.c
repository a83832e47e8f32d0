/* Scan and Query: pages of rows.
 *
 * A page is gathered from one shard after the other (a Query needs one) until a limit ends it. The
 * position it ended at is the key of the last row looked at; from a key follow its shard and the
 * place in it, so a page needs no memory of the one before. */

#include "node/aws/dynamodb_range_request.h"
#include "node/aws/dynamodb_value.h"
#include "node/table/table_engine.h"
#include "proto/base/check.h"

/* ---- a page at work -------------------------------------------------------------------------- */

struct range_call {
    struct dynamodb_call call;
    struct range_request asked;
    struct shard_request request;
    struct dynamodb_key_range range; /* of row keys; a Scan's is the whole table */
    struct buffer start;             /* forward: the lowest key; backward: the end. In the first
                                        shard; empty: the range's own */
    struct buffer filter;
    struct buffer projection;
    struct buffer position_paths;
    struct buffer index_projection;
    struct buffer body; /* the answer so far */
    struct json_write json;
    uint32_t shard;
    uint32_t shard_step; /* from one shard to the next */
    uint32_t shard_end;
    uint32_t row_limit; /* left; 0 when has_limit: none left */
    bool has_limit;
    bool is_backward;
    bool is_strong;
    bool count_only;
    bool wants_whole; /* items of which the index has too little */
    uint64_t bytes;   /* looked at */
    uint64_t fetched_bytes;
    uint64_t scanned;
    uint64_t count;
};

static void send_query(struct range_call *range);

static bool has_local(const struct range_call *range)
{
    return range->asked.index != RANGE_NO_INDEX;
}

static bool has_global(const struct range_call *range)
{
    return range->asked.global != RANGE_NO_INDEX;
}

static void release_range(struct dynamodb_call *call)
{
    struct range_call *range = container_of(call, struct range_call, call);

    shard_request_cancel(&range->request);
    range_request_close(&range->asked);
    buffer_close(&range->range.low);
    buffer_close(&range->range.high);
    buffer_close(&range->start);
    buffer_close(&range->filter);
    buffer_close(&range->projection);
    buffer_close(&range->position_paths);
    buffer_close(&range->index_projection);
    buffer_close(&range->body);
}

/* What was read of an index, and of the table for what the index has not. */
static void write_index_capacity(struct range_call *range)
{
    const char *name = dynamodb_text(&range->call, "IndexName");
    uint64_t index_units = dynamodb_read_half_units(range->bytes, range->is_strong);
    uint64_t table_units = range->fetched_bytes > 0
                               ? dynamodb_read_half_units(range->fetched_bytes, range->is_strong)
                               : 0;
    struct json_write *json = &range->json;

    json_key(json, "ConsumedCapacity");
    json_begin_object(json);
    json_member_text(json, "TableName", range->call.table->record->name);
    json_key(json, "CapacityUnits");
    json_fixed(json, (index_units + table_units) * 5, 1);
    if (dynamodb_text_is(&range->call, "ReturnConsumedCapacity", "INDEXES")) {
        json_key(json, "Table");
        dynamodb_write_part_units(json, table_units);
        json_key(json, has_local(range) ? "LocalSecondaryIndexes" : "GlobalSecondaryIndexes");
        json_begin_object(json);
        json_key(json, name);
        dynamodb_write_part_units(json, index_units);
        json_end_object(json);
    }
    json_end_object(json);
}

static void finish(struct range_call *range, struct slice position)
{
    struct json_write *json = &range->json;
    struct buffer body;

    if (!range->count_only)
        json_end_array(json);
    json_member_u64(json, "Count", range->count);
    json_member_u64(json, "ScannedCount", range->scanned);
    if (position.size > 0) {
        json_key(json, "LastEvaluatedKey");
        dynamodb_value_write_item(json, position);
    }
    if (range_request_has_index(&range->asked) && dynamodb_wants_capacity(&range->call))
        write_index_capacity(range);
    else
        dynamodb_write_capacity(json, &range->call,
                                dynamodb_read_half_units(range->bytes, range->is_strong));
    json_end_object(json);
    body = buffer_take(&range->body);
    dynamodb_answer(&range->call, &body);
}

static void write_rows(struct range_call *range, struct slice rows)
{
    struct reader reader = reader_of(rows);

    while (reader.rest.size > 0 && reader.ok) {
        uint32_t size = reader_u32(&reader);
        struct slice item = reader_bytes(&reader, size);

        if (reader.ok)
            dynamodb_value_write_item(&range->json, item);
    }
}

static void take_page(struct range_call *range, const Skein__Wire__TableReply *reply)
{
    range->bytes += reply->scanned_bytes;
    range->fetched_bytes += reply->fetched_bytes;
    range->scanned += reply->scanned;
    range->count += reply->count;
    if (range->has_limit)
        range->row_limit -= reply->scanned < range->row_limit ? reply->scanned : range->row_limit;
    write_rows(range, slice_of(reply->rows.data, reply->rows.len));
    if (reply->has_more) {
        finish(range, slice_of(reply->position.data, reply->position.len));
        return;
    }
    buffer_clear(&range->start);
    if (range->shard_end - range->shard <= range->shard_step) {
        finish(range, slice_of(NULL, 0));
        return;
    }
    range->shard += range->shard_step;
    send_query(range);
}

static void on_page(struct shard_request *request, enum error rc, struct slice bytes)
{
    struct range_call *range = container_of(request, struct range_call, request);
    Skein__Wire__TableReply *reply = NULL;

    if (rc == OK) {
        reply = skein__wire__table_reply__unpack(NULL, bytes.size, bytes.data);
        rc = reply != NULL ? OK : ERR_INTERNAL;
    }
    if (rc != OK)
        dynamodb_fail(&range->call, rc);
    else if (reply->outcome != TABLE_DONE)
        dynamodb_fail_outcome(&range->call, reply);
    else
        take_page(range, reply);
    skein__wire__table_reply__free_unpacked(reply, NULL);
}

static ProtobufCBinaryData field_of(const struct buffer *bytes)
{
    return (ProtobufCBinaryData){bytes->size, bytes->data};
}

static void send_query(struct range_call *range)
{
    struct dynamodb_call *call = &range->call;
    Skein__Wire__TableQuery query = SKEIN__WIRE__TABLE_QUERY__INIT;
    struct buffer packed = BUFFER_INIT(BUFFER_UNLIMITED);
    bool has_start = range->start.size > 0;

    query.kind = TABLE_RANGE;
    query.key = field_of(has_start && !range->is_backward ? &range->start : &range->range.low);
    query.end = field_of(has_start && range->is_backward ? &range->start : &range->range.high);
    query.is_backward = range->is_backward;
    query.row_limit = range->row_limit;
    query.bytes_limit =
        range->bytes < TABLE_PAGE_BYTES_MAX ? (uint32_t)(TABLE_PAGE_BYTES_MAX - range->bytes) : 0;
    query.filter = field_of(&range->filter);
    query.projection = field_of(&range->projection);
    query.position_paths = field_of(&range->position_paths);
    query.count_only = range->count_only;
    query.is_index = has_local(range);
    query.index_projection = field_of(&range->index_projection);
    query.wants_whole = range->wants_whole;
    CHECK(buffer_reserve(&packed, skein__wire__table_query__get_packed_size(&query)) == OK);
    packed.size = skein__wire__table_query__pack(&query, packed.data);
    shard_router_read(
        call->dynamodb->with.router, &range->request, range->shard, SHARD_ENGINE_TABLE,
        buffer_slice(&packed), range->is_strong ? SHARD_STRONG : SHARD_EVENTUAL,
        arena_text(call->arena, call->request->region), DYNAMODB_DEADLINE_MS, on_page);
    buffer_close(&packed);
}

/* ---- from the request to its first page
 * ---------------------------------------------------------- */

static struct range_call *range_call_of(struct dynamodb_call *call)
{
    struct range_call *range = container_of(call, struct range_call, call);
    struct buffer *const buffers[] = {
        &range->range.low,        &range->range.high, &range->start,
        &range->filter,           &range->projection, &range->position_paths,
        &range->index_projection, &range->body};

    for (size_t i = 0; i < ARRAY_COUNT(buffers); i++)
        buffer_init(buffers[i], BUFFER_UNLIMITED);
    range_request_init(&range->asked, call);
    call->release = release_range;
    return range;
}

static void read_options(struct range_call *range)
{
    const struct dynamodb_call *call = &range->call;
    const json_t *limit = dynamodb_member(call, "Limit");
    int64_t rows = dynamodb_shape_integer(limit);

    range->has_limit = limit != NULL;
    range->row_limit = rows < UINT32_MAX ? (uint32_t)rows : UINT32_MAX;
    range->is_strong = dynamodb_flag(call, "ConsistentRead", false);
    range->count_only = dynamodb_text_is(call, "Select", "COUNT");
}

static void add_path(struct arena *arena, struct expression_paths *paths, struct slice name)
{
    struct expression_step *step = arena_alloc(arena, sizeof(*step));

    step->name = name;
    paths->paths[paths->count++] = (struct expression_path){step, 1};
}

/* The attributes of the keys of table and index, with room for `more`. */
static struct expression_paths key_paths(const struct range_call *range, size_t more)
{
    struct arena *arena = range->call.arena;
    struct slice names[RANGE_POSITION_PARTS_MAX];
    size_t count = range_request_position(&range->asked, names);
    struct expression_paths paths = {arena_alloc(arena, (count + more) * sizeof(*paths.paths)), 0};

    for (size_t i = 0; i < count; i++)
        add_path(arena, &paths, names[i]);
    return paths;
}

static bool is_key(const struct expression_paths *paths, struct slice name)
{
    for (size_t i = 0; i < paths->count; i++)
        if (slice_equal(paths->paths[i].steps[0].name, name))
            return true;
    return false;
}

static void encode_index_projection(struct range_call *range)
{
    const Skein__Wire__TableIndex *index =
        range->call.table->record->local_indexes[range->asked.index];
    struct expression_paths paths = key_paths(range, index->n_included);

    range->wants_whole = false;
    if (index->projection == TABLE_PROJECTION_ALL)
        return;
    range->wants_whole = dynamodb_text_is(&range->call, "Select", "ALL_ATTRIBUTES");
    for (size_t i = 0; i < index->n_included; i++)
        if (!is_key(&paths, slice_text(index->included[i])))
            add_path(range->call.arena, &paths, slice_text(index->included[i]));
    expression_put_paths(&range->index_projection, &paths);
}

static void encode(struct range_call *range)
{
    struct expression_paths position = key_paths(range, 0);

    if (range->asked.filter != NULL)
        expression_put(&range->filter, range->asked.filter);
    if (range->asked.projection.count > 0)
        expression_put_paths(&range->projection, &range->asked.projection);
    expression_put_paths(&range->position_paths, &position);
    if (has_local(range))
        encode_index_projection(range);
}

static uint32_t global_number(const struct range_call *range)
{
    return range->call.table->record->global_indexes[range->asked.global]->number;
}

/* The row or index row key of the checked starting key goes to `start`: where to go on. Gives its
 * shard. */
static uint32_t place_start(struct range_call *range)
{
    struct dynamodb_table *table = range->call.table;
    struct slice item = buffer_slice(&range->asked.start);
    struct item_value attributes = item_root(item);
    struct item_value value = {0};
    struct buffer key = BUFFER_INIT(BUFFER_UNLIMITED);
    Skein__Wire__TableCommand place = SKEIN__WIRE__TABLE_COMMAND__INIT;
    uint32_t shard = dynamodb_place_command(range->call.dynamodb, table, item, &key, &place);

    if (has_global(range)) {
        struct slice partition;

        table_key_put_global_row(&range->start, buffer_slice(&key), global_number(range),
                                 range->asked.schema, &attributes, &partition);
        shard = shard_router_shard_of(range->call.dynamodb->with.router,
                                      slice_of(table->record->id.data, table->record->id.len),
                                      partition);
    } else if (has_local(range)) {
        bool is_there = item_find(&attributes, range->asked.schema->parts[1].name, &value);

        CHECK(is_there);
        table_key_put_index_row(&range->start, buffer_slice(&key), place.hash_bytes,
                                range->asked.index, &value);
    } else {
        buffer_put_slice(&range->start, buffer_slice(&key));
    }
    if (!range->is_backward)
        buffer_put_u8(&range->start, 0); /* the first key above it */
    buffer_close(&key);
    return shard;
}

/* Where the rows of the table or the index begin. */
static void put_prefix(const struct range_call *range, struct buffer *prefix)
{
    const uint8_t *id = range->call.table->record->id.data;

    if (has_global(range))
        table_key_put_global(prefix, id, global_number(range));
    else if (has_local(range))
        table_key_put_index(prefix, id, range->asked.index);
    else
        table_key_put_table(prefix, id);
}

static void start_page(struct range_call *range)
{
    range->json = json_write_to(&range->body);
    encode(range);
    json_begin_object(&range->json);
    if (!range->count_only) {
        json_key(&range->json, "Items");
        json_begin_array(&range->json);
    }
    if (range->shard < range->shard_end)
        send_query(range);
    else
        finish(range, slice_of(NULL, 0)); /* a segment without a shard */
}

/* ---- Scan ------------------------------------------------------------------------------------ */

/* A segment is every so manyth shard. With more segments than shards some stay empty. */
static const char *place_scan(struct range_call *range)
{
    struct range_request *asked = &range->asked;
    const char *why = range_request_find_index(asked);

    if (why == NULL)
        why = range_request_check_scan_start(asked);
    if (why != NULL)
        return why;
    put_prefix(range, &range->range.low);
    buffer_put_slice(&range->range.high, buffer_slice(&range->range.low));
    table_key_after_prefix(&range->range.high);
    range->shard_step = asked->segment_count;
    range->shard_end = shard_router_shard_count(range->call.dynamodb->with.router);
    range->shard = asked->start.size > 0 ? place_start(range) : asked->segment;
    if (range->shard % asked->segment_count == asked->segment)
        return range_request_check_paths(asked, false);
    return arena_printf(range->call.arena,
                        RANGE_BAD_START ": Invalid ExclusiveStartKey. Please use ExclusiveStartKey "
                                        "with correct Segment. TotalSegments: %u Segment: %u",
                        asked->segment_count, asked->segment);
}

static void scan(struct dynamodb_call *call)
{
    struct range_call *range = range_call_of(call);
    const char *why = range_request_read_scan(&range->asked);

    read_options(range);
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (!dynamodb_find_table(call, dynamodb_text(call, "TableName")))
        return;
    why = place_scan(range);
    if (why != NULL)
        dynamodb_invalid(call, why);
    else
        start_page(range);
}

/* ---- Query ----------------------------------------------------------------------------------- */

static const char *place_query_start(struct range_call *range)
{
    const struct range_request *asked = &range->asked;
    struct item_value attributes = item_root(buffer_slice(&asked->start));
    struct item_value hash = {0};
    struct buffer hash_part = BUFFER_INIT(BUFFER_UNLIMITED);
    bool is_there = item_find(&attributes, asked->schema->parts[0].name, &hash);
    bool is_same_hash;

    CHECK(is_there);
    table_key_put_part(&hash_part, &hash);
    is_same_hash = slice_equal(buffer_slice(&hash_part), range->range.hash_part);
    buffer_close(&hash_part);
    if (!range->range.has_sort && !is_same_hash)
        return "The provided starting key is outside query boundaries based on provided "
               "conditions";
    if (range->range.has_sort &&
        !dynamodb_key_term_holds(&asked->terms, &asked->schema->parts[1], &attributes))
        return "The provided starting key does not match the range key predicate";
    if (!is_same_hash)
        return "The query can return at most one row and cannot be restarted";
    (void)place_start(range);
    return NULL;
}

/* What decides the shard of a Query. */
static struct slice partition_of(const struct range_call *range)
{
    struct buffer prefix = BUFFER_INIT(BUFFER_UNLIMITED);
    struct slice partition = range->range.hash_part;

    if (has_global(range)) { /* with the number of the index, as table_key_put_global_row has it */
        put_prefix(range, &prefix);
        buffer_put_slice(&prefix, partition);
        partition = arena_copy(range->call.arena, slice_of(prefix.data + 1 + TABLE_ID_BYTES,
                                                           prefix.size - 1 - TABLE_ID_BYTES));
        buffer_close(&prefix);
    }
    return partition;
}

static const char *place_query(struct range_call *range)
{
    struct range_request *asked = &range->asked;
    struct dynamodb_call *call = &range->call;
    struct slice id = slice_of(call->table->record->id.data, call->table->record->id.len);
    AUTO(buffer) prefix = BUFFER_INIT(BUFFER_UNLIMITED);
    const char *why = range_request_find_index(asked);

    if (why == NULL)
        why = range_request_check_query_keys(asked);
    if (why != NULL)
        return why;
    put_prefix(range, &prefix);
    dynamodb_key_range_of(call->arena, asked->schema, buffer_slice(&prefix), &asked->terms,
                          &range->range);
    range->shard = shard_router_shard_of(call->dynamodb->with.router, id, partition_of(range));
    range->shard_step = 1;
    range->shard_end = range->shard + 1;
    if (asked->start.size > 0)
        why = place_query_start(range);
    return why != NULL ? why : range_request_check_paths(asked, true);
}

static void query(struct dynamodb_call *call)
{
    struct range_call *range = range_call_of(call);
    const char *why = range_request_read_query(&range->asked);

    range->is_backward = !dynamodb_flag(call, "ScanIndexForward", true);
    read_options(range);
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (!dynamodb_find_table(call, dynamodb_text(call, "TableName")))
        return;
    why = place_query(range);
    if (why != NULL)
        dynamodb_invalid(call, why);
    else
        start_page(range);
}

const struct dynamodb_operation dynamodb_range_operations[] = {
    {"Query", range_query_shape, sizeof(struct range_call), query},
    {"Scan", range_scan_shape, sizeof(struct range_call), scan},
    {NULL, NULL, 0, NULL},
};
