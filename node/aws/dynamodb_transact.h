/* What TransactWriteItems and TransactGetItems have in common. */

#ifndef NODE_AWS_DYNAMODB_TRANSACT_H
#define NODE_AWS_DYNAMODB_TRANSACT_H

#include "node/aws/dynamodb_call.h"

#define DYNAMODB_TRANSACTION_BYTES_MAX TABLE_TRANSACTION_BYTES_MAX
#define DYNAMODB_TRANSACTION_TOO_LARGE                                                             \
    "The aggregate size of the items in the transaction exceeds the maximum allowed size of 4 MB"
#define DYNAMODB_TRANSACTION_TWINS                                                                 \
    "Transaction request cannot include multiple operations on one item"

struct dynamodb_reason { /* why one action was not done; Code "None" when `code` is NULL */
    const char *code;
    const char *message;
    struct slice item; /* empty: none is told */
};

/* TransactionCanceledException: a reason for each action, in order. */
void dynamodb_cancel(struct dynamodb_call *call, const struct dynamodb_reason *reasons,
                     size_t count);
struct dynamodb_reason dynamodb_reason_invalid(const char *why);
struct dynamodb_reason dynamodb_reason_conflict(void);

/* What one action took, of which table. */
struct dynamodb_action_use {
    const struct dynamodb_table *table;
    uint64_t units;
};

/* The member ConsumedCapacity, if the request wants it: the sums of each table. */
void dynamodb_write_action_uses(struct json_write *json, const struct dynamodb_call *call,
                                const struct dynamodb_action_use *uses, size_t count, bool is_read);

#endif
