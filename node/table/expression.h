/* Expressions over an item: what a gateway parsed (expression_parse.h) in a form that travels in a
 * command and is evaluated where the item is.
 *
 *   expression = kind (enum expression_kind), then by kind:
 *     PATH    path
 *     VALUE   value (item.h)
 *     others  varint count of children, the children
 *   path = varint count of steps, then per step: 0, varint length, name; or 1, varint index
 *
 * Names and values are substituted before; an encoded expression needs nothing else. Evaluating
 * allocates nothing, and reads every byte whatever the outcome, so damage is always found. */

#ifndef NODE_TABLE_EXPRESSION_H
#define NODE_TABLE_EXPRESSION_H

#include "node/table/item.h"
#include "proto/base/arena.h"

#define EXPRESSION_DEPTH_MAX 320 /* of expressions inside expressions */
#define EXPRESSION_STEPS_MAX 32  /* of a path */

enum expression_kind { /* on the wire: never renumber */
                       /* operands */
                       EXPRESSION_PATH = 1,
                       EXPRESSION_VALUE = 2,
                       EXPRESSION_SIZE = 3,
                       EXPRESSION_IF_NOT_EXISTS = 4,
                       EXPRESSION_LIST_APPEND = 5,
                       EXPRESSION_PLUS = 6,
                       EXPRESSION_MINUS = 7,
                       /* conditions */
                       EXPRESSION_EQ = 16,
                       EXPRESSION_NE = 17,
                       EXPRESSION_LT = 18,
                       EXPRESSION_LE = 19,
                       EXPRESSION_GT = 20,
                       EXPRESSION_GE = 21,
                       EXPRESSION_BETWEEN = 22,
                       EXPRESSION_IN = 23,
                       EXPRESSION_AND = 24,
                       EXPRESSION_OR = 25,
                       EXPRESSION_NOT = 26,
                       EXPRESSION_EXISTS = 27,
                       EXPRESSION_NOT_EXISTS = 28,
                       EXPRESSION_TYPE = 29,
                       EXPRESSION_BEGINS_WITH = 30,
                       EXPRESSION_CONTAINS = 31
};

static inline bool expression_is_condition(enum expression_kind kind)
{
    return kind >= EXPRESSION_EQ;
}

struct expression_step {
    struct slice name; /* data NULL: a list index */
    uint32_t index;
};

struct expression_path {
    struct expression_step *steps;
    size_t step_count;
};

struct expression { /* a node of the parsed tree; all of it lives in an arena */
    enum expression_kind kind;
    struct expression_path path; /* PATH */
    struct item_value value;     /* VALUE */
    struct expression **children;
    size_t child_count;
    bool has_parentheses; /* around it in the text */
};

struct expression_paths {
    struct expression_path *paths;
    size_t count;
};

/* ---- encoding ---- */

void expression_put(struct buffer *to, const struct expression *expression);
void expression_put_path(struct buffer *to, const struct expression_path *path);
/* varint count, then the paths. */
void expression_put_paths(struct buffer *to, const struct expression_paths *paths);

/* ---- reading; what fails leaves `reader` not ok ---- */

/* Follows an encoded path from `root`. False when there is nothing. */
bool expression_follow(struct reader *reader, const struct item_value *root,
                       struct item_value *value);
/* The steps go to the arena, names are borrowed. */
struct expression_path expression_read_path(struct reader *reader, struct arena *arena);
struct expression_paths expression_read_paths(struct reader *reader, struct arena *arena);

/* ---- evaluating ---- */

/* Does `attributes` (an M; empty when there is no item) meet an encoded condition? ERR_INVALID when
 * it is malformed. */
enum error expression_holds(struct slice condition, const struct item_value *attributes,
                            bool *holds);

/* The parts of an item that the paths name, as an item of its own: maps keep the named attributes,
 * lists the named elements, in order. No path is the beginning of another. */
void expression_project(const struct expression_paths *paths, const struct item_value *attributes,
                        struct buffer *item);

/* "STRING", "NUMBER_SET" ...: what messages call the types. */
const char *expression_type_name(enum item_type type);

#endif
