#include "node/aws/dynamodb_legacy.h"

#include "node/aws/dynamodb_shape.h"
#include "node/aws/dynamodb_value.h"
#include "proto/base/check.h"

#define INVALID "One or more parameter values were invalid: "
#define SCALARS (1u << ITEM_S | 1u << ITEM_N | 1u << ITEM_B)
#define SETS (1u << ITEM_SS | 1u << ITEM_NS | 1u << ITEM_BS)
#define ANY_TYPE UINT32_MAX

/* ---- comparison operators ---------------------------------------------------------------------
 */

struct comparison {
    const char *name;
    enum expression_kind kind;
    size_t least; /* arguments */
    size_t most;
    uint32_t types; /* of the arguments */
};

static const struct comparison comparisons[] = {
    {"EQ", EXPRESSION_EQ, 1, 1, ANY_TYPE},
    {"NE", EXPRESSION_NE, 1, 1, ANY_TYPE},
    {"LE", EXPRESSION_LE, 1, 1, SCALARS},
    {"LT", EXPRESSION_LT, 1, 1, SCALARS},
    {"GE", EXPRESSION_GE, 1, 1, SCALARS},
    {"GT", EXPRESSION_GT, 1, 1, SCALARS},
    {"NOT_NULL", EXPRESSION_EXISTS, 0, 0, ANY_TYPE},
    {"NULL", EXPRESSION_NOT_EXISTS, 0, 0, ANY_TYPE},
    {"CONTAINS", EXPRESSION_CONTAINS, 1, 1, SCALARS},
    {"NOT_CONTAINS", EXPRESSION_NOT, 1, 1, SCALARS},
    {"BEGINS_WITH", EXPRESSION_BEGINS_WITH, 1, 1, 1u << ITEM_S | 1u << ITEM_B},
    {"IN", EXPRESSION_IN, 1, SIZE_MAX, SCALARS},
    {"BETWEEN", EXPRESSION_BETWEEN, 2, 2, SCALARS},
};

static const struct comparison *find_comparison(const char *name)
{
    const struct comparison *comparison = comparisons;

    while (strcmp(name, comparison->name) != 0) { /* the shapes let no other through */
        comparison++;
        CHECK(comparison < comparisons + ARRAY_COUNT(comparisons));
    }
    return comparison;
}

static const json_t *member_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return json_is_null(value) ? NULL : value;
}

/* ---- trees ------------------------------------------------------------------------------------
 */

static struct expression *new_node(struct arena *arena, enum expression_kind kind, size_t room)
{
    struct expression *node = arena_alloc(arena, sizeof(*node));

    node->kind = kind;
    node->children = arena_alloc(arena, (room + 1) * sizeof(struct expression *));
    return node;
}

static void add_child(struct expression *node, struct expression *child)
{
    node->children[node->child_count++] = child;
}

static struct expression_path path_of(struct arena *arena, const char *attribute)
{
    struct expression_path path = {arena_alloc(arena, sizeof(struct expression_step)), 1};

    path.steps[0].name = slice_text(attribute);
    return path;
}

static struct expression *path_node(struct arena *arena, const char *attribute)
{
    struct expression *node = new_node(arena, EXPRESSION_PATH, 0);

    node->path = path_of(arena, attribute);
    return node;
}

static const char *value_node(struct arena *arena, const json_t *value, struct expression **node)
{
    struct buffer bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    const char *why = dynamodb_value_put(arena, &bytes, value);
    struct slice copy = arena_copy(arena, buffer_slice(&bytes));

    buffer_close(&bytes);
    if (why != NULL)
        return why;
    *node = new_node(arena, EXPRESSION_VALUE, 0);
    CHECK(item_check_value(copy, &(*node)->value) == OK);
    return NULL;
}

