/* What an engine gives to the replicated state machine, and what it may use there.
 *
 * An engine (tables, blobs, queues ...) turns a command into changes of a shard's state and a
 * reply. apply is deterministic: it sees the state, the command and the moment that the leader
 * wrote into the entry, nothing else. Keys are the engine's own: the shard puts its id in front. */

#ifndef NODE_SHARD_SHARD_ENGINE_H
#define NODE_SHARD_SHARD_ENGINE_H

#include "proto/base/buffer.h"

struct shard_state; /* one shard's state, as an engine sees it */

enum shard_engine_id { /* in keys and on the wire: never renumber */
                       SHARD_ENGINE_TABLE = 1,
                       SHARD_ENGINE_BLOB = 2,
                       SHARD_ENGINE_QUEUE = 3,
                       SHARD_ENGINE_COUNT = 8
};

struct shard_moment {
    uint64_t index;   /* of the entry in the shard's log */
    uint64_t wall_ms; /* the leader's clock when it made the entry */
    uint64_t random;  /* the leader's dice, another one for each command */
};

struct shard_engine {
    enum shard_engine_id id;
    /* Both write their reply in a form of their own; errors are replies too. A command that cannot
     * be decoded changes nothing and gives an error reply. */
    void (*apply)(struct shard_state *state, const struct shard_moment *moment,
                  struct slice command, struct buffer *reply);
    void (*read)(struct shard_state *state, struct slice query, struct buffer *reply);
    void (*forget)(void *memory); /* frees what shard_memory had; NULL when nothing is ever kept */
};

/* ERR_NOT_FOUND. Appends to `value`. Sees what this and earlier commands put. */
enum error shard_get(struct shard_state *state, struct slice key, struct buffer *value);
/* Of a key, or of another that looks alike: the entry that changed it last, or a later one. So when
 * two strong reads are told the same, nothing changed it in between, whichever replicas answered.
 * Not part of the replicated state: only for replies to queries. */
uint64_t shard_changed(struct shard_state *state, struct slice key);
/* Inside apply only. The bytes are copied. */
void shard_put(struct shard_state *state, struct slice key, struct slice value);
void shard_delete(struct shard_state *state, struct slice key);

/* A pointer of the engine's own, NULL at first and whenever the state was replaced: for what
 * follows from the state alone and is wanted often. */
void **shard_memory(struct shard_state *state);
/* Inside apply only: this entry left work that the node of the leader does in the background. */
void shard_signal(struct shard_state *state);

/* Walk keys in byte order. Sees what earlier commands put. Put nothing while one is open.
 *
 * Inside apply it is opened before the command's first put, costs a write of what is gathered, and
 * chains the state's hash: so the command and the state decide whether it is opened, never what
 * shard_memory happens to know. One opened on some replicas only makes their hashes differ. */
struct shard_cursor;
struct shard_cursor *shard_cursor_open(struct shard_state *state);
void shard_cursor_close(struct shard_cursor *cursor);
void shard_cursor_seek(struct shard_cursor *cursor, struct slice key);      /* first key >= */
void shard_cursor_seek_last(struct shard_cursor *cursor, struct slice key); /* last key <= */
void shard_cursor_next(struct shard_cursor *cursor);
void shard_cursor_previous(struct shard_cursor *cursor);
bool shard_cursor_valid(const struct shard_cursor *cursor); /* false past the engine's own keys */
struct slice shard_cursor_key(const struct shard_cursor *cursor);
struct slice shard_cursor_value(const struct shard_cursor *cursor);

#endif
