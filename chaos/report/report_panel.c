/* The plots of rate, latency and errors. */

#include "chaos/report/report_chart_impl.h"
#include "chaos/report/report_text.h"

#include <math.h>
#include <stdio.h>

#define TITLE_HEIGHT 34.0
#define GAP 14.0
#define DECADES_MAX 9

/* Where a plot stands and what its vertical axis means. */
struct plot {
    double top, bottom;
    double least, most; /* logarithms if is_log */
    bool is_log;
};

static double plot_y(const struct plot *plot, double value)
{
    double share =
        ((plot->is_log ? log10(value) : value) - plot->least) / (plot->most - plot->least);

    return plot->bottom - (plot->bottom - plot->top) * (share < 0 ? 0 : share > 1 ? 1 : share);
}

static struct plot plot_at(double top, double height)
{
    return (struct plot){.top = top + TITLE_HEIGHT, .bottom = top + TITLE_HEIGHT + height};
}

static void grid_line(const struct chart *chart, double y, const char *label)
{
    buffer_putf(chart->to, "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>", chart->left, y,
                chart->right);
    chart_text(chart, chart->left - 8, y + 5, "axis end", label);
}

/* The least of 1, 2, 2.5, 5 times a power of ten that is not below `value`. */
static double round_up(double value)
{
    static const double steps[] = {1, 2, 2.5, 5};
    double power = pow(10, floor(log10(value)));

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        if (steps[i] * power >= value * 0.9999)
            return steps[i] * power;
    return 10 * power;
}

static void linear_axis(const struct chart *chart, struct plot *plot, double most, int lines)
{
    double step = round_up(fmax(most, 1) / lines);

    plot->most = step * ceil(fmax(most, 1) / step * 0.9999);
    for (int i = 0; step * i <= plot->most * 1.0001; i++)
        grid_line(chart, plot_y(plot, step * i), report_text_rate(step * i).text);
}

/* Through the tops of the buckets, as steps. */
static void steps_path(const struct chart *chart, const struct plot *plot, const char *kind,
                       bool is_area)
{
    const struct report_buckets *buckets = &chart->buckets;

    if (buckets->count == 0)
        return;
    buffer_putf(chart->to, "<path class=\"%s\" d=\"M%.1f %.1f", kind,
                chart_x(chart, buckets->buckets[0].from_s),
                is_area ? plot->bottom : plot_y(plot, buckets->buckets[0].rate));
    for (size_t i = 0; i < buckets->count; i++)
        buffer_putf(chart->to, "V%.1fH%.1f", plot_y(plot, buckets->buckets[i].rate),
                    chart_x(chart, buckets->buckets[i].until_s));
    if (is_area)
        buffer_putf(chart->to, "V%.1fZ", plot->bottom);
    buffer_put_text(chart->to, "\"/>\n");
}

/* Merged buckets also show the best and the worst of their samples. */
static void spread_bars(const struct chart *chart, const struct plot *plot)
{
    buffer_put_text(chart->to, "<path class=\"spread\" d=\"");
    for (size_t i = 0; i < chart->buckets.count; i++) {
        const struct report_bucket *bucket = &chart->buckets.buckets[i];

        buffer_putf(chart->to, "M%.1f %.1fV%.1f",
                    chart_x(chart, (bucket->from_s + bucket->until_s) / 2),
                    plot_y(plot, bucket->rate_least), plot_y(plot, bucket->rate_most));
    }
    buffer_put_text(chart->to, "\"/>\n");
}

double chart_panel_rate(const struct chart *chart, double top)
{
    struct plot plot = plot_at(top, chart->plot_height);
    bool is_cut;

    linear_axis(chart, &plot, report_buckets_rate_end(&chart->buckets, &is_cut), 4);
    chart_title(chart, top,
                !is_cut            ? "Acknowledged requests a second"
                : chart->is_narrow ? "Acknowledged a second (peaks cut off)"
                                   : "Acknowledged requests a second (peaks cut off)");
    steps_path(chart, &plot, "rate-area", true);
    if (chart->buckets.is_merged)
        spread_bars(chart, &plot);
    steps_path(chart, &plot, "rate-line", false);
    return plot.bottom - top + GAP;
}

/* ---- latency ---- */

static double bucket_latency(const struct report_bucket *bucket, bool is_p99)
{
    return is_p99 ? bucket->p99_ms : bucket->p50_ms;
}

