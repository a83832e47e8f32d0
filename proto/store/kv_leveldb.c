#include "proto/store/kv_leveldb.h"

#include "proto/base/check.h"
#include "proto/store/kv_leveldb_boot.h"

#include <errno.h>
#include <leveldb/c.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>

#define BLOOM_BITS_PER_KEY 10

/* A store has up to two of these in memory. A node holds many stores and idles below 40 MiB
 * resident, which speaks for small ones; a small one is full sooner, which costs more tables and
 * compactions, and a write that finds both full blocks the loop until one is on disk. 2 MiB is
 * seconds of a shard's writes, and the most a store that fell idle keeps. */
#define WRITE_BUFFER_BYTES (2u << 20)

/* Open tables per store, at most; each keeps its index and its filter in memory. */
#define OPEN_FILES_MAX 128

struct kv_leveldb {
    struct env_kv table; /* first: env->kv points here, and that is how its functions find us */
    struct env *env;
    char *folder;
    char boot_id[KV_LEVELDB_BOOT_ID_BYTES];
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_options_t *options;
    leveldb_writeoptions_t *write_options;
    struct list flushes; /* struct flush; the first one runs */
};

struct kv {
    struct kv_leveldb *all;
    leveldb_t *db;
    leveldb_readoptions_t *read_options;
    leveldb_writebatch_t *batch; /* reused; empty between writes */
    bool is_dirty;               /* written to since the last flush began */
    enum error failed; /* the first ERR_IO, kept: LevelDB takes no more writes after one */
    size_t views;      /* cursors and snapshots */
};

struct kv_snapshot {
    const leveldb_snapshot_t *snapshot;
    leveldb_readoptions_t *read_options;
};

struct kv_cursor {
    struct kv *kv;
    leveldb_iterator_t *iterator;
};

/* One make_durable. Its memory is ours: the store may be closed, or the environment stopped, while
 * a worker is at it. */
struct flush {
    struct env_work work;
    struct list link;
    struct kv_leveldb *all;
    struct kv *kv; /* loop thread; NULL once the store was closed */
    struct env_disk_op *op;
    leveldb_t *db;
    bool is_needed;
    enum error rc;
    enum { FLUSH_WAITING, FLUSH_RUNNING, FLUSH_DONE } state; /* this and below: under `mutex` */
    pthread_mutex_t mutex;
    pthread_cond_t is_done;
};

/* Takes `message`, LevelDB's. A table that is missing is damage; anything else the operating system
 * reports is a failing disk. */
static enum error error_from_leveldb(char *message)
{
    enum error rc = ERR_IO;

    if (message == NULL)
        return OK;
    if (strncmp(message, "NotFound", strlen("NotFound")) == 0)
        rc = ERR_NOT_FOUND;
    else if (strncmp(message, "IO error", strlen("IO error")) != 0 ||
             strstr(message, strerror(ENOENT)) != NULL)
        rc = ERR_CORRUPT;
    leveldb_free(message);
    return rc;
}

static struct kv_leveldb *all_of(struct env *env)
{
    return container_of(env->kv, struct kv_leveldb, table);
}

/* ---- opening ---- */

static enum error open_db(struct kv_leveldb *all, const char *path, leveldb_t **db)
{
    char *message = NULL;
    enum error rc = kv_leveldb_boot_prepare(all->boot_id, path);

    if (rc != OK)
        return rc;
    leveldb_t *opened = leveldb_open(all->options, path, &message);

    rc = error_from_leveldb(message);
    if (rc != OK)
        return rc;
    rc = kv_leveldb_boot_mark(all->boot_id, path);
    if (rc != OK) {
        leveldb_close(opened);
        return rc;
    }
    *db = opened;
    return OK;
}

static leveldb_readoptions_t *read_options_new(const leveldb_snapshot_t *snapshot)
{
    leveldb_readoptions_t *options = leveldb_readoptions_create();

    leveldb_readoptions_set_verify_checksums(options, 1);
    leveldb_readoptions_set_snapshot(options, snapshot);
    return options;
}

static enum error kv_open(struct env *env, const char *path, struct kv **kv)
{
    struct kv_leveldb *all = all_of(env);
    char full[PATH_MAX - sizeof("/CURRENT")];
    leveldb_t *db;
    int size = snprintf(full, sizeof(full), "%s/%s", all->folder, path);

