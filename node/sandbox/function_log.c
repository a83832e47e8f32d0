#include "node/sandbox/function_log.h"

#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/log.h"
#include "proto/base/map.h"

#include <inttypes.h>
#include <stdio.h>

#define GATHER_US 100000u
#define PATH_BYTES 256
/* Begun lines of one function. A sandbox that ends in the middle of a line leaves one behind, so
 * past this number all of them are taken as ended. */
#define OPEN_LINES_MAX 64

struct writer { /* of one function's log */
    struct list link;
    char *name;
    struct map open_lines; /* by log stream -> struct buffer, a line without its end */
    struct buffer gathered;
    uint64_t left_out; /* lines, since the last write */
};

struct function_log {
    struct env *env;
    char *folder;
    struct map writers; /* by function */
    struct list dirty;  /* writers with something to write */
    struct env_timer timer;
    bool has_folder;
    bool is_refused; /* the disk refused the last write; said once */
};

/* ---- writing ---- */

/* The file to append to: the present one, or a new one when that would grow too large. */
static enum error open_file(struct function_log *log, const char *path, size_t more,
                            struct env_file **file, uint64_t *size)
{
    struct env *env = log->env;
    char old_path[PATH_BYTES + 2];
    enum error rc = env->disk->open(env, path, true, file);

    if (rc == OK)
        rc = env->disk->size(env, *file, size);
    if (rc != OK || *size == 0 || *size + more <= FUNCTION_LOG_FILE_BYTES)
        return rc;
    env->disk->close(env, *file);
    *file = NULL;
    (void)snprintf(old_path, sizeof(old_path), "%s.1", path);
    rc = env->disk->rename(env, path, old_path);
    *size = 0;
    return rc == OK ? env->disk->open(env, path, true, file) : rc;
}

static enum error append(struct function_log *log, const struct writer *writer)
{
    struct env *env = log->env;
    struct slice bytes = buffer_slice(&writer->gathered);
    struct env_file *file = NULL;
    char path[PATH_BYTES];
    uint64_t size = 0;
    enum error rc = OK;

    if (!log->has_folder)
        rc = env->disk->make_folder(env, log->folder);
    log->has_folder = rc == OK;
    (void)snprintf(path, sizeof(path), "%s/%s", log->folder, writer->name);
    if (rc == OK)
        rc = open_file(log, path, bytes.size, &file, &size);
    if (rc == OK)
        rc = env->disk->write(env, file, size, bytes);
    if (file != NULL)
        env->disk->close(env, file);
    return rc;
}

static void put_line(struct function_log *log, struct buffer *to, const char *log_stream,
                     struct slice text)
{
    char time[TIME_TEXT_BYTES];

    encode_time(env_wall_ms(log->env), time);
    buffer_putf(to, "%s\t%s\t", time, log_stream);
    buffer_put_slice(to, text);
    buffer_put_text(to, "\n");
}

static void write_out(struct function_log *log, struct writer *writer)
{
    char note[64];
    enum error rc;

    if (writer->left_out > 0) {
        (void)snprintf(note, sizeof(note), "[%" PRIu64 " lines left out: too many at a time]",
                       writer->left_out);
        put_line(log, &writer->gathered, "-", slice_text(note));
    }
    rc = append(log, writer);
    if (rc != OK && !log->is_refused)
        log_warn("function_log.refused function=%s error=%s action=\"lines are left out\"",
                 writer->name, error_name(rc));
    log->is_refused = rc != OK;
    writer->left_out = 0;
    buffer_close(&writer->gathered);
}

void function_log_flush(struct function_log *log)
{
    struct list *link;

    env_timer_stop(log->env, &log->timer);
    while ((link = list_pop(&log->dirty)) != NULL)
        write_out(log, container_of(link, struct writer, link));
}

static void on_gathered(struct env_timer *timer)
{
    function_log_flush(container_of(timer, struct function_log, timer));
}

/* ---- lines ---- */

static void end_line(struct function_log *log, struct writer *writer, const char *log_stream,
                     struct slice text)
{
    if (text.size == 0)
        return;
    if (list_is_empty(&log->dirty))
        env_timer_start(log->env, &log->timer, GATHER_US, on_gathered);
    if (list_is_empty(&writer->link)) /* not queued yet */
        list_append(&log->dirty, &writer->link);
    if (writer->gathered.size + text.size > FUNCTION_LOG_GATHERED_BYTES)
        writer->left_out++;
    else
        put_line(log, &writer->gathered, log_stream, text);
}

