/* What functions print, kept on the node that ran them: a file for each function, and the one
 * before it once that is full (NAME and NAME.1). A line of it is
 *
 *   2026-11-24T09:30:00.123Z <tab> log stream <tab> text
 *
 * Lines are gathered and written ten times a second, without a promise: what the last moments
 * before a crash printed may be missing. Both the files and what one function may print in such
 * a moment are bounded; what is too much is left out, and the log says how much. A disk that
 * refuses costs lines, nothing else. Loop thread only. */

#ifndef NODE_SANDBOX_FUNCTION_LOG_H
#define NODE_SANDBOX_FUNCTION_LOG_H

#include "proto/env/env.h"

#define FUNCTION_LOG_FILE_BYTES (1u << 20)
#define FUNCTION_LOG_GATHERED_BYTES (64u << 10) /* of one function, in one moment */
#define FUNCTION_LOG_LINE_BYTES (16u << 10)     /* a longer line is cut into several */

struct function_log;

/* `folder` in the data folder; copied. */
struct function_log *function_log_new(struct env *env, const char *folder);
/* What was gathered is not written. */
void function_log_free(struct function_log *log);

/* Any piece of output; the rest of a line may come later, from the same stream. `request_id` may be
 * NULL. */
void function_log_put(struct function_log *log, const char *function, const char *log_stream,
                      const char *request_id, struct slice text);

/* Write what was gathered now. */
void function_log_flush(struct function_log *log);

#endif
