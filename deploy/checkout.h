/* Orders through the public port, at a fixed rate, whatever the cluster does: the load of
 * `skein load checkout` and of the chaos scenarios.
 *
 * Open loop: latency counts from when an order was due, so a stall is not hidden. An order is sent
 * again as an SDK would, until it is acknowledged or patience runs out. Afterwards every
 * acknowledged order is looked for in every region. On the caller's libuv loop. */

#ifndef DEPLOY_CHECKOUT_H
#define DEPLOY_CHECKOUT_H

#include "deploy/cluster.h"

#include <uv.h>

struct checkout;

struct checkout_options {
    unsigned rate;   /* orders a second */
    size_t orders;   /* to be sent in all, at most */
    uint64_t seed;   /* of the pauses between attempts */
    const char *api; /* name of the API; NULL = the first */
    const char *stage;
    const char *table;
    void *user;
    /* An order was acknowledged, or failed for good. May be NULL. */
    void (*on_order)(void *user, bool is_acknowledged, uint64_t latency_us);
    /* All that were to be sent have ended. May be NULL. */
    void (*on_done)(void *user);
};

struct checkout_counts {
    uint64_t sent;
    uint64_t acknowledged;
    uint64_t failed;
    uint64_t retries;
    uint64_t gap_ms;     /* longest time without an acknowledgement */
    uint64_t unanswered; /* in flight when it was closed: neither acknowledged nor failed */
};

struct checkout_ledger { /* of one region */
    uint64_t lost;       /* acknowledged, and not found */
    uint64_t duplicated; /* found more than once */
};

/* Finds the API (blocking). ERR_NOT_FOUND: there is none; `why` says what to do. Borrows the texts
 * of the options. */
enum error checkout_new(struct cluster *cluster, const struct checkout_options *options,
                        struct checkout **checkout, char why[ERROR_WHY_BYTES]);
void checkout_start(struct checkout *checkout, uv_loop_t *loop);
/* Send no more; what is in flight goes on. */
void checkout_stop(struct checkout *checkout);
/* Ends what is in flight. The loop must run once more; then verify, then free. */
void checkout_close(struct checkout *checkout);
void checkout_free(struct checkout *checkout); /* NULL is fine */

const struct checkout_counts *checkout_counts(const struct checkout *checkout);
uint64_t checkout_in_flight(const struct checkout *checkout);

/* Latencies of the acknowledged orders numbered [from, to), sorted; the caller frees. */
uint64_t *checkout_latencies(const struct checkout *checkout, size_t from, size_t to,
                             size_t *count);
double checkout_percentile_ms(const uint64_t *sorted_us, size_t count, double part);

/* Looks for every acknowledged order in a region (blocking). What is missing is looked for again
 * for ten seconds before it is called lost. */
enum error checkout_verify(const struct checkout *checkout, const char *region,
                           struct checkout_ledger *ledger, char why[ERROR_WHY_BYTES]);

#endif
