#include "tests/lib/loop_fixture.h"

#include "proto/base/check.h"
#include "proto/base/rng.h"
#include "proto/store/kv_leveldb.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

/* ---- helpers ---- */

struct operation {
    struct env_disk_op op;
    enum error rc;
    bool is_done;
};

static void on_operation_done(struct env_disk_op *op, enum error rc)
{
    struct operation *operation = container_of(op, struct operation, op);

    operation->rc = rc;
    operation->is_done = true;
}

static struct kv *open_kv(struct env *env)
{
    struct kv *kv;

    assert_int_equal(env->kv->open(env, "shards/7", &kv), OK);
    return kv;
}

static void put(struct env *env, struct kv *kv, const char *key, const char *value)
{
    struct kv_write write = {slice_text(key), slice_text(value), value == NULL};

    assert_int_equal(env->kv->write(env, kv, &write, 1), OK);
}

static void assert_value(struct env *env, struct kv *kv, const struct kv_snapshot *snapshot,
                         const char *key, const char *value)
{
    AUTO(buffer) found = BUFFER_INIT(1024);
    enum error rc = env->kv->get(env, kv, snapshot, slice_text(key), &found);

    assert_int_equal(rc, value == NULL ? ERR_NOT_FOUND : OK);
    if (value != NULL)
        assert_string_equal(buffer_text(&found), value);
}

static void make_durable(struct fixture *f, struct env *env, struct kv *kv)
{
    struct operation operation = {0};

    env->kv->make_durable(env, kv, &operation.op, on_operation_done);
    assert_false(operation.is_done);
    fixture_until(f, fixture_is_set, &operation.is_done);
    assert_int_equal(operation.rc, OK);
}

/* As after a power cut: another boot of the machine. */
static struct env *reboot(struct fixture *f, struct env *env)
{
    env_uv_close(env);
    env = fixture_env(f, 1);
    kv_leveldb_set_boot_id(env, "another");
    return env;
}

static void count_table(void *user, const char *name)
{
    const char *dot = strrchr(name, '.');

    if (dot != NULL && strcmp(dot, ".ldb") == 0)
        (void)snprintf(user, 64, "%s", name);
}

/* The path of one table of the store. */
static void find_table(struct fixture *f, struct env *env, char path[256])
{
    char name[64] = "";

    assert_int_equal(env->disk->list(env, "shards/7", name, count_table), OK);
    assert_string_not_equal(name, "");
    (void)snprintf(path, 256, "%s/1/shards/7/%s", f->folder, name);
}

static void flip_byte(const char *path, off_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    assert_int_equal(close(fd), 0);
}

/* ---- reading and writing ---- */

static void kv_leveldb_write__a_batch__all_of_it_visible_at_once(void **state)
{
    struct fixture f;
    const struct kv_write writes[] = {{SLICE_LITERAL("a"), SLICE_LITERAL("1"), false},
                                      {SLICE_LITERAL("b"), SLICE_LITERAL(""), false},
                                      {SLICE_LITERAL("a"), SLICE_LITERAL("2"), false},
                                      {SLICE_LITERAL("c"), SLICE_LITERAL("3"), false},
                                      {SLICE_LITERAL("c"), SLICE_LITERAL(""), true}};

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);
    struct kv *kv = open_kv(env);

    assert_int_equal(env->kv->write(env, kv, writes, ARRAY_COUNT(writes)), OK);

    assert_value(env, kv, NULL, "a", "2");
    assert_value(env, kv, NULL, "b", "");
    assert_value(env, kv, NULL, "c", NULL);
    env->kv->close(env, kv);
    env_uv_close(env);
    fixture_close(&f);
}

static void kv_leveldb_get__value_past_the_buffers_limit__too_large(void **state)
{
    struct fixture f;
    AUTO(buffer) small = BUFFER_INIT(3);

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);
    struct kv *kv = open_kv(env);

    put(env, kv, "key", "four");
    assert_int_equal(env->kv->get(env, kv, NULL, SLICE_LITERAL("key"), &small), ERR_TOO_LARGE);
    assert_int_equal(small.size, 0);
    env->kv->close(env, kv);
    env_uv_close(env);
    fixture_close(&f);
}

