/* Elections, the log, restarts and reads of one group. */

#include "tests/unit/raft/raft_cluster.h"

#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void group__three_nodes__one_leader_that_all_know(void **unused)
{
    struct cluster c;
    uint64_t leader;

    (void)unused;
    cluster_open(&c, 1, 3);

    leader = cluster_await_leader(&c, 0);
    cluster_run(&c, 500);

    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(group_leader(cluster_group(&c, id, 0)), leader);
        assert_int_equal(cluster_machine(&c, id, 0)->leader, leader);
        assert_int_equal(group_is_leader(cluster_group(&c, id, 0)), id == leader);
    }
    cluster_close(&c);
}

static void group__single_node__leads_at_once(void **unused)
{
    struct cluster c;
    struct request request;

    (void)unused;
    cluster_open(&c, 2, 1);

    assert_int_equal(cluster_await_leader(&c, 0), 1);
    assert_true(sim_now_us(c.sim) < 100000);
    cluster_fill(&c, 0, 5, 10);
    cluster_read(cluster_machine(&c, 1, 0), &request);
    cluster_await(&c, &request);

    assert_int_equal(request.rc, OK);
    cluster_crash(&c, 1, SIM_CRASH_LOSE);
    cluster_start(&c, 1);
    cluster_fill(&c, 0, 5, 10);
    cluster_close(&c);
}

static void group_propose__many_in_one_turn__applied_in_order_everywhere(void **unused)
{
    struct cluster c;
    struct request requests[600];
    struct machine *leader;

    (void)unused;
    cluster_open(&c, 3, 3);
    leader = cluster_machine(&c, cluster_await_leader(&c, 0), 0);

    for (size_t i = 0; i < 600; i++)
        cluster_propose(leader, &requests[i], i % 50);
    cluster_await(&c, &requests[599]);

    for (size_t i = 0; i < 600; i++) {
        assert_true(requests[i].is_done);
        assert_int_equal(requests[i].rc, OK);
        assert_int_equal(requests[i].index, requests[0].index + i);
    }
    cluster_await_equal(&c, 0);
    cluster_close(&c);
}

static void group_propose__on_a_follower__not_leader(void **unused)
{
    struct cluster c;
    struct request request;
    uint64_t leader;

    (void)unused;
    cluster_open(&c, 4, 3);
    leader = cluster_await_leader(&c, 0);

    cluster_propose(cluster_machine(&c, leader % 3 + 1, 0), &request, 10);
    cluster_run(&c, 1);

    assert_true(request.is_done);
    assert_int_equal(request.rc, ERR_NOT_LEADER);
    cluster_close(&c);
}

static void group_propose__limits__refused_before_anything_happens(void **unused)
{
    struct cluster c;
    struct request large;
    struct request *many = check_calloc(20000, sizeof(*many));
    struct machine *leader;
    size_t overloaded = 0;

    (void)unused;
    cluster_open(&c, 5, 3);
    leader = cluster_machine(&c, cluster_await_leader(&c, 0), 0);

    cluster_propose(leader, &large, GROUP_ENTRY_BYTES_MAX + 1);
    for (size_t i = 0; i < 20000; i++)
        cluster_propose(leader, &many[i], 1);
    cluster_await(&c, &large);
    cluster_run(&c, 5000);

    assert_int_equal(large.rc, ERR_TOO_LARGE);
    for (size_t i = 0; i < 20000; i++) {
        assert_true(many[i].is_done);
        assert_true(many[i].rc == OK || many[i].rc == ERR_OVERLOADED);
        overloaded += many[i].rc == ERR_OVERLOADED;
    }
    assert_in_range(overloaded, 1, 10000);
    cluster_close(&c);
    free(many);
}

static void group_propose__large_entries__split_and_applied(void **unused)
{
    struct cluster c;
    struct request requests[12];
    const struct host_options options = {.folder = "journal", .segment_bytes = 16u << 20};
    uint64_t leader;

    (void)unused;
    cluster_open_with(&c, 6, 3, 1, &options);
    leader = cluster_await_leader(&c, 0);
    cluster_crash(&c, leader % 3 + 1, SIM_CRASH_KILL);

    for (size_t i = 0; i < 12; i++)
        cluster_propose(cluster_machine(&c, leader, 0), &requests[i], 700000);
    cluster_await(&c, &requests[11]);
    cluster_propose(cluster_machine(&c, leader, 0), &requests[0], GROUP_ENTRY_BYTES_MAX);
    cluster_await(&c, &requests[0]);
    assert_int_equal(requests[0].rc, OK);
    cluster_start(&c, leader % 3 + 1);

    cluster_await_equal(&c, 0);
    cluster_close(&c);
}

