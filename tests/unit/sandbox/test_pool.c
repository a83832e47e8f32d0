#include "node/sandbox/pool.h"
#include "node/sandbox/sandbox_stub.h"
#include "proto/base/check.h"
#include "tests/lib/fake_env.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define REQUEST_ID "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
#define SECOND 1000000ull

struct call {
    struct invoke invoke;
    int answers;
    enum invoke_outcome outcome;
    uint64_t init_us;
    uint64_t duration_us;
    uint32_t billed_ms;
    char payload[256];
    char log[INVOKE_LOG_TAIL_BYTES + 1];
};

struct fixture {
    struct fake_env fake;
    struct sandbox_stub *stub;
    struct pool *pool;
    struct pool_options options;
    enum error code_rc; /* of the next fetches */
    uint32_t fetches;
    struct pool_code *fetching;
    struct env_task fetch_task;
    struct sandbox_stub_behaviour behaviour; /* of every start and call */
    uint64_t duration_us;                    /* 0 = the behaviour's */
    struct buffer logged;
};

static void on_fetch_task(struct env_task *task)
{
    struct fixture *f = container_of(task, struct fixture, fetch_task);

    f->fetching->cb(f->fetching, f->code_rc, "code");
}

static void code_fetch(void *user, struct pool_code *code, pool_code_cb cb)
{
    struct fixture *f = user;

    (void)cb;
    f->fetches++;
    f->fetching = code;
    env_defer(&f->fake.env, &f->fetch_task, on_fetch_task);
}

static void on_log(void *user, const Skein__Wire__Function *function, const char *log_stream,
                   const char *request_id, struct slice text)
{
    struct fixture *f = user;

    assert_string_equal(function->name, "fn");
    assert_non_null(strstr(log_stream, "[$LATEST]"));
    (void)request_id;
    buffer_put_slice(&f->logged, text);
}

static void run(void *user, const struct sandbox_spec *spec, const struct sandbox_event *event,
                struct sandbox_stub_behaviour *behaviour, struct buffer *payload)
{
    struct fixture *f = user;

    *behaviour = f->behaviour;
    if (event == NULL && behaviour->fate != SANDBOX_STUB_FAILS_INIT)
        behaviour->output = (struct slice){0};
    if (f->behaviour.fate == SANDBOX_STUB_FAILS_INIT)
        buffer_put_text(payload, "{\"errorType\":\"Runtime.ImportModuleError\"}");
    else if (event != NULL)
        buffer_putf(payload, "%u", spec->function->generation);
}

static void open_fixture(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    fake_env_init(&f->fake);
    f->stub = sandbox_stub_new(&f->fake.env);
    f->behaviour = (struct sandbox_stub_behaviour){.init_us = 5000, .duration_us = 2000};
    sandbox_stub_register(f->stub, "fn", run, f);
    buffer_init(&f->logged, BUFFER_UNLIMITED);
    f->options = (struct pool_options){
        .region = "us-east-1", .user = f, .code_fetch = code_fetch, .on_log = on_log};
}

static void set_function(struct fixture *f, uint32_t generation)
{
    Skein__Wire__Function function = SKEIN__WIRE__FUNCTION__INIT;

    function.name = (char *)"fn";
    function.runtime = (char *)"python3.9";
    function.handler = (char *)"app.lambda_handler";
    function.timeout_ms = 3000;
    function.memory_mb = 128;
    function.generation = generation;
    pool_function_set(f->pool, &function);
}

static void open_pool(struct fixture *f)
{
    open_fixture(f);
    f->pool = pool_new(&f->fake.env, &f->options);
    set_function(f, 1);
}

static void close_fixture(struct fixture *f)
{
    pool_free(f->pool);
    sandbox_stub_free(f->stub);
    buffer_close(&f->logged);
    fake_env_close(&f->fake);
}

