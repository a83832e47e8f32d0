#include "chaos/net/lostfs_undo.h"

#include "proto/base/check.h"
#include "proto/base/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define CONCERNED_MAX 3

struct identity {
    dev_t device;
    ino_t inode;
};

/* ---- bytes ---- */

struct extent { /* what a change is about to do away with */
    off_t offset;
    off_t old_size;
    off_t new_size;
    size_t old_bytes; /* there are at `offset` */
};

struct bytes_change {
    struct list link;
    uint64_t number;
    struct extent extent;
    size_t new_bytes;
    uint8_t content[]; /* the old ones, then the new ones */
};

struct lost_file { /* one with bytes that are not durable */
    struct list link;
    struct identity identity;
    int fd;
    struct list changes; /* in the order they were made */
};

static struct identity identity_of(const struct stat *status)
{
    return (struct identity){status->st_dev, status->st_ino};
}

static bool is_same(const struct identity *a, const struct identity *b)
{
    return a->device == b->device && a->inode == b->inode;
}

static struct lost_file *find_file(struct lostfs_undo *undo, const struct identity *identity)
{
    LIST_EACH(&undo->files, link)
    {
        struct lost_file *file = container_of(link, struct lost_file, link);

        if (is_same(&file->identity, identity))
            return file;
    }
    return NULL;
}

static void drop_changes(struct lost_file *file, uint64_t number_max)
{
    while (!list_is_empty(&file->changes)) {
        struct bytes_change *change = container_of(file->changes.next, struct bytes_change, link);

        if (change->number > number_max)
            return;
        list_remove(&change->link);
        free(change);
    }
}

/* Does nothing while some are left. */
static void drop_file(struct lost_file *file)
{
    if (!list_is_empty(&file->changes))
        return;
    list_remove(&file->link);
    (void)close(file->fd);
    free(file);
}

static struct lost_file *need_file(struct lostfs_undo *undo, int fd, const struct stat *status)
{
    const struct identity identity = identity_of(status);
    struct lost_file *file = find_file(undo, &identity);

    if (file != NULL)
        return file;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    if (own < 0)
        return NULL;
    file = check_calloc(1, sizeof(*file));
    file->identity = identity;
    file->fd = own;
    list_init(&file->changes);
    list_append(&undo->files, &file->link);
    return file;
}

/* Keeps the `old_bytes` at `offset`, and the `bytes` that are to come there. */
static enum error note_bytes(struct lostfs_undo *undo, int fd, const struct extent *extent,
                             struct slice bytes)
{
    struct bytes_change *change = check_calloc(1, sizeof(*change) + extent->old_bytes + bytes.size);
    struct lost_file *file;
    struct stat status;

    change->number = ++undo->number;
    change->extent = *extent;
    change->new_bytes = bytes.size;
    if (bytes.size > 0)
        memcpy(change->content + extent->old_bytes, bytes.data, bytes.size);
    if (fstat(fd, &status) < 0 ||
        pread(fd, change->content, extent->old_bytes, extent->offset) !=
            (ssize_t)extent->old_bytes ||
        (file = need_file(undo, fd, &status)) == NULL) {
        free(change);
        return ERR_IO;
    }
    list_append(&file->changes, &change->link);
    return OK;
}

enum error lostfs_undo_write(struct lostfs_undo *undo, int fd, struct slice bytes, off_t offset)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return ERR_IO;
    off_t end = offset + (off_t)bytes.size;
    off_t old_end = end < status.st_size ? end : status.st_size;
    const struct extent extent = {
        .offset = offset,
        .old_size = status.st_size,
        .new_size = end > status.st_size ? end : status.st_size,
        .old_bytes = old_end > offset ? (size_t)(old_end - offset) : 0,
    };

    return note_bytes(undo, fd, &extent, bytes);
}

enum error lostfs_undo_resize(struct lostfs_undo *undo, int fd, off_t size)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return ERR_IO;
    const struct extent extent = {
        .offset = size,
        .old_size = status.st_size,
        .new_size = size,
        .old_bytes = size < status.st_size ? (size_t)(status.st_size - size) : 0,
    };

    return note_bytes(undo, fd, &extent, (struct slice){0});
}

static void put(int fd, const uint8_t *bytes, size_t size, off_t offset)
{
    CHECK(pwrite(fd, bytes, size, offset) ==
          (ssize_t)size); /* there is room: it was there before */
}

static void undo_bytes(const struct lost_file *file, const struct bytes_change *change)
{
    put(file->fd, change->content, change->extent.old_bytes, change->extent.offset);
    CHECK(ftruncate(file->fd, change->extent.old_size) == 0);
}

/* Some pages of it had reached the disk. */
static void redo_some(const struct lost_file *file, const struct bytes_change *change,
                      struct rng *rng)
{
    const uint8_t *bytes = change->content + change->extent.old_bytes;

