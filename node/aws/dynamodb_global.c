#include "node/aws/dynamodb_global.h"

#include "node/aws/dynamodb_index.h"
#include "node/aws/dynamodb_members.h"
#include "node/table/table_engine.h"
#include "proto/base/check.h"

#define INVALID "One or more parameter values were invalid: "
#define CAPACITY_MAX INT64_C(1000000000000)
#define INCLUDED_MAX 100 /* names of all indexes of a table together */

/* ---- shapes ---------------------------------------------------------------------------------- */

const struct shape dynamodb_throughput_members[] = {
    {"WriteCapacityUnits", SHAPE_LONG, .is_required = true, .min = 1},
    {"ReadCapacityUnits", SHAPE_LONG, .is_required = true, .min = 1},
    MEMBER_END};

#define INDEX_NAME                                                                                 \
    {                                                                                              \
        "IndexName", SHAPE_STRING, .is_required = true, .min = 3, .max = 255,                      \
                                   .pattern = SHAPE_NAME_PATTERN                                   \
    }
#define THROUGHPUT                                                                                 \
    {                                                                                              \
        "ProvisionedThroughput", SHAPE_STRUCTURE, .type = "ProvisionedThroughput",                 \
                                                  .of = dynamodb_throughput_members                \
    }
#define KEY_SCHEMA                                                                                 \
    {                                                                                              \
        "KeySchema", SHAPE_LIST, .of = dynamodb_key_schema_element, .is_required = true, .min = 1, \
                                 .max = 2                                                          \
    }
#define PROJECTION                                                                                 \
    {                                                                                              \
        "Projection", SHAPE_STRUCTURE, .type = "Projection", .of = dynamodb_projection_members,    \
                                       .is_required = true                                         \
    }

static const struct shape index_members[] = {INDEX_NAME, KEY_SCHEMA, PROJECTION, THROUGHPUT,
                                             MEMBER_END};
const struct shape dynamodb_global_index_element[] = {
    {.kind = SHAPE_STRUCTURE, .type = "GlobalSecondaryIndex", .of = index_members}};
static const struct shape change_members[] = {
    INDEX_NAME,
    {"ProvisionedThroughput", SHAPE_STRUCTURE, .type = "ProvisionedThroughput",
     .of = dynamodb_throughput_members, .is_required = true},
    MEMBER_END};
static const struct shape delete_members[] = {INDEX_NAME, MEMBER_END};
static const struct shape update_members[] = {
    {"Update", SHAPE_STRUCTURE, .type = "UpdateGlobalSecondaryIndexAction", .of = change_members},
    {"Create", SHAPE_STRUCTURE, .type = "CreateGlobalSecondaryIndexAction", .of = index_members},
    {"Delete", SHAPE_STRUCTURE, .type = "DeleteGlobalSecondaryIndexAction", .of = delete_members},
    MEMBER_END};
const struct shape dynamodb_global_update_element[] = {
    {.kind = SHAPE_STRUCTURE, .type = "GlobalSecondaryIndexUpdate", .of = update_members}};

static const char *text_in(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(object, member));
}

static const json_t *member_in(const json_t *object, const char *member)
{
    const json_t *value = json_object_get(object, member);

    return json_is_null(value) ? NULL : value;
}

/* ---- one index ------------------------------------------------------------------------------- */

static const char *check_bounds(struct arena *arena, const json_t *throughput, const char *name)
{
    static const char *const members[] = {"ReadCapacityUnits", "WriteCapacityUnits"};

    for (size_t i = 0; i < ARRAY_COUNT(members); i++) {
        int64_t units = dynamodb_shape_integer(json_object_get(throughput, members[i]));

        if (units > CAPACITY_MAX)
            return arena_printf(arena, "Given value %lld for %s is out of bounds for index %s",
                                (long long)units, members[i], name);
    }
    return NULL;
}

static void set_throughput(Skein__Wire__TableGlobalIndex *index, const json_t *throughput)
{
    index->read_units =
        (uint64_t)dynamodb_shape_integer(json_object_get(throughput, "ReadCapacityUnits"));
    index->write_units =
        (uint64_t)dynamodb_shape_integer(json_object_get(throughput, "WriteCapacityUnits"));
}

