/* The faults: their names in rows above the plots, and their bands through them. */

#include "chaos/report/report_chart_impl.h"
#include "chaos/report/report_text.h"

#include <math.h>

#define ROWS_MAX 6
#define NAME_ROWS_MAX 4 /* the others are for faults that have only room for a number */
#define LABELLED_MAX 60 /* more faults than that have no labels, and no line where they begin */
#define LABEL_CHARACTERS_MAX 34
#define BAR_WIDTH_LEAST 4.0

enum label { LABEL_NAME, LABEL_NUMBER, LABEL_NONE };

struct bar {
    double from, until; /* of the fault itself */
    double text_at;     /* where its label begins, or ends when `is_left` */
    bool is_left;       /* the label stands left of the bar, for there is no room on its right */
    size_t row;
    enum label label;
};

void report_chart_fault_name(struct buffer *to, const struct report_run *run, size_t fault)
{
    const struct report_event *event = &run->events[run->faults[fault].event];

    buffer_putf(to, "%zu", fault + 1);
    if (event->what[0] != '\0')
        buffer_putf(to, " %s", event->what);
    if (event->target[0] != '\0')
        buffer_putf(to, " %s", event->target);
}

static void put_label(struct buffer *to, const struct chart *chart, size_t fault, enum label label)
{
    if (label == LABEL_NAME)
        report_chart_fault_name(to, chart->run, fault);
    else if (label == LABEL_NUMBER)
        buffer_putf(to, "%zu", fault + 1);
}

static double label_width(const struct chart *chart, size_t fault, enum label label)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    size_t characters;

    if (label == LABEL_NONE)
        return 0;
    put_label(&text, chart, fault, label);
    characters = report_text_characters(buffer_text(&text));
    if (characters > LABEL_CHARACTERS_MAX)
        characters = LABEL_CHARACTERS_MAX;
    return 8 + (double)characters * chart->letter;
}

/* Into the first row where the bar and its label meet no other, and what of a label fits. False:
 * there is room for nothing. */
static bool place_bar(const struct chart *chart, size_t fault, double row_end[ROWS_MAX],
                      struct bar *bar)
{
    static const size_t rows_of[] = {
        [LABEL_NAME] = NAME_ROWS_MAX, [LABEL_NUMBER] = ROWS_MAX, [LABEL_NONE] = 1};
    double end;

    bar->from = chart_x(chart, chart->run->faults[fault].from_s);
    bar->until =
        fmax(chart_x(chart, chart->run->faults[fault].until_s), bar->from + BAR_WIDTH_LEAST);
    bar->label = chart->run->fault_count <= LABELLED_MAX ? LABEL_NAME : LABEL_NONE;
    for (;; bar->label++) {
        double width = label_width(chart, fault, bar->label);
        size_t rows = rows_of[bar->label];

        bar->is_left = bar->from + width > chart->right;
        bar->text_at = bar->is_left ? bar->from - 5 : bar->from + 6;
        end = fmax(bar->until, bar->is_left ? 0 : bar->from + width);
        for (bar->row = 0; bar->row < rows; bar->row++)
            if (row_end[bar->row] <= (bar->is_left ? bar->from - width : bar->from))
                break;
        if (bar->row < rows)
            break;
        if (bar->label == LABEL_NONE)
            return false;
    }
    row_end[bar->row] = end + 3;
    return true;
}

static void draw_bar(const struct chart *chart, size_t fault, const struct bar *bar, double top)
{
    double y = top + (double)bar->row * chart->track_height;
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    report_chart_fault_name(&text, chart->run, fault);
    buffer_putf(chart->to, "<g class=\"fault\"><title>fault ");
    report_text_escape(chart->to, buffer_text(&text));
    buffer_putf(chart->to,
                "</title><rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                "rx=\"3\"/>"
                "<rect class=\"edge\" x=\"%.1f\" y=\"%.1f\" width=\"3\" height=\"%.1f\"/>",
                bar->from, y, bar->until - bar->from, chart->track_height - 5, bar->from, y,
                chart->track_height - 5);
    if (bar->label != LABEL_NONE) {
        buffer_clear(&text);
        put_label(&text, chart, fault, bar->label);
        buffer_putf(chart->to, "<text class=\"name%s\" x=\"%.1f\" y=\"%.1f\">",
                    bar->is_left ? " end" : "", bar->text_at, y + chart->track_height - 11);
        report_text_escape_most(chart->to, buffer_text(&text), LABEL_CHARACTERS_MAX);
        buffer_put_text(chart->to, "</text>");
    }
    buffer_put_text(chart->to, "</g>\n");
}

double chart_track(const struct chart *chart, double top)
{
    double row_end[ROWS_MAX];
    size_t rows = 0;

    for (size_t i = 0; i < ROWS_MAX; i++)
        row_end[i] = -INFINITY;
    for (size_t i = 0; i < chart->run->fault_count; i++) {
        struct bar bar;

        if (!place_bar(chart, i, row_end, &bar))
            continue;
        draw_bar(chart, i, &bar, top);
        rows = bar.row + 1 > rows ? bar.row + 1 : rows;
    }
    return (double)rows * chart->track_height + 2;
}

void chart_bands(const struct chart *chart, double top, double bottom)
{
    for (size_t i = 0; i < chart->run->fault_count; i++) {
        const struct report_fault *fault = &chart->run->faults[i];
        double from = chart_x(chart, fault->from_s);
        double width = fmax(chart_x(chart, fault->until_s) - from, 1.5);

        buffer_putf(chart->to,
                    "<rect class=\"band\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
                    from, top, width, bottom - top);
        if (chart->run->fault_count <= LABELLED_MAX)
            buffer_putf(chart->to, "<path class=\"begin\" d=\"M%.1f %.1fV%.1f\"/>\n", from, top,
                        bottom);
    }
}
