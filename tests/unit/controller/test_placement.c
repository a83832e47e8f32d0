#include "controller/placement.h"

#include "proto/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define NODES_MAX 40
#define SHARDS_MAX 256
#define WORLDS 400

static const char *const regions[] = {"us-east-1", "eu-west-1", "ap-southeast-1", "sa-east-1"};
static const char *const hosts[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};

struct world {
    struct placement_node nodes[NODES_MAX];
    size_t node_count;
    size_t replica_count;
    size_t shard_count;
    struct placement_replicas shards[SHARDS_MAX];
};

static struct placement_node node(uint64_t id, size_t region, size_t host)
{
    return (struct placement_node){
        .id = id, .region = regions[region], .host = hosts[host], .is_alive = true};
}

/* Six nodes, two in each of three regions: what skein up starts. */
static void laptop(struct world *world)
{
    *world = (struct world){.node_count = 6, .replica_count = 3, .shard_count = 12};
    for (size_t i = 0; i < 6; i++)
        world->nodes[i] = node(i + 1, i / 2, 0);
}

static void random_world(struct world *world, struct rng *rng)
{
    *world = (struct world){.node_count = 1 + rng_below(rng, NODES_MAX),
                            .replica_count = rng_below(rng, 2) == 0 ? 3 : 5,
                            .shard_count = 1 + rng_below(rng, SHARDS_MAX)};
    for (size_t i = 0; i < world->node_count; i++) {
        world->nodes[i] = node(i * 3 + 1, rng_below(rng, 4), rng_below(rng, 10));
        world->nodes[i].is_alive = rng_below(rng, 5) != 0;
    }
    world->nodes[0].is_alive = true;
}

static void shuffle(struct world *world, struct rng *rng)
{
    for (size_t i = world->node_count; i > 1; i--) {
        size_t j = rng_below(rng, i);
        struct placement_node swap = world->nodes[i - 1];

        world->nodes[i - 1] = world->nodes[j];
        world->nodes[j] = swap;
    }
}

static void place(struct world *world)
{
    assert_int_equal(placement_birth(world->nodes, world->node_count, world->replica_count,
                                     world->shards, world->shard_count),
                     OK);
}

static const struct placement_node *find(const struct world *world, uint64_t id)
{
    for (size_t i = 0; i < world->node_count; i++)
        if (world->nodes[i].id == id)
            return &world->nodes[i];
    fail_msg("node %u is not in the cluster", (unsigned)id);
    return NULL;
}

static size_t live_regions(const struct world *world)
{
    size_t count = 0;

    for (size_t i = 0; i < 4; i++) {
        bool is_live = false;

        for (size_t j = 0; j < world->node_count; j++)
            is_live = is_live || (world->nodes[j].is_alive && world->nodes[j].region == regions[i]);
        count += is_live;
    }
    return count;
}

