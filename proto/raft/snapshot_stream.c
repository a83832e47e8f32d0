/* The state of a group on its way to a follower whose log has fallen off the leader's.
 *
 * Sender:   pin the state -> chunks, WINDOW of them not confirmed at most -> all confirmed: the
 *           InstallSnapshot message with the index of the pinned state; then libraft's request is
 *           done. Chunks are kept until confirmed and sent again after a quiet time or when the
 *           link comes up.
 * Receiver: chunk 0 begins a staging store, the next ones go to it in order. InstallSnapshot is
 *           taken only if its stream is complete there (group_io.c).
 *
 * A receiver that does not know a stream any more says so; the sender gives up and libraft begins
 * again. */

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/raft/configuration.h"
#include "proto/raft/group_impl.h"

#include <inttypes.h>
#include <xxhash.h>

#define CHUNK_BYTES (256u << 10)
#define CHUNK_BYTES_MAX (16u << 20) /* a state machine may not be able to split that fine */
#define POSITION_BYTES_MAX 65536u
#define WINDOW 4u
#define QUIET_US 1000000u /* then everything not confirmed is sent again */
#define GIVE_UP_US 60000000u

struct chunk {
    struct list link;
    uint64_t number;
    bool is_last;
    struct buffer bytes;
};

struct stream_out {
    struct list link; /* in group.streams */
    struct group *group;
    uint64_t peer;
    uint64_t id;
    uint64_t term;
    struct raft_io_send *request;
    raft_io_send_cb cb;
    void *pin;
    uint64_t index; /* of the pinned state */
    uint64_t index_term;
    uint64_t configuration_index;
    struct buffer configuration;
    struct buffer position;
    struct list chunks; /* sent, not confirmed */
    size_t chunk_count;
    uint64_t next;
    bool is_read; /* the last chunk has been read */
    uint64_t heard_us;
    uint64_t sent_us;
};

static void *user_of(const struct group *group)
{
    return group->machine.user;
}

static void chunk_free(struct stream_out *stream, struct chunk *chunk)
{
    list_remove(&chunk->link);
    stream->chunk_count--;
    buffer_close(&chunk->bytes);
    free(chunk);
}

/* Ends it; libraft is told. */
static void stream_end(struct stream_out *stream, int status)
{
    struct group *group = stream->group;

    while (!list_is_empty(&stream->chunks))
        chunk_free(stream, container_of(stream->chunks.next, struct chunk, link));
    if (stream->pin != NULL)
        group->machine.snapshot_unpin(user_of(group), stream->pin);
    group_io_complete(group, stream->request, stream->cb, status);
    list_remove(&stream->link);
    buffer_close(&stream->configuration);
    buffer_close(&stream->position);
    free(stream);
}

/* ---- sending ---- */

static void send_chunk(struct stream_out *stream, const struct chunk *chunk)
{
    struct host *host = stream->group->host;
    struct group_message message = {
        .type = GROUP_MESSAGE_CHUNK,
        .flags = chunk->is_last ? GROUP_MESSAGE_LAST_CHUNK : 0,
        .group = stream->group->id,
        .term = stream->term,
        .from = host->life,
        .to = host_peer_life(host, stream->peer),
        .numbers = {stream->id, chunk->number, XXH3_64bits(chunk->bytes.data, chunk->bytes.size)},
        .payload = buffer_slice(&chunk->bytes),
    };
    enum error rc;

    buffer_clear(&host->scratch);
    group_message_put(&host->scratch, &message);
    rc = env_send(host->env, stream->peer, ENV_CHANNEL_SNAPSHOT, buffer_slice(&host->scratch));
    (void)rc; /* sent again after a quiet time */
    stream->sent_us = env_now_us(host->env);
}

static enum error read_chunk(struct stream_out *stream)
{
    struct group *group = stream->group;
    struct chunk *chunk = check_calloc(1, sizeof(*chunk));
    enum error rc;

