/* libraft's input and output: the journal, the link, the clock.
 *
 * libraft takes a term or a vote for durable as soon as set_term or set_vote return; they are not,
 * so the group's messages wait in the outbox until they are. Its entries are copied into the
 * journal's batch at once, its messages are encoded at once: no reference into its log outlives the
 * call but those of the appends under way. */

#include "proto/base/check.h"
#include "proto/raft/configuration.h"
#include "proto/raft/group_impl.h"

#define ENCODED_KEPT_MAX (256u << 10)
#define TIME_OFFSET_MS 3600000u /* libraft reads 0 as never */
#define JOURNAL_BLOCK 64

struct append {
    struct list link;
    struct journal_op op;
    struct group *group;
    struct raft_io_append *request;
    raft_io_append_cb cb;
    uint64_t first;
    uint64_t count; /* fewer once the log was truncated meanwhile */
};

struct completion {
    struct list link;
    struct raft_io_send *send;
    raft_io_send_cb send_cb;
    int status;
    struct raft_io_snapshot_get *get;
    raft_io_snapshot_get_cb get_cb;
};

struct waiting { /* a message */
    struct list link;
    uint64_t peer;
    size_t size;
    uint8_t bytes[];
};

static struct group *group_of(struct raft_io *io)
{
    return io->impl;
}

static struct waiting *waiting_new(uint64_t peer, struct slice bytes)
{
    struct waiting *waiting = check_malloc(sizeof(*waiting) + bytes.size);

    waiting->peer = peer;
    waiting->size = bytes.size;
    memcpy(waiting->bytes, bytes.data, bytes.size);
    return waiting;
}

static void waiting_free_all(struct list *list)
{
    struct list *link;

    while ((link = list_pop(list)) != NULL)
        free(container_of(link, struct waiting, link));
}

/* ---- term and vote ---- */

static void transmit_now(struct group *group, uint64_t peer, struct slice bytes)
{
    enum error rc = env_send(group->host->env, peer, ENV_CHANNEL_RAFT, bytes);

    (void)rc; /* lost, as on the wire: Raft sends again */
}

static void state_on_durable(struct journal_op *op)
{
    struct group *group = container_of(op, struct group, state_op);
    struct list *link;

    while ((link = list_pop(&group->outbox)) != NULL) {
        struct waiting *waiting = container_of(link, struct waiting, link);

        transmit_now(group, waiting->peer, slice_of(waiting->bytes, waiting->size));
        free(waiting);
    }
}

static void store_state(struct group *group)
{
    journal_cancel(&group->state_op);
    if (group->is_doomed)
        return;
    group->state_op.cb = state_on_durable;
    journal_set_state(group->host->journal, &group->state_op, group->id, group->term, group->vote,
                      (group->is_voteless ? GROUP_FLAG_VOTELESS : 0) |
                          (group->is_damaged ? GROUP_FLAG_DAMAGED : 0));
}

void group_io_set_voteless(struct group *group, bool is_voteless)
{
    group->is_voteless = is_voteless;
    group->is_damaged = group->is_damaged && is_voteless;
    store_state(group);
}

static int io_set_term(struct raft_io *io, raft_term term)
{
    struct group *group = group_of(io);

    group->term = term;
    group->vote = 0;
    store_state(group);
    return 0;
}

static int io_set_vote(struct raft_io *io, raft_id vote)
{
    struct group *group = group_of(io);

    group->vote = vote;
    store_state(group);
    return 0;
}

/* ---- log ---- */

bool group_io_is_appending(const struct group *group)
{
    return !list_is_empty(&group->appends);
}

static void append_on_stored(struct journal_op *op)
{
    struct append *append = container_of(op, struct append, op);
    struct group *group = append->group;

    list_remove(&append->link);
    if (append->count > 0) {
        uint64_t last = append->first + append->count - 1;

        if (last > group->stored)
            group->stored = last;
    }
    group_enter(group);
    guard_before_stored(&group->guard, append->count > 0 ? append->first + append->count - 1 : 0);
    append->cb(append->request, 0);
    guard_after_stored(&group->guard);
    free(append);
    group_leave(group);
    group_receive_held(group);
}

