#include "chaos/scenario/scenario.h"

#include "proto/base/check.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define LINE_BYTES_MAX 500
#define LINE_WORDS_MAX 40
#define RATE_MAX 100000u
#define TIME_MS_MAX (SCENARIO_SECONDS_MAX * 1000u)

struct parser {
    struct scenario *scenario;
    char *why;
    unsigned line;
    char text[LINE_BYTES_MAX + 1]; /* of the line, cut into words */
    char *words[LINE_WORDS_MAX];
    size_t count;
};

static enum error wrong(struct parser *parser, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum error wrong(struct parser *parser, const char *format, ...)
{
    char text[ERROR_WHY_BYTES];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)snprintf(parser->why, ERROR_WHY_BYTES, "line %u: %.140s", parser->line, text);
    return ERR_INVALID;
}

/* ---- words ---- */

static bool is_name(const char *word)
{
    for (const char *c = word; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && strchr("-_./*:", *c) == NULL)
            return false;
    return word[0] != '\0' && strlen(word) < SCENARIO_NAME_BYTES;
}

/* Up to `max`, and what follows the digits. */
static bool read_number(const char *text, uint32_t max, uint32_t *value, const char **end)
{
    char *after;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    unsigned long number = strtoul(text, &after, 10);

    if (errno != 0 || number > max)
        return false;
    *value = (uint32_t)number;
    *end = after;
    return true;
}

/* "200ms", "5s", "2m", "30%", up to `stop`. */
static bool read_moment(const char *text, const char *stop, uint32_t *value, bool *is_percent)
{
    static const struct {
        const char *unit;
        uint32_t factor;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"%", 1}};
    const char *unit;

    if (!read_number(text, TIME_MS_MAX, value, &unit))
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
        size_t size = strlen(units[i].unit);

        if ((size_t)(stop - unit) != size || strncmp(unit, units[i].unit, size) != 0)
            continue;
        if (*value > TIME_MS_MAX / units[i].factor)
            return false;
        *value *= units[i].factor;
        *is_percent = units[i].unit[0] == '%';
        return !*is_percent || *value <= 100;
    }
    return false;
}

static bool read_time(const char *text, struct scenario_time *time)
{
    const char *end = text + strlen(text);
    const char *dots = strstr(text, "..");
    bool is_percent_too;

    *time = (struct scenario_time){.is_given = true};
    if (!read_moment(text, dots != NULL ? dots : end, &time->min, &time->is_percent))
        return false;
    time->max = time->min;
    if (dots == NULL)
        return true;
    return read_moment(dots + 2, end, &time->max, &is_percent_too) &&
           is_percent_too == time->is_percent && time->max >= time->min;
}

/* ---- statements ---- */

static enum error take_name(struct parser *parser)
{
    if (parser->count != 2 || !is_name(parser->words[1]))
        return wrong(parser, "name: one word of letters, digits and '-'");
    if (parser->scenario->name[0] != '\0')
        return wrong(parser, "name: there is one already");
    (void)snprintf(parser->scenario->name, sizeof(parser->scenario->name), "%s", parser->words[1]);
    return OK;
}

static enum error take_title(struct parser *parser)
{
    char *title = parser->scenario->title;
    size_t size = 0;

    if (parser->count < 2 || title[0] != '\0')
        return wrong(parser, "title: one line of words, once");
    for (size_t i = 1; i < parser->count; i++) {
        int more = snprintf(title + size, SCENARIO_TEXT_BYTES - size, "%s%s", i > 1 ? " " : "",
                            parser->words[i]);

        size += (size_t)more;
        if (size >= SCENARIO_TEXT_BYTES)
            return wrong(parser, "title: longer than %d characters", SCENARIO_TEXT_BYTES - 1);
    }
    return OK;
}

static enum error take_layers(struct parser *parser)
{
    enum scenario_layer layer;

    if (parser->count < 2)
        return wrong(parser, "layers: laptop, hosts, sim");
    for (size_t i = 1; i < parser->count; i++) {
        if (!scenario_layer_find(parser->words[i], &layer))
            return wrong(parser, "no layer is called '%.40s': laptop, hosts, sim",
                         parser->words[i]);
        parser->scenario->layers |= 1u << layer;
    }
    return OK;
}

