#include "node/table/expression_parse.h"

#include "node/table/expression_token.h"
#include "proto/base/check.h"

#define NESTING_MAX 100 /* of parentheses and functions in the text */
#define CHILDREN_MAX (EXPRESSION_OPERATORS_MAX + 1)

struct parser {
    struct expression_source *source;
    struct tokens tokens;
    bool is_update;
    unsigned depth;
    unsigned operators;
    const char *syntax; /* the fault that ended the parse */
    const char *fault;  /* the first other one */
};

struct children { /* gathered before their number is known */
    struct expression *items[CHILDREN_MAX];
    size_t count;
};

static struct expression *parse_or(struct parser *parser);
static struct expression *parse_sum(struct parser *parser);

/* ---- faults -------------------------------------------------------------------------------- */

static struct expression *syntax_error(struct parser *parser)
{
    if (parser->syntax == NULL)
        parser->syntax = tokens_syntax_error(&parser->tokens, parser->source->arena);
    return NULL;
}

/* Notes the first fault that is not of syntax; parsing goes on, for a fault of syntax is told
 * before it. */
#define FAULT(parser, ...)                                                                         \
    do {                                                                                           \
        if ((parser)->fault == NULL)                                                               \
            (parser)->fault = arena_printf((parser)->source->arena, __VA_ARGS__);                  \
    } while (0)

static bool expect_sign(struct parser *parser, const char *sign)
{
    if (!tokens_at_sign(&parser->tokens, sign)) {
        syntax_error(parser);
        return false;
    }
    tokens_next(&parser->tokens);
    return true;
}

static bool skip_sign(struct parser *parser, const char *sign)
{
    if (!tokens_at_sign(&parser->tokens, sign))
        return false;
    tokens_next(&parser->tokens);
    return true;
}

static bool enter(struct parser *parser)
{
    if (++parser->depth <= NESTING_MAX)
        return true;
    syntax_error(parser);
    return false;
}

static void count_operator(struct parser *parser)
{
    parser->operators++;
}

/* ---- text of operands, for messages -------------------------------------------------------- */

const char *expression_path_text(struct arena *arena, const struct expression_path *path)
{
    const char *text = "";

    for (size_t i = 0; i < path->step_count; i++) {
        const struct expression_step *step = &path->steps[i];
        const char *comma = i > 0 ? ", " : "";

        if (step->name.data != NULL)
            text = arena_printf(arena, "%s%s%.*s", text, comma, (int)step->name.size,
                                (const char *)step->name.data);
        else
            text = arena_printf(arena, "%s%s[%u]", text, comma, step->index);
    }
    return arena_printf(arena, "[%s]", text);
}

static const char *value_text(struct arena *arena, const struct item_value *value)
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

/* ---- nodes --------------------------------------------------------------------------------- */

static struct expression *new_node(struct parser *parser, enum expression_kind kind,
                                   struct expression *const *children, size_t count)
{
    struct expression *node = arena_alloc(parser->source->arena, sizeof(*node));

    node->kind = kind;
    node->child_count = count;
    if (count > 0) {
        node->children = arena_alloc(parser->source->arena, count * sizeof(*node->children));
        memcpy(node->children, children, count * sizeof(*node->children));
    }
    return node;
}

static bool paths_equal(const struct expression_path *a, const struct expression_path *b)
{
    if (a->step_count != b->step_count)
        return false;
    for (size_t i = 0; i < a->step_count; i++) {
        bool a_is_name = a->steps[i].name.data != NULL;

        if (a_is_name != (b->steps[i].name.data != NULL))
            return false;
        if (a_is_name ? !slice_equal(a->steps[i].name, b->steps[i].name)
                      : a->steps[i].index != b->steps[i].index)
            return false;
    }
    return true;
}

