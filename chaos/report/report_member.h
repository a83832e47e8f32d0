/* Members of the JSON objects in the files of a run. What a member may be is checked here, and what
 * is wrong is told with its place. Absent and null are the same. */

#ifndef CHAOS_REPORT_REPORT_MEMBER_H
#define CHAOS_REPORT_REPORT_MEMBER_H

#include "chaos/report/report_run.h"

#include <jansson.h>

#define REPORT_NUMBER_MAX 1e12

struct report_place {
    struct report_run *run;
    const char *file;
    uint32_t line; /* 0: of a file that is one object */
    char *why;     /* ERROR_WHY_BYTES */
};

/* Writes "file:line: ..." to `why` and gives ERR_INVALID. */
enum error report_member_wrong(const struct report_place *place, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A text, "" when there is none; it lives as long as the run. */
enum error report_member_text(const struct report_place *place, const json_t *object,
                              const char *member, const char **text);
/* From 0 to `most`; left alone when there is none. */
enum error report_member_number(const struct report_place *place, const json_t *object,
                                const char *member, double most, double *number);
/* A whole number, or an array of what is counted; 0 when there is none. */
enum error report_member_count(const struct report_place *place, const json_t *object,
                               const char *member, uint64_t *count);
/* The member "t", which must be there. */
enum error report_member_time(const struct report_place *place, const json_t *object, double *at_s);
/* A number or a text that names something: its index among `names`. */
enum error report_member_name(const struct report_place *place, const json_t *object,
                              const char *member, struct report_names *names, uint32_t *index);

/* Any value as people write it: texts without quotes, "" for none. */
const char *report_member_any(const struct report_place *place, const json_t *value);

#endif