static size_t live_nodes(const struct world *world)
{
    size_t count = 0;

    for (size_t i = 0; i < world->node_count; i++)
        count += world->nodes[i].is_alive;
    return count;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t regions_of(const struct world *world, const uint64_t *ids, size_t count)
{
    size_t distinct = 0;

    for (size_t i = 0; i < count; i++) {
        bool is_first = true;

        for (size_t j = 0; j < i; j++)
            is_first = is_first && find(world, ids[i])->region != find(world, ids[j])->region;
        distinct += is_first;
    }
    return distinct;
}

static void spread(const struct world *world, uint32_t *low, uint32_t *high, bool of_leads)
{
    *low = UINT32_MAX;
    *high = 0;
    for (size_t i = 0; i < world->node_count; i++) {
        uint32_t value = of_leads ? world->nodes[i].leads : world->nodes[i].replicas;

        if (!world->nodes[i].is_alive)
            continue;
        *low = value < *low ? value : *low;
        *high = value > *high ? value : *high;
    }
}

/* ---- shards ---- */

static void birth__laptop__one_replica_in_each_region_and_all_level(void **state)
{
    struct world world;
    uint32_t low;
    uint32_t high;

    (void)state;
    laptop(&world);

    place(&world);

    for (size_t i = 0; i < world.shard_count; i++) {
        assert_int_equal(world.shards[i].count, 3);
        assert_int_equal(regions_of(&world, world.shards[i].node_ids, 3), 3);
    }
    spread(&world, &low, &high, false);
    assert_int_equal(low, 6);
    assert_int_equal(high, 6);
    spread(&world, &low, &high, true);
    assert_int_equal(low, 2);
    assert_int_equal(high, 2);
}

static void birth__laptop__a_lost_node_is_replaced_by_more_than_one_other(void **state)
{
    struct world world;
    bool shares[7] = {false};

    (void)state;
    laptop(&world);
    place(&world);

    for (size_t i = 0; i < world.shard_count; i++)
        for (size_t j = 0; j < 3 && world.shards[i].node_ids[0] == 1; j++)
            shares[world.shards[i].node_ids[j]] = true;

    /* node 1 leads two shards; together they have other members in both regions */
    assert_true(shares[3] || shares[4]);
    assert_true(shares[5] || shares[6]);
}

static void birth__one_node__one_replica(void **state)
{
    struct world world = {.node_count = 1, .replica_count = 3, .shard_count = 4};

    (void)state;
    world.nodes[0] = node(9, 0, 0);
    place(&world);

    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(world.shards[i].count, 1);
        assert_int_equal(world.shards[i].node_ids[0], 9);
    }
}

static void birth__nobody_alive__no_capacity(void **state)
{
    struct world world;

    (void)state;
    laptop(&world);
    for (size_t i = 0; i < world.node_count; i++)
        world.nodes[i].is_alive = false;

    assert_int_equal(placement_birth(world.nodes, 6, 3, world.shards, 12), ERR_NO_CAPACITY);
}

static void birth__any_cluster__spread_live_and_distinct(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= WORLDS; seed++) {
        struct rng rng;
        struct world world;

        rng_init(&rng, seed);
        random_world(&world, &rng);
        place(&world);

        size_t wanted = least(world.replica_count, live_nodes(&world));

        for (size_t i = 0; i < world.shard_count; i++) {
            const struct placement_replicas *shard = &world.shards[i];

            if (shard->count != wanted ||
                regions_of(&world, shard->node_ids, wanted) != least(wanted, live_regions(&world)))
                fail_msg("seed %u shard %zu is not spread", (unsigned)seed, i);
            for (size_t j = 0; j < wanted; j++) {
                assert_true(find(&world, shard->node_ids[j])->is_alive);
                for (size_t k = 0; k < j; k++)
                    assert_int_not_equal(shard->node_ids[j], shard->node_ids[k]);
            }
        }
    }
}

static void birth__hosts_enough__never_two_on_one(void **state)
{
    struct world world = {.node_count = 12, .replica_count = 3, .shard_count = 64};

    (void)state;
    for (size_t i = 0; i < 12; i++) /* one region, four hosts of three nodes */
        world.nodes[i] = node(i + 1, 0, i / 3);
    place(&world);

    for (size_t i = 0; i < world.shard_count; i++)
        for (size_t j = 0; j < 3; j++)
            for (size_t k = 0; k < j; k++)
                assert_string_not_equal(find(&world, world.shards[i].node_ids[j])->host,
                                        find(&world, world.shards[i].node_ids[k])->host);
}

static void birth__nodes_in_another_order__same_plan(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= WORLDS; seed++) {
        struct rng rng;
        struct world world;
        struct world other;

        rng_init(&rng, seed);
        random_world(&world, &rng);
        other = world;
        shuffle(&other, &rng);
        place(&world);
        place(&other);

        if (memcmp(world.shards, other.shards, sizeof(world.shards)) != 0)
            fail_msg("seed %u: the plan depends on the order of nodes", (unsigned)seed);
    }
}