    if (change->new_bytes == 0 && rng_below(rng, 2) == 0)
        CHECK(ftruncate(file->fd, change->extent.new_size) == 0);
    for (size_t done = 0; done < change->new_bytes;) {
        off_t offset = change->extent.offset + (off_t)done;
        size_t piece = PAGE_BYTES - (size_t)(offset % PAGE_BYTES);

        if (piece > change->new_bytes - done)
            piece = change->new_bytes - done;
        if (rng_below(rng, 2) == 0)
            put(file->fd, bytes + done, piece, offset);
        done += piece;
    }
}

static unsigned lose_bytes(struct lost_file *file, struct rng *rng)
{
    unsigned count = 0;

    for (struct list *link = file->changes.previous; link != &file->changes; link = link->previous)
        undo_bytes(file, container_of(link, struct bytes_change, link));
    LIST_EACH(&file->changes, link)
    {
        count++;
        if (rng != NULL)
            redo_some(file, container_of(link, struct bytes_change, link), rng);
    }
    return count;
}

/* ---- names ---- */

enum name_kind { NAME_MADE, NAME_REMOVED, NAME_REMOVED_FOLDER, NAME_RENAMED };

struct name_change {
    struct list link;
    uint64_t number;
    enum name_kind kind;
    bool is_joined; /* with the next one: a rename that replaces is one step */
    mode_t mode;    /* of a folder */
    char *path;
    char *other; /* where it was before, or where it is kept; or NULL */
    struct identity concerned[CONCERNED_MAX];
    size_t concerned_count;
};

static void name_free(struct name_change *change)
{
    list_remove(&change->link);
    free(change->path);
    free(change->other);
    free(change);
}

static void concerns(struct lostfs_undo *undo, struct name_change *change, const char *path)
{
    struct stat status;

    if (fstatat(undo->root, path, &status, AT_SYMLINK_NOFOLLOW) == 0)
        change->concerned[change->concerned_count++] = identity_of(&status);
}

static void concerns_parent(struct lostfs_undo *undo, struct name_change *change, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *parent = slash != NULL ? check_strndup(path, (size_t)(slash - path)) : check_strdup(".");

    concerns(undo, change, parent);
    free(parent);
}

static struct name_change *note_name(struct lostfs_undo *undo, enum name_kind kind,
                                     const char *path, const char *other)
{
    struct name_change *change = check_calloc(1, sizeof(*change));

    change->number = ++undo->number;
    change->kind = kind;
    change->path = check_strdup(path);
    change->other = other != NULL ? check_strdup(other) : NULL;
    list_append(&undo->names, &change->link);
    return change;
}

void lostfs_undo_made(struct lostfs_undo *undo, const char *path)
{
    struct name_change *change = note_name(undo, NAME_MADE, path, NULL);

    concerns(undo, change, path);
    concerns_parent(undo, change, path);
}

