/* Items written down in short for the tests of tables.
 *
 *   {a: 's', n: 12.5, ok: true, no: null, bytes: x'00ff', list: ['a', 1], map: {b: 1},
 *    names: <'a', 'b'>, numbers: <1, 2>, blobs: <x'00', x'01'>} */

#ifndef TESTS_UNIT_TABLE_TABLE_FIXTURE_H
#define TESTS_UNIT_TABLE_TABLE_FIXTURE_H

#include "node/table/expression_parse.h"
#include "node/table/item.h"

/* Appends what the text says; the test fails on a text it cannot read. Attributes may be in any
 * order. */
void fixture_put_item(struct buffer *to, const char *text);
void fixture_put_value(struct buffer *to, const char *text);

/* The same text from an item: attributes sorted, one space after each comma and colon. */
void fixture_write_item(struct buffer *text, struct slice item);

/* Expressions with their names and values: "#n=name", ":v=12". All in the arena. */
struct expression_source fixture_source(struct arena *arena, const char *const *bindings);

#endif
