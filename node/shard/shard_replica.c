#include "node/shard/shard_replica.h"

#include "proto/base/check.h"
#include "proto/base/log.h"

#include <stdio.h>

#define BATCH_BYTES_MAX (1u << 20)
#define BATCH_COMMANDS_MAX 256u
#define PENDING_MAX 16384u

/* While an entry is on its way, the next one gathers: an entry costs every replica about the same
 * whatever is in it. But not for longer than this, since between continents the way is long. */
#define GATHER_US 5000u
#define REPLY_BYTES_MAX (20u << 20)

struct pending {      /* one command on its way into the log */
    struct list link; /* in the batch or the proposal that carries it */
    uint64_t key[2];  /* session, sequence */
    struct list waiters;
};

struct proposal {
    struct group_proposal base;
    struct list link;
    struct list pending;
    struct shard_replica *replica;
};

struct strong_read {
    struct group_read base;
    struct list link;
    struct shard_replica *replica;
    struct shard_waiter *waiter; /* NULL = cancelled */
    struct buffer query;
    struct env_task task;
    uint8_t engine;
};

/* ---- waiters --------------------------------------------------------------------------------- */

void shard_waiter_cancel(struct shard_waiter *waiter)
{
    if (waiter->cb == NULL)
        return;
    if (waiter->impl != NULL)
        ((struct strong_read *)waiter->impl)->waiter = NULL;
    else
        list_remove(&waiter->link);
    waiter->cb = NULL;
}

static void answer(struct shard_waiter *waiter, enum error rc, struct slice reply)
{
    shard_waiter_cb cb = waiter->cb;

    waiter->cb = NULL;
    cb(waiter, rc, reply);
}

static void pending_free(struct shard_replica *replica, struct pending *pending)
{
    replica->env->writes_waiting--;
    (void)map_remove(&replica->pending, slice_of(pending->key, sizeof(pending->key)));
    list_remove(&pending->link);
    free(pending);
}

static void pending_answer(struct shard_replica *replica, struct pending *pending, enum error rc,
                           struct slice reply)
{
    struct list waiters;
    struct list *link;

    list_move(&waiters, &pending->waiters);
    pending_free(replica, pending);
    while ((link = list_pop(&waiters)) != NULL)
        answer(container_of(link, struct shard_waiter, link), rc, reply);
}

static void pending_answer_all(struct shard_replica *replica, struct list *list, enum error rc)
{
    while (!list_is_empty(list))
        pending_answer(replica, container_of(list->next, struct pending, link), rc,
                       slice_of(NULL, 0));
}

/* ---- writing --------------------------------------------------------------------------------- */

static void batch_on_turn_end(struct env_task *task);

static void proposal_on_done(struct group_proposal *base, enum error rc, uint64_t index)
{
    struct proposal *proposal = container_of(base, struct proposal, base);
    struct shard_replica *replica = proposal->replica;

    (void)index;
    list_remove(&proposal->link);
    /* Applied commands have been answered by now; what is left was not applied here. */
    pending_answer_all(replica, &proposal->pending, rc == OK ? ERR_LOST : rc);
    free(proposal);
    if (replica->batch_count > 0)
        env_defer(replica->env, &replica->task, batch_on_turn_end);
}

static void batch_begin(struct shard_replica *replica)
{
    shard_message_entry_begin(&replica->batch, env_wall_ms(replica->env), env_random(replica->env));
}

static void batch_propose(struct shard_replica *replica)
{
    struct proposal *proposal;

    env_timer_stop(replica->env, &replica->gather);
    if (replica->batch_count == 0)
        return;
    proposal = check_calloc(1, sizeof(*proposal));
    proposal->replica = replica;
    list_move(&proposal->pending, &replica->batch_pending);
    list_append(&replica->proposals, &proposal->link);
    shard_message_entry_end(&replica->batch, replica->batch_count);
    replica->batch_count = 0;
    group_propose(replica->group, &proposal->base, buffer_slice(&replica->batch), proposal_on_done);
    buffer_clear(&replica->batch);
}

