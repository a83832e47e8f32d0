/* Transfer of leadership, members that come and go, draining a process. */

#include "tests/unit/raft/raft_cluster.h"

#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct machine *await_leading(struct cluster *c)
{
    return cluster_machine(c, cluster_await_leader(c, 0), 0);
}

/* At whoever leads, again until it is done. */
static void change_until_ok(struct cluster *c, uint64_t peer,
                            void (*begin)(struct machine *, struct request *, uint64_t))
{
    struct request request;

    for (int i = 0; i < 20; i++) {
        begin(await_leading(c), &request, peer);
        cluster_await(c, &request);
        if (request.rc == OK)
            return;
        cluster_run(c, 100);
    }
    fail_msg("still %s", error_name(request.rc));
}

static size_t voters_of(struct cluster *c, uint64_t id)
{
    struct group_member members[GROUP_MEMBERS_MAX];
    size_t count = group_members(cluster_group(c, id, 0), members);
    size_t voters = 0;

    for (size_t i = 0; i < count; i++)
        voters += members[i].is_voter;
    return voters;
}

static void group_transfer__to_a_follower__leads_within_milliseconds(void **unused)
{
    struct cluster c;
    struct machine *leader;
    struct request request;
    uint64_t target;
    uint64_t began_us;

    (void)unused;
    cluster_open(&c, 1, 3);
    leader = await_leading(&c);
    target = leader->node->id % 3 + 1;
    cluster_fill(&c, 0, 10, 10);
    began_us = sim_now_us(c.sim);

    cluster_transfer(leader, &request, target);
    cluster_await(&c, &request);

    assert_int_equal(request.rc, OK);
    assert_int_equal(cluster_await_leader(&c, 0), target);
    print_message("transfer: new leader after %.1f ms\n",
                  (double)(sim_now_us(c.sim) - began_us) / 1000);
    assert_true(sim_now_us(c.sim) - began_us < 50000);
    cluster_fill(&c, 0, 10, 10);
    cluster_await_equal(&c, 0);
    cluster_close(&c);
}

static void group_transfer__under_load__every_proposal_is_answered(void **unused)
{
    struct cluster c;
    struct machine *leader;
    struct request *requests = check_calloc(400, sizeof(*requests));
    struct request change;
    size_t failed = 0;

    (void)unused;
    cluster_open(&c, 2, 3);
    leader = await_leading(&c);

    for (size_t i = 0; i < 400; i++) {
        cluster_propose(leader, &requests[i], 100);
        if (i == 200)
            cluster_transfer(leader, &change, 0);
        if (i % 5 == 0)
            cluster_run(&c, 1);
    }
    cluster_await(&c, &change);
    cluster_run(&c, 3000);

    assert_int_equal(change.rc, OK);
    for (size_t i = 0; i < 400; i++) {
        assert_true(requests[i].is_done);
        assert_true(requests[i].rc == OK || requests[i].rc == ERR_NOT_LEADER);
        failed += requests[i].rc != OK;
    }
    assert_in_range(failed, 1, 250);
    cluster_await_equal(&c, 0);
    cluster_close(&c);
    free(requests);
}

static void group_transfer__to_one_that_is_down__still_the_leader(void **unused)
{
    struct cluster c;
    struct machine *leader;
    struct request request;
    uint64_t target;

    (void)unused;
    cluster_open(&c, 3, 3);
    leader = await_leading(&c);
    target = leader->node->id % 3 + 1;
    cluster_crash(&c, target, SIM_CRASH_KILL);
    cluster_run(&c, 100);

    cluster_transfer(leader, &request, target);
    cluster_await(&c, &request);

    assert_true(request.rc == ERR_TIMEOUT || request.rc == ERR_UNREACHABLE);
    assert_true(group_is_leader(leader->handle));
    cluster_fill(&c, 0, 5, 10);
    cluster_close(&c);
}

static void group_transfer__on_a_follower__not_leader(void **unused)
{
    struct cluster c;
    struct request request;
    uint64_t leader;

    (void)unused;
    cluster_open(&c, 4, 3);
    leader = cluster_await_leader(&c, 0);

    cluster_transfer(cluster_machine(&c, leader % 3 + 1, 0), &request, 0);
    cluster_await(&c, &request);

    assert_int_equal(request.rc, ERR_NOT_LEADER);
    cluster_close(&c);
}

