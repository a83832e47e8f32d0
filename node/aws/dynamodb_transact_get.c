/* TransactGetItems: rows of any tables, as of one moment. */

#include "node/aws/dynamodb_expression.h"
#include "node/aws/dynamodb_members.h"
#include "node/aws/dynamodb_transact.h"
#include "node/aws/dynamodb_value.h"
#include "proto/base/check.h"

#define ITEMS_MAX TABLE_ACTIONS_MAX

static const struct shape get_members[] = {MEMBER_KEY,
                                           MEMBER_TABLE_NAME,
                                           {.name = "ProjectionExpression", .kind = SHAPE_STRING},
                                           MEMBER_NAMES,
                                           MEMBER_END};
static const struct shape item_members[] = {
    {"Get", SHAPE_STRUCTURE, .type = "Get", .of = get_members, .is_required = true}, MEMBER_END};
static const struct shape item_element[] = {
    {.kind = SHAPE_STRUCTURE, .type = "TransactGetItem", .of = item_members}};
static const struct shape get_shape[] = {{"TransactItems", SHAPE_LIST, .of = item_element,
                                          .is_required = true, .min = 1, .max = ITEMS_MAX},
                                         MEMBER_CAPACITY,
                                         MEMBER_END};

static const char *const get_expressions[] = {"ProjectionExpression", NULL};
static const char *const get_legacy[] = {NULL};
static const struct dynamodb_expression_rules get_rules = {.expressions = get_expressions,
                                                           .legacy = get_legacy};

struct get_part { /* one row */
    const json_t *request;
    struct dynamodb_table *table;
    struct dynamodb_expressions expressions;
    struct buffer key_item;
    struct buffer row_key;
    struct buffer projection;
    Skein__Wire__TableQuery query;
};

struct get_call {
    struct dynamodb_call call;
    struct transaction_read read;
    struct transaction_get gets[ITEMS_MAX];
    struct get_part parts[ITEMS_MAX];
    size_t count;
};

static void release_get(struct dynamodb_call *call)
{
    struct get_call *get = container_of(call, struct get_call, call);

    transaction_read_close(&get->read);
    for (size_t i = 0; i < get->count; i++) {
        buffer_close(&get->parts[i].key_item);
        buffer_close(&get->parts[i].row_key);
        buffer_close(&get->parts[i].projection);
        dynamodb_table_release(get->parts[i].table);
    }
}

/* ---- answering ------------------------------------------------------------------------------- */

static void write_responses(struct json_write *json, const struct get_call *get)
{
    json_key(json, "Responses");
    json_begin_array(json);
    for (size_t i = 0; i < get->count; i++) {
        const Skein__Wire__TableReply *reply = get->gets[i].reply;

        json_begin_object(json);
        if (reply->has_item) {
            json_key(json, "Item");
            dynamodb_value_write_item(json, slice_of(reply->item.data, reply->item.len));
        }
        json_end_object(json);
    }
    json_end_array(json);
}

static void answer(struct get_call *get)
{
    struct dynamodb_action_use uses[ITEMS_MAX];
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&body);

    for (size_t i = 0; i < get->count; i++)
        uses[i] = (struct dynamodb_action_use){
            get->parts[i].table, dynamodb_read_half_units(get->gets[i].reply->old_bytes, true)};
    json_begin_object(&json);
    dynamodb_write_action_uses(&json, &get->call, uses, get->count, true);
    write_responses(&json, get);
    json_end_object(&json);
    dynamodb_answer(&get->call, &body);
}

static void cancel(struct get_call *get)
{
    struct dynamodb_reason reasons[ITEMS_MAX] = {0};

    for (size_t i = 0; i < get->count; i++)
        if (get->gets[i].is_conflict)
            reasons[i] = dynamodb_reason_conflict();
    dynamodb_cancel(&get->call, reasons, get->count);
}

static void on_read(struct transaction_read *read, enum transaction_result result, enum error rc)
{
    struct get_call *get = container_of(read, struct get_call, read);
    uint64_t bytes = 0;

    if (result == TRANSACTION_CANCELLED) {
        cancel(get);
        return;
    }
    if (result != TRANSACTION_DONE) {
        dynamodb_fail(&get->call, rc);
        return;
    }
    for (size_t i = 0; i < get->count; i++)
        bytes += get->gets[i].reply->old_bytes;
    if (bytes > DYNAMODB_TRANSACTION_BYTES_MAX)
        dynamodb_invalid(&get->call, DYNAMODB_TRANSACTION_TOO_LARGE);
    else
        answer(get);
}

