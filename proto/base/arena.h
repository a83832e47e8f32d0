/* Memory of one request: allocate many times, free once.
 *
 * Everything an HTTP request needs lives in its arena and dies with it. */

#ifndef PROTO_BASE_ARENA_H
#define PROTO_BASE_ARENA_H

#include "proto/base/buffer.h"

struct arena_block;

struct arena {
    struct arena_block *blocks;
};

static inline void arena_init(struct arena *arena)
{
    arena->blocks = NULL;
}

/* Frees everything; the arena is empty and may be used again. */
void arena_close(struct arena *arena);

/* Zeroed, aligned for any type, never NULL. */
void *arena_alloc(struct arena *arena, size_t bytes);
char *arena_text(struct arena *arena, struct slice text); /* copy with a NUL behind it */
struct slice arena_copy(struct arena *arena, struct slice bytes);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
