#include "node/aws/dynamodb_describe.h"

#include "node/aws/dynamodb_global.h"
#include "node/aws/dynamodb_index.h"
#include "node/aws/dynamodb_members.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"

#define TABLE_PREFIX "table/"
#define LIST_MAX 100

static const struct shape describe_shape[] = {MEMBER_TABLE, MEMBER_END};
static const struct shape list_shape[] = {
    {"ExclusiveStartTableName", SHAPE_STRING, .min = 3, .max = 255, .pattern = SHAPE_NAME_PATTERN},
    {"Limit", SHAPE_INTEGER, .min = 1, .max = LIST_MAX},
    MEMBER_END};
static const struct shape tags_shape[] = {
    MEMBER_RESOURCE_ARN, {.name = "NextToken", .kind = SHAPE_STRING}, MEMBER_END};
static const struct shape empty_shape[] = {MEMBER_END};

/* ---- names ----------------------------------------------------------------------------------- */

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

/* a:b:c:d:e:f/g: what the service looks at before it asks whether the caller may. */
static bool looks_like_arn(const char *text)
{
    for (int i = 0; i < 5; i++) {
        const char *colon = strchr(text, ':');

        if (colon == NULL || colon == text)
            return false;
        text = colon + 1;
    }
    text = strchr(text, '/');
    return text != NULL && text[1] != '\0';
}

/* The table's name in arn:aws:dynamodb:REGION:ACCOUNT:table/NAME; NULL when it is none. */
static const char *table_in_arn(const char *arn)
{
    const char *name = strstr(arn, ":table/");

    if (strncmp(arn, "arn:aws:dynamodb:", 17) != 0 || name == NULL)
        return NULL;
    name += strlen(":table/");
    return strlen(name) >= 3 && strchr(name, '/') == NULL ? name : NULL;
}

bool dynamodb_find_resource(struct dynamodb_call *call, const char *member)
{
    const char *arn = dynamodb_text(call, "ResourceArn");
    struct slice operation = call->request->operation;
    const char *name;

    if (arn == NULL) {
        dynamodb_invalid(call, "Invalid TableArn");
        return false;
    }
    if (!looks_like_arn(arn)) {
        dynamodb_refuse(
            call, "AccessDeniedException",
            arena_printf(call->arena,
                         "User: arn:aws:iam::%s:root is not authorized to perform: dynamodb:%.*s "
                         "on resource: %s",
                         AWS_ACCOUNT_ID, (int)operation.size, (const char *)operation.data,
                         arn[0] != '\0' ? arn : "*"));
        return false;
    }
    if (member != NULL && dynamodb_member(call, member) == NULL) {
        dynamodb_invalid(call, arena_printf(call->arena,
                                            "1 validation error detected: Value null at '%s' "
                                            "failed to satisfy constraint: Member must not be "
                                            "null",
                                            strcmp(member, "Tags") == 0 ? "tags" : "tagKeys"));
        return false;
    }
    name = table_in_arn(arn);
    if (name == NULL) {
        dynamodb_invalid(
            call, arena_printf(call->arena,
                               "Invalid TableArn: Invalid ResourceArn provided as input %s", arn));
        return false;
    }
    if (member != NULL && json_array_size(dynamodb_member(call, member)) == 0) {
        dynamodb_invalid(call, strcmp(member, "Tags") == 0
                                   ? "Atleast one Tag needs to be provided as Input."
                                   : "Atleast one Tag Key needs to be provided as Input.");
        return false;
    }
    if (map_find(&call->dynamodb->tables, slice_text(name)) == NULL &&
        view_is_current(call->dynamodb->with.view)) {
        dynamodb_refuse(call, "ResourceNotFoundException",
                        member != NULL && strcmp(member, "TagKeys") == 0
                            ? "Requested resource not found"
                            : arena_printf(call->arena,
                                           "Requested resource not found: ResourcArn: %s not found",
                                           arn));
        return false;
    }
    return dynamodb_find_described(call, name);
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

static void write_billing(struct json_write *json, const Skein__Wire__Table *record,
                          bool is_creating)
{
    if (record->is_on_demand) {
        json_key(json, "BillingModeSummary");
        json_begin_object(json);
        json_member_text(json, "BillingMode", "PAY_PER_REQUEST");
        if (!is_creating) {
            json_key(json, "LastUpdateToPayPerRequestDateTime");
            json_fixed(json, record->created_ms, 3);
        }
        json_end_object(json);
    }
    json_key(json, "ProvisionedThroughput");
    json_begin_object(json);
    json_member_u64(json, "NumberOfDecreasesToday", 0);
    json_member_u64(json, "ReadCapacityUnits", record->read_units);
    json_member_u64(json, "WriteCapacityUnits", record->write_units);
    json_end_object(json);
}

/* What a table that is going is no longer described by. */
static void write_definition(struct json_write *json, const struct dynamodb_call *call,
                             const Skein__Wire__Table *record, const char *status)
{
    const char *arn = dynamodb_table_arn(call, record->name);

    json_key(json, "CreationDateTime");
    json_fixed(json, record->created_ms, 3);
    write_attributes(json, record);
    dynamodb_write_local_indexes(json, call->arena, record, arn);
    dynamodb_write_global_indexes(json, call->arena, record, arn, status);
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
    write_billing(json, record, strcmp(status, "CREATING") == 0);
    if (strcmp(status, "DELETING") != 0)
        write_definition(json, call, record, status);
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
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&body);

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

    if (!dynamodb_find_resource(call, NULL))
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
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&body);
    const char *attribute;

    if (!dynamodb_find_described(call, dynamodb_text(call, "TableName")))
        return;
    attribute = call->table->record->ttl_attribute;
    json_begin_object(&json);
    json_key(&json, "TimeToLiveDescription");
    json_begin_object(&json);
    json_member_text(&json, "TimeToLiveStatus", attribute[0] != '\0' ? "ENABLED" : "DISABLED");
    if (attribute[0] != '\0')
        json_member_text(&json, "AttributeName", attribute);
    json_end_object(&json);
    json_end_object(&json);
    dynamodb_answer(call, &body);
}

static void describe_backups(struct dynamodb_call *call)
{
    const char *name = dynamodb_text(call, "TableName");

    if (map_find(&call->dynamodb->tables, slice_text(name)) == NULL &&
        view_is_current(call->dynamodb->with.view)) { /* another exception than elsewhere */
        dynamodb_refuse(call, "TableNotFoundException",
                        arena_printf(call->arena, "Table not found: %s", name));
        return;
    }
    if (dynamodb_find_described(call, name))
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
