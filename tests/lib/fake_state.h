/* The state of a shard for tests of an engine: a sorted array in memory behind the functions of
 * shard_engine.h. Compile fake_state.c into the test instead of linking node_shard. */

#ifndef TESTS_LIB_FAKE_STATE_H
#define TESTS_LIB_FAKE_STATE_H

#include "node/shard/shard_engine.h"

struct shard_state *fake_state_new(void);
void fake_state_free(struct shard_state *state);
/* Before each command and each query: then a cursor that is opened after the command's first put is
 * caught, which the real state does not allow either. */
void fake_state_begin_command(struct shard_state *state);
/* Frees what the engine keeps in memory; needed when it keeps anything. */
void fake_state_set_forget(struct shard_state *state, void (*forget)(void *memory));
/* As when a node starts again: the engine's memory goes, the records stay. */
void fake_state_forget(struct shard_state *state);
size_t fake_state_count(const struct shard_state *state); /* keys */

#endif