static void copy_slice(char *to, size_t bytes, struct slice from)
{
    assert_true(from.size < bytes);
    if (from.size > 0)
        memcpy(to, from.data, from.size);
    to[from.size] = '\0';
}

static void on_answer(struct invoke *invoke, const struct invoke_result *result)
{
    struct call *call = container_of(invoke, struct call, invoke);

    call->answers++;
    call->outcome = result->outcome;
    call->init_us = result->init_us;
    call->duration_us = result->duration_us;
    call->billed_ms = result->billed_ms;
    copy_slice(call->payload, sizeof(call->payload), result->payload);
    copy_slice(call->log, sizeof(call->log), result->log_tail);
}

static void start_call(struct fixture *f, struct call *call)
{
    *call = (struct call){
        .invoke = {.function = "fn", .request_id = REQUEST_ID, .payload = SLICE_LITERAL("{}")}};
    pool_invoke(f->pool, &call->invoke, on_answer);
    assert_int_equal(call->answers, 0); /* never from within */
}

static void advance(struct fixture *f, uint64_t us)
{
    fake_env_run(&f->fake);
    fake_env_advance(&f->fake, us);
}

static struct pool_stats stats_of(const struct fixture *f)
{
    struct pool_stats stats;

    pool_stats(f->pool, &stats);
    return stats;
}

/* ---- tests --------------------------------------------------------------------------------- */

static void pool__first_call__starts_a_sandbox_and_the_next_reuses_it(void **state)
{
    struct fixture f;
    struct call cold;
    struct call warm;

    (void)state;
    open_pool(&f);

    start_call(&f, &cold);
    advance(&f, SECOND);
    start_call(&f, &warm);
    advance(&f, SECOND);

    assert_int_equal(cold.outcome, INVOKE_OK);
    assert_string_equal(cold.payload, "1");
    assert_int_equal(cold.init_us, 5001);
    assert_int_equal(cold.duration_us, 2000);
    assert_int_equal(cold.billed_ms, 2);
    assert_string_equal(cold.log,
                        "START RequestId: " REQUEST_ID " Version: $LATEST\n"
                        "END RequestId: " REQUEST_ID "\n"
                        "REPORT RequestId: " REQUEST_ID "\tDuration: 2.00 ms\tBilled Duration: 2 "
                        "ms\tMemory Size: 128 MB\tMax Memory Used: 32 MB\tInit Duration: 5.00 ms\t"
                        "\n");
    assert_string_equal(buffer_text(&f.logged) + strlen(cold.log), warm.log);
    assert_int_equal(warm.outcome, INVOKE_OK);
    assert_int_equal(warm.init_us, 0);
    assert_int_equal(f.fetches, 1);
    assert_int_equal(stats_of(&f).cold_starts, 1);
    assert_int_equal(stats_of(&f).idle, 1);
    assert_int_equal(stats_of(&f).billed_mb_ms, 2 * 2 * 128);
    close_fixture(&f);
}

static void pool__calls_at_once__one_sandbox_each_no_more(void **state)
{
    struct fixture f;
    struct call calls[7];

    (void)state;
    open_pool(&f);

    for (size_t i = 0; i < 7; i++)
        start_call(&f, &calls[i]);
    advance(&f, SECOND);

    for (size_t i = 0; i < 7; i++)
        assert_int_equal(calls[i].outcome, INVOKE_OK);
    assert_int_equal(stats_of(&f).cold_starts, 7);
    assert_int_equal(sandbox_stub_count(f.stub), 7);
    close_fixture(&f);
}

/* Two busy ones, 2 ms a call, serve five more before a new one would be there in 5 ms. */
static void pool__busy_ones_will_be_free_sooner__none_is_started(void **state)
{
    struct fixture f;
    struct call calls[8];

    (void)state;
    open_pool(&f);
    start_call(&f, &calls[0]);
    start_call(&f, &calls[1]);
    advance(&f, SECOND);

    for (size_t i = 0; i < 7; i++)
        start_call(&f, &calls[i]);
    assert_int_equal(stats_of(&f).starting, 0);
    start_call(&f, &calls[7]);
    assert_int_equal(stats_of(&f).starting, 1);
    advance(&f, SECOND);

    for (size_t i = 0; i < 8; i++)
        assert_int_equal(calls[i].outcome, INVOKE_OK);
    assert_int_equal(stats_of(&f).cold_starts, 3);
    close_fixture(&f);
}

