#include "node/aws/dynamodb_shape.h"

#include "node/aws/dynamodb_members.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"

#include <inttypes.h>
#include <strings.h>

#define VIOLATIONS_MAX 10
#define VALUE_TEXT_MAX 10000

/* ---- the one shape that contains itself ------------------------------------------------------ */

static const struct shape blob_element[] = {{.kind = SHAPE_BLOB}};
const struct shape dynamodb_string_element[] = {{.kind = SHAPE_STRING}};
const struct shape dynamodb_name_element[] = {{.kind = SHAPE_STRING}};
const struct shape dynamodb_attribute_element[] = {
    {.kind = SHAPE_STRUCTURE, .type = "AttributeValue", .of = dynamodb_shape_attribute}};

const struct shape dynamodb_shape_attribute[] = {
    {.name = "S", .kind = SHAPE_STRING},
    {.name = "N", .kind = SHAPE_STRING},
    {.name = "B", .kind = SHAPE_BLOB},
    {.name = "BOOL", .kind = SHAPE_BOOLEAN},
    {.name = "NULL", .kind = SHAPE_BOOLEAN},
    {"M", SHAPE_MAP, .of = dynamodb_attribute_element},
    {"L", SHAPE_LIST, .of = dynamodb_attribute_element},
    {"SS", SHAPE_LIST, .of = dynamodb_string_element},
    {"NS", SHAPE_LIST, .of = dynamodb_string_element},
    {"BS", SHAPE_LIST, .of = blob_element},
    {.kind = SHAPE_END},
};

/* ---- what came before expressions ------------------------------------------------------------ */

#define COMPARISONS                                                                                \
    "IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS"

static const struct shape expected_members[] = {
    {"Value", SHAPE_STRUCTURE, .type = "AttributeValue", .of = dynamodb_shape_attribute},
    {.name = "Exists", .kind = SHAPE_BOOLEAN},
    {"ComparisonOperator", SHAPE_STRING, .choices = COMPARISONS},
    {"AttributeValueList", SHAPE_LIST, .of = dynamodb_attribute_element},
    MEMBER_END};
static const struct shape update_members[] = {
    {"Value", SHAPE_STRUCTURE, .type = "AttributeValue", .of = dynamodb_shape_attribute},
    {"Action", SHAPE_STRING, .choices = "ADD, DELETE, PUT"},
    MEMBER_END};
static const struct shape condition_members[] = {
    {"ComparisonOperator", SHAPE_STRING, .is_required = true, .choices = COMPARISONS},
    {"AttributeValueList", SHAPE_LIST, .of = dynamodb_attribute_element},
    MEMBER_END};

const struct shape dynamodb_expected_element[] = {
    {.kind = SHAPE_STRUCTURE, .type = "ExpectedAttributeValue", .of = expected_members}};
const struct shape dynamodb_update_element[] = {
    {.kind = SHAPE_STRUCTURE, .type = "AttributeValueUpdate", .of = update_members}};
const struct shape dynamodb_condition_element[] = {
    {.kind = SHAPE_STRUCTURE, .type = "Condition", .of = condition_members}};

/* ---- types ----------------------------------------------------------------------------------- */

/* What the service calls the type in the words of its Java side. */
static const char *java_name(struct arena *arena, const struct shape *shape)
{
    switch (shape->kind) {
    case SHAPE_STRING:
        return "java.lang.String";
    case SHAPE_BLOB:
        return "java.nio.ByteBuffer";
    case SHAPE_BOOLEAN:
        return "java.lang.Boolean";
    case SHAPE_INTEGER:
        return "java.lang.Integer";
    case SHAPE_LONG:
        return "java.lang.Long";
    case SHAPE_STRUCTURE:
        return arena_printf(arena, "com.amazonaws.dynamodb.v20120810.%s", shape->type);
    case SHAPE_LIST:
        return arena_printf(arena, "java.util.List<%s>", java_name(arena, shape->of));
    case SHAPE_MAP:
        return arena_printf(arena, "java.util.Map<java.lang.String, %s>",
                            java_name(arena, shape->of));
    case SHAPE_END:
        break;
    }
    return "";
}

static const char *token_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_TRUE:
        return "TRUE_VALUE";
    case JSON_FALSE:
        return "FALSE_VALUE";
    case JSON_INTEGER:
        return "NUMBER_VALUE";
    case JSON_REAL:
        return "DECIMAL_VALUE";
    case JSON_STRING:
        return "STRING_VALUE";
    case JSON_NULL:
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    return "NULL_VALUE";
}

