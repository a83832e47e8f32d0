#include "node/event/event_worker.h"

#include "node/event/event_engine.h"
#include "node/event/event_queue.h"
#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/wire/function.pb-c.h"
#include "tests/lib/fake_env.h"
#include "tests/lib/fake_invoker.h"
#include "tests/lib/fake_router.h"
#include "tests/lib/fake_view.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SHARDS 4
#define LEASE_MS 3000

struct machine { /* a node as far as events are concerned */
    struct fixture *fixture;
    bool is_leading;
    struct fake_invoker invoker;
    struct event_worker *worker;
};

struct fixture {
    struct fake_env env;
    struct view *view;
    struct shard_router *router;
    struct machine machines[2];
    struct event_put put;
    enum error put_rc;
};

static void each_led(void *user, void *to, void (*on_shard)(void *to, uint32_t shard))
{
    const struct machine *machine = user;

    for (uint32_t shard = 0; machine->is_leading && shard < SHARDS; shard++)
        on_shard(to, shard);
}

static enum error read_shard(void *user, uint32_t shard, struct slice query, struct buffer *reply)
{
    const struct machine *machine = user;

    fake_router_query(machine->fixture->router, shard, SHARD_ENGINE_QUEUE, query, reply);
    return OK;
}

static int set_up(void **state)
{
    struct fixture *f = check_calloc(1, sizeof(*f));

    log_set_level(LOG_LEVEL_OFF);
    fake_env_init(&f->env);
    f->view = fake_view_new(&f->env.env);
    f->router = fake_router_new(&f->env.env, SHARDS);
    fake_router_add_engine(f->router, &event_engine);
    for (size_t i = 0; i < 2; i++) {
        struct machine *machine = &f->machines[i];
        const struct event_worker_options options = {
            .env = &f->env.env,
            .view = f->view,
            .router = f->router,
            .invoker = fake_invoker_as_invoker(&machine->invoker),
            .shards = {.user = machine, .each_led = each_led, .read = read_shard},
            .lease_ms = LEASE_MS};

        machine->fixture = f;
        machine->worker = event_worker_new(&options);
    }
    f->machines[0].is_leading = true;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < 2; i++)
        event_worker_free(f->machines[i].worker);
    fake_router_free(f->router);
    view_free(f->view);
    fake_env_close(&f->env);
    free(f);
    return 0;
}

static void on_put(struct event_put *put, enum error rc)
{
    container_of(put, struct fixture, put)->put_rc = rc;
}

static void put(struct fixture *f, const char *id)
{
    Skein__Wire__Event event = SKEIN__WIRE__EVENT__INIT;

    event.id = (char *)(uintptr_t)id;
    event.function = (char *)"fn";
    event.qualifier = (char *)"live";
    event.version = 3;
    event.region = (char *)"eu-west-1";
    event.payload = (ProtobufCBinaryData){7, (uint8_t *)"{\"a\":1}"};
    f->put_rc = ERR_INTERNAL;
    event_put_start(&f->put, f->router, &event, on_put);
    fake_env_run(&f->env);
    assert_int_equal(f->put_rc, OK);
}

static void pass(struct fixture *f, uint64_t ms)
{
    fake_env_advance(&f->env, ms * 1000);
}

static size_t waiting(const struct fixture *f, size_t machine)
{
    return f->machines[machine].invoker.waiting_count;
}

static void finish(struct fixture *f, size_t machine, enum invoke_outcome outcome)
{
    fake_invoker_finish(&f->machines[machine].invoker, outcome, "null");
    fake_env_run(&f->env);
}

static struct event_worker_stats stats(const struct fixture *f, size_t machine)
{
    struct event_worker_stats stats;

    event_worker_stats(f->machines[machine].worker, &stats);
    return stats;
}

