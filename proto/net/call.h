/* Calls between processes: one request, one answer, a deadline.
 *
 * A call is one message each way on ENV_CHANNEL_CALL. The caller learns for certain whether
 * nothing happened (ERR_UNREACHABLE before anything was sent) or it may have (ERR_LOST when the
 * link went down meanwhile, ERR_TIMEOUT). Loop thread only. */

#ifndef PROTO_NET_CALL_H
#define PROTO_NET_CALL_H

#include "proto/env/env.h"

struct calls; /* one per process */

enum call_method { /* on the wire: never renumber */
                   CALL_SHARD_WRITE = 1,
                   CALL_SHARD_READ = 2,
                   CALL_CATALOGUE_UPDATE = 3,
                   CALL_REGISTER = 4,
                   CALL_INVOKE = 5,
                   CALL_ADMIN = 6,
                   CALL_SHARD_STATUS = 7,
                   CALL_INVOKE_CANCEL = 8,
                   CALL_LINKS = 10,
                   CALL_PROVISIONED = 9,
                   CALL_METHOD_COUNT = 32
};

struct calls *calls_new(struct env *env);
/* Frees at once; calls in flight get no callback. */
void calls_free(struct calls *calls);

/* ---- the caller's side ---- */

struct call;
/* `answer` is valid until the callback returns, and empty unless rc is OK. */
typedef void (*call_cb)(struct call *call, enum error rc, struct slice answer);

struct call { /* embedded by the caller; zeroed at first */
    struct list link;
    struct env_timer timer;
    call_cb cb;
    uint64_t id;
    uint64_t peer;
    struct calls *calls; /* NULL = not in flight */
    enum error not_sent; /* why it could not be sent; OK */
};

/* Exactly one callback, in a later turn or at the earliest after call_start returned. */
void call_start(struct calls *calls, struct call *call, uint64_t peer, enum call_method method,
                struct slice body, uint32_t deadline_ms, call_cb cb);
/* No callback comes after this. Nothing when not in flight. */
void call_cancel(struct call *call);

/* ---- the answering side ---- */

struct call_request { /* owned by calls.c; valid until answered */
    struct calls *calls;
    uint64_t peer;
    uint64_t id;
    struct slice body; /* valid only until the handler returns */
};

typedef void (*call_handler)(void *user, struct call_request *request);

void calls_handle(struct calls *calls, enum call_method method, void *user, call_handler handler);
/* Sends rc (the caller's callback gets it) and the body, and frees `request`. */
void call_answer(struct call_request *request, enum error rc, struct slice body);

#endif
