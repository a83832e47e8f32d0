#include "tests/sim/cluster_impl.h"

#include <stdarg.h>

#define BIRTH_US 60000000u

void cluster_fail(struct world *world, const char *format, ...)
{
    va_list arguments;

    if (!world->result->is_ok)
        return;
    world->result->is_ok = false;
    va_start(arguments, format);
    (void)vsnprintf(world->result->why, sizeof(world->result->why), format, arguments);
    va_end(arguments);
}

void cluster_story(struct world *world, const char *format, ...)
{
    va_list arguments;

    if (!world->options->has_story)
        return;
    (void)fprintf(stderr, "%10.3f ms  == ", (double)sim_now_us(world->sim) / 1000);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
}

uint64_t cluster_dice(struct world *world, uint64_t bound)
{
    return rng_below(sim_rng(world->sim), bound);
}

struct cluster_sim_options cluster_sim_options_default(uint64_t seed)
{
    return (struct cluster_sim_options){.seed = seed,
                                        .nodes = 6,
                                        .regions = 3,
                                        .controllers = 3,
                                        .ms = 20000,
                                        .repair_after_ms = 60000};
}

/* A writer that got no further than `before`, -1 = none. */
static int writer_without(const struct world *world, const uint64_t before[WRITERS])
{
    for (int i = 0; i < WRITERS; i++)
        if (world->writers[i].acknowledged == before[i])
            return i;
    return -1;
}

/* False, and a reason, when it is not born. */
static bool is_born(struct world *world)
{
    struct sim *sim = world->sim;

    for (size_t i = 0; i < world->process_count; i++)
        cluster_process_start(&world->processes[i]);
    cluster_supervise(world);
    cluster_setup_start(world);
    while (!world->is_set_up && world->result->is_ok && sim_now_us(sim) < BIRTH_US && sim_step(sim))
        continue;
    if (world->is_set_up)
        cluster_story(world, "the table is there");
    else
        cluster_fail(world, "no table could be made within %u simulated seconds",
                     BIRTH_US / 1000000);
    return world->is_set_up;
}

/* Clients and faults, and then clients without. */
static void live_with_faults(struct world *world)
{
    struct sim *sim = world->sim;
    uint64_t before[WRITERS];
    uint64_t end;

    cluster_clients_start(world);
    cluster_faults_start(world);
    end = sim_now_us(sim) + (uint64_t)world->options->ms * 1000;
    while (sim_now_us(sim) < end && world->result->is_ok && sim_step(sim))
        continue;
    cluster_faults_end(world);
    for (int i = 0; i < WRITERS; i++)
        before[i] = world->writers[i].acknowledged;
    end = sim_now_us(sim) + CALM_US / 3;
    do
        sim_run_until(sim, sim_now_us(sim) + CALM_US / 60);
    while (writer_without(world, before) >= 0 && sim_now_us(sim) < end);
    if (writer_without(world, before) >= 0)
        cluster_fail(world,
                     "writer %d had nothing acknowledged in the %u s after everything healed",
                     writer_without(world, before), CALM_US / 3000000);
}

static void live(struct world *world)
{
    switch (world->options->scenario) {
    case CLUSTER_FAULTS:
        live_with_faults(world);
        break;
    case CLUSTER_OVERLOAD:
        cluster_overload(world);
        break;
    case CLUSTER_REPAIR:
        cluster_repair(world);
        break;
    }
}

static void run(struct world *world)
{
    if (!is_born(world))
        return;
    live(world);
    world->is_stopping = true;
    sim_run_until(world->sim, sim_now_us(world->sim) + ATTEMPT_US * 3);
    if (world->result->is_ok)
        cluster_check_values(world);
    if (world->result->is_ok)
        cluster_check_replicas(world);
    if (!world->result->is_ok && world->options->has_story)
        cluster_tell_replicas(world);
}

void cluster_sim_run(const struct cluster_sim_options *options, struct cluster_sim_result *result)
{
    struct sim_options sim_options = sim_options_default(options->seed);
    struct world *world = check_calloc(1, sizeof(*world));

    CHECK(options->nodes <= CLUSTER_NODES_MAX && options->controllers <= CLUSTER_CONTROLLERS_MAX &&
          options->regions <= ARRAY_COUNT(cluster_regions));
    *result = (struct cluster_sim_result){.is_ok = true};
    sim_options.verbose = options->is_verbose;
    world->options = options;
    world->result = result;
    world->sim = sim_new(&sim_options);
    world->fault_kinds = (uint32_t)rng_next(sim_rng(world->sim)) | 1;
    for (uint32_t i = 0; i < options->controllers; i++)
        cluster_process_add(world, false, i, options->controllers);
    for (uint32_t i = 0; i < options->nodes; i++)
        cluster_process_add(world, true, i, options->nodes);
    run(world);
    result->trace_hash = sim_trace_hash(world->sim);
    result->events = sim_event_count(world->sim);
    uint64_t crashes = result->crashes;

    for (size_t i = 0; i < world->process_count; i++)
        cluster_process_crash(&world->processes[i], SIM_CRASH_KILL);
    result->crashes = crashes;
    sim_free(world->sim);
    free(world);
}
