#include "node/aws/dynamodb.h"

#include "node/aws/aws_fault.h"
#include "node/aws/aws_reply.h"
#include "node/aws/dynamodb_builder.h"
#include "node/aws/dynamodb_call.h"
#include "node/aws/dynamodb_drop.h"
#include "node/aws/dynamodb_global.h"
#include "node/aws/dynamodb_value.h"
#include "node/table/item_update.h"
#include "node/table/table_engine.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <zlib.h>

#define TABLE_PREFIX "table/"
#define BODY_BYTES_MAX (16u * 1024 * 1024)

/* ---- tables ---------------------------------------------------------------------------------- */

struct dynamodb_table *dynamodb_table_hold(struct dynamodb_table *table)
{
    table->references++;
    return table;
}

void dynamodb_table_release(struct dynamodb_table *table)
{
    if (table == NULL || --table->references > 0)
        return;
    skein__wire__table__free_unpacked(table->record, NULL);
    buffer_close(&table->indexes);
    free(table);
}

static struct table_key_part key_part_of(const Skein__Wire__TableAttribute *attribute)
{
    return (struct table_key_part){slice_text(attribute->name), (enum item_type)attribute->type};
}

static bool makes_sense(const Skein__Wire__Table *record)
{
    if (record == NULL || record->id.len != TABLE_ID_BYTES || record->n_keys == 0 ||
        record->n_keys > TABLE_KEY_PARTS_MAX || record->n_local_indexes > TABLE_INDEXES_MAX ||
        record->n_global_indexes > TABLE_GLOBAL_INDEXES_MAX)
        return false;
    for (size_t i = 0; i < record->n_global_indexes; i++)
        if (record->global_indexes[i]->n_keys == 0 ||
            record->global_indexes[i]->n_keys > TABLE_KEY_PARTS_MAX)
            return false;
    for (size_t i = 0; i < record->n_local_indexes; i++)
        if (record->local_indexes[i]->sort == NULL)
            return false;
    return true;
}

/* NULL when the record makes no sense. */
static struct dynamodb_table *table_of(struct slice value, uint64_t revision)
{
    Skein__Wire__Table *record = skein__wire__table__unpack(NULL, value.size, value.data);
    struct dynamodb_table *table;

    if (!makes_sense(record)) {
        skein__wire__table__free_unpacked(record, NULL);
        return NULL;
    }
    table = check_calloc(1, sizeof(*table));
    table->references = 1;
    table->revision = revision;
    table->record = record;
    table->schema.part_count = record->n_keys;
    for (size_t i = 0; i < record->n_keys; i++)
        table->schema.parts[i] = key_part_of(record->keys[i]);
    for (size_t i = 0; i < record->n_local_indexes; i++) {
        table->index_sorts[i] = record->local_indexes[i]->sort;
        table->index_schemas[i].part_count = 2;
        table->index_schemas[i].parts[0] = table->schema.parts[0];
        table->index_schemas[i].parts[1] = key_part_of(table->index_sorts[i]);
    }
    for (size_t i = 0; i < record->n_global_indexes; i++) {
        const Skein__Wire__TableGlobalIndex *index = record->global_indexes[i];

        table->global_schemas[i].part_count = index->n_keys;
        for (size_t k = 0; k < index->n_keys; k++)
            table->global_schemas[i].parts[k] = key_part_of(index->keys[k]);
    }
    buffer_init(&table->indexes, BUFFER_UNLIMITED);
    return table;
}

static void on_table(void *user, const char *key, struct slice value, uint64_t revision,
                     bool is_delete)
{
    struct dynamodb *dynamodb = user;
    struct slice name = slice_text(key + strlen(TABLE_PREFIX));
    struct dynamodb_table *table = is_delete ? NULL : table_of(value, revision);

    if (!is_delete && table == NULL)
        log_error("dynamodb.record_unreadable key=%s", key);
    if (table != NULL)
        dynamodb_table_release(map_set(&dynamodb->tables, name, table));
    else
        dynamodb_table_release(map_remove(&dynamodb->tables, name));
}

