/* Leadership transfer and membership, one change at a time.
 *
 *   add:     [spare ->] standby -> catches up -> voter     goes on from wherever an earlier
 *                                                          attempt, also another leader's, ended
 *   remove:  one step; a leader that is to go hands leadership away instead, and the next leader
 *            is asked again
 *   transfer: libraft waits for the target to catch up, then tells it to stand
 *
 * Each step is one of libraft's requests; its callback notes the result, the end of the turn goes
 * on. A step begins only while a majority of what will be the voters is connected. */

#include "proto/base/check.h"
#include "proto/raft/configuration.h"
#include "proto/raft/group_impl.h"

enum kind { CHANGE_TRANSFER, CHANGE_ADD, CHANGE_REMOVE };

enum state { CHANGE_NEXT, CHANGE_WAITING, CHANGE_DONE };

struct change {
    struct list link; /* in group.changes_refused */
    struct group *group;
    struct group_change *asked; /* NULL: nobody waits for it */
    enum kind kind;
    enum state state;
    uint64_t peer;
    uint64_t until_us; /* to begin the next step */
    enum error rc;
    struct raft_change request;
    struct raft_transfer transfer;
};

static enum error error_from_raft(int status)
{
    switch (status) {
    case 0:
        return OK;
    case RAFT_NOTLEADER:
        return ERR_NOT_LEADER;
    case RAFT_LEADERSHIPLOST:
    case RAFT_SHUTDOWN:
    case RAFT_CANCELED:
        return ERR_LOST;
    case RAFT_NOCONNECTION:
        return ERR_TIMEOUT; /* too slow to catch up */
    default:
        return ERR_CONFLICT;
    }
}

static void note(struct change *change, enum state state, enum error rc)
{
    change->state = state;
    change->rc = rc;
    group_touch(change->group);
}

static void on_changed(struct raft_change *request, int status)
{
    struct change *change = container_of(request, struct change, request);
    enum error rc = error_from_raft(status);

    if (rc != OK || change->kind == CHANGE_REMOVE)
        note(change, CHANGE_DONE, rc);
    else
        note(change, CHANGE_NEXT, OK);
}

/* libraft does not say how it ended, but the state does. */
static void on_transferred(struct raft_transfer *request)
{
    note(container_of(request, struct change, transfer), CHANGE_DONE, OK);
}

/* ---- steps ---- */

static bool majority_is_connected(const struct group *group, uint64_t added, uint64_t removed)
{
    const struct raft_configuration *configuration = guard_configuration(&group->guard);
    unsigned voters = 0;
    unsigned connected = 0;

    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];

        if ((server->role != RAFT_VOTER && server->id != added) || server->id == removed)
            continue;
        voters++;
        connected += server->id == group->raft.id || group_is_connected(group, server->id);
    }
    return connected > voters / 2;
}

static uint64_t best_target(const struct group *group)
{
    const struct raft_configuration *configuration = guard_configuration(&group->guard);
    uint64_t best = 0;

    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];

        if (server->role != RAFT_VOTER || server->id == group->raft.id ||
            !group_is_connected(group, server->id))
            continue;
        if (best == 0 || guard_match(&group->guard, server->id) > guard_match(&group->guard, best))
            best = server->id;
    }
    return best;
}

static void begin_transfer(struct change *change)
{
    struct group *group = change->group;
    uint64_t target =
        change->kind == CHANGE_TRANSFER && change->peer != 0 ? change->peer : best_target(group);
    int status;

    if (target == 0 || !guard_is_voter(&group->guard, target)) {
        note(change, CHANGE_DONE, target == 0 ? ERR_UNREACHABLE : ERR_INVALID);
        return;
    }
    change->state = CHANGE_WAITING;
    status = raft_transfer(&group->raft, &change->transfer, target, on_transferred);
    if (status != 0)
        note(change, CHANGE_DONE, error_from_raft(status));
}

static void begin_add(struct change *change)
{
    struct group *group = change->group;
    const struct raft_server *server =
        configuration_find(guard_configuration(&group->guard), change->peer);
    char address[CONFIGURATION_ADDRESS_BYTES];
    int status;

    change->state = CHANGE_WAITING;
    if (server == NULL) {
        if (guard_configuration(&group->guard)->n >= GROUP_MEMBERS_MAX) {
            note(change, CHANGE_DONE, ERR_NO_CAPACITY);
            return;
        }
        configuration_address(change->peer, address);
        status = raft_add(&group->raft, &change->request, change->peer, address, on_changed);
    } else if (server->role == RAFT_SPARE) {
        status =
            raft_assign(&group->raft, &change->request, change->peer, RAFT_STANDBY, on_changed);
    } else if (server->role == RAFT_STANDBY) {
        status = raft_assign(&group->raft, &change->request, change->peer, RAFT_VOTER, on_changed);
    } else {
        note(change, CHANGE_DONE, OK);
        return;
    }
    if (status != 0)
        note(change, CHANGE_DONE, error_from_raft(status));
}

static void begin_remove(struct change *change)
{
    struct group *group = change->group;
    int status;

    if (configuration_find(guard_configuration(&group->guard), change->peer) == NULL) {
        note(change, CHANGE_DONE, OK);
        return;
    }
    if (change->peer == group->raft.id) {
        begin_transfer(change);
        return;
    }
    change->state = CHANGE_WAITING;
    status = raft_remove(&group->raft, &change->request, change->peer, on_changed);
    if (status != 0)
        note(change, CHANGE_DONE, error_from_raft(status));
}

