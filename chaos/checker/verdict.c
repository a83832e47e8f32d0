#include "chaos/checker/verdict.h"

#include "chaos/checker/model.h"
#include "proto/base/check.h"
#include "proto/base/json_write.h"

#include <inttypes.h>
#include <stdarg.h>

#define BEFORE_MAX 4        /* operations shown that ended before the stuck one began */
#define STATE_SHOWN_MAX 400 /* bytes of a state or an operation in the text for people */

void verdict_init(struct verdict *verdict)
{
    *verdict = (struct verdict){0};
    for (size_t i = 0; i < VERDICT_STATES_MAX; i++)
        buffer_init(&verdict->states[i], BUFFER_UNLIMITED);
}

void verdict_close(struct verdict *verdict)
{
    free(verdict->window);
    for (size_t i = 0; i < VERDICT_STATES_MAX; i++)
        buffer_close(&verdict->states[i]);
}

void verdict_fail(struct verdict *verdict, const struct operation *stuck, const char *format, ...)
{
    va_list arguments;

    verdict->kind = VERDICT_INVALID;
    verdict->stuck = stuck;
    va_start(arguments, format);
    (void)vsnprintf(verdict->why, sizeof(verdict->why), format, arguments);
    va_end(arguments);
    verdict_show(verdict, stuck);
}

void verdict_show(struct verdict *verdict, const struct operation *operation)
{
    size_t place = verdict->window_count;

    for (size_t i = 0; i < verdict->window_count; i++)
        if (verdict->window[i] == operation)
            return;
    verdict->window = check_realloc(verdict->window, (place + 1) * sizeof(*verdict->window));
    for (; place > 0 && verdict->window[place - 1]->call > operation->call; place--)
        verdict->window[place] = verdict->window[place - 1];
    verdict->window[place] = operation;
    verdict->window_count++;
}

static bool overlaps(const struct operation *a, const struct operation *b)
{
    return a->call < b->back && b->call < a->back;
}

void verdict_show_around(struct verdict *verdict, const struct operation *const *operations,
                         size_t count)
{
    const struct operation *stuck = verdict->stuck;
    uint32_t before = stuck->call;

    for (size_t i = count; i-- > 0;) { /* the latest first: the oldest are left off */
        if (operations[i] == stuck || !overlaps(operations[i], stuck))
            continue;
        if (verdict->window_count < VERDICT_WINDOW_MAX)
            verdict_show(verdict, operations[i]);
        else
            verdict->window_left_off++;
    }
    for (int shown = 0; shown < BEFORE_MAX; shown++) {
        const struct operation *last = NULL;

        for (size_t i = 0; i < count; i++)
            if (operations[i]->back < before && (last == NULL || operations[i]->back > last->back))
                last = operations[i];
        if (last == NULL)
            break;
        verdict_show(verdict, last);
        before = last->back;
    }
}

const char *verdict_name(enum verdict_kind kind)
{
    static const char *const names[] = {
        [VERDICT_VALID] = "VALID",
        [VERDICT_INVALID] = "INVALID",
        [VERDICT_UNDECIDED] = "UNDECIDED",
    };

    return names[kind];
}

static struct slice shown(struct slice text)
{
    return slice_of(text.data, text.size < STATE_SHOWN_MAX ? text.size : STATE_SHOWN_MAX);
}

static void print_slice(struct slice text, FILE *to)
{
    (void)fwrite(text.data, 1, shown(text).size, to);
    if (text.size > STATE_SHOWN_MAX)
        (void)fprintf(to, "... (%zu bytes)", text.size);
}

static void print_operation(const struct verdict *verdict, const struct history *history,
                            const struct operation *operation, FILE *to)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    struct slice process = intern_get(&history->processes, operation->process);
    char lines[32];

    if (operation->back == HISTORY_NEVER)
        (void)snprintf(lines, sizeof(lines), "%u-", operation->call);
    else
        (void)snprintf(lines, sizeof(lines), "%u-%u", operation->call, operation->back);
    (void)fprintf(to, "  %c %-15s %-8.*s ", operation == verdict->stuck ? '>' : ' ', lines,
                  (int)shown(process).size, (const char *)process.data);
    history->model->describe(history, operation, &text);
    print_slice(buffer_slice(&text), to);
    if (operation->outcome == OUTCOME_INFO)
        (void)fputs("   (outcome unknown)", to);
    if (operation->outcome == OUTCOME_FAIL)
        (void)fputs("   (failed)", to);
    (void)fputs(operation == verdict->stuck ? "   <- stuck\n" : "\n", to);
}

