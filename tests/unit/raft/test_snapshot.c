/* Snapshots, damaged logs, and what a member without its log may do. */

#include "tests/unit/raft/raft_cluster.h"

#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static uint64_t follower_of(uint64_t leader)
{
    return leader % 3 + 1;
}

static struct host_stats stats_of(struct cluster *c, uint64_t id)
{
    struct host_stats stats;

    host_stats(c->nodes[id - 1].host, &stats);
    return stats;
}

static void snapshot__follower_far_behind__is_sent_the_state(void **unused)
{
    struct cluster c;
    uint64_t leader;
    uint64_t behind;

    (void)unused;
    cluster_open(&c, 1, 3);
    leader = cluster_await_leader(&c, 0);
    behind = follower_of(leader);
    cluster_crash(&c, behind, SIM_CRASH_KILL);
    cluster_fill(&c, 0, 400, 50);

    cluster_start(&c, behind);
    cluster_await_equal(&c, 0);

    assert_int_equal(stats_of(&c, behind).snapshots_received, 1);
    assert_int_equal(stats_of(&c, cluster_leader(&c, 0)).snapshots_sent, 1);
    cluster_fill(&c, 0, 100, 50);
    cluster_await_equal(&c, 0);
    assert_int_equal(stats_of(&c, behind).snapshots_received, 1);
    cluster_crash(&c, behind, SIM_CRASH_LOSE);
    cluster_start(&c, behind);
    cluster_await_equal(&c, 0);
    assert_false(host_group_is_damaged(c.nodes[behind - 1].host, 1));
    cluster_close(&c);
}

static void snapshot__follower_cut_off_but_alive__is_sent_the_state(void **unused)
{
    struct cluster c;
    uint64_t leader;
    uint64_t behind;

    (void)unused;
    cluster_open(&c, 2, 3);
    leader = cluster_await_leader(&c, 0);
    behind = follower_of(leader);
    cluster_fill(&c, 0, 20, 50);
    cluster_isolate(&c, behind, true);
    cluster_run(&c, 10000); /* a short cut would only delay */
    cluster_fill(&c, 0, 400, 50);

    cluster_isolate(&c, behind, false);
    cluster_await_equal(&c, 0);

    assert_int_equal(stats_of(&c, behind).snapshots_received, 1);
    cluster_close(&c);
}

static void snapshot__journal_stays_small(void **unused)
{
    struct cluster c;

    (void)unused;
    cluster_open(&c, 3, 3);
    cluster_fill(&c, 0, 1500, 200);

    for (uint64_t id = 1; id <= 3; id++)
        assert_in_range(stats_of(&c, id).segments, 1, 4); /* of 64 KiB */
    cluster_close(&c);
}

static void snapshot__many_bytes__taken_before_the_count_is_reached(void **unused)
{
    struct cluster c;
    const struct host_options options = {
        .folder = "journal", .segment_bytes = 1u << 20, .snapshot_bytes = 200000};

    (void)unused;
    cluster_open_with(&c, 4, 3, 1, &options);
    cluster_fill(&c, 0, 200, 50000);

    for (uint64_t id = 1; id <= 3; id++)
        assert_in_range(stats_of(&c, id).segments, 1, 4);
    cluster_close(&c);
}

static void snapshot__idle_group_among_busy_ones__gives_its_segment_back(void **unused)
{
    struct cluster c;
    const struct host_options options = {
        .folder = "journal", .segment_bytes = 65536, .snapshot_entries = 64, .trailing_entries = 8};

    (void)unused;
    cluster_open_with(&c, 5, 3, 2, &options);
    cluster_fill(&c, 1, 10, 50);
    cluster_fill(&c, 0, 2500, 300);

    for (uint64_t id = 1; id <= 3; id++)
        assert_in_range(stats_of(&c, id).segments, 1, 10);
    for (uint64_t id = 1; id <= 3; id++) {
        cluster_crash(&c, id, SIM_CRASH_LOSE);
        cluster_start(&c, id);
        assert_false(host_group_is_damaged(c.nodes[id - 1].host, 2));
    }
    cluster_fill(&c, 1, 10, 50);
    cluster_await_equal(&c, 1);
    cluster_close(&c);
}

