/* The simulated store: a persistent map, one version per batch, the first of them durable.
 *
 * A power loss goes back to some version not older than the durable one: batches are lost from the
 * end and never out of order, as with LevelDB's log. */

#include "proto/env/env_sim_impl.h"
#include "proto/env/treap.h"

#define VERSIONS_MAX 4096u /* past it the system wrote the oldest back by itself */

struct sim_store {           /* what is on disk; outlives its handles */
    struct treap **versions; /* [first] is durable, the last is what a reader sees */
    size_t first;
    size_t count; /* from `first` on; never 0 */
    size_t capacity;
    uint64_t number; /* of versions[first] */
    uint64_t sync_last;
    bool is_spoiled;
    struct kv *handle; /* NULL: not open */
};

struct kv {
    struct list link; /* in process->stores */
    struct sim_process *process;
    struct sim_store *store; /* NULL after a crash */
    uint32_t in_flight;
    struct list snapshots;
    struct list cursors;
};

struct kv_snapshot {
    struct list link;
    struct treap *root;
};

struct kv_cursor {
    struct list link;
    struct treap *root;
    const struct treap *entry; /* NULL: not valid */
};

/* ---- stores ---- */

struct sim_store *sim_store_new(void)
{
    struct sim_store *store = check_calloc(1, sizeof(*store));

    store->capacity = 16;
    store->versions = check_calloc(store->capacity, sizeof(struct treap *));
    store->count = 1;
    return store;
}

void sim_store_free(struct sim_store *store)
{
    if (store == NULL)
        return;
    for (size_t i = 0; i < store->count; i++)
        treap_release(store->versions[store->first + i]);
    free(store->versions);
    free(store);
}

void sim_store_spoil(struct sim_store *store)
{
    store->is_spoiled = true;
}

bool sim_store_is_open(const struct sim_store *store)
{
    return store->handle != NULL;
}

static struct treap *store_present(const struct sim_store *store)
{
    return store->versions[store->first + store->count - 1];
}

/* The oldest `count` versions cannot be gone back to any more. */
static void store_settle(struct sim_store *store, size_t count)
{
    for (; count > 0; count--) {
        treap_release(store->versions[store->first++]);
        store->count--;
        store->number++;
    }
}

static void store_settle_to(struct sim_store *store, uint64_t number)
{
    if (number > store->number)
        store_settle(store, (size_t)(number - store->number));
}

/* Takes the root. */
static void store_push(struct sim_store *store, struct treap *root)
{
    if (store->count == VERSIONS_MAX)
        store_settle(store, 1);
    if (store->first + store->count == store->capacity) {
        if (store->first < store->capacity / 2) {
            store->capacity *= 2;
            store->versions =
                check_realloc(store->versions, store->capacity * sizeof(struct treap *));
        }
        memmove(store->versions, store->versions + store->first,
                store->count * sizeof(struct treap *));
        store->first = 0;
    }
    store->versions[store->first + store->count++] = root;
}

void sim_store_on_crash(struct sim_store *store, struct rng *rng, unsigned how)
{
    size_t kept = store->count;

    if (how == SIM_CRASH_KILL)
        return; /* what was written is with the operating system */
    kept = how == SIM_CRASH_LOSE ? 1 : 1 + rng_below(rng, store->count);
    while (store->count > kept)
        treap_release(store->versions[store->first + --store->count]);
    store_settle(store, store->count - 1);
}

/* ---- opening ---- */

static enum error kv_open(struct env *env, const char *path, struct kv **kv)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_store *store;
    enum error rc;

    if (sim_disk_call_fails(process, 0))
        return ERR_IO;
    rc = sim_disk_store_get(process->machine->disk, path, &store);
    if (rc != OK)
        return rc;
    if (store->is_spoiled)
        return ERR_CORRUPT;
    CHECK(store->handle == NULL);
    *kv = check_calloc(1, sizeof(**kv));
    (*kv)->process = process;
    (*kv)->store = store;
    store->handle = *kv;
    list_init(&(*kv)->snapshots);
    list_init(&(*kv)->cursors);
    list_append(&process->stores, &(*kv)->link);
    return OK;
}