static void pool__busy_ones_take_longer_than_usual__waits_no_longer_than_a_start(void **state)
{
    struct fixture f;
    struct call calls[3];

    (void)state;
    open_pool(&f);
    start_call(&f, &calls[0]);
    start_call(&f, &calls[1]);
    advance(&f, SECOND);
    f.behaviour.duration_us = 2 * SECOND;
    start_call(&f, &calls[0]);
    start_call(&f, &calls[1]);
    advance(&f, 100);
    f.behaviour.duration_us = 2000;

    start_call(&f, &calls[2]);
    assert_int_equal(stats_of(&f).starting, 0);
    advance(&f, 20000);

    assert_int_equal(calls[2].answers, 1);
    assert_int_equal(stats_of(&f).cold_starts, 3);
    close_fixture(&f);
}

static void pool__many_starts__paced_but_not_held_up_by_slow_ones(void **state)
{
    struct fixture f;
    struct call calls[4];

    (void)state;
    open_fixture(&f);
    f.options.starting_max = 2;
    f.behaviour.init_us = 5 * SECOND;
    f.pool = pool_new(&f.fake.env, &f.options);
    set_function(&f, 1);

    for (size_t i = 0; i < 4; i++)
        start_call(&f, &calls[i]);
    advance(&f, 1000);
    assert_int_equal(stats_of(&f).starting, 2);
    advance(&f, SECOND);
    assert_int_equal(stats_of(&f).starting, 4);
    advance(&f, 10 * SECOND);

    for (size_t i = 0; i < 4; i++)
        assert_int_equal(calls[i].outcome, INVOKE_OK);
    close_fixture(&f);
}

static void pool__idle_for_long__is_ended(void **state)
{
    struct fixture f;
    struct call calls[3];

    (void)state;
    open_fixture(&f);
    f.options.idle_ms = 60000;
    f.pool = pool_new(&f.fake.env, &f.options);
    set_function(&f, 1);
    for (size_t i = 0; i < 3; i++)
        start_call(&f, &calls[i]);
    advance(&f, 30 * SECOND);
    start_call(&f, &calls[0]);

    advance(&f, 31 * SECOND);
    assert_int_equal(sandbox_stub_count(f.stub), 1); /* the one used in between */
    advance(&f, 60 * SECOND);
    assert_int_equal(sandbox_stub_count(f.stub), 0);
    close_fixture(&f);
}

static void pool__past_the_concurrency_limit__throttled(void **state)
{
    struct fixture f;
    struct call calls[4];

    (void)state;
    open_fixture(&f);
    f.options.concurrency_max = 3;
    f.pool = pool_new(&f.fake.env, &f.options);
    set_function(&f, 1);

    for (size_t i = 0; i < 4; i++)
        start_call(&f, &calls[i]);
    advance(&f, SECOND);

    for (size_t i = 0; i < 3; i++)
        assert_int_equal(calls[i].outcome, INVOKE_OK);
    assert_int_equal(calls[3].answers, 1);
    assert_int_equal(calls[3].outcome, INVOKE_THROTTLED);
    assert_int_equal(stats_of(&f).throttles, 1);
    close_fixture(&f);
}

