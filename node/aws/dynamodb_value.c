#include "node/aws/dynamodb_value.h"

#include "node/aws/dynamodb_shape.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"

#define INVALID "One or more parameter values were invalid: "

static const char *put_value(struct arena *arena, struct buffer *to, const json_t *value,
                             unsigned depth);

/* ---- from JSON ------------------------------------------------------------------------------- */

static struct slice text_of(const json_t *value)
{
    return slice_of(json_string_value(value), json_string_length(value));
}

static const char *number_fault_text(struct arena *arena, enum number_fault fault,
                                     struct slice text)
{
    switch (fault) {
    case NUMBER_OK:
        return NULL;
    case NUMBER_TOO_PRECISE:
        return "Attempting to store more than 38 significant digits in a Number";
    case NUMBER_OVERFLOW:
        return "Number overflow. Attempting to store a number with magnitude larger than "
               "supported range";
    case NUMBER_UNDERFLOW:
        return "Number underflow. Attempting to store a number with magnitude smaller than "
               "supported range";
    case NUMBER_MALFORMED:
        break;
    }
    if (text.size == 0)
        return "The parameter cannot be converted to a numeric value";
    return arena_printf(arena, "The parameter cannot be converted to a numeric value: %.*s",
                        (int)text.size, (const char *)text.data);
}

static const char *read_number(struct arena *arena, const json_t *value, struct number *number)
{
    struct slice text = text_of(value);

    return number_fault_text(arena, number_parse(text, number), text);
}

static struct slice bytes_of(struct arena *arena, const json_t *value)
{
    struct buffer bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    enum error rc = decode_base64(text_of(value), &bytes);
    struct slice copy = arena_copy(arena, buffer_slice(&bytes));

    CHECK(rc == OK); /* its type was checked */
    buffer_close(&bytes);
    return copy;
}

static const char *put_string(struct buffer *to, enum item_type type, struct slice bytes)
{
    struct item_value value = {type, bytes};

    item_put_value(to, &value);
    return NULL;
}

static const char *null_element_text(enum item_type type)
{
    if (type == ITEM_NS)
        return INVALID "An number set may not have a null number as a member";
    return type == ITEM_SS ? INVALID "An string set may not have a null string as a member"
                           : INVALID "Binary sets may not contain null values";
}

/* The elements of a set in the form they are stored in. */
static const char *read_elements(struct arena *arena, enum item_type type, const json_t *list,
                                 struct slice *elements)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *element = json_array_get(list, i);
        struct number number;
        uint8_t packed[NUMBER_PACKED_BYTES_MAX];
        const char *why;

        if (json_is_null(element))
            return null_element_text(type);
        if (type == ITEM_SS) {
            elements[i] = text_of(element);
        } else if (type == ITEM_BS) {
            elements[i] = bytes_of(arena, element);
        } else {
            why = read_number(arena, element, &number);
            if (why != NULL)
                return why;
            elements[i] = arena_copy(arena, slice_of(packed, number_pack(&number, packed)));
        }
    }
    return NULL;
}

/* "[a, b, a]" */
static const char *list_text(struct arena *arena, const json_t *list)
{
    struct buffer text = BUFFER_INIT(BUFFER_UNLIMITED);
    const char *copy;

    for (size_t i = 0; i < json_array_size(list); i++) {
        if (i > 0)
            buffer_put_text(&text, ", ");
        buffer_put_slice(&text, text_of(json_array_get(list, i)));
    }
    copy = arena_printf(arena, "[%.*s]", (int)text.size, (const char *)text.data);
    buffer_close(&text);
    return copy;
}

static const char *put_set(struct arena *arena, struct buffer *to, enum item_type type,
                           const json_t *list)
{
    size_t count = json_array_size(list);
    struct slice *elements = arena_alloc(arena, (count + 1) * sizeof(*elements));
    const char *why;
    size_t begin;

    if (count == 0 && type == ITEM_BS)
        return INVALID "Binary sets should not be empty";
    if (count == 0)
        return type == ITEM_SS ? INVALID "An string set  may not be empty"
                               : INVALID "An number set  may not be empty";
    why = read_elements(arena, type, list, elements);
    if (why != NULL)
        return why;
    if (item_find_duplicate(elements, count) < count) {
        if (type == ITEM_NS)
            return "Input collection contains duplicates";
        return arena_printf(arena, INVALID "Input collection %s%s contains duplicates.",
                            list_text(arena, list), type == ITEM_BS ? "of type BS" : "");
    }
    begin = item_begin(to, type);
    for (size_t i = 0; i < count; i++)
        item_put_element(to, elements[i]);
    item_end(to, begin, (uint32_t)count);
    return NULL;
}

