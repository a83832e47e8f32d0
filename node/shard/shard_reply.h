/* What was answered to recent commands, so that a retry is answered alike and takes effect once.
 *
 * Part of the replicated state. A gateway is a session; it counts its commands to a shard, and says
 * with each up to which number it will never ask again (`settled`). What lies between is
 * remembered: a bounded window. A command from before the window is refused, never applied a second
 * time.
 *
 * Records: 's' session -> window with small replies in it; 'r' session sequence -> a large reply.
 */

#ifndef NODE_SHARD_SHARD_REPLY_H
#define NODE_SHARD_SHARD_REPLY_H

#include "node/shard/shard_message.h"
#include "proto/base/list.h"
#include "proto/base/map.h"
#include "proto/env/env.h"

#define SHARD_REPLY_WINDOW_MAX 4096u   /* unsettled commands of a session in a shard */
#define SHARD_REPLY_SESSIONS_MAX 4096u /* sessions in a shard */
#define SHARD_REPLY_SWEEP_MS 60000u    /* of entry time, at least, between two sweeps */
#define SHARD_REPLY_SESSION_SWEEPS 10u /* a session unused for more than so many is forgotten */
#define SHARD_REPLY_INLINE_BYTES_MAX 256u

struct shard_session;

struct shard_replies {
    struct map sessions; /* by id -> struct shard_session */
    struct list changed; /* sessions to write at the next flush */
    struct map removed;  /* keys to delete at the next flush; values unused */
    struct map large;    /* 'r' keys to write at the next flush -> struct buffer */
    uint64_t swept_ms;   /* when, by the clock of the leader then */
    uint64_t sweeps;     /* so far; sessions age by these */
    bool is_swept;       /* swept_ms and sweeps must be written */
};

struct shard_reply_slot { /* one command between begin and end */
    struct shard_session *session;
    uint64_t sequence;
};

void shard_replies_init(struct shard_replies *replies);
void shard_replies_close(struct shard_replies *replies);
enum error shard_replies_load(struct shard_replies *replies, struct env *env, struct kv *kv);

/* Forget sessions unused for long, at most once a minute of entry time. They age by sweeps, not by
 * the hour: a leader whose clock is far ahead must not forget what was answered a moment ago. */
void shard_replies_sweep(struct shard_replies *replies, uint64_t wall_ms);

/* OK: new, apply it, then call end. ERR_EXISTS: applied before, see recall. ERR_CANCELLED: from
 * before the window. ERR_OVERLOADED: window or table full. */
enum error shard_replies_begin(struct shard_replies *replies,
                               const struct shard_message_command *command,
                               struct shard_reply_slot *slot);
void shard_replies_end(struct shard_replies *replies, const struct shard_reply_slot *slot,
                       enum error rc, struct slice reply);
/* The error and reply given the first time. */
enum error shard_replies_recall(const struct shard_replies *replies, struct env *env, struct kv *kv,
                                const struct shard_reply_slot *slot, struct buffer *reply);

/* Hand every changed record to `write`, in a deterministic order. */
void shard_replies_flush(struct shard_replies *replies, void *user,
                         void (*write)(void *user, struct slice key, struct slice value,
                                       bool is_delete));

#endif
