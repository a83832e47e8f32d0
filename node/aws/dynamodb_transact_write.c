/* TransactWriteItems: changes of rows of any tables, all or none. */

#include "node/aws/dynamodb_expression.h"
#include "node/aws/dynamodb_members.h"
#include "node/aws/dynamodb_transact.h"
#include "node/aws/dynamodb_update.h"
#include "node/aws/dynamodb_value.h"
#include "proto/base/check.h"

#include <openssl/evp.h>

#define ITEMS_MAX TABLE_ACTIONS_MAX
#define DIGEST_BYTES 32

/* ---- shapes ---------------------------------------------------------------------------------- */

#define MEMBER_CONDITION                                                                           \
    {                                                                                              \
        .name = "ConditionExpression", .kind = SHAPE_STRING                                        \
    }

static const struct shape check_members[] = {
    MEMBER_KEY,
    MEMBER_TABLE_NAME,
    {.name = "ConditionExpression", .kind = SHAPE_STRING, .is_required = true},
    MEMBER_NAMES,
    MEMBER_VALUES,
    MEMBER_RETURN_ON_FAILURE,
    MEMBER_END};
static const struct shape put_members[] = {
    {"Item", SHAPE_MAP, .of = dynamodb_attribute_element, .is_required = true},
    MEMBER_TABLE_NAME,
    MEMBER_CONDITION,
    MEMBER_NAMES,
    MEMBER_VALUES,
    MEMBER_RETURN_ON_FAILURE,
    MEMBER_END};
static const struct shape delete_members[] = {
    MEMBER_KEY,    MEMBER_TABLE_NAME,        MEMBER_CONDITION, MEMBER_NAMES,
    MEMBER_VALUES, MEMBER_RETURN_ON_FAILURE, MEMBER_END};
static const struct shape update_members[] = {
    MEMBER_KEY,
    {.name = "UpdateExpression", .kind = SHAPE_STRING, .is_required = true},
    MEMBER_TABLE_NAME,
    MEMBER_CONDITION,
    MEMBER_NAMES,
    MEMBER_VALUES,
    MEMBER_RETURN_ON_FAILURE,
    MEMBER_END};
static const struct shape item_members[] = {
    {"ConditionCheck", SHAPE_STRUCTURE, .type = "ConditionCheck", .of = check_members},
    {"Put", SHAPE_STRUCTURE, .type = "Put", .of = put_members},
    {"Delete", SHAPE_STRUCTURE, .type = "Delete", .of = delete_members},
    {"Update", SHAPE_STRUCTURE, .type = "Update", .of = update_members},
    MEMBER_END};
static const struct shape item_element[] = {
    {.kind = SHAPE_STRUCTURE, .type = "TransactWriteItem", .of = item_members}};
static const struct shape write_shape[] = {
    {"TransactItems", SHAPE_LIST, .of = item_element, .is_required = true, .min = 1,
     .max = ITEMS_MAX},
    MEMBER_CAPACITY,
    MEMBER_METRICS,
    {"ClientRequestToken", SHAPE_STRING, .min = 1, .max = 36},
    MEMBER_END};

static const char *const condition_expressions[] = {"ConditionExpression", NULL};
static const char *const update_expressions[] = {"UpdateExpression", "ConditionExpression", NULL};
static const char *const no_legacy[] = {NULL};
static const struct dynamodb_expression_rules condition_rules = {
    .expressions = condition_expressions, .legacy = no_legacy};
static const struct dynamodb_expression_rules update_rules = {.expressions = update_expressions,
                                                              .legacy = no_legacy};

/* ---- a transaction at work ------------------------------------------------------------------- */

struct write_part { /* one action */
    const json_t *request;
    struct dynamodb_table *table;
    struct dynamodb_expressions expressions;
    struct item_update update;
    struct buffer item; /* or its key */
    struct buffer condition;
    struct buffer actions;
    struct buffer row_key;
    Skein__Wire__TableCommand command;
};

struct write_call {
    struct dynamodb_call call;
    struct transaction transaction;
    struct transaction_action actions[ITEMS_MAX];
    struct write_part parts[ITEMS_MAX];
    size_t count;
    struct buffer token;
    uint8_t digest[DIGEST_BYTES];
};

static void release_write(struct dynamodb_call *call)
{
    struct write_call *write = container_of(call, struct write_call, call);

    transaction_close(&write->transaction);
    buffer_close(&write->token);
    for (size_t i = 0; i < write->count; i++) {
        struct write_part *part = &write->parts[i];

        buffer_close(&part->item);
        buffer_close(&part->condition);
        buffer_close(&part->actions);
        buffer_close(&part->row_key);
        dynamodb_table_release(part->table);
    }
}

/* ---- answering ------------------------------------------------------------------------------- */