/* A new member gets its vote before it becomes a voter: then it counts from the first moment. */
static bool may_promote(struct change *change)
{
    struct group *group = change->group;
    const struct raft_server *server =
        configuration_find(guard_configuration(&group->guard), change->peer);

    if (server == NULL || server->role != RAFT_STANDBY ||
        group_rejoin_has_vote(group, change->peer))
        return true;
    if (group_is_connected(group, change->peer)) /* it fetches the state, perhaps */
        change->until_us =
            env_now_us(group->host->env) + (uint64_t)group->host->options.election_ms * 1000;
    return false;
}

/* A step must wait for the configuration before to be committed, and for a majority. */
static bool is_ready(struct change *change)
{
    const struct group *group = change->group;

    if (change->kind == CHANGE_TRANSFER)
        return true;
    if (change->kind == CHANGE_ADD && !may_promote(change))
        return false;
    return guard_configuration_is_committed(&group->guard) &&
           majority_is_connected(group, change->kind == CHANGE_ADD ? change->peer : 0,
                                 change->kind == CHANGE_REMOVE ? change->peer : 0);
}

static void begin_step(struct change *change)
{
    struct group *group = change->group;

    if (!group->is_leading) {
        note(change, CHANGE_DONE, ERR_NOT_LEADER);
        return;
    }
    if (guard_is_transferring(&group->guard) || !is_ready(change)) {
        if (env_now_us(group->host->env) > change->until_us)
            note(change, CHANGE_DONE, ERR_UNREACHABLE);
        return; /* the next tick tries again */
    }
    group_enter(group);
    switch (change->kind) {
    case CHANGE_TRANSFER:
        begin_transfer(change);
        break;
    case CHANGE_ADD:
        begin_add(change);
        break;
    case CHANGE_REMOVE:
        begin_remove(change);
        break;
    }
    change->until_us =
        env_now_us(group->host->env) + (uint64_t)group->host->options.election_ms * 1000;
    group_leave(group);
}

static void finish(struct change *change)
{
    struct group *group = change->group;
    struct group_change *asked = change->asked;
    enum error rc = change->rc;
    bool is_leader = raft_state(&group->raft) == RAFT_LEADER;

    if (rc == OK && change->kind == CHANGE_TRANSFER && is_leader)
        rc = ERR_TIMEOUT;
    if (rc == OK && change->kind == CHANGE_REMOVE && change->peer == group->raft.id)
        rc = is_leader ? ERR_TIMEOUT : ERR_NOT_LEADER; /* now the next leader can do it */
    if (group->change == change)
        group->change = NULL;
    free(change);
    if (asked != NULL)
        asked->cb(asked, rc);
}

void group_change_turn(struct group *group)
{
    struct list refused;
    struct list *link;

    list_move(&refused, &group->changes_refused);
    while ((link = list_pop(&refused)) != NULL)
        finish(container_of(link, struct change, link));
    if (group->change != NULL && group->change->state == CHANGE_NEXT)
        begin_step(group->change);
    if (group->change != NULL && group->change->state == CHANGE_DONE)
        finish(group->change);
}

/* ---- asking ---- */

static struct change *change_new(struct group *group, struct group_change *asked, enum kind kind,
                                 uint64_t peer)
{
    struct change *change = check_calloc(1, sizeof(*change));

    change->group = group;
    change->asked = asked;
    change->kind = kind;
    change->peer = peer;
    change->until_us =
        env_now_us(group->host->env) + (uint64_t)group->host->options.election_ms * 1000;
    list_init(&change->link);
    group_touch(group);
    return change;
}

static void ask(struct group *group, struct group_change *asked, enum kind kind, uint64_t peer,
                group_change_cb cb)
{
    struct change *change;

    *asked = (struct group_change){.cb = cb, .peer = peer};
    change = change_new(group, asked, kind, peer);
    if (group->change == NULL && group->is_leading && !group->is_doomed) {
        group->change = change;
        return;
    }
    change->state = CHANGE_DONE;
    change->rc = group->change != NULL && group->is_leading ? ERR_CONFLICT : ERR_NOT_LEADER;
    list_append(&group->changes_refused, &change->link);
}

void group_transfer(struct group *group, struct group_change *change, uint64_t peer,
                    group_change_cb cb)
{
    ask(group, change, CHANGE_TRANSFER, peer, cb);
}

void group_add(struct group *group, struct group_change *change, uint64_t peer, group_change_cb cb)
{
    ask(group, change, CHANGE_ADD, peer, cb);
}

void group_remove(struct group *group, struct group_change *change, uint64_t peer,
                  group_change_cb cb)
{
    ask(group, change, CHANGE_REMOVE, peer, cb);
}

bool group_change_drain(struct group *group)
{
    if (group->change != NULL)
        return true;
    if (best_target(group) == 0)
        return false;
    group->change = change_new(group, NULL, CHANGE_TRANSFER, 0);
    return true;
}

void group_change_close(struct group *group)
{
    struct list *link;

    while ((link = list_pop(&group->changes_refused)) != NULL)
        free(container_of(link, struct change, link));
    free(group->change);
    group->change = NULL;
}

/* The change itself stays until libraft has forgotten it. */
void group_change_answer(struct group *group)
{
    struct group_change *asked = group->change != NULL ? group->change->asked : NULL;
    struct list refused;
    struct list *link;

    list_move(&refused, &group->changes_refused);
    while ((link = list_pop(&refused)) != NULL)
        finish(container_of(link, struct change, link));
    if (asked == NULL)
        return;
    group->change->asked = NULL;
    asked->cb(asked, ERR_LOST);
}
