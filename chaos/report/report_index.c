#include "chaos/report/report_index.h"

#include "chaos/report/report_chart.h"
#include "chaos/report/report_json.h"
#include "chaos/report/report_junit.h"
#include "chaos/report/report_page.h"
#include "chaos/report/report_text.h"
#include "proto/base/encode.h"

void report_index_init(struct report_index *index)
{
    *index = (struct report_index){0};
    buffer_init(&index->rows, BUFFER_UNLIMITED);
    buffer_init(&index->suites, BUFFER_UNLIMITED);
    buffer_init(&index->runs, BUFFER_UNLIMITED);
}

void report_index_close(struct report_index *index)
{
    buffer_close(&index->rows);
    buffer_close(&index->suites);
    buffer_close(&index->runs);
}

enum report_verdict report_index_verdict(const struct report_index *index)
{
    if (index->verdict_counts[REPORT_FAIL] > 0)
        return REPORT_FAIL;
    if (index->verdict_counts[REPORT_UNDECIDED] > 0 || index->unreadable_count > 0 ||
        index->count == 0)
        return REPORT_UNDECIDED;
    return index->verdict_counts[REPORT_PASS] > 0 ? REPORT_PASS : REPORT_SKIPPED;
}

/* ---- rows ---- */

static void open_row(struct buffer *to, const char *kind, const char *sign, const char *verdict)
{
    buffer_putf(to, "<tr class=\"%s\"><td class=\"outcome\">%s %s</td>", kind, sign, verdict);
}

static void put_link(struct buffer *to, const char *name, const char *text)
{
    AUTO(buffer) address = BUFFER_INIT(BUFFER_UNLIMITED);
    enum error rc = encode_percent(slice_text(name), "", &address);

    (void)rc; /* no limit to meet */
    buffer_putf(to, "<a href=\"%s/report.html\">", buffer_text(&address));
    report_text_escape(to, text);
    buffer_put_text(to, "</a>");
}

static void put_number(struct buffer *to, const char *column, const char *text, bool is_bad)
{
    buffer_putf(to, "<td data-name=\"%s\" class=\"number%s\">", column, is_bad ? " hurt" : "");
    report_text_escape(to, text);
    buffer_put_text(to, "</td>");
}

/* Why the run ended as it did, or else the first invariant that does not hold. */
static void put_reason(struct buffer *to, const struct report_run *run)
{
    size_t i = 0;

    buffer_put_text(to, "<small>");
    report_text_escape(to, run->why);
    while (i < run->invariant_count && run->invariants[i].outcome == REPORT_HOLDS)
        i++;
    if (run->why[0] == '\0' && i < run->invariant_count) {
        report_text_escape(to, run->invariants[i].name);
        buffer_put_text(to, ": wanted ");
        report_text_escape(to, run->invariants[i].threshold);
        buffer_put_text(to, ", measured ");
        report_text_escape(to, run->invariants[i].measured);
    }
    buffer_put_text(to, "</small>");
}

static void put_row(struct buffer *to, const char *name, const struct report_run *run,
                    const struct report_digest *digest)
{
    bool is_measured = run->sample_count > 0;

    open_row(to, report_page_class(run->verdict), report_page_sign(run->verdict),
             report_run_verdict_name(run->verdict));
    buffer_put_text(to, "<td class=\"name\">");
    put_link(to, name, run->title[0] != '\0' ? run->title : run->scenario);
    buffer_put_text(to, "<small>");
    if (strstr(name, run->scenario) == NULL) {
        report_text_escape(to, run->scenario);
        buffer_put_text(to, " \u00b7 ");
    }
    report_text_escape(to, name);
    buffer_put_text(to, "</small>");
    put_reason(to, run);
    buffer_put_text(to, "</td><td class=\"figure\">");
    if (is_measured)
        report_chart_write_small(to, run);
    buffer_put_text(to, "</td>");
    if (is_measured) {
        put_number(to, "took", report_text_seconds(run->seconds).text, false);
        put_number(to, "standstill", report_text_gap(digest->gap.seconds, digest->period_s).text,
                   false);
        put_number(to, "worst p99", report_text_ms(digest->p99_worst_ms).text, false);
        put_number(to, "acknowledged", report_text_count(digest->ok).text, false);
        put_number(to, "failed", report_text_count(digest->failed).text, digest->failed > 0);
    } else
        buffer_put_text(to, "<td colspan=\"5\" class=\"nothing\"></td>");
    buffer_put_text(to, "</tr>\n");
}

static void put_comma(struct buffer *to)
{
    if (to->size > 0)
        buffer_put_text(to, ",\n");
}

void report_index_add(struct report_index *index, const char *name, const struct report_run *run,
                      const struct report_digest *digest)
{
    struct json_write json = json_write_to(&index->runs);

    index->count++;
    index->verdict_counts[run->verdict]++;
    index->ok += digest->ok;
    index->failed += digest->failed;
    index->seconds += run->seconds;
    put_row(&index->rows, name, run, digest);
    report_junit_write(&index->suites, run);
    put_comma(&index->runs);
    json_begin_object(&json);
    json_member_text(&json, "folder", name);
    json_key(&json, "report");
    report_json_write(&json, run, digest);
    json_end_object(&json);
}