static bool has_name(const Skein__Wire__Table *record, const char *name)
{
    for (size_t i = 0; i < record->n_local_indexes; i++)
        if (strcmp(record->local_indexes[i]->name, name) == 0)
            return true;
    for (size_t i = 0; i < record->n_global_indexes; i++)
        if (strcmp(record->global_indexes[i]->name, name) == 0)
            return true;
    return false;
}

static Skein__Wire__TableGlobalIndex *find_index(const Skein__Wire__Table *record, const char *name)
{
    for (size_t i = 0; i < record->n_global_indexes; i++)
        if (strcmp(record->global_indexes[i]->name, name) == 0)
            return record->global_indexes[i];
    return NULL;
}

static size_t included_of_all(const Skein__Wire__Table *record)
{
    size_t count = 0;

    for (size_t i = 0; i < record->n_local_indexes; i++)
        count += record->local_indexes[i]->n_included;
    for (size_t i = 0; i < record->n_global_indexes; i++)
        count += record->global_indexes[i]->n_included;
    return count;
}

/* The keys and the projection of a new index. */
static const char *read_index(struct dynamodb_call *call, const Skein__Wire__Table *record,
                              const json_t *element, Skein__Wire__TableGlobalIndex *index)
{
    const json_t *schema = json_object_get(element, "KeySchema");
    struct dynamodb_projection projection;
    const char *why = dynamodb_check_key_schema(call, record, schema);

    if (why == NULL)
        why = dynamodb_read_projection(call->arena, json_object_get(element, "Projection"),
                                       &projection);
    if (why != NULL)
        return why;
    index->name = (char *)(uintptr_t)text_in(element, "IndexName");
    index->projection = projection.type;
    index->included = projection.included;
    index->n_included = projection.included_count;
    index->keys = arena_alloc(call->arena, TABLE_KEY_PARTS_MAX * sizeof(*index->keys));
    for (size_t i = 0; i < json_array_size(schema); i++)
        index->keys[index->n_keys++] =
            (Skein__Wire__TableAttribute *)(uintptr_t)dynamodb_find_definition(
                record, text_in(json_array_get(schema, i), "AttributeName"));
    return NULL;
}

/* With room for another index; what is changed in them leaves the old record alone. */
static void copy_indexes(struct arena *arena, Skein__Wire__Table *record, size_t more)
{
    Skein__Wire__TableGlobalIndex **old = record->global_indexes;

    record->global_indexes =
        arena_alloc(arena, (record->n_global_indexes + more + 1) * sizeof(*old));
    for (size_t i = 0; i < record->n_global_indexes; i++) {
        record->global_indexes[i] = arena_alloc(arena, sizeof(**old));
        *record->global_indexes[i] = *old[i];
    }
}

static void add_index(Skein__Wire__Table *record, Skein__Wire__TableGlobalIndex *index)
{
    index->number = record->index_number_next++;
    record->global_indexes[record->n_global_indexes++] = index;
}

/* ---- CreateTable ----------------------------------------------------------------------------- */

static const char *check_new_throughput(struct dynamodb_call *call,
                                        const Skein__Wire__Table *record, const json_t *element)
{
    const json_t *throughput = member_in(element, "ProvisionedThroughput");
    const char *name = text_in(element, "IndexName");

    if (record->is_on_demand && throughput != NULL)
        return arena_printf(call->arena,
                            INVALID "ProvisionedThroughput should not be specified for index: %s "
                                    "when BillingMode is PAY_PER_REQUEST",
                            name);
    if (!record->is_on_demand && throughput == NULL)
        return arena_printf(call->arena,
                            INVALID "ProvisionedThroughput is not specified for index: %s", name);
    return check_bounds(call->arena, throughput, name);
}

static const char *read_new_index(struct dynamodb_call *call, Skein__Wire__Table *record,
                                  const json_t *element)
{
    Skein__Wire__TableGlobalIndex *index = arena_alloc(call->arena, sizeof(*index));
    const char *why;

    skein__wire__table_global_index__init(index);
    why = read_index(call, record, element, index);
    if (why == NULL)
        why = check_new_throughput(call, record, element);
    if (why != NULL)
        return why;
    if (has_name(record, index->name))
        return arena_printf(call->arena, INVALID "Duplicate index name: %s", index->name);
    if (!record->is_on_demand)
        set_throughput(index, member_in(element, "ProvisionedThroughput"));
    add_index(record, index);
    return NULL;
}

