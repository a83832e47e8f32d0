#include "proto/raft/group.h"

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/raft/configuration.h"
#include "proto/raft/group_impl.h"

#include <inttypes.h>

#define APPLY_MAX 256               /* entries in one call */
#define OPEN_MAX 16384              /* proposals */
#define OPEN_BYTES_MAX (128u << 20) /* of proposals */
#define ENTRY_OVERHEAD_BYTES 128    /* of memory, beside its content */
#define STREAM_PATIENCE 8           /* times snapshot_bytes, while a follower is sent the state */
#define HINT_STAGGER_US 15000u
#define HINT_AGAIN_US 250000u

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
    group->is_inside = false;
    if (raft_state_of(group) != RAFT_LEADER)
        tell_role(group, group_role(group), group_leader(group));
    if (has_lost) {
        fail_in_flight(group);
        fail_queued(group);
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

/* ---- hints ---- */

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
    if (raft_state_of(group) != RAFT_FOLLOWER || group_leader(group) != peer ||
        group->is_voteless || !guard_is_voter(&group->guard, group->raft.id))
        return;
    group->hint_peer = peer;
    group->hint_term = guard_term(&group->guard);
    group->hint_at_us =
        env_now_us(group->host->env) + rank_of(group, peer) * (uint64_t)HINT_STAGGER_US;
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
    if (raft_state_of(group) == RAFT_FOLLOWER)
        return;
    group->host->stats.hints_taken++;
    group->host->stats.elections_started++;
    log_debug("group.hint group=%" PRIu64 " leader=%" PRIu64 " term=%" PRIu64, group->id,
              group->hint_peer, guard_term(&group->guard));
    group->hint_peer = 0;
}

void group_check_hint(struct group *group)
{
    uint64_t now = env_now_us(group->host->env);

    if (group->hint_peer == 0)
        return;
    if (raft_state_of(group) != RAFT_FOLLOWER || group_leader(group) != group->hint_peer ||
        group->host->is_draining || group_is_connected(group, group->hint_peer)) {
        group->hint_peer = 0;
        return;
    }
    if (guard_term(&group->guard) > group->hint_term &&
        guard_has_voted_for_other(&group->guard)) { /* someone else stands: let it win */
        group->hint_term = guard_term(&group->guard);
        group->hint_at_us = now + HINT_AGAIN_US;
    }
    if (now < group->hint_at_us || group_io_is_appending(group) || !list_is_empty(&group->held) ||
        group->put.is_active)
        return;
    stand(group);
}

/* ---- life ---- */

void group_touch(struct group *group)
{
    host_touch(group->host);
}

void group_turn(struct group *group)
{
    tell_failed(group);
    append_queued(group);
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
    list_init(&group->queued);
    list_init(&group->in_flight);
    list_init(&group->failed);
    list_init(&group->reads_new);
    list_init(&group->reads);
    list_init(&group->reads_failed);
    list_init(&group->changes_refused);
    list_init(&group->streams);
    group->fsm = (struct raft_fsm){
        .version = 1,
        .data = group,
        .apply = fsm_apply,
        .snapshot = fsm_snapshot,
        .restore = fsm_restore,
    };
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
    raft_close(&group->raft, raft_on_closed); /* ends before it returns, see io_close */
    guard_close(&group->guard);
    group_change_close(group);
    for (size_t i = 0; i < group->queued_count; i++)
        raft_free(group->queued_bytes[i].base);
    free(group->queued_bytes);
    free(group);
}

void group_doom(struct group *group)
{
    group->is_doomed = true;
    group_io_detach(group);
    group->is_leading = false;
    tell_failed(group);
    fail_in_flight(group);
    fail_queued(group);
    group_read_lost(group);
    group_read_turn(group);
    group_change_answer(group);
}
