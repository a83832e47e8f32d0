/* Messages on their way into libraft.
 *
 * Some have to wait until an append or a snapshot is on disk; all behind them wait too, since
 * messages of a peer must stay in order. */

#include "proto/base/check.h"
#include "proto/raft/configuration.h"
#include "proto/raft/group_impl.h"

#define HELD_MAX 4096 /* messages; more are lost, which Raft expects */

struct held { /* a message */
    struct list link;
    uint64_t peer;
    size_t size;
    uint8_t bytes[];
};

static void hold(struct group *group, uint64_t peer, struct slice bytes)
{
    struct held *held = check_malloc(sizeof(*held) + bytes.size);

    held->peer = peer;
    held->size = bytes.size;
    memcpy(held->bytes, bytes.data, bytes.size);
    list_append(&group->held, &held->link);
    group->held_count++;
}

static bool must_hold(const struct group *group, const struct group_message *message)
{
    if (group->put.is_active && (group->put.is_install || message->type == GROUP_MESSAGE_INSTALL))
        return true;
    return guard_holds(&group->guard, message->type, message->term, group_io_is_appending(group));
}

/* A member that may have lost acknowledged entries must not help elect one that lacks them. */
static bool must_drop(const struct group *group, const struct group_message *message)
{
    if (message->type == GROUP_MESSAGE_VOTE)
        return group->is_voteless;
    if (message->type == GROUP_MESSAGE_TIMEOUT_NOW)
        return group->is_voteless || group->host->is_draining;
    return false;
}

static void refuse_install(struct group *group, uint64_t peer, const struct group_message *message)
{
    struct group_message result = {
        .type = GROUP_MESSAGE_APPEND_RESULT,
        .flags = group_io_result_flags(group),
        .term = guard_term(&group->guard),
        .numbers = {message->numbers[0], 0},
    };

    group_io_send(group, peer, &result);
}

static void deliver(struct group *group, uint64_t peer, const struct group_message *message)
{
    char address[CONFIGURATION_ADDRESS_BYTES];
    struct raft_message raft;

    if (must_drop(group, message))
        return;
    if (message->type == GROUP_MESSAGE_INSTALL &&
        !snapshot_stream_is_complete(group, message->numbers[3])) {
        refuse_install(group, peer, message);
        return;
    }
    if (message->type == GROUP_MESSAGE_APPEND_RESULT &&
        (message->flags & GROUP_MESSAGE_EMPTY_LOG) != 0 && message->numbers[0] > 0 &&
        message->term == guard_term(&group->guard))
        guard_log_lost(&group->guard, peer, message->numbers[0]);
    if (message->type == GROUP_MESSAGE_APPEND)
        group_rejoin_on_append(group, message);
    if (message->type == GROUP_MESSAGE_APPEND_RESULT)
        group_rejoin_on_result(group, peer, message);
    configuration_address(peer, address);
    group_message_to_raft(message, peer, address, &raft);
    group_enter(group);
    guard_before_receive(&group->guard, &raft);
    group->core_receive(&group->io, &raft);
    guard_after_receive(&group->guard);
    group_leave(group);
}

void group_receive(struct group *group, uint64_t peer, struct slice bytes,
                   const struct group_message *message)
{
    if (!list_is_empty(&group->held) || must_hold(group, message)) {
        if (group->held_count >= HELD_MAX)
            return;
        hold(group, peer, bytes);
        return;
    }
    deliver(group, peer, message);
}

void group_receive_held(struct group *group)
{
    while (!list_is_empty(&group->held) && !group->is_doomed) {
        struct held *held = container_of(group->held.next, struct held, link);
        struct group_message message;

        CHECK(group_message_read(slice_of(held->bytes, held->size), &message) == OK);
        if (must_hold(group, &message))
            return;
        list_remove(&held->link);
        group->held_count--;
        deliver(group, held->peer, &message);
        free(held);
    }
    if (group->queued_count > 0)
        group_touch(group); /* proposals waited behind them */
}

void group_receive_close(struct group *group)
{
    struct list *link;

    while ((link = list_pop(&group->held)) != NULL)
        free(container_of(link, struct held, link));
}
