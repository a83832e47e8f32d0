/* The duties of the controller that leads: it hears the nodes' heartbeats, knows who is alive, and
 * proposes what the planner finds to be changed.
 *
 * What it knows besides the catalogue (leases, registrations) lives only while it leads; the next
 * leader learns it anew. Followers answer registrations with who leads. */

#ifndef CONTROLLER_LEADER_H
#define CONTROLLER_LEADER_H

#include "controller/planner.h"
#include "controller/update.h"
#include "controller/watch.h"
#include "proto/base/json_write.h"

struct leader;

struct leader_options {
    struct env *env;
    struct catalogue *catalogue;
    struct watch *watch;
    struct updates *updates;
    uint32_t lease_ms;
    struct planner_options planner;
};

struct leader *leader_new(const struct leader_options *options);
void leader_free(struct leader *leader);                        /* free the group's host before */
void leader_attach(struct leader *leader, struct group *group); /* before anything below */

void leader_start(struct leader *leader, uint64_t term);
void leader_stop(struct leader *leader); /* fine when it does not lead */
bool leader_is_leading(const struct leader *leader);

void leader_on_register(struct leader *leader, struct call_request *request);
/* A record changed; NULL = any may have. */
void leader_on_change(struct leader *leader, const char *key);
/* The node's process is gone: its lease need not run out. */
void leader_on_refused(struct leader *leader, uint64_t node);
/* Has every node whose lease holds that revision? */
bool leader_is_everywhere(const struct leader *leader, uint64_t revision);

/* Members of a JSON object: leases, plans pending. */
void leader_status(const struct leader *leader, struct json_write *json);

#endif
