/* Local secondary indexes: from CreateTable into a table's record, and back into its description.
 */

#ifndef NODE_AWS_DYNAMODB_INDEX_H
#define NODE_AWS_DYNAMODB_INDEX_H

#include "node/aws/dynamodb_call.h"

extern const struct shape dynamodb_local_index_element[];
extern const struct shape dynamodb_key_schema_element[];
extern const struct shape dynamodb_projection_members[];

/* "[a, b]": the names of a KeySchema or of AttributeDefinitions, in the arena. */
const char *dynamodb_names_text(struct arena *arena, const json_t *list);

/* A KeySchema whose attributes are all defined in `record`. NULL, or the service's words. */
const char *dynamodb_check_key_schema(struct dynamodb_call *call, const Skein__Wire__Table *record,
                                      const json_t *schema);

/* The definition of an attribute; NULL when there is none. */
const Skein__Wire__TableAttribute *dynamodb_find_definition(const Skein__Wire__Table *record,
                                                            const char *name);

/* A Projection, into what a record has of it. NULL, or the service's words. */
struct dynamodb_projection {
    uint32_t type; /* enum table_projection */
    char **included;
    size_t included_count;
};

const char *dynamodb_read_projection(struct arena *arena, const json_t *projection,
                                     struct dynamodb_projection *read);
void dynamodb_write_projection(struct json_write *json,
                               const struct dynamodb_projection *projection);
/* The member KeySchema. `sort` may be NULL. */
void dynamodb_write_keys(struct json_write *json, const char *hash, const char *sort);

/* The member LocalSecondaryIndexes, if there is one. Definitions and keys are in `record` already.
 * NULL, or the service's words. */
const char *dynamodb_read_local_indexes(struct dynamodb_call *call, Skein__Wire__Table *record);

/* The same member of a description. */
void dynamodb_write_local_indexes(struct json_write *json, struct arena *arena,
                                  const Skein__Wire__Table *record, const char *table_arn);

#endif
