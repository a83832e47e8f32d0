#include "proto/base/heap.h"

#include "proto/base/check.h"

#include <stdlib.h>

void heap_close(struct heap *heap)
{
    free(heap->nodes);
    *heap = (struct heap){0};
}

static bool is_before(const struct heap_node *a, const struct heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->order < b->order;
}

static void put(struct heap *heap, size_t place, struct heap_node *node)
{
    heap->nodes[place - 1] = node;
    node->place = place;
}

static void sift_up(struct heap *heap, struct heap_node *node, size_t place)
{
    while (place > 1 && is_before(node, heap->nodes[place / 2 - 1])) {
        put(heap, place, heap->nodes[place / 2 - 1]);
        place /= 2;
    }
    put(heap, place, node);
}

static void sift_down(struct heap *heap, struct heap_node *node, size_t place)
{
    for (;;) {
        size_t child = place * 2;

        if (child > heap->count)
            break;
        if (child < heap->count && is_before(heap->nodes[child], heap->nodes[child - 1]))
            child++;
        if (!is_before(heap->nodes[child - 1], node))
            break;
        put(heap, place, heap->nodes[child - 1]);
        place = child;
    }
    put(heap, place, node);
}

void heap_insert(struct heap *heap, struct heap_node *node, uint64_t key)
{
    CHECK(node->place == 0);
    if (heap->count == heap->capacity) {
        heap->capacity = heap->capacity > 0 ? heap->capacity * 2 : 16;
        heap->nodes = check_realloc(heap->nodes, heap->capacity * sizeof(struct heap_node *));
    }
    node->key = key;
    node->order = heap->order_next++;
    heap->count++;
    sift_up(heap, node, heap->count);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    if (node->place == 0)
        return;
    size_t place = node->place;
    struct heap_node *last = heap->nodes[heap->count - 1];

    CHECK(heap->nodes[place - 1] == node);
    heap->count--;
    node->place = 0;
    if (last == node)
        return;
    if (place > 1 && is_before(last, heap->nodes[place / 2 - 1]))
        sift_up(heap, last, place);
    else
        sift_down(heap, last, place);
}

struct heap_node *heap_first(const struct heap *heap)
{
    return heap->count > 0 ? heap->nodes[0] : NULL;
}
