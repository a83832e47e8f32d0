/* The simulated disk: one flat map from path to file, folder or store.
 *
 * A file holds what a reader sees (the page cache) and, for every write no sync has confirmed yet,
 * the bytes it replaced. A power loss walks these records back, newest first, a sector at a time:
 * what is put back was lost. A sector that survives shields the older writes below it. */

#include "proto/env/env_sim_impl.h"

#define SECTOR_BYTES 512u

struct undo { /* of one un-synced write */
    struct list link;
    uint64_t sequence;
    bool
        is_in_flight; /* its write_sync has not come back: the write itself may not have happened */
    uint64_t offset;
    size_t size;
    uint64_t size_before; /* of the file */
    uint8_t bytes[];      /* what was there, zeros past the end */
};

#define RECENT_COUNT 8

struct recent {                    /* where a write_sync wrote */
    const struct content *content; /* compared only */
    uint64_t begin;
    uint64_t end;
};

struct content { /* of a file, shared by its path and its open handles */
    uint32_t references;
    struct buffer bytes;
    struct list unsynced; /* of undo, oldest first */
    uint64_t sequence;
    uint64_t sync_last;        /* syncs end in the order they were asked for */
    struct buffer bad_sectors; /* of uint64_t */
};

struct node { /* what a path leads to: a file, a store, or neither: a folder */
    struct content *content;
    struct sim_store *store;
};

struct sim_disk {
    struct sim_machine *machine;
    struct map nodes;
    struct sim_range sync;
    uint64_t calls_to_failure; /* 0 = none */
    bool fault_met;
    uint64_t space;
    uint64_t replace_last; /* replacements end in the order they were asked for */
    struct list replaces;  /* struct operation, in flight */
    struct list removed;   /* struct removed */
    struct recent recents[RECENT_COUNT];
    size_t recent_next;
};

/* A file whose removal the folder may not know durably yet. */
struct removed {
    struct list link;
    struct content *content;
    size_t path_size;
    uint8_t path[];
};

struct env_file {
    struct list link; /* in process->files */
    struct sim_process *process;
    struct content *content;
    uint32_t in_flight;
};

/* ---- contents ---- */

static struct content *content_new(void)
{
    struct content *content = check_calloc(1, sizeof(*content));

    content->references = 1;
    buffer_init(&content->bytes, BUFFER_UNLIMITED);
    buffer_init(&content->bad_sectors, BUFFER_UNLIMITED);
    list_init(&content->unsynced);
    return content;
}

static void content_forget_undo(struct content *content, uint64_t sequence_max)
{
    LIST_EACH_SAFE(&content->unsynced, link)
    {
        struct undo *undo = container_of(link, struct undo, link);

        if (undo->sequence > sequence_max)
            break;
        list_remove(link);
        free(undo);
    }
}

static void content_release(struct content *content)
{
    if (content == NULL || --content->references > 0)
        return;
    content_forget_undo(content, UINT64_MAX);
    buffer_close(&content->bytes);
    buffer_close(&content->bad_sectors);
    free(content);
}

static void content_resize(struct content *content, uint64_t bytes)
{
    struct buffer *buffer = &content->bytes;

    if (bytes > buffer->size) {
        CHECK(buffer_reserve(buffer, bytes - buffer->size) == OK);
        memset(buffer->data + buffer->size, 0, bytes - buffer->size);
    }
    buffer->size = bytes;
}

static void bad_sectors_forget(struct content *content, uint64_t offset, size_t size)
{
    struct buffer *bad = &content->bad_sectors;

    for (size_t i = 0; i < bad->size;) {
        uint64_t sector;

        memcpy(&sector, bad->data + i, sizeof(sector));
        if (sector * SECTOR_BYTES >= offset + size || (sector + 1) * SECTOR_BYTES <= offset) {
            i += sizeof(sector);
            continue;
        }
        memmove(bad->data + i, bad->data + i + sizeof(sector), bad->size - i - sizeof(sector));
        bad->size -= sizeof(sector);
    }
}

