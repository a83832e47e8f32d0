#include "proto/raft/guard.h"

#include "proto/base/check.h"
#include "proto/raft/configuration.h"
#include "proto/raft/group.h"

/* libraft's own states of a leader's view of a follower (its progress.h). */
enum { PROGRESS_PROBE, PROGRESS_PIPELINE, PROGRESS_SNAPSHOT };

static bool is_on(const struct guard *guard, enum guard_bit bit)
{
    return (guard->disabled & bit) == 0;
}

void guard_init(struct guard *guard, struct raft *raft, uint64_t disabled)
{
    *guard = (struct guard){.raft = raft, .disabled = disabled};
}

void guard_close(struct guard *guard)
{
    raft_free(guard->committed.base);
    guard->committed.base = NULL;
}

/* ---- looking into the core ---- */

uint64_t guard_term(const struct guard *guard)
{
    return guard->raft->current_term;
}

uint64_t guard_committed(const struct guard *guard)
{
    return guard->raft->commit_index;
}

static size_t entry_count(const struct raft_log *log)
{
    return log->front <= log->back ? log->back - log->front : log->size - log->front + log->back;
}

const struct raft_entry *guard_entry(const struct guard *guard, uint64_t index)
{
    const struct raft_log *log = &guard->raft->log;

    if (index <= log->offset || index > log->offset + entry_count(log))
        return NULL;
    return &log->entries[(log->front + (size_t)(index - log->offset - 1)) % log->size];
}

uint64_t guard_term_of(const struct guard *guard, uint64_t index)
{
    const struct raft_log *log = &guard->raft->log;
    const struct raft_entry *entry = guard_entry(guard, index);

    if (entry != NULL)
        return entry->term;
    return index > 0 && index == log->snapshot.last_index ? log->snapshot.last_term : 0;
}

bool guard_is_transferring(const struct guard *guard)
{
    return guard->raft->transfer != NULL;
}

bool guard_has_voted_for_other(const struct guard *guard)
{
    return guard->raft->voted_for != 0 && guard->raft->voted_for != guard->raft->id;
}

const struct raft_configuration *guard_configuration(const struct guard *guard)
{
    return &guard->raft->configuration;
}

bool guard_configuration_is_committed(const struct guard *guard)
{
    return guard->raft->configuration_uncommitted_index == 0 &&
           guard->raft->configuration_index > 0;
}

bool guard_is_voter(const struct guard *guard, uint64_t id)
{
    const struct raft_server *server = configuration_find(&guard->raft->configuration, id);

    return server != NULL && server->role == RAFT_VOTER;
}

/* ---- the committed configuration ---- */

static void note_configuration(struct guard *guard, uint64_t index, struct slice bytes)
{
    void *copy = raft_malloc(bytes.size);

    CHECK(copy != NULL);
    memcpy(copy, bytes.data, bytes.size);
    raft_free(guard->committed.base);
    guard->committed = (struct raft_buffer){copy, bytes.size};
    guard->committed_index = index;
}

static void note_entry(struct guard *guard, uint64_t index)
{
    const struct raft_entry *entry = guard_entry(guard, index);

    CHECK(entry != NULL && entry->type == RAFT_CHANGE);
    note_configuration(guard, index, slice_of(entry->buf.base, entry->buf.len));
}

void guard_on_started(struct guard *guard, uint64_t snapshot_index, uint64_t configuration_index,
                      struct slice configuration)
{
    struct raft *raft = guard->raft;
    uint64_t certain = snapshot_index > 0 ? snapshot_index : 1; /* committed up to here */
    uint64_t end = raft->log.offset + entry_count(&raft->log);

    if (raft->last_applied > certain)
        certain = raft->last_applied;
    if (snapshot_index > 0)
        note_configuration(guard, configuration_index, configuration);
    for (uint64_t index = raft->log.offset + 1; index <= end; index++) {
        if (guard_entry(guard, index)->type != RAFT_CHANGE)
            continue;
        if (index > certain)
            raft->configuration_uncommitted_index = index;
        else if (index > guard->committed_index)
            note_entry(guard, index);
    }
    raft->configuration_index = guard->committed_index;
}

