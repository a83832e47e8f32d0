#include "chaos/net/lostfs_undo.h"
#include "proto/base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE_BYTES 4096

struct fixture {
    char folder[64];
    int root;
    struct lostfs_undo undo;
};

static void fixture_open(struct fixture *f)
{
    (void)snprintf(f->folder, sizeof(f->folder), "/tmp/skein-lostfs.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->root = open(f->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(lostfs_undo_init(&f->undo, f->root), OK);
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
    lostfs_undo_keep(&f->undo);
    (void)close(f->root);
    assert_int_equal(nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static int make(struct fixture *f, const char *path)
{
    int fd = openat(f->root, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    lostfs_undo_made(&f->undo, path);
    return fd;
}

static void put(struct fixture *f, int fd, const char *text, off_t offset)
{
    size_t size = strlen(text);

    assert_int_equal(lostfs_undo_write(&f->undo, fd, slice_text(text), offset), OK);
    assert_int_equal(pwrite(fd, text, size, offset), size);
}

static void resize(struct fixture *f, int fd, off_t size)
{
    assert_int_equal(lostfs_undo_resize(&f->undo, fd, size), OK);
    assert_int_equal(ftruncate(fd, size), 0);
}

static void sync_it(struct fixture *f, int fd)
{
    struct stat status;

    assert_int_equal(fstat(fd, &status), 0);
    lostfs_undo_synced(&f->undo, &status, lostfs_undo_sync_begins(&f->undo));
}

/* A file that is there for good, and synced so far. */
static int make_durable(struct fixture *f, const char *path, const char *text)
{
    int fd = make(f, path);

    put(f, fd, text, 0);
    sync_it(f, fd);
    return fd;
}

static bool exists(struct fixture *f, const char *path)
{
    return faccessat(f->root, path, F_OK, 0) == 0;
}

static void assert_content(struct fixture *f, const char *path, const char *text)
{
    char content[256] = "";
    int fd = openat(f->root, path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_true(read(fd, content, sizeof(content) - 1) >= 0);
    (void)close(fd);
    assert_string_equal(content, text);
}

static void bytes__after_the_last_sync__are_lost(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    int fd = make_durable(&f, "journal", "one two three");

    put(&f, fd, "TWO and much more", 4);
    resize(&f, fd, 5);
    put(&f, fd, "xyz", 8);
    assert_int_equal(lostfs_undo_lose(&f.undo, 0), 3);

    assert_content(&f, "journal", "one two three");
    (void)close(fd);
    fixture_close(&f);
}

static void bytes__written_while_a_sync_runs__are_not_made_durable_by_it(void **state)
{
    struct fixture f;
    struct stat status;

    (void)state;
    fixture_open(&f);
    int fd = make_durable(&f, "journal", "");

    put(&f, fd, "before", 0);
    uint64_t number = lostfs_undo_sync_begins(&f.undo);

    put(&f, fd, "+after", 6);
    assert_int_equal(fstat(fd, &status), 0);
    lostfs_undo_synced(&f.undo, &status, number);
    (void)lostfs_undo_lose(&f.undo, 0);

    assert_content(&f, "journal", "before");
    (void)close(fd);
    fixture_close(&f);
}

static void names__made_and_never_synced__are_lost(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    assert_int_equal(mkdirat(f.root, "folder", 0700), 0);
    lostfs_undo_made(&f.undo, "folder");
    int lost = make(&f, "folder/lost");

    (void)lostfs_undo_lose(&f.undo, 0);

    assert_false(exists(&f, "folder"));
    (void)close(lost);
    fixture_close(&f);
}

static void
names__a_file_is_synced__it_and_all_before_it_are_durable_and_nothing_after(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    assert_int_equal(mkdirat(f.root, "folder", 0700), 0);
    lostfs_undo_made(&f.undo, "folder");
    int first = make(&f, "folder/first");
    int second = make(&f, "folder/second");
    int third = make(&f, "folder/third");

    put(&f, first, "first", 0);
    sync_it(&f, second);
    (void)lostfs_undo_lose(&f.undo, 0);

    assert_content(&f, "folder/first", ""); /* its name is durable, its bytes are not */
    assert_true(exists(&f, "folder/second"));
    assert_false(exists(&f, "folder/third"));
    (void)close(first);
    (void)close(second);
    (void)close(third);
    fixture_close(&f);
}

static void names__removed_and_renamed_without_a_sync__are_as_before(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    int removed = make_durable(&f, "removed", "still here");
    int from = make_durable(&f, "from", "from");
    int to = make_durable(&f, "to", "to");

    assert_int_equal(lostfs_undo_remove(&f.undo, "removed", false), 0);
    assert_int_equal(lostfs_undo_rename(&f.undo, "from", "to"), 0);
    assert_false(exists(&f, "removed"));
    assert_false(exists(&f, "from"));
    assert_content(&f, "to", "from");
    (void)lostfs_undo_lose(&f.undo, 0);

    assert_content(&f, "removed", "still here");
    assert_content(&f, "from", "from");
    assert_content(&f, "to", "to");
    (void)close(removed);
    (void)close(from);
    (void)close(to);
    fixture_close(&f);
}

static void rename__the_replaced_file_is_synced__both_halves_are_durable(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    int from = make_durable(&f, "from", "new");
    int to = make_durable(&f, "to", "old");

    assert_int_equal(lostfs_undo_rename(&f.undo, "from", "to"), 0);
    sync_it(&f, to);
    (void)lostfs_undo_lose(&f.undo, 0);

    assert_content(&f, "to", "new");
    assert_false(exists(&f, "from"));
    (void)close(from);
    (void)close(to);
    fixture_close(&f);
}

static void folders__removed_replaced_or_not_empty__behave(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    assert_int_equal(mkdirat(f.root, "full", 0700), 0);
    assert_int_equal(mkdirat(f.root, "empty", 0700), 0);
    int file = make_durable(&f, "full/file", "x");

    assert_int_equal(lostfs_undo_remove(&f.undo, "full", true), -ENOTEMPTY);
    assert_int_equal(lostfs_undo_rename(&f.undo, "empty", "full"), -ENOTEMPTY);
    assert_int_equal(lostfs_undo_rename(&f.undo, "full/file", "empty"), -EISDIR);
    assert_int_equal(lostfs_undo_rename(&f.undo, "full", "empty"), 0);
    assert_content(&f, "empty/file", "x");
    (void)lostfs_undo_lose(&f.undo, 0);

    assert_content(&f, "full/file", "x");
    assert_true(exists(&f, "empty"));
    (void)close(file);
    fixture_close(&f);
}

/* Whatever the dice say: each page is the old one or the new one, and at some seed the new, at
 * some the old. */
static void bytes__half_of_them_had_reached_the_disk__each_page_is_whole(void **state)
{
    static char old[4 * PAGE_BYTES + 1];
    static char new[4 * PAGE_BYTES + 1];
    static char found[4 * PAGE_BYTES];
    unsigned news = 0;

    (void)state;
    memset(old, 'o', sizeof(old) - 1);
    memset(new, 'n', sizeof(new) - 1);
    for (uint64_t seed = 1; seed <= 16; seed++) {
        struct fixture f;

        fixture_open(&f);
        int fd = make_durable(&f, "state", old);

        put(&f, fd, new, 0);
        (void)lostfs_undo_lose(&f.undo, seed);

        assert_int_equal(pread(fd, found, sizeof(found), 0), sizeof(found));
        for (size_t page = 0; page < 4; page++) {
            const char *start = found + page * PAGE_BYTES;

            assert_memory_equal(start, start[0] == 'n' ? new : old, PAGE_BYTES);
            news += start[0] == 'n';
        }
        (void)close(fd);
        fixture_close(&f);
    }
    assert_in_range(news, 1, 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes__after_the_last_sync__are_lost),
        cmocka_unit_test(bytes__written_while_a_sync_runs__are_not_made_durable_by_it),
        cmocka_unit_test(names__made_and_never_synced__are_lost),
        cmocka_unit_test(
            names__a_file_is_synced__it_and_all_before_it_are_durable_and_nothing_after),
        cmocka_unit_test(names__removed_and_renamed_without_a_sync__are_as_before),
        cmocka_unit_test(rename__the_replaced_file_is_synced__both_halves_are_durable),
        cmocka_unit_test(folders__removed_replaced_or_not_empty__behave),
        cmocka_unit_test(bytes__half_of_them_had_reached_the_disk__each_page_is_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
