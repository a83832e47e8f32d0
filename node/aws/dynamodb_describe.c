#include "node/aws/dynamodb_describe.h"

#include "node/aws/dynamodb_index.h"
#include "node/aws/dynamodb_members.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"

#define TABLE_PREFIX "table/"
#define LIST_MAX 100

/* The names of operations on tables are checked by hand, with other words than elsewhere. */
#define LOOSE_TABLE_NAME                                                                           \
    {                                                                                              \
        "TableName", SHAPE_STRING, .pattern = SHAPE_NAME_PATTERN                                   \
    }
#define RESOURCE_ARN                                                                               \
    {                                                                                              \
        "ResourceArn", SHAPE_STRING, .is_required = true, .min = 1, .max = 1283                    \
    }

static const struct shape describe_shape[] = {LOOSE_TABLE_NAME, MEMBER_END};
static const struct shape list_shape[] = {
    {"ExclusiveStartTableName", SHAPE_STRING, .min = 3, .max = 255, .pattern = SHAPE_NAME_PATTERN},
    {"Limit", SHAPE_INTEGER, .min = 1, .max = LIST_MAX},
    MEMBER_END};
static const struct shape tags_shape[] = {
    RESOURCE_ARN, {.name = "NextToken", .kind = SHAPE_STRING}, MEMBER_END};
static const struct shape empty_shape[] = {MEMBER_END};

/* ---- names ----------------------------------------------------------------------------------- */

const char *dynamodb_check_table_name(const char *name)
{
    if (name == NULL)
        return "The parameter 'TableName' is required but was not present in the request";
    if (strlen(name) < 3 || strlen(name) > 255)
        return "TableName must be at least 3 characters long and at most 255 characters long";
    return NULL;
}

const char *dynamodb_table_arn(const struct dynamodb_call *call, const char *name)
{
    return arena_printf(call->arena, "arn:aws:dynamodb:%.*s:%s:table/%s",
                        (int)call->request->region.size, (const char *)call->request->region.data,
                        AWS_ACCOUNT_ID, name);
}

bool dynamodb_find_described(struct dynamodb_call *call, const char *name_or_arn)
{
    const char *in_arn =
        strncmp(name_or_arn, "arn:", 4) == 0 ? strstr(name_or_arn, ":table/") : NULL;
    const char *name = in_arn != NULL ? in_arn + strlen(":table/") : name_or_arn;
    struct dynamodb_table *table = map_find(&call->dynamodb->tables, slice_text(name));

    if (table == NULL && !view_is_current(call->dynamodb->with.view)) {
        dynamodb_fail(call, ERR_UNREACHABLE); /* it may have been made meanwhile */
        return false;
    }
    if (table == NULL) {
        dynamodb_refuse(
            call, "ResourceNotFoundException",
            arena_printf(call->arena, "Requested resource not found: Table: %s not found", name));
        return false;
    }
    call->table = dynamodb_table_hold(table);
    return true;
}

/* ---- descriptions ---------------------------------------------------------------------------- */

static void write_attributes(struct json_write *json, const Skein__Wire__Table *record)
{
    json_key(json, "AttributeDefinitions");
    json_begin_array(json);
    for (size_t i = 0; i < record->n_definitions; i++) {
        json_begin_object(json);
        json_member_text(json, "AttributeName", record->definitions[i]->name);
        json_member_text(json, "AttributeType",
                         item_type_name((enum item_type)record->definitions[i]->type));
        json_end_object(json);
    }
    json_end_array(json);
    json_key(json, "KeySchema");
    json_begin_array(json);
    for (size_t i = 0; i < record->n_keys; i++) {
        json_begin_object(json);
        json_member_text(json, "AttributeName", record->keys[i]->name);
        json_member_text(json, "KeyType", i == 0 ? "HASH" : "RANGE");
        json_end_object(json);
    }
    json_end_array(json);
}

static void write_billing(struct json_write *json, const Skein__Wire__Table *record)
{
    if (record->is_on_demand) {
        json_key(json, "BillingModeSummary");
        json_begin_object(json);
        json_member_text(json, "BillingMode", "PAY_PER_REQUEST");
        json_key(json, "LastUpdateToPayPerRequestDateTime");
        json_fixed(json, record->created_ms, 3);
        json_end_object(json);
    }
    json_key(json, "ProvisionedThroughput");
    json_begin_object(json);
    json_member_u64(json, "NumberOfDecreasesToday", 0);
    json_member_u64(json, "ReadCapacityUnits", record->read_units);
    json_member_u64(json, "WriteCapacityUnits", record->write_units);
    json_end_object(json);
}

void dynamodb_write_description(struct json_write *json, const struct dynamodb_call *call,
                                const Skein__Wire__Table *record, const char *status)
{
    char id[UUID_TEXT_BYTES];

    encode_uuid(record->id.data, id);
    json_begin_object(json);
    json_member_text(json, "TableName", record->name);
    json_member_text(json, "TableStatus", status);
    json_member_text(json, "TableArn", dynamodb_table_arn(call, record->name));
    json_member_text(json, "TableId", id);
    json_key(json, "CreationDateTime");
    json_fixed(json, record->created_ms, 3);
    write_attributes(json, record);
    write_billing(json, record);
    dynamodb_write_local_indexes(json, call->arena, record, dynamodb_table_arn(call, record->name));
    json_member_u64(json, "ItemCount", 0);
    json_member_u64(json, "TableSizeBytes", 0);
    json_member_bool(json, "DeletionProtectionEnabled", record->is_protected);
    if (record->table_class[0] != '\0') {
        json_key(json, "TableClassSummary");
        json_begin_object(json);
        json_member_text(json, "TableClass", record->table_class);
        json_end_object(json);
    }
    json_end_object(json);
}

