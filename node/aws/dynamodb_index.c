#include "node/aws/dynamodb_index.h"

#include "node/aws/dynamodb_members.h"
#include "node/table/table_engine.h"
#include "proto/base/check.h"

#define INVALID "One or more parameter values were invalid: "

static const struct shape key_members[] = {
    {"AttributeName", SHAPE_STRING, .is_required = true, .min = 1, .max = 255},
    {"KeyType", SHAPE_STRING, .is_required = true, .choices = "HASH, RANGE"},
    MEMBER_END};
static const struct shape included_element[] = {{.kind = SHAPE_STRING, .min = 1, .max = 255}};
const struct shape dynamodb_projection_members[] = {
    {"ProjectionType", SHAPE_STRING, .choices = "ALL, INCLUDE, KEYS_ONLY"},
    {"NonKeyAttributes", SHAPE_LIST, .of = included_element, .min = 1},
    MEMBER_END};
const struct shape dynamodb_key_schema_element[] = {
    {.kind = SHAPE_STRUCTURE, .type = "KeySchemaElement", .of = key_members}};
static const struct shape index_members[] = {
    {"IndexName", SHAPE_STRING, .is_required = true, .min = 3, .max = 255,
     .pattern = SHAPE_NAME_PATTERN},
    {"KeySchema", SHAPE_LIST, .of = dynamodb_key_schema_element, .is_required = true, .min = 1,
     .max = 2},
    {"Projection", SHAPE_STRUCTURE, .type = "Projection", .of = dynamodb_projection_members,
     .is_required = true},
    MEMBER_END};
const struct shape dynamodb_local_index_element[] = {
    {.kind = SHAPE_STRUCTURE, .type = "LocalSecondaryIndex", .of = index_members}};

static const char *const projection_names[] = {"ALL", "KEYS_ONLY", "INCLUDE"};

/* ---- key schemas --------------------------------------------------------------------------------
 */

static const char *text_in(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(object, member));
}

static const char *key_name(const json_t *schema, size_t index)
{
    return text_in(json_array_get(schema, index), "AttributeName");
}

const Skein__Wire__TableAttribute *dynamodb_find_definition(const Skein__Wire__Table *record,
                                                            const char *name)
{
    for (size_t i = 0; i < record->n_definitions; i++)
        if (strcmp(record->definitions[i]->name, name) == 0)
            return record->definitions[i];
    return NULL;
}

const char *dynamodb_names_text(struct arena *arena, const json_t *list)
{
    const char *text = "";

    for (size_t i = 0; i < json_array_size(list); i++)
        text = arena_printf(arena, "%s%s%s", text, i > 0 ? ", " : "", key_name(list, i));
    return arena_printf(arena, "[%s]", text);
}

const char *dynamodb_check_key_schema(struct dynamodb_call *call, const Skein__Wire__Table *record,
                                      const json_t *schema)
{
    size_t count = json_array_size(schema);

    for (size_t i = 0; i < count; i++)
        if (dynamodb_find_definition(record, key_name(schema, i)) == NULL)
            return arena_printf(
                call->arena,
                INVALID "Some index key attributes are not defined in AttributeDefinitions. Keys: "
                        "%s, AttributeDefinitions: %s",
                dynamodb_names_text(call->arena, schema),
                dynamodb_names_text(call->arena, dynamodb_member(call, "AttributeDefinitions")));
    if (count == 2 && strcmp(key_name(schema, 0), key_name(schema, 1)) == 0)
        return "Both the Hash Key and the Range Key element in the KeySchema have the same name";
    if (strcmp(text_in(json_array_get(schema, 0), "KeyType"), "HASH") != 0)
        return "Invalid KeySchema: The first KeySchemaElement is not a HASH key type";
    if (count == 2 && strcmp(text_in(json_array_get(schema, 1), "KeyType"), "RANGE") != 0)
        return "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type";
    return NULL;
}

/* ---- reading ------------------------------------------------------------------------------------
 */

const char *dynamodb_read_projection(struct arena *arena, const json_t *projection,
                                     struct dynamodb_projection *read)
{
    const char *type = text_in(projection, "ProjectionType");
    const json_t *included = json_object_get(projection, "NonKeyAttributes");

    *read = (struct dynamodb_projection){0};
    if (type == NULL)
        return INVALID "Unknown ProjectionType: null";
    while (strcmp(projection_names[read->type], type) != 0)
        read->type++;
    if (json_is_array(included) && read->type != TABLE_PROJECTION_INCLUDE)
        return arena_printf(
            arena, INVALID "ProjectionType is %s, but NonKeyAttributes is specified", type);
    if (!json_is_array(included) && read->type == TABLE_PROJECTION_INCLUDE)
        return INVALID "ProjectionType is INCLUDE, but NonKeyAttributes is not specified";
    read->included = arena_alloc(arena, (json_array_size(included) + 1) * sizeof(*read->included));
    for (size_t i = 0; i < json_array_size(included); i++) {
        const char *name = json_string_value(json_array_get(included, i));

        for (size_t k = 0; k < i; k++)
            if (strcmp(read->included[k], name) == 0)
                return arena_printf(arena, INVALID "Duplicate element in NonKeyAttributes: %s",
                                    name);
        read->included[read->included_count++] = (char *)(uintptr_t)name;
    }
    return NULL;
}