static const char *unexpected(struct arena *arena, const struct shape *shape, const json_t *value)
{
    bool is_class = shape->kind != SHAPE_LIST && shape->kind != SHAPE_MAP;

    if (json_is_object(value))
        return "Start of structure or map found where not expected";
    if (json_is_array(value))
        return arena_printf(arena, "Unrecognized collection type %s%s", is_class ? "class " : "",
                            java_name(arena, shape));
    switch (shape->kind) {
    case SHAPE_STRING:
        return arena_printf(arena, "%s cannot be converted to String", token_name(value));
    case SHAPE_INTEGER:
        return arena_printf(arena, "%s cannot be converted to Integer", token_name(value));
    case SHAPE_LONG:
        return arena_printf(arena, "%s cannot be converted to Long", token_name(value));
    case SHAPE_BLOB:
        return "only base-64-encoded strings are convertible to bytes";
    case SHAPE_BOOLEAN:
        if (json_is_string(value))
            return "Unexpected token received from parser";
        return arena_printf(arena, "%s cannot be converted to Boolean", token_name(value));
    case SHAPE_STRUCTURE:
        return shape->name != NULL ? "Unexpected field type" : "Unexpected value type in payload";
    case SHAPE_LIST:
    case SHAPE_MAP:
    case SHAPE_END:
        break;
    }
    if (shape->name == NULL) /* a collection of collections */
        return "class sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl cannot be cast "
               "to class java.lang.Class (sun.reflect.generics.reflectiveObjects."
               "ParameterizedTypeImpl and java.lang.Class are in module java.base of loader "
               "'bootstrap')";
    return "Unexpected field type";
}

static const char *check_blob(struct arena *arena, const json_t *value)
{
    struct slice text = slice_of(json_string_value(value), json_string_length(value));
    struct buffer bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    enum error rc;

    if (text.size % 4 != 0)
        return arena_printf(arena,
                            "Base64 encoded length is expected a multiple of 4 bytes but found: "
                            "%zu",
                            text.size);
    rc = decode_base64(text, &bytes);
    buffer_close(&bytes);
    return rc == OK ? NULL : "Invalid last non-pad Base64 character dectected";
}

static bool is_word_of(const json_t *value, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcasecmp(json_string_value(value), *words) == 0)
            return true;
    return false;
}

static const char *const true_words[] = {"true", "1", "yes", NULL};
static const char *const false_words[] = {"false", "0", "no", NULL};

static bool is_boolean(const json_t *value)
{
    return json_is_boolean(value) || (json_is_string(value) && (is_word_of(value, true_words) ||
                                                                is_word_of(value, false_words)));
}

bool dynamodb_shape_is_true(const json_t *value)
{
    return json_is_true(value) || (json_is_string(value) && is_word_of(value, true_words));
}

static const struct shape *find_member(const struct shape *members, const char *name)
{
    for (; members->kind != SHAPE_END; members++)
        if (strcmp(members->name, name) == 0)
            return members;
    return NULL;
}

static const char *check_type(struct arena *arena, const struct shape *shape, const json_t *value);

static const char *check_entries(struct arena *arena, const struct shape *shape,
                                 const json_t *value)
{
    const char *why = NULL;

    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value) && why == NULL; i++)
            why = check_type(arena, shape->of, json_array_get(value, i));
        return why;
    }
    for (void *at = json_object_iter((json_t *)(uintptr_t)value); at != NULL && why == NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)value, at))
        why = check_type(arena, shape->of, json_object_iter_value(at));
    return why;
}

static const char *check_type(struct arena *arena, const struct shape *shape, const json_t *value)
{
    bool is_right = false;

    if (json_is_null(value))
        return NULL;
    switch (shape->kind) {
    case SHAPE_STRING:
    case SHAPE_BLOB:
        is_right = json_is_string(value);
        break;
    case SHAPE_BOOLEAN:
        is_right = is_boolean(value);
        break;
    case SHAPE_INTEGER:
    case SHAPE_LONG:
        is_right = json_is_number(value);
        break;
    case SHAPE_STRUCTURE:
    case SHAPE_MAP:
        is_right = json_is_object(value);
        break;
    case SHAPE_LIST:
        is_right = json_is_array(value);
        break;
    case SHAPE_END:
        break;
    }
    if (!is_right)
        return unexpected(arena, shape, value);
    if (shape->kind == SHAPE_BLOB)
        return check_blob(arena, value);
    if (shape->kind == SHAPE_STRUCTURE)
        return dynamodb_shape_types(arena, shape->of, value);
    if (shape->kind == SHAPE_LIST || shape->kind == SHAPE_MAP)
        return check_entries(arena, shape, value);
    return NULL;
}