static void describe_table(struct dynamodb_call *call)
{
    const char *name = dynamodb_text(call, "TableName");
    const char *why = dynamodb_check_table_name(name);
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&body);

    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (!dynamodb_find_described(call, name))
        return;
    json_begin_object(&json);
    json_key(&json, "Table");
    dynamodb_write_description(&json, call, call->table->record, "ACTIVE");
    json_end_object(&json);
    dynamodb_answer(call, &body);
}

/* ---- ListTables ------------------------------------------------------------------------------ */

struct listing {
    struct json_write *json;
    const char *after; /* NULL: from the first */
    const char *last;  /* listed; in the catalogue */
    int64_t left;
    bool has_more;
};

static void list_record(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct listing *listing = user;
    const char *name = key + strlen(TABLE_PREFIX);

    (void)value;
    (void)revision;
    if (listing->after != NULL && strcmp(name, listing->after) <= 0)
        return;
    if (listing->left == 0) {
        listing->has_more = true;
        return;
    }
    listing->left--;
    listing->last = name;
    json_text(listing->json, name);
}

static void list_tables(struct dynamodb_call *call)
{
    const json_t *limit = dynamodb_member(call, "Limit");
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&body);
    struct listing listing = {.json = &json,
                              .after = dynamodb_text(call, "ExclusiveStartTableName"),
                              .left = limit != NULL ? dynamodb_shape_integer(limit) : LIST_MAX};

    json_begin_object(&json);
    json_key(&json, "TableNames");
    json_begin_array(&json);
    view_each(call->dynamodb->with.view, TABLE_PREFIX, &listing, list_record);
    json_end_array(&json);
    if (listing.has_more)
        json_member_text(&json, "LastEvaluatedTableName", listing.last);
    json_end_object(&json);
    dynamodb_answer(call, &body);
}

/* ---- small ones ------------------------------------------------------------------------------ */

static void list_tags(struct dynamodb_call *call)
{
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&body);

    if (!dynamodb_find_described(call, dynamodb_text(call, "ResourceArn")))
        return;
    json_begin_object(&json);
    json_key(&json, "Tags");
    json_begin_array(&json);
    for (size_t i = 0; i < call->table->record->n_tags; i++) {
        json_begin_object(&json);
        json_member_text(&json, "Key", call->table->record->tags[i]->key);
        json_member_text(&json, "Value", call->table->record->tags[i]->value);
        json_end_object(&json);
    }
    json_end_array(&json);
    json_end_object(&json);
    dynamodb_answer(call, &body);
}

static void answer_text(struct dynamodb_call *call, const char *text)
{
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);

    buffer_put_text(&body, text);
    dynamodb_answer(call, &body);
}

static void describe_limits(struct dynamodb_call *call)
{
    answer_text(call,
                "{\"AccountMaxReadCapacityUnits\":80000,\"AccountMaxWriteCapacityUnits\":80000,"
                "\"TableMaxReadCapacityUnits\":40000,\"TableMaxWriteCapacityUnits\":40000}");
}

static void describe_endpoints(struct dynamodb_call *call)
{
    struct slice host = http_header_find(call->request->exchange, "Host");
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&body);

    json_begin_object(&json);
    json_key(&json, "Endpoints");
    json_begin_array(&json);
    json_begin_object(&json);
    json_member_slice(&json, "Address", host);
    json_member_u64(&json, "CachePeriodInMinutes", 1440);
    json_end_object(&json);
    json_end_array(&json);
    json_end_object(&json);
    dynamodb_answer(call, &body);
}

static void describe_ttl(struct dynamodb_call *call)
{
    const char *why = dynamodb_check_table_name(dynamodb_text(call, "TableName"));

    if (why != NULL)
        dynamodb_invalid(call, why);
    else if (dynamodb_find_described(call, dynamodb_text(call, "TableName")))
        answer_text(call, "{\"TimeToLiveDescription\":{\"TimeToLiveStatus\":\"DISABLED\"}}");
}

static void describe_backups(struct dynamodb_call *call)
{
    const char *why = dynamodb_check_table_name(dynamodb_text(call, "TableName"));

    if (why != NULL)
        dynamodb_invalid(call, why);
    else if (dynamodb_find_described(call, dynamodb_text(call, "TableName")))
        answer_text(call, "{\"ContinuousBackupsDescription\":{\"ContinuousBackupsStatus\":"
                          "\"DISABLED\",\"PointInTimeRecoveryDescription\":{"
                          "\"PointInTimeRecoveryStatus\":\"DISABLED\"}}}");
}

const struct dynamodb_operation dynamodb_describe_operations[] = {
    {"DescribeTable", describe_shape, sizeof(struct dynamodb_call), describe_table},
    {"ListTables", list_shape, sizeof(struct dynamodb_call), list_tables},
    {"ListTagsOfResource", tags_shape, sizeof(struct dynamodb_call), list_tags},
    {"DescribeLimits", empty_shape, sizeof(struct dynamodb_call), describe_limits},
    {"DescribeEndpoints", empty_shape, sizeof(struct dynamodb_call), describe_endpoints},
    {"DescribeTimeToLive", describe_shape, sizeof(struct dynamodb_call), describe_ttl},
    {"DescribeContinuousBackups", describe_shape, sizeof(struct dynamodb_call), describe_backups},
    {NULL, NULL, 0, NULL},
};
