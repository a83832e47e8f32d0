/* The replicas of this node: started and forgotten as the catalogue says, kept in line with it.
 *
 * A leader compares its group with the Shard record once a second: it adds and removes members, one
 * at a time, hands leadership to the preferred node when that one has caught up, and compares state
 * hashes with the followers.
 *
 * A replica that was moved elsewhere while this node was down is opened all the same: the shard may
 * still need its vote. It goes once those who are wanted say that it is no member. Loop thread
 * only. */

#ifndef NODE_SHARD_SHARD_HOST_H
#define NODE_SHARD_SHARD_HOST_H

#include "node/shard/shard_replica.h"
#include "node/view/view.h"
#include "proto/net/call.h"

struct shard_host;

struct shard_host_options {
    const char *folder; /* "shards" */
    uint64_t
        disk_id; /* made when this data folder was; a replica born on another disk has no vote */
    const struct shard_engine *const *engines; /* SHARD_ENGINE_COUNT, borrowed */
    void *user;
    void (*on_fatal)(void *user, enum error rc, const char *why);
    void (*on_signal)(void *user, uint32_t shard); /* as in shard_replica.h */
};

/* Serves CALL_SHARD_WRITE, CALL_SHARD_READ and CALL_SHARD_STATUS from now on. */
struct shard_host *shard_host_new(struct env *env, struct calls *calls, struct view *view,
                                  struct host *host, const struct shard_host_options *options);
/* As a crash would: call host_free before. */
void shard_host_free(struct shard_host *shards);

/* NULL when this node has no replica of it. */
struct shard_replica *shard_host_find(struct shard_host *shards, uint32_t shard);

/* Every replica of this node that leads its shard. */
void shard_host_each_leader(struct shard_host *shards, void *user,
                            void (*on_replica)(void *user, struct shard_replica *replica));

/* Counts for metrics and status. */
struct shard_host_stats {
    uint32_t replicas;
    uint32_t leading;
    uint64_t commands_applied;
    uint64_t diverged; /* replicas found with another state hash; must stay 0 */
};

void shard_host_stats(const struct shard_host *shards, struct shard_host_stats *stats);

/* An array of objects, one a replica: shard, role, leader, term, applied, committed, hash ... */
void shard_host_status(struct shard_host *shards, struct buffer *json);

#endif
