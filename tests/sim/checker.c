#include "tests/sim/checker.h"

#include "proto/base/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void checker_init(struct checker *checker, size_t group_count)
{
    *checker = (struct checker){.group_count = group_count};
    map_init(&checker->refused);
    checker->groups = check_calloc(group_count, sizeof(*checker->groups));
    for (size_t i = 0; i < group_count; i++)
        map_init(&checker->groups[i].leaders);
}

void checker_close(struct checker *checker)
{
    for (size_t i = 0; i < checker->group_count; i++) {
        free(checker->groups[i].entries);
        map_close(&checker->groups[i].leaders);
    }
    free(checker->groups);
    map_close(&checker->refused);
}

void checker_fail(struct checker *checker, const char *format, ...)
{
    va_list arguments;

    if (checker->is_failed)
        return;
    checker->is_failed = true;
    va_start(arguments, format);
    (void)vsnprintf(checker->why, sizeof(checker->why), format, arguments);
    va_end(arguments);
}

uint64_t checker_hash(uint64_t hash, uint64_t index, uint64_t term, uint64_t id)
{
    const uint64_t facts[] = {index, term, id};

    for (size_t i = 0; i < ARRAY_COUNT(facts); i++) {
        hash = (hash ^ facts[i]) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 31;
    }
    return hash;
}

static struct checker_entry *entry_get(struct checker_group *group, uint64_t index)
{
    uint64_t capacity = group->capacity > 0 ? group->capacity : 1024;

    while (capacity <= index)
        capacity *= 2;
    if (capacity > group->capacity) {
        group->entries = check_realloc(group->entries, capacity * sizeof(*group->entries));
        memset(group->entries + group->capacity, 0,
               (capacity - group->capacity) * sizeof(*group->entries));
        group->capacity = capacity;
    }
    return &group->entries[index];
}

void checker_on_apply(struct checker *checker, size_t group, uint64_t node, uint64_t index,
                      uint64_t term, uint64_t id, uint64_t hash)
{
    struct checker_group *it = &checker->groups[group];
    struct checker_entry *entry = entry_get(it, index);

    if (map_find_u64(&checker->refused, id) != NULL)
        checker_fail(checker,
                     "node %" PRIu64 " applied command %" PRIu64 " at %" PRIu64 ".%" PRIu64
                     ", which was refused",
                     node, id, (uint64_t)group, index);
    if (entry->id == 0) {
        if (index < it->applied_max)
            checker_fail(checker,
                         "node %" PRIu64 " applied a command at %" PRIu64 ".%" PRIu64
                         " where others, now at %" PRIu64 ", had none",
                         node, (uint64_t)group, index, it->applied_max);
        *entry = (struct checker_entry){term, id, hash};
        it->applied_max = index;
        return;
    }
    if (entry->term != term || entry->id != id)
        checker_fail(checker,
                     "diverged: node %" PRIu64 " applied command %" PRIu64 " of term %" PRIu64
                     " at %" PRIu64 ".%" PRIu64 ", another %" PRIu64 " of term %" PRIu64,
                     node, id, term, (uint64_t)group, index, entry->id, entry->term);
    else if (entry->hash != hash)
        checker_fail(checker, "states differ: node %" PRIu64 " at %" PRIu64 ".%" PRIu64, node,
                     (uint64_t)group, index);
}

void checker_on_state(struct checker *checker, size_t group, uint64_t node, uint64_t index,
                      uint64_t hash, const char *whence)
{
    struct checker_group *it = &checker->groups[group];
    uint64_t last = index < it->applied_max ? index : it->applied_max;

    while (last > 0 && entry_get(it, last)->id == 0)
        last--;
    if (hash != (last > 0 ? entry_get(it, last)->hash : 0))
        checker_fail(checker,
                     "wrong state: node %" PRIu64 " at %" PRIu64 ".%" PRIu64 " from its %s", node,
                     (uint64_t)group, index, whence);
}

void checker_on_ack(struct checker *checker, size_t group, uint64_t node, uint64_t index,
                    uint64_t id)
{
    struct checker_group *it = &checker->groups[group];

    if (entry_get(it, index)->id != id)
        checker_fail(checker,
                     "node %" PRIu64 " acknowledged command %" PRIu64 " at %" PRIu64 ".%" PRIu64
                     ", where %" PRIu64 " was applied",
                     node, id, (uint64_t)group, index, entry_get(it, index)->id);
    if (index > it->acked_max)
        it->acked_max = index;
    it->acked_count++;
}

void checker_on_refused(struct checker *checker, uint64_t id)
{
    (void)map_set_u64(&checker->refused, id, checker);
}

void checker_on_read(struct checker *checker, size_t group, uint64_t node, uint64_t applied,
                     uint64_t acked_before)
{
    if (applied < acked_before)
        checker_fail(checker,
                     "stale read: node %" PRIu64 " of group %" PRIu64 " answered at %" PRIu64
                     " though %" PRIu64 " was acknowledged before",
                     node, (uint64_t)group, applied, acked_before);
}

void checker_on_leader(struct checker *checker, size_t group, uint64_t node, uint64_t term)
{
    struct map *leaders = &checker->groups[group].leaders;
    uint64_t other = (uint64_t)(uintptr_t)map_find_u64(leaders, term);

    if (other == 0)
        (void)map_set_u64(leaders, term, (void *)(uintptr_t)node);
    else if (other != node)
        checker_fail(checker,
                     "two leaders of group %" PRIu64 " in term %" PRIu64 ": nodes %" PRIu64
                     " and %" PRIu64,
                     (uint64_t)group, term, other, node);
}
