/* Changing parts of an item: SET, REMOVE, ADD and DELETE actions on paths.
 *
 *   update = varint count of actions, then per action: kind (enum item_update_kind), path, and an
 *            operand (expression.h) unless it is a REMOVE
 *
 * Every operand sees the item as it was before the update. No path is the beginning of another, so
 * the order of the actions does not matter. */

#ifndef NODE_TABLE_ITEM_UPDATE_H
#define NODE_TABLE_ITEM_UPDATE_H

#include "node/table/expression.h"

enum item_update_kind { /* on the wire: never renumber */
                        ITEM_UPDATE_SET = 1,
                        ITEM_UPDATE_REMOVE = 2,
                        ITEM_UPDATE_ADD = 3,
                        ITEM_UPDATE_DELETE = 4
};

struct item_update_action {
    enum item_update_kind kind;
    struct expression_path path;
    const struct expression *operand; /* NULL for a REMOVE */
};

struct item_update {
    struct item_update_action *actions;
    size_t action_count;
};

enum [[nodiscard]] item_update_fault{
    ITEM_UPDATE_OK,           ITEM_UPDATE_MALFORMED, /* not an encoded update */
    ITEM_UPDATE_NO_ATTRIBUTE, /* an operand refers to an attribute that is not there */
    ITEM_UPDATE_WRONG_TYPE,   /* an operand, or the attribute to change, has an unfit type */
    ITEM_UPDATE_NO_PATH,      /* what should hold the attribute to change is not there */
    ITEM_UPDATE_TOO_PRECISE,  /* a sum has too many digits */
    ITEM_UPDATE_OVERFLOW,     ITEM_UPDATE_UNDERFLOW,
    ITEM_UPDATE_TOO_DEEP, /* the new item nests deeper than ITEM_DEPTH_MAX */
    ITEM_UPDATE_TOO_LARGE /* the new item is larger than ITEM_BYTES_MAX */
};

void item_update_put(struct buffer *to, const struct item_update *update);

/* Appends the changed item. `item` is a checked item. Nothing is appended on a fault. */
enum item_update_fault item_update_apply(struct slice update, struct slice item,
                                         struct buffer *changed);

/* The paths an encoded update changes. `reader` is not ok when it is malformed. */
struct expression_paths item_update_paths(struct reader *reader, struct arena *arena);

#endif