const char *dynamodb_read_global_indexes(struct dynamodb_call *call, Skein__Wire__Table *record)
{
    const json_t *list = dynamodb_member(call, "GlobalSecondaryIndexes");
    size_t count = json_array_size(list);
    const char *why = NULL;

    if (list == NULL)
        return NULL;
    if (count == 0)
        return INVALID "List of GlobalSecondaryIndexes is empty";
    copy_indexes(call->arena, record, count);
    for (size_t i = 0; i < count && why == NULL; i++)
        why = read_new_index(call, record, json_array_get(list, i));
    if (why == NULL && count > TABLE_GLOBAL_INDEXES_MAX)
        why = INVALID "GlobalSecondaryIndex count exceeds the per-table limit of 20";
    if (why == NULL && included_of_all(record) > INCLUDED_MAX)
        why =
            INVALID "Number of NonKeyAttributes of all indexes exceeds the per-table limit of 100";
    record->index_epoch = 1;
    return why;
}

static bool is_key_of(Skein__Wire__TableAttribute *const *keys, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i]->name, name) == 0)
            return true;
    return false;
}

static bool is_used(const Skein__Wire__Table *record, const char *name)
{
    if (is_key_of(record->keys, record->n_keys, name))
        return true;
    for (size_t i = 0; i < record->n_local_indexes; i++)
        if (strcmp(record->local_indexes[i]->sort->name, name) == 0)
            return true;
    for (size_t i = 0; i < record->n_global_indexes; i++)
        if (is_key_of(record->global_indexes[i]->keys, record->global_indexes[i]->n_keys, name))
            return true;
    return false;
}

const char *dynamodb_check_definitions_used(struct dynamodb_call *call,
                                            const Skein__Wire__Table *record)
{
    const char *used = "";
    size_t count = 0;

    for (size_t i = 0; i < record->n_definitions; i++)
        if (is_used(record, record->definitions[i]->name))
            used = arena_printf(call->arena, "%s%s%s", used, count++ > 0 ? ", " : "",
                                record->definitions[i]->name);
    if (count == record->n_definitions)
        return NULL;
    return arena_printf(
        call->arena,
        INVALID "Some AttributeDefinitions are not used. AttributeDefinitions: %s, keys used: [%s]",
        dynamodb_names_text(call->arena, dynamodb_member(call, "AttributeDefinitions")), used);
}

/* ---- UpdateTable: what needs no table ---------------------------------------------------------
 */

static const char *const actions[] = {"Update", "Create", "Delete"};

/* The one action of an element, and its name. */
static const json_t *action_in(const json_t *element, const char **action)
{
    const json_t *found = NULL;

    for (size_t i = 0; i < ARRAY_COUNT(actions); i++)
        if (member_in(element, actions[i]) != NULL) {
            found = member_in(element, actions[i]);
            *action = actions[i];
        }
    return found;
}

static size_t count_actions(const json_t *element)
{
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_COUNT(actions); i++)
        count += member_in(element, actions[i]) != NULL;
    return count;
}

static const char *check_update(const struct dynamodb_call *call, const json_t *list, size_t index)
{
    const char *action;
    const json_t *update = action_in(json_array_get(list, index), &action);
    const char *name = text_in(update, "IndexName");

    if (update == NULL)
        return INVALID "One of GlobalSecondaryIndexUpdate.Update, "
                       "GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete must "
                       "not be null";
    if (count_actions(json_array_get(list, index)) > 1)
        return INVALID "Only one global secondary index action is allowed per "
                       "GlobalSecondaryIndexUpdate object";
    for (size_t i = 0; i < index; i++)
        if (strcmp(text_in(action_in(json_array_get(list, i), &action), "IndexName"), name) == 0)
            return arena_printf(call->arena,
                                INVALID "Only one global secondary index update per index is "
                                        "allowed simultaneously. Index: %s",
                                name);
    return check_bounds(call->arena, member_in(update, "ProvisionedThroughput"), name);
}

const char *dynamodb_check_global_updates(const struct dynamodb_call *call)
{
    const json_t *list = dynamodb_member(call, "GlobalSecondaryIndexUpdates");
    const char *why = NULL;

    if (list != NULL && json_array_size(list) == 0)
        return INVALID "List of GlobalSecondaryIndexUpdates is empty";
    for (size_t i = 0; i < json_array_size(list) && why == NULL; i++)
        why = check_update(call, list, i);
    return why;
}

