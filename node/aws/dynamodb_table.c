/* CreateTable, DeleteTable, UpdateTable, UpdateTimeToLive, TagResource, UntagResource: changes of a
 * table's record.
 *
 *   COMMITTING -> answer
 *       |  ^
 *       v  |
 *     WAITING     the record is not what it was thought to be: wait until this node's copy of the
 *                 catalogue shows what it is, then decide
 *
 * A commit that was retried inside the view may find its own earlier success as a conflict; the
 * table's id tells it from somebody else's. */

#include "node/aws/dynamodb_call.h"
#include "node/aws/dynamodb_describe.h"
#include "node/aws/dynamodb_drop.h"
#include "node/aws/dynamodb_global.h"
#include "node/aws/dynamodb_index.h"
#include "node/aws/dynamodb_members.h"
#include "node/aws/dynamodb_schema.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/log.h"

#define WAIT_US 5000
#define WAIT_TRIES 1000

/* ---- shapes ---------------------------------------------------------------------------------- */

static const struct shape definition_members[] = {
    {"AttributeName", SHAPE_STRING, .is_required = true, .min = 1, .max = 255},
    {"AttributeType", SHAPE_STRING, .is_required = true, .choices = "B, N, S"},
    MEMBER_END};
static const struct shape definition_element[] = {
    {.kind = SHAPE_STRUCTURE, .type = "AttributeDefinition", .of = definition_members}};
static const struct shape tag_members[] = {
    {"Key", SHAPE_STRING, .is_required = true, .min = 1, .max = 128},
    {"Value", SHAPE_STRING, .is_required = true, .max = 256},
    MEMBER_END};
static const struct shape tag_element[] = {
    {.kind = SHAPE_STRUCTURE, .type = "Tag", .of = tag_members}};
static const struct shape tag_key_element[] = {{.kind = SHAPE_STRING, .min = 1, .max = 128}};
static const struct shape stream_members[] = {{"StreamEnabled", SHAPE_BOOLEAN, .is_required = true},
                                              MEMBER_END};

#define THROUGHPUT                                                                                 \
    {                                                                                              \
        "ProvisionedThroughput", SHAPE_STRUCTURE, .type = "ProvisionedThroughput",                 \
                                                  .of = dynamodb_throughput_members                \
    }
#define BILLING                                                                                    \
    {                                                                                              \
        "BillingMode", SHAPE_STRING, .choices = "PROVISIONED, PAY_PER_REQUEST"                     \
    }
#define TABLE_CLASS                                                                                \
    {                                                                                              \
        "TableClass", SHAPE_STRING, .choices = "STANDARD, STANDARD_INFREQUENT_ACCESS"              \
    }
#define STREAM                                                                                     \
    {                                                                                              \
        "StreamSpecification", SHAPE_STRUCTURE, .type = "StreamSpecification",                     \
                                                .of = stream_members                               \
    }
#define PROTECTION                                                                                 \
    {                                                                                              \
        .name = "DeletionProtectionEnabled", .kind = SHAPE_BOOLEAN                                 \
    }

static const struct shape create_shape[] = {
    {"AttributeDefinitions", SHAPE_LIST, .of = definition_element, .is_required = true},
    MEMBER_TABLE,
    BILLING,
    THROUGHPUT,
    {"KeySchema", SHAPE_LIST, .of = dynamodb_key_schema_element, .is_required = true, .min = 1,
     .max = 2},
    {"LocalSecondaryIndexes", SHAPE_LIST, .of = dynamodb_local_index_element},
    {"GlobalSecondaryIndexes", SHAPE_LIST, .of = dynamodb_global_index_element},
    {"Tags", SHAPE_LIST, .of = tag_element},
    STREAM,
    TABLE_CLASS,
    PROTECTION,
    MEMBER_END};
static const struct shape delete_shape[] = {MEMBER_TABLE, MEMBER_END};
static const struct shape update_shape[] = {
    {"AttributeDefinitions", SHAPE_LIST, .of = definition_element},
    MEMBER_TABLE,
    BILLING,
    THROUGHPUT,
    {"GlobalSecondaryIndexUpdates", SHAPE_LIST, .of = dynamodb_global_update_element},
    STREAM,
    TABLE_CLASS,
    PROTECTION,
    MEMBER_END};