static bool bad_sectors_meet(const struct content *content, uint64_t offset, size_t size)
{
    for (size_t i = 0; i < content->bad_sectors.size; i += sizeof(uint64_t)) {
        uint64_t sector;

        memcpy(&sector, content->bad_sectors.data + i, sizeof(sector));
        if (sector * SECTOR_BYTES < offset + size && (sector + 1) * SECTOR_BYTES > offset)
            return true;
    }
    return false;
}

static struct undo *content_write(struct content *content, uint64_t offset, struct slice bytes)
{
    struct undo *undo = check_calloc(1, sizeof(*undo) + bytes.size);
    uint64_t size_before = content->bytes.size;

    undo->sequence = ++content->sequence;
    undo->offset = offset;
    undo->size = bytes.size;
    undo->size_before = size_before;
    if (offset < size_before && bytes.size > 0) {
        size_t kept = size_before - offset < bytes.size ? size_before - offset : bytes.size;

        memcpy(undo->bytes, content->bytes.data + offset, kept);
    }
    list_append(&content->unsynced, &undo->link);
    if (offset + bytes.size > size_before)
        content_resize(content, offset + bytes.size);
    if (bytes.size > 0)
        memcpy(content->bytes.data + offset, bytes.data, bytes.size);
    bad_sectors_forget(content, offset, bytes.size);
    return undo;
}

/* ---- crash ---- */

enum fate { FATE_KEPT, FATE_LOST, FATE_TORN };

static enum fate write_fate(const struct undo *undo, struct rng *rng, unsigned how)
{
    if (how == SIM_CRASH_LOSE)
        return FATE_LOST;
    if (how == SIM_CRASH_KILL) /* the page cache stays; a write at work may not have started */
        return undo->is_in_flight && rng_below(rng, 2) == 0 ? FATE_LOST : FATE_KEPT;
    return (enum fate)rng_below(rng, 3);
}

/* Puts one write back, but for the sectors that survived: those are set in `shield`. */
static void undo_apply(struct content *content, const struct undo *undo, enum fate fate,
                       struct rng *rng, uint8_t *shield)
{
    uint64_t end = undo->offset + undo->size;

    for (uint64_t at = undo->offset; at < end;) {
        uint64_t sector = at / SECTOR_BYTES;
        uint64_t next = (sector + 1) * SECTOR_BYTES < end ? (sector + 1) * SECTOR_BYTES : end;

        if (fate == FATE_KEPT || (fate == FATE_TORN && rng_below(rng, 2) == 0))
            shield[sector] = 1;
        if (!shield[sector])
            memcpy(content->bytes.data + at, undo->bytes + (at - undo->offset), next - at);
        at = next;
    }
}

static void content_on_crash(struct content *content, struct rng *rng, unsigned how)
{
    uint64_t size_now = content->bytes.size;
    uint64_t size_min = size_now;
    uint8_t *shield;

    if (list_is_empty(&content->unsynced))
        return;
    shield = check_calloc(1, size_now / SECTOR_BYTES + 1);
    for (struct list *link = content->unsynced.previous; link != &content->unsynced;) {
        struct undo *undo = container_of(link, struct undo, link);
        enum fate fate = write_fate(undo, rng, how);

        link = link->previous;
        undo_apply(content, undo, fate, rng, shield);
        if (fate != FATE_KEPT && undo->size_before < size_min)
            size_min = undo->size_before;
        undo->is_in_flight = false;
    }
    free(shield);
    if (how == SIM_CRASH_TEAR && size_min < size_now && rng_below(rng, 2) == 0)
        size_min += rng_below(rng, size_now - size_min + 1);
    if (how == SIM_CRASH_KILL)
        return; /* still not synced, and a power loss may yet take it */
    content_forget_undo(content, UINT64_MAX);
    content_resize(content, size_min);
}

/* ---- paths ---- */

/* Folders are written without the slash behind; "" is the data folder itself. */
static struct slice path_clean(const char *path)
{
    struct slice clean = slice_text(path);