bool dynamodb_find_table(struct dynamodb_call *call, const char *name)
{
    struct dynamodb_table *table = map_find(&call->dynamodb->tables, slice_text(name));

    if (shard_router_shard_count(call->dynamodb->with.router) == 0) {
        dynamodb_fail(call, ERR_OVERLOADED); /* just born: the SDK comes again */
        return false;
    }
    if (table == NULL && !view_is_current(call->dynamodb->with.view)) {
        dynamodb_fail(call, ERR_UNREACHABLE); /* it may have been made meanwhile */
        return false;
    }
    if (table == NULL) {
        dynamodb_refuse(call, "ResourceNotFoundException", "Requested resource not found");
        return false;
    }
    call->table = dynamodb_table_hold(table);
    return true;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct dynamodb *dynamodb_new(const struct dynamodb_options *options)
{
    struct dynamodb *dynamodb = check_calloc(1, sizeof(*dynamodb));

    dynamodb->with = *options;
    map_init(&dynamodb->tables);
    list_init(&dynamodb->calls);
    dynamodb->listener.prefix = TABLE_PREFIX;
    dynamodb->listener.user = dynamodb;
    dynamodb->listener.on_change = on_table;
    view_listen(options->view, &dynamodb->listener);
    dynamodb->drop = dynamodb_drop_new(options);
    dynamodb->builder = dynamodb_builder_new(dynamodb);
    dynamodb->transactions = transactions_new(options->env, options->router);
    dynamodb->recovery = transaction_recovery_new(options->env, options->router);
    return dynamodb;
}

/* What is left of the call is in the arena of its exchange. */
static void close_call(struct dynamodb_call *call)
{
    if (call->release != NULL)
        call->release(call);
    list_remove(&call->link);
    json_decref(call->input);
    dynamodb_table_release(call->table);
}

void dynamodb_free(struct dynamodb *dynamodb)
{
    struct map_entry *entry;
    size_t i = 0;

    if (dynamodb == NULL)
        return;
    dynamodb_builder_free(dynamodb->builder);
    dynamodb_drop_free(dynamodb->drop);
    view_unlisten(dynamodb->with.view, &dynamodb->listener);
    LIST_EACH_SAFE(&dynamodb->calls, link)
    {
        close_call(container_of(link, struct dynamodb_call, link));
    }
    transactions_free(dynamodb->transactions);
    transaction_recovery_free(dynamodb->recovery);
    while ((entry = map_next(&dynamodb->tables, &i)) != NULL)
        dynamodb_table_release(entry->value);
    map_close(&dynamodb->tables);
    free(dynamodb);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void respond(struct dynamodb_call *call, int status, struct buffer *body)
{
    char crc[16];
    struct http_header header = {SLICE_LITERAL("x-amz-crc32"), {NULL, 0}};
    struct aws_request *request = call->request;

    (void)snprintf(crc, sizeof(crc), "%lu", crc32_z(0, body->data, body->size));
    header.value = slice_text(crc);
    close_call(call);
    aws_reply_with(request, status, &header, 1, body);
}

void dynamodb_answer(struct dynamodb_call *call, struct buffer *body)
{
    respond(call, 200, body);
}

/* The name spaces of the exceptions, as the service has them. */
static const char *space_of(const char *code)
{
    if (strcmp(code, "ValidationException") == 0 || strcmp(code, "ThrottlingException") == 0)
        return "com.amazon.coral.validate";
    if (strcmp(code, "SerializationException") == 0 || strcmp(code, "AccessDeniedException") == 0 ||
        strcmp(code, "UnknownOperationException") == 0)
        return "com.amazon.coral.service";
    return "com.amazonaws.dynamodb.v20120810";
}

static void refuse(struct dynamodb_call *call, int status, const char *code, const char *message,
                   struct slice extra)
{
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&body);
    bool is_of_coral =
        strcmp(code, "SerializationException") == 0 || strcmp(code, "AccessDeniedException") == 0;

    json_begin_object(&json);
    json_member_text(&json, "__type", arena_printf(call->arena, "%s#%s", space_of(code), code));
    if (message != NULL)
        json_member_text(&json, is_of_coral ? "Message" : "message", message);
    if (extra.size > 0)
        json_raw(&json, extra);
    json_end_object(&json);
    respond(call, status, &body);
}

void dynamodb_refuse_with(struct dynamodb_call *call, const char *code, const char *message,
                          struct slice extra)
{
    refuse(call, 400, code, message, extra);
}

void dynamodb_refuse(struct dynamodb_call *call, const char *code, const char *message)
{
    refuse(call, 400, code, message, slice_of(NULL, 0));
}

void dynamodb_invalid(struct dynamodb_call *call, const char *message)
{
    dynamodb_refuse(call, "ValidationException", message);
}

void dynamodb_fail(struct dynamodb_call *call, enum error rc)
{
    struct aws_fault fault = aws_fault_of_error(AWS_SERVICE_DYNAMODB, AWS_PROTOCOL_JSON_1_0, rc);

    refuse(call, fault.status, fault.code, fault.message, slice_of(NULL, 0));
}

static const char *index_fault_text(enum table_outcome outcome)
{
    switch ((int)outcome) {
    case TABLE_INDEX_TYPE:
        return "The update expression attempted to update the secondary index key to unsupported "
               "type";
    case TABLE_INDEX_EMPTY:
        return "One or more parameter values are not valid. The update expression attempted to "
               "update a secondary index key to a value that is not supported. The AttributeValue "
               "for a key attribute cannot contain an empty value.";
    case TABLE_INDEX_HASH_TOO_LARGE:
        return "One or more parameter values were invalid: Size of hashkey has exceeded the "
               "maximum "
               "size limit of2048 bytes";
    case TABLE_INDEX_TOO_LARGE:
        return "One or more parameter values were invalid: Aggregated size of all range keys has "
               "exceeded the size limit of 1024 bytes";
    default:
        return NULL;
    }
}

static const char *update_fault_text(enum item_update_fault fault)
{
    switch (fault) {
    case ITEM_UPDATE_NO_ATTRIBUTE:
        return "The provided expression refers to an attribute that does not exist in the item";
    case ITEM_UPDATE_WRONG_TYPE:
        return "An operand in the update expression has an incorrect data type";
    case ITEM_UPDATE_NO_PATH:
        return "The document path provided in the update expression is invalid for update";
    case ITEM_UPDATE_TOO_PRECISE: /* a sum is said to be too large when it has too many digits */
    case ITEM_UPDATE_OVERFLOW:
        return "Number overflow. Attempting to store a number with magnitude larger than "
               "supported range";
    case ITEM_UPDATE_UNDERFLOW:
        return "Number underflow. Attempting to store a number with magnitude smaller than "
               "supported range";
    case ITEM_UPDATE_TOO_DEEP:
        return "Nesting Levels have exceeded supported limits: Attributes in the item have nested "
               "levels beyond supported limit";
    case ITEM_UPDATE_TOO_LARGE:
        return "Item size to update has exceeded the maximum allowed size";
    case ITEM_UPDATE_OK:
    case ITEM_UPDATE_MALFORMED:
        break;
    }
    return NULL;
}

const char *dynamodb_outcome_text(enum table_outcome outcome)
{
    if (outcome > TABLE_UPDATE_FAULT && outcome <= TABLE_UPDATE_FAULT + ITEM_UPDATE_TOO_LARGE)
        return update_fault_text((enum item_update_fault)(outcome - TABLE_UPDATE_FAULT));
    return index_fault_text(outcome);
}

void dynamodb_fail_outcome(struct dynamodb_call *call, const Skein__Wire__TableReply *reply)
{
    const char *text = dynamodb_outcome_text((enum table_outcome)reply->outcome);

    if (reply->outcome == TABLE_CONDITION_FAILED) {
        struct buffer item = BUFFER_INIT(BUFFER_UNLIMITED);
        struct json_write json = json_write_to(&item);

        if (reply->has_item) {
            json_key(&json, "Item");
            dynamodb_value_write_item(&json, slice_of(reply->item.data, reply->item.len));
        }
        dynamodb_refuse_with(call, "ConditionalCheckFailedException",
                             "The conditional request failed", buffer_slice(&item));
        buffer_close(&item);
        return;
    }
    if (reply->outcome == TABLE_INDEX_BACKLOG) {
        dynamodb_refuse(call, "ProvisionedThroughputExceededException",
                        "The level of configured provisioned throughput for one or more global "
                        "secondary indexes of the table was exceeded. Consider increasing your "
                        "provisioning level for the under-provisioned global secondary indexes "
                        "with the UpdateTable API");
        return;
    }
    if (reply->outcome == TABLE_LOCKED) {
        dynamodb_refuse(call, "TransactionConflictException",
                        "Transaction is ongoing for the item");
        return;
    }
    if (reply->outcome == TABLE_UPDATE_FAULT + ITEM_UPDATE_WRONG_TYPE &&
        dynamodb_member(call, "AttributeUpdates") != NULL)
        text = "Type mismatch for attribute to update";
    if (text != NULL) {
        dynamodb_invalid(call, text);
        return;
    }
    log_error("dynamodb.engine_refused outcome=%u operation=%.*s", reply->outcome,
              (int)call->request->operation.size, (const char *)call->request->operation.data);
    dynamodb_fail(call, reply->outcome == TABLE_CORRUPT ? ERR_CORRUPT : ERR_INTERNAL);
}

/* ---- the request ----------------------------------------------------------------------------- */

const json_t *dynamodb_member(const struct dynamodb_call *call, const char *name)
{
    const json_t *value = json_object_get(call->input, name);

    return json_is_null(value) ? NULL : value;
}

const char *dynamodb_text(const struct dynamodb_call *call, const char *name)
{
    return json_string_value(dynamodb_member(call, name));
}

bool dynamodb_flag(const struct dynamodb_call *call, const char *name, bool missing)
{
    const json_t *value = dynamodb_member(call, name);

    return value == NULL ? missing : dynamodb_shape_is_true(value);
}

bool dynamodb_text_is(const struct dynamodb_call *call, const char *name, const char *value)
{
    const char *text = dynamodb_text(call, name);

    return text != NULL && strcmp(text, value) == 0;
}

static const struct dynamodb_operation *find_operation(struct slice name)
{
    static const struct dynamodb_operation *const rooms[] = {
        dynamodb_item_operations,         dynamodb_range_operations,
        dynamodb_batch_operations,        dynamodb_transact_write_operations,
        dynamodb_transact_get_operations, dynamodb_table_operations,
        dynamodb_describe_operations};

    for (size_t i = 0; i < ARRAY_COUNT(rooms); i++)
        for (const struct dynamodb_operation *at = rooms[i]; at->name != NULL; at++)
            if (slice_equal_text(name, at->name))
                return at;
    return NULL;
}

static void start_call(struct dynamodb_call *call, const struct dynamodb_operation *operation)
{
    const char *why;

    if (!json_is_object(call->input)) {
        dynamodb_refuse(call, "SerializationException", NULL);
        return;
    }
    why = dynamodb_shape_types(call->arena, operation->members, call->input);
    if (why != NULL) {
        dynamodb_refuse(call, "SerializationException", why);
        return;
    }
    why = dynamodb_shape_constraints(call->arena, operation->members, call->input);
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    operation->start(call);
}

void dynamodb_on_request(void *user, struct aws_request *request)
{
    struct dynamodb *dynamodb = user;
    const struct dynamodb_operation *operation = find_operation(request->operation);
    struct arena *arena = &request->exchange->arena;
    struct slice body = request->exchange->body;
    struct dynamodb_call *call = arena_alloc(
        arena, operation != NULL ? operation->call_bytes : sizeof(struct dynamodb_call));

    call->dynamodb = dynamodb;
    call->request = request;
    call->arena = arena;
    list_append(&dynamodb->calls, &call->link);
    if (operation == NULL) {
        dynamodb_refuse(call, "UnknownOperationException", NULL);
        return;
    }
    if (body.size > BODY_BYTES_MAX) {
        refuse(call, 413, "RequestEntityTooLargeException", "Request too large", slice_of(NULL, 0));
        return;
    }
    if (body.size > 0)
        call->input = json_loadb((const char *)body.data, body.size, JSON_ALLOW_NUL, NULL);
    start_call(call, operation);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static const char *key_fault_text(struct arena *arena, const struct table_schema *schema,
                                  enum table_key_fault fault, size_t part, enum item_type actual)
{
    const struct table_key_part *wanted = &schema->parts[part];
    int size = (int)wanted->name.size;
    const char *name = (const char *)wanted->name.data;

    switch (fault) {
    case TABLE_KEY_MISSING:
        return arena_printf(arena,
                            "One or more parameter values were invalid: Missing the key %.*s in "
                            "the item",
                            size, name);
    case TABLE_KEY_TYPE:
        return arena_printf(arena,
                            "One or more parameter values were invalid: Type mismatch for key "
                            "%.*s expected: %s actual: %s",
                            size, name, item_type_name(wanted->type), item_type_name(actual));
    case TABLE_KEY_EMPTY:
        return arena_printf(arena,
                            "One or more parameter values are not valid. The AttributeValue for a "
                            "key attribute cannot contain an empty %s value. Key: %.*s",
                            wanted->type == ITEM_B ? "binary" : "string", size, name);
    case TABLE_KEY_TOO_LARGE:
        return part == 0 ? "One or more parameter values were invalid: Size of hashkey has "
                           "exceeded the maximum size limit of2048 bytes"
                         : "One or more parameter values were invalid: Aggregated size of all "
                           "range keys has exceeded the size limit of 1024 bytes";
    case TABLE_KEY_OK:
        break;
    }
    return NULL;
}

const char *dynamodb_check_item_key(struct arena *arena, const struct table_schema *schema,
                                    struct slice item)
{
    struct item_value attributes = item_root(item);
    struct item_value value = {0};
    size_t part;
    enum table_key_fault fault = table_key_check(schema, &attributes, &part);

    if (fault == TABLE_KEY_OK)
        return NULL;
    (void)item_find(&attributes, schema->parts[part].name, &value);
    return key_fault_text(arena, schema, fault, part, value.type);
}

const char *dynamodb_read_key(struct arena *arena, const struct table_schema *schema,
                              const json_t *key, struct buffer *item)
{
    const char *why = dynamodb_value_put_item(arena, item, key);

    return why != NULL ? why : dynamodb_check_key(arena, schema, buffer_slice(item), false);
}

const char *dynamodb_check_key(struct arena *arena, const struct table_schema *schema,
                               struct slice key, bool may_have_more)
{
    struct item_value attributes = item_root(key);
    size_t part;
    enum table_key_fault fault = table_key_check(schema, &attributes, &part);

    if ((!may_have_more && item_count(&attributes) != schema->part_count) ||
        fault == TABLE_KEY_MISSING || fault == TABLE_KEY_TYPE)
        return "The provided key element does not match the schema";
    return fault == TABLE_KEY_OK ? NULL : key_fault_text(arena, schema, fault, part, ITEM_S);
}

uint32_t dynamodb_row_key(struct dynamodb *dynamodb, const struct dynamodb_table *table,
                          struct slice item, struct buffer *key)
{
    struct item_value attributes = item_root(item);
    struct slice id = slice_of(table->record->id.data, table->record->id.len);
    struct slice hash_part;

    table_key_put_row(key, id.data, &table->schema, &attributes, &hash_part);
    return shard_router_shard_of(dynamodb->with.router, id, hash_part);
}

uint32_t dynamodb_place_command(struct dynamodb *dynamodb, struct dynamodb_table *table,
                                struct slice item, struct buffer *key,
                                Skein__Wire__TableCommand *command)
{
    struct item_value attributes = item_root(item);
    struct slice id = slice_of(table->record->id.data, table->record->id.len);
    uint32_t shard_count = shard_router_shard_count(dynamodb->with.router);
    struct slice hash_part;

    table_key_put_row(key, id.data, &table->schema, &attributes, &hash_part);
    if (table->record->index_epoch > 0 && table->indexes.size == 0)
        dynamodb_pack_indexes(table->record, shard_count, &table->indexes);
    command->index_epoch = table->record->index_epoch;
    command->indexes = (ProtobufCBinaryData){table->indexes.size, table->indexes.data};
    command->key = (ProtobufCBinaryData){key->size, key->data};
    command->n_index_sorts = table->record->n_local_indexes;
    if (command->n_index_sorts > 0) {
        command->index_sorts = table->index_sorts;
        command->hash_bytes = (uint32_t)hash_part.size;
    }
    return shard_router_shard_of(dynamodb->with.router, id, hash_part);
}

/* What an index wants of one of its keys. */
static const char *check_index_key(struct arena *arena, const char *index,
                                   const struct table_key_part *part, bool is_hash,
                                   const struct item_value *attributes)
{
    struct item_value value;

    if (!item_find(attributes, part->name, &value))
        return NULL;
    if (value.type != part->type)
        return arena_printf(arena,
                            "One or more parameter values were invalid: Type mismatch for Index "
                            "Key %.*s Expected: %s Actual: %s IndexName: %s",
                            (int)part->name.size, (const char *)part->name.data,
                            item_type_name(part->type), item_type_name(value.type), index);
    if (value.bytes.size == 0)
        return arena_printf(arena,
                            "One or more parameter values are not valid. A value specified for a "
                            "secondary index key is not supported. The AttributeValue for a key "
                            "attribute cannot contain an empty %s value. IndexName: %s, IndexKey: "
                            "%.*s",
                            value.type == ITEM_B ? "binary" : "string", index, (int)part->name.size,
                            (const char *)part->name.data);
    if (is_hash && value.bytes.size > TABLE_HASH_BYTES_MAX)
        return "One or more parameter values were invalid: Size of hashkey has exceeded the "
               "maximum size limit of2048 bytes";
    if (!is_hash && value.bytes.size > TABLE_SORT_BYTES_MAX)
        return "One or more parameter values were invalid: Aggregated size of all range keys has "
               "exceeded the size limit of 1024 bytes";
    return NULL;
}

const char *dynamodb_check_index_keys(struct arena *arena, const struct dynamodb_table *table,
                                      struct slice item)
{
    struct item_value attributes = item_root(item);
    const Skein__Wire__Table *record = table->record;
    const char *why = NULL;

    for (size_t i = 0; i < record->n_local_indexes && why == NULL; i++)
        why = check_index_key(arena, record->local_indexes[i]->name,
                              &table->index_schemas[i].parts[1], false, &attributes);
    for (size_t i = 0; i < record->n_global_indexes && why == NULL; i++)
        for (size_t k = 0; k < table->global_schemas[i].part_count && why == NULL; k++)
            if (record->global_indexes[i]->status != TABLE_INDEX_DELETING)
                why = check_index_key(arena, record->global_indexes[i]->name,
                                      &table->global_schemas[i].parts[k], k == 0, &attributes);
    return why;
}

/* ---- capacity -------------------------------------------------------------------------------- */

uint64_t dynamodb_read_half_units(uint64_t bytes, bool is_strong)
{
    uint64_t units = bytes == 0 ? 1 : (bytes + 4095) / 4096;

    return is_strong ? 2 * units : units;
}

uint64_t dynamodb_write_half_units(uint64_t bytes)
{
    return 2 * (bytes == 0 ? 1 : (bytes + 1023) / 1024);
}

bool dynamodb_wants_capacity(const struct dynamodb_call *call)
{
    const char *wanted = dynamodb_text(call, "ReturnConsumedCapacity");

    return wanted != NULL && strcmp(wanted, "NONE") != 0;
}

void dynamodb_write_part_units(struct json_write *json, uint64_t half_units)
{
    json_begin_object(json);
    json_key(json, "CapacityUnits");
    json_fixed(json, half_units * 5, 1);
    json_end_object(json);
}

void dynamodb_write_units(struct json_write *json, const char *table, uint64_t half_units,
                          bool has_indexes)
{
    json_begin_object(json);
    json_member_text(json, "TableName", table);
    json_key(json, "CapacityUnits");
    json_fixed(json, half_units * 5, 1);
    if (has_indexes) {
        json_key(json, "Table");
        dynamodb_write_part_units(json, half_units);
    }
    json_end_object(json);
}

void dynamodb_add_index_use(struct dynamodb_use *use, const struct dynamodb_table *table,
                            const Skein__Wire__TableReply *reply)
{
    const Skein__Wire__Table *record = table->record;

    for (size_t i = 0; i < reply->n_index_numbers && i < reply->n_index_units; i++)
        for (size_t k = 0; k < record->n_global_indexes; k++)
            if (record->global_indexes[k]->number == reply->index_numbers[i])
                use->index_half_units[k] += 2 * reply->index_units[i];
}

void dynamodb_write_use(struct json_write *json, const struct dynamodb_table *table,
                        const struct dynamodb_use *use, bool has_indexes)
{
    const Skein__Wire__Table *record = table->record;
    uint64_t of_indexes = 0;

    for (size_t i = 0; i < record->n_global_indexes; i++)
        of_indexes += use->index_half_units[i];
    json_begin_object(json);
    json_member_text(json, "TableName", record->name);
    json_key(json, "CapacityUnits");
    json_fixed(json, (use->half_units + of_indexes) * 5, 1);
    if (has_indexes) {
        json_key(json, "Table");
        dynamodb_write_part_units(json, use->half_units);
    }
    if (has_indexes && of_indexes > 0) {
        json_key(json, "GlobalSecondaryIndexes");
        json_begin_object(json);
        for (size_t i = 0; i < record->n_global_indexes; i++) {
            if (use->index_half_units[i] == 0)
                continue;
            json_key(json, record->global_indexes[i]->name);
            dynamodb_write_part_units(json, use->index_half_units[i]);
        }
        json_end_object(json);
    }
    json_end_object(json);
}

void dynamodb_write_capacity(struct json_write *json, const struct dynamodb_call *call,
                             uint64_t half_units)
{
    if (!dynamodb_wants_capacity(call))
        return;
    json_key(json, "ConsumedCapacity");
    dynamodb_write_units(json, call->table->record->name, half_units,
                         dynamodb_text_is(call, "ReturnConsumedCapacity", "INDEXES"));
}
