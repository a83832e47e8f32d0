/* What people see of a run: a line a second, a line for each fault, the verdict last. Colours only
 * on a terminal. */

#ifndef CHAOS_RUN_CHAOS_TELL_H
#define CHAOS_RUN_CHAOS_TELL_H

#include "chaos/run/assess.h"
#include "chaos/run/pulse.h"

enum chaos_colour { CHAOS_PLAIN, CHAOS_BOLD, CHAOS_RED, CHAOS_GREEN, CHAOS_YELLOW, CHAOS_DIM };

struct chaos_tell {
    bool is_silent;
    bool is_coloured;
};

void chaos_tell_init(struct chaos_tell *tell, bool is_silent);

/* "" unless coloured. */
const char *chaos_tell_colour(const struct chaos_tell *tell, enum chaos_colour colour);

void chaos_tell_title(const struct chaos_tell *tell, const char *name, const char *title);
void chaos_tell_line(const struct chaos_tell *tell, enum chaos_colour colour, const char *format,
                     ...) __attribute__((format(printf, 3, 4)));
/* `mark`: '!' something broke, '+' it was mended, '-' neither. */
void chaos_tell_event(const struct chaos_tell *tell, double at_s, char mark, const char *text);
/* `broken`: what is open at the moment, in words; "" = nothing. */
void chaos_tell_second(const struct chaos_tell *tell, double at_s, const struct pulse_look *look,
                       const char *broken);
void chaos_tell_verdict(const struct chaos_tell *tell, const char *name,
                        const struct assessment *assessment);

#endif