/* Broken where nothing was answered. */
static void latency_path(const struct chart *chart, const struct plot *plot, bool is_p99)
{
    bool is_down = false;

    buffer_putf(chart->to, "<path class=\"%s\" d=\"", is_p99 ? "p99" : "p50");
    for (size_t i = 0; i < chart->buckets.count; i++) {
        const struct report_bucket *bucket = &chart->buckets.buckets[i];
        double ms = bucket_latency(bucket, is_p99);

        if (ms > 0)
            buffer_putf(chart->to, "%c%.1f %.1f", is_down ? 'L' : 'M',
                        chart_x(chart, (bucket->from_s + bucket->until_s) / 2), plot_y(plot, ms));
        if (ms > 0 && !is_down)
            buffer_put_text(chart->to, "h.1"); /* so that one alone is a dot */
        is_down = ms > 0;
    }
    buffer_put_text(chart->to, "\"/>\n");
}

static void logarithmic_axis(const struct chart *chart, struct plot *plot)
{
    double least = INFINITY, most = 0;

    for (size_t i = 0; i < chart->buckets.count; i++)
        for (int is_p99 = 0; is_p99 < 2; is_p99++) {
            double ms = bucket_latency(&chart->buckets.buckets[i], is_p99);

            if (ms > 0)
                least = fmin(least, ms);
            most = fmax(most, ms);
        }
    plot->is_log = true;
    plot->least = most > 0 ? floor(log10(least) + 1e-9) : 0;
    plot->most = fmax(most > 0 ? ceil(log10(most) - 1e-9) : 3, plot->least + 1);
    plot->least = fmax(plot->least, plot->most - DECADES_MAX);
    for (double decade = plot->least; decade <= plot->most; decade++) {
        double ms = pow(10, decade);
        struct report_word word = report_text_ms(ms);

        if (ms >= 1 && ms < 1000) /* "1 ms", not "1.0 ms" */
            (void)snprintf(word.text, sizeof(word.text), "%.0f ms", ms);
        grid_line(chart, plot_y(plot, ms), word.text);
    }
}

static void latency_legend(const struct chart *chart, double top)
{
    static const char *const names[] = {"p50", "p99"};
    double x = chart->right - 2 * 62;

    for (size_t i = 0; i < 2; i++, x += 62) {
        buffer_putf(chart->to, "<path class=\"%s key\" d=\"M%.1f %.1fh20\"/>", names[i], x,
                    top + 17);
        chart_text(chart, x + 26, top + 22, "axis", names[i]);
    }
}

double chart_panel_latency(const struct chart *chart, double top)
{
    struct plot plot = plot_at(top, chart->plot_height);

    logarithmic_axis(chart, &plot);
    chart_title(chart, top, chart->is_narrow ? "Latency" : "Latency (logarithmic)");
    latency_legend(chart, top);
    latency_path(chart, &plot, true);
    latency_path(chart, &plot, false);
    return plot.bottom - top + GAP;
}

/* ---- errors ---- */

double chart_panel_errors(const struct chart *chart, double top)
{
    struct plot plot = plot_at(top, chart->plot_height * 0.4);
    double most = 0;

    for (size_t i = 0; i < chart->buckets.count; i++)
        most = fmax(most, chart->buckets.buckets[i].failed_rate);
    chart_title(chart, top,
                most > 0 ? "Failed requests a second" : "Failed requests a second: none");
    if (most <= 0) {
        plot.bottom = plot.top + 4;
        plot.most = 1;
        grid_line(chart, plot.bottom, "0");
        return plot.bottom - top + GAP;
    }
    linear_axis(chart, &plot, most, 2);
    buffer_put_text(chart->to, "<path class=\"failed\" d=\"");
    for (size_t i = 0; i < chart->buckets.count; i++) {
        const struct report_bucket *bucket = &chart->buckets.buckets[i];
        double from = chart_x(chart, bucket->from_s);

        if (bucket->failed_rate > 0)
            buffer_putf(chart->to, "M%.1f %.1fV%.1fH%.1fV%.1fZ", from, plot.bottom,
                        plot_y(&plot, bucket->failed_rate),
                        fmax(chart_x(chart, bucket->until_s), from + 2), plot.bottom);
    }
    buffer_put_text(chart->to, "\"/>\n");
    return plot.bottom - top + GAP;
}