struct member { /* of a JSON object */
    struct slice name;
    const json_t *value;
};

static int compare_members(const void *a, const void *b)
{
    return slice_compare(((const struct member *)a)->name, ((const struct member *)b)->name);
}

/* Sorted by name, as items want it. */
static struct member *sorted_members(struct arena *arena, const json_t *object, size_t *count)
{
    json_t *root = (json_t *)(uintptr_t)object; /* jansson's walk takes no const */
    struct member *members = arena_alloc(arena, (json_object_size(object) + 1) * sizeof(*members));
    bool is_sorted = true;

    *count = 0;
    for (void *at = json_object_iter(root); at != NULL; at = json_object_iter_next(root, at)) {
        members[*count].name = slice_text(json_object_iter_key(at));
        members[*count].value = json_object_iter_value(at);
        if (*count > 0 && compare_members(&members[*count - 1], &members[*count]) > 0)
            is_sorted = false;
        (*count)++;
    }
    if (!is_sorted)
        qsort(members, *count, sizeof(*members), compare_members);
    return members;
}

const char *dynamodb_check_name(struct slice name)
{
    if (name.size == 0)
        return "Empty attribute name";
    return name.size <= ITEM_NAME_BYTES_MAX
               ? NULL
               : "Attribute name is too large, must be less than 65536 bytes";
}

static const char *put_members(struct arena *arena, struct buffer *to, const json_t *map,
                               unsigned depth, uint32_t *written)
{
    size_t count;
    struct member *members = sorted_members(arena, map, &count);

    for (size_t i = 0; i < count; i++) {
        const char *why;

        why = dynamodb_check_name(members[i].name);
        if (why != NULL)
            return why;
        item_put_name(to, members[i].name);
        why = put_value(arena, to, members[i].value, depth);
        if (why != NULL)
            return why;
    }
    *written = (uint32_t)count;
    return NULL;
}

static const char *put_container(struct arena *arena, struct buffer *to, enum item_type type,
                                 const json_t *value, unsigned depth)
{
    size_t begin = item_begin(to, type);
    const char *why = NULL;
    uint32_t count = 0;

    if (depth >= ITEM_DEPTH_MAX)
        return "Nesting Levels have exceeded supported limits: Attributes in the item have nested "
               "levels beyond supported limit";
    if (type == ITEM_M) {
        why = put_members(arena, to, value, depth + 1, &count);
    } else {
        for (; count < json_array_size(value) && why == NULL; count++)
            why = put_value(arena, to, json_array_get(value, count), depth + 1);
    }
    item_end(to, begin, count);
    return why;
}

/* 0 when there is no such type. */
static enum item_type type_of(const char *name)
{
    for (enum item_type type = ITEM_S; type <= ITEM_BS; type++)
        if (strcmp(name, item_type_name(type)) == 0)
            return type;
    return 0;
}

static const char *put_typed(struct arena *arena, struct buffer *to, enum item_type type,
                             const json_t *value, unsigned depth)
{
    struct number number;
    const char *why;

    switch (type) {
    case ITEM_S:
        return put_string(to, ITEM_S, text_of(value));
    case ITEM_N:
        why = read_number(arena, value, &number);
        if (why == NULL)
            item_put_number(to, &number);
        return why;
    case ITEM_B:
        return put_string(to, ITEM_B, bytes_of(arena, value));
    case ITEM_BOOL:
        item_put_bool(to, dynamodb_shape_is_true(value));
        return NULL;
    case ITEM_NULL:
        if (!dynamodb_shape_is_true(value))
            return INVALID "Null attribute value types must have the value of true";
        return put_string(to, ITEM_NULL, slice_of(NULL, 0));
    case ITEM_M:
    case ITEM_L:
        return put_container(arena, to, type, value, depth);
    case ITEM_SS:
    case ITEM_NS:
    case ITEM_BS:
        break;
    }
    return put_set(arena, to, type, value);
}

