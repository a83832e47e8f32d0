#include "deploy/function_logs.h"

#include "proto/base/check.h"
#include "proto/base/json_write.h"
#include "proto/base/map.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 200
#define PATH_BYTES 800
#define READ_BYTES 65536
#define STREAM_SHOWN 4 /* characters, the last ones: enough to tell two sandboxes apart */

struct source { /* the log of the function on one node */
    const char *node;
    char path[PATH_BYTES];
    ino_t file;         /* that was read so far ... */
    off_t offset;       /* ... up to here */
    struct buffer rest; /* a line whose end was not there yet */
};

struct line {
    char *text; /* "TIME \t STREAM \t TEXT" */
    const char *node;
    size_t order; /* as read: keeps lines of one millisecond in order */
};

struct logs {
    const struct function_logs_options *options;
    struct source *sources;
    size_t source_count;
    struct line *lines; /* read and not shown yet */
    size_t line_count;
    size_t line_capacity;
    bool is_terminal;
};

/* ---- reading ---- */

static void take_line(struct logs *logs, const struct source *source, struct slice text)
{
    if (logs->line_count == logs->line_capacity) {
        logs->line_capacity = logs->line_capacity * 2 + 256;
        logs->lines = check_realloc(logs->lines, logs->line_capacity * sizeof(*logs->lines));
    }
    logs->lines[logs->line_count] =
        (struct line){slice_strdup(text), source->node, logs->line_count};
    logs->line_count++;
}

static void take_bytes(struct logs *logs, struct source *source, struct slice bytes)
{
    const uint8_t *end;

    while ((end = memchr(bytes.data, '\n', bytes.size)) != NULL) {
        size_t size = (size_t)(end - bytes.data);

        buffer_put_slice(&source->rest, slice_of(bytes.data, size));
        take_line(logs, source, buffer_slice(&source->rest));
        buffer_clear(&source->rest);
        bytes = slice_of(bytes.data + size + 1, bytes.size - size - 1);
    }
    buffer_put_slice(&source->rest, bytes);
}

/* What an open file has after `offset`. */
static off_t read_from(struct logs *logs, struct source *source, int fd, off_t offset)
{
    static uint8_t bytes[READ_BYTES];
    ssize_t size;

    while ((size = pread(fd, bytes, sizeof(bytes), offset)) > 0) {
        take_bytes(logs, source, slice_of(bytes, (size_t)size));
        offset += size;
    }
    return offset;
}

static int open_log(const char *path, ino_t *file)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && fstat(fd, &status) == 0) {
        *file = status.st_ino;
        return fd;
    }
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

/* The file before this one: all of it at first, later what was written before it was put away. */
static void read_old(struct logs *logs, struct source *source)
{
    char path[PATH_BYTES + 4];
    ino_t file;
    int fd;

    (void)snprintf(path, sizeof(path), "%s.1", source->path);
    fd = open_log(path, &file);
    if (fd < 0)
        return;
    if (source->file == 0)
        (void)read_from(logs, source, fd, 0);
    else if (source->file == file)
        (void)read_from(logs, source, fd, source->offset);
    (void)close(fd);
}

static void read_source(struct logs *logs, struct source *source)
{
    ino_t file;
    int fd = open_log(source->path, &file);

    if (fd < 0)
        return;
    if (file != source->file) {
        read_old(logs, source);
        source->file = file;
        source->offset = 0;
    }
    source->offset = read_from(logs, source, fd, source->offset);
    (void)close(fd);
}

/* ---- showing ---- */