static const struct shape ttl_members[] = {
    {"Enabled", SHAPE_BOOLEAN, .is_required = true},
    {"AttributeName", SHAPE_STRING, .is_required = true, .min = 1, .max = 255},
    MEMBER_END};
static const struct shape ttl_shape[] = {{"TimeToLiveSpecification", SHAPE_STRUCTURE,
                                          .type = "TimeToLiveSpecification", .of = ttl_members,
                                          .is_required = true},
                                         MEMBER_TABLE,
                                         MEMBER_END};
static const struct shape tag_shape[] = {
    MEMBER_RESOURCE_ARN, {"Tags", SHAPE_LIST, .of = tag_element}, MEMBER_END};
static const struct shape untag_shape[] = {
    MEMBER_RESOURCE_ARN, {"TagKeys", SHAPE_LIST, .of = tag_key_element}, MEMBER_END};

/* ---- a change at work ------------------------------------------------------------------------ */

struct table_call {
    struct dynamodb_call call;
    struct view_update update;
    struct env_timer timer;
    unsigned tries;
    const char *name;
    Skein__Wire__Table record; /* as it shall be; in the arena */
    uint64_t expected_revision;
    /* The commit found another record than expected; the copy shows which. True: answered, or
     * committing once more. */
    bool (*on_conflict)(struct table_call *table);
    void (*on_done)(struct table_call *table);
};

static void release_table_call(struct dynamodb_call *call)
{
    struct table_call *table = container_of(call, struct table_call, call);

    env_timer_stop(call->dynamodb->with.env, &table->timer);
    view_update_cancel(&table->update);
}

static struct table_call *table_call_of(struct dynamodb_call *call)
{
    struct table_call *table = container_of(call, struct table_call, call);

    call->release = release_table_call;
    return table;
}

static void on_wait_over(struct env_timer *timer)
{
    struct table_call *table = container_of(timer, struct table_call, timer);

    if (table->on_conflict(table))
        return;
    if (++table->tries > WAIT_TRIES) {
        dynamodb_fail(&table->call, ERR_TIMEOUT);
        return;
    }
    env_timer_start(table->call.dynamodb->with.env, &table->timer, WAIT_US, on_wait_over);
}

static void on_committed(struct view_update *update, enum error rc)
{
    struct table_call *table = container_of(update, struct table_call, update);

    if (rc == OK)
        table->on_done(table);
    else if (rc == ERR_CONFLICT)
        on_wait_over(&table->timer);
    else
        dynamodb_fail(&table->call, rc);
}

/* What this node's copy has under the name; NULL when nothing. */
static struct dynamodb_table *current(const struct table_call *table)
{
    return map_find(&table->call.dynamodb->tables, slice_text(table->name));
}

static bool has_id(const struct dynamodb_table *table, const Skein__Wire__Table *record)
{
    return slice_equal(slice_of(table->record->id.data, table->record->id.len),
                       slice_of(record->id.data, record->id.len));
}

static struct slice packed_record(struct arena *arena, const Skein__Wire__Table *record)
{
    size_t size = skein__wire__table__get_packed_size(record);
    uint8_t *bytes = arena_alloc(arena, size);

    return slice_of(bytes, skein__wire__table__pack(record, bytes));
}

static void commit_record(struct table_call *table)
{
    const struct view_change change = {.key =
                                           arena_printf(table->call.arena, "table/%s", table->name),
                                       .value = packed_record(table->call.arena, &table->record),
                                       .expected_revision = table->expected_revision};

    view_update_start(table->call.dynamodb->with.view, &table->update, &change, 1,
                      DYNAMODB_DEADLINE_MS, on_committed);
}

static void answer_description(struct table_call *table, const Skein__Wire__Table *record,
                               const char *status)
{
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&body);

    json_begin_object(&json);
    json_key(&json, "TableDescription");
    dynamodb_write_description(&json, &table->call, record, status);
    json_end_object(&json);
    dynamodb_answer(&table->call, &body);
}

static void answer_nothing(struct table_call *table)
{
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);

    dynamodb_answer(&table->call, &body);
}

