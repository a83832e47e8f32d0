#include "node/shard/shard_snapshot.h"

#include "proto/base/check.h"

#include <stdio.h>

#define BATCH_RECORDS_MAX 512

struct shard_snapshot_pin {
    struct env *env;
    struct kv *kv;
    struct kv_snapshot *snapshot;
    uint64_t hash;
};

struct shard_snapshot_pin *shard_snapshot_pin(struct shard_state *state)
{
    struct shard_snapshot_pin *pin = check_malloc(sizeof(*pin));

    shard_state_flush(state);
    *pin = (struct shard_snapshot_pin){
        .env = state->env,
        .kv = state->kv,
        .snapshot = state->env->kv->snapshot(state->env, state->kv),
        .hash = state->hash,
    };
    return pin;
}

void shard_snapshot_unpin(struct shard_snapshot_pin *pin)
{
    pin->env->kv->snapshot_release(pin->env, pin->kv, pin->snapshot);
    free(pin);
}

static void record_put(struct buffer *chunk, struct slice key, struct slice value)
{
    buffer_put_u32(chunk, (uint32_t)key.size);
    buffer_put_u32(chunk, (uint32_t)value.size);
    buffer_put_slice(chunk, key);
    buffer_put_slice(chunk, value);
}

enum error shard_snapshot_read(struct shard_snapshot_pin *pin, struct buffer *position,
                               size_t chunk_bytes, struct buffer *chunk, bool *is_last)
{
    const struct env_kv *kv = pin->env->kv;
    struct kv_cursor *cursor = kv->cursor(pin->env, pin->kv, pin->snapshot);
    size_t start = chunk->size;

    if (position->size == 0)
        record_put(chunk, slice_of(NULL, 0), slice_of(&pin->hash, sizeof(pin->hash)));
    kv->cursor_seek(cursor, buffer_slice(position));
    while (kv->cursor_valid(cursor) && chunk->size - start < chunk_bytes) {
        struct slice key = kv->cursor_key(cursor);

        if (!shard_state_is_own_key(key))
            record_put(chunk, key, kv->cursor_value(cursor));
        kv->cursor_next(cursor);
    }
    enum error rc = kv->cursor_error(cursor);

    if (rc == OK) {
        *is_last = !kv->cursor_valid(cursor);
        buffer_clear(position);
        if (!*is_last)
            buffer_put_slice(position, kv->cursor_key(cursor));
    }
    kv->cursor_close(cursor);
    return rc;
}

void shard_staging_close(struct shard_staging *staging)
{
    if (staging->kv != NULL)
        staging->env->kv->close(staging->env, staging->kv);
    *staging = (struct shard_staging){0};
}

enum error shard_staging_begin(struct shard_staging *staging, const struct shard_state *state)
{
    shard_staging_close(staging);
    staging->env = state->env;
    (void)snprintf(staging->path, sizeof(staging->path), "%s.new", state->path);
    enum error rc = state->env->disk->remove(state->env, staging->path);

    if (rc != OK && rc != ERR_NOT_FOUND)
        return rc;
    return state->env->kv->open(state->env, staging->path, &staging->kv);
}

enum error shard_staging_chunk(struct shard_staging *staging, struct slice chunk)
{
    struct reader reader = reader_of(chunk);
    struct kv_write writes[BATCH_RECORDS_MAX];
    enum error rc = staging->kv != NULL ? OK : ERR_INVALID;
    size_t count = 0;

    while (rc == OK && reader.rest.size > 0) {
        uint32_t key_bytes = reader_u32(&reader);
        uint32_t value_bytes = reader_u32(&reader);
        struct slice key = reader_bytes(&reader, key_bytes);
        struct slice value = reader_bytes(&reader, value_bytes);

        if (!reader.ok || shard_state_is_own_key(key))
            return ERR_INVALID;
        if (key.size == 0) {
            if (value.size != sizeof(staging->hash))
                return ERR_INVALID;
            memcpy(&staging->hash, value.data, sizeof(staging->hash));
            staging->has_hash = true;
            continue;
        }
        writes[count++] = (struct kv_write){.key = key, .value = value};
        if (count == BATCH_RECORDS_MAX || reader.rest.size == 0) {
            rc = staging->env->kv->write(staging->env, staging->kv, writes, count);
            count = 0;
        }
    }
    return rc;
}

enum error shard_staging_install(struct shard_staging *staging, struct shard_state *state,
                                 uint64_t index)
{
    struct env *env = state->env;
    const struct shard_engine *const *engines = state->engines;
    char path[sizeof(state->path)];
    enum error rc;

    if (staging->kv == NULL || !staging->has_hash)
        return ERR_INVALID;
    rc = shard_state_stamp(env, staging->kv, index, staging->hash);
    if (rc == OK)
        rc = env->kv->sync(env, staging->kv);
    if (rc != OK)
        return rc;
    memcpy(path, state->path, sizeof(path));
    env->kv->close(env, staging->kv);
    staging->kv = NULL;
    shard_state_close(state);
    rc = shard_state_replace(env, path, staging->path);
    if (rc == OK)
        rc = shard_state_reopen(state, env, path, engines);
    shard_staging_close(staging);
    return rc;
}
