/* Local secondary indexes: from CreateTable into a table's record, and back into its description.
 */

#ifndef NODE_AWS_DYNAMODB_INDEX_H
#define NODE_AWS_DYNAMODB_INDEX_H

#include "node/aws/dynamodb_call.h"

extern const struct shape dynamodb_local_index_element[];
extern const struct shape dynamodb_key_schema_element[];

/* "[a, b]": the names of a KeySchema or of AttributeDefinitions, in the arena. */
const char *dynamodb_names_text(struct arena *arena, const json_t *list);

/* A KeySchema whose attributes are all defined in `record`. NULL, or the service's words. */
const char *dynamodb_check_key_schema(struct dynamodb_call *call, const Skein__Wire__Table *record,
                                      const json_t *schema);

/* The definition of an attribute; NULL when there is none. */
const Skein__Wire__TableAttribute *dynamodb_find_definition(const Skein__Wire__Table *record,
                                                            const char *name);

/* The member LocalSecondaryIndexes, if there is one. Definitions and keys are in `record` already.
 * NULL, or the service's words. */
const char *dynamodb_read_local_indexes(struct dynamodb_call *call, Skein__Wire__Table *record);

/* The same member of a description. */
void dynamodb_write_local_indexes(struct json_write *json, struct arena *arena,
                                  const Skein__Wire__Table *record, const char *table_arn);

#endif
