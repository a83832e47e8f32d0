/* Transactions in a shard's state: what the engine does for commands from TABLE_EXECUTE on.
 *
 * A transaction whose rows are all in one shard is one command, EXECUTE. Otherwise each attempt at
 * it has an id that was never used before, and goes
 *
 *   PREPARE, in each shard that has rows of it: conditions are checked, new items tried, the rows
 *            locked and the actions kept.
 *   DECIDE,  in one shard, the coordinator: the first decision stays, whoever asked for it, and
 *            whoever asks later is told.
 *   FINISH,  in each shard again: the actions take place or not, the locks go. Again: nothing.
 *
 * A shard that hears nothing more of what it has prepared asks for the decision to undo it
 * (transaction_recovery.h): it is told of a commit, or there will be none. So nobody who dies
 * leaves a lock for ever, and nothing is committed in one shard and undone in another. A commit is
 * remembered until it is known to be finished everywhere. That none will be is remembered for a
 * day, in case that who wanted it was stopped so long and goes on.
 *
 * A client's token is known to the shard that its bytes choose: with the digest of the parameters
 * it came with first (CLAIM, or along with DECIDE and EXECUTE), and whether that transaction was
 * done.
 *
 * What is old is forgotten by TRIM, not by the clock alone: TRIM counts minutes, one at most each
 * time, so that a leader whose clock is far ahead forgets nothing early.
 *
 * Keys, beside rows and indexes (table_key.h):
 *   20 row key              a lock: attempt, token
 *   21 attempt              what is prepared: coordinator, TableTransaction
 *   22 attempt              a decision: 1 to commit, its minute, the shards
 *   23 token                its minute, done, attempt, digest
 *   24 minute, 22.. or 23.. a record to forget, in the order of age
 *   25                      the count of minutes, ms of the last one, the first minute not
 * forgotten
 */

#ifndef NODE_TABLE_TABLE_TRANSACTION_H
#define NODE_TABLE_TABLE_TRANSACTION_H

#include "node/table/table_engine.h"
#include "proto/wire/table.pb-c.h"

#define TABLE_ATTEMPT_BYTES                                                                        \
    16 /* ms of the clock, big endian, so that old ones come first; dice                           \
        */
#define TABLE_TOKEN_BYTES_MAX 160 /* of the client, and a table id */
#define TABLE_ACTIONS_MAX 100
#define TABLE_KEEP_MINUTES 11u /* tokens live ten of them, wherever in a minute they were used */
#define TABLE_KEEP_ABORTS_MINUTES (24u * 60)
#define TABLE_SHARDS_MAX 100 /* of a transaction: one for each action */
#define TABLE_OPEN_MAX 64    /* told of at a time */

/* Does a transaction hold this row? */
bool table_transaction_locks(struct shard_state *state, struct slice row_key);

void table_transaction_apply(struct shard_state *state, const struct shard_moment *moment,
                             const Skein__Wire__TableCommand *command, struct buffer *reply);

/* TABLE_OPEN */
void table_transaction_read_open(struct shard_state *state, struct buffer *reply);

#endif