/* ---- the request ----------------------------------------------------------------------------- */

static const char *read_part(struct get_part *part, struct arena *arena, const json_t *request)
{
    struct expression_paths paths = {0};
    const char *why;

    part->request = request;
    buffer_init(&part->key_item, BUFFER_UNLIMITED);
    buffer_init(&part->row_key, BUFFER_UNLIMITED);
    buffer_init(&part->projection, BUFFER_UNLIMITED);
    skein__wire__table_query__init(&part->query);
    why = dynamodb_expressions_check(&part->expressions, arena, request, &get_rules);
    if (why == NULL)
        why = dynamodb_value_put_item(arena, &part->key_item, json_object_get(request, "Key"));
    if (why == NULL)
        why = dynamodb_expressions_bind(&part->expressions);
    if (why == NULL)
        why = dynamodb_parse_projection(&part->expressions, "ProjectionExpression", &paths);
    if (why == NULL)
        why = dynamodb_expressions_close(&part->expressions);
    if (why == NULL && paths.count > 0)
        expression_put_paths(&part->projection, &paths);
    return why;
}

static ProtobufCBinaryData bytes_of(const struct buffer *bytes)
{
    return (ProtobufCBinaryData){bytes->size, bytes->data};
}

static const char *place_part(struct get_call *get, size_t i)
{
    struct get_part *part = &get->parts[i];
    struct arena *arena = get->call.arena;
    struct slice key = buffer_slice(&part->key_item);
    const char *why = dynamodb_check_key(arena, &part->table->schema, key, false);

    if (why == NULL)
        why = dynamodb_expressions_check_table(&part->expressions, part->table);
    if (why != NULL)
        return why;
    get->gets[i].shard = dynamodb_row_key(get->call.dynamodb, part->table, key, &part->row_key);
    get->gets[i].query = &part->query;
    part->query.kind = TABLE_GET;
    part->query.key = bytes_of(&part->row_key);
    part->query.projection = bytes_of(&part->projection);
    return NULL;
}

static bool has_twins(const struct get_call *get)
{
    for (size_t i = 0; i < get->count; i++)
        for (size_t k = 0; k < i; k++)
            if (slice_equal(buffer_slice(&get->parts[i].row_key),
                            buffer_slice(&get->parts[k].row_key)))
                return true;
    return false;
}

/* False: answered. */
static bool place_parts(struct get_call *get)
{
    struct dynamodb_reason reasons[ITEMS_MAX] = {0};
    bool is_invalid = false;

    for (size_t i = 0; i < get->count; i++) {
        const char *why;

        if (!dynamodb_find_table(
                &get->call, json_string_value(json_object_get(get->parts[i].request, "TableName"))))
            return false;
        get->parts[i].table = get->call.table; /* the reference moves */
        get->call.table = NULL;
        why = place_part(get, i);
        if (why != NULL)
            reasons[i] = dynamodb_reason_invalid(why);
        is_invalid |= why != NULL;
    }
    if (is_invalid) {
        dynamodb_cancel(&get->call, reasons, get->count);
        return false;
    }
    if (has_twins(get)) {
        dynamodb_invalid(&get->call, DYNAMODB_TRANSACTION_TWINS);
        return false;
    }
    return true;
}

static void transact_get_items(struct dynamodb_call *call)
{
    struct get_call *get = container_of(call, struct get_call, call);
    const json_t *items = dynamodb_member(call, "TransactItems");
    const char *why = NULL;

    call->release = release_get;
    for (size_t i = 0; i < json_array_size(items) && why == NULL; i++)
        why = read_part(&get->parts[get->count++], call->arena,
                        json_object_get(json_array_get(items, i), "Get"));
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (!place_parts(get))
        return;
    get->read.gets = get->gets;
    get->read.count = get->count;
    transaction_read_start(call->dynamodb->transactions, &get->read, DYNAMODB_DEADLINE_MS, on_read);
}

const struct dynamodb_operation dynamodb_transact_get_operations[] = {
    {"TransactGetItems", get_shape, sizeof(struct get_call), transact_get_items},
    {NULL, NULL, 0, NULL},
};
