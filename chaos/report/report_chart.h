/* The charts of a run, as SVG that needs nothing else: throughput, latency, errors and who leads
 * each shard, over one axis of time, with the faults as bands through all of them.
 *
 * Its size is in CSS pixels, so a page has two of them and shows the one that fits. Colours come
 * from the page's style sheet (report.css). */

#ifndef CHAOS_REPORT_REPORT_CHART_H
#define CHAOS_REPORT_REPORT_CHART_H

#include "chaos/report/report_digest.h"

enum report_chart_size { REPORT_CHART_WIDE, REPORT_CHART_NARROW };

#define REPORT_CHART_BUCKETS_MAX 1200
#define REPORT_CHART_COLOURS 10 /* of nodes; more of them share */

/* The run has samples and lasts. */
void report_chart_write(struct buffer *to, const struct report_run *run,
                        enum report_chart_size size);

/* Throughput and faults in the height of a line, for a list of runs. */
void report_chart_write_small(struct buffer *to, const struct report_run *run);

/* "1 kill node-3": how a fault is called everywhere in a report. Not escaped; the number counts
 * from 1. */
void report_chart_fault_name(struct buffer *to, const struct report_run *run, size_t fault);

#endif
