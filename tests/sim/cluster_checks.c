#include "tests/sim/cluster_impl.h"

/* ---- the end: everything must be there, everywhere ---- */

struct final_read {
    struct ask ask;
    const char *region;
    char key[32];
    uint64_t least;
    uint64_t most;
    unsigned attempts;
};

static void final_go(void *user)
{
    struct final_read *read = user;
    char body[200];

    (void)snprintf(body, sizeof(body), "{\"TableName\":\"Tab\",\"Key\":{\"id\":{\"S\":\"%s\"}}}",
                   read->key);
    cluster_ask_start(&read->ask, read->region, CLUSTER_TARGET("GetItem"), body);
}

static void final_on_done(struct ask *ask, int status, const char *body)
{
    struct final_read *read = container_of(ask, struct final_read, ask);
    struct world *world = ask->world;
    uint64_t value = cluster_number_in(body);

    if (status == 200 && value >= read->least && value <= read->most) {
        world->final_left--;
        return;
    }
    if (++read->attempts < 40) { /* an eventual read may trail for a moment */
        sim_after(world->sim, 250000, final_go, read);
        return;
    }
    cluster_fail(world,
                 "%s reads %" PRIu64 " from %s (status %d), expected %" PRIu64 " to %" PRIu64,
                 read->region, value, read->key, status, read->least, read->most);
    world->final_left--;
}

static void final_add(struct world *world, struct final_read *reads, size_t *count, const char *key,
                      uint64_t least, uint64_t most)
{
    for (size_t r = 0; r < world->options->regions; r++) {
        struct final_read *read = &reads[(*count)++];

        *read = (struct final_read){.ask = {.world = world, .on_done = final_on_done},
                                    .region = cluster_regions[r],
                                    .least = least,
                                    .most = most};
        (void)snprintf(read->key, sizeof(read->key), "%s", key);
        world->final_left++;
        final_go(read);
    }
}

void cluster_check_values(struct world *world)
{
    size_t most = (WRITERS + 1 + ACCOUNTS + RACES_MAX) * world->options->regions;
    struct final_read *reads = check_calloc(most, sizeof(*reads));
    size_t count = 0;
    char key[32];

    for (int i = 0; i < WRITERS; i++) {
        (void)snprintf(key, sizeof(key), "w%d", i);
        final_add(world, reads, &count, key, world->writers[i].acknowledged,
                  world->writers[i].value);
    }
    final_add(world, reads, &count, "counter", world->counter.acknowledged,
              world->counter.acknowledged + world->counter.unsure);
    for (int i = 0; i < ACCOUNTS && cluster_bank_is_settled(world); i++) {
        (void)snprintf(key, sizeof(key), "account%d", i);
        final_add(world, reads, &count, key, (uint64_t)world->bank.balances[i],
                  (uint64_t)world->bank.balances[i]);
    }
    for (uint64_t race = 0; race < RACES_MAX; race++) {
        if (world->winners[race] == 0)
            continue;
        (void)snprintf(key, sizeof(key), "race%" PRIu64, race);
        final_add(world, reads, &count, key, (uint64_t)world->winners[race],
                  (uint64_t)world->winners[race]);
    }
    uint64_t end = sim_now_us(world->sim) + CALM_US * 2;

    while (world->final_left > 0 && sim_now_us(world->sim) < end && sim_step(world->sim))
        continue;
    if (world->final_left > 0)
        cluster_fail(world, "%zu final reads were never answered", world->final_left);
    for (size_t i = 0; i < count; i++)
        if (reads[i].ask.exchange != NULL)
            reads[i].ask.exchange->ask = NULL;
    sim_run_until(world->sim, sim_now_us(world->sim) + ATTEMPT_US + 1000);
    free(reads);
}

struct shard_seen {
    unsigned replicas;
    uint64_t applied;
    char hash[20];
};

/* All replicas of every shard at the same index, with the same hash? */
static bool are_replicas_equal(struct world *world, char *why, size_t why_bytes)
{
    struct shard_seen shards[SHARDS] = {0};
    bool is_equal = true;

    for (size_t i = 0; i < world->process_count; i++) {
        struct process *process = &world->processes[i];
        json_t *status = process->node != NULL ? cluster_status_of(process) : NULL;
        json_t *replica;
        size_t place;

        json_array_foreach(json_object_get(status, "shards"), place, replica)
        {
            uint64_t number = (uint64_t)json_integer_value(json_object_get(replica, "shard"));
            uint64_t applied = (uint64_t)json_integer_value(json_object_get(replica, "applied"));
            const char *hash = json_string_value(json_object_get(replica, "hash"));
            struct shard_seen *seen = &shards[number % SHARDS];

            if (seen->replicas > 0 && (seen->applied != applied || strcmp(seen->hash, hash) != 0)) {
                (void)snprintf(why, why_bytes,
                               "shard %" PRIu64 ": %s has %s at %" PRIu64
                               ", another replica %s at %" PRIu64,
                               number, process->name, hash, applied, seen->hash, seen->applied);
                is_equal = false;
            }
            seen->replicas++;
            seen->applied = applied;
            (void)snprintf(seen->hash, sizeof(seen->hash), "%s", hash);
        }
        json_decref(status);
    }
    for (size_t i = 0; i < SHARDS && is_equal; i++)
        if (shards[i].replicas < 3) {
            (void)snprintf(why, why_bytes, "shard %zu has %u replicas", i, shards[i].replicas);
            is_equal = false;
        }
    return is_equal;
}

/* Where each replica stands, for who reads why a run failed. */
void cluster_tell_replicas(struct world *world)
{
    for (size_t i = 0; i < world->process_count; i++) {
        struct process *process = &world->processes[i];
        json_t *status = process->node != NULL ? cluster_status_of(process) : NULL;
        json_t *replica;
        size_t place;

        json_array_foreach(json_object_get(status, "shards"), place, replica)
        {
            char *text = json_dumps(replica, JSON_COMPACT);

            cluster_story(world, "%s: %s", process->name, text);
            free(text);
        }
        json_decref(status);
    }
}

void cluster_check_replicas(struct world *world)
{
    char why[160] = "";

    for (int tries = 0; tries < 60; tries++) {
        if (are_replicas_equal(world, why, sizeof(why)))
            return;
        sim_run_until(world->sim, sim_now_us(world->sim) + 500000);
    }
    cluster_fail(world, "replicas do not converge: %s", why);
}
