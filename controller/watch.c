#include "controller/watch.h"

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/base/map.h"
#include "proto/wire/watch.pb-c.h"

#include <inttypes.h>

#define STREAM_TERM_SHIFT 32 /* stream = leader's term, then a counter */

struct watcher { /* one node */
    uint64_t node;
    uint64_t incarnation;
    uint64_t stream; /* 0 = none: waits to be heard */
    uint64_t number; /* of the last push sent */
    uint64_t number_acked;
    uint64_t revision; /* last one sent */
    uint64_t revision_acked;
    uint64_t moved_ms;       /* last sign of progress */
    struct records_pin *pin; /* while a whole copy is under way */
    struct buffer position;  /* in it */
};

struct watch {
    struct env *env;
    struct catalogue *catalogue;
    void *user;
    void (*on_ack)(void *user, uint64_t node);
    uint64_t stream; /* the last one given; 0 = not the leader */
    struct map watchers;
    struct env_task task;
    struct env_link_watcher link_watcher;
};

/* ---- streams ---- */

static void stream_end(struct watcher *watcher)
{
    records_unpin(watcher->pin);
    watcher->pin = NULL;
    watcher->stream = 0;
    buffer_clear(&watcher->position);
}

static void stream_begin(struct watch *watch, struct watcher *watcher, uint64_t revision)
{
    stream_end(watcher);
    watcher->stream = ++watch->stream;
    watcher->number = 0;
    watcher->number_acked = 0;
    watcher->revision = revision;
    watcher->revision_acked = revision;
    watcher->moved_ms = env_now_ms(watch->env);
    if (revision < catalogue_revision(watch->catalogue) &&
        catalogue_history(watch->catalogue, revision + 1).size == 0) {
        watcher->pin = catalogue_pin(watch->catalogue);
        log_debug("watch.copy node=%" PRIu64 " revision=%" PRIu64 " from=%" PRIu64, watcher->node,
                  records_pin_revision(watcher->pin), revision);
    }
}

static bool has_credit(const struct watcher *watcher)
{
    return watcher->stream != 0 && watcher->number - watcher->number_acked < WATCH_CREDIT;
}

/* False when the link would not take it: the stream ends, the next heartbeat begins another. */
static bool send_push(struct watch *watch, struct watcher *watcher, Skein__Wire__WatchPush *push)
{
    push->stream = watcher->stream;
    push->number = watcher->number + 1;
    size_t size = skein__wire__watch_push__get_packed_size(push);
    uint8_t *bytes = check_malloc(size);

    (void)skein__wire__watch_push__pack(push, bytes);
    enum error rc = env_send(watch->env, watcher->node, ENV_CHANNEL_WATCH, slice_of(bytes, size));

    free(bytes);
    if (rc != OK) {
        log_debug("watch.send_failed node=%" PRIu64 " rc=%s", watcher->node, error_name(rc));
        stream_end(watcher);
        return false;
    }
    if (watcher->number == watcher->number_acked)
        watcher->moved_ms = env_now_ms(watch->env);
    watcher->number++;
    return true;
}

/* ---- changes ---- */

/* One push of the revisions that follow; false when none are known or sending failed. */
static bool push_changes(struct watch *watch, struct watcher *watcher)
{
    Skein__Wire__WatchPush push = SKEIN__WIRE__WATCH_PUSH__INIT;
    ProtobufCBinaryData revisions[64];
    uint64_t revision = watcher->revision;
    size_t bytes = 0;

    while (push.n_revisions < ARRAY_COUNT(revisions) && bytes < WATCH_PUSH_BYTES) {
        struct slice past = catalogue_history(watch->catalogue, revision + 1);

        if (past.size == 0)
            break;
        revisions[push.n_revisions++] =
            (ProtobufCBinaryData){past.size, (uint8_t *)(uintptr_t)past.data};
        bytes += past.size;
        revision++;
    }
    if (push.n_revisions == 0)
        return false;
    push.revisions = revisions;
    if (!send_push(watch, watcher, &push))
        return false;
    watcher->revision = revision;
    return true;
}

/* ---- whole copies ---- */

