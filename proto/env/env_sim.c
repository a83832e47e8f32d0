#include "proto/env/env_sim.h"

#include "proto/env/env_sim_impl.h"

#include <inttypes.h>
#include <stdio.h>

#define TASKS_PER_TURN_MAX 1000000u

/* The log has no `user`: lines go to the simulation that was made last. */
static struct sim *sim_logging;

static const char *const kind_names[] = {
    "action",  "start", "crash", "pause",   "resume", "timer", "turn",
    "message", "up",    "down",  "connect", "disk",   "work",  "fact",
};

static void log_line(enum log_level level, const char *line)
{
    const struct sim *sim = sim_logging;
    uint64_t id = sim->current != NULL ? sim->current->machine->id : 0;

    (void)level;
    (void)fprintf(stderr, "%10.3f ms  %" PRIu64 "  %s\n", (double)sim->now / 1000.0, id, line);
}

struct sim_options sim_options_default(uint64_t seed)
{
    return (struct sim_options){
        .seed = seed,
        .latency = {100, 1000},
        .heartbeat_timeout_us = 2000000,
        .queue_bytes_max = 64u << 20,
        .sync = {50, 3000},
        .durable = {500, 10000},
        .work = {10, 2000},
        .wall_ms = 1700000000000u,
    };
}

struct sim *sim_new(const struct sim_options *options)
{
    struct sim *sim = check_calloc(1, sizeof(*sim));

    sim->options = *options;
    rng_init(&sim->rng, options->seed);
    heap_init(&sim->events);
    map_init(&sim->machines_by_id);
    list_init(&sim->processes);
    list_init(&sim->pairs);
    sim->turn_count = 1;
    sim->trace = 0x9e3779b97f4a7c15u;
    sim_logging = sim;
    sim->log_level_before = log_level_min;
    log_set_level(options->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_OFF);
    log_set_sink(log_line);
    return sim;
}

/* ---- trace ---- */

void sim_trace(struct sim *sim, uint64_t fact)
{
    uint64_t x = (sim->trace ^ fact) * 0x9e3779b97f4a7c15u;

    sim->trace = x ^ (x >> 29);
}

uint64_t sim_trace_hash(const struct sim *sim)
{
    return sim->trace;
}

uint64_t sim_event_count(const struct sim *sim)
{
    return sim->event_count;
}

void sim_note(struct sim *sim, const struct sim_process *process, enum sim_kind kind, uint64_t peer,
              uint64_t detail)
{
    uint64_t id = process != NULL ? process->machine->id : 0;

    sim_trace(sim, sim->now);
    sim_trace(sim, id << 8 | kind);
    sim_trace(sim, peer << 32 ^ detail);
    if (sim->options.verbose)
        (void)fprintf(stderr, "%10.3f ms  %" PRIu64 "  %s %" PRIu64 " %" PRIu64 "\n",
                      (double)sim->now / 1000.0, id, kind_names[kind], peer, detail);
}

/* ---- events ---- */

uint64_t sim_draw(struct sim *sim, struct sim_range range)
{
    return range.min_us + rng_below(&sim->rng, range.max_us - range.min_us + 1);
}

bool sim_chance(struct sim *sim, uint32_t parts_in_million)
{
    return parts_in_million > 0 && rng_below(&sim->rng, 1000000) < parts_in_million;
}

void sim_schedule(struct sim *sim, struct sim_event *event, uint64_t time)
{
    sim_cancel(sim, event);
    event->is_pending = true;
    list_init(&event->link);
    if (event->process != NULL)
        list_append(&event->process->events, &event->link);
    heap_insert(&sim->events, &event->node, time > sim->now ? time : sim->now);
}

void sim_cancel(struct sim *sim, struct sim_event *event)
{
    if (!event->is_pending)
        return;
    event->is_pending = false;
    list_remove(&event->link);
    heap_remove(&sim->events, &event->node); /* a held one is in no heap */
}

static void run_tasks(struct sim_process *process)
{
    uint32_t count = 0;

    while (process->is_alive && !list_is_empty(&process->tasks)) {
        struct env_task *task = container_of(list_pop(&process->tasks), struct env_task, link);

        task->link.next = NULL;
        CHECK(count++ < TASKS_PER_TURN_MAX);
        task->cb(task);
    }
}