/* ---- CreateTable ----------------------------------------------------------------------------- */

static bool on_create_conflict(struct table_call *table)
{
    struct dynamodb_table *found = current(table);

    if (found == NULL)
        return false;
    if (has_id(found, &table->record)) /* ours: the commit had succeeded before it was retried */
        answer_description(table, &table->record, "CREATING");
    else
        dynamodb_refuse(&table->call, "ResourceInUseException",
                        arena_printf(table->call.arena, "Table already exists: %s", table->name));
    return true;
}

static void on_created(struct table_call *table)
{
    answer_description(table, &table->record, "CREATING");
}

static const char *read_create(struct table_call *table)
{
    struct dynamodb_call *call = &table->call;
    const char *why = dynamodb_read_throughput(call, &table->record);

    if (why == NULL)
        why = dynamodb_read_schema(call, &table->record);
    if (why == NULL)
        why = dynamodb_read_tags(call, &table->record);
    if (why == NULL)
        why = dynamodb_refuse_unsupported(call);
    return why;
}

static void create_table(struct dynamodb_call *call)
{
    struct table_call *table = table_call_of(call);
    struct env *env = call->dynamodb->with.env;
    uint8_t *id = arena_alloc(call->arena, TABLE_ID_BYTES);
    const char *why;

    table->name = dynamodb_text(call, "TableName");
    table->on_conflict = on_create_conflict;
    table->on_done = on_created;
    skein__wire__table__init(&table->record);
    why = read_create(table);
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (current(table) != NULL) {
        (void)on_create_conflict(table);
        return;
    }
    if (table->record.n_local_indexes + table->record.n_global_indexes == 0 &&
        table->record.n_definitions > table->record.n_keys)
        log_warn("dynamodb.surplus_definitions table=%s definitions=%zu keys=%zu", table->name,
                 table->record.n_definitions, table->record.n_keys);
    env->dice->random_bytes(env, id, TABLE_ID_BYTES);
    table->record.id = (ProtobufCBinaryData){TABLE_ID_BYTES, id};
    table->record.name = (char *)(uintptr_t)table->name;
    table->record.created_ms = env_wall_ms(env);
    table->record.is_protected = dynamodb_flag(call, "DeletionProtectionEnabled", false);
    if (dynamodb_member(call, "TableClass") != NULL)
        table->record.table_class = (char *)(uintptr_t)dynamodb_text(call, "TableClass");
    table->expected_revision = VIEW_REVISION_NONE;
    commit_record(table);
}

/* ---- changing a table that is there ------------------------------------------------------------
 */

/* Finds it, and starts `record` as a copy of its record. False: answered. */
static bool begin_change(struct table_call *table, const char *name_or_arn)
{
    if (!dynamodb_find_described(&table->call, name_or_arn))
        return false;
    table->record = *table->call.table->record;
    table->name = table->record.name;
    table->expected_revision = table->call.table->revision;
    return true;
}

/* Somebody else changed the table meanwhile. */
static bool on_change_conflict(struct table_call *table)
{
    struct dynamodb_table *found = current(table);

    if (found != NULL && found->revision == table->expected_revision)
        return false;
    dynamodb_refuse(&table->call, "ResourceInUseException",
                    arena_printf(table->call.arena,
                                 "Attempt to change a resource which is still in use: Table is "
                                 "being updated: %s",
                                 table->name));
    return true;
}

/* ---- DeleteTable ----------------------------------------------------------------------------- */

static void commit_delete(struct table_call *table)
{
    struct dynamodb_call *call = &table->call;
    struct slice drop =
        dynamodb_drop_record(call->arena, &table->record, env_wall_ms(call->dynamodb->with.env));
    const struct view_change changes[] = {
        {.key = arena_printf(call->arena, "table/%s", table->name),
         .is_delete = true,
         .expected_revision = table->expected_revision},
        {.key = dynamodb_drop_key(call->arena, table->record.id.data),
         .value = drop,
         .expected_revision = VIEW_REVISION_ANY}};

    view_update_start(call->dynamodb->with.view, &table->update, changes, ARRAY_COUNT(changes),
                      DYNAMODB_DEADLINE_MS, on_committed);
}