const char *dynamodb_shape_types(struct arena *arena, const struct shape *members,
                                 const json_t *object)
{
    json_t *root = (json_t *)(uintptr_t)object; /* jansson's walk takes no const */
    const char *why = NULL;

    for (void *at = json_object_iter(root); at != NULL && why == NULL;
         at = json_object_iter_next(root, at)) {
        const struct shape *member = find_member(members, json_object_iter_key(at));

        if (member != NULL)
            why = check_type(arena, member, json_object_iter_value(at));
    }
    return why;
}

/* ---- constraints ----------------------------------------------------------------------------- */

struct violations {
    struct arena *arena;
    const char *text;
    size_t count;
};

static const char *value_text(struct arena *arena, const json_t *value)
{
    char *dump;
    const char *text;

    if (value == NULL || json_is_null(value))
        return "null";
    if (json_is_string(value))
        return arena_printf(arena, "'%.*s'", VALUE_TEXT_MAX, json_string_value(value));
    dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    CHECK(dump != NULL);
    text = arena_printf(arena, "'%.*s'", VALUE_TEXT_MAX, dump);
    free(dump);
    return text;
}

static void violate(struct violations *violations, const char *path, const json_t *value,
                    const char *constraint)
{
    if (violations->count++ >= VIOLATIONS_MAX)
        return;
    violations->text =
        arena_printf(violations->arena, "%s%sValue %s at '%s' failed to satisfy constraint: %s",
                     violations->text, violations->count > 1 ? "; " : "",
                     value_text(violations->arena, value), path, constraint);
}

static bool matches_name(const char *text)
{
    static const char name_characters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

    return text[0] != '\0' && text[strspn(text, name_characters)] == '\0';
}

/* One of "A, B, C"? */
static bool is_choice(const char *choices, const char *text)
{
    size_t size = strlen(text);

    while (size > 0) {
        size_t choice = strcspn(choices, ",");

        if (choice == size && memcmp(choices, text, size) == 0)
            return true;
        if (choices[choice] == '\0')
            break;
        choices += choice + 2;
    }
    return false;
}

int64_t dynamodb_shape_integer(const json_t *number)
{
    double real = json_real_value(number);

    if (!json_is_real(number))
        return json_integer_value(number);
    if (real >= 9.2e18)
        return INT64_MAX;
    return real <= -9.2e18 ? INT64_MIN : (int64_t)real;
}

static int64_t length_of(const struct shape *shape, const json_t *value)
{
    if (shape->kind == SHAPE_INTEGER || shape->kind == SHAPE_LONG)
        return dynamodb_shape_integer(value);
    if (json_is_string(value))
        return (int64_t)json_string_length(value);
    return (int64_t)(json_is_array(value) ? json_array_size(value) : json_object_size(value));
}

static void check_limits(struct violations *violations, const struct shape *shape, const char *path,
                         const json_t *value)
{
    bool is_number = shape->kind == SHAPE_INTEGER || shape->kind == SHAPE_LONG;
    const char *what = is_number ? "value" : "length";
    int64_t length = length_of(shape, value);

    if (shape->is_natural && length < 0)
        violate(violations, path, value, "Member must have value greater than or equal to 0");
    if (shape->choices != NULL && !is_choice(shape->choices, json_string_value(value)))
        violate(violations, path, value,
                arena_printf(violations->arena, "Member must satisfy enum value set: [%s]",
                             shape->choices));
    if (shape->pattern != NULL && !matches_name(json_string_value(value)))
        violate(violations, path, value,
                arena_printf(violations->arena,
                             "Member must satisfy regular expression pattern: %s", shape->pattern));
    if (shape->min != 0 && length < shape->min)
        violate(violations, path, value,
                arena_printf(violations->arena,
                             "Member must have %s greater than or equal to %" PRId64, what,
                             shape->min));
    if (shape->max != 0 && length > shape->max)
        violate(violations, path, value,
                arena_printf(violations->arena,
                             "Member must have %s less than or equal to %" PRId64, what,
                             shape->max));
}