static void check_distinct(struct parser *parser, const char *operator,
                           const struct expression * node)
{
    const struct expression *first = node->children[0];

    for (size_t i = 1; i < node->child_count && first->kind == EXPRESSION_PATH; i++)
        if (node->children[i]->kind == EXPRESSION_PATH &&
            paths_equal(&first->path, &node->children[i]->path)) {
            FAULT(
                parser,
                "The first operand must be distinct from the remaining operands for this operator "
                "or function; operator: %s, first operand: %s",
                operator, expression_path_text(parser->source->arena, &first->path));
            return;
        }
}

static void wrong_type(struct parser *parser, const char *operator, enum item_type type)
{
    FAULT(parser,
          "Incorrect operand type for operator or function; operator or function: %s, operand "
          "type: %s",
          operator, item_type_name(type));
}

/* A literal operand must be of one of the types; what a path leads to is seen later. A computed
 * size is a number. */
static void check_type(struct parser *parser, const char *operator,
                       const struct expression * operand, unsigned types)
{
    enum item_type type = operand->kind == EXPRESSION_SIZE ? ITEM_N : operand->value.type;

    if (operand->kind != EXPRESSION_VALUE && operand->kind != EXPRESSION_SIZE)
        return;
    if ((types & 1u << type) == 0)
        wrong_type(parser, operator, type);
}

#define TYPES_ORDERED (1u << ITEM_S | 1u << ITEM_N | 1u << ITEM_B)
#define TYPES_TEXT (1u << ITEM_S | 1u << ITEM_B)
#define TYPES_SETS (1u << ITEM_SS | 1u << ITEM_NS | 1u << ITEM_BS)
#define TYPES_SIZED (TYPES_TEXT | TYPES_SETS | 1u << ITEM_M | 1u << ITEM_L)

/* ---- paths and values ---------------------------------------------------------------------- */

static struct expression_binding *find_binding(const struct expression_bindings *bindings,
                                               struct slice placeholder)
{
    size_t low = 0;
    size_t high = bindings->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_compare(bindings->entries[middle].placeholder, placeholder);

        if (order == 0)
            return &bindings->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static struct expression *parse_value(struct parser *parser)
{
    struct slice placeholder = parser->tokens.at.text;
    struct expression_binding *binding = find_binding(&parser->source->values, placeholder);
    struct expression *node = new_node(parser, EXPRESSION_VALUE, NULL, 0);

    tokens_next(&parser->tokens);
    if (binding == NULL) {
        node->value.type = ITEM_NULL;
        FAULT(parser,
              "An expression attribute value used in expression is not defined; attribute value: "
              "%.*s",
              (int)placeholder.size, (const char *)placeholder.data);
    } else {
        node->value = binding->value;
        binding->is_used = true;
    }
    return node;
}

/* The attribute name at hand: a word as it is, or what stands for a #name. */
static struct slice step_name(struct parser *parser)
{
    struct slice text = parser->tokens.at.text;
    struct expression_binding *binding;

