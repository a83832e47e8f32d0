#include "node/sandbox/pool.h"
#include "node/sandbox/sandbox_stub.h"
#include "proto/base/check.h"
#include "tests/lib/fake_env.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SECOND 1000000ull

struct call {
    struct invoke invoke;
    bool is_answered;
    enum invoke_outcome outcome;
    enum invoke_limit limit;
};

struct fixture {
    struct fake_env fake;
    struct sandbox_stub *stub;
    struct pool *pool;
    struct list fetching;
    struct env_task fetch_task;
    bool dies; /* the next sandboxes, when they are called */
};

static void on_fetch_task(struct env_task *task)
{
    struct fixture *f = container_of(task, struct fixture, fetch_task);

    struct list *link;

    while ((link = list_pop(&f->fetching)) != NULL) {
        struct pool_code *code = container_of(link, struct pool_code, link);

        code->cb(code, OK, "code");
    }
}

static void code_fetch(void *user, struct pool_code *code, pool_code_cb cb)
{
    struct fixture *f = user;

    (void)cb;
    list_append(&f->fetching, &code->link);
    env_defer(&f->fake.env, &f->fetch_task, on_fetch_task);
}

static void run(void *user, const struct sandbox_spec *spec, const struct sandbox_event *event,
                struct sandbox_stub_behaviour *behaviour, struct buffer *payload)
{
    struct fixture *f = user;

    (void)spec;
    *behaviour = (struct sandbox_stub_behaviour){.init_us = 5000, .duration_us = 100000};
    if (event != NULL && f->dies)
        behaviour->fate = SANDBOX_STUB_EXITS;
    if (event != NULL)
        buffer_put_text(payload, "1");
}

static void set_function(struct fixture *f, const char *name, uint64_t version)
{
    Skein__Wire__Function function = SKEIN__WIRE__FUNCTION__INIT;

    function.name = (char *)(uintptr_t)name;
    function.version = version;
    function.runtime = (char *)"python3.9";
    function.handler = (char *)"app.lambda_handler";
    function.timeout_ms = 3000;
    function.memory_mb = 128;
    function.generation = 1;
    pool_function_set(f->pool, &function);
}