static void event_worker__event_accepted__runs_once_and_is_gone(void **state)
{
    struct fixture *f = *state;
    const struct invoke *invoke;

    put(f, "one");
    pass(f, 250);
    assert_int_equal(waiting(f, 0), 1);
    invoke = fake_invoker_first(&f->machines[0].invoker);
    assert_string_equal(invoke->function, "fn");
    assert_string_equal(invoke->qualifier, "live");
    assert_string_equal(invoke->request_id, "one");
    assert_string_equal(invoke->region, "eu-west-1");
    assert_int_equal(invoke->version, 3);
    assert_true(slice_equal_text(invoke->payload, "{\"a\":1}"));

    finish(f, 0, INVOKE_OK);
    pass(f, 600000);

    assert_int_equal(f->machines[0].invoker.started, 1);
    assert_int_equal(fake_router_key_count(f->router), 0);
    assert_int_equal(stats(f, 0).handled, 1);
    assert_int_equal(stats(f, 0).running, 0);
}

static void event_worker__function_keeps_failing__three_runs_with_documented_pauses(void **state)
{
    struct fixture *f = *state;

    put(f, "one");
    pass(f, 250);
    finish(f, 0, INVOKE_FUNCTION_ERROR);
    pass(f, 59900);
    assert_int_equal(f->machines[0].invoker.started, 1);
    pass(f, 400);
    assert_int_equal(f->machines[0].invoker.started, 2);
    finish(f, 0, INVOKE_FUNCTION_ERROR);
    pass(f, 119900);
    assert_int_equal(f->machines[0].invoker.started, 2);
    pass(f, 400);
    assert_int_equal(f->machines[0].invoker.started, 3);
    finish(f, 0, INVOKE_FUNCTION_ERROR);
    pass(f, 600000);

    assert_int_equal(f->machines[0].invoker.started, 3);
    assert_int_equal(fake_router_key_count(f->router), 0);
    assert_int_equal(stats(f, 0).retried, 2);
    assert_int_equal(stats(f, 0).dropped, 1);
}

static void event_worker__settings_say_otherwise__are_heeded(void **state)
{
    struct fixture *f = *state;
    Skein__Wire__FunctionSettings settings = SKEIN__WIRE__FUNCTION_SETTINGS__INIT;
    Skein__Wire__FunctionQualifierSettings part = SKEIN__WIRE__FUNCTION_QUALIFIER_SETTINGS__INIT;
    Skein__Wire__FunctionQualifierSettings *parts[] = {&part};
    Skein__Wire__FunctionEventConfig config = SKEIN__WIRE__FUNCTION_EVENT_CONFIG__INIT;
    uint8_t bytes[256];

    settings.function = (char *)"fn";
    settings.qualifiers = parts;
    settings.n_qualifiers = 1;
    part.qualifier = (char *)"live";
    part.event_config = &config;
    config.has_retries = true; /* none */
    config.has_age = true;
    config.age_seconds = 60;
    fake_view_set(f->view, "settings/fn",
                  slice_of(bytes, skein__wire__function_settings__pack(&settings, bytes)));

    put(f, "one");
    pass(f, 250);
    finish(f, 0, INVOKE_FUNCTION_ERROR);
    assert_int_equal(fake_router_key_count(f->router), 0);

    f->machines[0].is_leading = false; /* nobody there for longer than it may wait */
    put(f, "two");
    pass(f, 61000);
    f->machines[0].is_leading = true;
    pass(f, 500);
    assert_int_equal(f->machines[0].invoker.started, 1);
    assert_int_equal(fake_router_key_count(f->router), 0);
    assert_int_equal(stats(f, 0).dropped, 2);
}

static void event_worker__throttled__tried_again_without_costing_a_retry(void **state)
{
    struct fixture *f = *state;

    put(f, "one");
    pass(f, 250);
    for (size_t i = 0; i < 4; i++) {
        finish(f, 0, i % 2 == 0 ? INVOKE_THROTTLED : INVOKE_UNAVAILABLE);
        assert_int_equal(waiting(f, 0), 0);
        pass(f, (1000u << i) + 500);
        assert_int_equal(waiting(f, 0), 1);
    }
    finish(f, 0, INVOKE_OK);
    assert_int_equal(stats(f, 0).refused, 4);
    assert_int_equal(stats(f, 0).handled, 1);
    assert_int_equal(fake_router_key_count(f->router), 0);
}

