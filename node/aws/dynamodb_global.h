/* Global secondary indexes: from CreateTable and UpdateTable into a table's record, and back into
 * its description. What lies in the record is in the call's arena or in its document. */

#ifndef NODE_AWS_DYNAMODB_GLOBAL_H
#define NODE_AWS_DYNAMODB_GLOBAL_H

#include "node/aws/dynamodb_call.h"

/* Elements of GlobalSecondaryIndexes and GlobalSecondaryIndexUpdates. */
extern const struct shape dynamodb_global_index_element[];
extern const struct shape dynamodb_global_update_element[];
extern const struct shape dynamodb_throughput_members[]; /* of a table, too */

/* Why a request is refused: NULL as `message` when it is not. */
struct dynamodb_refusal {
    const char *code; /* NULL: ValidationException */
    const char *message;
};

/* The member GlobalSecondaryIndexes of CreateTable, if there is one. All else is in `record`. */
const char *dynamodb_read_global_indexes(struct dynamodb_call *call, Skein__Wire__Table *record);
/* All definitions are of some key. */
const char *dynamodb_check_definitions_used(struct dynamodb_call *call,
                                            const Skein__Wire__Table *record);

/* GlobalSecondaryIndexUpdates: first what needs no table, then what it makes of `record`, whose
 * throughput is the new one. */
const char *dynamodb_check_global_updates(const struct dynamodb_call *call);
struct dynamodb_refusal dynamodb_read_global_updates(struct dynamodb_call *call,
                                                     Skein__Wire__Table *record);

/* The member GlobalSecondaryIndexes of a description. `status`: of the table. */
void dynamodb_write_global_indexes(struct json_write *json, struct arena *arena,
                                   const Skein__Wire__Table *record, const char *table_arn,
                                   const char *status);

/* Takes the index, gone for good, out of a record: with the definitions nobody else uses. */
void dynamodb_remove_global_index(Skein__Wire__Table *record, uint32_t number);

/* What commands tell shards of the record's indexes; appends a packed TableIndexes. */
void dynamodb_pack_indexes(const Skein__Wire__Table *record, uint32_t shard_count,
                           struct buffer *packed);

#endif
