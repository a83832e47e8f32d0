#include "node/event/event_queue.h"

#include "proto/base/check.h"

#define PUT_DEADLINE_MS 10000u

uint32_t event_queue_shard(const struct shard_router *router, const char *id)
{
    return shard_router_shard_of(router, EVENT_RESOURCE, slice_text(id));
}

static void on_written(struct shard_request *request, enum error rc, struct slice reply)
{
    struct event_put *put = container_of(request, struct event_put, request);

    put->cb(put, rc == OK ? event_engine_verdict(reply) : rc);
}

void event_put_start(struct event_put *put, struct shard_router *router,
                     const Skein__Wire__Event *event, event_put_cb cb)
{
    Skein__Wire__EventCommand command = SKEIN__WIRE__EVENT_COMMAND__INIT;
    AUTO(buffer) bytes = BUFFER_INIT(BUFFER_UNLIMITED);

    command.kind = EVENT_PUT;
    command.event = (Skein__Wire__Event *)(uintptr_t)event;
    event_engine_put_command(&bytes, &command);
    put->cb = cb;
    shard_router_write(router, &put->request, event_queue_shard(router, event->id),
                       SHARD_ENGINE_QUEUE, buffer_slice(&bytes), PUT_DEADLINE_MS, on_written);
}

void event_put_cancel(struct event_put *put)
{
    shard_request_cancel(&put->request);
}
