/* One sandbox: a process that runs one function, one invocation at a time. This is the seam between
 * what decides (pool.h) and what does: process.h in production, sandbox_stub.h in simulations.
 *
 *   start -> on_ready -> (invoke -> on_result)* ... kill or its own end -> on_exit
 *
 * No callback comes before the call that causes it returned. Loop thread only. */

#ifndef NODE_SANDBOX_SANDBOX_H
#define NODE_SANDBOX_SANDBOX_H

#include "proto/env/env.h"
#include "proto/wire/function.pb-c.h"

#define SANDBOX_PATH_BYTES 512
#define SANDBOX_SHA256_BYTES 32

struct sandbox;

enum sandbox_result {
    SANDBOX_RESPONSE,  /* payload = what the handler returned */
    SANDBOX_ERROR,     /* payload = the error as the runtime described it */
    SANDBOX_TOO_LARGE, /* the response passed INVOKE_PAYLOAD_BYTES_MAX; payload empty */
};

enum sandbox_end {
    SANDBOX_EXITED,        /* code = exit status */
    SANDBOX_SIGNALLED,     /* code = signal; ours (kill) or its own */
    SANDBOX_OUT_OF_MEMORY, /* killed at its memory limit */
    SANDBOX_FAILED         /* the platform's fault: could not be isolated, or its launcher died */
};

struct sandbox_exit {
    enum sandbox_end end;
    int code;
    const char *why;      /* SANDBOX_FAILED: words for the log; valid until the callback returns */
    uint32_t memory_mb;   /* peak; 0 = not known */
    bool is_event_unseen; /* it had an event which it never fetched: nothing has run */
};

/* What the pool hears. `on_exit` comes exactly once after a successful start, last; the struct is
 * then the pool's again. */
struct sandbox_handler {
    void (*on_ready)(struct sandbox *sandbox); /* initialised; asked for its first event */
    /* The runtime could not initialise; it is about to exit. */
    void (*on_init_error)(struct sandbox *sandbox, struct slice payload);
    void (*on_result)(struct sandbox *sandbox, enum sandbox_result result, struct slice payload);
    void (*on_output)(struct sandbox *sandbox, struct slice text); /* stdout and stderr */
    void (*on_exit)(struct sandbox *sandbox, const struct sandbox_exit *exit);
};

struct sandbox { /* embedded, zeroed at first; the environment's from start to on_exit */
    const struct sandbox_handler *handler;
    void *impl;
};

/* Borrowed until start returns. */
struct sandbox_spec {
    const Skein__Wire__Function *function;
    const char *code_folder; /* its unpacked package */
    const char *region;      /* AWS_REGION inside */
    const char *log_group;
    const char *log_stream;
};

/* One invocation; borrowed until on_result or on_exit. */
struct sandbox_event {
    const char *request_id;
    const char *function_arn;
    const char *trace_header;    /* may be NULL */
    struct slice client_context; /* JSON; may be empty */
    struct slice payload;
    uint64_t deadline_wall_ms;
};

struct sandbox_code;
typedef void (*sandbox_code_cb)(struct sandbox_code *code, enum error rc, const char *folder);

struct sandbox_code { /* unpacking a package; embedded, zeroed at first */
    sandbox_code_cb cb;
    void *impl;
};

struct env_sandbox {
    /* "python3.9", "provided.al2023", ...: can this node run it? */
    bool (*supports)(struct env *env, const char *runtime);
    /* A function with that runtime is about to be used: get ready, if that takes time. */
    void (*prepare)(struct env *env, const char *runtime);
    /* True while what starts sandboxes of that runtime is itself being started: a start now would
     * only wait for it. */
    bool (*is_booting)(struct env *env, const char *runtime);
    /* ERR_VERSION: runtime not supported. ERR_NO_CAPACITY: no isolation that is allowed here. */
    enum error (*start)(struct env *env, struct sandbox *sandbox, const struct sandbox_spec *spec,
                        const struct sandbox_handler *handler);
    /* Only while it is ready and has no invocation. */
    void (*invoke)(struct env *env, struct sandbox *sandbox, const struct sandbox_event *event);
    void (*kill)(struct env *env, struct sandbox *sandbox);
    /* Peak so far; 0 = not known. Not from on_exit, which has it. */
    uint32_t (*memory_mb)(struct env *env, struct sandbox *sandbox);

    /* False while the machine's processors have so much to do that another running function would
     * only make all of them slower. */
    bool (*has_spare)(struct env *env);

    /* The folder of a package that was unpacked before. ERR_NOT_FOUND. */
    enum error (*code_find)(struct env *env, struct slice sha256, char folder[SANDBOX_PATH_BYTES]);
    /* Check the package against its hash, unpack and keep it. `zip` is taken. The callback gets the
     * folder (valid until it returns), or ERR_INVALID, ERR_TOO_LARGE, ERR_CORRUPT, ERR_IO. */
    void (*code_store)(struct env *env, struct sandbox_code *code, struct slice sha256,
                       struct buffer *zip, sandbox_code_cb cb);
};

#endif
