#include "node/shard/shard_host.h"

#include "node/shard/shard_leftovers.h"
#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/wire/catalogue.pb-c.h"

#include <inttypes.h>
#include <stdio.h>

#define TICK_US 1000000u
#define STATUS_DEADLINE_MS 1000u
/* A leader is not moved before it has led so long, so that restarts do not bounce it. */
#define PREFER_AFTER_US 3000000u

struct slot { /* one replica and what keeps it in line */
    struct shard_replica replica;
    struct shard_host *shards;
    Skein__Wire__Shard *record;
    struct group_change change;
    bool is_changing;
    struct call status_call;
    size_t status_next; /* whom to compare hashes with next */
};

struct remote { /* a call waiting for its answer */
    struct shard_waiter waiter;
    struct call_request *request;
    struct list link;
};

struct shard_host {
    struct env *env;
    struct calls *calls;
    struct view *view;
    struct host *host;
    struct shard_host_options options;
    struct view_listener listener;
    struct map slots; /* by shard -> struct slot */
    struct shard_leftovers leftovers;
    struct list remotes;
    struct env_timer timer;
    uint64_t diverged;
};

/* ---- calls ----------------------------------------------------------------------------------- */

static void remote_on_answer(struct shard_waiter *waiter, enum error rc, struct slice reply)
{
    struct remote *remote = container_of(waiter, struct remote, waiter);

    list_remove(&remote->link);
    call_answer(remote->request, rc, reply);
    free(remote);
}

static struct remote *remote_new(struct shard_host *shards, struct call_request *request)
{
    struct remote *remote = check_calloc(1, sizeof(*remote));

    remote->request = request;
    list_append(&shards->remotes, &remote->link);
    return remote;
}

static void refuse(struct shard_host *shards, struct call_request *request, uint32_t shard,
                   enum error rc)
{
    struct shard_replica *replica = shard_host_find(shards, shard);
    uint64_t leader = replica != NULL ? group_leader(replica->group) : 0;

    /* Leading, but not yet ready to answer: there is nobody else to send the caller to. */
    if (leader == env_self(shards->env))
        leader = 0;
    call_answer(request, rc, slice_of(&leader, sizeof(leader)));
}

static void on_write(void *user, struct call_request *request)
{
    struct shard_host *shards = user;
    struct shard_message_command command;
    struct shard_replica *replica;
    uint32_t shard = 0;
    enum error rc = shard_message_write_read(request->body, &shard, &command);

    if (rc != OK) {
        call_answer(request, rc, slice_of(NULL, 0));
        return;
    }
    replica = shard_host_find(shards, shard);
    if (replica == NULL) {
        refuse(shards, request, shard, ERR_NOT_LEADER);
        return;
    }
    struct remote *remote = remote_new(shards, request);

    rc = shard_replica_write(replica, &remote->waiter, &command, remote_on_answer);
    if (rc != OK) {
        list_remove(&remote->link);
        free(remote);
        refuse(shards, request, shard, rc);
    }
}

static void on_read(void *user, struct call_request *request)
{
    struct shard_host *shards = user;
    struct shard_replica *replica;
    uint32_t shard = 0;
    bool is_strong = false;
    uint8_t engine = 0;
    struct slice query;
    enum error rc = shard_message_read_read(request->body, &shard, &is_strong, &engine, &query);

    if (rc != OK) {
        call_answer(request, rc, slice_of(NULL, 0));
        return;
    }
    replica = shard_host_find(shards, shard);
    if (replica == NULL) {
        refuse(shards, request, shard, ERR_NOT_LEADER);
        return;
    }
    struct remote *remote = remote_new(shards, request);

    rc = shard_replica_read(replica, &remote->waiter, is_strong, engine, query, remote_on_answer);
    if (rc != OK) {
        list_remove(&remote->link);
        free(remote);
        refuse(shards, request, shard, rc);
    }
}

/* Body: shard u32. Answer: applied u64, member count u32, member ids u64, hash count u32, then
 * index u64 and hash u64 of each. */