static uint64_t units_of(const struct write_part *part, const Skein__Wire__TableReply *reply)
{
    uint64_t bytes = reply->old_bytes > reply->new_bytes ? reply->old_bytes : reply->new_bytes;

    (void)part;
    return dynamodb_write_half_units(bytes); /* a transaction takes twice the units */
}

/* Of a transaction that was done before, only that much is known of what it would take to read. */
static uint64_t read_units_of(const struct write_part *part)
{
    bool is_put = part->command.kind == TABLE_PUT;

    return dynamodb_read_half_units(is_put ? item_size_whole(buffer_slice(&part->item)) : 0, true);
}

static void write_collection(struct json_write *json, const struct write_part *part)
{
    struct item_value attributes = item_root(buffer_slice(&part->item));
    struct item_value hash;

    if (!item_find(&attributes, part->table->schema.parts[0].name, &hash))
        return;
    json_begin_object(json);
    json_key(json, "ItemCollectionKey");
    json_begin_object(json);
    json_key_slice(json, part->table->schema.parts[0].name);
    dynamodb_value_write(json, &hash);
    json_end_object(json);
    json_key(json, "SizeEstimateRangeGB");
    json_raw(json, SLICE_LITERAL("[0.0,1.0]"));
    json_end_object(json);
}

static bool has_collections(const struct write_part *part)
{
    return part->table->record->n_local_indexes > 0 && part->command.kind != TABLE_CHECK;
}

static bool is_first_of_table(const struct write_call *write, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (write->parts[i].table == write->parts[at].table && has_collections(&write->parts[i]))
            return false;
    return has_collections(&write->parts[at]);
}

static void write_metrics(struct json_write *json, const struct write_call *write)
{
    if (!dynamodb_text_is(&write->call, "ReturnItemCollectionMetrics", "SIZE"))
        return;
    json_key(json, "ItemCollectionMetrics");
    json_begin_object(json);
    for (size_t i = 0; i < write->count; i++) {
        if (!is_first_of_table(write, i))
            continue;
        json_key(json, write->parts[i].table->record->name);
        json_begin_array(json);
        for (size_t k = i; k < write->count; k++)
            if (write->parts[k].table == write->parts[i].table && has_collections(&write->parts[k]))
                write_collection(json, &write->parts[k]);
        json_end_array(json);
    }
    json_end_object(json);
}

static void answer(struct write_call *write, bool is_again)
{
    struct dynamodb_action_use uses[ITEMS_MAX];
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&body);

    for (size_t i = 0; i < write->count && dynamodb_wants_capacity(&write->call); i++)
        uses[i] = (struct dynamodb_action_use){
            write->parts[i].table, is_again ? read_units_of(&write->parts[i])
                                            : units_of(&write->parts[i], write->actions[i].reply)};
    json_begin_object(&json);
    dynamodb_write_action_uses(&json, &write->call, uses, write->count, is_again);
    write_metrics(&json, write);
    json_end_object(&json);
    dynamodb_answer(&write->call, &body);
}

static struct dynamodb_reason reason_of(const Skein__Wire__TableReply *reply)
{
    enum table_outcome outcome = reply != NULL ? (enum table_outcome)reply->outcome : TABLE_DONE;
    const char *text = dynamodb_outcome_text(outcome);

    if (outcome == TABLE_CONDITION_FAILED)
        return (struct dynamodb_reason){
            "ConditionalCheckFailed", "The conditional request failed",
            reply->has_item ? slice_of(reply->item.data, reply->item.len) : slice_of(NULL, 0)};
    if (outcome == TABLE_LOCKED || outcome == TABLE_LOCKED_BY_TOKEN)
        return dynamodb_reason_conflict();
    if (outcome == TABLE_INDEX_BACKLOG)
        return (struct dynamodb_reason){
            .code = "ProvisionedThroughputExceeded",
            .message = "The level of configured provisioned throughput for one or more global "
                       "secondary indexes of the table was exceeded. Consider increasing your "
                       "provisioning level for the under-provisioned global secondary indexes with "
                       "the UpdateTable API."};
    return text != NULL ? dynamodb_reason_invalid(text) : (struct dynamodb_reason){0};
}

/* An attempt that others thought dead has no reason of its own: it met them. */
static void cancel(struct write_call *write)
{
    struct dynamodb_reason reasons[ITEMS_MAX] = {0};
    bool has_reason = false;

    for (size_t i = 0; i < write->count; i++) {
        reasons[i] = reason_of(write->actions[i].reply);
        has_reason |= reasons[i].code != NULL;
    }
    for (size_t i = 0; i < write->count && !has_reason; i++)
        reasons[i] = dynamodb_reason_conflict();
    dynamodb_cancel(&write->call, reasons, write->count);
}

