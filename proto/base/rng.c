#include "proto/base/rng.h"

#include "proto/base/check.h"

void rng_init(struct rng *rng, uint64_t seed)
{
    rng->state = seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du;
    if (rng->state == 0)
        rng->state = 1;
    (void)rng_next(rng);
    (void)rng_next(rng);
}

uint64_t rng_next(struct rng *rng)
{
    rng->state ^= rng->state >> 12;
    rng->state ^= rng->state << 25;
    rng->state ^= rng->state >> 27;
    return rng->state * 0x2545f4914f6cdd1du;
}

__extension__ typedef unsigned __int128 wide;

/* The high half of a 128-bit product: no division, and a bias far below what anybody can see. */
uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    CHECK(bound > 0);
    return (uint64_t)((wide)rng_next(rng) * bound >> 64);
}
