#include "node/shard/shard_state.h"

#include "node/shard/shard_message.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#define KEY_APPLIED SLICE_LITERAL("ia")
#define KEY_HASH SLICE_LITERAL("ih")
#define KEY_DURABLE SLICE_LITERAL("id")
#define REPLY_BYTES_MAX (20u << 20)
#define COMMANDS_ALL UINT32_MAX

/* ---- the store's own records ---------------------------------------------------------------- */

bool shard_state_is_own_key(struct slice key)
{
    return key.size > 0 && key.data[0] == 'i';
}

static void mark_key(uint64_t index, uint8_t key[6])
{
    uint32_t place = (uint32_t)(index % SHARD_STATE_MARKS);

    key[0] = 'i';
    key[1] = 'm';
    for (int i = 0; i < 4; i++)
        key[2 + i] = (uint8_t)(place >> (24 - 8 * i));
}

/* A record of one or two numbers; zero when absent. */
static enum error load_numbers(struct shard_state *state, struct slice key, uint64_t *first,
                               uint64_t *second)
{
    struct buffer value = BUFFER_INIT(64);
    enum error rc = state->env->kv->get(state->env, state->kv, NULL, key, &value);
    struct reader reader = reader_of(buffer_slice(&value));

    *first = 0;
    *second = 0;
    if (rc == OK) {
        *first = reader_u64(&reader);
        if (reader.rest.size > 0)
            *second = reader_u64(&reader);
        if (!reader.ok)
            rc = ERR_CORRUPT;
    } else if (rc == ERR_NOT_FOUND) {
        rc = OK;
    }
    buffer_close(&value);
    return rc;
}

/* Follow the marks back from the last applied entry, each naming the one before it (indexes of
 * barriers and configurations are not applied, so they are not consecutive). ERR_CORRUPT when the
 * chain breaks above the durable index. */
static enum error check_marks(struct shard_state *state)
{
    uint64_t index = state->entry_index;

    while (index > state->durable) {
        uint8_t key[6];
        uint64_t found;
        uint64_t previous;

        mark_key(index, key);
        enum error rc = load_numbers(state, slice_of(key, sizeof(key)), &found, &previous);

        if (rc != OK)
            return rc;
        if (found != index || previous >= index)
            return ERR_CORRUPT;
        index = previous;
    }
    return OK;
}

static enum error load(struct shard_state *state)
{
    uint64_t commands_done;
    uint64_t unused;
    enum error rc = load_numbers(state, KEY_APPLIED, &state->entry_index, &commands_done);

    if (rc == OK)
        rc = load_numbers(state, KEY_HASH, &state->hash, &unused);
    if (rc == OK)
        rc = load_numbers(state, KEY_DURABLE, &state->durable, &unused);
    if (rc == OK)
        rc = shard_replies_load(&state->replies, state->env, state->kv);
    if (rc != OK)
        return rc;
    state->commands_done = (uint32_t)commands_done;
    state->applied = state->entry_index;
    if (state->applied > 0 && state->commands_done != COMMANDS_ALL)
        state->applied--; /* its last entry is there in part */
    return OK;
}

enum error shard_state_reopen(struct shard_state *state, struct env *env, const char *path,
                              const struct shard_engine *const *engines)
{
    *state = (struct shard_state){.env = env, .engines = engines};
    (void)snprintf(state->path, sizeof(state->path), "%s", path);
    arena_init(&state->arena);
    map_init(&state->overlay);
    shard_replies_init(&state->replies);
    enum error rc = env->kv->open(env, path, &state->kv);

    return rc == OK ? load(state) : rc;
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
    map_close(&state->overlay);
    arena_close(&state->arena);
    free(state->writes);
    state->writes = NULL;
    state->write_capacity = 0;
}

/* A store that cannot be read makes every later answer doubtful: the replica stops. */
static void note_broken(struct shard_state *state, enum error rc)
{
    if (state->broken == OK && (rc == ERR_IO || rc == ERR_CORRUPT))
        state->broken = rc;
}

/* ---- the batch ------------------------------------------------------------------------------- */

static void add_write(struct shard_state *state, struct slice key, struct slice value,
                      bool is_delete)
{
    if (state->write_count == state->write_capacity) {
        state->write_capacity = state->write_capacity > 0 ? state->write_capacity * 2 : 64;
        state->writes =
            check_realloc(state->writes, state->write_capacity * sizeof(*state->writes));
    }
    state->writes[state->write_count++] =
        (struct kv_write){.key = key, .value = value, .is_delete = is_delete};
}

/* `key` is complete, with its prefix; both are copied. */
static void put_raw(struct shard_state *state, struct slice key, struct slice value, bool is_delete)
{
    struct slice key_copy = arena_copy(&state->arena, key);
    struct slice value_copy = is_delete ? slice_of(NULL, 0) : arena_copy(&state->arena, value);

    add_write(state, key_copy, value_copy, is_delete);
    (void)map_set(&state->overlay, key_copy, (void *)(uintptr_t)state->write_count);
}

static void put_number(struct shard_state *state, struct slice key, uint64_t first, uint64_t second)
{
    uint64_t *pair = arena_alloc(&state->arena, 2 * sizeof(*pair));

    pair[0] = first;
    pair[1] = second;
    add_write(state, key, slice_of(pair, 2 * sizeof(*pair)), false);
}

