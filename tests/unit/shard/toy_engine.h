/* An engine for tests: "+NAME" adds one to a counter and replies its new value; "#" replies how
 * many counters there are (it walks a cursor) and adds one to the counter "#"; "LNAME" replies 1000
 * bytes; a query is a name. */

#ifndef TESTS_UNIT_SHARD_TOY_ENGINE_H
#define TESTS_UNIT_SHARD_TOY_ENGINE_H

#include "node/shard/shard_engine.h"

extern const struct shard_engine *const toy_engines[SHARD_ENGINE_COUNT];

#endif
