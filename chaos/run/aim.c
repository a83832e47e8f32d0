#include "chaos/run/aim.h"

#include "deploy/status.h"
#include "proto/base/check.h"

#include <stdio.h>

#define TIMEOUT_MS 700u
#define WORDS_MAX 12

static enum error nobody(char why[ERROR_WHY_BYTES], const char *what)
{
    (void)snprintf(why, ERROR_WHY_BYTES, "%s", what);
    return ERR_NOT_FOUND;
}

static bool runs(const struct daemon *daemon)
{
    return daemon_pid(daemon) != 0 && !daemon_is_paused(daemon);
}

static void add(struct target *target, struct daemon *daemon)
{
    if (target->count < TARGET_MAX)
        target->daemons[target->count++] = daemon;
}

/* One of [from, to) that runs. */
static enum error any(struct cluster *cluster, size_t from, size_t to, struct rng *rng,
                      struct target *target, char why[ERROR_WHY_BYTES])
{
    size_t count = to - from;
    size_t first = count > 0 ? rng_below(rng, count) : 0;

    for (size_t i = 0; i < count; i++) {
        struct daemon *daemon = &cluster->daemons[from + (first + i) % count];

        if (!runs(daemon))
            continue;
        add(target, daemon);
        return OK;
    }
    return nobody(why, "none of them runs");
}

static enum error region(struct cluster *cluster, size_t index, struct target *target,
                         char why[ERROR_WHY_BYTES])
{
    if (index >= cluster->region_count)
        return nobody(why, "there are not so many regions");
    for (size_t i = 0; i < cluster->daemon_count; i++)
        if (strcmp(cluster_region_of(cluster, &cluster->daemons[i]), cluster->regions[index]) == 0)
            add(target, &cluster->daemons[i]);
    (void)snprintf(target->why, sizeof(target->why), "all of %s", cluster->regions[index]);
    return OK;
}

/* Of several that lead as many, any one. */
static const struct status_node *pick_busiest(const struct status *status, struct rng *rng)
{
    const struct status_node *best = status_busiest_leader(status);
    size_t alike = 0;

    for (size_t i = 0; best != NULL && i < status->node_count; i++)
        if (status->nodes[i].leads == best->leads && rng_below(rng, ++alike) == 0)
            best = &status->nodes[i];
    return best;
}

static enum error busiest(struct cluster *cluster, struct rng *rng, struct target *target,
                          char why[ERROR_WHY_BYTES])
{
    const struct status_node *leader;
    struct status status;

    status_gather(cluster, TIMEOUT_MS, &status);
    leader = pick_busiest(&status, rng);
    if (leader != NULL) {
        add(target, cluster_find(cluster, leader->process->name));
        (void)snprintf(target->why, sizeof(target->why), "it leads %u of %u shards", leader->leads,
                       status.shard_count);
    }
    status_close(&status);
    return target->count > 0 ? OK : nobody(why, "no shard has a leader");
}

static enum error half(struct cluster *cluster, struct rng *rng, struct target *target)
{
    size_t wanted = cluster->daemon_count / 2;

    for (size_t i = 0; i < cluster->daemon_count; i++)
        if (rng_below(rng, cluster->daemon_count - i) < wanted - target->count)
            add(target, &cluster->daemons[i]);
    return OK;
}

static enum error named(struct cluster *cluster, const char *const *words, size_t count,
                        struct target *target, char why[ERROR_WHY_BYTES])
{
    char *copies[WORDS_MAX];
    enum error rc;

    if (count > ARRAY_COUNT(copies))
        return nobody(why, "too many words");
    for (size_t i = 0; i < count; i++)
        copies[i] = (char *)(uintptr_t)words[i];
    rc = target_find(cluster, TARGET_ANY, (int)count, copies, target);
    return rc == OK ? OK : nobody(why, "there is nobody of that name");
}

enum error aim(struct cluster *cluster, const char *const *words, size_t count, unsigned number,
               struct rng *rng, struct target *target, char why[ERROR_WHY_BYTES])
{
    const size_t controllers = cluster->controller_count;
    const size_t all = cluster->daemon_count;
    const char *word = count == 1 ? words[0] : "";

    *target = (struct target){0};
    if (strcmp(word, "busiest-leader") == 0)
        return busiest(cluster, rng, target, why);
    if (strcmp(word, "random") == 0)
        return any(cluster, 0, all, rng, target, why);
    if (strcmp(word, "random-node") == 0)
        return any(cluster, controllers, all, rng, target, why);
    if (strcmp(word, "random-controller") == 0)
        return any(cluster, 0, controllers, rng, target, why);
    if (strcmp(word, "random-region") == 0)
        return region(cluster, rng_below(rng, cluster->region_count), target, why);
    if (strncmp(word, "region:", 7) == 0)
        return region(cluster, strtoul(word + 7, NULL, 10) - 1, target, why);
    if (strcmp(word, "half") == 0)
        return half(cluster, rng, target);
    if (strcmp(word, "each-node") == 0) {
        add(target, &cluster->daemons[controllers + number % (all - controllers)]);
        return OK;
    }
    return named(cluster, words, count, target, why);
}