    if (parser->tokens.at.kind == TOKEN_WORD) {
        if (expression_is_reserved(text))
            FAULT(parser, "Attribute name is a reserved keyword; reserved keyword: %.*s",
                  (int)text.size, (const char *)text.data);
        return text;
    }
    binding = find_binding(&parser->source->names, text);
    if (binding != NULL) {
        binding->is_used = true;
        return binding->name;
    }
    FAULT(parser,
          "An expression attribute name used in the document path is not defined; attribute name: "
          "%.*s",
          (int)text.size, (const char *)text.data);
    return text;
}

static uint32_t list_index(struct parser *parser)
{
    struct slice text = parser->tokens.at.text;
    uint64_t index = 0;

    for (size_t i = 0; i < text.size && index <= UINT32_MAX; i++)
        index = index * 10 + (uint64_t)(text.data[i] - '0');
    if (index <= INT32_MAX)
        return (uint32_t)index;
    FAULT(parser, "List index is not within the allowable range; index: [%.*s]", (int)text.size,
          (const char *)text.data);
    return 0;
}

static bool at_name(const struct parser *parser)
{
    return parser->tokens.at.kind == TOKEN_WORD || parser->tokens.at.kind == TOKEN_NAME;
}

static bool parse_path(struct parser *parser, struct expression_path *path)
{
    struct expression_step steps[EXPRESSION_STEPS_MAX];
    size_t count = 0;

    if (!at_name(parser)) {
        syntax_error(parser);
        return false;
    }
    for (;;) {
        struct expression_step step = {0};

        if (at_name(parser)) {
            step.name = step_name(parser);
        } else if (parser->tokens.at.kind == TOKEN_NUMBER) {
            step.index = list_index(parser);
        } else {
            syntax_error(parser);
            return false;
        }
        tokens_next(&parser->tokens);
        if (step.name.data == NULL && !expect_sign(parser, "]"))
            return false;
        if (count < EXPRESSION_STEPS_MAX)
            steps[count] = step;
        count++;
        if (skip_sign(parser, ".")) {
            if (at_name(parser))
                continue;
        } else if (skip_sign(parser, "[")) {
            if (parser->tokens.at.kind == TOKEN_NUMBER)
                continue;
        } else {
            break;
        }
        syntax_error(parser);
        return false;
    }
    if (count > EXPRESSION_STEPS_MAX) {
        FAULT(parser, "The document path has too many nesting elements; nesting levels: %zu",
              count);
        count = EXPRESSION_STEPS_MAX;
    }
    path->steps = arena_alloc(parser->source->arena, count * sizeof(*steps));
    memcpy(path->steps, steps, count * sizeof(*steps));
    path->step_count = count;
    return true;
}

static struct expression *parse_path_node(struct parser *parser)
{
    struct expression_path path;

    if (!parse_path(parser, &path))
        return NULL;
    struct expression *node = new_node(parser, EXPRESSION_PATH, NULL, 0);

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

static const char *kind_function_name(enum expression_kind kind)
{
    for (size_t i = 0; i < ARRAY_COUNT(functions); i++)
        if (functions[i].kind == kind)
            return functions[i].name;
    return NULL;
}

static void check_attribute_type(struct parser *parser, const struct expression *operand)
{
    check_type(parser, "attribute_type", operand, 1u << ITEM_S);
    if (operand->kind != EXPRESSION_VALUE) {
        if (operand->kind == EXPRESSION_PATH)
            FAULT(parser, "Incorrect operand type for operator or function; operator or function: "
                          "attribute_type, operand type: {NS,SS,L,BS,N,M,B,BOOL,NULL,S}");
        return;
    }
    for (unsigned type = ITEM_S; type <= ITEM_BS && operand->value.type == ITEM_S; type++)
        if (slice_equal_text(operand->value.bytes, item_type_name((enum item_type)type)))
            return;
    FAULT(parser,
          "Invalid attribute type name found; type: %.*s, valid types: "
          "{B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
          (int)operand->value.bytes.size, (const char *)operand->value.bytes.data);
}

static void check_function(struct parser *parser, const struct function *function,
                           const struct expression *node)
{
    if (node->child_count != function->operand_count) {
        FAULT(parser,
              "Incorrect number of operands for operator or function; operator or function: %s, "
              "number of operands: %zu",
              function->name, node->child_count);
        return;
    }
    if (function->wants_path && node->children[0]->kind != EXPRESSION_PATH)
        FAULT(parser, "Operator or function requires a document path; operator or function: %s",
              function->name);
    if (!function->is_for_update)
        check_distinct(parser, function->name, node);
    if (node->kind == EXPRESSION_TYPE)
        check_attribute_type(parser, node->children[1]);
    if (node->kind == EXPRESSION_SIZE)
        check_type(parser, function->name, node->children[0], TYPES_SIZED);
    for (size_t i = 0; i < node->child_count; i++) {
        if (node->kind == EXPRESSION_BEGINS_WITH)
            check_type(parser, function->name, node->children[i], TYPES_TEXT);
        if (node->kind == EXPRESSION_LIST_APPEND)
            check_type(parser, function->name, node->children[i], 1u << ITEM_L);
    }
}

/* Conditions and nested sums are no operands of a function; size of a size neither. */
static void check_nested(struct parser *parser, const struct expression *operand)
{
    if (expression_is_condition(operand->kind) || operand->kind == EXPRESSION_SIZE) {
        const char *name = kind_function_name(operand->kind);

        if (name != NULL)
            FAULT(parser,
                  "The function is not allowed to be used this way in an expression; function: %s",
                  name);
        else
            syntax_error(parser);
    }
}

static struct expression *parse_function(struct parser *parser)
{
    struct slice name = parser->tokens.at.text;
    const struct function *function = find_function(name);
    struct children *children = arena_alloc(parser->source->arena, sizeof(*children));
    struct expression *node;

