/* What a correct service does with each operation, if they came one at a time.
 *
 * The first half of a model reads a history's operations; the second (struct search_model,
 * search.h) tells the search which operations are legal in which state. A model may also have a
 * quick checker, which looks at all operations of a key at once and needs no search. */

#ifndef CHAOS_CHECKER_MODEL_H
#define CHAOS_CHECKER_MODEL_H

#include "chaos/checker/history.h"

#include <jansson.h>

struct search_model;
struct verdict;

/* A name in "f" and the code it stands for; several names may stand for one. */
struct model_function {
    const char *name;
    uint8_t code;
};

struct model {
    const char *name;
    const struct model_function *functions;
    size_t function_count;
    const char *functions_text; /* for messages */
    bool is_split;              /* each key is a history of its own */

    /* Before the first line. */
    void (*prepare)(struct history *history);
    /* Take the arguments from an invoke's "v" (NULL when it has none) and from the "v" of the
     * completion, whatever its outcome. They return NULL, or what is wrong. on_return may make an
     * outcome VOID. */
    const char *(*on_invoke)(struct history *history, struct operation *operation, const json_t *v);
    const char *(*on_return)(struct history *history, struct operation *operation, const json_t *v);
    /* "write 3", "read -> 5". */
    void (*describe)(const struct history *history, const struct operation *operation,
                     struct buffer *text);

    /* VALID and INVALID are certain, UNDECIDED means: it takes a search. NULL: none. */
    void (*quick)(const struct history *history, const struct operation *const *operations,
                  size_t count, struct verdict *verdict);
    const struct search_model *search; /* NULL: the quick checker always decides */
};

extern const struct model model_register;
extern const struct model model_kv;
extern const struct model model_counter;
extern const struct model model_once; /* put-if-absent */
extern const struct model model_bank;

const struct model *model_find(const char *name); /* NULL when there is none */

bool model_function_find(const struct model *model, const char *name, uint8_t *code);

/* The id of a value's canonical JSON text; NULL counts as null. */
uint32_t model_json_put(struct intern *values, const json_t *value);

/* An integer of at most HISTORY_AMOUNT_MAX either way, or at most 2^53 as a total. */
bool model_amount(const json_t *value, int64_t *amount);
bool model_total(const json_t *value, int64_t *total);

#endif
