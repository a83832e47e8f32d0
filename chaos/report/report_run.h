/* A chaos run as the files of its folder tell it.
 *
 *   run.json       {"scenario", "title", "layer", "seed", "started", "seconds",
 *                   "verdict": "PASS"|"FAIL"|"UNDECIDED"|"SKIPPED", "why",
 *                   "invariants": [{"name", "threshold", "measured", "ok": true|false|null}],
 *                   "cluster": {"nodes", "controllers", "regions": [name]}}
 *   events.jsonl   {"t", "kind": "fault"|"undo"|"note", "id", "what", "target", "text"}; an undo
 * has its fault's id samples.jsonl  {"t", "ok", "failed", "p50_ms", "p99_ms", "max_ms"}, for the
 * time since the sample before, about every 100 ms; no latencies when nothing was answered
 *   leaders.jsonl  {"t", "shard", "leader": name|null}, at each change
 *
 * All times are seconds since the run began. Lines may be out of order; unknown members are
 * ignored. A run that never began (SKIPPED, or of 0 seconds) needs run.json only. */

#ifndef CHAOS_REPORT_REPORT_RUN_H
#define CHAOS_REPORT_REPORT_RUN_H

#include "proto/base/arena.h"
#include "proto/base/map.h"

#define REPORT_FILE_BYTES_MAX ((size_t)256 << 20)
#define REPORT_RECORDS_MAX 2000000u /* of samples, or of changes of a leader */
#define REPORT_FAULTS_MAX 10000u
#define REPORT_NAMES_MAX 1000u /* shards, or nodes */
#define REPORT_SECONDS_MAX 1e7
#define REPORT_NO_NODE UINT32_MAX
#define REPORT_NO_FAULT SIZE_MAX

enum report_verdict { REPORT_PASS, REPORT_FAIL, REPORT_UNDECIDED, REPORT_SKIPPED };
enum report_outcome { REPORT_HOLDS, REPORT_BROKEN, REPORT_OPEN };
enum report_kind { REPORT_FAULT, REPORT_UNDO, REPORT_NOTE };
enum report_file {
    REPORT_FILE_RUN,
    REPORT_FILE_EVENTS,
    REPORT_FILE_SAMPLES,
    REPORT_FILE_LEADERS,
    REPORT_FILE_COUNT
};

struct report_invariant {
    const char *name, *threshold, *measured; /* never NULL */
    enum report_outcome outcome;
};

struct report_event {
    double at_s;
    uint32_t line;
    enum report_kind kind;
    int64_t id;
    size_t fault; /* its own or the one it undoes, index of `faults`; REPORT_NO_FAULT of a note */
    const char *what, *target, *text; /* never NULL */
};

struct report_fault {
    size_t event;           /* index of `events` */
    double from_s, until_s; /* until the end of the run when nothing undid it */
    bool is_undone;
};

struct report_sample {
    double from_s, at_s; /* what happened after from_s and up to at_s; from_s < at_s */
    uint32_t line;
    uint64_t ok, failed;
    double p50_ms, p99_ms, max_ms; /* below 0: no answer in this time */
};

struct report_lead {
    double at_s;
    uint32_t line;
    uint32_t shard; /* index of `shards` */
    uint32_t node;  /* index of `nodes`, REPORT_NO_NODE: nobody leads */
};

struct report_names {
    const char **names; /* node-2 before node-10 */
    size_t count;
    struct map places; /* name -> its index + 1 */
};

struct report_run {
    const char *scenario, *title, *layer, *seed, *started, *why; /* never NULL */
    enum report_verdict verdict;
    double seconds;
    double end_s; /* of all that is recorded; at least `seconds` */
    uint64_t node_count, controller_count;
    const char **regions;
    size_t region_count;
    struct report_invariant *invariants;
    size_t invariant_count;
    struct report_event *events; /* these four by time */
    size_t event_count, event_capacity;
    struct report_fault *faults;
    size_t fault_count;
    struct report_sample *samples;
    size_t sample_count, sample_capacity;
    struct report_lead *leads;
    size_t lead_count, lead_capacity;
    struct report_names shards, nodes;
    struct arena arena;
};

void report_run_init(struct report_run *run);
void report_run_close(struct report_run *run);

/* All files of the folder. On failure `why` names the file and the line. */
enum error report_run_read(struct report_run *run, const char *folder, char why[ERROR_WHY_BYTES]);

/* The same in steps: the content of each file, run.json first, then what only all of them together
 * tell: the order, which undo ends which fault, and whether the verdict agrees with the
 * invariants. */
enum error report_run_parse(struct report_run *run, enum report_file file, struct slice content,
                            char why[ERROR_WHY_BYTES]);
enum error report_run_end(struct report_run *run, char why[ERROR_WHY_BYTES]);

const char *report_run_file_name(enum report_file file);
const char *report_run_verdict_name(enum report_verdict verdict);

#endif
