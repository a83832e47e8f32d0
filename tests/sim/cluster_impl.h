/* Inside the simulation of whole clusters.
 *
 * cluster_processes.c: daemons that start, crash and are restarted. cluster_ask.c: one request of a
 * client. cluster_clients.c: what clients ask under faults; cluster_bank.c: transactions.
 * cluster_faults.c: what happens to them. cluster_scenario.c: what happens in one order instead.
 * cluster_checks.c: what must be true at the end. cluster.c: a run, from birth to the verdict. */

#ifndef TESTS_SIM_CLUSTER_IMPL_H
#define TESTS_SIM_CLUSTER_IMPL_H

#include "controller/controller.h"
#include "node/node.h"
#include "node/sandbox/sandbox_stub.h"
#include "proto/base/check.h"
#include "proto/env/env_sim.h"
#include "tests/sim/cluster.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#define CLUSTER_NODES_MAX 9
#define CLUSTER_CONTROLLERS_MAX 5
#define WRITERS 4
#define READERS 3
#define RACERS 3
#define RACES_MAX 2000
#define ACCOUNTS 4
#define TELLERS 3
#define ATTEMPT_US 4000000u
#define SHARDS 6
#define CALM_US 60000000u

struct world;

struct process {
    struct world *world;
    uint64_t id;
    bool is_node;
    char name[16];
    const char *region;
    struct env *env;
    struct node *node;
    struct controller *controller;
    struct sandbox_stub *stub;
    struct list exchanges; /* open ones, to free after a crash */
    bool is_up;
    bool wants_restart;
};

/* One client's request: sent to a node, answered or given up, then `on_done`. */
struct ask {
    struct world *world;
    struct open_exchange *exchange; /* NULL once answered, given up or lost with its node */
    uint64_t attempt;               /* a late answer or time-out of an older attempt is ignored */
    void (*on_done)(struct ask *ask, int status, const char *body);
};

struct open_exchange {
    struct http_exchange base;
    struct list link;
    struct ask *ask; /* NULL = nobody waits any more */
    struct http_header headers[4];
};

/* Writes 1, 2, 3 ... to its own key, each until it is acknowledged. A write that had no answer in
 * time may still happen at any time, also after its repetition; the condition makes that harmless,
 * as it would for any careful client, and shows that the repetition found the first one done. */
struct writer {
    struct ask ask;
    int number;
    uint64_t value;        /* being written */
    uint64_t acknowledged; /* all below or equal are */
};

struct reader_client {
    struct ask ask;
    struct writer *of;
    uint64_t floor; /* acknowledged before the read was asked */
};

struct racer { /* tries to be the first to put each of a row of orders */
    struct ask ask;
    int number;
    uint64_t race;
};

struct counter_client {
    struct ask ask;
    uint64_t acknowledged;
    uint64_t unsure;
};

struct teller { /* one transfer after the other */
    struct ask ask;
    int number;
    bool is_open; /* a transfer whose outcome is not known yet */
    uint64_t transfers;
    int from;
    int to;
    int amount;
};

struct auditor {
    struct ask ask;
};

struct bank {
    struct ask opening;
    bool is_open;
    struct teller tellers[TELLERS];
    struct auditor auditor;
    int balances[ACCOUNTS]; /* after all acknowledged transfers */
};

struct world {
    const struct cluster_sim_options *options;
    struct cluster_sim_result *result;
    struct sim *sim;
    struct process processes[CLUSTER_NODES_MAX + CLUSTER_CONTROLLERS_MAX];
    size_t process_count;
    uint64_t controller_ids[CLUSTER_CONTROLLERS_MAX];
    struct writer writers[WRITERS];
    struct reader_client readers[READERS];
    struct racer racers[RACERS];
    int winners[RACES_MAX]; /* racer number + 1 */
    struct counter_client counter;
    struct bank bank;
    struct ask setup;
    bool is_set_up;
    bool is_calm;     /* no faults any more */
    bool is_stopping; /* clients start nothing new */
    size_t final_left;
    uint32_t fault_kinds;   /* bit mask of this seed's swarm */
    const char *region_cut; /* NULL = none */
};

/* ---- cluster.c ---- */

/* The first one stays. */
void cluster_fail(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void cluster_story(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
uint64_t cluster_dice(struct world *world, uint64_t bound);

/* ---- cluster_processes.c ---- */

extern const char *const cluster_regions[3];

void cluster_process_add(struct world *world, bool is_node, uint32_t number, uint32_t count);
void cluster_process_start(struct process *process);
void cluster_process_crash(struct process *process, unsigned how);
void cluster_process_restart(void *process); /* if it is down */
/* From now on: a process that gave up by itself is restarted by its supervisor. */
void cluster_supervise(void *world);
void cluster_exchange_free(struct open_exchange *exchange);
/* `/_skein/status`; a new reference. */
json_t *cluster_status_of(struct process *process);
/* Has each shard three replicas that can vote, on nodes that are up? */
bool cluster_replicas_are_whole(struct world *world);

/* ---- cluster_ask.c ---- */

#define CLUSTER_TARGET(name) ("DynamoDB_20120810." name)

/* One that is up and not paused, NULL if none is found. `region` NULL = any. */
struct process *cluster_node_in(struct world *world, const char *region);
/* Status 0: no answer in time, or nobody to ask. `region` NULL = any node. */
void cluster_ask_start(struct ask *ask, const char *region, const char *target, const char *body);
bool cluster_is_retryable(int status, const char *body);
bool cluster_is_throttled(const char *body);
/* The number in `"n":{"N":"..."}`; 0 when there is no item. */
uint64_t cluster_number_in(const char *body);

/* ---- cluster_clients.c ---- */

void cluster_setup_start(struct world *world); /* makes the table: is_set_up */
void cluster_clients_start(struct world *world);

/* ---- cluster_bank.c ---- */

void cluster_bank_start(struct world *world);
/* Is every transfer's outcome known, so that the balances are? */
bool cluster_bank_is_settled(const struct world *world);

/* ---- cluster_faults.c ---- */

void cluster_faults_start(struct world *world);
void cluster_faults_end(struct world *world); /* everything is well again */

/* ---- cluster_scenario.c ---- */

void cluster_overload(struct world *world);
void cluster_repair(struct world *world);

/* ---- cluster_checks.c ---- */

void cluster_check_values(struct world *world);
/* All replicas of every shard at the same index, with the same hash; waits for it. */
void cluster_check_replicas(struct world *world);
/* Where each replica stands, for who reads why a run failed. */
void cluster_tell_replicas(struct world *world);

#endif
