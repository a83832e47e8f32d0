/* The simulated store: order, snapshots, and which batches a power loss takes. */

#include "proto/base/check.h"
#include "proto/env/env_sim.h"
#include "proto/env/treap.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND 1000000u

struct fixture {
    struct sim *sim;
    struct env *env;
    struct kv *kv;
    struct env_disk_op op;
    int called;
    enum error rc;
};

static void on_done(struct env_disk_op *op, enum error rc)
{
    struct fixture *f = container_of(op, struct fixture, op);

    f->called++;
    f->rc = rc;
}

static void fixture_open(struct fixture *f, uint64_t seed)
{
    struct sim_options options = sim_options_default(seed);

    *f = (struct fixture){.sim = sim_new(&options)};
    f->env = sim_process_start(f->sim, 1);
    assert_int_equal(f->env->kv->open(f->env, "state", &f->kv), OK);
}

static void fixture_close(struct fixture *f)
{
    sim_free(f->sim);
}

static void restart(struct fixture *f, unsigned how)
{
    sim_crash(f->sim, 1, how);
    f->env->kv->close(f->env, f->kv);
    f->env = sim_process_start(f->sim, 1);
    assert_int_equal(f->env->kv->open(f->env, "state", &f->kv), OK);
}

static void put_number(struct fixture *f, int number)
{
    char key[16];
    struct kv_write writes[2];

    (void)snprintf(key, sizeof(key), "%04d", number);
    writes[0] = (struct kv_write){.key = slice_text(key), .value = SLICE_LITERAL("v")};
    writes[1] = (struct kv_write){.key = SLICE_LITERAL("last"), .value = slice_text(key)};
    assert_int_equal(f->env->kv->write(f->env, f->kv, writes, 2), OK);
}

/* Batches 0 .. count-1 are there and no others; returns count. */
static int count_prefix(struct fixture *f)
{
    struct buffer value = BUFFER_INIT(100);
    int count = 0;
    char key[16];

    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof(key), "%04d", i);
        if (f->env->kv->get(f->env, f->kv, NULL, slice_text(key), &value) != OK)
            continue;
        assert_int_equal(count, i);
        count++;
        buffer_clear(&value);
    }
    if (count > 0) {
        (void)snprintf(key, sizeof(key), "%04d", count - 1);
        assert_int_equal(f->env->kv->get(f->env, f->kv, NULL, SLICE_LITERAL("last"), &value), OK);
        assert_string_equal(buffer_text(&value), key);
    }
    buffer_close(&value);
    return count;
}

static void power_loss__some_batches_not_durable__a_suffix_is_lost(void **state)
{
    bool is_seen_between = false;

    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct fixture f;
        int count;

        fixture_open(&f, seed);
        for (int i = 0; i < 40; i++)
            put_number(&f, i);
        f.env->kv->make_durable(f.env, f.kv, &f.op, on_done);
        for (int i = 40; i < 60; i++)
            put_number(&f, i);
        assert_int_equal(f.called, 0);
        sim_run_until(f.sim, SECOND);
        assert_int_equal(f.called, 1);
        assert_int_equal(f.rc, OK);
        for (int i = 60; i < 80; i++)
            put_number(&f, i);

        restart(&f, SIM_CRASH_TEAR);
        count = count_prefix(&f);
        assert_in_range(count, 40, 80);
        is_seen_between |= count > 40 && count < 80;
        fixture_close(&f);
    }
    assert_true(is_seen_between);
}

static void power_loss__nothing_survives_that_was_not_durable(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 1);
    put_number(&f, 0);
    f.env->kv->make_durable(f.env, f.kv, &f.op, on_done);
    sim_run_until(f.sim, SECOND);
    put_number(&f, 1);
    restart(&f, SIM_CRASH_KILL);
    assert_int_equal(count_prefix(&f), 2);
    restart(&f, SIM_CRASH_LOSE);
    assert_int_equal(count_prefix(&f), 1);
    fixture_close(&f);
}

static void make_durable__io_error__is_told(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 1);
    put_number(&f, 0);
    sim_disk_fail_call(f.sim, 1, 1);
    f.env->kv->make_durable(f.env, f.kv, &f.op, on_done);
    sim_run_until(f.sim, SECOND);
    assert_int_equal(f.rc, ERR_IO);
    fixture_close(&f);
}

static void many_batches__never_made_durable__memory_stays_bounded(void **state)
{
    struct fixture f;
    struct buffer value = BUFFER_INIT(100);

    (void)state;
    fixture_open(&f, 1);
    for (int i = 0; i < 20000; i++)
        put_number(&f, i % 900);
    restart(&f, SIM_CRASH_LOSE); /* the oldest batches are on disk by now */
    assert_int_equal(f.env->kv->get(f.env, f.kv, NULL, SLICE_LITERAL("0899"), &value), OK);
    buffer_close(&value);
    fixture_close(&f);
}