/* Entries from `index` on are about to go: the last configuration before them counts again. The
 * core would look for the committed one in its log, which may not hold it any more. */
static void roll_back_configuration(struct guard *guard, uint64_t index)
{
    struct raft *raft = guard->raft;
    struct slice bytes = slice_of(guard->committed.base, guard->committed.len);
    struct raft_configuration configuration;

    raft->configuration_uncommitted_index = 0;
    while (--index > guard->committed_index) {
        const struct raft_entry *entry = guard_entry(guard, index);

        if (entry == NULL || entry->type != RAFT_CHANGE)
            continue;
        bytes = slice_of(entry->buf.base, entry->buf.len);
        raft->configuration_uncommitted_index = index;
        break;
    }
    CHECK(configuration_read(bytes, &configuration) == OK);
    raft_configuration_close(&raft->configuration);
    raft->configuration = configuration;
}

/* Will this message make the core drop an uncommitted configuration? */
static void before_truncation(struct guard *guard, const struct raft_append_entries *append)
{
    struct raft *raft = guard->raft;

    if (raft->configuration_uncommitted_index == 0 || append->term < raft->current_term)
        return;
    if (append->prev_log_index > 0 &&
        guard_term_of(guard, append->prev_log_index) != append->prev_log_term)
        return;
    for (unsigned i = 0; i < append->n_entries; i++) {
        uint64_t index = append->prev_log_index + 1 + i;
        uint64_t term = guard_term_of(guard, index);

        if (term == 0 || index > raft->configuration_uncommitted_index)
            return;
        if (term != append->entries[i].term) {
            roll_back_configuration(guard, index);
            return;
        }
    }
}

void guard_after_call(struct guard *guard)
{
    struct raft *raft = guard->raft;

    if (raft->configuration_index == guard->committed_index)
        return;
    if (raft->configuration_uncommitted_index == 0) {
        struct buffer bytes = BUFFER_INIT(CONFIGURATION_BYTES_MAX);

        configuration_put(&bytes, &raft->configuration);
        note_configuration(guard, raft->configuration_index, buffer_slice(&bytes));
        buffer_close(&bytes);
    } else {
        note_entry(guard, raft->configuration_index);
    }
}

/* ---- what a majority stores ---- */

static bool is_counted(const struct guard *guard, uint64_t peer)
{
    for (size_t i = 0; i < guard->uncounted_count; i++)
        if (guard->uncounted[i] == peer)
            return false;
    return true;
}

void guard_set_counted(struct guard *guard, uint64_t peer, bool is_counted_now)
{
    size_t i = 0;

    if (is_counted(guard, peer) == is_counted_now)
        return;
    if (!is_counted_now) {
        CHECK(guard->uncounted_count < GUARD_UNCOUNTED_MAX);
        guard->uncounted[guard->uncounted_count++] = peer;
        return;
    }
    while (guard->uncounted[i] != peer)
        i++;
    guard->uncounted[i] = guard->uncounted[--guard->uncounted_count];
}

static struct raft_progress *progress_of(const struct guard *guard, uint64_t peer)
{
    const struct raft *raft = guard->raft;

    if (raft->state != RAFT_LEADER)
        return NULL;
    for (unsigned i = 0; i < raft->configuration.n; i++)
        if (raft->configuration.servers[i].id == peer)
            return &raft->leader_state.progress[i];
    return NULL;
}

/* The core counts every voter's match_index. */
static void hide_uncounted(struct guard *guard)
{
    guard->is_hiding = true;
    for (size_t i = 0; i < guard->uncounted_count; i++) {
        struct raft_progress *progress = progress_of(guard, guard->uncounted[i]);

        guard->hidden[i] = progress != NULL ? progress->match_index : 0;
        if (progress != NULL)
            progress->match_index = 0;
    }
}

static void show_uncounted(struct guard *guard)
{
    for (size_t i = 0; guard->is_hiding && i < guard->uncounted_count; i++) {
        struct raft_progress *progress = progress_of(guard, guard->uncounted[i]);

        if (progress != NULL)
            progress->match_index = guard->hidden[i];
    }
    guard->is_hiding = false;
}

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