static void on_deleted(struct table_call *table)
{
    answer_description(table, &table->record, "DELETING");
}

/* Gone already, maybe by this very commit: that is what was asked for. Changed meanwhile: once
 * more. */
static bool on_delete_conflict(struct table_call *table)
{
    struct dynamodb_table *found = current(table);

    if (found == NULL || !has_id(found, &table->record)) {
        on_deleted(table);
        return true;
    }
    if (found->revision == table->expected_revision)
        return false;
    table->expected_revision = found->revision;
    commit_delete(table);
    return true;
}

static void delete_table(struct dynamodb_call *call)
{
    struct table_call *table = table_call_of(call);
    const char *name = dynamodb_text(call, "TableName");

    if (!begin_change(table, name))
        return;
    if (table->record.is_protected) {
        dynamodb_invalid(call, arena_printf(call->arena,
                                            "Resource cannot be deleted as it is currently "
                                            "protected against deletion. Disable deletion "
                                            "protection first. Table: %s",
                                            name));
        return;
    }
    table->on_conflict = on_delete_conflict;
    table->on_done = on_deleted;
    commit_delete(table);
}

/* ---- UpdateTable, tags ----------------------------------------------------------------------- */

static void on_updated(struct table_call *table)
{
    answer_description(table, &table->record, "UPDATING");
}

static const char *read_table_update(struct table_call *table)
{
    struct dynamodb_call *call = &table->call;
    const Skein__Wire__Table *old = call->table->record;
    const char *why = dynamodb_read_throughput(call, &table->record);

    if (why == NULL && dynamodb_member(call, "ProvisionedThroughput") != NULL &&
        !old->is_on_demand && old->read_units == table->record.read_units &&
        old->write_units == table->record.write_units)
        why = arena_printf(
            call->arena,
            "The provisioned throughput for the table will not change. The requested value equals "
            "the current value. Current ReadCapacityUnits provisioned for the table: %llu. "
            "Requested ReadCapacityUnits: %llu. Current WriteCapacityUnits provisioned for the "
            "table: %llu. Requested WriteCapacityUnits: %llu. Refer to the Amazon DynamoDB "
            "Developer Guide for current limits and how to request higher limits.",
            (unsigned long long)old->read_units, (unsigned long long)old->read_units,
            (unsigned long long)old->write_units, (unsigned long long)old->write_units);
    table->record.is_protected =
        dynamodb_flag(call, "DeletionProtectionEnabled", table->record.is_protected);
    if (dynamodb_member(call, "TableClass") != NULL)
        table->record.table_class = (char *)(uintptr_t)dynamodb_text(call, "TableClass");
    return why;
}

static const char *check_table_update(const struct dynamodb_call *call)
{
    static const char *const members[] = {
        "ProvisionedThroughput",     "BillingMode",
        "DeletionProtectionEnabled", "TableClass",
        "StreamSpecification",       "GlobalSecondaryIndexUpdates"};
    const char *why = dynamodb_refuse_unsupported(call);
    bool has_any = false;

    for (size_t i = 0; i < ARRAY_COUNT(members); i++)
        has_any = has_any || dynamodb_member(call, members[i]) != NULL;
    if (why == NULL && dynamodb_text_is(call, "BillingMode", "PROVISIONED") &&
        dynamodb_member(call, "ProvisionedThroughput") == NULL)
        why = "One or more parameter values were invalid: ProvisionedThroughput must be specified "
              "when BillingMode is PROVISIONED";
    if (why == NULL && !has_any)
        why = "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, "
              "GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required";
    return why != NULL ? why : dynamodb_check_global_updates(call);
}

static void update_table(struct dynamodb_call *call)
{
    struct table_call *table = table_call_of(call);
    struct dynamodb_refusal refusal;
    const char *why = check_table_update(call);

    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    if (!begin_change(table, dynamodb_text(call, "TableName")))
        return;
    why = read_table_update(table);
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    refusal = dynamodb_read_global_updates(call, &table->record);
    if (refusal.message != NULL) {
        dynamodb_refuse(call, refusal.code != NULL ? refusal.code : "ValidationException",
                        refusal.message);
        return;
    }
    table->on_conflict = on_change_conflict;
    table->on_done = on_updated;
    commit_record(table);
}

