#include "chaos/report/report_table.h"

#include "chaos/report/report_chart.h"
#include "chaos/report/report_text.h"

#define ROWS_MAX 1000 /* a page must open; report.json and events.jsonl have them all */

static void put_rest(struct buffer *to, size_t count, const char *file)
{
    if (count > ROWS_MAX)
        buffer_putf(to,
                    "<p class=\"note\">The first %d of %zu; all are in <a href=\"%s\">%s</a>."
                    "</p>\n",
                    ROWS_MAX, count, file, file);
}

/* A cell with its column's name, which narrow screens show in front of it. */
static void open_cell(struct buffer *to, const char *column, const char *kind)
{
    buffer_putf(to, "<td data-name=\"%s\" class=\"%s\">", column, kind);
}

static void put_cell(struct buffer *to, const char *column, const char *kind, const char *text)
{
    open_cell(to, column, kind);
    report_text_escape(to, text);
    buffer_put_text(to, "</td>");
}

/* ---- invariants ---- */

static void put_invariant(struct buffer *to, const struct report_invariant *invariant)
{
    static const struct {
        const char *kind, *text;
    } outcomes[] = {
        [REPORT_HOLDS] = {"pass", "\u2713 holds"},
        [REPORT_BROKEN] = {"fail", "\u2717 broken"},
        [REPORT_OPEN] = {"undecided", "? not decided"},
    };

    buffer_putf(to, "<tr class=\"%s\">", outcomes[invariant->outcome].kind);
    open_cell(to, "", "outcome");
    buffer_putf(to, "%s</td>", outcomes[invariant->outcome].text);
    put_cell(to, "", "name", invariant->name);
    put_cell(to, "wanted", "", invariant->threshold);
    put_cell(to, "measured", "strong", invariant->measured);
    buffer_put_text(to, "</tr>\n");
}

void report_table_invariants(struct buffer *to, const struct report_run *run)
{
    if (run->invariant_count == 0)
        return;
    buffer_put_text(to, "<section><h2>Invariants</h2>\n<table class=\"invariants\"><thead><tr><th>"
                        "</th><th>Invariant</th><th>Wanted</th><th>Measured</th></tr></thead>"
                        "<tbody>\n");
    for (size_t i = 0; i < run->invariant_count; i++)
        put_invariant(to, &run->invariants[i]);
    buffer_put_text(to, "</tbody></table></section>\n");
}

/* ---- faults ---- */

static void put_rate(struct buffer *to, const struct report_effect *effect)
{
    bool is_hurt = effect->rate_before > 0 && effect->rate_during >= 0 &&
                   effect->rate_during < effect->rate_before * REPORT_BACK_SHARE;

    open_cell(to, "rate", "number");
    buffer_putf(to, "%s <i>\u2192</i> <b class=\"%s\">%s</b> <i>\u2192</i> %s</td>",
                report_text_rate(effect->rate_before).text, is_hurt ? "hurt" : "",
                report_text_rate(effect->rate_during).text,
                report_text_rate(effect->rate_after).text);
}

static void put_recovery(struct buffer *to, const struct report_effect *effect)
{
    open_cell(to, "recovery", "number");
    switch (effect->recovery) {
    case REPORT_RECOVERY_UNKNOWN:
        buffer_put_text(to, "\u2013");
        break;
    case REPORT_RECOVERY_NO_DIP:
        buffer_put_text(to, "no dip");
        break;
    case REPORT_RECOVERY_DONE:
        buffer_put_text(to, report_text_seconds(effect->recovery_s).text);
        break;
    case REPORT_RECOVERY_NEVER:
        buffer_put_text(to, "<b class=\"hurt\">not within the run</b>");
        break;
    }
    buffer_put_text(to, "</td>");
}

static void put_fault(struct buffer *to, const struct report_run *run,
                      const struct report_digest *digest, size_t index)
{
    const struct report_fault *fault = &run->faults[index];
    const struct report_effect *effect = &digest->effects[index];
    AUTO(buffer) name = BUFFER_INIT(BUFFER_UNLIMITED);

    report_chart_fault_name(&name, run, index);
    buffer_putf(to, "<tr data-from=\"%.3f\" data-until=\"%.3f\">", fault->from_s, fault->until_s);
    put_cell(to, "", "name", buffer_text(&name));
    put_cell(to, "at", "number", report_text_moment(fault->from_s, run->end_s).text);
    put_cell(to, "lasted", "number",
             fault->is_undone ? report_text_seconds(fault->until_s - fault->from_s).text
                              : "to the end");
    put_rate(to, effect);
    put_recovery(to, effect);
    put_cell(to, "standstill", "number",
             report_text_gap(effect->gap.seconds, digest->period_s).text);
    put_cell(to, "leaderless", "number",
             effect->leaderless_s > 0 ? report_text_seconds(effect->leaderless_s).text : "\u2013");
    put_cell(to, "worst p99", "number", report_text_ms(effect->p99_ms).text);
    put_cell(to, "failed", effect->failed > 0 ? "number hurt" : "number",
             report_text_count(effect->failed).text);
    buffer_put_text(to, "</tr>\n");
}