/* NOT_CONTAINS does not hold for an attribute that is not there. */
static struct expression *not_contains(struct arena *arena, const char *attribute,
                                       struct expression *value)
{
    struct expression *both = new_node(arena, EXPRESSION_AND, 2);
    struct expression *exists = new_node(arena, EXPRESSION_EXISTS, 1);
    struct expression *contains = new_node(arena, EXPRESSION_CONTAINS, 2);
    struct expression *none = new_node(arena, EXPRESSION_NOT, 1);

    add_child(exists, path_node(arena, attribute));
    add_child(contains, path_node(arena, attribute));
    add_child(contains, value);
    add_child(none, contains);
    add_child(both, exists);
    add_child(both, none);
    return both;
}

static struct expression *compare_node(struct arena *arena, const char *attribute,
                                       const struct comparison *comparison,
                                       struct expression *const *values, size_t count)
{
    struct expression *node;

    if (comparison->kind == EXPRESSION_NOT)
        return not_contains(arena, attribute, values[0]);
    node = new_node(arena, comparison->kind, count + 1);
    add_child(node, path_node(arena, attribute));
    for (size_t i = 0; i < count; i++)
        add_child(node, values[i]);
    return node;
}

/* ---- one comparison -----------------------------------------------------------------------------
 */

static const char *check_arguments(struct arena *arena, const struct comparison *comparison,
                                   struct expression *const *values, size_t count)
{
    if (count < comparison->least || count > comparison->most)
        return arena_printf(arena,
                            INVALID "Invalid number of argument(s) for the %s ComparisonOperator",
                            comparison->name);
    for (size_t i = 1; i < count; i++)
        if (values[i]->value.type != values[0]->value.type)
            return INVALID "AttributeValues inside AttributeValueList must be of same type";
    for (size_t i = 0; i < count; i++)
        if ((comparison->types & 1u << values[i]->value.type) == 0)
            return arena_printf(
                arena, INVALID "ComparisonOperator %s is not valid for %s AttributeValue type",
                comparison->name, item_type_name(values[i]->value.type));
    if (comparison->kind == EXPRESSION_BETWEEN &&
        item_compare(&values[0]->value, &values[1]->value) > 0)
        return "The BETWEEN condition was provided a range where the lower bound is greater than "
               "the upper bound";
    return NULL;
}

/* `list`: the arguments; NULL for none. */
static const char *read_comparison(struct arena *arena, const char *attribute,
                                   const struct comparison *comparison, const json_t *list,
                                   struct expression **node)
{
    size_t count = json_array_size(list);
    struct expression **values = arena_alloc(arena, (count + 1) * sizeof(*values));
    const char *why = NULL;

    for (size_t i = 0; i < count && why == NULL; i++)
        why = value_node(arena, json_array_get(list, i), &values[i]);
    if (why == NULL)
        why = check_arguments(arena, comparison, values, count);
    if (why == NULL)
        *node = compare_node(arena, attribute, comparison, values, count);
    return why;
}

/* ---- maps of comparisons ------------------------------------------------------------------------
 */

typedef const char *(*read_entry)(struct arena *arena, const char *attribute, const json_t *entry,
                                  struct expression **node);

static const char *read_map(struct arena *arena, const json_t *map, bool is_or, read_entry read,
                            const struct expression **condition)
{
    json_t *root = (json_t *)(uintptr_t)map; /* jansson's walk takes no const */
    struct expression *all =
        new_node(arena, is_or ? EXPRESSION_OR : EXPRESSION_AND, json_object_size(map));
    const char *why = NULL;

    *condition = NULL;
    for (void *at = json_object_iter(root); at != NULL && why == NULL;
         at = json_object_iter_next(root, at)) {
        struct expression *node = NULL;

        why = read(arena, json_object_iter_key(at), json_object_iter_value(at), &node);
        if (why == NULL)
            add_child(all, node);
    }
    if (why == NULL && all->child_count > 0)
        *condition = all;
    return why;
}

