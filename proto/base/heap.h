/* Binary heap of intrusive nodes, least key first; equal keys leave in the order they came.
 * Serves as the timer queue of both environments and as the simulator's event queue. */

#ifndef PROTO_BASE_HEAP_H
#define PROTO_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    uint64_t key;
    uint64_t order; /* set by heap_insert */
    size_t place;   /* 1-based place in the heap; 0 = in none */
};

struct heap {
    struct heap_node **nodes;
    size_t count;
    size_t capacity;
    uint64_t order_next;
};

static inline void heap_init(struct heap *heap)
{
    *heap = (struct heap){0};
}

void heap_close(struct heap *heap);
void heap_insert(struct heap *heap, struct heap_node *node, uint64_t key);
void heap_remove(struct heap *heap, struct heap_node *node); /* nothing if it is in none */
struct heap_node *heap_first(const struct heap *heap);       /* NULL when empty */

#endif
