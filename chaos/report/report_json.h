/* report.json: the digested figures of a run. What nobody could measure is null; times are seconds
 * since the run began, rates acknowledged requests a second. */

#ifndef CHAOS_REPORT_REPORT_JSON_H
#define CHAOS_REPORT_REPORT_JSON_H

#include "chaos/report/report_digest.h"
#include "proto/base/json_write.h"

/* One object. */
void report_json_write(struct json_write *json, const struct report_run *run,
                       const struct report_digest *digest);

/* A number with three decimals; null below 0. */
void report_json_number(struct json_write *json, double number);
void report_json_member(struct json_write *json, const char *key, double number);

#endif
