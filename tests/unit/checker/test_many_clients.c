/* Histories as large as real ones: with many clients, unknown outcomes, and limits. */

#include "proto/base/check.h"
#include "tests/unit/checker/clients.h"
#include "tests/unit/checker/judged.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static enum verdict_kind judge(const struct clients *clients, const struct judge_options *options)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    clients_print(clients, &text);
    return judged_kind(clients_model_name(clients->options.model), buffer_slice(&text), options);
}

/* A late read gets the answer of an early one of the same key, which is another. */
static void plant_stale_read(struct clients *clients)
{
    struct clients_op *late = clients_find(clients, READ, clients->count * 3 / 4);

    for (size_t i = 0; i < clients->count / 2; i++) {
        const struct clients_op *early = &clients->ops[i];

        if (early->function != READ || early->outcome != DONE || early->key != late->key)
            continue;
        late->told.number = early->told.number;
        memcpy(late->told.balances, early->told.balances, sizeof(late->told.balances));
        if (late->told.text != NULL) {
            free(late->told.text);
            late->told.text = check_strdup(early->told.text);
        }
        return;
    }
    fail_msg("no early read");
}

static const struct clients_options large[] = {
    {.model = CLIENTS_REGISTER, .clients = 50, .operations = 4000, .unknown_percent = 5, .seed = 1},
    {.model = CLIENTS_REGISTER, .clients = 50, .operations = 4000, .no_cas = true, .seed = 2},
    {.model = CLIENTS_KV, .clients = 50, .operations = 2000, .keys = 10, .seed = 3},
    {.model = CLIENTS_KV, .clients = 4, .operations = 1000, .no_put = true, .seed = 4},
    {.model = CLIENTS_COUNTER, .clients = 20, .operations = 4000, .values = 3, .seed = 5},
    {.model = CLIENTS_ONCE,
     .clients = 50,
     .operations = 8000,
     .keys = 100,
     .unknown_percent = 5,
     .seed = 6},
    {.model = CLIENTS_BANK, .clients = 8, .operations = 1000, .unknown_percent = 1, .seed = 7},
};

static void large_history__of_a_correct_service__valid(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(large); i++) {
        struct clients clients;

        clients_run(&clients, &large[i]);
        assert_int_equal(judge(&clients, &judged_options), VERDICT_VALID);
        clients_close(&clients);
    }
}

static void large_history__one_stale_read__invalid(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(large); i++) {
        struct clients clients;

        clients_run(&clients, &large[i]);
        plant_stale_read(&clients);
        assert_int_equal(judge(&clients, &judged_options), VERDICT_INVALID);
        clients_close(&clients);
    }
}

/* Values that repeat keep the quick checker out; no limit, the answer is known from the other
 * tests. */
static const struct clients_options hard = {
    .model = CLIENTS_BANK, .clients = 30, .operations = 2000, .unknown_percent = 10, .seed = 8};

static void no_time__undecided(void **state)
{
    struct judge_options options = judged_options;
    struct clients clients;

    (void)state;
    options.timeout_s = 0;
    clients_run(&clients, &hard);
    assert_int_equal(judge(&clients, &options), VERDICT_UNDECIDED);
    clients_close(&clients);
}

static void no_memory__undecided(void **state)
{
    struct judge_options options = judged_options;
    struct clients clients;

    (void)state;
    options.memory_bytes = 1 << 20;
    clients_run(&clients, &hard);
    assert_int_equal(judge(&clients, &options), VERDICT_UNDECIDED);
    clients_close(&clients);
}

static void one_key_undecided__another_invalid__invalid(void **state)
{
    static const char bad[] = "{\"p\":\"x\",\"t\":\"invoke\",\"f\":\"read\",\"k\":\"bad\"}\n"
                              "{\"p\":\"x\",\"t\":\"ok\",\"v\":1}\n";
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    struct judge_options options = judged_options;
    struct clients clients;

    (void)state;
    options.timeout_s = 0;
    clients_run(
        &clients,
        &(struct clients_options){
            .model = CLIENTS_REGISTER, .clients = 5, .operations = 300, .values = 3, .seed = 9});
    clients_print(&clients, &text);
    assert_int_equal(judged_kind("register", buffer_slice(&text), &options), VERDICT_UNDECIDED);
    buffer_put_text(&text, bad);
    assert_int_equal(judged_kind("register", buffer_slice(&text), &options), VERDICT_INVALID);
    clients_close(&clients);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_history__of_a_correct_service__valid),
        cmocka_unit_test(large_history__one_stale_read__invalid),
        cmocka_unit_test(no_time__undecided),
        cmocka_unit_test(no_memory__undecided),
        cmocka_unit_test(one_key_undecided__another_invalid__invalid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
