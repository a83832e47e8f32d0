#include "node/aws/dynamodb_key_condition.h"

#include "proto/base/check.h"

#define CONDITION "Invalid condition in KeyConditionExpression: "

/* ---- terms --------------------------------------------------------------------------------------
 */

/* What may not be asked of a key, in the service's words; NULL for the rest. */
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

/* ":v < a" is "a > :v". */
static enum expression_kind turned(enum expression_kind kind)
{
    switch ((int)kind) {
    case EXPRESSION_LT:
        return EXPRESSION_GT;
    case EXPRESSION_LE:
        return EXPRESSION_GE;
    case EXPRESSION_GT:
        return EXPRESSION_LT;
    case EXPRESSION_GE:
        return EXPRESSION_LE;
    default:
        return kind;
    }
}

static const char *add_term(struct dynamodb_key_terms *terms, const struct dynamodb_key_term *term)
{
    for (size_t i = 0; i < terms->count && i < DYNAMODB_KEY_TERMS_MAX; i++)
        if (slice_equal(terms->terms[i].name, term->name))
            return "KeyConditionExpressions must only contain one condition per key";
    if (terms->count < DYNAMODB_KEY_TERMS_MAX)
        terms->terms[terms->count] = *term;
    terms->count++;
    return NULL;
}

/* The operands of one comparison: an attribute and one or two values. */
static const char *take_operands(const struct expression *comparison,
                                 struct dynamodb_key_term *term)
{
    for (size_t i = 0; i < comparison->child_count; i++) {
        const struct expression *child = comparison->children[i];

        if (child->kind == EXPRESSION_SIZE)
            return "KeyConditionExpressions cannot contain nested operations";
        if (child->kind == EXPRESSION_VALUE) {
            term->values[term->value_count++ % 2] = &child->value;
            continue;
        }
        if (term->name.data != NULL)
            return CONDITION "Multiple attribute names used in one condition";
        if (child->path.step_count > 1)
            return "KeyConditionExpressions cannot have conditions on nested attributes";
        term->name = child->path.steps[0].name;
        term->kind = i == 0 ? comparison->kind : turned(comparison->kind);
    }
    return term->name.data != NULL ? NULL : CONDITION "No key attribute specified";
}

static const char *take_comparison(struct arena *arena, const struct expression *comparison,
                                   struct dynamodb_key_terms *terms)
{
    const char *name = operator_name(comparison->kind);
    struct dynamodb_key_term term = {0};
    const char *why;

    if (name != NULL)
        return arena_printf(arena, "Invalid operator used in KeyConditionExpression: %s", name);
    if ((comparison->kind == EXPRESSION_BETWEEN || comparison->kind == EXPRESSION_BEGINS_WITH) &&
        comparison->children[0]->kind != EXPRESSION_PATH)
        return arena_printf(arena,
                            CONDITION "%s operator must have the key attribute as its first "
                                      "operand",
                            comparison->kind == EXPRESSION_BETWEEN ? "BETWEEN" : "begins_with");
    why = take_operands(comparison, &term);
    return why != NULL ? why : add_term(terms, &term);
}

static const char *take_conditions(struct arena *arena, const struct expression *condition,
                                   struct dynamodb_key_terms *terms)
{
    const char *why = NULL;

    if (condition->kind != EXPRESSION_AND)
        return take_comparison(arena, condition, terms);
    for (size_t i = 0; i < condition->child_count && why == NULL; i++)
        why = take_conditions(arena, condition->children[i], terms);
    return why;
}

static const char *check_count(const struct dynamodb_key_terms *terms)
{
    return terms->count == 1 || terms->count == 2 ? NULL
                                                  : "Conditions can be of length 1 or 2 only";
}

const char *dynamodb_key_terms(struct arena *arena, const struct expression *condition,
                               struct dynamodb_key_terms *terms)
{
    const char *why;

    terms->count = 0;
    why = take_conditions(arena, condition, terms);
    return why != NULL ? why : check_count(terms);
}

const char *dynamodb_key_terms_of_legacy(const struct expression *conditions,
                                         struct dynamodb_key_terms *terms)
{
    terms->count = 0;
    for (size_t i = 0; conditions != NULL && i < conditions->child_count; i++) {
        const struct expression *child = conditions->children[i];
        bool is_indexable = child->kind != EXPRESSION_AND && operator_name(child->kind) == NULL;
        const struct expression *path = child->children[0];
        struct dynamodb_key_term term = {.kind = is_indexable ? child->kind : EXPRESSION_NOT};

        if (child->kind == EXPRESSION_AND) /* NOT_CONTAINS */
            path = path->children[0];
        term.name = path->path.steps[0].name;
        for (size_t k = 1; k < child->child_count && is_indexable; k++)
            term.values[term.value_count++] = &child->children[k]->value;
        CHECK(add_term(terms, &term) == NULL);
    }
    return check_count(terms);
}

/* ---- terms and a schema -------------------------------------------------------------------------
 */

static const struct dynamodb_key_term *find_term(const struct dynamodb_key_terms *terms,
                                                 struct slice name)
{
    for (size_t i = 0; i < terms->count; i++)
        if (slice_equal(terms->terms[i].name, name))
            return &terms->terms[i];
    return NULL;
}

