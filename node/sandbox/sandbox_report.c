#include "node/sandbox/sandbox_report.h"

#include "node/sandbox/invoke.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/json_write.h"

#include <inttypes.h>
#include <signal.h>

uint32_t sandbox_report_billed_ms(uint64_t duration_us)
{
    uint64_t ms = (duration_us + 999) / 1000;

    return ms == 0 ? 1 : (uint32_t)ms;
}

/* Microseconds as milliseconds with two places, rounded. */
static void put_ms(struct buffer *to, uint64_t us)
{
    uint64_t hundredths = (us + 5) / 10;

    buffer_putf(to, "%" PRIu64 ".%02" PRIu64 " ms", hundredths / 100, hundredths % 100);
}

void sandbox_report_start(const struct sandbox_report *report, struct buffer *to)
{
    buffer_putf(to, "START RequestId: %s Version: %s\n", report->request_id, report->version);
}

void sandbox_report_end(const struct sandbox_report *report, struct buffer *to)
{
    buffer_putf(to, "END RequestId: %s\nREPORT RequestId: %s\tDuration: ", report->request_id,
                report->request_id);
    put_ms(to, report->duration_us);
    buffer_putf(to, "\tBilled Duration: %u ms\tMemory Size: %u MB\tMax Memory Used: %u MB\t",
                report->billed_ms, report->memory_mb, report->memory_used_mb);
    if (report->init_us > 0) {
        buffer_put_text(to, "Init Duration: ");
        put_ms(to, report->init_us);
        buffer_put_text(to, "\t");
    }
    buffer_put_text(to, "\n");
}

static void put_timeout(const char *request_id, uint64_t wall_ms, uint32_t timeout_ms,
                        struct buffer *to)
{
    char time[TIME_TEXT_BYTES];

    encode_time(wall_ms, time);
    buffer_putf(to, "%s %s Task timed out after %u.%02u seconds", time, request_id,
                timeout_ms / 1000, timeout_ms % 1000 / 10);
}

void sandbox_report_timeout_line(const char *request_id, uint64_t wall_ms, uint32_t timeout_ms,
                                 struct buffer *to)
{
    put_timeout(request_id, wall_ms, timeout_ms, to);
    buffer_put_text(to, "\n\n");
}

void sandbox_report_timeout(const char *request_id, uint64_t wall_ms, uint32_t timeout_ms,
                            struct buffer *document)
{
    AUTO(buffer) message = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(document);

    put_timeout(request_id, wall_ms, timeout_ms, &message);
    json_begin_object(&json);
    json_member_slice(&json, "errorMessage", buffer_slice(&message));
    json_end_object(&json);
}

/* As Lambda's own supervisor, written in Go, names them. */
static const char *signal_name(int number)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {{SIGHUP, "hangup"},
                 {SIGINT, "interrupt"},
                 {SIGQUIT, "quit"},
                 {SIGILL, "illegal instruction"},
                 {SIGTRAP, "trace/breakpoint trap"},
                 {SIGABRT, "aborted"},
                 {SIGBUS, "bus error"},
                 {SIGFPE, "floating point exception"},
                 {SIGKILL, "killed"},
                 {SIGSEGV, "segmentation fault"},
                 {SIGPIPE, "broken pipe"},
                 {SIGTERM, "terminated"},
                 {SIGSYS, "bad system call"}};

    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (names[i].number == number)
            return names[i].name;
    return "unknown";
}

static void put_exit(const char *request_id, const struct sandbox_exit *exit, struct buffer *to)
{
    buffer_putf(to, "RequestId: %s Error: ", request_id);
    if (exit->end == SANDBOX_EXITED && exit->code == 0)
        buffer_put_text(to, "Runtime exited without providing a reason");
    else if (exit->end == SANDBOX_EXITED)
        buffer_putf(to, "Runtime exited with error: exit status %d", exit->code);
    else
        buffer_putf(to, "Runtime exited with error: signal: %s", signal_name(exit->code));
}

void sandbox_report_exit_line(const char *request_id, const struct sandbox_exit *exit,
                              struct buffer *to)
{
    put_exit(request_id, exit, to);
    buffer_put_text(to, "\nRuntime.ExitError\n");
}

static void put_error(struct buffer *document, const char *type, struct slice message)
{
    struct json_write json = json_write_to(document);

    json_begin_object(&json);
    json_member_text(&json, "errorType", type);
    json_member_slice(&json, "errorMessage", message);
    json_end_object(&json);
}

void sandbox_report_exit(const char *request_id, const struct sandbox_exit *exit,
                         struct buffer *document)
{
    AUTO(buffer) message = BUFFER_INIT(BUFFER_UNLIMITED);

    put_exit(request_id, exit, &message);
    put_error(document, "Runtime.ExitError", buffer_slice(&message));
}

void sandbox_report_too_large(struct buffer *document)
{
    AUTO(buffer) message = BUFFER_INIT(BUFFER_UNLIMITED);

    buffer_putf(&message, "Response payload size exceeded maximum allowed payload size (%u bytes).",
                INVOKE_PAYLOAD_BYTES_MAX);
    put_error(document, "Function.ResponseSizeTooLarge", buffer_slice(&message));
}
