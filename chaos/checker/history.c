#include "chaos/checker/history.h"

#include "chaos/checker/model.h"
#include "proto/base/check.h"

#include <stdarg.h>

#define READ_BYTES (256u << 10)

/* The process of an injector of faults in Jepsen's histories: its lines are no operations. */
#define NEMESIS "nemesis"

void history_init(struct history *history, const struct model *model)
{
    *history = (struct history){.model = model};
    buffer_init(&history->vectors, BUFFER_UNLIMITED);
    model->prepare(history);
}

void history_close(struct history *history)
{
    free(history->operations);
    intern_close(&history->processes);
    intern_close(&history->keys);
    intern_close(&history->values);
    buffer_close(&history->vectors);
    map_close(&history->open);
}

__attribute__((format(printf, 2, 3))) static enum error wrong(struct history *history,
                                                              const char *format, ...)
{
    int size = snprintf(history->why, sizeof(history->why), "line %u: ", history->line);
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(history->why + size, sizeof(history->why) - (size_t)size, format, arguments);
    va_end(arguments);
    return ERR_INVALID;
}

static const char *text_of(const json_t *event, const char *member)
{
    return json_string_value(json_object_get(event, member));
}

static enum error on_invoke(struct history *history, const json_t *event, uint32_t process)
{
    const json_t *key = json_object_get(event, "k");
    const char *function = text_of(event, "f");
    struct operation operation = {.process = process, .call = history->line, .back = HISTORY_NEVER};
    const char *why;

    if (map_find_u64(&history->open, process) != NULL)
        return wrong(history, "this process has an operation open that nothing completed");
    if (function == NULL)
        return wrong(history, "\"f\" is no text");
    if (history->count == HISTORY_OPERATIONS_MAX)
        return wrong(history, "more than %u operations", HISTORY_OPERATIONS_MAX);
    if (!model_function_find(history->model, function, &operation.function))
        return wrong(history, "\"f\" is \"%.40s\"; the model %s knows %s", function,
                     history->model->name, history->model->functions_text);
    operation.key = history->model->is_split ? model_json_put(&history->keys, key)
                                             : intern_put(&history->keys, SLICE_LITERAL("null"));
    operation.outcome = OUTCOME_INFO;
    why = history->model->on_invoke(history, &operation, json_object_get(event, "v"));
    if (why != NULL)
        return wrong(history, "%s", why);
    if (history->count == history->capacity) {
        history->capacity = history->capacity == 0 ? 1024 : history->capacity * 2;
        history->operations =
            check_realloc(history->operations, history->capacity * sizeof(*history->operations));
    }
    history->operations[history->count++] = operation;
    (void)map_set_u64(&history->open, process, (void *)(uintptr_t)history->count);
    return OK;
}

/* What a completion repeats of its invoke must be the same; it need not repeat it. */
static bool is_of(struct history *history, const json_t *event, const struct operation *operation)
{
    const char *function = text_of(event, "f");
    const json_t *key = json_object_get(event, "k");
    uint8_t code;

    if (function != NULL &&
        (!model_function_find(history->model, function, &code) || code != operation->function))
        return false;
    return key == NULL || !history->model->is_split ||
           model_json_put(&history->keys, key) == operation->key;
}

static enum error on_completion(struct history *history, const json_t *event, uint32_t process,
                                enum outcome outcome)
{
    uintptr_t open = (uintptr_t)map_remove_u64(&history->open, process);
    struct operation *operation;
    const char *why;

    if (open == 0)
        return wrong(history, "this process has no open operation to complete");
    operation = &history->operations[open - 1];
    if (!is_of(history, event, operation))
        return wrong(history, "it completes the invoke of line %u, but \"f\" or \"k\" differ",
                     operation->call);
    /* A failure with a reason was no answer of the service's about its state. */
    if (outcome == OUTCOME_FAIL && json_object_get(event, "error") != NULL)
        outcome = OUTCOME_VOID;
    operation->outcome = (uint8_t)outcome;
    operation->line_end = history->line;
    if (outcome == OUTCOME_OK || outcome == OUTCOME_FAIL)
        operation->back = history->line;
    why = history->model->on_return(history, operation, json_object_get(event, "v"));
    return why != NULL ? wrong(history, "%s", why) : OK;
}

