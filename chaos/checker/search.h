/* Is there an order of these operations in which each is legal, and which agrees with real time?
 *
 * The search of Wing and Gong with Lowe's memo of what was tried. An operation takes effect at one
 * instant between its call and its return, so the events are walked in order of time, and an order
 * has to be chosen only when an operation returns that has not taken effect yet: then some of the
 * open operations take effect, one by one, until that one has; the others may do so later as well.
 * A configuration is therefore
 *
 *   at     the return event that cannot be passed yet
 *   state  what the service holds
 *   done   the open operations that have taken effect
 *   must   the open ones that have not, and have to before they return
 *
 * and everything older is settled. Open operations in neither set are free: they may take effect,
 * or never. Unknown outcomes are born free; others become so, see below.
 *
 * What is not tried, and why no answer is lost by it. "Better" is a configuration at the same event
 * in the same state with fewer members in `done` and in `must`: whatever the worse one can go on
 * with, the better one can too, since it has the same or more to choose from and less to fulfil.
 *
 *   quiet     An operation that is legal now and would change nothing (a read of this value, a
 *             write of it) leaves `must` at once: should it never be chosen later, then this is
 *             the instant when it took effect, and nobody could tell.
 *   hidden    When a blind operation (one that overwrites everything) takes effect, every open
 *             operation that is legal in all states leaves `must`: should it never be chosen
 *             later, it took effect just before, and nobody could tell. At its return it is
 *             chosen now, or passed for good.
 *   same      Of two open operations with the same effect the one that returns sooner is chosen,
 *             unless the later one has to and the sooner one is free: whoever has the later one
 *             left can do at any time what the other could have done.
 *   idle      A free (or hideable) operation followed at once by a blind one, with nothing quiet
 *             in between, is worse than the blind one alone. Where operations commute, one that
 *             precedes the returning operation with nothing quiet in between may as well follow it.
 *   lost      A `must` that no open and no coming operation can make legal before it returns.
 *   useless   A free operation is dropped after the last event that could tell its effect
 *             (search_op.back, set by the model).
 *   memo      A configuration that was tried, or a better one.
 *
 * Free operations are what makes a search explode, so it is first done with few of them at each
 * event, and again with more as long as that fails for want of one. */

#ifndef CHAOS_CHECKER_SEARCH_H
#define CHAOS_CHECKER_SEARCH_H

#include "chaos/checker/history.h"

struct verdict;

#define SEARCH_NO_TOPIC INT64_MIN
#define SEARCH_ANY_TOPIC (INT64_MIN + 1) /* wanted: any producer will do */

struct search_op {
    const struct operation *source;
    uint32_t call; /* line */
    uint32_t back; /* line of the return; of a free one, its last use, 0 = drop it at once */
    uint8_t function;
    bool is_free;   /* of unknown outcome */
    bool is_always; /* legal in every state */
    bool is_blind;  /* is_always, and the state after does not depend on the one before */
    bool is_plain;  /* commutes with every other plain one that is legal with it */
    int64_t a, b, c, result;
    int64_t wants;    /* topic that can make it legal, once it is lost (see is_lost) */
    int64_t produces; /* topic of which it is a producer */

    /* The search's own. */
    uint32_t slot;        /* bit in done and must, while it is open */
    uint32_t sort;        /* equal for operations of the same effect */
    uint32_t returns_at;  /* event */
    uint32_t producer_at; /* event: the last call of a producer of `wants` before it returns */
};

struct search_model {
    /* Fills in the model's part of each operation, whose `source`, `call`, `back`, `function`,
     * `is_free` and arguments are set already; gives what the other functions need. */
    void *(*open)(const struct history *history, struct search_op *ops, size_t count);
    void (*close)(void *self);
    size_t (*bytes)(const void *self); /* of memory held; may be NULL */
    int64_t (*initial)(void *self);
    bool (*is_quiet)(void *self, const struct search_op *op, int64_t state);
    /* Is it legal, and what comes after? */
    bool (*step)(void *self, const struct search_op *op, int64_t state, int64_t *after);
    /* Not legal now, and not later either unless a producer of what it wants takes effect. */
    bool (*is_lost)(void *self, const struct search_op *op, int64_t state);
    /* Do legal plain operations commute in this state? NULL: never. */
    bool (*commutes)(void *self, int64_t state);
    void (*describe)(void *self, int64_t state, struct buffer *text);
};

struct search_limits {
    uint64_t until_ns;   /* CLOCK_MONOTONIC; UINT64_MAX = no limit */
    size_t memory_bytes; /* of memo and states */
};

/* `operations` by line of call, none of them VOID. Sets the kind and, unless VALID, the rest. */
void search_run(const struct search_model *model, const struct history *history,
                const struct operation *const *operations, size_t count,
                const struct search_limits *limits, struct verdict *verdict);

#endif
