/* A shard's state as a stream of chunks, for a replica that is too far behind for the log.
 *
 * A chunk is records: key size u32, value size u32, key, value. The first record of the stream has
 * an empty key and the state hash as its value. What is a replica's own (applied index, marks) is
 * left out. */

#ifndef NODE_SHARD_SHARD_SNAPSHOT_H
#define NODE_SHARD_SHARD_SNAPSHOT_H

#include "node/shard/shard_state.h"

struct shard_snapshot_pin;

/* The state as it is now, unchanging until unpinned. */
struct shard_snapshot_pin *shard_snapshot_pin(struct shard_state *state);
void shard_snapshot_unpin(struct shard_snapshot_pin *pin);
/* See group_machine.snapshot_read. */
enum error shard_snapshot_read(struct shard_snapshot_pin *pin, struct buffer *position,
                               size_t chunk_bytes, struct buffer *chunk, bool *is_last);

struct shard_staging { /* a snapshot being received; zeroed at first */
    struct env *env;
    char path[72];
    struct kv *kv; /* NULL = none under way */
    uint64_t hash;
    bool has_hash;
};

enum error shard_staging_begin(struct shard_staging *staging, const struct shard_state *state);
enum error shard_staging_chunk(struct shard_staging *staging, struct slice chunk);
/* Put it in the place of `state`, which is closed and opened anew. After a crash in the middle the
 * state is the old one or the new one, whole. Blocks until the new one is on disk. */
enum error shard_staging_install(struct shard_staging *staging, struct shard_state *state,
                                 uint64_t index);
void shard_staging_close(struct shard_staging *staging);

#endif
