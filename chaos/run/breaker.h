/* Breaks parts of a running cluster, and mends them again: one fault of a scenario at a time, with
 * its undo. What is open stands on disk before anything is broken (open_faults.h). Blocking; one
 * call at a time. */

#ifndef CHAOS_RUN_BREAKER_H
#define CHAOS_RUN_BREAKER_H

#include "chaos/run/link_faults.h"
#include "chaos/run/open_faults.h"
#include "chaos/scenario/scenario.h"
#include "proto/base/rng.h"

#define BREAKER_TEXT_BYTES 800

struct breaker {
    struct cluster *cluster;
    char scenario[64];
    struct rng rng;
    struct open_faults open;
    struct link_faults links;
    unsigned ids;
};

struct injection { /* a fault that was done */
    unsigned id;
    const struct scenario_fault *fault;
    struct target target;
    char names[200];               /* "node-3 controller-2" */
    char text[BREAKER_TEXT_BYTES]; /* of what was done, then of its undo */
    uint64_t done_us;              /* uv_hrtime / 1000, when it took effect */
};

void breaker_init(struct breaker *breaker, struct cluster *cluster, const char *scenario,
                  uint64_t seed);
void breaker_close(struct breaker *breaker);

/* `number`: how often this fault was done before. ERR_CONFLICT: it would have taken more than
 * skein promises to survive, and was left out; ERR_NOT_FOUND: there was nobody to break. `why`
 * says which, and nothing has changed. */
enum error breaker_do(struct breaker *breaker, const struct scenario_fault *fault, unsigned number,
                      uint32_t for_ms, struct injection *injection, char why[ERROR_WHY_BYTES]);

/* OK: it is out of the record, too. Else it stays there, and `why` says what is left. */
enum error breaker_undo(struct breaker *breaker, struct injection *injection,
                        char why[ERROR_WHY_BYTES]);

/* It damages what a process has stored: its terms and its log may be gone. */
bool breaker_takes_data(const struct scenario_fault *fault);

/* Everything at once, whoever broke it: starts what is down, resumes what is paused, mends all
 * links, empties the record. Calls back for each thing done. `why` names the first that could not
 * be. */
enum error breaker_mend_all(struct cluster *cluster, void *user,
                            void (*on_done)(void *user, const char *text),
                            char why[ERROR_WHY_BYTES]);

#endif
