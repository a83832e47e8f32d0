/* Pretended clients of a pretended service, for the checker's tests: histories that are
 * linearizable by construction, as large as wanted, each from one seed.
 *
 * What the service does is written down here a second time, without a look at the checker, so that
 * the two can be held against each other. */

#ifndef TESTS_UNIT_CHECKER_CLIENTS_H
#define TESTS_UNIT_CHECKER_CLIENTS_H

#include "proto/base/buffer.h"
#include "proto/base/rng.h"

#define CLIENTS_ACCOUNTS 3
#define CLIENTS_TEXT_BYTES 512

enum clients_model {
    CLIENTS_REGISTER,
    CLIENTS_KV,
    CLIENTS_COUNTER,
    CLIENTS_ONCE,
    CLIENTS_BANK,
    CLIENTS_MODEL_COUNT,
};

enum clients_function { READ, WRITE, CAS, APPEND, ADD, ADD_AND_GET, TRANSFER };

enum clients_outcome { DONE, FAILED, UNKNOWN };

struct clients_state {
    int64_t number; /* register, counter, put-if-absent: 0 is null */
    int64_t balances[CLIENTS_ACCOUNTS];
    char text[CLIENTS_TEXT_BYTES];
};

/* What an operation returned. */
struct clients_told {
    bool is_ok;
    int64_t number;
    int64_t balances[CLIENTS_ACCOUNTS];
    char *text;
};

struct clients_op {
    enum clients_function function;
    enum clients_outcome outcome;
    unsigned process;
    unsigned key;
    int64_t a, b, c;
    struct clients_told told;
    uint32_t call, back; /* lines, from 1; back 0 = nothing completes it */
};

struct clients_options {
    enum clients_model model;
    unsigned clients;
    size_t operations;
    unsigned keys;
    unsigned values;          /* so many different ones are written; 0 = no two are the same */
    unsigned unknown_percent; /* of operations end without an answer, half of them take effect */
    unsigned amount_max;      /* bank */
    bool no_cas;
    bool no_put; /* kv: append only */
    uint64_t seed;
};

struct clients {
    struct clients_options options;
    struct clients_op *ops; /* by line of call */
    size_t count;
    struct clients_state *states; /* by key */
    struct rng rng;
    uint32_t line;
};

/* Runs them to the end. */
void clients_run(struct clients *clients, const struct clients_options *options);
void clients_close(struct clients *clients);

const char *clients_model_name(enum clients_model model);

/* What a correct service would do with it, and say. `told->text` is the caller's to free. */
void clients_effect(enum clients_model model, struct clients_state *state,
                    const struct clients_op *op, struct clients_told *told);
void clients_state_init(struct clients_state *state);

/* The history as skein-check reads it. */
void clients_print(const struct clients *clients, struct buffer *text);

/* The first DONE operation of that function from the `from`-th operation on; NULL: none. */
struct clients_op *clients_find(struct clients *clients, enum clients_function function,
                                size_t from);

#endif
