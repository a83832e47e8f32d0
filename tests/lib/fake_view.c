#include "tests/lib/fake_view.h"

#include "proto/base/check.h"

struct record {
    char *key;
    struct buffer value;
    uint64_t revision;
};

struct view {
    struct env *env;
    struct env_task task;
    struct list updates;
    struct list listeners;
    struct record *records; /* sorted by key */
    size_t count;
    uint64_t revision;
    enum error fails_with;
    bool fails_applied;
    bool is_held;
    void *hook_user;
    void (*hook)(void *user, struct view *view);
};

struct view *fake_view_new(struct env *env)
{
    struct view *view = check_calloc(1, sizeof(*view));

    view->env = env;
    list_init(&view->updates);
    list_init(&view->listeners);
    return view;
}

static void record_close(struct record *record)
{
    free(record->key);
    buffer_close(&record->value);
}

void view_free(struct view *view)
{
    struct list *link;

    if (view == NULL)
        return;
    while ((link = list_pop(&view->updates)) != NULL)
        buffer_close(&container_of(link, struct view_update, link)->body);
    for (size_t i = 0; i < view->count; i++)
        record_close(&view->records[i]);
    env_defer_cancel(view->env, &view->task);
    free(view->records);
    free(view);
}

/* ---- records ---- */

static size_t record_seek(const struct view *view, const char *key)
{
    size_t index = 0;

    while (index < view->count && strcmp(view->records[index].key, key) < 0)
        index++;
    return index;
}

static struct record *record_find(const struct view *view, const char *key)
{
    size_t index = record_seek(view, key);

    if (index == view->count || strcmp(view->records[index].key, key) != 0)
        return NULL;
    return &view->records[index];
}

static void tell(struct view *view, const char *key, struct slice value, bool is_delete)
{
    LIST_EACH(&view->listeners, link)
    {
        struct view_listener *listener = container_of(link, struct view_listener, link);

        if (strncmp(key, listener->prefix, strlen(listener->prefix)) == 0)
            listener->on_change(listener->user, key, value, view->revision, is_delete);
    }
}

static void record_put(struct view *view, const char *key, struct slice value)
{
    struct record *record = record_find(view, key);
    size_t index;

    if (record == NULL) {
        index = record_seek(view, key);
        view->records = check_realloc(view->records, (view->count + 1) * sizeof(*view->records));
        memmove(&view->records[index + 1], &view->records[index],
                (view->count - index) * sizeof(*view->records));
        view->count++;
        record = &view->records[index];
        record->key = check_strdup(key);
        buffer_init(&record->value, BUFFER_UNLIMITED);
    }
    buffer_clear(&record->value);
    buffer_put_slice(&record->value, value);
    record->revision = view->revision;
    tell(view, key, buffer_slice(&record->value), false);
}

static void record_delete(struct view *view, const char *key)
{
    struct record *record = record_find(view, key);
    size_t index;

    if (record == NULL)
        return;
    index = (size_t)(record - view->records);
    record_close(record);
    view->count--;
    memmove(record, record + 1, (view->count - index) * sizeof(*record));
    tell(view, key, slice_of(NULL, 0), true);
}

void fake_view_set(struct view *view, const char *key, struct slice value)
{
    view->revision++;
    if (value.size == 0)
        record_delete(view, key);
    else
        record_put(view, key, value);
}

size_t fake_view_count(const struct view *view)
{
    return view->count;
}

/* ---- the contract ---- */

uint64_t view_revision(const struct view *view)
{
    return view->revision;
}

bool view_is_current(const struct view *view)
{
    (void)view;
    return true;
}

bool view_is_connected(const struct view *view)
{
    (void)view;
    return true;
}

enum error view_get(const struct view *view, const char *key, struct slice *value,
                    uint64_t *revision)
{
    const struct record *record = record_find(view, key);

    if (record == NULL)
        return ERR_NOT_FOUND;
    *value = buffer_slice(&record->value);
    if (revision != NULL)
        *revision = record->revision;
    return OK;
}

void view_each(const struct view *view, const char *prefix, void *user,
               void (*on_record)(void *user, const char *key, struct slice value,
                                 uint64_t revision))
{
    for (size_t i = record_seek(view, prefix); i < view->count; i++) {
        const struct record *record = &view->records[i];

        if (strncmp(record->key, prefix, strlen(prefix)) == 0)
            on_record(user, record->key, buffer_slice(&record->value), record->revision);
    }
}

