/* Clients that read and write a few keys at the same time, and a record of what each of them
 * asked and was told, for the checker.
 *
 *   register  PutItem of values that all differ; strong GetItem
 *   counter   UpdateItem ADD 1, which returns the sum; strong GetItem
 *   orders    PutItem with attribute_not_exists; strong GetItem
 *
 * Nothing is sent again on its own: each attempt is an operation of the history. One that had no
 * answer may have happened, at any later time ("info"), and its client goes on as a new process. A
 * few clients share a key, and the keys change, so that the checker can decide. At the end every
 * key is read once more. On the caller's libuv loop. */

#ifndef CHAOS_RUN_KEY_LOAD_H
#define CHAOS_RUN_KEY_LOAD_H

#include "chaos/run/assess.h"
#include "deploy/cluster.h"

#include <uv.h>

struct key_load;

struct key_load_options {
    const struct cluster *cluster;
    const struct scenario *scenario;
    uint64_t seed;
    uint64_t start_us; /* uv_hrtime / 1000 when the run began */
    unsigned rate_percent;
    void *user;
    /* One attempt has ended. */
    void (*on_attempt)(void *user, bool is_ok, bool is_write, uint64_t latency_us);
    /* An event of the history of a workload, one line with its newline. */
    void (*on_history)(void *user, enum scenario_workload workload, struct slice line);
    /* After key_load_finish: all keys are read, nothing is in flight. */
    void (*on_done)(void *user);
};

struct key_load_counts {
    uint64_t attempts, ok;
    uint64_t unknown;         /* no answer: may have happened */
    uint64_t failed_requests; /* that an SDK would have given up: three attempts in a row */
    uint64_t unread;          /* keys that could not be read at the end */
};

struct key_load *key_load_new(uv_loop_t *loop, const struct key_load_options *options);
/* Start nothing new; then read every key, each until it can be read, `patience_ms` at most. */
void key_load_finish(struct key_load *load, uint32_t patience_ms);
/* The loop must run once more; then free. Nobody is called. */
void key_load_close(struct key_load *load);
void key_load_free(struct key_load *load); /* NULL is fine */

const struct key_load_counts *key_load_counts(const struct key_load *load);
/* Times in which a write on a key was wanted and none was acknowledged; lent. A gap is seen from
 * the first request of it, not from the fault. */
size_t key_load_gaps(const struct key_load *load, const struct assess_gap **gaps);

#endif