    while (clean.size >= 2 && clean.data[0] == '.' && clean.data[1] == '/')
        clean = slice_of(clean.data + 2, clean.size - 2);
    while (clean.size > 0 && clean.data[clean.size - 1] == '/')
        clean.size--;
    return slice_equal_text(clean, ".") ? slice_of(clean.data, 0) : clean;
}

static struct slice path_parent(struct slice path)
{
    while (path.size > 0 && path.data[path.size - 1] != '/')
        path.size--;
    if (path.size > 0)
        path.size--;
    return path;
}

static bool path_is_inside(struct slice path, struct slice folder)
{
    return folder.size == 0 || (path.size > folder.size && slice_starts_with(path, folder) &&
                                path.data[folder.size] == '/');
}

static struct node *node_find(const struct sim_disk *disk, struct slice path)
{
    return map_find(&disk->nodes, path);
}

static bool folder_exists(const struct sim_disk *disk, struct slice path)
{
    const struct node *node = node_find(disk, path);

    return path.size == 0 || (node != NULL && node->content == NULL && node->store == NULL);
}

static struct node *node_add(struct sim_disk *disk, struct slice path)
{
    struct node *node = check_calloc(1, sizeof(*node));

    CHECK(map_set(&disk->nodes, path, node) == NULL);
    return node;
}

static void node_free(struct node *node)
{
    if (node == NULL)
        return;
    CHECK(node->store == NULL || !sim_store_is_open(node->store));
    sim_store_free(node->store);
    content_release(node->content);
    free(node);
}

/* The names in it are durable now: what was removed does not come back. */
static void folder_synced(struct sim_disk *disk, struct slice folder)
{
    LIST_EACH_SAFE(&disk->removed, link)
    {
        struct removed *removed = container_of(link, struct removed, link);

        if (!slice_equal(path_parent(slice_of(removed->path, removed->path_size)), folder))
            continue;
        list_remove(link);
        content_release(removed->content);
        free(removed);
    }
}

static void node_remove(struct sim_disk *disk, struct slice path)
{
    struct node *node = node_find(disk, path);

    if (node->content != NULL) {
        struct removed *removed = check_malloc(sizeof(*removed) + path.size);

        removed->content = node->content;
        removed->path_size = path.size;
        memcpy(removed->path, path.data, path.size);
        list_append(&disk->removed, &removed->link);
        node->content = NULL;
    }
    node_free(map_remove(&disk->nodes, path));
}

static void removed_on_crash(struct sim_disk *disk, struct rng *rng, unsigned how)
{
    struct list *link;

    if (how == SIM_CRASH_KILL)
        return;
    while ((link = list_pop(&disk->removed)) != NULL) {
        struct removed *removed = container_of(link, struct removed, link);
        struct slice path = slice_of(removed->path, removed->path_size);
        bool comes_back = how == SIM_CRASH_LOSE || rng_below(rng, 2) == 0;

        if (comes_back && node_find(disk, path) == NULL && folder_exists(disk, path_parent(path)))
            node_add(disk, path)->content = removed->content;
        else
            content_release(removed->content);
        free(removed);
    }
}

static enum error file_get(struct sim_disk *disk, const char *path, bool create,
                           struct content **content)
{
    struct slice clean = path_clean(path);
    struct node *node = node_find(disk, clean);

    if (node == NULL) {
        if (!create || !folder_exists(disk, path_parent(clean)))
            return ERR_NOT_FOUND;
        node = node_add(disk, clean);
        node->content = content_new();
        folder_synced(disk, path_parent(clean));
    }
    if (node->content == NULL)
        return ERR_IO; /* a folder or a store */
    *content = node->content;
    return OK;
}

enum error sim_disk_store_get(struct sim_disk *disk, const char *path, struct sim_store **store)
{
    struct slice clean = path_clean(path);
    struct node *node = node_find(disk, clean);

    if (node == NULL) {
        if (!folder_exists(disk, path_parent(clean)))
            return ERR_NOT_FOUND;
        node = node_add(disk, clean);
        node->store = sim_store_new();
    }
    if (node->content != NULL)
        return ERR_EXISTS;
    if (node->store == NULL) /* an empty folder becomes one */
        node->store = sim_store_new();
    *store = node->store;
    return OK;
}