bool sim_step(struct sim *sim)
{
    struct heap_node *first = heap_first(&sim->events);

    CHECK(sim->current == NULL);
    if (first == NULL)
        return false;

    struct sim_event *event = container_of(first, struct sim_event, node);
    struct sim_process *process = event->process;

    heap_remove(&sim->events, first);
    sim->now = first->key;
    if (event->effect != NULL) {
        void (*effect)(struct sim_event *) = event->effect;

        event->effect = NULL;
        effect(event);
    }
    list_remove(&event->link);
    if (process != NULL && process->is_paused) {
        list_append(&process->held, &event->link);
        return true;
    }
    event->is_pending = false;
    sim->event_count++;
    sim->turn_count++;
    sim_trace(sim, sim->now << 8 | event->kind);
    sim->current = process;
    event->fire(event); /* last use of `event` */
    if (process != NULL)
        run_tasks(process);
    sim->current = NULL;
    return true;
}

void sim_run_until(struct sim *sim, uint64_t time_us)
{
    for (;;) {
        struct heap_node *first = heap_first(&sim->events);

        if (first == NULL || first->key > time_us)
            break;
        (void)sim_step(sim);
    }
    if (time_us > sim->now)
        sim->now = time_us;
}

uint64_t sim_now_us(const struct sim *sim)
{
    return sim->now;
}

struct rng *sim_rng(struct sim *sim)
{
    return &sim->rng;
}

/* ---- the harness's own events ---- */

struct action {
    struct sim_event event;
    void (*run)(void *user);
    void *user;
};

static void action_fire(struct sim_event *event)
{
    struct action action = *container_of(event, struct action, event);

    free(container_of(event, struct action, event));
    action.run(action.user);
}

static void action_discard(struct sim_event *event)
{
    free(container_of(event, struct action, event));
}

void sim_after(struct sim *sim, uint64_t delay_us, void (*run)(void *user), void *user)
{
    struct action *action = check_calloc(1, sizeof(*action));

    action->event.kind = SIM_KIND_ACTION;
    action->event.fire = action_fire;
    action->event.discard = action_discard;
    action->run = run;
    action->user = user;
    sim_schedule(sim, &action->event, sim->now + delay_us);
}

/* ---- clock ---- */

static uint64_t clock_now_us(struct env *env)
{
    return sim_process_of(env)->sim->now;
}

static uint64_t clock_wall_ms(struct env *env)
{
    const struct sim_process *process = sim_process_of(env);

    return process->sim->options.wall_ms + process->sim->now / 1000 +
           (uint64_t)process->machine->skew_ms;
}

/* One event of the world stands for all timers of a process: it sits at the first of them. */
static void wake_at_first_timer(struct sim_process *process)
{
    struct heap_node *first = heap_first(&process->timers);

    if (process->is_paused && process->wake.is_pending)
        return; /* it may be held; looked at again when it fires */
    if (first == NULL)
        sim_cancel(process->sim, &process->wake);
    else if (!process->wake.is_pending || process->wake.node.key != first->key)
        sim_schedule(process->sim, &process->wake, first->key);
}

static void wake_fire(struct sim_event *event)
{
    struct sim_process *process = container_of(event, struct sim_process, wake);
    uint64_t order_end =
        process->timers.order_next; /* what starts in here waits for another turn */

    while (process->is_alive) {
        struct heap_node *first = heap_first(&process->timers);

        if (first == NULL || first->key > process->sim->now || first->order >= order_end)
            break;

        struct env_timer *timer = container_of(first, struct env_timer, node);

        heap_remove(&process->timers, first);
        timer->cb(timer);
    }
    if (process->is_alive)
        wake_at_first_timer(process);
}

static void clock_timer_start(struct env *env, struct env_timer *timer, uint64_t delay_us)
{
    struct sim_process *process = sim_process_of(env);

    if (!process->is_alive)
        return;
    heap_remove(&process->timers, &timer->node);
    heap_insert(&process->timers, &timer->node, process->sim->now + delay_us);
    wake_at_first_timer(process);
}

static void clock_timer_stop(struct env *env, struct env_timer *timer)
{
    struct sim_process *process = sim_process_of(env);

    if (!process->is_alive)
        timer->node.place = 0;
    else
        heap_remove(&process->timers, &timer->node);
}

static void turn_fire(struct sim_event *event)
{
    (void)event; /* the tasks run at the end of every turn */
}

