#include "tests/unit/shard/toy_engine.h"

#include <stdio.h>

static unsigned value_of(struct shard_state *state, struct slice name)
{
    struct buffer value = BUFFER_INIT(64);
    unsigned number = 0;

    if (shard_get(state, name, &value) == OK)
        (void)sscanf(buffer_text(&value), "%u", &number);
    buffer_close(&value);
    return number;
}

static void add(struct shard_state *state, struct slice name, struct buffer *reply)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%u", value_of(state, name) + 1);
    shard_put(state, name, slice_text(text));
    buffer_put_text(reply, text);
}

static void count(struct shard_state *state, struct buffer *reply)
{
    struct shard_cursor *cursor = shard_cursor_open(state);
    unsigned found = 0;

    for (shard_cursor_seek(cursor, slice_of(NULL, 0)); shard_cursor_valid(cursor);
         shard_cursor_next(cursor))
        found++;
    shard_cursor_close(cursor);
    buffer_putf(reply, "%u", found);
}

static void toy_apply(struct shard_state *state, const struct shard_moment *moment,
                      struct slice command, struct buffer *reply)
{
    struct slice name = {command.data + 1, command.size - 1};
    struct buffer unused = BUFFER_INIT(64);

    (void)moment;
    switch (command.data[0]) {
    case '+':
        add(state, name, reply);
        break;
    case '#':
        count(state, reply);
        add(state, SLICE_LITERAL("#"), &unused);
        break;
    case 'L':
        add(state, name, &unused);
        for (int i = 0; i < 1000; i++)
            buffer_put_u8(reply, 'x');
        break;
    default:
        break;
    }
    buffer_close(&unused);
}

static void toy_read(struct shard_state *state, struct slice query, struct buffer *reply)
{
    buffer_putf(reply, "%u", value_of(state, query));
}

static const struct shard_engine toy = {
    .id = SHARD_ENGINE_TABLE, .apply = toy_apply, .read = toy_read};

const struct shard_engine *const toy_engines[SHARD_ENGINE_COUNT] = {[SHARD_ENGINE_TABLE] = &toy};
