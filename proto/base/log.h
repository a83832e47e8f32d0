/* One event, one line, on standard error: log_info("failover.started shard=%u from=%s", ...).
 *
 * The first word is `file.event`, stable, listed in docs/operations.md; then key=value pairs.
 * The time, level and process name are added. Never a secret or a payload.
 * error: an operator must act; warn: we coped; info: the cluster changed; debug: free. */

#ifndef PROTO_BASE_LOG_H
#define PROTO_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_OFF };

/* Where lines go; default standard error. `wall_ms` 0 = ask the system clock. The simulator sets
 * both hooks. Called on the loop thread only. */
typedef void (*log_sink)(enum log_level level, const char *line);

void log_set_level(enum log_level level);
void log_set_name(const char *process_name); /* copied, cut at 31 bytes */
void log_set_sink(log_sink sink);            /* NULL = standard error */

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

extern enum log_level log_level_min;

#define log_at(level, ...)                                                                         \
    do {                                                                                           \
        if ((level) >= log_level_min)                                                              \
            log_write(level, __VA_ARGS__);                                                         \
    } while (0)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)

#endif
