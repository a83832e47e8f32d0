#include "proto/base/map.h"

#include "proto/base/check.h"

#define SLOTS_MIN 16

/* FNV-1a with a final mix; keys are our own or bounded by limits elsewhere. */
static uint64_t hash_of(struct slice key)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < key.size; i++)
        hash = (hash ^ key.data[i]) * 0x100000001b3u;
    hash ^= hash >> 32;
    hash *= 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

void map_close(struct map *map)
{
    for (size_t i = 0; i < map->entry_count; i++)
        free((void *)(uintptr_t)map->entries[i].key.data);
    free(map->entries);
    free(map->slots);
    *map = (struct map){0};
}

/* The slot that holds `key`, or the free one where it belongs. */
static size_t slot_of(const struct map *map, struct slice key, uint64_t hash)
{
    size_t slot = hash & (map->slot_count - 1);

    while (map->slots[slot] != 0) {
        const struct map_entry *entry = &map->entries[map->slots[slot] - 1];

        if (entry->hash == hash && entry->key.data != NULL && slice_equal(entry->key, key))
            break;
        slot = (slot + 1) & (map->slot_count - 1);
    }
    return slot;
}

void *map_find(const struct map *map, struct slice key)
{
    if (map->count == 0)
        return NULL;
    size_t slot = slot_of(map, key, hash_of(key));

    return map->slots[slot] == 0 ? NULL : map->entries[map->slots[slot] - 1].value;
}

/* Drop removed entries and rebuild the slots with room for one more. */
static void rebuild(struct map *map)
{
    size_t live = 0;

    for (size_t i = 0; i < map->entry_count; i++)
        if (map->entries[i].key.data != NULL)
            map->entries[live++] = map->entries[i];
    map->entry_count = live;
    size_t slot_count = SLOTS_MIN;

    while (slot_count < (live + 1) * 2)
        slot_count *= 2;
    free(map->slots);
    map->slots = check_calloc(slot_count, sizeof(*map->slots));
    map->slot_count = slot_count;
    map->entry_capacity = slot_count / 2 + slot_count / 4;
    map->entries = check_realloc(map->entries, map->entry_capacity * sizeof(*map->entries));
    for (size_t i = 0; i < live; i++)
        map->slots[slot_of(map, map->entries[i].key, map->entries[i].hash)] = (uint32_t)i + 1;
}

void *map_set(struct map *map, struct slice key, void *value)
{
    uint64_t hash = hash_of(key);

    CHECK(value != NULL);
    if (map->entry_count == map->entry_capacity)
        rebuild(map);
    size_t slot = slot_of(map, key, hash);

    if (map->slots[slot] != 0) {
        struct map_entry *entry = &map->entries[map->slots[slot] - 1];
        void *before = entry->value;

        entry->value = value;
        return before;
    }
    uint8_t *copy = check_malloc(key.size);

    if (key.size > 0)
        memcpy(copy, key.data, key.size);
    map->entries[map->entry_count++] =
        (struct map_entry){.key = {copy, key.size}, .value = value, .hash = hash};
    map->slots[slot] = (uint32_t)map->entry_count;
    map->count++;
    return NULL;
}

void *map_remove(struct map *map, struct slice key)
{
    if (map->count == 0)
        return NULL;
    size_t slot = slot_of(map, key, hash_of(key));

    if (map->slots[slot] == 0)
        return NULL;
    struct map_entry *entry = &map->entries[map->slots[slot] - 1];
    void *value = entry->value;

    /* The slot stays taken until the next rebuild, so that probing walks on past it. */
    free((void *)(uintptr_t)entry->key.data);
    *entry = (struct map_entry){0};
    map->count--;
    return value;
}

struct map_entry *map_next(const struct map *map, size_t *position)
{
    while (*position < map->entry_count) {
        struct map_entry *entry = &map->entries[(*position)++];

        if (entry->key.data != NULL)
            return entry;
    }
    return NULL;
}
