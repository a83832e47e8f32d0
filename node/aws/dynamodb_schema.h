/* From the members of CreateTable, UpdateTable and TagResource to a table's record.
 *
 * What goes into the record lies in the call's arena or in its document. Each gives NULL, or the
 * service's words for what is wrong. */

#ifndef NODE_AWS_DYNAMODB_SCHEMA_H
#define NODE_AWS_DYNAMODB_SCHEMA_H

#include "node/aws/dynamodb_call.h"

/* Members that would change what the table does, and that nothing here honours. */
const char *dynamodb_refuse_unsupported(const struct dynamodb_call *call);

/* BillingMode and ProvisionedThroughput; a record that has a throughput may keep it. */
const char *dynamodb_read_throughput(struct dynamodb_call *call, Skein__Wire__Table *record);

/* AttributeDefinitions, KeySchema, LocalSecondaryIndexes, GlobalSecondaryIndexes. */
const char *dynamodb_read_schema(struct dynamodb_call *call, Skein__Wire__Table *record);

/* Adds Tags to those the record has. */
const char *dynamodb_read_tags(struct dynamodb_call *call, Skein__Wire__Table *record);

#endif
