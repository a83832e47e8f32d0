/* A snapshot mark: the state machine holds all up to an index durably, so the log may forget it.
 *
 *   [install the staged state ->] make durable -> mark in the journal -> tell libraft
 *
 * The mark carries the committed configuration and how far the state itself was: a state that is
 * older when the group starts next has lost something. */

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/raft/configuration.h"
#include "proto/raft/group_impl.h"

#include <inttypes.h>

enum error group_put_read(struct slice data, uint64_t *state_index, uint64_t *configuration_index,
                          struct slice *configuration)
{
    struct reader reader = reader_of(data);
    uint64_t state = reader_u64(&reader);
    uint64_t index = reader_u64(&reader);

    if (!reader.ok || configuration_read(reader.rest, NULL) != OK)
        return ERR_CORRUPT;
    *state_index = state;
    *configuration_index = index;
    *configuration = reader.rest;
    return OK;
}

/* Entries that stayed behind keep old segments in use: write them once more. */
static void rewrite_tail(struct group *group)
{
    struct journal *journal = group->host->journal;
    struct journal_state state;

    if (!journal_find(journal, group->id, &state) || state.last < state.first)
        return;
    journal_append_again_begin(journal, group->id);
    for (uint64_t index = state.first; index <= state.last; index++) {
        const struct raft_entry *entry = guard_entry(&group->guard, index);
        struct journal_entry again;

        CHECK(entry != NULL);
        again = (struct journal_entry){entry->term, (uint8_t)entry->type,
                                       slice_of(entry->buf.base, entry->buf.len)};
        journal_append_again(journal, group->id, index, &again);
    }
}

static void on_marked(struct journal_op *op)
{
    struct group_put *put = container_of(op, struct group_put, op);
    struct group *group = container_of(put, struct group, put);
    struct raft_io_snapshot_put *request = put->request;
    bool is_install = put->is_install;

    put->is_active = false;
    put->request = NULL;
    put->is_install = false;
    if (request == NULL) {
        rewrite_tail(group);
        group_receive_held(group);
        return;
    }
    if (is_install) {
        group->append_next = put->index + 1;
        group->stored = put->index;
        group->skip = put->index;
        guard_before_installed(&group->guard, put->index);
        group->host->stats.snapshots_received++;
        log_debug("group.installed group=%" PRIu64 " index=%" PRIu64, group->id, put->index);
    }
    group_enter(group);
    put->cb(request, 0);
    if (is_install)
        guard_after_installed(&group->guard);
    group_leave(group);
    group_receive_held(group);
}

static void on_durable(struct env_disk_op *op, enum error rc)
{
    struct durable_request *durable = container_of(op, struct durable_request, op);
    struct group *group = durable->group;
    struct group_put *put;

    list_remove(&durable->link);
    free(durable);
    if (group == NULL)
        return; /* forgotten meanwhile */
    put = &group->put;
    put->durable = NULL;
    if (rc != OK) {
        group_fatal(group, rc, "the state could not be made durable");
        return;
    }
    put->op.cb = on_marked;
    if (put->is_install)
        journal_mark_reset(group->host->journal, &put->op, group->id, put->index, put->term,
                           buffer_slice(&put->data));
    else
        journal_mark(group->host->journal, &put->op, group->id, put->index, put->term, put->first,
                     buffer_slice(&put->data));
}

static void make_durable(struct group *group)
{
    struct durable_request *durable = check_calloc(1, sizeof(*durable));

    durable->group = group;
    group->put.durable = durable;
    list_append(&group->host->durable_requests, &durable->link);
    group->machine.make_durable(group->machine.user, &durable->op, on_durable);
}

static void set_data(struct group_put *put, uint64_t state_index, uint64_t configuration_index,
                     struct slice configuration)
{
    buffer_clear(&put->data);
    buffer_put_u64(&put->data, state_index);
    buffer_put_u64(&put->data, configuration_index);
    buffer_put_slice(&put->data, configuration);
}

int group_put_start(struct group *group, unsigned trailing, struct raft_io_snapshot_put *request,
                    const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct group_put *put = &group->put;
    struct buffer configuration = BUFFER_INIT(CONFIGURATION_BYTES_MAX);

    if (put->is_active || group->is_doomed)
        return RAFT_BUSY;
    put->is_active = true;
    put->is_install = trailing == 0; /* our own ones leave one entry at least */
    put->request = request;
    put->cb = cb;
    put->bufs = snapshot->bufs;
    put->index = snapshot->index;
    put->term = snapshot->term;
    put->first = snapshot->index > trailing ? snapshot->index - trailing + 1 : 1;
    if (put->is_install && group->machine.snapshot_install(group->machine.user, put->index) != OK) {
        group_fatal(group, ERR_IO, "a received state could not be installed");
        return 0; /* no answer ever comes: nothing may go on */
    }
    configuration_put(&configuration, &snapshot->configuration);
    set_data(put, group->machine.applied(group->machine.user), snapshot->configuration_index,
             buffer_slice(&configuration));
    buffer_close(&configuration);
    make_durable(group);
    return 0;
}

void group_compact(struct group *group)
{
    struct group_put *put = &group->put;
    const struct guard *guard = &group->guard;
    uint64_t applied = raft_last_applied(&group->raft);
    struct journal_state state;

    if (put->is_active || group->is_doomed || guard->committed.base == NULL)
        return;
    if (!journal_find(group->host->journal, group->id, &state))
        return;
    if (applied < group->skip || (applied <= state.mark_index && state.first > applied)) {
        rewrite_tail(group);
        return;
    }
    put->is_active = true;
    put->is_install = false;
    put->request = NULL;
    put->bufs = NULL;
    put->index = applied;
    put->term = guard_term_of(guard, applied);
    put->first = applied + 1;
    set_data(put, group->machine.applied(group->machine.user), guard->committed_index,
             slice_of(guard->committed.base, guard->committed.len));
    make_durable(group);
}

void group_put_detach(struct group *group)
{
    struct group_put *put = &group->put;

    if (put->durable != NULL) {
        put->durable->group = NULL;
        put->durable = NULL;
    }
    journal_cancel(&put->op);
}

void group_put_close(struct group *group)
{
    struct group_put *put = &group->put;

    group_put_detach(group);
    if (put->is_active && put->request != NULL) {
        bool is_install = put->is_install;
        struct raft_buffer *bufs = put->bufs;

        put->cb(put->request, RAFT_CANCELED);
        if (is_install)
            raft_free(bufs); /* libraft frees only what it points to */
    }
    put->is_active = false;
    buffer_close(&put->data);
}
