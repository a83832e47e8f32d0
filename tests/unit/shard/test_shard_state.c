/* A replica's state on a simulated disk: batches, retries, crashes, snapshots. */

#include "node/shard/shard_message.h"
#include "node/shard/shard_snapshot.h"
#include "node/shard/shard_state.h"
#include "proto/env/env_sim.h"
#include "tests/unit/shard/toy_engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define PATH "shards/0001"
#define REPLIES_MAX 16

struct fixture {
    struct sim *sim;
    struct env *env;
    struct shard_state state;
    uint64_t index; /* last entry given */
    char replies[REPLIES_MAX][32];
    enum error rcs[REPLIES_MAX];
    size_t reply_sizes[REPLIES_MAX];
    size_t reply_count;
};

static void fixture_start(struct fixture *f)
{
    f->env = sim_process_start(f->sim, 1);
    assert_int_equal(f->env->disk->make_folder(f->env, "shards"), OK);
    assert_int_equal(shard_state_open(&f->state, f->env, PATH, toy_engines), OK);
}

static void fixture_open(struct fixture *f)
{
    struct sim_options options = sim_options_default(1);

    *f = (struct fixture){0};
    f->sim = sim_new(&options);
    fixture_start(f);
}

static void fixture_crash(struct fixture *f, unsigned how)
{
    sim_crash(f->sim, 1, how);
    shard_state_close(&f->state);
}

static void fixture_close(struct fixture *f)
{
    fixture_crash(f, SIM_CRASH_KILL);
    sim_free(f->sim);
}

static void on_reply(void *user, uint64_t session, uint64_t sequence, enum error rc,
                     struct slice reply)
{
    struct fixture *f = user;

    (void)session;
    (void)sequence;
    assert_true(f->reply_count < REPLIES_MAX);
    f->rcs[f->reply_count] = rc;
    f->reply_sizes[f->reply_count] = reply.size;
    (void)snprintf(f->replies[f->reply_count++], sizeof(f->replies[0]), "%.*s",
                   (int)(reply.size < 31 ? reply.size : 31), (const char *)reply.data);
}

struct given {
    uint64_t sequence;
    uint64_t settled;
    const char *body;
};

static void make_entry(struct buffer *entry, uint64_t wall_ms, const struct given *given,
                       size_t count)
{
    shard_message_entry_begin(entry, wall_ms, 42);
    for (size_t i = 0; i < count; i++) {
        const struct shard_message_command command = {.session = 77,
                                                      .sequence = given[i].sequence,
                                                      .settled = given[i].settled,
                                                      .engine = SHARD_ENGINE_TABLE,
                                                      .body = slice_text(given[i].body)};

        shard_message_entry_add(entry, &command);
    }
    shard_message_entry_end(entry, (uint32_t)count);
}

static void apply_at(struct fixture *f, uint64_t wall_ms, const struct given *given, size_t count)
{
    struct buffer entry = BUFFER_INIT(100000);

    make_entry(&entry, wall_ms, given, count);
    f->reply_count = 0;
    assert_int_equal(shard_state_apply(&f->state, ++f->index, buffer_slice(&entry), f, on_reply),
                     OK);
    buffer_close(&entry);
}

#define APPLY(f, ...)                                                                              \
    apply_at(f, 1000, (const struct given[]){__VA_ARGS__},                                         \
             sizeof((const struct given[]){__VA_ARGS__}) / sizeof(struct given))

static unsigned read_value(struct fixture *f, const char *name)
{
    struct buffer reply = BUFFER_INIT(100);
    unsigned value = 0;

    assert_int_equal(shard_state_read(&f->state, SHARD_ENGINE_TABLE, slice_text(name), &reply), OK);
    assert_int_equal(sscanf(buffer_text(&reply), "%u", &value), 1);
    buffer_close(&reply);
    return value;
}

static void apply__commands_of_one_entry__see_each_other(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);

    APPLY(&f, {1, 1, "+a"}, {2, 1, "+a"}, {3, 1, "#"}, {4, 1, "+a"}, {5, 1, "#"});

    assert_string_equal(f.replies[0], "1");
    assert_string_equal(f.replies[1], "2");
    assert_string_equal(f.replies[2], "1"); /* the cursor saw "a" */
    assert_string_equal(f.replies[3], "3");
    assert_string_equal(f.replies[4], "2"); /* "a" and "#" */
    assert_int_equal(f.state.applied, 1);
    fixture_close(&f);
}

