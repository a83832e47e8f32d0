#include "node/table/expression_operand.h"

#include "proto/base/check.h"

/* ---- text and checks ------------------------------------------------------------------------- */

const char *operand_value_text(struct arena *arena, const struct item_value *value)
{
    if (value->type == ITEM_N) {
        struct number number;
        char text[NUMBER_TEXT_BYTES];

        if (number_unpack(value->bytes, &number) != OK)
            return "";
        number_text(&number, text);
        return arena_printf(arena, "{N:%s}", text);
    }
    if (value->type == ITEM_B)
        return arena_printf(arena, "{B:java.nio.HeapByteBuffer[pos=0 lim=%zu cap=%zu]}",
                            value->bytes.size, value->bytes.size);
    return arena_printf(arena, "{%s:%.*s}", item_type_name(value->type), (int)value->bytes.size,
                        (const char *)value->bytes.data);
}

void operand_check_distinct(struct parser *parser, const char *operator,
                            const struct expression * node)
{
    const struct expression *first = node->children[0];

    for (size_t i = 1; i < node->child_count && first->kind == EXPRESSION_PATH; i++)
        if (node->children[i]->kind == EXPRESSION_PATH &&
            parser_paths_equal(&first->path, &node->children[i]->path)) {
            PARSER_FAULT(
                parser, PARSER_FAULT_DISTINCT,
                "The first operand must be distinct from the remaining operands for this operator "
                "or function; operator: %s, first operand: %s",
                operator, expression_path_text(parser->source->arena, &first->path));
            return;
        }
}

void operand_wrong_type(struct parser *parser, const char *operator, enum item_type type)
{
    PARSER_FAULT(
        parser, PARSER_FAULT_TYPE,
        "Incorrect operand type for operator or function; operator or function: %s, operand "
        "type: %s",
        operator, item_type_name(type));
}

/* A literal operand must be of one of the types; what a path leads to is seen later. A computed
 * size is a number. */
void operand_check_type(struct parser *parser, const char *operator,
                        const struct expression * operand, unsigned types)
{
    enum item_type type = operand->kind == EXPRESSION_SIZE ? ITEM_N : operand->value.type;

    if (operand->kind != EXPRESSION_VALUE && operand->kind != EXPRESSION_SIZE)
        return;
    if ((types & 1u << type) == 0)
        operand_wrong_type(parser, operator, type);
}

/* ---- values and paths ------------------------------------------------------------------------ */

struct expression *operand_parse_value(struct parser *parser)
{
    struct slice placeholder = parser->tokens.at.text;
    struct expression_binding *binding = parser_find_binding(&parser->source->values, placeholder);
    struct expression *node = parser_node(parser, EXPRESSION_VALUE, NULL, 0);

    tokens_next(&parser->tokens);
    if (binding == NULL) {
        node->value.type = ITEM_NULL;
        PARSER_FAULT(
            parser, parser->is_update ? PARSER_FAULT_VALUE : PARSER_FAULT_NAME,
            "An expression attribute value used in expression is not defined; attribute value: "
            "%.*s",
            (int)placeholder.size, (const char *)placeholder.data);
    } else {
        node->value = binding->value;
        binding->is_used = true;
    }
    return node;
}

static struct expression *parse_path_node(struct parser *parser)
{
    struct expression_path path;

    if (!parser_path(parser, &path))
        return NULL;
    struct expression *node = parser_node(parser, EXPRESSION_PATH, NULL, 0);

    node->path = path;
    return node;
}

/* ---- functions ----------------------------------------------------------------------------- */

struct function {
    const char *name;
    enum expression_kind kind;
    size_t operand_count;
    bool is_for_update;
    bool wants_path; /* as its first operand */
};

static const struct function functions[] = {
    {"attribute_exists", EXPRESSION_EXISTS, 1, false, true},
    {"attribute_not_exists", EXPRESSION_NOT_EXISTS, 1, false, true},
    {"attribute_type", EXPRESSION_TYPE, 2, false, false},
    {"begins_with", EXPRESSION_BEGINS_WITH, 2, false, false},
    {"contains", EXPRESSION_CONTAINS, 2, false, false},
    {"size", EXPRESSION_SIZE, 1, false, false},
    {"if_not_exists", EXPRESSION_IF_NOT_EXISTS, 2, true, true},
    {"list_append", EXPRESSION_LIST_APPEND, 2, true, false},
};

static const struct function *find_function(struct slice name)
{
    for (size_t i = 0; i < ARRAY_COUNT(functions); i++)
        if (slice_equal_text(name, functions[i].name))
            return &functions[i];
    return NULL;
}

const char *operand_function_name(enum expression_kind kind)
{
    for (size_t i = 0; i < ARRAY_COUNT(functions); i++)
        if (functions[i].kind == kind)
            return functions[i].name;
    return NULL;
}