struct part {
    Skein__Wire__CatalogueRecord **records;
    size_t count;
    size_t capacity;
};

static void part_on_record(void *user, struct slice key, struct slice value, uint64_t revision)
{
    struct part *part = user;
    Skein__Wire__CatalogueRecord *record = check_calloc(1, sizeof(*record));

    skein__wire__catalogue_record__init(record);
    record->key = slice_strdup(key);
    record->revision = revision;
    record->value.data = check_malloc(value.size);
    record->value.len = value.size;
    if (value.size > 0)
        memcpy(record->value.data, value.data, value.size);
    if (part->count == part->capacity) {
        part->capacity = part->capacity == 0 ? 64 : part->capacity * 2;
        part->records =
            check_realloc(part->records, part->capacity * sizeof(Skein__Wire__CatalogueRecord *));
    }
    part->records[part->count++] = record;
}

static void part_close(struct part *part)
{
    for (size_t i = 0; i < part->count; i++) {
        free(part->records[i]->key);
        free(part->records[i]->value.data);
        free(part->records[i]);
    }
    free(part->records);
}

static bool push_copy(struct watch *watch, struct watcher *watcher)
{
    Skein__Wire__WatchPush push = SKEIN__WIRE__WATCH_PUSH__INIT;
    struct part part = {0};
    bool is_last = false;
    enum error rc = records_pin_read(watcher->pin, &watcher->position, WATCH_PUSH_BYTES, &part,
                                     part_on_record, &is_last);
    bool is_sent = false;

    if (rc == OK) {
        push.is_copy = true;
        push.is_last = is_last;
        push.copy_revision = records_pin_revision(watcher->pin);
        push.records = part.records;
        push.n_records = part.count;
        is_sent = send_push(watch, watcher, &push);
    } else {
        log_error("watch.copy_failed node=%" PRIu64 " rc=%s", watcher->node, error_name(rc));
        stream_end(watcher);
    }
    part_close(&part);
    if (is_sent && is_last) {
        watcher->revision = records_pin_revision(watcher->pin);
        records_unpin(watcher->pin);
        watcher->pin = NULL;
    }
    return is_sent;
}

/* ---- one turn ---- */

static void push(struct watch *watch, struct watcher *watcher)
{
    while (has_credit(watcher)) {
        if (watcher->pin == NULL && watcher->revision >= catalogue_revision(watch->catalogue))
            return;
        if (watcher->pin == NULL &&
            catalogue_history(watch->catalogue, watcher->revision + 1).size == 0) {
            /* It fell behind what is remembered: from where it is, with a whole copy. */
            stream_begin(watch, watcher, watcher->revision_acked);
            continue;
        }
        if (!(watcher->pin != NULL ? push_copy(watch, watcher) : push_changes(watch, watcher)))
            return;
    }
}

static void on_task(struct env_task *task)
{
    struct watch *watch = container_of(task, struct watch, task);
    struct map_entry *entry;
    size_t i = 0;

    while ((entry = map_next(&watch->watchers, &i)) != NULL)
        push(watch, entry->value);
}

void watch_wake(struct watch *watch)
{
    if (watch->stream != 0)
        env_defer(watch->env, &watch->task, on_task);
}

/* ---- what nodes say ---- */

static struct watcher *find(const struct watch *watch, uint64_t node)
{
    return map_find_u64(&watch->watchers, node);
}

static struct watcher *find_or_add(struct watch *watch, uint64_t node)
{
    struct watcher *watcher = find(watch, node);

    if (watcher == NULL) {
        watcher = check_calloc(1, sizeof(*watcher));
        watcher->node = node;
        buffer_init(&watcher->position, RECORDS_KEY_BYTES_MAX + 1);
        (void)map_set_u64(&watch->watchers, node, watcher);
    }
    return watcher;
}

static bool is_stalled(const struct watch *watch, const struct watcher *watcher)
{
    return watcher->number > watcher->number_acked &&
           env_now_ms(watch->env) >= watcher->moved_ms + WATCH_STALL_MS;
}