/* The highest index that a majority stores, if `who` stores up to `stored`. */
static uint64_t majority_index(const struct guard *guard, uint64_t who, uint64_t stored)
{
    const struct raft *raft = guard->raft;
    uint64_t matches[GROUP_MEMBERS_MAX];
    size_t count = 0;

    for (unsigned i = 0; i < raft->configuration.n; i++) {
        const struct raft_server *server = &raft->configuration.servers[i];
        uint64_t match = raft->leader_state.progress[i].match_index;

        if (server->role != RAFT_VOTER)
            continue;
        if (!is_counted(guard, server->id))
            match = 0;
        else if (server->id == who && match < stored)
            match = stored;
        matches[count++] = match;
    }
    if (count == 0)
        return 0;
    qsort(matches, count, sizeof(matches[0]), by_value);
    return matches[(count - 1) / 2];
}

/* The core tests for a majority at its last_stored only: lower that to where one may be. */
static void lower_stored(struct guard *guard, const struct raft_message *message)
{
    struct raft *raft = guard->raft;
    const struct raft_append_entries_result *result = &message->append_entries_result;
    uint64_t target = raft->last_stored;

    if (raft->state != RAFT_LEADER || result->term != raft->current_term)
        return;
    if (!is_counted(guard, message->server_id))
        target = raft->commit_index;
    else
        hide_uncounted(guard);
    if (is_on(guard, GUARD_COMMIT_STALL)) {
        uint64_t acked = result->rejected == 0 ? result->last_log_index : 0;
        uint64_t majority = majority_index(guard, message->server_id, acked);

        if (majority < target)
            target = majority;
    }
    if (is_on(guard, GUARD_OWN_TERM_COMMIT) && target < guard->own_first)
        target = raft->commit_index;
    guard->stored = raft->last_stored;
    guard->is_lowered = true;
    raft->last_stored = target;
}

void guard_before_stored(struct guard *guard, uint64_t last)
{
    struct raft *raft = guard->raft;
    uint64_t majority;

    if (raft->state != RAFT_LEADER)
        return;
    hide_uncounted(guard);
    if (last == 0 || !is_on(guard, GUARD_COMMIT_STALL))
        return;
    majority = majority_index(guard, raft->id, last);
    if (is_on(guard, GUARD_OWN_TERM_COMMIT) && majority < guard->own_first)
        return;
    if (majority > raft->commit_index && majority <= last)
        raft->commit_index = majority; /* the core applies it when told of `last` */
}

void guard_after_stored(struct guard *guard)
{
    show_uncounted(guard);
}

/* The core ends a transfer when its target leads or when time is up; one whose target stood and
 * fell would outlive our own next election, and no entry could be appended. */
static void end_transfer(struct raft *raft)
{
    struct raft_transfer *transfer = raft->transfer;

    if (transfer == NULL)
        return;
    raft->transfer = NULL;
    if (transfer->cb != NULL)
        transfer->cb(transfer);
}

void guard_on_leader(struct guard *guard, uint64_t applied)
{
    struct raft *raft = guard->raft;

    end_transfer(raft);
    guard->own_first = raft_last_index(raft) + 1;
    if (raft->commit_index < applied && applied < guard->own_first)
        raft->commit_index = applied;
}

/* ---- receiving ---- */

bool guard_holds(const struct guard *guard, unsigned type, uint64_t term, bool is_appending)
{
    if (!is_appending || !is_on(guard, GUARD_PERSISTED_VOTE))
        return false;
    switch (type) {
    case RAFT_IO_REQUEST_VOTE:
    case RAFT_IO_TIMEOUT_NOW:
    case RAFT_IO_INSTALL_SNAPSHOT: /* drops the log under the append */
        return true;
    case RAFT_IO_APPEND_ENTRIES:
        return term != guard->raft->current_term;
    default:
        return false;
    }
}

bool guard_holds_tick(const struct guard *guard, bool is_appending)
{
    return is_appending && is_on(guard, GUARD_PERSISTED_VOTE) &&
           guard->raft->state == RAFT_FOLLOWER;
}

