/* PutItem, GetItem, DeleteItem, UpdateItem: one row each. */

#include "node/aws/dynamodb_call.h"
#include "node/aws/dynamodb_expression.h"
#include "node/aws/dynamodb_legacy.h"
#include "node/aws/dynamodb_members.h"
#include "node/aws/dynamodb_update.h"
#include "node/aws/dynamodb_value.h"
#include "node/aws/dynamodb_write.h"
#include "node/table/table_engine.h"
#include "proto/base/check.h"

/* ---- shapes ---------------------------------------------------------------------------------- */

static const struct shape put_shape[] = {
    MEMBER_TABLE_NAME,
    MEMBER_CAPACITY,
    MEMBER_METRICS,
    MEMBER_RETURN_VALUES,
    MEMBER_RETURN_ON_FAILURE,
    {"Item", SHAPE_MAP, .of = dynamodb_attribute_element, .is_required = true},
    MEMBER_EXPECTED,
    {.name = "ConditionExpression", .kind = SHAPE_STRING},
    MEMBER_NAMES,
    MEMBER_VALUES,
    MEMBER_END};

static const struct shape delete_shape[] = {MEMBER_TABLE_NAME,
                                            MEMBER_CAPACITY,
                                            MEMBER_METRICS,
                                            MEMBER_RETURN_VALUES,
                                            MEMBER_RETURN_ON_FAILURE,
                                            MEMBER_KEY,
                                            MEMBER_EXPECTED,
                                            {.name = "ConditionExpression", .kind = SHAPE_STRING},
                                            MEMBER_NAMES,
                                            MEMBER_VALUES,
                                            MEMBER_END};

static const struct shape update_shape[] = {
    MEMBER_TABLE_NAME,
    MEMBER_CAPACITY,
    MEMBER_METRICS,
    MEMBER_RETURN_VALUES,
    MEMBER_RETURN_ON_FAILURE,
    MEMBER_KEY,
    {"AttributeUpdates", SHAPE_MAP, .of = dynamodb_update_element},
    MEMBER_EXPECTED,
    {.name = "UpdateExpression", .kind = SHAPE_STRING},
    {.name = "ConditionExpression", .kind = SHAPE_STRING},
    MEMBER_NAMES,
    MEMBER_VALUES,
    MEMBER_END};

static const struct shape get_shape[] = {MEMBER_TABLE_NAME,
                                         MEMBER_CAPACITY,
                                         MEMBER_ATTRIBUTES_TO_GET,
                                         MEMBER_KEY,
                                         {.name = "ConsistentRead", .kind = SHAPE_BOOLEAN},
                                         {.name = "ProjectionExpression", .kind = SHAPE_STRING},
                                         MEMBER_NAMES,
                                         MEMBER_END};

static const char *const condition_expressions[] = {"ConditionExpression", NULL};
static const char *const condition_legacy[] = {"Expected", "ConditionalOperator", NULL};
static const struct dynamodb_expression_rules condition_rules = {
    .expressions = condition_expressions, .legacy = condition_legacy};
static const char *const update_expressions[] = {"UpdateExpression", "ConditionExpression", NULL};
static const char *const update_legacy[] = {"AttributeUpdates", "Expected", "ConditionalOperator",
                                            NULL};
static const struct dynamodb_expression_rules update_rules = {.expressions = update_expressions,
                                                              .legacy = update_legacy};
static const char *const projection_expressions[] = {"ProjectionExpression", NULL};
static const char *const projection_legacy[] = {"AttributesToGet", NULL};
static const struct dynamodb_expression_rules projection_rules = {
    .expressions = projection_expressions, .legacy = projection_legacy};

/* ---- what the four share --------------------------------------------------------------------- */

struct item_call {
    struct dynamodb_call call;
    struct shard_request read;
    struct dynamodb_write write;
    struct buffer item; /* the new item, or the key */
    struct dynamodb_expressions expressions;
    bool is_read;
    bool is_strong;
};

static void release_item_call(struct dynamodb_call *call)
{
    struct item_call *item = container_of(call, struct item_call, call);

    shard_request_cancel(&item->read);
    dynamodb_write_cancel(&item->write);
    buffer_close(&item->item);
}

static uint64_t consumed(const struct item_call *item, const Skein__Wire__TableReply *reply)
{
    uint64_t bytes = reply->old_bytes > reply->new_bytes ? reply->old_bytes : reply->new_bytes;

    return item->is_read ? dynamodb_read_half_units(bytes, item->is_strong)
                         : dynamodb_write_half_units(bytes);
}

