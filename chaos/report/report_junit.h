/* junit.xml: a test case for each invariant of a run.
 *
 * A skipped run has one test case, which is skipped. An invariant that was not decided is an error,
 * and so is a verdict other than PASS that no invariant explains. */

#ifndef CHAOS_REPORT_REPORT_JUNIT_H
#define CHAOS_REPORT_REPORT_JUNIT_H

#include "chaos/report/report_run.h"

/* The element <testsuite>; a document has them inside of <testsuites>. */
void report_junit_write(struct buffer *to, const struct report_run *run);

#endif
