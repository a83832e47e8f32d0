#include "chaos/checker/intern.h"

#define ENTRY_BYTES (2 * sizeof(struct map_entry)) /* with its share of slots and allocator */

bool intern_find(const struct intern *intern, struct slice bytes, uint32_t *id)
{
    void *found = map_find(&intern->ids, bytes);

    if (found == NULL)
        return false;
    *id = (uint32_t)((uintptr_t)found - 1);
    return true;
}

/* Nothing is ever removed, so an id is the place in the map's order of insertion. */
uint32_t intern_put(struct intern *intern, struct slice bytes)
{
    uint32_t id;

    if (intern_find(intern, bytes, &id))
        return id;
    id = (uint32_t)intern_count(intern);
    (void)map_set(&intern->ids, bytes, (void *)(uintptr_t)(id + (uintptr_t)1));
    intern->bytes += bytes.size + ENTRY_BYTES;
    return id;
}