static struct raft_server *own_server(const struct guard *guard)
{
    struct raft *raft = guard->raft;

    for (unsigned i = 0; i < raft->configuration.n; i++)
        if (raft->configuration.servers[i].id == raft->id)
            return &raft->configuration.servers[i];
    return NULL;
}

/* The core lets only voters forget a leader that is silent. */
void guard_before_tick(struct guard *guard)
{
    struct raft *raft = guard->raft;
    const struct raft_server *own = own_server(guard);

    if (raft->state == RAFT_FOLLOWER && (own == NULL || own->role != RAFT_VOTER) &&
        raft->io->time(raft->io) - raft->election_timer_start >=
            raft->follower_state.randomized_election_timeout)
        raft->follower_state.current_leader.id = 0;
}

/* Only voters are asked: the candidate has a configuration that we have not got yet. */
static void lend_vote(struct guard *guard)
{
    struct raft_server *own = own_server(guard);

    if (own == NULL || own->role == RAFT_VOTER)
        return;
    guard->lent_vote = own;
    guard->role_before = own->role;
    own->role = RAFT_VOTER;
}

static void offer(struct guard *guard, uint64_t term, uint64_t index)
{
    guard->offered = 0;
    if (term < guard->raft->current_term)
        return;
    if (term != guard->accepted_term) {
        guard->accepted_term = term;
        guard->accepted = 0;
    }
    guard->offered = index;
}

static void accept_offer(struct guard *guard)
{
    if (guard->offered > guard->accepted)
        guard->accepted = guard->offered;
}

/* What a snapshot of ours covers is equal on every leader. The core, whose log begins later, would
 * append it all once more behind its end, or refuse a leader that probes there for ever. */
static void skip_covered(const struct guard *guard, struct raft_append_entries *append)
{
    uint64_t covered = guard->raft->log.snapshot.last_index;
    uint64_t skip = append->n_entries;

    if (append->term < guard->raft->current_term || append->prev_log_index >= covered)
        return;
    if (skip > covered - append->prev_log_index)
        skip = covered - append->prev_log_index;
    if (skip > 0) {
        append->prev_log_index += skip;
        append->prev_log_term = append->entries[skip - 1].term;
        append->n_entries -= (unsigned)skip;
    }
    if (append->n_entries > 0) {
        memmove(append->entries, append->entries + skip,
                append->n_entries * sizeof(*append->entries));
    } else if (skip > 0) {
        raft_free(append->entries[0].batch);
        raft_free(append->entries);
        append->entries = NULL;
    }
    if (guard_term_of(guard, append->prev_log_index) == 0)
        append->prev_log_index = append->prev_log_term = 0; /* which matches always */
}

void guard_before_receive(struct guard *guard, struct raft_message *message)
{
    struct raft_append_entries *append = &message->append_entries;

    guard->is_receiving = true;
    guard->has_appended = false;
    guard->offered = 0;
    switch (message->type) {
    case RAFT_IO_APPEND_ENTRIES: {
        uint64_t top = append->prev_log_index + append->n_entries;

        offer(guard, append->term, top);
        if (is_on(guard, GUARD_COMMIT_CLAMP) && append->leader_commit > top)
            append->leader_commit = top;
        skip_covered(guard, append);
        before_truncation(guard, append);
        break;
    }
    case RAFT_IO_INSTALL_SNAPSHOT:
        offer(guard, message->install_snapshot.term, message->install_snapshot.last_index);
        break;
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        lower_stored(guard, message);
        break;
    case RAFT_IO_REQUEST_VOTE:
        lend_vote(guard);
        break;
    default:
        break;
    }
}

void guard_after_receive(struct guard *guard)
{
    guard->is_receiving = false;
    show_uncounted(guard);
    if (guard->has_appended)
        accept_offer(guard);
    if (guard->is_lowered)
        guard->raft->last_stored = guard->stored;
    guard->is_lowered = false;
    if (guard->lent_vote != NULL)
        guard->lent_vote->role = guard->role_before;
    guard->lent_vote = NULL;
}

