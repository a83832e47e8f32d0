#include "node/event/event_engine.h"

#include "proto/base/check.h"

/* Keys: 'b' id -> Event;  's' id -> EventState;  'd' due id -> nothing, by which those that are due
 * come first. Due is a big-endian number. */
#define DUE_BYTES 8
#define KEY_BYTES_MAX (1 + DUE_BYTES + EVENT_ID_BYTES_MAX)

/* What follows from the records and is asked for many times a second. */
struct memory {
    uint64_t first_ms; /* nothing is due before */
};

/* ---- on the wire ---- */

static void put_packed(struct buffer *to, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);

    CHECK(buffer_reserve(to, size) == OK);
    if (size > 0)
        to->size += protobuf_c_message_pack(message, to->data + to->size);
}

void event_engine_put_command(struct buffer *to, const Skein__Wire__EventCommand *command)
{
    put_packed(to, &command->base);
}

void event_engine_put_query(struct buffer *to, const Skein__Wire__EventQuery *query)
{
    put_packed(to, &query->base);
}

Skein__Wire__EventReply *event_engine_reply(struct slice reply)
{
    return skein__wire__event_reply__unpack(NULL, reply.size, reply.data);
}

enum error event_engine_verdict(struct slice reply)
{
    Skein__Wire__EventReply *message = event_engine_reply(reply);
    enum error rc = ERR_INVALID;

    if (message != NULL && message->error < ERROR_COUNT)
        rc = (enum error)message->error;
    if (message != NULL)
        skein__wire__event_reply__free_unpacked(message, NULL);
    return rc;
}

static void reply_put(struct buffer *to, const Skein__Wire__EventReply *reply)
{
    put_packed(to, &reply->base);
}

static void reply_error(struct buffer *to, enum error rc)
{
    Skein__Wire__EventReply reply = SKEIN__WIRE__EVENT_REPLY__INIT;

    reply.error = (uint32_t)rc;
    reply_put(to, &reply);
}

/* ---- records ---- */

struct key {
    uint8_t bytes[KEY_BYTES_MAX];
    size_t size;
};

static struct slice key_slice(const struct key *key)
{
    return slice_of(key->bytes, key->size);
}

static struct key record_key(uint8_t kind, const char *id)
{
    struct key key = {.size = 1 + strlen(id)};

    CHECK(key.size <= sizeof(key.bytes));
    key.bytes[0] = kind;
    memcpy(key.bytes + 1, id, key.size - 1);
    return key;
}

static struct key due_key(uint64_t due_ms, const char *id)
{
    struct key key = {.size = 1 + DUE_BYTES + strlen(id)};

    CHECK(key.size <= sizeof(key.bytes));
    key.bytes[0] = 'd';
    for (int i = 0; i < DUE_BYTES; i++)
        key.bytes[1 + i] = (uint8_t)(due_ms >> (8 * (DUE_BYTES - 1 - i)));
    memcpy(key.bytes + 1 + DUE_BYTES, id, strlen(id));
    return key;
}

static uint64_t due_of_key(struct slice key)
{
    uint64_t due_ms = 0;

    for (int i = 0; i < DUE_BYTES; i++)
        due_ms = due_ms << 8 | key.data[1 + i];
    return due_ms;
}

/* NULL: there is none. */
static Skein__Wire__EventState *load_state(struct shard_state *state, const char *id)
{
    AUTO(buffer) value = BUFFER_INIT(BUFFER_UNLIMITED);
    struct key key = record_key('s', id);

    if (shard_get(state, key_slice(&key), &value) != OK)
        return NULL;
    return skein__wire__event_state__unpack(NULL, value.size, value.data);
}

static void store_state(struct shard_state *state, const char *id,
                        const Skein__Wire__EventState *event)
{
    AUTO(buffer) value = BUFFER_INIT(BUFFER_UNLIMITED);
    struct memory *memory = *shard_memory(state);
    struct key key = record_key('s', id);
    struct key due = due_key(event->due_ms, id);

    put_packed(&value, &event->base);
    shard_put(state, key_slice(&key), buffer_slice(&value));
    shard_put(state, key_slice(&due), SLICE_LITERAL(""));
    if (memory != NULL && event->due_ms < memory->first_ms)
        memory->first_ms = event->due_ms;
}

