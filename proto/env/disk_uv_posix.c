#include "proto/env/disk_uv_posix.h"

#include "proto/base/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MODE 0600
#define FOLDER_MODE 0700
#define ZEROS_BYTES (256u * 1024)

enum error disk_uv_posix_error(int code)
{
    switch (code) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_DENIED;
    default:
        return ERR_IO;
    }
}

enum error disk_uv_posix_write(int fd, uint64_t offset, struct slice bytes)
{
    while (bytes.size > 0) {
        ssize_t written = pwrite(fd, bytes.data, bytes.size, (off_t)offset);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return ERR_IO;
        bytes = slice_of(bytes.data + written, bytes.size - (size_t)written);
        offset += (uint64_t)written;
    }
    return OK;
}

/* Reads until `size` or the end of the file. */
enum error disk_uv_posix_read(int fd, uint64_t offset, size_t size, struct buffer *to)
{
    enum error rc = buffer_reserve(to, size);

    while (rc == OK && size > 0) {
        ssize_t got = pread(fd, to->data + to->size, size, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            rc = ERR_IO;
        if (got <= 0)
            break;
        to->size += (size_t)got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return rc;
}

/* Make the names in the folder that holds `path` durable. */
static enum error sync_parent(int folder_fd, const char *path)
{
    const char *slash = strrchr(path, '/');
    char parent[PATH_MAX];

    if (slash == NULL)
        (void)snprintf(parent, sizeof(parent), ".");
    else if (slash == path)
        (void)snprintf(parent, sizeof(parent), "/");
    else
        (void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
    int fd = openat(folder_fd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return disk_uv_posix_error(errno);
    enum error rc = fsync(fd) == 0 ? OK : ERR_IO;

    (void)close(fd);
    return rc;
}

static enum error write_new_file(int folder_fd, const char *path, struct slice content)
{
    int fd = openat(folder_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);

    if (fd < 0)
        return disk_uv_posix_error(errno);
    enum error rc = disk_uv_posix_write(fd, 0, content);

    if (rc == OK && fsync(fd) != 0)
        rc = ERR_IO;
    if (close(fd) != 0)
        rc = ERR_IO;
    return rc;
}

/* A crash at any instant leaves the old content or the new: the name moves to the new file only
 * once its bytes are on disk, and the move is on disk before we say so. */
enum error disk_uv_posix_replace(int folder_fd, const char *path, struct slice content)
{
    char temporary[PATH_MAX];

    (void)snprintf(temporary, sizeof(temporary), "%s" DISK_UV_POSIX_TEMPORARY_SUFFIX, path);
    enum error rc = write_new_file(folder_fd, temporary, content);

    if (rc == OK && renameat(folder_fd, temporary, folder_fd, path) != 0)
        rc = disk_uv_posix_error(errno);
    if (rc == OK)
        return sync_parent(folder_fd, path);
    (void)unlinkat(folder_fd, temporary, 0);
    return rc;
}

enum error disk_uv_posix_remove(int folder_fd, const char *name)
{
    if (unlinkat(folder_fd, name, 0) == 0)
        return OK;
    if (errno != EISDIR)
        return disk_uv_posix_error(errno);
    int fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    enum error rc = OK;

    if (folder == NULL) {
        rc = disk_uv_posix_error(errno);
        if (fd >= 0)
            (void)close(fd);
        return rc;
    }
    for (struct dirent *entry = readdir(folder); entry != NULL && rc == OK; entry = readdir(folder))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = disk_uv_posix_remove(dirfd(folder), entry->d_name);
    (void)closedir(folder);
    if (rc == OK && unlinkat(folder_fd, name, AT_REMOVEDIR) != 0)
        rc = disk_uv_posix_error(errno);
    return rc;
}

enum error disk_uv_posix_make_folders(int folder_fd, const char *path)
{
    char partial[PATH_MAX];
    size_t size = strlen(path);

    if (size >= sizeof(partial))
        return ERR_TOO_LARGE;
    memcpy(partial, path, size + 1);
    for (size_t i = 1; i <= size; i++) {
        char end = partial[i];

        if (end != '/' && end != '\0')
            continue;
        partial[i] = '\0';
        if (mkdirat(folder_fd, partial, FOLDER_MODE) == 0) {
            enum error rc = sync_parent(folder_fd, partial);

            if (rc != OK)
                return rc;
        } else if (errno != EEXIST) {
            return disk_uv_posix_error(errno);
        }
        partial[i] = end;
    }
    return OK;
}

/* Zeros are written, not left as a hole: a later write into them needs no new blocks, so it costs
 * one fdatasync without a metadata commit and cannot fail for lack of space. */
enum error disk_uv_posix_write_zeros(int fd, uint64_t from, uint64_t to)
{
    uint8_t *zeros = check_calloc(1, ZEROS_BYTES);
    enum error rc = OK;

    while (rc == OK && from < to) {
        size_t size = to - from < ZEROS_BYTES ? (size_t)(to - from) : ZEROS_BYTES;

        rc = disk_uv_posix_write(fd, from, slice_of(zeros, size));
        from += size;
    }
    free(zeros);
    return rc;
}

enum error disk_uv_posix_open(int folder_fd, const char *path, bool create, int *fd)
{
    enum error rc = OK;
    int opened = openat(folder_fd, path, O_RDWR | O_CLOEXEC);

    if (opened < 0 && errno == ENOENT && create) {
        opened = openat(folder_fd, path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
        if (opened >= 0)
            rc = sync_parent(folder_fd, path);
    }
    if (opened < 0)
        return disk_uv_posix_error(errno);
    if (rc != OK)
        (void)close(opened);
    else
        *fd = opened;
    return rc;
}

enum error disk_uv_posix_rename(int folder_fd, const char *from, const char *to)
{
    if (renameat(folder_fd, from, folder_fd, to) != 0)
        return disk_uv_posix_error(errno);
    enum error rc = sync_parent(folder_fd, to);

    return rc == OK ? sync_parent(folder_fd, from) : rc;
}