static void event_worker__leader_changes_while_it_runs__nobody_starts_it_again(void **state)
{
    struct fixture *f = *state;

    put(f, "one");
    pass(f, 250);
    f->machines[0].is_leading = false;
    f->machines[1].is_leading = true;

    pass(f, 10 * LEASE_MS); /* renewed all the while */
    assert_int_equal(waiting(f, 1), 0);
    finish(f, 0, INVOKE_OK);
    pass(f, 10 * LEASE_MS);

    assert_int_equal(f->machines[1].invoker.started, 0);
    assert_int_equal(fake_router_key_count(f->router), 0);
}

static void event_worker__its_node_dies__runs_elsewhere_after_the_lease(void **state)
{
    struct fixture *f = *state;

    put(f, "one");
    pass(f, 250);
    assert_int_equal(waiting(f, 0), 1);
    event_worker_free(f->machines[0].worker);
    f->machines[0].worker = NULL;
    f->machines[1].is_leading = true;

    pass(f, LEASE_MS / 2);
    assert_int_equal(waiting(f, 1), 0);
    pass(f, LEASE_MS);
    assert_int_equal(waiting(f, 1), 1);
    finish(f, 1, INVOKE_OK);
    assert_int_equal(fake_router_key_count(f->router), 0);
}

static void event_worker__removal_is_not_confirmed__asks_until_it_is(void **state)
{
    struct fixture *f = *state;

    put(f, "one");
    pass(f, 250);
    fake_router_fail(f->router, 0, ERR_TIMEOUT, false);
    finish(f, 0, INVOKE_OK);
    assert_true(fake_router_key_count(f->router) > 0);
    assert_int_equal(stats(f, 0).running, 1);

    pass(f, 1000);

    assert_int_equal(fake_router_key_count(f->router), 0);
    assert_int_equal(stats(f, 0).running, 0);
    assert_int_equal(f->machines[0].invoker.started, 1);
}

static void event_worker__claim_is_lost__runs_after_the_lease(void **state)
{
    struct fixture *f = *state;

    put(f, "one");
    fake_router_fail(f->router, 0, ERR_TIMEOUT, true);
    pass(f, 250);
    assert_int_equal(waiting(f, 0), 0);
    pass(f, LEASE_MS + 500);
    assert_int_equal(waiting(f, 0), 1);
}

static void event_worker__two_leaders_believe__one_runs_it(void **state)
{
    struct fixture *f = *state;

    f->machines[1].is_leading = true;
    put(f, "one");
    fake_router_hold(f->router, true); /* both claim before either hears */
    pass(f, 300);
    fake_router_hold(f->router, false);
    pass(f, 10 * LEASE_MS);
    assert_int_equal(waiting(f, 0) + waiting(f, 1), 1);
}

static uint64_t dice(uint64_t *seed, uint64_t bound)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (*seed >> 33) % bound;
}

/* Leaders change, commands are lost or answered too late, functions fail and are throttled; nobody
 * dies. Returns how many runs succeeded. */