/* ---- faults ---- */

bool sim_disk_call_fails(struct sim_process *process, uint64_t bytes)
{
    struct sim_disk *disk = process->machine->disk;

    if (!process->is_alive)
        return true;
    if (disk->calls_to_failure > 0 && --disk->calls_to_failure == 0) {
        disk->fault_met = true;
        return true;
    }
    if (bytes > disk->space)
        return true;
    if (disk->space != UINT64_MAX)
        disk->space -= bytes;
    return false;
}

/* Room that is taken already costs nothing. */
static uint64_t growth(const struct content *content, uint64_t end)
{
    return end > content->bytes.size ? end - content->bytes.size : 0;
}

/* ---- synchronous calls ---- */

static enum error disk_open(struct env *env, const char *path, bool create, struct env_file **file)
{
    struct sim_process *process = sim_process_of(env);
    struct content *content;
    enum error rc;

    if (sim_disk_call_fails(process, 0))
        return ERR_IO;
    rc = file_get(process->machine->disk, path, create, &content);
    if (rc != OK)
        return rc;
    *file = check_calloc(1, sizeof(**file));
    (*file)->process = process;
    (*file)->content = content;
    content->references++;
    list_append(&process->files, &(*file)->link);
    return OK;
}

static void disk_close(struct env *env, struct env_file *file)
{
    CHECK(file->in_flight == 0 || !sim_process_of(env)->is_alive);
    list_remove(&file->link);
    content_release(file->content);
    free(file);
}

void sim_disk_close_all(struct sim_process *process)
{
    struct list *link;

    while ((link = list_pop(&process->files)) != NULL) {
        struct env_file *file = container_of(link, struct env_file, link);

        content_release(file->content);
        free(file);
    }
}

static enum error disk_size(struct env *env, struct env_file *file, uint64_t *bytes)
{
    if (sim_disk_call_fails(sim_process_of(env), 0))
        return ERR_IO;
    *bytes = file->content->bytes.size;
    return OK;
}

static enum error content_read(const struct content *content, uint64_t offset, size_t size,
                               struct buffer *to)
{
    uint64_t end = content->bytes.size;

    if (offset >= end)
        return OK;
    if (size > end - offset)
        size = (size_t)(end - offset);
    if (bad_sectors_meet(content, offset, size))
        return ERR_IO;
    return buffer_append(to, content->bytes.data + offset, size);
}

static enum error disk_read(struct env *env, struct env_file *file, uint64_t offset, size_t size,
                            struct buffer *to)
{
    if (sim_disk_call_fails(sim_process_of(env), 0))
        return ERR_IO;
    return content_read(file->content, offset, size, to);
}

static enum error disk_write(struct env *env, struct env_file *file, uint64_t offset,
                             struct slice bytes)
{
    if (sim_disk_call_fails(sim_process_of(env), growth(file->content, offset + bytes.size)))
        return ERR_IO;
    (void)content_write(file->content, offset, bytes);
    return OK;
}

static enum error disk_resize(struct env *env, struct env_file *file, uint64_t bytes)
{
    struct content *content = file->content;

    if (sim_disk_call_fails(sim_process_of(env), growth(content, bytes)))
        return ERR_IO;
    content_forget_undo(content, UINT64_MAX);
    content_resize(content, bytes);
    return OK;
}

static enum error disk_remove(struct env *env, const char *path)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_disk *disk = process->machine->disk;
    struct slice clean = path_clean(path);
    struct map_entry *entry;
    size_t position = 0;

    if (sim_disk_call_fails(process, 0))
        return ERR_IO;
    if (node_find(disk, clean) == NULL)
        return ERR_NOT_FOUND;
    while ((entry = map_next(&disk->nodes, &position)) != NULL)
        if (path_is_inside(entry->key, clean))
            node_remove(disk, entry->key);
    node_remove(disk, clean);
    return OK;
}

