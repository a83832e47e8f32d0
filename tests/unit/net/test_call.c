/* Calls between two simulated processes: whatever happens, one callback, and a truthful one. */

#include "proto/base/check.h"
#include "proto/env/env_sim.h"
#include "proto/net/call.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND 1000000u
#define HELD_MAX 16

struct server {
    struct env *env;
    struct calls *calls;
    bool is_slow; /* keeps requests in `held` */
    struct call_request *held[HELD_MAX];
    size_t held_count;
    size_t request_count;
};

struct world {
    struct sim *sim;
    struct env *env; /* process 1 calls, process 2 answers */
    struct calls *calls;
    struct server server;
};

struct outcome {
    struct call call;
    size_t callbacks;
    enum error rc;
    char answer[64];
    struct call *cancels; /* this one in its callback */
};

static void on_outcome(struct call *call, enum error rc, struct slice answer)
{
    struct outcome *outcome = container_of(call, struct outcome, call);

    assert_true(answer.size < sizeof(outcome->answer));
    assert_null(call->calls);
    outcome->callbacks++;
    outcome->rc = rc;
    if (answer.size > 0)
        memcpy(outcome->answer, answer.data, answer.size);
    outcome->answer[answer.size] = '\0';
    if (outcome->cancels != NULL)
        call_cancel(outcome->cancels);
}

static void on_request(void *user, struct call_request *request)
{
    struct server *server = user;

    server->request_count++;
    if (!server->is_slow) {
        call_answer(request, OK, request->body);
        return;
    }
    assert_true(server->held_count < HELD_MAX);
    server->held[server->held_count++] = request;
}

static void on_denied(void *user, struct call_request *request)
{
    (void)user;
    call_answer(request, ERR_DENIED, SLICE_LITERAL("not part of an error"));
}

static void server_start(struct world *world)
{
    struct env *env = sim_process_start(world->sim, 2);

    world->server = (struct server){.env = env, .calls = calls_new(env)};
    calls_handle(world->server.calls, CALL_SHARD_READ, &world->server, on_request);
    calls_handle(world->server.calls, CALL_ADMIN, NULL, on_denied);
    env->link->peer_set(env, 1, "tcp://127.0.0.1:1", "");
}

static void run_for(struct world *world, uint64_t us)
{
    sim_run_until(world->sim, sim_now_us(world->sim) + us);
}

static void world_open(struct world *world)
{
    struct sim_options options = sim_options_default(7);

    *world = (struct world){.sim = sim_new(&options)};
    world->env = sim_process_start(world->sim, 1);
    world->calls = calls_new(world->env);
    world->env->link->peer_set(world->env, 2, "tcp://127.0.0.1:2", "");
    server_start(world);
    run_for(world, SECOND);
    assert_true(world->env->link->is_up(world->env, 2));
}

static void world_close(struct world *world)
{
    calls_free(world->calls);
    calls_free(world->server.calls);
    sim_free(world->sim);
}

static void ask(struct world *world, struct outcome *outcome, uint64_t peer,
                enum call_method method, const char *body)
{
    size_t before = outcome->callbacks;

    call_start(world->calls, &outcome->call, peer, method, slice_text(body), 500, on_outcome);
    assert_int_equal(outcome->callbacks, before);
}

static void assert_outcome(const struct outcome *outcome, enum error rc, const char *answer)
{
    assert_int_equal(outcome->callbacks, 1);
    assert_string_equal(error_name(outcome->rc), error_name(rc));
    assert_string_equal(outcome->answer, answer);
}

static void call__answered__gives_the_answer(void **state)
{
    struct world world;
    struct outcome outcome = {0};

    (void)state;
    world_open(&world);

    ask(&world, &outcome, 2, CALL_SHARD_READ, "honk");
    run_for(&world, SECOND);

    assert_outcome(&outcome, OK, "honk");
    world_close(&world);
}

static void call__answered_with_an_error__gives_it_without_a_body(void **state)
{
    struct world world;
    struct outcome outcome = {0};

    (void)state;
    world_open(&world);

    ask(&world, &outcome, 2, CALL_ADMIN, "");
    run_for(&world, SECOND);

    assert_outcome(&outcome, ERR_DENIED, "");
    world_close(&world);
}

