/* What tables look like: descriptions, lists, limits. Answers from the node's copy of the
 * catalogue.
 */

#ifndef NODE_AWS_DYNAMODB_DESCRIBE_H
#define NODE_AWS_DYNAMODB_DESCRIBE_H

#include "node/aws/dynamodb_call.h"

/* {"TableName":.., "TableStatus":`status`, ...} */
void dynamodb_write_description(struct json_write *json, const struct dynamodb_call *call,
                                const Skein__Wire__Table *record, const char *status);

/* "arn:aws:dynamodb:REGION:ACCOUNT:table/NAME", in the arena. */
const char *dynamodb_table_arn(const struct dynamodb_call *call, const char *name);

/* The table of the member ResourceArn, held likewise. `member` (or NULL), Tags or TagKeys, must
 * be there too, and not empty. False: answered. */
bool dynamodb_find_resource(struct dynamodb_call *call, const char *member);

/* The table whose name or ARN it is; holds it in call->table. `name` is told in the refusal. False:
 * answered. */
bool dynamodb_find_described(struct dynamodb_call *call, const char *name_or_arn);

#endif
