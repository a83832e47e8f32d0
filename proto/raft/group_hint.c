/* When the leader's process is gone, somebody else stands at once.
 *
 * Known because nobody listens any more where its process did (env.h: REFUSED). libraft is handed a
 * TimeoutNow as if the leader had sent it. The voters take turns, so that not all stand together.
 */

#include "proto/base/log.h"
#include "proto/raft/configuration.h"
#include "proto/raft/group_impl.h"

#include <inttypes.h>

#define STAGGER_US 15000u
#define AGAIN_US 250000u

static uint64_t rank_of(const struct group *group, uint64_t dead)
{
    const struct raft_configuration *configuration = guard_configuration(&group->guard);
    uint64_t rank = 0;

    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];

        rank += server->role == RAFT_VOTER && server->id != dead && server->id < group->raft.id;
    }
    return rank;
}

void group_hint(struct group *group, uint64_t peer)
{
    if (raft_state(&group->raft) != RAFT_FOLLOWER || group_leader(group) != peer ||
        group->is_voteless || !guard_is_voter(&group->guard, group->raft.id))
        return;
    group->hint_peer = peer;
    group->hint_term = guard_term(&group->guard);
    group->hint_at_us = env_now_us(group->host->env) + rank_of(group, peer) * (uint64_t)STAGGER_US;
}

/* A TimeoutNow as from the leader that is gone. Safe: any member may stand at any time. */
static void stand(struct group *group)
{
    char address[CONFIGURATION_ADDRESS_BYTES];
    uint64_t last = raft_last_index(&group->raft);
    struct raft_message message = {
        .type = RAFT_IO_TIMEOUT_NOW,
        .server_id = group->hint_peer,
        .server_address = address,
        .timeout_now = {.term = guard_term(&group->guard),
                        .last_log_index = last,
                        .last_log_term = guard_term_of(&group->guard, last)},
    };

    configuration_address(group->hint_peer, address);
    group_enter(group);
    group->core_receive(&group->io, &message);
    group_leave(group);
    if (raft_state(&group->raft) == RAFT_FOLLOWER)
        return;
    group->host->stats.hints_taken++;
    group->host->stats.elections_started++;
    log_debug("group.hint group=%" PRIu64 " leader=%" PRIu64 " term=%" PRIu64, group->id,
              group->hint_peer, guard_term(&group->guard));
    group->hint_peer = 0;
}

void group_hint_check(struct group *group)
{
    uint64_t now = env_now_us(group->host->env);

    if (group->hint_peer == 0)
        return;
    if (raft_state(&group->raft) != RAFT_FOLLOWER || group_leader(group) != group->hint_peer ||
        group->host->is_draining || group_is_connected(group, group->hint_peer)) {
        group->hint_peer = 0;
        return;
    }
    if (guard_term(&group->guard) > group->hint_term &&
        guard_has_voted_for_other(&group->guard)) { /* someone else stands: let it win */
        group->hint_term = guard_term(&group->guard);
        group->hint_at_us = now + AGAIN_US;
    }
    if (now < group->hint_at_us || group_io_is_appending(group) || !list_is_empty(&group->held) ||
        group->put.is_active)
        return;
    stand(group);
}