void report_index_add_unreadable(struct report_index *index, const char *name, const char *why)
{
    struct json_write json = json_write_to(&index->runs);
    struct buffer *to = &index->rows;

    index->count++;
    index->unreadable_count++;
    open_row(to, "undecided", "?", "UNREADABLE");
    buffer_put_text(to, "<td class=\"name\">");
    report_text_escape(to, name);
    buffer_put_text(to, "<small>");
    report_text_escape(to, why);
    buffer_put_text(to, "</small></td><td colspan=\"6\" class=\"nothing\"></td></tr>\n");

    to = &index->suites;
    buffer_put_text(to, "  <testsuite name=\"chaos.");
    report_text_escape(to, name);
    buffer_put_text(to, "\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\">\n"
                        "    <testcase classname=\"chaos.");
    report_text_escape(to, name);
    buffer_put_text(to, "\" name=\"report\">\n      <error message=\"");
    report_text_escape(to, why);
    buffer_put_text(to, "\"/>\n    </testcase>\n  </testsuite>\n");

    put_comma(&index->runs);
    json_begin_object(&json);
    json_member_text(&json, "folder", name);
    json_member_text(&json, "error", why);
    json_end_object(&json);
}

/* ---- the whole ---- */

/* "12 of 14 runs passed, 2 skipped" */
static void put_summary(const struct report_index *index, struct buffer *to)
{
    static const struct {
        enum report_verdict verdict;
        const char *text;
    } others[] = {
        {REPORT_FAIL, "failed"}, {REPORT_UNDECIDED, "undecided"}, {REPORT_SKIPPED, "skipped"}};

    buffer_putf(to, "%zu of %zu runs passed", index->verdict_counts[REPORT_PASS], index->count);
    for (size_t i = 0; i < 3; i++)
        if (index->verdict_counts[others[i].verdict] > 0)
            buffer_putf(to, ", %zu %s", index->verdict_counts[others[i].verdict], others[i].text);
    if (index->unreadable_count > 0)
        buffer_putf(to, ", %zu unreadable", index->unreadable_count);
}

void report_index_write_html(const struct report_index *index, struct buffer *to)
{
    AUTO(buffer) summary = BUFFER_INIT(BUFFER_UNLIMITED);

    put_summary(index, &summary);
    report_page_begin(to, report_index_verdict(index), buffer_text(&summary));
    buffer_put_text(to, "</header>\n<dl class=\"figures\">\n");
    report_page_figure(to, "acknowledged", report_text_count(index->ok).text, false);
    report_page_figure(to, "failed", report_text_count(index->failed).text, index->failed > 0);
    report_page_figure(to, "measured", report_text_seconds(index->seconds).text, false);
    buffer_put_text(to, "</dl>\n<section><table class=\"runs\"><thead><tr><th></th><th>Run</th>"
                        "<th>Requests a second, faults</th><th>Took</th>"
                        "<th>Standstill</th><th>Worst p99</th><th>Acknowledged</th><th>Failed</th>"
                        "</tr></thead><tbody>\n");
    buffer_put_slice(to, buffer_slice(&index->rows));
    buffer_put_text(to, "</tbody></table></section>\n<footer><p><a href=\"report.json\">report.json"
                        "</a> <a href=\"junit.xml\">junit.xml</a></p><p>skein " SKEIN_VERSION
                        "</p></footer>\n");
    report_page_end(to);
}

void report_index_write_json(const struct report_index *index, struct buffer *to)
{
    struct json_write json = json_write_to(to);

    json_begin_object(&json);
    json_member_text(&json, "verdict", report_run_verdict_name(report_index_verdict(index)));
    json_key(&json, "runs_by_verdict");
    json_begin_object(&json);
    for (size_t i = 0; i < 4; i++)
        json_member_u64(&json, report_run_verdict_name((enum report_verdict)i),
                        index->verdict_counts[i]);
    json_member_u64(&json, "UNREADABLE", index->unreadable_count);
    json_end_object(&json);
    json_member_u64(&json, "ok", index->ok);
    json_member_u64(&json, "failed", index->failed);
    report_json_member(&json, "seconds", index->seconds);
    json_key(&json, "runs");
    json_begin_array(&json);
    if (index->runs.size > 0)
        json_raw(&json, buffer_slice(&index->runs));
    json_end_array(&json);
    json_end_object(&json);
    buffer_put_text(to, "\n");
}

void report_index_write_junit(const struct report_index *index, struct buffer *to)
{
    buffer_put_text(to, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    buffer_put_slice(to, buffer_slice(&index->suites));
    buffer_put_text(to, "</testsuites>\n");
}
