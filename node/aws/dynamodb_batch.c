/* BatchGetItem and BatchWriteItem: many rows, each by itself.
 *
 * All parts go out at once. What a shard sheds or cannot answer in time comes back as unprocessed,
 * for the client to send again; the whole fails only when nothing came through. */

#include "node/aws/dynamodb_call.h"
#include "node/aws/dynamodb_expression.h"
#include "node/aws/dynamodb_members.h"
#include "node/aws/dynamodb_value.h"
#include "node/aws/dynamodb_write.h"
#include "node/table/table_engine.h"
#include "proto/base/check.h"

#define GETS_MAX 100
#define WRITES_MAX 25
#define GET_BYTES_MAX (16u * 1024 * 1024)

/* ---- shapes ---------------------------------------------------------------------------------- */

static const struct shape key_map_element[] = {
    {.kind = SHAPE_MAP, .of = dynamodb_attribute_element}};
static const struct shape keys_and_attributes_members[] = {
    MEMBER_ATTRIBUTES_TO_GET,
    {"Keys", SHAPE_LIST, .of = key_map_element, .is_required = true, .min = 1, .max = GETS_MAX},
    {.name = "ConsistentRead", .kind = SHAPE_BOOLEAN},
    {.name = "ProjectionExpression", .kind = SHAPE_STRING},
    MEMBER_NAMES,
    MEMBER_END};
static const struct shape keys_and_attributes_element[] = {
    {.kind = SHAPE_STRUCTURE, .type = "KeysAndAttributes", .of = keys_and_attributes_members}};
static const struct shape get_shape[] = {{"RequestItems", SHAPE_MAP,
                                          .of = keys_and_attributes_element, .is_required = true,
                                          .min = 1, .has_table_keys = true},
                                         MEMBER_CAPACITY,
                                         MEMBER_END};

static const struct shape put_members[] = {
    {"Item", SHAPE_MAP, .of = dynamodb_attribute_element, .is_required = true}, MEMBER_END};
static const struct shape delete_members[] = {MEMBER_KEY, MEMBER_END};
static const struct shape write_members[] = {
    {"PutRequest", SHAPE_STRUCTURE, .type = "PutRequest", .of = put_members},
    {"DeleteRequest", SHAPE_STRUCTURE, .type = "DeleteRequest", .of = delete_members},
    MEMBER_END};
static const struct shape write_element[] = {
    {.kind = SHAPE_STRUCTURE, .type = "WriteRequest", .of = write_members}};
static const struct shape write_list_element[] = {{.kind = SHAPE_LIST, .of = write_element}};
static const struct shape write_shape[] = {{"RequestItems", SHAPE_MAP, .of = write_list_element,
                                            .is_required = true, .min = 1, .has_table_keys = true,
                                            .value_max = WRITES_MAX},
                                           MEMBER_CAPACITY,
                                           MEMBER_METRICS,
                                           MEMBER_END};

static const char *const get_expressions[] = {"ProjectionExpression", NULL};
static const char *const get_legacy[] = {"AttributesToGet", NULL};
static const struct dynamodb_expression_rules get_rules = {.expressions = get_expressions,
                                                           .legacy = get_legacy};

/* ---- a batch at work ------------------------------------------------------------------------- */

struct batch_table { /* what is asked of one table */
    const char *name;
    struct dynamodb_table *table;
    const json_t *request;
    struct dynamodb_expressions expressions;
    struct buffer projection;
    bool is_strong;
    struct dynamodb_use use;
};

struct batch_part { /* one row */
    struct batch_call *batch;
    struct batch_table *of;
    const json_t *request; /* the key or the write, as it was sent */
    struct shard_request read;
    struct dynamodb_write write;
    struct buffer item;
    struct slice key;                  /* row key, in the arena */
    Skein__Wire__TableCommand command; /* for a write */
    uint32_t shard_number;
    bool is_put;
    bool is_unprocessed;
    Skein__Wire__TableReply *reply;
};

struct batch_call {
    struct dynamodb_call call;
    struct batch_table *tables;
    size_t table_count;
    struct batch_part *parts;
    size_t part_count;
    size_t in_flight;
    enum error failure; /* of one part, for when all failed */
    bool is_write;
};

