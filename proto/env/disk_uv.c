#include "proto/env/disk_uv.h"

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
#define TEMPORARY_SUFFIX ".new"

struct disk_uv {
    struct env_disk table; /* first: env->disk points here, and that is how its functions find us */
    struct env *env;
    int folder_fd;
    struct list jobs; /* struct disk_job, in flight */
};

struct env_file {
    int fd;
};

/* One asynchronous operation. Its memory is ours, not the caller's: the environment may be
 * stopped, and the caller's memory gone, before the worker's answer is looked at. */
struct disk_job {
    struct env_work work;
    struct list link;
    struct disk_uv *disk;
    struct env_disk_op *op;
    struct env_file *file; /* write_sync */
    uint64_t offset;
    struct slice bytes;
    char *path; /* replace; else NULL */
    struct buffer content;
    bool is_waiting; /* for an earlier replacement of the same file */
    enum error rc;
};

static enum error error_from_errno(int code)
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

static struct disk_uv *disk_of(struct env *env)
{
    return container_of(env->disk, struct disk_uv, table);
}

/* ---- pieces that any thread may run ---- */

static enum error write_all(int fd, uint64_t offset, struct slice bytes)
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
static enum error read_some(int fd, uint64_t offset, size_t size, struct buffer *to)
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
        return error_from_errno(errno);
    enum error rc = fsync(fd) == 0 ? OK : ERR_IO;

    (void)close(fd);
    return rc;
}

static enum error write_new_file(int folder_fd, const char *path, struct slice content)
{
    int fd = openat(folder_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);

    if (fd < 0)
        return error_from_errno(errno);
    enum error rc = write_all(fd, 0, content);

    if (rc == OK && fsync(fd) != 0)
        rc = ERR_IO;
    if (close(fd) != 0)
        rc = ERR_IO;
    return rc;
}

/* A crash at any instant leaves the old content or the new: the name moves to the new file only
 * once its bytes are on disk, and the move is on disk before we say so. */
static enum error replace_file(int folder_fd, const char *path, struct slice content)
{
    char temporary[PATH_MAX];

    (void)snprintf(temporary, sizeof(temporary), "%s" TEMPORARY_SUFFIX, path);
    enum error rc = write_new_file(folder_fd, temporary, content);

    if (rc == OK && renameat(folder_fd, temporary, folder_fd, path) != 0)
        rc = error_from_errno(errno);
    if (rc == OK)
        return sync_parent(folder_fd, path);
    (void)unlinkat(folder_fd, temporary, 0);
    return rc;
}

static enum error remove_tree(int folder_fd, const char *name)
{
    if (unlinkat(folder_fd, name, 0) == 0)
        return OK;
    if (errno != EISDIR)
        return error_from_errno(errno);
    int fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    enum error rc = OK;

    if (folder == NULL) {
        rc = error_from_errno(errno);
        if (fd >= 0)
            (void)close(fd);
        return rc;
    }
    for (struct dirent *entry = readdir(folder); entry != NULL && rc == OK; entry = readdir(folder))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = remove_tree(dirfd(folder), entry->d_name);
    (void)closedir(folder);
    if (rc == OK && unlinkat(folder_fd, name, AT_REMOVEDIR) != 0)
        rc = error_from_errno(errno);
    return rc;
}

enum error disk_uv_make_folders(int folder_fd, const char *path)
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
            return error_from_errno(errno);
        }
        partial[i] = end;
    }
    return OK;
}

/* ---- synchronous calls ---- */

static enum error disk_open(struct env *env, const char *path, bool create, struct env_file **file)
{
    int folder_fd = disk_of(env)->folder_fd;
    int fd = openat(folder_fd, path, O_RDWR | O_CLOEXEC);
    enum error rc = OK;

    if (fd < 0 && errno == ENOENT && create) {
        fd = openat(folder_fd, path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
        if (fd >= 0)
            rc = sync_parent(folder_fd, path);
    }
    if (fd < 0)
        return error_from_errno(errno);
    if (rc != OK) {
        (void)close(fd);
        return rc;
    }
    *file = check_malloc(sizeof(**file));
    (*file)->fd = fd;
    return OK;
}

static void disk_close(struct env *env, struct env_file *file)
{
    (void)env;
    (void)close(file->fd); /* what had to be durable was synced; nothing to learn here */
    free(file);
}

static enum error disk_size(struct env *env, struct env_file *file, uint64_t *bytes)
{
    struct stat about;

    (void)env;
    if (fstat(file->fd, &about) != 0)
        return ERR_IO;
    *bytes = (uint64_t)about.st_size;
    return OK;
}

static enum error disk_read(struct env *env, struct env_file *file, uint64_t offset, size_t size,
                            struct buffer *to)
{
    (void)env;
    return read_some(file->fd, offset, size, to);
}

static enum error disk_write(struct env *env, struct env_file *file, uint64_t offset,
                             struct slice bytes)
{
    (void)env;
    return write_all(file->fd, offset, bytes);
}

/* Zeros are written, not left as a hole: a later write into them needs no new blocks, so it costs
 * one fdatasync without a metadata commit and cannot fail for lack of space. */
static enum error append_zeros(int fd, uint64_t from, uint64_t to)
{
    uint8_t *zeros = check_calloc(1, ZEROS_BYTES);
    enum error rc = OK;

    while (rc == OK && from < to) {
        size_t size = to - from < ZEROS_BYTES ? (size_t)(to - from) : ZEROS_BYTES;

        rc = write_all(fd, from, slice_of(zeros, size));
        from += size;
    }
    free(zeros);
    return rc;
}

static enum error disk_resize(struct env *env, struct env_file *file, uint64_t bytes)
{
    uint64_t before;
    enum error rc = disk_size(env, file, &before);

