/* The files of a run, written while it goes on (chaos/report/report_run.h has their formats).
 * Whatever cannot be written is told once, on standard error: a run is worth more than its
 * papers. */

#ifndef CHAOS_RUN_RUN_FOLDER_H
#define CHAOS_RUN_RUN_FOLDER_H

#include "chaos/run/assess.h"
#include "deploy/cluster.h"

struct run_folder;

struct run_summary {
    const struct scenario *scenario;
    const struct cluster *cluster;
    const struct assessment *assessment;
    const char *layer;
    uint64_t seed;
    uint64_t started_s; /* since 1970 */
    double seconds;
};

struct run_event {
    double at_s;
    const char *kind; /* "fault", "undo", "note" */
    unsigned id;      /* an undo has its fault's */
    const char *what;
    const char *target;
    const char *text;
};

struct run_sample {
    double at_s;
    uint64_t ok, failed;
    bool has_latency;
    double p50_ms, p99_ms, max_ms;
};

/* Makes the folder, with its parents. NULL: it could not be. */
struct run_folder *run_folder_new(const char *path, char why[ERROR_WHY_BYTES]);
void run_folder_free(struct run_folder *folder); /* NULL is fine */
const char *run_folder_path(const struct run_folder *folder);

void run_folder_event(struct run_folder *folder, const struct run_event *event);
void run_folder_sample(struct run_folder *folder, const struct run_sample *sample);
void run_folder_leader(struct run_folder *folder, double at_s, unsigned shard, const char *leader);
void run_folder_history(struct run_folder *folder, struct slice line); /* with its newline */
/* Last: run.json. */
void run_folder_summary(struct run_folder *folder, const struct run_summary *summary);
/* All that was written is in the files. */
void run_folder_flush(struct run_folder *folder);

#endif
