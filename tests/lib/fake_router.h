/* The shard router for unit tests: compile fake_router.c into the test instead of linking
 * node_shard. Shards are sorted arrays in memory; the engines under test run on them unchanged.
 *
 * Answers come at the end of the turn (fake_env_run), in the order of the requests. */

#ifndef TESTS_LIB_FAKE_ROUTER_H
#define TESTS_LIB_FAKE_ROUTER_H

#include "node/shard/shard_router.h"

struct shard_router *fake_router_new(struct env *env, uint32_t shard_count);
void fake_router_free(struct shard_router *router);
void fake_router_add_engine(struct shard_router *router, const struct shard_engine *engine);

/* The request after `skip` more fails with `rc`; when `is_applied`, a write happens all the same.
 */
void fake_router_fail(struct shard_router *router, size_t skip, enum error rc, bool is_applied);
/* Eventual reads see empty shards: a replica that has not heard of anything yet. */
void fake_router_set_lagging(struct shard_router *router, bool is_lagging);
/* Hold answers back until it is called with false. */
void fake_router_hold(struct shard_router *router, bool is_held);

/* Answer so many more, then hold: whoever asked may be thought dead. */
void fake_router_hold_after(struct shard_router *router, size_t answers);

size_t fake_router_write_count(const struct shard_router *router);
size_t fake_router_read_count(const struct shard_router *router);
size_t fake_router_in_flight_max(const struct shard_router *router);

/* The state of one shard, as the engine sees it: for tests of an engine alone, and to damage it. */
struct shard_state *fake_router_state(struct shard_router *router, uint32_t shard,
                                      enum shard_engine_id engine);
size_t fake_router_key_count(const struct shard_router *router); /* in all shards */
/* Run a command or query on a state directly. */
void fake_router_apply(struct shard_router *router, uint32_t shard, enum shard_engine_id engine,
                       struct slice command, struct buffer *reply);
void fake_router_query(struct shard_router *router, uint32_t shard, enum shard_engine_id engine,
                       struct slice query, struct buffer *reply);

#endif
