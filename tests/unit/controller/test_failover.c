#include "controller/failover.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define REPAIR_MS 60000
#define LONG_AGO (REPAIR_MS * 10)

/* Two nodes in each of three regions. */
static void laptop(struct placement_node nodes[6])
{
    static const char *const regions[] = {"us-east-1", "eu-west-1", "ap-southeast-1"};

    for (size_t i = 0; i < 6; i++)
        nodes[i] = (struct placement_node){
            .id = i + 1, .region = regions[i / 2], .host = "h", .is_alive = true};
}

static void lose(struct placement_node nodes[6], uint64_t id, uint64_t for_ms)
{
    nodes[id - 1].is_alive = false;
    nodes[id - 1].lost_for_ms = for_ms;
}

static bool repair(struct placement_node nodes[6], uint64_t settled_for_ms,
                   struct placement_replicas *replicas)
{
    return failover_repair(nodes, 6, 0, 3, settled_for_ms, REPAIR_MS, replicas);
}

static void repair__nobody_lost__nothing(void **state)
{
    struct placement_node nodes[6];
    struct placement_replicas replicas = {{1, 3, 5}, 3};

    (void)state;
    laptop(nodes);

    assert_false(repair(nodes, LONG_AGO, &replicas));
}

static void repair__lost_for_long__the_other_node_of_the_region(void **state)
{
    struct placement_node nodes[6];
    struct placement_replicas replicas = {{1, 3, 5}, 3};

    (void)state;
    laptop(nodes);
    lose(nodes, 3, REPAIR_MS);

    assert_true(repair(nodes, LONG_AGO, &replicas));
    assert_int_equal(replicas.count, 3);
    assert_int_equal(replicas.node_ids[0], 1); /* the survivors keep their places */
    assert_int_equal(replicas.node_ids[1], 5);
    assert_int_equal(replicas.node_ids[2], 4);
}

static void repair__two_of_five_lost__the_one_lost_longest_first(void **state)
{
    struct placement_node nodes[6];
    struct placement_replicas replicas = {{1, 2, 3, 4, 5}, 5};

    (void)state;
    laptop(nodes);
    lose(nodes, 2, REPAIR_MS);
    lose(nodes, 4, 2 * REPAIR_MS);

    assert_true(failover_repair(nodes, 6, 0, 5, LONG_AGO, REPAIR_MS, &replicas));
    assert_int_equal(replicas.node_ids[1], 2);
    assert_int_equal(replicas.node_ids[4], 6);
}

static void repair__preferred_leader_lost__a_survivor_leads(void **state)
{
    struct placement_node nodes[6];
    struct placement_replicas replicas = {{1, 3, 5}, 3};

    (void)state;
    laptop(nodes);
    lose(nodes, 1, REPAIR_MS);
    nodes[2].leads = 5; /* node 3 leads more shards than node 5 */

    assert_true(repair(nodes, LONG_AGO, &replicas));
    assert_int_equal(replicas.node_ids[0], 5);
    assert_int_equal(replicas.node_ids[1], 3);
    assert_int_equal(replicas.node_ids[2], 2);
}

static void repair__lost_a_moment_ago__waits(void **state)
{
    struct placement_node nodes[6];
    struct placement_replicas replicas = {{1, 3, 5}, 3};

    (void)state;
    laptop(nodes);
    lose(nodes, 3, REPAIR_MS - 1);

    assert_false(repair(nodes, LONG_AGO, &replicas));
    assert_int_equal(replicas.node_ids[1], 3);
}

static void repair__changed_a_moment_ago__one_change_at_a_time(void **state)
{
    struct placement_node nodes[6];
    struct placement_replicas replicas = {{1, 3, 5}, 3};

    (void)state;
    laptop(nodes);
    lose(nodes, 3, REPAIR_MS);

    assert_false(repair(nodes, REPAIR_MS - 1, &replicas));
}

