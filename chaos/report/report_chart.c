#include "chaos/report/report_chart_impl.h"

#include "chaos/report/report_text.h"
#include "proto/base/check.h"

#include <math.h>
#include <stdio.h>

#define AXIS_HEIGHT 34.0

static const struct chart sizes[] = {
    [REPORT_CHART_WIDE] = {.width = 1200,
                           .left = 86,
                           .right = 1188,
                           .letter = 9.2,
                           .track_height = 27,
                           .plot_height = 190},
    [REPORT_CHART_NARROW] = {.width = 380,
                             .left = 54,
                             .right = 374,
                             .letter = 8.1,
                             .track_height = 24,
                             .plot_height = 130,
                             .is_narrow = true},
};

void chart_text(const struct chart *chart, double x, double y, const char *kind, const char *text)
{
    buffer_putf(chart->to, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", kind, x, y);
    report_text_escape(chart->to, text);
    buffer_put_text(chart->to, "</text>\n");
}

void chart_title(const struct chart *chart, double top, const char *title)
{
    chart_text(chart, chart->is_narrow ? 4 : chart->left, top + 22, "title", title);
}

/* A step of time that gives at most `ticks` of them. */
static double tick_step(double end_s, double ticks)
{
    static const double steps[] = {0.1, 0.2, 0.5, 1,   2,    5,    10,   15,    30,    60,
                                   120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200};
    double step = 86400;

    for (size_t i = 0; i < ARRAY_COUNT(steps); i++)
        if (end_s / steps[i] <= ticks)
            return steps[i];
    while (end_s / step > ticks)
        step *= 2;
    return step;
}

static struct report_word tick_text(double at_s, double step)
{
    struct report_word word = {""};
    long whole = lround(at_s);

    if (step < 1)
        (void)snprintf(word.text, sizeof(word.text), "%.1f s", at_s);
    else if (step < 30 && whole < 120)
        (void)snprintf(word.text, sizeof(word.text), "%ld s", whole);
    else if (step < 60)
        (void)snprintf(word.text, sizeof(word.text), "%ld:%02ld", whole / 60, whole % 60);
    else if (step < 3600)
        (void)snprintf(word.text, sizeof(word.text), "%ld min", whole / 60);
    else
        (void)snprintf(word.text, sizeof(word.text), "%ld h", whole / 3600);
    return word;
}

static void time_axis(const struct chart *chart, double top, double bottom, bool has_labels)
{
    double step = tick_step(chart->end_s, chart->is_narrow ? 4 : 10);

    for (size_t i = 0; (double)i * step <= chart->end_s * 1.0001; i++) {
        double x = chart_x(chart, (double)i * step);
        bool is_last = x > chart->right - 24;

        if (!has_labels) {
            buffer_putf(chart->to, "<path class=\"tick\" d=\"M%.1f %.1fV%.1f\"/>\n", x, top,
                        bottom);
            continue;
        }
        chart_text(chart, is_last ? chart->right : x, bottom + 22,
                   is_last ? "axis end" : "axis middle", tick_text((double)i * step, step).text);
    }
}

static void open_svg(const struct chart *chart, const char *kind, double height)
{
    buffer_putf(chart->to,
                "<svg class=\"%s\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" data-left=\"%.1f\" "
                "data-right=\"%.1f\" data-end=\"%.6f\" tabindex=\"0\" aria-label=\"",
                kind, chart->width, height, chart->left, chart->right, chart->end_s);
    buffer_put_text(chart->to, "Throughput, latency, errors and leaders over time; the figures are "
                               "in the tables below and in report.json\">\n");
}

void report_chart_write(struct buffer *to, const struct report_run *run,
                        enum report_chart_size size)
{
    struct chart chart = sizes[size];
    double plots_top, top, bottom, lanes_top;
    struct buffer content = BUFFER_INIT(BUFFER_UNLIMITED);

    chart.to = &content;
    chart.run = run;
    chart.end_s = run->end_s;
    report_buckets_init(&chart.buckets, run,
                        (size_t)((chart.right - chart.left) * (chart.is_narrow ? 1 : 0.7)));
    plots_top = chart_track(&chart, 0);
    top = plots_top;
    top += chart_panel_rate(&chart, top);
    top += chart_panel_latency(&chart, top);
    top += chart_panel_errors(&chart, top);
    lanes_top = top;
    bottom = top + chart_lanes_height(&chart);
    chart_lanes(&chart, lanes_top);
    time_axis(&chart, plots_top, bottom, true);

    chart.to = to;
    open_svg(&chart, chart.is_narrow ? "chart narrow" : "chart wide", bottom + AXIS_HEIGHT);
    time_axis(&chart, plots_top, bottom, false);
    chart_bands(&chart, plots_top, bottom);
    buffer_put_slice(to, buffer_slice(&content));
    buffer_putf(to, "<path class=\"cursor\" d=\"M0 %.1fV%.1f\"/>\n</svg>\n", plots_top, bottom);
    buffer_close(&content);
    report_buckets_close(&chart.buckets);
}

void report_chart_write_small(struct buffer *to, const struct report_run *run)
{
    struct chart chart = {
        .to = to, .run = run, .end_s = run->end_s, .width = 240, .left = 0, .right = 240};
    const double height = 40;
    bool is_cut;
    double most;

    report_buckets_init(&chart.buckets, run, (size_t)chart.width);
    most = fmax(report_buckets_rate_end(&chart.buckets, &is_cut), 1);
    buffer_putf(to, "<svg class=\"chart small\" viewBox=\"0 0 %.0f %.0f\" aria-hidden=\"true\">\n",
                chart.width, height);
    chart_bands(&chart, 0, height);
    buffer_putf(to, "<path class=\"rate-area\" d=\"M0 %.0f", height);
    for (size_t i = 0; i < chart.buckets.count; i++) {
        const struct report_bucket *bucket = &chart.buckets.buckets[i];

        buffer_putf(to, "L%.1f %.1fH%.1f", chart_x(&chart, bucket->from_s),
                    height - (height - 3) * fmin(bucket->rate / most, 1),
                    chart_x(&chart, bucket->until_s));
    }
    buffer_putf(to, "V%.0fZ\"/>\n</svg>\n", height);
    report_buckets_close(&chart.buckets);
}
