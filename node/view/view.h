/* The node's copy of the catalogue: looked up without asking anyone, kept on disk, so that the data
 * plane goes on when every controller is gone.
 *
 * Controllers push numbered changes; a gap makes the view ask for a whole copy. Records are bytes
 * here; the rooms decode theirs and keep them by view_listen. Loop thread only. */

#ifndef NODE_VIEW_VIEW_H
#define NODE_VIEW_VIEW_H

#include "proto/env/env.h"
#include "proto/net/call.h"

struct view;

struct view_options {
    const char *folder; /* in the data folder */
    const uint64_t *controller_ids;
    size_t controller_count;
    struct slice registration; /* a packed skein.wire.Node: this node, sent with every heartbeat */
    uint32_t heartbeat_ms;     /* 200: lease renewal to the controllers */
};

/* Loads the copy on disk, then keeps it fresh. ERR_IO, ERR_CORRUPT (removed; starts empty then). */
enum error view_open(struct env *env, struct calls *calls, const struct view_options *options,
                     struct view **view);
/* As a crash would; before the memory of listeners and of updates in flight goes, and before
 * calls_free. */
void view_free(struct view *view);

/* Revision of the newest change in the copy; 0 = nothing yet. */
uint64_t view_revision(const struct view *view);
/* True while a controller has been heard within the last three heartbeats. */
bool view_is_connected(const struct view *view);

/* The controller that leads, as it last said itself; 0 = not known at the moment. */
uint64_t view_leader(const struct view *view);

/* The leading controller was heard within the last three heartbeats, and the copy holds everything
 * it said there is. What is missing from a copy that is not current may exist all the same: say
 * "try again", not "not found". */
bool view_is_current(const struct view *view);

/* The record's value; valid until the next turn. ERR_NOT_FOUND. `revision` may be NULL. */
enum error view_get(const struct view *view, const char *key, struct slice *value,
                    uint64_t *revision);

/* Every record whose key starts with `prefix`, sorted by key. */
void view_each(const struct view *view, const char *prefix, void *user,
               void (*on_record)(void *user, const char *key, struct slice value,
                                 uint64_t revision));

struct view_listener { /* embedded */
    struct list link;
    const char *prefix;
    void *user;
    /* `value` empty with is_delete. Also called for every record there is when listening starts. */
    void (*on_change)(void *user, const char *key, struct slice value, uint64_t revision,
                      bool is_delete);
};

void view_listen(struct view *view, struct view_listener *listener);
void view_unlisten(struct view *view, struct view_listener *listener);

/* ---- changing the catalogue ---- */

#define VIEW_REVISION_ANY UINT64_MAX
#define VIEW_REVISION_NONE 0 /* the record must not exist */

struct view_change {
    const char *key;
    struct slice value;
    bool is_delete;
    uint64_t expected_revision;
};

struct view_update;
/* OK: committed, this node's copy has it, and every node whose lease holds has acknowledged it.
 * ERR_CONFLICT: an expectation failed, nothing changed. ERR_TIMEOUT, ERR_LOST: maybe.
 * ERR_UNREACHABLE: no controller could be reached. */
typedef void (*view_update_cb)(struct view_update *update, enum error rc);

struct view_update { /* embedded; the view's until the callback */
    view_update_cb cb;
    struct list link;
    struct call call;
    struct env_timer timer;
    struct buffer body;
    struct view *view; /* NULL = not in flight */
    uint64_t deadline_us;
    uint64_t revision; /* of the committed change */
    size_t controller; /* asked now */
    bool is_committed;
    bool may_have_happened; /* sent once without an answer */
    uint8_t hops;           /* hints followed in a row */
};

/* Copies the changes. Asks one controller after the other, follows leader hints, until
 * `deadline_ms`. The controllers recognise an update that they are asked for twice, so a failover
 * among them costs time, not certainty. */
void view_update_start(struct view *view, struct view_update *update,
                       const struct view_change *changes, size_t count, uint32_t deadline_ms,
                       view_update_cb cb);

/* No callback comes after this; the change may yet happen. Nothing when not in flight. */
void view_update_cancel(struct view_update *update);

#endif
