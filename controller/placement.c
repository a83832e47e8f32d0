#include "controller/placement.h"

#include "proto/base/check.h"

#define NONE SIZE_MAX

/* ---- drawing lots: the same for every controller, different for every shard and function ---- */

static uint64_t mix(uint64_t value)
{
    value ^= value >> 30;
    value *= 0xbf58476d1ce4e5b9u;
    value ^= value >> 27;
    value *= 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

static uint64_t lot(uint64_t what, uint64_t node_id)
{
    return mix(what * 0x9e3779b97f4a7c15u + mix(node_id));
}

static uint64_t hash_text(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *text != '\0'; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
    return mix(hash);
}

/* ---- replicas ---- */

static size_t find(const struct placement_node *nodes, size_t node_count, uint64_t id)
{
    for (size_t i = 0; i < node_count; i++)
        if (nodes[i].id == id)
            return i;
    return NONE;
}

static bool holds(const struct placement_replicas *replicas, uint64_t id)
{
    for (size_t i = 0; i < replicas->count; i++)
        if (replicas->node_ids[i] == id)
            return true;
    return false;
}

struct candidate {
    size_t in_region; /* replicas the shard has there */
    size_t on_host;
    uint32_t replicas;
    uint64_t lot;
    uint64_t id;
};

static struct candidate candidate_of(const struct placement_node *nodes, size_t node_count,
                                     size_t place, uint32_t shard,
                                     const struct placement_replicas *replicas)
{
    const struct placement_node *node = &nodes[place];
    struct candidate candidate = {
        .replicas = node->replicas, .lot = lot(shard, node->id), .id = node->id};

    for (size_t i = 0; i < replicas->count; i++) {
        size_t other = find(nodes, node_count, replicas->node_ids[i]);

        if (other == NONE)
            continue;
        candidate.in_region += strcmp(nodes[other].region, node->region) == 0;
        candidate.on_host += strcmp(nodes[other].host, node->host) == 0;
    }
    return candidate;
}

/* Total, because ids are unique: which is what makes a plan independent of the nodes' order. */
static bool is_preferred(const struct candidate *a, const struct candidate *b)
{
    if (a->in_region != b->in_region)
        return a->in_region < b->in_region;
    if (a->on_host != b->on_host)
        return a->on_host < b->on_host;
    if (a->replicas != b->replicas)
        return a->replicas < b->replicas;
    if (a->lot != b->lot)
        return a->lot < b->lot;
    return a->id < b->id;
}

enum error placement_add(struct placement_node *nodes, size_t node_count, uint32_t shard,
                         struct placement_replicas *replicas)
{
    struct candidate best = {0};
    size_t chosen = NONE;

    CHECK(replicas->count < PLACEMENT_REPLICAS_MAX);
    for (size_t i = 0; i < node_count; i++) {
        if (!nodes[i].is_alive || holds(replicas, nodes[i].id))
            continue;
        struct candidate candidate = candidate_of(nodes, node_count, i, shard, replicas);

        if (chosen == NONE || is_preferred(&candidate, &best)) {
            best = candidate;
            chosen = i;
        }
    }
    if (chosen == NONE)
        return ERR_NO_CAPACITY;
    replicas->node_ids[replicas->count++] = nodes[chosen].id;
    nodes[chosen].replicas++;
    return OK;
}

/* ---- preferred leaders ---- */

static uint32_t leads_in_region(const struct placement_node *nodes, size_t node_count,
                                const char *region)
{
    uint32_t leads = 0;

    for (size_t i = 0; i < node_count; i++)
        if (strcmp(nodes[i].region, region) == 0)
            leads += nodes[i].leads;
    return leads;
}

static bool leads_less(const struct placement_node *nodes, size_t node_count, size_t a, size_t b)
{
    uint32_t in_a = leads_in_region(nodes, node_count, nodes[a].region);
    uint32_t in_b = leads_in_region(nodes, node_count, nodes[b].region);

    if (nodes[a].leads != nodes[b].leads)
        return nodes[a].leads < nodes[b].leads;
    if (in_a != in_b)
        return in_a < in_b;
    return nodes[a].id < nodes[b].id;
}

static void put_first(struct placement_replicas *replicas, size_t place)
{
    uint64_t id = replicas->node_ids[place];

    memmove(replicas->node_ids + 1, replicas->node_ids, place * sizeof(id));
    replicas->node_ids[0] = id;
}

/* The place in the shard's list of the live replica that should lead; 0 when none is alive. */
static size_t choose_leader(const struct placement_node *nodes, size_t node_count,
                            const struct placement_replicas *replicas)
{
    size_t best_node = NONE;
    size_t best = 0;

    for (size_t i = 0; i < replicas->count; i++) {
        size_t node = find(nodes, node_count, replicas->node_ids[i]);

        if (node == NONE || !nodes[node].is_alive)
            continue;
        if (best_node == NONE || leads_less(nodes, node_count, node, best_node)) {
            best_node = node;
            best = i;
        }
    }
    return best;
}

void placement_lead(const struct placement_node *nodes, size_t node_count,
                    struct placement_replicas *replicas)
{
    put_first(replicas, choose_leader(nodes, node_count, replicas));
}

/* A search for a chain of hand-overs from one node to another that leads at least two shards
 * fewer: each node of the chain gives one of its shards to the next, which is a replica of it. */
struct chain {
    size_t *queue;     /* nodes reached, the first one is where the chain begins */
    size_t *via_shard; /* the shard that a node reached so would get */
    size_t *from;      /* and from whom; NONE = not reached */
};

static size_t replica_place(const struct placement_replicas *replicas, uint64_t id)
{
    for (size_t i = 0; i < replicas->count; i++)
        if (replicas->node_ids[i] == id)
            return i;
    return NONE;
}

/* Breadth first, so the chain is the shortest. Returns its last node; NONE when there is none. */
static size_t chain_find(const struct placement_node *nodes, size_t node_count,
                         const struct placement_replicas *shards, size_t shard_count, size_t begin,
                         struct chain *chain)
{
    size_t reached = 0;

    for (size_t i = 0; i < node_count; i++)
        chain->from[i] = NONE;
    chain->from[begin] = begin;
    chain->queue[reached++] = begin;
    for (size_t next = 0; next < reached; next++) {
        size_t giver = chain->queue[next];

        if (nodes[giver].leads + 2 <= nodes[begin].leads)
            return giver;
        for (size_t i = 0; i < shard_count; i++) {
            if (shards[i].node_ids[0] != nodes[giver].id)
                continue;
            for (size_t j = 1; j < shards[i].count; j++) {
                size_t taker = find(nodes, node_count, shards[i].node_ids[j]);

                if (chain->from[taker] != NONE)
                    continue;
                chain->from[taker] = giver;
                chain->via_shard[taker] = i;
                chain->queue[reached++] = taker;
            }
        }
    }
    return NONE;
}

static bool level_from(struct placement_node *nodes, size_t node_count,
                       struct placement_replicas *shards, size_t shard_count, size_t begin,
                       struct chain *chain)
{
    size_t end = chain_find(nodes, node_count, shards, shard_count, begin, chain);

    if (end == NONE)
        return false;
    nodes[begin].leads--;
    nodes[end].leads++;
    for (size_t taker = end; taker != begin; taker = chain->from[taker]) {
        struct placement_replicas *shard = &shards[chain->via_shard[taker]];

        put_first(shard, replica_place(shard, nodes[taker].id));
    }
    return true;
}

/* The node that leads most; of several the one with the lowest id. */
static size_t leads_most(const struct placement_node *nodes, size_t node_count)
{
    size_t most = 0;

    for (size_t i = 1; i < node_count; i++)
        if (nodes[i].leads > nodes[most].leads ||
            (nodes[i].leads == nodes[most].leads && nodes[i].id < nodes[most].id))
            most = i;
    return most;
}

/* Hand leads over until no chain makes the node that leads most lead fewer. */
static void level_leads(struct placement_node *nodes, size_t node_count,
                        struct placement_replicas *shards, size_t shard_count)
{
    struct chain chain = {.queue = check_calloc(node_count, sizeof(size_t)),
                          .via_shard = check_calloc(node_count, sizeof(size_t)),
                          .from = check_calloc(node_count, sizeof(size_t))};

    while (
        level_from(nodes, node_count, shards, shard_count, leads_most(nodes, node_count), &chain)) {
        /* each time the sum of squares gets smaller, so it ends */
    }
    free(chain.queue);
    free(chain.via_shard);
    free(chain.from);
}

enum error placement_birth(struct placement_node *nodes, size_t node_count, size_t replica_count,
                           struct placement_replicas *shards, size_t shard_count)
{
    size_t alive = 0;

    CHECK(replica_count > 0 && replica_count <= PLACEMENT_REPLICAS_MAX);
    for (size_t i = 0; i < node_count; i++) {
        nodes[i].replicas = 0;
        nodes[i].leads = 0;
        alive += nodes[i].is_alive;
    }
    if (alive == 0)
        return ERR_NO_CAPACITY;
    for (size_t i = 0; i < shard_count; i++) {
        shards[i].count = 0;
        while (shards[i].count < replica_count && shards[i].count < alive)
            CHECK(placement_add(nodes, node_count, (uint32_t)i, &shards[i]) == OK);
        placement_lead(nodes, node_count, &shards[i]);
        nodes[find(nodes, node_count, shards[i].node_ids[0])].leads++;
    }
    level_leads(nodes, node_count, shards, shard_count);
    return OK;
}

/* ---- functions ---- */

/* How many of the chosen nodes are in the region of nodes[place]. */
static size_t chosen_in_region(const struct placement_node *nodes, size_t place,
                               const size_t *chosen, size_t count)
{
    size_t there = 0;

    for (size_t i = 0; i < count; i++)
        there += strcmp(nodes[chosen[i]].region, nodes[place].region) == 0;
    return there;
}

static bool is_among(size_t place, const size_t *chosen, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (chosen[i] == place)
            return true;
    return false;
}

size_t placement_function(const struct placement_node *nodes, size_t node_count,
                          const char *function, size_t wanted, uint64_t *node_ids)
{
    uint64_t what = hash_text(function);
    size_t chosen[PLACEMENT_FUNCTION_NODES_MAX];
    size_t count = 0;

    CHECK(wanted <= PLACEMENT_FUNCTION_NODES_MAX);
    while (count < wanted) {
        struct candidate best = {0};
        size_t place = NONE;

        for (size_t i = 0; i < node_count; i++) {
            if (!nodes[i].is_alive || is_among(i, chosen, count))
                continue;
            struct candidate candidate = {.in_region = chosen_in_region(nodes, i, chosen, count),
                                          .lot = lot(what, nodes[i].id),
                                          .id = nodes[i].id};

            if (place == NONE || is_preferred(&candidate, &best)) {
                best = candidate;
                place = i;
            }
        }
        if (place == NONE)
            break;
        node_ids[count] = nodes[place].id;
        chosen[count++] = place;
    }
    return count;
}