void view_listen(struct view *view, struct view_listener *listener)
{
    list_append(&view->listeners, &listener->link);
    for (size_t i = 0; i < view->count; i++) {
        const struct record *record = &view->records[i];

        if (strncmp(record->key, listener->prefix, strlen(listener->prefix)) == 0)
            listener->on_change(listener->user, record->key, buffer_slice(&record->value),
                                record->revision, false);
    }
}

void view_unlisten(struct view *view, struct view_listener *listener)
{
    (void)view;
    list_remove(&listener->link);
}

/* ---- updates: their body is each change as text and bytes ---- */

static void put_text(struct buffer *to, struct slice text)
{
    buffer_put_u32(to, (uint32_t)text.size);
    buffer_put_slice(to, text);
}

static struct slice get_text(struct reader *reader)
{
    uint32_t size = reader_u32(reader);

    return reader_bytes(reader, size);
}

/* One pass checks, the next one changes. */
static enum error run_changes(struct view *view, struct slice body, bool is_check)
{
    struct reader reader = reader_of(body);

    while (reader.rest.size > 0) {
        char *key = slice_strdup(get_text(&reader));
        struct slice value = get_text(&reader);
        bool is_delete = reader_u8(&reader) != 0;
        uint64_t expected = reader_u64(&reader);
        const struct record *record = record_find(view, key);
        uint64_t revision = record != NULL ? record->revision : VIEW_REVISION_NONE;
        bool is_conflict = expected != VIEW_REVISION_ANY && expected != revision;

        if (!is_check && is_delete)
            record_delete(view, key);
        else if (!is_check)
            record_put(view, key, value);
        free(key);
        if (is_check && is_conflict)
            return ERR_CONFLICT;
    }
    return OK;
}

static void update_answer(struct view *view, struct view_update *update)
{
    struct buffer body = buffer_take(&update->body);
    enum error injected = view->fails_with;
    bool is_applied = injected == OK || view->fails_applied;
    void (*hook)(void *, struct view *) = view->hook;
    enum error rc = OK;

    view->hook = NULL;
    if (hook != NULL)
        hook(view->hook_user, view);
    view->fails_with = OK;
    if (is_applied)
        rc = run_changes(view, buffer_slice(&body), true);
    if (is_applied && rc == OK) {
        update->revision = ++view->revision;
        rc = run_changes(view, buffer_slice(&body), false);
    }
    buffer_close(&body);
    update->view = NULL;
    update->cb(update, injected != OK ? injected : rc);
}

static void view_on_turn(struct env_task *task)
{
    struct view *view = container_of(task, struct view, task);
    struct list batch;
    struct list *link;

    if (view->is_held)
        return;
    list_move(&batch, &view->updates);
    while ((link = list_pop(&batch)) != NULL)
        update_answer(view, container_of(link, struct view_update, link));
}

void view_update_start(struct view *view, struct view_update *update,
                       const struct view_change *changes, size_t count, uint32_t deadline_ms,
                       view_update_cb cb)
{
    (void)deadline_ms;
    update->view = view;
    update->cb = cb;
    buffer_init(&update->body, BUFFER_UNLIMITED);
    for (size_t i = 0; i < count; i++) {
        put_text(&update->body, slice_text(changes[i].key));
        put_text(&update->body, changes[i].value);
        buffer_put_u8(&update->body, changes[i].is_delete);
        buffer_put_u64(&update->body, changes[i].expected_revision);
    }
    list_append(&view->updates, &update->link);
    env_defer(view->env, &view->task, view_on_turn);
}

void view_update_cancel(struct view_update *update)
{
    if (update->view == NULL)
        return;
    list_remove(&update->link);
    buffer_close(&update->body);
    update->view = NULL;
}

void fake_view_fail(struct view *view, enum error rc, bool is_applied)
{
    view->fails_with = rc;
    view->fails_applied = is_applied;
}

void fake_view_before_update(struct view *view, void *user,
                             void (*hook)(void *user, struct view *view))
{
    view->hook = hook;
    view->hook_user = user;
}

void fake_view_hold(struct view *view, bool is_held)
{
    view->is_held = is_held;
    if (!is_held && !list_is_empty(&view->updates))
        env_defer(view->env, &view->task, view_on_turn);
}
