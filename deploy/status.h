/* How a cluster is: gathered from every node's /_skein/status, judged, printed. */

#ifndef DEPLOY_STATUS_H
#define DEPLOY_STATUS_H

#include "deploy/cluster.h"

#include <jansson.h>

#define STATUS_SHARDS_MAX 1000

struct status_node {
    const struct cluster_process *process;
    pid_t pid;     /* 0 = does not run */
    json_t *facts; /* its own words; NULL = did not answer */
    unsigned leads;
    unsigned replicas;
    uint64_t lag; /* entries behind the furthest replica, the worst of its shards */
};

struct status {
    struct status_node *nodes;
    size_t node_count;
    unsigned nodes_up;
    unsigned controllers_up;
    unsigned shard_count;
    unsigned shards_led;
    unsigned shards_whole; /* with all replicas, caught up */
    unsigned shards_equal; /* all replicas at the same index have the same hash */
    unsigned shards_unequal;
    bool is_catalogue_connected; /* some node hears a controller */
};

/* Asks every node; one that does not answer within `timeout_ms` is taken as it is. */
void status_gather(struct cluster *cluster, unsigned timeout_ms, struct status *status);
void status_close(struct status *status);

/* Every process runs, every shard is led, whole and equal. */
bool status_is_healthy(const struct cluster *cluster, const struct status *status);
/* Every shard is led and some node hears the controllers: requests are served. */
bool status_is_serving(const struct status *status);

/* The node that leads most shards; NULL when nobody leads any. */
const struct status_node *status_busiest_leader(const struct status *status);

void status_print(const struct cluster *cluster, const struct status *status, bool is_coloured);
void status_print_json(const struct cluster *cluster, const struct status *status);

#endif
