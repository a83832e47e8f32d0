/* Proposals: from the caller's bytes into the log, and from the log into the state machine.
 *
 * Those of a turn go into the log together. They are answered by index as their entries are
 * applied, or when leadership is lost: libraft's own answers name only the first of a batch. */

#include "proto/base/check.h"
#include "proto/raft/group_impl.h"

#define APPLY_MAX 256               /* entries in one call */
#define OPEN_MAX 16384              /* proposals */
#define OPEN_BYTES_MAX (128u << 20) /* of proposals */
#define ENTRY_OVERHEAD_BYTES 128    /* of memory, beside its content */
#define STREAM_PATIENCE 8           /* times snapshot_bytes, while a follower is sent the state */

/* ---- proposing ---- */

static void refuse(struct group *group, struct group_proposal *proposal, enum error rc)
{
    proposal->term = (uint64_t)rc;
    list_append(&group->failed, &proposal->link);
    group_touch(group);
}

void group_propose(struct group *group, struct group_proposal *proposal, struct slice entry,
                   group_proposal_cb cb)
{
    struct raft_buffer bytes = {.len = entry.size};

    *proposal = (struct group_proposal){.cb = cb};
    if (!group->is_raft_leader || group->is_doomed) {
        refuse(group, proposal, ERR_NOT_LEADER);
        return;
    }
    if (entry.size > GROUP_ENTRY_BYTES_MAX) {
        refuse(group, proposal, ERR_TOO_LARGE);
        return;
    }
    if (group->queued_count + group->in_flight_count >= OPEN_MAX ||
        group->bytes_open + entry.size > OPEN_BYTES_MAX) {
        refuse(group, proposal, ERR_OVERLOADED);
        return;
    }
    bytes.base = raft_malloc(entry.size > 0 ? entry.size : 1);
    CHECK(bytes.base != NULL);
    if (entry.size > 0)
        memcpy(bytes.base, entry.data, entry.size);
    if (group->queued_count == group->queued_capacity) {
        group->queued_capacity = group->queued_capacity * 2 + 16;
        group->queued_bytes = check_realloc(group->queued_bytes,
                                            group->queued_capacity * sizeof(*group->queued_bytes));
    }
    group->queued_bytes[group->queued_count++] = bytes;
    group->bytes_open += entry.size;
    list_append(&group->queued, &proposal->link);
    group_touch(group);
}

static void apply_on_done(struct raft_apply *request, int status, void *result)
{
    (void)status; /* told by index, and when leadership is lost */
    (void)result;
    free(request);
}

static void append_batch(struct group *group, const struct raft_buffer *bytes, size_t count)
{
    struct raft_apply *request = check_calloc(1, sizeof(*request));
    uint64_t index = raft_last_index(&group->raft);

    for (size_t i = 0; i < count; i++) {
        struct group_proposal *proposal =
            container_of(list_pop(&group->queued), struct group_proposal, link);

        proposal->index = ++index;
        proposal->term = guard_term(&group->guard);
        list_append(&group->in_flight, &proposal->link);
    }
    group->in_flight_count += count;
    CHECK(raft_apply(&group->raft, request, bytes, (unsigned)count, apply_on_done) == 0);
}

static void append_queued(struct group *group)
{
    size_t count = group->queued_count;

    if (count == 0 || !group->is_raft_leader || guard_is_transferring(&group->guard) ||
        !list_is_empty(&group->held))
        return;
    group_enter(group);
    group->queued_count = 0;
    for (size_t done = 0; done < count;) {
        size_t batch = count - done < APPLY_MAX ? count - done : APPLY_MAX;

        append_batch(group, group->queued_bytes + done, batch);
        done += batch;
    }
    group_leave(group);
}

static void tell_failed(struct group *group)
{
    struct list failed;
    struct list *link;

    list_move(&failed, &group->failed);
    while ((link = list_pop(&failed)) != NULL) {
        struct group_proposal *proposal = container_of(link, struct group_proposal, link);

        proposal->cb(proposal, (enum error)proposal->term, 0);
    }
}

/* ---- failing ---- */

static void fail_in_flight(struct group *group)
{
    struct list lost;
    struct list *link;

    list_move(&lost, &group->in_flight);
    group->in_flight_count = 0;
    while ((link = list_pop(&lost)) != NULL) {
        struct group_proposal *proposal = container_of(link, struct group_proposal, link);

        proposal->cb(proposal, ERR_LOST, proposal->index);
    }
}

