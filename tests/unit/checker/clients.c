#include "tests/unit/checker/clients.h"

#include "proto/base/check.h"

#include <inttypes.h>
#include <stdio.h>

#define BALANCE_AT_BIRTH 100
#define TEXT_FULL (CLIENTS_TEXT_BYTES - 32)

/* A client is idle, or in the middle of an operation. */
struct client {
    struct clients_op *op; /* NULL: idle */
    unsigned process;
    bool was_effective;
};

const char *clients_model_name(enum clients_model model)
{
    static const char *const names[] = {"register", "kv", "counter", "put-if-absent", "bank"};

    return names[model];
}

void clients_state_init(struct clients_state *state)
{
    *state = (struct clients_state){0};
    for (size_t i = 0; i < CLIENTS_ACCOUNTS; i++)
        state->balances[i] = BALANCE_AT_BIRTH;
}

static bool take_effect(enum clients_model model, struct clients_state *state,
                        const struct clients_op *op)
{
    switch (op->function) {
    case READ:
        return true;
    case WRITE:
        if (model == CLIENTS_ONCE && state->number != 0)
            return false;
        if (model == CLIENTS_KV)
            (void)snprintf(state->text, sizeof(state->text), "<%" PRId64 ">", op->a);
        state->number = op->a;
        return true;
    case CAS:
        if (state->number != op->a)
            return false;
        state->number = op->b;
        return true;
    case APPEND:
        CHECK(strlen(state->text) < TEXT_FULL);
        (void)snprintf(state->text + strlen(state->text), 32, "<%" PRId64 ">", op->a);
        return true;
    case ADD:
    case ADD_AND_GET:
        state->number += op->a;
        return true;
    case TRANSFER:
        if (state->balances[op->a] < op->c)
            return false;
        state->balances[op->a] -= op->c;
        state->balances[op->b] += op->c;
        return true;
    }
    return false;
}

void clients_effect(enum clients_model model, struct clients_state *state,
                    const struct clients_op *op, struct clients_told *told)
{
    told->is_ok = take_effect(model, state, op);
    told->number = state->number;
    memcpy(told->balances, state->balances, sizeof(told->balances));
    told->text = model == CLIENTS_KV && op->function == READ ? check_strdup(state->text) : NULL;
}

static enum clients_function choose(const struct clients *clients, struct rng *rng,
                                    const struct clients_state *state)
{
    uint64_t dice = rng_below(rng, 100);

    switch (clients->options.model) {
    case CLIENTS_REGISTER:
        return dice < 45 ? READ : dice < 80 || clients->options.no_cas ? WRITE : CAS;
    case CLIENTS_KV:
        if (strlen(state->text) + 32 * clients->options.clients > TEXT_FULL)
            return dice < 50 || clients->options.no_put ? READ : WRITE;
        return dice < 45 ? READ : dice < 50 && !clients->options.no_put ? WRITE : APPEND;
    case CLIENTS_COUNTER:
        return dice < 35 ? READ : dice < 85 ? ADD : ADD_AND_GET;
    case CLIENTS_ONCE:
        return dice < 50 ? READ : WRITE;
    case CLIENTS_BANK:
    case CLIENTS_MODEL_COUNT:
        break;
    }
    return dice < 30 ? READ : TRANSFER;
}

static int64_t value(struct clients *clients)
{
    unsigned values = clients->options.values;

    return values == 0 ? (int64_t)clients->count + 1
                       : 1 + (int64_t)rng_below(&clients->rng, values);
}

static void begin(struct clients *clients, struct client *client)
{
    struct clients_op *op = &clients->ops[clients->count++];

    *op = (struct clients_op){.process = client->process, .call = ++clients->line};
    op->key = (unsigned)rng_below(&clients->rng, clients->options.keys);
    op->function = choose(clients, &clients->rng, &clients->states[op->key]);
    op->a = value(clients);
    op->b = value(clients);
    if (op->function == CAS && rng_below(&clients->rng, 2) == 0)
        op->a = clients->states[op->key].number; /* some shall succeed */
    if (op->function == TRANSFER) {
        op->a = (int64_t)rng_below(&clients->rng, CLIENTS_ACCOUNTS);
        op->b = (int64_t)rng_below(&clients->rng, CLIENTS_ACCOUNTS);
        op->c = 1 + (int64_t)rng_below(&clients->rng, clients->options.amount_max);
    }
    client->op = op;
    client->was_effective = false;
}

static void end(struct clients *clients, struct client *client)
{
    struct clients_op *op = client->op;

    client->op = NULL;
    if (rng_below(&clients->rng, 100) < clients->options.unknown_percent) {
        op->outcome = UNKNOWN;
        op->back = rng_below(&clients->rng, 2) == 0 ? 0 : ++clients->line;
        client->process += clients->options.clients; /* nobody waits for the answer any more */
        return;
    }
    op->outcome = op->told.is_ok ? DONE : FAILED;
    op->back = ++clients->line;
}