/* These two exceptions have their message under another name. */
static void refuse(struct write_call *write, const char *code, const char *message)
{
    const char *extra = arena_printf(write->call.arena, "\"Message\":\"%s\"", message);

    dynamodb_refuse_with(&write->call, code, NULL, slice_text(extra));
}

static void on_transaction(struct transaction *transaction, enum transaction_result result,
                           enum error rc)
{
    struct write_call *write = container_of(transaction, struct write_call, transaction);

    switch (result) {
    case TRANSACTION_DONE:
    case TRANSACTION_ALREADY:
        answer(write, result == TRANSACTION_ALREADY);
        return;
    case TRANSACTION_CANCELLED:
        cancel(write);
        return;
    case TRANSACTION_MISMATCH:
        refuse(write, "IdempotentParameterMismatchException",
               "DynamoDB rejected the request because you retried a request with a different "
               "payload but with an idempotent token that was already used.");
        return;
    case TRANSACTION_IN_PROGRESS:
        refuse(write, "TransactionInProgressException",
               "The transaction with the given request token is already in progress.");
        return;
    case TRANSACTION_FAILED:
        dynamodb_fail(&write->call, rc);
        return;
    }
}

/* ---- reading the request: first what needs no table ------------------------------------------ */

/* Condition and, of an update, its actions; names and values must all be used. */
static const char *read_expressions(struct write_part *part)
{
    struct dynamodb_expressions *expressions = &part->expressions;
    const struct expression *condition = NULL;
    const char *why = dynamodb_expressions_bind(expressions);

    if (why == NULL && part->command.kind == TABLE_UPDATE)
        why = dynamodb_parse_update(expressions, "UpdateExpression", &part->update);
    if (why == NULL)
        why = dynamodb_parse_condition(expressions, "ConditionExpression", &condition);
    if (why == NULL)
        why = dynamodb_expressions_close(expressions);
    if (why == NULL && condition != NULL)
        expression_put(&part->condition, condition);
    if (why == NULL && part->update.action_count > 0)
        item_update_put(&part->actions, &part->update);
    return why;
}

static const char *read_part(struct write_part *part, struct arena *arena,
                             enum table_command_kind kind, const json_t *request)
{
    bool is_put = kind == TABLE_PUT;
    const char *why =
        dynamodb_expressions_check(&part->expressions, arena, request,
                                   kind == TABLE_UPDATE ? &update_rules : &condition_rules);

    part->request = request;
    part->command.kind = kind;
    if (why == NULL)
        why = dynamodb_value_put_item(arena, &part->item,
                                      json_object_get(request, is_put ? "Item" : "Key"));
    if (why == NULL && is_put && item_size_whole(buffer_slice(&part->item)) > ITEM_BYTES_MAX)
        why = "Item size has exceeded the maximum allowed size";
    return why != NULL ? why : read_expressions(part);
}

static const char *add_part(struct write_call *write, const json_t *item)
{
    static const struct {
        const char *name;
        enum table_command_kind kind;
    } kinds[] = {{"ConditionCheck", TABLE_CHECK},
                 {"Put", TABLE_PUT},
                 {"Delete", TABLE_DELETE},
                 {"Update", TABLE_UPDATE}};
    struct write_part *part = &write->parts[write->count++];
    const json_t *request = NULL;
    enum table_command_kind kind = TABLE_CHECK;

    skein__wire__table_command__init(&part->command);
    buffer_init(&part->item, BUFFER_UNLIMITED);
    buffer_init(&part->condition, BUFFER_UNLIMITED);
    buffer_init(&part->actions, BUFFER_UNLIMITED);
    buffer_init(&part->row_key, BUFFER_UNLIMITED);
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        const json_t *found = json_object_get(item, kinds[i].name);

        if (!json_is_object(found))
            continue;
        if (request != NULL)
            return "TransactItems can only contain one of Check, Put, Update or Delete";
        request = found;
        kind = kinds[i].kind;
    }
    if (request == NULL)
        return "Invalid Request: TransactWriteRequest should contain Delete or Put or Update "
               "request";
    return read_part(part, write->call.arena, kind, request);
}

/* ---- then the tables, and what they say of the actions -----------------------------------------
 */

static const char *check_part(const struct write_part *part, struct arena *arena)
{
    const struct dynamodb_table *table = part->table;
    struct slice item = buffer_slice(&part->item);
    const char *why;

    if (part->command.kind == TABLE_PUT) {
        why = dynamodb_check_item_key(arena, &table->schema, item);
        return why != NULL ? why : dynamodb_check_index_keys(arena, table, item);
    }
    why = dynamodb_check_key(arena, &table->schema, item, false);
    if (why != NULL || part->command.kind != TABLE_UPDATE)
        return why;
    why = dynamodb_check_update(arena, table, &part->update);
    return why != NULL ? why : dynamodb_expressions_check_table(&part->expressions, table);
}

