/* Scan and Query: pages of rows.
 *
 * A page is gathered from one shard after the other (a Query needs one) until a limit ends it. The
 * position it ended at is the key of the last row looked at; from a key follow its shard and the
 * place in it, so a page needs no memory of the one before. */

#include "node/aws/dynamodb_call.h"
#include "node/aws/dynamodb_expression.h"
#include "node/aws/dynamodb_key_condition.h"
#include "node/aws/dynamodb_members.h"
#include "node/aws/dynamodb_value.h"
#include "node/table/table_engine.h"
#include "proto/base/check.h"

#define SEGMENTS_MAX 1000000

/* ---- shapes ---------------------------------------------------------------------------------- */

#define SELECT                                                                                     \
    {                                                                                              \
        "Select", SHAPE_STRING,                                                                    \
            .choices = "SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES"      \
    }
#define INDEX_NAME                                                                                 \
    {                                                                                              \
        "IndexName", SHAPE_STRING, .min = 3, .max = 255, .pattern = SHAPE_NAME_PATTERN             \
    }
#define START_KEY                                                                                  \
    {                                                                                              \
        "ExclusiveStartKey", SHAPE_MAP, .of = dynamodb_attribute_element                           \
    }

static const struct shape scan_shape[] = {
    MEMBER_TABLE_NAME,
    INDEX_NAME,
    MEMBER_ATTRIBUTES_TO_GET,
    {"Limit", SHAPE_INTEGER, .min = 1},
    SELECT,
    {"ScanFilter", SHAPE_MAP, .of = dynamodb_condition_element},
    {"ConditionalOperator", SHAPE_STRING, .choices = "OR, AND"},
    START_KEY,
    MEMBER_CAPACITY,
    {"TotalSegments", SHAPE_INTEGER, .min = 1, .max = SEGMENTS_MAX},
    {"Segment", SHAPE_INTEGER, .max = SEGMENTS_MAX - 1},
    {.name = "ProjectionExpression", .kind = SHAPE_STRING},
    {.name = "FilterExpression", .kind = SHAPE_STRING},
    MEMBER_NAMES,
    MEMBER_VALUES,
    {.name = "ConsistentRead", .kind = SHAPE_BOOLEAN},
    MEMBER_END};

static const struct shape query_shape[] = {
    MEMBER_TABLE_NAME,
    INDEX_NAME,
    SELECT,
    MEMBER_ATTRIBUTES_TO_GET,
    {"Limit", SHAPE_INTEGER, .min = 1},
    {.name = "ConsistentRead", .kind = SHAPE_BOOLEAN},
    {"KeyConditions", SHAPE_MAP, .of = dynamodb_condition_element},
    {"QueryFilter", SHAPE_MAP, .of = dynamodb_condition_element},
    {"ConditionalOperator", SHAPE_STRING, .choices = "OR, AND"},
    {.name = "ScanIndexForward", .kind = SHAPE_BOOLEAN},
    START_KEY,
    MEMBER_CAPACITY,
    {.name = "ProjectionExpression", .kind = SHAPE_STRING},
    {.name = "FilterExpression", .kind = SHAPE_STRING},
    {.name = "KeyConditionExpression", .kind = SHAPE_STRING},
    MEMBER_NAMES,
    MEMBER_VALUES,
    MEMBER_END};

static const char *const scan_expressions[] = {"FilterExpression", "ProjectionExpression", NULL};
static const char *const scan_legacy[] = {"AttributesToGet", "ScanFilter", "ConditionalOperator",
                                          NULL};
static const struct dynamodb_expression_rules scan_rules = {scan_expressions, scan_legacy};
static const char *const query_expressions[] = {"FilterExpression", "KeyConditionExpression",
                                                "ProjectionExpression", NULL};
static const char *const query_legacy[] = {"AttributesToGet", "QueryFilter", "ConditionalOperator",
                                           "KeyConditions", NULL};
static const struct dynamodb_expression_rules query_rules = {query_expressions, query_legacy};

/* ---- a page at work -------------------------------------------------------------------------- */

