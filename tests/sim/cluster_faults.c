#include "tests/sim/cluster_impl.h"

enum fault {
    FAULT_CRASH,
    FAULT_POWER,
    FAULT_REGION,
    FAULT_CUT,
    FAULT_ONE_WAY,
    FAULT_PAUSE,
    FAULT_LOSS,
    FAULT_SLOW_DISK,
    FAULT_CLOCK,
    FAULT_ALL_POWER,
    FAULT_WIPE,
    FAULT_COUNT
};

static void resume_later(void *user)
{
    struct process *process = user;

    if (process->is_up)
        sim_resume(process->world->sim, process->id);
}

static void crash_and_restart(struct process *process, unsigned how)
{
    struct world *world = process->world;

    if (!process->is_up)
        return;
    cluster_story(world, "%s crashes (%s)", process->name,
                  how == SIM_CRASH_KILL ? "killed" : "power");
    cluster_process_crash(process, how);
    sim_after(world->sim, 100000 + cluster_dice(world, 4000000), cluster_process_restart, process);
}

static void heal_later(void *user)
{
    struct world *world = user;

    sim_link_heal_all(world->sim);
    world->region_cut = NULL;
}

static unsigned power_loss(struct world *world)
{
    return cluster_dice(world, 2) == 0 ? SIM_CRASH_LOSE : SIM_CRASH_TEAR;
}

static void inject(struct world *world, enum fault fault)
{
    struct sim *sim = world->sim;
    struct process *one = &world->processes[cluster_dice(world, world->process_count)];
    struct process *other = &world->processes[cluster_dice(world, world->process_count)];

    switch (fault) {
    case FAULT_CRASH:
        crash_and_restart(one, SIM_CRASH_KILL);
        break;
    case FAULT_POWER:
        crash_and_restart(one, power_loss(world));
        break;
    case FAULT_REGION:
        cluster_story(world, "region %s is cut off", one->region);
        world->region_cut = one->region;
        for (size_t i = 0; i < world->process_count; i++)
            for (size_t j = 0; j < world->process_count; j++)
                if ((world->processes[i].region == one->region) !=
                    (world->processes[j].region == one->region))
                    sim_link_cut(sim, world->processes[i].id, world->processes[j].id);
        sim_after(sim, 500000 + cluster_dice(world, 4000000), heal_later, world);
        break;
    case FAULT_CUT:
        cluster_story(world, "%s and %s are cut", one->name, other->name);
        if (one != other) {
            sim_link_cut(sim, one->id, other->id);
            sim_link_cut(sim, other->id, one->id);
        }
        sim_after(sim, 500000 + cluster_dice(world, 4000000), heal_later, world);
        break;
    case FAULT_ONE_WAY:
        cluster_story(world, "%s no longer reaches %s", one->name, other->name);
        if (one != other)
            sim_link_cut(sim, one->id, other->id);
        sim_after(sim, 500000 + cluster_dice(world, 4000000), heal_later, world);
        break;
    case FAULT_PAUSE:
        if (one->is_up && !sim_is_paused(sim, one->id)) {
            cluster_story(world, "%s is paused", one->name);
            sim_pause(sim, one->id);
            sim_after(sim, 100000 + cluster_dice(world, 4000000), resume_later, one);
        }
        break;
    case FAULT_LOSS:
        cluster_story(world, "messages from %s to %s get lost", one->name, other->name);
        if (one != other)
            sim_link_loss(sim, one->id, other->id, 50000);
        sim_after(sim, 500000 + cluster_dice(world, 4000000), heal_later, world);
        break;
    case FAULT_SLOW_DISK:
        cluster_story(world, "%s has a slow disk", one->name);
        sim_disk_speed(sim, one->id, (struct sim_range){5000, 60000});
        break;
    case FAULT_CLOCK:
        cluster_story(world, "%s has a wrong clock", one->name);
        sim_wall_skew(sim, one->id, (int64_t)cluster_dice(world, 7200000) - 3600000);
        break;
    case FAULT_ALL_POWER:
        cluster_story(world, "the power fails everywhere");
        for (size_t i = 0; i < world->process_count; i++)
            crash_and_restart(&world->processes[i], power_loss(world));
        break;
    case FAULT_WIPE: /* the next disk only when what was on the one before is back in its place */
        if (one->is_node && one->is_up && cluster_replicas_are_whole(world)) {
            cluster_story(world, "%s crashes and its disk is replaced", one->name);
            cluster_process_crash(one, SIM_CRASH_LOSE);
            sim_disk_wipe(sim, one->id);
            sim_after(sim, 100000 + cluster_dice(world, 1000000), cluster_process_restart, one);
        }
        break;
    case FAULT_COUNT:
        break;
    }
    world->result->faults++;
}

static void fault_go(void *user)
{
    struct world *world = user;
    enum fault fault = (enum fault)cluster_dice(world, FAULT_COUNT);

    if (world->is_calm)
        return;
    if ((world->fault_kinds >> fault & 1) != 0)
        inject(world, fault);
    sim_after(world->sim, 100000 + cluster_dice(world, 1500000), fault_go, world);
}

void cluster_faults_start(struct world *world)
{
    sim_after(world->sim, 1000000, fault_go, world);
}

void cluster_faults_end(struct world *world)
{
    const struct sim_options usual = sim_options_default(1);

    cluster_story(world, "everything heals");
    world->is_calm = true;
    heal_later(world);
    for (size_t i = 0; i < world->process_count; i++) {
        struct process *process = &world->processes[i];

        sim_disk_speed(world->sim, process->id, usual.sync);
        sim_wall_skew(world->sim, process->id, 0);
        if (!process->is_up)
            cluster_process_start(process);
        else if (sim_is_paused(world->sim, process->id))
            sim_resume(world->sim, process->id);
    }
}