static void pool__no_room_on_the_node__waits_then_is_throttled(void **state)
{
    struct fixture f;
    struct call calls[3];

    (void)state;
    open_fixture(&f);
    f.options.sandboxes_max = 1;
    f.options.wait_ms_max = 2500;
    f.behaviour.duration_us = 2 * SECOND;
    f.pool = pool_new(&f.fake.env, &f.options);
    set_function(&f, 1);

    for (size_t i = 0; i < 3; i++)
        start_call(&f, &calls[i]);
    advance(&f, 10 * SECOND);

    assert_int_equal(calls[0].outcome, INVOKE_OK);
    assert_int_equal(calls[1].outcome, INVOKE_OK); /* after the first, in the same sandbox */
    assert_int_equal(calls[2].outcome, INVOKE_THROTTLED);
    assert_int_equal(stats_of(&f).cold_starts, 1);
    assert_int_equal(stats_of(&f).waiting, 0);
    close_fixture(&f);
}

static void pool__cancelled__waiting_never_starts_and_running_goes_on(void **state)
{
    struct fixture f;
    struct call running;
    struct call waiting;

    (void)state;
    open_fixture(&f);
    f.options.sandboxes_max = 1;
    f.behaviour.duration_us = SECOND;
    f.pool = pool_new(&f.fake.env, &f.options);
    set_function(&f, 1);

    start_call(&f, &running);
    advance(&f, SECOND / 2);
    start_call(&f, &waiting);
    pool_cancel(f.pool, &running.invoke);
    pool_cancel(f.pool, &waiting.invoke);
    assert_int_equal(waiting.answers, 0); /* never from within */
    pool_cancel(f.pool, &waiting.invoke);
    advance(&f, 1);
    assert_int_equal(waiting.answers, 1);
    assert_int_equal(waiting.outcome, INVOKE_CANCELLED);
    assert_int_equal(stats_of(&f).waiting, 0);
    advance(&f, 5 * SECOND);

    assert_int_equal(running.answers, 1);
    assert_int_equal(running.outcome, INVOKE_OK);
    assert_int_equal(stats_of(&f).throttles, 0);
    close_fixture(&f);
}

static void pool__cancelled_and_its_sandbox_ends_unseen__not_started_again(void **state)
{
    struct fixture f;
    struct call call;

    (void)state;
    open_pool(&f);
    f.behaviour.fate = SANDBOX_STUB_EXITS;
    f.behaviour.duration_us = SECOND;
    f.behaviour.exit = (struct sandbox_exit){.end = SANDBOX_EXITED, .is_event_unseen = true};

    start_call(&f, &call);
    advance(&f, SECOND / 2);
    pool_cancel(f.pool, &call.invoke);
    advance(&f, 5 * SECOND);

    assert_int_equal(call.answers, 1);
    assert_int_equal(call.outcome, INVOKE_CANCELLED);
    close_fixture(&f);
}

static void pool__runtime_is_being_loaded__calls_wait_for_it_and_then_as_usual(void **state)
{
    struct fixture f;
    struct call call;

    (void)state;
    open_fixture(&f);
    f.options.wait_ms_max = 1000;
    f.pool = pool_new(&f.fake.env, &f.options);
    set_function(&f, 1);
    sandbox_stub_set_booting(f.stub, true);

    start_call(&f, &call);
    advance(&f, 4 * SECOND);
    assert_int_equal(call.answers, 0);
    assert_int_equal(stats_of(&f).cold_starts, 0);
    sandbox_stub_set_booting(f.stub, false);
    advance(&f, SECOND);

    assert_int_equal(call.outcome, INVOKE_OK);
    assert_int_equal(call.answers, 1);
    close_fixture(&f);
}

static void pool__runtime_is_never_loaded__throttled_after_a_while(void **state)
{
    struct fixture f;
    struct call call;

    (void)state;
    open_fixture(&f);
    f.options.wait_ms_max = 1000;
    f.options.boot_ms_max = 3000;
    f.pool = pool_new(&f.fake.env, &f.options);
    set_function(&f, 1);
    sandbox_stub_set_booting(f.stub, true);

    start_call(&f, &call);
    advance(&f, 2 * SECOND);
    assert_int_equal(call.answers, 0);
    advance(&f, 2 * SECOND);

    assert_int_equal(call.answers, 1);
    assert_int_equal(call.outcome, INVOKE_THROTTLED);
    assert_int_equal(stats_of(&f).waiting, 0);
    close_fixture(&f);
}

