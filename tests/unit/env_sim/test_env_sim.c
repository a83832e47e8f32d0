/* Virtual time, turns, pauses, crashes, and that one seed means one run. */

#include "proto/base/check.h"
#include "proto/env/env_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NOTES_MAX 64

struct note { /* a line of what happened, in order */
    char text[NOTES_MAX];
    size_t size;
};

struct ticker {
    struct env *env;
    struct note *note;
    struct env_timer timer;
    struct env_task task;
    char name;
};

static void note_add(struct note *note, char c)
{
    assert_true(note->size + 1 < sizeof(note->text));
    note->text[note->size++] = c;
}

static void ticker_on_task(struct env_task *task)
{
    struct ticker *ticker = container_of(task, struct ticker, task);

    note_add(ticker->note, '.');
}

static void ticker_on_timer(struct env_timer *timer)
{
    struct ticker *ticker = container_of(timer, struct ticker, timer);

    note_add(ticker->note, ticker->name);
    env_defer(ticker->env, &ticker->task, ticker_on_task);
}

static void ticker_start(struct ticker *ticker, struct env *env, struct note *note, char name,
                         uint64_t delay_us)
{
    *ticker = (struct ticker){.env = env, .note = note, .name = name};
    env_timer_start(env, &ticker->timer, delay_us, ticker_on_timer);
}

static struct sim *world_new(uint64_t seed)
{
    struct sim_options options = sim_options_default(seed);

    return sim_new(&options);
}

static void timer__several__fire_in_order_of_time_then_of_start(void **state)
{
    struct sim *sim = world_new(1);
    struct env *env = sim_process_start(sim, 1);
    struct note note = {0};
    struct ticker tickers[4];

    (void)state;
    ticker_start(&tickers[0], env, &note, 'c', 300);
    ticker_start(&tickers[1], env, &note, 'a', 100);
    ticker_start(&tickers[2], env, &note, 'b', 200);
    ticker_start(&tickers[3], env, &note, 'd', 300);

    sim_run_until(sim, 299);
    assert_string_equal(note.text, "a.b.");
    assert_int_equal(env_now_us(env), 299);
    sim_run_until(sim, 300);
    assert_string_equal(note.text, "a.b.cd.."); /* both in one turn, the tasks at its end */
    assert_false(env_timer_is_running(&tickers[0].timer));
    sim_free(sim);
}

static void timer__stopped_or_moved__fires_as_told(void **state)
{
    struct sim *sim = world_new(1);
    struct env *env = sim_process_start(sim, 1);
    struct note note = {0};
    struct ticker a;
    struct ticker b;

    (void)state;
    ticker_start(&a, env, &note, 'a', 100);
    ticker_start(&b, env, &note, 'b', 200);
    assert_true(env_timer_is_running(&a.timer));
    env_timer_stop(env, &a.timer);
    env_timer_start(env, &b.timer, 50, ticker_on_timer);

    sim_run_until(sim, 60);
    assert_string_equal(note.text, "b.");
    sim_run_until(sim, 1000);
    assert_string_equal(note.text, "b.");
    sim_free(sim);
}

static void restart_itself(struct env_timer *timer)
{
    struct ticker *ticker = container_of(timer, struct ticker, timer);

    note_add(ticker->note, ticker->name);
    if (ticker->note->size < 3)
        env_timer_start(ticker->env, timer, 0, restart_itself);
}

static void timer__restarted_with_no_delay__waits_for_another_turn(void **state)
{
    struct sim *sim = world_new(1);
    struct env *env = sim_process_start(sim, 1);
    struct note note = {0};
    struct ticker a = {.env = env, .note = &note, .name = 'a'};

    (void)state;
    env_timer_start(env, &a.timer, 10, restart_itself);

    assert_true(sim_step(sim));
    assert_string_equal(note.text, "a");
    assert_true(sim_step(sim));
    assert_string_equal(note.text, "aa");
    sim_free(sim);
}

static void defer_again(struct env_task *task)
{
    struct ticker *ticker = container_of(task, struct ticker, task);

    note_add(ticker->note, ticker->name);
    if (ticker->note->size < 3)
        env_defer(ticker->env, task, defer_again);
}

