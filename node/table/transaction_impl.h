/* What transaction.c and transaction_read.c share. */

#ifndef NODE_TABLE_TRANSACTION_IMPL_H
#define NODE_TABLE_TRANSACTION_IMPL_H

#include "node/table/transaction.h"

struct transactions {
    struct env *env;
    struct shard_router *router;
    struct buffer *finished; /* by coordinator: attempts it may forget */
    uint32_t shard_count;    /* of `finished` */
};

uint32_t transactions_left_ms(const struct transactions *transactions, uint64_t deadline_us);
/* Before what met a lock is tried again: longer each time, and never alike for two. */
uint64_t transactions_pause_us(const struct transactions *transactions, uint32_t attempts);
/* NULL: `rc` says why, or the bytes are no reply. To be freed. */
Skein__Wire__TableReply *transactions_reply_of(enum error *rc, struct slice bytes);

#endif
