#include "chaos/report/report_page.h"

#include "chaos/report/report_asset.h"
#include "chaos/report/report_bucket.h"
#include "chaos/report/report_chart.h"
#include "chaos/report/report_json.h"
#include "chaos/report/report_table.h"
#include "chaos/report/report_text.h"

#define LEADS_MAX 20000 /* in the data that the pointer reads */

const char *report_page_class(enum report_verdict verdict)
{
    static const char *const classes[] = {
        [REPORT_PASS] = "pass",
        [REPORT_FAIL] = "fail",
        [REPORT_UNDECIDED] = "undecided",
        [REPORT_SKIPPED] = "skipped",
    };

    return classes[verdict];
}

const char *report_page_sign(enum report_verdict verdict)
{
    static const char *const signs[] = {
        [REPORT_PASS] = "\u2713",
        [REPORT_FAIL] = "\u2717",
        [REPORT_UNDECIDED] = "?",
        [REPORT_SKIPPED] = "\u2013",
    };

    return signs[verdict];
}

void report_page_begin(struct buffer *to, enum report_verdict verdict, const char *title)
{
    const char *name = report_run_verdict_name(verdict);

    buffer_putf(to, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s ",
                name);
    report_text_escape(to, title);
    buffer_put_text(to,
                    "</title>\n"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                    "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
                    "<meta name=\"color-scheme\" content=\"light dark\">\n<style>\n");
    buffer_put_text(to, (const char *)report_css);
    buffer_putf(to, "</style></head>\n<body><header class=\"%s\"><h1><strong>%s %s</strong> ",
                report_page_class(verdict), report_page_sign(verdict), name);
    report_text_escape(to, title);
    buffer_put_text(to, "</h1>\n");
}

void report_page_end(struct buffer *to)
{
    buffer_put_text(to, "<script>\n");
    buffer_put_text(to, (const char *)report_js);
    buffer_put_text(to, "</script>\n</body></html>\n");
}

void report_page_figure(struct buffer *to, const char *name, const char *text, bool is_bad)
{
    buffer_putf(to, "<div%s><dt>%s</dt><dd>", is_bad ? " class=\"bad\"" : "", name);
    report_text_escape(to, text);
    buffer_put_text(to, "</dd></div>\n");
}

/* ---- the head ---- */

static void put_fact(struct buffer *to, const char *before, const char *text, const char *after)
{
    if (text[0] == '\0')
        return;
    buffer_putf(to, "<span>%s", before);
    report_text_escape(to, text);
    buffer_putf(to, "%s</span> ", after);
}

static void put_cluster(struct buffer *to, const struct report_run *run)
{
    if (run->node_count + run->controller_count == 0)
        return;
    buffer_putf(to, "<span>%s nodes, %s controllers", report_text_count(run->node_count).text,
                report_text_count(run->controller_count).text);
    for (size_t i = 0; i < run->region_count; i++) {
        buffer_put_text(to, i == 0 ? " in " : ", ");
        report_text_escape(to, run->regions[i]);
    }
    buffer_put_text(to, "</span>");
}

static void put_head(struct buffer *to, const struct report_run *run, bool has_index)
{
    if (run->why[0] != '\0') {
        buffer_put_text(to, "<p class=\"why\">");
        report_text_escape(to, run->why);
        buffer_put_text(to, "</p>\n");
    }
    buffer_put_text(to, "<p class=\"facts\">");
    if (has_index)
        buffer_put_text(to, "<span><a href=\"../index.html\">all runs</a></span> ");
    put_fact(to, "", run->scenario, "");
    put_fact(to, "layer ", run->layer, "");
    put_fact(to, "seed ", run->seed, "");
    put_fact(to, "", run->started, "");
    put_fact(to, "", report_text_seconds(run->seconds).text, "");
    put_cluster(to, run);
    buffer_put_text(to, "</p></header>\n");
}

