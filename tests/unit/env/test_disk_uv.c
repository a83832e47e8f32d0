#include "tests/lib/loop_fixture.h"

#include "proto/base/check.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

/* The calls that make things durable go through here, so that each can be made to fail in turn. */

static int fault_in = -1;  /* calls until the one that fails; below 0 = none fails */
static bool is_disk_quick; /* syncing takes no time */
static bool is_disk_slow;  /* syncing takes this much */
#define SLOW_SYNC_US 20000
static pthread_t synced_by;

ssize_t __real_pwrite(int fd, const void *data, size_t size, off_t offset);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_renameat(int from_fd, const char *from, int to_fd, const char *to);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to);

static bool is_faulty(void)
{
    if (fault_in < 0 || fault_in-- > 0)
        return false;
    errno = EIO;
    return true;
}

/* Half of what was asked for is a legal answer too. */
ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return is_faulty() ? -1 : __real_pwrite(fd, data, size > 8 ? size / 2 : size, offset);
}

int __wrap_fsync(int fd)
{
    return is_faulty() ? -1 : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
    synced_by = pthread_self();
    if (is_faulty())
        return -1;
    if (is_disk_slow)
        return usleep(SLOW_SYNC_US);
    return is_disk_quick ? 0 : __real_fdatasync(fd);
}

int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return is_faulty() ? -1 : __real_renameat(from_fd, from, to_fd, to);
}

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

static enum error replace(struct fixture *f, struct env *env, const char *path, const char *content)
{
    struct operation operation = {0};

    env->disk->replace(env, &operation.op, path, slice_text(content), on_operation_done);
    assert_false(operation.is_done);
    fixture_until(f, fixture_is_set, &operation.is_done);
    return operation.rc;
}

static void assert_content(struct env *env, const char *path, const char *content)
{
    AUTO(buffer) found = BUFFER_INIT(4096);

    assert_int_equal(env->disk->load(env, path, &found), OK);
    assert_string_equal(buffer_text(&found), content);
}

static void disk_uv_write_sync__then_read__gives_the_bytes(void **state)
{
    struct fixture f;
    struct operation operation = {0};
    struct env_file *file;
    uint64_t bytes;
    AUTO(buffer) found = BUFFER_INIT(64);

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    assert_int_equal(env->disk->open(env, "log", false, &file), ERR_NOT_FOUND);
    assert_int_equal(env->disk->open(env, "log", true, &file), OK);
    env->disk->write_sync(env, &operation.op, file, 5, SLICE_LITERAL("formation"),
                          on_operation_done);
    assert_false(operation.is_done);
    fixture_until(&f, fixture_is_set, &operation.is_done);

    assert_int_equal(operation.rc, OK);
    assert_int_equal(env->disk->size(env, file, &bytes), OK);
    assert_int_equal(bytes, 14);
    assert_int_equal(env->disk->read(env, file, 5, 100, &found), ERR_TOO_LARGE);
    assert_int_equal(env->disk->read(env, file, 5, 40, &found), OK);
    assert_string_equal(buffer_text(&found), "formation");
    env->disk->close(env, file);
    env_uv_close(env);
    fixture_close(&f);
}

static enum error write_sync(struct fixture *f, struct env *env, struct env_file *file)
{
    struct operation operation = {0};

    env->disk->write_sync(env, &operation.op, file, 0, SLICE_LITERAL("ab"), on_operation_done);
    assert_false(operation.is_done);
    /* All there is to do may be done before the loop blocks; then nothing ends the wait. */
    (void)fixture_runs_until(f, fixture_is_set, &operation.is_done, 1);
    fixture_until(f, fixture_is_set, &operation.is_done);
    return operation.rc;
}

static void disk_uv_write_sync__many_writes_wait_on_a_quick_disk__loop_syncs(void **state)
{
    struct fixture f;
    struct env_file *file;

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    assert_int_equal(env->disk->open(env, "log", true, &file), OK);
    is_disk_quick = true;
    for (int i = 0; i < 50; i++) { /* until it knows the disk */
        assert_int_equal(write_sync(&f, env, file), OK);
        assert_false(pthread_equal(synced_by, pthread_self()));
    }
    env->writes_waiting = ENV_WRITES_FEW + 1;
    assert_int_equal(write_sync(&f, env, file), OK);
    assert_true(pthread_equal(synced_by, pthread_self()));
    fault_in = 1;
    assert_int_equal(write_sync(&f, env, file), ERR_IO);
    assert_true(pthread_equal(synced_by, pthread_self()));
    fault_in = -1;
    env->writes_waiting = 0;
    assert_int_equal(write_sync(&f, env, file), OK);
    assert_false(pthread_equal(synced_by, pthread_self()));

    env->writes_waiting = ENV_WRITES_FEW + 1; /* the disk gets slow: once is enough */
    is_disk_slow = true;
    assert_int_equal(write_sync(&f, env, file), OK);
    assert_int_equal(write_sync(&f, env, file), OK);
    assert_false(pthread_equal(synced_by, pthread_self()));
    is_disk_slow = false;
    is_disk_quick = false;
    env->disk->close(env, file);
    env_uv_close(env);
    fixture_close(&f);
}