static void apply__the_same_command_again__answers_alike_and_changes_nothing(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    APPLY(&f, {1, 1, "+a"}, {2, 1, "Lb"});
    APPLY(&f, {1, 1, "+a"}, {2, 1, "Lb"}, {2, 1, "Lb"});

    assert_string_equal(f.replies[0], "1");
    assert_int_equal(f.rcs[1], OK);
    assert_int_equal(f.reply_sizes[1], 1000);
    assert_int_equal(f.reply_sizes[2], 1000);
    assert_int_equal(read_value(&f, "a"), 1);
    assert_int_equal(read_value(&f, "b"), 1);

    shard_state_flush(&f.state);
    fixture_crash(&f, SIM_CRASH_KILL); /* what was answered survives a restart */
    fixture_start(&f);
    APPLY(&f, {1, 1, "+a"}, {2, 1, "Lb"});
    assert_string_equal(f.replies[0], "1");
    assert_int_equal(f.reply_sizes[1], 1000);
    assert_int_equal(read_value(&f, "b"), 1);
    fixture_close(&f);
}

static void apply__a_command_from_before_the_window__is_refused(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    APPLY(&f, {1, 1, "+a"}, {2, 2, "+a"});

    APPLY(&f, {1, 1, "+a"});

    assert_int_equal(f.rcs[0], ERR_CANCELLED);
    assert_int_equal(read_value(&f, "a"), 2);
    fixture_close(&f);
}

static void apply__session_unused_for_long__is_forgotten(void **state)
{
    const struct given late = {9, 9, "+a"};
    struct fixture f;

    (void)state;
    fixture_open(&f);
    apply_at(&f, 1000000, (const struct given[]){{1, 1, "+a"}}, 1);
    assert_int_equal(f.state.replies.sessions.count, 1);

    for (uint64_t i = 1; i <= SHARD_REPLY_SESSION_SWEEPS + 1; i++)
        apply_at(&f, 1000000 + i * SHARD_REPLY_SWEEP_MS, &late, 1);

    assert_int_equal(f.state.replies.sessions.count, 1); /* itself, made anew */
    assert_string_equal(f.replies[0], "2");
    fixture_close(&f);
}

static void apply__leader_with_a_clock_far_ahead__retry_takes_effect_once(void **state)
{
    const struct given add = {1, 1, "+a"};
    struct fixture f;

    (void)state;
    fixture_open(&f);
    apply_at(&f, 1000000, &add, 1);

    apply_at(&f, 1000000 + 3600000, &add, 1);

    assert_string_equal(f.replies[0], "1");
    assert_int_equal(read_value(&f, "a"), 1);
    fixture_close(&f);
}

static void apply__malformed_entry__changes_nothing_but_the_index(void **state)
{
    struct fixture f;
    struct slice bad = SLICE_LITERAL("\1garbage");

    (void)state;
    fixture_open(&f);
    APPLY(&f, {1, 1, "+a"});
    f.reply_count = 0;

    assert_int_equal(shard_state_apply(&f.state, ++f.index, bad, &f, on_reply), OK);

    assert_int_equal(f.reply_count, 0);
    assert_int_equal(f.state.applied, 2);
    assert_int_equal(read_value(&f, "a"), 1);
    fixture_close(&f);
}

/* Whatever suffix a power loss takes, replaying the log from `applied` gives the same state and
 * hash. */
