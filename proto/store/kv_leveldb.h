/* The ordered state of the production environment: one LevelDB per store, all of a process sharing
 * one block cache.
 *
 * What a crash leaves. A killed process loses nothing. A power cut leaves each store as it was at
 * some make_durable or later, always a prefix of its writes, never one with a hole: a write-ahead
 * log that is not synced may come back with pages missing in its middle, so after a reboot of the
 * machine it is not trusted and dropped. Whoever writes keeps what it may have to write again
 * (shards: the journal) until make_durable has said OK.
 *
 * Besides ERR_IO a write may give ERR_CORRUPT: a compaction found a damaged table. Closing a store
 * with a make_durable in flight waits for it; its callback then does not come. Cursors and
 * snapshots are closed before their store. No key is empty. */

#ifndef PROTO_STORE_KV_LEVELDB_H
#define PROTO_STORE_KV_LEVELDB_H

#include "proto/env/env.h"

struct kv_leveldb; /* all stores of a process */

/* `folder`: what the paths of stores are relative to. Uses env->worker. */
struct kv_leveldb *kv_leveldb_new(struct env *env, const char *folder, size_t cache_bytes);
/* Its stores must be closed, and no worker be running for it. NULL is fine. */
void kv_leveldb_free(struct kv_leveldb *all);
const struct env_kv *kv_leveldb_table(struct kv_leveldb *all);

/* Tests: stores opened later take `boot_id` (at most 63 characters) for the machine's. */
void kv_leveldb_set_boot_id(struct env *env, const char *boot_id);

#endif