static void snapshot_free(struct kv_snapshot *snapshot)
{
    list_remove(&snapshot->link);
    treap_release(snapshot->root);
    free(snapshot);
}

static void kv_cursor_close(struct kv_cursor *cursor)
{
    list_remove(&cursor->link);
    treap_release(cursor->root);
    free(cursor);
}

static void kv_detach(struct kv *kv)
{
    if (kv->store != NULL)
        kv->store->handle = NULL;
    kv->store = NULL;
}

static void kv_close(struct env *env, struct kv *kv)
{
    if (sim_process_of(env)->is_alive) {
        CHECK(kv->in_flight == 0);
        CHECK(list_is_empty(&kv->snapshots));
        CHECK(list_is_empty(&kv->cursors));
    }
    LIST_EACH_SAFE(&kv->snapshots, link)
    snapshot_free(container_of(link, struct kv_snapshot, link));
    LIST_EACH_SAFE(&kv->cursors, cursor)
    kv_cursor_close(container_of(cursor, struct kv_cursor, link));
    kv_detach(kv);
    list_remove(&kv->link);
    free(kv);
}

void sim_kv_on_crash(struct sim_process *process)
{
    LIST_EACH(&process->stores, link)
    kv_detach(container_of(link, struct kv, link));
}

void sim_kv_close_all(struct sim_process *process)
{
    LIST_EACH_SAFE(&process->stores, link)
    kv_close(&process->env, container_of(link, struct kv, link));
}

/* ---- writing and reading ---- */

static enum error kv_write(struct env *env, struct kv *kv, const struct kv_write *writes,
                           size_t count)
{
    struct treap *root;
    uint64_t bytes = 0;

    for (size_t i = 0; i < count; i++)
        bytes += writes[i].key.size + (writes[i].is_delete ? 0 : writes[i].value.size);
    if (sim_disk_call_fails(sim_process_of(env), bytes))
        return ERR_IO;
    root = treap_retain(store_present(kv->store));
    for (size_t i = 0; i < count; i++) {
        const struct kv_write *write = &writes[i];
        struct treap *next = write->is_delete ? treap_remove(root, write->key)
                                              : treap_set(root, write->key, write->value);

        treap_release(root);
        root = next;
    }
    store_push(kv->store, root);
    return OK;
}

static enum error kv_get(struct env *env, struct kv *kv, const struct kv_snapshot *snapshot,
                         struct slice key, struct buffer *value)
{
    const struct treap *entry;

    if (sim_disk_call_fails(sim_process_of(env), 0))
        return ERR_IO;
    entry = treap_find(snapshot != NULL ? snapshot->root : store_present(kv->store), key);
    return entry != NULL ? buffer_append_slice(value, treap_value(entry)) : ERR_NOT_FOUND;
}

struct durability { /* a make_durable in flight */
    struct sim_event event;
    struct env_disk_op *op;
    struct kv *kv;
    uint64_t number; /* of the version that becomes durable */
    enum error rc;
};

static void durability_effect(struct sim_event *event)
{
    struct durability *it = container_of(event, struct durability, event);

    if (it->rc == OK && !it->kv->process->sim->options.durable_lies)
        store_settle_to(it->kv->store, it->number);
}

static void durability_discard(struct sim_event *event)
{
    free(container_of(event, struct durability, event));
}

static void durability_fire(struct sim_event *event)
{
    struct durability *it = container_of(event, struct durability, event);
    struct env_disk_op *op = it->op;
    enum error rc = it->rc;

    it->kv->in_flight--;
    free(it);
    op->impl = NULL;
    op->cb(op, rc);
}

