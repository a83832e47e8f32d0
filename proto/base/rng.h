/* A seeded stream of pseudo-random numbers (xorshift64*, Vigna 2016). Never for keys or tokens:
 * those come from env_random_bytes. */

#ifndef PROTO_BASE_RNG_H
#define PROTO_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t state;
};

void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t bound); /* 0 .. bound-1; bound > 0 */

#endif
