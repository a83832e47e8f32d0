/* Operands of expressions: paths, values, functions, and what is in parentheses. */

#ifndef NODE_TABLE_EXPRESSION_OPERAND_H
#define NODE_TABLE_EXPRESSION_OPERAND_H

#include "node/table/expression_parser.h"

/* Sets of types, for operand_check_type. */
#define TYPES_ORDERED (1u << ITEM_S | 1u << ITEM_N | 1u << ITEM_B)
#define TYPES_TEXT (1u << ITEM_S | 1u << ITEM_B)
#define TYPES_SETS (1u << ITEM_SS | 1u << ITEM_NS | 1u << ITEM_BS)
#define TYPES_SIZED (TYPES_TEXT | TYPES_SETS | 1u << ITEM_M | 1u << ITEM_L)

/* A path, a value, a function or parentheses: an operand, or in a condition another condition. */
struct expression *operand_parse(struct parser *parser);
/* The :value at hand. */
struct expression *operand_parse_value(struct parser *parser);

/* The function that makes nodes of this kind; NULL when there is none. */
const char *operand_function_name(enum expression_kind kind);

/* ---- faults ---- */

/* The first operand must not be among the others. */
void operand_check_distinct(struct parser *parser, const char *operator,
                            const struct expression * node);
/* A literal must be of one of the types; what a path leads to is seen later. A computed size is a
 * number. */
void operand_check_type(struct parser *parser, const char *operator,
                        const struct expression * operand, unsigned types);
void operand_wrong_type(struct parser *parser, const char *operator, enum item_type type);
/* "{N:12}", in the arena. */
const char *operand_value_text(struct arena *arena, const struct item_value *value);

#endif