/* Moves what is at `path`, which is `from` or inside it. */
static void node_move(struct sim_disk *disk, struct slice from, struct slice to, struct slice path)
{
    struct buffer moved = BUFFER_INIT(BUFFER_UNLIMITED);
    struct node *node;

    buffer_put_slice(&moved, to);
    buffer_put(&moved, path.data + from.size, path.size - from.size);
    node = map_remove(&disk->nodes, path);
    CHECK(node->store == NULL || !sim_store_is_open(node->store));
    node_free(map_set(&disk->nodes, buffer_slice(&moved), node));
    buffer_close(&moved);
}

/* A folder must be empty or gone to be replaced, a file need not. */
static bool may_replace(const struct sim_disk *disk, struct slice to)
{
    const struct node *node = node_find(disk, to);
    struct map_entry *entry;
    size_t position = 0;

    if (node == NULL || node->content != NULL)
        return true;
    if (node->store != NULL)
        return false;
    while ((entry = map_next(&disk->nodes, &position)) != NULL)
        if (path_is_inside(entry->key, to))
            return false;
    return true;
}

static enum error disk_rename(struct env *env, const char *from, const char *to)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_disk *disk = process->machine->disk;
    struct slice clean_from = path_clean(from);
    struct slice clean_to = path_clean(to);
    size_t end = disk->nodes.entry_count;
    char **inside = check_calloc(end + 1, sizeof(char *));
    size_t inside_count = 0;
    struct map_entry *entry;
    size_t position = 0;
    enum error rc = OK;

    if (sim_disk_call_fails(process, 0))
        rc = ERR_IO;
    else if (node_find(disk, clean_from) == NULL || !folder_exists(disk, path_parent(clean_to)))
        rc = ERR_NOT_FOUND;
    else if (!may_replace(disk, clean_to))
        rc = ERR_EXISTS;
    if (rc == OK && !slice_equal(clean_from, clean_to)) {
        while ((entry = map_next(&disk->nodes, &position)) != NULL)
            if (path_is_inside(entry->key, clean_from))
                inside[inside_count++] = slice_strdup(entry->key);
        node_move(disk, clean_from, clean_to, clean_from);
        for (size_t i = 0; i < inside_count; i++) {
            node_move(disk, clean_from, clean_to, slice_text(inside[i]));
            free(inside[i]);
        }
        folder_synced(disk, path_parent(clean_from));
        folder_synced(disk, path_parent(clean_to));
    }
    free(inside);
    return rc;
}

static enum error disk_make_folder(struct env *env, const char *path)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_disk *disk = process->machine->disk;
    struct slice clean = path_clean(path);

    if (sim_disk_call_fails(process, 0))
        return ERR_IO;
    for (size_t i = 1; i <= clean.size; i++) {
        struct slice part = slice_of(clean.data, i);

        if (i < clean.size && clean.data[i] != '/')
            continue;
        if (node_find(disk, part) == NULL)
            (void)node_add(disk, part);
        else if (!folder_exists(disk, part))
            return ERR_EXISTS;
    }
    return OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum error disk_list(struct env *env, const char *path, void *user,
                            void (*on_name)(void *user, const char *name))
{
    struct sim_process *process = sim_process_of(env);
    const struct sim_disk *disk = process->machine->disk;
    struct slice clean = path_clean(path);
    size_t skip = clean.size > 0 ? clean.size + 1 : 0;
    char **names;
    size_t count = 0;
    struct map_entry *entry;
    size_t position = 0;

    if (sim_disk_call_fails(process, 0))
        return ERR_IO;
    if (!folder_exists(disk, clean))
        return ERR_NOT_FOUND;
    names = check_calloc(disk->nodes.count + 1, sizeof(char *));
    while ((entry = map_next(&disk->nodes, &position)) != NULL)
        if (path_is_inside(entry->key, clean) && slice_equal(path_parent(entry->key), clean))
            names[count++] = slice_strdup(slice_of(entry->key.data + skip, entry->key.size - skip));
    qsort(names, count, sizeof(char *), compare_names);
    for (size_t i = 0; i < count; i++) {
        on_name(user, names[i]);
        free(names[i]);
    }
    free(names);
    return OK;
}