static void repair__majority_lost__left_alone(void **state)
{
    struct placement_node nodes[6];
    struct placement_replicas replicas = {{1, 3, 5}, 3};

    (void)state;
    laptop(nodes);
    lose(nodes, 3, LONG_AGO);
    lose(nodes, 5, LONG_AGO);

    assert_false(repair(nodes, LONG_AGO, &replicas));
}

static void repair__nobody_else_alive__left_alone(void **state)
{
    struct placement_node nodes[6];
    struct placement_replicas replicas = {{1, 3, 5}, 3};

    (void)state;
    laptop(nodes);
    lose(nodes, 2, LONG_AGO);
    lose(nodes, 3, LONG_AGO);
    lose(nodes, 4, LONG_AGO);
    lose(nodes, 6, LONG_AGO);

    assert_false(repair(nodes, LONG_AGO, &replicas));
    assert_int_equal(replicas.count, 3);
}

static void repair__node_no_longer_known__replaced(void **state)
{
    struct placement_node nodes[6];
    struct placement_replicas replicas = {{1, 77, 5}, 3};

    (void)state;
    laptop(nodes);

    assert_true(repair(nodes, LONG_AGO, &replicas));
    assert_int_equal(replicas.node_ids[0], 1);
    assert_int_equal(replicas.node_ids[1], 5);
    assert_in_range(replicas.node_ids[2], 3, 4);
}

static void repair__fewer_than_wanted__one_more(void **state)
{
    struct placement_node nodes[6];
    struct placement_replicas replicas = {{2}, 1};

    (void)state;
    laptop(nodes);

    assert_true(repair(nodes, LONG_AGO, &replicas));
    assert_int_equal(replicas.count, 2);
    assert_int_equal(replicas.node_ids[0], 2);
    assert_in_range(replicas.node_ids[1], 3, 6); /* another region */
}

static void function__node_lost__moves_at_once(void **state)
{
    struct placement_node nodes[6];
    uint64_t before[PLACEMENT_FUNCTION_NODES_MAX];
    uint64_t after[PLACEMENT_FUNCTION_NODES_MAX];
    size_t count = 0;
    size_t left = 0;

    (void)state;
    laptop(nodes);
    assert_true(failover_function(nodes, 6, "checkout", 8, NULL, 0, before, &count));
    assert_int_equal(count, 6);
    assert_false(failover_function(nodes, 6, "checkout", 8, before, count, after, &left));

    lose(nodes, before[0], 0);

    assert_true(failover_function(nodes, 6, "checkout", 8, before, count, after, &left));
    assert_int_equal(left, 5);
    for (size_t i = 0; i < left; i++)
        assert_int_not_equal(after[i], before[0]);
}

static void function__nobody_alive__stays(void **state)
{
    struct placement_node nodes[6];
    const uint64_t before[] = {1, 2};
    uint64_t after[PLACEMENT_FUNCTION_NODES_MAX];
    size_t left = 99;

    (void)state;
    laptop(nodes);
    for (uint64_t id = 1; id <= 6; id++)
        lose(nodes, id, LONG_AGO);

    assert_false(failover_function(nodes, 6, "checkout", 8, before, 2, after, &left));
    assert_int_equal(left, 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repair__nobody_lost__nothing),
        cmocka_unit_test(repair__lost_for_long__the_other_node_of_the_region),
        cmocka_unit_test(repair__two_of_five_lost__the_one_lost_longest_first),
        cmocka_unit_test(repair__preferred_leader_lost__a_survivor_leads),
        cmocka_unit_test(repair__lost_a_moment_ago__waits),
        cmocka_unit_test(repair__changed_a_moment_ago__one_change_at_a_time),
        cmocka_unit_test(repair__majority_lost__left_alone),
        cmocka_unit_test(repair__nobody_else_alive__left_alone),
        cmocka_unit_test(repair__node_no_longer_known__replaced),
        cmocka_unit_test(repair__fewer_than_wanted__one_more),
        cmocka_unit_test(function__node_lost__moves_at_once),
        cmocka_unit_test(function__nobody_alive__stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