static enum error take_need(struct parser *parser)
{
    struct scenario *scenario = parser->scenario;

    if (parser->count != 2 || !is_name(parser->words[1]))
        return wrong(parser, "needs: one name");
    if (scenario->need_count == SCENARIO_NEEDS_MAX)
        return wrong(parser, "needs: more than %d", SCENARIO_NEEDS_MAX);
    (void)snprintf(scenario->needs[scenario->need_count++], SCENARIO_NAME_BYTES, "%s",
                   parser->words[1]);
    return OK;
}

static enum error take_seconds(struct parser *parser)
{
    const char *end = "?";
    uint32_t seconds = 0;

    if (parser->count != 2 ||
        !read_number(parser->words[1], SCENARIO_SECONDS_MAX, &seconds, &end) || *end != '\0' ||
        seconds == 0)
        return wrong(parser, "seconds: a number from 1 to %u", SCENARIO_SECONDS_MAX);
    parser->scenario->seconds = seconds;
    return OK;
}

static enum error take_workload(struct parser *parser)
{
    struct scenario *scenario = parser->scenario;
    enum scenario_workload workload;
    const char *end = "?";
    uint32_t rate = 0;

    if (parser->count < 2 || !scenario_workload_find(parser->words[1], &workload))
        return wrong(parser, "no workload is called '%.40s': checkout, register, counter, orders",
                     parser->count < 2 ? "" : parser->words[1]);
    if (scenario->is_used[workload])
        return wrong(parser, "workload %s: there is one already", parser->words[1]);
    if (parser->count > 3 ||
        (parser->count == 3 &&
         (strncmp(parser->words[2], "rate=", 5) != 0 ||
          !read_number(parser->words[2] + 5, RATE_MAX, &rate, &end) || *end != '\0' || rate == 0)))
        return wrong(parser, "workload %s: only rate=N may follow", parser->words[1]);
    scenario->is_used[workload] = true;
    scenario->rates[workload] = rate;
    return OK;
}

/* `at 5s every 5s ...`: as many as there are; *next is the verb's place. */
static enum error take_times(struct parser *parser, struct scenario_fault *fault, size_t *next)
{
    const struct {
        const char *name;
        struct scenario_time *time;
    } times[] = {{"at", &fault->at},
                 {"every", &fault->every},
                 {"until", &fault->until},
                 {"for", &fault->hold}};
    size_t i = 1;

    while (i + 1 < parser->count) {
        struct scenario_time *time = NULL;

        for (size_t t = 0; t < ARRAY_COUNT(times); t++)
            if (strcmp(parser->words[i], times[t].name) == 0)
                time = times[t].time;
        if (time == NULL)
            break;
        if (time->is_given)
            return wrong(parser, "fault: '%.40s' twice", parser->words[i]);
        if (!read_time(parser->words[i + 1], time))
            return wrong(parser, "'%.40s' is no time: 200ms, 5s, 2m, 30%%, or 1s..3s",
                         parser->words[i + 1]);
        i += 2;
    }
    *next = i;
    if (!fault->at.is_given)
        return wrong(parser, "fault: when? at TIME [every TIME [until TIME]] [for TIME] VERB ...");
    if (fault->every.is_given && fault->every.min == 0)
        return wrong(parser, "fault: every 0 is without end");
    if (fault->until.is_given && !fault->every.is_given)
        return wrong(parser, "fault: until without every");
    return OK;
}

static enum error take_fault(struct parser *parser)
{
    struct scenario *scenario = parser->scenario;
    struct scenario_fault *fault = &scenario->faults[scenario->fault_count];
    size_t next = 0;
    enum error rc;

    if (scenario->fault_count == SCENARIO_FAULTS_MAX)
        return wrong(parser, "fault: more than %d", SCENARIO_FAULTS_MAX);
    rc = take_times(parser, fault, &next);
    if (rc != OK)
        return rc;
    if (next == parser->count)
        return wrong(parser, "fault: which one?");
    fault->verb = scenario_verb_find(parser->words[next]);
    if (fault->verb == NULL)
        return wrong(parser, "no fault is called '%.40s'", parser->words[next]);
    fault->word_count = parser->count - next - 1;
    if (fault->word_count < fault->verb->words_min || fault->word_count > fault->verb->words_max ||
        fault->word_count > SCENARIO_WORDS_MAX)
        return wrong(parser, "it is: %s", fault->verb->usage);
    for (size_t i = 0; i < fault->word_count; i++) {
        const char *word = parser->words[next + 1 + i];

        if (!is_name(word))
            return wrong(parser, "'%.40s' is no name", word);
        (void)snprintf(fault->words[i], SCENARIO_NAME_BYTES, "%s", word);
    }
    scenario->fault_count++;
    return OK;
}

