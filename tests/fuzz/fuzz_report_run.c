/* The files of a chaos run from strangers, with a line --- between them: run.json, events, samples,
 * leaders. What can be read must digest and print, as JSON that reads back and as a page in which
 * no text became an element. */

#include "chaos/report/report_json.h"
#include "chaos/report/report_junit.h"
#include "chaos/report/report_page.h"
#include "proto/base/check.h"
#include "proto/base/utf8.h"

#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;

    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        count++;
    return count;
}

static void check_json(const struct report_run *run, const struct report_digest *digest)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&text);
    json_t *read;

    report_json_write(&json, run, digest);
    read = json_loadb((const char *)text.data, text.size, 0, NULL);
    CHECK(read != NULL);
    json_decref(read);
}

static void check_page(const struct report_run *run, const struct report_digest *digest)
{
    AUTO(buffer) page = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) junit = BUFFER_INIT(BUFFER_UNLIMITED);

    report_page_write(&page, run, digest, true);
    CHECK(utf8_is_valid(buffer_slice(&page)));
    CHECK(count_of(buffer_text(&page), "<script") == (run->sample_count > 0 ? 2 : 1));
    CHECK(count_of(buffer_text(&page), "<img") == 0);
    report_junit_write(&junit, run);
    CHECK(utf8_is_valid(buffer_slice(&junit)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_of(data, size);
    struct report_run run;
    struct report_digest digest;
    char why[ERROR_WHY_BYTES] = "";
    enum error rc = OK;

    report_run_init(&run);
    for (size_t i = 0; i < REPORT_FILE_COUNT && rc == OK; i++) {
        const uint8_t *end = rest.size > 0 ? memmem(rest.data, rest.size, "\n---\n", 5) : NULL;
        size_t bytes = end != NULL ? (size_t)(end - rest.data) : rest.size;
        size_t used = bytes + (end != NULL ? 5 : 0);

        rc = report_run_parse(&run, (enum report_file)i, slice_of(rest.data, bytes), why);
        rest = slice_of(rest.data + used, rest.size - used);
    }
    if (rc == OK)
        rc = report_run_end(&run, why);
    CHECK(rc == OK || why[0] != '\0');
    if (rc == OK) {
        report_digest_init(&digest, &run);
        check_json(&run, &digest);
        check_page(&run, &digest);
        report_digest_close(&digest);
    }
    report_run_close(&run);
    return 0;
}
