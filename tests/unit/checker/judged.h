/* A history as text, judged. */

#ifndef TESTS_UNIT_CHECKER_JUDGED_H
#define TESTS_UNIT_CHECKER_JUDGED_H

#include "chaos/checker/judge.h"

struct judged {
    struct history history;
    struct verdict verdict;
    enum error rc; /* of reading */
};

extern const struct judge_options judged_options; /* 100 s, 1 GiB */

void judged_open(struct judged *judged, const char *model, struct slice text,
                 const struct judge_options *options);
void judged_close(struct judged *judged);

/* Reads and judges; the test fails when it cannot be read. */
enum verdict_kind judged_kind(const char *model, struct slice text,
                              const struct judge_options *options);

#endif