struct range_call {
    struct dynamodb_call call;
    struct shard_request request;
    struct dynamodb_key_range range; /* of row keys; a Scan's is the whole table */
    struct buffer start;             /* forward: the lowest key; backward: the end. In the first
                                        shard; empty: the range's own */
    struct buffer filter;
    struct buffer projection;
    struct buffer position_paths;
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
    uint64_t bytes; /* looked at */
    uint64_t scanned;
    uint64_t count;
};

static void send_query(struct range_call *range);

static void release_range(struct dynamodb_call *call)
{
    struct range_call *range = container_of(call, struct range_call, call);

    shard_request_cancel(&range->request);
    buffer_close(&range->range.low);
    buffer_close(&range->range.high);
    buffer_close(&range->start);
    buffer_close(&range->filter);
    buffer_close(&range->projection);
    buffer_close(&range->position_paths);
    buffer_close(&range->body);
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
    CHECK(buffer_reserve(&packed, skein__wire__table_query__get_packed_size(&query)) == OK);
    packed.size = skein__wire__table_query__pack(&query, packed.data);
    shard_router_read(
        call->dynamodb->with.router, &range->request, range->shard, SHARD_ENGINE_TABLE,
        buffer_slice(&packed), range->is_strong ? SHARD_STRONG : SHARD_EVENTUAL,
        arena_text(call->arena, call->request->region), DYNAMODB_DEADLINE_MS, on_page);
    buffer_close(&packed);
}

/* ---- reading the request --------------------------------------------------------------------- */

static struct range_call *range_call_of(struct dynamodb_call *call)
{
    struct range_call *range = container_of(call, struct range_call, call);
    struct buffer *const buffers[] = {&range->range.low, &range->range.high, &range->start,
                                      &range->filter,    &range->projection, &range->position_paths,
                                      &range->body};

    for (size_t i = 0; i < ARRAY_COUNT(buffers); i++)
        buffer_init(buffers[i], BUFFER_UNLIMITED);
    call->release = release_range;
    return range;
}

/* What both have in common, after their expressions. */
static const char *read_options(struct range_call *range, const struct expression_paths *projection)
{
    const struct dynamodb_call *call = &range->call;
    const json_t *limit = dynamodb_member(call, "Limit");
    int64_t rows = dynamodb_shape_integer(limit);
    const char *select = dynamodb_text(call, "Select");

    range->has_limit = limit != NULL;
    range->row_limit = rows < UINT32_MAX ? (uint32_t)rows : UINT32_MAX;
    range->is_strong = dynamodb_flag(call, "ConsistentRead", false);
    range->count_only = select != NULL && strcmp(select, "COUNT") == 0;
    if (select == NULL || strcmp(select, "SPECIFIC_ATTRIBUTES") == 0) {
        if (select != NULL && projection->count == 0)
            return "Must specify the AttributesToGet or ProjectionExpression when choosing to get "
                   "SPECIFIC_ATTRIBUTES";
        return NULL;
    }
    if (projection->count > 0)
        return arena_printf(call->arena, "Cannot specify the %s when choosing to get %s",
                            dynamodb_member(call, "AttributesToGet") != NULL
                                ? "AttributesToGet"
                                : "ProjectionExpression",
                            select);
    if (strcmp(select, "ALL_PROJECTED_ATTRIBUTES") == 0)
        return "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName";
    return NULL;
}

struct range_expressions {
    const struct expression *filter;
    const struct expression *key_condition;
    struct expression_paths projection;
};

static const char *read_expressions(struct range_call *range,
                                    const struct dynamodb_expression_rules *rules,
                                    struct range_expressions *read)
{
    struct dynamodb_call *call = &range->call;
    struct dynamodb_expressions expressions;
    struct buffer start = BUFFER_INIT(BUFFER_UNLIMITED);
    const json_t *start_key = dynamodb_member(call, "ExclusiveStartKey");
    const char *why = dynamodb_expressions_check(&expressions, call->arena, call->input, rules);