static enum error disk_load(struct env *env, const char *path, struct buffer *to)
{
    struct sim_process *process = sim_process_of(env);
    struct content *content;
    enum error rc;

    if (sim_disk_call_fails(process, 0))
        return ERR_IO;
    rc = file_get(process->machine->disk, path, false, &content);
    if (rc != OK)
        return rc;
    return content_read(content, 0, content->bytes.size, to);
}

/* ---- asynchronous calls ---- */

struct operation {
    struct sim_event event;
    struct env_disk_op *op;
    enum error rc;
    struct env_file *file; /* write_sync */
    uint64_t sequence;
    struct slice bytes; /* the caller's, until the callback */
    uint8_t *copy;      /* what they were when it began */
    struct list link;   /* replace: in disk->replaces */
    char *path;
    struct sim_disk *disk;
    struct buffer content;
};

static void operation_free(struct operation *operation)
{
    list_remove(&operation->link);
    buffer_close(&operation->content);
    free(operation->copy);
    free(operation->path);
    free(operation);
}

static void operation_discard(struct sim_event *event)
{
    operation_free(container_of(event, struct operation, event));
}

static void operation_fire(struct sim_event *event)
{
    struct operation *operation = container_of(event, struct operation, event);
    struct env_disk_op *op = operation->op;
    enum error rc = operation->rc;

    if (operation->file != NULL)
        operation->file->in_flight--;
    if (operation->copy != NULL) /* borrowed means unchanged */
        CHECK(memcmp(operation->copy, operation->bytes.data, operation->bytes.size) == 0);
    operation_free(operation);
    op->impl = NULL;
    op->cb(op, rc);
}

static struct operation *operation_new(struct sim_process *process, struct env_disk_op *op,
                                       env_disk_cb cb)
{
    struct operation *operation = check_calloc(1, sizeof(*operation));

    op->cb = cb;
    op->impl = operation;
    operation->op = op;
    operation->disk = process->machine->disk;
    operation->event.process = process;
    operation->event.kind = SIM_KIND_DISK;
    operation->event.fire = operation_fire;
    operation->event.discard = operation_discard;
    list_init(&operation->link);
    buffer_init(&operation->content, BUFFER_UNLIMITED);
    return operation;
}

static void operation_start(struct operation *operation, uint64_t *last)
{
    struct sim *sim = operation->disk->machine->sim;
    uint64_t due = sim->now + sim_draw(sim, operation->disk->sync);

    if (due < *last)
        due = *last;
    *last = due;
    sim_schedule(sim, &operation->event, due);
}

static void write_sync_effect(struct sim_event *event)
{
    struct operation *operation = container_of(event, struct operation, event);

    if (operation->rc == OK && !operation->disk->machine->sim->options.sync_lies)
        content_forget_undo(operation->file->content, operation->sequence);
}

static void recent_note(struct sim_disk *disk, const struct content *content, uint64_t offset,
                        size_t size)
{
    disk->recents[disk->recent_next] = (struct recent){content, offset, offset + size};
    disk->recent_next = (disk->recent_next + 1) % RECENT_COUNT;
}

static void disk_write_sync(struct env *env, struct env_disk_op *op, struct env_file *file,
                            uint64_t offset, struct slice bytes, env_disk_cb cb)
{
    struct sim_process *process = sim_process_of(env);
    struct operation *operation;
    size_t written = bytes.size;

    if (!process->is_alive)
        return;
    operation = operation_new(process, op, cb);
    operation->file = file;
    operation->event.effect = write_sync_effect;
    if (sim_disk_call_fails(process, growth(file->content, offset + bytes.size))) {
        operation->rc = ERR_IO; /* after some whole sectors */
        written =
            (size_t)rng_below(&process->sim->rng, bytes.size / SECTOR_BYTES + 1) * SECTOR_BYTES;
    }
    if (bytes.size > 0) {
        operation->bytes = bytes;
        operation->copy = check_malloc(bytes.size);
        memcpy(operation->copy, bytes.data, bytes.size);
    }
    content_write(file->content, offset, slice_of(bytes.data, written))->is_in_flight = true;
    operation->sequence = file->content->sequence;
    recent_note(operation->disk, file->content, offset, bytes.size);
    file->in_flight++;
    operation_start(operation, &file->content->sync_last);
}

