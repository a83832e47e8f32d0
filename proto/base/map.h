/* Hash map from bytes to a pointer, in order of insertion when walked: never by address or seed,
 * so that two runs of a simulation walk alike. */

#ifndef PROTO_BASE_MAP_H
#define PROTO_BASE_MAP_H

#include "proto/base/buffer.h"

struct map_entry {
    struct slice key; /* owned by the map */
    void *value;
    uint64_t hash;
};

struct map {
    struct map_entry *entries; /* in order of insertion; key.data NULL marks a removed one */
    size_t entry_count;        /* used slots of `entries`, removed ones included */
    size_t entry_capacity;
    uint32_t *slots; /* index into entries + 1, 0 = free */
    size_t slot_count;
    size_t count; /* live entries */
};

static inline void map_init(struct map *map)
{
    *map = (struct map){0};
}

/* Frees keys and the table; values are the caller's. */
void map_close(struct map *map);

/* NULL when absent. */
void *map_find(const struct map *map, struct slice key);

/* Copies the key. Returns the value that was there before, NULL if none. */
void *map_set(struct map *map, struct slice key, void *value);

/* Returns the removed value, NULL if none. */
void *map_remove(struct map *map, struct slice key);

static inline void *map_find_u64(const struct map *map, uint64_t key)
{
    return map_find(map, slice_of(&key, sizeof(key)));
}

static inline void *map_set_u64(struct map *map, uint64_t key, void *value)
{
    return map_set(map, slice_of(&key, sizeof(key)), value);
}

static inline void *map_remove_u64(struct map *map, uint64_t key)
{
    return map_remove(map, slice_of(&key, sizeof(key)));
}

/* Walk: size_t i = 0; while ((entry = map_next(map, &i)) != NULL) ... The entry at hand may be
 * removed meanwhile, nothing else. */
struct map_entry *map_next(const struct map *map, size_t *position);

#endif
