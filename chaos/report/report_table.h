/* The tables of report.html: invariants, faults, events. */

#ifndef CHAOS_REPORT_REPORT_TABLE_H
#define CHAOS_REPORT_REPORT_TABLE_H

#include "chaos/report/report_digest.h"

void report_table_invariants(struct buffer *to, const struct report_run *run);
void report_table_faults(struct buffer *to, const struct report_run *run,
                         const struct report_digest *digest);
void report_table_events(struct buffer *to, const struct report_run *run);

#endif
