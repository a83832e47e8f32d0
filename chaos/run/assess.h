/* What a run was like, against what its scenario expects of it. Pure.
 *
 * A figure that could not be measured makes its invariant undecided, never good: UNDECIDED is no
 * pass. Some invariants are expected of every scenario whose workload can tell. */

#ifndef CHAOS_RUN_ASSESS_H
#define CHAOS_RUN_ASSESS_H

#include "chaos/scenario/scenario.h"

#include <stdint.h>

enum run_verdict { RUN_PASS, RUN_FAIL, RUN_UNDECIDED, RUN_SKIPPED };

struct assess_figure {
    bool is_known;
    double value;
};

struct assess_invariant {
    struct scenario_expect expect;
    struct assess_figure measured;
    bool is_ok; /* of a known figure */
};

struct assessment {
    enum run_verdict verdict;
    char why[ERROR_WHY_BYTES]; /* of any verdict but PASS: the first reason */
    struct assess_invariant invariants[SCENARIO_EXPECTS_MAX + MEASURE_COUNT];
    size_t count;
};

const char *assess_verdict_name(enum run_verdict verdict);

void assess(const struct scenario *scenario, const struct assess_figure figures[MEASURE_COUNT],
            struct assessment *assessment);

/* A run that ended before it could be judged is at best undecided. */
void assess_cut_short(struct assessment *assessment, const char *why);

/* "12", "12.5" */
void assess_number(double value, char text[32]);

/* ---- longest times without a write ---- */

struct assess_gap { /* on one key */
    uint64_t from_us, to_us;
};

/* Of each fault, begun at at_us[i] (in order of time), the longest gap that overlaps the
 * `window_us` behind it; a later fault ends the window. `longest_us` has room for all of them. */
void assess_gaps(const struct assess_gap *gaps, size_t gap_count, const uint64_t *at_us,
                 size_t fault_count, uint64_t window_us, uint64_t *longest_us);

/* The nearest rank: the smallest value that `part` of all do not exceed. Sorts. 0 without any. */
uint64_t assess_percentile(uint64_t *values, size_t count, double part);

#endif
