/* The pages: report.html of a run, index.html of several.
 *
 * Each is one file that asks for nothing else: style sheet and script are in it, and a content
 * security policy forbids the rest. Without the script everything is there but reading values with
 * the pointer. */

#ifndef CHAOS_REPORT_REPORT_PAGE_H
#define CHAOS_REPORT_REPORT_PAGE_H

#include "chaos/report/report_digest.h"

/* `has_index`: the run is one of several, whose index.html is in the folder above. */
void report_page_write(struct buffer *to, const struct report_run *run,
                       const struct report_digest *digest, bool has_index);

/* Parts that both pages have. The title comes after the verdict; both are escaped here. */
void report_page_begin(struct buffer *to, enum report_verdict verdict, const char *title);
void report_page_end(struct buffer *to);
/* Class of the style sheet, and a sign that is read without colours. */
const char *report_page_class(enum report_verdict verdict);
const char *report_page_sign(enum report_verdict verdict);
/* A figure in large letters; `text` is escaped here. */
void report_page_figure(struct buffer *to, const char *name, const char *text, bool is_bad);

#endif