    if (size < 0 || (size_t)size >= sizeof(full))
        return ERR_TOO_LARGE;
    enum error rc = env->disk->make_folder(env, path);

    if (rc == OK)
        rc = open_db(all, full, &db);
    if (rc != OK)
        return rc;
    *kv = check_calloc(1, sizeof(**kv));
    (*kv)->all = all;
    (*kv)->db = db;
    (*kv)->read_options = read_options_new(NULL);
    (*kv)->batch = leveldb_writebatch_create();
    (*kv)->is_dirty = true; /* what it holds may have come from an unsynced log */
    return OK;
}

/* ---- reading and writing ---- */

static enum error fail(struct kv *kv, enum error rc)
{
    if (rc != OK && kv->failed == OK)
        kv->failed = rc;
    return rc;
}

static enum error kv_write(struct env *env, struct kv *kv, const struct kv_write *writes,
                           size_t count)
{
    char *message = NULL;

    (void)env;
    for (size_t i = 0; i < count; i++) {
        const char *key = (const char *)writes[i].key.data;

        if (writes[i].is_delete)
            leveldb_writebatch_delete(kv->batch, key, writes[i].key.size);
        else
            leveldb_writebatch_put(kv->batch, key, writes[i].key.size,
                                   (const char *)writes[i].value.data, writes[i].value.size);
    }
    leveldb_write(kv->db, kv->all->write_options, kv->batch, &message);
    leveldb_writebatch_clear(kv->batch);
    kv->is_dirty = true;
    return fail(kv, error_from_leveldb(message));
}

static enum error kv_get(struct env *env, struct kv *kv, const struct kv_snapshot *snapshot,
                         struct slice key, struct buffer *value)
{
    char *message = NULL;
    size_t size = 0;

    (void)env;
    char *found = leveldb_get(kv->db, snapshot != NULL ? snapshot->read_options : kv->read_options,
                              (const char *)key.data, key.size, &size, &message);

    if (message != NULL)
        return error_from_leveldb(message);
    if (found == NULL)
        return ERR_NOT_FOUND;
    enum error rc = buffer_append(value, found, size);

    leveldb_free(found);
    return rc;
}

static struct kv_snapshot *kv_snapshot_take(struct env *env, struct kv *kv)
{
    struct kv_snapshot *snapshot = check_malloc(sizeof(*snapshot));

    (void)env;
    snapshot->snapshot = leveldb_create_snapshot(kv->db);
    snapshot->read_options = read_options_new(snapshot->snapshot);
    kv->views++;
    return snapshot;
}

static void kv_snapshot_release(struct env *env, struct kv *kv, struct kv_snapshot *snapshot)
{
    (void)env;
    leveldb_release_snapshot(kv->db, snapshot->snapshot);
    leveldb_readoptions_destroy(snapshot->read_options);
    free(snapshot);
    kv->views--;
}

/* ---- cursors ---- */

static struct kv_cursor *kv_cursor_new(struct env *env, struct kv *kv,
                                       const struct kv_snapshot *snapshot)
{
    struct kv_cursor *cursor = check_malloc(sizeof(*cursor));

    (void)env;
    cursor->kv = kv;
    cursor->iterator = leveldb_create_iterator(kv->db, snapshot != NULL ? snapshot->read_options
                                                                        : kv->read_options);
    kv->views++;
    return cursor;
}

static void kv_cursor_close(struct kv_cursor *cursor)
{
    leveldb_iter_destroy(cursor->iterator);
    cursor->kv->views--;
    free(cursor);
}

static void kv_cursor_seek(struct kv_cursor *cursor, struct slice key)
{
    leveldb_iter_seek(cursor->iterator, (const char *)key.data, key.size);
}

static void kv_cursor_next(struct kv_cursor *cursor)
{
    leveldb_iter_next(cursor->iterator);
}

static void kv_cursor_previous(struct kv_cursor *cursor)
{
    leveldb_iter_prev(cursor->iterator);
}

static bool kv_cursor_valid(struct kv_cursor *cursor)
{
    return leveldb_iter_valid(cursor->iterator) != 0;
}

static struct slice kv_cursor_key(struct kv_cursor *cursor)
{
    size_t size;
    const char *key = leveldb_iter_key(cursor->iterator, &size);