static void print_invalid(const struct verdict *verdict, const struct history *history, FILE *to)
{
    if (verdict->state_count > 0) {
        (void)fprintf(to, "  possible states by then:");
        for (size_t i = 0; i < verdict->state_count; i++) {
            (void)fputs(i > 0 ? " or " : " ", to);
            print_slice(buffer_slice(&verdict->states[i]), to);
        }
        (void)fprintf(to, "%s\n", verdict->has_more_states ? " or others" : "");
    }
    (void)fprintf(to, "    %-15s %-8s operation\n", "lines", "process");
    for (size_t i = 0; i < verdict->window_count; i++)
        print_operation(verdict, history, verdict->window[i], to);
    if (verdict->window_left_off > 0)
        (void)fprintf(to, "    and %zu older ones that overlap it\n", verdict->window_left_off);
}

void verdict_print_text(const struct verdict *verdict, const struct history *history, FILE *to)
{
    (void)fputs(verdict_name(verdict->kind), to);
    if (verdict->kind != VERDICT_VALID) {
        if (history->model->is_split) {
            (void)fputs(" key ", to);
            print_slice(intern_get(&history->keys, verdict->key), to);
        }
        if (verdict->kind == VERDICT_INVALID)
            (void)fprintf(to, " line %u", verdict->stuck->back);
        (void)fprintf(to, ": %s", verdict->why);
    }
    (void)fputs("\n", to);
    if (verdict->kind == VERDICT_INVALID)
        print_invalid(verdict, history, to);
    (void)fprintf(to, "  %s, %zu operations, %zu of %zu keys valid", history->model->name,
                  history->count, verdict->key_valid_count, verdict->key_count);
    if (verdict->key_undecided_count > 0)
        (void)fprintf(to, ", %zu undecided", verdict->key_undecided_count);
    (void)fprintf(to, ", %.3f s, %" PRIu64 " steps of search\n", verdict->seconds,
                  verdict->step_count);
}

static void write_operation(struct json_write *json, const struct history *history,
                            const struct operation *operation)
{
    static const char *const outcomes[] = {"ok", "fail", "info", "void"};
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    history->model->describe(history, operation, &text);
    json_begin_object(json);
    json_key(json, "process");
    json_raw(json, intern_get(&history->processes, operation->process));
    json_member_slice(json, "operation", buffer_slice(&text));
    json_member_text(json, "outcome", outcomes[operation->outcome]);
    json_member_u64(json, "line", operation->call);
    if (operation->line_end != 0)
        json_member_u64(json, "line_end", operation->line_end);
    json_end_object(json);
}

static void write_invalid(struct json_write *json, const struct verdict *verdict,
                          const struct history *history)
{
    json_member_u64(json, "line", verdict->stuck->back);
    json_key(json, "stuck");
    write_operation(json, history, verdict->stuck);
    json_key(json, "states");
    json_begin_array(json);
    for (size_t i = 0; i < verdict->state_count; i++)
        json_slice(json, buffer_slice(&verdict->states[i]));
    json_end_array(json);
    json_member_bool(json, "more_states", verdict->has_more_states);
    json_key(json, "window");
    json_begin_array(json);
    for (size_t i = 0; i < verdict->window_count; i++)
        write_operation(json, history, verdict->window[i]);
    json_end_array(json);
    json_member_u64(json, "window_left_off", verdict->window_left_off);
}

void verdict_print_json(const struct verdict *verdict, const struct history *history, FILE *to)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&text);

    json_begin_object(&json);
    json_member_text(&json, "verdict", verdict_name(verdict->kind));
    json_member_text(&json, "model", history->model->name);
    json_member_u64(&json, "operations", history->count);
    json_member_u64(&json, "keys", verdict->key_count);
    json_member_u64(&json, "keys_valid", verdict->key_valid_count);
    json_member_u64(&json, "keys_undecided", verdict->key_undecided_count);
    json_member_u64(&json, "steps", verdict->step_count);
    json_key(&json, "seconds");
    json_fixed(&json, (uint64_t)(verdict->seconds * 1000), 3);
    if (verdict->kind != VERDICT_VALID) {
        json_member_text(&json, "why", verdict->why);
        json_key(&json, "key");
        json_raw(&json, intern_get(&history->keys, verdict->key));
    }
    if (verdict->kind == VERDICT_INVALID)
        write_invalid(&json, verdict, history);
    json_end_object(&json);
    (void)fprintf(to, "%s\n", buffer_text(&text));
}
