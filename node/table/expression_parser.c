#include "node/table/expression_parser.h"

#include "proto/base/check.h"

#define NESTING_MAX 300

/* ---- faults -------------------------------------------------------------------------------- */

struct expression *parser_syntax_error(struct parser *parser)
{
    if (parser->syntax == NULL)
        parser->syntax = tokens_syntax_error(&parser->tokens, parser->source->arena);
    return NULL;
}

bool parser_expect(struct parser *parser, const char *sign)
{
    if (!tokens_at_sign(&parser->tokens, sign)) {
        parser_syntax_error(parser);
        return false;
    }
    tokens_next(&parser->tokens);
    return true;
}

bool parser_skip(struct parser *parser, const char *sign)
{
    if (!tokens_at_sign(&parser->tokens, sign))
        return false;
    tokens_next(&parser->tokens);
    return true;
}

bool parser_enter(struct parser *parser)
{
    if (++parser->depth <= NESTING_MAX)
        return true;
    parser_syntax_error(parser);
    return false;
}

enum error parser_start(struct parser *parser, struct expression_source *source, struct slice text)
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

void parser_settle(struct parser *parser)
{
    static const enum parser_fault order[] = {PARSER_FAULT_NAME, PARSER_FAULT_OPERANDS,
                                              PARSER_FAULT_DISTINCT, PARSER_FAULT_TYPE};

    for (size_t i = 0; i < ARRAY_COUNT(order); i++)
        if (parser->faults[PARSER_FAULT_PREDICATE] == NULL)
            parser->faults[PARSER_FAULT_PREDICATE] = parser->faults[order[i]];
}

/* Conditions tell of functions before reserved words. */
static enum parser_fault order_of(const struct parser *parser, enum parser_fault place)
{
    if (parser->is_update || place < PARSER_FAULT_RESERVED || place > PARSER_FAULT_MISUSE)
        return place;
    return place == PARSER_FAULT_MISUSE ? PARSER_FAULT_RESERVED : (enum parser_fault)(place + 1);
}

enum error parser_finish(struct parser *parser)
{
    if (parser->syntax == NULL && parser->tokens.at.kind != TOKEN_END)
        parser_syntax_error(parser);
    if (parser->operators > EXPRESSION_OPERATORS_MAX)
        PARSER_FAULT(parser, PARSER_FAULT_LIMIT,
                     "The expression contains too many operators; operator count: %u",
                     parser->operators);
    parser->source->why = parser->syntax;
    for (size_t i = 0; i < ARRAY_COUNT(parser->faults) && parser->source->why == NULL; i++)
        parser->source->why = parser->faults[order_of(parser, (enum parser_fault)i)];
    return parser->source->why == NULL ? OK : ERR_INVALID;
}

/* ---- nodes --------------------------------------------------------------------------------- */

struct expression *parser_node(struct parser *parser, enum expression_kind kind,
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

/* ---- paths and values ---------------------------------------------------------------------- */

struct expression_binding *parser_find_binding(const struct expression_bindings *bindings,
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

/* The attribute name at hand: a word as it is, or what stands for a #name. */
static struct slice step_name(struct parser *parser)
{
    struct slice text = parser->tokens.at.text;
    struct expression_binding *binding;

    if (parser->tokens.at.kind == TOKEN_WORD) {
        if (expression_is_reserved(text))
            PARSER_FAULT(parser, PARSER_FAULT_RESERVED,
                         "Attribute name is a reserved keyword; reserved keyword: %.*s",
                         (int)text.size, (const char *)text.data);
        return text;
    }
    binding = parser_find_binding(&parser->source->names, text);
    if (binding != NULL) {
        binding->is_used = true;
        return binding->name;
    }
    PARSER_FAULT(
        parser, PARSER_FAULT_NAME,
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
    PARSER_FAULT(parser, PARSER_FAULT_LIMIT,
                 "List index is not within the allowable range; index: [%.*s]", (int)text.size,
                 (const char *)text.data);
    return 0;
}

/* Words that are part of the grammar, and so no names at all. */
static bool is_grammar(const struct parser *parser)
{
    static const char *const in_conditions[] = {"AND", "OR", "NOT", "IN", "BETWEEN"};
    static const char *const in_updates[] = {"SET", "REMOVE", "ADD", "DELETE"};
    const char *const *words = parser->is_update ? in_updates : in_conditions;
    size_t count = parser->is_update ? ARRAY_COUNT(in_updates) : ARRAY_COUNT(in_conditions);

    for (size_t i = 0; i < count && !parser->is_projection; i++)
        if (token_is_keyword(&parser->tokens.at, words[i]))
            return true;
    return false;
}

bool parser_at_name(const struct parser *parser)
{
    return parser->tokens.at.kind == TOKEN_NAME ||
           (parser->tokens.at.kind == TOKEN_WORD && !is_grammar(parser));
}

static void note_opened(struct expression_source *source, struct slice attribute)
{
    struct slice *old = source->opened;

    if (source->opened_count == source->opened_capacity) {
        source->opened_capacity = source->opened_capacity == 0 ? 8 : source->opened_capacity * 2;
        source->opened = arena_alloc(source->arena, source->opened_capacity * sizeof(*old));
        if (old != NULL)
            memcpy(source->opened, old, source->opened_count * sizeof(*old));
    }
    source->opened[source->opened_count++] = attribute;
}

bool parser_path(struct parser *parser, struct expression_path *path)
{
    struct expression_step steps[EXPRESSION_STEPS_MAX];
    size_t count = 0;

    if (!parser_at_name(parser)) {
        parser_syntax_error(parser);
        return false;
    }
    for (;;) {
        struct expression_step step = {0};

        if (parser_at_name(parser)) {
            step.name = step_name(parser);
        } else if (parser->tokens.at.kind == TOKEN_NUMBER) {
            step.index = list_index(parser);
        } else {
            parser_syntax_error(parser);
            return false;
        }
        tokens_next(&parser->tokens);
        if (step.name.data == NULL && !parser_expect(parser, "]"))
            return false;
        if (count < EXPRESSION_STEPS_MAX)
            steps[count] = step;
        count++;
        if (parser_skip(parser, ".")) {
            if (parser_at_name(parser))
                continue;
        } else if (parser_skip(parser, "[")) {
            if (parser->tokens.at.kind == TOKEN_NUMBER)
                continue;
        } else {
            break;
        }
        parser_syntax_error(parser);
        return false;
    }
    if (count > EXPRESSION_STEPS_MAX) {
        PARSER_FAULT(parser, PARSER_FAULT_LIMIT,
                     "The document path has too many nesting elements; nesting levels: %zu", count);
        count = EXPRESSION_STEPS_MAX;
    }
    if (count > 1)
        note_opened(parser->source, steps[0].name);
    path->steps = arena_alloc(parser->source->arena, count * sizeof(*steps));
    memcpy(path->steps, steps, count * sizeof(*steps));
    path->step_count = count;
    return true;
}

bool parser_paths_equal(const struct expression_path *a, const struct expression_path *b)
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

void parser_check_clash(struct parser *parser, const struct expression_path *a,
                        const struct expression_path *b)
{
    const char *clash = clash_of(a, b);

    if (clash != NULL)
        PARSER_FAULT(
            parser, strcmp(clash, "overlap") == 0 ? PARSER_FAULT_OVERLAP : PARSER_FAULT_CONFLICT,
            "Two document paths %s with each other; must remove or rewrite one of these paths; "
            "path one: %s, path two: %s",
            clash, expression_path_text(parser->source->arena, a),
            expression_path_text(parser->source->arena, b));
}
