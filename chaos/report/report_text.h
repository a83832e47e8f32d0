/* Words and figures as a reader wants them, and escaped. */

#ifndef CHAOS_REPORT_REPORT_TEXT_H
#define CHAOS_REPORT_REPORT_TEXT_H

#include "proto/base/buffer.h"

/* A short text by value: printf("%s", report_text_ms(3).text). */
struct report_word {
    char text[48];
};

struct report_word report_text_count(uint64_t count); /* 12,345 */
struct report_word report_text_rate(double rate);     /* 198, 3.5; a dash below 0 */
struct report_word report_text_ms(double ms);         /* 0.24 ms, 38 ms, 1.2 s; a dash below 0 */
struct report_word report_text_seconds(double s);     /* 180 ms, 4.25 s, 45.2 s, 2 min 5 s */
/* A time of a run that takes `end_s` in all: 12.3 s, or 2:05.3 in a long one. */
struct report_word report_text_moment(double at_s, double end_s);
/* The longest time without an answer; "< 100 ms" if none is long enough for samples to show it. */
struct report_word report_text_gap(double seconds, double period_s);

/* For the content of an element and for an attribute in quotes, of HTML and XML: what is neither
 * UTF-8 nor allowed in XML becomes U+FFFD. */
void report_text_escape(struct buffer *to, const char *text);
/* The same of at most so many characters; a longer text ends in an ellipsis. */
void report_text_escape_most(struct buffer *to, const char *text, size_t characters);
size_t report_text_characters(const char *text);

#endif