void watch_heard(struct watch *watch, uint64_t node, uint64_t incarnation, uint64_t revision)
{
    if (watch->stream == 0)
        return;
    struct watcher *watcher = find_or_add(watch, node);
    bool is_restarted = incarnation != watcher->incarnation;

    if (watcher->stream == 0 || is_restarted || is_stalled(watch, watcher)) {
        watcher->incarnation = incarnation;
        stream_begin(watch, watcher, revision);
        watch->on_ack(watch->user, node);
    }
    watch_wake(watch);
}

static void on_acknowledged(struct watch *watch, struct watcher *watcher,
                            const Skein__Wire__WatchAck *ack)
{
    if (ack->is_gap) {
        stream_begin(watch, watcher, ack->revision);
    } else if (ack->number > watcher->number_acked && ack->number <= watcher->number) {
        watcher->number_acked = ack->number;
        watcher->moved_ms = env_now_ms(watch->env);
    }
    if (ack->revision > watcher->revision_acked)
        watcher->revision_acked = ack->revision;
    watch_wake(watch);
    watch->on_ack(watch->user, watcher->node);
}

static void watch_on_message(void *user, uint64_t peer, struct slice message)
{
    struct watch *watch = user;
    struct watcher *watcher = find(watch, peer);
    Skein__Wire__WatchAck *ack;

    if (watch->stream == 0 || watcher == NULL)
        return;
    ack = skein__wire__watch_ack__unpack(NULL, message.size, message.data);
    if (ack == NULL)
        return;
    if (ack->stream == watcher->stream && watcher->stream != 0 &&
        ack->revision <= catalogue_revision(watch->catalogue))
        on_acknowledged(watch, watcher, ack);
    skein__wire__watch_ack__free_unpacked(ack, NULL);
}

static void watch_on_up(void *user, uint64_t peer)
{
    (void)user;
    (void)peer;
}

/* What was on its way is lost; the next heartbeat says where to go on. */
static void watch_on_down(void *user, uint64_t peer, enum env_down_reason reason)
{
    struct watcher *watcher = find(user, peer);

    (void)reason;
    if (watcher != NULL)
        stream_end(watcher);
}

uint64_t watch_acked(const struct watch *watch, uint64_t node)
{
    const struct watcher *watcher = find(watch, node);

    return watcher != NULL ? watcher->revision_acked : 0;
}

/* ---- life ---- */

static void watcher_free(struct watcher *watcher)
{
    if (watcher == NULL)
        return;
    records_unpin(watcher->pin);
    buffer_close(&watcher->position);
    free(watcher);
}

static void forget_all(struct watch *watch)
{
    struct map_entry *entry;
    size_t i = 0;

    while ((entry = map_next(&watch->watchers, &i)) != NULL)
        watcher_free(entry->value);
    map_close(&watch->watchers);
}

void watch_forget(struct watch *watch, uint64_t node)
{
    watcher_free(map_remove_u64(&watch->watchers, node));
}

struct watch *watch_new(struct env *env, struct catalogue *catalogue, void *user,
                        void (*on_ack)(void *user, uint64_t node))
{
    struct watch *watch = check_calloc(1, sizeof(*watch));

    watch->env = env;
    watch->catalogue = catalogue;
    watch->user = user;
    watch->on_ack = on_ack;
    watch->link_watcher =
        (struct env_link_watcher){.user = watch, .on_up = watch_on_up, .on_down = watch_on_down};
    env->link->handle(env, ENV_CHANNEL_WATCH, (struct env_link_handler){watch, watch_on_message});
    env->link->watch(env, &watch->link_watcher);
    return watch;
}

void watch_free(struct watch *watch)
{
    if (watch == NULL)
        return;
    env_defer_cancel(watch->env, &watch->task);
    watch->env->link->unwatch(watch->env, &watch->link_watcher);
    forget_all(watch);
    free(watch);
}

void watch_start(struct watch *watch, uint64_t term)
{
    forget_all(watch);
    watch->stream = term << STREAM_TERM_SHIFT;
}

void watch_stop(struct watch *watch)
{
    env_defer_cancel(watch->env, &watch->task);
    forget_all(watch);
    watch->stream = 0;
}
