/* Ends what transactions left behind whose node died or was cut off.
 *
 * Twice a second the node of a shard's leader looks for locks that are older than a transaction
 * should take, asks their coordinator to undo them, and does here what is decided. Commits that
 * nobody reported as finished are finished, then forgotten; so are old decisions and tokens. All of
 * it may be done twice, by anybody, at any time: an attempt that is undone too early is made again
 * by who made it. Loop thread only. */

#ifndef NODE_TABLE_TRANSACTION_RECOVERY_H
#define NODE_TABLE_TRANSACTION_RECOVERY_H

#include "node/shard/shard_router.h"

struct transaction_recovery;

struct transaction_recovery *transaction_recovery_new(struct env *env, struct shard_router *router);
void transaction_recovery_free(struct transaction_recovery *recovery);

#endif
