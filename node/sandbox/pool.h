/* The sandboxes of this node: which are kept, started, reused and ended.
 *
 * A waiting invocation starts a sandbox at once, unless the ones there are will be free sooner than
 * a new one could start; an idle sandbox is used again, the latest used first, and ended after
 * `idle_ms`. What cannot be served is throttled, never piled up.
 * A new generation of a function takes over for new invocations while the old one finishes its
 * own. Functions that keep crashing are started more and more slowly.
 *
 * Decides over `struct env` and its sandbox seam alone. Loop thread only. */

#ifndef NODE_SANDBOX_POOL_H
#define NODE_SANDBOX_POOL_H

#include "node/sandbox/invoke.h"
#include "node/sandbox/sandbox.h"

struct pool;

struct pool_code;
/* `folder` is copied. After an error the next invocation asks again. */
typedef void (*pool_code_cb)(struct pool_code *code, enum error rc, const char *folder);

struct pool_code { /* a request for the code of a function; the fetcher's until the callback */
    pool_code_cb cb;
    const Skein__Wire__Function *function; /* lent until the callback */
    struct list link;
    void *impl;
};

struct pool_options {         /* 0 or NULL = the default */
    const char *region;       /* of this node, for invocations that name none */
    const char *account;      /* in ARNs; default 000000000000 */
    uint32_t concurrency_max; /* invocations running and waiting; default 1000 */
    uint32_t sandboxes_max;   /* processes at a time; default 256 */
    uint32_t starting_max;    /* of these, being started; default 32 */
    uint32_t wait_ms_max;     /* for a sandbox, then throttled; default 15 s */
    uint32_t boot_ms_max;     /* for a runtime that is being loaded, before that; default 10 s */
    uint32_t init_ms_max;     /* from start to ready; default 10 s */
    uint32_t idle_ms;         /* default 300 s */
    void *user;
    /* Get the package of `code->function` and unpack it (env_sandbox.code_store). The callback
     * never comes before this returned. */
    void (*code_fetch)(void *user, struct pool_code *code, pool_code_cb cb);
    /* Whole lines or parts of them, as they come; `request_id` NULL outside invocations. May be
     * NULL. */
    void (*on_log)(void *user, const Skein__Wire__Function *function, const char *log_stream,
                   const char *request_id, struct slice text);
};

/* The options' strings are borrowed for the pool's life. */
struct pool *pool_new(struct env *env, const struct pool_options *options);
void pool_free(struct pool *pool);

/* A function or a version of one is there, or has changed (its generation or its package; else
 * nothing happens). Copied. */
void pool_function_set(struct pool *pool, const Skein__Wire__Function *function);
/* Its waiting invocations end with INVOKE_NOT_FOUND, its running ones go on. `version` 0: $LATEST
 */
void pool_function_remove(struct pool *pool, const char *name, uint64_t version);

void pool_invoke(struct pool *pool, struct invoke *invoke, invoke_cb cb);
/* As invoker.cancel. Only between pool_invoke and the callback. */
void pool_cancel(struct pool *pool, struct invoke *invoke);

/* ---- what this node may have and shall keep: its part of what is set for the whole cluster ----
 */

#define POOL_UNLIMITED UINT32_MAX

/* Said as a whole, from begin to end. A function that is not named shares the rest with the others;
 * of a version that is not named no sandbox is kept. */
void pool_plan_begin(struct pool *pool);
/* So many invocations of the function at a time, of all its versions together. */
void pool_plan_limit(struct pool *pool, const char *name, uint32_t max);
/* So many sandboxes of a version are started before they are needed, and not ended. */
void pool_plan_keep(struct pool *pool, const char *name, uint64_t version, uint32_t count);
void pool_plan_end(struct pool *pool, uint32_t rest_max);

/* Would an invocation of the function be throttled for a limit now? */
bool pool_is_at_limit(const struct pool *pool, const char *name);
/* Sandboxes of the version that are idle or busy. */
uint32_t pool_ready_count(const struct pool *pool, const char *name, uint64_t version);

struct pool_stats {
    uint32_t functions;
    uint32_t starting;
    uint32_t idle;
    uint32_t busy;
    uint32_t waiting;     /* invocations */
    uint64_t invocations; /* ended, since pool_new */
    uint64_t errors;      /* INVOKE_FUNCTION_ERROR among them */
    uint64_t throttles;
    uint64_t cold_starts; /* sandboxes started */
    uint64_t timeouts;
    uint64_t crashes;
    uint64_t billed_mb_ms; /* memory size times billed duration */
};

void pool_stats(const struct pool *pool, struct pool_stats *stats);

#endif