static int compare_lines(const void *a, const void *b)
{
    const struct line *x = a;
    const struct line *y = b;
    size_t x_time = strcspn(x->text, "\t");
    size_t y_time = strcspn(y->text, "\t");
    int order = x_time == y_time ? memcmp(x->text, y->text, x_time) : 0;

    if (order != 0)
        return order;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* A terminal must not do what a function's output tells it to. */
static void make_harmless(char *text)
{
    for (; *text != '\0'; text++)
        if (((unsigned char)*text < ' ' && *text != '\t') || *text == 0x7f)
            *text = '?';
}

static void show_json(const char *time, const char *node, const char *stream, const char *text)
{
    AUTO(buffer) json = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write out = json_write_to(&json);

    json_begin_object(&out);
    json_member_text(&out, "time", time);
    json_member_text(&out, "node", node);
    json_member_text(&out, "stream", stream);
    json_member_text(&out, "text", text);
    json_end_object(&out);
    (void)printf("%s\n", buffer_text(&json));
}

static void show_line(const struct logs *logs, const struct line *line)
{
    char *rest = line->text;
    const char *time = strsep(&rest, "\t");
    const char *stream = rest != NULL ? strsep(&rest, "\t") : "";
    size_t size = strlen(stream);

    if (rest == NULL)
        return; /* cut off by a crash */
    if (logs->options->is_json) {
        show_json(time, line->node, stream, rest);
        return;
    }
    if (logs->is_terminal)
        make_harmless(rest);
    (void)printf("%s %-7s %s  %s\n", time, line->node,
                 size > STREAM_SHOWN ? stream + size - STREAM_SHOWN : stream, rest);
}

static void show(struct logs *logs, size_t lines_max)
{
    size_t first = logs->line_count > lines_max ? logs->line_count - lines_max : 0;

    if (logs->line_count > 0)
        qsort(logs->lines, logs->line_count, sizeof(*logs->lines), compare_lines);
    for (size_t i = 0; i < logs->line_count; i++) {
        if (i >= first)
            show_line(logs, &logs->lines[i]);
        free(logs->lines[i].text);
    }
    logs->line_count = 0;
    (void)fflush(stdout);
}

/* ---- the whole ---- */

static void logs_open(struct logs *logs, const struct cluster *cluster, const char *function)
{
    logs->sources = check_calloc(cluster->file.node_count + 1, sizeof(*logs->sources));
    logs->is_terminal = isatty(STDOUT_FILENO) == 1;
    for (size_t i = 0; i < cluster->daemon_count; i++) {
        struct source *source = &logs->sources[logs->source_count];

        if (cluster->daemons[i].is_controller)
            continue;
        source->node = cluster->daemons[i].name;
        buffer_init(&source->rest, BUFFER_UNLIMITED);
        (void)snprintf(source->path, sizeof(source->path), "%s/data/logs/%.128s",
                       cluster->daemons[i].folder, function);
        logs->source_count++;
    }
}

static void logs_close(struct logs *logs)
{
    for (size_t i = 0; i < logs->source_count; i++)
        buffer_close(&logs->sources[i].rest);
    free(logs->sources);
    free(logs->lines);
}

static bool read_all(struct logs *logs)
{
    bool is_found = false;

    for (size_t i = 0; i < logs->source_count; i++) {
        read_source(logs, &logs->sources[i]);
        is_found |= logs->sources[i].file != 0;
    }
    return is_found;
}

enum error function_logs_show(const struct cluster *cluster, const char *function,
                              const struct function_logs_options *options)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    struct logs logs = {.options = options};
    enum error rc = OK;

    if (strchr(function, '/') != NULL || function[0] == '.')
        return ERR_NOT_FOUND;
    logs_open(&logs, cluster, function);
    if (!read_all(&logs))
        rc = ERR_NOT_FOUND;
    else
        show(&logs, options->lines);
    while (rc == OK && options->is_following && ferror(stdout) == 0) {
        (void)nanosleep(&pause, NULL);
        (void)read_all(&logs);
        show(&logs, SIZE_MAX);
    }
    logs_close(&logs);
    return rc;
}

void function_logs_tell_names(const struct cluster *cluster)
{
    char path[PATH_BYTES];
    struct map told;

    map_init(&told);
    for (size_t i = 0; i < cluster->daemon_count; i++) {
        (void)snprintf(path, sizeof(path), "%s/data/logs", cluster->daemons[i].folder);
        DIR *folder = opendir(path);

        for (struct dirent *entry = folder != NULL ? readdir(folder) : NULL; entry != NULL;
             entry = readdir(folder)) {
            struct slice name = slice_text(entry->d_name);

            if (strchr(entry->d_name, '.') == NULL && map_set(&told, name, &told) == NULL)
                (void)fprintf(stderr, " %s", entry->d_name);
        }
        if (folder != NULL)
            (void)closedir(folder);
    }
    map_close(&told);
}
