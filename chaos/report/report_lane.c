/* Who leads: a lane for each shard, in the colour of the node that leads it; where nobody does, the
 * colour of an alarm. */

#include "chaos/report/report_chart_impl.h"
#include "chaos/report/report_text.h"
#include "proto/base/check.h"

#include <math.h>
#include <stdio.h>

#define TITLE_HEIGHT 34.0
#define GAP 8.0
#define TEXT_HEIGHT 16.0   /* a lane at least so high carries names */
#define BLOCK_HEIGHT 900.0 /* of all lanes, at most */
#define LEADERLESS_WIDTH_LEAST 3.0

static double lane_height(const struct chart *chart)
{
    size_t count = chart->run->shards.count;

    if (count <= 24)
        return 22;
    return fmin(10, BLOCK_HEIGHT / (double)count);
}

double chart_lanes_height(const struct chart *chart)
{
    size_t count = chart->run->shards.count;

    return count == 0 ? 0 : TITLE_HEIGHT + (double)count * lane_height(chart) + GAP;
}

static void draw_lead(const struct chart *chart, const struct report_lead *lead, double until_s,
                      double top)
{
    const struct report_run *run = chart->run;
    double height = lane_height(chart), bar = height > 6 ? height - 3 : height * 0.8;
    double x = chart_x(chart, lead->at_s), width = chart_x(chart, until_s) - x;
    double y = top + lead->shard * height;
    bool has_leader = lead->node != REPORT_NO_NODE;
    const char *leader = has_leader ? run->nodes.names[lead->node] : "no leader";

    if (has_leader)
        buffer_putf(chart->to, "<g class=\"lead n%u\">", lead->node % REPORT_CHART_COLOURS);
    else {
        buffer_put_text(chart->to, "<g class=\"leaderless\">");
        width = fmax(width, LEADERLESS_WIDTH_LEAST);
    }
    buffer_put_text(chart->to, "<title>shard ");
    report_text_escape(chart->to, run->shards.names[lead->shard]);
    buffer_put_text(chart->to, ": ");
    report_text_escape(chart->to, leader);
    buffer_putf(chart->to, ", %s to %s</title>", report_text_moment(lead->at_s, run->end_s).text,
                report_text_moment(until_s, run->end_s).text);
    buffer_putf(chart->to, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", x, y,
                width, bar);
    if (has_leader && height >= TEXT_HEIGHT &&
        width > 10 + (double)report_text_characters(leader) * chart->letter)
        chart_text(chart, x + 6, y + bar - 5, "name", leader);
    buffer_put_text(chart->to, "</g>\n");
}

/* Those without a leader last, so that a short time without one is not painted over. */
static void draw_leads(const struct chart *chart, double top, bool with_leader)
{
    const struct report_run *run = chart->run;
    const struct report_lead **open = check_calloc(run->shards.count + 1, sizeof(const void *));

    for (size_t i = 0; i < run->lead_count; i++) {
        const struct report_lead *lead = &run->leads[i], *last = open[lead->shard];

        if (last != NULL && last->node == lead->node)
            continue;
        if (last != NULL && (last->node != REPORT_NO_NODE) == with_leader)
            draw_lead(chart, last, lead->at_s, top);
        open[lead->shard] = lead;
    }
    for (size_t i = 0; i < run->shards.count; i++)
        if (open[i] != NULL && (open[i]->node != REPORT_NO_NODE) == with_leader)
            draw_lead(chart, open[i], run->end_s, top);
    free(open);
}

static void draw_names(const struct chart *chart, double top)
{
    const struct report_run *run = chart->run;
    double height = lane_height(chart);
    size_t each = height >= TEXT_HEIGHT ? 1 : (size_t)ceil(TEXT_HEIGHT / height);

    for (size_t i = 0; i < run->shards.count; i += each) {
        AUTO(buffer) name = BUFFER_INIT(BUFFER_UNLIMITED);

        report_text_escape_most(&name, run->shards.names[i], chart->is_narrow ? 6 : 9);
        buffer_putf(chart->to, "<text class=\"axis end\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
                    chart->left - 8, top + (double)i * height + fmin(height, TEXT_HEIGHT) - 2,
                    buffer_text(&name));
    }
}

void chart_lanes(const struct chart *chart, double top)
{
    if (chart->run->shards.count == 0)
        return;
    chart_title(chart, top,
                chart->is_narrow ? "Leader of each shard"
                                 : "Leader of each shard (red: nobody leads)");
    top += TITLE_HEIGHT;
    draw_names(chart, top);
    draw_leads(chart, top, true);
    draw_leads(chart, top, false);
}
