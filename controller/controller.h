/* A controller: one member of the Raft group that owns the catalogue.
 *
 * It keeps the catalogue (catalogue.h), and while it leads, who is alive (membership.h), what has
 * to change (planner.h, over placement.h and failover.h), what nodes have been told (watch.h) and
 * who asked for changes (update.h). It is never in a request's path: when all controllers are gone,
 * nodes go on with the copy they have. */

#ifndef CONTROLLER_CONTROLLER_H
#define CONTROLLER_CONTROLLER_H

#include "controller/planner.h"
#include "proto/env/env.h"
#include "proto/net/link_rules.h"

#define CONTROLLER_GROUP_ID 1

struct controller;

struct controller_options {
    const uint64_t *controller_ids; /* all of them, this one included; the group's members */
    size_t controller_count;
    /* In the data folder, made with the cluster, removed once this controller has been part of it:
     * without it an empty folder is one that was emptied. NULL = an empty folder is a new one. */
    const char *birth_file;
    uint32_t lease_ms;     /* 1000: a node is lost this long after its last heartbeat */
    uint32_t heartbeat_ms; /* of Raft: 100 */
    uint32_t election_ms;  /* 1000 */
    struct planner_options planner;
    struct link_rules *links; /* others may set them; NULL = they may not */
    void *user;
    /* State could not be written: the process must stop acting at once. */
    void (*on_fatal)(void *user, enum error rc, const char *why);
};

/* What skein up uses on a laptop. */
void controller_options_init(struct controller_options *options);

/* Opens the catalogue and the journal in the data folder and takes part. Borrows nothing. NULL
 * (and the reason in the log) when they cannot be read. The caller has made the controllers known
 * to the link; nodes that registered become known by themselves. */
struct controller *controller_new(struct env *env, const struct controller_options *options);
/* As a crash would. */
void controller_free(struct controller *controller);
/* Hands leadership over, then calls back. */
void controller_drain(struct controller *controller, void *user, void (*done)(void *user));

bool controller_is_leader(const struct controller *controller);
/* One JSON object: role, leader, term, revision, nodes with their leases, plans. */
void controller_status(const struct controller *controller, struct buffer *json);

#endif
