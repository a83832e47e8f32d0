/* Runs a simulation for many seeds, each in a process of its own: a crash, a leak or a hang in one
 * of them is one failing seed.
 *
 * A simulation never asks the operating system for anything; this is what does it for it. */

#ifndef TESTS_SIM_SEEDS_H
#define TESTS_SIM_SEEDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEEDS_WHY_BYTES 240
#define SEEDS_FACTS_MAX 24

struct seed_result { /* what comes back from the seed's process */
    uint64_t trace_hash;
    uint64_t events;
    uint64_t facts[SEEDS_FACTS_MAX]; /* counts of what the run met; summed up over all seeds */
    bool is_failed;
    char why[SEEDS_WHY_BYTES];
};

struct seeds_options {
    uint64_t first;
    uint64_t count;
    unsigned jobs;        /* 0 = one for each core */
    unsigned seconds_max; /* for one seed, of real time */
    bool twice;           /* run each seed two times and compare the trace hashes */
    bool stop_at_failure; /* the first is enough */
    bool quiet;           /* no line for each failing seed */
    const char *replay;   /* the command line without the seed, for the failing ones' lines */
    void *user;
    void (*run)(void *user, uint64_t seed, struct seed_result *result);
};

struct seeds_summary {
    uint64_t run;
    uint64_t failed;
    uint64_t failed_first; /* the lowest failing seed */
    char why_first[SEEDS_WHY_BYTES];
    uint64_t trace_hash; /* of all runs; the same whatever their order */
    uint64_t events;
    uint64_t facts[SEEDS_FACTS_MAX];
    double seconds;
};

void seeds_run(const struct seeds_options *options, struct seeds_summary *summary);

#endif
