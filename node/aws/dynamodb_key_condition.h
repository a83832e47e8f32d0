/* KeyConditionExpression and KeyConditions: from conditions on key attributes to a range of row
 * keys.
 *
 * First what can be said without the table, then the rest; in the service's order and words. */

#ifndef NODE_AWS_DYNAMODB_KEY_CONDITION_H
#define NODE_AWS_DYNAMODB_KEY_CONDITION_H

#include "node/table/expression.h"
#include "node/table/table_key.h"

#define DYNAMODB_KEY_TERMS_MAX 2

struct dynamodb_key_term { /* what is asked of one attribute */
    struct slice name;
    enum expression_kind kind; /* of a comparison that no key can be asked for: EXPRESSION_NOT */
    const struct item_value *values[2];
    size_t value_count;
};

struct dynamodb_key_terms {
    struct dynamodb_key_term terms[DYNAMODB_KEY_TERMS_MAX];
    size_t count;
};

/* Both give NULL, or the service's words. The first is for a KeyConditionExpression; the second
 * for KeyConditions, as dynamodb_legacy_conditions read them: NULL when there are none. */
const char *dynamodb_key_terms(struct arena *arena, const struct expression *condition,
                               struct dynamodb_key_terms *terms);
const char *dynamodb_key_terms_of_legacy(const struct expression *conditions,
                                         struct dynamodb_key_terms *terms);

/* Does what the terms ask of this part of the key suit it? NULL, or the service's words. */
const char *dynamodb_key_terms_check(struct arena *arena, const struct table_schema *schema,
                                     const struct dynamodb_key_terms *terms, size_t index);

struct dynamodb_key_range { /* rows from `low` up to, not including, `high` */
    struct buffer low;
    struct buffer high;
    struct slice hash_part; /* in the arena */
    bool has_sort;          /* a term narrows it to some sort keys */
};

/* The range behind `prefix` for checked terms. The buffers are the caller's to close. */
void dynamodb_key_range_of(struct arena *arena, const struct table_schema *schema,
                           struct slice prefix, const struct dynamodb_key_terms *terms,
                           struct dynamodb_key_range *range);

/* Does the value that `attributes` have for the part meet what is asked of it? Checked terms. */
bool dynamodb_key_term_holds(const struct dynamodb_key_terms *terms,
                             const struct table_key_part *part,
                             const struct item_value *attributes);

/* The key attribute that a filter wrongly names; NULL when it names none. */
const struct table_key_part *dynamodb_key_in_filter(const struct table_schema *schema,
                                                    const struct expression *filter);

#endif
