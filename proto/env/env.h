/* The seams between what decides and what does.
 *
 * Code that decides never calls the clock, dice, sockets, files, threads or fork: it sees one
 * `struct env`. Production (env_uv.h) is libuv, ZeroMQ and LevelDB; simulation (env_sim.h) is a
 * heap of events on virtual time: one seed, one run, one trace.
 *
 * Everything runs on one loop thread. A callback is never called before the function that
 * started its operation returned. Paths are relative to the process's data folder. */

#ifndef PROTO_ENV_ENV_H
#define PROTO_ENV_ENV_H

#include "proto/base/buffer.h"
#include "proto/base/heap.h"
#include "proto/base/list.h"

struct env;

/* ---- clock ------------------------------------------------------------------------------- */

/* A timer the caller embeds, zeroed at first. Stopped, it may be freed at once. One shot. */
struct env_timer;
typedef void (*env_timer_cb)(struct env_timer *timer);

struct env_timer {
    struct heap_node node; /* the environment's */
    env_timer_cb cb;
};

/* Work for the end of this turn of the loop, once every input of the turn was handled: where
 * batches are sent. Zeroed at first. A task that a task defers runs in the same turn. */
struct env_task;
typedef void (*env_task_cb)(struct env_task *task);

struct env_task {
    struct list link; /* the environment's; next NULL = not queued */
    env_task_cb cb;
};

struct env_clock {
    uint64_t (*now_us)(struct env *env);  /* monotonic, cached for the turn */
    uint64_t (*wall_ms)(struct env *env); /* since 1970; for stamps and TTLs, never for consensus */
    void (*timer_start)(struct env *env, struct env_timer *timer, uint64_t delay_us);
    void (*timer_stop)(struct env *env, struct env_timer *timer);
    void (*defer)(struct env *env, struct env_task *task);
    void (*defer_cancel)(struct env *env, struct env_task *task);
};

/* ---- dice -------------------------------------------------------------------------------- */

struct env_dice {
    uint64_t (*next)(struct env *env);                            /* never for keys */
    void (*random_bytes)(struct env *env, void *to, size_t size); /* good enough for keys */
};

/* ---- link: messages to the other processes of the cluster ---------------------------------- */

enum env_channel {
    ENV_CHANNEL_RAFT,     /* consensus; never waits behind the others */
    ENV_CHANNEL_CALL,     /* requests and their answers (net/call.h) */
    ENV_CHANNEL_WATCH,    /* catalogue pushes and their acknowledgements */
    ENV_CHANNEL_SNAPSHOT, /* streamed state */
    ENV_CHANNEL_COUNT
};

enum env_down_reason {
    ENV_DOWN_REFUSED, /* went down, and nobody listens there any more: the process is gone */
    ENV_DOWN_CLOSED,  /* reset or closed by the peer, reconnect not tried yet */
    ENV_DOWN_SILENT   /* no heartbeat for too long */
};

struct env_link_handler {
    void *user;
    /* `message` is valid until the call returns. */
    void (*on_message)(void *user, uint64_t peer, struct slice message);
};

struct env_link_watcher { /* told of every peer */
    struct list link;
    void *user;
    void (*on_up)(void *user, uint64_t peer);
    /* May come twice for one loss: CLOSED or SILENT first, REFUSED once that is known. */
    void (*on_down)(void *user, uint64_t peer, enum env_down_reason reason);
};

struct env_link {
    /* Queue a message (copied); all of one turn's messages to a peer leave together. In order per
     * peer while the link is up; what is in flight when it goes down is lost. Sending to oneself
     * works and is delivered in a later turn.
     * ERR_UNREACHABLE: peer unknown or down. ERR_OVERLOADED: its queue is full (never for RAFT). */
    enum error (*send)(struct env *env, uint64_t peer, enum env_channel channel,
                       struct slice message);
    bool (*is_up)(struct env *env, uint64_t peer);
    uint64_t (*self)(struct env *env); /* this process's id */
    /* Learn or change a peer's address. `endpoint` is "tcp://host:port", `public_key` 40
     * characters of Z85. Ids below ENV_CONTROLLER_ID_MIN are nodes, the others controllers. */
    void (*peer_set)(struct env *env, uint64_t peer, const char *endpoint, const char *public_key);
    void (*peer_remove)(struct env *env, uint64_t peer);
    void (*handle)(struct env *env, enum env_channel channel, struct env_link_handler handler);
    void (*watch)(struct env *env, struct env_link_watcher *watcher);
    void (*unwatch)(struct env *env, struct env_link_watcher *watcher);
};

