/* One replica of a shard: its Raft group, its state, and who waits for what.
 *
 * Commands of one turn of the loop become one log entry (more, past a size). Whoever waits for a
 * command is found again by (session, sequence) when it is applied here, so a waiter may come, go
 * and come back. Loop thread only. */

#ifndef NODE_SHARD_SHARD_REPLICA_H
#define NODE_SHARD_SHARD_REPLICA_H

#include "node/shard/shard_message.h"
#include "node/shard/shard_snapshot.h"
#include "node/shard/shard_state.h"
#include "proto/raft/host.h"

#define SHARD_REPLICA_GROUP_ID(shard) (1000u + (uint64_t)(shard))
#define SHARD_REPLICA_HASHES 16
#define SHARD_REPLICA_HASH_EVERY 64u /* entries */

struct shard_waiter;
typedef void (*shard_waiter_cb)(struct shard_waiter *waiter, enum error rc, struct slice reply);

struct shard_waiter { /* embedded, zeroed at first; the replica's until the callback */
    struct list link;
    shard_waiter_cb cb; /* NULL = not waiting */
    void *impl;
};

struct shard_replica_hash {
    uint64_t index;
    uint64_t hash;
};

struct shard_replica {
    struct env *env;
    struct host *host;
    struct group *group;
    uint32_t shard;
    struct shard_state state;
    struct shard_staging staging;
    size_t pins; /* snapshots being read */
    bool is_making_durable;
    struct env_disk_op *durable_op; /* the group's */
    env_disk_cb durable_cb;
    struct env_disk_op own_op;
    uint64_t durable_batches;

    struct buffer batch; /* the entry being gathered */
    uint32_t batch_count;
    struct list batch_pending; /* struct pending of the batch */
    struct env_task task;
    struct env_timer gather;
    struct map pending;    /* (session, sequence) -> struct pending */
    struct list proposals; /* in flight */
    struct list reads;     /* in flight */

    struct shard_replica_hash hashes[SHARD_REPLICA_HASHES]; /* by (index / EVERY) % HASHES */
    uint64_t commands_applied;
    uint64_t leader_since_us;
    void *user;
    void (*on_fatal)(void *user, enum error rc, const char *why);
    void (*on_signal)(void *user, uint32_t shard);
};

struct shard_replica_options {
    uint32_t shard;
    const char *folder; /* "shards" */
    const uint64_t *born_with;
    size_t born_with_count;
    const struct shard_engine *const *engines;
    void *user;
    void (*on_fatal)(void *user, enum error rc, const char *why);
    /* An engine signalled (shard_signal) while this replica led; may be NULL. Inside apply: only
     * note it. */
    void (*on_signal)(void *user, uint32_t shard);
};

/* `replica` must not move until closed. */
enum error shard_replica_open(struct shard_replica *replica, struct env *env, struct host *host,
                              const struct shard_replica_options *options);
/* Frees it at once; nobody who waits is called. */
void shard_replica_close(struct shard_replica *replica);
/* It was removed from the shard: forget log, vote and state. Waiters get ERR_NOT_LEADER. */
void shard_replica_forget(struct shard_replica *replica);

/* ERR_NOT_LEADER, ERR_OVERLOADED: at once, no callback. OK: one callback, later. */
enum error shard_replica_write(struct shard_replica *replica, struct shard_waiter *waiter,
                               const struct shard_message_command *command, shard_waiter_cb cb);
/* Strong: this replica must lead. Eventual: it must be a whole replica, ERR_NOT_LEADER otherwise.
 * Copies `query`. */
enum error shard_replica_read(struct shard_replica *replica, struct shard_waiter *waiter,
                              bool is_strong, uint8_t engine, struct slice query,
                              shard_waiter_cb cb);
/* No callback comes after this. Nothing when not waiting. */
void shard_waiter_cancel(struct shard_waiter *waiter);

/* The newest remembered hash at an index both sides may have; index 0 = none. */
struct shard_replica_hash shard_replica_hash_at(const struct shard_replica *replica,
                                                uint64_t index);

#endif
