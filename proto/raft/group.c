#include "proto/raft/group.h"

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/raft/configuration.h"
#include "proto/raft/group_impl.h"

#include <inttypes.h>

/* ---- asking ---- */

uint64_t group_id(const struct group *group)
{
    return group->id;
}

static int raft_state_of(const struct group *group)
{
    return group->raft.state;
}

enum group_role group_role(const struct group *group)
{
    switch (raft_state_of(group)) {
    case RAFT_LEADER:
        return GROUP_LEADER;
    case RAFT_CANDIDATE:
        return GROUP_CANDIDATE;
    default:
        return GROUP_FOLLOWER;
    }
}

bool group_is_leader(const struct group *group)
{
    return group->is_leading;
}

uint64_t group_leader(const struct group *group)
{
    raft_id id;
    const char *address;

    raft_leader((struct raft *)(uintptr_t)&group->raft, &id, &address); /* changes nothing */
    return id;
}

uint64_t group_term(const struct group *group)
{
    return guard_term(&group->guard);
}

static uint64_t core_applied(const struct group *group)
{
    return raft_last_applied((struct raft *)(uintptr_t)&group->raft);
}

uint64_t group_applied(const struct group *group)
{
    uint64_t applied = core_applied(group);

    return applied > group->skip ? applied : group->skip;
}

uint64_t group_committed(const struct group *group)
{
    return guard_committed(&group->guard);
}

uint64_t group_last(const struct group *group)
{
    return raft_last_index((struct raft *)(uintptr_t)&group->raft);
}

bool group_has_vote(const struct group *group)
{
    return group->is_started && !group->is_voteless;
}

size_t group_members(const struct group *group, struct group_member members[GROUP_MEMBERS_MAX])
{
    const struct raft_configuration *configuration = guard_configuration(&group->guard);
    size_t count = 0;

    for (unsigned i = 0; i < configuration->n && count < GROUP_MEMBERS_MAX; i++) {
        const struct raft_server *server = &configuration->servers[i];

        members[count++] = (struct group_member){
            .id = server->id,
            .is_voter = server->role == RAFT_VOTER,
            .match_index = guard_match(&group->guard, server->id),
        };
    }
    return count;
}

bool group_is_connected(const struct group *group, uint64_t peer)
{
    struct env *env = group->host->env;

    return env->link->is_up(env, peer);
}

/* ---- roles ---- */

static void tell_role(struct group *group, enum group_role role, uint64_t leader)
{
    uint64_t term = guard_term(&group->guard);

    if (group->is_closing ||
        (role == group->role_told && term == group->term_told && leader == group->leader_told))
        return;
    group->role_told = role;
    group->term_told = term;
    group->leader_told = leader;
    group->machine.on_role(group->machine.user, role, term, leader);
}

static void barrier_on_applied(struct raft_barrier *barrier, int status)
{
    struct group *group = barrier->data;

    free(barrier);
    if (status != 0 || group->is_closing || group->is_doomed)
        return;
    group->is_leading = true;
    tell_role(group, GROUP_LEADER, group->raft.id);
}

/* ---- calling libraft ---- */

void group_enter(struct group *group)
{
    CHECK(!group->is_inside && !group->is_closing);
    group->is_inside = true;
}

/* A new leader commits nothing of older terms before an entry of its own. */
static void begin_leading(struct group *group)
{
    struct raft_barrier *barrier = check_calloc(1, sizeof(*barrier));

    group->is_raft_leader = true;
    group_rejoin_clear(group);
    barrier->data = group;
    guard_on_leader(&group->guard, group->skip);
    CHECK(raft_barrier(&group->raft, barrier, barrier_on_applied) == 0);
    group_io_drain_sent(group);
}

static void end_leading(struct group *group)
{
    group->is_raft_leader = false;
    group->is_leading = false;
    group_announce_stop(group);
    group_rejoin_clear(group);
    snapshot_stream_sweep(group);
    group_io_drain_sent(group);
}

void group_leave(struct group *group)
{
    bool was_leader = group->is_raft_leader;
    bool is_leader;
    bool has_lost;

    CHECK(group->is_inside);
    group_io_drain_sent(group);
    if (raft_state_of(group) == RAFT_UNAVAILABLE && !group->is_closing) {
        group_fatal(group, ERR_INTERNAL, raft_errmsg(&group->raft));
        group->is_inside = false;
        return;
    }
    is_leader = raft_state_of(group) == RAFT_LEADER;
    has_lost = was_leader && (!is_leader || guard_term(&group->guard) != group->leading_term);
    if (has_lost)
        end_leading(group);
    if (is_leader && !group->is_raft_leader) {
        group->leading_term = guard_term(&group->guard);
        begin_leading(group);
    }
    guard_after_call(&group->guard);
    group_rejoin_check(group);
    group_announce_check(group);
    group->is_inside = false;
    if (raft_state_of(group) != RAFT_LEADER)
        tell_role(group, group_role(group), group_leader(group));
    if (has_lost) {
        group_propose_lost(group);
        group_read_lost(group);
    }
}

