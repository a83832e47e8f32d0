#include "proto/net/call.h"

#include "proto/base/check.h"
#include "proto/base/map.h"

/* On the wire, little endian: kind u8, id u64, then of a request method u32, of an answer rc u32,
 * then the body. */
enum kind { KIND_REQUEST = 1, KIND_ANSWER = 2 };

#define HEADER_BYTES 13
#define MESSAGE_BYTES_KEPT (256u * 1024) /* a longer one's memory is given back */

struct handler {
    void *user;
    call_handler handler;
};

struct pending { /* a request that was not answered yet */
    struct call_request request;
    struct list link;
};

struct calls {
    struct env *env;
    uint64_t id_next;
    struct map by_id;      /* id -> struct call, those that are with a peer */
    struct list in_flight; /* all calls, those that could not be sent too */
    struct list pending;
    struct handler handlers[CALL_METHOD_COUNT];
    struct env_link_watcher watcher;
    struct buffer message; /* reused */
};

/* ---- the caller's side ---- */

static void take_back(struct call *call)
{
    struct calls *calls = call->calls;

    list_remove(&call->link);
    (void)map_remove_u64(&calls->by_id, call->id);
    env_timer_stop(calls->env, &call->timer);
    call->calls = NULL;
}

static void finish(struct call *call, enum error rc, struct slice answer)
{
    take_back(call);
    call->cb(call, rc, answer);
}

static void on_deadline(struct env_timer *timer)
{
    finish(container_of(timer, struct call, timer), ERR_TIMEOUT, slice_of(NULL, 0));
}

static void on_not_sent(struct env_timer *timer)
{
    struct call *call = container_of(timer, struct call, timer);

    finish(call, call->not_sent, slice_of(NULL, 0));
}

static enum error send(struct calls *calls, uint64_t peer, enum kind kind, uint64_t id,
                       uint32_t code, struct slice body)
{
    if (body.size > UINT32_MAX - HEADER_BYTES)
        return ERR_TOO_LARGE;
    buffer_clear(&calls->message);
    buffer_put_u8(&calls->message, (uint8_t)kind);
    buffer_put_u64(&calls->message, id);
    buffer_put_u32(&calls->message, code);
    buffer_put_slice(&calls->message, body);
    enum error rc = env_send(calls->env, peer, ENV_CHANNEL_CALL, buffer_slice(&calls->message));

    if (body.size > MESSAGE_BYTES_KEPT)
        buffer_close(&calls->message);
    return rc;
}

void call_start(struct calls *calls, struct call *call, uint64_t peer, enum call_method method,
                struct slice body, uint32_t deadline_ms, call_cb cb)
{
    CHECK(call->calls == NULL);
    call->calls = calls;
    call->peer = peer;
    call->cb = cb;
    call->id = calls->id_next++;
    list_append(&calls->in_flight, &call->link);
    call->not_sent = send(calls, peer, KIND_REQUEST, call->id, method, body);
    if (call->not_sent != OK) {
        env_timer_start(calls->env, &call->timer, 0, on_not_sent);
        return;
    }
    (void)map_set_u64(&calls->by_id, call->id, call);
    env_timer_start(calls->env, &call->timer, (uint64_t)deadline_ms * 1000, on_deadline);
}

void call_cancel(struct call *call)
{
    if (call->calls != NULL)
        take_back(call);
}

static void on_answer(struct calls *calls, uint64_t peer, uint64_t id, uint32_t code,
                      struct slice body)
{
    struct call *call = map_find_u64(&calls->by_id, id);
    enum error rc = code < ERROR_COUNT ? (enum error)code : ERR_INTERNAL;

    if (call == NULL || call->peer != peer) /* too late, or not what that peer was asked */
        return;
    finish(call, rc, rc == OK ? body : slice_of(NULL, 0));
}

