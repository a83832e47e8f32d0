/* What the parsers of expressions are made of: the cursor and its faults, names, paths, nodes.
 *
 * A fault of syntax ends the parse; of the others the first is kept, and parsing goes on, for a
 * fault of syntax is told before it. Functions that give a node or a bool give NULL or false after
 * a fault of syntax. */

#ifndef NODE_TABLE_EXPRESSION_PARSER_H
#define NODE_TABLE_EXPRESSION_PARSER_H

#include "node/table/expression_parse.h"
#include "node/table/expression_token.h"

#define PARSER_CHILDREN_MAX (EXPRESSION_OPERATORS_MAX + 1)

struct parser {
    struct expression_source *source;
    struct tokens tokens;
    /* What parentheses and functions have inside: a condition or an operand; in an update, a sum.
     */
    struct expression *(*parse_inner)(struct parser *parser);
    bool is_update;
    unsigned depth; /* of parentheses, functions and NOTs */
    unsigned operators;
    const char *syntax; /* the fault that ended the parse */
    const char *fault;  /* the first other one */
};

struct parser_children { /* gathered before their number is known */
    struct expression *items[PARSER_CHILDREN_MAX];
    size_t count;
};

#define PARSER_FAULT(parser, ...)                                                                  \
    do {                                                                                           \
        if ((parser)->fault == NULL)                                                               \
            (parser)->fault = arena_printf((parser)->source->arena, __VA_ARGS__);                  \
    } while (0)

/* ERR_INVALID: too long, or empty; said in source->why. */
enum error parser_start(struct parser *parser, struct expression_source *source, struct slice text);
/* At the end of the text, or wherever the parse stopped. ERR_INVALID: said in source->why. */
enum error parser_finish(struct parser *parser);

/* About the token at hand; NULL. */
struct expression *parser_syntax_error(struct parser *parser);
bool parser_expect(struct parser *parser, const char *sign);
bool parser_skip(struct parser *parser, const char *sign);
/* One level deeper; `depth` is the caller's to take back. */
bool parser_enter(struct parser *parser);

struct expression *parser_node(struct parser *parser, enum expression_kind kind,
                               struct expression *const *children, size_t count);

/* ---- names and paths ---- */

struct expression_binding *parser_find_binding(const struct expression_bindings *bindings,
                                               struct slice placeholder);
bool parser_at_name(const struct parser *parser);
bool parser_path(struct parser *parser, struct expression_path *path);
bool parser_paths_equal(const struct expression_path *a, const struct expression_path *b);
/* Faults two paths that get in each other's way. */
void parser_check_clash(struct parser *parser, const struct expression_path *a,
                        const struct expression_path *b);

#endif
