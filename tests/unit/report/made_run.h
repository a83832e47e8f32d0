/* Made-up runs for tests of the report: the text of each file, to be parsed or written. */

#ifndef TESTS_UNIT_REPORT_MADE_RUN_H
#define TESTS_UNIT_REPORT_MADE_RUN_H

#include "chaos/report/report_run.h"

struct made_run {
    struct buffer files[REPORT_FILE_COUNT];
    double at_s; /* of the last sample */
};

/* Passed, of `seconds`, with one invariant that holds and nothing in it yet. */
void made_run_init(struct made_run *made, double seconds);
void made_run_close(struct made_run *made);

/* Instead of the run.json that made_run_init made up. */
void made_run_set(struct made_run *made, const char *run_json);

/* `count` more samples, 100 ms each. */
void made_run_samples(struct made_run *made, unsigned count, unsigned ok, unsigned failed);
void made_run_fault(struct made_run *made, unsigned id, double at_s);
void made_run_undo(struct made_run *made, unsigned id, double at_s);
void made_run_lead(struct made_run *made, double at_s, unsigned shard, const char *leader);
void made_run_line(struct made_run *made, enum report_file file, const char *line);

/* A minute of 200 requests a second with a fault every ten seconds, two shards. */
void made_run_minute(struct made_run *made);

/* Into a run that is initialised already. */
enum error made_run_parse(const struct made_run *made, struct report_run *run,
                          char why[ERROR_WHY_BYTES]);
/* Makes the folder. */
void made_run_write(const struct made_run *made, const char *folder);

#endif
