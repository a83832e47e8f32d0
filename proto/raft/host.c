#include "proto/raft/host.h"

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/raft/configuration.h"
#include "proto/raft/group_impl.h"

#include <inttypes.h>

#define TICKS_PER_HEARTBEAT 4u
#define SEGMENTS_SOFT 8
#define HINT_POLL_US 2000u
#define DRAIN_ELECTIONS 2u

/* ---- peers ---- */

static struct peer *peer_get(struct host *host, uint64_t id)
{
    struct peer *peer = map_find_u64(&host->peers, id);

    if (peer == NULL) {
        peer = check_calloc(1, sizeof(*peer));
        peer->id = id;
        buffer_init(&peer->probe, BUFFER_UNLIMITED);
        map_set_u64(&host->peers, id, peer);
    }
    return peer;
}

uint32_t host_peer_life(struct host *host, uint64_t peer)
{
    return peer_get(host, peer)->life;
}

static void send_to(struct host *host, uint64_t peer, struct group_message *message)
{
    enum error rc;

    message->from = host->life;
    message->to = host_peer_life(host, peer);
    buffer_clear(&host->scratch);
    group_message_put(&host->scratch, message);
    rc = env_send(host->env, peer, ENV_CHANNEL_RAFT, buffer_slice(&host->scratch));
    (void)rc; /* lost: probes and greetings are sent again */
}

/* Messages of, or for, a process that is gone are dropped. */
static bool is_of_this_life(struct host *host, uint64_t id, const struct group_message *message)
{
    struct peer *peer = peer_get(host, id);

    if (message->to != 0 && message->to != host->life) {
        struct group_message hello = {.type = GROUP_MESSAGE_HELLO};

        peer->life = message->from;
        send_to(host, id, &hello);
        return false;
    }
    if (message->from == peer->life)
        return true;
    if (message->from == peer->life_before)
        return false;
    if (peer->life != 0)
        peer->life_before = peer->life;
    peer->life = message->from;
    return true;
}

/* ---- probes ---- */

uint64_t host_probe_number(struct host *host)
{
    uint64_t now = env_now_us(host->env);

    return now > host->probe_last ? now : host->probe_last + 1;
}

void host_probe(struct group *group, uint64_t peer)
{
    struct buffer *items = &peer_get(group->host, peer)->probe;

    buffer_put_u64(items, group->id);
    buffer_put_u64(items, guard_term(&group->guard));
}

static void probes_send(struct host *host)
{
    struct map_entry *entry;
    size_t i = 0;
    uint64_t number = host_probe_number(host);

    while ((entry = map_next(&host->peers, &i)) != NULL) {
        struct peer *peer = entry->value;
        struct group_message message = {
            .type = GROUP_MESSAGE_PROBE,
            .count = (uint32_t)(peer->probe.size / 16),
            .term = number,
            .items = buffer_slice(&peer->probe),
        };

        if (peer->probe.size == 0)
            continue;
        host->probe_last = number;
        send_to(host, peer->id, &message);
        buffer_clear(&peer->probe);
    }
}

static void on_probe(struct host *host, uint64_t peer, const struct group_message *message)
{
    struct buffer items = BUFFER_INIT(BUFFER_UNLIMITED);
    struct group_message result = {.type = GROUP_MESSAGE_PROBE_RESULT, .term = message->term};

    for (uint32_t i = 0; i < message->count; i++) {
        uint64_t id;
        uint64_t term;
        struct group *group;

        group_message_probe(message, i, &id, &term);
        group = host_group_find(host, id);
        if (group == NULL || !group_read_agrees(group, term))
            continue;
        buffer_put_u64(&items, id);
        buffer_put_u64(&items, term);
        result.count++;
    }
    result.items = buffer_slice(&items);
    if (result.count > 0)
        send_to(host, peer, &result);
    buffer_close(&items);
}

