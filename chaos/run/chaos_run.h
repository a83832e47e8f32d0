/* One run of a scenario on a running laptop cluster: load, faults at their times, healing, checks,
 * verdict. Leaves a folder with everything that happened (run_folder.h) and its report. */

#ifndef CHAOS_RUN_CHAOS_RUN_H
#define CHAOS_RUN_CHAOS_RUN_H

#include "chaos/run/assess.h"
#include "deploy/cluster.h"

struct chaos_run_options {
    unsigned seconds; /* 0 = the scenario's own */
    uint64_t seed;
    unsigned rate_percent;           /* of the workloads' rates */
    bool is_json;                    /* nothing for people on standard output */
    bool is_narrated;                /* what happens is told in sentences, not as a table */
    const char *folder;              /* of the run; NULL = DATA/chaos/NAME-TIME */
    const char *api, *stage, *table; /* of the checkout workload */
    /* Told before the fault of that index in the scenario; after it, what clients noticed is told,
     * too. NULL = no narration. */
    const char *const *stories;
};

struct chaos_run_result {
    struct assessment assessment;
    char folder[600];
    char report[620]; /* empty: there is none */
    uint64_t orders_acknowledged, orders_lost, orders_duplicated, orders_failed;
    bool is_interrupted;
};

/* OK whenever there is a verdict, of whatever kind. SKIPPED: something that the scenario needs is
 * not there; nothing was started. Else ERR_DENIED (another run is at work), ERR_CONFLICT (the
 * cluster is not healthy to begin with), ERR_IO: `why` says what to do. */
enum error chaos_run(struct cluster *cluster, const struct scenario *scenario,
                     const struct chaos_run_options *options, struct chaos_run_result *result,
                     char why[ERROR_WHY_BYTES]);

#endif