static void pool__no_room_but_another_function_idles__it_makes_room(void **state)
{
    Skein__Wire__Function other = SKEIN__WIRE__FUNCTION__INIT;
    struct fixture f;
    struct call first;
    struct call second;

    (void)state;
    open_fixture(&f);
    f.options.sandboxes_max = 1;
    f.options.on_log = NULL;
    f.pool = pool_new(&f.fake.env, &f.options);
    set_function(&f, 1);
    other.name = (char *)"other";
    other.runtime = (char *)"provided.al2023";
    other.timeout_ms = 3000;
    pool_function_set(f.pool, &other);
    start_call(&f, &first);
    advance(&f, SECOND);

    second = (struct call){.invoke = {.function = "other", .request_id = REQUEST_ID}};
    pool_invoke(f.pool, &second.invoke, on_answer);
    advance(&f, SECOND);

    assert_int_equal(second.outcome, INVOKE_OK);
    assert_string_equal(second.payload, "{}"); /* echoed: no payload is an empty object */
    assert_int_equal(sandbox_stub_count(f.stub), 1);
    close_fixture(&f);
}

static void pool__call_takes_too_long__time_out_and_a_new_sandbox(void **state)
{
    struct fixture f;
    struct call call;

    (void)state;
    open_pool(&f);
    f.behaviour.duration_us = 60 * SECOND;

    start_call(&f, &call);
    advance(&f, 10000); /* ready */
    advance(&f, 3 * SECOND - 10000);
    assert_int_equal(call.answers, 0);
    advance(&f, SECOND);

    assert_int_equal(call.outcome, INVOKE_FUNCTION_ERROR);
    assert_string_equal(call.payload, "{\"errorMessage\":\"2026-11-23T20:35:19.128Z " REQUEST_ID
                                      " Task timed out after 3.00 seconds\"}");
    assert_non_null(strstr(call.log, "Duration: 3000.00 ms\tBilled Duration: 3000 ms"));
    assert_non_null(strstr(call.log, REQUEST_ID " Task timed out after 3.00 seconds\n"));
    assert_int_equal(sandbox_stub_count(f.stub), 0);
    f.behaviour.duration_us = 1000;
    start_call(&f, &call);
    advance(&f, SECOND);
    assert_int_equal(call.outcome, INVOKE_OK);
    assert_int_equal(stats_of(&f).timeouts, 1);
    close_fixture(&f);
}

static void expect_exit(enum sandbox_stub_fate fate, struct sandbox_exit exit, const char *words)
{
    struct fixture f;
    struct call call;
    char expected[256];

    open_pool(&f);
    f.behaviour.fate = fate;
    f.behaviour.exit = exit;
    start_call(&f, &call);
    advance(&f, SECOND);

    assert_int_equal(call.answers, 1);
    assert_int_equal(call.outcome, INVOKE_FUNCTION_ERROR);
    (void)snprintf(expected, sizeof(expected),
                   "{\"errorType\":\"Runtime.ExitError\",\"errorMessage\":\"RequestId: " REQUEST_ID
                   " Error: %s\"}",
                   words);
    assert_string_equal(call.payload, expected);
    close_fixture(&f);
}