/* Whatever happens to the receiver or the sender meanwhile, it ends well. */
static void snapshot__crashes_and_resets_while_it_streams__begins_again(void **unused)
{
    (void)unused;
    for (uint64_t seed = 10; seed < 40; seed++) {
        struct cluster c;
        uint64_t leader;
        uint64_t behind;

        cluster_open(&c, seed, 3);
        c.snapshot_chunks = 100;
        leader = cluster_await_leader(&c, 0);
        behind = follower_of(leader);
        cluster_crash(&c, behind, SIM_CRASH_KILL);
        cluster_fill(&c, 0, 300, 50);
        cluster_start(&c, behind);
        cluster_run(&c, 150 + rng_below(sim_rng(c.sim), 120));

        leader = cluster_leader(&c, 0);
        if (seed % 3 == 0) {
            cluster_crash(&c, behind, SIM_CRASH_TEAR);
            cluster_start(&c, behind);
        } else if (seed % 3 == 1 && leader != 0) {
            sim_link_reset(c.sim, leader, behind);
        } else if (leader != 0) {
            cluster_crash(&c, leader, SIM_CRASH_TEAR);
            cluster_start(&c, leader);
        }
        cluster_await_equal(&c, 0);
        for (uint64_t id = 1; id <= 3; id++)
            assert_false(host_group_is_damaged(c.nodes[id - 1].host, 1));
        cluster_close(&c);
    }
}

/* ---- damage ---- */

static void flip_somewhere(struct cluster *c, uint64_t id, uint64_t offset)
{
    char path[64];

    for (unsigned slot = 0; slot < 100; slot++) {
        struct slice content;

        snprintf(path, sizeof(path), "journal/%08x.log", slot);
        if (sim_disk_content(c->sim, id, path, &content) != OK)
            continue;
        for (; offset < content.size; offset++)
            if (content.data[offset] != 0) {
                assert_int_equal(sim_disk_flip(c->sim, id, path, offset), OK);
                return;
            }
    }
    fail_msg("no journal");
}

static void damaged__flipped_bit_in_the_log__refetched_and_votes_again(void **unused)
{
    struct cluster c;
    uint64_t leader;
    uint64_t hurt;

    (void)unused;
    cluster_open(&c, 50, 3);
    cluster_fill(&c, 0, 50, 100);
    cluster_run(&c, 2000);
    leader = cluster_leader(&c, 0);
    hurt = follower_of(leader);
    cluster_crash(&c, hurt, SIM_CRASH_LOSE);
    flip_somewhere(&c, hurt, 6 * 512 + 150);

    cluster_start(&c, hurt);
    assert_true(host_group_is_damaged(c.nodes[hurt - 1].host, 1));
    assert_int_equal(stats_of(&c, hurt).damaged_groups, 1);
    cluster_await_equal(&c, 0);
    cluster_run(&c, 3000); /* a vote it may have forgotten must not count any more */

    assert_false(host_group_is_damaged(c.nodes[hurt - 1].host, 1));
    assert_int_equal(stats_of(&c, hurt).damaged_groups, 0);
    cluster_crash(&c, leader, SIM_CRASH_KILL); /* the others need its vote now */
    cluster_fill(&c, 0, 10, 10);
    cluster_start(&c, leader);
    cluster_await_equal(&c, 0);
    cluster_close(&c);
}

