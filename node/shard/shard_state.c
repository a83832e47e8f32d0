#include "node/shard/shard_state.h"

#include "node/shard/shard_message.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#define KEY_PLACE SLICE_LITERAL("ip") /* how far the store is */
#define PLACE_NUMBERS 5
#define MARK_KEY_BYTES 6
#define REPLY_BYTES_MAX (20u << 20)
#define COMMANDS_ALL UINT32_MAX

/* ---- the store's own records ---------------------------------------------------------------- */

bool shard_state_is_own_key(struct slice key)
{
    return key.size > 0 && key.data[0] == 'i';
}

static void mark_key(uint64_t batch, uint8_t key[MARK_KEY_BYTES])
{
    uint32_t place = (uint32_t)(batch % SHARD_STATE_MARKS);

    key[0] = 'i';
    key[1] = 'm';
    for (int i = 0; i < 4; i++)
        key[2 + i] = (uint8_t)(place >> (24 - 8 * i));
}

/* Zeros when absent. */
static enum error load_numbers(struct shard_state *state, struct slice key, uint64_t *numbers,
                               size_t count)
{
    struct buffer value = BUFFER_INIT(PLACE_NUMBERS * sizeof(uint64_t));
    enum error rc = state->env->kv->get(state->env, state->kv, NULL, key, &value);
    struct reader reader = reader_of(buffer_slice(&value));

    for (size_t i = 0; i < count; i++)
        numbers[i] = rc == OK ? reader_u64(&reader) : 0;
    if (rc == OK && (!reader.ok || reader.rest.size > 0))
        rc = ERR_CORRUPT;
    buffer_close(&value);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

static enum error check_marks(struct shard_state *state)
{
    for (uint64_t batch = state->batches; batch > state->batches_durable; batch--) {
        uint8_t key[MARK_KEY_BYTES];
        uint64_t found;

        mark_key(batch, key);
        enum error rc = load_numbers(state, slice_of(key, sizeof(key)), &found, 1);

        if (rc != OK || found != batch)
            return rc != OK ? rc : ERR_CORRUPT;
    }
    return OK;
}

static enum error load(struct shard_state *state)
{
    uint64_t place[PLACE_NUMBERS];
    enum error rc = load_numbers(state, KEY_PLACE, place, PLACE_NUMBERS);

    if (rc == OK)
        rc = shard_replies_load(&state->replies, state->env, state->kv);
    if (rc != OK)
        return rc;
    state->entry_index = place[0];
    state->commands_done = (uint32_t)place[1];
    state->hash = place[2];
    state->batches = place[3];
    state->batches_durable = place[4];
    state->applied = state->entry_index;
    if (state->applied > 0 && state->commands_done != COMMANDS_ALL)
        state->applied--; /* its last entry is there in part */
    return OK;
}

static void put_place(struct buffer *value, uint64_t index, uint32_t commands_done, uint64_t hash,
                      uint64_t batches, uint64_t batches_durable)
{
    buffer_put_u64(value, index);
    buffer_put_u64(value, commands_done);
    buffer_put_u64(value, hash);
    buffer_put_u64(value, batches);
    buffer_put_u64(value, batches_durable);
}

enum error shard_state_reopen(struct shard_state *state, struct env *env, const char *path,
                              const struct shard_engine *const *engines)
{
    *state = (struct shard_state){.env = env, .engines = engines};
    (void)snprintf(state->path, sizeof(state->path), "%s", path);
    arena_init(&state->arena);
    map_init(&state->overlay);
    buffer_init(&state->key, BUFFER_UNLIMITED);
    shard_replies_init(&state->replies);
    state->changed = check_calloc(SHARD_STATE_CHANGED, sizeof(*state->changed));
    enum error rc = env->kv->open(env, path, &state->kv);

    if (rc == OK)
        rc = load(state);
    state->changed_floor = state->entry_index;
    return rc;
}

/* The old one steps aside by name, so that one of the two is always there. */
#define ASIDE_SUFFIX ".old"

static void aside_path(const char *path, char aside[SHARD_STATE_PATH_BYTES + sizeof(ASIDE_SUFFIX)])
{
    (void)snprintf(aside, SHARD_STATE_PATH_BYTES + sizeof(ASIDE_SUFFIX), "%s" ASIDE_SUFFIX, path);
}

static enum error remove_if_there(struct env *env, const char *path)
{
    enum error rc = env->disk->remove(env, path);

    return rc == ERR_NOT_FOUND ? OK : rc;
}

enum error shard_state_replace(struct env *env, const char *path, const char *from)
{
    char aside[SHARD_STATE_PATH_BYTES + sizeof(ASIDE_SUFFIX)];
    enum error rc;

    aside_path(path, aside);
    rc = remove_if_there(env, aside);
    if (rc == OK)
        rc = env->disk->rename(env, path, aside);
    if (rc == OK)
        rc = env->disk->rename(env, from, path);
    return rc == OK ? remove_if_there(env, aside) : rc;
}

/* A crash came between the two renames, or before the old one was removed. */
static enum error finish_replace(struct env *env, const char *path)
{
    char aside[SHARD_STATE_PATH_BYTES + sizeof(ASIDE_SUFFIX)];
    enum error rc;

    aside_path(path, aside);
    rc = env->disk->rename(env, aside, path);
    if (rc == ERR_EXISTS)
        rc = remove_if_there(env, aside);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

enum error shard_state_open(struct shard_state *state, struct env *env, const char *path,
                            const struct shard_engine *const *engines)
{
    enum error rc = finish_replace(env, path);

    if (rc != OK)
        return rc;
    rc = shard_state_reopen(state, env, path, engines);
    if (rc == OK)
        rc = check_marks(state);
    if (rc == ERR_CORRUPT) {
        log_error("shard_state.damaged path=%s action=removed_and_fetched_from_peers", path);
        shard_state_close(state);
        rc = env->disk->remove(env, path);
        if (rc == OK)
            rc = shard_state_reopen(state, env, path, engines);
    }
    if (rc != OK)
        shard_state_close(state);
    return rc;
}

void shard_state_close(struct shard_state *state)
{
    if (state->kv != NULL)
        state->env->kv->close(state->env, state->kv);
    state->kv = NULL;
    shard_replies_close(&state->replies);
    for (size_t i = 0; i < SHARD_ENGINE_COUNT; i++)
        if (state->memories[i] != NULL)
            state->engines[i]->forget(state->memories[i]);
    memset(state->memories, 0, sizeof(state->memories));
    map_close(&state->overlay);
    arena_close(&state->arena);
    buffer_close(&state->key);
    free(state->changed);
    state->changed = NULL;
    free(state->writes);
    state->writes = NULL;
    state->write_count = 0;
    state->write_capacity = 0;
}

/* A store that cannot be read makes every later answer doubtful: the replica stops. */
static void note_broken(struct shard_state *state, enum error rc)
{
    if (state->broken == OK && (rc == ERR_IO || rc == ERR_CORRUPT))
        state->broken = rc;
}

/* ---- what is gathered ------------------------------------------------------------------------ */

static void add_write(struct shard_state *state, const struct kv_write *write)
{
    if (state->write_count == state->write_capacity) {
        state->write_capacity = state->write_capacity > 0 ? state->write_capacity * 2 : 64;
        state->writes =
            check_realloc(state->writes, state->write_capacity * sizeof(*state->writes));
    }
    state->writes[state->write_count++] = *write;
}

/* `key` is complete, with its prefix; both are copied. */
static void put_raw(struct shard_state *state, struct slice key, struct slice value, bool is_delete)
{
    uintptr_t place = (uintptr_t)map_find(&state->overlay, key);
    struct kv_write write = {.is_delete = is_delete};

    if (!is_delete)
        write.value = arena_copy(&state->arena, value);
    state->gathered_bytes += write.value.size;
    if (place != 0) {
        write.key = state->writes[place - 1].key;
        state->writes[place - 1] = write;
        return;
    }
    write.key = arena_copy(&state->arena, key);
    state->gathered_bytes += key.size;
    add_write(state, &write);
    (void)map_set(&state->overlay, key, (void *)(uintptr_t)state->write_count);
}

static void replies_write(void *user, struct slice key, struct slice value, bool is_delete)
{
    put_raw(user, key, value, is_delete);
}

/* How far the store is with this batch, and the batch's mark. */
static void put_own_records(struct shard_state *state)
{
    struct buffer value = BUFFER_INIT(PLACE_NUMBERS * sizeof(uint64_t));
    uint8_t key[MARK_KEY_BYTES];

    put_place(&value, state->entry_index, state->commands_done, state->hash, state->batches,
              state->batches_durable);
    put_raw(state, KEY_PLACE, buffer_slice(&value), false);
    buffer_clear(&value);
    buffer_put_u64(&value, state->batches);
    mark_key(state->batches, key);
    put_raw(state, slice_of(key, sizeof(key)), buffer_slice(&value), false);
    buffer_close(&value);
}

void shard_state_flush(struct shard_state *state)
{
    if (!state->is_behind)
        return;
    if (state->batches - state->batches_durable == SHARD_STATE_MARKS) { /* the ring is full */
        note_broken(state, state->env->kv->sync(state->env, state->kv));
        state->batches_durable = state->batches;
    }
    state->batches++;
    shard_replies_flush(&state->replies, state, replies_write);
    put_own_records(state);
    note_broken(state,
                state->env->kv->write(state->env, state->kv, state->writes, state->write_count));
    state->write_count = 0;
    state->gathered_bytes = 0;
    state->is_behind = false;
    map_close(&state->overlay);
    arena_close(&state->arena);
}

void shard_state_set_durable(struct shard_state *state, uint64_t batches)
{
    if (batches > state->batches_durable)
        state->batches_durable = batches;
}

/* ---- the hash ----------------------------------------------------------------------------------
 *
 * Over what entries change and answer, not over what is handed to the store and when: replicas
 * hand over at moments of their own. The sum of the parts, chained once per entry, and where the
 * store may stop inside of one. */

static void note_change(struct shard_state *state, uint64_t about, struct slice bytes)
{
    state->changes += XXH3_64bits_withSeed(bytes.data, bytes.size, about);
    state->is_changed = true;
}

static void chain(struct shard_state *state)
{
    if (state->is_changed)
        state->hash = XXH3_64bits_withSeed(&state->changes, sizeof(state->changes), state->hash);
    state->changes = 0;
    state->is_changed = false;
}

/* ---- applying -------------------------------------------------------------------------------- */

static void apply_command(struct shard_state *state, const struct shard_message_entry *entry,
                          const struct shard_message_command *command, uint32_t ordinal,
                          struct buffer *reply)
{
    struct shard_moment moment = {
        .index = state->entry_index,
        .wall_ms = entry->wall_ms,
        .random = XXH64(&ordinal, sizeof(ordinal), entry->random),
    };

    state->engine = command->engine;
    state->has_put = false;
    state->engines[command->engine]->apply(state, &moment, command->body, reply);
}

static void remember_reply(struct shard_state *state, const struct shard_message_command *command,
                           const struct shard_reply_slot *slot, enum error rc, struct slice reply)
{
    const uint64_t about[] = {command->session, command->sequence, (uint64_t)rc};

    shard_replies_end(&state->replies, slot, rc, reply);
    if (slot->session == NULL)
        return;
    state->gathered_bytes += reply.size;
    note_change(state, XXH3_64bits(about, sizeof(about)), reply);
}

static bool has_engine(const struct shard_state *state, uint8_t engine)
{
    return engine < SHARD_ENGINE_COUNT && state->engines[engine] != NULL;
}

enum error shard_state_apply(struct shard_state *state, uint64_t index, struct slice bytes,
                             void *user, shard_state_on_reply on_reply)
{
    struct shard_message_entry entry;
    struct shard_message_command command;
    struct buffer reply = BUFFER_INIT(REPLY_BYTES_MAX);
    uint32_t done_before = 0;
    uint32_t ordinal = 0;

    CHECK(index > state->applied);
    if (index == state->entry_index && state->commands_done != COMMANDS_ALL)
        done_before = state->commands_done;
    state->entry_index = index;
    state->commands_done = done_before;
    state->is_applying = true;
    if (shard_message_entry_read(bytes, &entry) != OK)
        log_error("shard_state.malformed_entry path=%s index=%" PRIu64, state->path, index);
    else
        shard_replies_sweep(&state->replies, entry.wall_ms);
    while (shard_message_entry_next(&entry, &command) == OK) {
        struct shard_reply_slot slot;

        if (ordinal++ < done_before)
            continue;
        buffer_clear(&reply);
        enum error command_rc = shard_replies_begin(&state->replies, &command, &slot);

        if (command_rc == ERR_EXISTS) { /* a retry: answer what was answered */
            command_rc =
                shard_replies_recall(&state->replies, state->env, state->kv, &slot, &reply);
        } else if (command_rc == OK && !has_engine(state, command.engine)) {
            command_rc = ERR_VERSION;
            remember_reply(state, &command, &slot, command_rc, slice_of(NULL, 0));
        } else if (command_rc == OK) {
            apply_command(state, &entry, &command, ordinal, &reply);
            remember_reply(state, &command, &slot, OK, buffer_slice(&reply));
        }
        state->commands_done = ordinal;
        state->is_behind = true;
        on_reply(user, command.session, command.sequence, command_rc, buffer_slice(&reply));
    }
    state->is_applying = false;
    buffer_close(&reply);
    chain(state);
    state->commands_done = COMMANDS_ALL;
    state->applied = index;
    state->is_behind = true;
    if (state->gathered_bytes >= SHARD_STATE_GATHER_BYTES_MAX)
        shard_state_flush(state);
    return state->broken;
}

enum error shard_state_read(struct shard_state *state, uint8_t engine, struct slice query,
                            struct buffer *reply)
{
    if (!has_engine(state, engine))
        return ERR_VERSION;
    state->engine = engine;
    state->engines[engine]->read(state, query, reply);
    return state->broken;
}

enum error shard_state_stamp(struct env *env, struct kv *kv, uint64_t applied, uint64_t hash)
{
    struct buffer value = BUFFER_INIT(PLACE_NUMBERS * sizeof(uint64_t));

    put_place(&value, applied, COMMANDS_ALL, hash, 0, 0);

    const struct kv_write write = {.key = KEY_PLACE, .value = buffer_slice(&value)};
    enum error rc = env->kv->write(env, kv, &write, 1);

    buffer_close(&value);
    return rc;
}

/* ---- what engines call -------------------------------------------------------------------------
 */

#define ENGINE_PREFIX_BYTES 2

/* Valid until the next call. */
static struct slice engine_key(struct shard_state *state, struct slice key)
{
    buffer_clear(&state->key);
    buffer_put_u8(&state->key, 'e');
    buffer_put_u8(&state->key, (uint8_t)state->engine);
    buffer_put_slice(&state->key, key);
    return buffer_slice(&state->key);
}

enum error shard_get(struct shard_state *state, struct slice key, struct buffer *value)
{
    struct slice full = engine_key(state, key);
    uintptr_t place = (uintptr_t)map_find(&state->overlay, full);

    if (place == 0) {
        enum error rc = state->env->kv->get(state->env, state->kv, NULL, full, value);

        note_broken(state, rc);
        return rc;
    }
    const struct kv_write *write = &state->writes[place - 1];

    return write->is_delete ? ERR_NOT_FOUND : buffer_append_slice(value, write->value);
}

static void put(struct shard_state *state, struct slice key, struct slice value, bool is_delete)
{
    struct slice full = engine_key(state, key);
    uint64_t key_hash = XXH3_64bits(full.data, full.size);

    CHECK(state->is_applying);
    put_raw(state, full, value, is_delete);
    note_change(state, is_delete ? ~key_hash : key_hash, value);
    state->changed[key_hash % SHARD_STATE_CHANGED] = state->entry_index;
    state->has_put = true;
}

void shard_put(struct shard_state *state, struct slice key, struct slice value)
{
    put(state, key, value, false);
}

void shard_delete(struct shard_state *state, struct slice key)
{
    put(state, key, slice_of(NULL, 0), true);
}

void **shard_memory(struct shard_state *state)
{
    return &state->memories[state->engine];
}

void shard_signal(struct shard_state *state)
{
    CHECK(state->is_applying);
    state->is_signalled = true;
}

uint64_t shard_changed(struct shard_state *state, struct slice key)
{
    struct slice full = engine_key(state, key);
    uint64_t changed = state->changed[XXH3_64bits(full.data, full.size) % SHARD_STATE_CHANGED];

    return changed > state->changed_floor ? changed : state->changed_floor;
}

struct shard_cursor {
    struct shard_state *state;
    struct env *env;
    struct kv_cursor *cursor;
    uint8_t prefix[ENGINE_PREFIX_BYTES];
};

struct shard_cursor *shard_cursor_open(struct shard_state *state)
{
    struct shard_cursor *cursor = check_calloc(1, sizeof(*cursor));

    /* The store's cursor sees only what the store has: hand over all before this command. The
     * hash is chained here on every replica, for any may find itself in need of going on here. */
    if (state->is_applying) {
        CHECK(!state->has_put);
        chain(state);
    }
    shard_state_flush(state);
    cursor->state = state;
    cursor->env = state->env;
    cursor->prefix[0] = 'e';
    cursor->prefix[1] = (uint8_t)state->engine;
    cursor->cursor = state->env->kv->cursor(state->env, state->kv, NULL);
    return cursor;
}

void shard_cursor_close(struct shard_cursor *cursor)
{
    note_broken(cursor->state, cursor->env->kv->cursor_error(cursor->cursor));
    cursor->env->kv->cursor_close(cursor->cursor);
    free(cursor);
}

static void seek(struct shard_cursor *cursor, struct slice key,
                 void (*how)(struct kv_cursor *, struct slice))
{
    struct buffer full = BUFFER_INIT(BUFFER_UNLIMITED);

    buffer_put(&full, cursor->prefix, sizeof(cursor->prefix));
    buffer_put_slice(&full, key);
    how(cursor->cursor, buffer_slice(&full));
    buffer_close(&full);
}

void shard_cursor_seek(struct shard_cursor *cursor, struct slice key)
{
    seek(cursor, key, cursor->env->kv->cursor_seek);
}

void shard_cursor_seek_last(struct shard_cursor *cursor, struct slice key)
{
    seek(cursor, key, cursor->env->kv->cursor_seek_last);
}

void shard_cursor_next(struct shard_cursor *cursor)
{
    cursor->env->kv->cursor_next(cursor->cursor);
}

void shard_cursor_previous(struct shard_cursor *cursor)
{
    cursor->env->kv->cursor_previous(cursor->cursor);
}

bool shard_cursor_valid(const struct shard_cursor *cursor)
{
    return cursor->env->kv->cursor_valid(cursor->cursor) &&
           slice_starts_with(cursor->env->kv->cursor_key(cursor->cursor),
                             slice_of(cursor->prefix, sizeof(cursor->prefix)));
}

struct slice shard_cursor_key(const struct shard_cursor *cursor)
{
    struct slice key = cursor->env->kv->cursor_key(cursor->cursor);

    return slice_of(key.data + ENGINE_PREFIX_BYTES, key.size - ENGINE_PREFIX_BYTES);
}

struct slice shard_cursor_value(const struct shard_cursor *cursor)
{
    return cursor->env->kv->cursor_value(cursor->cursor);
}