#define ENV_CONTROLLER_ID_MIN 100000u

/* ---- disk: what the journal and small files need ------------------------------------------- */

struct env_disk_op;
typedef void (*env_disk_cb)(struct env_disk_op *op, enum error rc);

struct env_disk_op { /* embedded by the caller; the environment's while in flight */
    env_disk_cb cb;
    struct list link;
    void *impl;
};

struct env_file; /* an open file */

struct env_disk {
    /* The synchronous calls block the loop: for start-up and rare moments. */
    enum error (*open)(struct env *env, const char *path, bool create, struct env_file **file);
    void (*close)(struct env *env, struct env_file *file); /* no operation may be in flight */
    enum error (*size)(struct env *env, struct env_file *file, uint64_t *bytes);
    /* Reads `size` bytes at `offset`, fewer at the end of the file; appends to `to`. */
    enum error (*read)(struct env *env, struct env_file *file, uint64_t offset, size_t size,
                       struct buffer *to);
    /* Write without promise; durable only after a later write_sync or sync of the file. */
    enum error (*write)(struct env *env, struct env_file *file, uint64_t offset,
                        struct slice bytes);
    /* Set the size: truncates, or extends with zeros that are really on disk. Durable. */
    enum error (*resize)(struct env *env, struct env_file *file, uint64_t bytes);
    enum error (*remove)(struct env *env,
                         const char *path); /* a file, or a folder with all in it */
    enum error (*rename)(struct env *env, const char *from, const char *to); /* durable */
    enum error (*make_folder)(struct env *env, const char *path); /* with parents; exists: OK */
    /* Names in a folder, sorted; each is given to `on_name`. ERR_NOT_FOUND without the folder. */
    enum error (*list)(struct env *env, const char *path, void *user,
                       void (*on_name)(void *user, const char *name));
    /* Whole small file. ERR_NOT_FOUND; ERR_TOO_LARGE past the buffer's limit. */
    enum error (*load)(struct env *env, const char *path, struct buffer *to);

    /* Asynchronous. Write at `offset` and make it durable (one write, one fdatasync), on a worker
     * thread. `bytes` is borrowed until the callback. After ERR_IO the file's content is unknown:
     * never retry. */
    void (*write_sync)(struct env *env, struct env_disk_op *op, struct env_file *file,
                       uint64_t offset, struct slice bytes, env_disk_cb cb);
    /* Replace a small file: after a crash at any instant it holds the old content or the new.
     * `content` is copied. */
    void (*replace)(struct env *env, struct env_disk_op *op, const char *path, struct slice content,
                    env_disk_cb cb);
};

/* ---- kv: ordered state (LevelDB) ------------------------------------------------------------ */

struct kv;          /* an open store */
struct kv_snapshot; /* an unchanging view of it */
struct kv_cursor;

struct kv_write { /* one change; size of value ignored for a deletion */
    struct slice key;
    struct slice value;
    bool is_delete;
};

