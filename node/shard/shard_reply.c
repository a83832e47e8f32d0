#include "node/shard/shard_reply.h"

#include "proto/base/check.h"

#define KEY_SWEPT SLICE_LITERAL("t")

struct remembered {
    uint64_t sequence;
    enum error rc;
    bool is_large; /* the reply has a record of its own */
    struct buffer reply;
};

struct shard_session {
    struct list link; /* in shard_replies.changed; next NULL = not there */
    uint64_t id;
    uint64_t settled;
    uint64_t used_sweep;       /* shard_replies.sweeps at its last command */
    struct remembered *window; /* sorted by sequence */
    size_t count;
    size_t capacity;
};

static void session_key(uint64_t id, struct buffer *key)
{
    buffer_put_u8(key, 's');
    buffer_put_u64_big(key, id);
}

static void large_key(uint64_t id, uint64_t sequence, struct buffer *key)
{
    buffer_put_u8(key, 'r');
    buffer_put_u64_big(key, id);
    buffer_put_u64_big(key, sequence);
}

static void session_free(struct shard_session *session)
{
    for (size_t i = 0; i < session->count; i++)
        buffer_close(&session->window[i].reply);
    free(session->window);
    free(session);
}

static void set_changed(struct shard_replies *replies, struct shard_session *session)
{
    if (session->link.next == NULL)
        list_append(&replies->changed, &session->link);
}

static void set_unchanged(struct shard_session *session)
{
    if (session->link.next != NULL)
        list_remove(&session->link);
    session->link.next = NULL;
}

void shard_replies_init(struct shard_replies *replies)
{
    *replies = (struct shard_replies){0};
    list_init(&replies->changed);
}

static void clear_large(struct shard_replies *replies)
{
    size_t position = 0;
    struct map_entry *entry;

    while ((entry = map_next(&replies->large, &position)) != NULL) {
        buffer_close(entry->value);
        free(entry->value);
    }
    map_close(&replies->large);
}

void shard_replies_close(struct shard_replies *replies)
{
    size_t position = 0;
    struct map_entry *entry;

    while ((entry = map_next(&replies->sessions, &position)) != NULL)
        session_free(entry->value);
    map_close(&replies->sessions);
    map_close(&replies->removed);
    clear_large(replies);
}