/* ---- UpdateTable: what the table says -------------------------------------------------------- */

static struct dynamodb_refusal invalid(const char *message)
{
    return (struct dynamodb_refusal){NULL, message};
}

static struct dynamodb_refusal refused(const char *code, const char *message)
{
    return (struct dynamodb_refusal){code, message};
}

/* AttributeDefinitions of the request join those of the table. */
static const char *add_definitions(struct dynamodb_call *call, Skein__Wire__Table *record)
{
    const json_t *list = dynamodb_member(call, "AttributeDefinitions");
    Skein__Wire__TableAttribute **old = record->definitions;

    record->definitions = arena_alloc(
        call->arena, (record->n_definitions + json_array_size(list) + 1) * sizeof(*old));
    for (size_t i = 0; i < record->n_definitions; i++)
        record->definitions[i] = old[i];
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *element = json_array_get(list, i);
        const char *name = text_in(element, "AttributeName");
        const char *type = text_in(element, "AttributeType");
        const Skein__Wire__TableAttribute *found = dynamodb_find_definition(record, name);
        Skein__Wire__TableAttribute *added;

        if (found != NULL && strcmp(item_type_name((enum item_type)found->type), type) != 0)
            return arena_printf(call->arena,
                                INVALID "Attribute %s is defined as %s and cannot be redefined as "
                                        "%s",
                                name, item_type_name((enum item_type)found->type), type);
        if (found != NULL)
            continue;
        added = arena_alloc(call->arena, sizeof(*added));
        skein__wire__table_attribute__init(added);
        added->name = (char *)(uintptr_t)name;
        added->type = type[0] == 'S' ? ITEM_S : type[0] == 'N' ? ITEM_N : ITEM_B;
        record->definitions[record->n_definitions++] = added;
    }
    return NULL;
}

static struct dynamodb_refusal create_index(struct dynamodb_call *call, Skein__Wire__Table *record,
                                            const json_t *create)
{
    const json_t *throughput = member_in(create, "ProvisionedThroughput");
    const char *name = text_in(create, "IndexName");
    Skein__Wire__TableGlobalIndex *index = arena_alloc(call->arena, sizeof(*index));
    const char *why;

    if (has_name(record, name))
        return invalid("Attempting to create an index which already exists");
    if (record->n_global_indexes >= TABLE_GLOBAL_INDEXES_MAX)
        return refused("LimitExceededException",
                       "GlobalSecondaryIndex count exceeds the per-table limit of 20");
    if (dynamodb_member(call, "AttributeDefinitions") == NULL)
        return invalid(arena_printf(
            call->arena, INVALID "AttributeDefinitions is not specified for index: %s", name));
    skein__wire__table_global_index__init(index);
    why = add_definitions(call, record);
    if (why == NULL)
        why = read_index(call, record, create, index);
    if (why != NULL)
        return invalid(why);
    if (record->is_on_demand && throughput != NULL)
        return invalid(arena_printf(
            call->arena,
            INVALID "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified for index: "
                    "%s when BillingMode is PAY_PER_REQUEST",
            name));
    if (!record->is_on_demand && throughput == NULL)
        return invalid(arena_printf(
            call->arena, INVALID "ProvisionedThroughput must be specified for index: %s", name));
    if (throughput != NULL)
        set_throughput(index, throughput);
    index->status = TABLE_INDEX_CREATING;
    add_index(record, index);
    record->index_epoch++;
    if (included_of_all(record) > INCLUDED_MAX)
        return invalid(
            INVALID "Number of NonKeyAttributes of all indexes exceeds the per-table limit of 100");
    why = dynamodb_check_definitions_used(call, record);
    return why != NULL ? invalid(why) : invalid(NULL);
}

static bool is_local(const Skein__Wire__Table *record, const char *name)
{
    return find_index(record, name) == NULL && has_name(record, name);
}

static struct dynamodb_refusal find_changed(struct dynamodb_call *call,
                                            const Skein__Wire__Table *record, const char *name,
                                            const char *verb, Skein__Wire__TableGlobalIndex **found)
{
    *found = find_index(record, name);
    if (is_local(record, name))
        return invalid(arena_printf(
            call->arena, "Cannot %s an index that is not a GlobalSecondaryIndex: %s", verb, name));
    if (*found == NULL)
        return refused("ResourceNotFoundException", "Requested resource not found");
    if ((*found)->status == TABLE_INDEX_DELETING)
        return refused("ResourceInUseException",
                       arena_printf(call->arena,
                                    "Attempt to change a resource which is still in use: Index is "
                                    "being deleted. Table: %s Index: %s",
                                    record->name, name));
    return invalid(NULL);
}