    buffer_init(&chunk->bytes, CHUNK_BYTES_MAX);
    chunk->number = stream->next++;
    list_append(&stream->chunks, &chunk->link);
    stream->chunk_count++;
    rc = group->machine.snapshot_read(user_of(group), stream->pin, &stream->position, CHUNK_BYTES,
                                      &chunk->bytes, &chunk->is_last);
    if (rc != OK)
        return rc;
    stream->is_read = chunk->is_last;
    send_chunk(stream, chunk);
    return OK;
}

static void send_install(struct stream_out *stream)
{
    struct group *group = stream->group;
    struct group_message message = {
        .type = GROUP_MESSAGE_INSTALL,
        .term = stream->term,
        .numbers = {stream->index, stream->index_term, stream->configuration_index, stream->id},
        .payload = buffer_slice(&stream->configuration),
    };

    group_io_send(group, stream->peer, &message);
    guard_snapshot_sent(&group->guard, stream->peer, stream->index);
    group->host->stats.snapshots_sent++;
    log_debug("snapshot_stream.sent group=%" PRIu64 " peer=%" PRIu64 " index=%" PRIu64, group->id,
              stream->peer, stream->index);
}

/* Goes on as far as the window allows. The stream may be gone afterwards. */
static void stream_advance(struct stream_out *stream)
{
    while (!stream->is_read && stream->chunk_count < WINDOW) {
        enum error rc = read_chunk(stream);

        if (rc == OK)
            continue;
        log_warn("snapshot_stream.unreadable group=%" PRIu64 " error=%s", stream->group->id,
                 error_name(rc));
        stream_end(stream, RAFT_IOERR);
        return;
    }
    if (stream->chunk_count > 0)
        return;
    send_install(stream);
    stream_end(stream, 0);
}

int snapshot_stream_start(struct group *group, struct raft_io_send *request,
                          const struct raft_message *message, raft_io_send_cb cb)
{
    struct host *host = group->host;
    struct guard *guard = &group->guard;
    struct stream_out *stream;

    snapshot_stream_sweep(group);
    LIST_EACH(&group->streams, link)
    if (container_of(link, struct stream_out, link)->peer == message->server_id)
        return RAFT_BUSY;
    if (group->is_doomed || !group_is_connected(group, message->server_id) ||
        raft_last_applied(&group->raft) < group->skip)
        return RAFT_NOCONNECTION;
    stream = check_calloc(1, sizeof(*stream));
    stream->group = group;
    stream->peer = message->server_id;
    stream->id = ++host->stream_last;
    stream->term = guard_term(guard);
    stream->request = request;
    stream->cb = cb;
    stream->pin = group->machine.snapshot_pin(user_of(group));
    stream->index = raft_last_applied(&group->raft);
    stream->index_term = guard_term_of(guard, stream->index);
    stream->configuration_index = guard->committed_index;
    stream->heard_us = env_now_us(host->env);
    list_init(&stream->chunks);
    buffer_init(&stream->configuration, CONFIGURATION_BYTES_MAX);
    buffer_put(&stream->configuration, guard->committed.base, guard->committed.len);
    buffer_init(&stream->position, POSITION_BYTES_MAX);
    list_append(&group->streams, &stream->link);
    group_touch(group); /* the first chunks leave at the end of the turn */
    return 0;
}

static void stream_send_again(struct stream_out *stream)
{
    LIST_EACH(&stream->chunks, link)
    send_chunk(stream, container_of(link, struct chunk, link));
}

void snapshot_stream_tick(struct group *group)
{
    uint64_t now = env_now_us(group->host->env);

    if (list_is_empty(&group->streams))
        return;
    group_enter(group);
    snapshot_stream_sweep(group);
    LIST_EACH_SAFE(&group->streams, link)
    {
        struct stream_out *stream = container_of(link, struct stream_out, link);

        if (now - stream->heard_us > GIVE_UP_US) {
            stream_end(stream, RAFT_NOCONNECTION);
            continue;
        }
        guard_snapshot_goes_on(&group->guard, stream->peer);
        if (stream->next == 0)
            stream_advance(stream);
        else if (now - stream->sent_us > QUIET_US && now - stream->heard_us > QUIET_US)
            stream_send_again(stream);
    }
    group_leave(group);
}