/* How many types an AttributeValue has, unknown members aside; and the first. */
static size_t find_types(const json_t *value, enum item_type *type, const json_t **typed)
{
    json_t *root = (json_t *)(uintptr_t)value; /* jansson's walk takes no const */
    size_t count = 0;

    for (void *at = json_object_iter(root); at != NULL; at = json_object_iter_next(root, at)) {
        enum item_type found = type_of(json_object_iter_key(at));

        if (found == 0 || json_is_null(json_object_iter_value(at)))
            continue;
        if (count++ == 0) {
            *type = found;
            *typed = json_object_iter_value(at);
        }
    }
    return count;
}

/* More than one type, each of which must be right before that is told. */
static const char *refuse_several(struct arena *arena, const json_t *value, unsigned depth)
{
    static const enum item_type order[] = {ITEM_S,  ITEM_B,  ITEM_N,  ITEM_BOOL, ITEM_NULL,
                                           ITEM_BS, ITEM_NS, ITEM_SS, ITEM_L,    ITEM_M};
    struct buffer nowhere = BUFFER_INIT(BUFFER_UNLIMITED);
    const char *why = NULL;

    for (size_t i = 0; i < ARRAY_COUNT(order) && why == NULL; i++) {
        const json_t *typed = json_object_get(value, item_type_name(order[i]));

        if (typed != NULL && !json_is_null(typed))
            why = put_typed(arena, &nowhere, order[i], typed, depth);
    }
    buffer_close(&nowhere);
    return why != NULL ? why
                       : "Supplied AttributeValue has more than one datatypes set, must contain "
                         "exactly one of the supported datatypes";
}

static const char *put_value(struct arena *arena, struct buffer *to, const json_t *value,
                             unsigned depth)
{
    const json_t *typed = NULL;
    enum item_type type = 0;
    size_t count = json_is_object(value) ? find_types(value, &type, &typed) : 0;

    if (count == 0)
        return "Supplied AttributeValue is empty, must contain exactly one of the supported "
               "datatypes";
    if (count > 1)
        return refuse_several(arena, value, depth);
    return put_typed(arena, to, type, typed, depth);
}

const char *dynamodb_value_put(struct arena *arena, struct buffer *to, const json_t *value)
{
    return put_value(arena, to, value, 1);
}

const char *dynamodb_value_put_item(struct arena *arena, struct buffer *to, const json_t *item)
{
    size_t begin = item_begin_whole(to);
    uint32_t count = 0;
    const char *why = put_members(arena, to, item, 1, &count);

    item_end_whole(to, begin, count);
    return why;
}

/* ---- to JSON --------------------------------------------------------------------------------- */

static void write_number(struct json_write *json, struct slice packed)
{
    struct number number = {0};
    char text[NUMBER_TEXT_BYTES];
    size_t size;

    if (number_unpack(packed, &number) != OK)
        number = (struct number){0}; /* never in a checked item */
    size = number_text(&number, text);
    json_slice(json, slice_of(text, size));
}

static void write_scalar(struct json_write *json, enum item_type type, struct slice bytes)
{
    if (type == ITEM_N)
        write_number(json, bytes);
    else if (type == ITEM_B)
        json_base64(json, bytes);
    else
        json_slice(json, bytes);
}

static void write_entries(struct json_write *json, const struct item_value *container)
{
    struct item_cursor cursor = item_walk(container);
    struct item_value value;
    struct slice name;

    while (item_next(&cursor, &name, &value)) {
        if (container->type == ITEM_M)
            json_key_slice(json, name);
        if (item_is_set(container->type))
            write_scalar(json, value.type, value.bytes);
        else
            dynamodb_value_write(json, &value);
    }
}

void dynamodb_value_write(struct json_write *json, const struct item_value *value)
{
    json_begin_object(json);
    json_key(json, item_type_name(value->type));
    switch (value->type) {
    case ITEM_S:
    case ITEM_N:
    case ITEM_B:
        write_scalar(json, value->type, value->bytes);
        break;
    case ITEM_BOOL:
        json_bool(json, value->bytes.size == 1 && value->bytes.data[0] != 0);
        break;
    case ITEM_NULL:
        json_bool(json, true);
        break;
    case ITEM_M:
        json_begin_object(json);
        write_entries(json, value);
        json_end_object(json);
        break;
    case ITEM_L:
    case ITEM_SS:
    case ITEM_NS:
    case ITEM_BS:
        json_begin_array(json);
        write_entries(json, value);
        json_end_array(json);
        break;
    }
    json_end_object(json);
}

void dynamodb_value_write_item(struct json_write *json, struct slice item)
{
    struct item_value root = item_root(item);

    json_begin_object(json);
    write_entries(json, &root);
    json_end_object(json);
}
