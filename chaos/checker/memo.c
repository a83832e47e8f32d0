#include "chaos/checker/memo.h"

#include "proto/base/check.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_WORDS 2
#define SLOTS_MIN 64
#define BETTER_LOOKS_MAX 48

void memo_init(struct memo *memo, size_t words)
{
    *memo = (struct memo){.words = words};
}

void memo_close(struct memo *memo)
{
    free(memo->pool);
    free(memo->previous);
    free(memo->equal);
    free(memo->alike);
    *memo = (struct memo){0};
}

static uint64_t hash_of(const uint64_t *words, size_t count)
{
    uint64_t hash = 0x9e3779b97f4a7c15u;

    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ words[i]) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return hash;
}

/* The slot that holds a configuration whose first `size` words are these, or the free one. */
static uint32_t *slot_of(const struct memo *memo, uint32_t *slots, const uint64_t *words,
                         size_t size)
{
    size_t slot = hash_of(words, size) & (memo->slot_count - 1);

    while (slots[slot] != 0 &&
           memcmp(memo->pool + (slots[slot] - 1) * memo->words, words, size * sizeof(*words)) != 0)
        slot = (slot + 1) & (memo->slot_count - 1);
    return &slots[slot];
}

static void grow(struct memo *memo)
{
    memo->capacity = memo->capacity == 0 ? SLOTS_MIN / 2 : memo->capacity * 2;
    memo->slot_count = memo->capacity * 2;
    CHECK(memo->capacity < UINT32_MAX);
    memo->pool = check_realloc(memo->pool, memo->capacity * memo->words * sizeof(*memo->pool));
    memo->previous = check_realloc(memo->previous, memo->capacity * sizeof(*memo->previous));
    free(memo->equal);
    free(memo->alike);
    memo->equal = check_calloc(memo->slot_count, sizeof(*memo->equal));
    memo->alike = check_calloc(memo->slot_count, sizeof(*memo->alike));
    for (size_t i = 0; i < memo->count; i++) {
        const uint64_t *words = memo->pool + i * memo->words;

        *slot_of(memo, memo->equal, words, memo->words) = (uint32_t)i + 1;
        *slot_of(memo, memo->alike, words, HEAD_WORDS) = (uint32_t)i + 1;
    }
}

static bool is_better(const struct memo *memo, const uint64_t *better, const uint64_t *worse)
{
    for (size_t i = HEAD_WORDS; i < memo->words; i++)
        if ((better[i] & ~worse[i]) != 0)
            return false;
    return true;
}

bool memo_add(struct memo *memo, const uint64_t *configuration)
{
    uint32_t *equal;
    uint32_t *alike;
    uint32_t other;

    if (memo->count == memo->capacity)
        grow(memo);
    equal = slot_of(memo, memo->equal, configuration, memo->words);
    if (*equal != 0)
        return true;
    alike = slot_of(memo, memo->alike, configuration, HEAD_WORDS);
    other = *alike;
    for (size_t looks = 0; other != 0 && looks < BETTER_LOOKS_MAX; looks++) {
        if (is_better(memo, memo->pool + (other - 1) * memo->words, configuration))
            return true;
        other = memo->previous[other - 1];
    }
    memcpy(memo->pool + memo->count * memo->words, configuration,
           memo->words * sizeof(*configuration));
    memo->previous[memo->count] = *alike;
    memo->count++;
    *equal = *alike = (uint32_t)memo->count;
    return false;
}

size_t memo_bytes(const struct memo *memo)
{
    return memo->capacity *
           (memo->words * sizeof(*memo->pool) + sizeof(*memo->previous) + 4 * sizeof(*memo->equal));
}