static const char *read_index(struct dynamodb_call *call, Skein__Wire__Table *record,
                              const json_t *element)
{
    const json_t *schema = json_object_get(element, "KeySchema");
    Skein__Wire__TableIndex *index = arena_alloc(call->arena, sizeof(*index));
    struct dynamodb_projection projection;
    const char *why = dynamodb_check_key_schema(call, record, schema);

    skein__wire__table_index__init(index);
    index->name = (char *)(uintptr_t)text_in(element, "IndexName");
    if (why != NULL)
        return why;
    if (json_array_size(schema) != 2)
        return arena_printf(call->arena,
                            INVALID "Index KeySchema does not have a range key for index: %s",
                            index->name);
    if (strcmp(key_name(schema, 0), record->keys[0]->name) != 0)
        return arena_printf(call->arena,
                            INVALID "Index KeySchema does not have the same leading hash key as "
                                    "table KeySchema for index: %s. index hash key: %s, table "
                                    "hash key: %s",
                            index->name, key_name(schema, 0), record->keys[0]->name);
    why =
        dynamodb_read_projection(call->arena, json_object_get(element, "Projection"), &projection);
    if (why != NULL)
        return why;
    index->projection = projection.type;
    index->included = projection.included;
    index->n_included = projection.included_count;
    for (size_t i = 0; i < record->n_local_indexes; i++)
        if (strcmp(record->local_indexes[i]->name, index->name) == 0)
            return arena_printf(call->arena, INVALID "Duplicate index name: %s", index->name);
    index->sort = (Skein__Wire__TableAttribute *)(uintptr_t)dynamodb_find_definition(
        record, key_name(schema, 1));
    record->local_indexes[record->n_local_indexes++] = index;
    return NULL;
}

const char *dynamodb_read_local_indexes(struct dynamodb_call *call, Skein__Wire__Table *record)
{
    const json_t *list = dynamodb_member(call, "LocalSecondaryIndexes");
    size_t count = json_array_size(list);
    const char *why = NULL;

    if (list == NULL)
        return NULL;
    if (count == 0)
        return INVALID "List of LocalSecondaryIndexes is empty";
    if (record->n_keys != 2)
        return INVALID "Table KeySchema does not have a range key, which is required when "
                       "specifying a LocalSecondaryIndex";
    record->local_indexes = arena_alloc(call->arena, count * sizeof(*record->local_indexes));
    for (size_t i = 0; i < count && why == NULL; i++)
        why = read_index(call, record, json_array_get(list, i));
    if (why == NULL && count > TABLE_INDEXES_MAX)
        why = INVALID "Number of LocalSecondaryIndexes exceeds per-table limit of 5";
    return why;
}

/* ---- describing ---------------------------------------------------------------------------------
 */

static void write_key(struct json_write *json, const char *name, const char *type)
{
    json_begin_object(json);
    json_member_text(json, "AttributeName", name);
    json_member_text(json, "KeyType", type);
    json_end_object(json);
}

void dynamodb_write_keys(struct json_write *json, const char *hash, const char *sort)
{
    json_key(json, "KeySchema");
    json_begin_array(json);
    write_key(json, hash, "HASH");
    if (sort != NULL)
        write_key(json, sort, "RANGE");
    json_end_array(json);
}

void dynamodb_write_projection(struct json_write *json,
                               const struct dynamodb_projection *projection)
{
    json_key(json, "Projection");
    json_begin_object(json);
    if (projection->type < ARRAY_COUNT(projection_names))
        json_member_text(json, "ProjectionType", projection_names[projection->type]);
    if (projection->included_count > 0) {
        json_key(json, "NonKeyAttributes");
        json_begin_array(json);
        for (size_t i = 0; i < projection->included_count; i++)
            json_text(json, projection->included[i]);
        json_end_array(json);
    }
    json_end_object(json);
}

void dynamodb_write_local_indexes(struct json_write *json, struct arena *arena,
                                  const Skein__Wire__Table *record, const char *table_arn)
{
    if (record->n_local_indexes == 0)
        return;
    json_key(json, "LocalSecondaryIndexes");
    json_begin_array(json);
    for (size_t i = 0; i < record->n_local_indexes; i++) {
        const Skein__Wire__TableIndex *index = record->local_indexes[i];

        json_begin_object(json);
        json_member_text(json, "IndexName", index->name);
        json_member_text(json, "IndexArn",
                         arena_printf(arena, "%s/index/%s", table_arn, index->name));
        dynamodb_write_keys(json, record->keys[0]->name, index->sort->name);
        dynamodb_write_projection(json, &(const struct dynamodb_projection){
                                            index->projection, index->included, index->n_included});
        json_member_u64(json, "IndexSizeBytes", 0);
        json_member_u64(json, "ItemCount", 0);
        json_end_object(json);
    }
    json_end_array(json);
}