void group_fatal(struct group *group, enum error rc, const char *why)
{
    struct host *host = group->host;

    log_error("group.fatal group=%" PRIu64 " error=%s why=%s", group->id, error_name(rc), why);
    if (host->has_failed)
        return;
    host->has_failed = true;
    host->options.on_fatal(host->options.user, rc, why);
}

void group_tick(struct group *group, bool is_heartbeat)
{
    bool is_leader = raft_state_of(group) == RAFT_LEADER;
    bool is_passive = group->is_voteless || group->host->is_draining;

    if (group->put.is_active && group->put.is_install)
        return;
    if (is_leader ? is_heartbeat
                  : (!is_passive || guard_is_transferring(&group->guard)) &&
                        !guard_holds_tick(&group->guard, group_io_is_appending(group))) {
        bool was_candidate = raft_state_of(group) == RAFT_CANDIDATE;

        group_enter(group);
        guard_before_tick(&group->guard);
        group->core_tick(&group->io);
        group_leave(group);
        if (!was_candidate && raft_state_of(group) == RAFT_CANDIDATE)
            group->host->stats.elections_started++;
    }
    snapshot_stream_tick(group);
    group_read_tick(group);
    if (group->is_voteless) {
        group_enter(group);
        group_leave(group); /* only time may have been missing */
    }
    if (group->is_leading && group->follower_count > 0)
        group_touch(group);
    if (group->change != NULL)
        group_touch(group);
}

/* ---- life ---- */

void group_touch(struct group *group)
{
    host_touch(group->host);
}

void group_turn(struct group *group)
{
    group_propose_turn(group);
    group_read_turn(group);
    group_change_turn(group);
    group_rejoin_turn(group);
    snapshot_stream_tick(group);
}

void group_init(struct group *group, struct host *host, const struct group_options *options)
{
    group->host = host;
    group->id = options->id;
    group->machine = options->machine;
    list_init(&group->link);
    list_init(&group->reads_new);
    list_init(&group->reads);
    list_init(&group->reads_failed);
    list_init(&group->changes_refused);
    list_init(&group->streams);
    group_propose_init(group);
    group_io_init(group);
}

void group_run(struct group *group)
{
    struct host *host = group->host;
    const struct host_options *options = &host->options;
    const struct journal_state *state = &group->at_start;
    char address[CONFIGURATION_ADDRESS_BYTES];
    uint64_t configuration_index = 0;
    struct slice configuration = {0};

    configuration_address(env_self(host->env), address);
    CHECK(raft_init(&group->raft, &group->io, &group->fsm, env_self(host->env), address) == 0);
    guard_init(&group->guard, &group->raft, options->disable_guards);
    guard_set_snapshot(&group->guard, options->snapshot_entries, options->trailing_entries);
    raft_set_election_timeout(&group->raft, options->election_ms);
    /* Ticks of a leader come once in heartbeat_ms; a late one must not make it skip the next. */
    raft_set_heartbeat_timeout(&group->raft, options->heartbeat_ms * 3 / 4);
    raft_set_install_snapshot_timeout(&group->raft, options->election_ms * 10);
    raft_set_pre_vote(&group->raft, true);
    raft_set_max_catch_up_rounds(&group->raft, 100);
    raft_set_max_catch_up_round_duration(&group->raft, 50000);
    if (state->mark_index > 0) {
        uint64_t state_index;

        CHECK(group_put_read(state->mark_data, &state_index, &configuration_index,
                             &configuration) == OK);
    }
    group->started_us = env_now_us(host->env);
    group_enter(group);
    CHECK(raft_start(&group->raft) == 0);
    guard_on_started(&group->guard, state->mark_index, configuration_index, configuration);
    group->is_started = true;
    group->role_told = GROUP_FOLLOWER;
    group_leave(group);
}

static void raft_on_closed(struct raft *raft)
{
    (void)raft;
}

void group_free(struct group *group)
{
    group->is_closing = true;
    group_announce_stop(group);
    raft_close(&group->raft, raft_on_closed); /* ends before it returns, see io_close */
    guard_close(&group->guard);
    group_change_close(group);
    group_propose_close(group);
    group_receive_close(group);
    free(group);
}

void group_doom(struct group *group)
{
    group->is_doomed = true;
    group_announce_stop(group);
    group_io_detach(group);
    group->is_leading = false;
    group_propose_answer(group);
    group_read_lost(group);
    group_read_turn(group);
    group_change_answer(group);
}
