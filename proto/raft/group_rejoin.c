/* Members without a vote: their log is new, lost or damaged, and they may have forgotten votes and
 * entries that others count on.
 *
 * Such a member says so with every answer. The leader then does not count it, and asks the voters
 * whether its own term still stands: only once a majority without the member agreed, after the
 * member came back, can no newer leader exist that the forgotten vote helped to elect. It tells the
 * member, which has its vote again when it stores all that was committed then, and an entry of the
 * leader's own term: all that was committed in older terms comes before that one. A member that is
 * a voter by its configuration waits two election time-outs besides, so that no candidate can still
 * count the vote it forgot. */

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/raft/group_impl.h"

#include <inttypes.h>

/* ---- the leader's side ---- */

static struct follower *follower_find(struct group *group, uint64_t peer)
{
    for (size_t i = 0; i < group->follower_count; i++)
        if (group->followers[i].peer == peer)
            return &group->followers[i];
    return NULL;
}

static struct follower *follower_get(struct group *group, uint64_t peer)
{
    struct follower *follower = follower_find(group, peer);

    if (follower == NULL && group->follower_count < GROUP_MEMBERS_MAX) {
        follower = &group->followers[group->follower_count++];
        *follower = (struct follower){.peer = peer};
    } else if (follower == NULL) {
        follower = &group->followers[0]; /* members came and went: what is forgotten comes again */
        guard_set_counted(&group->guard, follower->peer, true);
        *follower = (struct follower){.peer = peer};
    }
    return follower;
}

void group_rejoin_clear(struct group *group)
{
    for (size_t i = 0; i < group->follower_count; i++)
        guard_set_counted(&group->guard, group->followers[i].peer, true);
    group->follower_count = 0;
}

void group_rejoin_on_result(struct group *group, uint64_t peer, const struct group_message *message)
{
    bool is_voteless = (message->flags & GROUP_MESSAGE_VOTELESS) != 0;
    struct follower *follower;

    if (!group->is_raft_leader || message->term != guard_term(&group->guard))
        return;
    follower = follower_get(group, peer);
    if (is_voteless && (!follower->is_voteless || follower->life != message->from)) {
        follower->probe = host_probe_number(group->host);
        follower->is_confirmed = false;
        group_touch(group); /* asks the voters, see group_rejoin_turn */
    }
    follower->is_voteless = is_voteless;
    follower->life = message->from;
    guard_set_counted(&group->guard, peer, !is_voteless);
}

static bool has_unconfirmed(const struct group *group)
{
    for (size_t i = 0; i < group->follower_count; i++)
        if (group->followers[i].is_voteless && !group->followers[i].is_confirmed)
            return true;
    return false;
}

/* At the end of a turn and in every tick. */
void group_rejoin_turn(struct group *group)
{
    if (!group->is_leading || !has_unconfirmed(group))
        return;
    for (size_t i = 0; i < group->follower_count; i++) {
        struct follower *follower = &group->followers[i];

        if (follower->is_voteless && !follower->is_confirmed &&
            group_read_confirmed(group, follower->peer) >= follower->probe)
            follower->is_confirmed = true;
    }
    if (has_unconfirmed(group))
        group_read_probe(group);
}

uint16_t group_rejoin_flags(struct group *group, uint64_t peer)
{
    const struct follower *follower = follower_find(group, peer);

    return follower != NULL && follower->is_confirmed && follower->is_voteless &&
                   follower->life == host_peer_life(group->host, peer)
               ? GROUP_MESSAGE_CONFIRMED
               : 0;
}

bool group_rejoin_has_vote(struct group *group, uint64_t peer)
{
    const struct follower *follower = follower_find(group, peer);

    return follower != NULL && !follower->is_voteless &&
           follower->life == host_peer_life(group->host, peer);
}

/* ---- the member's side ---- */

void group_rejoin_on_append(struct group *group, const struct group_message *message)
{
    if (!group->is_voteless || (message->flags & GROUP_MESSAGE_CONFIRMED) == 0 ||
        message->to != group->host->life || message->term < guard_term(&group->guard) ||
        group->rejoin_term >= message->term)
        return;
    group->rejoin_term = message->term;
    group->rejoin_commit = message->numbers[2];
}

void group_rejoin_check(struct group *group)
{
    struct host *host = group->host;
    uint64_t term = guard_term(&group->guard);
    uint64_t forgotten_us = (uint64_t)host->options.election_ms * 1000 * 2;

    if (!group->is_voteless || group->rejoin_term != term || group->stored == 0 ||
        group->stored < group->rejoin_commit || guard_term_of(&group->guard, group->stored) != term)
        return;
    if (guard_is_voter(&group->guard, group->raft.id) &&
        env_now_us(host->env) < group->started_us + forgotten_us)
        return;
    log_debug("group_rejoin.voter group=%" PRIu64 " term=%" PRIu64, group->id, term);
    group_io_set_voteless(group, false);
}