static void on_probe_result(struct host *host, uint64_t peer, const struct group_message *message)
{
    for (uint32_t i = 0; i < message->count; i++) {
        uint64_t id;
        uint64_t term;
        struct group *group;

        group_message_probe(message, i, &id, &term);
        group = host_group_find(host, id);
        if (group != NULL)
            group_read_on_result(group, peer, term, message->term);
    }
}

/* ---- the link ---- */

static void on_message(void *user, uint64_t peer, struct slice bytes)
{
    struct host *host = user;
    struct group_message message;
    struct group *group;
    enum error rc = group_message_read(bytes, &message);

    if (host->has_failed)
        return;
    if (rc != OK) {
        log_warn("host.bad_message peer=%" PRIu64 " error=%s", peer, error_name(rc));
        return;
    }
    if (!is_of_this_life(host, peer, &message))
        return;
    group = host_group_find(host, message.group);
    switch ((enum group_message_type)message.type) {
    case GROUP_MESSAGE_HELLO:
        break;
    case GROUP_MESSAGE_PROBE:
        on_probe(host, peer, &message);
        break;
    case GROUP_MESSAGE_PROBE_RESULT:
        on_probe_result(host, peer, &message);
        break;
    case GROUP_MESSAGE_CHUNK:
    case GROUP_MESSAGE_CHUNK_RESULT:
        if (group != NULL)
            snapshot_stream_receive(group, peer, &message);
        break;
    case GROUP_MESSAGE_APPEND:
    case GROUP_MESSAGE_APPEND_RESULT:
    case GROUP_MESSAGE_VOTE:
    case GROUP_MESSAGE_VOTE_RESULT:
    case GROUP_MESSAGE_INSTALL:
    case GROUP_MESSAGE_TIMEOUT_NOW:
        if (group != NULL)
            group_receive(group, peer, bytes, &message);
        break;
    }
}

static void on_up(void *user, uint64_t id)
{
    struct host *host = user;

    peer_get(host, id)->life = 0;
    if (host->has_failed)
        return;
    LIST_EACH(&host->groups, link)
    snapshot_stream_on_up(container_of(link, struct group, link), id);
}

static void hint_on_timer(struct env_timer *timer)
{
    struct host *host = container_of(timer, struct host, hint_timer);
    bool is_open = false;

    LIST_EACH(&host->groups, link)
    {
        struct group *group = container_of(link, struct group, link);

        if (host->has_failed)
            return;
        if (group->hint_peer != 0 && !group->is_doomed)
            group_hint_check(group);
        is_open = is_open || group->hint_peer != 0;
    }
    if (is_open)
        env_timer_start(host->env, &host->hint_timer, HINT_POLL_US, hint_on_timer);
}

static void on_down(void *user, uint64_t id, enum env_down_reason reason)
{
    struct host *host = user;

    peer_get(host, id)->life = 0;
    if (reason != ENV_DOWN_REFUSED || host->has_failed)
        return; /* a reset or silence is no proof of death: the election time-out decides */
    LIST_EACH(&host->groups, link)
    group_hint(container_of(link, struct group, link), id);
    env_timer_start(host->env, &host->hint_timer, 0, hint_on_timer);
}

/* ---- turns and ticks ---- */

static void doomed_free(struct host *host)
{
    LIST_EACH_SAFE(&host->groups, link)
    {
        struct group *group = container_of(link, struct group, link);

        if (!group->is_doomed)
            continue;
        list_remove(link);
        group_free(group);
    }
}

static void turn_on_end(struct env_task *task)
{
    struct host *host = container_of(task, struct host, turn_task);

    if (host->has_failed)
        return;
    LIST_EACH(&host->groups, link)
    {
        struct group *group = container_of(link, struct group, link);

        if (!group->is_doomed)
            group_turn(group);
        if (host->has_failed)
            return;
    }
    doomed_free(host);
    probes_send(host);
}

void host_touch(struct host *host)
{
    if (!host->is_freeing)
        env_defer(host->env, &host->turn_task, turn_on_end);
}

