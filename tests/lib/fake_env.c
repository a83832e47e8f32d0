#include "tests/lib/fake_env.h"

#include "proto/base/check.h"

struct work_item { /* one call of env_worker.queue */
    struct env_timer timer;
    struct env_work *work;
};

static struct fake_env *fake_of(struct env *env)
{
    return env->impl;
}

static uint64_t fake_now_us(struct env *env)
{
    return fake_of(env)->now_us;
}

static uint64_t fake_wall_ms(struct env *env)
{
    return fake_of(env)->wall_ms + fake_of(env)->now_us / 1000;
}

static void fake_timer_stop(struct env *env, struct env_timer *timer)
{
    heap_remove(&fake_of(env)->timers, &timer->node);
}

static void fake_timer_start(struct env *env, struct env_timer *timer, uint64_t delay_us)
{
    fake_timer_stop(env, timer);
    heap_insert(&fake_of(env)->timers, &timer->node, fake_of(env)->now_us + delay_us);
}

static void fake_defer(struct env *env, struct env_task *task)
{
    if (task->link.next == NULL)
        list_append(&fake_of(env)->tasks, &task->link);
}

static void fake_defer_cancel(struct env *env, struct env_task *task)
{
    (void)env;
    if (task->link.next == NULL)
        return;
    list_remove(&task->link);
    task->link.next = NULL;
}

static uint64_t fake_next(struct env *env)
{
    return rng_next(&fake_of(env)->rng);
}

static void fake_random_bytes(struct env *env, void *to, size_t size)
{
    uint8_t *bytes = to;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)rng_below(&fake_of(env)->rng, 256);
}

static void fake_work_on_timer(struct env_timer *timer)
{
    struct work_item *item = container_of(timer, struct work_item, timer);
    struct env_work *work = item->work;

    free(item);
    work->run(work);
    work->done(work);
}

static void fake_work(struct env *env, struct env_work *work)
{
    struct work_item *item = check_calloc(1, sizeof(*item));

    item->work = work;
    env_timer_start(env, &item->timer, 1000, fake_work_on_timer);
}

static const struct env_clock fake_clock = {
    .now_us = fake_now_us,
    .wall_ms = fake_wall_ms,
    .timer_start = fake_timer_start,
    .timer_stop = fake_timer_stop,
    .defer = fake_defer,
    .defer_cancel = fake_defer_cancel,
};

static const struct env_dice fake_dice = {.next = fake_next, .random_bytes = fake_random_bytes};

static const struct env_worker fake_worker = {.queue = fake_work};

void fake_env_init(struct fake_env *fake)
{
    *fake = (struct fake_env){.wall_ms = FAKE_ENV_WALL_MS};
    fake->env = (struct env){
        .clock = &fake_clock, .dice = &fake_dice, .worker = &fake_worker, .impl = fake};
    heap_init(&fake->timers);
    list_init(&fake->tasks);
    rng_init(&fake->rng, 1);
}

void fake_env_close(struct fake_env *fake)
{
    struct heap_node *node;

    while ((node = heap_first(&fake->timers)) != NULL) {
        struct env_timer *timer = container_of(node, struct env_timer, node);

        heap_remove(&fake->timers, node);
        if (timer->cb == fake_work_on_timer)
            free(container_of(timer, struct work_item, timer));
    }
    heap_close(&fake->timers);
}

void fake_env_run(struct fake_env *fake)
{
    struct list *link;

    while ((link = list_pop(&fake->tasks)) != NULL) {
        struct env_task *task = container_of(link, struct env_task, link);

        link->next = NULL;
        task->cb(task);
    }
}

void fake_env_advance(struct fake_env *fake, uint64_t us)
{
    uint64_t end_us = fake->now_us + us;
    struct heap_node *node;

    fake_env_run(fake);
    while ((node = heap_first(&fake->timers)) != NULL && node->key <= end_us) {
        struct env_timer *timer = container_of(node, struct env_timer, node);

        fake->now_us = node->key;
        heap_remove(&fake->timers, node);
        timer->cb(timer);
        fake_env_run(fake);
    }
    fake->now_us = end_us;
}