static void birth__symmetric_clusters__counts_and_leads_level(void **state)
{
    (void)state;
    for (size_t per_region = 1; per_region <= 10; per_region++) {
        for (size_t shards = 1; shards <= SHARDS_MAX; shards += 5) {
            struct world world = {
                .node_count = 3 * per_region, .replica_count = 3, .shard_count = shards};
            uint32_t low;
            uint32_t high;

            for (size_t i = 0; i < world.node_count; i++)
                world.nodes[i] = node(i + 1, i / per_region, i / per_region);
            place(&world);

            spread(&world, &low, &high, false);
            if (high - low > 1)
                fail_msg("%zu nodes, %zu shards: %u to %u replicas", world.node_count, shards, low,
                         high);
            spread(&world, &low, &high, true);
            if (high - low > 1)
                fail_msg("%zu nodes, %zu shards: %u to %u leads", world.node_count, shards, low,
                         high);
        }
    }
}

/* ---- functions ---- */

static void function__laptop__all_nodes_regions_in_turn(void **state)
{
    struct world world;
    uint64_t ids[PLACEMENT_FUNCTION_NODES_MAX];

    (void)state;
    laptop(&world);

    assert_int_equal(placement_function(world.nodes, 6, "checkout", 8, ids), 6);
    assert_int_equal(regions_of(&world, ids, 3), 3);
    assert_int_equal(regions_of(&world, ids + 3, 3), 3);
}

static void function__many_functions__first_choices_spread(void **state)
{
    struct world world;
    uint64_t ids[PLACEMENT_FUNCTION_NODES_MAX];
    size_t firsts[7] = {0};
    char name[32];

    (void)state;
    laptop(&world);
    for (int i = 0; i < 600; i++) {
        (void)snprintf(name, sizeof(name), "function-%d", i);
        assert_int_equal(placement_function(world.nodes, 6, name, 8, ids), 6);
        firsts[ids[0]]++;
    }

    for (size_t id = 1; id <= 6; id++)
        assert_in_range(firsts[id], 60, 140);
}

static void function__a_node_lost__one_other_at_most_comes_in(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= WORLDS; seed++) {
        struct rng rng;
        struct world world;
        uint64_t before[PLACEMENT_FUNCTION_NODES_MAX];
        uint64_t after[PLACEMENT_FUNCTION_NODES_MAX];

        rng_init(&rng, seed);
        random_world(&world, &rng);
        size_t wanted = 2 + rng_below(&rng, 7);
        size_t count =
            placement_function(world.nodes, world.node_count, "checkout", wanted, before);
        uint64_t lost = before[rng_below(&rng, count)];

        for (size_t i = 0; i < world.node_count; i++)
            if (world.nodes[i].id == lost)
                world.nodes[i].is_alive = false;
        shuffle(&world, &rng);
        size_t left = placement_function(world.nodes, world.node_count, "checkout", wanted, after);
        size_t fresh = 0;

        assert_int_equal(left, least(wanted, live_nodes(&world)));
        for (size_t i = 0; i < left; i++) {
            bool was_there = false;

            assert_int_not_equal(after[i], lost);
            for (size_t j = 0; j < count; j++)
                was_there = was_there || before[j] == after[i];
            fresh += !was_there;
        }
        if (fresh > 1)
            fail_msg("seed %u: %zu nodes came in for one lost", (unsigned)seed, fresh);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(birth__laptop__one_replica_in_each_region_and_all_level),
        cmocka_unit_test(birth__laptop__a_lost_node_is_replaced_by_more_than_one_other),
        cmocka_unit_test(birth__one_node__one_replica),
        cmocka_unit_test(birth__nobody_alive__no_capacity),
        cmocka_unit_test(birth__any_cluster__spread_live_and_distinct),
        cmocka_unit_test(birth__hosts_enough__never_two_on_one),
        cmocka_unit_test(birth__nodes_in_another_order__same_plan),
        cmocka_unit_test(birth__symmetric_clusters__counts_and_leads_level),
        cmocka_unit_test(function__laptop__all_nodes_regions_in_turn),
        cmocka_unit_test(function__many_functions__first_choices_spread),
        cmocka_unit_test(function__a_node_lost__one_other_at_most_comes_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