/* A callback may start and cancel calls, those in `lost` too. */
static void on_down(void *user, uint64_t peer, enum env_down_reason reason)
{
    struct calls *calls = user;
    struct list lost;

    (void)reason;
    list_init(&lost);
    LIST_EACH_SAFE(&calls->in_flight, link)
    {
        struct call *call = container_of(link, struct call, link);

        if (call->peer == peer && call->not_sent == OK) {
            list_remove(link);
            list_append(&lost, link);
        }
    }
    while (!list_is_empty(&lost))
        finish(container_of(lost.next, struct call, link), ERR_LOST, slice_of(NULL, 0));
}

static void on_up(void *user, uint64_t peer)
{
    (void)user;
    (void)peer;
}

/* ---- the answering side ---- */

static void on_request(struct calls *calls, uint64_t peer, uint64_t id, uint32_t method,
                       struct slice body)
{
    struct pending *pending = check_malloc(sizeof(*pending));
    const struct handler *handler = method < CALL_METHOD_COUNT ? &calls->handlers[method] : NULL;

    pending->request = (struct call_request){calls, peer, id, body};
    list_append(&calls->pending, &pending->link);
    if (handler == NULL || handler->handler == NULL)
        call_answer(&pending->request, ERR_VERSION, slice_of(NULL, 0));
    else
        handler->handler(handler->user, &pending->request);
}

static void on_message(void *user, uint64_t peer, struct slice message)
{
    struct reader reader = reader_of(message);
    uint8_t kind = reader_u8(&reader);
    uint64_t id = reader_u64(&reader);
    uint32_t code = reader_u32(&reader);

    if (!reader.ok)
        return;
    if (kind == KIND_REQUEST)
        on_request(user, peer, id, code, reader.rest);
    else if (kind == KIND_ANSWER)
        on_answer(user, peer, id, code, reader.rest);
}

void calls_handle(struct calls *calls, enum call_method method, void *user, call_handler handler)
{
    CHECK(method < CALL_METHOD_COUNT);
    calls->handlers[method] = (struct handler){user, handler};
}

/* When the answer cannot be sent the caller learns it by its deadline, or by the link going down:
 * in both cases rightly that it may have happened. */
void call_answer(struct call_request *request, enum error rc, struct slice body)
{
    struct pending *pending = container_of(request, struct pending, request);
    struct calls *calls = request->calls;

    if (rc != OK)
        body = slice_of(NULL, 0);
    enum error sent = send(calls, request->peer, KIND_ANSWER, request->id, rc, body);

    if (sent == ERR_TOO_LARGE)
        (void)send(calls, request->peer, KIND_ANSWER, request->id, ERR_INTERNAL, slice_of(NULL, 0));
    list_remove(&pending->link);
    free(pending);
}

/* ---- life ---- */

struct calls *calls_new(struct env *env)
{
    struct calls *calls = check_calloc(1, sizeof(*calls));

    calls->env = env;
    calls->id_next =
        env_random(env); /* an answer to an earlier life of this process fits no call */
    map_init(&calls->by_id);
    list_init(&calls->in_flight);
    list_init(&calls->pending);
    buffer_init(&calls->message, BUFFER_UNLIMITED);
    calls->watcher = (struct env_link_watcher){.user = calls, .on_up = on_up, .on_down = on_down};
    env->link->watch(env, &calls->watcher);
    env->link->handle(env, ENV_CHANNEL_CALL, (struct env_link_handler){calls, on_message});
    return calls;
}

void calls_free(struct calls *calls)
{
    struct list *link;

    if (calls == NULL)
        return;
    calls->env->link->unwatch(calls->env, &calls->watcher);
    calls->env->link->handle(calls->env, ENV_CHANNEL_CALL, (struct env_link_handler){NULL, NULL});
    while (!list_is_empty(&calls->in_flight))
        take_back(container_of(calls->in_flight.next, struct call, link));
    while ((link = list_pop(&calls->pending)) != NULL)
        free(container_of(link, struct pending, link));
    map_close(&calls->by_id);
    buffer_close(&calls->message);
    free(calls);
}
