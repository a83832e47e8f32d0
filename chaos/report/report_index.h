/* The report of several runs: index.html with a line for each, report.json, junit.xml.
 *
 * The whole fails when one run fails, is undecided when one is, or cannot be read; runs that were
 * skipped are counted, but never as passed: if all were, so is the whole. */

#ifndef CHAOS_REPORT_REPORT_INDEX_H
#define CHAOS_REPORT_REPORT_INDEX_H

#include "chaos/report/report_digest.h"

struct report_index {
    struct buffer rows;   /* of the table */
    struct buffer suites; /* of junit.xml */
    struct buffer runs;   /* of report.json, separated by commas */
    size_t count, unreadable_count;
    size_t verdict_counts[4]; /* by enum report_verdict */
    uint64_t ok, failed;
    double seconds;
};

void report_index_init(struct report_index *index);
void report_index_close(struct report_index *index);

/* One more run, in the folder `name` below that of the index. */
void report_index_add(struct report_index *index, const char *name, const struct report_run *run,
                      const struct report_digest *digest);
/* A folder whose files could not be read. */
void report_index_add_unreadable(struct report_index *index, const char *name, const char *why);

enum report_verdict report_index_verdict(const struct report_index *index);

void report_index_write_html(const struct report_index *index, struct buffer *to);
void report_index_write_json(const struct report_index *index, struct buffer *to);
void report_index_write_junit(const struct report_index *index, struct buffer *to);

#endif
