#include "node/aws/dynamodb_key_condition.h"

#include "proto/base/check.h"

#define NOT_SUPPORTED "Query key condition not supported"

struct key_terms { /* of a condition, by key attribute */
    const struct expression *terms[TABLE_KEY_PARTS_MAX];
};

static const char *operator_name(enum expression_kind kind)
{
    switch (kind) {
    case EXPRESSION_OR:
        return "OR";
    case EXPRESSION_NOT:
        return "NOT";
    case EXPRESSION_NE:
        return "<>";
    case EXPRESSION_IN:
        return "IN";
    case EXPRESSION_EXISTS:
        return "attribute_exists";
    case EXPRESSION_NOT_EXISTS:
        return "attribute_not_exists";
    case EXPRESSION_TYPE:
        return "attribute_type";
    case EXPRESSION_CONTAINS:
        return "contains";
    case EXPRESSION_SIZE:
        return "size";
    case EXPRESSION_PATH:
    case EXPRESSION_VALUE:
    case EXPRESSION_IF_NOT_EXISTS:
    case EXPRESSION_LIST_APPEND:
    case EXPRESSION_PLUS:
    case EXPRESSION_MINUS:
    case EXPRESSION_EQ:
    case EXPRESSION_LT:
    case EXPRESSION_LE:
    case EXPRESSION_GT:
    case EXPRESSION_GE:
    case EXPRESSION_BETWEEN:
    case EXPRESSION_AND:
    case EXPRESSION_BEGINS_WITH:
        break;
    }
    return NULL;
}

static size_t part_of(const struct table_schema *schema, struct slice name)
{
    size_t part = 0;

    while (part < schema->part_count && !slice_equal(schema->parts[part].name, name))
        part++;
    return part;
}

/* Files one term under the attribute it is about. */
static const char *take_term(struct arena *arena, const struct table_schema *schema,
                             const struct expression *term, struct key_terms *terms)
{
    const char *name = operator_name(term->kind);
    size_t part;

    if (name != NULL)
        return arena_printf(arena,
                            "Invalid KeyConditionExpression: Invalid operator used in "
                            "KeyConditionExpression: %s",
                            name);
    for (size_t i = 0; i < term->child_count; i++) {
        enum expression_kind kind = term->children[i]->kind;

        if (kind == EXPRESSION_SIZE)
            return "Invalid KeyConditionExpression: KeyConditionExpressions cannot contain nested "
                   "operations";
        if (i == 0 ? kind != EXPRESSION_PATH : kind != EXPRESSION_VALUE)
            return "Invalid KeyConditionExpression: The value of a key attribute must be compared "
                   "with a literal";
    }
    if (term->children[0]->path.step_count != 1)
        return "Invalid KeyConditionExpression: KeyConditionExpressions cannot have conditions on "
               "nested attributes";
    part = part_of(schema, term->children[0]->path.steps[0].name);
    if (part == schema->part_count)
        return schema->part_count == 1
                   ? NOT_SUPPORTED
                   : arena_printf(arena, "Query condition missed key schema element: %.*s",
                                  (int)schema->parts[1].name.size,
                                  (const char *)schema->parts[1].name.data);
    if (terms->terms[part] != NULL)
        return "Invalid KeyConditionExpression: KeyConditionExpressions must only contain one "
               "condition per key";
    terms->terms[part] = term;
    return NULL;
}

static const char *take_terms(struct arena *arena, const struct table_schema *schema,
                              const struct expression *condition, struct key_terms *terms)
{
    const char *why = NULL;

    if (condition->kind != EXPRESSION_AND)
        return take_term(arena, schema, condition, terms);
    for (size_t i = 0; i < condition->child_count && why == NULL; i++)
        why = take_terms(arena, schema, condition->children[i], terms);
    return why;
}