static void call__method_unknown_there__version(void **state)
{
    struct world world;
    struct outcome outcomes[2] = {0};

    (void)state;
    world_open(&world);

    ask(&world, &outcomes[0], 2, CALL_INVOKE, "");
    ask(&world, &outcomes[1], 2, (enum call_method)70000, "");
    run_for(&world, SECOND);

    assert_outcome(&outcomes[0], ERR_VERSION, "");
    assert_outcome(&outcomes[1], ERR_VERSION, "");
    world_close(&world);
}

static void call__to_oneself__answered(void **state)
{
    struct world world;
    struct outcome outcome = {0};

    (void)state;
    world_open(&world);
    calls_handle(world.calls, CALL_SHARD_READ, &world.server, on_request);

    ask(&world, &outcome, 1, CALL_SHARD_READ, "me");
    run_for(&world, SECOND);

    assert_outcome(&outcome, OK, "me");
    world_close(&world);
}

static void call__peer_unknown__unreachable_and_later(void **state)
{
    struct world world;
    struct outcome outcome = {0};

    (void)state;
    world_open(&world);

    ask(&world, &outcome, 9, CALL_SHARD_READ, "x");
    run_for(&world, SECOND);

    assert_outcome(&outcome, ERR_UNREACHABLE, "");
    assert_int_equal(error_effect(outcome.rc), ERROR_EFFECT_NONE);
    world_close(&world);
}

static void call__no_answer_in_time__timeout_and_the_late_answer_is_ignored(void **state)
{
    struct world world;
    struct outcome outcome = {0};

    (void)state;
    world_open(&world);
    world.server.is_slow = true;

    ask(&world, &outcome, 2, CALL_SHARD_READ, "x");
    run_for(&world, SECOND);
    assert_outcome(&outcome, ERR_TIMEOUT, "");
    ask(&world, &outcome, 2, CALL_SHARD_READ, "second"); /* the same struct, reused at once */
    run_for(&world, SECOND / 10);
    call_answer(world.server.held[0], OK, SLICE_LITERAL("too late"));
    run_for(&world, SECOND / 10);
    assert_int_equal(outcome.callbacks, 1);
    call_answer(world.server.held[1], OK, SLICE_LITERAL("in time"));
    run_for(&world, SECOND);

    assert_int_equal(outcome.callbacks, 2);
    assert_string_equal(outcome.answer, "in time");
    world_close(&world);
}

static void call__cancelled__no_callback_even_when_the_answer_comes(void **state)
{
    struct world world;
    struct outcome outcomes[2] = {0};

    (void)state;
    world_open(&world);

    ask(&world, &outcomes[0], 2, CALL_SHARD_READ, "x");
    ask(&world, &outcomes[1], 9, CALL_SHARD_READ, "x");
    call_cancel(&outcomes[0].call);
    call_cancel(&outcomes[0].call);
    call_cancel(&outcomes[1].call);
    run_for(&world, SECOND);

    assert_int_equal(world.server.request_count, 1);
    assert_int_equal(outcomes[0].callbacks, 0);
    assert_int_equal(outcomes[1].callbacks, 0);
    world_close(&world);
}

static void call__peer_dies__lost_at_once_and_maybe(void **state)
{
    struct world world;
    struct outcome outcomes[3] = {0};

    (void)state;
    world_open(&world);
    world.server.is_slow = true;
    calls_handle(world.calls, CALL_SHARD_READ, &world.server, on_request);

    ask(&world, &outcomes[0], 2, CALL_SHARD_READ, "x");
    ask(&world, &outcomes[1], 2, CALL_SHARD_READ, "x");
    ask(&world, &outcomes[2], 1, CALL_SHARD_READ, "another peer's call goes on");
    outcomes[0].cancels = &outcomes[1].call; /* its neighbour on the list of the lost */
    run_for(&world, SECOND / 10);
    sim_crash(world.sim, 2, SIM_CRASH_KILL);
    run_for(&world, SECOND / 10);

    assert_outcome(&outcomes[0], ERR_LOST, "");
    assert_int_equal(error_effect(outcomes[0].rc), ERROR_EFFECT_MAYBE);
    assert_int_equal(outcomes[1].callbacks, 0);
    assert_int_equal(outcomes[2].callbacks, 0);
    world_close(&world);
}