static void group_add__new_member__catches_up_and_votes(void **unused)
{
    struct cluster c;

    (void)unused;
    cluster_open(&c, 5, 3);
    cluster_fill(&c, 0, 30, 50);
    cluster_start_new(&c, 4);
    cluster_run(&c, 100);

    change_until_ok(&c, 4, cluster_add);

    cluster_await_equal(&c, 0);
    assert_int_equal(voters_of(&c, cluster_leader(&c, 0)), 4);
    cluster_close(&c);
}

static void group_add__log_begins_late__new_member_is_sent_the_state(void **unused)
{
    struct cluster c;

    (void)unused;
    cluster_open(&c, 6, 3);
    cluster_fill(&c, 0, 300, 50);
    cluster_start_new(&c, 4);
    cluster_run(&c, 100);

    change_until_ok(&c, 4, cluster_add);

    cluster_await_equal(&c, 0);
    cluster_crash(&c, 4, SIM_CRASH_LOSE);
    cluster_start_new(&c, 4);
    cluster_await_equal(&c, 0);
    assert_int_equal(voters_of(&c, 4), 4);
    cluster_close(&c);
}

static void group_add__member_that_is_one__ok_at_once(void **unused)
{
    struct cluster c;
    struct request request;
    struct machine *leader;

    (void)unused;
    cluster_open(&c, 7, 3);
    leader = await_leading(&c);

    cluster_add(leader, &request, leader->node->id % 3 + 1);
    cluster_await(&c, &request);

    assert_int_equal(request.rc, OK);
    cluster_close(&c);
}

static void group_add__second_change_meanwhile__conflict(void **unused)
{
    struct cluster c;
    struct request first;
    struct request second;
    struct machine *leader;

    (void)unused;
    cluster_open(&c, 8, 3);
    cluster_start_new(&c, 4);
    leader = await_leading(&c);

    cluster_add(leader, &first, 4);
    cluster_remove(leader, &second, leader->node->id % 3 + 1);
    cluster_await(&c, &second);
    cluster_await(&c, &first);

    assert_int_equal(second.rc, ERR_CONFLICT);
    assert_int_equal(first.rc, OK);
    cluster_close(&c);
}

/* What the controllers do when a host is lost. */
static void group__dead_member_replaced__group_survives_the_next_loss(void **unused)
{
    struct cluster c;
    uint64_t dead;
    uint64_t leader;

    (void)unused;
    cluster_open(&c, 9, 3);
    cluster_fill(&c, 0, 200, 50);
    dead = cluster_leader(&c, 0);
    cluster_crash(&c, dead, SIM_CRASH_KILL);
    cluster_fill(&c, 0, 20, 50);
    cluster_start_new(&c, 4);
    cluster_run(&c, 100);

    change_until_ok(&c, 4, cluster_add);
    change_until_ok(&c, dead, cluster_remove);

    leader = cluster_leader(&c, 0);
    assert_int_equal(voters_of(&c, leader), 3);
    cluster_await_equal(&c, 0);
    cluster_crash(&c, leader, SIM_CRASH_KILL);
    cluster_fill(&c, 0, 20, 50);
    cluster_close(&c);
}

static void group_remove__the_leader_itself__hands_over_then_the_next_removes_it(void **unused)
{
    struct cluster c;
    struct request request;
    struct machine *leader;
    uint64_t gone;

    (void)unused;
    cluster_open(&c, 10, 3);
    cluster_fill(&c, 0, 10, 10);
    leader = await_leading(&c);
    gone = leader->node->id;

    cluster_remove(leader, &request, gone);
    cluster_await(&c, &request);
    assert_int_equal(request.rc, ERR_NOT_LEADER);
    assert_int_not_equal(cluster_await_leader(&c, 0), gone);
    change_until_ok(&c, gone, cluster_remove);

    assert_int_equal(voters_of(&c, cluster_leader(&c, 0)), 2);
    host_group_forget(leader->node->host, leader->handle);
    leader->handle = NULL;
    cluster_fill(&c, 0, 10, 10);
    cluster_await_equal(&c, 0);
    cluster_close(&c);
}

/* A change that only the old leader had is rolled back, although the configuration before has long
 * left the log. */