    tokens_next(&parser->tokens);
    count_operator(parser);
    if (!expect_sign(parser, "(") || !enter(parser))
        return NULL;
    do {
        struct expression *child = parser->is_update ? parse_sum(parser) : parse_or(parser);

        if (child == NULL)
            return NULL;
        check_nested(parser, child);
        if (parser->syntax != NULL)
            return NULL;
        if (children->count < CHILDREN_MAX)
            children->items[children->count++] = child;
    } while (skip_sign(parser, ","));
    if (!expect_sign(parser, ")"))
        return NULL;
    parser->depth--;
    if (function == NULL) {
        FAULT(parser, "Invalid function name; function: %.*s", (int)name.size,
              (const char *)name.data);
        return new_node(parser, EXPRESSION_EXISTS, children->items, 1);
    }
    if (function->is_for_update != parser->is_update)
        FAULT(parser,
              "The function is not allowed to be used this way in an expression; function: %s",
              function->name);
    node = new_node(parser, function->kind, children->items, children->count);
    check_function(parser, function, node);
    return node;
}

static struct expression *parse_primary(struct parser *parser)
{
    struct expression *inner;

    if (parser->tokens.at.kind == TOKEN_VALUE)
        return parse_value(parser);
    if (parser->tokens.at.kind == TOKEN_WORD) {
        struct token next = tokens_peek(&parser->tokens);

        if (next.kind == TOKEN_SIGN && slice_equal_text(next.text, "("))
            return parse_function(parser);
    }
    if (at_name(parser))
        return parse_path_node(parser);
    if (!tokens_at_sign(&parser->tokens, "("))
        return syntax_error(parser);
    tokens_next(&parser->tokens);
    if (!enter(parser))
        return NULL;
    inner = parser->is_update ? parse_sum(parser) : parse_or(parser);
    if (inner == NULL || !expect_sign(parser, ")"))
        return NULL;
    parser->depth--;
    if (inner->has_parentheses)
        FAULT(parser, "The expression has redundant parentheses;");
    inner->has_parentheses = true;
    return inner;
}

/* ---- conditions ---------------------------------------------------------------------------- */

/* An operand of a comparison, or NULL. */
static struct expression *parse_operand(struct parser *parser)
{
    struct expression *node = parse_primary(parser);

    if (node == NULL || !expression_is_condition(node->kind))
        return node;
    if (kind_function_name(node->kind) == NULL)
        return syntax_error(parser);
    FAULT(parser, "The function is not allowed to be used this way in an expression; function: %s",
          kind_function_name(node->kind));
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