static void group__leader_isolated__proposal_is_lost_or_refused_never_confirmed(void **unused)
{
    struct cluster c;
    struct request in_flight;
    struct request late;
    struct request read;
    struct machine *old;
    uint64_t leader;

    (void)unused;
    cluster_open(&c, 7, 3);
    leader = cluster_await_leader(&c, 0);
    old = cluster_machine(&c, leader, 0);
    cluster_fill(&c, 0, 3, 10);

    cluster_isolate(&c, leader, true);
    cluster_propose(old, &in_flight, 10);
    cluster_read(old, &read);
    cluster_run(&c, 8000);

    assert_true(in_flight.is_done);
    assert_int_equal(in_flight.rc, ERR_LOST);
    assert_true(read.is_done);
    assert_true(read.rc == ERR_TIMEOUT || read.rc == ERR_NOT_LEADER);
    assert_int_equal(old->role, old->role == GROUP_CANDIDATE ? GROUP_CANDIDATE : GROUP_FOLLOWER);
    cluster_propose(old, &late, 10);
    cluster_run(&c, 10);
    assert_int_equal(late.rc, ERR_NOT_LEADER);
    assert_int_not_equal(cluster_leader(&c, 0), leader);
    cluster_fill(&c, 0, 3, 10);
    cluster_isolate(&c, leader, false);
    cluster_await_equal(&c, 0);
    cluster_close(&c);
}

static void group_read__on_the_leader__sees_everything_confirmed(void **unused)
{
    struct cluster c;
    struct host_stats before;
    struct host_stats after;
    uint64_t leader;

    (void)unused;
    cluster_open(&c, 8, 3);
    leader = cluster_await_leader(&c, 0);
    cluster_fill(&c, 0, 10, 10);
    cluster_run(&c, 3000);
    host_stats(c.nodes[leader - 1].host, &before);

    for (int i = 0; i < 20; i++) {
        struct request read;
        uint64_t confirmed = group_committed(cluster_group(&c, leader, 0));

        cluster_read(cluster_machine(&c, leader, 0), &read);
        cluster_await(&c, &read);
        assert_int_equal(read.rc, OK);
        assert_true(read.applied_then + 2 >= confirmed); /* barriers are not the machine's */
    }

    host_stats(c.nodes[leader - 1].host, &after);
    assert_int_equal(after.journal_syncs, before.journal_syncs); /* no log write */
    cluster_close(&c);
}

static void group_read__on_a_follower__not_leader(void **unused)
{
    struct cluster c;
    struct request read;
    uint64_t leader;

    (void)unused;
    cluster_open(&c, 9, 3);
    leader = cluster_await_leader(&c, 0);

    cluster_read(cluster_machine(&c, leader % 3 + 1, 0), &read);
    cluster_run(&c, 1);

    assert_true(read.is_done);
    assert_int_equal(read.rc, ERR_NOT_LEADER);
    cluster_close(&c);
}

static void group__restart_of_all_with_power_loss__nothing_confirmed_is_lost(void **unused)
{
    (void)unused;
    for (uint64_t seed = 10; seed < 20; seed++) {
        struct cluster c;
        uint64_t applied;

        cluster_open(&c, seed, 3);
        cluster_fill(&c, 0, 200, 100);
        applied = group_committed(cluster_group(&c, cluster_leader(&c, 0), 0));
        for (uint64_t id = 1; id <= 3; id++)
            cluster_crash(&c, id, SIM_CRASH_TEAR);
        for (uint64_t id = 1; id <= 3; id++)
            cluster_start(&c, id);
        for (uint64_t id = 1; id <= 3; id++)
            assert_false(host_group_is_damaged(c.nodes[id - 1].host, 1));

        cluster_await_leader(&c, 0);
        cluster_await_equal(&c, 0);
        assert_true(group_committed(cluster_group(&c, 1, 0)) >= applied);
        cluster_fill(&c, 0, 5, 100);
        cluster_close(&c);
    }
}

static void group__restart__entries_in_the_state_are_not_applied_again(void **unused)
{
    struct cluster c;
    uint64_t leader;

    (void)unused;
    cluster_open(&c, 21, 3);
    cluster_fill(&c, 0, 30, 10);
    cluster_await_equal(&c, 0);
    leader = cluster_leader(&c, 0);
    cluster_crash(&c, leader, SIM_CRASH_KILL); /* its state is all there */
    cluster_start(&c, leader);

    cluster_run(&c, 5000);

    assert_int_equal(cluster_machine(&c, leader, 0)->applies, 0);
    cluster_await_equal(&c, 0);
    cluster_close(&c);
}

