/* How a cluster is: gathered from the nodes' own words, judged, printed. */

#ifndef DEPLOY_STATUS_H
#define DEPLOY_STATUS_H

#include "deploy/cluster.h"

#include <jansson.h>

#define STATUS_SHARDS_MAX 1000
#define STATUS_TEXT_BYTES 240

struct status_node {
    const struct cluster_process *process;
    const struct daemon *daemon;
    pid_t pid; /* 0 = does not run */
    bool is_paused;
    json_t *facts; /* its own words; NULL = did not answer */
    unsigned leads;
    unsigned replicas;
    unsigned voteless; /* replicas that lost their log and have not fetched it again yet */
    uint64_t lag;      /* entries behind the furthest replica, the worst of its shards */
};

struct status_table {
    char *name;
    unsigned shards;                  /* led by somebody and holding rows of it */
    const struct status_node *leader; /* of most of them; NULL = there are none */
    unsigned leads;                   /* of them, by `leader` */
};

struct status {
    struct status_node *nodes;
    size_t node_count;
    unsigned nodes_up;
    unsigned controllers_up;
    const struct daemon *controller_leader; /* NULL = no node knows of one */
    unsigned nodes_connected;               /* nodes that hear a controller */
    unsigned shard_count;
    unsigned shards_led;
    unsigned shards_whole; /* with all replicas, caught up */
    unsigned shards_equal; /* all replicas at the same index have the same hash */
    unsigned shards_unequal;
    uint64_t *reached; /* by shard: the furthest replica when first looked at */
    struct status_table *tables;
    size_t table_count;
};

/* Asks every node; one that does not answer within `timeout_ms` is taken as it is. */
void status_gather(struct cluster *cluster, unsigned timeout_ms, struct status *status);
/* Asks again: a replica trails when it has not reached by now what another had at first. Under
 * load no two replicas are asked at the same moment, and the first look cannot tell. */
void status_look_again(struct cluster *cluster, unsigned timeout_ms, struct status *status);
/* Which tables there are, and who leads them. */
void status_gather_tables(struct cluster *cluster, unsigned timeout_ms, struct status *status);
void status_close(struct status *status);

/* Every process runs, every shard is led, whole and equal. */
bool status_is_healthy(const struct cluster *cluster, const struct status *status);
/* Every shard is led and some node hears the controllers: requests are served. */
bool status_is_serving(const struct status *status);

/* The node that leads most shards; NULL when nobody leads any. */
const struct status_node *status_busiest_leader(const struct status *status);

/* What is wrong, in words, and what to do next. */
void status_each_problem(const struct cluster *cluster, const struct status *status, void *user,
                         void (*on_problem)(void *user, const char *what, const char *next));

/* ---- status_print.c ---- */

void status_print(const struct cluster *cluster, const struct status *status, bool is_coloured);
void status_print_json(const struct cluster *cluster, const struct status *status);

#endif
