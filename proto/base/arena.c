#include "proto/base/arena.h"

#include "proto/base/check.h"

#include <stdarg.h>
#include <stdio.h>

/* With its head, the most that malloc keeps for a thread without a search. */
#define BLOCK_BYTES 1000

struct arena_block {
    struct arena_block *next;
    size_t used;
    size_t capacity;
    _Alignas(max_align_t) uint8_t data[];
};

void arena_close(struct arena *arena)
{
    struct arena_block *block = arena->blocks;

    while (block != NULL) {
        struct arena_block *next = block->next;

        free(block);
        block = next;
    }
    arena->blocks = NULL;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    const size_t alignment = _Alignof(max_align_t);
    struct arena_block *block = arena->blocks;

    CHECK(bytes < SIZE_MAX / 2);
    bytes = (bytes + alignment - 1) / alignment * alignment;
    if (block == NULL || block->capacity - block->used < bytes) {
        size_t capacity = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;

        block = check_malloc(sizeof(*block) + capacity);
        block->next = arena->blocks;
        block->used = 0;
        block->capacity = capacity;
        arena->blocks = block;
    }
    void *memory = block->data + block->used;

    block->used += bytes;
    return memset(memory, 0, bytes);
}

char *arena_text(struct arena *arena, struct slice text)
{
    char *copy = arena_alloc(arena, text.size + 1);

    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    return copy;
}

struct slice arena_copy(struct arena *arena, struct slice bytes)
{
    return slice_of(arena_text(arena, bytes), bytes.size);
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_list again;

    va_start(arguments, format);
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    char *text = arena_alloc(arena, (size_t)size + 1);

    (void)vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    va_end(arguments);
    return text;
}
