/* skein-lostfs BACKING MOUNTPOINT: a file system that forgets what was not synced.
 *
 * It passes everything on to the folder BACKING and keeps what would take it back (lostfs_undo.h).
 * Told by extended attributes that are set on its root:
 *
 *   user.skein.lose     [SEED]  power is lost: what was not synced is gone, from now on everything
 *                               that changes something fails; unmount and mount it again
 *   user.skein.keep             everything is durable as it is
 *   user.skein.sync_ms  N       each sync takes so much longer
 *   user.skein.fail     none | write|sync EIO|ENOSPC AFTER
 *                               writes or syncs fail once AFTER more went well, until told
 * otherwise */

#define FUSE_USE_VERSION 31

#include "chaos/net/lostfs_undo.h"
#include "proto/base/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum failing { FAILING_NOTHING, FAILING_WRITES, FAILING_SYNCS };

struct lostfs {
    pthread_mutex_t lock; /* around all that follows, and around every change with its note */
    struct lostfs_undo undo;
    int root;
    bool is_off;
    unsigned sync_ms;
    enum failing failing;
    int fail_code; /* EIO, ENOSPC */
    unsigned fail_after;
};

static struct lostfs *lostfs(void)
{
    return fuse_get_context()->private_data;
}

/* FUSE's "/a/b" is our "a/b". */
static const char *relative(const char *path)
{
    return path[1] == '\0' ? "." : path + 1;
}

static bool is_hidden(const char *path)
{
    return strncmp(path, "/" LOSTFS_UNDO_KEPT_FOLDER, strlen("/" LOSTFS_UNDO_KEPT_FOLDER)) == 0;
}

static int result(int rc)
{
    return rc < 0 ? -errno : 0;
}

/* Takes the lock for a change. False: there is no power; the lock is not held. */
static bool begin_change(struct lostfs *fs)
{
    (void)pthread_mutex_lock(&fs->lock);
    if (!fs->is_off)
        return true;
    (void)pthread_mutex_unlock(&fs->lock);
    return false;
}

static int end_change(struct lostfs *fs, int rc)
{
    (void)pthread_mutex_unlock(&fs->lock);
    return rc;
}

/* 0, or what this write or sync is to fail with. Under the lock. */
static int planned_failure(struct lostfs *fs, enum failing kind)
{
    if (fs->failing != kind)
        return 0;
    if (fs->fail_after == 0)
        return -fs->fail_code;
    fs->fail_after--;
    return 0;
}

/* ---- looking ---- */

static int on_getattr(const char *path, struct stat *status, struct fuse_file_info *info)
{
    if (info != NULL)
        return result(fstat((int)info->fh, status));
    if (is_hidden(path))
        return -ENOENT;
    return result(fstatat(lostfs()->root, relative(path), status, AT_SYMLINK_NOFOLLOW));
}

static int on_readlink(const char *path, char *target, size_t size)
{
    ssize_t length = readlinkat(lostfs()->root, relative(path), target, size - 1);

    if (length < 0)
        return -errno;
    target[length] = '\0';
    return 0;
}

