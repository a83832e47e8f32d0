/* Linearizable reads without a log write (ReadIndex: Ongaro's thesis, 6.4).
 *
 * A read notes the commit index and asks the voters whether they are still in the leader's term;
 * all reads of a turn, of all groups, share one message per voter. Probes are numbered in order of
 * time, so the newest number that a majority agreed to confirms every read up to it; the number is
 * also the time the read began. */

#include "proto/base/check.h"
#include "proto/raft/configuration.h"
#include "proto/raft/group_impl.h"

static void fail_all(struct list *reads, enum error rc)
{
    struct list *link;

    while ((link = list_pop(reads)) != NULL) {
        struct group_read *read = container_of(link, struct group_read, link);

        read->cb(read, rc);
    }
}

void group_read_start(struct group *group, struct group_read *read, group_read_cb cb)
{
    bool is_refused = !group->is_leading || group->is_doomed;

    *read = (struct group_read){.cb = cb};
    list_append(is_refused ? &group->reads_failed : &group->reads_new, &read->link);
    group_touch(group);
}

void group_read_lost(struct group *group)
{
    struct list lost;

    group->ack_count = 0;
    list_move(&lost, &group->reads);
    fail_all(&lost, ERR_NOT_LEADER);
    list_move(&lost, &group->reads_new);
    fail_all(&lost, ERR_NOT_LEADER);
}

/* ---- confirming ---- */

static uint64_t acked_by(const struct group *group, uint64_t peer)
{
    if (peer == group->raft.id)
        return UINT64_MAX;
    for (size_t i = 0; i < group->ack_count; i++)
        if (group->acks[i].peer == peer)
            return group->acks[i].probe;
    return 0;
}

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

uint64_t group_read_confirmed(const struct group *group, uint64_t without)
{
    const struct raft_configuration *configuration = guard_configuration(&group->guard);
    uint64_t acked[GROUP_MEMBERS_MAX];
    size_t count = 0;

    for (unsigned i = 0; i < configuration->n; i++)
        if (configuration->servers[i].role == RAFT_VOTER)
            acked[count++] = configuration->servers[i].id == without
                                 ? 0
                                 : acked_by(group, configuration->servers[i].id);
    if (count == 0)
        return 0;
    qsort(acked, count, sizeof(acked[0]), by_value);
    return acked[(count - 1) / 2];
}

static void serve(struct group *group)
{
    uint64_t confirmed = group_read_confirmed(group, 0);

    while (group->is_leading && !list_is_empty(&group->reads)) {
        struct group_read *read = container_of(group->reads.next, struct group_read, link);

        if (read->probe > confirmed || read->index > raft_last_applied(&group->raft))
            return;
        list_remove(&read->link);
        read->cb(read, OK);
    }
}

/* ---- probing ---- */

void group_read_probe(struct group *group)
{
    const struct raft_configuration *configuration = guard_configuration(&group->guard);

    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];

        if (server->role == RAFT_VOTER && server->id != group->raft.id)
            host_probe(group, server->id);
    }
}

void group_read_turn(struct group *group)
{
    struct list refused;
    uint64_t probe;

    list_move(&refused, &group->reads_failed);
    fail_all(&refused, ERR_NOT_LEADER);
    if (list_is_empty(&group->reads_new) || !group->is_leading)
        return;
    probe = host_probe_number(group->host);
    while (!list_is_empty(&group->reads_new)) {
        struct group_read *read = container_of(group->reads_new.next, struct group_read, link);

        list_remove(&read->link);
        read->index = guard_committed(&group->guard);
        read->probe = probe;
        list_append(&group->reads, &read->link);
    }
    group_read_probe(group);
    serve(group); /* a single voter needs nobody */
}

/* Time-outs, and once more what may have been lost. */
void group_read_tick(struct group *group)
{
    uint64_t now = env_now_us(group->host->env);
    uint64_t limit = (uint64_t)group->host->options.election_ms * 1000;

    serve(group);
    while (!list_is_empty(&group->reads)) {
        struct group_read *read = container_of(group->reads.next, struct group_read, link);

        if (now < read->probe + limit)
            break;
        list_remove(&read->link);
        read->cb(read, ERR_TIMEOUT);
    }
    if (group->is_leading && !list_is_empty(&group->reads)) {
        group_read_probe(group);
        host_touch(group->host);
    }
}

void group_read_on_result(struct group *group, uint64_t peer, uint64_t term, uint64_t probe)
{
    size_t i = 0;

    if (!group->is_leading || term != guard_term(&group->guard) ||
        !guard_is_voter(&group->guard, peer))
        return;
    while (i < group->ack_count && group->acks[i].peer != peer)
        i++;
    if (i == GROUP_MEMBERS_MAX)
        i = 0; /* members came and went: forgetting one only delays */
    if (i == group->ack_count)
        group->ack_count++;
    if (group->acks[i].peer != peer)
        group->acks[i] = (struct read_ack){.peer = peer};
    if (group->acks[i].probe < probe)
        group->acks[i].probe = probe;
    serve(group);
    group_touch(group);
}

bool group_read_agrees(const struct group *group, uint64_t term)
{
    return group->is_started && !group->is_voteless && term == guard_term(&group->guard) &&
           guard_is_voter(&group->guard, group->raft.id);
}