static void step(struct clients *clients, struct client *client)
{
    if (client->op == NULL) {
        if (clients->count < clients->options.operations)
            begin(clients, client);
        return;
    }
    if (client->was_effective) {
        end(clients, client);
        return;
    }
    client->was_effective = true;
    if (rng_below(&clients->rng, 200) < clients->options.unknown_percent) {
        struct clients_op *op = client->op; /* lost on its way there */

        client->op = NULL;
        op->outcome = UNKNOWN;
        client->process += clients->options.clients;
        return;
    }
    clients_effect(clients->options.model, &clients->states[client->op->key], client->op,
                   &client->op->told);
}

void clients_run(struct clients *clients, const struct clients_options *options)
{
    struct client *all = check_calloc(options->clients, sizeof(*all));
    unsigned busy = 0;

    *clients = (struct clients){.options = *options};
    if (clients->options.keys == 0)
        clients->options.keys = 1;
    if (clients->options.amount_max == 0)
        clients->options.amount_max = 30;
    rng_init(&clients->rng, options->seed * 2 + 1);
    clients->ops = check_calloc(options->operations, sizeof(*clients->ops));
    clients->states = check_calloc(clients->options.keys, sizeof(*clients->states));
    for (unsigned i = 0; i < clients->options.keys; i++)
        clients_state_init(&clients->states[i]);
    for (unsigned i = 0; i < options->clients; i++)
        all[i].process = i;
    do {
        step(clients, &all[rng_below(&clients->rng, options->clients)]);
        busy = 0;
        for (unsigned i = 0; i < options->clients; i++)
            busy += all[i].op != NULL;
    } while (busy > 0 || clients->count < options->operations);
    free(all);
}

void clients_close(struct clients *clients)
{
    for (size_t i = 0; i < clients->count; i++)
        free(clients->ops[i].told.text);
    free(clients->ops);
    free(clients->states);
}

static const char *function_name(enum clients_model model, enum clients_function function)
{
    static const char *const names[] = {"read", "write",       "cas",     "append",
                                        "add",  "add-and-get", "transfer"};

    if (function == READ && model == CLIENTS_KV)
        return "get";
    if (function == WRITE && (model == CLIENTS_KV || model == CLIENTS_ONCE))
        return "put";
    return names[function];
}

static void put_number(enum clients_model model, int64_t number, struct buffer *text)
{
    if (number == 0 && model != CLIENTS_COUNTER)
        buffer_put_text(text, "null");
    else
        buffer_putf(text, "%" PRId64, number);
}

static void put_arguments(enum clients_model model, const struct clients_op *op,
                          struct buffer *text)
{
    if (op->function == READ)
        buffer_put_text(text, "null");
    else if (op->function == TRANSFER)
        buffer_putf(text, "{\"from\":%" PRId64 ",\"to\":\"%" PRId64 "\",\"amount\":%" PRId64 "}",
                    op->a, op->b, op->c);
    else if (op->function == CAS) {
        buffer_put_text(text, "[");
        put_number(model, op->a, text);
        buffer_put_text(text, ",");
        put_number(model, op->b, text);
        buffer_put_text(text, "]");
    } else if (model == CLIENTS_KV)
        buffer_putf(text, "\"<%" PRId64 ">\"", op->a);
    else
        put_number(model, op->a, text);
}

static void put_result(enum clients_model model, const struct clients_op *op, struct buffer *text)
{
    if (op->function != READ && op->function != ADD_AND_GET)
        put_arguments(model, op, text);
    else if (model == CLIENTS_KV)
        buffer_putf(text, "\"%s\"", op->told.text);
    else if (model == CLIENTS_BANK)
        buffer_putf(text, "{\"0\":%" PRId64 ",\"1\":%" PRId64 ",\"2\":%" PRId64 "}",
                    op->told.balances[0], op->told.balances[1], op->told.balances[2]);
    else
        put_number(model, op->told.number, text);
}

static void print_event(const struct clients *clients, const struct clients_op *op, bool is_call,
                        struct buffer *text)
{
    static const char *const outcomes[] = {[DONE] = "ok", [FAILED] = "fail", [UNKNOWN] = "info"};
    enum clients_model model = clients->options.model;

    buffer_putf(text, "{\"p\":%u,\"t\":\"%s\",\"f\":\"%s\",", op->process,
                is_call ? "invoke" : outcomes[op->outcome], function_name(model, op->function));
    buffer_putf(text, "\"k\":\"k%u\",\"v\":", op->key);
    if (is_call || op->outcome != DONE)
        put_arguments(model, op, text);
    else
        put_result(model, op, text);
    buffer_put_text(text, "}\n");
}

void clients_print(const struct clients *clients, struct buffer *text)
{
    const struct clients_op **by_line = check_calloc(clients->line + 1, sizeof(*by_line));

    for (size_t i = 0; i < clients->count; i++) {
        by_line[clients->ops[i].call] = &clients->ops[i];
        if (clients->ops[i].back != 0)
            by_line[clients->ops[i].back] = &clients->ops[i];
    }
    for (uint32_t line = 1; line <= clients->line; line++)
        print_event(clients, by_line[line], by_line[line]->call == line, text);
    free(by_line);
}

struct clients_op *clients_find(struct clients *clients, enum clients_function function,
                                size_t from)
{
    for (size_t i = from; i < clients->count; i++)
        if (clients->ops[i].function == function && clients->ops[i].outcome == DONE)
            return &clients->ops[i];
    return NULL;
}