static void damaged__no_leader_to_fetch_from__does_not_help_elect_one(void **unused)
{
    struct cluster c;
    uint64_t leader;
    uint64_t hurt;
    uint64_t third;

    (void)unused;
    cluster_open(&c, 51, 3);
    leader = cluster_await_leader(&c, 0);
    hurt = follower_of(leader);
    third = 6 - leader - hurt;
    cluster_fill(&c, 0, 10, 100);
    cluster_isolate(&c, third, true); /* lacks what follows */
    cluster_fill(&c, 0, 30, 100);
    cluster_run(&c, 2000);
    cluster_crash(&c, hurt, SIM_CRASH_LOSE);
    flip_somewhere(&c, hurt, 11 * 512 + 150);
    cluster_crash(&c, leader, SIM_CRASH_LOSE);
    cluster_isolate(&c, third, false);

    cluster_start(&c, hurt);
    assert_true(host_group_is_damaged(c.nodes[hurt - 1].host, 1));
    cluster_run(&c, 20000);
    assert_int_equal(cluster_leader(&c, 0), 0);
    cluster_crash(&c, hurt, SIM_CRASH_LOSE); /* still so after another restart */
    cluster_start(&c, hurt);
    cluster_run(&c, 20000);
    assert_int_equal(cluster_leader(&c, 0), 0);

    cluster_start(&c, leader);
    cluster_await_leader(&c, 0);
    cluster_await_equal(&c, 0);
    assert_true(group_committed(cluster_group(&c, third, 0)) >= 40);
    cluster_fill(&c, 0, 10, 10);
    cluster_close(&c);
}

static void damaged__state_older_than_the_log__is_sent_again(void **unused)
{
    struct cluster c;
    uint64_t leader;
    uint64_t hurt;

    (void)unused;
    cluster_open(&c, 52, 3);
    cluster_fill(&c, 0, 300, 50);
    cluster_await_equal(&c, 0);
    leader = cluster_leader(&c, 0);
    hurt = follower_of(leader);
    cluster_crash(&c, hurt, SIM_CRASH_LOSE);
    struct env *env = sim_process_start(c.sim, hurt);

    assert_int_equal(env->disk->remove(env, "state-0"), OK);
    sim_crash(c.sim, hurt, SIM_CRASH_KILL);

    cluster_start(&c, hurt);
    assert_true(host_group_is_damaged(c.nodes[hurt - 1].host, 1));
    cluster_await_equal(&c, 0);
    cluster_run(&c, 3000); /* a vote it may have forgotten must not count any more */
    assert_false(host_group_is_damaged(c.nodes[hurt - 1].host, 1));
    cluster_close(&c);
}

static void damaged__journal_gone_but_state_there__joins_without_a_vote(void **unused)
{
    struct cluster c;
    uint64_t leader;
    uint64_t hurt;

    (void)unused;
    cluster_open(&c, 53, 3);
    cluster_fill(&c, 0, 20, 50);
    cluster_await_equal(&c, 0);
    leader = cluster_leader(&c, 0);
    hurt = follower_of(leader);
    cluster_crash(&c, hurt, SIM_CRASH_KILL);
    struct env *env = sim_process_start(c.sim, hurt);

    assert_int_equal(env->disk->remove(env, "journal"), OK);
    sim_crash(c.sim, hurt, SIM_CRASH_KILL);

    cluster_start(&c, hurt);
    assert_true(host_group_is_damaged(c.nodes[hurt - 1].host, 1));
    cluster_await_equal(&c, 0);
    cluster_run(&c, 3000); /* a vote it may have forgotten must not count any more */
    assert_false(host_group_is_damaged(c.nodes[hurt - 1].host, 1));
    cluster_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snapshot__follower_far_behind__is_sent_the_state),
        cmocka_unit_test(snapshot__follower_cut_off_but_alive__is_sent_the_state),
        cmocka_unit_test(snapshot__journal_stays_small),
        cmocka_unit_test(snapshot__many_bytes__taken_before_the_count_is_reached),
        cmocka_unit_test(snapshot__idle_group_among_busy_ones__gives_its_segment_back),
        cmocka_unit_test(snapshot__crashes_and_resets_while_it_streams__begins_again),
        cmocka_unit_test(damaged__flipped_bit_in_the_log__refetched_and_votes_again),
        cmocka_unit_test(damaged__no_leader_to_fetch_from__does_not_help_elect_one),
        cmocka_unit_test(damaged__state_older_than_the_log__is_sent_again),
        cmocka_unit_test(damaged__journal_gone_but_state_there__joins_without_a_vote),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
