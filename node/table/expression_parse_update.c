#include "node/table/expression_operand.h"
#include "node/table/expression_parser.h"
#include "proto/base/check.h"

/* A sum; a single term stands for itself. */
static struct expression *parse_sum(struct parser *parser)
{
    struct expression *children[2] = {operand_parse(parser)};
    bool is_plus = tokens_at_sign(&parser->tokens, "+");

    if (children[0] == NULL || (!is_plus && !tokens_at_sign(&parser->tokens, "-")))
        return children[0];
    parser->operators++;
    tokens_next(&parser->tokens);
    children[1] = operand_parse(parser);
    if (children[1] == NULL)
        return NULL;
    for (size_t i = 0; i < 2; i++) {
        operand_check_type(parser, is_plus ? "+" : "-", children[i], 1u << ITEM_N);
        if (children[i]->kind == EXPRESSION_LIST_APPEND)
            operand_wrong_type(parser, is_plus ? "+" : "-", ITEM_L);
    }
    return parser_node(parser, is_plus ? EXPRESSION_PLUS : EXPRESSION_MINUS, children, 2);
}

/* The literal operand of ADD or DELETE. */
static const struct expression *parse_action_value(struct parser *parser, const char *keyword,
                                                   unsigned types)
{
    const struct expression *operand;

    if (parser->tokens.at.kind != TOKEN_VALUE)
        return parser_syntax_error(parser);
    operand = operand_parse_value(parser);
    if ((types & 1u << operand->value.type) == 0)
        PARSER_FAULT(
            parser, PARSER_FAULT_ACTION,
            "Incorrect operand type for operator or function; operator: %s, operand type: %s",
            keyword, expression_type_name(operand->value.type));
    return operand;
}

static bool parse_action(struct parser *parser, struct item_update_action *action)
{
    if (!parser_path(parser, &action->path))
        return false;
    switch (action->kind) {
    case ITEM_UPDATE_SET:
        if (parser_expect(parser, "="))
            action->operand = parse_sum(parser);
        break;
    case ITEM_UPDATE_REMOVE:
        return true;
    case ITEM_UPDATE_ADD:
        action->operand = parse_action_value(parser, "ADD", 1u << ITEM_N | TYPES_SETS);
        break;
    case ITEM_UPDATE_DELETE:
        action->operand = parse_action_value(parser, "DELETE", TYPES_SETS);
        break;
    }
    return action->operand != NULL;
}

static void add_action(struct parser *parser, struct item_update *update, size_t *capacity,
                       const struct item_update_action *action)
{
    if (update->action_count == *capacity) {
        struct item_update_action *old = update->actions;

        *capacity = *capacity == 0 ? 8 : *capacity * 2;
        update->actions = arena_alloc(parser->source->arena, *capacity * sizeof(*update->actions));
        if (old != NULL)
            memcpy(update->actions, old, update->action_count * sizeof(*old));
    }
    update->actions[update->action_count++] = *action;
}

static void parse_sections(struct parser *parser, struct item_update *update)
{
    static const char *const keywords[] = {"SET", "REMOVE", "ADD", "DELETE"};
    bool is_seen[ARRAY_COUNT(keywords)] = {0};
    size_t capacity = 0;

    do {
        size_t section = 0;

        while (section < ARRAY_COUNT(keywords) &&
               !token_is_keyword(&parser->tokens.at, keywords[section]))
            section++;
        if (section == ARRAY_COUNT(keywords)) {
            parser_syntax_error(parser);
            return;
        }
        if (is_seen[section])
            PARSER_FAULT(parser, PARSER_FAULT_SECTION,
                         "The \"%s\" section can only be used once in an update expression;",
                         keywords[section]);
        is_seen[section] = true;
        tokens_next(&parser->tokens);
        do {
            struct item_update_action action = {
                .kind = (enum item_update_kind)(ITEM_UPDATE_SET + section)};

            if (!parse_action(parser, &action))
                return;
            add_action(parser, update, &capacity, &action);
        } while (parser_skip(parser, ","));
    } while (parser->tokens.at.kind != TOKEN_END);
}

enum error expression_parse_update(struct expression_source *source, struct slice text,
                                   struct item_update *update)
{
    struct parser parser;
    struct item_update result = {0};
    enum error rc = parser_start(&parser, source, text);

    if (rc != OK)
        return rc;
    parser.is_update = true;
    parser.parse_inner = parse_sum;
    parse_sections(&parser, &result);
    for (size_t i = 1; i < result.action_count && parser.syntax == NULL; i++)
        for (size_t j = 0; j < i; j++)
            parser_check_clash(&parser, &result.actions[j].path, &result.actions[i].path);
    rc = parser_finish(&parser);
    if (rc == OK)
        *update = result;
    return rc;
}