static void release_batch(struct dynamodb_call *call)
{
    struct batch_call *batch = container_of(call, struct batch_call, call);

    for (size_t i = 0; i < batch->part_count; i++) {
        struct batch_part *part = &batch->parts[i];

        shard_request_cancel(&part->read);
        dynamodb_write_cancel(&part->write);
        buffer_close(&part->item);
        skein__wire__table_reply__free_unpacked(part->reply, NULL);
    }
    for (size_t i = 0; i < batch->table_count; i++) {
        buffer_close(&batch->tables[i].projection);
        dynamodb_table_release(batch->tables[i].table);
    }
}

/* ---- answering ------------------------------------------------------------------------------- */

static struct slice field(const ProtobufCBinaryData *bytes)
{
    return slice_of(bytes->data, bytes->len);
}

static void write_found(struct json_write *json, const struct batch_call *batch)
{
    json_key(json, "Responses");
    json_begin_object(json);
    for (size_t i = 0; i < batch->table_count; i++) {
        json_key(json, batch->tables[i].table->record->name);
        json_begin_array(json);
        for (size_t k = 0; k < batch->part_count; k++) {
            const struct batch_part *part = &batch->parts[k];

            if (part->of == &batch->tables[i] && !part->is_unprocessed && part->reply->has_item)
                dynamodb_value_write_item(json, field(&part->reply->item));
        }
        json_end_array(json);
    }
    json_end_object(json);
}

static void write_json(struct json_write *json, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

    CHECK(text != NULL);
    json_raw(json, slice_text(text));
    free(text);
}

/* The parts of one table that did not come through, as they were sent. */
static void write_unprocessed_list(struct json_write *json, const struct batch_call *batch,
                                   const struct batch_table *of)
{
    json_begin_array(json);
    for (size_t i = 0; i < batch->part_count; i++)
        if (batch->parts[i].of == of && batch->parts[i].is_unprocessed)
            write_json(json, batch->parts[i].request);
    json_end_array(json);
}

static void write_unprocessed_keys(struct json_write *json, const struct batch_call *batch,
                                   const struct batch_table *of)
{
    static const char *const others[] = {"AttributesToGet", "ConsistentRead",
                                         "ProjectionExpression", "ExpressionAttributeNames"};

    json_begin_object(json);
    json_key(json, "Keys");
    write_unprocessed_list(json, batch, of);
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        const json_t *member = json_object_get(of->request, others[i]);

        if (member == NULL || json_is_null(member))
            continue;
        json_key(json, others[i]);
        write_json(json, member);
    }
    json_end_object(json);
}

static bool has_unprocessed(const struct batch_call *batch, const struct batch_table *of)
{
    for (size_t i = 0; i < batch->part_count; i++)
        if (batch->parts[i].of == of && batch->parts[i].is_unprocessed)
            return true;
    return false;
}

static void write_unprocessed(struct json_write *json, const struct batch_call *batch)
{
    json_key(json, batch->is_write ? "UnprocessedItems" : "UnprocessedKeys");
    json_begin_object(json);
    for (size_t i = 0; i < batch->table_count; i++) {
        const struct batch_table *of = &batch->tables[i];

        if (!has_unprocessed(batch, of))
            continue;
        json_key(json, of->table->record->name);
        if (batch->is_write)
            write_unprocessed_list(json, batch, of);
        else
            write_unprocessed_keys(json, batch, of);
    }
    json_end_object(json);
}

static void write_capacities(struct json_write *json, const struct batch_call *batch)
{
    if (!dynamodb_wants_capacity(&batch->call))
        return;
    json_key(json, "ConsumedCapacity");
    json_begin_array(json);
    for (size_t i = 0; i < batch->table_count; i++)
        dynamodb_write_use(json, batch->tables[i].table, &batch->tables[i].use,
                           dynamodb_text_is(&batch->call, "ReturnConsumedCapacity", "INDEXES"));
    json_end_array(json);
}

