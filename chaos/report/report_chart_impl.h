/* What the files of the chart share. Lengths are CSS pixels from the upper left corner. */

#ifndef CHAOS_REPORT_REPORT_CHART_IMPL_H
#define CHAOS_REPORT_REPORT_CHART_IMPL_H

#include "chaos/report/report_bucket.h"
#include "chaos/report/report_chart.h"

struct chart {
    struct buffer *to;
    const struct report_run *run;
    struct report_buckets buckets;
    double end_s;
    double width, left, right; /* the plots lie between left and right */
    double letter;             /* width of an average letter */
    double track_height, plot_height;
    bool is_narrow;
};

static inline double chart_x(const struct chart *chart, double at_s)
{
    double share = at_s / chart->end_s;

    return chart->left + (chart->right - chart->left) * (share < 0 ? 0 : share > 1 ? 1 : share);
}

/* An element with an escaped text: attributes as printf wants them. */
void chart_text(const struct chart *chart, double x, double y, const char *kind, const char *text);

/* Head of a plot and its place: the title stands above `top`. */
void chart_title(const struct chart *chart, double top, const char *title);

/* report_panel.c; each gives the height it took, title included. */
double chart_panel_rate(const struct chart *chart, double top);
double chart_panel_latency(const struct chart *chart, double top);
double chart_panel_errors(const struct chart *chart, double top);

/* report_lane.c */
double chart_lanes_height(const struct chart *chart);
void chart_lanes(const struct chart *chart, double top);

/* report_track.c: the names of the faults, above all plots. */
double chart_track(const struct chart *chart, double top);
void chart_bands(const struct chart *chart, double top, double bottom);

#endif