    count_operator(parser);
    tokens_next(&parser->tokens);
    children[1] = parse_operand(parser);
    if (children[1] == NULL)
        return NULL;
    node = new_node(parser, kind, children, 2);
    check_distinct(parser, sign, node);
    for (size_t i = 0; i < 2 && kind >= EXPRESSION_LT; i++)
        check_type(parser, sign, children[i], TYPES_ORDERED);
    return node;
}

static void check_bounds(struct parser *parser, const struct expression *low,
                         const struct expression *high)
{
    struct arena *arena = parser->source->arena;

    if (low->kind != EXPRESSION_VALUE || high->kind != EXPRESSION_VALUE || parser->fault != NULL)
        return;
    if (low->value.type != high->value.type)
        FAULT(parser,
              "The BETWEEN operator requires same data type for lower and upper bounds; lower "
              "bound operand: AttributeValue: %s, upper bound operand: AttributeValue: %s",
              value_text(arena, &low->value), value_text(arena, &high->value));
    else if (item_compare(&low->value, &high->value) > 0)
        FAULT(parser,
              "The BETWEEN operator requires upper bound to be greater than or equal to lower "
              "bound; lower bound operand: AttributeValue: %s, upper bound operand: "
              "AttributeValue: %s",
              value_text(arena, &low->value), value_text(arena, &high->value));
}

static struct expression *parse_between(struct parser *parser, struct expression *left)
{
    struct expression *children[3] = {left};
    struct expression *node;

    count_operator(parser);
    tokens_next(&parser->tokens);
    children[1] = parse_operand(parser);
    if (children[1] == NULL)
        return NULL;
    if (!token_is_keyword(&parser->tokens.at, "AND"))
        return syntax_error(parser);
    tokens_next(&parser->tokens);
    children[2] = parse_operand(parser);
    if (children[2] == NULL)
        return NULL;
    node = new_node(parser, EXPRESSION_BETWEEN, children, 3);
    check_distinct(parser, "BETWEEN", node);
    for (size_t i = 0; i < 3; i++)
        check_type(parser, "BETWEEN", children[i], TYPES_ORDERED);
    check_bounds(parser, children[1], children[2]);
    return node;
}

static struct expression *parse_in(struct parser *parser, struct expression *left)
{
    struct children *children = arena_alloc(parser->source->arena, sizeof(*children));
    struct expression *node;
    size_t count = 0;

    count_operator(parser);
    tokens_next(&parser->tokens);
    if (!expect_sign(parser, "("))
        return NULL;
    children->items[children->count++] = left;
    do {
        struct expression *child = parse_operand(parser);

        if (child == NULL)
            return NULL;
        if (++count <= EXPRESSION_IN_MAX)
            children->items[children->count++] = child;
    } while (skip_sign(parser, ","));
    if (!expect_sign(parser, ")"))
        return NULL;
    if (count > EXPRESSION_IN_MAX)
        FAULT(parser, "The IN operator is provided with too many operands; number of operands: %zu",
              count);
    node = new_node(parser, EXPRESSION_IN, children->items, children->count);
    check_distinct(parser, "IN", node);
    return node;
}

/* A condition, or an operand that nothing is done with. */
static struct expression *parse_predicate(struct parser *parser)
{
    struct expression *left = parse_primary(parser);
    enum expression_kind kind = comparator_at(&parser->tokens);
    bool is_between = token_is_keyword(&parser->tokens.at, "BETWEEN");
    bool is_in = token_is_keyword(&parser->tokens.at, "IN");

    if (left == NULL || (kind == EXPRESSION_PATH && !is_between && !is_in))
        return left;
    if (expression_is_condition(left->kind)) {
        if (kind_function_name(left->kind) == NULL)
            return syntax_error(parser);
        FAULT(parser,
              "The function is not allowed to be used this way in an expression; function: %s",
              kind_function_name(left->kind));
    }
    if (is_between)
        return parse_between(parser, left);
    return is_in ? parse_in(parser, left) : parse_comparison(parser, left, kind);
}

/* Where a condition must stand. */
static struct expression *require_condition(struct parser *parser, struct expression *node)
{
    if (node == NULL || expression_is_condition(node->kind))
        return node;
    if (node->kind != EXPRESSION_SIZE)
        return syntax_error(parser);
    FAULT(parser, "The function is not allowed to be used this way in an expression; function: "
                  "size");
    return node;
}

static struct expression *parse_not(struct parser *parser)
{
    struct expression *child;