static ProtobufCBinaryData bytes_of(const struct buffer *bytes)
{
    return (ProtobufCBinaryData){bytes->size, bytes->data};
}

static void place_part(struct write_call *write, size_t i)
{
    struct write_part *part = &write->parts[i];
    Skein__Wire__TableCommand *command = &part->command;
    const char *returns =
        json_string_value(json_object_get(part->request, "ReturnValuesOnConditionCheckFailure"));

    write->actions[i].shard = dynamodb_place_command(
        write->call.dynamodb, part->table, buffer_slice(&part->item), &part->row_key, command);
    write->actions[i].command = command;
    command->condition = bytes_of(&part->condition);
    command->returns_on_failure = returns != NULL && strcmp(returns, "ALL_OLD") == 0;
    command->wants_sizes = dynamodb_wants_capacity(&write->call);
    if (command->kind == TABLE_PUT || command->kind == TABLE_UPDATE)
        command->item = bytes_of(&part->item);
    if (command->kind == TABLE_UPDATE) {
        command->update = bytes_of(&part->actions);
        command->may_create = dynamodb_update_may_create(&part->update);
    }
}

static const char *check_all(const struct write_call *write)
{
    size_t bytes = 0;

    for (size_t i = 0; i < write->count; i++) {
        bytes += item_size_whole(buffer_slice(&write->parts[i].item));
        for (size_t k = 0; k < i; k++)
            if (slice_equal(buffer_slice(&write->parts[i].row_key),
                            buffer_slice(&write->parts[k].row_key)))
                return DYNAMODB_TRANSACTION_TWINS;
    }
    return bytes > DYNAMODB_TRANSACTION_BYTES_MAX ? DYNAMODB_TRANSACTION_TOO_LARGE : NULL;
}

/* False: answered. */
static bool place_parts(struct write_call *write)
{
    struct dynamodb_reason reasons[ITEMS_MAX] = {0};
    bool is_invalid = false;
    const char *why;

    for (size_t i = 0; i < write->count; i++) {
        struct write_part *part = &write->parts[i];

        if (!dynamodb_find_table(&write->call,
                                 json_string_value(json_object_get(part->request, "TableName"))))
            return false;
        part->table = write->call.table; /* the reference moves */
        write->call.table = NULL;
        why = check_part(part, write->call.arena);
        if (why != NULL)
            reasons[i] = dynamodb_reason_invalid(why);
        else
            place_part(write, i);
        is_invalid |= why != NULL;
    }
    if (is_invalid) {
        dynamodb_cancel(&write->call, reasons, write->count);
        return false;
    }
    why = check_all(write);
    if (why != NULL)
        dynamodb_invalid(&write->call, why);
    return why == NULL;
}

/* ---- the token ------------------------------------------------------------------------------- */

static struct slice table_id(const struct write_part *part)
{
    return slice_of(part->table->record->id.data, part->table->record->id.len);
}

/* A token belongs to the tables it was used with: when they are gone, it may be used again. */
static void put_token(struct write_call *write, const char *token)
{
    struct slice first = table_id(&write->parts[0]);

    for (size_t i = 1; i < write->count; i++)
        if (slice_compare(table_id(&write->parts[i]), first) < 0)
            first = table_id(&write->parts[i]);
    buffer_put_text(&write->token, token);
    buffer_put_slice(&write->token, first);
}

static void make_digest(struct write_call *write)
{
    char *text = json_dumps(dynamodb_member(&write->call, "TransactItems"),
                            JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

    if (text != NULL)
        (void)EVP_Digest(text, strlen(text), write->digest, NULL, EVP_sha256(), NULL);
    free(text);
}

static void transact_write_items(struct dynamodb_call *call)
{
    struct write_call *write = container_of(call, struct write_call, call);
    const json_t *items = dynamodb_member(call, "TransactItems");
    const char *token = dynamodb_text(call, "ClientRequestToken");
    const char *why = NULL;

    call->release = release_write;
    buffer_init(&write->token, TABLE_TOKEN_BYTES_MAX);
    for (size_t i = 0; i < json_array_size(items) && why == NULL; i++)
        why = add_part(write, json_array_get(items, i));
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (!place_parts(write))
        return;
    if (token != NULL) {
        put_token(write, token);
        make_digest(write);
    }
    write->transaction.actions = write->actions;
    write->transaction.count = write->count;
    write->transaction.token = buffer_slice(&write->token);
    write->transaction.digest =
        token != NULL ? slice_of(write->digest, DIGEST_BYTES) : slice_of(NULL, 0);
    transaction_start(call->dynamodb->transactions, &write->transaction, DYNAMODB_DEADLINE_MS,
                      on_transaction);
}

const struct dynamodb_operation dynamodb_transact_write_operations[] = {
    {"TransactWriteItems", write_shape, sizeof(struct write_call), transact_write_items},
    {NULL, NULL, 0, NULL},
};