static void write_capacity(struct json_write *json, const struct item_call *item,
                           const Skein__Wire__TableReply *reply)
{
    struct dynamodb_use use = {.half_units = consumed(item, reply)};

    if (!dynamodb_wants_capacity(&item->call))
        return;
    dynamodb_add_index_use(&use, item->call.table, reply);
    json_key(json, "ConsumedCapacity");
    dynamodb_write_use(json, item->call.table, &use,
                       dynamodb_text_is(&item->call, "ReturnConsumedCapacity", "INDEXES"));
}

/* A collection is all items of one hash key, of a table with local indexes. Its size is not known
 * better than that it fits into a shard. */
static void write_collection_metrics(struct json_write *json, const struct item_call *item)
{
    const struct dynamodb_table *table = item->call.table;
    struct item_value attributes = item_root(buffer_slice(&item->item));
    struct item_value hash;

    if (item->is_read || table->record->n_local_indexes == 0 ||
        !dynamodb_text_is(&item->call, "ReturnItemCollectionMetrics", "SIZE") ||
        !item_find(&attributes, table->schema.parts[0].name, &hash))
        return;
    json_key(json, "ItemCollectionMetrics");
    json_begin_object(json);
    json_key(json, "ItemCollectionKey");
    json_begin_object(json);
    json_key_slice(json, table->schema.parts[0].name);
    dynamodb_value_write(json, &hash);
    json_end_object(json);
    json_key(json, "SizeEstimateRangeGB");
    json_raw(json, SLICE_LITERAL("[0.0,1.0]"));
    json_end_object(json);
}

static void answer(struct item_call *item, const Skein__Wire__TableReply *reply)
{
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&body);

    json_begin_object(&json);
    if (reply->has_item) {
        json_key(&json, item->is_read ? "Item" : "Attributes");
        dynamodb_value_write_item(&json, slice_of(reply->item.data, reply->item.len));
    }
    write_capacity(&json, item, reply);
    write_collection_metrics(&json, item);
    json_end_object(&json);
    dynamodb_answer(&item->call, &body);
}

/* `reply` is taken. */
static void on_outcome(struct item_call *item, enum error rc, Skein__Wire__TableReply *reply)
{
    if (rc != OK)
        dynamodb_fail(&item->call, rc);
    else if (reply->outcome != TABLE_DONE)
        dynamodb_fail_outcome(&item->call, reply);
    else
        answer(item, reply);
    skein__wire__table_reply__free_unpacked(reply, NULL);
}

static void on_written(struct dynamodb_write *write, enum error rc, Skein__Wire__TableReply *reply)
{
    on_outcome(container_of(write, struct item_call, write), rc, reply);
}

static void on_read(struct shard_request *request, enum error rc, struct slice bytes)
{
    Skein__Wire__TableReply *reply = NULL;

    if (rc == OK) {
        reply = skein__wire__table_reply__unpack(NULL, bytes.size, bytes.data);
        rc = reply != NULL ? OK : ERR_INTERNAL;
    }
    on_outcome(container_of(request, struct item_call, read), rc, reply);
}

static ProtobufCBinaryData field_of(const struct buffer *bytes)
{
    return (ProtobufCBinaryData){bytes->size, bytes->data};
}

static void send_command(struct item_call *item, Skein__Wire__TableCommand *command)
{
    struct buffer key = BUFFER_INIT(TABLE_KEY_BYTES_MAX);
    uint32_t shard = dynamodb_place_command(item->call.dynamodb, item->call.table,
                                            buffer_slice(&item->item), &key, command);

    command->wants_sizes = dynamodb_wants_capacity(&item->call);
    command->returns_on_failure =
        dynamodb_text_is(&item->call, "ReturnValuesOnConditionCheckFailure", "ALL_OLD");
    dynamodb_write_start(item->call.dynamodb, &item->write, shard, command, on_written);
    buffer_close(&key);
}

static enum table_returns returns_of(const struct dynamodb_call *call)
{
    if (dynamodb_text_is(call, "ReturnValues", "ALL_OLD"))
        return TABLE_RETURNS_ALL_OLD;
    if (dynamodb_text_is(call, "ReturnValues", "ALL_NEW"))
        return TABLE_RETURNS_ALL_NEW;
    if (dynamodb_text_is(call, "ReturnValues", "UPDATED_OLD"))
        return TABLE_RETURNS_UPDATED_OLD;
    if (dynamodb_text_is(call, "ReturnValues", "UPDATED_NEW"))
        return TABLE_RETURNS_UPDATED_NEW;
    return TABLE_RETURNS_NONE;
}

static const char *check_old_or_none(enum table_returns returns)
{
    if (returns == TABLE_RETURNS_NONE || returns == TABLE_RETURNS_ALL_OLD)
        return NULL;
    return "ReturnValues can only be ALL_OLD or NONE";
}