/* What a map demands of its keys and values is told of the map as a whole. */
static void check_entries_of_map(struct violations *violations, const struct shape *shape,
                                 const char *path, const json_t *value)
{
    json_t *map = (json_t *)(uintptr_t)value; /* jansson's walk takes no const */
    bool has_bad_key = false;
    bool has_bad_value = false;

    for (void *at = json_object_iter(map); at != NULL; at = json_object_iter_next(map, at)) {
        const char *key = json_object_iter_key(at);
        size_t count = json_array_size(json_object_iter_value(at));

        has_bad_key = has_bad_key || strlen(key) < 3 || strlen(key) > 255 || !matches_name(key);
        has_bad_value = has_bad_value || count == 0 || (int64_t)count > shape->value_max;
    }
    if (shape->has_table_keys && has_bad_key)
        violate(violations, path, value,
                "Map keys must satisfy constraint: [Member must have length less than or equal to "
                "255, Member must have length greater than or equal to 3, Member must satisfy "
                "regular expression pattern: " SHAPE_NAME_PATTERN "]");
    if (shape->value_max > 0 && has_bad_value)
        violate(violations, path, value,
                arena_printf(violations->arena,
                             "Map value must satisfy constraint: [Member must have length less "
                             "than or equal to %" PRId64
                             ", Member must have length greater than or equal to 1]",
                             shape->value_max));
}

static void check_members(struct violations *violations, const struct shape *members,
                          const char *prefix, const json_t *object);

static void check_member(struct violations *violations, const struct shape *shape, const char *path,
                         const json_t *value)
{
    struct arena *arena = violations->arena;

    if (value == NULL || json_is_null(value)) {
        if (shape->is_required)
            violate(violations, path, value, "Member must not be null");
        return;
    }
    check_limits(violations, shape, path, value);
    if (shape->of == dynamodb_shape_attribute || shape->of == dynamodb_attribute_element)
        return; /* nothing inside has constraints of this kind */
    if (shape->kind == SHAPE_STRUCTURE)
        check_members(violations, shape->of, arena_printf(arena, "%s.", path), value);
    if (shape->kind == SHAPE_LIST)
        for (size_t i = 0; i < json_array_size(value); i++)
            check_member(violations, shape->of, arena_printf(arena, "%s.%zu.member", path, i + 1),
                         json_array_get(value, i));
    if (shape->kind == SHAPE_MAP && shape->has_table_keys)
        check_entries_of_map(violations, shape, path, value);
    if (shape->kind == SHAPE_MAP) {
        json_t *map = (json_t *)(uintptr_t)value;

        for (void *at = json_object_iter(map); at != NULL; at = json_object_iter_next(map, at))
            check_member(violations, shape->of,
                         arena_printf(arena, "%s.%s.member", path, json_object_iter_key(at)),
                         json_object_iter_value(at));
    }
}

static void check_members(struct violations *violations, const struct shape *members,
                          const char *prefix, const json_t *object)
{
    for (; members->kind != SHAPE_END; members++) {
        const json_t *value = json_object_get(object, members->name);
        bool has_limits = members->is_required || members->min != 0 || members->max != 0 ||
                          members->pattern != NULL || members->choices != NULL ||
                          members->is_natural;

        if (!has_limits && (value == NULL || members->of == NULL))
            continue; /* the common case costs no path */
        char *path = arena_printf(violations->arena, "%s%s", prefix, members->name);
        char *first = path + strlen(prefix);

        if (*first >= 'A' && *first <= 'Z')
            *first = (char)(*first - 'A' + 'a');
        check_member(violations, members, path, value);
    }
}

static const char *check_first(struct arena *arena, const struct shape *members,
                               const json_t *object)
{
    for (; members->kind != SHAPE_END; members++) {
        const json_t *value = json_object_get(object, members->name);
        size_t length = json_string_length(value);

        if (!members->is_first)
            continue;
        if (value == NULL || json_is_null(value))
            return arena_printf(arena,
                                "The parameter '%s' is required but was not present in the request",
                                members->name);
        if (length < 3 || length > 255)
            return arena_printf(
                arena, "%s must be at least 3 characters long and at most 255 characters long",
                members->name);
    }
    return NULL;
}

const char *dynamodb_shape_constraints(struct arena *arena, const struct shape *members,
                                       const json_t *object)
{
    struct violations violations = {arena, "", 0};
    const char *why = check_first(arena, members, object);

    if (why != NULL)
        return why;
    check_members(&violations, members, "", object);
    if (violations.count == 0)
        return NULL;
    if (violations.count > VIOLATIONS_MAX)
        violations.count = VIOLATIONS_MAX;
    return arena_printf(arena, "%zu validation error%s detected: %s", violations.count,
                        violations.count == 1 ? "" : "s", violations.text);
}
