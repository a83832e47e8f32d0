/* Pushes of the leading controller: changes in order, or a whole copy in parts.
 *
 * A copy is staged in memory and replaces the old one in one batch, so that neither a crash nor a
 * reader ever sees half of it. What does not fit is reported as a gap; the controller then begins a
 * new stream where this copy ends. */

#include "node/view/view_state.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

#include <inttypes.h>

static void acknowledge(struct view *view, uint64_t controller)
{
    Skein__Wire__WatchAck ack = SKEIN__WIRE__WATCH_ACK__INIT;
    uint8_t bytes[64];

    ack.stream = view->stream.id;
    ack.number = view->stream.number;
    ack.revision = view_revision(view);
    ack.is_gap = view->stream.is_broken;
    CHECK(skein__wire__watch_ack__get_packed_size(&ack) <= sizeof(bytes));
    size_t size = skein__wire__watch_ack__pack(&ack, bytes);
    enum error rc = env_send(view->env, controller, ENV_CHANNEL_WATCH, slice_of(bytes, size));

    if (rc != OK) /* the controller notices the stall */
        log_debug("view.ack_failed rc=%s", error_name(rc));
}

/* ---- changes ---- */

/* False when it does not continue the copy. */
static bool take_revision(struct view *view, const Skein__Wire__WatchRevision *message)
{
    struct record_change *changes;
    bool is_taken;

    if (message->revision <= view_revision(view))
        return true;
    if (message->revision != view_revision(view) + 1)
        return false;
    changes = check_calloc(message->n_records + 1, sizeof(*changes));
    for (size_t i = 0; i < message->n_records; i++) {
        const Skein__Wire__CatalogueRecord *record = message->records[i];

        if (!records_key_is_valid(slice_text(record->key))) {
            free(changes);
            return false;
        }
        changes[i] =
            (struct record_change){.key = record->key,
                                   .value = slice_of(record->value.data, record->value.len),
                                   .revision = message->revision,
                                   .is_delete = record->is_delete};
    }
    is_taken = view_apply(view, message->revision, changes, message->n_records);
    free(changes);
    return is_taken;
}

static bool take_changes(struct view *view, const Skein__Wire__WatchPush *push)
{
    for (size_t i = 0; i < push->n_revisions; i++) {
        const ProtobufCBinaryData *bytes = &push->revisions[i];
        Skein__Wire__WatchRevision *message =
            skein__wire__watch_revision__unpack(NULL, bytes->len, bytes->data);
        bool is_taken = message != NULL && take_revision(view, message);

        if (message != NULL)
            skein__wire__watch_revision__free_unpacked(message, NULL);
        if (!is_taken)
            return false;
    }
    return true;
}

/* ---- whole copies ---- */

static void forget_staged(struct view_stream *stream)
{
    for (size_t i = 0; i < stream->staged_count; i++) {
        free((char *)(uintptr_t)stream->staged[i].key);
        free((uint8_t *)(uintptr_t)stream->staged[i].value.data);
    }
    free(stream->staged);
    stream->staged = NULL;
    stream->staged_count = 0;
    stream->staged_capacity = 0;
}

/* False when the record is not the next in order of key. */
static bool stage(struct view_stream *stream, const Skein__Wire__CatalogueRecord *record)
{
    if (!records_key_is_valid(slice_text(record->key)) ||
        (stream->staged_count > 0 &&
         strcmp(stream->staged[stream->staged_count - 1].key, record->key) >= 0))
        return false;
    if (stream->staged_count == stream->staged_capacity) {
        stream->staged_capacity = stream->staged_capacity == 0 ? 256 : 2 * stream->staged_capacity;
        stream->staged =
            check_realloc(stream->staged, stream->staged_capacity * sizeof(*stream->staged));
    }
    uint8_t *value = check_malloc(record->value.len);

    if (record->value.len > 0)
        memcpy(value, record->value.data, record->value.len);
    stream->staged[stream->staged_count++] =
        (struct record_change){.key = check_strdup(record->key),
                               .value = slice_of(value, record->value.len),
                               .revision = record->revision};
    return true;
}