static void replace_now(struct operation *operation)
{
    struct content *content;
    struct slice clean = path_clean(operation->path);
    struct node *node = node_find(operation->disk, clean);

    if (node != NULL && node->content != NULL) { /* open handles keep the old file */
        content_release(node->content);
        node->content = NULL;
    } else if (node == NULL && folder_exists(operation->disk, path_parent(clean))) {
        node = node_add(operation->disk, clean);
    } else {
        operation->rc = ERR_NOT_FOUND;
        return;
    }
    content = content_new();
    buffer_put_slice(&content->bytes, buffer_slice(&operation->content));
    node->content = content;
    folder_synced(operation->disk, path_parent(clean));
}

static void replace_effect(struct sim_event *event)
{
    struct operation *operation = container_of(event, struct operation, event);

    list_remove(&operation->link);
    if (operation->rc == OK)
        replace_now(operation);
}

static void disk_replace(struct env *env, struct env_disk_op *op, const char *path,
                         struct slice content, env_disk_cb cb)
{
    struct sim_process *process = sim_process_of(env);
    struct operation *operation;

    if (!process->is_alive)
        return;
    operation = operation_new(process, op, cb);
    operation->event.effect = replace_effect;
    operation->path = check_strdup(path);
    buffer_put_slice(&operation->content, content);
    if (sim_disk_call_fails(process, content.size))
        operation->rc = ERR_IO;
    list_append(&operation->disk->replaces, &operation->link);
    operation_start(operation, &operation->disk->replace_last);
}

const struct env_disk sim_disk = {
    .open = disk_open,
    .close = disk_close,
    .size = disk_size,
    .read = disk_read,
    .write = disk_write,
    .resize = disk_resize,
    .remove = disk_remove,
    .rename = disk_rename,
    .make_folder = disk_make_folder,
    .list = disk_list,
    .load = disk_load,
    .write_sync = disk_write_sync,
    .replace = disk_replace,
};

/* ---- life of a disk ---- */

struct sim_disk *sim_disk_new(struct sim_machine *machine)
{
    struct sim_disk *disk = check_calloc(1, sizeof(*disk));

    disk->machine = machine;
    disk->sync = machine->sim->options.sync;
    disk->space = UINT64_MAX;
    map_init(&disk->nodes);
    list_init(&disk->replaces);
    list_init(&disk->removed);
    return disk;
}

static void disk_clear(struct sim_disk *disk)
{
    struct map_entry *entry;
    size_t position = 0;

    while ((entry = map_next(&disk->nodes, &position)) != NULL)
        node_free(entry->value);
    map_close(&disk->nodes);
    map_init(&disk->nodes);
    LIST_EACH_SAFE(&disk->removed, link)
    {
        struct removed *removed = container_of(link, struct removed, link);

        list_remove(link);
        content_release(removed->content);
        free(removed);
    }
}

void sim_disk_free(struct sim_disk *disk)
{
    disk_clear(disk);
    free(disk);
}

/* Called before the operations in flight are dropped. */
void sim_disk_on_crash(struct sim_disk *disk, unsigned how)
{
    struct rng *rng = &disk->machine->sim->rng;
    struct map_entry *entry;
    size_t position = 0;

    for (struct list *link; (link = list_pop(&disk->replaces)) != NULL;) {
        struct operation *operation = container_of(link, struct operation, link);

        if (operation->rc == OK && rng_below(rng, 2) == 0)
            replace_now(operation);
        else
            break; /* neither happened those behind it */
    }
    removed_on_crash(disk, rng, how);
    while ((entry = map_next(&disk->nodes, &position)) != NULL) {
        struct node *node = entry->value;

        if (node->content != NULL)
            content_on_crash(node->content, rng, how);
        if (node->store != NULL)
            sim_store_on_crash(node->store, rng, how);
    }
    disk->calls_to_failure = 0;
}

/* ---- what the harness does ---- */