/* It is due at another time than `before`. */
static void move(struct shard_state *state, const char *id, uint64_t before,
                 const Skein__Wire__EventState *event)
{
    struct key key = due_key(before, id);

    shard_delete(state, key_slice(&key));
    store_state(state, id, event);
}

/* ---- commands ---- */

static enum error put(struct shard_state *state, const struct shard_moment *moment,
                      const Skein__Wire__Event *event)
{
    Skein__Wire__EventState fresh = SKEIN__WIRE__EVENT_STATE__INIT;
    AUTO(buffer) value = BUFFER_INIT(BUFFER_UNLIMITED);
    Skein__Wire__EventState *there = load_state(state, event->id);
    struct key key = record_key('b', event->id);

    if (there != NULL) {
        skein__wire__event_state__free_unpacked(there, NULL);
        return OK;
    }
    put_packed(&value, &event->base);
    shard_put(state, key_slice(&key), buffer_slice(&value));
    fresh.accepted_ms = moment->wall_ms;
    fresh.due_ms = moment->wall_ms;
    store_state(state, event->id, &fresh);
    shard_signal(state);
    return OK;
}

/* EVENT_CLAIM, EVENT_RENEW and EVENT_DEFER: on success `event` is as it shall be. */
static enum error change(const struct shard_moment *moment,
                         const Skein__Wire__EventCommand *command, Skein__Wire__EventState *event)
{
    bool is_claim = command->kind == EVENT_CLAIM;

    if (is_claim ? event->due_ms > moment->wall_ms : event->holder != command->holder)
        return ERR_CONFLICT;
    event->due_ms = moment->wall_ms + command->delay_ms;
    event->holder = command->holder;
    if (command->kind == EVENT_DEFER) {
        event->holder = 0;
        event->failures = command->failures;
        event->refusals = command->refusals;
    }
    return OK;
}

static void change_and_reply(struct shard_state *state, const struct shard_moment *moment,
                             const Skein__Wire__EventCommand *command, struct buffer *to)
{
    Skein__Wire__EventReply reply = SKEIN__WIRE__EVENT_REPLY__INIT;
    Skein__Wire__EventState *event = load_state(state, command->id);
    uint64_t before;
    enum error rc;

    if (event == NULL) {
        reply_error(to, ERR_NOT_FOUND);
        return;
    }
    before = event->due_ms;
    rc = change(moment, command, event);
    if (rc == OK)
        move(state, command->id, before, event);
    if (rc == OK && command->kind == EVENT_DEFER)
        shard_signal(state);
    reply.error = (uint32_t)rc;
    reply.state = event;
    reply_put(to, &reply);
    skein__wire__event_state__free_unpacked(event, NULL);
}

static enum error remove_event(struct shard_state *state, const char *id)
{
    Skein__Wire__EventState *event = load_state(state, id);
    struct key key;

    if (event == NULL)
        return OK;
    key = due_key(event->due_ms, id);
    shard_delete(state, key_slice(&key));
    key = record_key('s', id);
    shard_delete(state, key_slice(&key));
    key = record_key('b', id);
    shard_delete(state, key_slice(&key));
    skein__wire__event_state__free_unpacked(event, NULL);
    return OK;
}

static bool is_good_id(const char *id)
{
    return id[0] != '\0' && strlen(id) <= EVENT_ID_BYTES_MAX;
}

static bool is_good(const Skein__Wire__EventCommand *command)
{
    const Skein__Wire__Event *event = command->event;

    if (command->kind == EVENT_PUT)
        return event != NULL && is_good_id(event->id) &&
               event->payload.len <= EVENT_PAYLOAD_BYTES_MAX;
    return is_good_id(command->id) && (command->kind == EVENT_REMOVE || command->holder != 0);
}

static void event_apply(struct shard_state *state, const struct shard_moment *moment,
                        struct slice bytes, struct buffer *reply)
{
    Skein__Wire__EventCommand *command =
        skein__wire__event_command__unpack(NULL, bytes.size, bytes.data);

    if (command == NULL || !is_good(command))
        reply_error(reply, ERR_INVALID);
    else if (command->kind == EVENT_PUT)
        reply_error(reply, put(state, moment, command->event));
    else if (command->kind == EVENT_REMOVE)
        reply_error(reply, remove_event(state, command->id));
    else if (command->kind <= EVENT_DEFER)
        change_and_reply(state, moment, command, reply);
    else
        reply_error(reply, ERR_INVALID);
    if (command != NULL)
        skein__wire__event_command__free_unpacked(command, NULL);
}