    if (!token_is_keyword(&parser->tokens.at, "NOT"))
        return parse_predicate(parser);
    tokens_next(&parser->tokens);
    count_operator(parser);
    if (!enter(parser))
        return NULL;
    child = require_condition(parser, parse_not(parser));
    parser->depth--;
    return child != NULL ? new_node(parser, EXPRESSION_NOT, &child, 1) : NULL;
}

/* One level of a chain: `next` joined by `keyword`. A single one stands for itself, and may then be
 * an operand in parentheses. */
static struct expression *parse_chain(struct parser *parser, const char *keyword,
                                      enum expression_kind kind,
                                      struct expression *(*next)(struct parser *parser))
{
    struct expression *first = next(parser);
    struct children *children;

    if (first == NULL || !token_is_keyword(&parser->tokens.at, keyword))
        return first;
    children = arena_alloc(parser->source->arena, sizeof(*children));
    children->items[children->count++] = require_condition(parser, first);
    while (parser->syntax == NULL && token_is_keyword(&parser->tokens.at, keyword)) {
        struct expression *child;

        tokens_next(&parser->tokens);
        count_operator(parser);
        child = require_condition(parser, next(parser));
        if (child != NULL && children->count < CHILDREN_MAX)
            children->items[children->count++] = child;
    }
    if (parser->syntax != NULL)
        return NULL;
    return new_node(parser, kind, children->items, children->count);
}

static struct expression *parse_and(struct parser *parser)
{
    return parse_chain(parser, "AND", EXPRESSION_AND, parse_not);
}

static struct expression *parse_or(struct parser *parser)
{
    return parse_chain(parser, "OR", EXPRESSION_OR, parse_and);
}

/* ---- updates ------------------------------------------------------------------------------- */

/* A sum; a single term stands for itself. */
static struct expression *parse_sum(struct parser *parser)
{
    struct expression *children[2] = {parse_primary(parser)};
    bool is_plus = tokens_at_sign(&parser->tokens, "+");

