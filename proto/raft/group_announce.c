/* Tells followers soon that what they store is committed.
 *
 * libraft lets a follower know with the next entries or with the next heartbeat, and until then its
 * replica does not show what was acknowledged. So, when the leader's commit index has moved and
 * nothing that says so went to a follower within ANNOUNCE_US, the follower gets an AppendEntries
 * without entries, once for each move: a heartbeat ahead of its time, on the same way through the
 * same guards, and with the same harmless answer. Under load the next entries have told already.
 *
 * Safe, because the message claims nothing but what Raft would let any heartbeat claim:
 * - It goes only to a follower that acknowledged, in this term, all that is committed. Its previous
 *   index is that acknowledged one, and leader_commit is not above it: the follower commits nothing
 *   that the message does not vouch for.
 * - It vouches by the term of the entry at the previous index. A follower that has another entry
 *   there, or none since its disk was replaced, refuses the message and commits nothing; one that
 *   has it holds the leader's log up to there (Raft's log matching). An older leader's message is
 *   refused by its term.
 * - leader_commit is the leader's true commit index, which a member without a vote relies on
 *   (group_rejoin.c).
 * One that gets lost is not sent again: the next heartbeat says the same. */

#include "proto/base/check.h"
#include "proto/raft/group_impl.h"

#define ANNOUNCE_US 2000u

static struct told *told_find(struct group *group, uint64_t peer)
{
    for (size_t i = 0; i < group->told_count; i++)
        if (group->told[i].peer == peer)
            return &group->told[i];
    return NULL;
}

static void note_told(struct group *group, uint64_t peer, uint64_t commit)
{
    struct told *told = told_find(group, peer);

    if (told == NULL) { /* members came and went: forgetting one is harmless */
        size_t i = group->told_count < GROUP_MEMBERS_MAX ? group->told_count++ : 0;

        told = &group->told[i];
        *told = (struct told){.peer = peer};
    }
    if (told->commit < commit)
        told->commit = commit;
}

/* It could commit up to `commit` but has not heard so. */
static bool is_owed(struct group *group, uint64_t peer, uint64_t commit)
{
    const struct told *told = told_find(group, peer);

    return (told == NULL || told->commit < commit) && peer != group->raft.id &&
           guard_is_pipelining(&group->guard, peer) &&
           guard_match(&group->guard, peer) >= guard_committed(&group->guard) &&
           group_is_connected(group, peer);
}

static void announce(struct group *group, uint64_t peer)
{
    uint64_t match = guard_match(&group->guard, peer);
    struct group_message message = {
        .type = GROUP_MESSAGE_APPEND,
        .flags = group_rejoin_flags(group, peer),
        .term = guard_term(&group->guard),
        .numbers = {match, guard_term_of(&group->guard, match), guard_committed(&group->guard)},
    };

    CHECK(message.numbers[1] > 0); /* what is committed is in the log, or ends the snapshot */
    group_io_send(group, peer, &message);
    note_told(group, peer, message.numbers[2]);
    group->host->stats.announcements++;
}

/* Only what was committed when the timer was started is overdue. */
static void announce_on_timer(struct env_timer *timer)
{
    struct group *group = container_of(timer, struct group, announce_timer);
    const struct raft_configuration *configuration = guard_configuration(&group->guard);

    if (group->host->has_failed)
        return;
    for (unsigned i = 0; i < configuration->n; i++)
        if (is_owed(group, configuration->servers[i].id, group->announce_commit))
            announce(group, configuration->servers[i].id);
    group_announce_check(group);
}

void group_announce_check(struct group *group)
{
    const struct raft_configuration *configuration = guard_configuration(&group->guard);
    uint64_t commit = guard_committed(&group->guard);

    if (!group->is_raft_leader || group->is_doomed || env_timer_is_running(&group->announce_timer))
        return;
    for (unsigned i = 0; i < configuration->n; i++) {
        if (!is_owed(group, configuration->servers[i].id, commit))
            continue;
        group->announce_commit = commit;
        env_timer_start(group->host->env, &group->announce_timer, ANNOUNCE_US, announce_on_timer);
        return;
    }
}

/* A message without entries is in vain while what it tells of is on its way to the disk there. */
void group_announce_on_append(struct group *group, uint64_t peer,
                              const struct raft_append_entries *append, unsigned count)
{
    if (append->prev_log_index + count >= append->leader_commit &&
        (count > 0 || guard_match(&group->guard, peer) >= append->leader_commit))
        note_told(group, peer, append->leader_commit);
}

void group_announce_stop(struct group *group)
{
    env_timer_stop(group->host->env, &group->announce_timer);
    group->told_count = 0;
}