/* Of the slowest fault; UNKNOWN when no fault could be measured. */
static enum report_recovery slowest_recovery(const struct report_run *run,
                                             const struct report_digest *digest, double *seconds)
{
    enum report_recovery slowest = REPORT_RECOVERY_UNKNOWN;

    *seconds = 0;
    for (size_t i = 0; i < run->fault_count; i++) {
        const struct report_effect *effect = &digest->effects[i];

        if (effect->recovery > slowest)
            slowest = effect->recovery;
        if (effect->recovery == REPORT_RECOVERY_DONE && effect->recovery_s > *seconds)
            *seconds = effect->recovery_s;
    }
    return slowest;
}

static void put_figures(struct buffer *to, const struct report_run *run,
                        const struct report_digest *digest)
{
    double seconds;
    enum report_recovery recovery = slowest_recovery(run, digest, &seconds);

    buffer_put_text(to, "<dl class=\"figures\">\n");
    report_page_figure(to, "acknowledged", report_text_count(digest->ok).text, false);
    report_page_figure(to, "failed", report_text_count(digest->failed).text, digest->failed > 0);
    report_page_figure(to, "standstill",
                       report_text_gap(digest->gap.seconds, digest->period_s).text, false);
    report_page_figure(to, "p50", report_text_ms(digest->p50_ms).text, false);
    report_page_figure(to, "p99", report_text_ms(digest->p99_ms).text, false);
    report_page_figure(to, "slowest request", report_text_ms(digest->max_ms).text, false);
    if (recovery != REPORT_RECOVERY_UNKNOWN)
        report_page_figure(to, "worst recovery",
                           recovery == REPORT_RECOVERY_NEVER    ? "never"
                           : recovery == REPORT_RECOVERY_NO_DIP ? "no dip"
                                                                : report_text_seconds(seconds).text,
                           recovery == REPORT_RECOVERY_NEVER);
    if (run->shards.count > 0)
        report_page_figure(to, "leader changes", report_text_count(digest->leader_changes).text,
                           false);
    buffer_put_text(to, "</dl>\n");
}

/* ---- charts and the data under the pointer ---- */

static void put_node_legend(struct buffer *to, const struct report_run *run)
{
    if (run->nodes.count == 0)
        return;
    buffer_put_text(to, "<p class=\"nodes\">");
    for (size_t i = 0; i < run->nodes.count; i++) {
        buffer_putf(to, "<span class=\"n%zu\"><i></i>", i % REPORT_CHART_COLOURS);
        report_text_escape(to, run->nodes.names[i]);
        buffer_put_text(to, "</span> ");
    }
    buffer_put_text(to, "</p>\n");
}

static void data_buckets(struct json_write *json, const struct report_run *run)
{
    struct report_buckets buckets;

    report_buckets_init(&buckets, run, REPORT_CHART_BUCKETS_MAX);
    json_key(json, "samples");
    json_begin_array(json);
    for (size_t i = 0; i < buckets.count; i++) {
        const struct report_bucket *bucket = &buckets.buckets[i];

        json_begin_array(json);
        report_json_number(json, bucket->until_s);
        report_json_number(json, bucket->rate);
        report_json_number(json, bucket->failed_rate);
        report_json_number(json, bucket->p50_ms);
        report_json_number(json, bucket->p99_ms);
        report_json_number(json, bucket->max_ms);
        json_end_array(json);
    }
    json_end_array(json);
    report_buckets_close(&buckets);
}

static void data_faults(struct json_write *json, const struct report_run *run)
{
    json_key(json, "faults");
    json_begin_array(json);
    for (size_t i = 0; i < run->fault_count; i++) {
        AUTO(buffer) name = BUFFER_INIT(BUFFER_UNLIMITED);

        report_chart_fault_name(&name, run, i);
        json_begin_array(json);
        json_slice(json, buffer_slice(&name));
        report_json_number(json, run->faults[i].from_s);
        report_json_number(json, run->faults[i].until_s);
        json_end_array(json);
    }
    json_end_array(json);
}