static void group__uncommitted_change_lost__configuration_before_counts_again(void **unused)
{
    struct cluster c;
    struct request request;
    struct machine *old;
    struct group_member members[GROUP_MEMBERS_MAX];
    uint64_t id;

    (void)unused;
    cluster_open(&c, 11, 3);
    cluster_fill(&c, 0, 300, 50);
    cluster_start_new(&c, 4);
    cluster_run(&c, 100);
    old = await_leading(&c);
    id = old->node->id;

    cluster_isolate(&c, id, true);
    cluster_add(old, &request, 4);
    cluster_run(&c, 200);
    assert_int_equal(group_members(old->handle, members), 4);
    cluster_crash(&c, id, SIM_CRASH_KILL);
    cluster_start(&c, id);
    cluster_run(&c, 3000);
    cluster_fill(&c, 0, 10, 10);
    cluster_isolate(&c, id, false);
    cluster_machine(&c, 4, 0)->handle = NULL; /* no member: nobody tells it anything */
    cluster_await_equal(&c, 0);

    assert_int_equal(voters_of(&c, id), 3);
    assert_int_equal(group_members(cluster_group(&c, id, 0), members), 3);
    cluster_close(&c);
}

static void on_drained(void *user)
{
    *(bool *)user = true;
}

static void host_drain__leaders_move_and_nothing_is_lost(void **unused)
{
    struct cluster c;
    const struct host_options options = {.folder = "journal", .segment_bytes = 65536};
    uint64_t began_us;
    bool is_drained = false;

    (void)unused;
    cluster_open_with(&c, 12, 3, 4, &options);
    for (size_t g = 0; g < 4; g++)
        cluster_fill(&c, g, 5, 10);
    for (size_t g = 0; g < 4; g++) {
        struct request request;
        uint64_t leader = cluster_leader(&c, g);

        if (leader == 1)
            continue;
        cluster_transfer(cluster_machine(&c, leader, g), &request, 1);
        cluster_await(&c, &request);
        assert_int_equal(request.rc, OK);
    }
    began_us = sim_now_us(c.sim);

    host_drain(c.nodes[0].host, &is_drained, on_drained);
    assert_false(is_drained);
    for (int i = 0; i < 3000 && !is_drained; i++)
        cluster_run(&c, 1);

    assert_true(is_drained);
    print_message("drain: four leaderships gone after %.1f ms\n",
                  (double)(sim_now_us(c.sim) - began_us) / 1000);
    for (size_t g = 0; g < 4; g++)
        assert_int_not_equal(cluster_await_leader(&c, g), 1);
    cluster_crash(&c, 1, SIM_CRASH_KILL);
    for (size_t g = 0; g < 4; g++)
        cluster_fill(&c, g, 5, 10);
    cluster_close(&c);
}

static void host_drain__nobody_to_hand_over_to__ends_all_the_same(void **unused)
{
    struct cluster c;
    bool is_drained = false;

    (void)unused;
    cluster_open(&c, 13, 1);
    cluster_await_leader(&c, 0);

    host_drain(c.nodes[0].host, &is_drained, on_drained);
    cluster_run(&c, 3000);

    assert_true(is_drained);
    cluster_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group_transfer__to_a_follower__leads_within_milliseconds),
        cmocka_unit_test(group_transfer__under_load__every_proposal_is_answered),
        cmocka_unit_test(group_transfer__to_one_that_is_down__still_the_leader),
        cmocka_unit_test(group_transfer__on_a_follower__not_leader),
        cmocka_unit_test(group_add__new_member__catches_up_and_votes),
        cmocka_unit_test(group_add__log_begins_late__new_member_is_sent_the_state),
        cmocka_unit_test(group_add__member_that_is_one__ok_at_once),
        cmocka_unit_test(group_add__second_change_meanwhile__conflict),
        cmocka_unit_test(group__dead_member_replaced__group_survives_the_next_loss),
        cmocka_unit_test(group_remove__the_leader_itself__hands_over_then_the_next_removes_it),
        cmocka_unit_test(group__uncommitted_change_lost__configuration_before_counts_again),
        cmocka_unit_test(host_drain__leaders_move_and_nothing_is_lost),
        cmocka_unit_test(host_drain__nobody_to_hand_over_to__ends_all_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
