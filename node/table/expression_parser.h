/* What the parsers of expressions are made of: the cursor and its faults, names, paths, nodes.
 *
 * A fault of syntax ends the parse and is told before any other. The others are of kinds; parsing
 * goes on, the first of each kind is kept, and in the end the kind decides which one is told.
 * Functions that give a node or a bool give NULL or false after a fault of syntax. */

#ifndef NODE_TABLE_EXPRESSION_PARSER_H
#define NODE_TABLE_EXPRESSION_PARSER_H

#include "node/table/expression_parse.h"
#include "node/table/expression_token.h"

#define PARSER_CHILDREN_MAX (EXPRESSION_OPERATORS_MAX + 1)

enum parser_fault { /* told in this order, but see parser_finish */
                    PARSER_FAULT_LIMIT,
                    PARSER_FAULT_PARENTHESES,
                    PARSER_FAULT_RESERVED,
                    PARSER_FAULT_FUNCTION, /* there is no such function */
                    PARSER_FAULT_MISUSE,   /* there is, but not here */
                    PARSER_FAULT_SECTION,
                    PARSER_FAULT_PREDICATE, /* the one of those below that is told for a predicate
                                             */
                    PARSER_FAULT_NAME,      /* a name or value that is not defined */
                    PARSER_FAULT_VALUE,
                    PARSER_FAULT_OVERLAP,
                    PARSER_FAULT_CONFLICT,
                    PARSER_FAULT_ACTION,   /* the operand of ADD or DELETE */
                    PARSER_FAULT_OPERANDS, /* their number */
                    PARSER_FAULT_DISTINCT,
                    PARSER_FAULT_TYPE,
                    PARSER_FAULT_COUNT
};

struct parser {
    struct expression_source *source;
    struct tokens tokens;
    /* What parentheses and functions have inside: a condition or an operand; in an update, a sum.
     */
    struct expression *(*parse_inner)(struct parser *parser);
    bool is_update;
    bool is_projection;
    unsigned depth; /* of parentheses, functions and NOTs */
    unsigned operators;
    const char *syntax; /* the fault that ended the parse */
    const char *faults[PARSER_FAULT_COUNT];
};

struct parser_children { /* gathered before their number is known */
    struct expression *items[PARSER_CHILDREN_MAX];
    size_t count;
};

#define PARSER_FAULT(parser, kind, ...)                                                            \
    do {                                                                                           \
        if ((parser)->faults[kind] == NULL)                                                        \
            (parser)->faults[kind] = arena_printf((parser)->source->arena, __VA_ARGS__);           \
    } while (0)

/* ERR_INVALID: too long, or empty; said in source->why. */
enum error parser_start(struct parser *parser, struct expression_source *source, struct slice text);
/* At the end of the text, or wherever the parse stopped. ERR_INVALID: said in source->why. */
enum error parser_finish(struct parser *parser);

/* At the end of one predicate of a condition: the first predicate with a fault has it told. */
void parser_settle(struct parser *parser);
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