static void pool__sandbox_ends__error_says_how(void **state)
{
    static const char one[] = "Runtime exited with error: exit status 1";
    static const char killed[] = "Runtime exited with error: signal: killed";

    (void)state;
    expect_exit(SANDBOX_STUB_EXITS, (struct sandbox_exit){.end = SANDBOX_EXITED, .code = 1}, one);
    expect_exit(SANDBOX_STUB_EXITS_EARLY, (struct sandbox_exit){.end = SANDBOX_EXITED, .code = 1},
                one);
    expect_exit(SANDBOX_STUB_EXITS, (struct sandbox_exit){.end = SANDBOX_EXITED, .code = 0},
                "Runtime exited without providing a reason");
    expect_exit(SANDBOX_STUB_EXITS,
                (struct sandbox_exit){.end = SANDBOX_OUT_OF_MEMORY, .code = SIGKILL}, killed);
    expect_exit(SANDBOX_STUB_EXITS,
                (struct sandbox_exit){.end = SANDBOX_SIGNALLED, .code = SIGSEGV},
                "Runtime exited with error: signal: segmentation fault");
}

static void pool__platform_fails__unavailable(void **state)
{
    const enum sandbox_stub_fate fates[] = {SANDBOX_STUB_EXITS, SANDBOX_STUB_EXITS_EARLY};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        struct call call;

        open_pool(&f);
        f.behaviour.fate = fates[i];
        f.behaviour.exit = (struct sandbox_exit){.end = SANDBOX_FAILED, .why = "pivot_root: no"};
        start_call(&f, &call);
        advance(&f, SECOND);
        assert_int_equal(call.outcome, INVOKE_UNAVAILABLE);
        close_fixture(&f);
    }
}

static void pool__sandbox_ends_before_it_saw_the_call__another_takes_it(void **state)
{
    struct fixture f;
    struct call call;

    (void)state;
    open_pool(&f);
    start_call(&f, &call);
    advance(&f, SECOND);
    f.behaviour.fate = SANDBOX_STUB_EXITS;
    f.behaviour.exit = (struct sandbox_exit){.end = SANDBOX_EXITED, .is_event_unseen = true};
    start_call(&f, &call);
    f.behaviour.fate = SANDBOX_STUB_RESPONDS;
    advance(&f, SECOND);

    assert_int_equal(call.answers, 1);
    assert_int_equal(call.outcome, INVOKE_OK);
    assert_int_equal(stats_of(&f).cold_starts, 2);
    close_fixture(&f);
}

static void pool__init_error__its_document_and_output(void **state)
{
    struct fixture f;
    struct call call;

    (void)state;
    open_pool(&f);
    f.behaviour.fate = SANDBOX_STUB_FAILS_INIT;
    f.behaviour.output = SLICE_LITERAL("no module\n");

    start_call(&f, &call);
    advance(&f, SECOND);

    assert_int_equal(call.outcome, INVOKE_FUNCTION_ERROR);
    assert_string_equal(call.payload, "{\"errorType\":\"Runtime.ImportModuleError\"}");
    assert_string_equal(call.log, "no module\n");
    assert_int_equal(sandbox_stub_count(f.stub), 0);
    close_fixture(&f);
}

static void pool__init_hangs__time_out(void **state)
{
    struct fixture f;
    struct call call;

    (void)state;
    open_pool(&f);
    f.behaviour.fate = SANDBOX_STUB_HANGS;

    start_call(&f, &call);
    advance(&f, 11 * SECOND);

    assert_int_equal(call.outcome, INVOKE_FUNCTION_ERROR);
    assert_non_null(strstr(call.payload, "Task timed out after 10.00 seconds"));
    assert_int_equal(sandbox_stub_count(f.stub), 0);
    close_fixture(&f);
}

