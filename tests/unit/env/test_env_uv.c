#include "tests/lib/loop_fixture.h"

#include "proto/base/check.h"

#include <sys/wait.h>

/* ---- clock ---- */

struct trace {
    struct env *env;
    char text[32];
    size_t size;
    struct env_timer timers[4];
    struct env_task tasks[3];
    uint64_t started_us;
    bool is_done;
};

static void trace_put(struct trace *trace, char letter)
{
    trace->text[trace->size++] = letter;
}

static void on_timer_a(struct env_timer *timer)
{
    trace_put(container_of(timer, struct trace, timers[0]), 'a');
}

static void on_timer_b(struct env_timer *timer)
{
    trace_put(container_of(timer, struct trace, timers[1]), 'b');
}

static void on_timer_last(struct env_timer *timer)
{
    struct trace *trace = container_of(timer, struct trace, timers[2]);

    trace_put(trace, 'z');
    trace->is_done = true;
}

static void env_uv_timers__several_due__fire_in_order_of_time(void **state)
{
    struct fixture f;
    struct trace trace = {0};

    (void)state;
    fixture_open(&f);
    trace.env = fixture_env(&f, 1);
    trace.started_us = env_now_us(trace.env);

    env_timer_start(trace.env, &trace.timers[2], 20000, on_timer_last);
    env_timer_start(trace.env, &trace.timers[1], 10000, on_timer_b);
    env_timer_start(trace.env, &trace.timers[0], 3000, on_timer_a);
    fixture_until(&f, fixture_is_set, &trace.is_done);

    assert_string_equal(trace.text, "abz");
    assert_true(env_now_us(trace.env) - trace.started_us >= 20000);
    env_uv_close(trace.env);
    fixture_close(&f);
}

static void env_uv_timers__stopped_or_moved__fire_as_last_said(void **state)
{
    struct fixture f;
    struct trace trace = {0};

    (void)state;
    fixture_open(&f);
    trace.env = fixture_env(&f, 1);

    env_timer_start(trace.env, &trace.timers[0], 1000, on_timer_a);
    env_timer_start(trace.env, &trace.timers[1], 1000, on_timer_b);
    env_timer_start(trace.env, &trace.timers[2], 12000, on_timer_last);
    env_timer_stop(trace.env, &trace.timers[0]);
    env_timer_start(trace.env, &trace.timers[1], 4000, on_timer_b);
    assert_false(env_timer_is_running(&trace.timers[0]));
    fixture_until(&f, fixture_is_set, &trace.is_done);

    assert_string_equal(trace.text, "bz");
    env_uv_close(trace.env);
    fixture_close(&f);
}

static void on_task_second(struct env_task *task)
{
    trace_put(container_of(task, struct trace, tasks[1]), '2');
}

static void on_task_first(struct env_task *task)
{
    struct trace *trace = container_of(task, struct trace, tasks[0]);

    trace_put(trace, '1');
    env_defer(trace->env, &trace->tasks[1], on_task_second);
}

static void on_timer_defers(struct env_timer *timer)
{
    struct trace *trace = container_of(timer, struct trace, timers[0]);

    trace_put(trace, 't');
    env_defer(trace->env, &trace->tasks[0], on_task_first);
    env_defer(trace->env, &trace->tasks[0], on_task_first);
    env_timer_start(trace->env, &trace->timers[2], 0, on_timer_last);
}

static void env_uv_defer__task_defers_a_task__both_run_before_the_next_turn(void **state)
{
    struct fixture f;
    struct trace trace = {0};

    (void)state;
    fixture_open(&f);
    trace.env = fixture_env(&f, 1);

    env_timer_start(trace.env, &trace.timers[0], 0, on_timer_defers);
    fixture_until(&f, fixture_is_set, &trace.is_done);

    assert_string_equal(trace.text, "t12z");
    env_uv_close(trace.env);
    fixture_close(&f);
}

static void env_uv_defer__cancelled__does_not_run(void **state)
{
    struct fixture f;
    struct trace trace = {0};

    (void)state;
    fixture_open(&f);
    trace.env = fixture_env(&f, 1);

    env_defer(trace.env, &trace.tasks[0], on_task_first);
    env_defer_cancel(trace.env, &trace.tasks[0]);
    env_defer_cancel(trace.env, &trace.tasks[0]);
    env_timer_start(trace.env, &trace.timers[2], 2000, on_timer_last);
    fixture_until(&f, fixture_is_set, &trace.is_done);

    assert_string_equal(trace.text, "z");
    env_uv_close(trace.env);
    fixture_close(&f);
}

static int turns;

static void on_turn(uv_check_t *check)
{
    (void)check;
    turns++;
}

/* With a timer far away the loop sleeps: a busy one would turn all the time. */
static void env_uv_idle__a_timer_pending__the_loop_sleeps(void **state)
{
    struct fixture f;
    struct trace trace = {0};
    uv_check_t check;

    (void)state;
    fixture_open(&f);
    trace.env = fixture_env(&f, 1);
    assert_int_equal(uv_check_init(&f.loop, &check), 0);
    assert_int_equal(uv_check_start(&check, on_turn), 0);

    env_timer_start(trace.env, &trace.timers[2], 200000, on_timer_last);
    fixture_until(&f, fixture_is_set, &trace.is_done);

    assert_in_range(turns, 1, 10);
    uv_close((uv_handle_t *)&check, NULL);
    env_uv_close(trace.env);
    fixture_close(&f);
}