static void crash__power_loss_at_any_entry__replay_gives_the_same_state(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct sim_options options = sim_options_default(seed);
        struct fixture f = {0};
        uint64_t hashes[21] = {0};

        f.sim = sim_new(&options);
        fixture_start(&f);
        for (uint64_t i = 1; i <= 20; i++) {
            APPLY(&f, {i * 3, i * 3, "+a"}, {i * 3 + 1, i * 3, "#"}, {i * 3 + 2, i * 3, "+b"});
            hashes[i] = f.state.hash;
            if (i % (seed % 7 + 1) == 0)
                shard_state_flush(&f.state);
        }
        fixture_crash(&f, SIM_CRASH_LOSE);
        fixture_start(&f);
        assert_true(f.state.applied <= 20);
        for (f.index = f.state.applied; f.index < 20;) {
            uint64_t i = f.index + 1;

            APPLY(&f, {i * 3, i * 3, "+a"}, {i * 3 + 1, i * 3, "#"}, {i * 3 + 2, i * 3, "+b"});
            assert_int_equal(f.state.hash, hashes[i]);
        }
        assert_int_equal(read_value(&f, "a"), 20);
        assert_int_equal(read_value(&f, "b"), 20);
        assert_int_equal(read_value(&f, "#"), 20);
        fixture_close(&f);
    }
}

static void crash__killed_before_the_hand_over__goes_on_from_the_last_one(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    APPLY(&f, {1, 1, "+a"});
    shard_state_flush(&f.state);
    APPLY(&f, {2, 1, "+a"}, {3, 1, "Lb"});
    uint64_t hash = f.state.hash;

    fixture_crash(&f, SIM_CRASH_KILL);
    fixture_start(&f);

    assert_int_equal(f.state.applied, 1);
    assert_int_equal(read_value(&f, "a"), 1);
    f.index = 1;
    APPLY(&f, {2, 1, "+a"}, {3, 1, "Lb"});
    assert_string_equal(f.replies[0], "2");
    assert_int_equal(f.state.hash, hash);
    fixture_close(&f);
}

/* Two replicas that hand over at different moments. */
static void hash__handed_over_at_other_moments__is_the_same(void **state)
{
    struct fixture f;
    struct fixture g;

    (void)state;
    fixture_open(&f);
    fixture_open(&g);
    for (uint64_t i = 1; i <= 9; i++) {
        APPLY(&f, {i * 3, i, "+a"}, {i * 3 + 1, i, "#"}, {i * 3 + 2, i, "Lb"});
        shard_state_flush(&f.state);
        APPLY(&g, {i * 3, i, "+a"}, {i * 3 + 1, i, "#"}, {i * 3 + 2, i, "Lb"});
        assert_int_equal(f.state.hash, g.state.hash);
    }
    APPLY(&f, {90, 30, "+a"});
    APPLY(&g, {90, 30, "+c"});
    assert_int_not_equal(f.state.hash, g.state.hash);
    fixture_close(&f);
    fixture_close(&g);
}

/* Enough is gathered to be handed over without being asked. */
static void apply__much_gathered__hands_it_over(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    for (uint64_t i = 1; i <= 100; i++)
        APPLY(&f, {i, 1, "Lb"});
    fixture_crash(&f, SIM_CRASH_KILL);
    fixture_start(&f);

    assert_true(f.state.applied > 50 && f.state.applied < 100);
    assert_int_equal(read_value(&f, "b"), f.state.applied);
    fixture_close(&f);
}

static void open__a_mark_is_missing__starts_empty(void **state)
{
    static const uint8_t mark[] = {'i', 'm', 0, 0, 0, 2};
    const struct kv_write hole = {.key = {mark, sizeof(mark)}, .is_delete = true};
    struct fixture f;

    (void)state;
    fixture_open(&f);
    for (uint64_t i = 1; i <= 4; i++) {
        APPLY(&f, {i, i, "+a"});
        shard_state_flush(&f.state);
    }
    fixture_crash(&f, SIM_CRASH_KILL);
    fixture_start(&f);
    assert_int_equal(f.state.applied, 4);
    assert_int_equal(f.env->kv->write(f.env, f.state.kv, &hole, 1), OK);
    fixture_crash(&f, SIM_CRASH_KILL);

    fixture_start(&f);

    assert_int_equal(f.state.applied, 0);
    assert_int_equal(read_value(&f, "a"), 0);
    fixture_close(&f);
}

