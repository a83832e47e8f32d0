/* `skein chaos run|list|demo` and `skein heal`. */

#ifndef CHAOS_RUN_CHAOS_COMMAND_H
#define CHAOS_RUN_CHAOS_COMMAND_H

#include "chaos/run/chaos_run.h"

/* Exit codes of `skein chaos run`: 0 everything that ran passed, 1 something failed, 2 not
 * understood, 3 nothing failed, and something is undecided or nothing ran at all. */
enum chaos_exit { CHAOS_PASSED = 0, CHAOS_FAILED = 1, CHAOS_USAGE = 2, CHAOS_UNDECIDED = 3 };

struct chaos_command_options {
    const char *data;      /* the cluster's folder */
    unsigned seconds;      /* of each run; 0 = as the scenario says */
    unsigned seconds_each; /* of each step of the demo */
    unsigned times;
    unsigned rate_percent;
    uint64_t seed;
    const char *file;   /* a scenario of one's own */
    const char *folder; /* of the run */
    const char *api, *stage, *table;
    bool is_json;
};

int chaos_command(const struct chaos_command_options *options, int count, char **words);
int chaos_command_heal(struct cluster *cluster, bool is_json);

/* ---- chaos_demo.c ---- */

int chaos_demo(struct cluster *cluster, const struct chaos_command_options *options);

#endif