static void answer(struct batch_call *batch)
{
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&body);

    json_begin_object(&json);
    if (!batch->is_write)
        write_found(&json, batch);
    write_unprocessed(&json, batch);
    write_capacities(&json, batch);
    json_end_object(&json);
    dynamodb_answer(&batch->call, &body);
}

static void finish(struct batch_call *batch)
{
    uint64_t bytes = 0;
    size_t processed = 0;

    for (size_t i = 0; i < batch->part_count; i++) {
        struct batch_part *part = &batch->parts[i];

        if (part->is_unprocessed)
            continue;
        bytes += part->reply->item.len;
        if (bytes > GET_BYTES_MAX && processed > 0) { /* more than an answer may have */
            part->is_unprocessed = true;
            continue;
        }
        processed++;
        dynamodb_add_index_use(&part->of->use, part->of->table, part->reply);
        part->of->use.half_units +=
            batch->is_write
                ? dynamodb_write_half_units(part->reply->old_bytes > part->reply->new_bytes
                                                ? part->reply->old_bytes
                                                : part->reply->new_bytes)
                : dynamodb_read_half_units(part->reply->old_bytes, part->of->is_strong);
    }
    if (processed == 0)
        dynamodb_fail(&batch->call, batch->failure);
    else
        answer(batch);
}

/* A row that a transaction still holds is one that could not be written now. */
static void on_outcome(struct batch_part *part, enum error rc, Skein__Wire__TableReply *reply)
{
    struct batch_call *batch = part->batch;

    part->reply = reply;
    if (rc == OK && reply->outcome != TABLE_DONE)
        rc = reply->outcome == TABLE_LOCKED ? ERR_OVERLOADED : ERR_INTERNAL;
    if (rc != OK) {
        part->is_unprocessed = true;
        batch->failure = rc;
    }
    if (--batch->in_flight == 0)
        finish(batch);
}

static void on_written(struct dynamodb_write *write, enum error rc, Skein__Wire__TableReply *reply)
{
    on_outcome(container_of(write, struct batch_part, write), rc, reply);
}

static void on_read(struct shard_request *request, enum error rc, struct slice bytes)
{
    Skein__Wire__TableReply *reply = NULL;

    if (rc == OK) {
        reply = skein__wire__table_reply__unpack(NULL, bytes.size, bytes.data);
        rc = reply != NULL ? OK : ERR_INTERNAL;
    }
    on_outcome(container_of(request, struct batch_part, read), rc, reply);
}

/* ---- sending --------------------------------------------------------------------------------- */

static ProtobufCBinaryData field_of(struct slice bytes)
{
    return (ProtobufCBinaryData){bytes.size, (uint8_t *)(uintptr_t)bytes.data};
}

static void send_write(struct batch_part *part)
{
    struct dynamodb_call *call = &part->batch->call;
    Skein__Wire__TableCommand *command = &part->command;

    command->kind = part->is_put ? TABLE_PUT : TABLE_DELETE;
    command->wants_sizes = dynamodb_wants_capacity(call);
    if (part->is_put)
        command->item = field_of(buffer_slice(&part->item));
    dynamodb_write_start(call->dynamodb, &part->write, part->shard_number, command, on_written);
}

static void send_get(struct batch_part *part)
{
    struct dynamodb_call *call = &part->batch->call;
    Skein__Wire__TableQuery query = SKEIN__WIRE__TABLE_QUERY__INIT;
    struct buffer packed = BUFFER_INIT(BUFFER_UNLIMITED);

    query.kind = TABLE_GET;
    query.key = field_of(part->key);
    query.projection = field_of(buffer_slice(&part->of->projection));
    CHECK(buffer_reserve(&packed, skein__wire__table_query__get_packed_size(&query)) == OK);
    packed.size = skein__wire__table_query__pack(&query, packed.data);
    shard_router_read(
        call->dynamodb->with.router, &part->read, part->shard_number, SHARD_ENGINE_TABLE,
        buffer_slice(&packed), part->of->is_strong ? SHARD_STRONG : SHARD_EVENTUAL,
        arena_text(call->arena, call->request->region), DYNAMODB_DEADLINE_MS, on_read);
    buffer_close(&packed);
}

