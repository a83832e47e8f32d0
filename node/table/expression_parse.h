/* From the text of an expression to its tree, with names and values substituted.
 *
 *   condition  = or of and of not of: operand = operand (and <> < <= > >=), operand BETWEEN operand
 *                AND operand, operand IN (operand, ...), attribute_exists(path),
 *                attribute_not_exists(path), attribute_type(path, type), begins_with(path,
 * operand), contains(path, operand), (condition) operand    = path, :value, size(path) path       =
 * name, or #name, followed by any of .name, .#name, [index] update     = SET path = sum, ... REMOVE
 * path, ...   ADD path :value, ... DELETE path :value, ...   in any order, each once sum        =
 * term, term + term, term - term term       = path, :value, if_not_exists(path, sum),
 * list_append(sum, sum), (sum) projection = path, ...
 *
 * A fault of syntax is told before any other; else the first one. */

#ifndef NODE_TABLE_EXPRESSION_PARSE_H
#define NODE_TABLE_EXPRESSION_PARSE_H

#include "node/table/expression.h"
#include "node/table/item_update.h"

#define EXPRESSION_TEXT_BYTES_MAX 4096
#define EXPRESSION_OPERATORS_MAX 300
#define EXPRESSION_IN_MAX 100

struct expression_binding {
    struct slice placeholder; /* "#name" or ":value" */
    struct slice name;        /* what stands for it: one of these two */
    struct item_value value;
    bool is_used; /* by an expression parsed so far */
};

struct expression_bindings { /* sorted by placeholder, as slice_compare does */
    struct expression_binding *entries;
    size_t count;
};

struct expression_source { /* what the expressions of one request share */
    struct arena *arena;
    struct expression_bindings names;
    struct expression_bindings values;
    const char *why; /* after ERR_INVALID: the fault in words, in the arena */
    /* Attributes that expressions parsed so far look into, as often as they do. */
    struct slice *opened;
    size_t opened_count;
    size_t opened_capacity;
};

/* Trees live in the arena and borrow the text and the bindings. ERR_INVALID. */
enum error expression_parse_condition(struct expression_source *source, struct slice text,
                                      const struct expression **condition);
enum error expression_parse_update(struct expression_source *source, struct slice text,
                                   struct item_update *update);
enum error expression_parse_projection(struct expression_source *source, struct slice text,
                                       struct expression_paths *projection);

/* "[a, b, [1]]" */
const char *expression_path_text(struct arena *arena, const struct expression_path *path);

/* Any case. */
bool expression_is_reserved(struct slice word);

#endif