/* The sum of the changes' hashes, chained to what was: the order of changes inside a batch does not
 * matter, since what sessions are forgotten in comes from a map. */
static uint64_t chain(uint64_t hash, const struct kv_write *writes, size_t count)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t key_hash = XXH3_64bits(writes[i].key.data, writes[i].key.size);

        sum += writes[i].is_delete
                   ? XXH3_64bits_withSeed(NULL, 0, ~key_hash)
                   : XXH3_64bits_withSeed(writes[i].value.data, writes[i].value.size, key_hash);
    }
    return XXH3_64bits_withSeed(&sum, sizeof(sum), hash);
}

static void replies_write(void *user, struct slice key, struct slice value, bool is_delete)
{
    put_raw(user, key, value, is_delete);
}

/* Hand everything gathered to the store, together with how far it goes. */
static enum error flush(struct shard_state *state, uint64_t index, uint32_t commands_done)
{
    uint8_t *mark = arena_alloc(&state->arena, 6);

    shard_replies_flush(&state->replies, state, replies_write);
    if (state->write_count > 0)
        state->hash = chain(state->hash, state->writes, state->write_count);
    mark_key(index, mark);
    put_number(state, KEY_APPLIED, index, commands_done);
    put_number(state, KEY_HASH, state->hash, 0);
    put_number(state, KEY_DURABLE, state->durable, 0);
    put_number(state, slice_of(mark, 6), index, state->applied);

    enum error rc = state->env->kv->write(state->env, state->kv, state->writes, state->write_count);

    state->write_count = 0;
    state->command_writes = 0;
    map_close(&state->overlay);
    arena_close(&state->arena);
    state->entry_index = index;
    state->commands_done = commands_done;
    return rc;
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
    state->command_writes = 0;
    state->engines[command->engine]->apply(state, &moment, command->body, reply);
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
            shard_replies_end(&state->replies, &slot, command_rc, slice_of(NULL, 0));
        } else if (command_rc == OK) {
            apply_command(state, &entry, &command, ordinal, &reply);
            shard_replies_end(&state->replies, &slot, OK, buffer_slice(&reply));
        }
        state->commands_done = ordinal;
        on_reply(user, command.session, command.sequence, command_rc, buffer_slice(&reply));
    }
    state->is_applying = false;
    buffer_close(&reply);
    note_broken(state, flush(state, index, COMMANDS_ALL));
    state->applied = index;
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

void shard_state_set_durable(struct shard_state *state, uint64_t index)
{
    if (index > state->durable)
        state->durable = index;
}

enum error shard_state_stamp(struct env *env, struct kv *kv, uint64_t applied, uint64_t hash)
{
    uint64_t applied_pair[2] = {applied, COMMANDS_ALL};
    const struct kv_write writes[] = {
        {.key = KEY_APPLIED, .value = slice_of(applied_pair, sizeof(applied_pair))},
        {.key = KEY_HASH, .value = slice_of(&hash, sizeof(hash))},
        {.key = KEY_DURABLE, .value = slice_of(&applied, sizeof(applied))}, /* no marks before it */
    };

    return env->kv->write(env, kv, writes, ARRAY_COUNT(writes));
}

/* ---- what engines call -------------------------------------------------------------------------
 */

#define ENGINE_PREFIX_BYTES 2

static void engine_key(const struct shard_state *state, struct slice key, struct buffer *full)
{
    buffer_put_u8(full, 'e');
    buffer_put_u8(full, (uint8_t)state->engine);
    buffer_put_slice(full, key);
}

enum error shard_get(struct shard_state *state, struct slice key, struct buffer *value)
{
    struct buffer full = BUFFER_INIT(BUFFER_UNLIMITED);
    enum error rc;

    engine_key(state, key, &full);
    uintptr_t place = (uintptr_t)map_find(&state->overlay, buffer_slice(&full));

    if (place != 0) {
        const struct kv_write *write = &state->writes[place - 1];

        rc = write->is_delete ? ERR_NOT_FOUND : buffer_append_slice(value, write->value);
    } else {
        rc = state->env->kv->get(state->env, state->kv, NULL, buffer_slice(&full), value);
        note_broken(state, rc);
    }
    buffer_close(&full);
    return rc;
}

static void put(struct shard_state *state, struct slice key, struct slice value, bool is_delete)
{
    struct buffer full = BUFFER_INIT(BUFFER_UNLIMITED);

    CHECK(state->is_applying);
    engine_key(state, key, &full);
    put_raw(state, buffer_slice(&full), value, is_delete);
    state->command_writes++;
    buffer_close(&full);
}

void shard_put(struct shard_state *state, struct slice key, struct slice value)
{
    put(state, key, value, false);
}

void shard_delete(struct shard_state *state, struct slice key)
{
    put(state, key, slice_of(NULL, 0), true);
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

    /* The store's cursor sees only what the store has: hand it the commands before this one. */
    CHECK(state->command_writes == 0);
    if (state->is_applying && state->write_count > 0)
        note_broken(state, flush(state, state->entry_index, state->commands_done));
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