static void send_all(struct batch_call *batch)
{
    batch->in_flight = batch->part_count;
    for (size_t i = 0; i < batch->part_count; i++) {
        if (batch->is_write)
            send_write(&batch->parts[i]);
        else
            send_get(&batch->parts[i]);
    }
}

/* ---- reading the request: first what needs no table ------------------------------------------ */

static struct batch_part *add_part(struct batch_call *batch, struct batch_table *of,
                                   const json_t *request)
{
    struct batch_part *part = &batch->parts[batch->part_count++];

    part->batch = batch;
    part->of = of;
    part->request = request;
    buffer_init(&part->item, BUFFER_UNLIMITED);
    return part;
}

static const char *read_write(struct batch_call *batch, struct batch_table *of,
                              const json_t *request)
{
    struct batch_part *part = add_part(batch, of, request);
    const json_t *put = json_object_get(request, "PutRequest");
    const json_t *remove = json_object_get(request, "DeleteRequest");
    const char *why;

    if (json_is_object(put) == json_is_object(remove))
        return "Supplied AttributeValue has more than one datatypes set, must contain exactly one "
               "of the supported datatypes";
    part->is_put = json_is_object(put);
    why = dynamodb_value_put_item(batch->call.arena, &part->item,
                                  part->is_put ? json_object_get(put, "Item")
                                               : json_object_get(remove, "Key"));
    if (why == NULL && part->is_put && item_size_whole(buffer_slice(&part->item)) > ITEM_BYTES_MAX)
        why = "Item size has exceeded the maximum allowed size";
    return why;
}

static const char *read_writes(struct batch_call *batch, struct batch_table *of)
{
    const char *why = NULL;

    for (size_t i = 0; i < json_array_size(of->request) && why == NULL; i++)
        why = read_write(batch, of, json_array_get(of->request, i));
    return why;
}

static const char *read_projection(struct batch_call *batch, struct batch_table *of)
{
    struct arena *arena = batch->call.arena;
    struct expression_paths paths = {0};
    const json_t *attributes = json_object_get(of->request, "AttributesToGet");
    const char *why = dynamodb_expressions_check(&of->expressions, arena, of->request, &get_rules);

    if (why == NULL && json_is_array(attributes))
        why = dynamodb_read_attributes_to_get(arena, attributes, &paths);
    if (why == NULL)
        why = dynamodb_expressions_bind(&of->expressions);
    if (why == NULL && !json_is_array(attributes))
        why = dynamodb_parse_projection(&of->expressions, "ProjectionExpression", &paths);
    if (why == NULL)
        why = dynamodb_expressions_close(&of->expressions);
    if (why == NULL && paths.count > 0)
        expression_put_paths(&of->projection, &paths);
    return why;
}

static const char *read_get(struct batch_call *batch, struct batch_table *of, const json_t *key)
{
    struct batch_part *part = add_part(batch, of, key);
    const char *why = dynamodb_value_put_item(batch->call.arena, &part->item, key);

    for (struct batch_part *other = batch->parts; why == NULL && other < part; other++)
        if (other->of == of && slice_equal(buffer_slice(&other->item), buffer_slice(&part->item)))
            why = "Provided list of item keys contains duplicates";
    return why;
}

static const char *read_gets(struct batch_call *batch, struct batch_table *of)
{
    const json_t *keys = json_object_get(of->request, "Keys");
    const char *why = read_projection(batch, of);

    of->is_strong = dynamodb_shape_is_true(json_object_get(of->request, "ConsistentRead"));
    for (size_t i = 0; i < json_array_size(keys) && why == NULL; i++)
        why = read_get(batch, of, json_array_get(keys, i));
    return why;
}

static const char *read_requests(struct batch_call *batch)
{
    json_t *map = json_object_get(batch->call.input, "RequestItems");
    const char *why = NULL;

    for (void *at = json_object_iter(map); at != NULL && why == NULL;
         at = json_object_iter_next(map, at)) {
        struct batch_table *of = &batch->tables[batch->table_count++];

        of->name = json_object_iter_key(at);
        of->request = json_object_iter_value(at);
        buffer_init(&of->projection, BUFFER_UNLIMITED);
        why = batch->is_write ? read_writes(batch, of) : read_gets(batch, of);
    }
    return why;
}