    if (why == NULL && start_key != NULL) {
        why = dynamodb_value_put_item(call->arena, &start, start_key);
        if (why != NULL)
            why = arena_printf(call->arena, "The provided starting key is invalid: %s", why);
    }
    buffer_close(&start);
    if (why == NULL && dynamodb_member(call, "AttributesToGet") != NULL)
        why = dynamodb_read_attributes_to_get(call->arena, dynamodb_member(call, "AttributesToGet"),
                                              &read->projection);
    if (why == NULL)
        why = dynamodb_expressions_bind(&expressions);
    if (why == NULL && rules == &query_rules)
        why =
            dynamodb_parse_condition(&expressions, "KeyConditionExpression", &read->key_condition);
    if (why == NULL)
        why = dynamodb_parse_condition(&expressions, "FilterExpression", &read->filter);
    if (why == NULL && dynamodb_member(call, "ProjectionExpression") != NULL)
        why = dynamodb_parse_projection(&expressions, "ProjectionExpression", &read->projection);
    if (why == NULL)
        why = dynamodb_expressions_close(&expressions);
    if (why == NULL)
        why = read_options(range, &read->projection);
    return why;
}

static void encode_expressions(struct range_call *range, const struct range_expressions *read)
{
    const struct table_schema *schema = &range->call.table->schema;
    struct expression_step steps[TABLE_KEY_PARTS_MAX] = {0};
    struct expression_path paths[TABLE_KEY_PARTS_MAX];
    struct expression_paths position = {paths, schema->part_count};

    if (read->filter != NULL)
        expression_put(&range->filter, read->filter);
    if (read->projection.count > 0)
        expression_put_paths(&range->projection, &read->projection);
    for (size_t i = 0; i < schema->part_count; i++) {
        steps[i].name = schema->parts[i].name;
        paths[i] = (struct expression_path){&steps[i], 1};
    }
    expression_put_paths(&range->position_paths, &position);
}

/* The row key of ExclusiveStartKey goes to `start`: where to go on in `shard`. */
static const char *read_start(struct range_call *range, uint32_t *shard)
{
    struct dynamodb_call *call = &range->call;
    struct buffer key = BUFFER_INIT(BUFFER_UNLIMITED);
    const char *why = dynamodb_read_key(call->arena, &call->table->schema,
                                        dynamodb_member(call, "ExclusiveStartKey"), &key);

    if (why == NULL) {
        *shard = dynamodb_row_key(call->dynamodb, call->table, buffer_slice(&key), &range->start);
        if (!range->is_backward)
            buffer_put_u8(&range->start, 0); /* the first key above it */
    } else {
        why = arena_printf(call->arena, "The provided starting key is invalid: %s", why);
    }
    buffer_close(&key);
    return why;
}

static void start_page(struct range_call *range, const struct range_expressions *read)
{
    range->json = json_write_to(&range->body);
    encode_expressions(range, read);
    json_begin_object(&range->json);
    if (!range->count_only) {
        json_key(&range->json, "Items");
        json_begin_array(&range->json);
    }
    send_query(range);
}

/* ---- Scan ------------------------------------------------------------------------------------ */

static const char *read_segments(struct range_call *range, uint32_t *segment, uint32_t *total)
{
    const json_t *segment_member = dynamodb_member(&range->call, "Segment");
    const json_t *total_member = dynamodb_member(&range->call, "TotalSegments");

    *segment = 0;
    *total = 1;
    if (segment_member == NULL && total_member == NULL)
        return NULL;
    if (segment_member == NULL)
        return "The Segment parameter is required but was not present in the request when "
               "parameter TotalSegments is present";
    if (total_member == NULL)
        return "The TotalSegments parameter is required but was not present in the request when "
               "Segment parameter is present";
    if (dynamodb_shape_integer(segment_member) < 0)
        return arena_printf(range->call.arena,
                            "1 validation error detected: Value '%lld' at 'segment' failed to "
                            "satisfy constraint: Member must have value greater than or equal to 0",
                            (long long)dynamodb_shape_integer(segment_member));
    *segment = (uint32_t)dynamodb_shape_integer(segment_member);
    *total = (uint32_t)dynamodb_shape_integer(total_member);
    if (*segment < *total)
        return NULL;
    return arena_printf(range->call.arena,
                        "The Segment parameter is zero-based and must be less than parameter "
                        "TotalSegments: Segment: %u is not less than TotalSegments: %u",
                        *segment, *total);
}