static void task__deferred_by_itself__runs_in_the_same_turn(void **state)
{
    struct sim *sim = world_new(1);
    struct env *env = sim_process_start(sim, 1);
    struct note note = {0};
    struct ticker a = {.env = env, .note = &note, .name = 'a'};

    (void)state;
    env_defer(env, &a.task, defer_again); /* from outside: a turn of its own */
    env_defer(env, &a.task, defer_again); /* changes nothing */
    assert_int_equal(note.size, 0);

    assert_true(sim_step(sim));
    assert_string_equal(note.text, "aaa");
    assert_false(sim_step(sim));
    sim_free(sim);
}

static void task__cancelled__never_runs(void **state)
{
    struct sim *sim = world_new(1);
    struct env *env = sim_process_start(sim, 1);
    struct note note = {0};
    struct ticker a = {.env = env, .note = &note, .name = 'a'};

    (void)state;
    env_defer(env, &a.task, defer_again);
    env_defer_cancel(env, &a.task);
    env_defer_cancel(env, &a.task);

    sim_run_until(sim, 1000);
    assert_int_equal(note.size, 0);
    sim_free(sim);
}

static void process__paused__everything_happens_at_once_on_resume(void **state)
{
    struct sim *sim = world_new(1);
    struct env *env = sim_process_start(sim, 1);
    struct note note = {0};
    struct ticker a;
    struct ticker b;

    (void)state;
    ticker_start(&a, env, &note, 'a', 100);
    ticker_start(&b, env, &note, 'b', 200);
    sim_pause(sim, 1);
    sim_run_until(sim, 1000);
    assert_int_equal(note.size, 0);

    sim_resume(sim, 1);
    sim_run_until(sim, 1000);
    assert_string_equal(note.text, "ab..");
    sim_free(sim);
}

static void process__crashed__its_env_is_dead_but_safe(void **state)
{
    struct sim *sim = world_new(1);
    struct env *env = sim_process_start(sim, 1);
    struct note note = {0};
    struct ticker a;
    struct ticker b;

    (void)state;
    ticker_start(&a, env, &note, 'a', 100);
    ticker_start(&b, env, &note, 'b', 100);
    env_defer(env, &a.task, ticker_on_task);
    sim_crash(sim, 1, SIM_CRASH_KILL);
    assert_false(sim_is_alive(sim, 1));
    assert_null(sim_process_env(sim, 1));

    env_timer_stop(env, &a.timer);
    env_timer_start(env, &b.timer, 1, ticker_on_timer);
    env_defer_cancel(env, &a.task);
    env_defer(env, &b.task, ticker_on_task);
    assert_int_equal(env_send(env, 1, ENV_CHANNEL_RAFT, SLICE_LITERAL("x")), ERR_UNREACHABLE);
    sim_run_until(sim, 1000);
    assert_int_equal(note.size, 0);

    assert_non_null(sim_process_start(sim, 1));
    assert_true(sim_is_alive(sim, 1));
    sim_free(sim);
}

struct doomed {
    struct sim *sim;
    struct ticker ticker;
};

static void crash_itself(struct env_timer *timer)
{
    struct doomed *it = container_of(timer, struct doomed, ticker.timer);

    note_add(it->ticker.note, 'x');
    env_defer(it->ticker.env, &it->ticker.task, ticker_on_task);
    sim_crash(it->sim, 1, SIM_CRASH_KILL);
}

static void process__crashes_itself__nothing_more_happens(void **state)
{
    struct sim *sim = world_new(1);
    struct env *env = sim_process_start(sim, 1);
    struct note note = {0};
    struct doomed it = {.sim = sim, .ticker = {.env = env, .note = &note}};
    struct ticker other;

    (void)state;
    env_timer_start(env, &it.ticker.timer, 100, crash_itself);
    ticker_start(&other, env, &note, 'o', 100);

    sim_run_until(sim, 1000);
    assert_string_equal(note.text, "x");
    sim_free(sim);
}

