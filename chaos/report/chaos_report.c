#include "chaos/report/chaos_report.h"

#include "chaos/report/report_index.h"
#include "chaos/report/report_json.h"
#include "chaos/report/report_junit.h"
#include "chaos/report/report_page.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static bool has_file(const char *folder, const char *name)
{
    AUTO(buffer) path = BUFFER_INIT(BUFFER_UNLIMITED);

    buffer_putf(&path, "%s/%s", folder, name);
    return access(buffer_text(&path), F_OK) == 0;
}

/* Whole or not at all: whoever looks meanwhile sees the old file. */
static enum error write_file(const char *folder, const char *name, const struct buffer *content,
                             char why[ERROR_WHY_BYTES])
{
    AUTO(buffer) path = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) new_path = BUFFER_INIT(BUFFER_UNLIMITED);
    FILE *file;
    bool is_written;

    buffer_putf(&path, "%s/%s", folder, name);
    buffer_putf(&new_path, "%s/.%s.new", folder, name);
    file = fopen(buffer_text(&new_path), "we");
    is_written = file != NULL && fwrite(content->data, 1, content->size, file) == content->size;
    if (file != NULL && fclose(file) != 0)
        is_written = false;
    if (is_written && rename(buffer_text(&new_path), buffer_text(&path)) == 0)
        return OK;
    (void)snprintf(why, ERROR_WHY_BYTES, "%s: %s", name, strerror(errno));
    if (file != NULL)
        (void)unlink(buffer_text(&new_path));
    return ERR_IO;
}

/* ---- one run ---- */

static enum error write_html(const char *folder, const struct report_run *run,
                             const struct report_digest *digest, bool has_index,
                             char why[ERROR_WHY_BYTES])
{
    AUTO(buffer) page = BUFFER_INIT(BUFFER_UNLIMITED);

    report_page_write(&page, run, digest, has_index);
    return write_file(folder, "report.html", &page, why);
}

static enum error write_json(const char *folder, const struct report_run *run,
                             const struct report_digest *digest, char why[ERROR_WHY_BYTES])
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&text);

    report_json_write(&json, run, digest);
    buffer_put_text(&text, "\n");
    return write_file(folder, "report.json", &text, why);
}

static enum error write_junit(const char *folder, const struct report_run *run,
                              char why[ERROR_WHY_BYTES])
{
    struct report_index alone;
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    report_index_init(&alone);
    report_junit_write(&alone.suites, run);
    report_index_write_junit(&alone, &text);
    report_index_close(&alone);
    return write_file(folder, "junit.xml", &text, why);
}

/* `index` is NULL for a run by itself. */
static enum error write_run(const char *folder, const char *name, struct report_index *index,
                            char why[ERROR_WHY_BYTES])
{
    struct report_run run;
    struct report_digest digest;
    enum error rc;

    report_run_init(&run);
    rc = report_run_read(&run, folder, why);
    if (rc == OK) {
        report_digest_init(&digest, &run);
        rc = write_html(folder, &run, &digest, index != NULL, why);
        if (rc == OK)
            rc = write_json(folder, &run, &digest, why);
        if (rc == OK)
            rc = write_junit(folder, &run, why);
        if (rc == OK && index != NULL)
            report_index_add(index, name, &run, &digest);
        report_digest_close(&digest);
    }
    report_run_close(&run);
    return rc;
}

/* ---- a folder of runs ---- */

/* Also when its runner died before it wrote run.json: that is a run, an unreadable one. */
static bool is_run(const char *folder)
{
    for (size_t i = 0; i < REPORT_FILE_COUNT; i++)
        if (has_file(folder, report_run_file_name((enum report_file)i)))
            return true;
    return false;
}

static enum error write_index(const char *folder, const struct report_index *index,
                              char why[ERROR_WHY_BYTES])
{
    static const struct {
        const char *name;
        void (*write)(const struct report_index *index, struct buffer *to);
    } files[] = {{"index.html", report_index_write_html},
                 {"report.json", report_index_write_json},
                 {"junit.xml", report_index_write_junit}};
    enum error rc = OK;

    for (size_t i = 0; i < 3 && rc == OK; i++) {
        AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

        files[i].write(index, &text);
        rc = write_file(folder, files[i].name, &text, why);
    }
    return rc;
}

/* The run in the folder `name` below, if it is one. The first error of all is kept. */
static void write_one_of(const char *folder, const char *name, struct report_index *index,
                         enum error *first_rc, char first_why[ERROR_WHY_BYTES])
{
    AUTO(buffer) path = BUFFER_INIT(BUFFER_UNLIMITED);
    char why[ERROR_WHY_BYTES];
    enum error rc;

    buffer_putf(&path, "%s/%s", folder, name);
    if (!is_run(buffer_text(&path)))
        return;
    rc = write_run(buffer_text(&path), name, index, why);
    if (rc == OK)
        return;
    report_index_add_unreadable(index, name, why);
    if (*first_rc == OK) {
        *first_rc = rc;
        (void)snprintf(first_why, ERROR_WHY_BYTES, "%.60s/%.90s", name, why);
    }
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static enum error write_all(const char *folder, char why[ERROR_WHY_BYTES])
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_visible, versionsort);
    struct report_index index;
    enum error rc = OK, index_rc = OK;

    if (count < 0) {
        rc = errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
        (void)snprintf(why, ERROR_WHY_BYTES, "%.100s: %s", folder, strerror(errno));
        return rc;
    }
    report_index_init(&index);
    for (int i = 0; i < count; i++) {
        write_one_of(folder, entries[i]->d_name, &index, &rc, why);
        free(entries[i]);
    }
    free(entries);
    if (index.count == 0) {
        rc = ERR_NOT_FOUND;
        (void)snprintf(why, ERROR_WHY_BYTES, "run.json: not in %.80s, nor in a folder below",
                       folder);
    } else
        index_rc = write_index(folder, &index, why);
    report_index_close(&index);
    return index_rc != OK ? index_rc : rc;
}

enum error chaos_report_write(const char *folder, char why[ERROR_WHY_BYTES])
{
    return is_run(folder) ? write_run(folder, "", NULL, why) : write_all(folder, why);
}