struct env_kv {
    /* ERR_CORRUPT: damaged; the caller decides (remove and refetch). */
    enum error (*open)(struct env *env, const char *path, struct kv **kv);
    void (*close)(struct env *env, struct kv *kv);
    /* All or nothing; not durable until make_durable. Visible at once. ERR_IO is final: the process
     * must stop. */
    enum error (*write)(struct env *env, struct kv *kv, const struct kv_write *writes,
                        size_t count);
    /* ERR_NOT_FOUND, ERR_CORRUPT. Appends to `value`. `snapshot` NULL = the present. */
    enum error (*get)(struct env *env, struct kv *kv, const struct kv_snapshot *snapshot,
                      struct slice key, struct buffer *value);
    /* Everything written before the call survives power loss once the callback says OK. */
    void (*make_durable)(struct env *env, struct kv *kv, struct env_disk_op *op, env_disk_cb cb);
    /* The same, but blocks: for rare moments, such as before a store takes the place of another.
     * ERR_IO. */
    enum error (*sync)(struct env *env, struct kv *kv);
    struct kv_snapshot *(*snapshot)(struct env *env, struct kv *kv);
    void (*snapshot_release)(struct env *env, struct kv *kv, struct kv_snapshot *snapshot);
    /* A cursor sees the store as it was when made (or the snapshot). Not positioned at first. */
    struct kv_cursor *(*cursor)(struct env *env, struct kv *kv, const struct kv_snapshot *snapshot);
    void (*cursor_close)(struct kv_cursor *cursor);
    void (*cursor_seek)(struct kv_cursor *cursor, struct slice key);      /* first key >= `key` */
    void (*cursor_seek_last)(struct kv_cursor *cursor, struct slice key); /* last key <= `key` */
    void (*cursor_next)(struct kv_cursor *cursor);
    void (*cursor_previous)(struct kv_cursor *cursor);
    bool (*cursor_valid)(struct kv_cursor *cursor);
    struct slice (*cursor_key)(struct kv_cursor *cursor);   /* valid until the cursor moves */
    struct slice (*cursor_value)(struct kv_cursor *cursor); /* likewise */
    enum error (*cursor_error)(struct kv_cursor *cursor);   /* OK, or why it became invalid */
};

/* ---- work: deferred CPU work ----------------------------------------------------------------- */

struct env_work;
struct env_work {                        /* embedded; zeroed at first */
    void (*run)(struct env_work *work);  /* on a worker thread: touches only what it owns */
    void (*done)(struct env_work *work); /* on the loop thread; last use */
    void *impl;
};

struct env_worker {
    void (*queue)(struct env *env, struct env_work *work);
};

/* ---- sandbox: function processes (node/sandbox has the production side) ------------------------
 */

struct env_sandbox; /* defined in node/sandbox/sandbox.h; NULL in controllers */

struct env {
    const struct env_clock *clock;
    const struct env_dice *dice;
    const struct env_link *link;
    const struct env_disk *disk;
    const struct env_kv *kv;
    const struct env_worker *worker;
    const struct env_sandbox *sandbox;
    void *impl; /* the environment's own */
    /* Writes that wait for a majority: counted by who starts them. With many, production takes its
     * turns a little apart, so that each one serves more of them. */
    size_t writes_waiting;
};

#define ENV_WRITES_FEW 2u /* so many waiting ones are each best served at once */

/* Short forms. */
static inline uint64_t env_now_us(struct env *env)
{
    return env->clock->now_us(env);
}

static inline uint64_t env_now_ms(struct env *env)
{
    return env->clock->now_us(env) / 1000;
}

static inline uint64_t env_wall_ms(struct env *env)
{
    return env->clock->wall_ms(env);
}

/* Starting a running timer moves it. */
static inline void env_timer_start(struct env *env, struct env_timer *timer, uint64_t delay_us,
                                   env_timer_cb cb)
{
    timer->cb = cb;
    env->clock->timer_start(env, timer, delay_us);
}

static inline void env_timer_stop(struct env *env, struct env_timer *timer)
{
    env->clock->timer_stop(env, timer);
}

static inline bool env_timer_is_running(const struct env_timer *timer)
{
    return timer->node.place != 0;
}

/* Deferring a queued task changes nothing. */
static inline void env_defer(struct env *env, struct env_task *task, env_task_cb cb)
{
    task->cb = cb;
    env->clock->defer(env, task);
}

static inline void env_defer_cancel(struct env *env, struct env_task *task)
{
    env->clock->defer_cancel(env, task);
}

static inline uint64_t env_random(struct env *env)
{
    return env->dice->next(env);
}

static inline uint64_t env_self(struct env *env)
{
    return env->link->self(env);
}

static inline enum error env_send(struct env *env, uint64_t peer, enum env_channel channel,
                                  struct slice message)
{
    return env->link->send(env, peer, channel, message);
}

#endif