static struct dynamodb_refusal delete_index(struct dynamodb_call *call, Skein__Wire__Table *record,
                                            const json_t *delete)
{
    Skein__Wire__TableGlobalIndex *index;
    struct dynamodb_refusal why =
        find_changed(call, record, text_in(delete, "IndexName"), "delete", &index);

    if (why.message != NULL)
        return why;
    index->status = TABLE_INDEX_DELETING;
    record->index_epoch++;
    return invalid(NULL);
}

static struct dynamodb_refusal change_index(struct dynamodb_call *call, Skein__Wire__Table *record,
                                            const json_t *update)
{
    Skein__Wire__TableGlobalIndex *index;
    const char *name = text_in(update, "IndexName");
    struct dynamodb_refusal why = find_changed(call, record, name, "update", &index);
    unsigned long long reads;
    unsigned long long writes;

    if (why.message != NULL)
        return why;
    if (record->is_on_demand)
        return invalid(arena_printf(
            call->arena,
            INVALID "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified for index: "
                    "%s when BillingMode is PAY_PER_REQUEST",
            name));
    reads = index->read_units;
    writes = index->write_units;
    set_throughput(index, member_in(update, "ProvisionedThroughput"));
    if (reads != index->read_units || writes != index->write_units)
        return invalid(NULL);
    return invalid(arena_printf(
        call->arena,
        "The provisioned throughput for the index %s will not change. The requested value equals "
        "the current value. Current ReadCapacityUnits provisioned for the index: %llu. Requested "
        "ReadCapacityUnits: %llu. Current WriteCapacityUnits provisioned for the index: %llu. "
        "Requested WriteCapacityUnits: %llu. Refer to the Amazon DynamoDB Developer Guide for "
        "current limits and how to request higher limits.",
        name, reads, reads, writes, writes));
}

/* One index of a table is made or removed at a time; but making it may be given up. */
static bool is_one_too_many(const Skein__Wire__Table *record, const json_t *list)
{
    size_t count = 0;
    const char *only = NULL;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *action = NULL;
        const json_t *update = action_in(json_array_get(list, i), &action);

        if (action == actions[0])
            continue;
        count++;
        only = text_in(update, "IndexName");
    }
    for (size_t i = 0; i < record->n_global_indexes && count == 1; i++)
        if (record->global_indexes[i]->status != TABLE_INDEX_ACTIVE &&
            strcmp(record->global_indexes[i]->name, only) != 0)
            return true;
    return count > 1;
}

/* Every index has a throughput when the table has, and none when it has none. */
static const char *align_throughput(struct dynamodb_call *call, Skein__Wire__Table *record)
{
    for (size_t i = 0; i < record->n_global_indexes; i++) {
        Skein__Wire__TableGlobalIndex *index = record->global_indexes[i];

        if (record->is_on_demand) {
            index->read_units = 0;
            index->write_units = 0;
        } else if (index->read_units == 0 && index->status != TABLE_INDEX_DELETING) {
            return arena_printf(call->arena,
                                INVALID "ProvisionedThroughput must be specified for index: %s",
                                index->name);
        }
    }
    return NULL;
}

struct dynamodb_refusal dynamodb_read_global_updates(struct dynamodb_call *call,
                                                     Skein__Wire__Table *record)
{
    const json_t *list = dynamodb_member(call, "GlobalSecondaryIndexUpdates");
    struct dynamodb_refusal why = {0};

    copy_indexes(call->arena, record, json_array_size(list));
    if (is_one_too_many(record, list))
        return refused("LimitExceededException",
                       "Subscriber limit exceeded: Only 1 online index can be created or deleted "
                       "simultaneously per table");
    for (size_t i = 0; i < json_array_size(list) && why.message == NULL; i++) {
        const char *action = NULL;
        const json_t *update = action_in(json_array_get(list, i), &action);

        if (action == actions[0])
            why = change_index(call, record, update);
        else if (action == actions[1])
            why = create_index(call, record, update);
        else
            why = delete_index(call, record, update);
    }
    if (why.message == NULL)
        why = invalid(align_throughput(call, record));
    return why;
}