/* Starts the change of tags in `member`. False: answered. */
static bool begin_tags(struct table_call *table, const char *member)
{
    struct dynamodb_call *call = &table->call;

    if (!dynamodb_find_resource(call, member))
        return false;
    table->record = *call->table->record;
    table->name = table->record.name;
    table->expected_revision = call->table->revision;
    table->on_conflict = on_change_conflict;
    table->on_done = answer_nothing;
    return true;
}

static void tag_resource(struct dynamodb_call *call)
{
    struct table_call *table = table_call_of(call);
    const char *why;

    if (!begin_tags(table, "Tags"))
        return;
    why = dynamodb_read_tags(call, &table->record);
    if (why != NULL)
        dynamodb_invalid(call, why);
    else
        commit_record(table);
}

static bool is_listed(const json_t *list, const char *key)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), key) == 0)
            return true;
    return false;
}

static void untag_resource(struct dynamodb_call *call)
{
    struct table_call *table = table_call_of(call);
    const json_t *keys = dynamodb_member(call, "TagKeys");
    Skein__Wire__TableTag **old;
    size_t old_count;

    if (!begin_tags(table, "TagKeys"))
        return;
    old = table->record.tags;
    old_count = table->record.n_tags;
    table->record.tags = arena_alloc(call->arena, (old_count + 1) * sizeof(*old));
    table->record.n_tags = 0;
    for (size_t i = 0; i < old_count; i++)
        if (!is_listed(keys, old[i]->key))
            table->record.tags[table->record.n_tags++] = old[i];
    commit_record(table);
}

/* ---- UpdateTimeToLive ------------------------------------------------------------------------ */

static void on_ttl_updated(struct table_call *table)
{
    const json_t *asked = dynamodb_member(&table->call, "TimeToLiveSpecification");
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&body);

    json_begin_object(&json);
    json_key(&json, "TimeToLiveSpecification");
    json_begin_object(&json);
    json_member_text(&json, "AttributeName",
                     json_string_value(json_object_get(asked, "AttributeName")));
    json_member_bool(&json, "Enabled", dynamodb_shape_is_true(json_object_get(asked, "Enabled")));
    json_end_object(&json);
    json_end_object(&json);
    dynamodb_answer(&table->call, &body);
}

static void update_ttl(struct dynamodb_call *call)
{
    struct table_call *table = table_call_of(call);
    const json_t *asked = dynamodb_member(call, "TimeToLiveSpecification");
    const char *attribute = json_string_value(json_object_get(asked, "AttributeName"));
    bool is_enabled = dynamodb_shape_is_true(json_object_get(asked, "Enabled"));
    const char *current;
    const char *why = NULL;

    if (!begin_change(table, dynamodb_text(call, "TableName")))
        return;
    current = table->record.ttl_attribute;
    if (current[0] == '\0' && !is_enabled)
        why = "TimeToLive is already disabled";
    else if (current[0] != '\0' && strcmp(current, attribute) != 0)
        why = arena_printf(call->arena,
                           "TimeToLive is active on a different AttributeName: current "
                           "AttributeName is %s",
                           current);
    else if (current[0] != '\0' && is_enabled)
        why = "TimeToLive is already enabled";
    if (why != NULL) {
        dynamodb_invalid(call, why);
        return;
    }
    table->record.ttl_attribute = is_enabled ? (char *)(uintptr_t)attribute : "";
    table->on_conflict = on_change_conflict;
    table->on_done = on_ttl_updated;
    commit_record(table);
}

const struct dynamodb_operation dynamodb_table_operations[] = {
    {"CreateTable", create_shape, sizeof(struct table_call), create_table},
    {"DeleteTable", delete_shape, sizeof(struct table_call), delete_table},
    {"UpdateTable", update_shape, sizeof(struct table_call), update_table},
    {"TagResource", tag_shape, sizeof(struct table_call), tag_resource},
    {"UntagResource", untag_shape, sizeof(struct table_call), untag_resource},
    {"UpdateTimeToLive", ttl_shape, sizeof(struct table_call), update_ttl},
    {NULL, NULL, 0, NULL},
};