    if (rc != OK)
        return rc;
    if (bytes > before)
        rc = append_zeros(file->fd, before, bytes);
    else if (ftruncate(file->fd, (off_t)bytes) != 0)
        rc = ERR_IO;
    return rc == OK && fsync(file->fd) != 0 ? ERR_IO : rc;
}

static enum error disk_remove(struct env *env, const char *path)
{
    return remove_tree(disk_of(env)->folder_fd, path);
}

static enum error disk_rename(struct env *env, const char *from, const char *to)
{
    int folder_fd = disk_of(env)->folder_fd;

    if (renameat(folder_fd, from, folder_fd, to) != 0)
        return error_from_errno(errno);
    enum error rc = sync_parent(folder_fd, to);

    return rc == OK ? sync_parent(folder_fd, from) : rc;
}

static enum error disk_make_folder(struct env *env, const char *path)
{
    return disk_uv_make_folders(disk_of(env)->folder_fd, path);
}

static int is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int compare_entries(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* by bytes, not by the locale */
}

static enum error disk_list(struct env *env, const char *path, void *user,
                            void (*on_name)(void *user, const char *name))
{
    struct dirent **entries;
    int count = scandirat(disk_of(env)->folder_fd, path, &entries, is_entry, compare_entries);

    if (count < 0)
        return error_from_errno(errno);
    for (int i = 0; i < count; i++) {
        on_name(user, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return OK;
}

static enum error disk_load(struct env *env, const char *path, struct buffer *to)
{
    int fd = openat(disk_of(env)->folder_fd, path, O_RDONLY | O_CLOEXEC);
    struct stat about;

    if (fd < 0)
        return error_from_errno(errno);
    enum error rc = fstat(fd, &about) != 0 ? ERR_IO : read_some(fd, 0, (size_t)about.st_size, to);

    (void)close(fd);
    return rc;
}

/* ---- asynchronous operations ---- */

static void job_free(struct disk_job *job)
{
    list_remove(&job->link);
    buffer_close(&job->content);
    free(job->path);
    free(job);
}

/* The first job in flight that replaces `path`, in the order they came; NULL. */
static struct disk_job *find_replacement(struct disk_uv *disk, const char *path)
{
    LIST_EACH(&disk->jobs, link)
    {
        struct disk_job *job = container_of(link, struct disk_job, link);

        if (job->path != NULL && strcmp(job->path, path) == 0)
            return job;
    }
    return NULL;
}

/* Replacements of one file take turns: they share a temporary name, and the last one must win. */
static void start_replacement(struct disk_uv *disk, const char *path)
{
    struct disk_job *job = find_replacement(disk, path);

    if (job == NULL || !job->is_waiting)
        return;
    job->is_waiting = false;
    disk->env->worker->queue(disk->env, &job->work);
}

static void on_job_done(struct env_work *work)
{
    struct disk_job *job = container_of(work, struct disk_job, work);
    struct env_disk_op *op = job->op;
    enum error rc = job->rc;

    list_remove(&job->link);
    if (job->path != NULL)
        start_replacement(job->disk, job->path);
    job_free(job);
    op->impl = NULL;
    op->cb(op, rc);
}

static struct disk_job *job_start(struct env *env, struct env_disk_op *op, env_disk_cb cb,
                                  void (*run)(struct env_work *work))
{
    struct disk_uv *disk = disk_of(env);
    struct disk_job *job = check_calloc(1, sizeof(*job));

    list_append(&disk->jobs, &job->link);
    buffer_init(&job->content, BUFFER_UNLIMITED);
    job->work.run = run;
    job->work.done = on_job_done;
    job->disk = disk;
    job->op = op;
    op->cb = cb;
    op->impl = job;
    return job;
}

static void run_write_sync(struct env_work *work)
{
    struct disk_job *job = container_of(work, struct disk_job, work);

    job->rc = write_all(job->file->fd, job->offset, job->bytes);
    if (job->rc == OK && fdatasync(job->file->fd) != 0)
        job->rc = ERR_IO;
}

static void disk_write_sync(struct env *env, struct env_disk_op *op, struct env_file *file,
                            uint64_t offset, struct slice bytes, env_disk_cb cb)
{
    struct disk_job *job = job_start(env, op, cb, run_write_sync);

    job->file = file;
    job->offset = offset;
    job->bytes = bytes;
    env->worker->queue(env, &job->work);
}

static void run_replace(struct env_work *work)
{
    struct disk_job *job = container_of(work, struct disk_job, work);

    job->rc = replace_file(job->disk->folder_fd, job->path, buffer_slice(&job->content));
}

static void disk_replace(struct env *env, struct env_disk_op *op, const char *path,
                         struct slice content, env_disk_cb cb)
{
    struct disk_job *job = job_start(env, op, cb, run_replace);

    CHECK(strlen(path) + sizeof(TEMPORARY_SUFFIX) <= PATH_MAX);
    job->path = check_strdup(path);
    buffer_put_slice(&job->content, content);
    job->is_waiting = true;
    start_replacement(job->disk, path);
}

struct disk_uv *disk_uv_new(struct env *env, int folder_fd)
{
    struct disk_uv *disk = check_malloc(sizeof(*disk));

    *disk = (struct disk_uv){
        .table = {.open = disk_open,
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
                  .replace = disk_replace},
        .env = env,
        .folder_fd = folder_fd,
    };
    list_init(&disk->jobs);
    return disk;
}

void disk_uv_free(struct disk_uv *disk)
{
    if (disk == NULL)
        return;
    while (!list_is_empty(&disk->jobs))
        job_free(container_of(disk->jobs.next, struct disk_job, link));
    (void)close(disk->folder_fd);
    free(disk);
}

const struct env_disk *disk_uv_table(struct disk_uv *disk)
{
    return &disk->table;
}
