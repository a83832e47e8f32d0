/* The shapes of DynamoDB's requests: which members there are, of what type, within which limits.
 *
 * A request is checked against its operation's shape before anything else looks at it, in the
 * service's order and words: first every type (SerializationException), then every constraint,
 * all violations in one message (ValidationException). */

#ifndef NODE_AWS_DYNAMODB_SHAPE_H
#define NODE_AWS_DYNAMODB_SHAPE_H

#include "proto/base/arena.h"

#include <jansson.h>

enum shape_kind {
    SHAPE_END, /* behind the last member */
    SHAPE_STRING,
    SHAPE_BLOB,
    SHAPE_BOOLEAN,
    SHAPE_INTEGER,
    SHAPE_LONG,
    SHAPE_STRUCTURE,
    SHAPE_LIST,
    SHAPE_MAP
};

struct shape {        /* of one member */
    const char *name; /* of the member; NULL in an element */
    enum shape_kind kind;
    const char *type;       /* STRUCTURE: its name, "AttributeValue" */
    const struct shape *of; /* STRUCTURE: its members; LIST, MAP: the element */
    bool is_required;
    int64_t min;         /* of the length, or of a number's value; 0: none */
    int64_t max;         /* 0: none */
    const char *pattern; /* only "[a-zA-Z0-9_.-]+" */
    const char *choices; /* "HASH, RANGE" */
    bool is_first;       /* a table's name: told before all else, and in other words */
    bool is_natural;     /* a number below zero is out of range */
    /* MAP: the keys are table names; so many entries at most has each value, a LIST. */
    bool has_table_keys;
    int64_t value_max;
};

#define SHAPE_NAME_PATTERN "[a-zA-Z0-9_.-]+"

/* NULL when every type is right, else why not; static or in the arena. `members` is ended by
 * SHAPE_END. Unknown members are left alone. */
const char *dynamodb_shape_types(struct arena *arena, const struct shape *members,
                                 const json_t *object);

/* NULL, or "2 validation errors detected: ...; ...". The types are right. */
const char *dynamodb_shape_constraints(struct arena *arena, const struct shape *members,
                                       const json_t *object);

/* A number as a whole one, cut off towards zero; at the edge when it is out of range. 0 for NULL.
 */
int64_t dynamodb_shape_integer(const json_t *number);

/* A boolean that passed dynamodb_shape_types: the service also takes some words for one. */
bool dynamodb_shape_is_true(const json_t *value);

/* Members that several operations share. */
extern const struct shape dynamodb_shape_attribute[]; /* the members of an AttributeValue */

#endif