/* ---- queries ---- */

static void get(struct shard_state *state, const char *id, struct buffer *to)
{
    Skein__Wire__EventReply reply = SKEIN__WIRE__EVENT_REPLY__INIT;
    AUTO(buffer) value = BUFFER_INIT(BUFFER_UNLIMITED);
    struct key key;

    if (!is_good_id(id)) {
        reply_error(to, ERR_INVALID);
        return;
    }
    key = record_key('b', id);
    reply.error = (uint32_t)shard_get(state, key_slice(&key), &value);
    if (reply.error == OK)
        reply.event = skein__wire__event__unpack(NULL, value.size, value.data);
    if (reply.error == OK && reply.event == NULL)
        reply.error = (uint32_t)ERR_CORRUPT;
    if (reply.error == OK)
        reply.state = load_state(state, id);
    reply_put(to, &reply);
    if (reply.event != NULL)
        skein__wire__event__free_unpacked(reply.event, NULL);
    if (reply.state != NULL)
        skein__wire__event_state__free_unpacked(reply.state, NULL);
}

static Skein__Wire__EventDue *due_new(struct shard_state *state, struct slice key)
{
    Skein__Wire__EventDue *due = check_malloc(sizeof(*due));

    skein__wire__event_due__init(due);
    due->id = slice_strdup(slice_of(key.data + 1 + DUE_BYTES, key.size - 1 - DUE_BYTES));
    due->state = load_state(state, due->id);
    return due;
}

static void list_due(struct shard_state *state, const Skein__Wire__EventQuery *query,
                     struct memory *memory, struct buffer *to)
{
    Skein__Wire__EventReply reply = SKEIN__WIRE__EVENT_REPLY__INIT;
    uint32_t limit = query->limit < EVENT_DUE_MAX ? query->limit : EVENT_DUE_MAX;
    struct shard_cursor *cursor = shard_cursor_open(state);

    reply.due = check_calloc(limit + 1, sizeof(*reply.due));
    shard_cursor_seek(cursor, SLICE_LITERAL("d"));
    for (; shard_cursor_valid(cursor); shard_cursor_next(cursor)) {
        struct slice key = shard_cursor_key(cursor);
        uint64_t due_ms;

        if (key.size <= 1 + DUE_BYTES || key.data[0] != 'd')
            break;
        due_ms = due_of_key(key);
        if (reply.n_due == 0)
            memory->first_ms = due_ms;
        if (due_ms > query->now_ms || reply.n_due == limit) {
            reply.next_ms = due_ms;
            break;
        }
        reply.due[reply.n_due++] = due_new(state, key);
    }
    shard_cursor_close(cursor);
    if (reply.n_due == 0 && reply.next_ms == 0)
        memory->first_ms = UINT64_MAX;
    reply_put(to, &reply);
    for (size_t i = 0; i < reply.n_due; i++)
        skein__wire__event_due__free_unpacked(reply.due[i], NULL);
    free(reply.due);
}

static void list(struct shard_state *state, const Skein__Wire__EventQuery *query, struct buffer *to)
{
    Skein__Wire__EventReply nothing = SKEIN__WIRE__EVENT_REPLY__INIT;
    void **memory = shard_memory(state);
    struct memory *known;

    if (*memory == NULL)
        *memory = check_calloc(1, sizeof(struct memory));
    known = *memory;
    if (known->first_ms <= query->now_ms) {
        list_due(state, query, known, to);
        return;
    }
    nothing.next_ms = known->first_ms == UINT64_MAX ? 0 : known->first_ms;
    reply_put(to, &nothing);
}

static void event_read(struct shard_state *state, struct slice bytes, struct buffer *reply)
{
    Skein__Wire__EventQuery *query = skein__wire__event_query__unpack(NULL, bytes.size, bytes.data);

    if (query == NULL)
        reply_error(reply, ERR_INVALID);
    else if (query->id[0] != '\0')
        get(state, query->id, reply);
    else
        list(state, query, reply);
    if (query != NULL)
        skein__wire__event_query__free_unpacked(query, NULL);
}

const struct shard_engine event_engine = {
    .id = SHARD_ENGINE_QUEUE,
    .apply = event_apply,
    .read = event_read,
    .forget = free,
};