/* A barrier or a configuration takes an index, too, and is never applied. */
static void open__indexes_have_gaps__keeps_its_state(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    f.index = 5;
    APPLY(&f, {1, 1, "+a"});
    shard_state_flush(&f.state);
    f.index = 900;
    APPLY(&f, {2, 2, "+a"});
    shard_state_flush(&f.state);
    fixture_crash(&f, SIM_CRASH_KILL);

    fixture_start(&f);

    assert_int_equal(f.state.applied, 901);
    assert_int_equal(read_value(&f, "a"), 2);
    fixture_close(&f);
}

static void open__the_store_is_damaged__starts_empty(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    APPLY(&f, {1, 1, "+a"});
    shard_state_flush(&f.state);
    fixture_crash(&f, SIM_CRASH_KILL);
    assert_int_equal(sim_disk_spoil_store(f.sim, 1, PATH), OK);

    fixture_start(&f);

    assert_int_equal(f.state.applied, 0);
    fixture_close(&f);
}

static void snapshot__streamed_in_small_chunks__is_the_same_state(void **state)
{
    struct fixture from;
    struct fixture to;
    struct shard_staging staging = {0};
    struct buffer position = BUFFER_INIT(1000);
    struct buffer chunk = BUFFER_INIT(100000);
    bool is_last = false;

    (void)state;
    fixture_open(&from);
    fixture_open(&to);
    for (uint64_t i = 1; i <= 30; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "+n%u", (unsigned)i);
        APPLY(&from, {i, 1, name});
    }
    APPLY(&to, {1, 1, "+old"});
    struct shard_snapshot_pin *pin = shard_snapshot_pin(&from.state);

    APPLY(&from, {99, 1, "+later"}); /* not part of what was pinned */
    assert_int_equal(shard_staging_begin(&staging, &to.state), OK);
    while (!is_last) {
        buffer_clear(&chunk);
        assert_int_equal(shard_snapshot_read(pin, &position, 64, &chunk, &is_last), OK);
        assert_int_equal(shard_staging_chunk(&staging, buffer_slice(&chunk)), OK);
    }
    shard_snapshot_unpin(pin);
    assert_int_equal(shard_staging_install(&staging, &to.state, 30), OK);

    to.index = 30;
    assert_int_equal(to.state.applied, 30);
    assert_int_equal(read_value(&to, "n30"), 1);
    assert_int_equal(read_value(&to, "old"), 0);
    assert_int_equal(read_value(&to, "later"), 0);
    APPLY(&to, {99, 1, "+later"});
    assert_int_equal(to.state.hash, from.state.hash);
    APPLY(&to, {5, 1, "+n5"}); /* the remembered replies came along */
    assert_int_equal(read_value(&to, "n5"), 1);
    buffer_close(&position);
    buffer_close(&chunk);
    fixture_close(&from);
    fixture_close(&to);
}

/* A snapshot of 30 commands, whole and staged over a durable state of one; returns the staging. */
static struct shard_staging stage_over_old_state(struct fixture *from, struct fixture *to)
{
    struct shard_staging staging = {0};
    struct buffer position = BUFFER_INIT(1000);
    struct buffer chunk = BUFFER_INIT(100000);
    struct shard_snapshot_pin *pin;
    bool is_last = false;

    for (uint64_t i = 1; i <= 30; i++)
        APPLY(from, {i, 1, "+new"});
    APPLY(to, {1, 1, "+old"});
    shard_state_flush(&to->state);
    assert_int_equal(to->env->kv->sync(to->env, to->state.kv), OK);
    pin = shard_snapshot_pin(&from->state);
    assert_int_equal(shard_staging_begin(&staging, &to->state), OK);
    assert_int_equal(shard_snapshot_read(pin, &position, 100000, &chunk, &is_last), OK);
    assert_true(is_last);
    assert_int_equal(shard_staging_chunk(&staging, buffer_slice(&chunk)), OK);
    shard_snapshot_unpin(pin);
    buffer_close(&position);
    buffer_close(&chunk);
    return staging;
}