static const char *check_values(struct arena *arena, const struct table_schema *schema,
                                const struct key_terms *terms)
{
    for (size_t part = 0; part < schema->part_count; part++) {
        const struct expression *term = terms->terms[part];

        for (size_t i = 1; term != NULL && i < term->child_count; i++) {
            const struct item_value *value = &term->children[i]->value;

            if (value->type != schema->parts[part].type)
                return "One or more parameter values were invalid: Condition parameter type does "
                       "not match schema type";
            if (value->bytes.size == 0 && term->kind != EXPRESSION_BEGINS_WITH)
                return arena_printf(arena,
                                    "One or more parameter values are not valid. The "
                                    "AttributeValue for a key attribute cannot contain an empty "
                                    "%s value. Key: %.*s",
                                    value->type == ITEM_B ? "binary" : "string",
                                    (int)schema->parts[part].name.size,
                                    (const char *)schema->parts[part].name.data);
        }
    }
    return NULL;
}

static void put_prefix(struct buffer *to, struct slice prefix, const struct item_value *value)
{
    buffer_put_slice(to, prefix);
    table_key_put_part(to, value);
}

/* Narrows the range of one hash key to those sort keys. */
static void narrow(struct dynamodb_key_range *range, const struct expression *term)
{
    struct buffer prefix = BUFFER_INIT(BUFFER_UNLIMITED);
    const struct item_value *first = &term->children[1]->value;
    const struct item_value *last = &term->children[term->child_count - 1]->value;
    bool has_low = term->kind != EXPRESSION_LT && term->kind != EXPRESSION_LE;
    bool has_high = term->kind != EXPRESSION_GT && term->kind != EXPRESSION_GE;

    buffer_put_slice(&prefix, buffer_slice(&range->low));
    if (has_low) {
        buffer_clear(&range->low);
        put_prefix(&range->low, buffer_slice(&prefix), first);
        if (term->kind == EXPRESSION_GT)
            table_key_after_prefix(&range->low);
        if (term->kind == EXPRESSION_BEGINS_WITH)
            range->low.size -= TABLE_KEY_END_BYTES;
    }
    if (has_high) {
        buffer_clear(&range->high);
        put_prefix(&range->high, buffer_slice(&prefix), last);
        if (term->kind == EXPRESSION_BEGINS_WITH)
            range->high.size -= TABLE_KEY_END_BYTES;
        if (term->kind != EXPRESSION_LT)
            table_key_after_prefix(&range->high);
    }
    buffer_close(&prefix);
}

const char *dynamodb_key_condition(struct arena *arena, const struct table_schema *schema,
                                   const uint8_t *table_id, const struct expression *condition,
                                   struct dynamodb_key_range *range)
{
    struct key_terms terms = {0};
    const char *why = take_terms(arena, schema, condition, &terms);
    size_t begin;

    if (why != NULL)
        return why;
    if (terms.terms[0] == NULL)
        return arena_printf(arena, "Query condition missed key schema element: %.*s",
                            (int)schema->parts[0].name.size,
                            (const char *)schema->parts[0].name.data);
    if (terms.terms[0]->kind != EXPRESSION_EQ)
        return NOT_SUPPORTED;
    why = check_values(arena, schema, &terms);
    if (why != NULL)
        return why;
    table_key_put_table(&range->low, table_id);
    begin = range->low.size;
    table_key_put_part(&range->low, &terms.terms[0]->children[1]->value);
    range->hash_part =
        arena_copy(arena, slice_of(range->low.data + begin, range->low.size - begin));
    buffer_put_slice(&range->high, buffer_slice(&range->low));
    table_key_after_prefix(&range->high);
    if (terms.terms[1] != NULL)
        narrow(range, terms.terms[1]);
    return NULL;
}

const struct table_key_part *dynamodb_key_in_filter(const struct table_schema *schema,
                                                    const struct expression *filter)
{
    const struct table_key_part *found = NULL;

    if (filter->kind == EXPRESSION_PATH) {
        size_t part = part_of(schema, filter->path.steps[0].name);

        return part < schema->part_count ? &schema->parts[part] : NULL;
    }
    for (size_t i = 0; i < filter->child_count && found == NULL; i++)
        found = dynamodb_key_in_filter(schema, filter->children[i]);
    return found;
}