void report_table_faults(struct buffer *to, const struct report_run *run,
                         const struct report_digest *digest)
{
    if (run->fault_count == 0)
        return;
    buffer_put_text(
        to, "<section><h2>Faults, and what clients saw of them</h2>\n"
            "<table class=\"faults\"><thead><tr><th>Fault</th><th>At</th><th>Lasted</th>"
            "<th>Requests a second<br>before \u2192 during \u2192 after</th><th>Recovery</th>"
            "<th>Standstill</th><th>Leaderless</th><th>Worst p99</th><th>Failed</th></tr></thead>"
            "<tbody>\n");
    for (size_t i = 0; i < run->fault_count && i < ROWS_MAX; i++)
        put_fault(to, run, digest, i);
    buffer_put_text(to, "</tbody></table>\n");
    put_rest(to, run->fault_count, "report.json");
    buffer_putf(
        to,
        "<p class=\"note\">Before and after: %.0f s each. Recovery: from the begin of the "
        "fault until the rate was back at %.0f\u202f%% of that before, over %.0f s; no dip: "
        "it never fell below %.0f\u202f%%, but for chance. Standstill: nobody got an answer. "
        "It, p99 and failed count until %.0f s after the fault or until the next one. "
        "Nothing shorter than a sample (%s) is seen.</p></section>\n",
        REPORT_AROUND_S, REPORT_BACK_SHARE * 100, REPORT_BACK_S, REPORT_DIP_SHARE * 100,
        REPORT_AROUND_S, report_text_seconds(digest->period_s).text);
}

/* ---- events ---- */

/* "3 kill node-3", "fault 3" when the text says the rest, "fault 3 ends after 4.2 s", or what a
 * note is about. */
static void event_head(struct buffer *to, const struct report_run *run,
                       const struct report_event *event)
{
    bool is_told = event->target[0] != '\0' && strstr(event->text, event->target) != NULL;

    if (event->kind == REPORT_NOTE)
        buffer_putf(to, "%s%s%s", event->what,
                    event->what[0] != '\0' && event->target[0] != '\0' ? " " : "", event->target);
    else if (event->kind == REPORT_UNDO)
        buffer_putf(to, "fault %zu ends after %s", event->fault + 1,
                    report_text_seconds(event->at_s - run->faults[event->fault].from_s).text);
    else if (is_told)
        buffer_putf(to, "fault %zu", event->fault + 1);
    else
        report_chart_fault_name(to, run, event->fault);
}

static void put_event(struct buffer *to, const struct report_run *run,
                      const struct report_event *event)
{
    static const char *const kinds[] = {
        [REPORT_FAULT] = "fault", [REPORT_UNDO] = "undo", [REPORT_NOTE] = "remark"};

    AUTO(buffer) head = BUFFER_INIT(BUFFER_UNLIMITED);

    event_head(&head, run, event);
    buffer_putf(to, "<li class=\"%s\"><time>%s</time><span>", kinds[event->kind],
                report_text_moment(event->at_s, run->end_s).text);
    if (head.size > 0) {
        buffer_put_text(to, "<b>");
        report_text_escape(to, buffer_text(&head));
        buffer_put_text(to, "</b> ");
    }
    report_text_escape(to, event->text);
    buffer_put_text(to, "</span></li>\n");
}

void report_table_events(struct buffer *to, const struct report_run *run)
{
    if (run->event_count == 0)
        return;
    buffer_put_text(to, "<section><h2>What happened</h2>\n<ol class=\"events\">\n");
    for (size_t i = 0; i < run->event_count && i < ROWS_MAX; i++)
        put_event(to, run, &run->events[i]);
    buffer_put_text(to, "</ol>\n");
    put_rest(to, run->event_count, "events.jsonl");
    buffer_put_text(to, "</section>\n");
}
