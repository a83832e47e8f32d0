/* What the files of this room share: the view's insides. Not for other rooms. */

#ifndef NODE_VIEW_VIEW_STATE_H
#define NODE_VIEW_VIEW_STATE_H

#include "node/view/view.h"
#include "proto/records/records.h"
#include "proto/wire/watch.pb-c.h"

#define VIEW_NO_CONTROLLER SIZE_MAX

struct view_controller {
    uint64_t id;
    struct call call; /* the heartbeat on its way to it */
    struct view *view;
};

struct view_stream {              /* of pushes, from the controller that leads */
    uint64_t id;                  /* 0 = none yet; only a higher one replaces it */
    uint64_t number;              /* of the last push taken in */
    bool is_broken;               /* a gap was reported: the rest of it is of no use */
    struct record_change *staged; /* a whole copy under way; keys and values owned */
    size_t staged_count;
    size_t staged_capacity;
};

struct view {
    struct env *env;
    struct calls *calls;
    struct records *records;
    bool has_failed; /* the disk refused a change: nothing is acknowledged any more */

    struct view_controller *controllers;
    size_t controller_count;
    size_t leader;     /* of the controllers; VIEW_NO_CONTROLLER = unknown */
    uint64_t heard_us; /* when one last answered; 0 = never */
    uint64_t led_us;   /* when their leader last answered; 0 = never */
    uint64_t newest;   /* the highest revision a leader told */
    uint64_t heartbeat_us;
    struct env_timer heartbeat;
    struct env_link_watcher link_watcher;
    Skein__Wire__Node *node; /* this one */
    enum error complaint;    /* of the controllers, logged once */

    struct view_stream stream;
    struct list listeners;
    struct list *listener_next; /* while they are being told: whose turn is next */
    struct env_timer sweep;

    struct list updates; /* struct view_update */
    uint64_t update_sequence;
};

/* ---- view.c ---- */

/* Make changes and tell the listeners. False when the disk refused. */
bool view_apply(struct view *view, uint64_t revision, const struct record_change *changes,
                size_t count);
/* The place of a controller; VIEW_NO_CONTROLLER when it is none. */
size_t view_controller_find(const struct view *view, uint64_t id);

/* ---- view_heartbeat.c ---- */

/* ERR_INVALID: the registration is no Node. */
enum error view_heartbeat_open(struct view *view, const struct view_options *options);
void view_heartbeat_close(struct view *view);

/* ---- view_watch.c ---- */

void view_watch_open(struct view *view);
void view_watch_close(struct view *view);

/* ---- view_update.c ---- */

/* The copy has come further: some updates may be done. */
void view_update_wake(struct view *view);
void view_update_close(struct view *view);

#endif