/* The place of `sequence` in the window, or where it belongs. */
static size_t window_place(const struct shard_session *session, uint64_t sequence)
{
    size_t low = 0;
    size_t high = session->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (session->window[middle].sequence < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool window_has(const struct shard_session *session, size_t place, uint64_t sequence)
{
    return place < session->count && session->window[place].sequence == sequence;
}

static struct remembered *window_insert(struct shard_session *session, uint64_t sequence)
{
    size_t place = window_place(session, sequence);

    CHECK(!window_has(session, place, sequence));
    if (session->count == session->capacity) {
        session->capacity = session->capacity > 0 ? session->capacity * 2 : 8;
        session->window =
            check_realloc(session->window, session->capacity * sizeof(*session->window));
    }
    memmove(&session->window[place + 1], &session->window[place],
            (session->count - place) * sizeof(*session->window));
    session->count++;
    session->window[place] = (struct remembered){
        .sequence = sequence, .reply = BUFFER_INIT(SHARD_REPLY_INLINE_BYTES_MAX)};
    return &session->window[place];
}

static void remove_large(struct shard_replies *replies, uint64_t id, uint64_t sequence)
{
    struct buffer key = BUFFER_INIT(32);

    large_key(id, sequence, &key);
    struct buffer *pending = map_remove(&replies->large, buffer_slice(&key));

    if (pending != NULL) {
        buffer_close(pending);
        free(pending);
    } else {
        (void)map_set(&replies->removed, buffer_slice(&key), replies);
    }
    buffer_close(&key);
}

/* The gateway will not ask again for anything below `settled`. */
static void settle(struct shard_replies *replies, struct shard_session *session, uint64_t settled)
{
    size_t gone = 0;

    if (settled <= session->settled)
        return;
    session->settled = settled;
    while (gone < session->count && session->window[gone].sequence < settled) {
        if (session->window[gone].is_large)
            remove_large(replies, session->id, session->window[gone].sequence);
        buffer_close(&session->window[gone].reply);
        gone++;
    }
    session->count -= gone;
    if (gone > 0)
        memmove(session->window, session->window + gone, session->count * sizeof(*session->window));
}

void shard_replies_sweep(struct shard_replies *replies, uint64_t wall_ms)
{
    size_t position = 0;
    struct map_entry *entry;

    if (wall_ms < replies->swept_ms + SHARD_REPLY_SWEEP_MS)
        return;
    replies->swept_ms = wall_ms;
    replies->sweeps++;
    replies->is_swept = true;
    while ((entry = map_next(&replies->sessions, &position)) != NULL) {
        struct shard_session *session = entry->value;
        struct buffer key = BUFFER_INIT(32);

        if (session->used_sweep + SHARD_REPLY_SESSION_SWEEPS >= replies->sweeps)
            continue;
        settle(replies, session, UINT64_MAX);
        session_key(session->id, &key);
        (void)map_set(&replies->removed, buffer_slice(&key), replies);
        buffer_close(&key);
        set_unchanged(session);
        (void)map_remove_u64(&replies->sessions, session->id);
        session_free(session);
    }
}

static struct shard_session *session_add(struct shard_replies *replies, uint64_t id)
{
    struct shard_session *session = check_calloc(1, sizeof(*session));

    session->id = id;
    (void)map_set_u64(&replies->sessions, id, session);
    return session;
}

enum error shard_replies_begin(struct shard_replies *replies,
                               const struct shard_message_command *command,
                               struct shard_reply_slot *slot)
{
    *slot = (struct shard_reply_slot){.sequence = command->sequence};
    if (command->session == 0)
        return OK;
    struct shard_session *session = map_find_u64(&replies->sessions, command->session);

    if (session == NULL) {
        if (replies->sessions.count >= SHARD_REPLY_SESSIONS_MAX)
            return ERR_OVERLOADED;
        session = session_add(replies, command->session);
    }
    settle(replies, session, command->settled);
    session->used_sweep = replies->sweeps;
    set_changed(replies, session);
    if (command->sequence < session->settled)
        return ERR_CANCELLED;
    slot->session = session;
    if (window_has(session, window_place(session, command->sequence), command->sequence))
        return ERR_EXISTS;
    return session->count < SHARD_REPLY_WINDOW_MAX ? OK : ERR_OVERLOADED;
}

void shard_replies_end(struct shard_replies *replies, const struct shard_reply_slot *slot,
                       enum error rc, struct slice reply)
{
    if (slot->session == NULL)
        return;
    struct remembered *remembered = window_insert(slot->session, slot->sequence);

    remembered->rc = rc;
    remembered->is_large = reply.size > SHARD_REPLY_INLINE_BYTES_MAX;
    if (!remembered->is_large) {
        buffer_put_slice(&remembered->reply, reply);
        return;
    }
    struct buffer key = BUFFER_INIT(32);
    struct buffer *copy = check_malloc(sizeof(*copy));

    large_key(slot->session->id, slot->sequence, &key);
    *copy = BUFFER_INIT(BUFFER_UNLIMITED);
    buffer_put_slice(copy, reply);
    CHECK(map_set(&replies->large, buffer_slice(&key), copy) == NULL);
    buffer_close(&key);
}

enum error shard_replies_recall(const struct shard_replies *replies, struct env *env, struct kv *kv,
                                const struct shard_reply_slot *slot, struct buffer *reply)
{
    size_t place = window_place(slot->session, slot->sequence);
    const struct remembered *remembered = &slot->session->window[place];
    struct buffer key = BUFFER_INIT(32);
    enum error rc = OK;

    CHECK(window_has(slot->session, place, slot->sequence));
    if (!remembered->is_large) {
        rc = buffer_append_slice(reply, buffer_slice(&remembered->reply));
    } else {
        large_key(slot->session->id, slot->sequence, &key);
        const struct buffer *pending = map_find(&replies->large, buffer_slice(&key));

        rc = pending != NULL ? buffer_append_slice(reply, buffer_slice(pending))
                             : env->kv->get(env, kv, NULL, buffer_slice(&key), reply);
    }
    buffer_close(&key);
    return rc == OK ? remembered->rc : ERR_INTERNAL;
}

/* ---- records -----------------------------------------------------------------------------------
 */

static void session_put(const struct shard_session *session, struct buffer *value)
{
    buffer_put_u64(value, session->settled);
    buffer_put_u64(value, session->used_sweep);
    buffer_put_u32(value, (uint32_t)session->count);
    for (size_t i = 0; i < session->count; i++) {
        const struct remembered *remembered = &session->window[i];

        buffer_put_u64(value, remembered->sequence);
        buffer_put_u8(value, (uint8_t)remembered->rc);
        buffer_put_u8(value, remembered->is_large);
        buffer_put_u32(value, (uint32_t)remembered->reply.size);
        buffer_put_slice(value, buffer_slice(&remembered->reply));
    }
}

static enum error session_read(struct shard_replies *replies, struct slice key, struct slice value)
{
    struct reader key_reader = reader_of(key);
    struct reader reader = reader_of(value);

    (void)reader_u8(&key_reader);
    struct shard_session *session = session_add(replies, reader_u64_big(&key_reader));

    session->settled = reader_u64(&reader);
    session->used_sweep = reader_u64(&reader);
    uint32_t count = reader_u32(&reader);

    for (uint32_t i = 0; i < count && reader.ok; i++) {
        uint64_t sequence = reader_u64(&reader);
        uint8_t rc = reader_u8(&reader);
        bool is_large = reader_u8(&reader) != 0;
        struct slice reply = reader_bytes(&reader, reader_u32(&reader));

        if (!reader.ok || reply.size > SHARD_REPLY_INLINE_BYTES_MAX || rc >= ERROR_COUNT ||
            window_has(session, window_place(session, sequence), sequence))
            return ERR_CORRUPT;
        struct remembered *remembered = window_insert(session, sequence);

        remembered->rc = (enum error)rc;
        remembered->is_large = is_large;
        buffer_put_slice(&remembered->reply, reply);
    }
    return reader.ok && key_reader.ok && reader.rest.size == 0 ? OK : ERR_CORRUPT;
}

enum error shard_replies_load(struct shard_replies *replies, struct env *env, struct kv *kv)
{
    struct kv_cursor *cursor = env->kv->cursor(env, kv, NULL);
    enum error rc = OK;

    for (env->kv->cursor_seek(cursor, SLICE_LITERAL("s")); rc == OK; env->kv->cursor_next(cursor)) {
        if (!env->kv->cursor_valid(cursor) || env->kv->cursor_key(cursor).data[0] != 's')
            break;
        rc = session_read(replies, env->kv->cursor_key(cursor), env->kv->cursor_value(cursor));
    }
    if (rc == OK)
        rc = env->kv->cursor_error(cursor);
    env->kv->cursor_close(cursor);

    struct buffer value = BUFFER_INIT(64);
    enum error swept_rc = env->kv->get(env, kv, NULL, KEY_SWEPT, &value);
    struct reader reader = reader_of(buffer_slice(&value));

    if (swept_rc == OK) {
        replies->swept_ms = reader_u64(&reader);
        replies->sweeps = reader_u64(&reader);
        if (!reader.ok && rc == OK)
            rc = ERR_CORRUPT;
    }
    if (swept_rc != OK && swept_rc != ERR_NOT_FOUND && rc == OK)
        rc = swept_rc;
    buffer_close(&value);
    return rc;
}

void shard_replies_flush(struct shard_replies *replies, void *user,
                         void (*write)(void *user, struct slice key, struct slice value,
                                       bool is_delete))
{
    struct buffer key = BUFFER_INIT(32);
    struct buffer value = BUFFER_INIT(BUFFER_UNLIMITED);
    struct list *link;
    size_t position = 0;
    struct map_entry *entry;

    while ((link = list_pop(&replies->changed)) != NULL) {
        struct shard_session *session = container_of(link, struct shard_session, link);

        session->link.next = NULL;
        buffer_clear(&key);
        buffer_clear(&value);
        session_key(session->id, &key);
        session_put(session, &value);
        write(user, buffer_slice(&key), buffer_slice(&value), false);
    }
    while ((entry = map_next(&replies->large, &position)) != NULL)
        write(user, entry->key, buffer_slice(entry->value), false);
    clear_large(replies);
    position = 0;
    while ((entry = map_next(&replies->removed, &position)) != NULL)
        write(user, entry->key, slice_of(NULL, 0), true);
    map_close(&replies->removed);
    if (replies->is_swept) {
        buffer_clear(&value);
        buffer_put_u64(&value, replies->swept_ms);
        buffer_put_u64(&value, replies->sweeps);
        write(user, KEY_SWEPT, buffer_slice(&value), false);
        replies->is_swept = false;
    }
    buffer_close(&key);
    buffer_close(&value);
}
