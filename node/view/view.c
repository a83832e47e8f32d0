#include "node/view/view_state.h"

#include "proto/base/check.h"
#include "proto/base/log.h"

#include <inttypes.h>

/* ---- looking things up ---- */

uint64_t view_revision(const struct view *view)
{
    return records_revision(view->records);
}

bool view_is_connected(const struct view *view)
{
    return view->heard_us != 0 && env_now_us(view->env) - view->heard_us <= 3 * view->heartbeat_us;
}

uint64_t view_leader(const struct view *view)
{
    return view->leader != VIEW_NO_CONTROLLER && view_is_connected(view)
               ? view->controllers[view->leader].id
               : 0;
}

bool view_is_current(const struct view *view)
{
    uint64_t now_us = env_now_us(view->env);

    return view->led_us != 0 && now_us - view->led_us <= 3 * view->heartbeat_us &&
           view_revision(view) >= view->newest;
}

enum error view_get(const struct view *view, const char *key, struct slice *value,
                    uint64_t *revision)
{
    const struct record *record = records_find(view->records, key);

    if (record == NULL)
        return ERR_NOT_FOUND;
    *value = record->value;
    if (revision != NULL)
        *revision = record->revision;
    return OK;
}

void view_each(const struct view *view, const char *prefix, void *user,
               void (*on_record)(void *user, const char *key, struct slice value,
                                 uint64_t revision))
{
    const struct record *record;
    size_t place = records_seek(view->records, prefix);

    while ((record = records_next(view->records, prefix, &place)) != NULL)
        on_record(user, record->key, record->value, record->revision);
}

size_t view_controller_find(const struct view *view, uint64_t id)
{
    for (size_t i = 0; i < view->controller_count; i++)
        if (view->controllers[i].id == id)
            return i;
    return VIEW_NO_CONTROLLER;
}

/* ---- listeners ---- */

void view_listen(struct view *view, struct view_listener *listener)
{
    const struct record *record;
    size_t place = records_seek(view->records, listener->prefix);

    list_append(&view->listeners, &listener->link);
    while ((record = records_next(view->records, listener->prefix, &place)) != NULL)
        listener->on_change(listener->user, record->key, record->value, record->revision, false);
}

void view_unlisten(struct view *view, struct view_listener *listener)
{
    if (view->listener_next == &listener->link)
        view->listener_next = listener->link.next;
    list_remove(&listener->link);
}

/* Any listener may leave while they are told. */
static void tell(struct view *view, const struct record_change *change)
{
    const struct record *record =
        change->is_delete ? NULL : records_find(view->records, change->key);
    struct slice value = record != NULL ? record->value : slice_of(NULL, 0);

    for (struct list *link = view->listeners.next; link != &view->listeners;
         link = view->listener_next) {
        struct view_listener *listener = container_of(link, struct view_listener, link);

        view->listener_next = link->next;
        if (strncmp(change->key, listener->prefix, strlen(listener->prefix)) == 0)
            listener->on_change(listener->user, change->key, value, change->revision,
                                change->is_delete);
    }
    view->listener_next = NULL;
}

/* ---- changes ---- */

/* In a later turn: nobody looks at replaced records any more. */
static void on_sweep(struct env_timer *timer)
{
    records_sweep(container_of(timer, struct view, sweep)->records);
}

bool view_apply(struct view *view, uint64_t revision, const struct record_change *changes,
                size_t count)
{
    enum error rc = records_write(view->records, revision, changes, count, NULL, 0);

    if (rc != OK) {
        log_error("view.write_failed rc=%s action=\"keeps serving what it has, takes no changes\"",
                  error_name(rc));
        view->has_failed = true;
        return false;
    }
    for (size_t i = 0; i < count; i++)
        tell(view, &changes[i]);
    if (records_needs_sweep(view->records))
        env_timer_start(view->env, &view->sweep, 0, on_sweep);
    view_update_wake(view);
    return true;
}

/* ---- life ---- */

static enum error open_records(struct view *view, const char *folder)
{
    struct env *env = view->env;
    enum error rc = records_open(env, folder, &view->records);

    if (rc != ERR_CORRUPT)
        return rc;
    log_warn("view.copy_damaged folder=%s action=\"removed, to be fetched from the controllers\"",
             folder);
    rc = env->disk->remove(env, folder);
    return rc == OK ? records_open(env, folder, &view->records) : rc;
}

enum error view_open(struct env *env, struct calls *calls, const struct view_options *options,
                     struct view **view)
{
    struct view *opened = check_calloc(1, sizeof(*opened));

    opened->env = env;
    opened->calls = calls;
    list_init(&opened->listeners);
    list_init(&opened->updates);
    enum error rc = open_records(opened, options->folder);

    if (rc == OK)
        rc = view_heartbeat_open(opened, options);
    if (rc != OK) {
        records_free(opened->records);
        free(opened);
        return rc;
    }
    view_watch_open(opened);
    log_info("view.opened revision=%" PRIu64 " records=%zu", view_revision(opened),
             records_count(opened->records));
    *view = opened;
    return OK;
}

void view_free(struct view *view)
{
    if (view == NULL)
        return;
    view_update_close(view);
    view_watch_close(view);
    view_heartbeat_close(view);
    env_timer_stop(view->env, &view->sweep);
    records_free(view->records);
    free(view);
}
