/* Watch: pushes the catalogue's changes to the nodes.
 *
 * Each node has a stream of numbered pushes on ENV_CHANNEL_WATCH, acknowledged by the node. A
 * stream begins where the node's copy ends; when the changes since then are no longer known, with a
 * whole copy in parts. A few pushes may be on their way to a node, no more (credit), so a slow one
 * waits for itself only. Whatever goes missing, by a link or a restart, is noticed as a gap or a
 * stall and ends in a new stream. Only the leading controller pushes. */

#ifndef CONTROLLER_WATCH_H
#define CONTROLLER_WATCH_H

#include "controller/catalogue.h"

#define WATCH_CREDIT 4                /* pushes on their way to one node */
#define WATCH_PUSH_BYTES (256u << 10) /* of records in one push, unless one record is larger */
#define WATCH_STALL_MS 1000           /* without an acknowledgement: a new stream */

struct watch;

/* `on_ack` is told when a node's copy has come further. */
struct watch *watch_new(struct env *env, struct catalogue *catalogue, void *user,
                        void (*on_ack)(void *user, uint64_t node));
void watch_free(struct watch *watch); /* before the catalogue */

void watch_start(struct watch *watch, uint64_t term); /* as leader: nodes join by watch_heard */
void watch_stop(struct watch *watch);

/* A heartbeat: this process of the node has a copy of that revision. */
void watch_heard(struct watch *watch, uint64_t node, uint64_t incarnation, uint64_t revision);
void watch_forget(struct watch *watch, uint64_t node); /* its stream is over */
/* The catalogue has new revisions; they leave at the end of the turn. */
void watch_wake(struct watch *watch);

/* The newest revision the node is known to have; 0 for one never heard. */
uint64_t watch_acked(const struct watch *watch, uint64_t node);

#endif
