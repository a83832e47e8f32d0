#include "proto/net/shim.h"

#include "proto/base/check.h"
#include "proto/base/map.h"

#define SILENT_MS 1000
#define HELD_BYTES_MAX (64u << 20) /* under way to and from one peer */
#define REFUSED_WAYS 3

struct shim {
    struct env_link table; /* first: env->link points here, and that is how its functions find us */
    struct env *env;
    struct env inner; /* the environment as it is without us */
    uint64_t silent_us;
    struct map rules; /* peer id -> struct rule */
    struct env_link_watcher inner_watcher;
    struct list watchers;
    struct channel {
        struct shim *shim;
        enum env_channel number;
        struct env_link_handler handler;
    } channels[ENV_CHANNEL_COUNT];
};

/* What is under way. None arrives before the one in front of it, whatever its own time. */
struct held {
    struct list link;
    uint64_t due_us;
    enum { HELD_OUT, HELD_IN, HELD_UP, HELD_DOWN } kind;
    enum env_channel channel;
    enum env_down_reason reason;
    size_t size;
    uint8_t bytes[];
};

struct rule { /* made for the first rule of a peer and kept, so that what is under way stays */
    struct shim *shim;
    uint64_t peer;
    uint64_t delay_us;
    uint32_t drop_permille;
    bool is_cut;
    bool is_told_up; /* what the watchers know */
    size_t held_bytes;
    struct list held;
    struct env_timer arrive;
    struct env_timer silent; /* running while cut and told up */
};

static struct shim *shim_of(struct env *env)
{
    return container_of(env->link, struct shim, table);
}

static struct rule *rule_find(const struct shim *shim, uint64_t peer)
{
    return map_find_u64(&shim->rules, peer);
}

static bool inner_is_up(struct shim *shim, uint64_t peer)
{
    return shim->inner.link->is_up(&shim->inner, peer);
}

/* ---- telling ---- */

/* Watchers may come and go meanwhile. */
static void tell(struct shim *shim, uint64_t peer, bool is_up, enum env_down_reason reason)
{
    struct list todo;
    struct list *link;

    list_move(&todo, &shim->watchers);
    while ((link = list_pop(&todo)) != NULL) {
        struct env_link_watcher *watcher = container_of(link, struct env_link_watcher, link);

        list_append(&shim->watchers, link);
        if (is_up)
            watcher->on_up(watcher->user, peer);
        else
            watcher->on_down(watcher->user, peer, reason);
    }
}

static void tell_by_rule(struct rule *rule, bool is_up, enum env_down_reason reason)
{
    bool was_up = rule->is_told_up;

    rule->is_told_up = is_up;
    if (is_up != was_up || (!is_up && reason == ENV_DOWN_REFUSED))
        tell(rule->shim, rule->peer, is_up, reason);
}

static void hand_over(struct shim *shim, uint64_t peer, enum env_channel channel,
                      struct slice message)
{
    struct env_link_handler *handler = &shim->channels[channel].handler;

    if (handler->on_message != NULL)
        handler->on_message(handler->user, peer, message);
}

/* ---- what is under way ---- */

static void held_free(struct rule *rule, struct held *held)
{
    list_remove(&held->link);
    rule->held_bytes -= held->size;
    free(held);
}

static void drop_held(struct rule *rule)
{
    while (!list_is_empty(&rule->held))
        held_free(rule, container_of(rule->held.next, struct held, link));
    env_timer_stop(rule->shim->env, &rule->arrive);
}

static void arrive(struct rule *rule, struct held *held)
{
    struct shim *shim = rule->shim;
    struct slice message = slice_of(held->bytes, held->size);

    switch (held->kind) {
    case HELD_OUT: /* may fail: then it was lost on the way */
        (void)shim->inner.link->send(&shim->inner, rule->peer, held->channel, message);
        break;
    case HELD_IN:
        hand_over(shim, rule->peer, held->channel, message);
        break;
    case HELD_UP:
        tell_by_rule(rule, true, ENV_DOWN_CLOSED);
        break;
    case HELD_DOWN:
        tell_by_rule(rule, false, held->reason);
        break;
    }
}

static void on_arrive(struct env_timer *timer);

static void wait_for_first(struct rule *rule)
{
    struct shim *shim = rule->shim;
    uint64_t now_us = env_now_us(shim->env);

    if (list_is_empty(&rule->held) || rule->is_cut)
        return;
    uint64_t due_us = container_of(rule->held.next, struct held, link)->due_us;

    env_timer_start(shim->env, &rule->arrive, due_us > now_us ? due_us - now_us : 0, on_arrive);
}