static int remove_folder(struct lostfs_undo *undo, const char *path, struct name_change **made)
{
    struct name_change *change;
    struct stat status;

    if (fstatat(undo->root, path, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
        unlinkat(undo->root, path, AT_REMOVEDIR) < 0)
        return -errno;
    change = note_name(undo, NAME_REMOVED_FOLDER, path, NULL);
    change->mode = status.st_mode & 07777;
    concerns_parent(undo, change, path);
    *made = change;
    return 0;
}

static int remove_file(struct lostfs_undo *undo, const char *path, struct name_change **made)
{
    char kept[64];
    struct name_change *change;

    (void)snprintf(kept, sizeof(kept), LOSTFS_UNDO_KEPT_FOLDER "/%llu",
                   (unsigned long long)++undo->kept_count);
    if (renameat(undo->root, path, undo->root, kept) < 0)
        return -errno;
    change = note_name(undo, NAME_REMOVED, path, kept);
    concerns(undo, change, kept);
    concerns_parent(undo, change, path);
    *made = change;
    return 0;
}

int lostfs_undo_remove(struct lostfs_undo *undo, const char *path, bool is_folder)
{
    struct name_change *made;

    return is_folder ? remove_folder(undo, path, &made) : remove_file(undo, path, &made);
}

/* It is on disk: nobody needs what was kept for it. */
static void settle_name(struct lostfs_undo *undo, struct name_change *change)
{
    struct lost_file *file;

    if (change->kind == NAME_REMOVED) {
        struct stat status;

        if (fstatat(undo->root, change->other, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            status.st_nlink == 1) {
            const struct identity identity = identity_of(&status);

            file = find_file(undo, &identity);
            if (file != NULL) {
                drop_changes(file, UINT64_MAX);
                drop_file(file);
            }
        }
        (void)unlinkat(undo->root, change->other, 0);
    }
    name_free(change);
}

static void undo_name(struct lostfs_undo *undo, struct name_change *change)
{
    switch (change->kind) {
    case NAME_MADE:
        CHECK(unlinkat(undo->root, change->path, 0) == 0 ||
              unlinkat(undo->root, change->path, AT_REMOVEDIR) == 0);
        break;
    case NAME_REMOVED:
        CHECK(renameat(undo->root, change->other, undo->root, change->path) == 0);
        break;
    case NAME_REMOVED_FOLDER:
        CHECK(mkdirat(undo->root, change->path, change->mode) == 0);
        break;
    case NAME_RENAMED:
        CHECK(renameat(undo->root, change->path, undo->root, change->other) == 0);
        break;
    }
    name_free(change);
}

int lostfs_undo_rename(struct lostfs_undo *undo, const char *from, const char *to)
{
    struct name_change *replaced = NULL;
    struct name_change *change;
    struct stat source;
    struct stat target;
    int rc = 0;

    if (fstatat(undo->root, from, &source, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (fstatat(undo->root, to, &target, AT_SYMLINK_NOFOLLOW) == 0) {
        if (source.st_ino == target.st_ino)
            return 0;
        if (S_ISDIR(source.st_mode) != S_ISDIR(target.st_mode))
            return S_ISDIR(target.st_mode) ? -EISDIR : -ENOTDIR;
        rc = S_ISDIR(target.st_mode) ? remove_folder(undo, to, &replaced)
                                     : remove_file(undo, to, &replaced);
    }
    if (rc < 0)
        return rc;
    if (renameat(undo->root, from, undo->root, to) < 0) {
        rc = -errno; /* into itself, say */
        if (replaced != NULL)
            undo_name(undo, replaced);
        return rc;
    }
    if (replaced != NULL)
        replaced->is_joined = true;
    change = note_name(undo, NAME_RENAMED, to, from);
    concerns(undo, change, to);
    concerns_parent(undo, change, from);
    concerns_parent(undo, change, to);
    return 0;
}

/* The number of the last change that is durable when `identity` is. */
static uint64_t last_concerned(struct lostfs_undo *undo, const struct identity *identity,
                               uint64_t number_max)
{
    uint64_t last = 0;
    bool is_joined = false;

    LIST_EACH(&undo->names, link)
    {
        struct name_change *change = container_of(link, struct name_change, link);

        if (is_joined)
            last = change->number;
        is_joined = false;
        if (change->number > number_max)
            break;
        for (size_t i = 0; i < change->concerned_count; i++)
            if (is_same(&change->concerned[i], identity))
                last = change->number;
        is_joined = change->is_joined && last == change->number;
    }
    return last;
}

static void settle_names(struct lostfs_undo *undo, uint64_t last)
{
    while (!list_is_empty(&undo->names)) {
        struct name_change *change = container_of(undo->names.next, struct name_change, link);

        if (change->number > last)
            return;
        settle_name(undo, change);
    }
}

/* ---- the whole ---- */

static enum error empty_kept_folder(int root)
{
    if (mkdirat(root, LOSTFS_UNDO_KEPT_FOLDER, 0700) < 0 && errno != EEXIST)
        return ERR_IO;
    return OK;
}

enum error lostfs_undo_init(struct lostfs_undo *undo, int root)
{
    *undo = (struct lostfs_undo){.root = root};
    list_init(&undo->files);
    list_init(&undo->names);
    return empty_kept_folder(root);
}

void lostfs_undo_keep(struct lostfs_undo *undo)
{
    settle_names(undo, UINT64_MAX);
    while (!list_is_empty(&undo->files)) {
        struct lost_file *file = container_of(undo->files.next, struct lost_file, link);

        drop_changes(file, UINT64_MAX);
        drop_file(file);
    }
}

uint64_t lostfs_undo_sync_begins(const struct lostfs_undo *undo)
{
    return undo->number;
}

void lostfs_undo_synced(struct lostfs_undo *undo, const struct stat *status, uint64_t number)
{
    const struct identity identity = identity_of(status);
    struct lost_file *file = find_file(undo, &identity);

    if (file != NULL) {
        drop_changes(file, number);
        drop_file(file);
    }
    settle_names(undo, last_concerned(undo, &identity, number));
}

/* How many of the last changes of names had reached the disk all the same. */
static void settle_some_names(struct lostfs_undo *undo, struct rng *rng)
{
    uint64_t last = 0;
    bool is_joined = false;

    LIST_EACH(&undo->names, link)
    {
        const struct name_change *change = container_of(link, struct name_change, link);

        if (!is_joined && rng_below(rng, 4) == 0)
            break;
        last = change->number;
        is_joined = change->is_joined;
    }
    settle_names(undo, last);
}

unsigned lostfs_undo_lose(struct lostfs_undo *undo, uint64_t seed)
{
    struct rng rng;
    unsigned count = 0;

    rng_init(&rng, seed);
    if (seed != 0)
        settle_some_names(undo, &rng);
    LIST_EACH(&undo->files, link)
    count += lose_bytes(container_of(link, struct lost_file, link), seed != 0 ? &rng : NULL);
    for (; !list_is_empty(&undo->names); count++)
        undo_name(undo, container_of(undo->names.previous, struct name_change, link));
    lostfs_undo_keep(undo);
    return count;
}
