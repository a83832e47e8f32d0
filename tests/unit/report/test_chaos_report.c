#include "chaos/report/chaos_report.h"
#include "tests/unit/report/made_run.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>
#include <ftw.h>

struct fixture {
    char folder[200];
    char path[400];
    char why[ERROR_WHY_BYTES];
};

static void fixture_open(struct fixture *f)
{
    const char *base = getenv("TMPDIR");

    *f = (struct fixture){0};
    (void)snprintf(f->folder, sizeof(f->folder), "%.100s/report-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(f->folder));
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void fixture_close(struct fixture *f)
{
    assert_int_equal(nftw(f->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static const char *fixture_path(struct fixture *f, const char *name)
{
    (void)snprintf(f->path, sizeof(f->path), "%s/%s", f->folder, name);
    return f->path;
}

static bool fixture_has(struct fixture *f, const char *name)
{
    return access(fixture_path(f, name), F_OK) == 0;
}

/* The file's content; the caller frees it. */
static char *fixture_read(struct fixture *f, const char *name)
{
    FILE *file = fopen(fixture_path(f, name), "re");
    char *text = calloc(1, 1 << 20);

    assert_non_null(file);
    assert_non_null(text);
    (void)fread(text, 1, (1 << 20) - 1, file);
    (void)fclose(file);
    return text;
}

static void fixture_put(struct fixture *f, const char *name, const char *run_json)
{
    struct made_run made;

    made_run_minute(&made);
    if (run_json != NULL)
        made_run_set(&made, run_json);
    made_run_write(&made, fixture_path(f, name));
    made_run_close(&made);
}

static void write__a_run__three_files_and_nothing_else(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    fixture_put(&f, "run", NULL);
    assert_int_equal(chaos_report_write(fixture_path(&f, "run"), f.why), OK);

    assert_true(fixture_has(&f, "run/report.html"));
    assert_true(fixture_has(&f, "run/report.json"));
    assert_true(fixture_has(&f, "run/junit.xml"));
    assert_false(fixture_has(&f, "run/index.html"));
    assert_false(fixture_has(&f, "run/.report.html.new"));
    assert_false(fixture_has(&f, "index.html"));
    fixture_close(&f);
}

static void write__same_run_again__same_bytes(void **state)
{
    struct fixture f;
    char *first, *second;

    (void)state;
    fixture_open(&f);
    fixture_put(&f, "run", NULL);
    assert_int_equal(chaos_report_write(fixture_path(&f, "run"), f.why), OK);
    first = fixture_read(&f, "run/report.html");
    assert_int_equal(chaos_report_write(fixture_path(&f, "run"), f.why), OK);
    second = fixture_read(&f, "run/report.html");

    assert_string_equal(first, second);
    free(first);
    free(second);
    fixture_close(&f);
}

static void write__file_missing__named(void **state)
{
    static const char *const names[] = {"events.jsonl", "samples.jsonl", "leaders.jsonl"};
    struct fixture f;
    char path[64], wanted[64];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        fixture_open(&f);
        fixture_put(&f, "run", NULL);
        (void)snprintf(path, sizeof(path), "run/%s", names[i]);
        (void)snprintf(wanted, sizeof(wanted), "%s: No such file or directory", names[i]);
        assert_int_equal(unlink(fixture_path(&f, path)), 0);

        assert_int_equal(chaos_report_write(fixture_path(&f, "run"), f.why), ERR_NOT_FOUND);
        assert_string_equal(f.why, wanted);
        assert_false(fixture_has(&f, "run/report.html"));
        fixture_close(&f);
    }
}

static void write__skipped_run_without_other_files__reported(void **state)
{
    struct fixture f;
    FILE *file;

    (void)state;
    fixture_open(&f);
    file = fopen(fixture_path(&f, "run.json"), "we");
    assert_non_null(file);
    (void)fputs("{\"scenario\": \"S14\", \"verdict\": \"SKIPPED\", \"why\": \"needs: FUSE\"}",
                file);
    (void)fclose(file);

    assert_int_equal(chaos_report_write(f.folder, f.why), OK);
    assert_true(fixture_has(&f, "report.html"));
    fixture_close(&f);
}

static void write__folder_without_runs__not_found(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    assert_int_equal(chaos_report_write(f.folder, f.why), ERR_NOT_FOUND);
    assert_int_equal(strncmp(f.why, "run.json: not in ", 17), 0);
    assert_int_equal(chaos_report_write(fixture_path(&f, "nowhere"), f.why), ERR_NOT_FOUND);
    fixture_close(&f);
}

static void write__runs_that_pass_and_one_skipped__whole_passes(void **state)
{
    struct fixture f;
    char *page;

    (void)state;
    fixture_open(&f);
    fixture_put(&f, "S1 100%", NULL);
    fixture_put(&f, "S2", NULL);
    fixture_put(&f, "S3", "{\"scenario\": \"S3\", \"verdict\": \"SKIPPED\", \"why\": \"no FUSE\"}");
    assert_int_equal(chaos_report_write(f.folder, f.why), OK);

    assert_true(fixture_has(&f, "S1 100%/report.html"));
    page = fixture_read(&f, "index.html");
    assert_non_null(strstr(page, "\u2713 PASS</strong> 2 of 3 runs passed, 1 skipped</h1>"));
    assert_non_null(strstr(page, "href=\"S1%20100%25/report.html\""));
    free(page);
    fixture_close(&f);
}

static void write__only_skipped_runs__whole_is_skipped(void **state)
{
    struct fixture f;
    char *page;

    (void)state;
    fixture_open(&f);
    fixture_put(&f, "S3", "{\"scenario\": \"S3\", \"verdict\": \"SKIPPED\"}");
    assert_int_equal(chaos_report_write(f.folder, f.why), OK);

    page = fixture_read(&f, "index.html");
    assert_non_null(strstr(page, "SKIPPED</strong> 0 of 1 runs passed, 1 skipped</h1>"));
    free(page);
    fixture_close(&f);
}

static void write__one_run_unreadable__others_written_and_whole_undecided(void **state)
{
    struct fixture f;
    json_t *json;
    char *text;

    (void)state;
    fixture_open(&f);
    fixture_put(&f, "S1", NULL);
    fixture_put(&f, "S2", "{\"scenario\": ");
    fixture_put(&f, "S3", NULL);
    assert_int_equal(chaos_report_write(f.folder, f.why), ERR_INVALID);
    assert_int_equal(strncmp(f.why, "S2/run.json:1: no JSON: ", 24), 0);

    assert_true(fixture_has(&f, "S3/report.html"));
    text = fixture_read(&f, "index.html");
    assert_non_null(strstr(text, "? UNDECIDED</strong> 2 of 3 runs passed, 1 unreadable</h1>"));
    free(text);
    text = fixture_read(&f, "report.json");
    json = json_loads(text, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "verdict")), "UNDECIDED");
    assert_int_equal(json_array_size(json_object_get(json, "runs")), 3);
    json_decref(json);
    free(text);
    text = fixture_read(&f, "junit.xml");
    assert_non_null(
        strstr(text, "<testsuite name=\"chaos.S2\" tests=\"1\" failures=\"0\" errors=\"1\""));
    free(text);
    fixture_close(&f);
}

static void write__one_run_failed__whole_fails(void **state)
{
    struct fixture f;
    char *page;

    (void)state;
    fixture_open(&f);
    fixture_put(&f, "S1", NULL);
    fixture_put(&f, "S2", "{\"scenario\": \"S2\", \"verdict\": \"UNDECIDED\", \"seconds\": 60}");
    fixture_put(&f, "S3", "{\"scenario\": \"S3\", \"verdict\": \"FAIL\", \"seconds\": 60}");
    assert_int_equal(chaos_report_write(f.folder, f.why), OK);

    page = fixture_read(&f, "index.html");
    assert_non_null(strstr(page, "\u2717 FAIL</strong> 1 of 3 runs passed, 1 failed, 1 undecided"));
    free(page);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write__a_run__three_files_and_nothing_else),
        cmocka_unit_test(write__same_run_again__same_bytes),
        cmocka_unit_test(write__file_missing__named),
        cmocka_unit_test(write__skipped_run_without_other_files__reported),
        cmocka_unit_test(write__folder_without_runs__not_found),
        cmocka_unit_test(write__runs_that_pass_and_one_skipped__whole_passes),
        cmocka_unit_test(write__only_skipped_runs__whole_is_skipped),
        cmocka_unit_test(write__one_run_unreadable__others_written_and_whole_undecided),
        cmocka_unit_test(write__one_run_failed__whole_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
