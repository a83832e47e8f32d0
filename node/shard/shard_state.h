/* One replica's state: a store of its own, changed only by applying entries in order.
 *
 * The store trails: what entries change is gathered in memory and handed over many entries at a
 * time, in one batch. The log has it all; after a crash it is applied again from where the store
 * is. Reading looks at what is gathered first.
 *
 * Keys in the store: 'e' engine key (the engines' data), 's' sessions, 'r' large replies (both
 * shard_reply.h), 'i' what is this replica's own and no part of the replicated state: how far the
 * store is, and a ring of marks.
 *
 * The marks. LevelDB may keep two write-ahead files, and after a power loss the newer one can have
 * survived while the end of the older one did not: a hole in the middle. So batches are numbered,
 * and each puts its number into a ring. At start the ring must have every number from the durable
 * batch to the last one, else the state is damaged (docs/decisions/0003). */

#ifndef NODE_SHARD_SHARD_STATE_H
#define NODE_SHARD_SHARD_STATE_H

#include "node/shard/shard_engine.h"
#include "node/shard/shard_reply.h"
#include "proto/base/arena.h"
#include "proto/base/map.h"
#include "proto/env/env.h"

#define SHARD_STATE_MARKS 65536u                 /* after so many batches, one waits for the disk */
#define SHARD_STATE_GATHER_BYTES_MAX (64u << 10) /* then it is handed over */
#define SHARD_STATE_PATH_BYTES 64
#define SHARD_STATE_CHANGED 16384u /* keys told apart by when they were changed */

struct shard_state {
    struct env *env;
    char path[SHARD_STATE_PATH_BYTES]; /* of the store */
    struct kv *kv;
    const struct shard_engine *const *engines; /* by id, NULL where none; borrowed */
    struct shard_replies replies;
    uint64_t applied; /* last entry wholly applied */
    uint64_t hash; /* chained over every change ever made; equal on all replicas at equal applied */
    enum error broken; /* OK, or why the store can no longer be trusted */

    /* the store */
    uint64_t batches;         /* handed over, ever */
    uint64_t batches_durable; /* up to this one, they survive power loss */

    /* gathered, and not in the store yet */
    struct arena arena;
    struct kv_write *writes;
    size_t write_count;
    size_t write_capacity;
    size_t gathered_bytes;
    struct map overlay; /* key -> place in `writes` + 1 */
    bool is_behind;     /* an entry was applied since the last batch */

    /* the entry at hand, else the last one */
    uint64_t entry_index;
    uint32_t commands_done;
    uint64_t changes; /* sum of the hashes of what it changed and answered, not chained yet */
    bool is_changed;
    bool is_applying;

    /* the command at hand */
    enum shard_engine_id engine; /* whose turn it is: prefix of the keys */
    bool has_put;
    struct buffer key; /* the one at hand, with its prefix; reused */

    void *memories[SHARD_ENGINE_COUNT]; /* shard_memory */
    bool is_signalled;                  /* by an engine; whoever looks takes it back */

    /* for shard_changed */
    uint64_t *changed;      /* by hash of the key: the last entry since the store was opened */
    uint64_t changed_floor; /* what the store had then was changed by this entry at the latest */
};

/* What apply tells about each command, in order. */
typedef void (*shard_state_on_reply)(void *user, uint64_t session, uint64_t sequence, enum error rc,
                                     struct slice reply);

/* Open the store at `path`, or make it. A damaged one is removed and made anew, empty: the caller
 * sees applied 0 and the log says so. ERR_IO. */
enum error shard_state_open(struct shard_state *state, struct env *env, const char *path,
                            const struct shard_engine *const *engines);
/* The same for a state that was just installed: its marks are not looked at. */
enum error shard_state_reopen(struct shard_state *state, struct env *env, const char *path,
                              const struct shard_engine *const *engines);
/* Put the store at `from`, closed and durable, in the place of the one at `path`, closed too. A
 * crash in the middle leaves one of the two, for shard_state_open to find. */
enum error shard_state_replace(struct env *env, const char *path, const char *from);
void shard_state_close(struct shard_state *state);

/* Apply one entry (shard_message.h). A malformed one changes nothing but the applied index.
 * ERR_IO, ERR_CORRUPT: the store failed, the process must stop. */
enum error shard_state_apply(struct shard_state *state, uint64_t index, struct slice entry,
                             void *user, shard_state_on_reply on_reply);

/* Read through an engine. `reply` gets what the engine says. ERR_VERSION: no such engine. ERR_IO,
 * ERR_CORRUPT as above. */
enum error shard_state_read(struct shard_state *state, uint8_t engine, struct slice query,
                            struct buffer *reply);

/* Hand what is gathered to the store. A failure shows in `broken`. */
void shard_state_flush(struct shard_state *state);
/* Remember that batches up to this one are durable. */
void shard_state_set_durable(struct shard_state *state, uint64_t batches);

/* For shard_snapshot.c: the keys of this replica alone. */
bool shard_state_is_own_key(struct slice key);
/* Write the own records for a store that holds a snapshot, to be made durable next. */
enum error shard_state_stamp(struct env *env, struct kv *kv, uint64_t applied, uint64_t hash);

#endif