static void kv_make_durable(struct env *env, struct kv *kv, struct env_disk_op *op, env_disk_cb cb)
{
    struct sim_process *process = sim_process_of(env);
    struct sim *sim = process->sim;
    struct durability *it;
    uint64_t due;

    if (!process->is_alive)
        return;
    it = check_calloc(1, sizeof(*it));
    it->event.process = process;
    it->event.kind = SIM_KIND_DISK;
    it->event.effect = durability_effect;
    it->event.fire = durability_fire;
    it->event.discard = durability_discard;
    it->op = op;
    it->kv = kv;
    it->number = kv->store->number + kv->store->count - 1;
    it->rc = sim_disk_call_fails(process, 0) ? ERR_IO : OK;
    op->cb = cb;
    op->impl = it;
    kv->in_flight++;
    due = sim->now + sim_draw(sim, sim->options.durable);
    if (due < kv->store->sync_last)
        due = kv->store->sync_last;
    kv->store->sync_last = due;
    sim_schedule(sim, &it->event, due);
}

static enum error kv_sync(struct env *env, struct kv *kv)
{
    struct sim_process *process = sim_process_of(env);

    if (sim_disk_call_fails(process, 0))
        return ERR_IO;
    if (!process->sim->options.durable_lies)
        store_settle(kv->store, kv->store->count - 1);
    return OK;
}

/* ---- snapshots and cursors ---- */

static struct treap *kv_root(const struct kv *kv, const struct kv_snapshot *snapshot)
{
    if (snapshot != NULL)
        return treap_retain(snapshot->root);
    return kv->store != NULL ? treap_retain(store_present(kv->store)) : NULL;
}

static struct kv_snapshot *kv_snapshot(struct env *env, struct kv *kv)
{
    struct kv_snapshot *snapshot = check_calloc(1, sizeof(*snapshot));

    (void)env;
    snapshot->root = kv_root(kv, NULL);
    list_append(&kv->snapshots, &snapshot->link);
    return snapshot;
}

static void kv_snapshot_release(struct env *env, struct kv *kv, struct kv_snapshot *snapshot)
{
    (void)env;
    (void)kv;
    snapshot_free(snapshot);
}

static struct kv_cursor *kv_cursor(struct env *env, struct kv *kv,
                                   const struct kv_snapshot *snapshot)
{
    struct kv_cursor *cursor = check_calloc(1, sizeof(*cursor));

    (void)env;
    cursor->root = kv_root(kv, snapshot);
    list_append(&kv->cursors, &cursor->link);
    return cursor;
}

static void kv_cursor_seek(struct kv_cursor *cursor, struct slice key)
{
    cursor->entry = treap_at_least(cursor->root, key);
}

static void kv_cursor_seek_last(struct kv_cursor *cursor, struct slice key)
{
    cursor->entry = treap_at_most(cursor->root, key);
}

static void kv_cursor_next(struct kv_cursor *cursor)
{
    CHECK(cursor->entry != NULL);
    cursor->entry = treap_above(cursor->root, treap_key(cursor->entry));
}

static void kv_cursor_previous(struct kv_cursor *cursor)
{
    CHECK(cursor->entry != NULL);
    cursor->entry = treap_below(cursor->root, treap_key(cursor->entry));
}

static bool kv_cursor_valid(struct kv_cursor *cursor)
{
    return cursor->entry != NULL;
}

static struct slice kv_cursor_key(struct kv_cursor *cursor)
{
    return treap_key(cursor->entry);
}

static struct slice kv_cursor_value(struct kv_cursor *cursor)
{
    return treap_value(cursor->entry);
}

static enum error kv_cursor_error(struct kv_cursor *cursor)
{
    (void)cursor;
    return OK;
}

const struct env_kv sim_kv = {
    .open = kv_open,
    .close = kv_close,
    .write = kv_write,
    .get = kv_get,
    .make_durable = kv_make_durable,
    .sync = kv_sync,
    .snapshot = kv_snapshot,
    .snapshot_release = kv_snapshot_release,
    .cursor = kv_cursor,
    .cursor_close = kv_cursor_close,
    .cursor_seek = kv_cursor_seek,
    .cursor_seek_last = kv_cursor_seek_last,
    .cursor_next = kv_cursor_next,
    .cursor_previous = kv_cursor_previous,
    .cursor_valid = kv_cursor_valid,
    .cursor_key = kv_cursor_key,
    .cursor_value = kv_cursor_value,
    .cursor_error = kv_cursor_error,
};