static void data_names(struct json_write *json, const char *key, const struct report_names *names)
{
    json_key(json, key);
    json_begin_array(json);
    for (size_t i = 0; i < names->count; i++)
        json_text(json, names->names[i]);
    json_end_array(json);
}

static void data_leads(struct json_write *json, const struct report_run *run)
{
    data_names(json, "shards", &run->shards);
    data_names(json, "nodes", &run->nodes);
    json_key(json, "leads");
    json_begin_array(json);
    for (size_t i = 0; i < run->lead_count && run->lead_count <= LEADS_MAX; i++) {
        const struct report_lead *lead = &run->leads[i];

        json_begin_array(json);
        report_json_number(json, lead->at_s);
        json_u64(json, lead->shard);
        json_i64(json, lead->node == REPORT_NO_NODE ? -1 : (int64_t)lead->node);
        json_end_array(json);
    }
    json_end_array(json);
}

/* JSON in a script element: no text may look like the element's end. */
static void put_data(struct buffer *to, const struct report_run *run)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&text);

    json_begin_object(&json);
    data_buckets(&json, run);
    data_faults(&json, run);
    data_leads(&json, run);
    json_end_object(&json);
    buffer_put_text(to, "<script type=\"application/json\" id=\"data\">");
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] == '<' || text.data[i] == '>' || text.data[i] == '&')
            buffer_putf(to, "\\u%04x", text.data[i]);
        else
            buffer_put_u8(to, text.data[i]);
    buffer_put_text(to, "</script>\n");
}

static void put_charts(struct buffer *to, const struct report_run *run)
{
    buffer_put_text(to, "<section class=\"charts\">\n");
    report_chart_write(to, run, REPORT_CHART_WIDE);
    report_chart_write(to, run, REPORT_CHART_NARROW);
    put_node_legend(to, run);
    buffer_put_text(to, "<div class=\"tip\" role=\"status\" hidden></div>\n</section>\n");
    put_data(to, run);
}

static bool is_plain_word(const char *text)
{
    return text[0] != '\0' && text[0] != '-' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

/* The command that runs the same once more, where `skein` has one. */
static void put_command(struct buffer *to, const struct report_run *run)
{
    if (strcmp(run->layer, "laptop") == 0 && run->seconds > 0 && is_plain_word(run->scenario) &&
        is_plain_word(run->seed))
        buffer_putf(to, "<p>Again: <code>skein chaos run %s --seed %s --seconds %.0f</code></p>",
                    run->scenario, run->seed, run->seconds);
}

static void put_foot(struct buffer *to, const struct report_run *run)
{
    static const char *const always[] = {"run.json", "report.json", "junit.xml"};
    static const char *const began[] = {"events.jsonl", "samples.jsonl", "leaders.jsonl",
                                        "history.jsonl"};

    buffer_put_text(to, "<footer><p>Files of this run:");
    for (size_t i = 0; i < 3; i++)
        buffer_putf(to, " <a href=\"%s\">%s</a>", always[i], always[i]);
    for (size_t i = 0; i < 4 && run->sample_count > 0; i++)
        buffer_putf(to, " <a href=\"%s\">%s</a>", began[i], began[i]);
    buffer_put_text(to, "</p>");
    put_command(to, run);
    buffer_put_text(to, "<p>skein " SKEIN_VERSION "</p></footer>\n");
}

void report_page_write(struct buffer *to, const struct report_run *run,
                       const struct report_digest *digest, bool has_index)
{
    report_page_begin(to, run->verdict, run->title[0] != '\0' ? run->title : run->scenario);
    put_head(to, run, has_index);
    if (run->sample_count > 0) {
        put_figures(to, run, digest);
        put_charts(to, run);
    }
    report_table_invariants(to, run);
    if (run->sample_count > 0)
        report_table_faults(to, run, digest);
    report_table_events(to, run);
    put_foot(to, run);
    report_page_end(to);
}