/* The difference between what is there and what is staged, both in order of key. Deleted keys are
 * the old records', which stay in memory until the next sweep. */
static size_t difference(const struct view *view, uint64_t revision, struct record_change *changes)
{
    const struct view_stream *stream = &view->stream;
    size_t count = 0;
    size_t old = 0;
    size_t new = 0;

    while (old < records_count(view->records) || new < stream->staged_count) {
        const struct record *record = records_at(view->records, old);
        const struct record_change *staged =
            new < stream->staged_count ? &stream->staged[new] : NULL;
        int order = record == NULL ? 1 : staged == NULL ? -1 : strcmp(record->key, staged->key);

        if (order < 0)
            changes[count++] =
                (struct record_change){.key = record->key, .revision = revision, .is_delete = true};
        else if (order > 0 || record->revision != staged->revision)
            changes[count++] = *staged;
        old += order <= 0;
        new += order >= 0;
    }
    return count;
}

static bool install_copy(struct view *view, uint64_t revision)
{
    struct view_stream *stream = &view->stream;
    size_t count_max = records_count(view->records) + stream->staged_count;
    struct record_change *changes = check_calloc(count_max + 1, sizeof(*changes));
    size_t count = difference(view, revision, changes);
    bool is_taken = view_apply(view, revision, changes, count);

    log_info("view.copy_installed revision=%" PRIu64 " records=%zu changed=%zu", revision,
             records_count(view->records), count);
    free(changes);
    forget_staged(stream);
    return is_taken;
}

static bool take_copy(struct view *view, const Skein__Wire__WatchPush *push)
{
    for (size_t i = 0; i < push->n_records; i++)
        if (!stage(&view->stream, push->records[i]))
            return false;
    if (!push->is_last)
        return true;
    if (push->copy_revision < view_revision(view))
        return false;
    return install_copy(view, push->copy_revision);
}

/* ---- the stream ---- */

/* False when the push is of no use: of an older stream, or seen before. */
static bool is_new(struct view_stream *stream, const Skein__Wire__WatchPush *push)
{
    if (push->stream > stream->id) {
        forget_staged(stream);
        stream->id = push->stream;
        stream->number = 0;
        stream->is_broken = false;
    }
    return push->stream == stream->id && !stream->is_broken && push->number > stream->number;
}

static void on_push(struct view *view, uint64_t controller, const Skein__Wire__WatchPush *push)
{
    struct view_stream *stream = &view->stream;

    if (!is_new(stream, push))
        return;
    if (push->number == stream->number + 1 &&
        (push->is_copy ? take_copy(view, push) : take_changes(view, push)))
        stream->number++;
    else
        stream->is_broken = true;
    if (view->has_failed)
        return;
    if (stream->is_broken)
        log_debug("view.gap stream=%" PRIu64 " number=%" PRIu64 " revision=%" PRIu64, stream->id,
                  push->number, view_revision(view));
    acknowledge(view, controller);
}

static void on_message(void *user, uint64_t peer, struct slice message)
{
    struct view *view = user;
    Skein__Wire__WatchPush *push;

    if (view->has_failed || view_controller_find(view, peer) == VIEW_NO_CONTROLLER)
        return;
    push = skein__wire__watch_push__unpack(NULL, message.size, message.data);
    if (push == NULL)
        return;
    on_push(view, peer, push);
    skein__wire__watch_push__free_unpacked(push, NULL);
}

void view_watch_open(struct view *view)
{
    view->env->link->handle(view->env, ENV_CHANNEL_WATCH,
                            (struct env_link_handler){view, on_message});
}

void view_watch_close(struct view *view)
{
    forget_staged(&view->stream);
}
