/* A history: what clients asked of a service and what they were told, in the order of time.
 *
 * It is read line by line, one JSON event each (docs/testing.md has the format), and becomes a list
 * of operations. The number of a line is also its time: an operation lasts from the line of its
 * invoke to the line of its completion, and one whose outcome is not known lasts for ever. */

#ifndef CHAOS_CHECKER_HISTORY_H
#define CHAOS_CHECKER_HISTORY_H

#include "chaos/checker/intern.h"

#include <stdio.h>

#define HISTORY_NEVER UINT32_MAX
#define HISTORY_LINE_BYTES_MAX (16u << 20)
#define HISTORY_OPERATIONS_MAX (1u << 22) /* so that no sum of amounts overflows */
#define HISTORY_AMOUNT_MAX (1ll << 40)    /* of a counter's step or a bank's transfer */
#define HISTORY_WHY_BYTES 240

enum outcome {
    OUTCOME_OK,
    OUTCOME_FAIL, /* its condition did not hold: it saw the state, and left it alone */
    OUTCOME_INFO, /* may have taken effect, at any time after its invoke, or never */
    OUTCOME_VOID, /* did not happen: no checker looks at it */
};

struct operation {
    uint32_t process;  /* id in history.processes */
    uint32_t key;      /* id in history.keys */
    uint32_t call;     /* line of the invoke */
    uint32_t back;     /* line of the completion; HISTORY_NEVER unless OK or FAIL */
    uint32_t line_end; /* the line that completed it in any way, 0 if none did */
    uint8_t function;  /* an enum of the model's own */
    uint8_t outcome;   /* enum outcome */
    int64_t a, b, c;   /* arguments, as the model keeps them */
    int64_t result;    /* of an OK operation, likewise */
};

struct model;

struct history {
    const struct model *model;
    struct operation *operations; /* by line of invoke */
    size_t count;
    size_t capacity;
    struct intern processes; /* JSON text */
    struct intern keys;      /* JSON text; operations that name none share the key "null" */
    struct intern values;    /* the model's: JSON text, raw strings or names of accounts */
    struct buffer vectors;   /* the model's: rows of int64_t */
    struct map open;         /* process -> its open operation's index + 1 */
    uint32_t line;           /* the last one read */
    char why[HISTORY_WHY_BYTES];
};

void history_init(struct history *history, const struct model *model);
void history_close(struct history *history);

/* ERR_INVALID: `why` names the line and what is wrong with it. */
enum error history_read_line(struct history *history, struct slice line);

/* All lines up to the end of the file, then history_end. */
enum error history_read(struct history *history, FILE *file);

/* Operations that nothing completed get the outcome INFO. ERR_INVALID when there are none at all:
 * an empty history would make every checker content. */
enum error history_end(struct history *history);

#endif