static int on_opendir(const char *path, struct fuse_file_info *info)
{
    int fd = openat(lostfs()->root, relative(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    info->fh = (uint64_t)fd;
    return result(fd);
}

static int on_readdir(const char *path, void *names, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    int fd = openat((int)info->fh, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;

    (void)path;
    (void)offset;
    (void)flags;
    if (folder == NULL)
        return -errno;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        if (strcmp(entry->d_name, LOSTFS_UNDO_KEPT_FOLDER) != 0)
            (void)fill(names, entry->d_name, NULL, 0, 0);
    (void)closedir(folder);
    return 0;
}

static int on_read(const char *path, char *bytes, size_t size, off_t offset,
                   struct fuse_file_info *info)
{
    ssize_t got = pread((int)info->fh, bytes, size, offset);

    (void)path;
    return got < 0 ? -errno : (int)got;
}

static int on_statfs(const char *path, struct statvfs *status)
{
    (void)path;
    return result(fstatvfs(lostfs()->root, status));
}

static int on_release(const char *path, struct fuse_file_info *info)
{
    (void)path;
    return result(close((int)info->fh));
}

/* ---- changing bytes ---- */

static int resize(struct lostfs *fs, int fd, off_t size)
{
    int rc = planned_failure(fs, FAILING_WRITES);

    if (rc == 0 && lostfs_undo_resize(&fs->undo, fd, size) != OK)
        rc = -EIO;
    return rc == 0 ? result(ftruncate(fd, size)) : rc;
}

/* Whoever may write may be asked what was there before, so it is opened for both; where to append
 * is the kernel's business. */
static int on_open(const char *path, struct fuse_file_info *info)
{
    struct lostfs *fs = lostfs();
    bool is_writing = (info->flags & O_ACCMODE) != O_RDONLY;
    int fd = openat(fs->root, relative(path), (is_writing ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    int rc = result(fd);

    if (rc == 0 && is_writing && (info->flags & O_TRUNC) != 0) {
        rc = begin_change(fs) ? end_change(fs, resize(fs, fd, 0)) : -EIO;
        if (rc < 0)
            (void)close(fd);
    }
    info->fh = (uint64_t)fd;
    return rc;
}

static int on_write(const char *path, const char *bytes, size_t size, off_t offset,
                    struct fuse_file_info *info)
{
    struct lostfs *fs = lostfs();
    ssize_t done;
    int rc;

    (void)path;
    if (!begin_change(fs))
        return -EIO;
    rc = planned_failure(fs, FAILING_WRITES);
    if (rc == 0 && lostfs_undo_write(&fs->undo, (int)info->fh,
                                     (struct slice){(const uint8_t *)bytes, size}, offset) != OK)
        rc = -EIO;
    if (rc == 0) {
        done = pwrite((int)info->fh, bytes, size, offset);
        rc = done < 0 ? -errno : (int)done;
    }
    return end_change(fs, rc);
}

static int on_truncate(const char *path, off_t size, struct fuse_file_info *info)
{
    struct lostfs *fs = lostfs();
    int fd = info != NULL ? (int)info->fh : openat(fs->root, relative(path), O_RDWR | O_CLOEXEC);
    int rc;

    if (fd < 0)
        return -errno;
    rc = begin_change(fs) ? end_change(fs, resize(fs, fd, size)) : -EIO;
    if (info == NULL)
        (void)close(fd);
    return rc;
}

static int on_fallocate(const char *path, int mode, off_t offset, off_t size,
                        struct fuse_file_info *info)
{
    struct lostfs *fs = lostfs();
    struct stat status;
    int rc = 0;

    (void)path;
    if (mode != 0)
        return -EOPNOTSUPP;
    if (!begin_change(fs))
        return -EIO;
    if (fstat((int)info->fh, &status) < 0)
        rc = -errno;
    else if (offset + size > status.st_size)
        rc = resize(fs, (int)info->fh, offset + size);
    return end_change(fs, rc);
}

static void pause_ms(unsigned milliseconds)
{
    const struct timespec pause = {.tv_sec = milliseconds / 1000,
                                   .tv_nsec = (milliseconds % 1000) * 1000000L};

    (void)nanosleep(&pause, NULL);
}

static int on_fsync(const char *path, int is_data, struct fuse_file_info *info)
{
    struct lostfs *fs = lostfs();
    struct stat status;
    uint64_t number;
    unsigned slow_ms;
    int rc;

    (void)path;
    if (!begin_change(fs))
        return -EIO;
    rc = planned_failure(fs, FAILING_SYNCS);
    number = lostfs_undo_sync_begins(&fs->undo);
    slow_ms = fs->sync_ms;
    (void)end_change(fs, 0);
    if (slow_ms > 0)
        pause_ms(slow_ms);
    if (rc == 0)
        rc = result(is_data != 0 ? fdatasync((int)info->fh) : fsync((int)info->fh));
    if (rc == 0)
        rc = result(fstat((int)info->fh, &status));
    if (rc < 0)
        return rc;
    if (!begin_change(fs))
        return -EIO;
    lostfs_undo_synced(&fs->undo, &status, number);
    return end_change(fs, 0);
}

/* ---- changing names ---- */

static int note_made(struct lostfs *fs, const char *path, int rc)
{
    if (rc < 0)
        return -errno;
    const struct fuse_context *caller = fuse_get_context();

    (void)fchownat(fs->root, relative(path), caller->uid, caller->gid, AT_SYMLINK_NOFOLLOW);
    lostfs_undo_made(&fs->undo, relative(path));
    return 0;
}

static int on_create(const char *path, mode_t mode, struct fuse_file_info *info)
{
    struct lostfs *fs = lostfs();
    int fd;
    int rc;

    if (!begin_change(fs))
        return -EIO;
    rc = planned_failure(fs, FAILING_WRITES);
    if (rc == 0) {
        fd = openat(fs->root, relative(path), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        info->fh = (uint64_t)fd;
        rc = note_made(fs, path, fd);
    }
    return end_change(fs, rc);
}

static int on_mkdir(const char *path, mode_t mode)
{
    struct lostfs *fs = lostfs();

    if (!begin_change(fs))
        return -EIO;
    return end_change(fs, note_made(fs, path, mkdirat(fs->root, relative(path), mode)));
}

static int on_mknod(const char *path, mode_t mode, dev_t device)
{
    struct lostfs *fs = lostfs();

    if (!begin_change(fs))
        return -EIO;
    return end_change(fs, note_made(fs, path, mknodat(fs->root, relative(path), mode, device)));
}

static int on_symlink(const char *target, const char *path)
{
    struct lostfs *fs = lostfs();

    if (!begin_change(fs))
        return -EIO;
    return end_change(fs, note_made(fs, path, symlinkat(target, fs->root, relative(path))));
}

static int remove_name(const char *path, bool is_folder)
{
    struct lostfs *fs = lostfs();

    if (!begin_change(fs))
        return -EIO;
    return end_change(fs, lostfs_undo_remove(&fs->undo, relative(path), is_folder));
}

static int on_unlink(const char *path)
{
    return remove_name(path, false);
}

static int on_rmdir(const char *path)
{
    return remove_name(path, true);
}

static int on_rename(const char *from, const char *to, unsigned flags)
{
    struct lostfs *fs = lostfs();

    if (flags != 0)
        return -EINVAL;
    if (!begin_change(fs))
        return -EIO;
    return end_change(fs, lostfs_undo_rename(&fs->undo, relative(from), relative(to)));
}

/* Rights, owners and times are durable at once: nothing here depends on losing them. */

static int on_chmod(const char *path, mode_t mode, struct fuse_file_info *info)
{
    (void)info;
    return result(fchmodat(lostfs()->root, relative(path), mode, 0));
}

static int on_chown(const char *path, uid_t user, gid_t group, struct fuse_file_info *info)
{
    (void)info;
    return result(fchownat(lostfs()->root, relative(path), user, group, AT_SYMLINK_NOFOLLOW));
}

static int on_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *info)
{
    (void)info;
    return result(utimensat(lostfs()->root, relative(path), times, AT_SYMLINK_NOFOLLOW));
}

/* ---- being told ---- */

static int plan_failures(struct lostfs *fs, const char *words)
{
    char kind[8];
    char code[8];
    unsigned after;

    if (strcmp(words, "none") == 0) {
        fs->failing = FAILING_NOTHING;
        return 0;
    }
    if (sscanf(words, "%7s %7s %u", kind, code, &after) != 3)
        return -EINVAL;
    fs->failing = strcmp(kind, "sync") == 0 ? FAILING_SYNCS : FAILING_WRITES;
    fs->fail_code = strcmp(code, "ENOSPC") == 0 ? ENOSPC : EIO;
    fs->fail_after = after;
    return 0;
}

static int obey(struct lostfs *fs, const char *name, const char *words)
{
    if (strcmp(name, "user.skein.lose") == 0) {
        unsigned count = lostfs_undo_lose(&fs->undo, strtoull(words, NULL, 10));

        fs->is_off = true;
        (void)fprintf(stderr, "lostfs: power lost, and with it %u changes\n", count);
    } else if (strcmp(name, "user.skein.keep") == 0) {
        lostfs_undo_keep(&fs->undo);
    } else if (strcmp(name, "user.skein.sync_ms") == 0) {
        fs->sync_ms = (unsigned)strtoul(words, NULL, 10);
    } else if (strcmp(name, "user.skein.fail") == 0) {
        return plan_failures(fs, words);
    } else {
        return -ENOTSUP;
    }
    return 0;
}

static int on_setxattr(const char *path, const char *name, const char *value, size_t size,
                       int flags)
{
    struct lostfs *fs = lostfs();
    char words[64];

    (void)flags;
    if (strcmp(path, "/") != 0)
        return -ENOTSUP;
    (void)snprintf(words, sizeof(words), "%.*s", (int)size, value);
    if (!begin_change(fs))
        return -EIO;
    return end_change(fs, obey(fs, name, words));
}

/* ---- start ---- */

static void *on_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    (void)connection;
    config->use_ino = 1;
    config->hard_remove = 1; /* what is open when it is removed: we have its descriptor */
    config->nullpath_ok = 1;
    return lostfs();
}

static const struct fuse_operations operations = {
    .init = on_init,
    .getattr = on_getattr,
    .readlink = on_readlink,
    .opendir = on_opendir,
    .readdir = on_readdir,
    .releasedir = on_release,
    .open = on_open,
    .create = on_create,
    .read = on_read,
    .write = on_write,
    .truncate = on_truncate,
    .fallocate = on_fallocate,
    .fsync = on_fsync,
    .fsyncdir = on_fsync,
    .release = on_release,
    .statfs = on_statfs,
    .mkdir = on_mkdir,
    .mknod = on_mknod,
    .symlink = on_symlink,
    .unlink = on_unlink,
    .rmdir = on_rmdir,
    .rename = on_rename,
    .chmod = on_chmod,
    .chown = on_chown,
    .utimens = on_utimens,
    .setxattr = on_setxattr,
};

int main(int count, char **words)
{
    struct lostfs fs = {.lock = PTHREAD_MUTEX_INITIALIZER};
    char *arguments[] = {words[0], "-f",
                         "-o",     "allow_other,default_permissions,fsname=lostfs,max_threads=16",
                         NULL,     NULL};

    if (count != 3) {
        (void)fprintf(stderr, "usage: skein-lostfs BACKING MOUNTPOINT\n");
        return 2;
    }
    (void)umask(0); /* the kernel has applied the caller's */
    fs.root = open(words[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fs.root < 0 || lostfs_undo_init(&fs.undo, fs.root) != OK) {
        perror(words[1]);
        return 1;
    }
    arguments[4] = words[2];

    int code = fuse_main(5, arguments, &operations, &fs);

    lostfs_undo_keep(&fs.undo);
    (void)close(fs.root);
    return code;
}
