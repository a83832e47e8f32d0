#include "chaos/run/leader_watch.h"
#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct fixture {
    struct cluster cluster;
    struct cluster_process nodes[3];
    struct leader_watch *watch;
    struct buffer trace; /* "0=node-1 " */
};

static void on_change(void *user, unsigned shard, const char *leader)
{
    struct fixture *f = user;

    buffer_putf(&f->trace, "%u=%s ", shard, leader != NULL ? leader : "-");
}

static void fixture_open(struct fixture *f)
{
    *f = (struct fixture){.nodes = {{.id = 1, .name = "node-1"},
                                    {.id = 2, .name = "node-2"},
                                    {.id = 3, .name = "node-3"}},
                          .trace = BUFFER_INIT(1000)};
    f->cluster.file.nodes = f->nodes;
    f->cluster.file.node_count = 3;
    f->cluster.file.shards = 1;
    f->watch = leader_watch_new(NULL, &f->cluster, f, on_change);
}

static void fixture_close(struct fixture *f)
{
    leader_watch_free(f->watch);
    buffer_close(&f->trace);
}

static void say(struct fixture *f, size_t node, const char *role, unsigned term, unsigned applied,
                const char *hash)
{
    AUTO(buffer) json = BUFFER_INIT(1000);

    buffer_putf(&json,
                "{\"shards\":[{\"shard\":0,\"role\":\"%s\",\"term\":%u,\"applied\":%u,"
                "\"hash\":\"%s\"}]}",
                role, term, applied, hash);
    leader_watch_take(f->watch, node, buffer_slice(&json));
}

static void leader_watch__failover__told_and_counted(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    say(&f, 0, "leader", 4, 10, "aa");
    say(&f, 1, "follower", 4, 10, "aa");
    leader_watch_take(f.watch, 0, slice_of(NULL, 0)); /* it does not answer */
    say(&f, 1, "leader", 5, 11, "bb");

    assert_string_equal(buffer_text(&f.trace), "0=node-1 0=- 0=node-2 ");
    assert_int_equal(leader_watch_counts(f.watch)->changes, 1);
    assert_int_equal(leader_watch_counts(f.watch)->terms, 1);
    assert_int_equal(leader_watch_counts(f.watch)->two_leaders, 0);
    assert_int_equal(leader_watch_counts(f.watch)->unequal_states, 0);
    fixture_close(&f);
}

static void leader_watch__old_leader_still_believes__no_second_in_one_term(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    say(&f, 0, "leader", 4, 10, "aa");
    say(&f, 1, "leader", 5, 11, "bb");
    say(&f, 0, "leader", 4, 10, "aa"); /* cut off: it has not heard of term 5 */

    assert_string_equal(buffer_text(&f.trace), "0=node-1 0=node-2 ");
    assert_int_equal(leader_watch_counts(f.watch)->two_leaders, 0);
    fixture_close(&f);
}

static void leader_watch__two_leaders_in_one_term__counted(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    say(&f, 0, "leader", 5, 10, "aa");
    say(&f, 1, "leader", 5, 10, "aa");

    assert_int_equal(leader_watch_counts(f.watch)->two_leaders, 1);
    fixture_close(&f);
}

static void leader_watch__term_goes_back__counted_unless_the_disk_was_taken(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    say(&f, 2, "follower", 7, 10, "aa");
    say(&f, 2, "follower", 6, 10, "aa");
    assert_int_equal(leader_watch_counts(f.watch)->terms_back, 1);
    leader_watch_forget(f.watch, "node-3");
    say(&f, 2, "follower", 1, 0, "00");

    assert_int_equal(leader_watch_counts(f.watch)->terms_back, 1);
    fixture_close(&f);
}

static void leader_watch__other_state_at_the_same_index__counted(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    say(&f, 0, "leader", 1, 10, "aa");
    say(&f, 0, "leader", 1, 12, "cc");
    say(&f, 1, "follower", 1, 10, "ab"); /* seen at another time, at the same index */

    assert_int_equal(leader_watch_counts(f.watch)->unequal_states, 1);
    fixture_close(&f);
}

static void leader_watch__nonsense__ignored(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    leader_watch_take(f.watch, 0,
                      SLICE_LITERAL("{\"shards\":[{\"shard\":99,\"role\":\"leader\"},"
                                    "{\"shard\":-1,\"role\":\"leader\"},3,{}]}"));
    leader_watch_take(f.watch, 0, SLICE_LITERAL("not JSON"));

    assert_string_equal(buffer_text(&f.trace), "");
    assert_int_equal(leader_watch_counts(f.watch)->looks, 1);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leader_watch__failover__told_and_counted),
        cmocka_unit_test(leader_watch__old_leader_still_believes__no_second_in_one_term),
        cmocka_unit_test(leader_watch__two_leaders_in_one_term__counted),
        cmocka_unit_test(leader_watch__term_goes_back__counted_unless_the_disk_was_taken),
        cmocka_unit_test(leader_watch__other_state_at_the_same_index__counted),
        cmocka_unit_test(leader_watch__nonsense__ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