/* ---- describing ------------------------------------------------------------------------------ */

static const char *status_text(const Skein__Wire__TableGlobalIndex *index, const char *table_status)
{
    if (strcmp(table_status, "CREATING") == 0 || index->status == TABLE_INDEX_CREATING)
        return "CREATING";
    return index->status == TABLE_INDEX_DELETING ? "DELETING" : "ACTIVE";
}

static void write_throughput(struct json_write *json, const Skein__Wire__TableGlobalIndex *index)
{
    json_key(json, "ProvisionedThroughput");
    json_begin_object(json);
    json_member_u64(json, "NumberOfDecreasesToday", 0);
    json_member_u64(json, "ReadCapacityUnits", index->read_units);
    json_member_u64(json, "WriteCapacityUnits", index->write_units);
    json_end_object(json);
}

static void write_index(struct json_write *json, const Skein__Wire__TableGlobalIndex *index,
                        const char *arn, const char *table_status)
{
    json_begin_object(json);
    json_member_text(json, "IndexName", index->name);
    json_member_text(json, "IndexArn", arn);
    json_member_text(json, "IndexStatus", status_text(index, table_status));
    if (index->status == TABLE_INDEX_CREATING)
        json_member_bool(json, "Backfilling", strcmp(table_status, "ACTIVE") == 0);
    dynamodb_write_keys(json, index->keys[0]->name,
                        index->n_keys > 1 ? index->keys[1]->name : NULL);
    dynamodb_write_projection(json, &(const struct dynamodb_projection){
                                        index->projection, index->included, index->n_included});
    write_throughput(json, index);
    json_member_u64(json, "IndexSizeBytes", 0);
    json_member_u64(json, "ItemCount", 0);
    json_end_object(json);
}

void dynamodb_write_global_indexes(struct json_write *json, struct arena *arena,
                                   const Skein__Wire__Table *record, const char *table_arn,
                                   const char *status)
{
    if (record->n_global_indexes == 0)
        return;
    json_key(json, "GlobalSecondaryIndexes");
    json_begin_array(json);
    for (size_t i = 0; i < record->n_global_indexes; i++)
        write_index(json, record->global_indexes[i],
                    arena_printf(arena, "%s/index/%s", table_arn, record->global_indexes[i]->name),
                    status);
    json_end_array(json);
}

/* ---- records --------------------------------------------------------------------------------- */

void dynamodb_remove_global_index(Skein__Wire__Table *record, uint32_t number)
{
    const Skein__Wire__TableGlobalIndex *gone = NULL;
    size_t kept = 0;

    for (size_t i = 0; i < record->n_global_indexes; i++)
        if (record->global_indexes[i]->number == number)
            gone = record->global_indexes[i];
        else
            record->global_indexes[kept++] = record->global_indexes[i];
    record->n_global_indexes = kept;
    kept = 0;
    for (size_t i = 0; i < record->n_definitions && gone != NULL; i++) {
        const char *name = record->definitions[i]->name;

        if (is_used(record, name) || !is_key_of(gone->keys, gone->n_keys, name))
            record->definitions[kept++] = record->definitions[i];
    }
    if (gone != NULL)
        record->n_definitions = kept;
}

void dynamodb_pack_indexes(const Skein__Wire__Table *record, uint32_t shard_count,
                           struct buffer *packed)
{
    Skein__Wire__TableIndexes message = SKEIN__WIRE__TABLE_INDEXES__INIT;
    Skein__Wire__TableGlobalIndex *indexes[TABLE_GLOBAL_INDEXES_MAX];
    char *key_names[TABLE_KEY_PARTS_MAX];

    message.epoch = record->index_epoch;
    message.shard_count = shard_count;
    message.number_next = record->index_number_next;
    message.key_names = key_names;
    for (size_t i = 0; i < record->n_keys; i++)
        key_names[message.n_key_names++] = record->keys[i]->name;
    message.indexes = indexes;
    for (size_t i = 0; i < record->n_global_indexes; i++)
        if (record->global_indexes[i]->status != TABLE_INDEX_DELETING)
            indexes[message.n_indexes++] = record->global_indexes[i];
    CHECK(buffer_reserve(packed, skein__wire__table_indexes__get_packed_size(&message)) == OK);
    packed->size += skein__wire__table_indexes__pack(&message, packed->data + packed->size);
}
