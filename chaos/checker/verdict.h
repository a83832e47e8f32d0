/* What a checker found, and how it is shown to people and to programs. */

#ifndef CHAOS_CHECKER_VERDICT_H
#define CHAOS_CHECKER_VERDICT_H

#include "chaos/checker/history.h"

#define VERDICT_STATES_MAX 8  /* of the last possible states, so many are shown */
#define VERDICT_WINDOW_MAX 40 /* likewise for operations */

enum verdict_kind {
    VERDICT_VALID,
    VERDICT_INVALID,
    VERDICT_UNDECIDED,
};

struct verdict {
    enum verdict_kind kind;
    char why[HISTORY_WHY_BYTES];     /* of INVALID and UNDECIDED */
    uint32_t key;                    /* where it went wrong; key_count > 0 */
    const struct operation *stuck;   /* INVALID: the operation that cannot be explained */
    const struct operation **window; /* INVALID: it and what explains it, by line; owned */
    size_t window_count;
    size_t window_left_off;                   /* of the operations that overlap it, not shown */
    struct buffer states[VERDICT_STATES_MAX]; /* text of the last states an order could reach */
    size_t state_count;
    bool has_more_states;
    size_t key_count, key_valid_count, key_undecided_count;
    uint64_t step_count; /* of searches */
    double seconds;
};

void verdict_init(struct verdict *verdict);
void verdict_close(struct verdict *verdict);

/* INVALID because of `stuck`. */
void verdict_fail(struct verdict *verdict, const struct operation *stuck, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* One more operation to show; twice the same counts once. */
void verdict_show(struct verdict *verdict, const struct operation *operation);
/* All that overlap the stuck one, and the last few that ended before any of them began. */
void verdict_show_around(struct verdict *verdict, const struct operation *const *operations,
                         size_t count);

const char *verdict_name(enum verdict_kind kind);
void verdict_print_text(const struct verdict *verdict, const struct history *history, FILE *to);
void verdict_print_json(const struct verdict *verdict, const struct history *history, FILE *to);

#endif