static void kv_leveldb_snapshot__writes_after_it__are_not_seen(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);
    struct kv *kv = open_kv(env);

    put(env, kv, "a", "old");
    put(env, kv, "b", "old");
    struct kv_snapshot *snapshot = env->kv->snapshot(env, kv);

    put(env, kv, "a", "new");
    put(env, kv, "b", NULL);
    put(env, kv, "c", "new");
    make_durable(&f, env, kv);

    assert_value(env, kv, snapshot, "a", "old");
    assert_value(env, kv, snapshot, "b", "old");
    assert_value(env, kv, snapshot, "c", NULL);
    assert_value(env, kv, NULL, "a", "new");
    struct kv_cursor *cursor = env->kv->cursor(env, kv, snapshot);

    env->kv->cursor_seek(cursor, SLICE_LITERAL("b"));
    assert_true(slice_equal_text(env->kv->cursor_value(cursor), "old"));
    env->kv->cursor_next(cursor);
    assert_false(env->kv->cursor_valid(cursor));
    env->kv->cursor_close(cursor);
    env->kv->snapshot_release(env, kv, snapshot);
    env->kv->close(env, kv);
    env_uv_close(env);
    fixture_close(&f);
}

static void assert_seek_last(struct env *env, struct kv_cursor *cursor, const char *key,
                             const char *expected)
{
    env->kv->cursor_seek_last(cursor, slice_text(key));
    assert_int_equal(env->kv->cursor_valid(cursor), expected != NULL);
    assert_int_equal(env->kv->cursor_error(cursor), OK);
    if (expected != NULL)
        assert_true(slice_equal_text(env->kv->cursor_key(cursor), expected));
}

static void kv_leveldb_cursor_seek_last__before_at_between_behind__last_not_above(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);
    struct kv *kv = open_kv(env);
    struct kv_cursor *cursor = env->kv->cursor(env, kv, NULL);

    assert_false(env->kv->cursor_valid(cursor));
    assert_seek_last(env, cursor, "x", NULL);
    env->kv->cursor_close(cursor);
    put(env, kv, "b", "1");
    put(env, kv, "d", "2");
    cursor = env->kv->cursor(env, kv, NULL);

    assert_seek_last(env, cursor, "a", NULL);
    assert_seek_last(env, cursor, "b", "b");
    assert_seek_last(env, cursor, "c", "b");
    assert_seek_last(env, cursor, "z", "d");
    env->kv->cursor_previous(cursor);
    assert_true(slice_equal_text(env->kv->cursor_key(cursor), "b"));
    env->kv->cursor_previous(cursor);
    assert_false(env->kv->cursor_valid(cursor));
    env->kv->cursor_close(cursor);
    env->kv->close(env, kv);
    env_uv_close(env);
    fixture_close(&f);
}

#define MODEL_KEYS 200

static void check_against_model(struct env *env, struct kv *kv, const uint32_t model[MODEL_KEYS])
{
    struct kv_cursor *cursor = env->kv->cursor(env, kv, NULL);

    env->kv->cursor_seek(cursor, SLICE_LITERAL(""));
    for (uint32_t i = 0; i < MODEL_KEYS; i++) {
        char key[16];

        if (model[i] == 0)
            continue;
        (void)snprintf(key, sizeof(key), "key-%03u", i);
        assert_true(env->kv->cursor_valid(cursor));
        assert_true(slice_equal_text(env->kv->cursor_key(cursor), key));
        assert_memory_equal(env->kv->cursor_value(cursor).data, &model[i], sizeof(model[i]));
        env->kv->cursor_next(cursor);
    }
    assert_false(env->kv->cursor_valid(cursor));
    assert_int_equal(env->kv->cursor_error(cursor), OK);
    env->kv->cursor_close(cursor);
}

static void kv_leveldb__random_writes_flushes_and_reopens__matches_a_model(void **state)
{
    struct fixture f;
    struct rng rng;
    uint32_t model[MODEL_KEYS] = {0};

    (void)state;
    fixture_open(&f);
    rng_init(&rng, 20261123);
    struct env *env = fixture_env(&f, 1);
    struct kv *kv = open_kv(env);

    for (uint32_t step = 1; step <= 4000; step++) {
        uint32_t i = (uint32_t)rng_below(&rng, MODEL_KEYS);
        char key[16];

        (void)snprintf(key, sizeof(key), "key-%03u", i);
        model[i] = rng_below(&rng, 3) == 0 ? 0 : step;
        struct kv_write write = {slice_text(key), slice_of(&model[i], sizeof(model[i])),
                                 model[i] == 0};

        assert_int_equal(env->kv->write(env, kv, &write, 1), OK);
        if (step % 500 == 0)
            make_durable(&f, env, kv);
        if (step % 700 == 0) {
            env->kv->close(env, kv);
            kv = open_kv(env);
        }
        if (step % 250 == 0)
            check_against_model(env, kv, model);
    }
    env->kv->close(env, kv);
    env_uv_close(env);
    fixture_close(&f);
}