static void pool__crashes_in_a_row__started_more_and_more_slowly(void **state)
{
    struct fixture f;
    struct call call;

    (void)state;
    open_pool(&f);
    f.behaviour.fate = SANDBOX_STUB_EXITS_EARLY;
    f.behaviour.exit = (struct sandbox_exit){.end = SANDBOX_EXITED, .code = 1};
    for (int i = 0; i < 3; i++) { /* free of charge */
        start_call(&f, &call);
        advance(&f, 6000);
        assert_int_equal(call.answers, 1);
    }

    start_call(&f, &call);
    advance(&f, 90000);
    assert_int_equal(call.answers, 0);
    advance(&f, 20000);
    assert_int_equal(call.answers, 1);
    start_call(&f, &call);
    advance(&f, 190000);
    assert_int_equal(call.answers, 0);
    f.behaviour.fate = SANDBOX_STUB_RESPONDS; /* mended */
    advance(&f, 100000);
    assert_int_equal(call.outcome, INVOKE_OK);
    f.behaviour.fate = SANDBOX_STUB_EXITS;
    start_call(&f, &call);
    advance(&f, 10000);
    f.behaviour.fate = SANDBOX_STUB_RESPONDS;
    start_call(&f, &call);
    advance(&f, 10000);
    assert_int_equal(call.outcome, INVOKE_OK); /* forgiven: at once */
    close_fixture(&f);
}

static void pool__new_generation__old_one_finishes_and_ends(void **state)
{
    struct fixture f;
    struct call calls[3];

    (void)state;
    open_pool(&f);
    start_call(&f, &calls[0]);
    start_call(&f, &calls[1]);
    advance(&f, SECOND); /* two idle */
    f.behaviour.duration_us = SECOND;
    start_call(&f, &calls[0]);

    set_function(&f, 2);
    start_call(&f, &calls[1]);
    advance(&f, 100000);
    set_function(&f, 1); /* older: nothing happens */
    advance(&f, 2 * SECOND);

    assert_string_equal(calls[0].payload, "1");
    assert_int_equal(calls[0].outcome, INVOKE_OK);
    assert_string_equal(calls[1].payload, "2");
    assert_int_equal(sandbox_stub_count(f.stub), 1);
    assert_int_equal(f.fetches, 2);
    close_fixture(&f);
}

static void pool__new_generation_while_starting__waiting_call_gets_the_new_one(void **state)
{
    struct fixture f;
    struct call call;

    (void)state;
    open_pool(&f);
    start_call(&f, &call);
    advance(&f, 1000);

    set_function(&f, 2);
    advance(&f, SECOND);

    assert_int_equal(call.outcome, INVOKE_OK);
    assert_string_equal(call.payload, "2");
    assert_int_equal(sandbox_stub_count(f.stub), 1);
    close_fixture(&f);
}

static void pool__function_removed__waiting_not_found_running_goes_on(void **state)
{
    struct fixture f;
    struct call running;
    struct call waiting;
    struct call late;

    (void)state;
    open_pool(&f);
    f.behaviour.duration_us = SECOND;
    start_call(&f, &running);
    advance(&f, 10000);
    start_call(&f, &waiting);

    pool_function_remove(f.pool, "fn", 0);
    start_call(&f, &late);
    advance(&f, 2 * SECOND);

    assert_int_equal(running.outcome, INVOKE_OK);
    assert_int_equal(waiting.outcome, INVOKE_NOT_FOUND);
    assert_int_equal(late.outcome, INVOKE_NOT_FOUND);
    assert_int_equal(sandbox_stub_count(f.stub), 0);
    assert_int_equal(stats_of(&f).functions, 0);
    close_fixture(&f);
}

static void pool__code_missing__unavailable_and_asked_again(void **state)
{
    struct fixture f;
    struct call call;

    (void)state;
    open_pool(&f);
    f.code_rc = ERR_UNREACHABLE;
    start_call(&f, &call);
    advance(&f, 1000);
    assert_int_equal(call.outcome, INVOKE_UNAVAILABLE);

    f.code_rc = OK;
    start_call(&f, &call);
    advance(&f, SECOND);

    assert_int_equal(call.outcome, INVOKE_OK);
    assert_int_equal(f.fetches, 2);
    close_fixture(&f);
}

