#include "proto/store/kv_leveldb_boot.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"
#define MARK_FILE "BOOT"

static bool is_write_ahead_log(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL && strcmp(dot, ".log") == 0;
}

/* The last synced tables stay, which hold a prefix of all writes. */
static enum error drop_write_ahead_logs(const char *path)
{
    DIR *folder = opendir(path);
    enum error rc = OK;

    if (folder == NULL)
        return ERR_IO;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        if (is_write_ahead_log(entry->d_name) && unlinkat(dirfd(folder), entry->d_name, 0) != 0)
            rc = ERR_IO;
    if (fsync(dirfd(folder)) != 0)
        rc = ERR_IO;
    (void)closedir(folder);
    return rc;
}

static void read_text(const char *path, char text[KV_LEVELDB_BOOT_ID_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, text, KV_LEVELDB_BOOT_ID_BYTES - 1);

    text[size > 0 ? size : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (fd >= 0)
        (void)close(fd);
}

void kv_leveldb_boot_read_id(char boot_id[KV_LEVELDB_BOOT_ID_BYTES])
{
    read_text(BOOT_ID_FILE, boot_id);
}

static void mark_path(char mark[PATH_MAX], const char *path)
{
    (void)snprintf(mark, PATH_MAX, "%s/" MARK_FILE, path);
}

/* Need not be durable: when the mark is lost the log is dropped, as after any power cut. */
enum error kv_leveldb_boot_mark(const char *boot_id, const char *path)
{
    size_t size = strlen(boot_id);
    char mark[PATH_MAX];

    mark_path(mark, path);
    int fd = open(mark, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        return ERR_IO;
    enum error rc = write(fd, boot_id, size) == (ssize_t)size ? OK : ERR_IO;

    (void)close(fd);
    return rc;
}

/* A log written in this boot of the machine is whole, for the kernel held its pages ever since. */
enum error kv_leveldb_boot_prepare(const char *boot_id, const char *path)
{
    char current[PATH_MAX];
    char mark[PATH_MAX];
    char marked[KV_LEVELDB_BOOT_ID_BYTES];

    mark_path(mark, path);
    (void)snprintf(current, sizeof(current), "%s/CURRENT", path);
    read_text(mark, marked);
    if (access(current, F_OK) != 0)
        return marked[0] == '\0' ? OK : ERR_CORRUPT; /* LevelDB would begin an empty store there */
    return boot_id[0] != '\0' && strcmp(marked, boot_id) == 0 ? OK : drop_write_ahead_logs(path);
}