    return slice_of(key, size);
}

static struct slice kv_cursor_value(struct kv_cursor *cursor)
{
    size_t size;
    const char *value = leveldb_iter_value(cursor->iterator, &size);

    return slice_of(value, size);
}

static enum error kv_cursor_error(struct kv_cursor *cursor)
{
    char *message = NULL;

    leveldb_iter_get_error(cursor->iterator, &message);
    return error_from_leveldb(message);
}

static void kv_cursor_seek_last(struct kv_cursor *cursor, struct slice key)
{
    kv_cursor_seek(cursor, key);
    if (!kv_cursor_valid(cursor)) {
        if (kv_cursor_error(cursor) == OK)
            leveldb_iter_seek_to_last(cursor->iterator);
    } else if (!slice_equal(kv_cursor_key(cursor), key)) {
        kv_cursor_previous(cursor);
    }
}

/* ---- make_durable ----
 *
 * A synced write would not do: LevelDB syncs only the log it is writing now, and when the memtable
 * was switched meanwhile the earlier log's pages are still anywhere. Compacting an empty range of
 * keys does: before it looks at the range it writes the whole memtable into a table, and a table
 * is synced before the (synced) manifest names it. No key is empty, so there is nothing more to it.
 *
 * LevelDB has one thread for all stores of a process, and the caller of the compaction waits for
 * it; so we ask for one at a time, and the other worker threads stay free for the journal. */

/* Compaction tells nobody of its errors, but no write succeeds after one. */
static enum error flush_db(leveldb_t *db, const leveldb_writeoptions_t *write_options)
{
    leveldb_writebatch_t *nothing = leveldb_writebatch_create();
    char *message = NULL;

    leveldb_compact_range(db, "", 0, "", 0);
    leveldb_write(db, write_options, nothing, &message);
    leveldb_writebatch_destroy(nothing);
    return error_from_leveldb(message);
}

static void run_flush(struct env_work *work)
{
    struct flush *flush = container_of(work, struct flush, work);

    CHECK(pthread_mutex_lock(&flush->mutex) == 0);
    bool is_wanted = flush->state == FLUSH_WAITING && flush->is_needed;

    flush->state = FLUSH_RUNNING;
    CHECK(pthread_mutex_unlock(&flush->mutex) == 0);
    if (is_wanted)
        flush->rc = flush_db(flush->db, flush->all->write_options);
    CHECK(pthread_mutex_lock(&flush->mutex) == 0);
    flush->state = FLUSH_DONE;
    CHECK(pthread_cond_signal(&flush->is_done) == 0);
    CHECK(pthread_mutex_unlock(&flush->mutex) == 0);
}

static void flush_free(struct flush *flush)
{
    list_remove(&flush->link);
    CHECK(pthread_mutex_destroy(&flush->mutex) == 0);
    CHECK(pthread_cond_destroy(&flush->is_done) == 0);
    free(flush);
}

static void start_first_flush(struct kv_leveldb *all)
{
    if (list_is_empty(&all->flushes))
        return;
    struct flush *flush = container_of(all->flushes.next, struct flush, link);

    if (flush->kv != NULL) {
        flush->is_needed = flush->kv->is_dirty;
        flush->kv->is_dirty = false;
    }
    all->env->worker->queue(all->env, &flush->work);
}

static void on_flush_done(struct env_work *work)
{
    struct flush *flush = container_of(work, struct flush, work);
    struct kv_leveldb *all = flush->all;
    struct env_disk_op *op = flush->op;
    struct kv *kv = flush->kv;
    enum error rc = flush->rc;

    flush_free(flush);
    start_first_flush(all);
    if (kv == NULL)
        return;
    /* An earlier flush may have failed; skipping this one as clean would hide that. */
    (void)fail(kv, rc);
    op->cb(op, kv->failed);
}

static void kv_make_durable(struct env *env, struct kv *kv, struct env_disk_op *op, env_disk_cb cb)
{
    struct kv_leveldb *all = all_of(env);
    struct flush *flush = check_calloc(1, sizeof(*flush));
    bool is_first = list_is_empty(&all->flushes);

    CHECK(pthread_mutex_init(&flush->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&flush->is_done, NULL) == 0);
    flush->work.run = run_flush;
    flush->work.done = on_flush_done;
    flush->all = all;
    flush->kv = kv;
    flush->db = kv->db;
    flush->op = op;
    op->cb = cb;
    list_append(&all->flushes, &flush->link);
    if (is_first)
        start_first_flush(all);
}

