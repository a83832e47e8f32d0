/* Bytes as small numbers: equal bytes get the same id, ids count up from 0 and stay valid. */

#ifndef CHAOS_CHECKER_INTERN_H
#define CHAOS_CHECKER_INTERN_H

#include "proto/base/map.h"

struct intern {
    struct map ids;
    size_t bytes; /* held, with what the table itself needs */
};

static inline void intern_init(struct intern *intern)
{
    *intern = (struct intern){0};
}

static inline void intern_close(struct intern *intern)
{
    map_close(&intern->ids);
}

uint32_t intern_put(struct intern *intern, struct slice bytes);
bool intern_find(const struct intern *intern, struct slice bytes, uint32_t *id);

static inline size_t intern_count(const struct intern *intern)
{
    return intern->ids.entry_count;
}

/* Lent until the table is closed. */
static inline struct slice intern_get(const struct intern *intern, uint32_t id)
{
    return intern->ids.entries[id].key;
}

#endif
