#include "node/table/expression_operand.h"
#include "node/table/expression_parser.h"
#include "proto/base/check.h"

static struct expression *parse_or(struct parser *parser);

/* ---- conditions ---------------------------------------------------------------------------- */

/* An operand of a comparison, or NULL. */
static struct expression *parse_operand(struct parser *parser)
{
    struct expression *node = operand_parse(parser);

    if (node == NULL || !expression_is_condition(node->kind))
        return node;
    if (operand_function_name(node->kind) == NULL)
        return parser_syntax_error(parser);
    PARSER_FAULT(parser, PARSER_FAULT_MISUSE,
                 "The function is not allowed to be used this way in an expression; function: %s",
                 operand_function_name(node->kind));
    return node;
}

static enum expression_kind comparator_at(const struct tokens *tokens)
{
    static const struct {
        const char *sign;
        enum expression_kind kind;
    } comparators[] = {{"=", EXPRESSION_EQ},  {"<>", EXPRESSION_NE}, {"<", EXPRESSION_LT},
                       {"<=", EXPRESSION_LE}, {">", EXPRESSION_GT},  {">=", EXPRESSION_GE}};

    for (size_t i = 0; i < ARRAY_COUNT(comparators); i++)
        if (tokens_at_sign(tokens, comparators[i].sign))
            return comparators[i].kind;
    return EXPRESSION_PATH;
}

static struct expression *parse_comparison(struct parser *parser, struct expression *left,
                                           enum expression_kind kind)
{
    const char *sign = arena_text(parser->source->arena, parser->tokens.at.text);
    struct expression *children[2] = {left};
    struct expression *node;

    parser->operators++;
    tokens_next(&parser->tokens);
    children[1] = parse_operand(parser);
    if (children[1] == NULL)
        return NULL;
    node = parser_node(parser, kind, children, 2);
    operand_check_distinct(parser, sign, node);
    for (size_t i = 0; i < 2 && kind >= EXPRESSION_LT; i++)
        operand_check_type(parser, sign, children[i], TYPES_ORDERED);
    return node;
}

static void check_bounds(struct parser *parser, const struct expression *low,
                         const struct expression *high)
{
    struct arena *arena = parser->source->arena;

    if (low->kind != EXPRESSION_VALUE || high->kind != EXPRESSION_VALUE)
        return;
    if (low->value.type != high->value.type)
        PARSER_FAULT(
            parser, PARSER_FAULT_TYPE,
            "The BETWEEN operator requires same data type for lower and upper bounds; lower "
            "bound operand: AttributeValue: %s, upper bound operand: AttributeValue: %s",
            operand_value_text(arena, &low->value), operand_value_text(arena, &high->value));
    else if (item_compare(&low->value, &high->value) > 0)
        PARSER_FAULT(
            parser, PARSER_FAULT_TYPE,
            "The BETWEEN operator requires upper bound to be greater than or equal to lower "
            "bound; lower bound operand: AttributeValue: %s, upper bound operand: "
            "AttributeValue: %s",
            operand_value_text(arena, &low->value), operand_value_text(arena, &high->value));
}

static struct expression *parse_between(struct parser *parser, struct expression *left)
{
    struct expression *children[3] = {left};
    struct expression *node;

    parser->operators++;
    tokens_next(&parser->tokens);
    children[1] = parse_operand(parser);
    if (children[1] == NULL)
        return NULL;
    if (!token_is_keyword(&parser->tokens.at, "AND"))
        return parser_syntax_error(parser);
    tokens_next(&parser->tokens);
    children[2] = parse_operand(parser);
    if (children[2] == NULL)
        return NULL;
    node = parser_node(parser, EXPRESSION_BETWEEN, children, 3);
    operand_check_distinct(parser, "BETWEEN", node);
    for (size_t i = 0; i < 3; i++)
        operand_check_type(parser, "BETWEEN", children[i], TYPES_ORDERED);
    check_bounds(parser, children[1], children[2]);
    return node;
}

static struct expression *parse_in(struct parser *parser, struct expression *left)
{
    struct parser_children *children = arena_alloc(parser->source->arena, sizeof(*children));
    struct expression *node;
    size_t count = 0;

    parser->operators++;
    tokens_next(&parser->tokens);
    if (!parser_expect(parser, "("))
        return NULL;
    children->items[children->count++] = left;
    do {
        struct expression *child = parse_operand(parser);

        if (child == NULL)
            return NULL;
        if (++count <= EXPRESSION_IN_MAX)
            children->items[children->count++] = child;
    } while (parser_skip(parser, ","));
    if (!parser_expect(parser, ")"))
        return NULL;
    if (count > EXPRESSION_IN_MAX)
        PARSER_FAULT(parser, PARSER_FAULT_OPERANDS,
                     "The IN operator is provided with too many operands; number of operands: %zu",
                     count);
    node = parser_node(parser, EXPRESSION_IN, children->items, children->count);
    operand_check_distinct(parser, "IN", node);
    return node;
}