/* A flush of the same store may be under way: this one does no less. */
static enum error kv_sync(struct env *env, struct kv *kv)
{
    if (kv->failed == OK)
        (void)fail(kv, flush_db(kv->db, all_of(env)->write_options));
    return kv->failed;
}

/* Its callback is not coming any more; a worker that is at it is waited for. */
static void abandon(struct flush *flush)
{
    flush->kv = NULL;
    CHECK(pthread_mutex_lock(&flush->mutex) == 0);
    if (flush->state == FLUSH_WAITING)
        flush->state = FLUSH_DONE;
    while (flush->state != FLUSH_DONE)
        CHECK(pthread_cond_wait(&flush->is_done, &flush->mutex) == 0);
    CHECK(pthread_mutex_unlock(&flush->mutex) == 0);
}

static void kv_close(struct env *env, struct kv *kv)
{
    CHECK(kv->views == 0);
    LIST_EACH(&all_of(env)->flushes, link)
    {
        struct flush *flush = container_of(link, struct flush, link);

        if (flush->kv == kv)
            abandon(flush);
    }
    leveldb_close(kv->db);
    leveldb_readoptions_destroy(kv->read_options);
    leveldb_writebatch_destroy(kv->batch);
    free(kv);
}

/* ---- all stores ---- */

void kv_leveldb_set_boot_id(struct env *env, const char *boot_id)
{
    struct kv_leveldb *all = all_of(env);

    (void)snprintf(all->boot_id, sizeof(all->boot_id), "%s", boot_id);
}

static leveldb_options_t *options_new(leveldb_cache_t *cache, leveldb_filterpolicy_t *filter)
{
    leveldb_options_t *options = leveldb_options_create();

    leveldb_options_set_create_if_missing(options, 1);
    leveldb_options_set_paranoid_checks(options, 1);
    leveldb_options_set_write_buffer_size(options, WRITE_BUFFER_BYTES);
    leveldb_options_set_max_open_files(options, OPEN_FILES_MAX);
    leveldb_options_set_cache(options, cache);
    leveldb_options_set_filter_policy(options, filter);
    /* A hot block stays in the cache unpacked and checked; one that is not packed is read from the
     * mapped file and checked each time: 360 against 250 thousand reads a second, on half the disk
     * (tests/bench/mesh/bench_kv.c). */
    leveldb_options_set_compression(options, leveldb_snappy_compression);
    return options;
}

struct kv_leveldb *kv_leveldb_new(struct env *env, const char *folder, size_t cache_bytes)
{
    struct kv_leveldb *all = check_calloc(1, sizeof(*all));

    all->table = (struct env_kv){
        .open = kv_open,
        .close = kv_close,
        .write = kv_write,
        .get = kv_get,
        .make_durable = kv_make_durable,
        .sync = kv_sync,
        .snapshot = kv_snapshot_take,
        .snapshot_release = kv_snapshot_release,
        .cursor = kv_cursor_new,
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
    all->env = env;
    all->folder = check_strdup(folder);
    kv_leveldb_boot_read_id(all->boot_id);
    all->cache = leveldb_cache_create_lru(cache_bytes);
    all->filter = leveldb_filterpolicy_create_bloom(BLOOM_BITS_PER_KEY);
    all->options = options_new(all->cache, all->filter);
    all->write_options = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(all->write_options, 0);
    list_init(&all->flushes);
    return all;
}

void kv_leveldb_free(struct kv_leveldb *all)
{
    if (all == NULL)
        return;
    while (!list_is_empty(&all->flushes))
        flush_free(container_of(all->flushes.next, struct flush, link));
    leveldb_writeoptions_destroy(all->write_options);
    leveldb_options_destroy(all->options);
    leveldb_filterpolicy_destroy(all->filter);
    leveldb_cache_destroy(all->cache);
    free(all->folder);
    free(all);
}

const struct env_kv *kv_leveldb_table(struct kv_leveldb *all)
{
    return &all->table;
}