static enum error take_expect(struct parser *parser)
{
    struct scenario *scenario = parser->scenario;
    struct scenario_expect *expect = &scenario->expects[scenario->expect_count];
    char *end = NULL;

    if (scenario->expect_count == SCENARIO_EXPECTS_MAX)
        return wrong(parser, "expect: more than %d", SCENARIO_EXPECTS_MAX);
    if (parser->count != 4)
        return wrong(parser, "it is: expect MEASURE <= NUMBER");
    if (!scenario_measure_find(parser->words[1], &expect->measure))
        return wrong(parser, "no measure is called '%.40s'", parser->words[1]);
    if (!scenario_relation_find(parser->words[2], &expect->relation))
        return wrong(parser, "'%.40s': one of = <= >=", parser->words[2]);
    expect->threshold = strtod(parser->words[3], &end);
    if (end == parser->words[3] || *end != '\0' || !isfinite(expect->threshold) ||
        expect->threshold < 0 || expect->threshold > 1e9)
        return wrong(parser, "'%.40s' is no number from 0 to 1e9", parser->words[3]);
    scenario->expect_count++;
    return OK;
}

static const struct {
    const char *name;
    enum error (*take)(struct parser *parser);
} statements[] = {
    {"name", take_name},   {"title", take_title},     {"layers", take_layers},
    {"needs", take_need},  {"seconds", take_seconds}, {"workload", take_workload},
    {"fault", take_fault}, {"expect", take_expect},
};

/* ---- lines ---- */

static enum error cut_into_words(struct parser *parser, struct slice line)
{
    char *rest;
    char *comment;

    if (line.size > LINE_BYTES_MAX)
        return wrong(parser, "longer than %d characters", LINE_BYTES_MAX);
    for (size_t i = 0; i < line.size; i++)
        if (line.data[i] < ' ' && line.data[i] != '\t')
            return wrong(parser, "a control character");
    if (line.size > 0)
        memcpy(parser->text, line.data, line.size);
    parser->text[line.size] = '\0';
    comment = strchr(parser->text, '#');
    if (comment != NULL)
        *comment = '\0';
    parser->count = 0;
    for (char *word = strtok_r(parser->text, " \t", &rest); word != NULL;
         word = strtok_r(NULL, " \t", &rest)) {
        if (parser->count == LINE_WORDS_MAX)
            return wrong(parser, "more than %d words", LINE_WORDS_MAX);
        parser->words[parser->count++] = word;
    }
    return OK;
}

static enum error take_line(struct parser *parser, struct slice line)
{
    enum error rc = cut_into_words(parser, line);

    if (rc != OK || parser->count == 0)
        return rc;
    for (size_t i = 0; i < ARRAY_COUNT(statements); i++)
        if (strcmp(parser->words[0], statements[i].name) == 0)
            return statements[i].take(parser);
    return wrong(parser,
                 "'%.40s': one of name, title, layers, needs, seconds, workload, fault, expect",
                 parser->words[0]);
}

static enum error check_whole(const struct scenario *scenario, char why[ERROR_WHY_BYTES])
{
    const char *missing = NULL;
    bool has_workload = false;

    for (size_t i = 0; i < SCENARIO_WORKLOAD_COUNT; i++)
        has_workload |= scenario->is_used[i];
    if (scenario->name[0] == '\0')
        missing = "name";
    else if (scenario->title[0] == '\0')
        missing = "title";
    else if (scenario->layers == 0)
        missing = "layers";
    else if (scenario->seconds == 0)
        missing = "seconds";
    else if (!has_workload)
        missing = "workload";
    if (missing == NULL)
        return OK;
    (void)snprintf(why, ERROR_WHY_BYTES, "there is no line '%s'", missing);
    return ERR_INVALID;
}

