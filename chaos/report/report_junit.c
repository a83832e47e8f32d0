#include "chaos/report/report_junit.h"

#include "chaos/report/report_text.h"

static size_t count_of(const struct report_run *run, enum report_outcome outcome)
{
    size_t count = 0;

    for (size_t i = 0; i < run->invariant_count; i++)
        count += run->invariants[i].outcome == outcome;
    return count;
}

static void put_attribute(struct buffer *to, const char *name, const char *value)
{
    buffer_putf(to, " %s=\"", name);
    report_text_escape(to, value);
    buffer_put_text(to, "\"");
}

static void open_case(struct buffer *to, const struct report_run *run, const char *name)
{
    buffer_put_text(to, "    <testcase classname=\"chaos.");
    report_text_escape(to, run->scenario);
    buffer_put_text(to, "\"");
    put_attribute(to, "name", name);
}

static void put_invariant(struct buffer *to, const struct report_run *run,
                          const struct report_invariant *invariant)
{
    bool is_open = invariant->outcome == REPORT_OPEN;

    open_case(to, run, invariant->name);
    if (invariant->outcome == REPORT_HOLDS) {
        buffer_put_text(to, "/>\n");
        return;
    }
    buffer_putf(to, ">\n      <%s message=\"%s: wanted ", is_open ? "error" : "failure",
                is_open ? "not decided" : "does not hold");
    report_text_escape(to, invariant->threshold);
    buffer_put_text(to, ", measured ");
    report_text_escape(to, invariant->measured);
    buffer_put_text(to, "\"/>\n    </testcase>\n");
}

/* The whole run as a test case: `element` says why it has no better result. */
static void put_verdict(struct buffer *to, const struct report_run *run, const char *element)
{
    open_case(to, run, "verdict");
    buffer_putf(to, ">\n      <%s message=\"%s: ", element, report_run_verdict_name(run->verdict));
    report_text_escape(to, run->why);
    buffer_put_text(to, "\"/>\n    </testcase>\n");
}

void report_junit_write(struct buffer *to, const struct report_run *run)
{
    bool is_skipped = run->verdict == REPORT_SKIPPED;
    size_t failures = is_skipped ? 0 : count_of(run, REPORT_BROKEN);
    size_t errors = is_skipped ? 0 : count_of(run, REPORT_OPEN);
    bool is_unexplained = (run->verdict == REPORT_FAIL && failures == 0) ||
                          (run->verdict == REPORT_UNDECIDED && errors == 0);
    size_t count = is_skipped ? 1 : run->invariant_count + is_unexplained;

    buffer_put_text(to, "  <testsuite name=\"chaos.");
    report_text_escape(to, run->scenario);
    buffer_putf(to, "\" tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%d\" time=\"%.3f\"",
                count, failures, errors + is_unexplained, is_skipped, run->seconds);
    if (run->started[0] != '\0')
        put_attribute(to, "timestamp", run->started);
    buffer_put_text(to, ">\n");
    if (is_skipped)
        put_verdict(to, run, "skipped");
    for (size_t i = 0; i < run->invariant_count && !is_skipped; i++)
        put_invariant(to, run, &run->invariants[i]);
    if (is_unexplained)
        put_verdict(to, run, "error");
    buffer_put_text(to, "  </testsuite>\n");
}
