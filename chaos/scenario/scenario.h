/* A scenario: what runs, what breaks when, and what must hold all the same.
 *
 * A text file, one statement a line; words are separated by blanks, '#' begins a comment:
 *
 *   name     s01-kill-leader
 *   title    The leader of most shards is killed every five seconds
 *   layers   laptop hosts sim          where its faults exist
 *   needs    async-events              what skein must have first; may be repeated
 *   seconds  60
 *   workload checkout rate=100
 *   fault    at 5s every 5s for 2s kill busiest-leader
 *   expect   gap-p99-ms <= 400
 *
 * A time is 200ms, 5s, 2m or 30% (of the run); 1s..3s is drawn anew each time it is needed. `at`
 * is needed, `every` repeats until `until` (else the end of the run), `for` is how long it lasts
 * (else until the end). A target is one of those of target.h, or a role (scenario_words.h).
 * Strict: whatever is not understood is an error with its line number. */

#ifndef CHAOS_SCENARIO_SCENARIO_H
#define CHAOS_SCENARIO_SCENARIO_H

#include "chaos/scenario/scenario_words.h"
#include "proto/base/buffer.h"

#define SCENARIO_BYTES_MAX (64u << 10)
#define SCENARIO_TEXT_BYTES 160
#define SCENARIO_NAME_BYTES 48
#define SCENARIO_FAULTS_MAX 64
#define SCENARIO_EXPECTS_MAX 32
#define SCENARIO_NEEDS_MAX 8
#define SCENARIO_SECONDS_MAX (24u * 3600u)

struct scenario_time {
    bool is_given;
    bool is_percent;   /* of the run; else milliseconds */
    uint32_t min, max; /* equal unless it is drawn */
};

struct scenario_fault {
    const struct scenario_verb *verb;
    struct scenario_time at, every, until, hold;
    char words[SCENARIO_WORDS_MAX][SCENARIO_NAME_BYTES]; /* behind the verb */
    size_t word_count;
};

struct scenario_expect {
    enum scenario_measure measure;
    enum scenario_relation relation;
    double threshold;
};

struct scenario {
    char name[SCENARIO_NAME_BYTES];
    char title[SCENARIO_TEXT_BYTES];
    unsigned layers; /* bits: 1 << enum scenario_layer */
    char needs[SCENARIO_NEEDS_MAX][SCENARIO_NAME_BYTES];
    size_t need_count;
    unsigned seconds;
    bool is_used[SCENARIO_WORKLOAD_COUNT];
    unsigned rates[SCENARIO_WORKLOAD_COUNT]; /* requests a second; 0 = the workload's own */
    struct scenario_fault faults[SCENARIO_FAULTS_MAX];
    size_t fault_count;
    struct scenario_expect expects[SCENARIO_EXPECTS_MAX];
    size_t expect_count;
};

/* ERR_INVALID, ERR_TOO_LARGE: `why` begins with "line N: " when it is a line. */
enum error scenario_parse(struct slice text, struct scenario *scenario, char why[ERROR_WHY_BYTES]);

/* Appends the text that parses to the same scenario. */
void scenario_write(const struct scenario *scenario, struct buffer *text);

/* Why it cannot run on this layer: false and `why`, "needs: async-events". */
bool scenario_can_run(const struct scenario *scenario, enum scenario_layer layer,
                      char why[ERROR_WHY_BYTES]);

#endif