void guard_on_append(struct guard *guard)
{
    guard->has_appended = true;
}

void guard_before_installed(struct guard *guard, uint64_t index)
{
    if (guard->accepted < index)
        guard->accepted = index;
}

void guard_after_installed(struct guard *guard)
{
    guard->raft->configuration_uncommitted_index = 0;
}

/* ---- sending ---- */

static void correct_result(struct guard *guard, struct raft_append_entries_result *result)
{
    if (result->rejected == 0) {
        if (guard->is_receiving)
            accept_offer(guard);
        if (is_on(guard, GUARD_ACK_CLAMP) && result->last_log_index > guard->accepted)
            result->last_log_index = guard->accepted;
    } else if (is_on(guard, GUARD_CONFLICT_HINT) && result->last_log_index >= result->rejected) {
        uint64_t hint = guard->raft->commit_index;

        result->last_log_index = hint < result->rejected ? hint : result->rejected - 1;
    }
}

void guard_on_send(struct guard *guard, struct raft_message *message, uint64_t stored)
{
    switch (message->type) {
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        correct_result(guard, &message->append_entries_result);
        break;
    case RAFT_IO_REQUEST_VOTE:
        if (is_on(guard, GUARD_PERSISTED_VOTE)) {
            message->request_vote.last_log_index = stored;
            message->request_vote.last_log_term = guard_term_of(guard, stored);
        }
        break;
    case RAFT_IO_REQUEST_VOTE_RESULT: {
        struct raft_request_vote_result *result = &message->request_vote_result;

        if (is_on(guard, GUARD_PREVOTE_TERM) && result->pre_vote == raft_tribool_true &&
            !result->vote_granted && result->term < guard->raft->current_term)
            result->term = guard->raft->current_term;
        break;
    }
    default:
        break;
    }
}

/* ---- steering ---- */

void guard_set_snapshot(struct guard *guard, unsigned threshold, unsigned trailing)
{
    guard->raft->snapshot.threshold = threshold;
    guard->raft->snapshot.trailing = trailing;
}

uint64_t guard_match(const struct guard *guard, uint64_t peer)
{
    const struct raft_progress *progress = progress_of(guard, peer);

    return progress != NULL ? progress->match_index : 0;
}

static bool is_in_state(const struct guard *guard, uint64_t peer, unsigned short state)
{
    const struct raft_progress *progress = progress_of(guard, peer);

    return progress != NULL && progress->state == state;
}

bool guard_is_probing(const struct guard *guard, uint64_t peer)
{
    return is_in_state(guard, peer, PROGRESS_PROBE);
}

bool guard_is_pipelining(const struct guard *guard, uint64_t peer)
{
    return is_in_state(guard, peer, PROGRESS_PIPELINE);
}

bool guard_is_snapshotting(const struct guard *guard, uint64_t peer)
{
    return is_in_state(guard, peer, PROGRESS_SNAPSHOT);
}

void guard_snapshot_goes_on(struct guard *guard, uint64_t peer)
{
    if (guard_is_snapshotting(guard, peer))
        progress_of(guard, peer)->snapshot_last_send = guard->raft->io->time(guard->raft->io);
}

void guard_snapshot_sent(struct guard *guard, uint64_t peer, uint64_t index)
{
    if (guard_is_snapshotting(guard, peer))
        progress_of(guard, peer)->snapshot_index = index;
}

void guard_snapshot_lost(struct guard *guard, uint64_t peer)
{
    struct raft_progress *progress = progress_of(guard, peer);

    if (progress == NULL || progress->state != PROGRESS_SNAPSHOT)
        return;
    progress->state = PROGRESS_PROBE;
    progress->snapshot_index = 0;
}

void guard_log_lost(struct guard *guard, uint64_t peer, uint64_t rejected)
{
    struct raft_progress *progress = progress_of(guard, peer);

    if (progress == NULL || progress->state == PROGRESS_SNAPSHOT || progress->match_index == 0)
        return;
    progress->state = PROGRESS_PROBE;
    progress->match_index = 0;
    progress->next_index = rejected + 1; /* so that the core takes the rejection seriously */
}