static void on_arrive(struct env_timer *timer)
{
    struct rule *rule = container_of(timer, struct rule, arrive);
    uint64_t now_us = env_now_us(rule->shim->env);

    while (!list_is_empty(&rule->held) && !rule->is_cut) {
        struct held *held = container_of(rule->held.next, struct held, link);

        if (held->due_us > now_us)
            break;
        list_remove(&held->link);
        rule->held_bytes -= held->size;
        arrive(rule, held);
        free(held);
    }
    wait_for_first(rule);
}

static void hold(struct rule *rule, const struct held *like, struct slice message, uint64_t ways)
{
    struct held *held = check_malloc(sizeof(*held) + message.size);

    *held = *like;
    held->size = message.size;
    if (message.size > 0)
        memcpy(held->bytes, message.data, message.size);
    held->due_us = env_now_us(rule->shim->env) + rule->delay_us * ways;
    rule->held_bytes += message.size;
    list_append(&rule->held, &held->link);
    if (!env_timer_is_running(&rule->arrive))
        wait_for_first(rule);
}

static bool is_full(const struct rule *rule, size_t more)
{
    return rule->held_bytes > 0 && rule->held_bytes + more > HELD_BYTES_MAX;
}

/* Nothing to do and nothing in front that would be overtaken. */
static bool passes_through(const struct rule *rule)
{
    return rule->delay_us == 0 && !rule->is_cut && list_is_empty(&rule->held);
}

/* ---- the link's functions ---- */

static enum error link_send(struct env *env, uint64_t peer, enum env_channel channel,
                            struct slice message)
{
    struct shim *shim = shim_of(env);
    struct rule *rule = rule_find(shim, peer);

    if (rule == NULL)
        return shim->inner.link->send(&shim->inner, peer, channel, message);
    if (!rule->is_told_up)
        return ERR_UNREACHABLE;
    if (rule->drop_permille > 0 && env_random(shim->env) % 1000 < rule->drop_permille)
        return OK;
    if (passes_through(rule))
        return shim->inner.link->send(&shim->inner, peer, channel, message);
    if (is_full(rule, message.size) && channel != ENV_CHANNEL_RAFT)
        return ERR_OVERLOADED;
    hold(rule, &(struct held){.kind = HELD_OUT, .channel = channel}, message, 1);
    return OK;
}

static bool link_is_up(struct env *env, uint64_t peer)
{
    struct shim *shim = shim_of(env);
    struct rule *rule = rule_find(shim, peer);

    return rule != NULL ? rule->is_told_up : inner_is_up(shim, peer);
}

static uint64_t link_self(struct env *env)
{
    struct shim *shim = shim_of(env);

    return shim->inner.link->self(&shim->inner);
}

static void link_peer_set(struct env *env, uint64_t peer, const char *endpoint,
                          const char *public_key)
{
    struct shim *shim = shim_of(env);

    shim->inner.link->peer_set(&shim->inner, peer, endpoint, public_key);
}

static void link_peer_remove(struct env *env, uint64_t peer)
{
    struct shim *shim = shim_of(env);

    shim->inner.link->peer_remove(&shim->inner, peer);
}

static void link_handle(struct env *env, enum env_channel channel, struct env_link_handler handler)
{
    shim_of(env)->channels[channel].handler = handler;
}

static void link_watch(struct env *env, struct env_link_watcher *watcher)
{
    list_append(&shim_of(env)->watchers, &watcher->link);
}

static void link_unwatch(struct env *env, struct env_link_watcher *watcher)
{
    (void)env;
    list_remove(&watcher->link);
}

/* ---- what the inner link tells ---- */

static void on_inner_message(void *user, uint64_t peer, struct slice message)
{
    struct channel *channel = user;
    struct rule *rule = rule_find(channel->shim, peer);

    if (rule == NULL || !rule->is_cut)
        hand_over(channel->shim, peer, channel->number, message);
    else if (rule->is_told_up && !is_full(rule, message.size))
        hold(rule, &(struct held){.kind = HELD_IN, .channel = channel->number}, message, 0);
}

static void on_inner_up(void *user, uint64_t peer)
{
    struct shim *shim = user;
    struct rule *rule = rule_find(shim, peer);

    if (rule == NULL)
        tell(shim, peer, true, ENV_DOWN_CLOSED);
    else if (passes_through(rule))
        tell_by_rule(rule, true, ENV_DOWN_CLOSED);
    else if (!rule->is_cut)
        hold(rule, &(struct held){.kind = HELD_UP}, slice_of(NULL, 0), 1);
}