static void on_status(void *user, struct call_request *request)
{
    struct shard_host *shards = user;
    struct reader reader = reader_of(request->body);
    struct shard_replica *replica = shard_host_find(shards, reader_u32(&reader));
    struct group_member members[GROUP_MEMBERS_MAX];
    struct buffer body = BUFFER_INIT(4096);

    if (!reader.ok || replica == NULL) {
        call_answer(request, ERR_NOT_FOUND, slice_of(NULL, 0));
        return;
    }
    size_t count = group_members(replica->group, members);

    buffer_put_u64(&body, replica->state.applied);
    buffer_put_u32(&body, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        buffer_put_u64(&body, members[i].id);
    buffer_put_u32(&body, SHARD_REPLICA_HASHES);
    for (size_t i = 0; i < SHARD_REPLICA_HASHES; i++) {
        buffer_put_u64(&body, replica->hashes[i].index);
        buffer_put_u64(&body, replica->hashes[i].hash);
    }
    call_answer(request, OK, buffer_slice(&body));
    buffer_close(&body);
}

/* ---- hashes
 * -------------------------------------------------------------------------------------- */

static void compare(struct slot *slot, uint64_t peer, uint64_t index, uint64_t hash)
{
    const struct shard_replica_hash *own =
        &slot->replica.hashes[index / SHARD_REPLICA_HASH_EVERY % SHARD_REPLICA_HASHES];

    if (index == 0 || own->index != index || own->hash == hash)
        return;
    slot->shards->diverged++;
    log_error("shard.diverged shard=%u peer=%" PRIu64 " index=%" PRIu64 " own=%016" PRIx64
              " theirs=%016" PRIx64,
              slot->replica.shard, peer, index, own->hash, hash);
}

static bool is_member(const struct group_member *members, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (members[i].id == id)
            return true;
    return false;
}

static void slot_forget(struct slot *slot)
{
    struct shard_host *shards = slot->shards;
    enum error rc = shard_leftovers_mark(&shards->leftovers, slot->replica.shard);

    if (rc != OK) { /* asked again in a while */
        log_warn("shard.not_forgotten shard=%u error=%s", slot->replica.shard, error_name(rc));
        return;
    }
    log_info("shard.forgotten shard=%u", slot->replica.shard);
    (void)map_remove_u64(&shards->slots, slot->replica.shard);
    call_cancel(&slot->status_call);
    shard_replica_forget(&slot->replica);
    skein__wire__shard__free_unpacked(slot->record, NULL);
    free(slot);
}

static bool is_wanted(const struct slot *slot, uint64_t node)
{
    for (size_t i = 0; i < slot->record->n_node_ids; i++)
        if (slot->record->node_ids[i] == node)
            return true;
    return false;
}

static void on_peer_status(struct call *call, enum error rc, struct slice answer)
{
    struct slot *slot = container_of(call, struct slot, status_call);
    struct reader reader = reader_of(answer);
    bool has_self = false;

    if (rc != OK)
        return;
    (void)reader_u64(&reader);
    uint32_t members = reader_u32(&reader);

    for (uint32_t i = 0; i < members && reader.ok; i++)
        has_self |= reader_u64(&reader) == env_self(slot->shards->env);
    uint32_t hashes = reader_u32(&reader);

    for (uint32_t i = 0; i < hashes && reader.ok; i++) {
        uint64_t index = reader_u64(&reader);
        uint64_t hash = reader_u64(&reader);

        if (reader.ok)
            compare(slot, call->peer, index, hash);
    }
    /* Asked of the leader by a replica nobody wants any more: gone for good once it is no member.
     */
    if (reader.ok && members > 0 && !has_self && !is_wanted(slot, env_self(slot->shards->env)))
        slot_forget(slot);
}

static void ask_status(struct slot *slot, uint64_t peer)
{
    uint32_t shard = slot->replica.shard;

    if (slot->status_call.calls != NULL || peer == 0)
        return;
    call_start(slot->shards->calls, &slot->status_call, peer, CALL_SHARD_STATUS,
               slice_of(&shard, sizeof(shard)), STATUS_DEADLINE_MS, on_peer_status);
}

/* ---- keeping a group in line with its record
 * -------------------------------------------------------- */

static void on_change_done(struct group_change *change, enum error rc)
{
    struct slot *slot = container_of(change, struct slot, change);

    slot->is_changing = false;
    log_info("shard.member_change shard=%u peer=%" PRIu64 " result=%s", slot->replica.shard,
             change->peer, error_name(rc));
}

static void change_start(struct slot *slot, uint64_t peer,
                         void (*start)(struct group *, struct group_change *, uint64_t,
                                       group_change_cb))
{
    slot->is_changing = true;
    slot->change = (struct group_change){0};
    start(slot->replica.group, &slot->change, peer, on_change_done);
}

/* True when a change was started. */
static bool align_members(struct slot *slot, const struct group_member *members, size_t count)
{
    const Skein__Wire__Shard *record = slot->record;

    for (size_t i = 0; i < record->n_node_ids; i++)
        if (!is_member(members, count, record->node_ids[i]) &&
            slot->shards->env->link->is_up(slot->shards->env, record->node_ids[i])) {
            change_start(slot, record->node_ids[i], group_add);
            return true;
        }
    for (size_t i = 0; i < count; i++)
        if (!is_wanted(slot, members[i].id) && count > record->n_node_ids) {
            change_start(slot, members[i].id, group_remove);
            return true;
        }
    return false;
}

static void prefer_leader(struct slot *slot, const struct group_member *members, size_t count)
{
    struct env *env = slot->shards->env;
    uint64_t preferred = slot->record->n_node_ids > 0 ? slot->record->node_ids[0] : 0;

    if (preferred == env_self(env) || !env->link->is_up(env, preferred) ||
        env_now_us(env) - slot->replica.leader_since_us < PREFER_AFTER_US)
        return;
    for (size_t i = 0; i < count; i++)
        if (members[i].id == preferred && members[i].is_voter &&
            members[i].match_index + SHARD_REPLICA_HASH_EVERY >= group_last(slot->replica.group))
            change_start(slot, preferred, group_transfer);
}

static void slot_tick(struct slot *slot)
{
    struct group_member members[GROUP_MEMBERS_MAX];
    struct group *group = slot->replica.group;
    size_t count = group_members(group, members);

    if (!group_is_leader(group)) {
        /* Whoever was removed no longer hears the leader: any of those who are wanted will do. */
        if (!is_wanted(slot, env_self(slot->shards->env)) && slot->record->n_node_ids > 0)
            ask_status(slot,
                       slot->record->node_ids[slot->status_next++ % slot->record->n_node_ids]);
        return;
    }
    if (count > 0) {
        uint64_t peer = members[slot->status_next++ % count].id;

        if (peer != env_self(slot->shards->env))
            ask_status(slot, peer);
    }
    if (!slot->is_changing && !align_members(slot, members, count))
        prefer_leader(slot, members, count);
}

static void on_tick(struct env_timer *timer)
{
    struct shard_host *shards = container_of(timer, struct shard_host, timer);
    size_t position = 0;
    struct map_entry *entry;

    while ((entry = map_next(&shards->slots, &position)) != NULL)
        slot_tick(entry->value);
    env_timer_start(shards->env, timer, TICK_US, on_tick);
}

/* ---- the catalogue's word
 * ------------------------------------------------------------------------------ */

/* Whether this node was a member at birth, on this very disk. */
static bool is_born_here(const struct shard_host *shards, const Skein__Wire__Shard *record)
{
    for (size_t i = 0; i < record->n_born_with && i < record->n_born_disks; i++)
        if (record->born_with[i] == env_self(shards->env))
            return record->born_disks[i] == shards->options.disk_id;
    return false;
}

static void slot_open(struct shard_host *shards, Skein__Wire__Shard *record)
{
    bool is_born =
        is_born_here(shards, record) && !shard_leftovers_is_marked(&shards->leftovers, record->id);
    struct shard_replica_options options = {
        .shard = record->id,
        .folder = shards->options.folder,
        .born_with = record->born_with,
        .born_with_count = is_born ? record->n_born_with : 0,
        .engines = shards->options.engines,
        .user = shards->options.user,
        .on_fatal = shards->options.on_fatal,
        .on_signal = shards->options.on_signal,
    };
    struct slot *slot = check_calloc(1, sizeof(*slot));
    enum error rc;

    slot->shards = shards;
    slot->record = record;
    rc = shard_replica_open(&slot->replica, shards->env, shards->host, &options);
    if (rc != OK) {
        free(slot);
        skein__wire__shard__free_unpacked(record, NULL);
        shards->options.on_fatal(shards->options.user, rc, "a shard's store cannot be opened");
        return;
    }
    (void)map_set_u64(&shards->slots, record->id, slot);
}

static void on_record(void *user, const char *key, struct slice value, uint64_t revision,
                      bool is_delete)
{
    struct shard_host *shards = user;
    Skein__Wire__Shard *record;
    bool is_mine = false;

    (void)revision;
    if (is_delete)
        return; /* shards are for ever */
    record = skein__wire__shard__unpack(NULL, value.size, value.data);
    if (record == NULL) {
        log_error("shard_host.malformed_record key=%s", key);
        return;
    }
    struct slot *slot = map_find_u64(&shards->slots, record->id);

    if (slot != NULL) {
        skein__wire__shard__free_unpacked(slot->record, NULL);
        slot->record = record;
        return;
    }
    for (size_t i = 0; i < record->n_node_ids; i++)
        is_mine |= record->node_ids[i] == env_self(shards->env);
    /* A log or a state of it lies here, though no replica runs. */
    bool is_left = shard_leftovers_take(&shards->leftovers, record->id) ||
                   host_group_is_known(shards->host, SHARD_REPLICA_GROUP_ID(record->id));

    if (is_mine || is_left)
        slot_open(shards, record);
    else
        skein__wire__shard__free_unpacked(record, NULL);
}

/* ---- life
 * ------------------------------------------------------------------------------------------------
 */

struct shard_host *shard_host_new(struct env *env, struct calls *calls, struct view *view,
                                  struct host *host, const struct shard_host_options *options)
{
    struct shard_host *shards = check_calloc(1, sizeof(*shards));

    *shards = (struct shard_host){
        .env = env, .calls = calls, .view = view, .host = host, .options = *options};
    map_init(&shards->slots);
    shard_leftovers_find(&shards->leftovers, env, options->folder);
    list_init(&shards->remotes);
    calls_handle(calls, CALL_SHARD_WRITE, shards, on_write);
    calls_handle(calls, CALL_SHARD_READ, shards, on_read);
    calls_handle(calls, CALL_SHARD_STATUS, shards, on_status);
    shards->listener =
        (struct view_listener){.prefix = "shard/", .user = shards, .on_change = on_record};
    view_listen(view, &shards->listener);
    env_timer_start(env, &shards->timer, TICK_US, on_tick);
    return shards;
}

void shard_host_free(struct shard_host *shards)
{
    size_t position = 0;
    struct map_entry *entry;
    struct list *link;

    if (shards == NULL)
        return;
    env_timer_stop(shards->env, &shards->timer);
    while ((entry = map_next(&shards->slots, &position)) != NULL) {
        struct slot *slot = entry->value;

        call_cancel(&slot->status_call);
        shard_replica_close(&slot->replica);
        skein__wire__shard__free_unpacked(slot->record, NULL);
        free(slot);
    }
    while ((link = list_pop(&shards->remotes)) != NULL)
        free(container_of(link, struct remote, link));
    map_close(&shards->slots);
    shard_leftovers_close(&shards->leftovers);
    free(shards);
}

struct shard_replica *shard_host_find(struct shard_host *shards, uint32_t shard)
{
    uint64_t id = shard;
    struct slot *slot = map_find_u64(&shards->slots, id);

    return slot != NULL ? &slot->replica : NULL;
}

void shard_host_each_leader(struct shard_host *shards, void *user,
                            void (*on_replica)(void *user, struct shard_replica *replica))
{
    size_t position = 0;
    struct map_entry *entry;

    while ((entry = map_next(&shards->slots, &position)) != NULL) {
        struct slot *slot = entry->value;

        if (group_is_leader(slot->replica.group))
            on_replica(user, &slot->replica);
    }
}

void shard_host_stats(const struct shard_host *shards, struct shard_host_stats *stats)
{
    size_t position = 0;
    struct map_entry *entry;

    *stats = (struct shard_host_stats){.diverged = shards->diverged};
    while ((entry = map_next(&shards->slots, &position)) != NULL) {
        const struct slot *slot = entry->value;

        stats->replicas++;
        stats->leading += group_is_leader(slot->replica.group);
        stats->commands_applied += slot->replica.commands_applied;
    }
}

void shard_host_status(struct shard_host *shards, struct buffer *json)
{
    static const char *const role_names[] = {"follower", "candidate", "leader"};
    size_t position = 0;
    struct map_entry *entry;
    const char *comma = "";

    buffer_put_text(json, "[");
    while ((entry = map_next(&shards->slots, &position)) != NULL) {
        const struct slot *slot = entry->value;
        struct group *group = slot->replica.group;

        buffer_putf(json,
                    "%s{\"shard\":%u,\"role\":\"%s\",\"leader\":%" PRIu64 ",\"term\":%" PRIu64
                    ",\"epoch\":%" PRIu64 ",\"applied\":%" PRIu64 ",\"committed\":%" PRIu64
                    ",\"hash\":\"%016" PRIx64 "\",\"damaged\":%s,\"votes\":%s}",
                    comma, slot->replica.shard, role_names[group_role(group)], group_leader(group),
                    group_term(group), slot->record->epoch, group_applied(group),
                    group_committed(group), slot->replica.state.hash,
                    host_group_is_damaged(shards->host, group_id(group)) ? "true" : "false",
                    group_has_vote(group) ? "true" : "false");
        comma = ",";
    }
    buffer_put_text(json, "]");
}
