/* What must be true of a replicated log at all times, checked on every event of a run.
 *
 *   - every replica applies the same entry, of the same term, at an index: for ever
 *   - equal states at equal indexes (a chained hash over everything applied)
 *   - an acknowledged entry is applied at its index, and stays part of every later state
 *   - a refused entry is never applied
 *   - a strong read sees everything acknowledged before it began
 *   - at most one leader in a term; a replica's term never goes back while it lives
 *
 * It sees everything, at once, and so knows more than any client could. The first breach stays in
 * `why`; the run then ends. */

#ifndef TESTS_SIM_CHECKER_H
#define TESTS_SIM_CHECKER_H

#include "proto/base/map.h"

#define CHECKER_WHY_BYTES 240

struct checker_entry {
    uint64_t term;
    uint64_t id;   /* of the command; 0 = nobody has applied a command at this index */
    uint64_t hash; /* of the state after it */
};

struct checker_group {
    struct checker_entry *entries; /* by index */
    uint64_t capacity;
    uint64_t applied_max; /* by anyone */
    uint64_t acked_max;   /* index */
    uint64_t acked_count;
    struct map leaders; /* term -> node id, as a pointer-sized number */
};

struct checker {
    struct checker_group *groups;
    size_t group_count;
    struct map refused; /* ids of commands of which a client was told: nothing happened */
    bool is_failed;
    char why[CHECKER_WHY_BYTES];
};

void checker_init(struct checker *checker, size_t group_count);
void checker_close(struct checker *checker);
void checker_fail(struct checker *checker, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The hash of a state after it applied one more command. */
uint64_t checker_hash(uint64_t hash, uint64_t index, uint64_t term, uint64_t id);

void checker_on_apply(struct checker *checker, size_t group, uint64_t node, uint64_t index,
                      uint64_t term, uint64_t id, uint64_t hash);
/* A replica has this state now, from its disk or from a snapshot. */
void checker_on_state(struct checker *checker, size_t group, uint64_t node, uint64_t index,
                      uint64_t hash, const char *whence);
void checker_on_ack(struct checker *checker, size_t group, uint64_t node, uint64_t index,
                    uint64_t id);
/* The client got an error whose effect is NONE. */
void checker_on_refused(struct checker *checker, uint64_t id);
/* `acked_before`: acked_max when the read began. */
void checker_on_read(struct checker *checker, size_t group, uint64_t node, uint64_t applied,
                     uint64_t acked_before);
void checker_on_leader(struct checker *checker, size_t group, uint64_t node, uint64_t term);

#endif