static int set_up(void **state)
{
    struct fixture *f = check_calloc(1, sizeof(*f));
    const struct pool_options options = {
        .region = "us-east-1", .user = f, .code_fetch = code_fetch, .idle_ms = 1000};

    fake_env_init(&f->fake);
    list_init(&f->fetching);
    f->stub = sandbox_stub_new(&f->fake.env);
    sandbox_stub_register(f->stub, "fn", run, f);
    sandbox_stub_register(f->stub, "other", run, f);
    f->pool = pool_new(&f->fake.env, &options);
    set_function(f, "fn", 0);
    set_function(f, "fn", 1);
    set_function(f, "other", 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    pool_free(f->pool);
    sandbox_stub_free(f->stub);
    fake_env_close(&f->fake);
    free(f);
    return 0;
}

static void on_answer(struct invoke *invoke, const struct invoke_result *result)
{
    struct call *call = container_of(invoke, struct call, invoke);

    call->is_answered = true;
    call->outcome = result->outcome;
    call->limit = result->limit;
}

static void start_call(struct fixture *f, struct call *call, const char *name, uint64_t version)
{
    *call = (struct call){.invoke = {.function = name,
                                     .version = version,
                                     .request_id = "r",
                                     .payload = SLICE_LITERAL("{}")}};
    pool_invoke(f->pool, &call->invoke, on_answer);
}

static void advance(struct fixture *f, uint64_t us)
{
    fake_env_run(&f->fake);
    fake_env_advance(&f->fake, us);
}

static void expect(const struct call *call, enum invoke_outcome outcome)
{
    assert_true(call->is_answered);
    assert_int_equal(call->outcome, outcome);
}

static void limit(struct fixture *f, uint32_t max, uint32_t rest)
{
    pool_plan_begin(f->pool);
    pool_plan_limit(f->pool, "fn", max);
    pool_plan_end(f->pool, rest);
}

static void keep(struct fixture *f, uint32_t count)
{
    pool_plan_begin(f->pool);
    pool_plan_keep(f->pool, "fn", 1, count);
    pool_plan_end(f->pool, POOL_UNLIMITED);
}

static void pool_limit__calls_past_it__throttled_as_reserved_over_all_versions(void **state)
{
    struct fixture *f = *state;
    struct call calls[4];

    limit(f, 2, POOL_UNLIMITED);
    start_call(f, &calls[0], "fn", 0);
    start_call(f, &calls[1], "fn", 1);
    start_call(f, &calls[2], "fn", 0);
    start_call(f, &calls[3], "other", 0);
    assert_true(pool_is_at_limit(f->pool, "fn"));
    assert_false(pool_is_at_limit(f->pool, "other"));
    advance(f, SECOND);

    expect(&calls[0], INVOKE_OK);
    expect(&calls[1], INVOKE_OK);
    expect(&calls[2], INVOKE_THROTTLED);
    assert_int_equal(calls[2].limit, INVOKE_LIMIT_RESERVED);
    expect(&calls[3], INVOKE_OK);
    assert_false(pool_is_at_limit(f->pool, "fn")); /* what ended counts no longer */
}

static void pool_limit__zero__nothing_runs(void **state)
{
    struct fixture *f = *state;
    struct call call;

    limit(f, 0, POOL_UNLIMITED);
    start_call(f, &call, "fn", 0);
    advance(f, SECOND);

    expect(&call, INVOKE_THROTTLED);
    assert_int_equal(call.limit, INVOKE_LIMIT_RESERVED);
}

static void pool_limit__the_rest_is_used_up__throttled_as_the_account(void **state)
{
    struct fixture *f = *state;
    struct call calls[3];

    limit(f, 5, 1);
    start_call(f, &calls[0], "other", 0);
    start_call(f, &calls[1], "other", 0);
    start_call(f, &calls[2], "fn", 0);
    advance(f, SECOND);

    expect(&calls[0], INVOKE_OK);
    expect(&calls[1], INVOKE_THROTTLED);
    assert_int_equal(calls[1].limit, INVOKE_LIMIT_ACCOUNT);
    expect(&calls[2], INVOKE_OK); /* has its own */
}

static void pool_limit__taken_away_while_calls_run__they_end_and_others_run(void **state)
{
    struct fixture *f = *state;
    struct call calls[2];

    limit(f, 1, POOL_UNLIMITED);
    start_call(f, &calls[0], "fn", 0);
    pool_plan_begin(f->pool);
    pool_plan_end(f->pool, POOL_UNLIMITED);
    start_call(f, &calls[1], "fn", 0);
    advance(f, SECOND);

    expect(&calls[0], INVOKE_OK);
    expect(&calls[1], INVOKE_OK);
}

static void pool_keep__sandboxes__are_started_and_outlive_idleness(void **state)
{
    struct fixture *f = *state;

    keep(f, 3);
    advance(f, SECOND);
    assert_int_equal(pool_ready_count(f->pool, "fn", 1), 3);
    assert_int_equal(pool_ready_count(f->pool, "fn", 0), 0);
    advance(f, 100 * SECOND);
    assert_int_equal(pool_ready_count(f->pool, "fn", 1), 3);

    keep(f, 1);
    advance(f, 100 * SECOND);
    assert_int_equal(pool_ready_count(f->pool, "fn", 1), 1);

    keep(f, 0);
    advance(f, 100 * SECOND);
    assert_int_equal(pool_ready_count(f->pool, "fn", 1), 0);
}

static void pool_keep__a_sandbox_dies__another_takes_its_place(void **state)
{
    struct fixture *f = *state;
    struct call call;

    keep(f, 2);
    advance(f, SECOND);
    f->dies = true;
    start_call(f, &call, "fn", 1);
    advance(f, SECOND);

    expect(&call, INVOKE_FUNCTION_ERROR);
    assert_int_equal(pool_ready_count(f->pool, "fn", 1), 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(pool_limit__calls_past_it__throttled_as_reserved_over_all_versions),
        TEST(pool_limit__zero__nothing_runs),
        TEST(pool_limit__the_rest_is_used_up__throttled_as_the_account),
        TEST(pool_limit__taken_away_while_calls_run__they_end_and_others_run),
        TEST(pool_keep__sandboxes__are_started_and_outlive_idleness),
        TEST(pool_keep__a_sandbox_dies__another_takes_its_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
