#include "tests/lib/fake_state.h"

#include "proto/base/check.h"

struct record {
    struct buffer key;
    struct buffer value;
};

struct shard_state {        /* of one engine in one shard */
    struct record *records; /* sorted by key */
    size_t count;
    size_t cursors;      /* open ones: nothing may be put meanwhile */
    bool tells_commands; /* fake_state_begin_command is called */
    size_t writes;       /* of the command at hand */
    uint64_t changes;    /* ever */
    void *memory;        /* the engine's */
    void (*forget)(void *memory);
};

struct shard_cursor {
    struct shard_state *state;
    size_t index;
    bool is_valid;
};

/* The first record with a key >= `key`. */
static size_t state_seek(const struct shard_state *state, struct slice key)
{
    size_t low = 0;
    size_t high = state->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (slice_compare(buffer_slice(&state->records[middle].key), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool state_has(const struct shard_state *state, size_t index, struct slice key)
{
    return index < state->count && slice_equal(buffer_slice(&state->records[index].key), key);
}

enum error shard_get(struct shard_state *state, struct slice key, struct buffer *value)
{
    size_t index = state_seek(state, key);

    if (!state_has(state, index, key))
        return ERR_NOT_FOUND;
    return buffer_append_slice(value, buffer_slice(&state->records[index].value));
}

void shard_put(struct shard_state *state, struct slice key, struct slice value)
{
    size_t index = state_seek(state, key);
    struct record *record;

    CHECK(state->cursors == 0);
    state->writes++;
    state->changes++;
    if (!state_has(state, index, key)) {
        state->records =
            check_realloc(state->records, (state->count + 1) * sizeof(*state->records));
        memmove(&state->records[index + 1], &state->records[index],
                (state->count - index) * sizeof(*state->records));
        state->count++;
        record = &state->records[index];
        buffer_init(&record->key, BUFFER_UNLIMITED);
        buffer_init(&record->value, BUFFER_UNLIMITED);
        buffer_put_slice(&record->key, key);
    }
    record = &state->records[index];
    buffer_clear(&record->value);
    buffer_put_slice(&record->value, value);
}

void shard_delete(struct shard_state *state, struct slice key)
{
    size_t index = state_seek(state, key);

    CHECK(state->cursors == 0);
    state->writes++;
    state->changes++;
    if (!state_has(state, index, key))
        return;
    buffer_close(&state->records[index].key);
    buffer_close(&state->records[index].value);
    state->count--;
    memmove(&state->records[index], &state->records[index + 1],
            (state->count - index) * sizeof(*state->records));
}

void **shard_memory(struct shard_state *state)
{
    return &state->memory;
}

void shard_signal(struct shard_state *state)
{
    (void)state;
}

void fake_state_set_forget(struct shard_state *state, void (*forget)(void *memory))
{
    state->forget = forget;
}

void fake_state_forget(struct shard_state *state)
{
    if (state->memory != NULL)
        state->forget(state->memory);
    state->memory = NULL;
}

/* Any change may be one of this key. */
uint64_t shard_changed(struct shard_state *state, struct slice key)
{
    (void)key;
    return state->changes;
}

struct shard_state *fake_state_new(void)
{
    return check_calloc(1, sizeof(struct shard_state));
}

void fake_state_begin_command(struct shard_state *state)
{
    state->tells_commands = true;
    state->writes = 0;
}

size_t fake_state_count(const struct shard_state *state)
{
    return state->count;
}

void fake_state_free(struct shard_state *state)
{
    for (size_t i = 0; i < state->count; i++) {
        buffer_close(&state->records[i].key);
        buffer_close(&state->records[i].value);
    }
    fake_state_forget(state);
    free(state->records);
    free(state);
}

struct shard_cursor *shard_cursor_open(struct shard_state *state)
{
    struct shard_cursor *cursor = check_calloc(1, sizeof(*cursor));

    CHECK(!state->tells_commands || state->writes == 0); /* as the real one: look first, then put */
    cursor->state = state;
    state->cursors++;
    return cursor;
}

void shard_cursor_close(struct shard_cursor *cursor)
{
    cursor->state->cursors--;
    free(cursor);
}

void shard_cursor_seek(struct shard_cursor *cursor, struct slice key)
{
    cursor->index = state_seek(cursor->state, key);
    cursor->is_valid = cursor->index < cursor->state->count;
}

void shard_cursor_seek_last(struct shard_cursor *cursor, struct slice key)
{
    cursor->index = state_seek(cursor->state, key);
    if (state_has(cursor->state, cursor->index, key))
        cursor->index++;
    cursor->is_valid = cursor->index > 0;
    if (cursor->is_valid)
        cursor->index--;
}

void shard_cursor_next(struct shard_cursor *cursor)
{
    CHECK(cursor->is_valid);
    cursor->index++;
    cursor->is_valid = cursor->index < cursor->state->count;
}

void shard_cursor_previous(struct shard_cursor *cursor)
{
    CHECK(cursor->is_valid);
    cursor->is_valid = cursor->index > 0;
    if (cursor->is_valid)
        cursor->index--;
}

bool shard_cursor_valid(const struct shard_cursor *cursor)
{
    return cursor->is_valid;
}

struct slice shard_cursor_key(const struct shard_cursor *cursor)
{
    CHECK(cursor->is_valid);
    return buffer_slice(&cursor->state->records[cursor->index].key);
}

struct slice shard_cursor_value(const struct shard_cursor *cursor)
{
    CHECK(cursor->is_valid);
    return buffer_slice(&cursor->state->records[cursor->index].value);
}
