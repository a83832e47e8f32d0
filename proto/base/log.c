#include "proto/base/log.h"

#include "proto/base/encode.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 2048

enum log_level log_level_min = LOG_LEVEL_INFO;

static char name[32] = "-";
static log_sink sink_now;
static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level)
{
    log_level_min = level;
}

void log_set_name(const char *process_name)
{
    (void)snprintf(name, sizeof(name), "%s", process_name);
}

void log_set_sink(log_sink sink)
{
    sink_now = sink;
}

void log_write(enum log_level level, const char *format, ...)
{
    char line[LINE_BYTES_MAX];
    char stamp[TIME_TEXT_BYTES];
    size_t size = 0;
    va_list arguments;

    if (sink_now == NULL) {
        struct timespec now;

        (void)clock_gettime(CLOCK_REALTIME, &now);
        encode_time((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000, stamp);
        int head = snprintf(line, sizeof(line), "%s %-5s %s ", stamp, level_names[level], name);

        size = head > 0 ? (size_t)head : 0;
    }
    va_start(arguments, format);
    int body = vsnprintf(line + size, sizeof(line) - size - 1, format, arguments);

    va_end(arguments);
    if (body > 0)
        size += (size_t)body < sizeof(line) - size - 1 ? (size_t)body : sizeof(line) - size - 2;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)line[i] < ' ')
            line[i] = ' ';
    if (sink_now != NULL) {
        line[size] = '\0';
        sink_now(level, line);
        return;
    }
    line[size++] = '\n';
    if (write(STDERR_FILENO, line, size) < 0) {
        /* nowhere left to say it */
    }
}
