#include "node/aws/dynamodb_expression.h"

#include "node/aws/dynamodb_value.h"
#include "proto/base/check.h"

#define NAMES "ExpressionAttributeNames"
#define VALUES "ExpressionAttributeValues"

static const json_t *member_of(const json_t *input, const char *name)
{
    const json_t *value = json_object_get(input, name);

    return json_is_null(value) ? NULL : value;
}

/* ---- which members --------------------------------------------------------------------------- */

/* The names of `list` that are there, as "A, B"; "" when none is. */
static const char *present(struct arena *arena, const json_t *input, const char *const *list)
{
    const char *text = "";

    for (; *list != NULL; list++)
        if (member_of(input, *list) != NULL)
            text = arena_printf(arena, "%s%s%s", text, text[0] != '\0' ? ", " : "", *list);
    return text;
}

/* Values need an expression that can have some; a projection cannot. */
static const char *check_values(struct arena *arena, const json_t *input, const char *const *list)
{
    const char *names = "";
    size_t count = 0;

    for (; *list != NULL; list++) {
        if (strcmp(*list, "ProjectionExpression") == 0)
            continue;
        if (member_of(input, *list) != NULL)
            return NULL;
        names = arena_printf(arena, "%s%s%s", names, count++ > 0 ? " and " : "", *list);
    }
    if (count == 0 || member_of(input, VALUES) == NULL)
        return NULL;
    return arena_printf(arena, VALUES " can only be specified when using expressions: %s %s null",
                        names, count > 1 ? "are" : "is");
}

/* KeyConditions may stand beside any expression but its own. */
static const char *const *legacy_rules(const json_t *input,
                                       const struct dynamodb_expression_rules *rules)
{
    return rules->legacy_beside != NULL && member_of(input, "KeyConditionExpression") == NULL
               ? rules->legacy_beside
               : rules->legacy;
}

const char *dynamodb_expressions_check(struct dynamodb_expressions *expressions,
                                       struct arena *arena, const json_t *input,
                                       const struct dynamodb_expression_rules *rules)
{
    const char *given = present(arena, input, rules->expressions);
    const char *legacy = present(arena, input, legacy_rules(input, rules));

    *expressions = (struct dynamodb_expressions){arena, input, {.arena = arena}};
    if (given[0] != '\0' && legacy[0] != '\0')
        return arena_printf(arena,
                            "Can not use both expression and non-expression parameters in the same "
                            "request: Non-expression parameters: {%s} Expression parameters: {%s}",
                            legacy, given);
    if (given[0] == '\0' && member_of(input, NAMES) != NULL)
        return NAMES " can only be specified when using expressions";
    return check_values(arena, input, rules->expressions);
}

/* ---- names and values ------------------------------------------------------------------------ */