static void drain_go_on(struct host *host)
{
    bool is_done = true;
    void (*done)(void *user) = host->drain_done;

    LIST_EACH(&host->groups, link)
    {
        struct group *group = container_of(link, struct group, link);

        if (!group->is_doomed && raft_state(&group->raft) == RAFT_LEADER &&
            group_change_drain(group))
            is_done = false;
    }
    if (!is_done && env_now_us(host->env) < host->drain_until_us)
        return;
    host->drain_done = NULL;
    done(host->drain_user);
}

static void tick_on_timer(struct env_timer *timer)
{
    struct host *host = container_of(timer, struct host, tick_timer);
    bool is_heartbeat = ++host->ticks % TICKS_PER_HEARTBEAT == 0;
    uint64_t now = env_now_us(host->env);

    host->tick_due_us += host->tick_us;
    if (host->tick_due_us < now) /* paused: no burst of ticks */
        host->tick_due_us = now + host->tick_us;
    env_timer_start(host->env, &host->tick_timer, host->tick_due_us - now, tick_on_timer);
    LIST_EACH(&host->groups, link)
    {
        struct group *group = container_of(link, struct group, link);

        if (host->has_failed)
            return;
        if (!group->is_doomed)
            group_tick(group, is_heartbeat);
    }
    if (host->drain_done != NULL && !host->has_failed)
        drain_go_on(host);
}

void host_drain(struct host *host, void *user, void (*done)(void *user))
{
    CHECK(host->drain_done == NULL);
    host->is_draining = true;
    host->drain_until_us =
        env_now_us(host->env) + (uint64_t)host->options.election_ms * 1000 * DRAIN_ELECTIONS;
    host->drain_user = user;
    host->drain_done = done;
    LIST_EACH(&host->groups, link)
    {
        struct group *group = container_of(link, struct group, link);

        if (group->is_leading)
            group_change_drain(group);
    }
}

/* ---- groups ---- */

struct group *host_group_find(struct host *host, uint64_t id)
{
    struct group *group = map_find_u64(&host->groups_by_id, id);

    return group;
}

bool host_group_is_damaged(const struct host *host, uint64_t id)
{
    const struct group *group = map_find_u64(&host->groups_by_id, id);
    struct journal_state state;

    if (group != NULL)
        return group->is_damaged;
    return journal_find(host->journal, id, &state) &&
           (state.is_damaged || (state.flags & GROUP_FLAG_DAMAGED) != 0);
}

bool host_group_is_known(const struct host *host, uint64_t id)
{
    struct journal_state state;

    return journal_find(host->journal, id, &state);
}

enum error host_group_start(struct host *host, const struct group_options *options,
                            struct group **group_out)
{
    struct group *group;

    if (options->id == 0 || options->born_with_count > GROUP_MEMBERS_MAX)
        return ERR_INVALID;
    if (host_group_find(host, options->id) != NULL)
        return ERR_EXISTS;
    group = check_calloc(1, sizeof(*group));
    group_init(group, host, options);
    host_load_group(group, options);
    list_append(&host->groups, &group->link);
    map_set_u64(&host->groups_by_id, group->id, group);
    group_run(group);
    *group_out = group;
    return OK;
}

void host_group_forget(struct host *host, struct group *group)
{
    map_remove_u64(&host->groups_by_id, group->id);
    journal_forget(host->journal, group->id);
    group_doom(group);
    host_touch(host);
}

/* ---- the host ---- */

static void on_journal_fatal(void *user, enum error rc, const char *why)
{
    struct host *host = user;

    if (host->has_failed)
        return;
    host->has_failed = true;
    host->options.on_fatal(host->options.user, rc, why);
}

static void on_laggard(void *user, uint64_t id)
{
    struct group *group = host_group_find(user, id);

    if (group != NULL)
        group_compact(group);
}

static void use_defaults(struct host_options *options)
{
    if (options->heartbeat_ms == 0)
        options->heartbeat_ms = 100;
    if (options->election_ms == 0)
        options->election_ms = 10 * options->heartbeat_ms;
    if (options->snapshot_entries == 0)
        options->snapshot_entries = 2048;
    if (options->snapshot_bytes == 0)
        options->snapshot_bytes = 4u << 20;
    if (options->trailing_entries == 0)
        options->trailing_entries = 1024;
    if (options->segment_bytes == 0)
        options->segment_bytes = 16u << 20;
    if (options->append_bytes == 0)
        options->append_bytes = 1u << 20;
}

