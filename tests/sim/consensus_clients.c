/* Clients: they propose and read, mostly at the leader, sometimes at whoever thinks so, in bursts,
 * and believe nothing but the answer. */

#include "tests/sim/consensus_impl.h"

#include "proto/base/check.h"

struct client {
    struct cluster *cluster;
    size_t group;
};

struct operation *consensus_operation_new(struct node *node, size_t group, enum operation_kind kind)
{
    struct operation *operation = check_calloc(1, sizeof(*operation));

    operation->node = node;
    operation->group = group;
    operation->kind = kind;
    list_append(&node->operations, &operation->link);
    return operation;
}

void consensus_operation_free(struct operation *operation)
{
    list_remove(&operation->link);
    free(operation);
}

/* No callback comes any more; what was asked may or may not happen. */
void consensus_operations_forget(struct node *node, size_t group)
{
    LIST_EACH_SAFE(&node->operations, link)
    {
        struct operation *operation = container_of(link, struct operation, link);

        if (group != GROUP_ANY && operation->group != group)
            continue;
        if (operation->kind == OPERATION_COMMAND)
            node->cluster->facts[CONSENSUS_FACT_COMMANDS_UNKNOWN]++;
        consensus_operation_free(operation);
    }
}

static void on_proposed(struct group_proposal *proposal, enum error rc, uint64_t index)
{
    struct operation *operation = container_of(proposal, struct operation, proposal);
    struct cluster *cluster = operation->node->cluster;

    if (rc == OK) {
        cluster->facts[CONSENSUS_FACT_COMMANDS_ACKED]++;
        checker_on_ack(&cluster->checker, operation->group, operation->node->id, index,
                       operation->id);
    } else if (error_effect(rc) == ERROR_EFFECT_NONE) {
        checker_on_refused(&cluster->checker, operation->id);
    } else {
        cluster->facts[CONSENSUS_FACT_COMMANDS_UNKNOWN]++;
    }
    consensus_operation_free(operation);
}

void consensus_command(struct node *node, size_t group)
{
    struct cluster *cluster = node->cluster;
    struct operation *operation = consensus_operation_new(node, group, OPERATION_COMMAND);
    struct buffer command = BUFFER_INIT(BUFFER_UNLIMITED);

    operation->id = ++cluster->command_next;
    machine_command(&command, operation->id, (uint32_t)rng_next(&cluster->rng),
                    rng_below(&cluster->rng, cluster->plan.command_bytes_max + 1));
    group_propose(node->replicas[group].group, &operation->proposal, buffer_slice(&command),
                  on_proposed);
    buffer_close(&command);
}

static void on_read(struct group_read *read, enum error rc)
{
    struct operation *operation = container_of(read, struct operation, read);
    struct node *node = operation->node;

    if (rc == OK) {
        node->cluster->facts[CONSENSUS_FACT_READS]++;
        checker_on_read(&node->cluster->checker, operation->group, node->id,
                        node->replicas[operation->group].machine.applied, operation->acked_before);
    }
    consensus_operation_free(operation);
}

static void read_start(struct node *node, size_t group)
{
    struct operation *operation = consensus_operation_new(node, group, OPERATION_READ);

    operation->acked_before = node->cluster->checker.groups[group].acked_max;
    if (node->cluster->options->plant == CONSENSUS_PLANT_EARLY_READ) {
        on_read(&operation->read,
                group_is_leader(node->replicas[group].group) ? OK : ERR_NOT_LEADER);
        return;
    }
    group_read_start(node->replicas[group].group, &operation->read, on_read);
}

static struct node *choose_node(struct cluster *cluster, size_t group)
{
    struct node *node = &cluster->nodes[rng_below(&cluster->rng, cluster->node_count)];

    if (consensus_chance(cluster, 90)) {
        struct node *leader = consensus_leader(cluster, group, false);

        node = leader != NULL ? leader : node;
    }
    return consensus_node_runs(node) && node->replicas[group].group != NULL ? node : NULL;
}

static void client_act(void *user)
{
    struct client *client = user;
    struct cluster *cluster = client->cluster;
    struct node *node;
    uint64_t burst = 1;

    if (cluster->is_healing)
        return;
    node = choose_node(cluster, client->group);
    if (consensus_chance(cluster, 10))
        burst = consensus_draw(cluster, 1, cluster->plan.burst_max);
    for (; node != NULL && burst > 0; burst--) {
        if (consensus_chance(cluster, cluster->plan.read_percent))
            read_start(node, client->group);
        else
            consensus_command(node, client->group);
    }
    sim_after(cluster->sim,
              consensus_draw(cluster, cluster->plan.command_every.min_us,
                             cluster->plan.command_every.max_us),
              client_act, client);
}

void consensus_clients_start(struct cluster *cluster)
{
    for (size_t g = 0; g < cluster->options->groups; g++) {
        struct client *client = arena_alloc(&cluster->arena, sizeof(*client));

        *client = (struct client){cluster, g};
        sim_after(cluster->sim, 0, client_act, client);
    }
}