static void open_line_free(struct buffer *line)
{
    buffer_close(line);
    free(line);
}

static void end_open_line(struct function_log *log, struct writer *writer, const char *log_stream)
{
    struct buffer *line = map_remove(&writer->open_lines, slice_text(log_stream));

    if (line == NULL)
        return;
    end_line(log, writer, log_stream, buffer_slice(line));
    open_line_free(line);
}

static void end_all_open_lines(struct function_log *log, struct writer *writer)
{
    struct map_entry *entry;
    size_t place = 0;

    while ((entry = map_next(&writer->open_lines, &place)) != NULL) {
        end_line(log, writer, "-", buffer_slice(entry->value));
        open_line_free(entry->value);
    }
    map_close(&writer->open_lines);
    map_init(&writer->open_lines);
}

static void put_part(struct function_log *log, struct writer *writer, const char *log_stream,
                     struct slice part, bool is_end)
{
    struct buffer *line = map_find(&writer->open_lines, slice_text(log_stream));

    if (line == NULL && is_end) {
        end_line(log, writer, log_stream, part);
        return;
    }
    if (line == NULL) {
        if (writer->open_lines.count >= OPEN_LINES_MAX)
            end_all_open_lines(log, writer);
        line = check_malloc(sizeof(*line));
        buffer_init(line, BUFFER_UNLIMITED);
        (void)map_set(&writer->open_lines, slice_text(log_stream), line);
    }
    buffer_put_slice(line, part);
    if (is_end || line->size >= FUNCTION_LOG_LINE_BYTES)
        end_open_line(log, writer, log_stream);
}

/* The platform's own lines begin a line, wherever the function stopped. */
static bool is_platform_line(const char *request_id, struct slice text)
{
    static const char *const words[] = {"START RequestId: ", "END RequestId: "};

    for (size_t i = 0; request_id != NULL && i < ARRAY_COUNT(words); i++) {
        size_t size = strlen(words[i]);

        if (text.size > size && memcmp(text.data, words[i], size) == 0)
            return true;
    }
    return false;
}

static struct writer *writer_of(struct function_log *log, const char *function)
{
    struct writer *writer = map_find(&log->writers, slice_text(function));

    if (writer != NULL)
        return writer;
    writer = check_calloc(1, sizeof(*writer));
    writer->name = check_strdup(function);
    list_init(&writer->link);
    map_init(&writer->open_lines);
    buffer_init(&writer->gathered, BUFFER_UNLIMITED);
    (void)map_set(&log->writers, slice_text(function), writer);
    return writer;
}

void function_log_put(struct function_log *log, const char *function, const char *log_stream,
                      const char *request_id, struct slice text)
{
    struct writer *writer = writer_of(log, function);

    if (is_platform_line(request_id, text))
        end_open_line(log, writer, log_stream);
    while (text.size > 0) {
        size_t most = text.size < FUNCTION_LOG_LINE_BYTES ? text.size : FUNCTION_LOG_LINE_BYTES;
        const uint8_t *end = memchr(text.data, '\n', most);
        size_t size = end != NULL ? (size_t)(end - text.data) : most;

        put_part(log, writer, log_stream, slice_of(text.data, size), end != NULL);
        size += end != NULL;
        text = slice_of(text.data + size, text.size - size);
    }
}

/* ---- life ---- */

struct function_log *function_log_new(struct env *env, const char *folder)
{
    struct function_log *log = check_calloc(1, sizeof(*log));

    log->env = env;
    log->folder = check_strdup(folder);
    map_init(&log->writers);
    list_init(&log->dirty);
    return log;
}

void function_log_free(struct function_log *log)
{
    struct map_entry *entry;
    size_t place = 0;

    if (log == NULL)
        return;
    env_timer_stop(log->env, &log->timer);
    while ((entry = map_next(&log->writers, &place)) != NULL) {
        struct writer *writer = entry->value;
        struct map_entry *line;
        size_t line_place = 0;

        while ((line = map_next(&writer->open_lines, &line_place)) != NULL)
            open_line_free(line->value);
        map_close(&writer->open_lines);
        buffer_close(&writer->gathered);
        free(writer->name);
        free(writer);
    }
    map_close(&log->writers);
    free(log->folder);
    free(log);
}