void snapshot_stream_on_up(struct group *group, uint64_t peer)
{
    LIST_EACH(&group->streams, link)
    {
        struct stream_out *stream = container_of(link, struct stream_out, link);

        if (stream->peer == peer) {
            stream_send_again(stream);
            return;
        }
    }
    guard_snapshot_lost(&group->guard, peer); /* the message at the end was, if any */
}

void snapshot_stream_sweep(struct group *group)
{
    bool is_leader =
        !group->is_closing && !group->is_doomed && raft_state(&group->raft) == RAFT_LEADER;

    LIST_EACH_SAFE(&group->streams, link)
    {
        struct stream_out *stream = container_of(link, struct stream_out, link);

        if (!is_leader || stream->term != guard_term(&group->guard) ||
            !guard_is_snapshotting(&group->guard, stream->peer))
            stream_end(stream, RAFT_CANCELED);
    }
}

static void on_result(struct group *group, uint64_t peer, const struct group_message *message)
{
    LIST_EACH_SAFE(&group->streams, link)
    {
        struct stream_out *stream = container_of(link, struct stream_out, link);

        if (stream->peer != peer || stream->id != message->numbers[0])
            continue;
        stream->heard_us = env_now_us(group->host->env);
        if ((message->flags & GROUP_MESSAGE_ABORT) != 0) {
            stream_end(stream, RAFT_NOCONNECTION);
            return;
        }
        while (!list_is_empty(&stream->chunks)) {
            struct chunk *chunk = container_of(stream->chunks.next, struct chunk, link);

            if (chunk->number >= message->numbers[1])
                break;
            chunk_free(stream, chunk);
        }
        stream_advance(stream);
        return;
    }
}

/* ---- receiving ---- */

static void answer(struct group *group, uint64_t peer, uint64_t stream, uint64_t next,
                   uint16_t flags)
{
    struct host *host = group->host;
    struct group_message message = {
        .type = GROUP_MESSAGE_CHUNK_RESULT,
        .flags = flags,
        .group = group->id,
        .from = host->life,
        .to = host_peer_life(host, peer),
        .numbers = {stream, next},
    };
    enum error rc;

    buffer_clear(&host->scratch);
    group_message_put(&host->scratch, &message);
    rc = env_send(host->env, peer, ENV_CHANNEL_SNAPSHOT, buffer_slice(&host->scratch));
    (void)rc; /* the chunk comes again */
}

static void on_chunk(struct group *group, uint64_t peer, const struct group_message *message)
{
    struct stream_in *in = &group->stream_in;
    uint64_t stream = message->numbers[0];
    uint64_t number = message->numbers[1];
    enum error rc = OK;

    if (message->term < guard_term(&group->guard) || group->put.is_active ||
        raft_state(&group->raft) == RAFT_LEADER)
        return;
    if (XXH3_64bits(message->payload.data, message->payload.size) != message->numbers[2])
        return;
    if (number == 0 && stream != in->id) {
        *in = (struct stream_in){.id = stream};
        rc = group->machine.snapshot_begin(user_of(group));
    }
    if (rc == OK && stream != in->id) {
        answer(group, peer, stream, 0, GROUP_MESSAGE_ABORT);
        return;
    }
    if (rc == OK && number == in->next) {
        rc = group->machine.snapshot_chunk(user_of(group), message->payload);
        in->next++;
        in->is_complete = (message->flags & GROUP_MESSAGE_LAST_CHUNK) != 0;
    }
    if (rc != OK) {
        log_warn("snapshot_stream.refused group=%" PRIu64 " error=%s", group->id, error_name(rc));
        *in = (struct stream_in){0};
        answer(group, peer, stream, 0, GROUP_MESSAGE_ABORT);
        return;
    }
    answer(group, peer, stream, in->next, 0);
}

bool snapshot_stream_is_complete(const struct group *group, uint64_t stream)
{
    return stream != 0 && group->stream_in.id == stream && group->stream_in.is_complete;
}

void snapshot_stream_receive(struct group *group, uint64_t peer,
                             const struct group_message *message)
{
    if (message->type == GROUP_MESSAGE_CHUNK) {
        on_chunk(group, peer, message);
        return;
    }
    group_enter(group);
    on_result(group, peer, message);
    group_leave(group);
}