static const char *read_condition(struct arena *arena, const char *attribute, const json_t *entry,
                                  struct expression **node)
{
    const char *name = json_string_value(json_object_get(entry, "ComparisonOperator"));

    return read_comparison(arena, attribute, find_comparison(name),
                           member_of(entry, "AttributeValueList"), node);
}

const char *dynamodb_legacy_conditions(struct arena *arena, const json_t *conditions, bool is_or,
                                       const struct expression **condition)
{
    return read_map(arena, conditions, is_or, read_condition, condition);
}

/* ---- Expected
 * ------------------------------------------------------------------------------------ */

/* ComparisonOperator with its arguments, which may also be one Value. */
static const char *read_compared(struct arena *arena, const char *attribute, const json_t *entry,
                                 struct expression **node)
{
    const char *name = json_string_value(json_object_get(entry, "ComparisonOperator"));
    const struct comparison *comparison = find_comparison(name);
    const json_t *list = member_of(entry, "AttributeValueList");
    const json_t *value = member_of(entry, "Value");
    json_t *only;
    const char *why;

    if (member_of(entry, "Exists") != NULL)
        return arena_printf(
            arena,
            INVALID "Exists and ComparisonOperator cannot be used together for Attribute: %s",
            attribute);
    if (comparison->most > 0 && list == NULL && value == NULL)
        return arena_printf(arena,
                            INVALID "Value or AttributeValueList must be used with "
                                    "ComparisonOperator: %s for Attribute: %s",
                            name, attribute);
    if (value == NULL)
        return read_comparison(arena, attribute, comparison, list, node);
    only = json_array();
    CHECK(only != NULL && json_array_append(only, (json_t *)(uintptr_t)value) == 0);
    why = read_comparison(arena, attribute, comparison, only, node);
    json_decref(only); /* the document keeps the value, which the node borrows from */
    return why;
}

/* Exists, or just a Value. */
static const char *read_existence(struct arena *arena, const char *attribute, const json_t *entry,
                                  struct expression **node)
{
    const json_t *exists = member_of(entry, "Exists");
    const json_t *value = member_of(entry, "Value");
    bool must_exist = exists == NULL || dynamodb_shape_is_true(exists);
    struct expression *wanted;
    const char *why;

    if (must_exist && value == NULL)
        return arena_printf(arena,
                            INVALID "Value must be provided when Exists is %s for Attribute: %s",
                            exists == NULL ? "null" : "true", attribute);
    if (!must_exist && value != NULL)
        return arena_printf(arena,
                            INVALID "Value cannot be used when Exists is false for Attribute: %s",
                            attribute);
    if (!must_exist) {
        *node = compare_node(arena, attribute, find_comparison("NULL"), NULL, 0);
        return NULL;
    }
    why = value_node(arena, value, &wanted);
    if (why == NULL)
        *node = compare_node(arena, attribute, find_comparison("EQ"), &wanted, 1);
    return why;
}

static const char *read_expected(struct arena *arena, const char *attribute, const json_t *entry,
                                 struct expression **node)
{
    bool has_list = member_of(entry, "AttributeValueList") != NULL;

    if (has_list && member_of(entry, "Value") != NULL)
        return arena_printf(
            arena, INVALID "Value and AttributeValueList cannot be used together for Attribute: %s",
            attribute);
    if (member_of(entry, "ComparisonOperator") != NULL)
        return read_compared(arena, attribute, entry, node);
    if (has_list)
        return arena_printf(arena,
                            INVALID "AttributeValueList can only be used with a "
                                    "ComparisonOperator for Attribute: %s",
                            attribute);
    return read_existence(arena, attribute, entry, node);
}

const char *dynamodb_legacy_expected(struct arena *arena, const json_t *expected, bool is_or,
                                     const struct expression **condition)
{
    return read_map(arena, expected, is_or, read_expected, condition);
}

