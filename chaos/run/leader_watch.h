/* Who leads which shard, looked at several times a second on every node, and what must never be
 * seen while looking: two leaders in one term, a term that goes back, two replicas with different
 * states at the same index. On the caller's libuv loop. */

#ifndef CHAOS_RUN_LEADER_WATCH_H
#define CHAOS_RUN_LEADER_WATCH_H

#include "deploy/cluster.h"

#include <uv.h>

struct leader_watch;

struct leader_watch_counts {
    uint64_t looks;   /* answers of nodes */
    uint64_t changes; /* a shard got another leader than it had last */
    uint64_t terms;   /* that the busiest shard went through */
    uint64_t two_leaders;
    uint64_t terms_back;
    uint64_t unequal_states;
};

/* A shard has another leader now; NULL: no node says that it leads. */
typedef void (*leader_watch_cb)(void *user, unsigned shard, const char *leader);

struct leader_watch *leader_watch_new(uv_loop_t *loop, const struct cluster *cluster, void *user,
                                      leader_watch_cb on_change);
/* The node's data was damaged: its terms may begin anew, without a vote. */
void leader_watch_forget(struct leader_watch *watch, const char *node);
/* The loop must run once more; then free. Nobody is called. */
void leader_watch_close(struct leader_watch *watch);
void leader_watch_free(struct leader_watch *watch); /* NULL is fine */

const struct leader_watch_counts *leader_watch_counts(const struct leader_watch *watch);

/* The counting by itself: what node `node` (index) said, JSON of /_skein/status; empty when it
 * did not answer. */
void leader_watch_take(struct leader_watch *watch, size_t node, struct slice status);

#endif