static void pool__payload_or_result_too_large__documented_errors(void **state)
{
    uint8_t *bytes = check_calloc(1, INVOKE_PAYLOAD_BYTES_MAX + 1);
    struct fixture f;
    struct call call;

    (void)state;
    open_pool(&f);
    call = (struct call){.invoke = {.function = "fn",
                                    .request_id = REQUEST_ID,
                                    .payload = slice_of(bytes, INVOKE_PAYLOAD_BYTES_MAX + 1)}};
    pool_invoke(f.pool, &call.invoke, on_answer);
    advance(&f, 0);
    assert_int_equal(call.outcome, INVOKE_TOO_LARGE);

    f.behaviour.fate = SANDBOX_STUB_TOO_LARGE;
    start_call(&f, &call);
    advance(&f, SECOND);

    assert_int_equal(call.outcome, INVOKE_FUNCTION_ERROR);
    assert_non_null(strstr(call.payload, "Function.ResponseSizeTooLarge"));
    assert_int_equal(sandbox_stub_count(f.stub), 1);
    free(bytes);
    close_fixture(&f);
}

/* A crash of the node at any moment: nothing leaks, nobody is called. */
static void pool__freed_at_any_moment__nothing_is_called(void **state)
{
    (void)state;
    for (uint64_t us = 0; us < 10000; us += 500) {
        struct fixture f;
        struct call calls[3];

        open_pool(&f);
        for (size_t i = 0; i < 3; i++)
            start_call(&f, &calls[i]);
        if (us > 0)
            advance(&f, us);
        set_function(&f, 2);
        start_call(&f, &calls[2]);
        pool_function_remove(f.pool, "fn", 0);
        f.fake.env.sandbox = NULL;
        int answers = calls[0].answers + calls[1].answers + calls[2].answers;
        close_fixture(&f);
        assert_int_equal(calls[0].answers + calls[1].answers + calls[2].answers, answers);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool__first_call__starts_a_sandbox_and_the_next_reuses_it),
        cmocka_unit_test(pool__calls_at_once__one_sandbox_each_no_more),
        cmocka_unit_test(pool__busy_ones_will_be_free_sooner__none_is_started),
        cmocka_unit_test(pool__busy_ones_take_longer_than_usual__waits_no_longer_than_a_start),
        cmocka_unit_test(pool__many_starts__paced_but_not_held_up_by_slow_ones),
        cmocka_unit_test(pool__idle_for_long__is_ended),
        cmocka_unit_test(pool__past_the_concurrency_limit__throttled),
        cmocka_unit_test(pool__no_room_on_the_node__waits_then_is_throttled),
        cmocka_unit_test(pool__cancelled__waiting_never_starts_and_running_goes_on),
        cmocka_unit_test(pool__cancelled_and_its_sandbox_ends_unseen__not_started_again),
        cmocka_unit_test(pool__runtime_is_being_loaded__calls_wait_for_it_and_then_as_usual),
        cmocka_unit_test(pool__runtime_is_never_loaded__throttled_after_a_while),
        cmocka_unit_test(pool__no_room_but_another_function_idles__it_makes_room),
        cmocka_unit_test(pool__call_takes_too_long__time_out_and_a_new_sandbox),
        cmocka_unit_test(pool__sandbox_ends__error_says_how),
        cmocka_unit_test(pool__platform_fails__unavailable),
        cmocka_unit_test(pool__sandbox_ends_before_it_saw_the_call__another_takes_it),
        cmocka_unit_test(pool__init_error__its_document_and_output),
        cmocka_unit_test(pool__init_hangs__time_out),
        cmocka_unit_test(pool__crashes_in_a_row__started_more_and_more_slowly),
        cmocka_unit_test(pool__new_generation__old_one_finishes_and_ends),
        cmocka_unit_test(pool__new_generation_while_starting__waiting_call_gets_the_new_one),
        cmocka_unit_test(pool__function_removed__waiting_not_found_running_goes_on),
        cmocka_unit_test(pool__code_missing__unavailable_and_asked_again),
        cmocka_unit_test(pool__payload_or_result_too_large__documented_errors),
        cmocka_unit_test(pool__freed_at_any_moment__nothing_is_called),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