/* A segment is every `total`th shard. With more segments than shards some stay empty. */
static const char *place_scan(struct range_call *range, uint32_t segment, uint32_t total)
{
    struct dynamodb_call *call = &range->call;
    const char *why = NULL;

    table_key_put_table(&range->range.low, call->table->record->id.data);
    buffer_put_slice(&range->range.high, buffer_slice(&range->range.low));
    table_key_after_prefix(&range->range.high);
    range->shard = segment;
    range->shard_step = total;
    range->shard_end = shard_router_shard_count(call->dynamodb->with.router);
    if (dynamodb_member(call, "ExclusiveStartKey") != NULL)
        why = read_start(range, &range->shard);
    if (why == NULL && range->shard % total != segment)
        why = arena_printf(call->arena,
                           "The provided starting key is invalid: Invalid ExclusiveStartKey. "
                           "Please use ExclusiveStartKey with correct Segment. TotalSegments: %u "
                           "Segment: %u",
                           total, segment);
    return why;
}

static bool refuse_index(struct range_call *range)
{
    struct dynamodb_call *call = &range->call;
    const char *name = dynamodb_text(call, "IndexName");

    if (name == NULL)
        return false;
    dynamodb_invalid(
        call, arena_printf(call->arena, "The table does not have the specified index: %s", name));
    return true;
}

static void scan(struct dynamodb_call *call)
{
    struct range_call *range = range_call_of(call);
    struct range_expressions read = {0};
    uint32_t segment = 0;
    uint32_t total = 1;
    const char *why = read_segments(range, &segment, &total);

    if (why == NULL)
        why = read_expressions(range, &scan_rules, &read);
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (!dynamodb_find_table(call, dynamodb_text(call, "TableName")) || refuse_index(range))
        return;
    why = place_scan(range, segment, total);
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (range->shard >= range->shard_end) { /* a segment without a shard */
        range->json = json_write_to(&range->body);
        json_begin_object(&range->json);
        if (!range->count_only) {
            json_key(&range->json, "Items");
            json_begin_array(&range->json);
        }
        finish(range, slice_of(NULL, 0));
        return;
    }
    start_page(range, &read);
}

/* ---- Query ----------------------------------------------------------------------------------- */

static const char *place_query(struct range_call *range, const struct range_expressions *read)
{
    struct dynamodb_call *call = &range->call;
    const struct table_schema *schema = &call->table->schema;
    struct slice id = slice_of(call->table->record->id.data, call->table->record->id.len);
    const struct table_key_part *key = NULL;
    const char *why =
        dynamodb_key_condition(call->arena, schema, id.data, read->key_condition, &range->range);
    uint32_t shard;

    if (why != NULL)
        return why;
    if (read->filter != NULL)
        key = dynamodb_key_in_filter(schema, read->filter);
    if (key != NULL)
        return arena_printf(call->arena,
                            "Filter Expression can only contain non-primary key attributes: "
                            "Primary key attribute: %.*s",
                            (int)key->name.size, (const char *)key->name.data);
    range->shard = shard_router_shard_of(call->dynamodb->with.router, id, range->range.hash_part);
    range->shard_step = 1;
    range->shard_end = range->shard + 1;
    if (dynamodb_member(call, "ExclusiveStartKey") == NULL)
        return NULL;
    why = read_start(range, &shard);
    if (why == NULL &&
        (slice_compare(buffer_slice(&range->start), buffer_slice(&range->range.low)) < 0 ||
         slice_compare(buffer_slice(&range->start), buffer_slice(&range->range.high)) >= 0))
        why = "The provided starting key is outside query boundaries based on provided conditions";
    return why;
}

static void query(struct dynamodb_call *call)
{
    struct range_call *range = range_call_of(call);
    struct range_expressions read = {0};
    const char *why;

    range->is_backward = !dynamodb_flag(call, "ScanIndexForward", true);
    why = read_expressions(range, &query_rules, &read);
    if (why == NULL && read.key_condition == NULL)
        why = "Either the KeyConditions or KeyConditionExpression parameter must be specified in "
              "the request.";
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (!dynamodb_find_table(call, dynamodb_text(call, "TableName")) || refuse_index(range))
        return;
    why = place_query(range, &read);
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    start_page(range, &read);
}

const struct dynamodb_operation dynamodb_range_operations[] = {
    {"Query", query_shape, sizeof(struct range_call), query},
    {"Scan", scan_shape, sizeof(struct range_call), scan},
    {NULL, NULL, 0, NULL},
};