/* Expected with its ConditionalOperator into `encoded` (nothing when absent). */
static const char *read_expected(const struct dynamodb_call *call, struct buffer *encoded)
{
    const json_t *expected = dynamodb_member(call, "Expected");
    const struct expression *condition = NULL;
    bool is_or;
    const char *why =
        dynamodb_legacy_operator(dynamodb_text(call, "ConditionalOperator"), expected, &is_or);

    if (why == NULL && expected != NULL)
        why = dynamodb_legacy_expected(call->arena, expected, is_or, &condition);
    if (why == NULL && condition != NULL)
        expression_put(encoded, condition);
    return why;
}

/* Parses the condition into `encoded` (nothing when absent), and closes the expressions. */
static const char *read_condition(struct dynamodb_expressions *expressions, struct buffer *encoded)
{
    const struct expression *condition = NULL;
    const char *why = dynamodb_parse_condition(expressions, "ConditionExpression", &condition);

    if (why == NULL)
        why = dynamodb_expressions_close(expressions);
    if (why == NULL && condition != NULL)
        expression_put(encoded, condition);
    return why;
}

/* The attribute values of a Key, which are looked at before the table is. */
static const char *check_key_values(struct item_call *item)
{
    const char *why =
        dynamodb_value_put_item(item->call.arena, &item->item, dynamodb_member(&item->call, "Key"));

    buffer_clear(&item->item);
    return why;
}

static struct item_call *item_call_of(struct dynamodb_call *call)
{
    struct item_call *item = container_of(call, struct item_call, call);

    item->item = BUFFER_INIT(BUFFER_UNLIMITED);
    call->release = release_item_call;
    return item;
}

/* False: answered. */
static bool find_table_and_key(struct item_call *item)
{
    struct dynamodb_call *call = &item->call;
    const char *why;

    if (!dynamodb_find_table(call, dynamodb_text(call, "TableName")))
        return false;
    why = dynamodb_read_key(call->arena, &call->table->schema, dynamodb_member(call, "Key"),
                            &item->item);
    if (why != NULL)
        dynamodb_invalid(call, why);
    return why == NULL;
}

/* ---- PutItem --------------------------------------------------------------------------------- */

static const char *read_put(struct item_call *item, struct buffer *condition)
{
    struct dynamodb_call *call = &item->call;
    const char *why =
        dynamodb_expressions_check(&item->expressions, call->arena, call->input, &condition_rules);

    if (why == NULL)
        why = dynamodb_value_put_item(call->arena, &item->item, dynamodb_member(call, "Item"));
    if (why == NULL)
        why = check_old_or_none(returns_of(call));
    if (why == NULL && item_size_whole(buffer_slice(&item->item)) > ITEM_BYTES_MAX)
        why = "Item size has exceeded the maximum allowed size";
    if (why == NULL)
        why = read_expected(call, condition);
    if (why == NULL)
        why = dynamodb_expressions_bind(&item->expressions);
    if (why == NULL)
        why = read_condition(&item->expressions, condition);
    return why;
}

static void put_item(struct dynamodb_call *call)
{
    struct item_call *item = item_call_of(call);
    AUTO(buffer) condition = BUFFER_INIT(BUFFER_UNLIMITED);
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;
    const char *why = read_put(item, &condition);

    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (!dynamodb_find_table(call, dynamodb_text(call, "TableName")))
        return;
    why = dynamodb_check_item_key(call->arena, &call->table->schema, buffer_slice(&item->item));
    if (why == NULL)
        why = dynamodb_check_index_keys(call->arena, call->table, buffer_slice(&item->item));
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    command.kind = TABLE_PUT;
    command.item = field_of(&item->item);
    command.condition = field_of(&condition);
    command.returns = returns_of(call);
    send_command(item, &command);
}

/* ---- DeleteItem ------------------------------------------------------------------------------ */

static void delete_item(struct dynamodb_call *call)
{
    struct item_call *item = item_call_of(call);
    AUTO(buffer) condition = BUFFER_INIT(BUFFER_UNLIMITED);
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;
    const char *why =
        dynamodb_expressions_check(&item->expressions, call->arena, call->input, &condition_rules);

    if (why == NULL)
        why = check_key_values(item);
    if (why == NULL)
        why = check_old_or_none(returns_of(call));
    if (why == NULL)
        why = read_expected(call, &condition);
    if (why == NULL)
        why = dynamodb_expressions_bind(&item->expressions);
    if (why == NULL)
        why = read_condition(&item->expressions, &condition);
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (!find_table_and_key(item))
        return;
    command.kind = TABLE_DELETE;
    command.condition = field_of(&condition);
    command.returns = returns_of(call);
    send_command(item, &command);
}

/* ---- UpdateItem ------------------------------------------------------------------------------ */