/* ---- then the tables, and what they say of the keys --------------------------------------------
 */

static const char *check_part(const struct batch_part *part)
{
    struct arena *arena = part->batch->call.arena;
    const struct dynamodb_table *table = part->of->table;
    const char *why =
        dynamodb_check_key(arena, &table->schema, buffer_slice(&part->item), part->is_put);

    if (why == NULL && part->is_put)
        why = dynamodb_check_index_keys(arena, table, buffer_slice(&part->item));
    return why;
}

/* The row key of the part's item or key; no two parts may have the same. */
static const char *place_part(struct batch_part *part)
{
    struct dynamodb_call *call = &part->batch->call;
    struct buffer key = BUFFER_INIT(BUFFER_UNLIMITED);

    skein__wire__table_command__init(&part->command);
    part->shard_number = dynamodb_place_command(call->dynamodb, part->of->table,
                                                buffer_slice(&part->item), &key, &part->command);
    part->key = arena_copy(call->arena, buffer_slice(&key));
    part->command.key = field_of(part->key);
    buffer_close(&key);
    for (struct batch_part *other = part->batch->parts; other < part; other++)
        if (slice_equal(other->key, part->key))
            return "Provided list of item keys contains duplicates";
    return NULL;
}

static const char *place_table(struct batch_call *batch, const struct batch_table *of)
{
    const char *why = dynamodb_expressions_check_table(&of->expressions, of->table);

    for (size_t i = 0; i < batch->part_count && why == NULL; i++) {
        if (batch->parts[i].of != of)
            continue;
        why = check_part(&batch->parts[i]);
        if (why == NULL)
            why = place_part(&batch->parts[i]);
    }
    return why;
}

/* False: answered. */
static bool find_tables(struct batch_call *batch)
{
    struct dynamodb_call *call = &batch->call;

    for (size_t i = 0; i < batch->table_count; i++) {
        struct batch_table *of = &batch->tables[i];
        const char *why;

        if (!dynamodb_find_table(call, of->name))
            return false;
        of->table = call->table; /* the reference moves */
        call->table = NULL;
        why = place_table(batch, of);
        if (why != NULL) {
            dynamodb_invalid(call, why);
            return false;
        }
    }
    return true;
}

static void start_batch(struct dynamodb_call *call, bool is_write)
{
    struct batch_call *batch = container_of(call, struct batch_call, call);
    json_t *map = json_object_get(call->input, "RequestItems");
    const char *why;
    size_t count = 0;

    call->release = release_batch;
    batch->is_write = is_write;
    for (void *at = json_object_iter(map); at != NULL; at = json_object_iter_next(map, at)) {
        const json_t *value = json_object_iter_value(at);

        count += json_array_size(is_write ? value : json_object_get(value, "Keys"));
    }
    batch->tables = arena_alloc(call->arena, json_object_size(map) * sizeof(*batch->tables));
    batch->parts = arena_alloc(call->arena, count * sizeof(*batch->parts));
    why = read_requests(batch);
    if (why == NULL && count > (is_write ? WRITES_MAX : GETS_MAX))
        why = is_write ? "Too many items requested for the BatchWriteItem call"
                       : "Too many items requested for the BatchGetItem call";
    if (why != NULL)
        dynamodb_invalid(call, why);
    else if (find_tables(batch))
        send_all(batch);
}

static void batch_get_item(struct dynamodb_call *call)
{
    start_batch(call, false);
}

static void batch_write_item(struct dynamodb_call *call)
{
    start_batch(call, true);
}

const struct dynamodb_operation dynamodb_batch_operations[] = {
    {"BatchGetItem", get_shape, sizeof(struct batch_call), batch_get_item},
    {"BatchWriteItem", write_shape, sizeof(struct batch_call), batch_write_item},
    {NULL, NULL, 0, NULL},
};