const char *dynamodb_legacy_operator(const char *conditional_operator, const json_t *conditions,
                                     bool *is_or)
{
    *is_or = conditional_operator != NULL && strcmp(conditional_operator, "OR") == 0;
    if (conditional_operator == NULL || json_object_size(conditions) > 1)
        return NULL;
    if (json_object_size(conditions) == 0)
        return "ConditionalOperator cannot be used without Filter or Expected";
    return "ConditionalOperator can only be used when Filter or Expected has two or more elements";
}

/* ---- AttributeUpdates
 * ----------------------------------------------------------------------------- */

/* ADD of a list: the list that is there, or an empty one, with the elements behind it. */
static struct expression *appended(struct arena *arena, const char *attribute,
                                   struct expression *value)
{
    static const uint8_t empty[4]; /* a list's count */
    struct expression *append = new_node(arena, EXPRESSION_LIST_APPEND, 2);
    struct expression *old = new_node(arena, EXPRESSION_IF_NOT_EXISTS, 2);
    struct expression *nothing = new_node(arena, EXPRESSION_VALUE, 0);

    nothing->value = (struct item_value){ITEM_L, slice_of(empty, sizeof(empty))};
    add_child(old, path_node(arena, attribute));
    add_child(old, nothing);
    add_child(append, old);
    add_child(append, value);
    return append;
}

static const char *read_add(struct arena *arena, struct expression *value,
                            struct item_update_action *action)
{
    enum item_type type = value->value.type;

    if (type != ITEM_N && type != ITEM_L && !item_is_set(type))
        return arena_printf(arena, INVALID "ADD action is not supported for the type %s",
                            item_type_name(type));
    action->kind = type == ITEM_L ? ITEM_UPDATE_SET : ITEM_UPDATE_ADD;
    if (type == ITEM_L)
        action->operand = appended(arena, (const char *)action->path.steps[0].name.data, value);
    return NULL;
}

static const char *read_delete(struct arena *arena, const struct expression *value,
                               struct item_update_action *action)
{
    action->kind = ITEM_UPDATE_DELETE;
    if ((SETS & 1u << value->value.type) != 0)
        return NULL;
    return arena_printf(arena, INVALID "DELETE action with value is not supported for the type %s",
                        item_type_name(value->value.type));
}

static const char *read_update(struct arena *arena, const char *attribute, const json_t *entry,
                               struct item_update_action *action)
{
    const json_t *value = member_of(entry, "Value");
    const char *name = json_string_value(json_object_get(entry, "Action"));
    bool is_delete = name != NULL && strcmp(name, "DELETE") == 0;
    struct expression *operand;
    const char *why;

    why = dynamodb_check_name(slice_text(attribute));
    if (why != NULL)
        return why;
    action->path = path_of(arena, attribute);
    action->kind = is_delete ? ITEM_UPDATE_REMOVE : ITEM_UPDATE_SET;
    if (value == NULL)
        return is_delete ? NULL
                         : INVALID "Only DELETE action is allowed when no attribute value is "
                                   "specified";
    why = value_node(arena, value, &operand);
    if (why != NULL)
        return why;
    action->operand = operand;
    if (is_delete)
        return read_delete(arena, operand, action);
    return name != NULL && strcmp(name, "ADD") == 0 ? read_add(arena, operand, action) : NULL;
}

const char *dynamodb_legacy_updates(struct arena *arena, const json_t *updates,
                                    struct item_update *update)
{
    json_t *root = (json_t *)(uintptr_t)updates; /* jansson's walk takes no const */
    const char *why = NULL;

    update->action_count = 0;
    update->actions =
        arena_alloc(arena, (json_object_size(updates) + 1) * sizeof(*update->actions));
    for (void *at = json_object_iter(root); at != NULL && why == NULL;
         at = json_object_iter_next(root, at))
        why = read_update(arena, json_object_iter_key(at), json_object_iter_value(at),
                          &update->actions[update->action_count++]);
    return why;
}
