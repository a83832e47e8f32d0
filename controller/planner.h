/* Planner: what the leading controller should change in the catalogue now.
 *
 * It compares what is (the records) with what should be (live nodes, placement, failover) and gives
 * the difference as one command, in which every change expects the record to be as it was read.
 * Pure: everything it looks at is an argument. Called again after every change, it comes to rest
 * when there is nothing left to do. */

#ifndef CONTROLLER_PLANNER_H
#define CONTROLLER_PLANNER_H

#include "controller/membership.h"
#include "proto/base/map.h"
#include "proto/records/records.h"

#define PLANNER_SHARDS_MAX 1000

struct planner_options {
    uint32_t shard_count;
    uint32_t replica_count;
    uint32_t function_nodes; /* a function runs on at most so many nodes */
    uint32_t expected_nodes; /* the cluster is born when so many are alive, */
    uint32_t birth_wait_ms;  /* or after this long with any */
    uint32_t repair_after_ms;
};

struct planner_input {
    const struct planner_options *options;
    const struct records *records;
    const struct membership *membership;
    const struct map *registrations; /* node id -> struct buffer: its packed Node, is_alive set */
    const struct map *shard_changes; /* shard id -> uint64_t: when it changed, if this leader saw */
    uint64_t leader_since_ms;
    uint64_t now_ms;
    uint64_t wall_ms;
    const char *cluster_id; /* for the birth */
    bool with_functions;    /* look at function placement too */
};

struct planner_plan {
    size_t changes;    /* 0 = nothing to do, `command` is empty */
    bool is_cut_short; /* there is more to do after this */
    bool is_birth;
    size_t nodes; /* changes of each kind */
    size_t shards;
    size_t functions;
};

/* Appends a packed CatalogueCommand to `command`. */
void planner_plan(const struct planner_input *input, struct buffer *command,
                  struct planner_plan *plan);

#endif