static void snapshot__writes_go_on__sees_the_old_state(void **state)
{
    struct fixture f;
    struct buffer value = BUFFER_INIT(100);
    struct kv_snapshot *snapshot;
    struct kv_cursor *cursor;
    struct kv_write deletion = {.key = SLICE_LITERAL("0001"), .is_delete = true};
    const struct env_kv *kv;

    (void)state;
    fixture_open(&f, 1);
    kv = f.env->kv;
    for (int i = 0; i < 3; i++)
        put_number(&f, i);
    snapshot = kv->snapshot(f.env, f.kv);
    cursor = kv->cursor(f.env, f.kv, NULL);
    assert_int_equal(kv->write(f.env, f.kv, &deletion, 1), OK);
    put_number(&f, 3);

    assert_int_equal(kv->get(f.env, f.kv, NULL, SLICE_LITERAL("0001"), &value), ERR_NOT_FOUND);
    assert_int_equal(kv->get(f.env, f.kv, snapshot, SLICE_LITERAL("0001"), &value), OK);
    assert_int_equal(kv->get(f.env, f.kv, snapshot, SLICE_LITERAL("0003"), &value), ERR_NOT_FOUND);

    assert_false(kv->cursor_valid(cursor));
    kv->cursor_seek(cursor, SLICE_LITERAL("00005"));
    assert_true(slice_equal_text(kv->cursor_key(cursor), "0001"));
    kv->cursor_next(cursor);
    assert_true(slice_equal_text(kv->cursor_key(cursor), "0002"));
    assert_true(slice_equal_text(kv->cursor_value(cursor), "v"));
    kv->cursor_next(cursor);
    assert_true(slice_equal_text(kv->cursor_key(cursor), "last"));
    kv->cursor_next(cursor);
    assert_false(kv->cursor_valid(cursor));
    kv->cursor_seek_last(cursor, SLICE_LITERAL("00015"));
    assert_true(slice_equal_text(kv->cursor_key(cursor), "0001"));
    kv->cursor_previous(cursor);
    assert_true(slice_equal_text(kv->cursor_key(cursor), "0000"));
    kv->cursor_previous(cursor);
    assert_false(kv->cursor_valid(cursor));
    assert_int_equal(kv->cursor_error(cursor), OK);

    kv->cursor_close(cursor);
    kv->snapshot_release(f.env, f.kv, snapshot);
    kv->close(f.env, f.kv);
    buffer_close(&value);
    fixture_close(&f);
}

static void store__renamed_removed_spoiled__as_a_folder(void **state)
{
    struct fixture f;
    struct kv *other;

    (void)state;
    fixture_open(&f, 1);
    put_number(&f, 0);
    f.env->kv->close(f.env, f.kv);
    assert_int_equal(f.env->disk->rename(f.env, "state", "state.old"), OK);
    assert_int_equal(f.env->kv->open(f.env, "state.old", &f.kv), OK);
    assert_int_equal(count_prefix(&f), 1);
    f.env->kv->close(f.env, f.kv);
    assert_int_equal(sim_disk_spoil_store(f.sim, 1, "state.old"), OK);
    assert_int_equal(f.env->kv->open(f.env, "state.old", &other), ERR_CORRUPT);
    assert_int_equal(f.env->disk->remove(f.env, "state.old"), OK);
    assert_int_equal(f.env->kv->open(f.env, "state.old", &f.kv), OK);
    assert_int_equal(count_prefix(&f), 0);
    fixture_close(&f);
}

static void handles__left_open_at_a_crash__freed_with_the_world(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 1);
    put_number(&f, 0);
    (void)f.env->kv->snapshot(f.env, f.kv);
    (void)f.env->kv->cursor(f.env, f.kv, NULL);
    f.env->kv->make_durable(f.env, f.kv, &f.op, on_done);
    sim_crash(f.sim, 1, SIM_CRASH_TEAR);
    assert_int_equal(f.called, 0);
    fixture_close(&f);
}

/* Against a plain array, with old versions checked again at the end. */
static void treap__random_changes__as_an_array_would(void **state)
{
    enum { KEYS = 200, VERSIONS = 40 };
    static uint8_t model[VERSIONS][KEYS];
    struct treap *roots[VERSIONS] = {NULL};
    struct rng rng;

    (void)state;
    rng_init(&rng, 7);
    for (size_t version = 1; version < VERSIONS; version++) {
        struct treap *root = treap_retain(roots[version - 1]);

        memcpy(model[version], model[version - 1], KEYS);
        for (int i = 0; i < 50; i++) {
            uint8_t key = (uint8_t)rng_below(&rng, KEYS);
            uint8_t value = (uint8_t)rng_below(&rng, 3);
            struct treap *next = value == 0
                                     ? treap_remove(root, slice_of(&key, 1))
                                     : treap_set(root, slice_of(&key, 1), slice_of(&value, 1));

            treap_release(root);
            root = next;
            model[version][key] = value;
        }
        roots[version] = root;
    }
    for (size_t version = 0; version < VERSIONS; version++) {
        const struct treap *entry = treap_at_least(roots[version], slice_of(NULL, 0));

        for (uint8_t key = 0; key < KEYS; key++) {
            if (model[version][key] == 0)
                continue;
            assert_non_null(entry);
            assert_int_equal(treap_key(entry).data[0], key);
            assert_int_equal(treap_value(entry).data[0], model[version][key]);
            entry = treap_above(roots[version], treap_key(entry));
        }
        assert_null(entry);
        treap_release(roots[version]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_loss__some_batches_not_durable__a_suffix_is_lost),
        cmocka_unit_test(power_loss__nothing_survives_that_was_not_durable),
        cmocka_unit_test(make_durable__io_error__is_told),
        cmocka_unit_test(many_batches__never_made_durable__memory_stays_bounded),
        cmocka_unit_test(snapshot__writes_go_on__sees_the_old_state),
        cmocka_unit_test(store__renamed_removed_spoiled__as_a_folder),
        cmocka_unit_test(handles__left_open_at_a_crash__freed_with_the_world),
        cmocka_unit_test(treap__random_changes__as_an_array_would),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