    if (children[0] == NULL || (!is_plus && !tokens_at_sign(&parser->tokens, "-")))
        return children[0];
    count_operator(parser);
    tokens_next(&parser->tokens);
    children[1] = parse_primary(parser);
    if (children[1] == NULL)
        return NULL;
    for (size_t i = 0; i < 2; i++) {
        check_type(parser, is_plus ? "+" : "-", children[i], 1u << ITEM_N);
        if (children[i]->kind == EXPRESSION_LIST_APPEND)
            wrong_type(parser, is_plus ? "+" : "-", ITEM_L);
    }
    return new_node(parser, is_plus ? EXPRESSION_PLUS : EXPRESSION_MINUS, children, 2);
}

/* The literal operand of ADD or DELETE. */
static const struct expression *parse_action_value(struct parser *parser, const char *keyword,
                                                   unsigned types)
{
    const struct expression *operand;

    if (parser->tokens.at.kind != TOKEN_VALUE)
        return syntax_error(parser);
    operand = parse_value(parser);
    if ((types & 1u << operand->value.type) == 0)
        FAULT(parser,
              "Incorrect operand type for operator or function; operator: %s, operand type: %s",
              keyword, expression_type_name(operand->value.type));
    return operand;
}

static bool parse_action(struct parser *parser, struct item_update_action *action)
{
    if (!parse_path(parser, &action->path))
        return false;
    switch (action->kind) {
    case ITEM_UPDATE_SET:
        if (expect_sign(parser, "="))
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
            syntax_error(parser);
            return;
        }
        if (is_seen[section])
            FAULT(parser, "The \"%s\" section can only be used once in an update expression;",
                  keywords[section]);
        is_seen[section] = true;
        tokens_next(&parser->tokens);
        do {
            struct item_update_action action = {
                .kind = (enum item_update_kind)(ITEM_UPDATE_SET + section)};

            if (!parse_action(parser, &action))
                return;
            add_action(parser, update, &capacity, &action);
        } while (skip_sign(parser, ","));
    } while (parser->tokens.at.kind != TOKEN_END);
}

/* ---- paths that get in each other's way ------------------------------------------------------ */

/* One is the beginning of the other; or at the first step where they part, one has a name and the
 * other an index, so that both cannot be right. */
static const char *clash_of(const struct expression_path *a, const struct expression_path *b)
{
    for (size_t i = 0; i < a->step_count && i < b->step_count; i++) {
        bool a_is_name = a->steps[i].name.data != NULL;

        if (a_is_name != (b->steps[i].name.data != NULL))
            return "conflict";
        if (a_is_name ? !slice_equal(a->steps[i].name, b->steps[i].name)
                      : a->steps[i].index != b->steps[i].index)
            return NULL;
    }
    return "overlap";
}

static void check_clash(struct parser *parser, const struct expression_path *a,
                        const struct expression_path *b)
{
    const char *clash = parser->fault == NULL ? clash_of(a, b) : NULL;

    if (clash != NULL)
        FAULT(parser,
              "Two document paths %s with each other; must remove or rewrite one of these paths; "
              "path one: %s, path two: %s",
              clash, expression_path_text(parser->source->arena, a),
              expression_path_text(parser->source->arena, b));
}

/* ---- entry points -------------------------------------------------------------------------- */

static enum error start(struct parser *parser, struct expression_source *source, struct slice text)
{
    *parser = (struct parser){.source = source};
    source->why = NULL;
    if (text.size > EXPRESSION_TEXT_BYTES_MAX)
        source->why = arena_printf(source->arena,
                                   "Expression size has exceeded the maximum allowed size; "
                                   "expression size: %zu",
                                   text.size);
    if (text.size > 0)
        parser->tokens = tokens_of(text);
    if (parser->tokens.at.kind == TOKEN_END && source->why == NULL)
        source->why = "The expression can not be empty;";
    return source->why == NULL ? OK : ERR_INVALID;
}

static enum error finish(struct parser *parser)
{
    if (parser->syntax == NULL && parser->tokens.at.kind != TOKEN_END)
        syntax_error(parser);
    if (parser->operators > EXPRESSION_OPERATORS_MAX)
        FAULT(parser, "The expression contains too many operators; operator count: %u",
              parser->operators);
    parser->source->why = parser->syntax != NULL ? parser->syntax : parser->fault;
    return parser->source->why == NULL ? OK : ERR_INVALID;
}

enum error expression_parse_condition(struct expression_source *source, struct slice text,
                                      const struct expression **condition)
{
    struct parser parser;
    enum error rc = start(&parser, source, text);

    if (rc != OK)
        return rc;
    struct expression *node = require_condition(&parser, parse_or(&parser));

    rc = finish(&parser);
    if (rc == OK)
        *condition = node;
    return rc;
}

enum error expression_parse_update(struct expression_source *source, struct slice text,
                                   struct item_update *update)
{
    struct parser parser;
    struct item_update result = {0};
    enum error rc = start(&parser, source, text);

    if (rc != OK)
        return rc;
    parser.is_update = true;
    parse_sections(&parser, &result);
    for (size_t i = 1; i < result.action_count && parser.syntax == NULL; i++)
        for (size_t j = 0; j < i; j++)
            check_clash(&parser, &result.actions[j].path, &result.actions[i].path);
    rc = finish(&parser);
    if (rc == OK)
        *update = result;
    return rc;
}

enum error expression_parse_projection(struct expression_source *source, struct slice text,
                                       struct expression_paths *projection)
{
    struct parser parser;
    struct expression_paths result = {0};
    enum error rc = start(&parser, source, text);

    if (rc != OK)
        return rc;
    result.paths = arena_alloc(source->arena, (text.size / 2 + 1) * sizeof(*result.paths));
    do {
        if (!parse_path(&parser, &result.paths[result.count]))
            break;
        for (size_t i = 0; i < result.count; i++)
            check_clash(&parser, &result.paths[i], &result.paths[result.count]);
        result.count++;
    } while (skip_sign(&parser, ","));
    rc = finish(&parser);
    if (rc == OK)
        *projection = result;
    return rc;
}
