/* When followers hear that an entry is committed. */

#include "tests/unit/raft/raft_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define HEARTBEAT_MS 1000 /* rare, so that it cannot be what told them */

static void open_idle(struct cluster *c, uint64_t seed, size_t nodes)
{
    const struct host_options options = {.folder = "journal", .heartbeat_ms = HEARTBEAT_MS};

    cluster_open_with(c, seed, nodes, 1, &options);
    cluster_await_leader(c, 0);
    cluster_run(c, 3 * HEARTBEAT_MS);
}

static uint64_t announcements(const struct cluster *c)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < c->node_count; i++) {
        struct host_stats stats = {0};

        if (c->nodes[i].host != NULL)
            host_stats(c->nodes[i].host, &stats);
        sum += stats.announcements;
    }
    return sum;
}

static void write_one(struct cluster *c, struct request *request)
{
    cluster_propose(cluster_machine(c, cluster_await_leader(c, 0), 0), request, 10);
    cluster_await(c, request);
    assert_int_equal(request->rc, OK);
}

static void announce__one_write_on_an_idle_group__applied_everywhere_within_10_ms(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct cluster c;
        struct request request;
        uint64_t before;

        open_idle(&c, seed, 5);
        before = announcements(&c);
        write_one(&c, &request);
        cluster_run(&c, 10);

        for (uint64_t id = 1; id <= 5; id++)
            assert_int_equal(cluster_machine(&c, id, 0)->applied, request.index);
        assert_in_range(announcements(&c) - before, 1, 4); /* at most one for each follower */
        cluster_close(&c);
    }
}

static void announce__idle_group__nothing_is_sent(void **unused)
{
    struct cluster c;
    uint64_t before;

    (void)unused;
    open_idle(&c, 31, 3);
    before = announcements(&c);
    cluster_run(&c, 20 * HEARTBEAT_MS);

    assert_int_equal(announcements(&c), before);
    cluster_close(&c);
}

/* One link is slow: that follower's answers come long after the entry was committed. */
static void announce__far_follower__hears_as_soon_as_it_answered(void **unused)
{
    struct cluster c;
    struct request request;
    uint64_t leader;
    uint64_t far;

    (void)unused;
    open_idle(&c, 32, 3);
    leader = cluster_await_leader(&c, 0);
    far = leader % 3 + 1;
    sim_link_latency(c.sim, leader, far, (struct sim_range){40000, 40000});
    sim_link_latency(c.sim, far, leader, (struct sim_range){40000, 40000});
    cluster_run(&c, 3 * HEARTBEAT_MS);
    write_one(&c, &request);

    assert_true(cluster_machine(&c, far, 0)->applied < request.index);
    cluster_run(&c, 3 * 40 + 10);
    assert_int_equal(cluster_machine(&c, far, 0)->applied, request.index);
    cluster_close(&c);
}

/* Heartbeats that come while the entry is on its way to the disk are in vain. */
static void announce__slow_disk__hears_as_soon_as_it_answered(void **unused)
{
    (void)unused;
    for (uint64_t seed = 41; seed <= 50; seed++) {
        struct cluster c;
        struct request request;
        uint64_t slow;

        open_idle(&c, seed, 3);
        slow = cluster_await_leader(&c, 0) % 3 + 1;
        sim_disk_speed(c.sim, slow, (struct sim_range){1700000, 1700000});
        write_one(&c, &request);
        cluster_run(&c, 1650);
        assert_true(cluster_machine(&c, slow, 0)->applied < request.index);
        cluster_run(&c, 50 + 10);

        assert_int_equal(cluster_machine(&c, slow, 0)->applied, request.index);
        cluster_close(&c);
    }
}

/* Something is proposed in every millisecond: the next entries say what was committed before. */
static void announce__under_load__nothing_is_sent(void **unused)
{
    static struct request requests[500];
    struct cluster c;
    struct machine *leader;
    uint64_t before;

    (void)unused;
    open_idle(&c, 33, 3);
    leader = cluster_machine(&c, cluster_await_leader(&c, 0), 0);
    before = announcements(&c);
    for (size_t i = 0; i < 500; i++) {
        cluster_propose(leader, &requests[i], 10);
        cluster_run(&c, 1);
    }

    assert_int_equal(announcements(&c), before);
    cluster_run(&c, 20);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(cluster_machine(&c, id, 0)->applied, requests[499].index);
    assert_in_range(announcements(&c) - before, 1, 2);
    cluster_close(&c);
}

/* Messages get lost and members come back: what is announced to whom stays right, which the hashes
 * of the machines are compared for at every index. */
static void announce__followers_cut_off_and_restarted__all_equal(void **unused)
{
    struct cluster c;

    (void)unused;
    cluster_open(&c, 34, 3);
    for (int round = 0; round < 15; round++) {
        uint64_t victim = 1 + rng_next(sim_rng(c.sim)) % 3;

        cluster_fill(&c, 0, 5, 10);
        if (round % 3 == 0) {
            cluster_crash(&c, victim, SIM_CRASH_LOSE);
            cluster_run(&c, 3);
            cluster_start(&c, victim);
        } else {
            cluster_isolate(&c, victim, true);
            cluster_run(&c, 3000);
            cluster_isolate(&c, victim, false);
        }
    }
    cluster_fill(&c, 0, 5, 10);
    cluster_await_equal(&c, 0);

    assert_true(announcements(&c) > 0);
    cluster_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(announce__one_write_on_an_idle_group__applied_everywhere_within_10_ms),
        cmocka_unit_test(announce__idle_group__nothing_is_sent),
        cmocka_unit_test(announce__far_follower__hears_as_soon_as_it_answered),
        cmocka_unit_test(announce__slow_disk__hears_as_soon_as_it_answered),
        cmocka_unit_test(announce__under_load__nothing_is_sent),
        cmocka_unit_test(announce__followers_cut_off_and_restarted__all_equal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