/* Fail every disk call in turn, then lose power: one of the two states is there, whole. */
static void install__stopped_anywhere_and_power_lost__old_or_new_state(void **state)
{
    uint64_t call = 1;
    bool met_fault = true;

    (void)state;
    for (; met_fault; call++) {
        struct fixture from;
        struct fixture to;
        struct shard_staging staging;
        enum error rc;

        fixture_open(&from);
        fixture_open(&to);
        staging = stage_over_old_state(&from, &to);
        sim_disk_fail_call(to.sim, 1, call);
        rc = shard_staging_install(&staging, &to.state, 30);
        met_fault = sim_disk_fault_met(to.sim, 1);
        if (!met_fault)
            assert_int_equal(rc, OK);

        sim_crash(to.sim, 1, SIM_CRASH_LOSE);
        shard_staging_close(&staging);
        shard_state_close(&to.state);
        fixture_start(&to);
        if (to.state.applied == 30) {
            assert_int_equal(read_value(&to, "new"), 30);
        } else {
            assert_true(met_fault);
            assert_int_equal(to.state.applied, 1);
            assert_int_equal(read_value(&to, "old"), 1);
        }
        fixture_close(&from);
        fixture_close(&to);
    }
    assert_true(call > 6); /* stamp, sync, remove, two renames, remove, open */
}

static void staging__malformed_chunk__is_refused(void **state)
{
    struct fixture f;
    struct shard_staging staging = {0};

    (void)state;
    fixture_open(&f);
    assert_int_equal(shard_staging_begin(&staging, &f.state), OK);

    assert_int_equal(shard_staging_chunk(&staging, SLICE_LITERAL("\5\0\0\0\1\0\0\0ab")),
                     ERR_INVALID);
    assert_int_equal(shard_staging_chunk(&staging, SLICE_LITERAL("\2\0\0\0\1\0\0\0iax")),
                     ERR_INVALID); /* a replica's own record */
    assert_int_equal(shard_staging_install(&staging, &f.state, 1), ERR_INVALID); /* no hash */
    shard_staging_close(&staging);
    fixture_close(&f);
}

static void changed__a_key_is_put__tells_no_earlier_entry(void **state)
{
    struct fixture f;
    struct slice a = SLICE_LITERAL("a");
    struct slice b = SLICE_LITERAL("b");

    (void)state;
    fixture_open(&f);
    APPLY(&f, {1, 1, "+a"});
    APPLY(&f, {2, 2, "+b"});
    assert_int_equal(read_value(&f, "a"), 1); /* the engine's turn */
    assert_int_equal(shard_changed(&f.state, a), 1);
    assert_int_equal(shard_changed(&f.state, b), 2);

    shard_state_flush(&f.state);
    fixture_crash(&f, SIM_CRASH_KILL); /* what is not known any more is told as late as may be */
    fixture_start(&f);
    assert_int_equal(read_value(&f, "a"), 1);
    assert_int_equal(shard_changed(&f.state, a), 2);
    APPLY(&f, {3, 3, "+b"});
    assert_int_equal(shard_changed(&f.state, a), 2);
    assert_int_equal(shard_changed(&f.state, b), 3);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changed__a_key_is_put__tells_no_earlier_entry),
        cmocka_unit_test(apply__commands_of_one_entry__see_each_other),
        cmocka_unit_test(apply__the_same_command_again__answers_alike_and_changes_nothing),
        cmocka_unit_test(apply__a_command_from_before_the_window__is_refused),
        cmocka_unit_test(apply__session_unused_for_long__is_forgotten),
        cmocka_unit_test(apply__leader_with_a_clock_far_ahead__retry_takes_effect_once),
        cmocka_unit_test(apply__malformed_entry__changes_nothing_but_the_index),
        cmocka_unit_test(crash__power_loss_at_any_entry__replay_gives_the_same_state),
        cmocka_unit_test(crash__killed_before_the_hand_over__goes_on_from_the_last_one),
        cmocka_unit_test(hash__handed_over_at_other_moments__is_the_same),
        cmocka_unit_test(apply__much_gathered__hands_it_over),
        cmocka_unit_test(open__a_mark_is_missing__starts_empty),
        cmocka_unit_test(open__indexes_have_gaps__keeps_its_state),
        cmocka_unit_test(open__the_store_is_damaged__starts_empty),
        cmocka_unit_test(snapshot__streamed_in_small_chunks__is_the_same_state),
        cmocka_unit_test(install__stopped_anywhere_and_power_lost__old_or_new_state),
        cmocka_unit_test(staging__malformed_chunk__is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