static struct expression *parse_unsettled(struct parser *parser)
{
    struct expression *left = operand_parse(parser);
    enum expression_kind kind = comparator_at(&parser->tokens);
    bool is_between = token_is_keyword(&parser->tokens.at, "BETWEEN");
    bool is_in = token_is_keyword(&parser->tokens.at, "IN");

    if (left == NULL || (kind == EXPRESSION_PATH && !is_between && !is_in))
        return left;
    if (expression_is_condition(left->kind)) {
        if (operand_function_name(left->kind) == NULL)
            return parser_syntax_error(parser);
        PARSER_FAULT(
            parser, PARSER_FAULT_MISUSE,
            "The function is not allowed to be used this way in an expression; function: %s",
            operand_function_name(left->kind));
    }
    if (is_between)
        return parse_between(parser, left);
    return is_in ? parse_in(parser, left) : parse_comparison(parser, left, kind);
}

/* A condition, or an operand that nothing is done with. */
static struct expression *parse_predicate(struct parser *parser)
{
    struct expression *node = parse_unsettled(parser);

    if (node != NULL && expression_is_condition(node->kind))
        parser_settle(parser);
    return node;
}

/* Where a condition must stand. */
static struct expression *require_condition(struct parser *parser, struct expression *node)
{
    if (node == NULL || expression_is_condition(node->kind))
        return node;
    if (node->kind != EXPRESSION_SIZE)
        return parser_syntax_error(parser);
    PARSER_FAULT(parser, PARSER_FAULT_MISUSE,
                 "The function is not allowed to be used this way in an expression; function: "
                 "size");
    return node;
}

static struct expression *parse_not(struct parser *parser)
{
    struct expression *child;

    if (!token_is_keyword(&parser->tokens.at, "NOT"))
        return parse_predicate(parser);
    tokens_next(&parser->tokens);
    parser->operators++;
    if (!parser_enter(parser))
        return NULL;
    child = require_condition(parser, parse_not(parser));
    parser->depth--;
    return child != NULL ? parser_node(parser, EXPRESSION_NOT, &child, 1) : NULL;
}

/* One level of a chain: `next` joined by `keyword`. A single one stands for itself, and may then be
 * an operand in parentheses. */
static struct expression *parse_chain(struct parser *parser, const char *keyword,
                                      enum expression_kind kind,
                                      struct expression *(*next)(struct parser *parser))
{
    struct expression *first = next(parser);
    struct parser_children *children;

    if (first == NULL || !token_is_keyword(&parser->tokens.at, keyword))
        return first;
    children = arena_alloc(parser->source->arena, sizeof(*children));
    children->items[children->count++] = require_condition(parser, first);
    while (parser->syntax == NULL && token_is_keyword(&parser->tokens.at, keyword)) {
        struct expression *child;

        tokens_next(&parser->tokens);
        parser->operators++;
        child = require_condition(parser, next(parser));
        if (child != NULL && children->count < PARSER_CHILDREN_MAX)
            children->items[children->count++] = child;
    }
    if (parser->syntax != NULL)
        return NULL;
    return parser_node(parser, kind, children->items, children->count);
}

static struct expression *parse_and(struct parser *parser)
{
    return parse_chain(parser, "AND", EXPRESSION_AND, parse_not);
}

static struct expression *parse_or(struct parser *parser)
{
    return parse_chain(parser, "OR", EXPRESSION_OR, parse_and);
}

/* ---- entry points -------------------------------------------------------------------------- */

enum error expression_parse_condition(struct expression_source *source, struct slice text,
                                      const struct expression **condition)
{
    struct parser parser;
    enum error rc = parser_start(&parser, source, text);

    if (rc != OK)
        return rc;
    parser.parse_inner = parse_or;
    struct expression *node = require_condition(&parser, parse_or(&parser));

    rc = parser_finish(&parser);
    if (rc == OK)
        *condition = node;
    return rc;
}

enum error expression_parse_projection(struct expression_source *source, struct slice text,
                                       struct expression_paths *projection)
{
    struct parser parser;
    struct expression_paths result = {0};
    enum error rc = parser_start(&parser, source, text);

    if (rc != OK)
        return rc;
    parser.is_projection = true;
    result.paths = arena_alloc(source->arena, (text.size / 2 + 1) * sizeof(*result.paths));
    do {
        if (!parser_path(&parser, &result.paths[result.count]))
            break;
        for (size_t i = 0; i < result.count; i++)
            parser_check_clash(&parser, &result.paths[i], &result.paths[result.count]);
        result.count++;
    } while (parser_skip(&parser, ","));
    rc = parser_finish(&parser);
    if (rc == OK)
        *projection = result;
    return rc;
}