static enum error journal_begin(struct host *host)
{
    const struct journal_options options = {
        .folder = host->options.folder,
        .segment_bytes = host->options.segment_bytes,
        .segments_soft = SEGMENTS_SOFT,
        .user = host,
        .on_fatal = on_journal_fatal,
        .on_laggard = on_laggard,
    };
    const struct journal_visitor visitor = host_load_visitor(host);

    return journal_open(host->env, &options, &visitor, &host->journal);
}

enum error host_open(struct env *env, const struct host_options *options, struct host **host_out)
{
    struct host *host = check_calloc(1, sizeof(*host));
    enum error rc;

    host->env = env;
    host->options = *options;
    use_defaults(&host->options);
    map_init(&host->loaded);
    map_init(&host->groups_by_id);
    map_init(&host->peers);
    list_init(&host->groups);
    list_init(&host->durable_requests);
    buffer_init(&host->scratch, BUFFER_UNLIMITED);
    rc = journal_begin(host);
    host->options.folder = NULL; /* the caller's */
    if (rc != OK) {
        host_free(host);
        return rc;
    }
    host->life = (uint32_t)(env_random(env) | 1);
    host->stream_last = env_random(env) >> 8; /* far from the range a message may carry */
    env->link->handle(env, ENV_CHANNEL_RAFT, (struct env_link_handler){host, on_message});
    env->link->handle(env, ENV_CHANNEL_SNAPSHOT, (struct env_link_handler){host, on_message});
    host->watcher = (struct env_link_watcher){.user = host, .on_up = on_up, .on_down = on_down};
    env->link->watch(env, &host->watcher);
    host->is_watching = true;
    host->tick_us = (uint64_t)host->options.heartbeat_ms * 1000 / TICKS_PER_HEARTBEAT;
    host->tick_due_us = env_now_us(env) + host->tick_us;
    env_timer_start(env, &host->tick_timer, host->tick_us, tick_on_timer);
    *host_out = host;
    return OK;
}

static void peers_free(struct host *host)
{
    struct map_entry *entry;
    size_t i = 0;

    while ((entry = map_next(&host->peers, &i)) != NULL) {
        buffer_close(&((struct peer *)entry->value)->probe);
        free(entry->value);
    }
    map_close(&host->peers);
}

void host_free(struct host *host)
{
    struct list *link;

    if (host == NULL)
        return;
    host->is_freeing = true;
    while ((link = list_pop(&host->groups)) != NULL)
        group_free(container_of(link, struct group, link));
    while ((link = list_pop(&host->durable_requests)) != NULL)
        free(container_of(link, struct durable_request, link));
    if (host->is_watching) {
        host->env->link->unwatch(host->env, &host->watcher);
        host->env->link->handle(host->env, ENV_CHANNEL_RAFT, (struct env_link_handler){0});
        host->env->link->handle(host->env, ENV_CHANNEL_SNAPSHOT, (struct env_link_handler){0});
    }
    env_timer_stop(host->env, &host->tick_timer);
    env_timer_stop(host->env, &host->hint_timer);
    env_defer_cancel(host->env, &host->turn_task);
    journal_free(host->journal);
    host_load_close(host);
    peers_free(host);
    map_close(&host->groups_by_id);
    buffer_close(&host->scratch);
    free(host);
}

void host_stats(const struct host *host, struct host_stats *stats)
{
    struct journal_stats journal;

    journal_stats(host->journal, &journal);
    *stats = host->stats;
    stats->journal_syncs = journal.syncs;
    stats->journal_records = journal.records;
    stats->journal_bytes = journal.bytes;
    stats->segments = journal.segments;
    LIST_EACH(&host->groups, link)
    stats->damaged_groups += container_of(link, struct group, link)->is_damaged;
}