static void group__leaders_process_killed__hint_elects_within_milliseconds(void **unused)
{
    uint64_t worst = 0;
    uint64_t sum = 0;
    uint64_t hints = 0;

    (void)unused;
    for (uint64_t seed = 30; seed < 50; seed++) {
        struct cluster c;
        struct host_stats stats;
        uint64_t leader;
        uint64_t killed_us;

        cluster_open(&c, seed, 3);
        leader = cluster_await_leader(&c, 0);
        cluster_fill(&c, 0, 3, 10);
        cluster_run(&c, 500);
        cluster_crash(&c, leader, SIM_CRASH_KILL);
        killed_us = sim_now_us(c.sim);

        while (cluster_leader(&c, 0) == 0) {
            uint64_t took = sim_now_us(c.sim) - killed_us;

            assert_true(took < 500000);
            sim_step(c.sim);
        }
        sum += sim_now_us(c.sim) - killed_us;
        if (sim_now_us(c.sim) - killed_us > worst)
            worst = sim_now_us(c.sim) - killed_us;
        host_stats(c.nodes[cluster_leader(&c, 0) - 1].host, &stats);
        hints += stats.hints_taken;
        cluster_fill(&c, 0, 3, 10);
        cluster_close(&c);
    }
    print_message("refused leader: new one after %.1f ms on average, %.1f ms at worst\n",
                  (double)sum / 20 / 1000, (double)worst / 1000);
    assert_in_range(hints, 20, 60);
    assert_true(worst < 100000);
}

static void group__leader_silent__elected_after_the_time_out(void **unused)
{
    struct cluster c;
    uint64_t leader;

    (void)unused;
    cluster_open(&c, 50, 3);
    leader = cluster_await_leader(&c, 0);
    cluster_crash(&c, leader, SIM_CRASH_KILL | SIM_CRASH_SILENT);

    cluster_run(&c, 700);
    assert_int_equal(cluster_leader(&c, 0), 0);
    cluster_await_leader(&c, 0);
    cluster_close(&c);
}

static void host__several_groups__lead_and_fail_over_on_their_own(void **unused)
{
    struct cluster c;
    const struct host_options options = {.folder = "journal", .segment_bytes = 65536};

    (void)unused;
    cluster_open_with(&c, 51, 3, 4, &options);
    for (size_t g = 0; g < 4; g++)
        cluster_fill(&c, g, 20, 50);
    cluster_crash(&c, cluster_leader(&c, 2), SIM_CRASH_LOSE);
    for (size_t g = 0; g < 4; g++)
        cluster_fill(&c, g, 20, 50);
    for (uint64_t id = 1; id <= 3; id++)
        if (c.nodes[id - 1].env == NULL)
            cluster_start(&c, id);

    for (size_t g = 0; g < 4; g++)
        cluster_await_equal(&c, g);
    cluster_close(&c);
}

static void host__journal_write_fails__fatal(void **unused)
{
    struct cluster c;
    struct request request;
    uint64_t leader;

    (void)unused;
    cluster_open(&c, 52, 3);
    leader = cluster_await_leader(&c, 0);
    sim_disk_fail_call(c.sim, leader, 1);

    cluster_propose(cluster_machine(&c, leader, 0), &request, 10);
    cluster_run(&c, 3000);

    assert_int_equal(c.nodes[leader - 1].fatals, 1);
    assert_false(request.is_done);
    cluster_crash(&c, leader, SIM_CRASH_KILL);
    cluster_fill(&c, 0, 3, 10);
    cluster_close(&c);
}

static void host_group_forget__everything_open_is_answered(void **unused)
{
    struct cluster c;
    struct request proposal;
    struct request read;
    struct request change;
    struct machine *leader;

    (void)unused;
    cluster_open(&c, 53, 3);
    leader = cluster_machine(&c, cluster_await_leader(&c, 0), 0);
    cluster_propose(leader, &proposal, 10);
    cluster_read(leader, &read);
    cluster_transfer(leader, &change, 0);
    cluster_run(&c, 0);

    host_group_forget(leader->node->host, leader->handle);

    assert_true(proposal.is_done);
    assert_true(read.is_done);
    assert_true(change.is_done);
    assert_null(host_group_find(leader->node->host, 1));
    leader->handle = NULL;
    cluster_run(&c, 5000);
    cluster_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group__three_nodes__one_leader_that_all_know),
        cmocka_unit_test(group__single_node__leads_at_once),
        cmocka_unit_test(group_propose__many_in_one_turn__applied_in_order_everywhere),
        cmocka_unit_test(group_propose__on_a_follower__not_leader),
        cmocka_unit_test(group_propose__limits__refused_before_anything_happens),
        cmocka_unit_test(group_propose__large_entries__split_and_applied),
        cmocka_unit_test(group__leader_isolated__proposal_is_lost_or_refused_never_confirmed),
        cmocka_unit_test(group_read__on_the_leader__sees_everything_confirmed),
        cmocka_unit_test(group_read__on_a_follower__not_leader),
        cmocka_unit_test(group__restart_of_all_with_power_loss__nothing_confirmed_is_lost),
        cmocka_unit_test(group__restart__entries_in_the_state_are_not_applied_again),
        cmocka_unit_test(group__leaders_process_killed__hint_elects_within_milliseconds),
        cmocka_unit_test(group__leader_silent__elected_after_the_time_out),
        cmocka_unit_test(host__several_groups__lead_and_fail_over_on_their_own),
        cmocka_unit_test(host__journal_write_fails__fatal),
        cmocka_unit_test(host_group_forget__everything_open_is_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
