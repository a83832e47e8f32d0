/* The checker against a search that knows no short cut, on thousands of small histories: some as a
 * correct service made them, some with answers changed. */

#include "proto/base/check.h"
#include "tests/unit/checker/clients.h"
#include "tests/unit/checker/judged.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#ifndef ROUNDS
#define ROUNDS 6000
#endif
#define OPERATIONS_MAX 9
#define BIRTH_MAX 40 /* balances at birth that are tried */

/* Is there an order in which each operation gets the answer it got? `taken` is a set of indexes. */
struct reference {
    const struct clients *clients;
    unsigned taken;
};

static bool is_open_ended(const struct clients_op *op)
{
    return op->outcome == UNKNOWN || op->back == 0;
}

/* A transfer may fail for any reason, so it tells nothing. */
static bool is_void(const struct clients *clients, const struct clients_op *op)
{
    return clients->options.model == CLIENTS_BANK && op->outcome == FAILED;
}

static bool has_same_answer(enum clients_model model, const struct clients_op *op,
                            const struct clients_told *told)
{
    if (is_open_ended(op))
        return told->is_ok; /* without an effect it is as good as not taken */
    if (told->is_ok != (op->outcome == DONE))
        return false;
    if (op->function != READ && op->function != ADD_AND_GET)
        return true;
    if (model == CLIENTS_KV)
        return strcmp(told->text, op->told.text) == 0;
    if (model == CLIENTS_BANK)
        return memcmp(told->balances, op->told.balances, sizeof(told->balances)) == 0;
    return told->number == op->told.number;
}

static bool can_be_next(const struct reference *reference, const struct clients_op *op)
{
    const struct clients *clients = reference->clients;

    for (size_t i = 0; i < clients->count; i++) {
        const struct clients_op *other = &clients->ops[i];

        if ((reference->taken >> i & 1) == 0 && !is_open_ended(other) && other->back < op->call)
            return false;
    }
    return true;
}

static bool search(const struct reference *reference, const struct clients_state *state)
{
    const struct clients *clients = reference->clients;
    bool is_done = true;

    for (size_t i = 0; i < clients->count; i++)
        is_done &= (reference->taken >> i & 1) != 0 || is_open_ended(&clients->ops[i]);
    if (is_done)
        return true;
    for (size_t i = 0; i < clients->count; i++) {
        const struct clients_op *op = &clients->ops[i];
        struct reference next = {clients, reference->taken | 1u << i};
        struct clients_state after = *state;
        struct clients_told told;
        bool is_same;

        if ((reference->taken >> i & 1) != 0 || !can_be_next(reference, op))
            continue;
        clients_effect(clients->options.model, &after, op, &told);
        is_same = has_same_answer(clients->options.model, op, &told);
        free(told.text);
        if (is_same && search(&next, &after))
            return true;
    }
    return false;
}

/* Of a bank's balances, as the first read says. */
static int64_t total(const struct clients *clients)
{
    for (size_t i = 0; i < clients->count; i++) {
        const struct clients_op *op = &clients->ops[i];

        if (op->function == READ && op->outcome == DONE)
            return op->told.balances[0] + op->told.balances[1] + op->told.balances[2];
    }
    return 10 * BIRTH_MAX;
}

static bool reference_is_valid(const struct clients *clients)
{
    struct reference reference = {clients, 0};
    struct clients_state state;

    for (size_t i = 0; i < clients->count; i++)
        if (is_void(clients, &clients->ops[i]))
            reference.taken |= 1u << i;
    clients_state_init(&state);
    if (clients->options.model != CLIENTS_BANK)
        return search(&reference, &state);
    for (int64_t a = 0; a <= BIRTH_MAX; a++) {
        for (int64_t b = 0; b <= BIRTH_MAX; b++) {
            state.balances[0] = a;
            state.balances[1] = b;
            state.balances[2] = total(clients) - a - b;
            if (state.balances[2] >= 0 && search(&reference, &state))
                return true;
        }
    }
    return false;
}