static const char *read_update(struct item_call *item, struct item_update *update,
                               struct buffer *condition)
{
    struct dynamodb_call *call = &item->call;
    const json_t *updates = dynamodb_member(call, "AttributeUpdates");
    const char *why =
        dynamodb_expressions_check(&item->expressions, call->arena, call->input, &update_rules);

    if (why == NULL)
        why = check_key_values(item);
    if (why == NULL && updates != NULL)
        why = dynamodb_legacy_updates(call->arena, updates, update);
    if (why == NULL)
        why = read_expected(call, condition);
    if (why == NULL)
        why = dynamodb_expressions_bind(&item->expressions);
    if (why == NULL && updates == NULL)
        why = dynamodb_parse_update(&item->expressions, "UpdateExpression", update);
    if (why == NULL)
        why = read_condition(&item->expressions, condition);
    return why;
}

static void update_item(struct dynamodb_call *call)
{
    struct item_call *item = item_call_of(call);
    AUTO(buffer) condition = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) actions = BUFFER_INIT(BUFFER_UNLIMITED);
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;
    struct item_update update = {0};
    const char *why = read_update(item, &update, &condition);

    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (!find_table_and_key(item))
        return;
    why = dynamodb_check_update(call->arena, call->table, &update);
    if (why == NULL)
        why = dynamodb_expressions_check_table(&item->expressions, call->table);
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (update.action_count > 0)
        item_update_put(&actions, &update);
    command.kind = TABLE_UPDATE;
    command.item = field_of(&item->item);
    command.update = field_of(&actions);
    command.condition = field_of(&condition);
    command.returns = returns_of(call);
    command.may_create = dynamodb_update_may_create(&update);
    send_command(item, &command);
}

/* ---- GetItem --------------------------------------------------------------------------------- */

static const char *read_get(struct item_call *item, struct buffer *projection)
{
    struct dynamodb_call *call = &item->call;
    struct expression_paths paths = {0};
    const char *why =
        dynamodb_expressions_check(&item->expressions, call->arena, call->input, &projection_rules);

    if (why == NULL)
        why = check_key_values(item);
    if (why == NULL && dynamodb_member(call, "AttributesToGet") != NULL)
        why = dynamodb_read_attributes_to_get(call->arena, dynamodb_member(call, "AttributesToGet"),
                                              &paths);
    if (why == NULL)
        why = dynamodb_expressions_bind(&item->expressions);
    if (why == NULL && dynamodb_member(call, "ProjectionExpression") != NULL)
        why = dynamodb_parse_projection(&item->expressions, "ProjectionExpression", &paths);
    if (why == NULL)
        why = dynamodb_expressions_close(&item->expressions);
    if (why == NULL && paths.count > 0)
        expression_put_paths(projection, &paths);
    return why;
}

static void send_query(struct item_call *item, Skein__Wire__TableQuery *query)
{
    struct dynamodb_call *call = &item->call;
    struct buffer key = BUFFER_INIT(TABLE_KEY_BYTES_MAX);
    struct buffer packed = BUFFER_INIT(BUFFER_UNLIMITED);
    uint32_t shard = dynamodb_row_key(call->dynamodb, call->table, buffer_slice(&item->item), &key);

    query->key = field_of(&key);
    CHECK(buffer_reserve(&packed, skein__wire__table_query__get_packed_size(query)) == OK);
    packed.size = skein__wire__table_query__pack(query, packed.data);
    shard_router_read(call->dynamodb->with.router, &item->read, shard, SHARD_ENGINE_TABLE,
                      buffer_slice(&packed), item->is_strong ? SHARD_STRONG : SHARD_EVENTUAL,
                      arena_text(call->arena, call->request->region), DYNAMODB_DEADLINE_MS,
                      on_read);
    buffer_close(&packed);
    buffer_close(&key);
}

static void get_item(struct dynamodb_call *call)
{
    struct item_call *item = item_call_of(call);
    AUTO(buffer) projection = BUFFER_INIT(BUFFER_UNLIMITED);
    Skein__Wire__TableQuery query = SKEIN__WIRE__TABLE_QUERY__INIT;
    const char *why;

    item->is_read = true;
    item->is_strong = dynamodb_flag(call, "ConsistentRead", false);
    why = read_get(item, &projection);
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (!find_table_and_key(item))
        return;
    why = dynamodb_expressions_check_table(&item->expressions, call->table);
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    query.kind = TABLE_GET;
    query.projection = field_of(&projection);
    send_query(item, &query);
}

const struct dynamodb_operation dynamodb_item_operations[] = {
    {"PutItem", put_shape, sizeof(struct item_call), put_item},
    {"GetItem", get_shape, sizeof(struct item_call), get_item},
    {"UpdateItem", update_shape, sizeof(struct item_call), update_item},
    {"DeleteItem", delete_shape, sizeof(struct item_call), delete_item},
    {NULL, NULL, 0, NULL},
};