static int io_append(struct raft_io *io, struct raft_io_append *request,
                     const struct raft_entry entries[], unsigned count, raft_io_append_cb cb)
{
    struct group *group = group_of(io);
    struct append *append = check_calloc(1, sizeof(*append));

    *append = (struct append){
        .group = group,
        .request = request,
        .cb = cb,
        .first = group->append_next,
        .count = count,
        .op.cb = append_on_stored,
    };
    list_append(&group->appends, &append->link);
    guard_on_append(&group->guard);
    if (group->is_doomed)
        return 0; /* answered when it is closed */
    for (unsigned done = 0; done < count;) {
        struct journal_entry block[JOURNAL_BLOCK];
        unsigned size = 0;

        for (; size < JOURNAL_BLOCK && done + size < count; size++)
            block[size] = (struct journal_entry){
                entries[done + size].term, (uint8_t)entries[done + size].type,
                slice_of(entries[done + size].buf.base, entries[done + size].buf.len)};
        journal_append(group->host->journal, done + size == count ? &append->op : NULL, group->id,
                       group->append_next, block, size);
        done += size;
        group->append_next += size;
    }
    return 0;
}

static int io_truncate(struct raft_io *io, raft_index index)
{
    struct group *group = group_of(io);

    if (!group->is_doomed)
        journal_truncate(group->host->journal, group->id, index);
    group->append_next = index;
    if (group->stored >= index)
        group->stored = index - 1;
    LIST_EACH(&group->appends, link)
    {
        struct append *append = container_of(link, struct append, link);

        if (append->first >= index)
            append->count = 0;
        else if (append->first + append->count > index)
            append->count = index - append->first;
    }
    return 0;
}

static struct raft_buffer *placeholder_bufs(void)
{
    struct raft_buffer *bufs = raft_calloc(1, sizeof(*bufs));

    CHECK(bufs != NULL);
    bufs->base = raft_calloc(1, 8);
    bufs->len = 8;
    CHECK(bufs->base != NULL);
    return bufs;
}

static struct raft_snapshot *snapshot_new(uint64_t index, uint64_t term,
                                          uint64_t configuration_index, struct slice configuration)
{
    struct raft_snapshot *snapshot = raft_calloc(1, sizeof(*snapshot));

    CHECK(snapshot != NULL);
    snapshot->index = index;
    snapshot->term = term;
    snapshot->configuration_index = configuration_index;
    CHECK(configuration_read(configuration, &snapshot->configuration) == OK);
    snapshot->bufs = placeholder_bufs();
    snapshot->n_bufs = 1;
    return snapshot;
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *vote,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *count)
{
    struct group *group = group_of(io);
    const struct journal_state *state = &group->at_start;
    struct loaded_log *loaded = &group->loaded;

    *term = group->term;
    *vote = group->vote;
    *snapshot = NULL;
    *start_index = loaded->count > 0 ? loaded->first : state->mark_index + 1;
    *entries = NULL;
    *count = loaded->count;
    if (state->mark_index > 0) {
        uint64_t state_index;
        uint64_t configuration_index;
        struct slice configuration;

        CHECK(group_put_read(state->mark_data, &state_index, &configuration_index,
                             &configuration) == OK);
        *snapshot =
            snapshot_new(state->mark_index, state->mark_term, configuration_index, configuration);
    }
    if (loaded->count > 0) {
        *entries = raft_calloc(loaded->count, sizeof(**entries));
        CHECK(*entries != NULL);
    }
    for (size_t i = 0; i < loaded->count; i++)
        (*entries)[i] = (struct raft_entry){
            .term = loaded->entries[i].term,
            .type = loaded->entries[i].kind,
            .buf = loaded->entries[i].bytes,
        };
    group->append_next = *start_index + *count;
    group->stored = group->append_next - 1;
    free(loaded->entries);
    *loaded = (struct loaded_log){0};
    return 0;
}

/* ---- snapshots ---- */

static int io_snapshot_put(struct raft_io *io, unsigned trailing,
                           struct raft_io_snapshot_put *request,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    return group_put_start(group_of(io), trailing, request, snapshot, cb);
}

/* What libraft gets is not what is sent: that is read from the state when the stream begins. */
static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
                           raft_io_snapshot_get_cb cb)
{
    struct completion *completion = check_calloc(1, sizeof(*completion));

    completion->get = request;
    completion->get_cb = cb;
    list_append(&group_of(io)->sent, &completion->link);
    return 0;
}

/* ---- sending ---- */

