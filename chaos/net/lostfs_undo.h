/* What a file system would lose with its power: the changes that no sync has made durable yet, in
 * order, and how to take them back.
 *
 * Two kinds. Bytes: each write and each change of size keeps what was there before, until its file
 * is synced. Names: making, renaming and removing are one ordered journal, as in ext4 or xfs: a
 * sync of a file or folder makes durable what concerned it, and with that everything before, but
 * nothing after. What was removed or replaced is kept in a hidden folder until then.
 *
 * Files are known by device and inode of the backing folder; paths are relative to it. Not locked:
 * the caller holds one lock around every call. */

#ifndef CHAOS_NET_LOSTFS_UNDO_H
#define CHAOS_NET_LOSTFS_UNDO_H

#include "proto/base/buffer.h"
#include "proto/base/list.h"

#include <sys/stat.h>
#include <sys/types.h>

#define LOSTFS_UNDO_KEPT_FOLDER ".lostfs-kept"

struct lostfs_undo {
    int root;          /* the backing folder; borrowed */
    struct list files; /* with bytes that are not durable */
    struct list names; /* changes of names that are not, in order */
    uint64_t number;   /* of the last change */
    uint64_t kept_count;
};

/* ERR_IO: the folder for what was removed cannot be made. */
enum error lostfs_undo_init(struct lostfs_undo *undo, int root);
/* Everything is durable, and nothing removed is kept any more. */
void lostfs_undo_keep(struct lostfs_undo *undo);

/* Before it is done to the open file `fd`. ERR_IO: what is there cannot be read; do not do it. */
enum error lostfs_undo_write(struct lostfs_undo *undo, int fd, struct slice bytes, off_t offset);
enum error lostfs_undo_resize(struct lostfs_undo *undo, int fd, off_t size);

/* After it was made. */
void lostfs_undo_made(struct lostfs_undo *undo, const char *path);
/* These do it themselves, too. 0 or -errno. */
int lostfs_undo_remove(struct lostfs_undo *undo, const char *path, bool is_folder);
int lostfs_undo_rename(struct lostfs_undo *undo, const char *from, const char *to);

/* A sync makes durable what was done before it began: `number` says when that was. The second once
 * the sync of the file or folder with this identity has gone through. */
uint64_t lostfs_undo_sync_begins(const struct lostfs_undo *undo);
void lostfs_undo_synced(struct lostfs_undo *undo, const struct stat *status, uint64_t number);

/* Power is lost: nothing is left to lose afterwards. With a seed other than 0 each write that was
 * not synced is there all the same with a probability of one half, and some of the last changes of
 * names are. Returns how many changes were lost. */
unsigned lostfs_undo_lose(struct lostfs_undo *undo, uint64_t seed);

#endif
