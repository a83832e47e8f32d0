/* `skein load checkout`: orders at a fixed rate, whatever the cluster does (open loop: latency
 * counts from when an order was due, so a stall is not hidden), while processes are killed; then
 * every acknowledged order is looked for in every region. An interrupt (SIGINT, SIGTERM, SIGHUP)
 * ends the sending early: whoever was killed is started again, and the orders so far are looked
 * for. */

#ifndef DEPLOY_LOAD_H
#define DEPLOY_LOAD_H

#include "deploy/cluster.h"

struct load_options {
    unsigned rate; /* orders a second */
    unsigned seconds;
    unsigned kill_every_ms; /* 0 = kill nobody */
    unsigned restart_after_ms;
    uint64_t seed;   /* of the choice of victims */
    bool is_json;    /* one object at the end instead of lines for people */
    const char *api; /* name of the API; NULL = the first that has POST /orders */
    const char *stage;
    const char *table;
};

struct load_result {
    uint64_t sent;
    uint64_t acknowledged;
    uint64_t failed;
    uint64_t retries;
    uint64_t kills;
    uint64_t lost;       /* acknowledged, and not found in some region */
    uint64_t duplicated; /* found more than once in a region */
    uint64_t gap_ms;     /* longest time without an acknowledgement */
    uint64_t unanswered; /* in flight when it was interrupted: neither acknowledged nor failed */
    bool is_interrupted;
    double p50_ms, p90_ms, p99_ms, max_ms;
};

/* Prints as it goes. ERR_NOT_FOUND: no such API or table: `why` says what to do. */
enum error load_checkout(struct cluster *cluster, const struct load_options *options,
                         struct load_result *result, char why[ERROR_WHY_BYTES]);

#endif
