#include "chaos/run/chaos_tell.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void chaos_tell_init(struct chaos_tell *tell, bool is_silent)
{
    *tell = (struct chaos_tell){.is_silent = is_silent,
                                .is_coloured = !is_silent && isatty(STDOUT_FILENO) != 0};
}

const char *chaos_tell_colour(const struct chaos_tell *tell, enum chaos_colour colour)
{
    static const char *const codes[] = {
        [CHAOS_PLAIN] = "\033[0m",  [CHAOS_BOLD] = "\033[1m",    [CHAOS_RED] = "\033[1;31m",
        [CHAOS_GREEN] = "\033[32m", [CHAOS_YELLOW] = "\033[33m", [CHAOS_DIM] = "\033[2m"};

    return tell->is_coloured ? codes[colour] : "";
}

void chaos_tell_line(const struct chaos_tell *tell, enum chaos_colour colour, const char *format,
                     ...)
{
    va_list arguments;

    if (tell->is_silent)
        return;
    va_start(arguments, format);
    (void)fputs(chaos_tell_colour(tell, colour), stdout);
    (void)vprintf(format, arguments);
    (void)fputs(chaos_tell_colour(tell, CHAOS_PLAIN), stdout);
    (void)putchar('\n');
    (void)fflush(stdout);
    va_end(arguments);
}

void chaos_tell_title(const struct chaos_tell *tell, const char *name, const char *title)
{
    if (tell->is_silent)
        return;
    (void)printf("%s%s%s  %s\n", chaos_tell_colour(tell, CHAOS_BOLD), name,
                 chaos_tell_colour(tell, CHAOS_PLAIN), title);
    (void)fflush(stdout);
}

void chaos_tell_event(const struct chaos_tell *tell, double at_s, char mark, const char *text)
{
    enum chaos_colour colour = mark == '!' ? CHAOS_RED : mark == '+' ? CHAOS_GREEN : CHAOS_YELLOW;

    chaos_tell_line(tell, colour, "%6.1f s  %s %s", at_s,
                    mark == '!'   ? "BREAK"
                    : mark == '+' ? "mend "
                                  : "     ",
                    text);
}

void chaos_tell_second(const struct chaos_tell *tell, double at_s, const struct pulse_look *look,
                       const char *broken)
{
    char latency[80] = "no answers               ";

    if (tell->is_silent)
        return;
    if (look->has_latency)
        (void)snprintf(latency, sizeof(latency), "p50 %6.1f ms  p99 %7.1f ms", look->p50_ms,
                       look->p99_ms);
    (void)printf("%6.0f s  %5" PRIu64 " ok/s  %s  %s%3" PRIu64 " failed%s%s%s\n", at_s, look->ok,
                 latency, look->failed > 0 ? chaos_tell_colour(tell, CHAOS_RED) : "", look->failed,
                 look->failed > 0 ? chaos_tell_colour(tell, CHAOS_PLAIN) : "",
                 broken[0] != '\0' ? "   now: " : "", broken);
    (void)fflush(stdout);
}

static void tell_invariant(const struct chaos_tell *tell, const struct assess_invariant *invariant)
{
    const struct scenario_expect *expect = &invariant->expect;
    char threshold[32];
    char value[32] = "?";

    assess_number(expect->threshold, threshold);
    if (invariant->measured.is_known)
        assess_number(invariant->measured.value, value);
    (void)printf("  %s%-4s%s %-18s %9s  %-2s %-7s  %s%s%s\n",
                 chaos_tell_colour(tell, !invariant->measured.is_known ? CHAOS_YELLOW
                                         : invariant->is_ok            ? CHAOS_GREEN
                                                                       : CHAOS_RED),
                 !invariant->measured.is_known ? "?"
                 : invariant->is_ok            ? "ok"
                                               : "NOT",
                 chaos_tell_colour(tell, CHAOS_PLAIN), scenario_measure_name(expect->measure),
                 value, scenario_relation_text(expect->relation), threshold,
                 chaos_tell_colour(tell, CHAOS_DIM), scenario_measure_meaning(expect->measure),
                 chaos_tell_colour(tell, CHAOS_PLAIN));
}

void chaos_tell_verdict(const struct chaos_tell *tell, const char *name,
                        const struct assessment *assessment)
{
    enum chaos_colour colour = assessment->verdict == RUN_PASS   ? CHAOS_GREEN
                               : assessment->verdict == RUN_FAIL ? CHAOS_RED
                                                                 : CHAOS_YELLOW;

    if (tell->is_silent)
        return;
    for (size_t i = 0; i < assessment->count; i++)
        tell_invariant(tell, &assessment->invariants[i]);
    (void)printf("%s%s%s  %s%s%s\n", chaos_tell_colour(tell, colour),
                 assess_verdict_name(assessment->verdict), chaos_tell_colour(tell, CHAOS_PLAIN),
                 name, assessment->why[0] != '\0' ? ": " : "", assessment->why);
    (void)fflush(stdout);
}