void group_io_complete(struct group *group, struct raft_io_send *request, raft_io_send_cb cb,
                       int status)
{
    struct completion *completion;

    if (cb == NULL)
        return;
    completion = check_calloc(1, sizeof(*completion));
    completion->send = request;
    completion->send_cb = cb;
    completion->status = status;
    list_append(&group->sent, &completion->link);
}

static void complete_get(struct group *group, struct completion *completion)
{
    const struct guard *guard = &group->guard;
    struct slice configuration = slice_of(guard->committed.base, guard->committed.len);
    uint64_t applied = raft_last_applied(&group->raft);

    if (group->is_doomed || group->is_closing || raft_state(&group->raft) != RAFT_LEADER) {
        completion->get_cb(completion->get, NULL, RAFT_CANCELED);
        return;
    }
    completion->get_cb(
        completion->get,
        snapshot_new(applied, guard_term_of(guard, applied), guard->committed_index, configuration),
        0);
}

void group_io_drain_sent(struct group *group)
{
    struct list *link;

    while ((link = list_pop(&group->sent)) != NULL) {
        struct completion *completion = container_of(link, struct completion, link);

        if (completion->get_cb != NULL)
            complete_get(group, completion);
        else
            completion->send_cb(completion->send, completion->status);
        free(completion);
    }
    if (group->encoded.capacity > ENCODED_KEPT_MAX) {
        buffer_close(&group->encoded);
        group->encoded_count = 0;
    }
}

static void transmit(struct group *group, uint64_t peer, struct slice bytes)
{
    if (group->state_op.link.next != NULL)
        list_append(&group->outbox, &waiting_new(peer, bytes)->link);
    else
        transmit_now(group, peer, bytes);
}

static struct group_message header_for(const struct group *group, uint64_t peer)
{
    return (struct group_message){
        .group = group->id,
        .from = group->host->life,
        .to = host_peer_life(group->host, peer),
    };
}

void group_io_send(struct group *group, uint64_t peer, const struct group_message *message)
{
    struct group_message whole = *message;
    struct group_message header = header_for(group, peer);
    struct buffer *bytes = &group->host->scratch;

    whole.group = header.group;
    whole.from = header.from;
    whole.to = header.to;
    buffer_clear(bytes);
    group_message_put(bytes, &whole);
    transmit(group, peer, buffer_slice(bytes));
}

/* Followers that are equally far get the same bytes. */
static bool is_encoded(const struct group *group, const struct raft_append_entries *append,
                       unsigned first, unsigned count)
{
    const struct raft_append_entries *as = &group->encoded_as;

    return count > 0 && group->encoded_count == count && group->encoded_first == first &&
           as->term == append->term && as->prev_log_index == append->prev_log_index &&
           as->leader_commit == append->leader_commit;
}

static void send_part(struct group *group, const struct raft_message *message, unsigned first,
                      unsigned count)
{
    const struct raft_append_entries *append = &message->append_entries;
    struct group_message header = header_for(group, message->server_id);
    struct buffer *bytes = &group->encoded;

    header.flags = group_rejoin_flags(group, message->server_id);
    if (is_encoded(group, append, first, count)) {
        group_message_readdress(bytes, header.flags, header.to);
    } else {
        buffer_clear(bytes);
        group_message_put_raft(bytes, &header, message, first, count);
        group->encoded_as = *append;
        group->encoded_as.entries = NULL;
        group->encoded_first = first;
        group->encoded_count = count;
    }
    transmit(group, message->server_id, buffer_slice(bytes));
}

/* A follower that is being probed gets one part: it will say where to go on. One in the pipeline
 * must get all, since libraft takes it for sent. */
static void send_append(struct group *group, const struct raft_message *message)
{
    const struct raft_append_entries *append = &message->append_entries;
    bool is_probing = guard_is_probing(&group->guard, message->server_id);
    unsigned first = 0;

    do {
        unsigned count = 0;
        size_t bytes = 0;

        while (first + count < append->n_entries && count < GROUP_MESSAGE_ENTRIES_MAX) {
            bytes += append->entries[first + count].buf.len;
            if (count > 0 && bytes > group->host->options.append_bytes)
                break;
            count++;
        }
        send_part(group, message, first, count);
        first += count;
    } while (first < append->n_entries && !is_probing);
    group_announce_on_append(group, message->server_id, append, first);
}

