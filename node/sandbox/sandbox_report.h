/* Words that users of Lambda know: the log lines around an invocation, and the error documents the
 * platform itself produces. */

#ifndef NODE_SANDBOX_SANDBOX_REPORT_H
#define NODE_SANDBOX_SANDBOX_REPORT_H

#include "node/sandbox/sandbox.h"

struct sandbox_report {
    const char *request_id;
    const char *version;
    uint64_t duration_us;
    uint64_t init_us; /* 0 = warm */
    uint32_t billed_ms;
    uint32_t memory_mb;
    uint32_t memory_used_mb;
};

uint32_t sandbox_report_billed_ms(uint64_t duration_us); /* rounded up, at least 1 */

/* Log lines, each with its newline. */
void sandbox_report_start(const struct sandbox_report *report, struct buffer *to);
void sandbox_report_end(const struct sandbox_report *report, struct buffer *to); /* END, REPORT */

/* Error documents. */
void sandbox_report_timeout(const char *request_id, uint64_t wall_ms, uint32_t timeout_ms,
                            struct buffer *document);
void sandbox_report_exit(const char *request_id, const struct sandbox_exit *exit,
                         struct buffer *document);
void sandbox_report_too_large(struct buffer *document);

/* The message of such a document as a log line: "<time> <request id> Task timed out ...". */
void sandbox_report_timeout_line(const char *request_id, uint64_t wall_ms, uint32_t timeout_ms,
                                 struct buffer *to);
void sandbox_report_exit_line(const char *request_id, const struct sandbox_exit *exit,
                              struct buffer *to);

#endif
