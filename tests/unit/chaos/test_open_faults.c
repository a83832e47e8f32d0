/* The record of what is broken, the lock, and damage to files, in a folder of their own. */

#include "chaos/run/open_faults.h"
#include "chaos/run/rot.h"
#include "proto/base/check.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct cluster cluster;
    struct daemon daemon;
};

static void fixture_open(struct fixture *f)
{
    const char *base = getenv("TMPDIR");
    char path[600];
    int lock;
    pid_t holder;

    *f = (struct fixture){0};
    (void)snprintf(f->cluster.data, sizeof(f->cluster.data), "%s/skein-chaos.XXXXXX",
                   base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(f->cluster.data));
    (void)snprintf(f->daemon.folder, sizeof(f->daemon.folder), "%s/node-1", f->cluster.data);
    (void)snprintf(path, sizeof(path), "%s/data/journal", f->daemon.folder);
    assert_int_equal(cluster_make_folder(path), OK);
    lock = open_faults_lock(&f->cluster, &holder); /* makes the folder */
    assert_true(lock >= 0);
    (void)close(lock);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static void fixture_close(struct fixture *f)
{
    assert_int_equal(nftw(f->cluster.data, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void put_file(const struct fixture *f, const char *name, const void *bytes, size_t size)
{
    char path[700];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/data/%s", f->daemon.folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    (void)close(fd);
}

static size_t get_file(const struct fixture *f, const char *name, uint8_t *bytes, size_t max)
{
    char path[700];
    ssize_t size;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/data/%s", f->daemon.folder, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return SIZE_MAX;
    size = read(fd, bytes, max);
    (void)close(fd);
    return (size_t)size;
}

static void open_faults__added_and_removed__the_next_process_reads_the_same(void **state)
{
    const struct open_fault kill = {1, 17, "kill", "s01-kill-leader", "node-3 controller-1"};
    const struct open_fault cut = {2, 18, "cut", "demo", "node-1"};
    struct open_faults faults;
    struct open_faults later;
    struct fixture f;

    (void)state;
    fixture_open(&f);
    open_faults_load(&f.cluster, &faults);
    assert_int_equal(faults.count, 0);
    assert_int_equal(open_faults_add(&faults, &kill), OK);
    assert_int_equal(open_faults_add(&faults, &cut), OK);
    open_faults_load(&f.cluster, &later);

    assert_true(open_faults_exist(&f.cluster));
    assert_int_equal(later.count, 2);
    assert_int_equal(later.list[0].until_ms, 17);
    assert_string_equal(later.list[0].names, "node-3 controller-1");
    open_faults_remove(&faults, 1);
    open_faults_load(&f.cluster, &later);
    assert_int_equal(later.count, 1);
    assert_string_equal(later.list[0].what, "cut");
    open_faults_remove(&faults, 2);
    assert_false(open_faults_exist(&f.cluster));
    fixture_close(&f);
}

static void open_faults__cannot_be_written__nothing_may_be_broken(void **state)
{
    const struct open_fault kill = {1, 17, "kill", "s01", "node-3"};
    struct open_faults faults;
    struct fixture f;

    (void)state;
    fixture_open(&f);
    open_faults_load(&f.cluster, &faults);
    (void)snprintf(faults.path, sizeof(faults.path), "%s/no/such/folder", f.cluster.data);

    assert_int_equal(open_faults_add(&faults, &kill), ERR_IO);
    assert_int_equal(faults.count, 0);
    fixture_close(&f);
}

static void open_faults_lock__somebody_has_it__named(void **state)
{
    struct fixture f;
    pid_t holder;
    pid_t child;
    int status;
    int lock;

    (void)state;
    fixture_open(&f);
    lock = open_faults_lock(&f.cluster, &holder);
    assert_true(lock >= 0);
    child = fork();
    if (child == 0)
        _exit(open_faults_lock(&f.cluster, &holder) == -1 && holder == getppid() ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);

    assert_int_equal(status, 0);
    (void)close(lock);
    fixture_close(&f);
}

static void rot_flip__one_bit_differs_before_the_last_byte_in_use(void **state)
{
    const uint8_t before[64] = {1, 2, 3, 4, 5};
    char text[ROT_TEXT_BYTES];
    uint8_t after[64] = {0};
    unsigned differing = 0;
    struct fixture f;
    struct rng rng;

    (void)state;
    fixture_open(&f);
    rng_init(&rng, 3);
    put_file(&f, "journal/0.log", before, sizeof(before));
    assert_int_equal(rot_flip(&f.daemon, "journal/*", &rng, text), OK);

    assert_int_equal(get_file(&f, "journal/0.log", after, sizeof(after)), sizeof(after));
    for (size_t i = 0; i < sizeof(after); i++) {
        differing += (unsigned)__builtin_popcount((unsigned)(before[i] ^ after[i]));
        assert_true(before[i] == after[i] || i < 5);
    }
    assert_int_equal(differing, 1);
    fixture_close(&f);
}

static void rot_truncate__shorter_than_what_was_used(void **state)
{
    char text[ROT_TEXT_BYTES];
    uint8_t after[64];
    struct fixture f;
    struct rng rng;

    (void)state;
    fixture_open(&f);
    rng_init(&rng, 3);
    put_file(&f, "journal/0.log", "twelve bytes", 12);
    assert_int_equal(rot_truncate(&f.daemon, "journal/*", &rng, text), OK);

    assert_true(get_file(&f, "journal/0.log", after, sizeof(after)) < 12);
    fixture_close(&f);
}

static void rot__no_such_file_or_nothing_in_it__not_found(void **state)
{
    char text[ROT_TEXT_BYTES];
    struct fixture f;
    struct rng rng;

    (void)state;
    fixture_open(&f);
    rng_init(&rng, 3);
    put_file(&f, "journal/0.log", "\0\0\0", 3);

    assert_int_equal(rot_flip(&f.daemon, "journal/*", &rng, text), ERR_NOT_FOUND);
    assert_int_equal(rot_flip(&f.daemon, "nothing/*", &rng, text), ERR_NOT_FOUND);
    assert_int_equal(rot_flip(&f.daemon, "../*", &rng, text), ERR_NOT_FOUND);
    fixture_close(&f);
}

static void rot_empty__the_folder_stays_and_is_empty(void **state)
{
    uint8_t bytes[8];
    struct stat status;
    char path[700];
    struct fixture f;

    (void)state;
    fixture_open(&f);
    put_file(&f, "identity", "x", 1);
    put_file(&f, "journal/0.log", "x", 1);
    assert_int_equal(rot_empty(&f.daemon), OK);

    assert_int_equal(get_file(&f, "identity", bytes, sizeof(bytes)), SIZE_MAX);
    (void)snprintf(path, sizeof(path), "%s/data", f.daemon.folder);
    assert_int_equal(stat(path, &status), 0);
    (void)snprintf(path, sizeof(path), "%s/data/journal", f.daemon.folder);
    assert_int_equal(stat(path, &status), -1);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_faults__added_and_removed__the_next_process_reads_the_same),
        cmocka_unit_test(open_faults__cannot_be_written__nothing_may_be_broken),
        cmocka_unit_test(open_faults_lock__somebody_has_it__named),
        cmocka_unit_test(rot_flip__one_bit_differs_before_the_last_byte_in_use),
        cmocka_unit_test(rot_truncate__shorter_than_what_was_used),
        cmocka_unit_test(rot__no_such_file_or_nothing_in_it__not_found),
        cmocka_unit_test(rot_empty__the_folder_stays_and_is_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
