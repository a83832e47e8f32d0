/* One command to a row, that waits a short while when a transaction holds it. */

#ifndef NODE_AWS_DYNAMODB_WRITE_H
#define NODE_AWS_DYNAMODB_WRITE_H

#include "node/aws/dynamodb_call.h"

struct dynamodb_write;
/* OK: `reply` is what the engine said, TABLE_LOCKED when the row still is; the callee frees it.
 * Otherwise it is NULL. */
typedef void (*dynamodb_write_cb)(struct dynamodb_write *write, enum error rc,
                                  Skein__Wire__TableReply *reply);

struct dynamodb_write { /* embedded, zeroed at first */
    struct shard_request request;
    struct env_timer timer;
    struct dynamodb *dynamodb; /* NULL: not in flight */
    struct buffer packed;
    uint32_t shard;
    uint32_t attempts;
    uint64_t patience_us;
    dynamodb_write_cb cb;
};

/* `command` is copied. Exactly one callback, after this returned. */
void dynamodb_write_start(struct dynamodb *dynamodb, struct dynamodb_write *write, uint32_t shard,
                          const Skein__Wire__TableCommand *command, dynamodb_write_cb cb);
void dynamodb_write_cancel(struct dynamodb_write *write);

#endif