enum error scenario_parse(struct slice text, struct scenario *scenario, char why[ERROR_WHY_BYTES])
{
    struct parser parser = {.scenario = scenario, .why = why};
    enum error rc = OK;

    *scenario = (struct scenario){0};
    if (text.size > SCENARIO_BYTES_MAX) {
        (void)snprintf(why, ERROR_WHY_BYTES, "longer than %u bytes", SCENARIO_BYTES_MAX);
        return ERR_TOO_LARGE;
    }
    while (text.size > 0 && rc == OK) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end != NULL ? (size_t)(end - text.data) : text.size;
        size_t used = end != NULL ? size + 1 : size;

        parser.line++;
        rc = take_line(&parser, slice_of(text.data, size));
        text = slice_of(text.data + used, text.size - used);
    }
    return rc == OK ? check_whole(scenario, why) : rc;
}

/* ---- writing ---- */

static void write_time(const char *name, const struct scenario_time *time, struct buffer *text)
{
    const char *unit = time->is_percent ? "%" : "ms";

    if (!time->is_given)
        return;
    buffer_putf(text, " %s %u%s", name, time->min, unit);
    if (time->max != time->min)
        buffer_putf(text, "..%u%s", time->max, unit);
}

static void write_fault(const struct scenario_fault *fault, struct buffer *text)
{
    buffer_put_text(text, "fault");
    write_time("at", &fault->at, text);
    write_time("every", &fault->every, text);
    write_time("until", &fault->until, text);
    write_time("for", &fault->hold, text);
    buffer_putf(text, " %s", fault->verb->name);
    for (size_t i = 0; i < fault->word_count; i++)
        buffer_putf(text, " %s", fault->words[i]);
    buffer_put_text(text, "\n");
}

void scenario_write(const struct scenario *scenario, struct buffer *text)
{
    buffer_putf(text, "name %s\ntitle %s\nlayers", scenario->name, scenario->title);
    for (unsigned i = 0; i < SCENARIO_LAYER_COUNT; i++)
        if ((scenario->layers & (1u << i)) != 0)
            buffer_putf(text, " %s", scenario_layer_name((enum scenario_layer)i));
    buffer_put_text(text, "\n");
    for (size_t i = 0; i < scenario->need_count; i++)
        buffer_putf(text, "needs %s\n", scenario->needs[i]);
    buffer_putf(text, "seconds %u\n", scenario->seconds);
    for (size_t i = 0; i < SCENARIO_WORKLOAD_COUNT; i++) {
        if (!scenario->is_used[i])
            continue;
        buffer_putf(text, "workload %s", scenario_workload_name((enum scenario_workload)i));
        if (scenario->rates[i] > 0)
            buffer_putf(text, " rate=%u", scenario->rates[i]);
        buffer_put_text(text, "\n");
    }
    for (size_t i = 0; i < scenario->fault_count; i++)
        write_fault(&scenario->faults[i], text);
    for (size_t i = 0; i < scenario->expect_count; i++) {
        const struct scenario_expect *expect = &scenario->expects[i];

        buffer_putf(text, "expect %s %s %.17g\n", scenario_measure_name(expect->measure),
                    scenario_relation_text(expect->relation), expect->threshold);
    }
}

/* ---- where it can run ---- */

bool scenario_can_run(const struct scenario *scenario, enum scenario_layer layer,
                      char why[ERROR_WHY_BYTES])
{
    for (size_t i = 0; i < scenario->need_count; i++)
        if (!scenario_need_is_met(scenario->needs[i])) {
            (void)snprintf(why, ERROR_WHY_BYTES, "needs: %s", scenario->needs[i]);
            return false;
        }
    if ((scenario->layers & (1u << layer)) == 0) {
        (void)snprintf(why, ERROR_WHY_BYTES, "needs: another layer than %s",
                       scenario_layer_name(layer));
        return false;
    }
    for (size_t i = 0; i < scenario->fault_count; i++)
        if ((scenario->faults[i].verb->layers & (1u << layer)) == 0) {
            (void)snprintf(why, ERROR_WHY_BYTES, "needs: '%s', which layer %s does not have",
                           scenario->faults[i].verb->name, scenario_layer_name(layer));
            return false;
        }
    return true;
}