static void clock_defer(struct env *env, struct env_task *task)
{
    struct sim_process *process = sim_process_of(env);

    if (!process->is_alive || task->link.next != NULL)
        return;
    list_append(&process->tasks, &task->link);
    if (process->sim->current != process && !process->turn.is_pending)
        sim_schedule(process->sim, &process->turn, process->sim->now);
}

static void clock_defer_cancel(struct env *env, struct env_task *task)
{
    if (task->link.next == NULL)
        return;
    if (sim_process_of(env)->is_alive)
        list_remove(&task->link);
    task->link.next = NULL;
}

static const struct env_clock sim_clock = {
    .now_us = clock_now_us,
    .wall_ms = clock_wall_ms,
    .timer_start = clock_timer_start,
    .timer_stop = clock_timer_stop,
    .defer = clock_defer,
    .defer_cancel = clock_defer_cancel,
};

void sim_wall_skew(struct sim *sim, uint64_t id, int64_t skew_ms)
{
    sim_machine_get(sim, id)->skew_ms = skew_ms;
}

/* ---- dice ---- */

static uint64_t dice_next(struct env *env)
{
    return rng_next(&sim_process_of(env)->dice);
}

static void dice_random_bytes(struct env *env, void *to, size_t size)
{
    uint8_t *bytes = to;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(dice_next(env) >> 56);
}

static const struct env_dice sim_dice = {
    .next = dice_next,
    .random_bytes = dice_random_bytes,
};

/* ---- worker ---- */

struct work_event {
    struct sim_event event;
    struct env_work *work;
};

static void work_fire(struct sim_event *event)
{
    struct work_event *it = container_of(event, struct work_event, event);
    struct env_work *work = it->work;

    free(it);
    work->run(work);
    work->done(work);
}

static void work_discard(struct sim_event *event)
{
    free(container_of(event, struct work_event, event));
}

static void worker_queue(struct env *env, struct env_work *work)
{
    struct sim_process *process = sim_process_of(env);

    if (!process->is_alive)
        return;
    struct work_event *it = check_calloc(1, sizeof(*it));

    it->event.process = process;
    it->event.kind = SIM_KIND_WORK;
    it->event.fire = work_fire;
    it->event.discard = work_discard;
    it->work = work;
    sim_schedule(process->sim, &it->event,
                 process->sim->now + sim_draw(process->sim, process->sim->options.work));
}

static const struct env_worker sim_worker = {.queue = worker_queue};

/* ---- machines and processes ---- */

struct sim_machine *sim_machine_get(struct sim *sim, uint64_t id)
{
    struct sim_machine *machine = map_find_u64(&sim->machines_by_id, id);

    if (machine != NULL)
        return machine;
    machine = check_calloc(1, sizeof(*machine));
    machine->sim = sim;
    machine->id = id;
    machine->index = sim->machine_count;
    (void)map_set_u64(&sim->machines_by_id, id, machine);
    sim->machines =
        check_realloc(sim->machines, (sim->machine_count + 1) * sizeof(struct sim_machine *));
    sim->machines[sim->machine_count++] = machine;
    machine->disk = sim_disk_new(machine);
    sim_link_machine_init(machine);
    return machine;
}

static const struct sim_machine *machine_find(const struct sim *sim, uint64_t id)
{
    return map_find_u64(&sim->machines_by_id, id);
}

bool sim_is_alive(const struct sim *sim, uint64_t id)
{
    const struct sim_machine *machine = machine_find(sim, id);

    return machine != NULL && machine->process != NULL;
}

bool sim_is_paused(const struct sim *sim, uint64_t id)
{
    return sim_is_alive(sim, id) && machine_find(sim, id)->process->is_paused;
}

struct env *sim_process_env(struct sim *sim, uint64_t id)
{
    return sim_is_alive(sim, id) ? &machine_find(sim, id)->process->env : NULL;
}

struct env *sim_process_start(struct sim *sim, uint64_t id)
{
    struct sim_machine *machine = sim_machine_get(sim, id);
    struct sim_process *process = check_calloc(1, sizeof(*process));