static void wall_clock__skewed__jumps(void **state)
{
    struct sim *sim = world_new(1);
    struct env *env = sim_process_start(sim, 1);
    uint64_t before = env_wall_ms(env);

    (void)state;
    sim_run_until(sim, 5000000);
    assert_int_equal(env_wall_ms(env), before + 5000);
    sim_wall_skew(sim, 1, -3600000);
    assert_int_equal(env_wall_ms(env), before + 5000 - 3600000);
    assert_int_equal(env_now_us(env), 5000000);
    sim_free(sim);
}

struct sum {
    struct env_work work;
    int steps;
};

static void sum_run(struct env_work *work)
{
    struct sum *sum = container_of(work, struct sum, work);

    assert_int_equal(sum->steps++, 0);
}

static void sum_done(struct env_work *work)
{
    struct sum *sum = container_of(work, struct sum, work);

    assert_int_equal(sum->steps++, 1);
}

static void work__queued__runs_later_and_is_then_done(void **state)
{
    struct sim *sim = world_new(1);
    struct env *env = sim_process_start(sim, 1);
    struct sum sum = {.work = {.run = sum_run, .done = sum_done}};

    (void)state;
    env->worker->queue(env, &sum.work);
    assert_int_equal(sum.steps, 0);
    sim_run_until(sim, 1000000);
    assert_int_equal(sum.steps, 2);
    sim_free(sim);
}

/* Two processes that chat at random: a run that uses dice, links and timers. */
struct chatter {
    struct env *env;
    struct env_timer timer;
    uint64_t peer;
};

static void chatter_on_timer(struct env_timer *timer)
{
    struct chatter *chatter = container_of(timer, struct chatter, timer);
    uint64_t word = env_random(chatter->env);

    if (env_send(chatter->env, chatter->peer, ENV_CHANNEL_CALL, slice_of(&word, word % 9)) != OK)
        (void)env_random(chatter->env);
    env_timer_start(chatter->env, timer, word % 5000, chatter_on_timer);
}

static uint64_t chat(uint64_t seed)
{
    struct sim *sim = world_new(seed);
    struct chatter chatters[2] = {{.peer = 2}, {.peer = 1}};
    uint64_t hash;

    for (uint64_t i = 0; i < 2; i++) {
        chatters[i].env = sim_process_start(sim, i + 1);
        chatters[i].env->link->peer_set(chatters[i].env, chatters[i].peer, "", "");
        env_timer_start(chatters[i].env, &chatters[i].timer, 10, chatter_on_timer);
    }
    sim_run_until(sim, 1000000);
    hash = sim_trace_hash(sim);
    sim_free(sim);
    return hash;
}

static void trace__same_seed__same_hash(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++)
        assert_true(chat(seed) == chat(seed));
}

static void trace__other_seed__other_hash(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++)
        assert_true(chat(seed) != chat(seed + 1));
}

static void count_action(void *user)
{
    ++*(int *)user;
}

static void action__of_the_harness__runs_at_its_time(void **state)
{
    struct sim *sim = world_new(1);
    int count = 0;

    (void)state;
    sim_after(sim, 100, count_action, &count);
    sim_after(sim, 9000, count_action, &count); /* forgotten */
    sim_run_until(sim, 99);
    assert_int_equal(count, 0);
    sim_run_until(sim, 100);
    assert_int_equal(count, 1);
    sim_free(sim);
    assert_int_equal(count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timer__several__fire_in_order_of_time_then_of_start),
        cmocka_unit_test(timer__stopped_or_moved__fires_as_told),
        cmocka_unit_test(timer__restarted_with_no_delay__waits_for_another_turn),
        cmocka_unit_test(task__deferred_by_itself__runs_in_the_same_turn),
        cmocka_unit_test(task__cancelled__never_runs),
        cmocka_unit_test(process__paused__everything_happens_at_once_on_resume),
        cmocka_unit_test(process__crashed__its_env_is_dead_but_safe),
        cmocka_unit_test(process__crashes_itself__nothing_more_happens),
        cmocka_unit_test(wall_clock__skewed__jumps),
        cmocka_unit_test(work__queued__runs_later_and_is_then_done),
        cmocka_unit_test(trace__same_seed__same_hash),
        cmocka_unit_test(trace__other_seed__other_hash),
        cmocka_unit_test(action__of_the_harness__runs_at_its_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