uint16_t group_io_result_flags(struct group *group)
{
    return (uint16_t)((raft_last_index(&group->raft) == 0 ? GROUP_MESSAGE_EMPTY_LOG : 0) |
                      (group->is_voteless ? GROUP_MESSAGE_VOTELESS : 0));
}

static int io_send(struct raft_io *io, struct raft_io_send *request,
                   const struct raft_message *message, raft_io_send_cb cb)
{
    struct group *group = group_of(io);
    struct raft_message corrected = *message;
    struct group_message header;

    if (message->type == RAFT_IO_INSTALL_SNAPSHOT)
        return snapshot_stream_start(group, request, message, cb);
    if (!group_is_connected(group, message->server_id)) {
        bool is_taken_for_sent = message->type == RAFT_IO_APPEND_ENTRIES &&
                                 guard_is_pipelining(&group->guard, message->server_id);

        /* Never an error: libraft would free what it was sent an answer to twice. */
        group_io_complete(group, request, cb, is_taken_for_sent ? RAFT_NOCONNECTION : 0);
        return 0;
    }
    guard_on_send(&group->guard, &corrected, group->stored);
    if (message->type == RAFT_IO_APPEND_ENTRIES) {
        send_append(group, &corrected);
    } else {
        struct buffer *bytes = &group->host->scratch;

        header = header_for(group, message->server_id);
        if (message->type == RAFT_IO_APPEND_ENTRIES_RESULT)
            header.flags = group_io_result_flags(group);
        buffer_clear(bytes);
        group_message_put_raft(bytes, &header, &corrected, 0, 0);
        transmit(group, message->server_id, buffer_slice(bytes));
    }
    group_io_complete(group, request, cb, 0);
    return 0;
}

/* ---- the rest of the vtable ---- */

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)io;
    (void)id;
    (void)address;
    return 0;
}

static int io_start(struct raft_io *io, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb receive)
{
    struct group *group = group_of(io);

    (void)ms; /* the host ticks more often */
    group->core_tick = tick;
    group->core_receive = receive;
    return 0;
}

static int io_not_used(struct raft_io *io, const struct raft_configuration *configuration)
{
    (void)io;
    (void)configuration;
    return RAFT_INVALID;
}

static raft_time io_time(struct raft_io *io)
{
    return env_now_ms(group_of(io)->host->env) + TIME_OFFSET_MS;
}

static int io_random(struct raft_io *io, int min, int max)
{
    uint64_t dice = env_random(group_of(io)->host->env);

    return max > min ? min + (int)(dice % (uint64_t)(max - min)) : min;
}

void group_io_detach(struct group *group)
{
    journal_cancel(&group->state_op);
    LIST_EACH(&group->appends, link)
    journal_cancel(&container_of(link, struct append, link)->op);
    snapshot_stream_sweep(group);
    group_put_detach(group);
}

/* All that libraft waits for, at once. */
static void answer_all(struct group *group)
{
    struct list *link;

    group_io_detach(group);
    while ((link = list_pop(&group->appends)) != NULL) {
        struct append *append = container_of(link, struct append, link);

        append->cb(append->request, 0); /* an error would make it truncate its log once more */
        free(append);
    }
    group_put_close(group);
    group_io_drain_sent(group);
}

static void io_close(struct raft_io *io, raft_io_close_cb cb)
{
    struct group *group = group_of(io);

    answer_all(group);
    waiting_free_all(&group->outbox);
    buffer_close(&group->encoded);
    cb(io);
}

void group_io_init(struct group *group)
{
    list_init(&group->appends);
    list_init(&group->sent);
    list_init(&group->outbox);
    list_init(&group->held);
    buffer_init(&group->encoded, BUFFER_UNLIMITED);
    buffer_init(&group->put.data, JOURNAL_MARK_BYTES_MAX);
    group->io = (struct raft_io){
        .version = 2,
        .impl = group,
        .init = io_init,
        .close = io_close,
        .load = io_load,
        .start = io_start,
        .bootstrap = io_not_used,
        .recover = io_not_used,
        .set_term = io_set_term,
        .set_vote = io_set_vote,
        .send = io_send,
        .append = io_append,
        .truncate = io_truncate,
        .snapshot_put = io_snapshot_put,
        .snapshot_get = io_snapshot_get,
        .time = io_time,
        .random = io_random,
    };
}