/* ---- what a crash leaves ---- */

static void kv_leveldb_reopen__same_boot__keeps_what_was_not_made_durable(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);
    struct kv *kv = open_kv(env);

    put(env, kv, "a", "1");
    env->kv->close(env, kv);
    env_uv_close(env);
    env = fixture_env(&f, 1);
    kv = open_kv(env);

    assert_value(env, kv, NULL, "a", "1");
    env->kv->close(env, kv);
    env_uv_close(env);
    fixture_close(&f);
}

static void kv_leveldb_reopen__machine_rebooted__is_as_last_made_durable(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);
    struct kv *kv = open_kv(env);

    put(env, kv, "a", "1");
    put(env, kv, "b", "1");
    make_durable(&f, env, kv);
    put(env, kv, "a", "2");
    env->kv->close(env, kv);
    env = reboot(&f, env);
    kv = open_kv(env);

    assert_value(env, kv, NULL, "a", "1");
    assert_value(env, kv, NULL, "b", "1");
    put(env, kv, "a", "3");
    env->kv->close(env, kv);
    kv = open_kv(env); /* in that same boot: the log counts again */
    assert_value(env, kv, NULL, "a", "3");
    env->kv->close(env, kv);
    env_uv_close(env);
    fixture_close(&f);
}

static void kv_leveldb_make_durable__writes_while_it_runs__next_one_has_them(void **state)
{
    struct fixture f;
    struct operation first = {0};
    struct operation second = {0};

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);
    struct kv *kv = open_kv(env);

    put(env, kv, "a", "1");
    env->kv->make_durable(env, kv, &first.op, on_operation_done);
    put(env, kv, "b", "1");
    env->kv->make_durable(env, kv, &second.op, on_operation_done);
    fixture_until(&f, fixture_is_set, &second.is_done);

    assert_true(first.is_done);
    assert_int_equal(first.rc, OK);
    assert_int_equal(second.rc, OK);
    env->kv->close(env, kv);
    env = reboot(&f, env);
    kv = open_kv(env);
    assert_value(env, kv, NULL, "a", "1");
    assert_value(env, kv, NULL, "b", "1");
    env->kv->close(env, kv);
    env_uv_close(env);
    fixture_close(&f);
}

static void kv_leveldb_close__make_durable_in_flight__no_callback_no_leak(void **state)
{
    struct fixture f;
    struct operation operations[3] = {0};
    struct operation last = {0};
    struct kv *other;

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);
    struct kv *kv = open_kv(env);

    assert_int_equal(env->kv->open(env, "shards/8", &other), OK);
    put(env, kv, "a", "1");
    put(env, other, "a", "1");
    for (size_t i = 0; i < ARRAY_COUNT(operations); i++)
        env->kv->make_durable(env, kv, &operations[i].op, on_operation_done);
    env->kv->make_durable(env, other, &last.op, on_operation_done);
    env->kv->close(env, kv);
    fixture_until(&f, fixture_is_set, &last.is_done);

    assert_int_equal(last.rc, OK);
    for (size_t i = 0; i < ARRAY_COUNT(operations); i++)
        assert_false(operations[i].is_done);
    env->kv->make_durable(env, other, &last.op, on_operation_done);
    env_uv_stop(env);
    env->kv->close(env, other);
    env_uv_close(env);
    fixture_close(&f);
}

/* ---- damage ---- */

static void kv_leveldb_open__current_file_gone__corrupt_not_empty(void **state)
{
    struct fixture f;
    struct kv *kv;

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    kv = open_kv(env);
    put(env, kv, "a", "1");
    env->kv->close(env, kv);
    assert_int_equal(env->disk->remove(env, "shards/7/CURRENT"), OK);

    assert_int_equal(env->kv->open(env, "shards/7", &kv), ERR_CORRUPT);
    assert_int_equal(env->disk->remove(env, "shards/7"), OK);
    kv = open_kv(env);
    assert_value(env, kv, NULL, "a", NULL);
    env->kv->close(env, kv);
    env_uv_close(env);
    fixture_close(&f);
}