static void check_attribute_type(struct parser *parser, const struct expression *operand)
{
    operand_check_type(parser, "attribute_type", operand, 1u << ITEM_S);
    if (operand->kind != EXPRESSION_VALUE) {
        if (operand->kind == EXPRESSION_PATH)
            PARSER_FAULT(parser, PARSER_FAULT_TYPE,
                         "Incorrect operand type for operator or function; operator or function: "
                         "attribute_type, operand type: {NS,SS,L,BS,N,M,B,BOOL,NULL,S}");
        return;
    }
    for (unsigned type = ITEM_S; type <= ITEM_BS && operand->value.type == ITEM_S; type++)
        if (slice_equal_text(operand->value.bytes, item_type_name((enum item_type)type)))
            return;
    PARSER_FAULT(parser, PARSER_FAULT_TYPE,
                 "Invalid attribute type name found; type: %.*s, valid types: "
                 "{B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
                 (int)operand->value.bytes.size, (const char *)operand->value.bytes.data);
}

static void check_function(struct parser *parser, const struct function *function,
                           const struct expression *node)
{
    if (node->child_count != function->operand_count) {
        PARSER_FAULT(
            parser, PARSER_FAULT_OPERANDS,
            "Incorrect number of operands for operator or function; operator or function: %s, "
            "number of operands: %zu",
            function->name, node->child_count);
        return;
    }
    if (function->wants_path && node->children[0]->kind != EXPRESSION_PATH)
        PARSER_FAULT(parser, PARSER_FAULT_TYPE,
                     "Operator or function requires a document path; operator or function: %s",
                     function->name);
    if (!function->is_for_update)
        operand_check_distinct(parser, function->name, node);
    if (node->kind == EXPRESSION_TYPE)
        check_attribute_type(parser, node->children[1]);
    if (node->kind == EXPRESSION_SIZE)
        operand_check_type(parser, function->name, node->children[0], TYPES_SIZED);
    for (size_t i = 0; i < node->child_count; i++) {
        if (node->kind == EXPRESSION_BEGINS_WITH)
            operand_check_type(parser, function->name, node->children[i], TYPES_TEXT);
        if (node->kind == EXPRESSION_LIST_APPEND)
            operand_check_type(parser, function->name, node->children[i], 1u << ITEM_L);
    }
}

/* Conditions are no operands of a function. */
static void check_nested(struct parser *parser, const struct expression *operand)
{
    if (expression_is_condition(operand->kind)) {
        const char *name = operand_function_name(operand->kind);

        if (name != NULL)
            PARSER_FAULT(
                parser, PARSER_FAULT_MISUSE,
                "The function is not allowed to be used this way in an expression; function: %s",
                name);
        else
            parser_syntax_error(parser);
    }
}

static struct expression *parse_function(struct parser *parser)
{
    struct slice name = parser->tokens.at.text;
    const struct function *function = find_function(name);
    struct parser_children *children = arena_alloc(parser->source->arena, sizeof(*children));
    struct expression *node;

    tokens_next(&parser->tokens);
    parser->operators++;
    if (!parser_expect(parser, "(") || !parser_enter(parser))
        return NULL;
    do {
        /* in an update, sums are not nested */
        struct expression *child =
            parser->is_update ? operand_parse(parser) : parser->parse_inner(parser);

        if (child == NULL)
            return NULL;
        check_nested(parser, child);
        if (parser->syntax != NULL)
            return NULL;
        if (children->count < PARSER_CHILDREN_MAX)
            children->items[children->count++] = child;
    } while (parser_skip(parser, ","));
    if (!parser_expect(parser, ")"))
        return NULL;
    parser->depth--;
    if (function == NULL) {
        PARSER_FAULT(parser, PARSER_FAULT_FUNCTION, "Invalid function name; function: %.*s",
                     (int)name.size, (const char *)name.data);
        return parser_node(parser, EXPRESSION_EXISTS, children->items, 1);
    }
    if (function->is_for_update != parser->is_update)
        PARSER_FAULT(parser, PARSER_FAULT_FUNCTION,
                     "The function is not allowed in %s expression; function: %s",
                     parser->is_update ? "an update" : "a condition", function->name);
    node = parser_node(parser, function->kind, children->items, children->count);
    check_function(parser, function, node);
    return node;
}

struct expression *operand_parse(struct parser *parser)
{
    struct expression *inner;

    if (parser->tokens.at.kind == TOKEN_VALUE)
        return operand_parse_value(parser);
    if (parser->tokens.at.kind == TOKEN_WORD) {
        struct token next = tokens_peek(&parser->tokens);

        if (next.kind == TOKEN_SIGN && slice_equal_text(next.text, "("))
            return parse_function(parser);
    }
    if (parser_at_name(parser))
        return parse_path_node(parser);
    if (!tokens_at_sign(&parser->tokens, "("))
        return parser_syntax_error(parser);
    tokens_next(&parser->tokens);
    if (!parser_enter(parser))
        return NULL;
    inner = parser->parse_inner(parser);
    if (inner == NULL || !parser_expect(parser, ")"))
        return NULL;
    parser->depth--;
    if (inner->has_parentheses)
        PARSER_FAULT(parser, PARSER_FAULT_PARENTHESES, "The expression has redundant parentheses;");
    inner->has_parentheses = true;
    return inner;
}