/* Stopped before the end of the turn: the callback does not come, nothing leaks. */
static void disk_uv_write_sync__stopped_before_the_loop_syncs__is_dropped(void **state)
{
    struct fixture f;
    struct operation operation = {0};
    struct env_file *file;

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    assert_int_equal(env->disk->open(env, "log", true, &file), OK);
    is_disk_quick = true;
    for (int i = 0; i < 50; i++)
        assert_int_equal(write_sync(&f, env, file), OK);
    env->writes_waiting = ENV_WRITES_FEW + 1;
    env->disk->write_sync(env, &operation.op, file, 0, SLICE_LITERAL("ab"), on_operation_done);
    env_uv_stop(env);
    assert_false(operation.is_done);
    is_disk_quick = false;
    env->disk->close(env, file);
    env_uv_close(env);
    fixture_close(&f);
}

static void disk_uv_write_sync__disk_fails__says_so(void **state)
{
    struct fixture f;
    struct env_file *file;

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    assert_int_equal(env->disk->open(env, "log", true, &file), OK);
    for (int call = 0; call < 2; call++) {
        struct operation operation = {0};

        fault_in = call;
        env->disk->write_sync(env, &operation.op, file, 0, SLICE_LITERAL("ab"), on_operation_done);
        fixture_until(&f, fixture_is_set, &operation.is_done);
        fault_in = -1;
        assert_int_equal(operation.rc, ERR_IO);
    }
    env->disk->close(env, file);
    env_uv_close(env);
    fixture_close(&f);
}

static void disk_uv_files__made__are_private(void **state)
{
    struct fixture f;
    struct env_file *file;
    char path[256];
    struct stat about;

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    assert_int_equal(env->disk->make_folder(env, "a/b"), OK);
    assert_int_equal(env->disk->make_folder(env, "a/b"), OK);
    assert_int_equal(env->disk->open(env, "a/b/c", true, &file), OK);
    env->disk->close(env, file);

    (void)snprintf(path, sizeof(path), "%s/1/a/b/c", f.folder);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    (void)snprintf(path, sizeof(path), "%s/1/a/b", f.folder);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0700);
    env_uv_close(env);
    fixture_close(&f);
}

static void disk_uv_resize__grown__zeros_take_blocks_on_disk(void **state)
{
    struct fixture f;
    struct env_file *file;
    char path[256];
    struct stat about;
    uint64_t bytes;

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    assert_int_equal(env->disk->open(env, "segment", true, &file), OK);
    assert_int_equal(env->disk->write(env, file, 0, SLICE_LITERAL("head")), OK);
    assert_int_equal(env->disk->resize(env, file, 1000000), OK);

    (void)snprintf(path, sizeof(path), "%s/1/segment", f.folder);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_size, 1000000);
    assert_true(about.st_blocks * 512 >= 1000000);
    assert_int_equal(env->disk->resize(env, file, 2), OK);
    assert_int_equal(env->disk->size(env, file, &bytes), OK);
    assert_int_equal(bytes, 2);
    env->disk->close(env, file);
    env_uv_close(env);
    fixture_close(&f);
}

static void append_name(void *user, const char *name)
{
    buffer_put_text(user, name);
    buffer_put_u8(user, ' ');
}

static void disk_uv_list__files_made_renamed_removed__names_sorted(void **state)
{
    struct fixture f;
    struct env_file *file;
    static const char *const names[] = {"x/b", "x/a", "x/c", "x/d"};
    AUTO(buffer) found = BUFFER_INIT(256);

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    assert_int_equal(env->disk->list(env, "x", &found, append_name), ERR_NOT_FOUND);
    assert_int_equal(env->disk->make_folder(env, "x"), OK);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        assert_int_equal(env->disk->open(env, names[i], true, &file), OK);
        env->disk->close(env, file);
    }
    assert_int_equal(env->disk->rename(env, "x/c", "x/0"), OK);
    assert_int_equal(env->disk->rename(env, "x/nothing", "x/1"), ERR_NOT_FOUND);
    assert_int_equal(env->disk->remove(env, "x/d"), OK);
    assert_int_equal(env->disk->remove(env, "x/d"), ERR_NOT_FOUND);
    assert_int_equal(env->disk->list(env, "x", &found, append_name), OK);
    assert_string_equal(buffer_text(&found), "0 a b ");

    assert_int_equal(env->disk->make_folder(env, "x/y/z"), OK);
    assert_int_equal(env->disk->remove(env, "x"), OK);
    assert_int_equal(env->disk->list(env, "x", &found, append_name), ERR_NOT_FOUND);
    env_uv_close(env);
    fixture_close(&f);
}

