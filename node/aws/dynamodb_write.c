#include "node/aws/dynamodb_write.h"

#include "proto/base/check.h"

#define PATIENCE_US 400000u
#define PAUSE_US 2000u
#define PAUSE_DOUBLINGS_MAX 4

static void send(struct dynamodb_write *write);

void dynamodb_write_cancel(struct dynamodb_write *write)
{
    if (write->dynamodb == NULL)
        return;
    env_timer_stop(write->dynamodb->with.env, &write->timer);
    shard_request_cancel(&write->request);
    buffer_close(&write->packed);
    write->dynamodb = NULL;
}

static void on_waited(struct env_timer *timer)
{
    send(container_of(timer, struct dynamodb_write, timer));
}

/* False: it has waited long enough. */
static bool wait(struct dynamodb_write *write)
{
    struct env *env = write->dynamodb->with.env;
    uint64_t pause = (uint64_t)PAUSE_US
                     << (write->attempts < PAUSE_DOUBLINGS_MAX ? write->attempts
                                                               : PAUSE_DOUBLINGS_MAX);

    if (env_now_us(env) >= write->patience_us)
        return false;
    write->attempts++;
    env_timer_start(env, &write->timer, pause / 2 + env_random(env) % pause, on_waited);
    return true;
}

static void on_reply(struct shard_request *request, enum error rc, struct slice bytes)
{
    struct dynamodb_write *write = container_of(request, struct dynamodb_write, request);
    Skein__Wire__TableReply *reply = NULL;

    if (rc == OK) {
        reply = skein__wire__table_reply__unpack(NULL, bytes.size, bytes.data);
        rc = reply != NULL ? OK : ERR_INTERNAL;
    }
    if (reply != NULL && reply->outcome == TABLE_LOCKED && wait(write)) {
        skein__wire__table_reply__free_unpacked(reply, NULL);
        return;
    }
    dynamodb_write_cancel(write);
    write->cb(write, rc, reply);
}

static void send(struct dynamodb_write *write)
{
    shard_router_write(write->dynamodb->with.router, &write->request, write->shard,
                       SHARD_ENGINE_TABLE, buffer_slice(&write->packed), DYNAMODB_DEADLINE_MS,
                       on_reply);
}

void dynamodb_write_start(struct dynamodb *dynamodb, struct dynamodb_write *write, uint32_t shard,
                          const Skein__Wire__TableCommand *command, dynamodb_write_cb cb)
{
    *write = (struct dynamodb_write){
        .dynamodb = dynamodb,
        .packed = BUFFER_INIT(BUFFER_UNLIMITED),
        .shard = shard,
        .patience_us = env_now_us(dynamodb->with.env) + PATIENCE_US,
        .cb = cb,
    };
    CHECK(buffer_reserve(&write->packed, skein__wire__table_command__get_packed_size(command)) ==
          OK);
    write->packed.size = skein__wire__table_command__pack(command, write->packed.data);
    send(write);
}
