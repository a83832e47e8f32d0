/* Judges a whole history: key by key where keys are independent (linearizability is a local
 * property, so each key's operations may be judged alone), the small ones first. */

#ifndef CHAOS_CHECKER_JUDGE_H
#define CHAOS_CHECKER_JUDGE_H

#include "chaos/checker/verdict.h"

struct judge_options {
    double timeout_s;    /* for all keys together */
    size_t memory_bytes; /* for what a search remembers, one key at a time */
    bool no_quick;       /* search even where a quick checker would decide: for tests */
};

/* INVALID as soon as one key is; else UNDECIDED if one key is. `history` was read to its end. */
void judge_history(const struct history *history, const struct judge_options *options,
                   struct verdict *verdict);

#endif