static void on_inner_down(void *user, uint64_t peer, enum env_down_reason reason)
{
    struct shim *shim = user;
    struct rule *rule = rule_find(shim, peer);
    uint64_t ways = reason == ENV_DOWN_REFUSED ? REFUSED_WAYS : 1;

    if (rule == NULL)
        tell(shim, peer, false, reason);
    else if (passes_through(rule))
        tell_by_rule(rule, false, reason);
    else if (!rule->is_cut)
        hold(rule, &(struct held){.kind = HELD_DOWN, .reason = reason}, slice_of(NULL, 0), ways);
}

/* ---- rules ---- */

static void on_silent(struct env_timer *timer)
{
    struct rule *rule = container_of(timer, struct rule, silent);

    drop_held(rule);
    tell_by_rule(rule, false, ENV_DOWN_SILENT);
}

static struct rule *rule_new(struct shim *shim, uint64_t peer)
{
    struct rule *rule = check_calloc(1, sizeof(*rule));

    rule->shim = shim;
    rule->peer = peer;
    rule->is_told_up = inner_is_up(shim, peer);
    list_init(&rule->held);
    (void)map_set_u64(&shim->rules, peer, rule);
    return rule;
}

/* What happened to the peer while it was cut off shows now. */
static void heal(struct rule *rule)
{
    bool is_up = inner_is_up(rule->shim, rule->peer);

    env_timer_stop(rule->shim->env, &rule->silent);
    if (is_up && !rule->is_told_up)
        hold(rule, &(struct held){.kind = HELD_UP}, slice_of(NULL, 0), 1);
    if (!is_up && rule->is_told_up)
        hold(rule, &(struct held){.kind = HELD_DOWN, .reason = ENV_DOWN_CLOSED}, slice_of(NULL, 0),
             1);
    wait_for_first(rule);
}

void shim_set(struct shim *shim, uint64_t peer, uint64_t delay_us, uint32_t drop_permille,
              bool is_cut)
{
    struct rule *rule = rule_find(shim, peer);

    if (rule == NULL && (delay_us > 0 || drop_permille > 0 || is_cut))
        rule = rule_new(shim, peer);
    if (rule == NULL)
        return;
    bool was_cut = rule->is_cut;

    rule->delay_us = delay_us;
    rule->drop_permille = drop_permille;
    rule->is_cut = is_cut;
    if (is_cut && !was_cut && rule->is_told_up)
        env_timer_start(shim->env, &rule->silent, shim->silent_us, on_silent);
    else if (!is_cut && was_cut)
        heal(rule);
}

struct shim *shim_new(struct env *env, uint32_t silent_ms)
{
    struct shim *shim = check_calloc(1, sizeof(*shim));

    shim->table = (struct env_link){.send = link_send,
                                    .is_up = link_is_up,
                                    .self = link_self,
                                    .peer_set = link_peer_set,
                                    .peer_remove = link_peer_remove,
                                    .handle = link_handle,
                                    .watch = link_watch,
                                    .unwatch = link_unwatch};
    shim->env = env;
    shim->inner = *env;
    shim->silent_us = (uint64_t)(silent_ms > 0 ? silent_ms : SILENT_MS) * 1000;
    map_init(&shim->rules);
    list_init(&shim->watchers);
    shim->inner_watcher =
        (struct env_link_watcher){.user = shim, .on_up = on_inner_up, .on_down = on_inner_down};
    env->link->watch(&shim->inner, &shim->inner_watcher);
    for (size_t i = 0; i < ENV_CHANNEL_COUNT; i++) {
        struct channel *channel = &shim->channels[i];

        channel->shim = shim;
        channel->number = (enum env_channel)i;
        env->link->handle(&shim->inner, channel->number,
                          (struct env_link_handler){channel, on_inner_message});
    }
    return shim;
}

void shim_free(struct shim *shim)
{
    struct map_entry *entry;
    size_t i = 0;

    if (shim == NULL)
        return;
    shim->inner.link->unwatch(&shim->inner, &shim->inner_watcher);
    while ((entry = map_next(&shim->rules, &i)) != NULL) {
        struct rule *rule = entry->value;

        drop_held(rule);
        env_timer_stop(shim->env, &rule->silent);
        free(rule);
    }
    map_close(&shim->rules);
    free(shim);
}

const struct env_link *shim_table(struct shim *shim)
{
    return &shim->table;
}