static struct sim_disk *disk_get(struct sim *sim, uint64_t id)
{
    return sim_machine_get(sim, id)->disk;
}

void sim_disk_speed(struct sim *sim, uint64_t id, struct sim_range sync)
{
    disk_get(sim, id)->sync = sync;
}

void sim_disk_fail_call(struct sim *sim, uint64_t id, uint64_t n)
{
    struct sim_disk *disk = disk_get(sim, id);

    disk->calls_to_failure = n;
    disk->fault_met = false;
}

bool sim_disk_fault_met(const struct sim *sim, uint64_t id)
{
    const struct sim_machine *machine = map_find_u64(&sim->machines_by_id, id);

    return machine != NULL && machine->disk->fault_met;
}

void sim_disk_space(struct sim *sim, uint64_t id, uint64_t bytes)
{
    disk_get(sim, id)->space = bytes;
}

bool sim_disk_is_settled(struct sim *sim, uint64_t id, const char *path, uint64_t offset)
{
    const struct sim_disk *disk = disk_get(sim, id);
    struct content *content;

    if (file_get(disk_get(sim, id), path, false, &content) != OK)
        return true;
    for (size_t i = 0; i < RECENT_COUNT; i++) {
        const struct recent *recent = &disk->recents[i];

        if (recent->content == content && offset + SECTOR_BYTES > recent->begin &&
            offset < recent->end + SECTOR_BYTES)
            return false;
    }
    return true;
}

enum error sim_disk_flip(struct sim *sim, uint64_t id, const char *path, uint64_t offset)
{
    struct content *content;
    enum error rc = file_get(disk_get(sim, id), path, false, &content);

    if (rc != OK)
        return rc;
    if (offset >= content->bytes.size)
        return ERR_INVALID;
    content->bytes.data[offset] ^= (uint8_t)(1u << rng_below(&sim->rng, 8));
    return OK;
}

enum error sim_disk_truncate(struct sim *sim, uint64_t id, const char *path, uint64_t bytes)
{
    struct content *content;
    enum error rc = file_get(disk_get(sim, id), path, false, &content);

    if (rc != OK)
        return rc;
    if (bytes > content->bytes.size)
        return ERR_INVALID;
    content_forget_undo(content, UINT64_MAX);
    content_resize(content, bytes);
    return OK;
}

enum error sim_disk_bad_sector(struct sim *sim, uint64_t id, const char *path, uint64_t offset)
{
    struct content *content;
    uint64_t sector = offset / SECTOR_BYTES;
    enum error rc = file_get(disk_get(sim, id), path, false, &content);

    if (rc != OK)
        return rc;
    if (offset >= content->bytes.size)
        return ERR_INVALID;
    buffer_put(&content->bad_sectors, &sector, sizeof(sector));
    return OK;
}

enum error sim_disk_spoil_store(struct sim *sim, uint64_t id, const char *path)
{
    struct node *node = node_find(disk_get(sim, id), path_clean(path));

    if (node == NULL || node->store == NULL)
        return ERR_NOT_FOUND;
    sim_store_spoil(node->store);
    return OK;
}

void sim_disk_wipe(struct sim *sim, uint64_t id)
{
    CHECK(!sim_is_alive(sim, id));
    disk_clear(disk_get(sim, id));
}

enum error sim_disk_content(struct sim *sim, uint64_t id, const char *path, struct slice *bytes)
{
    struct content *content;
    enum error rc = file_get(disk_get(sim, id), path, false, &content);

    if (rc == OK)
        *bytes = buffer_slice(&content->bytes);
    return rc;
}

void sim_disk_each_file(struct sim *sim, uint64_t id, void *user,
                        void (*on_file)(void *user, const char *path, uint64_t bytes))
{
    struct map_entry *entry;
    size_t position = 0;

    while ((entry = map_next(&disk_get(sim, id)->nodes, &position)) != NULL) {
        const struct node *node = entry->value;
        char *path;

        if (node->content == NULL)
            continue;
        path = slice_strdup(entry->key);
        on_file(user, path, node->content->bytes.size);
        free(path);
    }
}