static void kv_leveldb_get__table_has_a_flipped_bit__corrupt(void **state)
{
    struct fixture f;
    char path[256];
    AUTO(buffer) value = BUFFER_INIT(1024);

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);
    struct kv *kv = open_kv(env);

    put(env, kv, "a", "a value long enough to be hit");
    make_durable(&f, env, kv);
    env->kv->close(env, kv);
    find_table(&f, env, path);
    flip_byte(path, 20);
    kv = open_kv(env);

    assert_int_equal(env->kv->get(env, kv, NULL, SLICE_LITERAL("a"), &value), ERR_CORRUPT);
    struct kv_cursor *cursor = env->kv->cursor(env, kv, NULL);

    env->kv->cursor_seek(cursor, SLICE_LITERAL(""));
    assert_false(env->kv->cursor_valid(cursor));
    assert_int_equal(env->kv->cursor_error(cursor), ERR_CORRUPT);
    env->kv->cursor_close(cursor);
    env->kv->close(env, kv);
    env_uv_close(env);
    fixture_close(&f);
}

static void kv_leveldb_open__table_gone__corrupt(void **state)
{
    struct fixture f;
    struct kv *kv;
    char path[256];

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    kv = open_kv(env);
    put(env, kv, "a", "1");
    make_durable(&f, env, kv);
    env->kv->close(env, kv);
    find_table(&f, env, path);
    assert_int_equal(unlink(path), 0);

    assert_int_equal(env->kv->open(env, "shards/7", &kv), ERR_CORRUPT);
    env_uv_close(env);
    fixture_close(&f);
}

/* A full disk: no file may grow past a few bytes. */
static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void kv_leveldb_make_durable__disk_full__io_error_and_stays_so(void **state)
{
    struct fixture f;
    struct operation operation = {0};
    struct kv_write write = {SLICE_LITERAL("b"), SLICE_LITERAL("2"), false};

    (void)state;
    fixture_open(&f);
    assert_ptr_not_equal(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    struct env *env = fixture_env(&f, 1);
    struct kv *kv = open_kv(env);

    put(env, kv, "a", "1");
    limit_file_size(8);
    env->kv->make_durable(env, kv, &operation.op, on_operation_done);
    fixture_until(&f, fixture_is_set, &operation.is_done);
    limit_file_size(RLIM_INFINITY);

    assert_int_equal(operation.rc, ERR_IO);
    assert_int_equal(env->kv->write(env, kv, &write, 1), ERR_IO);
    operation.is_done = false;
    env->kv->make_durable(env, kv, &operation.op, on_operation_done);
    fixture_until(&f, fixture_is_set, &operation.is_done);
    assert_int_equal(operation.rc, ERR_IO);
    env->kv->close(env, kv);
    env_uv_close(env);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kv_leveldb_write__a_batch__all_of_it_visible_at_once),
        cmocka_unit_test(kv_leveldb_get__value_past_the_buffers_limit__too_large),
        cmocka_unit_test(kv_leveldb_snapshot__writes_after_it__are_not_seen),
        cmocka_unit_test(kv_leveldb_cursor_seek_last__before_at_between_behind__last_not_above),
        cmocka_unit_test(kv_leveldb__random_writes_flushes_and_reopens__matches_a_model),
        cmocka_unit_test(kv_leveldb_reopen__same_boot__keeps_what_was_not_made_durable),
        cmocka_unit_test(kv_leveldb_reopen__machine_rebooted__is_as_last_made_durable),
        cmocka_unit_test(kv_leveldb_make_durable__writes_while_it_runs__next_one_has_them),
        cmocka_unit_test(kv_leveldb_close__make_durable_in_flight__no_callback_no_leak),
        cmocka_unit_test(kv_leveldb_open__current_file_gone__corrupt_not_empty),
        cmocka_unit_test(kv_leveldb_get__table_has_a_flipped_bit__corrupt),
        cmocka_unit_test(kv_leveldb_open__table_gone__corrupt),
        cmocka_unit_test(kv_leveldb_make_durable__disk_full__io_error_and_stays_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