static void batch_on_gathered(struct env_timer *timer)
{
    batch_propose(container_of(timer, struct shard_replica, gather));
}

static void batch_on_turn_end(struct env_task *task)
{
    struct shard_replica *replica = container_of(task, struct shard_replica, task);

    if (list_is_empty(&replica->proposals))
        batch_propose(replica);
    else if (replica->batch_count > 0 && !env_timer_is_running(&replica->gather))
        env_timer_start(replica->env, &replica->gather, GATHER_US, batch_on_gathered);
}

enum error shard_replica_write(struct shard_replica *replica, struct shard_waiter *waiter,
                               const struct shard_message_command *command, shard_waiter_cb cb)
{
    uint64_t key[2] = {command->session, command->sequence};

    if (!group_is_leader(replica->group))
        return ERR_NOT_LEADER;
    struct pending *pending = map_find(&replica->pending, slice_of(key, sizeof(key)));

    if (pending == NULL) {
        if (replica->pending.count >= PENDING_MAX)
            return ERR_OVERLOADED;
        pending = check_calloc(1, sizeof(*pending));
        replica->env->writes_waiting++;
        memcpy(pending->key, key, sizeof(key));
        list_init(&pending->waiters);
        (void)map_set(&replica->pending, slice_of(key, sizeof(key)), pending);
        if (replica->batch_count == 0)
            batch_begin(replica);
        list_append(&replica->batch_pending, &pending->link);
        shard_message_entry_add(&replica->batch, command);
        replica->batch_count++;
        env_defer(replica->env, &replica->task, batch_on_turn_end);
    }
    waiter->cb = cb;
    waiter->impl = NULL;
    list_append(&pending->waiters, &waiter->link);
    if (replica->batch_count >= BATCH_COMMANDS_MAX || replica->batch.size >= BATCH_BYTES_MAX)
        batch_propose(replica);
    return OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void read_finish(struct strong_read *read, enum error rc)
{
    struct shard_replica *replica = read->replica;
    struct buffer reply = BUFFER_INIT(REPLY_BYTES_MAX);

    list_remove(&read->link);
    if (read->waiter != NULL) {
        if (rc == OK)
            rc =
                shard_state_read(&replica->state, read->engine, buffer_slice(&read->query), &reply);
        answer(read->waiter, rc, buffer_slice(&reply));
    }
    buffer_close(&reply);
    buffer_close(&read->query);
    free(read);
}

static void read_on_index(struct group_read *base, enum error rc)
{
    read_finish(container_of(base, struct strong_read, base), rc);
}

static void read_on_turn_end(struct env_task *task)
{
    read_finish(container_of(task, struct strong_read, task), OK);
}

/* A replica that is being rebuilt has holes or nothing; it must not answer. */
static bool is_whole(const struct shard_replica *replica)
{
    struct group_member members[GROUP_MEMBERS_MAX];
    size_t count = group_members(replica->group, members);

    if (host_group_is_damaged(replica->host, group_id(replica->group)))
        return false;
    for (size_t i = 0; i < count; i++)
        if (members[i].id == env_self(replica->env))
            return members[i].is_voter;
    return false;
}

enum error shard_replica_read(struct shard_replica *replica, struct shard_waiter *waiter,
                              bool is_strong, uint8_t engine, struct slice query,
                              shard_waiter_cb cb)
{
    struct strong_read *read;

    if (is_strong ? !group_is_leader(replica->group) : !is_whole(replica))
        return ERR_NOT_LEADER;
    read = check_calloc(1, sizeof(*read));
    read->replica = replica;
    read->waiter = waiter;
    read->engine = engine;
    read->query = BUFFER_INIT(BUFFER_UNLIMITED);
    buffer_put_slice(&read->query, query);
    list_append(&replica->reads, &read->link);
    waiter->cb = cb;
    waiter->impl = read;
    if (is_strong)
        group_read_start(replica->group, &read->base, read_on_index);
    else
        env_defer(replica->env, &read->task, read_on_turn_end);
    return OK;
}

/* ---- the group's state machine
 * ------------------------------------------------------------------- */

static uint64_t machine_applied(void *user)
{
    return ((struct shard_replica *)user)->state.applied;
}

static void on_reply(void *user, uint64_t session, uint64_t sequence, enum error rc,
                     struct slice reply)
{
    struct shard_replica *replica = user;
    uint64_t key[2] = {session, sequence};
    struct pending *pending = map_find(&replica->pending, slice_of(key, sizeof(key)));

    replica->commands_applied++;
    if (pending != NULL)
        pending_answer(replica, pending, rc, reply);
}

static void fatal(struct shard_replica *replica, enum error rc, const char *why)
{
    log_error("shard.fatal shard=%u error=%s why=%s", replica->shard, error_name(rc), why);
    replica->on_fatal(replica->user, rc, why);
}

static void machine_apply(void *user, uint64_t index, uint64_t term, struct slice entry)
{
    struct shard_replica *replica = user;
    enum error rc = shard_state_apply(&replica->state, index, entry, replica, on_reply);

    (void)term;
    if (rc != OK)
        fatal(replica, rc, "its store failed while an entry was applied");
    if (replica->state.is_signalled && replica->on_signal != NULL &&
        group_is_leader(replica->group))
        replica->on_signal(replica->user, replica->shard);
    replica->state.is_signalled = false;
    if (index % SHARD_REPLICA_HASH_EVERY == 0)
        replica->hashes[index / SHARD_REPLICA_HASH_EVERY % SHARD_REPLICA_HASHES] =
            (struct shard_replica_hash){index, replica->state.hash};
}

static void on_durable(struct env_disk_op *op, enum error rc)
{
    struct shard_replica *replica = container_of(op, struct shard_replica, own_op);

    replica->is_making_durable = false;
    if (rc == OK)
        shard_state_set_durable(&replica->state, replica->durable_batches);
    replica->durable_cb(replica->durable_op, rc);
}

static void machine_make_durable(void *user, struct env_disk_op *op, env_disk_cb cb)
{
    struct shard_replica *replica = user;

    CHECK(!replica->is_making_durable);
    replica->is_making_durable = true;
    replica->durable_op = op;
    replica->durable_cb = cb;
    shard_state_flush(&replica->state);
    replica->durable_batches = replica->state.batches;
    replica->env->kv->make_durable(replica->env, replica->state.kv, &replica->own_op, on_durable);
}

static void *machine_snapshot_pin(void *user)
{
    struct shard_replica *replica = user;

    replica->pins++;
    return shard_snapshot_pin(&replica->state);
}

static enum error machine_snapshot_read(void *user, void *pin, struct buffer *position,
                                        size_t chunk_bytes, struct buffer *chunk, bool *is_last)
{
    (void)user;
    return shard_snapshot_read(pin, position, chunk_bytes, chunk, is_last);
}

static void machine_snapshot_unpin(void *user, void *pin)
{
    ((struct shard_replica *)user)->pins--;
    shard_snapshot_unpin(pin);
}

static enum error machine_snapshot_begin(void *user)
{
    struct shard_replica *replica = user;

    return shard_staging_begin(&replica->staging, &replica->state);
}

static enum error machine_snapshot_chunk(void *user, struct slice chunk)
{
    return shard_staging_chunk(&((struct shard_replica *)user)->staging, chunk);
}

static enum error machine_snapshot_install(void *user, uint64_t index)
{
    struct shard_replica *replica = user;

    /* Both hold on to the store that would be closed; the sender tries again. */
    if (replica->pins > 0 || replica->is_making_durable)
        return ERR_CONFLICT;
    enum error rc = shard_staging_install(&replica->staging, &replica->state, index);

    if (rc == ERR_IO || rc == ERR_CORRUPT)
        fatal(replica, rc, "a snapshot could not be put in place");
    if (rc == OK)
        log_info("shard.snapshot_installed shard=%u index=%llu", replica->shard,
                 (unsigned long long)index);
    return rc;
}

static void machine_on_role(void *user, enum group_role role, uint64_t term, uint64_t leader)
{
    struct shard_replica *replica = user;

    if (role == GROUP_LEADER) {
        replica->leader_since_us = env_now_us(replica->env);
        log_info("shard.leader shard=%u term=%llu", replica->shard, (unsigned long long)term);
    }
    (void)leader;
}

/* ---- life ------------------------------------------------------------------------------------ */

enum error shard_replica_open(struct shard_replica *replica, struct env *env, struct host *host,
                              const struct shard_replica_options *options)
{
    char path[64];
    struct group_options group = {
        .id = SHARD_REPLICA_GROUP_ID(options->shard),
        .born_with = options->born_with,
        .born_with_count = options->born_with_count,
        .machine = {.user = replica,
                    .applied = machine_applied,
                    .apply = machine_apply,
                    .make_durable = machine_make_durable,
                    .snapshot_pin = machine_snapshot_pin,
                    .snapshot_read = machine_snapshot_read,
                    .snapshot_unpin = machine_snapshot_unpin,
                    .snapshot_begin = machine_snapshot_begin,
                    .snapshot_chunk = machine_snapshot_chunk,
                    .snapshot_install = machine_snapshot_install,
                    .on_role = machine_on_role},
    };

    *replica = (struct shard_replica){
        .env = env,
        .host = host,
        .shard = options->shard,
        .batch = BUFFER_INIT(BUFFER_UNLIMITED),
        .user = options->user,
        .on_fatal = options->on_fatal,
        .on_signal = options->on_signal,
    };
    list_init(&replica->batch_pending);
    list_init(&replica->proposals);
    list_init(&replica->reads);
    map_init(&replica->pending);
    (void)snprintf(path, sizeof(path), "%s/%04u", options->folder, options->shard);
    enum error rc = env->disk->make_folder(env, options->folder);

    if (rc == OK)
        rc = shard_state_open(&replica->state, env, path, options->engines);
    if (rc != OK)
        return rc;
    rc = host_group_start(host, &group, &replica->group);
    if (rc != OK)
        shard_state_close(&replica->state);
    return rc;
}

static void pending_drop_all(struct shard_replica *replica, struct list *list)
{
    while (!list_is_empty(list))
        pending_free(replica, container_of(list->next, struct pending, link));
}

void shard_replica_close(struct shard_replica *replica)
{
    struct list *link;

    env_timer_stop(replica->env, &replica->gather);
    env_defer_cancel(replica->env, &replica->task);
    pending_drop_all(replica, &replica->batch_pending);
    while ((link = list_pop(&replica->proposals)) != NULL) {
        struct proposal *proposal = container_of(link, struct proposal, link);

        pending_drop_all(replica, &proposal->pending);
        free(proposal);
    }
    while ((link = list_pop(&replica->reads)) != NULL) {
        struct strong_read *read = container_of(link, struct strong_read, link);

        if (read->waiter != NULL)
            read->waiter->cb = NULL;
        env_defer_cancel(replica->env, &read->task);
        buffer_close(&read->query);
        free(read);
    }
    map_close(&replica->pending);
    buffer_close(&replica->batch);
    shard_staging_close(&replica->staging);
    shard_state_close(&replica->state);
}

void shard_replica_forget(struct shard_replica *replica)
{
    struct env *env = replica->env;
    char path[sizeof(replica->state.path)];

    memcpy(path, replica->state.path, sizeof(path));
    pending_answer_all(replica, &replica->batch_pending, ERR_NOT_LEADER);
    host_group_forget(replica->host, replica->group);
    shard_replica_close(replica);
    enum error rc = env->disk->remove(env, path);

    if (rc != OK && rc != ERR_NOT_FOUND)
        log_warn("shard.leftover path=%s error=%s", path, error_name(rc));
}

struct shard_replica_hash shard_replica_hash_at(const struct shard_replica *replica, uint64_t index)
{
    struct shard_replica_hash best = {0};

    for (size_t i = 0; i < SHARD_REPLICA_HASHES; i++)
        if (replica->hashes[i].index <= index && replica->hashes[i].index > best.index)
            best = replica->hashes[i];
    return best;
}