static const char *check_values(struct arena *arena, const struct table_key_part *part,
                                const struct dynamodb_key_term *term)
{
    for (size_t i = 0; i < term->value_count; i++) {
        const struct item_value *value = term->values[i];

        if (value->type != part->type)
            return "One or more parameter values were invalid: Condition parameter type does not "
                   "match schema type";
        if (value->bytes.size == 0 && term->kind != EXPRESSION_BEGINS_WITH)
            return arena_printf(arena,
                                "One or more parameter values are not valid. The AttributeValue "
                                "for a key attribute cannot contain an empty %s value. Key: %.*s",
                                value->type == ITEM_B ? "binary" : "string", (int)part->name.size,
                                (const char *)part->name.data);
    }
    return NULL;
}

const char *dynamodb_key_terms_check(struct arena *arena, const struct table_schema *schema,
                                     const struct dynamodb_key_terms *terms, size_t index)
{
    const struct table_key_part *part = &schema->parts[index];
    const struct dynamodb_key_term *term = find_term(terms, part->name);
    const char *why;

    if (schema->part_count == 1 && terms->count > 1)
        return "Query key condition not supported";
    if (term == NULL && (index == 0 || terms->count > 1))
        return arena_printf(arena, "Query condition missed key schema element: %.*s",
                            (int)part->name.size, (const char *)part->name.data);
    if (term == NULL)
        return NULL;
    if (term->kind == EXPRESSION_NOT)
        return "Attempted conditional constraint is not an indexable operation";
    why = check_values(arena, part, term);
    if (why == NULL && index == 0 && term->kind != EXPRESSION_EQ)
        why = "Query key condition not supported";
    return why;
}

/* ---- ranges
 * --------------------------------------------------------------------------------------- */

static void put_prefix(struct buffer *to, struct slice prefix, const struct item_value *value)
{
    buffer_put_slice(to, prefix);
    table_key_put_part(to, value);
}

/* Narrows the range of one hash key to those sort keys. */
static void narrow(struct dynamodb_key_range *range, const struct dynamodb_key_term *term)
{
    struct buffer prefix = BUFFER_INIT(BUFFER_UNLIMITED);
    const struct item_value *first = term->values[0];
    const struct item_value *last = term->values[term->value_count - 1];
    bool has_low = term->kind != EXPRESSION_LT && term->kind != EXPRESSION_LE;
    bool has_high = term->kind != EXPRESSION_GT && term->kind != EXPRESSION_GE;
    size_t end_bytes = first->type == ITEM_N ? 0 : TABLE_KEY_END_BYTES;

    buffer_put_slice(&prefix, buffer_slice(&range->low));
    if (has_low) {
        buffer_clear(&range->low);
        put_prefix(&range->low, buffer_slice(&prefix), first);
        if (term->kind == EXPRESSION_GT)
            table_key_after_prefix(&range->low);
        if (term->kind == EXPRESSION_BEGINS_WITH)
            range->low.size -= end_bytes;
    }
    if (has_high) {
        buffer_clear(&range->high);
        put_prefix(&range->high, buffer_slice(&prefix), last);
        if (term->kind == EXPRESSION_BEGINS_WITH)
            range->high.size -= end_bytes;
        if (term->kind != EXPRESSION_LT)
            table_key_after_prefix(&range->high);
    }
    buffer_close(&prefix);
}

void dynamodb_key_range_of(struct arena *arena, const struct table_schema *schema,
                           struct slice prefix, const struct dynamodb_key_terms *terms,
                           struct dynamodb_key_range *range)
{
    const struct dynamodb_key_term *hash = find_term(terms, schema->parts[0].name);
    const struct dynamodb_key_term *sort =
        schema->part_count > 1 ? find_term(terms, schema->parts[1].name) : NULL;

    CHECK(hash != NULL);
    put_prefix(&range->low, prefix, hash->values[0]);
    range->hash_part =
        arena_copy(arena, slice_of(range->low.data + prefix.size, range->low.size - prefix.size));
    buffer_put_slice(&range->high, buffer_slice(&range->low));
    table_key_after_prefix(&range->high);
    range->has_sort = sort != NULL;
    if (sort != NULL)
        narrow(range, sort);
}

bool dynamodb_key_term_holds(const struct dynamodb_key_terms *terms,
                             const struct table_key_part *part, const struct item_value *attributes)
{
    const struct dynamodb_key_term *term = find_term(terms, part->name);
    struct item_value value;
    int order;

    if (term == NULL || !item_find(attributes, part->name, &value))
        return false;
    if (term->kind == EXPRESSION_BEGINS_WITH)
        return slice_starts_with(value.bytes, term->values[0]->bytes);
    order = item_compare(&value, term->values[0]);
    if (term->kind == EXPRESSION_BETWEEN)
        return order >= 0 && item_compare(&value, term->values[1]) <= 0;
    if (term->kind == EXPRESSION_EQ)
        return order == 0;
    if (term->kind == EXPRESSION_LT || term->kind == EXPRESSION_LE)
        return order < 0 || (order == 0 && term->kind == EXPRESSION_LE);
    return order > 0 || (order == 0 && term->kind == EXPRESSION_GE);
}

/* ---- filters
 * -------------------------------------------------------------------------------------- */

const struct table_key_part *dynamodb_key_in_filter(const struct table_schema *schema,
                                                    const struct expression *filter)
{
    const struct table_key_part *found = NULL;

    if (filter->kind == EXPRESSION_PATH) {
        for (size_t part = 0; part < schema->part_count && found == NULL; part++)
            if (slice_equal(schema->parts[part].name, filter->path.steps[0].name))
                found = &schema->parts[part];
        return found;
    }
    for (size_t i = 0; i < filter->child_count && found == NULL; i++)
        found = dynamodb_key_in_filter(schema, filter->children[i]);
    return found;
}
