/* The words of the scenario language, each with what it means: faults, workloads, measures. */

#ifndef CHAOS_SCENARIO_SCENARIO_WORDS_H
#define CHAOS_SCENARIO_SCENARIO_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#define SCENARIO_WORDS_MAX 12

#define SCENARIO_LAYERS(X)                                                                         \
    X(SCENARIO_SIM, "sim", "the real code on simulated time, network and disk")                    \
    X(SCENARIO_HOSTS, "hosts", "real processes in network namespaces")                             \
    X(SCENARIO_LAPTOP, "laptop", "a cluster of skein up, without root")

#define SCENARIO_WORKLOADS(X)                                                                      \
    X(SCENARIO_CHECKOUT, "checkout", "orders through API gateway, function and table")             \
    X(SCENARIO_REGISTER, "register", "PutItem and strong GetItem of a few keys")                   \
    X(SCENARIO_COUNTER, "counter", "UpdateItem ADD, each sum returned")                            \
    X(SCENARIO_ORDERS, "orders", "PutItem with attribute_not_exists: one winner for each key")

/* In the units of their names. */
#define SCENARIO_MEASURES(X)                                                                       \
    X(MEASURE_LOST, "lost-orders", "acknowledged orders that some region lacks")                   \
    X(MEASURE_DUPLICATED, "duplicated-orders", "orders found twice")                               \
    X(MEASURE_WRONG_HISTORIES, "wrong-histories", "histories that no correct service explains")    \
    X(MEASURE_TWO_LEADERS, "two-leaders", "shards seen with two leaders in one term")              \
    X(MEASURE_TERMS_BACK, "terms-back", "replicas whose term went back")                           \
    X(MEASURE_UNEQUAL, "unequal-states", "replicas with another state at the same index")          \
    X(MEASURE_RECOVERY, "recovery-s",                                                              \
      "from the end of all faults until everything is healthy and equal")                          \
    X(MEASURE_FAILED, "failed-requests", "requests that failed in spite of an SDK's retries")      \
    X(MEASURE_FAILED_PERCENT, "failed-percent", "attempts that failed")                            \
    X(MEASURE_GAP_P50, "gap-p50-ms", "longest time without a write on a key after a fault")        \
    X(MEASURE_GAP_P99, "gap-p99-ms", "the same, 99th percentile over the faults")                  \
    X(MEASURE_GAP_MAX, "gap-max-ms", "the same, the longest of all")                               \
    X(MEASURE_READ_P99, "read-p99-ms", "strong reads, 99th percentile")                            \
    X(MEASURE_WRITE_P50, "write-p50-ms", "writes, median")                                         \
    X(MEASURE_LEADER_CHANGES, "leader-changes", "shards that got another leader")                  \
    X(MEASURE_TERMS, "terms", "terms that the busiest shard went through")                         \
    X(MEASURE_GOODPUT, "goodput-percent", "requests served with faults, of those before")

enum scenario_layer {
#define X(name, text, meaning) name,
    SCENARIO_LAYERS(X)
#undef X
        SCENARIO_LAYER_COUNT
};

enum scenario_workload {
#define X(name, text, meaning) name,
    SCENARIO_WORKLOADS(X)
#undef X
        SCENARIO_WORKLOAD_COUNT
};

enum scenario_measure {
#define X(name, text, meaning) name,
    SCENARIO_MEASURES(X)
#undef X
        MEASURE_COUNT
};

enum scenario_relation { RELATION_EQUAL, RELATION_AT_MOST, RELATION_AT_LEAST };

enum scenario_action {
    ACTION_KILL,
    ACTION_PAUSE,
    ACTION_STOP,
    ACTION_WIPE,
    ACTION_FLIP,
    ACTION_TRUNCATE,
    ACTION_CUT,
    ACTION_MUTE,
    ACTION_DEAFEN,
    ACTION_DELAY,
    ACTION_LOSE,
    ACTION_ELSEWHERE /* other layers' */
};

struct scenario_verb {
    const char *name;
    enum scenario_action action;
    unsigned layers;               /* where it exists */
    unsigned words_min, words_max; /* behind it */
    const char *usage;             /* "kill TARGET" */
    const char *past;              /* "killed" */
};

const char *scenario_layer_name(enum scenario_layer layer);
const char *scenario_workload_name(enum scenario_workload workload);
const char *scenario_measure_name(enum scenario_measure measure);
const char *scenario_measure_meaning(enum scenario_measure measure);
const char *scenario_relation_text(enum scenario_relation relation);

/* False when there is no such word. */
bool scenario_layer_find(const char *name, enum scenario_layer *layer);
bool scenario_workload_find(const char *name, enum scenario_workload *workload);
bool scenario_measure_find(const char *name, enum scenario_measure *measure);
bool scenario_relation_find(const char *text, enum scenario_relation *relation);
const struct scenario_verb *scenario_verb_find(const char *name); /* NULL */

/* What this build of skein has of what a scenario may need. */
bool scenario_need_is_met(const char *need);

#endif
