#include "node/aws/dynamodb_schema.h"

#include "node/aws/dynamodb_global.h"
#include "node/aws/dynamodb_index.h"
#include "proto/base/check.h"

#define CAPACITY_MAX INT64_C(1000000000000)
#define TAGS_MAX 50

const char *dynamodb_refuse_unsupported(const struct dynamodb_call *call)
{
    static const char *const members[] = {"ReplicaUpdates", "ResourcePolicy"};
    const json_t *stream = dynamodb_member(call, "StreamSpecification");

    for (size_t i = 0; i < ARRAY_COUNT(members); i++) {
        const json_t *member = dynamodb_member(call, members[i]);

        if (member != NULL && (!json_is_array(member) || json_array_size(member) > 0))
            return arena_printf(call->arena, "Not supported here yet: %s", members[i]);
    }
    if (stream != NULL && json_is_true(json_object_get(stream, "StreamEnabled")))
        return "Not supported here yet: StreamSpecification";
    return NULL;
}

const char *dynamodb_read_throughput(struct dynamodb_call *call, Skein__Wire__Table *record)
{
    const json_t *throughput = dynamodb_member(call, "ProvisionedThroughput");
    int64_t reads = dynamodb_shape_integer(json_object_get(throughput, "ReadCapacityUnits"));
    int64_t writes = dynamodb_shape_integer(json_object_get(throughput, "WriteCapacityUnits"));

    if (dynamodb_member(call, "BillingMode") != NULL)
        record->is_on_demand = dynamodb_text_is(call, "BillingMode", "PAY_PER_REQUEST");
    if (record->is_on_demand && throughput != NULL)
        return "One or more parameter values were invalid: Neither ReadCapacityUnits nor "
               "WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST";
    if (record->is_on_demand) {
        record->read_units = 0;
        record->write_units = 0;
        return NULL;
    }
    if (throughput == NULL && record->read_units > 0)
        return NULL; /* an update that leaves it as it is */
    if (throughput == NULL)
        return "One or more parameter values were invalid: ReadCapacityUnits and "
               "WriteCapacityUnits must both be specified when BillingMode is PROVISIONED";
    if (reads > CAPACITY_MAX)
        return arena_printf(call->arena, "Given value %lld for ReadCapacityUnits is out of bounds",
                            (long long)reads);
    if (writes > CAPACITY_MAX)
        return arena_printf(call->arena, "Given value %lld for WriteCapacityUnits is out of bounds",
                            (long long)writes);
    record->read_units = (uint64_t)reads;
    record->write_units = (uint64_t)writes;
    return NULL;
}

static enum item_type type_of(const char *name)
{
    if (name[0] == 'N')
        return ITEM_N;
    return name[0] == 'B' ? ITEM_B : ITEM_S;
}

static Skein__Wire__TableAttribute *new_attribute(struct arena *arena, const char *name,
                                                  enum item_type type)
{
    Skein__Wire__TableAttribute *attribute = arena_alloc(arena, sizeof(*attribute));

    skein__wire__table_attribute__init(attribute);
    attribute->name = (char *)(uintptr_t)name;
    attribute->type = type;
    return attribute;
}

static const char *name_in(const json_t *element)
{
    return json_string_value(json_object_get(element, "AttributeName"));
}

static const char *read_definitions(struct dynamodb_call *call, Skein__Wire__Table *record)
{
    const json_t *list = dynamodb_member(call, "AttributeDefinitions");
    struct arena *arena = call->arena;

    record->definitions =
        arena_alloc(arena, (json_array_size(list) + 1) * sizeof(*record->definitions));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *element = json_array_get(list, i);
        const char *type = json_string_value(json_object_get(element, "AttributeType"));

        if (dynamodb_find_definition(record, name_in(element)) != NULL)
            return arena_printf(arena,
                                "One or more parameter values were invalid: Duplicate "
                                "AttributeName in AttributeDefinitions: %s",
                                name_in(element));
        record->definitions[record->n_definitions++] =
            new_attribute(arena, name_in(element), type_of(type));
    }
    return NULL;
}

static const char *read_keys(struct dynamodb_call *call, Skein__Wire__Table *record)
{
    const json_t *list = dynamodb_member(call, "KeySchema");
    struct arena *arena = call->arena;
    size_t count = json_array_size(list);
    const char *why;

    if (count > record->n_definitions)
        return "Invalid KeySchema: Some index key attribute have no definition";
    why = dynamodb_check_key_schema(call, record, list);
    if (why != NULL)
        return why;
    record->keys = arena_alloc(arena, count * sizeof(*record->keys));
    for (size_t i = 0; i < count; i++)
        record->keys[record->n_keys++] =
            (Skein__Wire__TableAttribute *)(uintptr_t)dynamodb_find_definition(
                record, name_in(json_array_get(list, i)));
    return NULL;
}

/* Letters of any script; of ASCII only these. */
static bool is_tag_text(const json_t *text)
{
    const char *at = json_string_value(text);

    for (; *at != '\0'; at++)
        if ((unsigned char)*at < 0x80 &&
            strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _.:/=+-@",
                   *at) == NULL)
            return false;
    return true;
}

static void set_tag(struct dynamodb_call *call, Skein__Wire__Table *record, const char *key,
                    const char *value)
{
    Skein__Wire__TableTag *tag;

    for (size_t i = 0; i < record->n_tags; i++)
        if (strcmp(record->tags[i]->key, key) == 0) {
            record->tags[i]->value = (char *)(uintptr_t)value;
            return;
        }
    tag = arena_alloc(call->arena, sizeof(*tag));
    skein__wire__table_tag__init(tag);
    tag->key = (char *)(uintptr_t)key;
    tag->value = (char *)(uintptr_t)value;
    record->tags[record->n_tags++] = tag;
}

/* Adds the request's Tags to those the record has. */
const char *dynamodb_read_tags(struct dynamodb_call *call, Skein__Wire__Table *record)
{
    const json_t *list = dynamodb_member(call, "Tags");
    size_t room = record->n_tags + json_array_size(list) + 1;
    Skein__Wire__TableTag **old = record->tags;

    record->tags = arena_alloc(call->arena, room * sizeof(*record->tags));
    for (size_t i = 0; i < record->n_tags; i++) {
        record->tags[i] = arena_alloc(call->arena, sizeof(**old));
        *record->tags[i] = *old[i];
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *tag = json_array_get(list, i);

        if (!is_tag_text(json_object_get(tag, "Key")) ||
            !is_tag_text(json_object_get(tag, "Value")))
            return "One or more parameter values were invalid: Tags can only contain letters, "
                   "digits, spaces and any of _ . : / = + - @";
        set_tag(call, record, json_string_value(json_object_get(tag, "Key")),
                json_string_value(json_object_get(tag, "Value")));
    }
    return record->n_tags <= TAGS_MAX
               ? NULL
               : "One or more parameter values were invalid: Too many tags: a table can have 50";
}

const char *dynamodb_read_schema(struct dynamodb_call *call, Skein__Wire__Table *record)
{
    const char *why = read_definitions(call, record);

    if (why == NULL)
        why = read_keys(call, record);
    if (why == NULL)
        why = dynamodb_read_local_indexes(call, record);
    if (why == NULL)
        why = dynamodb_read_global_indexes(call, record);
    if (why == NULL && record->n_local_indexes + record->n_global_indexes > 0)
        why = dynamodb_check_definitions_used(call, record);
    return why;
}
