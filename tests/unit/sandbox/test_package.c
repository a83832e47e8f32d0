#include "node/sandbox/package.h"
#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <zip.h>

struct fixture {
    char base[128];
    char folder[160]; /* where to unpack */
    zip_source_t *target;
    zip_t *archive;
    struct buffer zip;
    char why[ERROR_WHY_BYTES];
};

static void open_fixture(struct fixture *f)
{
    const char *base = getenv("TMPDIR");
    zip_error_t error;

    memset(f, 0, sizeof(*f));
    (void)snprintf(f->base, sizeof(f->base), "%s/skein-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(f->base));
    (void)snprintf(f->folder, sizeof(f->folder), "%s/code", f->base);
    buffer_init(&f->zip, BUFFER_UNLIMITED);
    zip_error_init(&error);
    f->target = zip_source_buffer_create(NULL, 0, 0, &error);
    assert_non_null(f->target);
    zip_source_keep(f->target);
    f->archive = zip_open_from_source(f->target, ZIP_CREATE | ZIP_TRUNCATE, &error);
    assert_non_null(f->archive);
}

static void add(struct fixture *f, const char *name, const char *content, size_t size,
                unsigned mode)
{
    zip_source_t *source = zip_source_buffer(f->archive, content, size, 0);
    zip_int64_t index = zip_file_add(f->archive, name, source, ZIP_FL_ENC_UTF_8);

    assert_true(index >= 0);
    if (mode != 0)
        assert_int_equal(zip_file_set_external_attributes(f->archive, (zip_uint64_t)index, 0,
                                                          ZIP_OPSYS_UNIX, mode << 16),
                         0);
}

static void finish(struct fixture *f)
{
    zip_stat_t status;

    assert_int_equal(zip_close(f->archive), 0);
    assert_int_equal(zip_source_stat(f->target, &status), 0);
    assert_int_equal(zip_source_open(f->target), 0);
    assert_int_equal(buffer_reserve(&f->zip, status.size), OK);
    assert_int_equal(zip_source_read(f->target, f->zip.data, status.size), status.size);
    f->zip.size = status.size;
    zip_source_close(f->target);
    zip_source_free(f->target);
}

static void close_fixture(struct fixture *f)
{
    buffer_close(&f->zip);
    assert_int_equal(package_remove(f->base), OK);
}

static enum error unpack(struct fixture *f, const struct package_limits *limits)
{
    enum error checked = package_check(buffer_slice(&f->zip), limits, f->why);
    enum error rc = package_unpack(buffer_slice(&f->zip), f->folder, limits, f->why);

    if (rc != ERR_EXISTS && checked != OK)
        assert_int_equal(checked, rc);
    if (rc != OK)
        assert_int_not_equal(access(f->folder, F_OK), 0); /* nothing is left behind */
    return rc;
}

static void expect_file(const struct fixture *f, const char *name, const char *content,
                        unsigned mode)
{
    char path[400];
    char found[64] = "";
    struct stat status;

    (void)snprintf(path, sizeof(path), "%s/%s", f->folder, name);
    assert_int_equal(lstat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, mode);
    FILE *file = fopen(path, "rbe");
    assert_non_null(file);
    assert_int_equal(fread(found, 1, sizeof(found) - 1, file), strlen(content));
    (void)fclose(file);
    assert_string_equal(found, content);
}

static void package__files_and_folders__unpacked_with_their_modes(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f);
    add(&f, "app.py", "print()", 7, 0100600);
    add(&f, "lib/deep/x.py", "x", 1, 0);
    add(&f, "bootstrap", "#!", 2, 0104755);
    assert_true(zip_dir_add(f.archive, "empty", ZIP_FL_ENC_UTF_8) >= 0);
    finish(&f);

    assert_int_equal(unpack(&f, NULL), OK);

    expect_file(&f, "app.py", "print()", 0644);
    expect_file(&f, "lib/deep/x.py", "x", 0644);
    expect_file(&f, "bootstrap", "#!", 0755); /* without the setuid bit */
    assert_int_equal(package_unpack(buffer_slice(&f.zip), f.folder, NULL, f.why), ERR_EXISTS);
    close_fixture(&f);
}