/* Nothing of these went anywhere. */
static void fail_queued(struct group *group)
{
    struct list refused;
    struct list *link;

    for (size_t i = 0; i < group->queued_count; i++) {
        group->bytes_open -= group->queued_bytes[i].len;
        raft_free(group->queued_bytes[i].base);
    }
    group->queued_count = 0;
    list_move(&refused, &group->queued);
    while ((link = list_pop(&refused)) != NULL) {
        struct group_proposal *proposal = container_of(link, struct group_proposal, link);

        proposal->cb(proposal, ERR_NOT_LEADER, 0);
    }
}

void group_propose_lost(struct group *group)
{
    fail_in_flight(group);
    fail_queued(group);
}

/* ---- applying ---- */

static void answer_proposal(struct group *group, uint64_t index, size_t bytes)
{
    struct group_proposal *proposal;

    if (list_is_empty(&group->in_flight))
        return;
    proposal = container_of(group->in_flight.next, struct group_proposal, link);
    if (proposal->index != index)
        return;
    list_remove(&proposal->link);
    group->in_flight_count--;
    group->bytes_open -= bytes;
    proposal->cb(proposal, OK, index);
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *bytes, void **result)
{
    struct group *group = fsm->data;
    uint64_t index = raft_last_applied(&group->raft) + 1;

    *result = NULL;
    group->bytes_since_snapshot += bytes->len + ENTRY_OVERHEAD_BYTES;
    if (group->bytes_since_snapshot >= group->host->options.snapshot_bytes)
        guard_set_snapshot(&group->guard, 1, group->host->options.trailing_entries);
    if (index > group->skip && !group->is_doomed)
        group->machine.apply(group->machine.user, index, guard_term_of(&group->guard, index),
                             slice_of(bytes->base, bytes->len));
    answer_proposal(group, index, bytes->len);
    return 0;
}

/* How many entries may stay behind a snapshot for slow followers. */
static unsigned trailing_entries(const struct group *group, uint64_t index)
{
    const struct host_options *options = &group->host->options;
    uint64_t bytes = 0;
    unsigned count = 0;

    while (count < options->trailing_entries && index > count) {
        const struct raft_entry *entry = guard_entry(&group->guard, index - count);

        if (entry == NULL)
            break;
        bytes += entry->buf.len + ENTRY_OVERHEAD_BYTES;
        if (bytes > options->snapshot_bytes)
            break;
        count++;
    }
    return count > 0 ? count : 1;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *buf_count)
{
    struct group *group = fsm->data;
    const struct host_options *options = &group->host->options;
    uint64_t applied = raft_last_applied(&group->raft);

    /* An uncommitted configuration must not get into a snapshot. */
    if (!guard_configuration_is_committed(&group->guard) || applied < group->skip ||
        group->put.is_active || group->is_doomed)
        return RAFT_BUSY;
    if (!list_is_empty(&group->streams) &&
        group->bytes_since_snapshot < STREAM_PATIENCE * options->snapshot_bytes)
        return RAFT_BUSY; /* the follower will need what follows its snapshot */
    guard_set_snapshot(&group->guard, options->snapshot_entries, trailing_entries(group, applied));
    group->bytes_since_snapshot = 0;
    *bufs = raft_calloc(1, sizeof(**bufs));
    CHECK(*bufs != NULL);
    **bufs = (struct raft_buffer){raft_calloc(1, 8), 8}; /* the state machine keeps the state */
    CHECK((*bufs)->base != NULL);
    *buf_count = 1;
    return 0;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *bytes)
{
    (void)fsm; /* the state machine has it already */
    raft_free(bytes->base);
    return 0;
}

/* ---- with the group ---- */

void group_propose_turn(struct group *group)
{
    tell_failed(group);
    append_queued(group);
}

void group_propose_answer(struct group *group)
{
    tell_failed(group);
    group_propose_lost(group);
}

void group_propose_init(struct group *group)
{
    list_init(&group->queued);
    list_init(&group->in_flight);
    list_init(&group->failed);
    group->fsm = (struct raft_fsm){
        .version = 1,
        .data = group,
        .apply = fsm_apply,
        .snapshot = fsm_snapshot,
        .restore = fsm_restore,
    };
}

void group_propose_close(struct group *group)
{
    for (size_t i = 0; i < group->queued_count; i++)
        raft_free(group->queued_bytes[i].base);
    free(group->queued_bytes);
}