static void disk_uv_load__larger_than_the_limit__refused(void **state)
{
    struct fixture f;
    AUTO(buffer) small = BUFFER_INIT(3);

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    assert_int_equal(replace(&f, env, "term", "four"), OK);

    assert_int_equal(env->disk->load(env, "term", &small), ERR_TOO_LARGE);
    assert_int_equal(env->disk->load(env, "vote", &small), ERR_NOT_FOUND);
    env_uv_close(env);
    fixture_close(&f);
}

/* Fail every call in turn, until a run gets through without meeting the fault. Whatever the moment:
 * one answer, the old or the new content whole, and nothing left behind. */
static void disk_uv_replace__any_call_fails__old_or_new_content_never_a_mix(void **state)
{
    struct fixture f;
    bool met_fault = true;
    int call;

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    for (call = 0; met_fault; call++) {
        AUTO(buffer) found = BUFFER_INIT(64);
        AUTO(buffer) names = BUFFER_INIT(256);

        assert_int_equal(replace(&f, env, "orders", "old"), OK);
        fault_in = call;
        enum error rc = replace(&f, env, "orders", "new");

        met_fault = fault_in < 0;
        fault_in = -1;
        assert_int_equal(rc, met_fault ? ERR_IO : OK);
        assert_int_equal(env->disk->load(env, "orders", &found), OK);
        if (!met_fault || !slice_equal_text(buffer_slice(&found), "old"))
            assert_string_equal(buffer_text(&found), "new");
        assert_int_equal(env->disk->list(env, ".", &names, append_name), OK);
        assert_string_equal(buffer_text(&names), "LOCK orders ");
    }

    assert_int_equal(call, 5); /* write, fsync, rename, fsync of the folder: pins the cost too */
    env_uv_close(env);
    fixture_close(&f);
}

static void disk_uv_replace__many_of_one_file_at_once__the_last_wins(void **state)
{
    struct fixture f;
    struct operation operations[20] = {0};
    char content[16];

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    for (size_t i = 0; i < ARRAY_COUNT(operations); i++) {
        (void)snprintf(content, sizeof(content), "version %zu", i);
        env->disk->replace(env, &operations[i].op, "catalogue", slice_text(content),
                           on_operation_done);
    }
    for (size_t i = 0; i < ARRAY_COUNT(operations); i++) {
        fixture_until(&f, fixture_is_set, &operations[i].is_done);
        assert_int_equal(operations[i].rc, OK);
    }

    assert_content(env, "catalogue", "version 19");
    env_uv_close(env);
    fixture_close(&f);
}

static void disk_uv_stop__replacements_in_flight__frees_them_untold(void **state)
{
    struct fixture f;
    struct operation operations[3] = {0};

    (void)state;
    fixture_open(&f);
    struct env *env = fixture_env(&f, 1);

    for (size_t i = 0; i < ARRAY_COUNT(operations); i++)
        env->disk->replace(env, &operations[i].op, "vote", SLICE_LITERAL("x"), on_operation_done);
    env_uv_close(env);

    for (size_t i = 0; i < ARRAY_COUNT(operations); i++)
        assert_false(operations[i].is_done);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disk_uv_write_sync__then_read__gives_the_bytes),
        cmocka_unit_test(disk_uv_write_sync__disk_fails__says_so),
        cmocka_unit_test(disk_uv_write_sync__many_writes_wait_on_a_quick_disk__loop_syncs),
        cmocka_unit_test(disk_uv_write_sync__stopped_before_the_loop_syncs__is_dropped),
        cmocka_unit_test(disk_uv_files__made__are_private),
        cmocka_unit_test(disk_uv_resize__grown__zeros_take_blocks_on_disk),
        cmocka_unit_test(disk_uv_list__files_made_renamed_removed__names_sorted),
        cmocka_unit_test(disk_uv_load__larger_than_the_limit__refused),
        cmocka_unit_test(disk_uv_replace__any_call_fails__old_or_new_content_never_a_mix),
        cmocka_unit_test(disk_uv_replace__many_of_one_file_at_once__the_last_wins),
        cmocka_unit_test(disk_uv_stop__replacements_in_flight__frees_them_untold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
