#include "node/node_event.h"

struct each_led {
    void *to;
    void (*on_shard)(void *to, uint32_t shard);
};

static void on_led(void *user, struct shard_replica *replica)
{
    const struct each_led *each = user;

    each->on_shard(each->to, replica->shard);
}

static void each_led(void *user, void *to, void (*on_shard)(void *to, uint32_t shard))
{
    struct each_led each = {to, on_shard};

    shard_host_each_leader(user, &each, on_led);
}

static enum error read_events(void *user, uint32_t shard, struct slice query, struct buffer *reply)
{
    struct shard_replica *replica = shard_host_find(user, shard);

    if (replica == NULL)
        return ERR_NOT_FOUND;
    return shard_state_read(&replica->state, SHARD_ENGINE_QUEUE, query, reply);
}

struct event_shards node_event_shards(struct shard_host *shards)
{
    return (struct event_shards){.user = shards, .each_led = each_led, .read = read_events};
}