    CHECK(machine->process == NULL);
    process->env = (struct env){
        .clock = &sim_clock,
        .dice = &sim_dice,
        .link = &sim_link,
        .disk = &sim_disk,
        .kv = &sim_kv,
        .worker = &sim_worker,
        .impl = process,
    };
    process->sim = sim;
    process->machine = machine;
    process->is_alive = true;
    machine->lives++;
    rng_init(&process->dice, sim->options.seed ^ id * 0xff51afd7ed558ccdu ^ machine->lives << 48);
    list_append(&sim->processes, &process->link);
    list_init(&process->events);
    list_init(&process->held);
    list_init(&process->tasks);
    list_init(&process->watchers);
    list_init(&process->files);
    list_init(&process->stores);
    heap_init(&process->timers);
    process->wake.process = process;
    process->wake.kind = SIM_KIND_TIMER;
    process->wake.fire = wake_fire;
    process->turn.process = process;
    process->turn.kind = SIM_KIND_TURN;
    process->turn.fire = turn_fire;
    machine->process = process;
    sim_note(sim, process, SIM_KIND_START, 0, machine->lives);
    sim_link_on_start(machine);
    return &process->env;
}

static void discard_all(struct sim *sim, struct list *events)
{
    struct list *link;

    while ((link = list_pop(events)) != NULL) {
        struct sim_event *event = container_of(link, struct sim_event, link);

        heap_remove(&sim->events, &event->node);
        event->is_pending = false;
        if (event->discard != NULL)
            event->discard(event);
    }
}

static void process_stop(struct sim_process *process)
{
    process->is_alive = false;
    process->machine->process = NULL;
    discard_all(process->sim, &process->events);
    discard_all(process->sim, &process->held);
    heap_close(&process->timers);
    sim_kv_on_crash(process);
}

void sim_crash(struct sim *sim, uint64_t id, unsigned how)
{
    struct sim_machine *machine = sim_machine_get(sim, id);
    struct sim_process *process = machine->process;

    CHECK(process != NULL);
    sim_note(sim, process, SIM_KIND_CRASH, 0, how);
    sim_disk_on_crash(machine->disk, how & ~(unsigned)SIM_CRASH_SILENT);
    process_stop(process);
    machine->is_silent = (how & SIM_CRASH_SILENT) != 0;
    sim_link_on_crash(machine);
}

void sim_pause(struct sim *sim, uint64_t id)
{
    struct sim_machine *machine = sim_machine_get(sim, id);

    CHECK(machine->process != NULL && machine->process != sim->current);
    if (machine->process->is_paused)
        return;
    sim_note(sim, machine->process, SIM_KIND_PAUSE, 0, 0);
    machine->process->is_paused = true;
    sim_link_on_pause_changed(machine);
}

void sim_resume(struct sim *sim, uint64_t id)
{
    struct sim_machine *machine = sim_machine_get(sim, id);
    struct sim_process *process = machine->process;
    struct list held;
    struct list *link;

    CHECK(process != NULL);
    if (!process->is_paused)
        return;
    sim_note(sim, process, SIM_KIND_RESUME, 0, 0);
    process->is_paused = false;
    list_move(&held, &process->held);
    list_init(&process->held);
    while ((link = list_pop(&held)) != NULL)
        sim_schedule(sim, container_of(link, struct sim_event, link), sim->now);
    sim_link_on_pause_changed(machine);
}

static void world_events_free(struct sim *sim)
{
    struct heap_node *first;

    while ((first = heap_first(&sim->events)) != NULL) {
        struct sim_event *event = container_of(first, struct sim_event, node);

        heap_remove(&sim->events, first);
        event->is_pending = false;
        if (event->discard != NULL)
            event->discard(event);
    }
    heap_close(&sim->events);
}

void sim_free(struct sim *sim)
{
    struct list *link;

    if (sim == NULL)
        return;
    for (size_t i = 0; i < sim->machine_count; i++)
        if (sim->machines[i]->process != NULL)
            process_stop(sim->machines[i]->process);
    world_events_free(sim);
    sim_link_pairs_free(sim);
    while ((link = list_pop(&sim->processes)) != NULL) {
        struct sim_process *process = container_of(link, struct sim_process, link);

        sim_kv_close_all(process);
        sim_disk_close_all(process);
        free(process);
    }
    for (size_t i = 0; i < sim->machine_count; i++) {
        sim_link_machine_close(sim->machines[i]);
        sim_disk_free(sim->machines[i]->disk);
        free(sim->machines[i]);
    }
    free(sim->machines);
    map_close(&sim->machines_by_id);
    if (sim_logging == sim) {
        sim_logging = NULL;
        log_set_sink(NULL);
        log_set_level(sim->log_level_before);
    }
    free(sim);
}