static size_t run_a_while(struct fixture *f, uint64_t seed, size_t events)
{
    size_t successes = 0;
    char id[2] = "a";

    for (size_t step = 0; step < 8000 && successes < events; step++) {
        size_t machine = dice(&seed, 2);

        fake_router_hold(f->router, false);
        if (step % 8 == 0 && step / 8 < events) {
            id[0] = (char)('a' + step / 8);
            fake_router_fail(f->router, SIZE_MAX, OK, false); /* never */
            put(f, id);
        }
        if (dice(&seed, 10) == 0)
            fake_router_fail(f->router, 0, ERR_TIMEOUT, dice(&seed, 2) == 0);
        if (dice(&seed, 20) == 0)
            f->machines[0].is_leading = !f->machines[0].is_leading;
        f->machines[1].is_leading = !f->machines[0].is_leading || dice(&seed, 9) == 0;
        if (waiting(f, machine) > 0 && dice(&seed, 3) == 0) {
            uint64_t throw = dice(&seed, 4);

            successes += throw <= 1;
            finish(f, machine,
                   throw <= 1   ? INVOKE_OK
                   : throw == 2 ? INVOKE_UNAVAILABLE
                                : INVOKE_THROTTLED);
        }
        fake_router_hold(f->router, dice(&seed, 3) == 0);
        pass(f, dice(&seed, 400));
    }
    fake_router_hold(f->router, false);
    return successes;
}

static void event_worker__leaders_change_and_commands_are_lost__one_success_each(void **state)
{
    enum { EVENTS = 10 };

    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fixture *f;

        assert_int_equal(tear_down(state), 0);
        assert_int_equal(set_up(state), 0);
        f = *state;
        if (run_a_while(f, seed, EVENTS) != EVENTS)
            fail_msg("seed %" PRIu64 ": not all succeeded", seed);
        f->machines[0].is_leading = true;
        pass(f, 600000);
        if (fake_router_key_count(f->router) != 0 || waiting(f, 0) + waiting(f, 1) != 0)
            fail_msg("seed %" PRIu64 ": an event that succeeded is still there", seed);
        assert_int_equal(stats(f, 0).handled + stats(f, 1).handled, EVENTS);
        assert_int_equal(stats(f, 0).dropped + stats(f, 1).dropped, 0);
    }
}

static void event_worker__function_is_gone__event_goes_too(void **state)
{
    struct fixture *f = *state;

    put(f, "one");
    pass(f, 250);
    finish(f, 0, INVOKE_NOT_FOUND);
    assert_int_equal(fake_router_key_count(f->router), 0);
    assert_int_equal(stats(f, 0).dropped, 1);
}

static void event_worker_free__in_every_state__nothing_leaks_and_nobody_is_called(void **state)
{
    struct fixture *f = *state;

    for (int moment = 0; moment < 4; moment++) {
        const struct event_worker_options options = {
            .env = &f->env.env,
            .view = f->view,
            .router = f->router,
            .invoker = fake_invoker_as_invoker(&f->machines[0].invoker),
            .shards = {.user = &f->machines[0], .each_led = each_led, .read = read_shard},
            .lease_ms = LEASE_MS};
        char id[2] = {(char)('a' + moment), '\0'};

        put(f, id);
        fake_router_hold(f->router, moment == 1);
        pass(f, moment == 0 ? 0 : 250);
        if (moment == 3) {
            fake_router_hold(f->router, true);
            fake_invoker_finish(&f->machines[0].invoker, INVOKE_OK, "1");
        }
        event_worker_free(f->machines[0].worker);
        f->machines[0].invoker.waiting_count = 0;
        fake_router_hold(f->router, false);
        f->machines[0].worker = event_worker_new(&options);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(event_worker__event_accepted__runs_once_and_is_gone),
        TEST(event_worker__function_keeps_failing__three_runs_with_documented_pauses),
        TEST(event_worker__settings_say_otherwise__are_heeded),
        TEST(event_worker__throttled__tried_again_without_costing_a_retry),
        TEST(event_worker__leader_changes_while_it_runs__nobody_starts_it_again),
        TEST(event_worker__its_node_dies__runs_elsewhere_after_the_lease),
        TEST(event_worker__removal_is_not_confirmed__asks_until_it_is),
        TEST(event_worker__claim_is_lost__runs_after_the_lease),
        TEST(event_worker__two_leaders_believe__one_runs_it),
        TEST(event_worker__leaders_change_and_commands_are_lost__one_success_each),
        TEST(event_worker__function_is_gone__event_goes_too),
        TEST(event_worker_free__in_every_state__nothing_leaks_and_nobody_is_called),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
