#include "proto/env/disk_uv.h"

#include "proto/base/check.h"
#include "proto/env/disk_uv_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What the loop's thread may do itself: it is held up by this long for each turn. */
#define OWN_SYNC_US_MAX 1500u
#define OWN_SYNC_BYTES_MAX (64u << 10)

struct disk_uv {
    struct env_disk table; /* first: env->disk points here, and that is how its functions find us */
    struct env *env;
    int folder_fd;
    struct list jobs; /* struct disk_job, in flight */
    struct list own;  /* struct disk_job, by own_link: for the end of this turn */
    bool is_own_over; /* this turn's were done */
    uint64_t sync_us; /* what a small synced write took lately */
};

struct env_file {
    int fd;
};

/* One asynchronous operation. Its memory is ours, not the caller's: the environment may be
 * stopped, and the caller's memory gone, before the worker's answer is looked at. */
struct disk_job {
    struct env_work work;
    struct list link;
    struct list own_link;
    struct disk_uv *disk;
    struct env_disk_op *op;
    struct env_file *file; /* write_sync */
    uint64_t offset;
    struct slice bytes;
    uint64_t took_us;
    char *path; /* replace; else NULL */
    struct buffer content;
    bool is_waiting; /* for an earlier replacement of the same file */
    enum error rc;
};

static struct disk_uv *disk_of(struct env *env)
{
    return container_of(env->disk, struct disk_uv, table);
}

/* ---- synchronous calls ---- */

static enum error disk_open(struct env *env, const char *path, bool create, struct env_file **file)
{
    int fd;
    enum error rc = disk_uv_posix_open(disk_of(env)->folder_fd, path, create, &fd);

    if (rc != OK)
        return rc;
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
    return disk_uv_posix_read(file->fd, offset, size, to);
}

static enum error disk_write(struct env *env, struct env_file *file, uint64_t offset,
                             struct slice bytes)
{
    (void)env;
    return disk_uv_posix_write(file->fd, offset, bytes);
}

static enum error disk_resize(struct env *env, struct env_file *file, uint64_t bytes)
{
    uint64_t before;
    enum error rc = disk_size(env, file, &before);

    if (rc != OK)
        return rc;
    if (bytes > before)
        rc = disk_uv_posix_write_zeros(file->fd, before, bytes);
    else if (ftruncate(file->fd, (off_t)bytes) != 0)
        rc = ERR_IO;
    return rc == OK && fsync(file->fd) != 0 ? ERR_IO : rc;
}

static enum error disk_remove(struct env *env, const char *path)
{
    return disk_uv_posix_remove(disk_of(env)->folder_fd, path);
}

static enum error disk_rename(struct env *env, const char *from, const char *to)
{
    return disk_uv_posix_rename(disk_of(env)->folder_fd, from, to);
}

static enum error disk_make_folder(struct env *env, const char *path)
{
    return disk_uv_posix_make_folders(disk_of(env)->folder_fd, path);
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
        return disk_uv_posix_error(errno);
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
        return disk_uv_posix_error(errno);
    enum error rc =
        fstat(fd, &about) != 0 ? ERR_IO : disk_uv_posix_read(fd, 0, (size_t)about.st_size, to);

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

static uint64_t now_us(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void run_write_sync(struct env_work *work)
{
    struct disk_job *job = container_of(work, struct disk_job, work);
    uint64_t start_us = now_us();

    job->rc = disk_uv_posix_write(job->file->fd, job->offset, job->bytes);
    if (job->rc == OK && fdatasync(job->file->fd) != 0)
        job->rc = ERR_IO;
    job->took_us = now_us() - start_us;
}

static void on_write_sync_done(struct env_work *work)
{
    const struct disk_job *job = container_of(work, struct disk_job, work);
    struct disk_uv *disk = job->disk;

    if (job->bytes.size <= OWN_SYNC_BYTES_MAX)
        disk->sync_us = (disk->sync_us * 7 + job->took_us) / 8;
    on_job_done(work);
}

static void disk_write_sync(struct env *env, struct env_disk_op *op, struct env_file *file,
                            uint64_t offset, struct slice bytes, env_disk_cb cb)
{
    struct disk_job *job = job_start(env, op, cb, run_write_sync);
    struct disk_uv *disk = job->disk;

    job->work.done = on_write_sync_done;
    job->file = file;
    job->offset = offset;
    job->bytes = bytes;
    if (env->writes_waiting > ENV_WRITES_FEW && !disk->is_own_over &&
        disk->sync_us <= OWN_SYNC_US_MAX && bytes.size <= OWN_SYNC_BYTES_MAX)
        list_append(&disk->own, &job->own_link);
    else
        env->worker->queue(env, &job->work);
}

bool disk_uv_sync_next(struct disk_uv *disk)
{
    struct list *link = list_pop(&disk->own);

    disk->is_own_over = true;
    if (link == NULL)
        return false;
    struct disk_job *job = container_of(link, struct disk_job, own_link);

    run_write_sync(&job->work);
    on_write_sync_done(&job->work);
    return true;
}

void disk_uv_turn(struct disk_uv *disk)
{
    disk->is_own_over = false;
}

static void run_replace(struct env_work *work)
{
    struct disk_job *job = container_of(work, struct disk_job, work);

    job->rc = disk_uv_posix_replace(job->disk->folder_fd, job->path, buffer_slice(&job->content));
}

static void disk_replace(struct env *env, struct env_disk_op *op, const char *path,
                         struct slice content, env_disk_cb cb)
{
    struct disk_job *job = job_start(env, op, cb, run_replace);

    CHECK(strlen(path) + sizeof(DISK_UV_POSIX_TEMPORARY_SUFFIX) <= PATH_MAX);
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
        .sync_us = 2 * OWN_SYNC_US_MAX, /* until it was seen to be quick */
    };
    list_init(&disk->jobs);
    list_init(&disk->own);
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
