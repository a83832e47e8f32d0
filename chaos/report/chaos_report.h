/* The report of a chaos run: files that show people, scripts and CI what happened.
 *
 * A run is a folder with what its runner wrote (report_run.h has the formats): run.json,
 * events.jsonl, samples.jsonl, leaders.jsonl, and history.jsonl, which is only linked. Beside them
 * are put
 *
 *   report.html  one page without anything from outside: verdict, charts, invariants, events
 *   report.json  the digested figures (report_json.h)
 *   junit.xml    a test case for each invariant
 *
 * A folder of runs gets these for each run below it, and index.html, report.json and junit.xml of
 * the whole. */

#ifndef CHAOS_REPORT_CHAOS_REPORT_H
#define CHAOS_REPORT_CHAOS_REPORT_H

#include "proto/base/error.h"

/* Writes the report of the run in `folder`, or of all runs in folders below it when it has no
 * run.json of its own. Each file is replaced whole.
 *
 * ERR_NOT_FOUND, ERR_INVALID, ERR_TOO_LARGE: a file of the run is missing or broken; ERR_IO:
 * reading or writing failed. `why` then names the file, and the line if there is one. In a folder
 * of runs all others are written all the same, and index.html shows which one is broken. */
enum error chaos_report_write(const char *folder, char why[ERROR_WHY_BYTES]);

#endif
