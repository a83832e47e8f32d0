/* Running functions, as the services see it: one call, whatever node and sandbox it ends up in.
 *
 * pool.h keeps the sandboxes of this node; node.c routes a call to the nearest node the function is
 * placed on. Loop thread only. */

#ifndef NODE_SANDBOX_INVOKE_H
#define NODE_SANDBOX_INVOKE_H

#include "proto/base/buffer.h"
#include "proto/env/env.h"

#define INVOKE_PAYLOAD_BYTES_MAX (6u << 20)
#define INVOKE_LOG_TAIL_BYTES 4096

enum invoke_outcome {
    INVOKE_OK,             /* payload = the function's result */
    INVOKE_FUNCTION_ERROR, /* payload = {"errorMessage":..,"errorType":..}: raised, exited, timed
                              out */
    INVOKE_THROTTLED,      /* 429: no sandbox may be started; nothing ran */
    INVOKE_NOT_FOUND,      /* no such function here */
    INVOKE_TOO_LARGE,      /* payload or result over its limit */
    INVOKE_UNAVAILABLE,    /* 5xx: the platform failed; it may have run */
    INVOKE_CANCELLED,      /* as asked for; nothing ran */
    INVOKE_NO_RUNTIME      /* this machine does not have the function's runtime; nothing ran */
};

enum invoke_limit {                        /* which one throttled it */
                    INVOKE_LIMIT_NONE,     /* no sandbox in time */
                    INVOKE_LIMIT_RESERVED, /* of the function: its reserved concurrency */
                    INVOKE_LIMIT_ACCOUNT   /* of all functions without one */
};

struct invoke_result {
    enum invoke_outcome outcome;
    enum invoke_limit limit; /* with INVOKE_THROTTLED: this node's part of it is used up */
    struct slice payload;    /* valid until the callback returns */
    struct slice log_tail;   /* last 4 KiB of the log, START..REPORT lines included */
    const char *version;     /* that ran: "$LATEST", "7"; valid until the callback returns */
    uint64_t duration_us;
    uint64_t init_us; /* 0 = warm */
    uint32_t billed_ms;
    uint32_t memory_used_mb;
};

struct invoke;
typedef void (*invoke_cb)(struct invoke *invoke, const struct invoke_result *result);

struct invoke { /* embedded, zeroed at first; the callee's until the callback */
    invoke_cb cb;
    struct list link;
    void *impl;
    const char *function;        /* name, without qualifier; borrowed until the callback */
    uint64_t version;            /* 0 = $LATEST */
    const char *qualifier;       /* as it was called, for the ARN; borrowed; NULL or "" = none */
    const char *request_id;      /* UUID; borrowed */
    struct slice payload;        /* borrowed until the callback */
    struct slice client_context; /* decoded; may be empty */
    const char *region;          /* of the caller; goes into AWS_REGION of a fresh sandbox */
    const char *trace_header;    /* X-Amzn-Trace-Id; may be NULL */
};

/* What the services are given to call functions with. */
struct invoker {
    void *user;
    void (*start)(void *user, struct invoke *invoke, invoke_cb cb);
    /* Nobody waits for the answer any more. What has not started never will, and ends as
     * INVOKE_CANCELLED; what runs goes on, as in Lambda. The callback comes either way, but not
     * from within. */
    void (*cancel)(void *user, struct invoke *invoke);
};

#endif
