/* The search's own parts: what they share. search.h says what is searched, and how. */

#ifndef CHAOS_CHECKER_SEARCH_IMPL_H
#define CHAOS_CHECKER_SEARCH_IMPL_H

#include "chaos/checker/memo.h"
#include "chaos/checker/search.h"
#include "chaos/checker/verdict.h"

#define CONFIGURATION_HEAD 2 /* words: event and state; done and must follow */
#define IDLE_SLOT 0          /* a bit of `must` that no operation has: the last one was idle */
#define FREE_UNLIMITED UINT32_MAX
#define EVENT_BITS 32 /* of the first word; how many free ones took effect there is above them */

struct event {
    uint32_t op;
    bool is_return;
};

struct candidate {
    uint32_t op;
    bool is_pass; /* the returning operation is left alone: it was hidden before */
    bool is_help; /* after it the returning operation is legal, and was not before */
    int64_t after;
};

struct search {
    const struct search_model *model;
    void *self;
    struct search_op *ops;
    size_t count;
    struct event *events;
    uint32_t event_count;
    uint32_t sort_count;
    size_t set_words; /* of `done`, and of `must` */

    /* The present configuration, and what is open at its event. */
    uint64_t *now;
    uint32_t cursor;
    uint64_t *open;
    uint32_t *slot_op;

    uint64_t *stack; /* a configuration and the next candidate to try, each */
    size_t depth;
    size_t depth_max;
    struct candidate *candidates;
    size_t candidate_count;
    uint64_t *sort_seen; /* round of `candidates` in which a free one was seen; then a must */
    uint64_t round;
    struct memo memo;
    uint64_t steps;
    uint32_t free_max; /* so many of unknown outcome may take effect at one event */
    bool was_cut;      /* one more was wanted */

    /* The furthest event that stopped a configuration, and the states it stopped in. */
    uint32_t stuck_at;
    int64_t stuck_states[VERDICT_STATES_MAX];
    size_t stuck_state_count;
    bool has_more_states;
};

static inline bool bit_has(const uint64_t *set, uint32_t slot)
{
    return (set[slot / 64] >> slot % 64 & 1) != 0;
}

static inline void bit_set(uint64_t *set, uint32_t slot)
{
    set[slot / 64] |= 1ull << slot % 64;
}

static inline void bit_clear(uint64_t *set, uint32_t slot)
{
    set[slot / 64] &= ~(1ull << slot % 64);
}

static inline uint64_t *done_of(const struct search *search)
{
    return search->now + CONFIGURATION_HEAD;
}

static inline uint64_t *must_of(const struct search *search)
{
    return search->now + CONFIGURATION_HEAD + search->set_words;
}

static inline int64_t state_of(const struct search *search)
{
    return (int64_t)search->now[1];
}

static inline uint32_t free_used(const struct search *search)
{
    return (uint32_t)(search->now[0] >> EVENT_BITS);
}

static inline size_t configuration_words(const struct search *search)
{
    return CONFIGURATION_HEAD + 2 * search->set_words;
}

/* A walk over the members of one set that are not in another. */
struct walk {
    size_t word;
    uint64_t rest;
};

static inline bool walk_next(struct walk *walk, const uint64_t *set, const uint64_t *without,
                             size_t words, uint32_t *slot)
{
    while (walk->rest == 0) {
        if (walk->word == words)
            return false;
        walk->rest = set[walk->word] & ~(without != NULL ? without[walk->word] : 0);
        walk->word++;
    }
    *slot = (uint32_t)((walk->word - 1) * 64) + (uint32_t)__builtin_ctzll(walk->rest);
    walk->rest &= walk->rest - 1;
    return true;
}

#define EACH_SLOT(search, set, without, slot)                                                      \
    for (struct walk walk = {0}; walk_next(&walk, (set), (without), (search)->set_words, &(slot));)

static inline struct search_op *op_in(const struct search *search, uint32_t slot)
{
    return &search->ops[search->slot_op[slot]];
}

/* search_events.c: from operations to events, and what is known of each before the search. */
void search_events_make(struct search *search);

/* search_step.c: from a configuration to the next. */

/* Back to an event where the search was before. */
void search_step_back_to(struct search *search, uint32_t at);
/* The candidate takes effect, or passes; search_step_settle comes next. */
void search_step_take(struct search *search, const struct candidate *candidate);
/* After the state changed: drop what is quiet, and pass events up to a return that has to be
 * decided about. False when the configuration leads nowhere. */
bool search_step_settle(struct search *search);

/* search_choice.c: what may take effect next, the most promising first. A pure function of the
 * configuration, so that the stack need not hold it. */
void search_choice_find(struct search *search);
/* Would the candidate make another one, chosen next, idle? */
bool search_choice_makes_idle(const struct search *search, const struct candidate *candidate);

static inline const struct search_op *returning(const struct search *search)
{
    return &search->ops[search->events[search->cursor].op];
}

#endif
