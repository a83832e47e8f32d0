/* A whole cluster in one process: real controllers and nodes on the simulated environment, clients
 * that speak DynamoDB to any node as an SDK would, and every kind of fault between them.
 *
 * Checked: no acknowledged write is lost, strong reads are never older than what was acknowledged
 * before they were asked nor newer than what was ever written, one winner for each put-if-absent, a
 * counter counts every acknowledged increment once, transfers between accounts neither make nor
 * lose money at any moment that is read; after everything has healed, the cluster serves again, all
 * regions read the same, and all replicas of a shard have the same state hash. */

#ifndef TESTS_SIM_CLUSTER_H
#define TESTS_SIM_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

enum cluster_scenario {
    CLUSTER_FAULTS,   /* every kind of fault, drawn from the seed */
    CLUSTER_OVERLOAD, /* more writes at once than a shard takes; a node may be killed meanwhile */
    CLUSTER_REPAIR    /* a node stays away until its replicas were built elsewhere; it comes back */
};

struct cluster_sim_options {
    uint64_t seed;
    uint32_t nodes;
    uint32_t regions;
    uint32_t controllers;
    enum cluster_scenario scenario;
    uint32_t ms; /* of faults, simulated */
    uint32_t repair_after_ms;
    bool has_story;  /* the faults on standard error */
    bool is_verbose; /* every event, too */
};

struct cluster_sim_result {
    bool is_ok;
    char why[200]; /* what was found wrong */
    uint64_t trace_hash;
    uint64_t events;
    uint64_t acknowledged; /* writes */
    uint64_t reads;
    uint64_t faults;
    uint64_t crashes;
};

/* Six nodes and three controllers in three regions, 20 s of faults. */
struct cluster_sim_options cluster_sim_options_default(uint64_t seed);

void cluster_sim_run(const struct cluster_sim_options *options, struct cluster_sim_result *result);

#endif