/* ---- dice ---- */

static void env_uv_dice__two_draws__differ(void **state)
{
    struct fixture f;
    uint8_t keys[2][32] = {{0}};

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    env->dice->random_bytes(env, keys[0], sizeof(keys[0]));
    env->dice->random_bytes(env, keys[1], sizeof(keys[1]));

    assert_memory_not_equal(keys[0], keys[1], sizeof(keys[0]));
    assert_true(env_random(env) != env_random(env));
    env_uv_close(env);
    fixture_close(&f);
}

/* ---- worker ---- */

struct sum {
    struct env_work work;
    int result;
    bool is_done;
};

static void run_sum(struct env_work *work)
{
    struct sum *sum = container_of(work, struct sum, work);

    for (int i = 1; i <= 100; i++)
        sum->result += i;
}

static void on_sum_done(struct env_work *work)
{
    container_of(work, struct sum, work)->is_done = true;
}

static void env_uv_worker__work_queued__runs_and_reports(void **state)
{
    struct fixture f;
    struct sum sum = {.work = {.run = run_sum, .done = on_sum_done}};

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    env->worker->queue(env, &sum.work);
    assert_false(sum.is_done);
    fixture_until(&f, fixture_is_set, &sum.is_done);

    assert_int_equal(sum.result, 5050);
    env_uv_close(env);
    fixture_close(&f);
}

static void env_uv_stop__work_in_flight__waits_and_tells_nobody(void **state)
{
    struct fixture f;
    struct sum sum = {.work = {.run = run_sum, .done = on_sum_done}};
    struct trace trace = {0};

    (void)state;
    fixture_open(&f);
    trace.env = fixture_env(&f, 1);

    trace.env->worker->queue(trace.env, &sum.work);
    env_timer_start(trace.env, &trace.timers[0], 0, on_timer_a);
    env_defer(trace.env, &trace.tasks[0], on_task_first);
    env_uv_stop(trace.env);

    assert_int_equal(sum.result, 5050);
    assert_false(sum.is_done);
    assert_string_equal(trace.text, "");
    env_timer_stop(trace.env, &trace.timers[0]);
    env_defer_cancel(trace.env, &trace.tasks[0]);
    env_uv_close(trace.env);
    fixture_close(&f);
}

/* ---- data folder ---- */

static void env_uv_open__folder_in_use__refuses_and_names_the_process(void **state)
{
    struct fixture f;
    char folder[160];
    char why[ERROR_WHY_BYTES] = "";
    char pid[32];
    struct env *env = NULL;

    (void)state;
    fixture_open(&f);
    struct env *holder = fixture_env(&f, 1);

    (void)snprintf(folder, sizeof(folder), "%s/1", f.folder);
    struct env_uv_options options = {.data_folder = folder, .self = 2};

    assert_int_equal(env_uv_open(&f.loop, &options, &env, why), ERR_EXISTS);
    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    assert_null(env);
    assert_non_null(strstr(why, pid));

    env_uv_close(holder);
    assert_int_equal(env_uv_open(&f.loop, &options, &env, why), OK);
    env_uv_close(env);
    fixture_close(&f);
}

static void env_uv_open__holder_killed__folder_is_free(void **state)
{
    struct fixture f;
    int ready[2];
    int status;
    char byte;

    (void)state;
    fixture_open(&f);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();

    if (child == 0) {
        uv_loop_t loop;
        char why[ERROR_WHY_BYTES];
        char folder[160];
        struct env *env;

        (void)snprintf(folder, sizeof(folder), "%s/1", f.folder);
        struct env_uv_options options = {.data_folder = folder, .self = 1};

        if (uv_loop_init(&loop) != 0 || env_uv_open(&loop, &options, &env, why) != OK ||
            write(ready[1], "r", 1) != 1)
            _exit(1);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        (void)pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);

    env_uv_close(fixture_env(&f, 1));
    assert_int_equal(close(ready[0]), 0);
    assert_int_equal(close(ready[1]), 0);
    fixture_close(&f);
}

static void env_uv_open__data_folder_impossible__says_why(void **state)
{
    struct fixture f;
    char why[ERROR_WHY_BYTES] = "";
    struct env *env = NULL;
    struct env_uv_options options = {.data_folder = "/proc/no/such", .self = 1};

    (void)state;
    fixture_open(&f);

    assert_int_not_equal(env_uv_open(&f.loop, &options, &env, why), OK);
    assert_non_null(strstr(why, "/proc/no/such"));
    assert_null(env);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(env_uv_timers__several_due__fire_in_order_of_time),
        cmocka_unit_test(env_uv_timers__stopped_or_moved__fire_as_last_said),
        cmocka_unit_test(env_uv_defer__task_defers_a_task__both_run_before_the_next_turn),
        cmocka_unit_test(env_uv_defer__cancelled__does_not_run),
        cmocka_unit_test(env_uv_idle__a_timer_pending__the_loop_sleeps),
        cmocka_unit_test(env_uv_dice__two_draws__differ),
        cmocka_unit_test(env_uv_worker__work_queued__runs_and_reports),
        cmocka_unit_test(env_uv_stop__work_in_flight__waits_and_tells_nobody),
        cmocka_unit_test(env_uv_open__folder_in_use__refuses_and_names_the_process),
        cmocka_unit_test(env_uv_open__holder_killed__folder_is_free),
        cmocka_unit_test(env_uv_open__data_folder_impossible__says_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
