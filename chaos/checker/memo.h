/* Configurations a search has tried.
 *
 * A configuration is `words` numbers: two that must be equal (event and state), then two sets of
 * bits. One with the same first two numbers whose sets are both subsets is as good or better, so
 * what it could not reach need not be tried again. Finding an equal one takes constant time; of
 * better ones only some of the newest are looked at. */

#ifndef CHAOS_CHECKER_MEMO_H
#define CHAOS_CHECKER_MEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct memo {
    size_t words;
    uint64_t *pool;     /* the configurations, one behind the other */
    uint32_t *previous; /* the one before with the same event and state, + 1 */
    size_t count;
    size_t capacity;
    uint32_t *equal; /* hash of everything -> configuration + 1 */
    uint32_t *alike; /* hash of event and state -> the newest configuration + 1 */
    size_t slot_count;
};

void memo_init(struct memo *memo, size_t words);
void memo_close(struct memo *memo);

/* Was it, or a better one, added before? If not it is now. */
bool memo_add(struct memo *memo, const uint64_t *configuration);

size_t memo_bytes(const struct memo *memo);

#endif