/* Change an answer, or what was asked. */
static void spoil(struct clients *clients, struct rng *rng)
{
    struct clients_op *op = &clients->ops[rng_below(rng, clients->count)];
    const struct clients_op *other = &clients->ops[rng_below(rng, clients->count)];

    if (op->outcome == FAILED && clients->options.model != CLIENTS_BANK) {
        op->outcome = DONE;
    } else if (op->outcome == DONE && op->function == READ) {
        if (other->told.text != NULL && op->told.text != NULL && op != other) {
            free(op->told.text);
            op->told.text = check_strdup(other->told.text);
        }
        op->told.number = other->told.number;
        memcpy(op->told.balances, other->told.balances, sizeof(op->told.balances));
        if (other->outcome == UNKNOWN || clients->options.model != CLIENTS_BANK)
            return;
        op->told.balances[0] += (int64_t)rng_below(rng, 2);
    } else if (op->function != TRANSFER && op->function != CAS) {
        op->a = 1 + (int64_t)rng_below(rng, 3);
    }
}

/* Small balances at birth, which the history does not tell. */
static void make_poor(struct clients *clients)
{
    struct clients_state state;

    clients_state_init(&state);
    for (size_t i = 0; i < clients->count; i++)
        for (size_t j = 0; j < 2; j++)
            clients->ops[i].told.balances[j] -= state.balances[j] - 10;
}

static void compare(enum clients_model model, uint64_t seed, const struct judge_options *judge,
                    size_t counts[2])
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    struct clients clients;
    struct rng rng;
    bool is_valid;
    enum verdict_kind kind;

    rng_init(&rng, seed * 31 + (uint64_t)model + 1);
    clients_run(&clients, &(struct clients_options){
                              .model = model,
                              .clients = 2 + (unsigned)rng_below(&rng, 4),
                              .operations = 3 + rng_below(&rng, OPERATIONS_MAX - 2 -
                                                                    2 * (model == CLIENTS_BANK)),
                              .values = (unsigned)rng_below(&rng, 4),
                              .unknown_percent = (unsigned)rng_below(&rng, 50),
                              .amount_max = BIRTH_MAX / OPERATIONS_MAX,
                              .seed = seed,
                          });
    if (model == CLIENTS_BANK)
        make_poor(&clients);
    for (uint64_t changes = rng_below(&rng, 3); changes > 0; changes--)
        spoil(&clients, &rng);
    is_valid = reference_is_valid(&clients);
    clients_print(&clients, &text);
    kind = judged_kind(clients_model_name(model), buffer_slice(&text), judge);
    counts[is_valid]++;
    if (kind != (is_valid ? VERDICT_VALID : VERDICT_INVALID))
        fail_msg("%s, seed %llu: %s, but the reference says %s\n%s", clients_model_name(model),
                 (unsigned long long)seed, verdict_name(kind), is_valid ? "valid" : "invalid",
                 buffer_text(&text));
    clients_close(&clients);
}

static void compare_all(enum clients_model model, bool no_quick)
{
    struct judge_options judge = judged_options;
    uint64_t rounds = model == CLIENTS_BANK ? ROUNDS / 40 : ROUNDS;
    size_t counts[2] = {0};

    judge.no_quick = no_quick;
    for (uint64_t seed = 1; seed <= rounds; seed++)
        compare(model, seed, &judge, counts);
    assert_true(counts[false] > rounds / 20); /* else it compared next to nothing */
    assert_true(counts[true] > rounds / 20);
}

#define COMPARE(model, MODEL)                                                                      \
    static void model##__small_histories__as_the_reference_says(void **state)                      \
    {                                                                                              \
        (void)state;                                                                               \
        compare_all(MODEL, true);                                                                  \
        compare_all(MODEL, false);                                                                 \
    }

COMPARE(search_register, CLIENTS_REGISTER)
COMPARE(search_kv, CLIENTS_KV)
COMPARE(search_counter, CLIENTS_COUNTER)
COMPARE(put_if_absent, CLIENTS_ONCE)
COMPARE(search_bank, CLIENTS_BANK)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(search_register__small_histories__as_the_reference_says),
        cmocka_unit_test(search_kv__small_histories__as_the_reference_says),
        cmocka_unit_test(search_counter__small_histories__as_the_reference_says),
        cmocka_unit_test(put_if_absent__small_histories__as_the_reference_says),
        cmocka_unit_test(search_bank__small_histories__as_the_reference_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