static enum error on_event(struct history *history, const json_t *event)
{
    const json_t *process = json_object_get(event, "p");
    const char *type = text_of(event, "t");
    uint32_t id;

    if (!json_is_object(event))
        return wrong(history, "not a JSON object");
    if (!json_is_string(process) && !json_is_integer(process))
        return wrong(history, "\"p\" is neither a number nor a text");
    if (json_is_string(process) && strcmp(json_string_value(process), NEMESIS) == 0)
        return OK;
    if (type == NULL)
        return wrong(history, "\"t\" is no text");
    id = model_json_put(&history->processes, process);
    if (strcmp(type, "invoke") == 0)
        return on_invoke(history, event, id);
    if (strcmp(type, "ok") == 0)
        return on_completion(history, event, id, OUTCOME_OK);
    if (strcmp(type, "fail") == 0)
        return on_completion(history, event, id, OUTCOME_FAIL);
    if (strcmp(type, "info") == 0)
        return on_completion(history, event, id, OUTCOME_INFO);
    return wrong(history, "\"t\" is \"%.40s\", not invoke, ok, fail or info", type);
}

static bool is_blank(struct slice line)
{
    for (size_t i = 0; i < line.size; i++)
        if (strchr(" \t\r", line.data[i]) == NULL || line.data[i] == '\0')
            return false;
    return true;
}

enum error history_read_line(struct history *history, struct slice line)
{
    json_error_t why;
    json_t *event;
    enum error rc;

    if (history->line == HISTORY_NEVER - 1)
        return wrong(history, "too many lines");
    history->line++;
    if (is_blank(line))
        return OK;
    event = json_loadb((const char *)line.data, line.size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
                       &why);
    if (event == NULL)
        return wrong(history, "not JSON: %.120s", why.text);
    rc = on_event(history, event);
    json_decref(event);
    return rc;
}

enum error history_end(struct history *history)
{
    for (size_t i = 0; i < history->count; i++)
        if (history->operations[i].line_end == 0)
            (void)history->model->on_return(history, &history->operations[i], NULL);
    if (history->count > 0)
        return OK;
    (void)snprintf(history->why, sizeof(history->why), "the history has no operations");
    return ERR_INVALID;
}

/* Every whole line at the start of `bytes`; the last one too when nothing follows. */
static enum error take_lines(struct history *history, struct buffer *bytes, bool is_last)
{
    size_t begin = 0;
    enum error rc = OK;

    while (rc == OK && begin < bytes->size) {
        const uint8_t *end = memchr(bytes->data + begin, '\n', bytes->size - begin);
        size_t size = end != NULL ? (size_t)(end - bytes->data) - begin : bytes->size - begin;

        if (end == NULL && !is_last)
            break;
        rc = history_read_line(history, slice_of(bytes->data + begin, size));
        begin += end != NULL ? size + 1 : size;
    }
    buffer_consume(bytes, begin);
    return rc;
}

enum error history_read(struct history *history, FILE *file)
{
    AUTO(buffer) bytes = BUFFER_INIT(HISTORY_LINE_BYTES_MAX);
    enum error rc = OK;
    size_t got;

    do {
        if (buffer_reserve(&bytes, READ_BYTES) != OK) {
            history->line++;
            return wrong(history, "longer than %u bytes", HISTORY_LINE_BYTES_MAX - READ_BYTES);
        }
        got = fread(bytes.data + bytes.size, 1, READ_BYTES, file);
        bytes.size += got;
        rc = take_lines(history, &bytes, got == 0);
    } while (rc == OK && got > 0);
    if (rc == OK && ferror(file)) {
        (void)snprintf(history->why, sizeof(history->why), "cannot be read to its end");
        rc = ERR_IO;
    }
    return rc == OK ? history_end(history) : rc;
}