static bool is_placeholder(const char *key, char mark)
{
    static const char rest[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

    return key[0] == mark && key[1] != '\0' && key[1 + strspn(key + 1, rest)] == '\0';
}

static int compare_bindings(const void *a, const void *b)
{
    return slice_compare(((const struct expression_binding *)a)->placeholder,
                         ((const struct expression_binding *)b)->placeholder);
}

static const char *bind_name(struct dynamodb_expressions *expressions, const json_t *value,
                             struct expression_binding *binding)
{
    const char *why;

    binding->name = slice_of(json_string_value(value), json_string_length(value));
    why = dynamodb_check_name(binding->name);
    if (why == NULL)
        return NULL;
    return arena_printf(expressions->arena, NAMES " contains invalid value: %s for key %.*s", why,
                        (int)binding->placeholder.size, (const char *)binding->placeholder.data);
}

static const char *bind_value(struct dynamodb_expressions *expressions, const json_t *value,
                              struct expression_binding *binding)
{
    struct buffer bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    const char *why = dynamodb_value_put(expressions->arena, &bytes, value);
    struct slice copy = arena_copy(expressions->arena, buffer_slice(&bytes));

    buffer_close(&bytes);
    if (why != NULL)
        return arena_printf(expressions->arena, VALUES " contains invalid value: %s for key %.*s",
                            why, (int)binding->placeholder.size,
                            (const char *)binding->placeholder.data);
    CHECK(item_check_value(copy, &binding->value) == OK);
    return NULL;
}

static const char *bind(struct dynamodb_expressions *expressions, const char *member, char mark,
                        struct expression_bindings *bindings)
{
    json_t *map = json_object_get(expressions->input, member);
    const char *why = NULL;

    if (map == NULL || json_is_null(map))
        return NULL;
    if (json_object_size(map) == 0)
        return arena_printf(expressions->arena, "%s must not be empty", member);
    for (void *at = json_object_iter(map); at != NULL; at = json_object_iter_next(map, at))
        if (!is_placeholder(json_object_iter_key(at), mark))
            return arena_printf(expressions->arena,
                                "%s contains invalid key: Syntax error; key: "
                                "\"%s\"",
                                member, json_object_iter_key(at));
    bindings->entries =
        arena_alloc(expressions->arena, json_object_size(map) * sizeof(*bindings->entries));
    for (void *at = json_object_iter(map); at != NULL && why == NULL;
         at = json_object_iter_next(map, at)) {
        struct expression_binding *binding = &bindings->entries[bindings->count++];
        const json_t *value = json_object_iter_value(at);

        binding->placeholder = slice_text(json_object_iter_key(at));
        why = mark == '#' ? bind_name(expressions, value, binding)
                          : bind_value(expressions, value, binding);
    }
    qsort(bindings->entries, bindings->count, sizeof(*bindings->entries), compare_bindings);
    return why;
}

const char *dynamodb_expressions_bind(struct dynamodb_expressions *expressions)
{
    const char *why = bind(expressions, NAMES, '#', &expressions->source.names);

    return why != NULL ? why : bind(expressions, VALUES, ':', &expressions->source.values);
}

/* "{:a, :b}" of those that nothing used; NULL when all were. */
static const char *unused(struct arena *arena, const struct expression_bindings *bindings)
{
    const char *text = NULL;

    for (size_t i = 0; i < bindings->count; i++) {
        const struct expression_binding *binding = &bindings->entries[i];

        if (!binding->is_used)
            text = arena_printf(arena, "%s%s%.*s", text != NULL ? text : "",
                                text != NULL ? ", " : "", (int)binding->placeholder.size,
                                (const char *)binding->placeholder.data);
        if (text != NULL && strlen(text) > 4096)
            break; /* named enough */
    }
    return text;
}

const char *dynamodb_expressions_close(struct dynamodb_expressions *expressions)
{
    const char *names = unused(expressions->arena, &expressions->source.names);
    const char *values = unused(expressions->arena, &expressions->source.values);

    if (names != NULL)
        return arena_printf(expressions->arena,
                            "Value provided in " NAMES " unused in expressions: keys: {%s}", names);
    if (values != NULL)
        return arena_printf(expressions->arena,
                            "Value provided in " VALUES " unused in expressions: keys: {%s}",
                            values);
    return NULL;
}

static bool is_opened(const struct dynamodb_expressions *expressions, struct slice name)
{
    for (size_t i = 0; i < expressions->source.opened_count; i++)
        if (slice_equal(expressions->source.opened[i], name))
            return true;
    return false;
}

const char *dynamodb_expressions_check_table(const struct dynamodb_expressions *expressions,
                                             const struct dynamodb_table *table)
{
    const struct table_key_part *part = NULL;
    const char *what = "Key";

    for (size_t i = 0; i < table->schema.part_count && part == NULL; i++)
        if (is_opened(expressions, table->schema.parts[i].name))
            part = &table->schema.parts[i];
    for (size_t i = 0; i < table->record->n_local_indexes && part == NULL; i++)
        if (is_opened(expressions, table->index_schemas[i].parts[1].name)) {
            part = &table->index_schemas[i].parts[1];
            what = "IndexKey";
        }
    if (part == NULL)
        return NULL;
    return arena_printf(expressions->arena,
                        "Key attributes must be scalars; list random access '[]' and map lookup "
                        "'.' are not allowed: %s: %.*s",
                        what, (int)part->name.size, (const char *)part->name.data);
}

/* ---- expressions ----------------------------------------------------------------------------- */

static struct slice text_of(const struct dynamodb_expressions *expressions, const char *member)
{
    const json_t *text = member_of(expressions->input, member);

    if (text == NULL)
        return slice_of(NULL, 0);
    return slice_of(json_string_value(text), json_string_length(text));
}

static const char *verdict(struct dynamodb_expressions *expressions, const char *member,
                           enum error rc)
{
    if (rc == OK)
        return NULL;
    return arena_printf(expressions->arena, "Invalid %s: %s", member, expressions->source.why);
}

const char *dynamodb_parse_condition(struct dynamodb_expressions *expressions, const char *member,
                                     const struct expression **condition)
{
    struct slice text = text_of(expressions, member);

    *condition = NULL;
    if (text.data == NULL)
        return NULL;
    return verdict(expressions, member,
                   expression_parse_condition(&expressions->source, text, condition));
}

const char *dynamodb_parse_update(struct dynamodb_expressions *expressions, const char *member,
                                  struct item_update *update)
{
    struct slice text = text_of(expressions, member);

    *update = (struct item_update){0};
    if (text.data == NULL)
        return NULL;
    return verdict(expressions, member,
                   expression_parse_update(&expressions->source, text, update));
}

const char *dynamodb_parse_projection(struct dynamodb_expressions *expressions, const char *member,
                                      struct expression_paths *projection)
{
    struct slice text = text_of(expressions, member);

    *projection = (struct expression_paths){0};
    if (text.data == NULL)
        return NULL;
    return verdict(expressions, member,
                   expression_parse_projection(&expressions->source, text, projection));
}

const char *dynamodb_read_attributes_to_get(struct arena *arena, const json_t *list,
                                            struct expression_paths *projection)
{
    size_t count = json_array_size(list);
    struct slice *names = arena_alloc(arena, (count + 1) * sizeof(*names));

    *projection = (struct expression_paths){0};
    if (list == NULL)
        return NULL;
    projection->paths = arena_alloc(arena, (count + 1) * sizeof(*projection->paths));
    for (; projection->count < count; projection->count++) {
        const json_t *name = json_array_get(list, projection->count);
        struct expression_path *path = &projection->paths[projection->count];

        names[projection->count] = slice_of(json_string_value(name), json_string_length(name));
        if (dynamodb_check_name(names[projection->count]) != NULL)
            return dynamodb_check_name(names[projection->count]);
        path->step_count = 1;
        path->steps = arena_alloc(arena, sizeof(*path->steps));
        path->steps[0].name = names[projection->count];
    }
    size_t twice = item_find_duplicate(names, count);

    if (twice < count)
        return arena_printf(arena,
                            "One or more parameter values were invalid: Duplicate value in "
                            "attribute name: %.*s",
                            (int)names[twice].size, (const char *)names[twice].data);
    return NULL;
}