static void package__unsafe_names__refused(void **state)
{
    static const char *const names[] = {"../x", "a/../../x",    "/etc/x", "a//b", "./a",
                                        "a/.",  "a\\..\\..\\x", "a/..",   "..",   "x\ny"};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct fixture f;

        open_fixture(&f);
        add(&f, "good", "x", 1, 0);
        add(&f, names[i], "x", 1, 0);
        finish(&f);
        assert_int_equal(unpack(&f, NULL), ERR_INVALID);
        assert_non_null(strstr(f.why, "unsafe path"));
        close_fixture(&f);
    }
}

static void package__links_and_devices__refused(void **state)
{
    static const unsigned modes[] = {0120777, 0020666, 0060666, 0010666, 0140666, 0040755};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        struct fixture f;

        open_fixture(&f);
        add(&f, "link", "/etc/passwd", 11, modes[i]);
        finish(&f);
        assert_int_equal(unpack(&f, NULL), ERR_INVALID);
        close_fixture(&f);
    }
}

static void package__file_where_a_folder_is__refused(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f);
    add(&f, "a", "x", 1, 0);
    add(&f, "a/b", "x", 1, 0);
    finish(&f);
    assert_int_equal(package_unpack(buffer_slice(&f.zip), f.folder, NULL, f.why), ERR_INVALID);
    assert_non_null(strstr(f.why, "named twice"));
    close_fixture(&f);
}

static void package__more_than_it_may_hold__too_large(void **state)
{
    const struct package_limits small = {1 << 20, 3};
    char *zeros = check_calloc(1, 2 << 20);
    struct fixture f;

    (void)state;
    open_fixture(&f);
    add(&f, "bomb", zeros, 2 << 20, 0);
    finish(&f);
    assert_true(f.zip.size < 8192); /* it packs well */
    assert_int_equal(unpack(&f, &small), ERR_TOO_LARGE);
    close_fixture(&f);

    open_fixture(&f);
    for (int i = 0; i < 4; i++) {
        char name[8];

        (void)snprintf(name, sizeof(name), "%d", i);
        add(&f, name, "x", 1, 0);
    }
    finish(&f);
    assert_int_equal(unpack(&f, &small), ERR_TOO_LARGE);
    close_fixture(&f);
    free(zeros);
}

static void package__damaged__refused(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f);
    add(&f, "app.py", "some content that is stored", 27, 0);
    assert_int_equal(zip_set_file_compression(f.archive, 0, ZIP_CM_STORE, 0), 0);
    finish(&f);
    f.zip.data[40] ^= 1; /* in the content: only the checksum can tell */
    assert_int_equal(unpack(&f, NULL), ERR_INVALID);
    f.zip.data[40] ^= 1;
    f.zip.size -= 10;
    assert_int_equal(unpack(&f, NULL), ERR_INVALID);
    f.zip.size = 0;
    assert_int_equal(unpack(&f, NULL), ERR_INVALID);
    close_fixture(&f);

    open_fixture(&f);
    zip_discard(f.archive);
    zip_source_free(f.target);
    buffer_put_text(&f.zip, "this is no archive at all");
    assert_int_equal(unpack(&f, NULL), ERR_INVALID);
    assert_non_null(strstr(f.why, "not a zip archive"));
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(package__files_and_folders__unpacked_with_their_modes),
        cmocka_unit_test(package__unsafe_names__refused),
        cmocka_unit_test(package__links_and_devices__refused),
        cmocka_unit_test(package__file_where_a_folder_is__refused),
        cmocka_unit_test(package__more_than_it_may_hold__too_large),
        cmocka_unit_test(package__damaged__refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