static void call__caller_restarted__answer_to_its_earlier_life_fits_nothing(void **state)
{
    struct world world;
    struct outcome outcomes[2] = {0};

    (void)state;
    world_open(&world);
    world.server.is_slow = true;

    ask(&world, &outcomes[0], 2, CALL_SHARD_READ, "before");
    run_for(&world, SECOND / 10);
    sim_crash(world.sim, 1, SIM_CRASH_KILL);
    calls_free(world.calls);
    world.env = sim_process_start(world.sim, 1);
    world.calls = calls_new(world.env);
    world.env->link->peer_set(world.env, 2, "tcp://127.0.0.1:2", "");
    run_for(&world, SECOND);
    ask(&world, &outcomes[1], 2, CALL_SHARD_READ, "after");
    run_for(&world, SECOND / 10);
    call_answer(world.server.held[0], OK, SLICE_LITERAL("to the dead"));
    call_answer(world.server.held[1], OK, SLICE_LITERAL("to the living"));
    run_for(&world, SECOND);

    assert_int_equal(outcomes[0].callbacks, 0);
    assert_outcome(&outcomes[1], OK, "to the living");
    world_close(&world);
}

static void call__malformed_messages__ignored(void **state)
{
    struct world world;
    struct outcome outcome = {0};
    uint8_t bytes[40];

    (void)state;
    world_open(&world);

    for (size_t size = 0; size < sizeof(bytes); size++)
        for (int fill = 0; fill < 4; fill++) {
            memset(bytes, fill, sizeof(bytes));
            assert_int_equal(env_send(world.env, 2, ENV_CHANNEL_CALL, slice_of(bytes, size)), OK);
            run_for(&world, SECOND / 100);
        }
    ask(&world, &outcome, 2, CALL_SHARD_READ, "still alive");
    run_for(&world, SECOND);

    assert_outcome(&outcome, OK, "still alive");
    world_close(&world);
}

/* An answer with an error code from the future, and one from a peer that was not asked. */
static void call__strange_answers__internal_error_or_ignored(void **state)
{
    struct world world;
    struct outcome outcome = {0};
    AUTO(buffer) answer = BUFFER_INIT(64);

    (void)state;
    world_open(&world);
    world.server.is_slow = true;
    struct env *other = sim_process_start(world.sim, 3);

    other->link->peer_set(other, 1, "tcp://127.0.0.1:1", "");
    world.env->link->peer_set(world.env, 3, "tcp://127.0.0.1:3", "");
    run_for(&world, SECOND);
    ask(&world, &outcome, 2, CALL_SHARD_READ, "x");
    buffer_put_u8(&answer, 2);
    buffer_put_u64(&answer, outcome.call.id);
    buffer_put_u32(&answer, 4711);
    assert_int_equal(env_send(other, 1, ENV_CHANNEL_CALL, buffer_slice(&answer)), OK);
    run_for(&world, SECOND / 10);
    assert_int_equal(outcome.callbacks, 0);
    assert_int_equal(env_send(world.server.env, 1, ENV_CHANNEL_CALL, buffer_slice(&answer)), OK);
    run_for(&world, SECOND / 10);

    assert_outcome(&outcome, ERR_INTERNAL, "");
    world_close(&world);
}

static void calls_free__calls_and_requests_in_flight__no_callback_no_leak(void **state)
{
    struct world world;
    struct outcome outcomes[2] = {0};

    (void)state;
    world_open(&world);
    world.server.is_slow = true;

    ask(&world, &outcomes[0], 2, CALL_SHARD_READ, "x");
    ask(&world, &outcomes[1], 9, CALL_SHARD_READ, "x");
    run_for(&world, 0);
    world_close(&world);

    assert_int_equal(outcomes[0].callbacks, 0);
    call_cancel(&outcomes[0].call); /* an owner that is freed later */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(call__answered__gives_the_answer),
        cmocka_unit_test(call__answered_with_an_error__gives_it_without_a_body),
        cmocka_unit_test(call__method_unknown_there__version),
        cmocka_unit_test(call__to_oneself__answered),
        cmocka_unit_test(call__peer_unknown__unreachable_and_later),
        cmocka_unit_test(call__no_answer_in_time__timeout_and_the_late_answer_is_ignored),
        cmocka_unit_test(call__cancelled__no_callback_even_when_the_answer_comes),
        cmocka_unit_test(call__peer_dies__lost_at_once_and_maybe),
        cmocka_unit_test(call__caller_restarted__answer_to_its_earlier_life_fits_nothing),
        cmocka_unit_test(call__malformed_messages__ignored),
        cmocka_unit_test(call__strange_answers__internal_error_or_ignored),
        cmocka_unit_test(calls_free__calls_and_requests_in_flight__no_callback_no_leak),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
